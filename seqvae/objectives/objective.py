"""What every objective is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from ..vae import VAE, Batch

Report = dict[str, Tensor]


class Objective(nn.Module, ABC):
    """(vae, batch) -> (what to descend, report): nats a sentence, and numbers named for people.

    The report's `loss` is the objective alone: what is descended may add the losses of critics.

    The step is `batch.step`: evaluating at another step moves nothing.
    """

    @abstractmethod
    def forward(self, vae: VAE, batch: Batch) -> tuple[Tensor, Report]: ...

    @abstractmethod
    def settled(self, step: int) -> bool:
        """Whether every schedule is at full weight, so that a model may be judged."""

    def unmet(self) -> dict[str, str]:
        """By penalty, what it was asked for and has not reached: until then none is chosen."""
        return {}

    def update(self, report: Mapping[str, Tensor]) -> None:
        """Called once an optimiser step, with the global batch's report."""
