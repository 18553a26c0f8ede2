"""A prior of petals: Gaussians on a ring, each drawn out along its radius."""

import math

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    TransformedDistribution,
)
from torch.distributions.transforms import ReshapeTransform

from ..errors import Refused, check_sizes
from ..vae import Prior


class Ring(Prior):
    """p(z_1, z_2) = 1/K sum_k N(r u_k, a^2 u_k u_k' + b^2 v_k v_k'), the ring of ten Gaussians.

    u_k = (cos 2 pi k / K, sin 2 pi k / K) points outwards and v_k across it. The 2-D prior of
    adversarial autoencoders (Makhzani et al., 2016, section 2.3), with the sizes that public code
    of it has. Further dimensions are independent pairs of the same kind. It has a density, though
    torch knows no closed form of a KL from it: that is estimated from the one code of each item.

    Arguments:
        latent: D, even.
        count: K, how many Gaussians.
        radius: r, of the circle that their means lie on.
        along: a, their width along the radius.
        across: b, their width across it.

    Raises `Refused` for an odd D, or sizes that are not positive.

    >>> p = Ring(2)()
    >>> p.sample((3,)).shape, p.log_prob(torch.zeros(3, 2)).shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        latent: int,
        *,
        count: int = 10,
        radius: float = 1.4,
        along: float = 0.5,
        across: float = 0.1,
    ) -> None:
        super().__init__()
        if latent % 2:
            raise Refused(
                f"latent = {latent}: a Ring lies in the plane, so its codes have pairs of "
                f"dimensions. Set latent = {latent + 1}, or name another prior."
            )
        check_sizes(count=count)
        if not (radius >= 0 and along > 0 and across > 0):
            raise Refused(
                f"a Ring of radius {radius}, {along} wide along it and {across} across: give "
                "positive widths, and a radius of 0 or more."
            )
        self.pairs = latent // 2
        angle = 2 * math.pi * torch.arange(count) / count
        out = torch.stack([angle.cos(), angle.sin()], dim=-1)
        over = torch.stack([-angle.sin(), angle.cos()], dim=-1)
        covariance = along**2 * _outer(out) + across**2 * _outer(over)
        self.register_buffer("mean", radius * out, persistent=False)
        self.register_buffer("scale", torch.linalg.cholesky(covariance), persistent=False)

    def forward(self) -> Distribution:
        even = self.mean.new_zeros(self.pairs, len(self.mean))
        alike = Categorical(logits=even, validate_args=False)
        petals = MultivariateNormal(
            self.mean.expand(self.pairs, -1, -1), scale_tril=self.scale, validate_args=False
        )
        return _Pairs(MixtureSameFamily(alike, petals, validate_args=False))


def _outer(u: Tensor) -> Tensor:
    """Vectors (K, 2) -> u u' (K, 2, 2)."""
    return u.unsqueeze(-1) * u.unsqueeze(-2)


class _Pairs(TransformedDistribution):
    """Independent pairs (D / 2,) of dimensions side by side, an event of shape (D,)."""

    def __init__(self, pair: Distribution) -> None:
        (pairs,) = pair.batch_shape
        flat = ReshapeTransform(torch.Size((pairs, 2)), torch.Size((2 * pairs,)))
        super().__init__(Independent(pair, 1, validate_args=False), [flat], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean.flatten(-2)

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance.flatten(-2)
