"""The nouns of music in ticks: notes side by side, metres, tempos, keys and markers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes side by side, (N,) each, in ticks, ordered by start, then pitch, end and velocity."""

    start: Ints
    end: Ints
    pitch: Ints
    velocity: Ints

    def __len__(self) -> int:
        return len(self.start)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes) and bool(np.array_equal(self.table, other.table))

    def __getitem__(self, chosen: Any) -> "Notes":
        """Some of the notes, by a mask, a slice or places."""
        return Notes(*(column[chosen] for column in self._columns))

    @property
    def table(self) -> Ints:
        """One row a note: start, end, pitch, velocity (N, 4)."""
        return np.stack(self._columns, axis=1)

    @property
    def _columns(self) -> tuple[Ints, Ints, Ints, Ints]:
        return self.start, self.end, self.pitch, self.velocity

    @property
    def last(self) -> int:
        """The tick at which the last of them ends; 0 if there are none."""
        return int(self.end.max(initial=0))

    def moved(self, ticks: int = 0, semitones: int = 0) -> "Notes":
        """Later by so many ticks, higher by so many semitones (an octave is kept inside MIDI)."""
        pitch = fold(self.pitch + semitones, 0, 127) if semitones else self.pitch
        return ordered(self.start + ticks, self.end + ticks, pitch, self.velocity)

    def within(self, start: int, end: int) -> "Notes":
        """Those that sound between two ticks, cut to them, counted from the first."""
        chosen = self[(self.start < end) & (self.end > start) & (start < end)]
        starts = np.maximum(chosen.start, start) - start
        ends = np.minimum(chosen.end, end) - start
        return ordered(starts, ends, chosen.pitch, chosen.velocity)

    def rescaled(self, before: int, after: int) -> "Notes":
        """The same music with another number of ticks a beat; nothing gets length 0."""
        if before == after:
            return self
        start, end = (rounded(column * (after / before)) for column in (self.start, self.end))
        return ordered(start, np.maximum(end, start + 1), self.pitch, self.velocity)


def notes_of(rows: Iterable[Sequence[int]]) -> Notes:
    """Notes from rows (start, end, pitch, velocity), in any order.

    >>> notes_of([(480, 960, 62, 80), (0, 480, 60, 80)]).pitch.tolist()
    [60, 62]
    """
    table = np.array([tuple(row) for row in rows], dtype=np.int32).reshape(-1, 4)
    return ordered(*table.T)


def joined(parts: Iterable[Notes]) -> Notes:
    """All notes of several parts, in order."""
    tables = [part.table for part in parts]
    return ordered(*np.concatenate([np.zeros((0, 4), np.int32), *tables]).T)


def ordered(start: Ints, end: Ints, pitch: Ints, velocity: Ints) -> Notes:
    """Notes from their columns, brought into order."""
    order = np.lexsort((velocity, end, pitch, start))
    return Notes(start[order], end[order], pitch[order], velocity[order])


def fold(pitch: Ints, low: int, high: int) -> Ints:
    """Pitches moved by octaves into low … high (at least an octave apart), the others kept.

    >>> fold(np.array([20, 60, 110], dtype=np.int32), 21, 108).tolist()
    [32, 60, 98]
    """
    below, above = np.maximum(low - pitch, 0), np.maximum(pitch - high, 0)
    return (pitch + 12 * -(-below // 12) - 12 * -(-above // 12)).astype(np.int32)


def rounded(values: NDArray[Any]) -> Ints:
    """To the nearest whole number, halves up: a tick is never pulled two ways."""
    return np.floor(values + 0.5).astype(np.int32)


class Metre(NamedTuple):
    """A time signature: 6/8 is (6, 8)."""

    numerator: int
    denominator: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"

    @property
    def beats(self) -> float:
        """Quarter notes in a bar: 6/8 has 3."""
        return 4 * self.numerator / self.denominator


COMMON = Metre(4, 4)  # common time: what holds where a file names no metre


class Tempo(NamedTuple):
    tick: int
    qpm: float  # quarter notes a minute


class MetreChange(NamedTuple):
    tick: int
    metre: Metre


class Key(NamedTuple):
    tick: int
    sharps: int  # flats are negative
    minor: bool


class Marker(NamedTuple):
    tick: int
    text: str


class _Change(Protocol):
    @property
    def tick(self) -> int: ...


C = TypeVar("C", bound=_Change)


def latest(changes: Iterable[C]) -> list[C]:
    """In order, one a tick: of several the last."""
    found = {change.tick: change for change in changes if change.tick >= 0}
    return [found[tick] for tick in sorted(found)]
