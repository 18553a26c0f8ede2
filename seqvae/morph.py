"""A morph: one song's phrase becomes another's, step by step through the space of codes.

The ends are the phrases themselves; between them a decoder writes what lies on the way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from .clips import Clip, Feel, Grid, join, split, ties
from .codecs.music import MusicCodec
from .errors import Refused
from .explore import Decoding, Explorer
from .keys import KeyFound, smallest_move
from .latent import PATHS, path
from .midi import TICKS, Song, Source, read
from .pieces import Piece, phrase
from .recipe import unknown

FOLD = math.sqrt(2)  # tempos farther apart are read as half or double
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
        key: "a" or "b" moves the other's notes by the smallest interval; "keep" moves none.
        metre: where B's, or the model's, is not A's: "beats" counts beats on, "stretch" bars.
        kind: of the path, "lerp" or "slerp".
        refine: move the ends' codes until the decoder gives the ends back.
        band: the tracks the model does not know, in the full render: "crossfade", "a" or "b".
        decoding: greedy, or draws with one noise for all steps.
    """

    bars: int = 4
    from_a: int | None = None
    from_b: int | None = None
    track_a: str | None = None
    track_b: str | None = None
    steps: int = 9
    key: Literal["a", "b", "keep"] = "a"
    metre: Literal["beats", "stretch"] = "beats"
    kind: str = "lerp"
    refine: bool = True
    band: Literal["crossfade", "a", "b"] = "crossfade"
    decoding: Decoding = TOGETHER

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise Refused(f"steps = {self.steps}: a path has at least its 2 ends.")
        if self.bars < 1:
            raise Refused(f"bars = {self.bars}: a phrase has 1 bar or more.")
        choices: dict[str, Sequence[str]] = {
            "key": ("a", "b", "keep"),
            "metre": ("beats", "stretch"),
            "band": ("crossfade", "a", "b"),
            "kind": list(PATHS),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise Refused(unknown(getattr(self, name), known, name, "choice"))


class Step(NamedTuple):
    """One phrase on the way: how much of B is in it, and its music; what the ends' codes give."""

    mix: float
    clip: Clip
    again: Clip  # as the decoder writes it; at the ends the clip is the phrase itself


@dataclass(frozen=True)
class Morph:
    """The way from one phrase to another."""

    a: Piece
    b: Piece
    key: KeyFound | None  # the one both are in; None: each in its own
    moved: tuple[int, int]  # semitones that A and B were moved by
    pace: float  # how many times B's notes were lengthened
    steps: list[Step]
    taste: Taste
    costs: tuple[float, float]  # -ELBO of A and B, nats a window
    usual: float | None  # what the model's validation items cost it
    grid: Grid
    said: list[str] = field(default_factory=list)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Onset and pitch F1 of what comes back of A and of B, on the grid."""
        first, last = self.steps[0], self.steps[-1]
        return agreement(first.clip, first.again, self.grid), agreement(
            last.clip, last.again, self.grid
        )

    @cached_property
    def distances(self) -> list[tuple[float, float]]:
        """Onset and pitch F1 of every step with A and with B."""
        first, last = self.steps[0].clip, self.steps[-1].clip
        return [
            (agreement(first, step.clip, self.grid), agreement(last, step.clip, self.grid))
            for step in self.steps
        ]


def morph(explorer: Explorer, a: Source, b: Source, taste: Taste | None = None) -> Morph:
    """Two pieces of music and the way between them.

    Raises `Refused` for a run that knows no music, files that cannot be read (`MidiError`) or lack
    the parts the run knows (`NoPart`).
    """
    taste = taste or Taste()
    codec = music_codec(explorer)
    piece_a = phrase(_song(a), codec, taste.bars, at=taste.from_a, asked=taste.track_a)
    song_b = _song(b)
    beats = piece_a.clip.length / TICKS
    piece_b, pace = _other(song_b, codec, taste, piece_a, beats)
    clip_a, clip_b = piece_a.clip, _paced(piece_b.clip, pace, piece_a)
    moved, key = _keys(taste, piece_a, piece_b, clip_a, clip_b)
    clip_a, clip_b = clip_a.moved(moved[0]), clip_b.moved(moved[1])
    walk = _Walk(explorer, codec, taste, clip_a, clip_b)
    usual = explorer.facts.get("figures", {}).get("negative_elbo")
    found = Morph(
        piece_a,
        piece_b,
        key,
        moved,
        pace,
        walk.steps(),
        taste,
        walk.costs(),
        usual,
        Grid(codec.grid.steps, clip_a.metre, max(round(clip_a.length / clip_a.bar), 1)),
    )
    found.said.extend(_told(found))
    return found


def music_codec(explorer: Explorer) -> MusicCodec:
    """The codec of a run that knows music. Raises `Refused` for one that does not."""
    if not isinstance(explorer.codec, MusicCodec):
        raise Refused(
            f"the run {explorer.recipe['name']!r} reads sentences, not MIDI. Name one that was "
            "trained on music, or none: melody is opened then."
        )
    return explorer.codec


def _song(source: Source) -> Song:
    song = read(source, channels=True)
    if not any(len(track.notes) for track in song.tracks):
        raise Refused(f"{song.name} holds no notes. Give a file with some.")
    return song


def _other(
    song: Song, codec: MusicCodec, taste: Taste, a: Piece, beats: float
) -> tuple[Piece, float]:
    """B's phrase, as long as A's when its notes are made `pace` times as long, and that."""
    found = phrase(song, codec, taste.bars, at=taste.from_b, asked=taste.track_b)
    pace = 1.0
    if taste.metre == "stretch" and found.clip.metre.beats != a.clip.metre.beats:
        pace = a.clip.metre.beats / found.clip.metre.beats
    while found.clip.qpm * pace > a.clip.qpm * FOLD and pace > 1 / 8:
        pace /= 2
    while found.clip.qpm * pace < a.clip.qpm / FOLD and pace < 8:
        pace *= 2
    bars = max(round(beats / pace / found.clip.metre.beats), 1)
    if bars != taste.bars and taste.from_b is None:
        found = phrase(song, codec, bars, asked=taste.track_b)
    return _of_length(found, codec, round(beats / pace * song.ticks_per_beat)), pace


def _of_length(found: Piece, codec: MusicCodec, ticks: int) -> Piece:
    """The piece made so many ticks long, of what follows in its song, or cut."""
    end = found.start + ticks
    rest = (end - int(found.song.bars.start[-1])) / found.song.ticks_per_beat
    if rest > 0:
        found.said.append(f"it ends early: {rest:g} beats of rest were added")
    cut = {name: part.notes.within(found.start, end) for name, part in found.parts.items()}
    clip = replace(found.clip, parts=cut, length=ticks, ticks_per_beat=found.song.ticks_per_beat)
    return replace(found, end=end, clip=clip.rescaled(TICKS))


def _paced(clip: Clip, pace: float, a: Piece) -> Clip:
    """B's clip in A's beats: longer notes at as much faster a tempo, so it sounds as it did."""
    paced = clip if pace == 1 else clip.stretched(pace)
    return replace(paced, qpm=clip.qpm * pace, length=a.clip.length, metre=a.clip.metre)


def _keys(
    taste: Taste, a: Piece, b: Piece, clip_a: Clip, clip_b: Clip
) -> tuple[tuple[int, int], KeyFound | None]:
    """How far to move A and B, and the key they then share."""
    registers = _register(clip_a), _register(clip_b)
    if taste.key == "keep" or None in registers:
        return (0, 0), None
    high_a, high_b = map(float, registers)  # type: ignore[arg-type]
    if taste.key == "b":
        return (smallest_move(b.key, a.key, high_b, high_a), 0), b.key
    return (0, smallest_move(a.key, b.key, high_a, high_b)), a.key


def _register(clip: Clip) -> float | None:
    """The median pitch of what has pitch in a clip."""
    pitched = [notes.pitch for name, notes in clip.parts.items() if name != "drums"]
    pitches = np.concatenate(pitched) if pitched else np.zeros(0)
    return float(np.median(pitches)) if len(pitches) else None


class _Walk:
    """The codes of two clips, window by window, and the phrases between them."""

    def __init__(
        self, explorer: Explorer, codec: MusicCodec, taste: Taste, a: Clip, b: Clip
    ) -> None:
        self.explorer, self.codec, self.taste = explorer, codec, taste
        self.ends = a, b
        bar = codec.grid.metre.beats / a.metre.beats
        # By "stretch" the model reads a bar of A's metre as one of its own.
        self.scale = bar if taste.metre == "stretch" else 1.0
        self.windows = [split(self._read(clip), codec.grid) for clip in self.ends]
        self.tied = [ties(self._read(clip), codec.grid) for clip in self.ends]
        self.feels = [[codec.feel(window) for window in windows] for windows in self.windows]

    def _read(self, clip: Clip) -> Clip:
        return clip if self.scale == 1 else clip.stretched(self.scale)

    @cached_property
    def codes(self) -> tuple[Tensor, Tensor]:
        """Of A and of B (K, D), a code a window."""
        every = [*self.windows[0], *self.windows[1]]
        z = self.explorer.encode(every)
        if self.taste.refine:
            z = self.explorer.settle(every, z)
        z_a, z_b = z.chunk(2)
        return z_a, z_b

    def costs(self) -> tuple[float, float]:
        """-ELBO of A and of B, nats a window."""
        a, b = (float(self.explorer.cost(windows).mean()) for windows in self.windows)
        return a, b

    def steps(self) -> list[Step]:
        count = self.taste.steps
        z = path(*self.codes, count, kind=self.taste.kind)
        ids = self.explorer.write(z.flatten(0, 1), self.taste.decoding)
        windows = len(self.windows[0])
        written = [ids[i : i + windows] for i in range(0, len(ids), windows)]
        mixes = np.linspace(0, 1, count).tolist()
        found = []
        for place, (mix, step) in enumerate(zip(mixes, written, strict=True)):
            again = self._clip(step, mix)
            end = {0: self.ends[0], count - 1: self.ends[1]}.get(place)
            found.append(Step(mix, again if end is None else end, again))
        return found

    def _clip(self, ids: Sequence[Sequence[int]], mix: float) -> Clip:
        """The windows of one step, played as a mix of how A and B are played, as one clip."""
        a, b = self.ends
        feels = [_mixed(one, other, mix) for one, other in zip(*self.feels, strict=True)]
        clips = [self.codec.decode(each, feel) for each, feel in zip(ids, feels, strict=True)]
        clip = join(clips, self.tied[round(mix)])
        clip = clip if self.scale == 1 else clip.stretched(1 / self.scale)
        qpm = a.qpm ** (1 - mix) * b.qpm**mix
        return replace(clip.cut(0, a.length), metre=a.metre, qpm=qpm)


def _mixed(a: Feel, b: Feel, mix: float) -> Feel:
    return Feel(*((1 - mix) * one + mix * other for one, other in zip(a, b, strict=True)))


def agreement(one: Clip, other: Clip, grid: Grid) -> float:
    """F1 of notes that begin at the same step with the same pitch, in the same part."""
    first, second = (_struck(clip, grid) for clip in (one, other))
    if not first and not second:
        return 1.0
    return 2 * len(first & second) / (len(first) + len(second))


def _struck(clip: Clip, grid: Grid) -> set[tuple[str, int, int]]:
    step = clip.ticks_per_beat / grid.steps
    return {
        (name, math.floor(start / step + 0.5), pitch)
        for name, notes in clip.parts.items()
        for start, pitch in zip(notes.start.tolist(), notes.pitch.tolist(), strict=True)
    }


def _told(found: Morph) -> list[str]:
    """What was decided, and what to be wary of, for people."""
    a, b = found.a, found.b
    said = [f"A {a.name}: {line}" for line in a.said] + [f"B {b.name}: {line}" for line in b.said]
    said += [_key_told(found), _tempo_told(found)]
    if b.clip.metre != a.clip.metre:
        how = "bar by bar, stretched" if found.taste.metre == "stretch" else "beat by beat"
        said.append(f"metre: {a.clip.metre}, A's; B is in {b.clip.metre} and is read {how}")
    for name, cost in zip("AB", found.costs, strict=True):
        if found.usual is not None and cost > STRANGE * found.usual:
            said.append(
                f"{name} is far from what this model knows: its bars cost "
                f"{cost / math.log(2):.0f} bits a window, usual are "
                f"{found.usual / math.log(2):.0f}. Expect the steps near it to be plainer"
            )
    for name, share in zip("AB", found.ends, strict=True):
        if share < 0.9:
            said.append(f"{name} comes back in part only: {share:.0%} of its notes (F1)")
    return said


def _key_told(found: Morph) -> str:
    a, b = (f"{p.key.name} ({p.key.confidence:.0%} sure)" for p in (found.a, found.b))
    if found.key is None:
        return f"key: kept, A in {a}, B in {b}"
    name, semitones = ("A", found.moved[0]) if found.taste.key == "b" else ("B", found.moved[1])
    return f"key: {found.key.name}; A in {a}, B in {b}, {name} moved by {semitones:+d} semitones"


def _tempo_told(found: Morph) -> str:
    a, b = found.steps[0].clip.qpm, found.steps[-1].clip.qpm
    told = f"tempo: {a:.0f} to {b:.0f} bpm"
    if found.pace != 1:
        told += (
            f"; B's {found.b.clip.qpm:.0f} bpm is read as {b:.0f}, its notes {found.pace:g} times "
            "as long, and sounds as it did"
        )
    return told
