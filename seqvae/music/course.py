"""The course of a journey: how long it is, which phrases are heard where, how the mix grows."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import Refused
from ..recipe import unknown

MOST = 256  # bars
ALONE = 4  # bars of a song alone at an end, at most, where a window of the model is longer
FITS = ("loop", "stretch", "trim")
CURVES = ("linear", "smooth", "step")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """How long a journey is, what the shorter song does, and how the mix grows.

    Arguments:
        bars: of the whole, in A's metre, whole phrases of it; None: of the longer song (by
            "trim" of the shorter), at most 64, and at least 16 unless it is trimmed.
        fit: "loop": a song that is over begins again, as a band plays another chorus, so that
            each goes on in its own order, and B's last phrase is the last; "stretch": its
            phrases are said more often, evenly; "trim": the longer is cut, A's end and B's
            beginning.
        curve: "linear", every bar by as much; "smooth", slowly at both ends; "step", phrase by
            phrase.
    """

    bars: int | None = None
    fit: Literal["loop", "stretch", "trim"] = "loop"
    curve: Literal["linear", "smooth", "step"] = "linear"

    def __post_init__(self) -> None:
        if self.bars is not None and not 2 <= self.bars <= MOST:
            raise Refused(f"bars = {self.bars}: a journey has 2 bars or more, and {MOST} at most.")
        for name, known in (("fit", FITS), ("curve", CURVES)):
            if getattr(self, name) not in known:
                raise Refused(unknown(getattr(self, name), known, name, "choice"))


def alone(window: int, count: int | None = None) -> int:
    """How many bars at either end of a journey are one song's own: a window's, of so many bars.

    Of a window longer than 4 bars it is a quarter of the journey's, and 4 at least. Where that
    leaves no bar between, it is a quarter. Without a count it is the least, which a journey needs.

    >>> alone(2), alone(2, 5), alone(2, 64), alone(16, 32), alone(2, 4)
    (2, 2, 2, 8, 1)
    """
    least = min(window, ALONE)
    if count is None:
        return least
    quarter = max(count // 4, 1)
    return max(least, min(window, quarter)) if count > 2 * least else quarter


def matched(a: int, b: int, count: int, fit: str) -> list[tuple[int, int]]:
    """Which of A's and of B's phrases are heard at each of so many places, in order.

    By "loop" and "trim" A's are counted from its first, B's from its last, round and round; by
    "stretch" both are spread evenly, from the first to the last.

    >>> matched(4, 2, 4, "loop"), matched(4, 2, 4, "stretch"), matched(4, 2, 2, "trim")
    ([(0, 0), (1, 1), (2, 0), (3, 1)], [(0, 0), (1, 0), (2, 1), (3, 1)], [(0, 0), (1, 1)])
    """
    if fit == "stretch" and count > 1:
        shares = [place / (count - 1) for place in range(count)]
        return [(math.floor((a - 1) * t + 0.5), math.floor((b - 1) * t + 0.5)) for t in shares]
    return [(k % a, b - 1 - (count - 1 - k) % b) for k in range(count)]


def mixes(bars: int, held: int, curve: str = "linear", phrase: int = 1) -> Floats:
    """How much of B is in every bar: 0 in the first `held`, 1 in the last, growing between.

    By "step" it is the same in every bar of a phrase, 0 in the first phrase and 1 in the last.

    >>> mixes(7, 2).tolist(), mixes(6, 1, "step", 2).tolist()
    ([0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0, 1.0])
    """
    if curve == "step":
        return np.repeat(np.linspace(0, 1, bars // phrase), phrase)
    between = np.linspace(0, 1, bars - 2 * held + 2)
    if curve == "smooth":
        between = between**2 * (3 - 2 * between)
    return np.concatenate([np.zeros(held - 1), between, np.ones(held - 1)])
