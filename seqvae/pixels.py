"""Pictures as token ids: how many levels of brightness there are, and what networks see of them.

A pixel of level v = 0 … levels - 1 is the id SPECIAL + v, the tokens of a picture stand in the
order rows, columns, channels, and its brightness is v / (levels - 1), 0 black and 1 white.
"""

import torch
from torch import Tensor

from .codecs.codec import Shape
from .errors import Refused
from .tokens import SPECIAL


def levels_of(vocab: int) -> int:
    """How many levels of brightness a pixel has where there are `vocab` ids.

    Raises `Refused` where there are none to tell apart.
    """
    levels = vocab - SPECIAL
    if levels < 2:
        raise Refused(
            f"vocab = {vocab}: a pixel has 2 levels of brightness or more, and ids under "
            f"{SPECIAL} are none. Set vocab to {SPECIAL} + levels."
        )
    return levels


def brightness(x: Tensor, vocab: int) -> Tensor:
    """Ids (*) -> brightness in [0, 1]; an id that is no level, as the UNK of a noise, is black.

    >>> import torch
    >>> brightness(torch.tensor([1, 4, 5, 6]), vocab=7).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    white = levels_of(vocab) - 1
    return (x - SPECIAL).clamp(0, white) / white


def maps(pixels: Tensor, shape: Shape) -> Tensor:
    """Numbers (*, H*W*C) in the order of tokens -> maps (*, C, H, W) to convolve."""
    return pixels.view(*pixels.shape[:-1], *shape).movedim(-1, -3)


def mass(pixels: Tensor) -> Tensor:
    """The mean brightness of pictures (B, C, H, W), of light strokes on dark: (B,)."""
    return pixels.mean((-3, -2, -1))


def slant(pixels: Tensor) -> Tensor:
    """-m11 / m02 by the central moments of brightness (B, C, H, W): how far strokes lean (B,).

    The tangent of the angle to the right; 0 for a picture without height.

    >>> import torch
    >>> slant(torch.eye(5).flip(0).view(1, 1, 5, 5)).tolist()
    [1.0]
    """
    ink = pixels.mean(-3)
    y = torch.arange(ink.shape[-2], device=ink.device).view(-1, 1) + torch.zeros_like(ink)
    x = torch.arange(ink.shape[-1], device=ink.device) + torch.zeros_like(ink)
    total = ink.sum((-2, -1), keepdim=True).clamp_min(1e-12)
    y = y - (ink * y).sum((-2, -1), keepdim=True) / total
    x = x - (ink * x).sum((-2, -1), keepdim=True) / total
    m11, m02 = (ink * x * y).sum((-2, -1)), (ink * y * y).sum((-2, -1))
    return torch.where(m02 > 1e-9, -m11 / m02.clamp_min(1e-9), torch.zeros_like(m11))
