"""The standard normal prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import gaussian
from ..vae import Prior


class StandardNormal(Prior):
    """p(z) = N(0, I) over codes of size `latent`.

    >>> StandardNormal(2)().log_prob(torch.zeros(2)).item()
    -1.8378770351409912
    """

    zeros: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(latent), persistent=False)

    def forward(self) -> Distribution:
        return gaussian(self.zeros, torch.ones_like(self.zeros))
