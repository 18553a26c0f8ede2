"""What a decoder writes between phrases: their codes, window by window, and back into notes."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..codecs.music import MusicCodec
from ..distributions import has_density
from ..explore import Decoding, Explorer
from ..generate import Lean
from ..midi.clips import Clip, Feel, Floats, join, split, ties
from .taste import Taste

Written = list[list[list[int]]]  # ids, by step and window


def by_step(windows: Sequence[list[list[int]]]) -> Written:
    """The ids of each window's steps, by step."""
    return [list(step) for step in zip(*windows, strict=True)]


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

    def ids(self, z: Tensor) -> Written:
        """Codes (S, K, D) -> the ids of every step and window; draws of a window are the same."""
        if self.taste.decoding.drawn:
            return by_step([self.write(z[:, k], k) for k in range(z.shape[1])])
        ids = self.explorer.write(z.flatten(0, 1), self.taste.decoding)
        return [ids[i : i + z.shape[1]] for i in range(0, len(ids), z.shape[1])]

    def write(
        self, z: Tensor, window: int, how: Decoding | None = None, lean: Lean | None = None
    ) -> list[list[int]]:
        """Codes of one window (S, D) -> the ids of each; as the taste has it, or another way."""
        how = how or self.taste.decoding
        own = replace(how, seed=_seed(how.seed, window)) if how.drawn else how
        return self.explorer.write(z, own, lean=lean)

    def phrases(self, ids: Written, weights: Sequence[Sequence[float]]) -> list[Clip]:
        """The ids of steps as phrases, played as the ends are, by their weights (S, N)."""
        return [self._clip(own, shares) for own, shares in zip(ids, weights, strict=True)]

    def _clip(self, ids: Sequence[Sequence[int]], weights: Sequence[float]) -> Clip:
        """The windows of one step, played as a mix of how the ends are played, as one clip."""
        feels = [_mixed(each, weights) for each in zip(*self.feels, strict=True)]
        clips = [self.codec.decode(each, feel) for each, feel in zip(ids, feels, strict=True)]
        clip = join(clips, self.tied[weights.index(max(weights))])
        clip = clip if self.scale == 1 else clip.stretched(1 / self.scale)
        qpm = math.prod(end.qpm**share for end, share in zip(self.ends, weights, strict=True))
        home = self.ends[0]
        return replace(clip.cut(0, home.length), metre=home.metre, qpm=qpm)


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
