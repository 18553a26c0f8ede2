"""How long a run will take and how much memory it needs, before its first step."""

import sys
import time

import torch

from .build import Built
from .data import collate
from .plan import Plan
from .progress import duration
from .schedules import FAR
from .training.loop import backward
from .vae import Batch

TRIALS = 5  # the first ones also pay for setting up the kernels
FORWARD_SHARE = 3.0  # a whole step takes about three times its way forward


def estimate(plan: Plan, built: Built, start: int = 0) -> str:
    """One sentence on time and memory, from trial steps that change nothing."""
    _, rows = next(iter(plan.order.batches(start)))
    batch = collate(plan.corpus.split("train"), rows)._replace(step=FAR).to(plan.device)
    seconds = min(_trial(plan, built, batch) for _ in range(TRIALS))
    for parameter in (*built.vae.parameters(), *built.objective.parameters()):
        parameter.grad = None
    left = plan.steps - start
    a_token = seconds / max(int(batch.length.sum()), 1)
    tokens = float(plan.order.lengths.mean()) * len(rows) * left
    weights = count_weights(built)
    memory = _memory(plan.device, weights)
    stages = f" in {len(plan.stages)} stages" if len(plan.stages) > 1 else ""
    needs = f" and {memory} MiB of memory" if memory else ""
    return (
        f"{weights / 1e6:.2f} million weights; {left} steps{stages} of about {len(rows)} "
        f"{plan.corpus.codec.noun}s; "
        f"roughly {duration(a_token * tokens * 1.1)}, validations aside,{needs} "
        f"({'bfloat16' if plan.bf16 else 'float32'}, {plan.device})"
    )


def count_weights(built: Built) -> int:
    """Numbers that the model learns."""
    return sum(parameter.numel() for parameter in built.vae.parameters())


def _trial(plan: Plan, built: Built, batch: Batch) -> float:
    """Seconds of one step without its update; no statistics move and no gradient stays."""
    built.vae.eval()
    accumulate = plan.recipe["training"]["accumulate"]
    _wait(plan.device)
    began = time.perf_counter()
    if plan.device.type == "cuda":  # cuDNN's LSTM has no way back in eval mode
        bf16 = torch.autocast("cuda", dtype=torch.bfloat16, enabled=plan.bf16)
        with torch.no_grad(), bf16:
            built.objective(built.vae, batch)
        _wait(plan.device)
        return FORWARD_SHARE * (time.perf_counter() - began)
    backward(built.vae, built.objective, batch, accumulate=accumulate, bf16=plan.bf16)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(device: torch.device, weights: int) -> int | None:
    """MiB held after the trial steps, with the two moments of every weight still to come."""
    if device.type == "cuda":
        return round((torch.cuda.max_memory_allocated(device) + 8 * weights) / 2**20)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = peak * (1 if sys.platform == "darwin" else 1024)
    return round((held + 8 * weights) / 2**20)
