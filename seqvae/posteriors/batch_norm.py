"""A Gaussian posterior whose means are batch-normalised, so that their KL has a floor."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import gaussian, width
from ..errors import Refused
from ..processes import gathered, kept
from .posterior import Posterior

SMALL = 1e-8  # added to the variance of the means: a batch of equal items must not divide by zero


class BatchNormPosterior(Posterior):
    """q(z|x) = N(gamma (m(x) - mean m) / sd m + shift, diag sigma(x)^2)   (BN-VAE).

    Zhu et al. (2020), section 4: gamma is fixed and the shift learned, so over a batch
    E mu_d^2 >= gamma^2, and against N(0, I) the mean KL of a training batch is at least
    D gamma^2 / 2 nats whatever the weights (D = 32: 5.76 at gamma = 0.6, 7.84 at 0.7), as long as
    its items have different m at all. It keeps the means apart and says nothing of whether the
    decoder reads them. Under another prior than N(0, I) it is no floor.

    Means and deviations are those of the batch in training (of its parts under accumulation) and
    running averages of them otherwise. A batch of one (the last, longest sentence where batches
    are cut by tokens) has no deviation: it is given the running averages, and leaves them alone.

    Arguments:
        latent: D.
        gamma: the standard deviation of the means over a batch; 0.5 to 0.7 were published.
        momentum: the weight of each batch in the running averages.

    Raises `Refused` for a gamma that is not positive.

    >>> q = BatchNormPosterior(2, gamma=0.7)(torch.randn(8, 4))
    >>> [round(rms, 3) for rms in q.mean.square().mean(0).sqrt().tolist()]
    [0.7, 0.7]
    """

    def __init__(self, latent: int, *, gamma: float = 0.6, momentum: float = 0.1) -> None:
        super().__init__(latent, 2 * latent)
        if not gamma > 0:
            raise Refused(
                f"gamma = {gamma}: the means are to differ by a positive deviation, 0.6 say. "
                "To leave them free: GaussianPosterior."
            )
        if not 0 < momentum <= 1:
            raise Refused(
                f"momentum = {momentum}: averages that never move normalise nothing when all is "
                "learned. Choose above 0 and at most 1, such as 0.1."
            )
        self.gamma = gamma
        self.norm = nn.BatchNorm1d(latent, eps=SMALL, momentum=momentum, affine=False)
        self.shift = nn.Parameter(torch.zeros(latent))

    def forward(self, parameters: Tensor) -> Distribution:
        m, s = parameters.chunk(2, dim=-1)
        return gaussian(self.gamma * self._normal(m) + self.shift, width(s))

    def _normal(self, m: Tensor) -> Tensor:
        """Means (B, D) with mean 0 and variance 1 over the batch."""
        whole = gathered(m)
        if self.training and len(whole) > 1:
            return kept(self.norm(whole))
        mean, variance = self.norm.running_mean, self.norm.running_var
        return nn.functional.batch_norm(m, mean, variance, eps=SMALL)
