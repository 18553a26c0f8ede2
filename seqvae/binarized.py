"""Pictures whose pixels are drawn black or white, as bright as they are: drawn once, or anew.

A pixel of intensity v of 255 is white with probability v / 255. A drawing is a function of its
key, so that equal keys give equal pictures, in any process.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .tokens import SPECIAL

WHITE = 255


class Intensities(Protocol):
    """Pictures by number, as intensities 0 to 255, and their labels."""

    @property
    def lengths(self) -> NDArray[np.int32]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> NDArray[np.int32]: ...

    def label(self, row: int, /) -> int | None: ...


def drawn(intensities: NDArray[np.integer], key: Sequence[int]) -> NDArray[np.int32]:
    """Intensities (T,) 0 to 255 -> ids (T,): white with probability v / 255, by the key.

    >>> drawn(np.array([0, 255, 0, 255]), [0]).tolist()
    [4, 5, 4, 5]
    """
    below = np.random.default_rng(list(key)).integers(WHITE, size=len(intensities), dtype=np.uint8)
    return (below < intensities).astype(np.int32) + SPECIAL


class Binarized:
    """Items of a dynamically binarised corpus: `items[row]` is one fixed drawing of that row.

    So that figures repeat; training asks for the drawings of each step instead. Pickles as what
    it was made of, so it may be sent to a loader's workers.

    Arguments:
        items: the intensities on the disk.
        key: of the drawings: the seed, and the number of the split.
    """

    def __init__(self, items: Intensities, key: Sequence[int]) -> None:
        self.items, self.key = items, tuple(key)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        own = row + len(self) if row < 0 else row  # a picture is drawn alike from both ends
        return drawn(self.items[row], [*self.key, own])

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Pixels of every picture, (N,) int32."""
        return self.items.lengths

    def label(self, row: int) -> int | None:
        """The label of a picture as a position in `Corpus.labels`; None if there are none."""
        return self.items.label(row)

    def redrawn(self, step: int, seed: int = 0) -> "Binarized":
        """The same pictures as they are drawn at a step of training with that seed."""
        return Binarized(self.items, [*self.key, seed, step])
