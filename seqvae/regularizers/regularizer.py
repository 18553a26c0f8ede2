"""What every penalty is, and what those are that hold a rate."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from ..distributions import kl
from ..errors import Refused
from ..vae import Pass


class Regularizer(nn.Module, ABC):
    """Pass -> a penalty per item (B,), or one number for the whole batch.

    `of_batch` says that it looks at all items of a batch together, so that more of them at once
    are another penalty: under accumulation it sees the parts. `of_aggregate` says that it takes
    them for a sample of all codes: batches are then not made of items of one length. `of_rate`
    says that it weighs the KL, so that where a rate is asked for it makes way.

    A penalty may learn and may hold buffers; it changes them only in `update`. `pace` is by how
    much its own weights move faster than the networks', where it has an `own_loss`.
    """

    of_batch: bool = False
    of_aggregate: bool = False
    of_rate: bool = False
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

    def unmet(self) -> str:
        """What it was asked for and has not reached by now, in a few words; "" where nothing is.

        Weights are not chosen meanwhile.
        """
        return ""

    def update(self, report: Mapping[str, Tensor]) -> None:
        """Called once an optimiser step, with the global batch's report."""


class HeldRate(Regularizer):
    """The KL under a weight that moves in `update` until the mean rate is what was asked for.

    In eval mode the penalty is max(mean KL, nats) of each batch, one number, which does not float
    with the weight: the negative ELBO where the rate is high enough, and no reward for less. So
    objectives of different steps compare. Of a rate that has landed some batches lie under it, and
    the mean over batches is somewhat above the rate: 12.1 of 12 with batches of 64.

    A code of no dimensions (a language model) has the rate 0 whatever was asked for, so it is
    asked for 0 nats.

    Arguments:
        latent: D; a recipe gives it.
        nats: the rate, a sentence.
        memory: share of the past in the average that is held.
        tolerance: relative error within which the rate has landed.
        gains: whatever else is 0 or more, by name.

    Raises `Refused` for a rate, tolerance or gain that is negative or infinite, and for a share
    that is none.
    """

    of_rate = True

    def __init__(
        self, latent: int | None, nats: float, memory: float, tolerance: float, **gains: float
    ) -> None:
        super().__init__()
        for name, number in {"nats": nats, "tolerance": tolerance, **gains}.items():
            if not 0 <= number < math.inf:
                raise Refused(f"{name} = {number}: set it to 0 or more.")
        if not 0 <= memory < 1:
            raise Refused(f"memory = {memory}: the share of the past is 0 or more and under 1.")
        self.nats = 0.0 if latent == 0 else nats
        self.memory = memory
        self.tolerance = tolerance

    @abstractmethod
    def weighed(self, rates: Tensor) -> Tensor:
        """What rates (B,), nats, cost in training: (B,)."""

    @abstractmethod
    def landed(self) -> bool:
        """Whether the averaged rate is what was asked for, within the tolerance."""

    @abstractmethod
    def averaged(self) -> float:
        """The rate by now, nats, a moving average."""

    @property
    def scale(self) -> float:
        """What errors are relative to: under 1 nat they are in nats, as 0 has no relative one."""
        return max(self.nats, 1.0)

    def forward(self, out: Pass) -> Tensor:
        rates = kl(out.q, out.p, out.z)
        return self.weighed(rates) if self.training else rates.mean().clamp_min(self.nats)

    def unmet(self) -> str:
        if self.landed():
            return ""
        return f"rate {self.averaged():.1f} of the {self.nats:g} nats asked for"


def check_between(**numbers: float) -> None:
    """Raise `Refused` unless the second of three numbers lies between the others, all above 0."""
    least, value, most = numbers.values()
    if not 0 < least <= value <= most < math.inf:
        said = ", ".join(f"{name} = {number:g}" for name, number in numbers.items())
        raise Refused(f"{said}: choose 0 < {' <= '.join(numbers)}.")
