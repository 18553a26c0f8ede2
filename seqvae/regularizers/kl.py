"""The KL divergence of the posterior from the prior."""

from torch import Tensor

from ..distributions import kl
from ..vae import Pass
from .regularizer import Regularizer


class KL(Regularizer):
    """KL(q(z|x) || p(z)) per item (B,), nats, summed over dimensions.

    With weight 1 the negative ELBO (Kingma and Welling, 2014), with weight beta the beta-VAE
    (Higgins et al., 2017). Refused where q or p has no density.

    >>> import torch
    >>> from seqvae.distributions import gaussian
    >>> ones = torch.ones(1, 4)
    >>> q, p = gaussian(ones, ones), gaussian(0 * ones[0], ones[0])
    >>> KL()(Pass(None, q, p, q.mean, None, None)).item()  # mu^2 / 2 of each of 4 dimensions
    2.0
    """

    of_rate = True

    def forward(self, out: Pass) -> Tensor:
        return kl(out.q, out.p, out.z)
