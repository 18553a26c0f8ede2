"""The posterior on a sphere: a direction of the item's own, one concentration for all."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..distributions import VonMisesFisher
from ..errors import Refused
from .posterior import Posterior

LARGEST = 1e6  # concentration: beyond, float32 knows no directions so near to one another
SHORTEST = 1e-20  # length of a vector that still has a direction


class VonMisesFisherPosterior(Posterior):
    """q(z|x) = vMF(m(x) / |m(x)|, kappa) on the unit sphere, kappa fixed   (vMF-VAE).

    Xu and Durrett (2018), section 3; Davidson et al. (2018). Under the prior `UniformSphere` the
    KL is the same number for every item and every weight, so that the objective cannot drive it
    down: it is set by kappa (at D = 32 and kappa = 13: 2.17 nats) and sends no gradient. It is
    paid whether or not the decoder reads the code.

    Arguments:
        latent: D, at least 2.
        kappa: the concentration. Samples have the cosine A_D(kappa) with their direction in the
            mean.

    Raises `Refused` for a sphere of fewer dimensions, or a kappa that is not positive.

    >>> q = VonMisesFisherPosterior(3, kappa=40.0)(torch.randn(5, 3))
    >>> torch.allclose(q.rsample().norm(dim=-1), torch.ones(5))
    True
    """

    def __init__(self, latent: int, *, kappa: float = 13.0) -> None:
        super().__init__(latent, latent)
        if latent == 1:
            raise Refused("latent = 1: the sphere of one dimension is two points. Set 2 or more.")
        if not 0 < kappa <= LARGEST:
            raise Refused(
                f"kappa = {kappa}: a concentration is positive, and at most {LARGEST:g}. For a "
                "code without spread: DeltaPosterior."
            )
        self.kappa = kappa

    def forward(self, parameters: Tensor) -> VonMisesFisher:
        length = parameters.norm(dim=-1, keepdim=True)
        pole = one_hot(parameters.new_zeros((), dtype=torch.long), self.latent)
        # At zero, as of a NoiseEncoder, there is no direction: any will do, always the same.
        mu = torch.where(length > SHORTEST, parameters / length.clamp_min(SHORTEST), pole)
        return VonMisesFisher(mu, self.kappa)
