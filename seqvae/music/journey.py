"""A journey: one piece that begins as one song and ends as another, and moves bar by bar.

Both songs are cut into phrases, which are laid side by side; what is between them is decoded with
a mix that grows with every bar.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby, pairwise
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..codecs.music import MusicCodec, VoicedCodec
from ..errors import Refused
from ..explore import Explorer
from ..latent import PATHS, lerp
from ..midi import Metre, Notes, Song, Source, fold, joined
from ..midi.clips import DRUMS, Clip, Feel, join
from ..midi.keys import KeyFound, Move
from ..recipe import unknown
from .feel import Playing, check_time
from .morph import (
    CROWDED,
    End,
    Range,
    Taste,
    Walk,
    agreement,
    crowding,
    ends_told,
    folded,
    glided,
    keys_of,
    keys_told,
    metres_told,
    music_codec,
    paced,
    pieces_told,
    ranges_of,
    song_of,
    tempos_told,
    usual_cost,
)
from .pieces import SIXTEENTH, Piece, in_order

SHORTEST, LONGEST = 16, 64  # bars, where nobody says how many
MOST = 256  # bars
WHOLE = 16  # bars of a phrase, at most, that is made longer so that all begin together
FITS = ("loop", "stretch", "trim")
CURVES = ("linear", "smooth", "step")

Ints = NDArray[np.int64]
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


class Pair(NamedTuple):
    """The phrases of A and of B that are heard at one place."""

    a: Piece
    b: Piece


class Bar(NamedTuple):
    """A bar of a journey: how much of B is in it, and how it comes out."""

    mix: float
    qpm: float
    semitones: int  # by which it is moved, on its way to B's key
    f1_with_a: float  # onset and pitch F1 with the bar of A that is heard there, as B's with B
    f1_with_b: float


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
    sides = _sides(song_a, song_b, codec, taste, course)
    pairs, said = _pairs(sides, course)
    piece_a, piece_b = (_all([pair[i] for pair in pairs]) for i in (0, 1))
    piece_b = replace(piece_b, clip=replace(piece_b.clip, qpm=pairs[-1].b.clip.qpm))
    for piece in (piece_a, piece_b) if taste.touch.timed else ():
        check_time(piece.played, piece.name)
    ranges = ranges_of(codec)
    moved, key = keys_of(taste, piece_a, piece_b, ranges)
    clip_a = piece_a.clip.moved(moved[0].semitones)
    clip_b = paced(piece_b.clip, sides.pace, piece_a).moved(moved[1].semitones)
    playing = Playing(taste.touch, clip_a, clip_b, codec.grid.steps, taste.decoding.seed)
    way = _Way(Walk(explorer, codec, taste, playing.read), course, sides.bars, moved[1])
    ends = way.ends((piece_a, piece_b), moved, sides.pace)
    bars = [
        Bar(mix, _tempo(pairs[place // sides.bars], sides.pace, mix), up, *alike)
        for place, (mix, up, alike) in enumerate(
            zip(way.mixes.tolist(), way.ups.tolist(), way.alike(ranges), strict=True)
        )
    ]
    found = Journey(
        pairs, bars, way.played(playing), ends, key, taste, course, usual_cost(explorer)
    )
    found.said.extend([*_told(found, codec, said), *playing.told])
    return found


# --- which phrases are heard together ------------------------------------------------------------


class _Sides(NamedTuple):
    """Both songs as phrases of one length, and how many times B's notes are lengthened."""

    a: list[Piece]
    b: list[Piece]
    bars: int  # of a phrase, in A's metre
    pace: float
    said: list[str]


def _sides(a: Song, b: Song, codec: MusicCodec, taste: Taste, course: Course) -> _Sides:
    """Both songs, cut into phrases that are whole windows, as long as the shorter song allows."""
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
    first = in_order(a, codec, bars, at=taste.from_a, asked=taste.track_a)
    other = in_order(b, codec, count, at=taste.from_b, asked=taste.track_b)
    return _Sides(
        [piece.of_length(beats) for piece in first],
        [piece.of_length(beats / pace) for piece in other],
        bars,
        pace,
        said,
    )


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
    window = codec.grid.bars * (a if taste.metre == "stretch" else codec.grid.metre).beats

    def wrong(bars: int) -> tuple[bool, bool, bool, int]:
        beats = bars * a.beats
        apart = beats % b > 1e-6, beats % window > 1e-6
        return bars % taste.bars > 0, *apart, abs(bars - taste.bars)

    return min(range(1, max(min(room, max(WHOLE, taste.bars)), 1) + 1), key=wrong)


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


def _pairs(sides: _Sides, course: Course) -> tuple[list[Pair], list[str]]:
    """The phrases that are heard together, and what is to be said of how they were matched."""
    a, b, each = len(sides.a), len(sides.b), sides.bars
    wanted = min(a, b) if course.fit == "trim" else max(a, b)
    why = ""
    if course.bars is not None:
        asked = max(course.bars // each, 1)
        count = min(asked, wanted) if course.fit == "trim" else asked
        if count * each != course.bars:
            why = f", {course.bars} were asked for"
    else:
        count = min(wanted, max(LONGEST // each, 1))
        if count < wanted:
            why = f", though the songs last {wanted * each}: --bars {wanted * each} takes them all"
        elif course.fit != "trim":
            count = max(count, math.ceil(SHORTEST / each))
            why = f", for the songs last {wanted * each}" * (count > wanted)
    if count * each < 2:
        raise Refused(
            f"{count * each} bar: a journey has 2 bars or more. Ask for more: --bars 16."
        )
    places = matched(a, b, count, course.fit)
    said = [
        f"length: {count * each} bars, {count} phrases of {each}{why}; A has {a} as long, B "
        f"{b} ({course.fit})"
    ]
    return [Pair(sides.a[i], sides.b[j]) for i, j in places], [*sides.said, *said]


def _whole(pieces: Sequence[Piece]) -> Clip:
    """Phrases one after the other; what one holds into the next, as in its song, is one note."""
    tied = {
        (place, name)
        for place, (before, after) in enumerate(pairwise(pieces), 1)
        if before.end == after.start
        for name, part in before.parts.items()
        if name != DRUMS and _held(part.notes, before.end, before.song.ticks_per_beat * SIXTEENTH)
    }
    return join([piece.clip for piece in pieces], tied)


def _held(notes: Notes, tick: int, step: float) -> bool:
    """Whether a note sounds over a tick, by more than half a step to either side."""
    return bool(((notes.start < tick - step / 2) & (notes.end >= tick + step / 2)).any())


def _all(pieces: Sequence[Piece]) -> Piece:
    """The phrases that are heard of a song as one piece, and what is to be said of all of them."""
    alike = [line for line in pieces[0].said if all(line in piece.said for piece in pieces)]
    start, end = min(p.start for p in pieces), max(p.end for p in pieces)
    return replace(pieces[0], clip=_whole(pieces), start=start, end=end, said=alike)


def _tempo(pair: Pair, pace: float, mix: float) -> float:
    a, b = pair.a.clip.qpm, pair.b.clip.qpm * pace
    return float(a * (b / a) ** mix)  # a and b alike give just that


# --- the way -------------------------------------------------------------------------------------


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


def places_in(notes: Notes, bar: float, count: int) -> Ints:
    """The bar in which each note begins, from 0, of so many ticks."""
    return np.minimum((notes.start + 1e-6) // bar, count - 1).astype(np.int64)


class _Way:
    """What is decoded between two songs, bar by bar."""

    def __init__(self, walk: Walk, course: Course, phrase: int, move: Move) -> None:
        self.walk, self.codec = walk, walk.codec
        home, grid = walk.ends[0], walk.codec.grid
        self.step = home.ticks_per_beat / grid.steps
        self.bar, self.count = home.bar, round(home.length / home.bar)
        if course.curve == "step" and self.count < 2 * phrase:
            raise Refused(
                f"a journey of one phrase of {phrase} bars has no steps. Ask for more bars, "
                "--bars 16, or for another --curve."
            )
        window = grid.length * self.step / walk.scale  # ticks
        held = min(math.ceil(window / self.bar - 1e-6), max(self.count // 4, 1))
        self.mixes = mixes(self.count, held, course.curve, phrase)
        begins = np.arange(self.count) * self.bar
        first = ((begins // window) * window // self.bar).astype(int)  # of each bar's window
        ups = [glided(walk.taste, move, mix) for mix in self.mixes[first].tolist()]
        at_end = glided(walk.taste, move, 1.0)
        self.ups = np.where(self.mixes == 0, 0, np.where(self.mixes == 1, at_end, ups))
        rows = np.arange(len(walk.windows[0]) * grid.length).reshape(-1, grid.length)
        ticks = (rows + 1e-6) * self.step / walk.scale
        self.rows: Ints = np.minimum(ticks // self.bar, self.count - 1).astype(np.int64)

    @cached_property
    def written(self) -> Clip:
        """All that the decoder writes, as the ends are read: no key glides yet."""
        clips = self._windows()
        nearer = self.mixes[self.rows[:, 0]] >= 0.5
        tied = {
            (place, name)
            for end, ties in enumerate(self.walk.tied)
            for place, name in ties
            if nearer[place] == end
        }
        clip, home, scale = join(clips, tied), self.walk.ends[0], self.walk.scale
        clip = clip if scale == 1 else clip.stretched(1 / scale)
        return replace(clip.cut(0, home.length), metre=home.metre, qpm=home.qpm)

    def _windows(self) -> list[Clip]:
        """Every window, each of its bars from what is written at the bar's mix."""
        kept = [np.unique(self.mixes[bars]) for bars in self.rows]
        most = max(map(len, kept))
        mix = np.stack([np.pad(each, (0, most - len(each)), "edge") for each in kept], axis=1)
        written = self.walk.ids(self._codes(mix))  # (S, K) lists of ids
        spliced = self._rows_of if isinstance(self.codec, VoicedCodec) else self._bars_of
        return [
            spliced(place, [ids[place] for ids in written], np.searchsorted(own, self.mixes[bars]))
            for place, (own, bars) in enumerate(zip(kept, self.rows, strict=True))
        ]

    def _rows_of(self, place: int, ids: Sequence[Sequence[int]], which: Ints) -> Clip:
        """A window of which each step is taken from one of several (T,), where steps are ids."""
        each = np.array(ids).reshape(len(ids), len(which), -1)
        taken = each[which, np.arange(len(which))].flatten()
        return self.codec.decode(taken.tolist(), self._feel(place, self.mixes[self.rows[place]]))

    def _bars_of(self, place: int, ids: Sequence[Sequence[int]], which: Ints) -> Clip:
        """A window of which each step is heard from one of several (T,), where ids are events."""
        begins = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(which)]
        step, clips = self.walk.ends[0].ticks_per_beat / self.codec.grid.steps, []
        for first, last in pairwise(begins):
            mix = np.full(len(which), self.mixes[self.rows[place][first]])
            clip = self.codec.decode(ids[which[first]], self._feel(place, mix))
            clips.append(clip.heard(round(first * step), round(last * step), step))
        return join(clips)

    @cached_property
    def ends_codes(self) -> torch.Tensor:
        """Codes of A and of B (2, K, D); where refined, those to which the mix is nearer.

        The others are hardly heard, and what comes again is refined once.
        """
        walk = self.walk
        every = [window for windows in walk.windows for window in windows]
        z = walk.explorer.encode(every)
        if walk.taste.refine:
            mix = self.mixes[self.rows]
            near = np.concatenate([mix.min(1) < 0.5, mix.max(1) >= 0.5])
            ids = [tuple(self.codec.encode(window).ids) for window in every]
            first = {ids[i]: i for i in np.flatnonzero(near)[::-1].tolist()}
            fitted = walk.explorer.settle([every[i] for i in first.values()], z[[*first.values()]])
            own = dict(zip(first, fitted, strict=True))
            z = torch.stack([own[key] if near[i] else z[i] for i, key in enumerate(ids)])
        return z.view(2, -1, z.shape[1])

    def _codes(self, mix: Floats) -> torch.Tensor:
        """Mixes (S, K) -> codes (S, K, D): z as the taste has it, a label's part straight."""
        z_a, z_b = self.ends_codes
        size, t = self.walk.explorer.latent, torch.from_numpy(mix)[..., None]
        a, b = z_a.double().expand(len(mix), -1, -1), z_b.double().expand(len(mix), -1, -1)
        z = PATHS[self.walk.taste.kind](a[..., :size], b[..., :size], t)
        z = torch.cat([z, lerp(a[..., size:], b[..., size:], t)], dim=-1)
        return torch.where(t == 0, a, torch.where(t == 1, b, z)).to(z_a.dtype)

    def _feel(self, place: int, mix: Floats) -> Feel:
        """How a window is played: at every step as A and B are, by the mix there (T,)."""
        share = mix[:, None].astype(np.float32)
        pairs = zip(*(feels[place] for feels in self.walk.feels), strict=True)
        return Feel(*((1 - share) * one + share * other for one, other in pairs))

    def played(self, playing: Playing) -> Clip:
        """The whole piece: its ends are the songs themselves, and all is in its own key."""
        clip = self._touched(playing)
        edges = self._edges()
        own_a, own_b = playing.end(0), playing.end(1)
        cut = zip((own_a, clip, own_b), edges, strict=True)
        clips = [each.heard(*edge, self.step) for each, edge in cut]
        tied = {
            (place, name)
            for place in (1, 2)
            for name, notes in clip.parts.items()
            if name != DRUMS and _held(notes, edges[place][0], self.step)
        }
        return self._lifted(join(clips, tied))

    def _edges(self) -> list[tuple[int, int]]:
        """Where A itself sounds, where what is written, and where B itself does, in ticks."""
        first = round(int((self.mixes == 0).sum()) * self.bar)
        last = round(int((self.mixes < 1).sum()) * self.bar)
        return [(0, first), (first, last), (last, self.walk.ends[0].length)]

    def _touched(self, playing: Playing) -> Clip:
        """What is written, with its feel put back, bars of one mix at a time."""
        if playing.touch.idle:
            return self.written
        begins = [0, *(np.flatnonzero(np.diff(self.mixes)) + 1).tolist(), self.count]
        ticks = [round(place * self.bar) for place in begins]
        clips = [
            playing.written(self.written.heard(a, b, self.step), float(self.mixes[place]))
            for a, b, place in zip(ticks, ticks[1:], begins, strict=False)
        ]
        tied = {
            (place, name)
            for place, tick in enumerate(ticks[1:-1], 1)
            for name, notes in self.written.parts.items()
            if name != DRUMS and _held(notes, tick, self.step)
        }
        return join(clips, tied)

    def _lifted(self, clip: Clip) -> Clip:
        """Every note moved as its bar is."""
        parts = {
            name: notes if name == DRUMS else lifted(notes, self.ups[self._place(notes)])
            for name, notes in clip.parts.items()
        }
        return replace(clip, parts=parts)

    def _place(self, notes: Notes) -> Ints:
        return places_in(notes, self.bar, self.count)

    def alike(self, ranges: Mapping[str, Range]) -> list[tuple[float, float]]:
        """F1 of every bar as it is written with A's and with B's bar at its place."""
        ticks = [round(place * self.bar) for place in range(self.count + 1)]
        return [
            (self._agreement(0, ranges, edge), self._agreement(1, ranges, edge))
            for edge in pairwise(ticks)
        ]

    def _agreement(self, end: int, ranges: Mapping[str, Range], edge: tuple[int, int]) -> float:
        one, other = (c.heard(*edge, self.step) for c in (self.walk.ends[end], self.written))
        return agreement(one, other, self.codec.grid, ranges)

    def ends(
        self, pieces: tuple[Piece, Piece], moved: tuple[Move, Move], pace: float
    ) -> list[End]:
        """A and B, and how what is theirs alone comes back."""
        edges, ranges = self._edges(), ranges_of(self.codec)
        costs, lost = self.walk.costs() or (None, None), self.walk.lost()
        return [
            End(
                "AB"[i],
                pieces[i],
                moved[i],
                (1.0, pace)[i],
                costs[i],
                lost[i],
                self._agreement(i, ranges, edges[2 * i]),
            )
            for i in (0, 1)
        ]


def lifted(notes: Notes, semitones: NDArray[np.integer[Any]]) -> Notes:
    """Notes (N), each so many semitones (N,) higher; octaves are kept inside MIDI."""
    return joined([replace(notes, pitch=fold(notes.pitch + semitones, 0, 127))])


# --- what is said --------------------------------------------------------------------------------


def _told(found: Journey, codec: MusicCodec, matching: Sequence[str]) -> list[str]:
    """What was decided, and what to be wary of, for people."""
    return [
        *pieces_told(found.ends),
        *matching,
        *_left_told(found),
        *keys_told(found.ends, found.key, ranges_of(codec), found.taste),
        tempos_told(found.ends),
        *metres_told(found.ends, found.taste, codec),
        *ends_told(found.ends, found.usual),
    ]


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
