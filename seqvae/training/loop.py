"""The training loop: an iterator over optimiser steps, so that scripts keep theirs in sight."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from ..errors import Diverged
from ..objectives.objective import Objective, Report
from ..randomness import seed_step
from ..vae import VAE, Batch
from .optimizers import Stepper


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
) -> Iterator[tuple[int, Report]]:
    """Take one optimiser step per batch; yield (steps taken so far, report).

    Randomness is a function of the step: each begins by seeding from (seed, step). With
    `accumulate` > 1 the batch is walked in so many parts, averages still dividing by all of its
    sentences. Gradients are clipped to the norm `clip`, those of each group of weights apart.

    Raises `Diverged` where the gradient is not finite, naming the step and the items.
    """
    groups = [group["params"] for group in stepper.optimizer.param_groups]
    for batch in batches:
        seed_step(seed, batch.step)
        vae.train()
        objective.train()
        rate = stepper.set_rate(batch.step)
        stepper.optimizer.zero_grad(set_to_none=True)
        report = backward(vae, objective, batch.to(device), accumulate=accumulate, bf16=bf16)
        # The networks first, then what learns apart, each clipped by itself.
        norm, *_ = [nn.utils.clip_grad_norm_(weights, clip) for weights in groups]
        _check_finite(norm, report, batch)
        stepper.optimizer.step()
        objective.update(report)
        report["gradient_norm"] = norm.detach()
        report["rate"] = torch.tensor(rate)
        yield batch.step + 1, report


def backward(
    vae: VAE, objective: Objective, batch: Batch, *, accumulate: int, bf16: bool
) -> Report:
    """Gradients of the batch's mean loss, gathered over `accumulate` parts; the mean report."""
    size = len(batch.x)
    # No part of a single item: a penalty on pairs of codes could not take it.
    parts = min(accumulate, max(size // 2, 1))
    edges = np.linspace(0, size, parts + 1).astype(int)
    total: Report = {}
    for start, stop in pairwise(edges):
        part = batch.part(int(start), int(stop))
        share = len(part.x) / size
        with torch.autocast(part.x.device.type, dtype=torch.bfloat16, enabled=bf16):
            loss, report = objective(vae, part)
        (loss * share).backward()
        total = {name: total.get(name, 0) + share * value for name, value in report.items()}
    return total


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
