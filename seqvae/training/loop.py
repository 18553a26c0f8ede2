"""The training loop: an iterator over optimiser steps, so that scripts keep theirs in sight."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import Diverged
from ..objectives.objective import Objective, Report
from ..processes import count, place, sharing, sum_up
from ..randomness import seed_of, seed_step
from ..vae import VAE, Batch
from .lagging import Ahead, run_ahead
from .optimizers import Stepper

Weights = list[nn.Parameter]


def train(
    vae: VAE,
    objective: Objective,
    stepper: Stepper,
    batches: Iterable[Batch],
    *,
    seed: int = 0,
    clip: float = 5.0,
    accumulate: int = 1,
    bf16: bool = False,
    device: torch.device | str = "cpu",
    first: int = 0,
    ahead: Ahead | None = None,
) -> Iterator[tuple[int, Report]]:
    """Take one optimiser step per batch; yield (steps taken so far, report).

    Randomness is a function of the step: each begins by seeding from (seed, step). With
    `accumulate` > 1 the batch is walked in so many parts, averages still dividing by all of its
    sentences. Gradients are clipped to the norm `clip`, those of each group of weights apart.

    In several processes (`seqvae.processes`) each is given the whole batch and walks its own share
    of the items; gradients and report are those of all.

    Schedules count from the step `first`, at which a stage began.

    While the encoder lags, `ahead` (step -> batches) gives batches on which it alone takes steps
    first, as long as its loss falls; the step itself is then of all other weights   (He et al.,
    2019, algorithm 1). Weights that are not to move have no gradient, so that the optimiser
    passes over them: no decay, no momentum. The report counts `encoder_steps`.

    Raises `Diverged` where the gradient is not finite, naming the step and the items.
    """
    steps = _Steps(vae, objective, stepper, seed, clip, accumulate, bf16, device, first)
    encoder, others = _sides(vae, stepper)

    def take(batch: Batch, count: int) -> float:
        return float(steps.take(batch, encoder, count)["loss"])

    for batch in batches:
        _set_training(vae)
        objective.train()
        rate = stepper.set_rate(batch.step - first)
        taken = 0 if ahead is None else run_ahead(take, ahead(batch.step))
        report = steps.take(batch, others if taken else None)
        norm = report.pop("gradient_norm")
        objective.update(report)
        report |= {"gradient_norm": norm, "rate": torch.tensor(rate)}
        if ahead is not None:
            report["encoder_steps"] = torch.tensor(taken)
        yield batch.step + 1, report


def _set_training(vae: VAE) -> None:
    """Networks as they learn; one that is frozen as it is read."""
    vae.train()
    for network in vae.children():
        weights = list(network.parameters())
        network.train(not weights or any(weight.requires_grad for weight in weights))


@dataclass
class _Steps:
    """How a step is taken."""

    vae: VAE
    objective: Objective
    stepper: Stepper
    seed: int
    clip: float
    accumulate: int
    bf16: bool
    device: torch.device | str
    first: int

    def take(self, batch: Batch, weights: Weights | None = None, *inner: int) -> Report:
        """A step of these weights, or all of them; inside of another, the `inner`-th from 1."""
        # What each draws for itself, as network dropout, is another in every process.
        seed_step(self.seed, batch.step, place() + (count() > 1), *inner)
        optimizer = self.stepper.optimizer
        optimizer.zero_grad(set_to_none=True)
        report = backward(
            self.vae,
            self.objective,
            batch._replace(step=batch.step - self.first).to(self.device),
            accumulate=self.accumulate,
            bf16=self.bf16,
            weights=weights,
            seed=seed_of(self.seed, batch.step, 0, *inner),
        )
        groups = [group["params"] for group in optimizer.param_groups]
        # The networks first, then what learns apart, each clipped by itself.
        norm, *_ = [nn.utils.clip_grad_norm_(group, self.clip) for group in groups]
        _check_finite(norm, report, batch)
        optimizer.step()
        return report | {"gradient_norm": norm.detach()}


def _sides(vae: VAE, stepper: Stepper) -> tuple[Weights, Weights]:
    """The encoder's weights that learn, and all others that do."""
    groups = [group["params"] for group in stepper.optimizer.param_groups]
    learning = [weight for group in groups for weight in group if weight.requires_grad]
    own = {id(weight) for weight in vae.encoder.parameters()}
    return [w for w in learning if id(w) in own], [w for w in learning if id(w) not in own]


def backward(
    vae: VAE,
    objective: Objective,
    batch: Batch,
    *,
    accumulate: int,
    bf16: bool,
    weights: Weights | None = None,
    seed: int = 0,
) -> Report:
    """Gradients of the batch's mean loss, gathered over `accumulate` parts; the mean report.

    Of these weights only, or of all that learn. Both are summed over processes, which draw alike
    by `seed`.
    """
    size = len(batch.x)
    # No part of a single item: a penalty on pairs of codes could not take it.
    parts = min(accumulate, max(size // (2 * count()), 1))
    total: Report = {}
    for number in range(parts):
        with sharing(size, number, parts, seed) as (rows, share):
            part = _part(batch, rows)
            with torch.autocast(part.x.device.type, dtype=torch.bfloat16, enabled=bf16):
                loss, report = objective(vae, part)
            (loss * share).backward(inputs=weights)
        total = {name: total.get(name, 0) + share * value for name, value in report.items()}
    if count() > 1:
        _sum_over_processes(vae, objective, total)
    return total


def _part(batch: Batch, rows: slice) -> Batch:
    """These items. In several processes as wide as the batch, so that all draw the same."""
    part = batch.part(rows.start, rows.stop)
    return part if count() == 1 else part._replace(x=batch.x[rows])


def _sum_over_processes(vae: VAE, objective: Objective, report: Report) -> None:
    """Gradients and report, in place, summed over all processes."""
    learning = [*vae.parameters(), *objective.parameters()]
    gradients = [weight.grad for weight in learning if weight.grad is not None]
    for name, value in report.items():
        report[name] = value.detach().clone()
    sum_up([*gradients, *report.values()])


def has_bf16(device: torch.device | str) -> bool:
    """Whether the processor multiplies bfloat16 faster than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


def _check_finite(norm: torch.Tensor, report: Report, batch: Batch) -> None:
    if bool(torch.isfinite(norm)) and bool(torch.isfinite(report["loss"])):
        return
    rows = ", ".join(str(row) for row in batch.item.tolist()[:8])
    raise Diverged(
        f"step {batch.step}: loss {report['loss'].item():g}, gradient norm {norm.item():g}. "
        f"The batch holds rows {rows}{', …' if len(batch.x) > 8 else ''} of the training split. "
        "Nothing was changed by this step; lower optimizer.rate or training.clip and resume."
    )
