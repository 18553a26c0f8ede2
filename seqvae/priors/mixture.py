"""A learned mixture of Gaussians."""

import torch
from torch import nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from ..distributions import gaussian, width
from ..errors import check_sizes
from ..vae import Prior

START = -0.514  # `width` of it is sqrt(1/2)


class GaussianMixture(Prior):
    """p(z) = sum_k w_k N(z; m_k, diag sigma_k^2), all of it learned with the rest of the model.

    The prior goes to where the codes are, instead of the codes to one heap at zero (Dilokthanakul
    et al., 2016; the baseline of Tomczak and Welling, 2018). torch knows no closed form of a KL
    from it, so that KL is estimated from the one code of each item.

    It begins near N(0, I): means drawn from N(0, I/2), and widths of sqrt(1/2).

    Arguments:
        latent: D.
        components: K.

    >>> p = GaussianMixture(2, components=5)()
    >>> p.sample((3,)).shape, p.log_prob(torch.zeros(3, 2)).shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(self, latent: int, *, components: int = 32) -> None:
        super().__init__()
        check_sizes(components=components)
        self.mean = nn.Parameter(0.5**0.5 * torch.randn(components, latent))
        self.scale = nn.Parameter(torch.full((components, latent), START))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self) -> Distribution:
        chosen = Categorical(logits=self.logits, validate_args=False)
        return MixtureSameFamily(
            chosen, gaussian(self.mean, width(self.scale)), validate_args=False
        )
