"""The optimisers a recipe may name: torch's own, with how their rate falls."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..errors import Refused, check_shares
from ..schedules import Schedule, cosine

Weights = Iterable[nn.Parameter] | Iterable[dict[str, Any]]  # or groups of them, as torch has


class Stepper:
    """A torch optimiser and its learning rate as a function of the step and of past decays.

    A group of weights may have a `pace`, by which its rate is multiplied.

    `decays` counts how often validation stood still for `patience` validations; each multiplies
    the rate by `decay`, and after `max_decays` the next standstill ends the run.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        rate: float,
        schedule: Schedule,
        patience: int | None,
        decay: float,
        max_decays: int,
    ) -> None:
        if patience is not None and patience < 1:
            raise Refused(
                f"patience = {patience}: wait for 1 validation or more, or leave it out."
            )
        if max_decays < 0:
            raise Refused(f"max_decays = {max_decays}: the rate falls 0 times or more.")
        check_shares(decay=decay)
        self.optimizer = optimizer
        self.rate = rate
        self.schedule = schedule
        self.patience = patience
        self.decay = decay
        self.max_decays = max_decays
        self.decays = 0

    def set_rate(self, step: int) -> float:
        """The rate of this step, given to the optimiser."""
        rate = self.rate * self.schedule(step) * self.decay**self.decays
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("pace", 1.0)
        return rate


class AdamW(Stepper):
    """AdamW   (Loshchilov and Hutter, 2019), fused into one pass over the parameters.

    Arguments: `rate`, `betas`, `weight_decay`; `warm_up` steps of linear rise, at most a tenth of
    the run's `steps`, then half a cosine down to `final` times the rate at the run's last step (1:
    no fall); `patience` validations without improvement after which the run ends (None: never).
    """

    def __init__(
        self,
        parameters: Weights,
        steps: int | None = None,
        *,
        rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.01,
        warm_up: int = 0,
        final: float = 1.0,
        patience: int | None = None,
    ) -> None:
        _check_rate(rate)
        if warm_up < 0:
            raise Refused(f"warm_up = {warm_up}: a rise takes 0 steps (none) or more.")
        optimizer = torch.optim.AdamW(
            parameters, lr=rate, betas=betas, weight_decay=weight_decay, fused=True
        )

        # A short run has to arrive too.
        rise = warm_up if steps is None else min(warm_up, steps // 10)
        super().__init__(
            optimizer,
            rate=rate,
            schedule=falling(final, steps, rise),
            patience=patience,
            decay=1.0,
            max_decays=0,
        )


class SGD(Stepper):
    """SGD whose rate falls when validation stands still   (the published LSTM text VAEs).

    Rare words get small steps, where Adam gives every word large ones: on small corpora it
    remembers less and generalises better.

    Arguments: `rate`, `momentum`; half a cosine down to `final` times the rate at the run's last
    step (1: no fall); after `patience` validations without improvement the rate is multiplied by
    `decay`; after `max_decays` of those the run ends.
    """

    def __init__(
        self,
        parameters: Weights,
        steps: int | None = None,
        *,
        rate: float = 1.0,
        momentum: float = 0.0,
        final: float = 1.0,
        patience: int = 2,
        decay: float = 0.5,
        max_decays: int = 5,
    ) -> None:
        _check_rate(rate)
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=momentum)
        super().__init__(
            optimizer,
            rate=rate,
            schedule=falling(final, steps),
            patience=patience,
            decay=decay,
            max_decays=max_decays,
        )


def falling(final: float, steps: int | None, rise: int = 0) -> Schedule:
    """A linear rise over `rise` steps, then half a cosine down to `final` at step `steps`."""
    check_shares(final=final)
    if steps is None and final < 1:
        raise Refused(f"final = {final}: say over how many steps the rate falls: steps=1000.")

    def schedule(step: int) -> float:
        reached = min((step + 1) / (rise + 1), 1.0)
        if steps is None:
            return reached
        return reached * cosine(step - rise, start=1.0, end=final, steps=steps - rise)

    return schedule


def _check_rate(rate: float) -> None:
    if not 0 < rate < math.inf:
        raise Refused(f"a learning rate of {rate}: set optimizer.rate to a positive number.")
