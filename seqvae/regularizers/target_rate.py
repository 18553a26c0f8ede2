"""The rate as something one asks for: a controller finds the weight of the KL that gives it."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .regularizer import HeldRate, check_between


class TargetRate(HeldRate):
    r"""beta KL(q(z|x) || p) (B,), where a PI controller moves beta until the KL is `nats`.

    With e the relative error of a moving average of the KL, every optimiser step sets

    .. math:: I_t = I_{t-1} - K_i e_t, \quad \beta_t = \exp(I_t - K_p e_t), \quad
              e_t = 1 - \overline{KL}_t / nats .

    The idea is ControlVAE's (Shao et al., 2020, algorithm 1), whose controller is
    beta_t = K_p / (1 + exp(e_t)) - K_i sum_j e_j + beta_min with e_t = nats - KL_t. What differs:

    - The law acts on log beta. A rate is about linear in it, not in beta (of a Gaussian code it is
      -D/2 log beta): of short questions 3 nats needed a beta of 0.4 and 60 one of 0.01, so that
      steps of one size would be too small for the one and throw the other about.
    - Errors are relative, within -1 and 1, so that the same gains serve 3 nats and 80, and
      of a KL averaged over some 10 steps, so that the noise of batches does not shake beta.
    - Both I and beta are held between `beta_min` and `beta_max` (theirs stops I there), so
      that a rate which cannot be had leaves no debt of errors behind.

    beta begins low, so that the code is in use before it costs anything, as theirs begins at 0.

    In eval mode the penalty is max(mean KL of a batch, nats), one number: the negative ELBO where
    the rate is at or above the one asked for, and no reward for less. So objectives of different
    steps compare, which a floating beta would prevent. And only weights whose rate has landed,
    its average being within `tolerance` of `nats`, may be chosen.

    A rate is of the mean training batch. Where batches are cut by tokens, those of short
    sentences hold more of them, and the mean sentence has a lower rate than the mean batch.

    Arguments:
        latent: D; a recipe gives it. A code of no dimensions is asked for no nats.
        nats: the rate to hold, a sentence; what the decoder has no use for cannot be had.
        proportional: K_p, what a relative error of 1 moves log beta at once.
        integral: K_i, what it moves log beta every step.
        memory: share of the past in the average of the KL.
        beta: at the first step.
        beta_min, beta_max: bounds of beta.
        tolerance: relative error within which the rate has landed.

    Raises `Refused` for a negative or infinite rate or gain, and bounds that hold no beta.

    >>> penalty = TargetRate(nats=10.0)
    >>> before = penalty.beta.item()
    >>> penalty.update({"kl": torch.tensor(500.0)})
    >>> penalty.beta.item() > before
    True
    """

    integrated: Tensor  # I: log beta without its P
    rate: Tensor  # the averaged KL
    beta: Tensor

    def __init__(
        self,
        latent: int | None = None,
        *,
        nats: float,
        proportional: float = 1.0,
        integral: float = 0.03,
        memory: float = 0.9,
        beta: float = 0.01,
        beta_min: float = 1e-3,
        beta_max: float = 100.0,
        tolerance: float = 0.05,
    ) -> None:
        super().__init__(
            latent, nats, memory, tolerance, proportional=proportional, integral=integral
        )
        check_between(beta_min=beta_min, beta=beta, beta_max=beta_max)
        self.proportional = proportional
        self.integral = integral
        self.bounds = math.log(beta_min), math.log(beta_max)
        self.register_buffer("integrated", torch.tensor(math.log(beta)))
        self.register_buffer("rate", torch.tensor(0.0))
        self.register_buffer("beta", torch.tensor(beta))

    def weighed(self, rates: Tensor) -> Tensor:
        return self.beta * rates

    def landed(self) -> bool:
        return bool(self._error().abs() <= self.tolerance)

    def averaged(self) -> float:
        return self.rate.item()

    def update(self, report: Mapping[str, Tensor]) -> None:
        if "kl" not in report:
            return
        self.rate.lerp_(report["kl"].float(), 1 - self.memory)
        error = self._error()
        self.integrated.sub_(self.integral * error).clamp_(*self.bounds)
        log_beta = self.integrated - self.proportional * error
        self.beta.copy_(log_beta.clamp(*self.bounds).exp())

    def _error(self) -> Tensor:
        return ((self.nats - self.rate) / self.scale).clamp(-1, 1)
