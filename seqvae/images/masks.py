"""What a decoder that writes pixel by pixel may look at, and what it does look at."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from ..errors import Refused
from ..plots import BLUE, GREY, INK, RED
from .drawing import Array, Drawn, charts, drawn, name

SORTS = {
    "to come": "#eeeeee",
    "earlier, unseen": "#f2b48c",
    "seen": BLUE,
    "this pixel": INK,
    "seen too soon": RED,
}


def kernel_masks(masks: Mapping[str, ArrayLike]) -> Drawn:
    """Masks (K, L) of convolutions, 1 where a weight is kept: dark, what the centre may see.

    In raster order a pixel may see those above it and those to its left; mask A leaves out the
    centre as well, and belongs to the first layer; B keeps it (van den Oord et al., 2016).
    """
    figure, axes = charts(1, len(masks), (0.4 + 2.2 * len(masks), 2.7))
    found = {}
    for axis, (title, mask) in zip(axes, masks.items(), strict=True):
        kept = np.asarray(mask, dtype=np.float64)
        axis.imshow(kept, cmap="Blues", vmin=0, vmax=1.3)
        _cells(axis, kept)
        axis.plot(kept.shape[1] // 2, kept.shape[0] // 2, "o", color=INK)
        name(axis, title)
        found[title] = {"mask": kept.astype(int), "kept": int(kept.sum()), "weights": kept.size}
    return drawn(figure, masks=found)


def receptive_field(seen: ArrayLike, pixel: tuple[int, int], *, title: str = "") -> Drawn:
    """Which pixels (H, W) the decoder's scores for one pixel depend on: true where they do.

    `share` is the part of earlier pixels, in raster order, that is seen: the decoder's power in
    a number. Plain masked stacks have a blind spot up and to the right. `too_soon` counts the
    pixel itself and later ones: anything but 0 is a leak.
    """
    looked, (row, column) = np.asarray(seen, dtype=bool), pixel
    if looked.ndim != 2 or not (0 <= row < looked.shape[0] and 0 <= column < looked.shape[1]):
        raise Refused(
            f"pixel {pixel} of a map of shape {looked.shape}: name a row and a column of a map "
            "(H, W), counted from 0."
        )
    earlier = np.arange(looked.size).reshape(looked.shape) < row * looked.shape[1] + column
    sorts = np.select([looked & ~earlier, looked, earlier], [4, 2, 1], 0)
    if not looked[row, column]:
        sorts[row, column] = 3
    count, within = int((looked & earlier).sum()), int(earlier.sum())
    share = count / within if within else 1.0
    figure, (axis,) = charts(1, 1, (5.8, 4.0))
    axis.imshow(sorts, cmap=ListedColormap(list(SORTS.values())), vmin=0, vmax=len(SORTS) - 1)
    _cells(axis, looked)
    name(axis, f"{title}{': ' if title else ''}{share:.0%} of earlier pixels seen")
    patches = [Patch(color=color, label=sort) for sort, color in SORTS.items()]
    shown = patches if (sorts == 4).any() else patches[:-1]
    figure.legend(handles=shown, loc="outside right upper", frameon=False, fontsize="small")
    soon = int((looked & ~earlier).sum())
    return drawn(figure, seen=count, earlier=within, share=share, too_soon=soon, map=looked)


def _cells(axis: Axes, cells: Array) -> None:
    """Lines between cells, no numbers."""
    axis.set_xticks(np.arange(cells.shape[1] + 1) - 0.5, [])
    axis.set_yticks(np.arange(cells.shape[0] + 1) - 0.5, [])
    axis.tick_params(length=0)
    axis.grid(color=GREY, linewidth=0.4)
    axis.set_axisbelow(False)
