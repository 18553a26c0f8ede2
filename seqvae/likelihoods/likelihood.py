"""A likelihood: it says how many numbers a pixel needs, and makes a distribution of them."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from ..pixels import levels_of
from ..tokens import SPECIAL


class Pixels(Distribution):
    """p(x | z) = prod_t p(x_t | z): given their code pixels are independent, and written at once.

    Over ids (T,), as they stand in a batch: `log_prob` of x (B, T) is (*, B) nats, summed over
    pixels and channels; samples and `mode` are ids, `mean` (*, B, T) is the brightness expected
    of each pixel, in [0, 1]. Ids that are no level have probability zero.

    Arguments:
        each: of every pixel by itself, (*, B, T), over its level times `unit`.
        levels: of brightness.
        unit: what one level is worth to `each`.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}

    def __init__(self, each: Distribution, levels: int, unit: float = 1.0) -> None:
        self.each = each
        self.levels = levels
        self.unit = unit
        super().__init__(each.batch_shape[:-1], each.batch_shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.each.mean / (self.unit * (self.levels - 1))

    @property
    def mode(self) -> Tensor:
        """The ids of the most likely picture."""
        # torch gives a fair coin no mode but nan; here it is black.
        return self._ids(self.each.mode.nan_to_num())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Ids (*sample_shape, *, B, T); what lies between two levels or outside is rounded."""
        with torch.no_grad():
            return self._ids(self.each.sample(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.token_log_prob(value).sum(-1)

    def token_log_prob(self, x: Tensor) -> Tensor:
        """log p(x_t | z) of every pixel and channel, (*, B, T)."""
        level = x - SPECIAL
        known = level.clamp(0, self.levels - 1)
        log_p = self.each.log_prob(known * self.unit)
        return log_p.masked_fill(known != level, -torch.inf)

    def _ids(self, values: Tensor) -> Tensor:
        level = (values / self.unit).round().clamp(0, self.levels - 1)
        return level.long() + SPECIAL


class Likelihood(nn.Module, ABC):
    """`size` numbers for every pixel and channel -> p(x | z).

    Arguments:
        vocab: V, four ids and the levels of brightness.
        size: how many numbers the decoder gives of a pixel.
    """

    def __init__(self, vocab: int, size: int) -> None:
        super().__init__()
        self.vocab = vocab
        self.levels = levels_of(vocab)
        self.size = size

    @abstractmethod
    def pixels(self, numbers: Tensor) -> Pixels:
        """Float32 numbers (*, T, size) -> the distribution, of batch shape (*) and event (T,)."""

    def forward(self, numbers: Tensor) -> Pixels:
        """Numbers (*, T, size) of any type -> the distribution, whose densities are float32."""
        with torch.autocast(numbers.device.type, enabled=False):
            return self.pixels(numbers.float())
