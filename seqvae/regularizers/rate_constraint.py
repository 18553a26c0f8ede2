"""A least rate, held by a Lagrange multiplier."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..distributions import kl
from ..errors import Refused
from ..schedules import FAR
from ..vae import Pass
from .regularizer import Regularizer


class RateConstraint(Regularizer):
    r"""KL + u (nats - KL) (B,): the Lagrangian of the ELBO under the constraint mean KL >= nats.

    The minimum desired rate (Pelsmaeker and Aziz, 2020): networks descend
    rec + KL + u (nats - KL) while the multiplier u >= 0 ascends it. At the optimum either the
    rate is above `nats` and u = 0, which is the plain ELBO, or it is `nats`, and the KL weighs
    1 - u. A u above 1 would pay for rate outright, of which an encoder can make thousands of nats
    in as many steps; hence `most`, at which the KL is free.

    u moves as in GECO (Rezende and Viola, 2018, algorithm 1), by the exponential of a moving
    average of the constraint, which keeps it positive; here the constraint is relative and within
    -1 and 1, so that one pace serves every rate:

    .. math:: u_t = u_{t-1} \exp(pace\ c_t), \quad
              c_t = memory\ c_{t-1} + (1 - memory) (1 - KL_t / nats) .

    u only integrates, so a high rate swings about `nats` before it settles; where the rate should
    be met rather than exceeded, `TargetRate` lands sooner.

    In eval mode the penalty is max(mean KL, nats), one number, which does not float with u:
    validation then measures the constrained problem itself, the negative ELBO plus what the rate
    is short of. `settled` is whether the averaged rate is at least `nats`, within `tolerance`.

    Arguments:
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
        *,
        nats: float,
        ascent: float = 0.003,
        memory: float = 0.9,
        multiplier: float = 0.9,
        least: float = 1e-3,
        most: float = 1.0,
        tolerance: float = 0.05,
    ) -> None:
        super().__init__()
        for name, number in {"nats": nats, "ascent": ascent, "tolerance": tolerance}.items():
            if not 0 <= number < math.inf:
                raise Refused(f"{name} = {number}: set it to 0 or more.")
        if not 0 <= memory < 1:
            raise Refused(f"memory = {memory}: the share of the past is 0 or more and under 1.")
        if not 0 < least <= multiplier <= most < math.inf:
            raise Refused(
                f"multiplier = {multiplier:g} with bounds {least:g} and {most:g}: choose "
                "0 < least <= multiplier <= most."
            )
        self.nats = nats
        self.ascent = ascent
        self.memory = memory
        self.bounds = least, most
        self.tolerance = tolerance
        self.register_buffer("multiplier", torch.tensor(multiplier))
        self.register_buffer("shortfall", torch.tensor(0.0))

    def forward(self, out: Pass) -> Tensor:
        rates = kl(out.q, out.p, out.z)
        if self.training:
            return rates + self.multiplier * (self.nats - rates)
        return rates.mean().clamp_min(self.nats)

    def settled(self, step: int) -> bool:
        return step >= FAR or bool(self.shortfall <= self.tolerance)

    def update(self, report: Mapping[str, Tensor]) -> None:
        if "kl" not in report:
            return
        # Of a rate under 1 nat the shortfall is in nats: a constraint of 0 has no relative one.
        short = (self.nats - report["kl"].float()) / max(self.nats, 1.0)
        self.shortfall.lerp_(short.clamp(-1, 1), 1 - self.memory)
        self.multiplier.mul_((self.ascent * self.shortfall).exp()).clamp_(*self.bounds)
