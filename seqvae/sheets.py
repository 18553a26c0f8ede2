"""Contact sheets: many small pictures as one large array, and that array as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIDE = 56  # points of a picture's longer side, at least
GAP = 4  # between pictures
PAPER = 0.85  # brightness of what lies between

Sheet = NDArray[np.uint8]


def sheet(rows: Sequence[ArrayLike]) -> Sheet:
    """Rows of pictures, each (N, H, W, C) or (N, H, W) in [0, 1] -> one array (h, w, 3) uint8.

    All are of one size, and small ones are enlarged by a whole number. Grey ones have one channel.

    >>> sheet([np.zeros((3, 8, 8, 1)), np.ones((2, 8, 8))]).shape
    (124, 184, 3)
    """
    pictures = [np.asarray(row, np.float64) for row in rows]
    pictures = [row if row.ndim == 4 else row[..., None] for row in pictures]
    longest = max(len(row) for row in pictures)
    lines = [_line(row, longest) for row in pictures]
    whole = np.concatenate([part for line in lines for part in (line, _blank(GAP, line))])
    framed = np.concatenate([_blank(GAP, whole), whole])
    return np.rint(255 * framed.clip(0, 1)).astype(np.uint8)


def contact_sheet(pixels: ArrayLike, columns: int = 10) -> Sheet:
    """Pictures (N, H, W, C) in [0, 1], `columns` beside one another -> (h, w, 3) uint8."""
    pictures = np.asarray(pixels)
    return sheet([pictures[at : at + columns] for at in range(0, len(pictures), columns)])


def save_sheet(drawn: Sheet, path: Path) -> Path:
    """Write a sheet as PNG, its folder made if absent."""
    from matplotlib.image import imsave  # heavy, and most commands write none

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, drawn)
    return path


def _line(pictures: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Pictures (N, H, W, C) side by side, and paper where the last of `count` are missing."""
    _, height, width, channels = pictures.shape
    times = -(-SIDE // max(height, width))
    tiles = pictures.repeat(times, axis=1).repeat(times, axis=2)
    tiles = np.broadcast_to(tiles, (*tiles.shape[:3], 3)) if channels == 1 else tiles
    line = np.full((height * times, GAP + count * (width * times + GAP), 3), PAPER)
    for place, tile in enumerate(tiles):
        left = GAP + place * (width * times + GAP)
        line[:, left : left + width * times] = tile
    return line


def _blank(height: int, like: NDArray[Any]) -> NDArray[np.float64]:
    return np.full((height, *like.shape[1:]), PAPER)
