"""Models compared at matched rates: what each needs where its code holds as much as another's.

A point is a model of rate R and distortion D, nats an item. All of it is of one corpus and split.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .frontier import Point

Line = Sequence[tuple[float, float]]  # (R, D) by rising rate
NEAR = math.log(2) / 2 + 1e-9  # how far apart two rates are that count for matched, as a logarithm


def hull(points: Iterable[Point]) -> list[tuple[float, float]]:
    """The lower convex hull of points (R, D), never rising: what they are known to need at least.

    Models that lie above the chord of two others are worse than those two taken in turn, and one
    that needs more nats at a higher rate is worse than the one of less rate. So the line falls,
    more and more slowly, from the point of the lowest rate to the lowest distortion, and stays
    there until the highest rate.

    >>> hull([Point("a", 0, 10), Point("b", 2, 9), Point("c", 4, 6), Point("d", 8, 7)])
    [(0, 10), (4, 6), (8, 6)]
    """
    lowest: dict[float, float] = {}
    for point in sorted(points, key=lambda point: (point.rate, point.distortion)):
        before = min(lowest.values(), default=point.distortion)
        lowest.setdefault(point.rate, min(point.distortion, before))
    line: list[tuple[float, float]] = []
    for vertex in lowest.items():
        while len(line) > 1 and not _turns_up(line[-2], line[-1], vertex):
            line.pop()
        line.append(vertex)
    return line


def _turns_up(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether the way from a over b to c gets less steep at b."""
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])


def at_rate(line: Line, rate: float) -> float | None:
    """D of a line at a rate, straight between its points; None beyond its ends.

    >>> at_rate([(2, 8), (4, 6)], 3), at_rate([(2, 8), (4, 6)], 5)
    (7.0, None)
    """
    if not line or not line[0][0] <= rate <= line[-1][0]:
        return None
    place = bisect_right([r for r, _ in line], rate)
    if place == len(line):
        return line[-1][1]
    (low, before), (high, after) = line[place - 1], line[place]
    return before + (after - before) * (rate - low) / (high - low)


def regret(point: Point, frontier: Line) -> float:
    """D less what the frontier needs at the same rate: nats an item that others would have saved.

    0 on the frontier. Beyond its end it is held against the end, which needs a lower rate still.

    >>> regret(Point("b", 2, 9), [(0, 10), (4, 6)])
    1.0
    """
    needed = at_rate(frontier, min(max(point.rate, frontier[0][0]), frontier[-1][0]))
    assert needed is not None
    return point.distortion - needed


class Standing(NamedTuple):
    """How a remedy stands in a block: what it needs at the matched rates, beyond the frontier."""

    name: str
    distortions: tuple[float | None, ...]  # at every matched rate, None where it has no model
    excess: tuple[float | None, ...]  # the same, less the frontier's

    @property
    def missed(self) -> int:
        """How many of the rates it does not reach."""
        return self.excess.count(None)

    @property
    def mean(self) -> float:
        """The mean excess over the rates it reaches; infinite where it reaches none."""
        reached = [value for value in self.excess if value is not None]
        return sum(reached) / len(reached) if reached else float("inf")


def stand(name: str, points: Iterable[Point], frontier: Line, rates: Sequence[float]) -> Standing:
    """What the models of one remedy need at `rates`. Nothing is extrapolated.

    A remedy's own line joins its models only: not the language model, whose point at rate 0 every
    remedy has for nothing.
    """
    own = hull(points)
    needed = tuple(at_rate(own, rate) for rate in rates)
    excess = tuple(
        None if d is None else regret(Point(name, rate, d), frontier)
        for rate, d in zip(rates, needed, strict=True)
    )
    return Standing(name, needed, excess)


def ranked(standings: Iterable[Standing], place: int) -> list[Standing]:
    """The best first at one of the matched rates, that of the place `place`.

    Those that do not reach it have failed there and come after, first who reaches most of the
    others, and among them by mean excess. (Means alone over different rates do not compare: each
    nat of a longer code is dearer, so that what only ever makes short ones would win.)
    """

    def key(standing: Standing) -> tuple[int, float]:
        reached = standing.excess[place]
        return (0, reached) if reached is not None else (standing.missed, standing.mean)

    return sorted(standings, key=key)


def best(points: Sequence[Point], frontier: Line, rate: float, least: float) -> Point:
    """The model of a remedy that is held against those of others at about `rate` nats.

    Means over codes of different length do not compare: by -ELBO a collapsed model would win, by
    repayment the shortest code, by distance from the frontier the longest, which is its end. So
    of those within a factor of the root of 2 of `rate` it is the one nearest to the frontier, and
    where there is none the one of the nearest rate, in proportion. `least` nats make a code; where
    no model has so many, the one of the highest rate is taken; its verdict will be `collapsed`.

    >>> line = [(0, 10), (4, 6), (8, 5)]
    >>> best([Point("a", 3, 8), Point("b", 4.5, 6), Point("c", 8, 5)], line, 4, 1).name
    'b'
    >>> best([Point("a", 1, 8), Point("c", 8, 5), Point("d", 12, 5)], line, 4, 1).name
    'c'
    """
    used = [point for point in points if point.rate >= least]
    if not used:
        return max(points, key=lambda point: point.rate)
    if near := [point for point in used if _apart(point.rate, rate) <= NEAR]:
        return min(near, key=lambda point: regret(point, frontier))
    return min(used, key=lambda point: _apart(point.rate, rate))


def _apart(a: float, b: float) -> float:
    """How many times the one rate is the other, as a logarithm."""
    return abs(math.log(a / b))
