"""The prior that knows no direction: uniform on the unit sphere."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import HypersphericalUniform, gaussian
from ..errors import Refused
from ..vae import Prior


class UniformSphere(Prior):
    """p(z) = 1 / area of the unit sphere in D >= 2 dimensions   (Xu and Durrett, 2018).

    For a `VonMisesFisherPosterior`, to which its KL is a constant. It has no density off the
    sphere: the KL of a Gaussian posterior is infinite, and it can be matched by samples only.

    >>> z = UniformSphere(4)().sample((2,))
    >>> torch.allclose(z.norm(dim=-1), torch.ones(2))
    True
    """

    zeros: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent == 1:
            raise Refused("latent = 1: the sphere of one dimension is two points. Set 2 or more.")
        self.register_buffer("zeros", torch.zeros(latent), persistent=False)

    def forward(self) -> Distribution:
        if len(self.zeros) == 0:  # a language model: there is one empty code, with probability 1
            return gaussian(self.zeros, self.zeros)
        return HypersphericalUniform(self.zeros)
