"""What every codec is: items to token ids and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Spans = NDArray[np.int64]
Shape = tuple[int, int, int]  # height, width, channels
BAR, NOTHING = -1, -2  # what an id says of when: that a bar begins; nothing


class Encoded(NamedTuple):
    """Token ids of one item, and what the codec had to change to express it (zeros left out)."""

    ids: list[int]
    loss: Mapping[str, int]


class Clock(NamedTuple):
    """What ids say of when: of events, which happen where those before them have led."""

    steps: int  # of a bar
    bars: int  # of an item
    says: tuple[int, ...]  # of each id: a step of the bar it is in, `BAR` or `NOTHING`


class Extent(NamedTuple):
    """How large items are: how many ids there are, and whatever else their codec knows of it."""

    vocab: int
    length: int | None = None  # of every item, where items have no end token
    shape: Shape | None = None  # of a picture: a token for every pixel and channel
    clock: Clock | None = None  # of events


class Codec(ABC):
    """item <-> token ids; `encode` refuses with a reason, `decode` is total.

    Ids 0 to 3 are PAD, UNK, BOS, EOS. A codec is saved as a folder, which travels in the run.
    """

    kind: ClassVar[str]
    noun: ClassVar[str] = "item"  # what an item is called, for people
    reversible: ClassVar[bool] = False  # whether decode gives back all that encode was given
    vocab: int
    length: int | None = None
    shape: Shape | None = None
    clock: Clock | None = None
    allowed: Spans | None = None  # ids (first, last + 1) at each position, in turn (P, 2)

    @property
    def extent(self) -> Extent:
        return Extent(self.vocab, self.length, self.shape, self.clock)

    @abstractmethod
    def encode(self, item: Any) -> Encoded:
        """One item -> its ids (with EOS or of fixed length, without BOS) and a loss report.

        Raises `Refused` with the reason.
        """

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> Any:
        """Any ids -> an item: PAD and BOS are skipped, the first EOS ends it. Never raises."""

    @abstractmethod
    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The ids as strings a person can read, one each."""

    def show(self, item: Any) -> str:
        """The item as a line that a person can read."""
        return str(item)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the codec into a folder (created if absent); the same codec, the same bytes."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises `Refused` naming the file where it is damaged."""
