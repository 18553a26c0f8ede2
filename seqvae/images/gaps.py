"""What lies between codes: the widest gaps in the plane, and what a decoder makes of them."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import Refused, check_sizes
from ..plots import INK
from ..randomness import seeded
from .drawing import (
    Decode,
    Drawn,
    by_class,
    charts,
    decoded,
    drawn,
    greyness,
    heights,
    in_plane,
    name,
    tile,
)

PAIRS = 2000  # of codes, halfway between which a gap is looked for


def gap_codes(codes: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Codes (N, D) -> (count, D): halfway between two of them each, as far from any as may be.

    Of the middles of 2000 pairs drawn by the seed; each next one keeps twice as far from those
    before it as from codes, so that a single wide gap does not count for all.

    >>> gap_codes(torch.tensor([[0.0], [0.2], [9.8], [10.0]]), 1).round().tolist()
    [[5.0]]
    """
    check_sizes(count=count)
    if len(codes) < 2:
        raise Refused(f"{len(codes)} codes: a gap lies between two of them, or more.")
    with seeded(seed):
        a, b = torch.randint(len(codes), (2, PAIRS))
    middles = (codes[a] + codes[b]) / 2
    room = nearest(middles, codes)
    chosen = []
    for _ in range(count):
        chosen.append(middles[room.argmax()])
        room = room.minimum(nearest(middles, chosen[-1].unsqueeze(0)) / 2)
    return torch.stack(chosen)


def nearest(points: Tensor, codes: Tensor) -> Tensor:
    """The Euclidean distance of points (P, D) to the nearest of codes (N, D): (P,)."""
    return torch.cdist(points, codes).min(-1).values


def gaps(
    models: Mapping[str, tuple[Decode, Tensor]], labels: ArrayLike, *, count: int = 7
) -> Drawn:
    """Codes (N, 2) of the same items under several models, the gaps among them, and (0, 0).

    Above, where items lie, with crosses at gaps; below, what is decoded there, the origin first.
    Numbers, by model: `codes` and their `distance` to the nearest item; `widest`, the largest
    distance of a gap in standard deviations of codes, so that models compare; and `grey`, how
    undecided each picture is about its ink.
    """
    classes = np.asarray(labels)
    figure, axes = charts(2, len(models), (0.8 + 4.6 * len(models), 4.9))
    heights(axes, 6, 1)
    found = {}
    for place, (title, (decode, codes)) in enumerate(models.items()):
        above, below = axes[place], axes[len(models) + place]
        points = in_plane(codes, "a gap")
        looked = torch.cat([torch.zeros(1, 2), gap_codes(codes, count)])
        distance = nearest(looked, codes)
        spread = codes.var(0, correction=0).mean().sqrt()
        widest = float(distance[1:].max() / spread.clamp_min(1e-12))
        pixels = decoded(decode, looked)
        by_class(above, points, classes, size=2.5)
        above.plot(*looked.numpy().T, "x", color=INK, markersize=7)
        for number, code in enumerate(looked.tolist()):
            above.annotate(str(number), code, xytext=(4, 3), textcoords="offset points")
        name(above, f"{title}: the widest gap is {widest:.2f} std", "z₁", "z₂")
        tile(below, pixels[None], columns=["0, at (0, 0)", *map(str, range(1, count + 1))])
        own = {"codes": looked, "distance": distance, "widest": widest}
        found[title] = {**own, "grey": greyness(pixels)}
    return drawn(figure, models=found)
