"""What every penalty is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from ..vae import Pass


class Regularizer(nn.Module, ABC):
    """Pass -> a penalty per item (B,), or one number for the whole batch.

    `of_batch` says that it looks at all items of a batch together, so that more of them at once
    are another penalty: under accumulation it sees the parts.

    A penalty may learn and may hold buffers; it changes them only in `update`.
    """

    of_batch: bool = False

    @abstractmethod
    def forward(self, out: Pass) -> Tensor: ...

    def update(self, report: Mapping[str, Tensor]) -> None:
        """Called once an optimiser step, with the global batch's report."""
