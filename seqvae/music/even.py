"""An even way between two phrases: of what is written near a path, what goes in small steps.

Along a path of codes a decoder writes the same for a while, and then, all at once, something else.
So each window is written from more codes than there are steps, and from each of them again, also
by drawing, as the decoder leans a little towards the ends (`Lean`); of all that, the way is taken
whose steps are smallest.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..generate import Lean
from ..measures.onsets import distances, struck
from ..randomness import seed_of
from .walk import Walk, Written, by_step

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEANS = (1.0, 2.0, 4.0, 8.0, 16.0)  # nats, of both ends together
FINE, MOST = 4, 128  # codes for each step, and so many on the path at most if the steps are fewer
DRAWS, WARMTH = 2, 0.7  # at so high a temperature
SLACK = 0.25  # of the way: how far from its place what is taken for a step may have been written


def between(walk: Walk, a: int, b: int) -> Written:
    """The ids of the taste's steps from one of the walk's ends to another, both included."""
    taste, (z_a, z_b) = walk.taste, (walk.codes[a], walk.codes[b])
    if taste.way == "straight" or taste.steps == 2:
        return walk.ids(walk.explorer.path(z_a, z_b, taste.steps, kind=taste.kind))
    fine = max(min(FINE, MOST // (taste.steps - 1)), 1)
    mixes = torch.linspace(0, 1, fine * (taste.steps - 1) + 1)
    z = walk.explorer.path(z_a, z_b, len(mixes), kind=taste.kind)
    return by_step([_window(walk, (a, b), k, z[:, k], mixes) for k in range(z.shape[1])])


def _window(
    walk: Walk, ends: tuple[int, int], window: int, z: Tensor, mixes: Tensor
) -> list[list[int]]:
    """The ids of one window's steps, from codes (F, D) at places (F,) on the path."""
    codec, count = walk.codec, walk.taste.steps
    whole = [walk.windows[end][window] for end in ends]
    plain = walk.write(z, window)
    rows = plain + _leaning(walk, [codec.encode(each).ids for each in whole], window, z, mixes)
    found = list(dict.fromkeys(map(tuple, rows)))  # each once
    heard = [struck(codec.decode(ids), codec.grid.steps) for ids in found]
    start, stop = (struck(each, codec.grid.steps) for each in whole)
    numbers = {ids: place for place, ids in enumerate(found)}
    near = close(
        [numbers[tuple(ids)] for ids in rows], mixes.tolist() * (len(rows) // len(mixes)), count
    )
    apart = distances([start, *heard, stop], [start, *heard, stop])
    taken = evenest(apart[0, 1:-1], apart[1:-1, 1:-1], apart[1:-1, -1], near)
    return [plain[0], *(list(found[place]) for place in taken), plain[-1]]


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
    found = np.zeros((count - 2, max(numbers) + 1), bool)
    for number, mix in zip(numbers, mixes, strict=True):
        found[:, number] |= np.abs(places - mix) <= SLACK + 1e-6
    return found


def evenest(first: Floats, steps: Floats, last: Floats, near: Bools) -> list[int]:
    """Which of N things to pass, one at each place, so that large steps are few and small.

    Of all ways through what is `near` (S, N), that of the least sum of fourth powers of distances:
    from the start to each (N,), from one to another (N, N), from each to the end (N,).

    >>> line = np.array([0.1, 0.5, 0.6, 0.9])
    >>> apart = np.abs(line[:, None] - line)
    >>> evenest(line, apart, 1 - line, np.ones((1, 4), bool))
    [1]
    """
    cost = np.where(near[0], first**4, np.inf)
    before = []
    for may in near[1:]:
        total = cost[:, None] + steps**4
        before.append(total.argmin(0))
        cost = np.where(may, total.min(0), np.inf)
    place = int((cost + last**4).argmin())
    way = [place]
    for origin in reversed(before):
        way.append(place := int(origin[place]))
    return way[::-1]
