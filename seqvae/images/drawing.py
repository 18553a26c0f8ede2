"""What every figure of pictures is made of: rows of pictures, charts, and the numbers drawn."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import plots
from ..errors import Refused
from ..plots import charts

Array: TypeAlias = NDArray[Any]
Decode: TypeAlias = Callable[[Tensor], ArrayLike]  # codes (N, D) -> pixels (N, H, W, C)
Measure: TypeAlias = Callable[[ArrayLike], Array]  # pixels (N, H, W, C) -> an attribute (N,)
ROUNDING = 1e-4  # by how much a shade may leave [0, 1]

__all__ = ["charts"]


class Drawn(NamedTuple):
    """A figure, and the numbers it draws as JSON can hold them."""

    figure: Figure
    numbers: dict[str, Any]

    def save(self, path: Path) -> Path:
        """Write the figure as PNG and, under the same name, its numbers as JSON."""
        saved = plots.save(self.figure, path)
        path.with_suffix(".json").write_text(json.dumps(self.numbers, indent=1) + "\n", "utf-8")
        return saved


def drawn(figure: Figure, **numbers: Any) -> Drawn:
    """The figure with its numbers, made plain."""
    return Drawn(figure, plain(numbers))


def plain(value: Any) -> Any:
    """Arrays and tensors as lists; what is no number, as a mean of nothing, as None.

    >>> plain({"mean": np.ones(2), "slope": math.nan})
    {'mean': [1.0, 1.0], 'slope': None}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shades(pixels: ArrayLike) -> Array:
    """Pixels (*, H, W, C) in [0, 1], float64: of bytes, their shares of 255.

    Raises `Refused` where a shade lies outside, or where the array has no pictures' shape.

    >>> shades(np.full((1, 2, 2, 1), 255, np.uint8)).max().item()
    1.0
    """
    found = np.asarray(pixels)
    if found.ndim < 4 or found.shape[-1] not in (1, 3):
        raise Refused(
            f"pixels of shape {found.shape}: pictures are (N, H, W, C) with 1 or 3 channels. "
            "Reshape them, as pixels[..., None] for grey ones."
        )
    found = found / 255.0 if found.dtype == np.uint8 else found.astype(np.float64)
    if found.size and not (found.min() >= -ROUNDING and found.max() <= 1 + ROUNDING):
        raise Refused(
            f"pixels from {found.min():g} to {found.max():g}: shades lie in [0, 1], or are bytes "
            "(uint8). Draw the mean of p(x|z), or clip."
        )
    return found.clip(0, 1)


def greyness(pixels: ArrayLike) -> Array:
    """The mean of 4 p (1 - p) over the pixels of pictures (*, H, W, C), from 0 to 1.

    High where a picture is undecided about its ink, as a double exposure is.

    >>> greyness(np.full((1, 2, 2, 1), 0.5)).tolist()
    [1.0]
    """
    p = shades(pixels)
    return (4 * p * (1 - p)).mean((-3, -2, -1))


def decoded(decode: Decode, codes: Tensor) -> Array:
    """Codes (*, D) -> shades (*, H, W, C), all decoded in one call."""
    pixels = shades(decode(codes.reshape(-1, codes.shape[-1])))
    return pixels.reshape(*codes.shape[:-1], *pixels.shape[1:])


def mosaic(pixels: Array) -> Array:
    """Pictures (R, K, H, W, C) -> one (R (H + 1) - 1, K (W + 1) - 1, C), a white line apart.

    >>> mosaic(np.zeros((2, 3, 4, 4, 1))).shape
    (9, 14, 1)
    """
    rows, columns, height, width, channels = pixels.shape
    lined = np.pad(pixels, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=1.0)
    whole = lined.transpose(0, 2, 1, 3, 4)
    return whole.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]


def tile(axis: Axes, pixels: Array, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> None:
    """Draw pictures (R, K, H, W, C) side by side, with names of rows and columns if given."""
    height, width = pixels.shape[2:4]
    axis.imshow(mosaic(pixels), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    down = [(height - 1) / 2 + place * (height + 1) for place in range(len(rows))]
    across = [(width - 1) / 2 + place * (width + 1) for place in range(len(columns))]
    axis.set_yticks(down, rows)
    axis.set_xticks(across, columns)
    axis.tick_params(length=0, labelsize="small")
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)


def sheet(
    pixels: Array,
    title: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    *,
    across: str = "",
    down: str = "",
) -> Figure:
    """A figure of nothing but pictures (R, K, H, W, C), half an inch each or a little more."""
    inch = max(0.32, min(0.7, 9 / max(pixels.shape[:2])))
    names = 0.4 + 0.09 * max(map(len, rows), default=0)
    lines = 0.45 + 0.3 * bool(columns) + 0.3 * bool(across)
    wide, high = inch * pixels.shape[1] + names, inch * pixels.shape[0] + lines
    figure = Figure(figsize=(max(wide, 0.085 * len(title) + 0.4), high), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    tile(axis, pixels, rows, columns)
    figure.suptitle(title, fontsize="medium")
    name(axis, across=across, down=down)
    return figure


def name(axis: Axes, title: str = "", across: str = "", down: str = "") -> None:
    """Title, and what the axes say, with their units."""
    axis.set_title(title, loc="left", fontsize="medium")
    axis.set_xlabel(across)
    axis.set_ylabel(down)


def colour(place: int) -> Any:
    """That of a class, or of a line, of at most twenty."""
    return colormaps["tab10" if place < 10 else "tab20"](place % 10 if place < 10 else place % 20)


def by_class(axis: Axes, codes: Array, labels: Array, size: float = 4.0) -> None:
    """Points (N, 2) in the colours of their classes, with a legend beside them."""
    for place, label in enumerate(np.unique(labels)):
        x, y = codes[labels == label].T
        axis.scatter(x, y, s=size, color=colour(place), label=str(label), linewidths=0, alpha=0.7)


def key(axis: Axes, title: str = "") -> None:
    """The legend, right of the axis, where it hides nothing; none where nothing has a name."""
    if not axis.get_legend_handles_labels()[0]:
        return
    axis.legend(
        title=title,
        frameon=False,
        fontsize="small",
        loc="upper left",
        bbox_to_anchor=(1, 1),
        markerscale=2,
    )


def heights(axes: Sequence[Axes], *ratios: float) -> None:
    """How tall the rows of a figure are, beside each other."""
    grid = axes[0].get_gridspec()
    assert grid is not None  # of charts, all are in one
    grid.set_height_ratios(ratios)


def in_plane(codes: Tensor, what: str) -> Array:
    """Codes as an array (N, 2), or `Refused`."""
    if codes.dim() != 2 or codes.shape[1] != 2:
        raise Refused(
            f"codes of shape {tuple(codes.shape)}: {what} is drawn of codes (N, 2). Train with "
            "latent = 2, or show two axes of them: principal_axes(codes)."
        )
    return codes.detach().double().cpu().numpy()
