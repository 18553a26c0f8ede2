"""What every penalty is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from ..vae import Pass


class Regularizer(nn.Module, ABC):
    """Pass -> a penalty per item (B,), or one number for the whole batch.

    `of_batch` says that it looks at all items of a batch together, so that more of them at once
    are another penalty: under accumulation it sees the parts. `of_aggregate` says that it takes
    them for a sample of all codes: batches are then not made of items of one length.

    A penalty may learn and may hold buffers; it changes them only in `update`. `pace` is by how
    much its own weights move faster than the networks', where it has an `own_loss`.
    """

    of_batch: bool = False
    of_aggregate: bool = False
    pace: float = 1.0

    @abstractmethod
    def forward(self, out: Pass) -> Tensor: ...

    def own_loss(self, out: Pass) -> Tensor | None:
        """What the penalty's own weights descend, apart from the loss: the loss of a critic.

        It must send no gradient to the networks. None: its weights learn with everything else.
        """
        return None

    @classmethod
    def learns_apart(cls) -> bool:
        """Whether its weights descend an `own_loss`, and so stand in a group of their own."""
        return cls.own_loss is not Regularizer.own_loss

    def settled(self, step: int) -> bool:
        """Whether whatever moves with the step inside of it has arrived."""
        return True

    def update(self, report: Mapping[str, Tensor]) -> None:
        """Called once an optimiser step, with the global batch's report."""
