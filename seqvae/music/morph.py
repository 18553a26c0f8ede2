"""A morph: one song's phrase becomes another's, step by step through the space of codes.

The ends are the phrases themselves; between them a decoder writes what lies on the way.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..codecs.music import MusicCodec
from ..codecs.voices import PLACE, Line
from ..distributions import has_density
from ..errors import Refused
from ..explore import Decoding, Explorer
from ..latent import PATHS
from ..midi import TICKS, Song, Source, fold, read
from ..midi.clips import DRUMS, Clip, Feel, Floats, Grid, join, split, ties
from ..midi.keys import KeyFound, Move, nearest_octaves, smallest_move
from ..recipe import unknown
from .feel import AS_IT_IS, Playing, Touch, check_time
from .pieces import Piece, check_notes, phrase

FOLD = math.sqrt(2)  # tempos farther apart are read as half or double
SLOWEST = 10.0  # quarter notes a minute that a tempo is folded to
CROWDED = 0.1  # of the onsets: what half time may push onto steps that are taken
LONGEST = 256  # steps of a way
BEATS = 1024  # of a phrase, at most: 64 bars of 16
DOUBT = 0.5  # of a key: one less sure moves nothing into another
STRANGE = 1.5  # times what the model's own kind of music costs it
TOGETHER = Decoding(together=True)


@dataclass(frozen=True)
class Taste:
    """How to morph; what a musician would choose if left alone.

    Arguments:
        bars: of the phrase, in A's metre.
        from_a, from_b: the bar (from 1) where the phrase begins; None: the most repeated, fullest.
        track_a, track_b: which track, by name, "#2" or "program:0-31"; None: by its look.
        steps: phrases in all, both ends included.
        key: "a" or "b" moves the other's notes by the smallest interval, and its parts by octaves
            into one register; "keep" moves none. "glide" reads both in A's, and moves all
            from there to B's as the mix grows, a semitone at a time.
        metre: where B's, or the model's, is not A's: "beats" counts beats on, "stretch" bars.
        kind: of the path, "lerp" or "slerp".
        refine: move the ends' codes until the decoder gives the ends back.
        band: the tracks the model does not know, in the full render: "crossfade", "a" or "b".
        decoding: greedy, or draws with one noise for all steps.
        touch: what to do with swing, timing and velocity; by default nothing.
    """

    bars: int = 4
    from_a: int | None = None
    from_b: int | None = None
    track_a: str | None = None
    track_b: str | None = None
    steps: int = 9
    key: Literal["a", "b", "keep", "glide"] = "a"
    metre: Literal["beats", "stretch"] = "beats"
    kind: str = "lerp"
    refine: bool = True
    band: Literal["crossfade", "a", "b"] = "crossfade"
    decoding: Decoding = TOGETHER
    touch: Touch = AS_IT_IS

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= LONGEST:
            raise Refused(f"steps = {self.steps}: a path has its 2 ends, and {LONGEST} at most.")
        if self.bars < 1:
            raise Refused(f"bars = {self.bars}: a phrase has 1 bar or more.")
        choices: dict[str, Sequence[str]] = {
            "key": ("a", "b", "keep", "glide"),
            "metre": ("beats", "stretch"),
            "band": ("crossfade", "a", "b"),
            "kind": list(PATHS),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise Refused(unknown(getattr(self, name), known, name, "choice"))


class Range(NamedTuple):
    """Pitches, both ends included."""

    low: int
    high: int


class Step(NamedTuple):
    """One phrase on the way: how much of B is in it, and its music; what the ends' codes give."""

    mix: float
    clip: Clip
    again: Clip  # as the decoder writes it; at the ends the clip is the phrase itself


class End(NamedTuple):
    """A phrase at an end of a way: how it was brought to the others, what a model makes of it."""

    letter: str  # A, B, ...
    piece: Piece
    move: Move  # of its parts; its other tracks are moved in key only
    pace: float  # how many times its notes were lengthened
    cost: float | None  # -ELBO, nats a window; None: it has none
    lost: Mapping[str, int]  # what the codec changed in it
    f1: float  # onset and pitch F1 of what comes back of it, on the grid

    @property
    def file(self) -> str:
        """The name of its file."""
        return Path(self.piece.name).name


@dataclass(frozen=True)
class Morph:
    """The way from one phrase to another."""

    a: Piece
    b: Piece
    key: KeyFound | None  # the one that both were brought to; None: each is in its own
    moved: tuple[Move, Move]  # A's and B's parts; their other tracks are moved in key only
    pace: float  # how many times B's notes were lengthened
    steps: list[Step]
    taste: Taste
    costs: tuple[float, float] | None  # -ELBO of A and B, nats a window; None: it has none
    usual: float | None  # what the model's validation items cost it
    lost: tuple[Mapping[str, int], Mapping[str, int]]  # what the codec changed in A and B
    grid: Grid
    ranges: Mapping[str, Range]  # the pitches the model can write, by part
    written: list[Step]  # the steps as the model has them, before what `Taste.touch` does
    said: list[str] = field(default_factory=list)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Onset and pitch F1 of what comes back of A and of B, on the grid."""
        first, last = self.written[0], self.written[-1]
        return self._alike(first.clip, first.again), self._alike(last.clip, last.again)

    @property
    def both(self) -> list[End]:
        """A and B."""
        pairs = zip(self.costs or (None, None), self.lost, self.ends, strict=True)
        of_a, of_b = pairs
        return [
            End("A", self.a, self.moved[0], 1.0, *of_a),
            End("B", self.b, self.moved[1], self.pace, *of_b),
        ]

    def glide(self, mix: float) -> int:
        """By how many semitones all is moved at a mix, on its way from A's key to B's."""
        return glided(self.taste, self.moved[1], mix)

    @cached_property
    def distances(self) -> list[tuple[float, float]]:
        """Onset and pitch F1 of every step with A and with B."""
        first, last = self.written[0].clip, self.written[-1].clip
        return [
            (self._alike(first, step.clip), self._alike(last, step.clip)) for step in self.written
        ]

    def _alike(self, one: Clip, other: Clip) -> float:
        return agreement(one, other, self.grid, self.ranges)


def morph(explorer: Explorer, a: Source, b: Source, taste: Taste | None = None) -> Morph:
    """Two pieces of music and the way between them.

    Raises `Refused` for a run that knows no music, files that cannot be read (`MidiError`) or lack
    the parts the run knows (`NoPart`).
    """
    taste = taste or Taste()
    codec = music_codec(explorer)
    song_a, song_b = song_of(a), song_of(b)
    piece_a = first(song_a, codec, taste)
    piece_b, pace = beside(song_b, codec, taste, piece_a)
    clip_a, clip_b = piece_a.clip, paced(piece_b.clip, pace, piece_a)
    ranges = ranges_of(codec)
    moved, key = keys_of(taste, piece_a, piece_b, ranges)
    clip_a, clip_b = clip_a.moved(moved[0].semitones), clip_b.moved(moved[1].semitones)
    for piece in (piece_a, piece_b) if taste.touch.timed else ():
        check_time(piece.played, piece.name)
    seed = taste.decoding.seed
    playing = Playing(taste.touch, clip_a, clip_b, codec.grid.steps, seed)
    walk = Walk(explorer, codec, taste, playing.read)
    grid = Grid(codec.grid.steps, clip_a.metre, taste.bars)
    written = _written(walk, taste)
    of_a, of_b = walk.costs() or (None, None)
    costs = None if of_a is None or of_b is None else (of_a, of_b)
    lost_a, lost_b = walk.lost()
    lost, usual = (lost_a, lost_b), usual_cost(explorer)
    steps = [
        _glided(step, glided(taste, moved[1], step.mix)) for step in _played(written, playing)
    ]
    found = Morph(
        piece_a, piece_b, key, moved, pace, steps, taste, costs, usual, lost, grid, ranges, written
    )
    found.said.extend([*_told(found, codec), *playing.told])
    return found


def music_codec(explorer: Explorer) -> MusicCodec:
    """The codec of a run that knows music. Raises `Refused` for one that does not."""
    if not isinstance(explorer.codec, MusicCodec):
        raise Refused(
            f"the run {explorer.recipe['name']!r} reads sentences, not MIDI. Name one that was "
            "trained on music, such as melody."
        )
    return explorer.codec


def usual_cost(explorer: Explorer) -> float | None:
    """-ELBO of the validation items, nats a window, where it was measured."""
    cost: float | None = explorer.facts.get("figures", {}).get("negative_elbo")
    return cost


def ranges_of(codec: MusicCodec) -> dict[str, Range]:
    """The lowest and highest pitch that a codec can write, by part; drums have none."""
    return {v.part: Range(v.low, v.high) for v in codec.voices if isinstance(v, Line)}


def song_of(source: Source) -> Song:
    """A song to be morphed. Raises `MidiError` for what cannot be read, `Refused` for silence."""
    song = read(source, channels=True)
    check_notes(song)
    return song


def first(song: Song, codec: MusicCodec, taste: Taste) -> Piece:
    """A's phrase, by whose bars all others are as long. Raises `Refused` for one too long."""
    piece = phrase(song, codec, taste.bars, at=taste.from_a, asked=taste.track_a)
    beats = taste.bars * piece.clip.metre.beats
    if beats > BEATS:
        raise Refused(
            f"{taste.bars} bars of {piece.clip.metre} in {song.name} are {beats:,.0f} beats; "
            f"a phrase has {BEATS:,} at most. Ask for fewer bars."
        )
    return piece.of_length(beats)


def beside(song: Song, codec: MusicCodec, taste: Taste, a: Piece) -> tuple[Piece, float]:
    """B's phrase, as long as A's when its notes are made `pace` times as long, and that."""
    found = phrase(
        song, codec, taste.bars, at=taste.from_b, asked=taste.track_b, metre=a.clip.metre
    )
    plain = 1.0
    if taste.metre == "stretch" and found.clip.metre.beats != a.clip.metre.beats:
        plain = a.clip.metre.beats / found.clip.metre.beats
    pace = folded(plain, found.clip.qpm, a.clip.qpm)
    fitted = _fitted(found, codec, taste, a, pace)
    if pace < plain and crowding(fitted.clip, pace / plain, codec.grid.steps) > CROWDED:
        bpm = found.clip.qpm * plain
        fitted, pace = _fitted(found, codec, taste, a, plain), plain
        told = f"{bpm:.0f} bpm is not read as half of it: its notes are too fast for the grid"
        fitted.said.append(told)
    return fitted, pace


def folded(pace: float, qpm: float, to: float) -> float:
    """The pace times a power of two that brings a tempo nearest to another."""
    while qpm * pace > to * FOLD and qpm * pace > 2 * SLOWEST and pace > 1 / 8:
        pace /= 2
    while qpm * pace < to / FOLD and pace < 8:
        pace *= 2
    return pace


def _fitted(found: Piece, codec: MusicCodec, taste: Taste, a: Piece, pace: float) -> Piece:
    """B's phrase that lasts as long as A's at a pace; as many bars as that takes are chosen."""
    beats = a.clip.length / TICKS / pace
    bars = max(round(beats / found.clip.metre.beats), 1)
    if bars != taste.bars and taste.from_b is None:
        asked, metre = taste.track_b, found.clip.metre
        found = phrase(found.song, codec, bars, asked=asked, metre=metre)
    return found.of_length(beats)


def crowding(clip: Clip, factor: float, steps: int) -> float:
    """The share of onsets that share a step with others once notes are so many times as long."""

    def occupied(times: float) -> int:
        step = clip.ticks_per_beat / steps
        places = (np.floor(n.start * times / step + 0.5) for n in clip.parts.values())
        return sum(len(np.unique(place)) for place in places)

    return 1 - occupied(factor) / max(occupied(1.0), 1)


def paced(clip: Clip, pace: float, a: Piece) -> Clip:
    """B's clip in A's beats: longer notes at as much faster a tempo, so it sounds as it did."""
    paced = clip if pace == 1 else clip.stretched(pace)
    return replace(paced, qpm=clip.qpm * pace, length=a.clip.length, metre=a.clip.metre)


def keys_of(
    taste: Taste, a: Piece, b: Piece, ranges: Mapping[str, Range]
) -> tuple[tuple[Move, Move], KeyFound | None]:
    """How to move A and B, and the key they then share, if they are moved into one."""
    if taste.key == "keep" or not (_pitches(a) and _pitches(b)):
        return (Move(), Move()), None
    home, away = (b, a) if taste.key == "b" else (a, b)
    sure = min(home.key.confidence, away.key.confidence) >= DOUBT
    key = smallest_move(home.key, away.key) if sure else 0
    move = Move(key, _octaves(key, home.clip, away.clip, ranges))
    moved = (move, Move()) if taste.key == "b" else (Move(), move)
    return moved, home.key if sure and taste.key != "glide" else None


def glided(taste: Taste, move: Move, mix: float) -> int:
    """By how many semitones all is moved at a mix, where B was moved into A's key and glides back.

    >>> [glided(Taste(key="glide"), Move(key=-3), mix) for mix in (0, 0.3, 0.6, 1)]
    [0, 1, 2, 3]
    """
    return math.floor(-move.key * mix + 0.5) if taste.key == "glide" else 0


def _glided(step: Step, semitones: int) -> Step:
    """A step that is so many semitones higher."""
    if semitones == 0:
        return step
    return step._replace(clip=step.clip.moved(semitones), again=step.again.moved(semitones))


def _pitches(piece: Piece) -> bool:
    """Whether anything in a piece has pitch."""
    heard = any(len(notes) for name, notes in piece.clip.parts.items() if name != DRUMS)
    return heard or any(not track.drums for track in piece.others)


def _octaves(key: int, home: Clip, away: Clip, ranges: Mapping[str, Range]) -> int:
    """The octaves that bring a clip nearest to another's register, and stay in the ranges."""
    medians = _medians(away)
    if not (medians and _medians(home)):
        return 0
    up = _register(home) - _register(away) - key
    rooms = (
        (ranges[part].low - median - key, ranges[part].high - median - key)
        for part, median in medians.items()
        if part in ranges
    )
    return nearest_octaves(up, rooms)


def _medians(clip: Clip) -> dict[str, float]:
    """The median pitch of every part that has pitch and notes."""
    pitched = {name: n.pitch for name, n in clip.parts.items() if name != DRUMS and len(n)}
    return {name: float(np.median(pitch)) for name, pitch in pitched.items()}


def _register(clip: Clip) -> float:
    """The median pitch of all that has one."""
    pitched = [notes.pitch for name, notes in clip.parts.items() if name != DRUMS]
    return float(np.median(np.concatenate(pitched)))


class Walk:
    """The codes of N clips of one length, window by window, and the phrases between them."""

    def __init__(
        self, explorer: Explorer, codec: MusicCodec, taste: Taste, ends: Sequence[Clip]
    ) -> None:
        self.explorer, self.codec, self.taste, self.ends = explorer, codec, taste, ends
        bar = codec.grid.metre.beats / ends[0].metre.beats
        # By "stretch" the model reads a bar of A's metre as one of its own.
        self.scale = bar if taste.metre == "stretch" else 1.0
        self.windows = [split(self._read(clip), codec.grid) for clip in ends]
        self.tied = [ties(self._read(clip), codec.grid) for clip in ends]
        self.feels = [[codec.feel(window) for window in windows] for windows in self.windows]

    def _read(self, clip: Clip) -> Clip:
        return clip if self.scale == 1 else clip.stretched(self.scale)

    @cached_property
    def codes(self) -> Tensor:
        """Of every end (N, K, D), a code a window."""
        every = [window for windows in self.windows for window in windows]
        z = self.explorer.encode(every)
        if self.taste.refine:
            z = self.explorer.settle(every, z)
        return z.view(len(self.ends), -1, z.shape[1])

    @torch.no_grad()
    def costs(self) -> list[float] | None:
        """-ELBO of every end, nats a window, where it is defined."""
        vae = self.explorer.vae
        q = vae.encoder(self.explorer.batch(self.windows[0]))
        if not (has_density(q) and has_density(vae.prior())):
            return None
        return [float(self.explorer.cost(windows).mean()) for windows in self.windows]

    def lost(self) -> list[dict[str, int]]:
        """What the codec had to change in every end, counted."""
        return [
            dict(sum((Counter(self.codec.encode(w).loss) for w in windows), Counter[str]()))
            for windows in self.windows
        ]

    def clips(self, z: Tensor, weights: Sequence[Sequence[float]]) -> list[Clip]:
        """Codes (S, K, D) -> a phrase each, played as the ends are, by its weights (S, N)."""
        pairs = zip(self.ids(z), weights, strict=True)
        return [self._clip(ids, shares) for ids, shares in pairs]

    def ids(self, z: Tensor) -> list[list[list[int]]]:
        """Codes (S, K, D) -> the ids of every step and window; draws of a window are the same."""
        decoding = self.taste.decoding
        if not decoding.drawn:
            ids = self.explorer.write(z.flatten(0, 1), decoding)
            return [ids[i : i + z.shape[1]] for i in range(0, len(ids), z.shape[1])]
        seeds = (replace(decoding, seed=_seed(decoding.seed, k)) for k in range(z.shape[1]))
        columns = [self.explorer.write(z[:, k], seed) for k, seed in enumerate(seeds)]
        return [list(step) for step in zip(*columns, strict=True)]

    def _clip(self, ids: Sequence[Sequence[int]], weights: Sequence[float]) -> Clip:
        """The windows of one step, played as a mix of how the ends are played, as one clip."""
        feels = [_mixed(each, weights) for each in zip(*self.feels, strict=True)]
        clips = [self.codec.decode(each, feel) for each, feel in zip(ids, feels, strict=True)]
        clip = join(clips, self.tied[weights.index(max(weights))])
        clip = clip if self.scale == 1 else clip.stretched(1 / self.scale)
        qpm = math.prod(end.qpm**share for end, share in zip(self.ends, weights, strict=True))
        home = self.ends[0]
        return replace(clip.cut(0, home.length), metre=home.metre, qpm=qpm)


def _written(walk: Walk, taste: Taste) -> list[Step]:
    """The steps from A to B as the decoder writes them; the ends are the phrases themselves."""
    count = taste.steps
    mixes = [place / (count - 1) for place in range(count)]
    z_a, z_b = walk.codes
    z = walk.explorer.path(z_a, z_b, count, kind=taste.kind)
    again = walk.clips(z, [(1 - mix, mix) for mix in mixes])
    return [
        Step(mix, {0.0: walk.ends[0], 1.0: walk.ends[1]}.get(mix, clip), clip)
        for mix, clip in zip(mixes, again, strict=True)
    ]


def _played(steps: Sequence[Step], playing: Playing) -> list[Step]:
    """The steps of a way with their feel put back; its ends are the phrases themselves."""
    found = []
    for place, (mix, clip, again) in enumerate(steps):
        end = {0: 0, len(steps) - 1: 1}.get(place)
        clip = playing.written(clip, mix) if end is None else playing.end(end)
        found.append(Step(mix, clip, playing.written(again, mix)))
    return found


def _seed(seed: int, window: int) -> int:
    """The seed of a window's draws, which no window of another seed shares."""
    words = np.random.SeedSequence([seed % 2**64, window]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def _mixed(feels: Sequence[Feel], weights: Sequence[float]) -> Feel:
    """How a window is played: the mean of how it is at the ends, by their weights."""

    def mean(each: Sequence[Floats]) -> Floats:
        total = sum(w * values for w, values in zip(weights, each, strict=True))
        return np.asarray(total, np.float32)

    velocity, shift = zip(*feels, strict=True)
    return Feel(mean(velocity), mean(shift))


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


def _told(found: Morph, codec: MusicCodec) -> list[str]:
    """What was decided, and what to be wary of, for people."""
    return [
        *pieces_told(found.both),
        *keys_told(found.both, found.key, found.ranges, found.taste),
        tempos_told(found.both),
        *metres_told(found.both, found.taste, codec),
        *ends_told(found.both, found.usual),
    ]


def pieces_told(ends: Sequence[End]) -> list[str]:
    """How each phrase was chosen."""
    return [f"{end.letter}, {end.file}: {line}" for end in ends for line in end.piece.said]


def ends_told(ends: Sequence[End], usual: float | None) -> list[str]:
    """What to be wary of: what costs much, is folded, is bent, or does not come back."""
    said = []
    for name, cost in ((end.letter, end.cost) for end in ends if end.cost is not None):
        if usual is not None and cost > STRANGE * usual:
            said.append(
                f"{name} is far from what this model knows: its bars cost "
                f"{cost / math.log(2):.0f} bits a window, usual are "
                f"{usual / math.log(2):.0f}. Expect the steps near it to be plainer"
            )
    for end in ends:
        if folded := end.lost.get("folded"):
            said.append(
                f"{end.letter}: {folded} of its notes are outside what the model can write, and "
                "it reads the nearest inside: for a pitch, the same in another octave"
            )
    bent = [end.letter for end in ends if end.piece.bent]
    said += [f"pitch bends are left out, which {' and '.join(bent)} has"] * bool(bent)
    return said + [
        f"{end.letter} comes back in part only: {end.f1:.0%} of its notes (F1)"
        for end in ends
        if end.f1 < 0.9
    ]


def keys_told(
    ends: Sequence[End], key: KeyFound | None, ranges: Mapping[str, Range], taste: Taste
) -> list[str]:
    """The keys of phrases, and how they were moved into one, if they were."""
    known = {end.letter: end.piece.key for end in ends if end.piece.key.confidence}
    keys = [f"{x} is in {key.name} ({key.confidence:.0%} sure)" for x, key in known.items()]
    if not keys:
        return []
    told = [f"key: {', '.join(keys)}"]
    doubtful = [end.letter for end in ends if end.piece.key.confidence < DOUBT]
    if doubtful and taste.key != "keep":
        which = "that" if len(ends) == 2 else f"that of {' and '.join(doubtful)}"
        told.append(f"{which} is too weak evidence to move one into the other's")
    for name, move in ((end.letter, end.move) for end in ends):
        if move.key:
            told.append(f"{name} was moved by {move.key:+d} semitones")
        if move.octaves:
            octaves = f"{move.octaves:+d} octave{'s' * (abs(move.octaves) > 1)}"
            parts = " and ".join(ranges) or "notes"
            told.append(f"{octaves} for {name}'s {parts}, to be in the other's register")
    if taste.key == "glide" and (glide := -ends[-1].move.key):
        told.append(f"and all glides by {glide:+d} on the way, a semitone at a time")
    if all(end.move == Move() for end in ends):
        told.append("nothing was moved" if key is None else "they fit")
    return ["; ".join(told)]


def tempos_told(ends: Sequence[End]) -> str:
    """The tempos of phrases, and which are read in half or double time."""
    tempos = {end.letter: end.piece.clip.qpm * end.pace for end in ends}
    told = [
        f"tempo: {(' to ', ', ')[len(ends) > 2].join(f'{x:.0f}' for x in tempos.values())} bpm"
    ]
    for name, qpm, pace in ((e.letter, e.piece.clip.qpm, e.pace) for e in ends if e.pace != 1):
        told.append(
            f"{name}'s {qpm:.0f} bpm is read as {tempos[name]:.0f}, its notes {pace:.3g} times as "
            "long: it sounds as it did"
        )
    return "; ".join(told)


def metres_told(ends: Sequence[End], taste: Taste, codec: MusicCodec) -> list[str]:
    """Where the metres of phrases and the model differ, and where its windows are longer."""
    home, own = ends[0].piece.clip, codec.grid.metre
    how = "bar by bar, stretched" if taste.metre == "stretch" else "beat by beat"
    others = [(end.letter, end.piece.clip.metre) for end in ends[1:]]
    said = [
        f"metre: {home.metre}, A's; {name} is in {metre} and is read {how}"
        for name, metre in others
        if metre != home.metre
    ]
    if own != home.metre:
        said.append(f"metre: the model knows {own} and reads {home.metre} {how}")
    beats = home.length / TICKS
    beats *= own.beats / home.metre.beats if taste.metre == "stretch" else 1.0
    rest = -beats % (codec.grid.bars * own.beats)
    if rest > 1e-6:
        said.append(
            f"the model reads {codec.grid.bars} bars of {own} at a time: its last window is "
            f"filled with {rest:.3g} beats of rest, which are not written"
        )
    return said
