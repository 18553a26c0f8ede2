"""A journey: one piece that begins as one song and ends as another, and moves bar by bar.

Both songs are cut into phrases, which are laid side by side (`pairing`); what is between them is
decoded with a mix that grows with every bar (`crossing`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..explore import Explorer
from ..midi import Notes, Source, joined
from ..midi.clips import Clip
from ..midi.keys import KeyFound
from .beside import keys_of, music_codec, paced, song_of, usual_cost
from .course import Course, Floats
from .crossing import Crossing, Ints, places_in
from .feel import Playing, check_time
from .likeness import ranges_of
from .pairing import Pair, all_of, paired, sides_of, tempo_at
from .pieces import Piece
from .taste import Taste
from .told import End, told
from .walk import Walk

WHO_RESTS = {  # whether A sounds and B does
    (False, False): "for both songs do there",
    (False, True): "for A does there",
    (True, False): "for B does there",
    (True, True): "though neither song does there",
}


class Bar(NamedTuple):
    """A bar of a journey: how much of B is in it, and how it comes out."""

    mix: float
    qpm: float
    semitones: int  # by which it is moved, on its way to B's key
    f1_with_a: float | None  # onset and pitch F1 with the bar of A there; None: both are silent
    f1_with_b: float | None  # likewise with that of B


@dataclass(frozen=True)
class Journey:
    """One piece from A to B."""

    pairs: list[Pair]
    bars: list[Bar]
    clip: Clip  # the codec's parts, ends included
    ends: list[End]  # A and B, each all of its phrases that are heard, in their order
    key: KeyFound | None  # the one that both were brought to
    taste: Taste
    course: Course
    usual: float | None  # what the model's validation items cost it, nats a window
    said: list[str] = field(default_factory=list)

    @property
    def each(self) -> int:
        """Bars in a phrase."""
        return len(self.bars) // len(self.pairs)

    @property
    def length(self) -> int:
        """Ticks of a phrase."""
        return self.clip.length // len(self.pairs)

    @cached_property
    def mixes(self) -> Floats:
        """How much of B is in every bar."""
        return np.array([bar.mix for bar in self.bars])

    def place(self, notes: Notes) -> Ints:
        """The bar in which each note begins, from 0."""
        return places_in(notes, self.clip.bar, len(self.bars))


def journey(
    explorer: Explorer,
    a: Source,
    b: Source,
    taste: Taste | None = None,
    course: Course | None = None,
) -> Journey:
    """One piece from a song to another, whose mix goes from 0 to 1 bar by bar.

    Phrase k of A and the one of B at its place have codes z_a and z_b, a code a window. Each bar
    of a window is taken from what the decoder writes at the bar's own mix, path(z_a, z_b, mix):
    so the mix moves by bars, whatever the model's window is. The first window is A's own music,
    the last is B's.

    Arguments:
        explorer: a run that knows music.
        a, b: songs.
        taste: as of a morph; `bars` is a phrase's length, made whole windows; `steps` is not used.
        course: how long it is and how it goes.

    Raises `Refused` as `morph` does.
    """
    taste, course = taste or Taste(), course or Course()
    codec = music_codec(explorer)
    song_a, song_b = song_of(a), song_of(b)
    sides = sides_of(song_a, song_b, codec, taste, course)
    pairs, said = paired(sides, course)
    piece_a, piece_b = (all_of([pair[i] for pair in pairs]) for i in (0, 1))
    piece_b = replace(piece_b, clip=replace(piece_b.clip, qpm=pairs[-1].b.clip.qpm))
    for piece in (piece_a, piece_b) if taste.touch.timed else ():
        check_time(piece.played, piece.name)
    moved, key = keys_of(taste, piece_a, piece_b, ranges_of(codec))
    clip_a = piece_a.clip.moved(moved[0].semitones)
    clip_b = paced(piece_b.clip, sides.pace, piece_a).moved(moved[1].semitones)
    playing = Playing(taste.touch, clip_a, clip_b, codec.grid.steps, taste.decoding.seed)
    crossing = Crossing(Walk(explorer, codec, taste, playing.read), course, sides.bars, moved[1])
    ends = crossing.ends((piece_a, piece_b), moved, sides.pace)
    bars, clip = _bars(crossing, pairs, sides.pace), crossing.played(playing)
    found = Journey(pairs, bars, clip, ends, key, taste, course, usual_cost(explorer))
    laid = [*said, *_left_told(found), *_rests_told(crossing, clip)]
    found.said.extend(told(ends, key, taste, codec, found.usual, laid) + playing.told)
    return found


def _bars(crossing: Crossing, pairs: Sequence[Pair], pace: float) -> list[Bar]:
    """Every bar, of phrases that are heard one after the other."""
    mixes, ups, alike = crossing.mixes.tolist(), crossing.ups.tolist(), crossing.alike()
    each = len(mixes) // len(pairs)
    return [
        Bar(mix, tempo_at(pairs[place // each], pace, mix), up, *scores)
        for place, (mix, up, scores) in enumerate(zip(mixes, ups, alike, strict=True))
    ]


# --- what is said --------------------------------------------------------------------------------


def heard_bars(pieces: Iterable[Piece]) -> set[int]:
    """The bars of a song, from 1, that are heard in some pieces of it."""
    found: set[int] = set()
    for piece in pieces:
        bars = piece.song.bars.start
        middle = (bars[:-1] + bars[1:]) / 2
        inside = np.flatnonzero((middle >= piece.start) & (middle < piece.end)) + 1
        found |= set(inside.tolist())
    return found


def spans(numbers: Iterable[int]) -> str:
    """Whole numbers in words.

    >>> spans([9, 4, 5, 6]), spans([])
    ('4-6, 9', '')
    """
    every = set(numbers)
    begins = sorted(n for n in every if n - 1 not in every)
    ends = sorted(n for n in every if n + 1 not in every)
    return ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(begins, ends, strict=True))


def left_out(found: Journey, end: int) -> set[int]:
    """The bars of a song, from 1, that are not heard."""
    song = found.pairs[0][end].song
    return set(range(1, len(song.bars) + 1)) - heard_bars(pair[end] for pair in found.pairs)


def resting(piece: Piece) -> set[int]:
    """The bars of its song, from 1, in which no note of its parts sounds."""
    bars = piece.song.bars.start
    notes = joined(part.notes for part in piece.parts.values())
    sounds = np.zeros(len(bars) - 1, dtype=bool)
    for start, end in zip(notes.start.tolist(), notes.end.tolist(), strict=True):
        first, last = np.searchsorted(bars, [start, max(end - 1, start)], side="right") - 1
        sounds[first : last + 1] = True
    return set((np.flatnonzero(~sounds) + 1).tolist())


def rest_added(found: Journey, end: int) -> float:
    """How many beats of rest fill up phrases that a song ends in, counted once a phrase."""
    starts = {pair[end].start: pair[end] for pair in found.pairs}
    last = found.pairs[0][end].song
    behind = (max(piece.end - int(last.bars.start[-1]), 0) for piece in starts.values())
    return sum(behind) / last.ticks_per_beat


def _rests_told(crossing: Crossing, clip: Clip) -> list[str]:
    """Which bars are silent, and which of the songs rests there."""
    every = (*crossing.walk.ends, clip)
    a, b, heard = ([bar.notes > 0 for bar in crossing.bars_of(each)] for each in every)
    found: dict[str, list[int]] = {}
    for place, sounds in enumerate(zip(a, b, heard, strict=True), 1):
        if not sounds[2]:
            found.setdefault(WHO_RESTS[sounds[:2]], []).append(place)
    return [
        f"bar{'s' * (len(bars) > 1)} {spans(bars)} rest{'s' * (len(bars) == 1)}, {why}"
        for why, bars in found.items()
    ]


def _left_told(found: Journey) -> list[str]:
    """Which bars are not heard, and which rests were added."""
    said = []
    for place, end in enumerate(found.ends):
        count, gone = len(end.piece.song.bars), left_out(found, place)
        if gone:
            silent = len(gone & resting(found.pairs[0][place]))
            rests = f"; in {silent} of them what the model knows rests" * bool(silent)
            metres = end.piece.song.bars.metre
            others = dict.fromkeys(str(metres[bar - 1]) for bar in sorted(gone))
            others.pop(str(found.pairs[0][place].clip.metre), None)
            other = f"; some are in {' and '.join(others)}" * bool(others)
            said.append(f"{end.letter}: {len(gone)} of its {count} bars not heard: {spans(gone)}")
            said[-1] += rests + other
        if rest := rest_added(found, place):
            said.append(f"{end.letter}: {rest:g} beats of rest were added where it ends")
    return said
