"""What begins when in music, on a grid: how alike two clips are by it, and how a line moves."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..codecs.voices import PLACE
from ..midi import Ints, Notes
from ..midi.clips import DRUMS, Clip

Struck = Mapping[tuple[str, int], frozenset[int]]  # (part, step) -> pitches; of drums, of the nine

COUNTS_AT_ONCE = 1 << 18  # of moves, of so many pairs: what a cache holds
FINE = 12  # steps a beat on which sixteenths and triplets both fall


def struck(clip: Clip, steps: int = FINE) -> Struck:
    """What begins at which of so many steps a beat, by part. Lengths and velocities are left out.

    >>> from seqvae.midi import notes_of
    >>> clip = Clip({"melody": notes_of([(0, 480, 60, 80), (475, 960, 64, 80)])}, 1920)
    >>> struck(clip, 4)
    {('melody', 0): frozenset({60}), ('melody', 4): frozenset({64})}
    """
    found: dict[tuple[str, int], set[int]] = {}
    for part, notes in clip.parts.items():
        what = _what(notes, drums=part == DRUMS)
        for step, each in zip(_step(clip, notes, steps).tolist(), what.tolist(), strict=True):
            found.setdefault((part, step), set()).add(each)
    return {place: frozenset(pitches) for place, pitches in found.items()}


def _what(notes: Notes, *, drums: bool) -> Ints:
    return PLACE[notes.pitch] if drums else notes.pitch


def _step(clip: Clip, notes: Notes, steps: int) -> Ints:
    """The step nearest to each onset, halves late."""
    return np.floor(notes.start * steps / clip.ticks_per_beat + 0.5).astype(np.int32)


# --- how alike -----------------------------------------------------------------------------------


class Alike(NamedTuple):
    """How alike two clips are: F1 of their notes and of their onsets, each 0 to 1.

    `moved` is by how many semitones the first was moved to be most like the second.
    """

    notes: float
    onsets: float
    moved: int

    @property
    def distance(self) -> float:
        """1 - (notes + onsets) / 2: 0 of what is equal, 1 of what shares no onset."""
        return 1 - (self.notes + self.onsets) / 2


def alike(one: Struck, other: Struck) -> Alike:
    """How alike two things are that begin at steps, wherever they are transposed to.

    With P the notes (part, step, pitch) and O the onsets (part, step) of each,

        notes = max_k 2 |(P_1 + k) and P_2| / (|P_1| + |P_2|)
        onsets = 2 |O_1 and O_2| / (|O_1| + |O_2|),

    where all that has pitch is moved by the same k semitones, and drums by none. Of the k that
    are as good the smallest is taken, then the lower. It is symmetric and 1 of equals, also of two
    rests. Only onsets count, each as much as any other: a grid of held notes looks alike whatever
    is played. Moving costs nothing, so a piece is like itself in another key; `moved` says which.
    """
    both = one.keys() & other.keys()
    votes: Counter[int] = Counter({0: 0})
    for place in both:
        votes.update(_moves(one[place], other[place], drums=place[0] == DRUMS))
    fixed = sum(len(one[place] & other[place]) for place in both if place[0] == DRUMS)
    moved = max(votes, key=lambda k: (votes[k], -abs(k), -k))
    counts = (sum(map(len, each.values())) for each in (one, other))
    return Alike(_f1(votes[moved] + fixed, *counts), _f1(len(both), len(one), len(other)), moved)


def _moves(one: frozenset[int], other: frozenset[int], *, drums: bool) -> Iterator[int]:
    """By how much each note of one step lies below each of another; drums by nothing."""
    return iter(()) if drums else (b - a for a in one for b in other)


def _f1(both: int, one: int, other: int) -> float:
    return 2 * both / (one + other) if one + other else 1.0


def distance(one: Clip, other: Clip, steps: int = FINE) -> float:
    """How unlike two clips are, 0 to 1, by what begins at so many steps a beat   (`alike`).

    A dissimilarity, symmetric, 0 of equals and of transpositions; no metric: it does not hold that
    the way round is never shorter.

    >>> from seqvae.midi import notes_of
    >>> up = Clip({"melody": notes_of([(0, 480, 60, 80), (480, 960, 64, 80)])}, 1920)
    >>> down = Clip({"melody": notes_of([(0, 480, 60, 80), (480, 960, 57, 80)])}, 1920)
    >>> distance(up, up.moved(7)), distance(up, down), distance(up, Clip({}, 1920))
    (0.0, 0.25, 1.0)
    """
    return alike(struck(one, steps), struck(other, steps)).distance


def distances(
    ones: Sequence[Struck], others: Sequence[Struck], beside: tuple[Struck, Struck] = ({}, {})
) -> NDArray[np.float64]:
    """The distance (`alike`) of each of N things to each of M, (N, M): of many at once.

    What stands `beside` each of the first and each of the second is heard with them: the other
    bars of a phrase, say, at other places than any of theirs.

    >>> one, other = {("melody", 0): frozenset({60})}, {("melody", 1): frozenset({60})}
    >>> distances([one, other], [one]).tolist()
    [[0.0], [1.0]]
    >>> beside = {("melody", 4): frozenset({60})}
    >>> distances([one, other], [one], (beside, beside)).tolist()
    [[0.0], [0.5]]
    """
    slots = {slot: n for n, slot in enumerate(dict.fromkeys(chain(*ones, *others)))}
    drums = np.array([part == DRUMS for part, _ in slots], bool)
    first, second = _rows(ones, slots), _rows(others, slots)
    begun = _begun(first, len(ones), len(slots)), _begun(second, len(others), len(slots))
    shared = beside[0].keys() & beside[1].keys()
    counts = (each.sum(1) + len(rest) for each, rest in zip(begun, beside, strict=True))
    onsets = _f1_of(begun[0] @ begun[1].T + len(shared), *counts)
    both = np.zeros((len(ones), len(others)))
    for part, still in ((drums, True), (~drums, False)):
        own, its = (rows[part[rows[:, 1]]] for rows in (first, second))
        both += _moved(own, its, both.shape, _between(*beside, still=still), still=still)
    notes = (
        np.bincount(rows[:, 0], minlength=count) + sum(map(len, rest.values()))
        for rows, count, rest in zip((first, second), both.shape, beside, strict=True)
    )
    return 1 - (_f1_of(both, *notes) + onsets) / 2


def _rows(things: Sequence[Struck], slots: Mapping[tuple[str, int], int]) -> Ints:
    """Rows (thing, slot, what) of all that is struck (K, 3)."""
    found = [
        (n, slots[slot], what)
        for n, thing in enumerate(things)
        for slot, struck_there in thing.items()
        for what in struck_there
    ]
    return np.array(found, np.int32).reshape(-1, 3)


def _begun(rows: Ints, things: int, slots: int) -> NDArray[np.float64]:
    """Whether anything begins in each slot (N, S): 1 or 0."""
    found = np.zeros((things, slots))
    found[rows[:, 0], rows[:, 1]] = 1.0
    return found


def _between(one: Struck, other: Struck, *, still: bool) -> Ints:
    """By how much each note of one lies above each of another at its place; drums, if `still`."""
    common = [place for place in one.keys() & other.keys() if still == (place[0] == DRUMS)]
    if still:
        return np.zeros(sum(len(one[place] & other[place]) for place in common), np.int32)
    moves = [a - b for place in common for a in one[place] for b in other[place]]
    return np.array(moves, np.int32)


def _moved(
    first: Ints, second: Ints, shape: tuple[int, int], beside: Ints, *, still: bool
) -> NDArray[np.float64]:
    """How many notes each two have in common (N, M), by the move that gives most; or unmoved.

    With them are counted those `beside` all of them, by how much each is moved.
    """
    second = second[second[:, 1].argsort(kind="stable")]
    pitches = np.concatenate([first[:, 2], second[:, 2]])
    reach = int(np.ptp(pitches)) if len(pitches) else 0, int(np.abs(beside).max(initial=0))
    span = 0 if still else max(reach)
    bins = 2 * span + 1
    rest = np.bincount(beside + span, minlength=bins)
    both = np.full(shape, float(rest.max()))
    if not len(first) or not len(second):
        return both
    each = max(COUNTS_AT_ONCE // (shape[1] * bins), 1)
    for start in range(0, shape[0], each):
        own = first[(first[:, 0] >= start) & (first[:, 0] < start + each)]
        low, high = (np.searchsorted(second[:, 1], own[:, 1], side) for side in ("left", "right"))
        left = np.repeat(np.arange(len(own)), high - low)
        before = np.cumsum(high - low) - (high - low)
        right = np.arange(len(left)) + (low - before)[left]
        move = own[left, 2] - second[right, 2]
        there = np.abs(move) <= span
        pair = (own[left, 0] - start) * shape[1] + second[right, 0]
        rows = min(each, shape[0] - start)
        votes = np.bincount((pair * bins + move + span)[there], minlength=rows * shape[1] * bins)
        both[start : start + rows] = (votes.reshape(rows, shape[1], bins) + rest).max(2)
    return both


def _f1_of(
    both: NDArray[np.float64], ones: NDArray[Any], others: NDArray[Any]
) -> NDArray[np.float64]:
    total = ones[:, None] + others
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


# --- how a line moves ----------------------------------------------------------------------------


def line(clip: Clip, part: str, steps: int = FINE) -> Ints:
    """Rows (step, what) of a part, one an onset (N, 2): the highest pitch; of drums, all struck.

    Of drums it is the sum of the bits of the nine.
    """
    notes, drums = clip.part(part), part == DRUMS
    rows = np.stack([_step(clip, notes, steps), _what(notes, drums=drums)], axis=1)
    if not drums:
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        return rows[np.append(np.diff(rows[:, 0]) > 0, True)[: len(rows)]]
    rows = np.unique(rows, axis=0)
    at, first = np.unique(rows[:, 0], return_index=True)
    bits = (1 << rows[:, 1]).astype(np.int32)
    return np.stack([at, np.add.reduceat(bits, first) if len(rows) else bits], axis=1)


def moves(clip: Clip, part: str, steps: int = FINE) -> Ints:
    """Rows (interval, inter-onset) from each onset of a part to the next (N - 1, 2).

    Semitones between the highest pitches, and steps. Drums have no interval: in its place stands
    what is struck, as bits.
    """
    found = line(clip, part, steps)
    apart = np.diff(found, axis=0)
    what = found[1:, 1] if part == DRUMS else apart[:, 1]
    return np.stack([what, apart[:, 0]], axis=1)
