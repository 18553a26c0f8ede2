"""How much of a picture comes back, and how sharp pictures are: where text has BLEU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..codecs import Codec
from ..decoders.picture import PictureDecoder
from ..errors import Refused
from ..pixels import brightness
from ..vae import Decoder
from .codes import Back

AT_ONCE = 250  # codes decoded together


def seen(ids: Sequence[Sequence[int]], codec: Codec) -> Tensor:
    """Ids of pictures -> their brightness in [0, 1], (N, H, W, C).

    Raises `Refused` for items that are no pictures.
    """
    if codec.shape is None:
        raise Refused(f"{codec.noun}s are no pictures: they have no brightness to look at.")
    x = torch.tensor(ids, dtype=torch.long).view(len(ids), *codec.shape)
    return brightness(x, codec.vocab)


@torch.no_grad()
def expected(decoder: PictureDecoder, z: Tensor, codec: Codec) -> Tensor:
    """Codes (N, D) -> the brightness expected of every pixel, E[x|z] (N, H, W, C).

    Raises `Refused` for items that are no pictures.
    """
    if codec.shape is None:
        raise Refused(f"{codec.noun}s are no pictures: they have no brightness to look at.")
    means = [decoder(part).mean.cpu() for part in torch.split(z, AT_ONCE)]
    return torch.cat(means).view(-1, *codec.shape)


def looked_at(
    decoder: Decoder, codec: Codec, codes: Tensor, written: Sequence[Sequence[int]]
) -> Tensor:
    """What people see of codes (N, D), as pixels (N, H, W, C).

    Their expected brightness, where a decoder writes all pixels at once and a draw would add
    noise to it; of others what they have written.
    """
    if isinstance(decoder, PictureDecoder):
        return expected(decoder, codes, codec)
    return seen(written, codec)


def pictures(decoder: Decoder, codec: Codec, back: Back) -> dict[str, Any]:
    """Squared error a pixel of what comes back from mean codes, and how sharp it is.

    `pixel_error` is the mean of (x - x')^2 over pictures, pixels and channels, x in [0, 1];
    beside it stands what the average picture would come to, which is the data's variance.
    """
    originals = seen(back.originals, codec)
    again = looked_at(decoder, codec, back.codes, back.written)
    return {
        "pixel_error": _squared(again - originals),
        "pixel_error_average": _squared(originals - originals.mean(0)),
        "sharpness_data": sharpness(originals),
        "sharpness_reconstructions": sharpness(again),
    }


def sharpness(pixels: Tensor) -> float:
    """Mean squared step between neighbours, beside and below one another, of (N, H, W, C).

    Blur lowers it, and so does paleness; noise raises it. It says something beside the same of
    the data: of a chess board it is 1, of one shade 0.

    >>> sharpness(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).view(1, 2, 2, 1))
    1.0
    """
    below, beside = pixels.diff(dim=1).flatten(), pixels.diff(dim=2).flatten()
    steps = torch.cat([below, beside])
    return _squared(steps) if len(steps) else 0.0


def _squared(values: Tensor) -> float:
    return float(values.double().square().mean())
