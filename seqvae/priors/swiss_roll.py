"""A prior that is a curve: it can be drawn from, and has no density."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint, real_vector

from ..distributions import WithoutDensity
from ..errors import Refused
from ..vae import Prior


class SwissRoll(Prior):
    """z = r s (cos 2 pi n s, sin 2 pi n s), s^2 uniform on [0, 1]: a spiral that winds n times.

    The 2-D prior of adversarial autoencoders (Makhzani et al., 2016, section 2.3), as public code
    of it draws it: its outer end lies at r, and codes are nearly evenly spread along it. Further
    dimensions are independent pairs of the same kind. All of it lies on a curve, so that no code
    has a density: it can be matched by samples (`Adversarial`, `MMD`), and KL is undefined.

    Arguments:
        latent: D, even.
        radius: r.
        turns: n.

    Raises `Refused` for an odd D, or a size that is not positive.

    >>> z = SwissRoll(2)().sample((1000,))
    >>> bool((z.norm(dim=-1) <= 3).all())
    True
    """

    zeros: Tensor

    def __init__(self, latent: int, *, radius: float = 3.0, turns: float = 2.0) -> None:
        super().__init__()
        if latent % 2:
            raise Refused(
                f"latent = {latent}: a SwissRoll lies in the plane, so its codes have pairs of "
                f"dimensions. Set latent = {latent + 1}, or name another prior."
            )
        if not (radius > 0 and turns > 0):
            raise Refused(f"a SwissRoll of radius {radius} and {turns} turns: set both above 0.")
        self.radius, self.turns = radius, turns
        self.register_buffer("zeros", torch.zeros(latent), persistent=False)

    def forward(self) -> Distribution:
        return _Spiral(self.zeros, self.radius, self.turns)


class _Spiral(WithoutDensity):
    """Draws of a `SwissRoll` with the size, device and type of a tensor (D,)."""

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    support = real_vector
    why = "a SwissRoll is a curve and has no density, so its log-probability is undefined"

    def __init__(self, like: Tensor, radius: float, turns: float) -> None:
        self.like, self.radius, self.turns = like, radius, turns
        super().__init__(event_shape=like.shape, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        s = self.like.new_empty((*shape[:-1], shape[-1] // 2)).uniform_().sqrt()
        angle = 2 * math.pi * self.turns * s
        pairs = self.radius * s.unsqueeze(-1) * torch.stack([angle.cos(), angle.sin()], dim=-1)
        return pairs.flatten(-2)
