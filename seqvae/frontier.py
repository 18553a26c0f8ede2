"""How much of each further nat of code comes back: the maths of a rate-distortion frontier.

Points are models of one corpus, of rate R and distortion D in nats an item.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .metrics import bootstrap, repayment
from .rows import nats, noun

LEAST = 0.9  # a code whose every further nat repays so much costs next to nothing
APART = 0.25  # nats: two rates nearer than that say nothing of what lies between them
GAIN = 0.01  # of the NLL: a language model that gains more at its last validation is not done
BASELINE = "lm"  # the run without a code


class Point(NamedTuple):
    """What a model spends in its code and what it needs then, R and D, nats an item."""

    name: str
    rate: float
    distortion: float

    @property
    def negative_elbo(self) -> float:
        """R + D, at weight 1 and without free bits."""
        return self.rate + self.distortion


def distinct(points: Iterable[Point], apart: float = APART) -> list[Point]:
    """The points by rising rate; of two nearer than `apart` nats the one of the lower -ELBO.

    A model without a code (R = 0) always stays: what is repaid is counted from it.

    >>> [p.name for p in distinct([Point("b", 2.1, 7), Point("a", 2, 8), Point("lm", 0, 10)])]
    ['lm', 'b']
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: point.rate):
        if not kept or point.rate - kept[-1].rate >= apart:
            kept.append(point)
        elif kept[-1].rate > 0 and point.negative_elbo < kept[-1].negative_elbo:
            kept[-1] = point
    return kept


def marginals(points: Sequence[Point]) -> list[float]:
    """(D_(i-1) - D_i) / (R_i - R_(i-1)) of every step between points of rising rate.

    The share of each further nat of code that comes back as reconstruction: 1 where the further
    code costs nothing, 0 where the decoder is deaf to it, below 0 where it does harm.

    >>> marginals([Point("lm", 0, 10), Point("a", 2, 8), Point("b", 4, 7)])
    [1.0, 0.5]
    """
    return [(a.distortion - b.distortion) / (b.rate - a.rate) for a, b in pairwise(points)]


def last_free(points: Iterable[Point], least: float = LEAST) -> Point:
    """The last point before a further nat first repays less than `least`: nothing is interpolated.

    What lies beyond a step that fails is not free, however much a later step repays. It is the
    free rate of these models: others, with fewer dimensions say, may have another.
    """
    kept = distinct(points)
    free = kept[0]
    for point, marginal in zip(kept[1:], marginals(kept), strict=True):
        if marginal < least:
            break
        free = point
    return free


def free_rate(points: Iterable[Point], least: float = LEAST) -> float:
    """The rate of the last free point, nats an item; 0 where the first step fails already.

    >>> free_rate([Point("lm", 0, 10), Point("a", 2, 8.1), Point("b", 4, 7), Point("c", 5, 5)])
    2
    """
    return last_free(points, least).rate


def interval(before: Tensor, after: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """A paired 95 % interval of the marginal repayment between two models.

    Both (N, 2), rate and distortion of the same N items, nats, which are drawn again together.
    It holds what other items would change, not what another seed of training would.
    """
    return bootstrap(torch.cat([before, after], 1), _marginal, seed=seed)


def _marginal(means: Tensor) -> Tensor:
    """Means (*, 4) of rate and distortion before, and of those after."""
    rate_before, distortion_before, rate, distortion = means.unbind(-1)
    return (distortion_before - distortion) / (rate - rate_before)


class Step(NamedTuple):
    """The marginal repayment of the nats that lead to a point, with its interval."""

    marginal: float
    low: float
    high: float


@dataclass(frozen=True)
class Frontier:
    """What models of rising rate need on the same items, and what each step repays.

    Arguments:
        values: by the name of a model, rate and distortion of every item (N, 2), nats.
        floors: by name, the nats an item that were left free.
        about: what all that was measured on, and what an item is called, `noun`.
    """

    values: Mapping[str, Tensor]
    floors: Mapping[str, float]
    about: Mapping[str, Any]
    least: float = LEAST

    @cached_property
    def points(self) -> list[Point]:
        """Every model, by rising rate."""
        means = {name: value.double().mean(0).tolist() for name, value in self.values.items()}
        # A code that is not used may round to a rate below 0, where the language model stands.
        found = [Point(name, max(rate, 0.0), d) for name, (rate, d) in means.items()]
        return sorted(found, key=lambda point: point.rate)

    @cached_property
    def steps(self) -> dict[str, Step]:
        """By the name of the point they lead to; points that coincide with another have none."""
        kept = distinct(self.points)
        return {
            b.name: Step(marginal, *interval(self.values[a.name], self.values[b.name]))
            for (a, b), marginal in zip(pairwise(kept), marginals(kept), strict=True)
        }

    @property
    def free(self) -> Point:
        """The last point whose every nat is repaid, or the language model."""
        return last_free(self.points, self.least)

    @property
    def unit(self) -> str:
        """That of rates and distortions."""
        return nats(noun(self.about))

    @property
    def language_model(self) -> float:
        """What an item costs without a code, nats."""
        return float(self.values[BASELINE][:, 1].double().mean())

    def repaid(self, name: str) -> float | None:
        """eta, the share of all its nats that a model's code repays; None where it holds none.

        See `metrics.repayment`.
        """
        rate, distortion = self.values[name].double().mean(0)
        if rate <= 0:
            return None
        return float(repayment(torch.tensor(self.language_model), distortion, rate))

    def rows(self) -> list[tuple[str, ...]]:
        """A table for people, its header first."""
        head = ("run", "rate", "distortion", "-ELBO", "eta", "marginal repayment")
        return [head, *map(self._row, self.points)]

    def _row(self, point: Point) -> tuple[str, ...]:
        eta, step = self.repaid(point.name), self.steps.get(point.name)
        return (
            point.name,
            f"{point.rate:.2f}",
            f"{point.distortion:.2f}",
            f"{point.negative_elbo:.2f}",
            "—" if eta is None else f"{eta:.2f}",
            f"{step.marginal:.2f} [{step.low:.2f}, {step.high:.2f}]" if step else "—",
        )

    def reading(self) -> str:
        """The free rate in a sentence or two."""
        if not self.steps:
            return f"No run came to use its code: all rates lie within {APART:g} nats of none."
        last, free = next(reversed(self.steps)), self.free
        if free.rate == 0:
            name, first = next(iter(self.steps.items()))
            return (
                f"No code that was tried is free here: each nat of {name} repays "
                f"{first.marginal:.2f}, under {self.least:g}."
            )
        higher = " Nor did any that was tried cost more: try higher --floors."
        return (
            f"Up to about {free.rate:.1f} {self.unit} a code costs next to nothing here: each "
            f"further nat repays {self.least:g} or more.{higher if free.name == last else ''}"
        )

    def notes(self) -> list[str]:
        """What somebody should know who reads the table."""
        return [*self._of_points(), *self._of_steps(), *self._of_training()]

    def _of_points(self) -> Iterator[str]:
        for point in self.points[1:]:
            if point.name not in self.steps:
                yield f"{point.name} lies within {APART:g} nats of another: no step leads to it."

    def _of_steps(self) -> Iterator[str]:
        for name, step in self.steps.items():
            if step.low <= 0:
                yield f"{name}: no further nat is seen to come back."
            elif step.low < self.least <= step.high:
                others = f"other {noun(self.about)}s"
                yield f"{name}: {others} might put its step beyond {self.least:g}."

    def _of_training(self) -> Iterator[str]:
        gain = self.about.get("last_gain") or 0.0
        if gain > GAIN * self.language_model:
            yield (
                f"{BASELINE} still gained {gain:.2f} nats at its last validation: with more "
                "--epochs a code may repay more, as it is learned after the language."
            )

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data, nats an item; what is not defined is null."""
        return {
            "about": dict(self.about),
            "points": [self._plain(point) for point in self.points],
            "free_rate": self.free.rate,
            "free_floor": self.floors.get(self.free.name),
            "least_marginal": self.least,
            "notes": [self.reading(), *self.notes()],
        }

    def _plain(self, point: Point) -> dict[str, Any]:
        step = self.steps.get(point.name)
        return {
            "run": point.name,
            "floor": self.floors.get(point.name),
            "rate": point.rate,
            "distortion": point.distortion,
            "negative_elbo": point.negative_elbo,
            "repayment": self.repaid(point.name),
            "marginal": step.marginal if step else None,
            # Of a single item there is none.
            "interval": [step.low, step.high] if step and math.isfinite(step.low) else None,
        }
