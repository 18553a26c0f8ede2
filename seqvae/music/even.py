"""An even way between two phrases: of what is written near a path, what goes in small steps.

Along a path of codes a decoder writes the same for a while, and then, all at once, something else.
So each window is written from more codes than there are steps, and from each of them again, also
by drawing, as the decoder leans a little towards the ends (`Lean`); of all that, the way is taken
whose steps, of all windows together, are smallest, through what is about as dense as the ends are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..codecs.music import MusicCodec
from ..generate import Lean
from ..measures.onsets import Struck, distances, struck
from ..midi.clips import Clip
from ..randomness import seed_of
from .walk import Walk, Written, by_step

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEANS = (1.0, 2.0, 4.0, 8.0, 16.0)  # nats, of both ends together
FINE, MOST = 4, 128  # codes for each step, and so many on the path at most if the steps are fewer
DRAWS, WARMTH = 2, 0.7  # at so high a temperature
OFF = 0.1  # what no onset costs, or twice as many, where a step of the whole distance costs 1
TURNS = 3  # how often the way of each window is chosen, where there are several
SLACK = 0.25  # of the way: how far from its place what is taken for a step may have been written
WIDE = 256  # things a place at most, those written nearest


class Pool(NamedTuple):
    """What was written of one window, N things of it, for the S - 2 steps between its ends."""

    plain: list[list[int]]  # the ids of the ends, as written from their own codes
    found: list[list[int]]
    heard: list[Struck]  # what begins in each, at places that no other window has
    ends: tuple[Struck, Struck]
    near: Bools  # (S - 2, N): written near that place


def between(walk: Walk, a: int, b: int) -> Written:
    """The ids of the taste's steps from one of the walk's ends to another, both included."""
    taste, (z_a, z_b) = walk.taste, (walk.codes[a], walk.codes[b])
    if taste.way == "straight" or taste.steps == 2:
        return walk.ids(walk.explorer.path(z_a, z_b, taste.steps, kind=taste.kind))
    fine = max(min(FINE, MOST // (taste.steps - 1)), 1)
    mixes = torch.linspace(0, 1, fine * (taste.steps - 1) + 1)
    z = walk.explorer.path(z_a, z_b, len(mixes), kind=taste.kind)
    pools = [_pool(walk, (a, b), k, z[:, k], mixes) for k in range(z.shape[1])]
    ways = passed(pools)
    return by_step([_way(pool, taken) for pool, taken in zip(pools, ways, strict=True)])


def _way(pool: Pool, taken: Sequence[int]) -> list[list[int]]:
    start, stop = pool.plain
    return [start, *(pool.found[place] for place in taken), stop]


def _pool(walk: Walk, ends: tuple[int, int], window: int, z: Tensor, mixes: Tensor) -> Pool:
    """What is written of one window from codes (F, D) at places (F,) on the path."""
    codec, count = walk.codec, walk.taste.steps
    whole = [walk.windows[end][window] for end in ends]
    plain = walk.write(z, window)
    rows = plain + _leaning(walk, [codec.encode(each).ids for each in whole], window, z, mixes)
    found = list(dict.fromkeys(map(tuple, rows)))  # each once
    numbers = {ids: place for place, ids in enumerate(found)}
    near = close(
        [numbers[tuple(ids)] for ids in rows], mixes.tolist() * (len(rows) // len(mixes)), count
    )
    heard = [_heard(codec.decode(ids), codec, window) for ids in found]
    start, stop = (_heard(each, codec, window) for each in whole)
    return Pool([plain[0], plain[-1]], [*map(list, found)], heard, (start, stop), near)


def _heard(clip: Clip, codec: MusicCodec, window: int) -> Struck:
    """What begins in a clip, counted from where the windows before it begin."""
    steps = codec.grid.steps
    before = window * math.ceil(codec.grid.metre.beats * codec.grid.bars * steps)
    return {(part, step + before): what for (part, step), what in struck(clip, steps).items()}


def _leaning(
    walk: Walk, ends: list[list[int]], window: int, z: Tensor, mixes: Tensor
) -> list[list[int]]:
    """The ids that are written from codes (F, D) under every lean, one after the other.

    Also by drawing, all codes by one noise: what is likeliest has fewer notes than music has. A
    beam does not lean, and nothing of a codec whose tokens have no place in time.
    """
    if walk.codec.length is None:
        return []
    own = walk.taste.decoding
    drawn = replace(own, beam=None, temperature=WARMTH, together=True)
    draws = (replace(drawn, seed=seed_of(own.seed % 2**64, n)) for n in range(DRAWS))
    nats = torch.tensor(LEANS).repeat_interleave(len(z)).unsqueeze(1)
    shares = torch.stack([1 - mixes, mixes], dim=1).repeat(len(LEANS), 1)
    lean = Lean(torch.tensor(ends).expand(len(nats), -1, -1), nats * shares)
    codes = z.repeat(len(LEANS), 1)
    ways = (*draws,) if own.beam is not None else (own, *draws)
    return [row for how in ways for row in walk.write(codes, window, how, lean)]


def close(numbers: Sequence[int], mixes: Sequence[float], count: int) -> Bools:
    """Which of N things were written near each of the places between the ends (S - 2, N).

    Thing `numbers[i]` was written at `mixes[i]` of the way, of `count` steps with the ends.

    >>> close([0, 1, 1], [0.2, 0.5, 0.8], 4).tolist()  # the places are 1/3 and 2/3
    [[True, True], [False, True]]
    """
    places = np.arange(1, count - 1) / (count - 1)
    away = np.full((count - 2, max(numbers) + 1), np.inf)
    for number, mix in zip(numbers, mixes, strict=True):
        away[:, number] = np.minimum(away[:, number], np.abs(places - mix))
    farthest = np.sort(away)[:, :WIDE][:, -1:]
    return away <= np.minimum(farthest, SLACK) + 1e-6


def off(onsets: Sequence[int], ends: tuple[int, int]) -> Floats:
    """How far outside of those of the ends each number of onsets lies, over the ends' mean (N,).

    >>> off([3, 4, 6, 8], (4, 6)).tolist()
    [0.2, 0.0, 0.0, 0.4]
    """
    counts, (low, high) = np.asarray(onsets), sorted(ends)
    return np.maximum(np.maximum(low - counts, counts - high), 0) / max((low + high) / 2, 1)


def passed(pools: Sequence[Pool]) -> list[list[int]]:
    """Which of the things of each window to pass, so that steps are small of all together.

    One window after the other goes the evenest way beside those chosen before it, and then each
    again, beside all others: where one of them moves far, the rest may stand still.
    """
    ways: dict[int, list[int]] = {}
    for _ in range(TURNS if len(pools) > 1 else 1):
        for place in range(len(pools)):
            ways.pop(place, None)
            ways[place] = _beside(pools, ways, place)
    return [ways[place] for place in range(len(pools))]


def _beside(pools: Sequence[Pool], ways: Mapping[int, Sequence[int]], place: int) -> list[int]:
    """The evenest way of one window, beside the ways of others."""
    pool = pools[place]
    rests = _rests([(pools[other], way) for other, way in ways.items()], len(pool.near) + 2)
    may = [np.flatnonzero(near) for near in pool.near]
    heard = [[pool.ends[0]], *([pool.heard[n] for n in own] for own in may), [pool.ends[1]]]
    pairs = zip(pairwise(heard), pairwise(rests), strict=True)
    legs = [distances(*both, beside) for both, beside in pairs]
    counts = [
        [len(each) + len(rest) for each in own] for own, rest in zip(heard, rests, strict=True)
    ]
    ends = counts[0][0], counts[-1][0]
    taken = evenest(legs, [OFF * off(own, ends) ** 2 for own in counts[1:-1]])
    return [int(own[n]) for own, n in zip(may, taken, strict=True)]


def _rests(chosen: Sequence[tuple[Pool, Sequence[int]]], steps: int) -> list[Struck]:
    """What is heard of windows at each step of their ways, all together."""
    ways = [[pool.ends[0], *(pool.heard[n] for n in way), pool.ends[1]] for pool, way in chosen]
    return [{at: what for way in ways for at, what in way[step].items()} for step in range(steps)]


def evenest(legs: Sequence[Floats], dear: Sequence[Floats]) -> list[int]:
    """Which thing to pass at each of S places, so that large steps are few and small.

    Of all ways, that of the least sum of fourth powers of distances, and of what is dear.

    Arguments:
        legs: from the start to each thing of the first place (1, N_1), from these to those of the
            next (N_1, N_2), …, to the end (N_S, 1).
        dear: what each thing of each place costs (N_1,), …, (N_S,).

    >>> line = np.array([0.1, 0.5, 0.6, 0.9])
    >>> legs = [line[None], 1 - line[:, None]]
    >>> evenest(legs, [np.zeros(4)]), evenest(legs, [np.array([0, 0.1, 0, 0])])
    ([1], [2])
    """
    cost, before = np.zeros(1), []
    for leg, paid in zip(legs, [*dear, np.zeros(1)], strict=True):
        total = cost[:, None] + leg**4
        before.append(total.argmin(0))
        cost = total.min(0) + paid
    way = [0]
    for origin in reversed(before):
        way.append(int(origin[way[-1]]))
    return way[-2:0:-1]
