"""Pictures in rows and columns: over the plane of codes, by digit asked for, in sheets."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import Refused, check_sizes
from ..plots import BLUE, INK, RED
from .drawing import Array, Decode, Drawn, charts, decoded, drawn, name, shades, sheet, tile


def by_quantile(side: int, *, sigma: float = 1.0, tail: float = 0.05) -> Tensor:
    """sigma Φ⁻¹(p) for `side` shares p from `tail` to 1 - tail: where N(0, sigma²) has its mass.

    >>> [round(value, 3) for value in by_quantile(3).tolist()]
    [-1.645, 0.0, 1.645]
    """
    check_sizes(side=side)
    p = torch.linspace(tail, 1 - tail, side, dtype=torch.float64)
    return (sigma * torch.special.ndtri(p)).float()


def box(side: int, low: float, high: float) -> Tensor:
    """`side` values from low to high: of a uniform prior; with ∓2 sigma, of N(0, sigma²) too.

    >>> box(3, -10, 10).tolist()
    [-10.0, 0.0, 10.0]
    """
    check_sizes(side=side)
    return torch.linspace(low, high, side)


def code_grid(
    values: Tensor, *, around: Tensor | None = None, dimensions: tuple[int, int] = (0, 1)
) -> Tensor:
    """Values (K,) of two dimensions -> codes (K, K, D), as the plane lies: z₂ rises upwards.

    Arguments:
        around: the code (D,) whose other dimensions all have; (0, 0) if not given.
        dimensions: which two vary, across and upwards.

    >>> code_grid(torch.tensor([0.0, 1.0]))[0].tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    base = torch.zeros(2) if around is None else around
    if max(dimensions) >= len(base) or dimensions[0] == dimensions[1]:
        raise Refused(
            f"dimensions = {dimensions} of a code of {len(base)}: name two different ones, "
            f"counted from 0, and give `around`, a code with all its dimensions."
        )
    codes = base.repeat(len(values), len(values), 1)
    codes[..., dimensions[0]] = values
    codes[..., dimensions[1]] = values.flip(0).unsqueeze(1)
    return codes


def latent_grid(
    decode: Decode,
    values: Tensor,
    *,
    around: Tensor | None = None,
    dimensions: tuple[int, int] = (0, 1),
    title: str = "What the decoder makes of the plane of codes",
) -> Drawn:
    """Decodings over a grid of codes; see `code_grid`, and `by_quantile` or `box` for values."""
    codes = code_grid(values, around=around, dimensions=dimensions)
    pixels = decoded(decode, codes)
    # Of many numbers every other one is enough.
    every = 1 if len(values) <= 12 else 2
    ticks = [f"{v:.3g}" if i % every == 0 else "" for i, v in enumerate(values.tolist())]
    first, second = (f"z{chr(ord('₀') + d + 1) if d < 9 else d + 1}" for d in dimensions)
    figure = sheet(pixels, title, ticks[::-1], ticks, across=first, down=second)
    return drawn(figure, codes=codes, values=values, brightness=brightness(pixels))


def brightness(pixels: Array) -> Array:
    """The mean shade of each picture (*, H, W, C), 0 to 1."""
    return pixels.mean((-3, -2, -1))


def contact_sheet(
    pixels: ArrayLike, titles: Sequence[str] = (), *, columns: int = 10, title: str = ""
) -> Drawn:
    """Pictures (N, H, W, C) in rows of `columns`, each row named by one of `titles` if given."""
    check_sizes(columns=columns)
    found = shades(pixels)
    rows = max(-(-len(found) // columns), 1)
    white = np.ones((rows * columns - len(found), *found.shape[1:]))
    grid = np.concatenate([found, white]).reshape(rows, columns, *found.shape[1:])
    figure = sheet(grid, title, titles)
    return drawn(figure, count=len(found), brightness=brightness(found))


def digits_by_epoch(
    pixels: ArrayLike,
    epochs: Sequence[int],
    *,
    read: ArrayLike | None = None,
    title: str = "Each digit asked for, as training goes on",
    counted: str = "epoch",
) -> Drawn:
    """Pictures (E, K, H, W, C) of the K digits asked for, a row an epoch, all of one code a row.

    `read` (E, K) is what an independent judge reads: rows then say how many are as asked for.
    """
    return _asked(pixels, [f"{counted} {epoch}" for epoch in epochs], read, title)


def style_by_digit(
    pixels: ArrayLike,
    *,
    read: ArrayLike | None = None,
    title: str = "One style a row, one digit a column",
) -> Drawn:
    """Pictures (S, K, H, W, C): a row is one code z, its style; a column the digit asked for.

    `between` is the deviation of a pixel among the styles of a digit, and among the digits of a
    style (roots of mean variances): a model whose code says nothing has no styles.
    """
    found = shades(pixels)
    among = {"styles": found.var(0), "digits": found.var(1)}
    between = {name: float(np.sqrt(variance.mean())) for name, variance in among.items()}
    made = _asked(found, [f"z {place + 1}" for place in range(len(found))], read, title)
    return made._replace(numbers={**made.numbers, "between": between})


def _asked(pixels: ArrayLike, rows: Sequence[str], read: ArrayLike | None, title: str) -> Drawn:
    found = shades(pixels)
    digits = np.arange(found.shape[1])
    numbers = {"rows": rows, "digits": digits, "brightness": brightness(found)}
    if read is not None:
        right = np.asarray(read) == digits
        rows = [f"{row}: {n} of {len(digits)}" for row, n in zip(rows, right.sum(1), strict=True)]
        numbers |= {"read": np.asarray(read), "right": right.mean(1)}
    columns = [str(digit) for digit in digits]
    return drawn(sheet(found, title, rows, columns, across="digit asked for"), **numbers)


def stochastic_codes(
    picture: ArrayLike, mu: Tensor, sigma: Tensor, codes: Tensor, decode: Decode
) -> Drawn:
    """One picture, its q(z|x) = N(mu, diag sigma²) (D,), codes (K, D) drawn of it, and what each
    decodes to: the same input has many codes, and they should all say the same.

    `spread` is the root mean square over pixels of the decodings' standard deviation.
    """
    pixels = decoded(decode, codes)
    figure, (above, below) = charts(2, 1, (max(5.0, 1 + 0.75 * (len(codes) + 1)), 4.2))
    place = np.arange(len(mu))
    for code in codes.detach().numpy():
        above.plot(place, code, ".", color=BLUE, alpha=0.6, markersize=5)
    middle, width = mu.detach().numpy(), sigma.detach().numpy()
    above.errorbar(place, middle, width, fmt="_", color=RED, ecolor=RED, label="μ ± σ")
    above.plot([], [], ".", color=BLUE, label="codes drawn")
    above.set_xticks(place, [str(d + 1) for d in place])
    name(above, "One picture, several codes", "dimension of the code", "value")
    above.legend(
        frameon=False, fontsize="small", loc="upper right", bbox_to_anchor=(1, 1.18), ncols=2
    )
    whole = np.concatenate([shades(np.asarray(picture)[None]), pixels])[None]
    tile(below, whole, columns=["x", *(f"z({k + 1})" for k in range(len(codes)))])
    below.tick_params(colors=INK)
    spread = float(np.sqrt(pixels.var(0).mean()))
    return drawn(figure, mu=mu, sigma=sigma, codes=codes, spread=spread)
