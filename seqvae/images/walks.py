"""Ways through the space of codes: between two pictures, and along a line in search of holes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from ..errors import Refused, check_sizes
from ..latent import path
from ..plots import INK, SEVERAL
from .drawing import (
    Array,
    Decode,
    Drawn,
    charts,
    decoded,
    drawn,
    greyness,
    heights,
    name,
    shades,
    sheet,
    tile,
)

OUTER = 0.01  # share of codes left out on either side of a sweep: a lone one is no place to look
WIDE = 95  # percentile


def jumps(decode: Decode, codes: Tensor) -> Array:
    """‖x(z_s+1) - x(z_s)‖ along codes (S, *, D), the Euclidean norm over pixels: (S - 1, *).

    >>> jumps(lambda z: z.reshape(-1, 1, 1, 1), torch.tensor([[0.0], [0.25], [1.0]])).tolist()
    [0.25, 0.75]
    """
    return _steps(decoded(decode, codes))


def _steps(pixels: Array) -> Array:
    """Euclidean distances between neighbours of pictures (S, *, H, W, C): (S - 1, *)."""
    return np.sqrt((np.diff(pixels, axis=0) ** 2).sum((-3, -2, -1)))


def unevenness(steps: ArrayLike) -> float:
    """The 95th percentile of jumps over their median: 1 for a walk that is even throughout.

    Infinite where more than half of a walk stands still and the rest does not.

    >>> unevenness([2.0, 2.0, 2.0])
    1.0
    """
    middle, high = np.percentile(np.asarray(steps, dtype=np.float64), [50, WIDE])
    return 1.0 if high == 0 else float(np.divide(high, middle)) if middle > 0 else float("inf")


def jump_ratio(decode: Decode, a: Tensor, b: Tensor, *, steps: int = 64) -> float:
    """How uneven the decoded picture changes on straight lines from codes a to b, both (P, D).

        r = P95 / P50 of ‖x(z_s+1) - x(z_s)‖,   z_s = a + s/S (b - a),   over all s and all pairs,

    a number for codes of any size: 1 for a decoder that moves by equal steps, more for one that
    stands still and leaps. It depends neither on the scale of codes, so that the far-flung ones
    of an autoencoder and those of a VAE may be compared, nor on contrast. Take codes of test
    items, the same pairs of items for every model.

    It shows holes where codes have a number or two. Of many, a perceptron's pictures fade evenly
    through nonsense, an autoencoder's too: there let a judge say what lies between codes or under
    the prior, as `hole_ratio` does.
    """
    check_sizes(steps=steps)
    if len(a) == 0 or a.shape != b.shape:
        raise Refused(
            f"codes of shapes {tuple(a.shape)} and {tuple(b.shape)}: lines join as many codes to "
            "as many others, and at least one."
        )
    return unevenness(jumps(decode, path(a, b, steps + 1)).ravel())


def line_between(codes: Tensor, steps: int) -> Tensor:
    """Codes (N, 1) -> (steps, 1), evenly from their 1st to their 99th percentile."""
    if codes.dim() != 2 or codes.shape[1] != 1:
        raise Refused(
            f"codes of shape {tuple(codes.shape)}: a sweep is over codes of one number, (N, 1). "
            "Of more, measure jump_ratio between pairs of codes."
        )
    low, high = codes.double().flatten().quantile(torch.tensor([OUTER, 1 - OUTER]).double())
    return torch.linspace(float(low), float(high), steps).unsqueeze(1)


def sweep(
    models: Mapping[str, tuple[Decode, Tensor]],
    *,
    steps: int = 400,
    shown: int = 14,
    title: str = "How far the picture jumps from one code to the next",
) -> Drawn:
    """Codes of one number, from end to end of those that items have: a panel a model.

    Above, the jump ‖x(z + δ) - x(z)‖ over z in units of the model's own mean jump; below, what
    is decoded on the way. An autoencoder leaps where its codes leave holes, a VAE changes evenly:
    noise on the code makes the decoder answer for all that lies between. The same figure of
    models with sigma 0, small and learned is the noise ladder.

    Arguments:
        models: by name, how to decode and the codes (N, 1) of the same items.
        steps: codes of the sweep.
        shown: how many of them are drawn.
    """
    check_sizes(steps=steps - 1, shown=shown)
    figure, axes = charts(2 * len(models), 1, (9, 0.4 + 2.9 * len(models)))
    found = {}
    for place, (title_of, (decode, codes)) in enumerate(models.items()):
        z = line_between(codes, steps)
        pixels = decoded(decode, z)
        found[title_of] = numbers = _sweep_of(z, _steps(pixels))
        above, below = axes[2 * place : 2 * place + 2]
        relative = np.array(numbers["jump"]) / max(np.mean(numbers["jump"]), 1e-12)
        above.plot(numbers["z"], relative, color=SEVERAL[place % len(SEVERAL)], linewidth=0.9)
        said = f"{title_of}: 95th percentile over median {numbers['jump_ratio']:.2f}"
        name(above, said, "code z", "jump / mean")
        above.set_xlim(float(z[0]), float(z[-1]))
        chosen = np.linspace(0, steps - 1, shown).round().astype(int)
        tile(below, pixels[chosen][None])
    heights(axes, *(2, 1) * len(models))
    top = max(axis.get_ylim()[1] for axis in axes[::2])
    for axis in axes[::2]:
        axis.set_ylim(0, top)
    figure.suptitle(title, color=INK)
    return drawn(figure, models=found)


def _sweep_of(z: Tensor, jump: Array) -> dict[str, Array | float]:
    return {
        "z": ((z[1:] + z[:-1]) / 2).flatten().numpy(),
        "jump": jump,
        "jump_ratio": unevenness(jump),
        "largest_over_mean": float(jump.max() / max(jump.mean(), 1e-12)),
        "length": float(jump.sum()),
    }


def interpolation(
    decode: Decode, a: Tensor, b: Tensor, *, steps: int = 9, kind: str = "lerp"
) -> Drawn:
    """Decodings on the way from code a to code b (D,), over a cross-fade of the two pictures.

    The upper row should show digits in between, each of them one a hand could write; the lower
    is what a slide show does, two pictures at once. `grey` is that of each picture (`greyness`).
    """
    codes = path(a, b, steps, kind=kind)
    mix = np.linspace(0, 1, steps)
    way = decoded(decode, codes)
    weight = mix.reshape(-1, 1, 1, 1)
    rows = np.stack([way, (1 - weight) * way[0] + weight * way[-1]])
    columns = [f"{share:.0%}" for share in mix]
    names = ["code", "cross-fade"]
    figure = sheet(rows, "Between two codes, and between two pictures", names, columns)
    figure.axes[0].set_xlabel("share of the second")
    grey = dict(zip(names, greyness(rows), strict=True))
    return drawn(figure, codes=codes, mix=mix, grey=grey)


def halfway(decode: Decode, a: Tensor, b: Tensor) -> dict[str, Array]:
    """Pictures (N, H, W, C) halfway between codes a and b (N, D), and of their cross-fades.

    >>> one = torch.ones(1, 1)
    >>> both = halfway(lambda z: z.square().reshape(-1, 1, 1, 1), one, -one)
    >>> both["code"].item(), both["cross-fade"].item()
    (0.0, 1.0)
    """
    first, middle, last = decoded(decode, path(a, b, 3))
    return {"code": middle, "cross-fade": (first + last) / 2}


def morph_strip(
    decode: Decode, codes: Tensor, *, title: str = "A morph", columns: int = 12
) -> Drawn:
    """Decodings of codes (S, D), as of `latent.path`, in reading order, `columns` in a row."""
    pixels = decoded(decode, codes)
    columns = min(columns, len(pixels))
    rows = -(-len(pixels) // columns)
    white = np.ones((rows * columns - len(pixels), *pixels.shape[1:]))
    grid = np.concatenate([pixels, white]).reshape(rows, columns, *pixels.shape[1:])
    return drawn(sheet(grid, title), codes=codes, jump=_steps(pixels))


def write_gif(
    pixels: ArrayLike, where: Path, *, milliseconds: int = 80, scale: int = 6, back: bool = True
) -> Path:
    """Write pictures (S, H, W, C) as an animated GIF that goes round for ever.

    Arguments:
        milliseconds: a picture; 20 at least, under which viewers slow down.
        scale: times larger, without smoothing.
        back: return the way it came, so that it does not leap at the end.
    """
    check_sizes(milliseconds=milliseconds // 20, scale=scale)
    levels = np.rint(255 * shades(pixels)).astype(np.uint8)
    large = levels.repeat(scale, 1).repeat(scale, 2)
    frames = [Image.fromarray(each.squeeze(-1) if each.shape[-1] == 1 else each) for each in large]
    frames += frames[-2:0:-1] if back else []
    where.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = frames
    first.save(where, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return where
