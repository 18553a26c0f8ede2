"""Pairing: both songs of a journey cut into phrases, and which of them are heard together."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple

from ..codecs.music import MusicCodec
from ..errors import Refused
from ..midi import Metre, Song
from ..midi.clips import Clip, join
from .beside import CROWDED, crowding, folded
from .course import MOST, Course, alone, matched
from .pieces import SIXTEENTH, Piece, held, in_order
from .taste import Taste

SHORTEST, LONGEST = 16, 64  # bars, where nobody says how many
WHOLE = 16  # bars of a phrase, at most, that is made longer so that all begin together
HALF = 0.5  # of its bars: a phrase that rests for more is left out, if others do not


class Pair(NamedTuple):
    """The phrases of A and of B that are heard at one place."""

    a: Piece
    b: Piece


class Sides(NamedTuple):
    """Both songs as phrases of one length, and how many times B's notes are lengthened."""

    a: list[Piece]
    b: list[Piece]
    bars: int  # of a phrase, in A's metre
    window: int  # of the model, in bars of A's metre
    pace: float
    said: list[str]


def sides_of(a: Song, b: Song, codec: MusicCodec, taste: Taste, course: Course) -> Sides:
    """Both songs, cut into phrases that are whole windows, as long as the shorter song allows.

    Phrases that rest for more than half of their bars are left out while there are others.
    """
    first = in_order(a, codec, taste.bars, at=taste.from_a, asked=taste.track_a)
    other = in_order(b, codec, taste.bars, at=taste.from_b, asked=taste.track_b)
    own, its = first[0].clip.metre, other[0].clip.metre
    pace, said = _pace(first, other, codec, taste)
    held = _bars_left(b, taste.from_b, its, taste.bars)
    room = min(
        _bars_left(a, taste.from_a, own, taste.bars),
        max(round(held * its.beats * pace / own.beats), 1),
        course.bars or MOST,
    )
    bars = _phrase_bars(codec, own, its.beats * pace, taste, room)
    if bars > taste.bars and own.beats != its.beats and taste.metre == "beats":
        said = [
            *said,
            f"phrases of {bars} bars begin together with bars of {its}; --metre stretch",
        ]
        said[-1] += " lays bar beside bar, and they are shorter"
    beats = bars * own.beats
    count = max(round(beats / pace / its.beats), 1)
    first = _fuller(in_order(a, codec, bars, at=taste.from_a, asked=taste.track_a), taste.from_a)
    other = _fuller(in_order(b, codec, count, at=taste.from_b, asked=taste.track_b), taste.from_b)
    return Sides(
        [piece.of_length(beats) for piece in first],
        [piece.of_length(beats / pace) for piece in other],
        bars,
        math.ceil(_window(codec, own, taste) / own.beats - 1e-6),
        pace,
        said,
    )


def _fuller(pieces: Sequence[Piece], at: int | None) -> list[Piece]:
    """The phrases that rest for half of their bars at most, and one that is asked for.

    All of them, where none is so full.
    """
    if all(piece.resting > HALF for piece in pieces):
        return [*pieces]
    return [piece for piece in pieces if piece.resting <= HALF or piece.bar == at]


def _pace(
    a: Sequence[Piece], b: Sequence[Piece], codec: MusicCodec, taste: Taste
) -> tuple[float, list[str]]:
    """How many times B's notes are lengthened, as in a morph, and what is to be said of it."""
    plain = 1.0
    if taste.metre == "stretch":
        plain = a[0].clip.metre.beats / b[0].clip.metre.beats
    home, tempo = (median(piece.clip.qpm for piece in pieces) for pieces in (a, b))
    pace = folded(plain, tempo, home)
    if pace >= plain or not _crowded(b, pace / plain, codec):
        return pace, []
    told = f"B's {tempo * plain:.0f} bpm is not read as half of it: its notes are too fast for the"
    return plain, [f"{told} grid"]


def _phrase_bars(codec: MusicCodec, a: Metre, b: float, taste: Taste, room: int) -> int:
    """The bars of a phrase, at most so many: as asked for, or more, so that all begin together.

    That is whole phrases of A as asked for, whole bars of B, of so many beats in A's time, and
    whole windows of the model, in this order. So a jig beside a reel has 16 bars to its 12.

    Where A's own phrases are too long for a song, the nearest.
    """
    window = _window(codec, a, taste)

    def wrong(bars: int) -> tuple[bool, bool, bool, int]:
        beats = bars * a.beats
        apart = beats % b > 1e-6, beats % window > 1e-6
        return bars % taste.bars > 0, *apart, abs(bars - taste.bars)

    return min(range(1, max(min(room, max(WHOLE, taste.bars)), 1) + 1), key=wrong)


def _window(codec: MusicCodec, a: Metre, taste: Taste) -> float:
    """The beats of A that a window of the model lasts."""
    return codec.grid.bars * (a if taste.metre == "stretch" else codec.grid.metre).beats


def _crowded(pieces: Sequence[Piece], factor: float, codec: MusicCodec) -> bool:
    return crowding(_whole(pieces), factor, codec.grid.steps) > CROWDED


def _bars_left(song: Song, at: int | None, metre: Metre, bars: int) -> int:
    """The most bars from one on that a metre holds without a break: a phrase is in one metre.

    Where it never holds for as many bars as are asked for, all that are left.
    """
    left = song.bars.metre[(at or 1) - 1 :]
    runs = (len(list(run)) for same, run in groupby(left, metre.__eq__) if same)
    longest = max(runs, default=0)
    return longest if longest >= bars else len(left)


def paired(sides: Sides, course: Course) -> tuple[list[Pair], list[str]]:
    """The phrases that are heard together, and what is to be said of how they were matched."""
    a, b, each = len(sides.a), len(sides.b), sides.bars
    wanted = min(a, b) if course.fit == "trim" else max(a, b)
    why, which = "", "A" if a == wanted else "B"
    if course.bars is not None:
        asked = max(course.bars // each, 1)
        _check_room(course, asked * each, sides.window)
        count = min(asked, wanted) if course.fit == "trim" else asked
        if count * each != course.bars:
            why = f", {course.bars} were asked for"
    else:
        count = min(wanted, max(LONGEST // each, 1))
        if count < wanted:
            most = min(wanted, MOST // each)
            takes = "takes them all" if most == wanted else "is the longest"
            why = f", of which {which} has {wanted}: --bars {most * each} {takes}"
        elif course.fit != "trim":
            count = max(count, math.ceil(SHORTEST / each))
            why = f", of which {which} has only {wanted}" * (count > wanted)
    if count * each < 2:
        raise Refused(
            f"{count * each} bar: a journey has 2 bars or more. Ask for more: --bars 16."
        )
    places = matched(a, b, count, course.fit)
    said = [
        f"length: {count * each} bars, {count} phrase{'s' * (count != 1)} of {each}{why}; A has "
        f"{a} as long, B {b} ({course.fit})"
    ]
    return [Pair(sides.a[i], sides.b[j]) for i, j in places], [*sides.said, *said]


def _check_room(course: Course, bars: int, window: int) -> None:
    """Refuse so few bars that nothing lies between the songs' own; steps are by phrases."""
    own = alone(window)
    if course.curve != "step" and bars < 2 * own + 1:
        whole = f", {bars} in whole phrases" * (bars != course.bars)
        raise Refused(
            f"bars = {course.bars}{whole}: a journey needs {2 * own + 1} or more. It begins with "
            f"{own} of A alone, ends with as many of B, and goes over between. Ask for more: "
            "--bars 16."
        )


def all_of(pieces: Sequence[Piece]) -> Piece:
    """The phrases that are heard of a song as one piece, and what is to be said of all of them."""
    alike = [line for line in pieces[0].said if all(line in piece.said for piece in pieces)]
    start, end = min(p.start for p in pieces), max(p.end for p in pieces)
    return replace(pieces[0], clip=_whole(pieces), start=start, end=end, said=alike)


def _whole(pieces: Sequence[Piece]) -> Clip:
    """Phrases one after the other; what one holds into the next, as in its song, is one note."""
    tied = {
        (place, name)
        for place, (before, after) in enumerate(pairwise(pieces), 1)
        if before.end == after.start
        for name in held(before.played.parts, before.end, before.song.ticks_per_beat * SIXTEENTH)
    }
    return join([piece.clip for piece in pieces], tied)


def tempo_at(pair: Pair, pace: float, mix: float) -> float:
    """The tempo of a bar by its mix, in proportion."""
    a, b = pair.a.clip.qpm, pair.b.clip.qpm * pace
    return float(a * (b / a) ** mix)  # a and b alike give just that
