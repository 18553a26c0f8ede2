"""Attributes of pictures, and what moving a code along a direction does to them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .. import pixels as ink
from ..errors import Refused
from ..metrics import spearman as spearman
from ..plots import SEVERAL
from .drawing import (
    Array,
    Decode,
    Drawn,
    Measure,
    charts,
    decoded,
    drawn,
    heights,
    name,
    shades,
    tile,
)


def stroke_mass(pixels: ArrayLike) -> Array:
    """The mean ink of pictures (N, H, W, C), light on dark: 0 to 1, (N,).

    >>> stroke_mass(np.ones((2, 3, 3, 1))).tolist()
    [1.0, 1.0]
    """
    return shades(pixels).mean((1, 2, 3))


def slant(pixels: ArrayLike) -> Array:
    """-m11 / m02 by the central moments of the ink of pictures (N, H, W, C): (N,).

        m_jk = sum_xy (x - x̄)^j (y - ȳ)^k ink(x, y),   y counted downwards

    the tangent of the angle by which strokes lean to the right: 0 for an upright one, 1 for one
    at 45°, negative to the left. 0 for a picture without height or without ink.

    >>> slant(np.eye(5)[None, ::-1, :, None]).round(6).tolist()
    [1.0]
    """
    return ink.slant(torch.as_tensor(shades(pixels)).movedim(-1, -3)).numpy()


def pair_vector(code_with: Tensor, code_without: Tensor) -> Tensor:
    """The attribute as one pair of items has it: code with glasses, less code without, (D,)."""
    return code_with - code_without


def mean_vector(codes: Tensor, has: ArrayLike) -> Tensor:
    """The mean code (D,) of items that have the attribute, less that of those that have not.

    >>> mean_vector(torch.tensor([[1.0], [3.0], [0.0]]), [True, True, False])
    tensor([2.])
    """
    chosen = torch.as_tensor(np.asarray(has, dtype=bool))
    if not 0 < int(chosen.sum()) < len(chosen):
        raise Refused(
            f"{int(chosen.sum())} of {len(chosen)} items have the attribute: its vector needs "
            "some with and some without it."
        )
    return codes[chosen].mean(0) - codes[~chosen].mean(0)


def attribute_vector(
    decode: Decode,
    codes: Tensor,
    vector: Tensor,
    measures: Mapping[str, Measure],
    *,
    strengths: Sequence[float] = (-2, -1, 0, 1, 2),
    title: str = "An attribute, added and taken away",
) -> Drawn:
    """Codes (N, D) of other items with so many times the vector (D,) added, and what it does.

    `measures` name the attributes that are followed, the vector's own first; for what the numbers
    are, see `attribute_axis`.
    """
    times = torch.tensor(strengths, dtype=codes.dtype)
    moved = codes.unsqueeze(1) + times.view(1, -1, 1) * vector
    return _moved(decode, moved, strengths, measures, title, "times the vector")


def attribute_axis(
    decode: Decode,
    codes: Tensor,
    dimension: int,
    values: Sequence[float],
    measures: Mapping[str, Measure],
    *,
    title: str = "One dimension turned, the others left",
) -> Drawn:
    """Codes (N, D) with one dimension set to each of the values in turn, and what it does.

    Numbers, of each attribute measured: `mean` over items at each value; `spearman`, over values
    and items, with an item's own level taken off (the median over items of its own correlation);
    `change`, from the lowest to the highest mean, in standard deviations of the attribute among
    the items, as far as a turned dimension leaves it to them. The tied attribute should have a
    `spearman` near 1 and the largest change; others change little.
    """
    if not 0 <= dimension < codes.shape[-1]:
        raise Refused(
            f"dimension = {dimension} of codes of {codes.shape[-1]}: counted from 0, it is at "
            f"most {codes.shape[-1] - 1}."
        )
    moved = codes.unsqueeze(1).repeat(1, len(values), 1)
    moved[..., dimension] = torch.tensor(values, dtype=codes.dtype)
    return _moved(decode, moved, values, measures, title, f"dimension {dimension + 1} of the code")


def _moved(
    decode: Decode,
    codes: Tensor,
    positions: Sequence[float],
    measures: Mapping[str, Measure],
    title: str,
    across: str,
) -> Drawn:
    """Codes (N, V, D) at V positions: a row of pictures an item, and attributes below."""
    pixels = decoded(decode, codes)
    items, count = pixels.shape[:2]
    flat = pixels.reshape(-1, *pixels.shape[2:])
    wide = max(5.4, 1.8 + 0.75 * count)
    figure, (above, below) = charts(2, 1, (wide, 3.0 + 0.7 * min(items, 6)))
    heights((above, below), min(items, 6), 3)
    tile(above, pixels[:6], columns=[f"{position:g}" for position in positions])
    name(above, title)
    found = {}
    for place, (called, measure) in enumerate(measures.items()):
        values = measure(flat).reshape(items, count)
        found[called] = numbers = _change(values, positions)
        relative = (values.mean(0) - values.mean()) / numbers["spread"]
        says = f"{called} (ρ {numbers['spearman']:.2f})"
        below.plot(positions, relative, "o-", color=SEVERAL[place], markersize=3.5, label=says)
    name(below, "", across, "mean, in std\namong items")
    below.legend(frameon=False, fontsize="small")
    return drawn(figure, positions=list(positions), attributes=found)


def _change(values: Array, positions: Sequence[float]) -> dict[str, float | Array]:
    """Of an attribute (N, V) of N items at V positions: see `attribute_axis`."""
    mean = values.mean(0)
    among = float(values.std(0).mean()) if len(values) > 1 else 0.0
    spread = among if among > 1e-9 else max(float(values.std()), 1e-9)  # one item: of its own way
    own = [spearman(positions, each) for each in values]
    return {
        "mean": mean,
        "spearman": float(np.median(own)),
        "spread": spread,
        "change": float(mean.max() - mean.min()) / spread,
    }
