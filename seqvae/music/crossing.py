"""The crossing of a journey: what is decoded between two songs, bar by bar."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..codecs.music import VoicedCodec
from ..errors import Refused
from ..latent import PATHS, lerp
from ..midi import Notes, fold, joined
from ..midi.clips import DRUMS, Clip, Feel, join
from ..midi.keys import Move
from .beside import glided
from .course import Course, Floats, alone, mixes
from .feel import Playing
from .likeness import compared, ranges_of
from .pieces import Piece, held
from .told import End
from .walk import Walk

Ints = NDArray[np.int64]


class Crossing:
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
        held = alone(math.ceil(window / self.bar - 1e-6), self.count)
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
            for name in held(clip.parts, edges[place][0], self.step)
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
            for name in held(self.written.parts, tick, self.step)
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

    def alike(self) -> list[tuple[float | None, float | None]]:
        """F1 of every bar as it is written with A's and with B's bar at its place.

        None where neither has a note.
        """
        grid, ranges, written = self.codec.grid, ranges_of(self.codec), self.bars_of(self.written)
        a, b = (
            [
                compared(one, other, grid, ranges)
                for one, other in zip(self.bars_of(end), written, strict=True)
            ]
            for end in self.walk.ends
        )
        return list(zip(a, b, strict=True))

    def bars_of(self, clip: Clip) -> list[Clip]:
        """What sounds in each bar."""
        ticks = [round(place * self.bar) for place in range(self.count + 1)]
        return [clip.heard(*edge, self.step) for edge in pairwise(ticks)]

    def _compared(self, end: int, edge: tuple[int, int]) -> float | None:
        one, other = (c.heard(*edge, self.step) for c in (self.walk.ends[end], self.written))
        return compared(one, other, self.codec.grid, ranges_of(self.codec))

    def ends(
        self, pieces: tuple[Piece, Piece], moved: tuple[Move, Move], pace: float
    ) -> list[End]:
        """A and B, and how what is theirs alone comes back."""
        costs, lost = self.walk.costs() or (None, None), self.walk.lost()
        edges = self._edges()
        return [
            End(
                "AB"[i],
                pieces[i],
                moved[i],
                (1.0, pace)[i],
                costs[i],
                lost[i],
                self._compared(i, edges[2 * i]),
            )
            for i in (0, 1)
        ]


def places_in(notes: Notes, bar: float, count: int) -> Ints:
    """The bar in which each note begins, from 0, of so many ticks."""
    return np.minimum((notes.start + 1e-6) // bar, count - 1).astype(np.int64)


def lifted(notes: Notes, semitones: NDArray[np.integer[Any]]) -> Notes:
    """Notes (N), each so many semitones (N,) higher; octaves are kept inside MIDI."""
    return joined([replace(notes, pitch=fold(notes.pitch + semitones, 0, 127))])
