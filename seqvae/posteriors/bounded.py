"""A Gaussian posterior that cannot come nearer to the prior than a number of nats."""

import math

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import gaussian
from ..errors import Refused
from .posterior import Posterior

LARGEST = 40.0  # nats of a dimension, which a code as narrow as 1e-18 has
SMALL = 1e-6  # added to mu^2: at 0 its root has no gradient. It also covers rounding


class BoundedPosterior(Posterior):
    """q(z|x) = N(mu, diag sigma^2) with KL(q || N(0, I)) >= nats for every x   (delta-VAE).

    Razavi et al. (2019), equation 4, with an independent prior, as it is used for text (the
    delta-VAE of Zhu et al., 2020). With delta = nats / D for each dimension, from numbers m and s:

        sigma = l + (u - l) sigmoid(s),   l < 1 < u with v - log v - 1 = 2 delta at v = l^2, u^2
        mu^2  = 2 delta + 1 + log sigma^2 - sigma^2 + softplus(m),   mu > 0

    so that KL_d = delta + softplus(m) / 2: the floor is kept by every dimension of every item.
    (The paper has max(0, m), under which a dimension that has reached the floor feels nothing.)

    The rate is committed whether or not it carries information: a code that is the same for
    every item pays it too, so a KL at the floor says nothing of collapse. Look at mutual
    information and repayment. Under another prior than N(0, I) it is no floor.

    Arguments:
        latent: D.
        nats: the floor of an item, over all dimensions; 3.2 is 0.1 for each of 32, as published.

    Raises `Refused` for a floor that is not positive, or over 40 nats a dimension.

    >>> import torch
    >>> from seqvae.distributions import kl
    >>> q, p = BoundedPosterior(2, nats=3.0)(torch.full((1, 4), -20.0)), torch.zeros(2)
    >>> round(kl(q, gaussian(p, p + 1), q.mean).item(), 4)
    3.0
    """

    def __init__(self, latent: int, *, nats: float = 3.2) -> None:
        super().__init__(latent, 2 * latent)
        if not 0 < nats < math.inf:
            raise Refused(
                f"nats = {nats}: a floor under the KL is a positive number. For none: "
                "GaussianPosterior."
            )
        self.delta = nats / max(latent, 1)  # an empty code is built too, for a language model
        if self.delta > LARGEST:
            raise Refused(
                f"nats = {nats}: {self.delta:g} for each of {latent} dimensions takes widths that "
                f"float32 has not. Ask for {LARGEST:g} a dimension at most."
            )
        self.narrowest, self.widest = widths_at(self.delta)

    def forward(self, parameters: Tensor) -> Distribution:
        m, s = parameters.chunk(2, dim=-1)
        sigma = self.narrowest + (self.widest - self.narrowest) * s.sigmoid()
        missing = 2 * self.delta + 1 + 2 * sigma.log() - sigma.square()
        return gaussian((missing.clamp_min(0) + F.softplus(m) + SMALL).sqrt(), sigma)


def widths_at(delta: float) -> tuple[float, float]:
    """The two sigma, under and over 1, for which KL(N(0, sigma^2) || N(0, 1)) is `delta` nats.

    >>> [round((sigma**2 - 1) / 2 - math.log(sigma), 6) for sigma in widths_at(0.1)]
    [0.1, 0.1]
    """
    # In t = log sigma^2 the equation e^t - t - 1 = 2 delta is convex: Newton's steps from outside
    # of a root come down to it and never pass it.
    roots = []
    for t in (-1 - 2 * delta, 2 + math.log(1 + 2 * delta)):
        for _ in range(100):
            t -= (math.expm1(t) - t - 2 * delta) / math.expm1(t)
        roots.append(math.exp(t / 2))
    return roots[0], roots[1]
