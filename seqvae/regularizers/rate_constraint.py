"""A least rate, held by a Lagrange multiplier."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .regularizer import HeldRate, check_between


class RateConstraint(HeldRate):
    r"""KL + u (nats - KL) (B,): the Lagrangian of the ELBO under the constraint mean KL >= nats.

    The minimum desired rate (Pelsmaeker and Aziz, 2020): networks descend
    rec + KL + u (nats - KL) while the multiplier u >= 0 ascends it. At the optimum either the
    rate is above `nats` and u = 0, which is the plain ELBO, or it is `nats`, and the KL weighs
    1 - u. A u above 1 would pay for rate outright, of which an encoder can make thousands of nats
    in as many steps; hence `most`, at which the KL is free.

    u moves as in GECO (Rezende and Viola, 2018, algorithm 1), by the exponential of a moving
    average of the constraint, which keeps it positive; here the constraint is relative and within
    -1 and 1, so that one `ascent` serves every rate:

    .. math:: u_t = u_{t-1} \exp(ascent\ c_t), \quad
              c_t = memory\ c_{t-1} + (1 - memory) (1 - KL_t / nats) .

    u only integrates, so a high rate swings about `nats` before it settles; where the rate should
    be met rather than exceeded, `TargetRate` lands sooner.

    In eval mode the penalty is max(mean KL of a batch, nats), one number, which does not float
    with u: validation then measures the constrained problem itself, the negative ELBO plus what
    the rate is short of. Weights may be chosen where the averaged rate is at least `nats`, within
    `tolerance`.

    Arguments:
        latent: D; a recipe gives it. A code of no dimensions is asked for no nats.
        nats: the least rate, a sentence.
        ascent: what a relative error of 1 moves log u every step.
        memory: share of the past in the average of the constraint.
        multiplier: u at the first step.
        least, most: bounds of u.
        tolerance: relative shortfall within which the constraint counts as met.

    Raises `Refused` for a negative or infinite rate or ascent, and bounds that hold no u.

    >>> penalty = RateConstraint(nats=10.0)
    >>> before = penalty.multiplier.item()
    >>> penalty.update({"kl": torch.tensor(500.0)})
    >>> penalty.multiplier.item() < before
    True
    """

    multiplier: Tensor  # u
    shortfall: Tensor  # c, the averaged constraint

    def __init__(
        self,
        latent: int | None = None,
        *,
        nats: float,
        ascent: float = 0.003,
        memory: float = 0.9,
        multiplier: float = 0.9,
        least: float = 1e-3,
        most: float = 1.0,
        tolerance: float = 0.05,
    ) -> None:
        super().__init__(latent, nats, memory, tolerance, ascent=ascent)
        check_between(least=least, multiplier=multiplier, most=most)
        self.ascent = ascent
        self.bounds = least, most
        self.register_buffer("multiplier", torch.tensor(multiplier))
        self.register_buffer("shortfall", torch.tensor(0.0))

    def weighed(self, rates: Tensor) -> Tensor:
        return rates + self.multiplier * (self.nats - rates)

    def landed(self) -> bool:
        return bool(self.shortfall <= self.tolerance)

    def averaged(self) -> float:
        return self.nats - self.shortfall.item() * self.scale

    def update(self, report: Mapping[str, Tensor]) -> None:
        if "kl" not in report:
            return
        short = (self.nats - report["kl"].float()) / self.scale
        self.shortfall.lerp_(short.clamp(-1, 1), 1 - self.memory)
        self.multiplier.mul_((self.ascent * self.shortfall).exp()).clamp_(*self.bounds)
