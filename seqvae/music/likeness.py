"""How alike two phrases are, note by note, as far as a codec can write them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..codecs.music import MusicCodec
from ..codecs.voices import PLACE, Line
from ..midi import fold
from ..midi.clips import DRUMS, Clip, Grid


class Range(NamedTuple):
    """Pitches, both ends included."""

    low: int
    high: int


def ranges_of(codec: MusicCodec) -> dict[str, Range]:
    """The lowest and highest pitch that a codec can write, by part; drums have none."""
    return {v.part: Range(v.low, v.high) for v in codec.voices if isinstance(v, Line)}


def compared(
    one: Clip, other: Clip, grid: Grid, ranges: Mapping[str, Range] | None = None
) -> float | None:
    """Their `agreement`; None where neither has a note, for there is nothing to compare."""
    return agreement(one, other, grid, ranges) if one.notes or other.notes else None


def agreement(
    one: Clip, other: Clip, grid: Grid, ranges: Mapping[str, Range] | None = None
) -> float:
    """F1 of notes that begin at the same step with the same pitch, in the same part.

    Pitches are compared as they are folded by octaves into the range of their part, if it has one.
    """
    first, second = (_struck(clip, grid, ranges or {}) for clip in (one, other))
    if not first and not second:
        return 1.0
    return 2 * len(first & second) / (len(first) + len(second))


def _struck(clip: Clip, grid: Grid, ranges: Mapping[str, Range]) -> set[tuple[str, int, int]]:
    """What begins at which step; of drums, which of the nine."""
    step = clip.ticks_per_beat / grid.steps
    found = set()
    for name, notes in clip.parts.items():
        what = PLACE[notes.pitch] if name == DRUMS else notes.pitch
        what = fold(what, *ranges[name]) if name in ranges else what
        starts = np.floor(notes.start / step + 0.5).astype(int)
        found |= {(name, *both) for both in zip(starts.tolist(), what.tolist(), strict=True)}
    return found
