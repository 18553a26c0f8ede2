"""Clips: some bars of music by part, cut out of a song, and what a grid makes of them.

A clip is what the codecs of music encode and decode, as a sentence is to those of text.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import Refused
from .notes import COMMON, Metre, Notes, joined, notes_of
from .song import QPM, TICKS, Bars

Floats = NDArray[np.float32]

STEPS = (4, 6, 12, 24)  # a beat: sixteenths, sixteenth triplets, both, both finely
OTHER_METRES = ("skip", "beats", "stretch")
DRUMS = "drums"  # the part whose notes have neither pitch nor length
LOUD = 80.0  # the velocity of notes that nobody played


class Grid(NamedTuple):
    """`bars` bars of a metre, `steps` steps to a quarter note.

    >>> Grid(4, Metre(6, 8), 2).length
    24
    """

    steps: int = 4
    metre: Metre = COMMON
    bars: int = 2

    @property
    def bar(self) -> int:
        """Steps in a bar."""
        return round(self.steps * self.metre.beats)

    @property
    def length(self) -> int:
        """Steps in all."""
        return self.bars * self.bar

    def check(self) -> None:
        """Raise `Refused` for a grid on which bars do not fall."""
        if self.steps not in STEPS:
            raise Refused(f"{self.steps} steps a beat: choose one of {STEPS}.")
        if self.bars < 1:
            raise Refused(f"bars = {self.bars}: a window has 1 bar or more.")
        if min(self.metre) < 1 or self.metre.denominator & (self.metre.denominator - 1):
            raise Refused(f"metre {self.metre}: write it as 4/4, 3/4 or 6/8.")
        if not (self.steps * self.metre.beats).is_integer():
            raise Refused(
                f"a bar of {self.metre} has {self.steps * self.metre.beats:g} steps of a beat's "
                f"{self.steps}; choose more steps a beat, of {STEPS}."
            )


def metre_of(text: str) -> Metre:
    """A metre from "6/8". Raises `Refused` for anything else."""
    over, slash, under = text.partition("/")
    if not (slash and over.isdecimal() and under.isdecimal() and int(over) and int(under)):
        raise Refused(f"metre {text!r}: write it as 4/4, 3/4 or 6/8.")
    return Metre(int(over), int(under))


class Feel(NamedTuple):
    """How the notes at each step are played, by voice: what a grid of ids leaves out.

    Where a voice strikes nothing, its velocity is that of its nearest stroke and it plays on
    time, so that two feels of one grid can be mixed at every step.
    """

    velocity: Floats  # (T, C), 1 to 127
    shift: Floats  # (T, C), steps later than the grid, -0.5 to 0.5


@dataclass(frozen=True)
class Clip:
    """Bars of music: notes by part, in ticks from its first bar line.

    `qpm` is its tempo and `about` where it is from, both for people and for what is written.
    """

    parts: Mapping[str, Notes]
    length: int  # ticks
    ticks_per_beat: int = TICKS
    metre: Metre = COMMON
    qpm: float = QPM
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> int:
        """How many, in all parts."""
        return sum(map(len, self.parts.values()))

    @cached_property
    def bar(self) -> float:
        """Ticks in a bar."""
        return self.metre.beats * self.ticks_per_beat

    def part(self, name: str) -> Notes:
        """The notes of a part, none if the clip lacks it."""
        return self.parts.get(name, NOTHING)

    def cut(self, start: int, end: int) -> "Clip":
        """What sounds between two ticks, counted from the first."""
        parts = {name: notes.within(start, end) for name, notes in self.parts.items()}
        return replace(self, parts=parts, length=end - start)

    def heard(self, start: int, end: int, step: float) -> "Clip":
        """What sounds between two ticks to who counts steps of so many, from the first on.

        A note belongs to the step nearest to it, so one that came a little early begins at the
        first tick, and one that lasts a little too long is over. Drums are not held.
        """
        early, late = start - step / 2, end - step / 2 if end < self.length else end
        parts = {}
        for name, notes in self.parts.items():
            begun = (notes.start >= early) & (notes.start < late)
            held = (notes.start < early) & (notes.end >= start + step / 2) & (name != DRUMS)
            chosen = notes[begun | held]
            starts = np.maximum(chosen.start, start) - start
            ends = np.maximum(np.minimum(chosen.end, end) - start, starts + 1)
            parts[name] = joined([replace(chosen, start=starts, end=ends)])
        return replace(self, parts=parts, length=end - start)

    def stretched(self, factor: float) -> "Clip":
        """The same notes so many times as long, and as far apart."""
        parts = {name: _stretched(notes, factor) for name, notes in self.parts.items()}
        return replace(self, parts=parts, length=round(self.length * factor))

    def moved(self, semitones: int, spared: Collection[str] = (DRUMS,)) -> "Clip":
        """Higher by so many semitones, but for the parts that have no pitch."""
        parts = {
            name: notes if name in spared else notes.moved(semitones=semitones)
            for name, notes in self.parts.items()
        }
        return replace(self, parts=parts)

    def rescaled(self, ticks_per_beat: int) -> "Clip":
        """The same music with another number of ticks a beat."""
        before = self.ticks_per_beat
        parts = {
            name: notes.rescaled(before, ticks_per_beat) for name, notes in self.parts.items()
        }
        length = round(self.length * ticks_per_beat / before)
        return replace(self, parts=parts, length=length, ticks_per_beat=ticks_per_beat)


NOTHING = notes_of([])


def _stretched(notes: Notes, factor: float) -> Notes:
    start = np.floor(notes.start * factor + 0.5).astype(np.int32)
    end = np.floor(notes.end * factor + 0.5).astype(np.int32)
    return joined([replace(notes, start=start, end=np.maximum(end, start + 1))])  # in order


def split(clip: Clip, grid: Grid) -> list[Clip]:
    """A clip as windows of a grid's length, one after the other, the last cut at its end.

    A note that is held from one into the next sounds in both.
    """
    edges = [*_edges(clip, grid), clip.length]
    return [clip.heard(a, b, clip.ticks_per_beat / grid.steps) for a, b in pairwise(edges)]


def _edges(clip: Clip, grid: Grid) -> list[int]:
    """The tick at which each window of a clip begins."""
    window = grid.length * clip.ticks_per_beat / grid.steps
    places = (round(i * window) for i in range(1, math.ceil(clip.length / window)))
    return [0, *(place for place in places if place < clip.length)]


def join(clips: Sequence[Clip], tied: Collection[tuple[int, str]] = ()) -> Clip:
    """Clips one after the other, as one, in the first one's ticks.

    (i, part) among `tied` says that what this part holds at the end of clip i - 1 goes on in clip
    i, if that begins with the same pitch: then it is one note again.
    """
    clips = [clip.rescaled(clips[0].ticks_per_beat) for clip in clips]
    begins = np.cumsum([0, *(clip.length for clip in clips)]).tolist()
    parts = {}
    for name in dict.fromkeys(name for clip in clips for name in clip.parts):
        notes = NOTHING
        for place, clip in enumerate(clips):
            following = clip.part(name).moved(begins[place])
            tie = (place, name) in tied
            notes = _tied(notes, following, begins[place]) if tie else joined([notes, following])
        parts[name] = notes
    return replace(clips[0], parts=parts, length=begins[-1])


def _tied(before: Notes, after: Notes, tick: int) -> Notes:
    """Both, where notes that end and begin at a tick with one pitch are one."""
    ending = np.flatnonzero(before.end == tick)
    beginning = np.flatnonzero(after.start == tick)
    end, gone = before.end.copy(), np.zeros(len(after), dtype=bool)
    for place in ending.tolist():
        for other in beginning[after.pitch[beginning] == before.pitch[place]].tolist():
            end[place], gone[other] = after.end[other], True
    return joined([replace(before, end=end), after[~gone]])


def ties(clip: Clip, grid: Grid) -> set[tuple[int, str]]:
    """Which parts hold a note over the end of which window, as `split` cuts them."""
    half = clip.ticks_per_beat / grid.steps / 2
    return {
        (place, name)
        for place, edge in enumerate(_edges(clip, grid))
        for name, notes in clip.parts.items()
        if place and ((notes.start < edge - half) & (notes.end >= edge + half)).any()
    }


def starts(bars: Bars, grid: Grid, ticks_per_beat: int, other: str = "skip") -> Iterator[int]:
    """Where windows of a grid may begin: the bars that so many bars of the same metre follow.

    At the end of the song it is as many as there still are. Windows of bars in another metre than
    the grid's are left out by "skip", and taken as so many beats from a bar line on by "beats".
    """
    bar = grid.metre.beats * ticks_per_beat
    whole = np.abs(np.diff(bars.start) - bar) <= 1
    fits = np.array([metre == grid.metre for metre in bars.metre], dtype=bool) & whole
    for place, start in enumerate(bars.start[:-1].tolist()):
        if other == "beats" or fits[place : place + grid.bars].all():
            yield start
