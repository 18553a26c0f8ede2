"""The diagonal Gaussian posterior, with learned or fixed width."""

from torch import Tensor
from torch.distributions import Distribution

from ..distributions import gaussian, width
from ..errors import Refused
from .posterior import Posterior


class GaussianPosterior(Posterior):
    """q(z|x) = N(mu(x), diag sigma(x)^2)   (Kingma and Welling, 2014).

    sigma = softplus(s + log(e - 1)) + 1e-4, so that s = 0 gives the prior's own width (1.0001),
    and large s grows linearly.

    Arguments:
        latent: D.
        sigma: a number fixes the width of every code (a rung of the noise ladder between
            autoencoder and VAE); None learns it.

    >>> import torch
    >>> q = GaussianPosterior(2)(torch.tensor([[0.5, -1.0, 0.0, 9.0]]))  # mu and s of 2 dimensions
    >>> q.mean.tolist(), [round(width, 2) for width in q.stddev[0].tolist()]
    ([[0.5, -1.0]], [1.0, 9.54])
    """

    def __init__(self, latent: int, *, sigma: float | None = None) -> None:
        super().__init__(latent, latent if sigma is not None else 2 * latent)
        if sigma is not None and sigma <= 0:
            raise Refused(
                f"sigma = {sigma}: a width is positive. For none at all: DeltaPosterior."
            )
        self.sigma = sigma

    def forward(self, parameters: Tensor) -> Distribution:
        mu, scale = parameters[..., : self.latent], parameters[..., self.latent :]
        if self.sigma is not None:
            return gaussian(mu, mu.new_full((), self.sigma).expand_as(mu))
        return gaussian(mu, width(scale))
