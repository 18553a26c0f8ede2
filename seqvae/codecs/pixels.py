"""Pictures as tokens: one for every pixel and channel, in the order rows, columns, channels."""

from collections.abc import Iterable, Sequence
from itertools import islice
from math import prod
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import Refused, check_sizes
from ..tokens import SPECIAL
from .codec import Encoded, Shape, Spans
from .listed import ListedCodec

Binarize = Literal["none", "static", "dynamic"]
Pixels = NDArray[np.uint8]

WHITE = 255
SHADES = " .:-=+*#%@"
SHOWN = 16  # rows and columns of a picture shown, at most


class PixelCodec(ListedCodec):
    """A picture <-> ids: a pixel of level v is the id 4 + v; every picture has as many.

    The item is an array (H, W, C), or (H, W) of one channel: 0 to 255 as integers, or 0 to 1 as
    floats. Decoded it is uint8 (H, W, C), 0 to 255. Of fewer levels than 256 each pixel takes the
    nearest. Of two levels that is white from 128 on: a fixed reading, for pictures of one's own;
    those of a corpus were drawn, once (`static`) or are again each time (`dynamic`).

    Arguments:
        height, width, channels: of every picture; 1 channel is grey, 3 are colours.
        levels: shades of a pixel, 2 to 256; where pixels are binarised there are 2 in any case.
        binarize: how the corpus's pixels were made black or white: "none", "static", "dynamic".
        seed: of the drawing.

    Raises `Refused` for a size under 1, other channels, levels or ways.

    >>> codec = PixelCodec(1, 2, levels=3)
    >>> codec.encode(np.array([[0, 130]])), codec.decode([4, 5]).ravel().tolist()
    (Encoded(ids=[4, 5], loss={'pixels changed': 1}), [0, 128])
    """

    kind: ClassVar[str] = "pixels"
    noun: ClassVar[str] = "image"
    words = ("binarize",)

    def __init__(
        self,
        height: int,
        width: int,
        channels: int = 1,
        levels: int = 256,
        binarize: Binarize = "none",
        seed: int = 0,
    ) -> None:
        check_sizes(height=height, width=width)
        if channels not in (1, 3):
            raise Refused(f"channels = {channels}: a picture has 1 (grey) or 3 (colours).")
        if not 2 <= levels <= WHITE + 1:
            raise Refused(f"levels = {levels}: a pixel has 2 levels, 256 or any number between.")
        if binarize not in get_args(Binarize):
            raise Refused(f"binarize = {binarize!r}: one of {', '.join(get_args(Binarize))}.")
        if seed < 0:
            raise Refused(f"seed = {seed}: set it to 0 or more.")
        self.binarize: Binarize = binarize
        self.levels = levels if binarize == "none" else 2
        self.seed = seed
        self.shape: Shape = (height, width, channels)
        self.length: int = prod(self.shape)
        self.vocab = SPECIAL + self.levels
        self.allowed: Spans = np.array([(SPECIAL, self.vocab)])

    def encode(self, item: Any) -> Encoded:
        pixels = self._fitting(intensities(item))
        levels = self.level(pixels)
        changed = int((self.pixel(levels) != pixels).sum())
        ids = (levels.ravel() + SPECIAL).tolist()
        return Encoded(ids, {"pixels changed": changed} if changed else {})

    def level(self, pixels: Pixels) -> Spans:
        """The nearest level of every intensity 0 to 255."""
        return (pixels.astype(np.int64) * (self.levels - 1) + WHITE // 2) // WHITE

    def pixel(self, levels: Spans) -> Pixels:
        """The intensity 0 to 255 of every level."""
        most = self.levels - 1
        return ((2 * WHITE * levels + most) // (2 * most)).astype(np.uint8)

    def _fitting(self, pixels: Pixels) -> Pixels:
        """The pixels as (H, W, C). Raises `Refused` for a picture of another shape."""
        shape = pixels.shape if pixels.ndim > 2 else (*pixels.shape, 1)
        if shape != self.shape:
            raise Refused(
                f"a picture of {sized(shape)}; this codec holds {sized(self.shape)}. Cut or "
                "resize it first."
            )
        return pixels.reshape(self.shape)

    def decode(self, ids: Iterable[int]) -> Pixels:
        """Any ids -> a picture (H, W, C) uint8; what is no level, or is missing, is black."""
        levels = np.zeros(self.length, np.int64)
        given = [int(i) for i in islice(ids, self.length)]
        levels[: len(given)] = [i - SPECIAL if SPECIAL <= i < self.vocab else 0 for i in given]
        return self.pixel(levels).reshape(self.shape)

    def names(self) -> list[str]:
        return list(map(str, range(self.levels)))

    def show(self, item: Any) -> str:
        """The picture's rows in characters, dark to bright; of a large one every second, third …

        >>> PixelCodec(2, 2).show(np.array([[0, 255], [128, 0]]))
        '| @|+ |'
        """
        grey = self._fitting(intensities(item)).mean(axis=2)
        every = -(-max(grey.shape) // SHOWN)
        places = (grey[::every, ::every] * len(SHADES) / (WHITE + 1)).astype(int)
        return f"|{'|'.join(''.join(SHADES[p] for p in row) for row in places.tolist())}|"

    # --- on disk ---

    def settings(self) -> dict[str, Any]:
        height, width, channels = self.shape
        of_picture = {"height": height, "width": width, "channels": channels}
        return {
            **of_picture,
            "levels": self.levels,
            "binarize": self.binarize,
            "seed": self.seed,
        }


def intensities(values: Any, name: str = "a picture") -> Pixels:
    """Pixels as intensities 0 to 255: integers as they are, floats in [0, 1] to the nearest.

    Raises `Refused` for values out of range, and what holds no numbers.

    >>> intensities([[0.0, 0.5, 1.0]]).tolist()
    [[0, 128, 255]]
    """
    try:
        pixels = np.asarray(values)
    except ValueError as error:
        raise Refused(f"{name}: its rows differ in length. Give an array (H, W, C).") from error
    if pixels.ndim < 2 or pixels.size == 0 or pixels.dtype.kind not in "buif":
        raise Refused(
            f"{name}: {pixels.dtype} of shape {pixels.shape}, which is no picture. Give an array "
            "(H, W) or (H, W, C): integers 0 to 255, or floats 0 to 1."
        )
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(WHITE)
    if pixels.dtype.kind == "f" and np.isnan(pixels).any():
        raise Refused(f"{name}: some pixels are NaN, which is no brightness. Give each a number.")
    least, most = pixels.min(), pixels.max()
    whole = pixels.dtype.kind in "ui"
    if not (least >= 0 and most <= (WHITE if whole else 1)):
        raise Refused(
            f"{name}: pixels from {least:g} to {most:g}, but as "
            f"{'integers they are 0 to 255' if whole else 'floats they are 0 to 1'}. Rescale them."
        )
    return pixels.astype(np.uint8) if whole else np.rint(pixels * WHITE).astype(np.uint8)


def sized(shape: Sequence[int]) -> str:
    """
    >>> sized((28, 28, 1)), sized((32, 32, 3))
    ('28 x 28 grey', '32 x 32 in colour')
    """
    if len(shape) != 3:
        return f"shape {tuple(shape)}"
    colour = {1: "grey", 3: "in colour"}.get(shape[2], f"x {shape[2]}")
    return f"{shape[0]} x {shape[1]} {colour}"
