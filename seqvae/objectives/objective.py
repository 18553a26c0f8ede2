"""What every objective is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from ..vae import VAE, Batch

Report = dict[str, Tensor]


class Objective(nn.Module, ABC):
    """(vae, batch) -> (loss, report): nats a sentence, and numbers named for people.

    The step is `batch.step`: evaluating at another step moves nothing.
    """

    @abstractmethod
    def forward(self, vae: VAE, batch: Batch) -> tuple[Tensor, Report]: ...

    @abstractmethod
    def settled(self, step: int) -> bool:
        """Whether every schedule is at full weight, so that a model may be chosen."""

    def update(self, report: Mapping[str, Tensor]) -> None:
        """Called once an optimiser step, with the global batch's report."""
