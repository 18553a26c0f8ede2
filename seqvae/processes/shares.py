"""Which rows of a batch are whose."""

from typing import NamedTuple

import torch
from torch import Tensor

from .group import place


class Share(NamedTuple):
    """Which rows of a batch of `size` items are whose: first and last + 1 of each process."""

    size: int
    edges: tuple[tuple[int, int], ...]

    @property
    def own(self) -> tuple[int, int]:
        return self.edges[place()]

    @property
    def sizes(self) -> list[int]:
        return [stop - start for start, stop in self.edges]

    def kept(self, whole: Tensor) -> Tensor:
        """Of rows as they were gathered, process by process, this one's."""
        return torch.split(whole, self.sizes)[place()]


def pieces_of(size: int, pieces: int) -> list[tuple[int, int]]:
    """A batch in so many pieces as equal as can be: where they begin and end.

    None is empty: of fewer items than pieces some are in several, and share their weight.

    >>> pieces_of(5, 2), pieces_of(1, 2)
    ([(0, 2), (2, 5)], [(0, 1), (0, 1)])
    """
    starts = [size * piece // pieces for piece in range(pieces)]
    ends = [size * (piece + 1) // pieces for piece in range(pieces)]
    return [(start, max(end, start + 1)) for start, end in zip(starts, ends, strict=True)]
