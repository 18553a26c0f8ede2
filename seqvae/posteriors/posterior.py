"""A posterior head: it says how many parameters it needs, and makes a distribution of them."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Posterior(nn.Module, ABC):
    """`size` numbers per item -> q(z | x) over codes of size `latent`."""

    def __init__(self, latent: int, size: int) -> None:
        super().__init__()
        self.latent = latent
        self.size = size

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution:
        """Parameters (B, size) -> a distribution with batch shape (B,) and event shape (D,)."""
