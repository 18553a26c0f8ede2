"""How much one item is another: what is kept when something about it is changed."""

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ..codecs.voices import PLACE
from ..midi.clips import DRUMS, Clip

STEPS = 4  # a beat: the grid on which clips are compared


def rhythm_likeness(one: Clip, other: Clip) -> float:
    """Dice's coefficient of what begins when: 2 |A and B| / (|A| + |B|), 0 to 1.

    A and B are sets of (part, sixteenth), of drums of (part, sixteenth, which of the nine). Two
    silent clips are alike.
    """
    first, second = _begun(one), _begun(other)
    both = len(first) + len(second)
    return 2 * len(first & second) / both if both else 1.0


def _begun(clip: Clip) -> set[tuple[str, int, int]]:
    found = set()
    for name, notes in clip.parts.items():
        drum = PLACE[notes.pitch] if name == DRUMS else np.zeros(len(notes), np.int32)
        step = np.floor(notes.start * (STEPS / clip.ticks_per_beat) + 0.5).astype(int)
        found |= {(name, *both) for both in zip(step.tolist(), drum.tolist(), strict=True)}
    return found


def contour_likeness(one: Clip, other: Clip) -> float:
    """The correlation of two clips' pitch over time: -1 to 1, the same in another key being 1.

    Pitch is that of the last note that has begun, at each sixteenth from where both have one; of
    notes that begin together the highest. Two that stay on one pitch are alike (1), one that does
    is like nothing else (0). NaN where either has no pitch.
    """
    a, b = (_curve(clip) for clip in (one, other))
    count = min(len(a), len(b))
    there = ~(np.isnan(a[:count]) | np.isnan(b[:count]))
    a, b = a[:count][there], b[:count][there]
    if not len(a):
        return math.nan
    flat = [not np.ptp(curve) for curve in (a, b)]
    return float(all(flat)) if any(flat) else float(np.corrcoef(a, b)[0, 1])


def _curve(clip: Clip) -> NDArray[np.float64]:
    """The pitch that began last, at every sixteenth (T,); NaN before the first."""
    steps = round(clip.length * STEPS / clip.ticks_per_beat)
    found = np.full(steps, math.nan)
    tables = [notes.table[:, [0, 2]] for name, notes in clip.parts.items() if name != DRUMS]
    for start, pitch in sorted(row for table in tables for row in table.tolist()):
        found[int(start * STEPS / clip.ticks_per_beat + 0.5) :] = pitch  # overwritten by later
    return found


def word_likeness(one: str, other: str) -> float:
    """Dice's coefficient of the words of two sentences, each as often as it occurs: 0 to 1.

    >>> word_likeness("the cat and the dog", "the cat")
    0.5714285714285714
    """
    first, second = Counter(one.split()), Counter(other.split())
    both = first.total() + second.total()
    return 2 * (first & second).total() / both if both else 1.0
