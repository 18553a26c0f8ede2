"""An item written with more of an attribute: of many ways, the one that changes little else.

A shift of a code changes much at once, and what is written follows it by leaps. So the item is
written from codes at several lengths of the shift, greedily and by drawing, and again while the
decoder leans towards what it writes of the item itself (`Lean`), or of an attribute with a clean
`Edit`, as the register's, towards that so edited; of all that, one is picked, and then again,
leaning towards what was picked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attributes import attributes_of, contour_likeness, rhythm_likeness, word_likeness
from ..explore import Decoding, Explorer
from ..explore.decoding import GREEDY
from ..generate import Lean
from ..randomness import seed_of
from ..vectors import Vector
from .learning import steered

Values = NDArray[np.float64]

TIMES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)  # the length of a shift
LEANS = (0.0, 4.0, 8.0, 16.0, 32.0)  # nats; first none
DRAWS = 3  # at temperature 1
ROUNDS = 3
SHORT, BEYOND, LEAK = 160.0, 4.0, 10.0  # what it costs to miss the strength, and to move others


class Picker:
    """Ways to write items with more of an attribute while the others are held.

    For changes d_k of the attributes, in standard deviations of the data against what is written
    of the item's own code, and strength s of attribute a, that is taken which costs least:

        c (d_a - s)^2 + 10 sum_{k != a} d_k^2 + (1 - rhythm) + (1 - contour),

    c = 160 for what falls short of s and 4 for what goes beyond, with the likenesses to what is
    written of the item (of sentences, of words). What is lost or gained altogether, as the
    interval of a single note, counts as one standard deviation.

    Arguments:
        explorer: a run.
        vectors: its own; those of labels, which nothing measures, hold nothing.
    """

    def __init__(self, explorer: Explorer, vectors: Iterable[Vector]) -> None:
        known = attributes_of(explorer.codec)
        held = [vector for vector in vectors if vector.name in known]
        self.explorer = explorer
        self.names = [vector.name for vector in held]
        self._measures = [known[name].measure for name in self.names]
        self._std = np.array([vector.std for vector in held])

    def write(
        self,
        z: Tensor,
        name: str,
        shift: Tensor,
        strength: float,
        decoding: Decoding = GREEDY,
    ) -> list[list[int]]:
        """Codes (N, D + K) -> the ids of each with so much more of an attribute, by a shift (D,).

        At strength 0, and of what nothing measures, what the shifted code itself gives.
        """
        plain = steered(self.explorer, z, shift, strength)
        if strength == 0 or name not in self.names or not len(z):
            return self.explorer.write(plain, decoding)
        home = picked = self.explorer.write(z, decoding)
        towards = [self._towards(ids, name, strength) for ids in home]
        codes = torch.cat([steered(self.explorer, z, shift, strength * times) for times in TIMES])
        for number in range(ROUNDS):
            ways = [picked, *self._ways(codes, towards, decoding, number)]
            rows = zip(*ways, strict=True)
            pairs = zip(home, rows, strict=True)
            towards = picked = [self._best(own, found, name, strength) for own, found in pairs]
        return picked

    def _towards(self, home: list[int], name: str, strength: float) -> list[int]:
        """What is leant towards first: the item, or with a clean edit the item so edited.

        To its own pitches a melody that is to lie higher would be held back, and lose its contour.
        """
        codec = self.explorer.codec
        edit = attributes_of(codec)[name].edit
        if edit is None or not edit.clean or codec.length is None:  # of the latter nothing leans
            return home
        more = strength * float(self._std[self.names.index(name)])
        return list(codec.encode(edit.made(codec.decode(home), more)).ids)

    def _ways(
        self, codes: Tensor, towards: list[list[int]], decoding: Decoding, number: int
    ) -> list[list[list[int]]]:
        """Ids of all items (N, T), way by way."""
        seeds = (seed_of(decoding.seed % 2**64, number, n) for n in range(DRAWS))
        drawn = replace(decoding, beam=None, temperature=1.0, together=True)
        draws = (replace(drawn, seed=seed) for seed in seeds)
        ways = []
        for how in (decoding, *draws):
            leans = LEANS if self._leans(how) else LEANS[:1]
            lean = _lean(towards, leans) if len(leans) > 1 else None
            rows = self.explorer.write(codes.repeat(len(leans), 1), how, lean=lean)
            each = len(towards)
            ways += [rows[at : at + each] for at in range(0, len(rows), each)]
        return ways

    def _leans(self, how: Decoding) -> bool:
        """A beam does not, and tokens of no fixed number have no place in time."""
        return how.beam is None and self.explorer.codec.length is not None

    def _best(
        self, home: Sequence[int], rows: Iterable[Sequence[int]], name: str, strength: float
    ) -> list[int]:
        found = list(dict.fromkeys(map(tuple, rows)))
        start, *items = map(self.explorer.codec.decode, (home, *found))
        before = self._values(start)
        changes = np.array([self._changes(before, self._values(item)) for item in items])
        own = changes[:, self.names.index(name)]
        leaks = np.square(changes).sum(1) - np.square(own)
        unlike = np.array([_unlike(start, item) for item in items])
        missed = (own - strength) * np.sign(strength)
        costs = np.where(missed < 0, SHORT, BEYOND) * missed**2 + LEAK * leaks + unlike
        return list(found[int(costs.argmin())])

    def _values(self, item: Any) -> Values:
        return np.array([measure(item) for measure in self._measures], float)

    def _changes(self, before: Values, after: Values) -> Values:
        """In standard deviations (K,)."""
        appeared = np.isnan(before).astype(float) - np.isnan(after)
        return np.where(np.isnan(after - before), appeared, (after - before) / self._std)


def _lean(towards: list[list[int]], leans: Sequence[float]) -> Lean:
    """Towards what is written of items, by each of the leans for all `TIMES`."""
    rows = len(towards) * len(TIMES)
    ids = torch.tensor(towards).unsqueeze(1).repeat(len(TIMES) * len(leans), 1, 1)
    return Lean(ids, torch.tensor(leans).repeat_interleave(rows).unsqueeze(1))


def _unlike(one: Any, other: Any) -> float:
    """How little of an item is left in another: 0 if all of it is."""
    if isinstance(one, str):
        return 1 - word_likeness(one, other)
    contour = contour_likeness(one, other)
    return 1 - rhythm_likeness(one, other) + (0.0 if np.isnan(contour) else 1 - contour)
