"""How much of each further nat of code comes back: a rate-distortion frontier of one corpus.

Pure maths first, on points of rate R and distortion D in nats a sentence; then the runs, a
language model and one VAE a floor of free bits, that such points are measured on.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import __version__, runs
from .build import build, complete
from .corpus import Corpus, Split
from .data import in_order
from .errors import Refused, Stopped
from .evaluate import encode_all
from .fit import Say, fit
from .log import read_log
from .metrics import bootstrap, repayment
from .plots import rate_distortion, save
from .recipe import SECTIONS, Recipe, override

FLOORS = (1.0, 2.0, 4.0, 8.0, 16.0)  # nats a sentence
EPOCHS = 3.0  # of each run, unless said otherwise: enough to see where repayment ends
LEAST = 0.9  # a code whose every further nat repays so much costs next to nothing
APART = 0.25  # nats: two rates nearer than that say nothing of what lies between them
GAIN = 0.01  # of the NLL: a language model that gains more at its last validation is not done
# Nats a dimension: on Tatoeba, 1 nat repaid 0.59 over 16 dimensions and 0.93 over 4 (a run each).
THIN = 0.25
BASELINE = "lm"  # the run without a code

Tell = Callable[[str, int, int], None]  # what, done, of how many


# --- maths --------------------------------------------------------------------------------------


class Point(NamedTuple):
    """What a model spends in its code and what it needs then, R and D, nats a sentence."""

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
    """The rate of the last free point, nats a sentence; 0 where the first step fails already.

    >>> free_rate([Point("lm", 0, 10), Point("a", 2, 8.1), Point("b", 4, 7), Point("c", 5, 5)])
    2
    """
    return last_free(points, least).rate


def interval(before: Tensor, after: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """A paired 95 % interval of the marginal repayment between two models.

    Both (N, 2), rate and distortion of the same N sentences, nats, which are drawn again
    together. It holds what other sentences would change, not what another seed of training would.
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
    """What models of rising rate need on the same sentences, and what each step repays.

    Arguments:
        values: by the name of a model, rate and distortion of every sentence (N, 2), nats.
        floors: by name, the nats a sentence that were left free.
        about: what all that was measured on.
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
    def language_model(self) -> float:
        """What a sentence costs without a code, nats."""
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
            f"Up to about {free.rate:.1f} nats a sentence a code costs next to nothing here: each "
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
                yield f"{name}: other sentences might put its step beyond {self.least:g}."

    def _of_training(self) -> Iterator[str]:
        latent = self.about["recipe"].get("latent", 0)
        failed = next((n for n, step in self.steps.items() if step.marginal < self.least), None)
        if failed and self.floors[failed] < THIN * latent:
            fewer = math.ceil(self.floors[failed] / THIN)
            yield (
                f"{failed} spreads its nats thin over {latent} dimensions; fewer may repay more: "
                f"--set latent={fewer}, with another --out."
            )
        gain = self.about.get("last_gain") or 0.0
        if gain > GAIN * self.language_model:
            yield (
                f"{BASELINE} still gained {gain:.2f} nats at its last validation: with more "
                "--epochs a code may repay more, as it is learned after the language."
            )

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data, nats a sentence; what is not defined is null."""
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
            # Of a single sentence there is none.
            "interval": [step.low, step.high] if step and math.isfinite(step.low) else None,
        }


def write(found: Frontier, folder: Path) -> list[Path]:
    """Write frontier.json and its figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = folder / "frontier.json"
    runs.write_text(numbers, json.dumps(found.as_json(), indent=1) + "\n")
    title = f"Rate and distortion: {found.about['recipe']['name']}"
    figure = rate_distortion(found.points, found.language_model, title)
    return [numbers, save(figure, folder / "figures" / "frontier.png")]


# --- runs ---------------------------------------------------------------------------------------


def frontier(
    recipe: Recipe,
    corpus: Corpus,
    folder: Path,
    *,
    floors: Sequence[float] = FLOORS,
    epochs: float | None = None,
    device: str = "cpu",
    limit: int = 2000,
    say: Say = print,
    tick: Tell | None = None,
) -> Frontier:
    """Train a language model and one VAE a floor, and measure all on the validation split.

    They are the runs folder/lm, folder/floor-2, … Those that are there are not trained again,
    and a stopped one goes on. Up to `limit` sentences, evenly spread, are measured, at z drawn
    once from q(z|x).

    Arguments:
        floors: of free bits, nats a sentence, above 0.
        epochs: of each run; None: the recipe's, `EPOCHS` at most.
        tick: receives (run, step, steps) as it goes.

    Raises `Refused` for a recipe that has no code or no KL, a corpus without a validation split,
    and a run in `folder` that was begun with another recipe or corpus.
    """
    check_floors(floors)
    named = {f"floor-{floor:g}": floor for floor in sorted(set(floors))}
    planned = _planned(_shortened(recipe, epochs), named)
    items = corpus.split("valid")
    where = str(runs.find_device(device))
    for name, variant in planned.items():
        build(variant, corpus.codec.vocab)
        _check_begun(folder / name, variant, corpus)
    say(f"{len(planned)} runs in {folder}: {', '.join(planned)}")
    for name, variant in planned.items():
        _train(variant, corpus, folder / name, where, say, tick)
    values = {name: _values(folder / name, items, limit, where) for name in planned}
    about = {
        **_about(recipe, planned[BASELINE], corpus, where, len(values[BASELINE])),
        "last_gain": _last_gain(folder / BASELINE),
    }
    return Frontier(values, named, about)


def check_floors(floors: Sequence[float]) -> None:
    """Raise `Refused` where there is no floor, or one that is no number of nats."""
    if not floors:
        raise Refused("no floors: name some nats a sentence to leave free, such as 1,2,4,8,16.")
    for floor in floors:
        if not 0 < floor < math.inf:
            raise Refused(
                f"a floor of {floor:g} nats: floors are numbers above 0, such as 1,2,4,8,16. "
                "The model without a code is always there."
            )


def settings_at(recipe: Recipe, floor: float) -> list[str]:
    """What `--set` makes of a recipe its model at a floor, `floor` / latent nats a dimension.

    As in `frontier`, no word is dropped: without some of its words the language model would be
    worse, and a code seem to repay more.
    """
    nats = f"{floor / recipe['latent']:.6g}"
    term = f'{{kind = "FreeBits", nats = {nats}, per = "batch_dimension"}}'
    changes = ["objective.kind=Elbo", "objective.terms={}", f"objective.terms.kl={term}"]
    if _has_floor(recipe["objective"]):
        changes = [f"objective.terms.kl.nats={nats}"]
    words = complete(recipe)["decoder"].get("word_dropout", 0)
    return [*changes, *(["decoder.word_dropout=0"] if words else [])]


def _has_floor(objective: Mapping[str, Any]) -> bool:
    """Whether its loss is the ELBO with a floor already, of which only the height is to be set."""
    terms = objective.get("terms", {})
    floor = terms.get("kl", {})
    wanted = {"kind": "FreeBits", "per": "batch_dimension"}
    alone = objective["kind"] == "Elbo" and set(terms) == {"kl"}
    return alone and {key: floor[key] for key in floor if key != "nats"} == wanted


def _shortened(recipe: Recipe, epochs: float | None) -> Recipe:
    training = recipe["training"]
    if epochs is None and "steps" in training:
        return recipe
    wanted = min(training["epochs"], EPOCHS) if epochs is None else epochs
    whole = ["training.steps=none"] if "steps" in training else []
    return override(recipe, [*whole, f"training.epochs={wanted}"])


def _planned(recipe: Recipe, floors: Mapping[str, float]) -> dict[str, Recipe]:
    """The recipe of every run, by its name, the language model's first."""
    if recipe["latent"] == 0:
        raise Refused(
            f"the recipe {recipe['name']!r} has latent = 0, so no code to give nats to. Name one "
            "that has a code (--recipe text), or set one: --set latent=32."
        )
    found = {name: override(recipe, settings_at(recipe, f)) for name, f in floors.items()}
    first = next(iter(found.values()))
    plain = {"kind": "Elbo", "terms": {"kl": {"kind": "KL"}}}
    training = {**first["training"], "select": "negative_elbo"}
    lm = {**first, "latent": 0, "objective": plain, "training": training}
    return {
        name: {**run, "name": f"{recipe['name']}-{name}", "about": _describe(name, floors)}
        for name, run in {BASELINE: lm, **found}.items()
    }


def _describe(name: str, floors: Mapping[str, float]) -> str:
    if name == BASELINE:
        return "The language model of a rate-distortion frontier: its decoder without a code."
    return f"Of a rate-distortion frontier: {floors[name]:g} nats a sentence are free."


def _check_begun(folder: Path, recipe: Recipe, corpus: Corpus) -> None:
    """Refuse a run that is there and was begun otherwise: its point would be of another curve."""
    if not runs.is_run(folder):
        return
    if _checksum(folder) != corpus.checksum:
        raise Refused(
            f"{folder} was trained on another corpus than {corpus.folder}. Choose another --out."
        )
    now, before = dict(_said(complete(recipe))), dict(_said(runs.read_recipe(folder)))
    for key in sorted({*now, *before}):
        if now.get(key) != before.get(key):
            raise Refused(
                f"{folder} was trained with {key} = {before.get(key)!r}, not {now.get(key)!r}. "
                "Choose another --out, or the settings it has."
            )


def _checksum(folder: Path) -> str | None:
    """Of the corpus that a run says it was trained on."""
    try:
        return str(json.loads((folder / "corpus.json").read_bytes())["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _said(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """What decides the numbers of a run, by dotted name; of its data the checksum speaks."""
    for key in ("latent", "seed", *(section for section in SECTIONS if section != "data")):
        yield from _flat(key, recipe[key])


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(f"{name}.{key}", inner)


def _train(
    recipe: Recipe, corpus: Corpus, folder: Path, device: str, say: Say, tick: Tell | None
) -> None:
    if (folder / "card.md").is_file():  # the last that a run writes
        say(f"{folder} is trained already")
        return

    def told(step: int, steps: int, numbers: Mapping[str, float]) -> None:
        if tick is not None:
            tick(f"{folder.name}, step", step, steps)

    say(f"{folder.name}: {recipe['about']}")
    try:
        fit(
            recipe,
            corpus,
            folder,
            device=device,
            resume=runs.is_run(folder),
            say=say,
            tick=told,
        )
    except Stopped as stopped:
        # Its own sentence would finish this run only.
        stopped.args = (f"stopped in {folder} and saved; the same command goes on from there",)
        raise


def _values(folder: Path, items: Split, limit: int, device: str) -> Tensor:
    """Rate and distortion of every sentence (N, 2), in the order of the split."""
    vae = runs.open_run(folder, device=device).built.vae
    codes = encode_all(vae, in_order(items, 64, limit), seed=0)
    if codes.rate is None:
        raise Refused(f"{folder}: its posterior or prior has no density, so its code no rate.")
    return torch.stack([codes.rate, codes.reconstruction], 1).double()[codes.item.argsort()]


def _last_gain(folder: Path) -> float | None:
    """What the last validation of a run gained on the one before, in -ELBO, nats a sentence."""
    found = [row["negative_elbo"] for row in read_log(folder) if row["kind"] == "valid"]
    return found[-2] - found[-1] if len(found) > 1 else None


def _about(
    recipe: Recipe, baseline: Recipe, corpus: Corpus, device: str, items: int
) -> dict[str, Any]:
    """What the frontier was measured on, and with what."""
    training = baseline["training"]
    length = {key: training[key] for key in ("steps", "epochs") if key in training}
    return {
        "version": __version__,
        "torch": torch.__version__,
        "recipe": recipe,
        "trained_for": length if "steps" not in length else {"steps": length["steps"]},
        "corpus": corpus.checksum,
        "split": "valid",
        "items": items,
        "seed": recipe["seed"],
        "device": device,
        "intervals": "95 %, sentences drawn again, the same of every run; one training each",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
