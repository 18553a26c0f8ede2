"""What every penalty is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from ..vae import Pass


class Regularizer(nn.Module, ABC):
    """Pass -> a penalty per item (B,), or one number for the whole batch.

    A penalty may learn and may hold buffers; it changes them only in `update`.
    """

    @abstractmethod
    def forward(self, out: Pass) -> Tensor: ...

    def update(self, report: Mapping[str, Tensor]) -> None:
        """Called once an optimiser step, with the global batch's report."""
