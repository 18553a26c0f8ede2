"""What the benchmarks share: timings by turns, memory, and a file that says what made a figure."""

import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqvae import __version__
from seqvae.corpus import write_json

Clock = Callable[[], float]


class Spread(NamedTuple):
    """The median of some numbers, the least and the most of them."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def spread(numbers: Sequence[float]) -> Spread:
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


def timed(work: Callable[[], Any], clock: Clock = time.perf_counter) -> tuple[float, Any]:
    """Seconds that it took, and what came of it."""
    began = clock()
    found = work()
    return clock() - began, found


def by_turns(
    ways: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each way, `rounds` times, one after the other: noise falls on all alike.

    By the clock, or those of the processor where another `clock` tells them.
    """
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took[name].append(timed(way, clock)[0])
    return took


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """How many times as fast, round by round.

    >>> str(ratio([4.0, 9.0, 8.0], [2.0, 3.0, 4.0]))
    '2.00 (2.00 to 3.00)'
    """
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def memory() -> float:
    """MiB: the most this process has held so far."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def most_memory(device: torch.device) -> float:
    """MiB: the most that tensors on a GPU have held so far; of a processor, this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return memory()


def settle(device: torch.device) -> None:
    """Wait for what a GPU still has to do, before the clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_peak(
    dtype: torch.dtype = torch.float32,
    size: int | None = None,
    trials: int = 5,
    device: torch.device | str = "cpu",
) -> float:
    """Floating-point operations a second of the product of two square matrices.

    Of 2048 rows on a processor and of 8192 on a GPU, unless said.
    """
    device = torch.device(device)
    size = size or (8192 if device.type == "cuda" else 2048)
    a = torch.randn(size, size, dtype=dtype, device=device)

    def multiply() -> None:
        a @ a
        settle(device)

    multiply()
    return 2 * size**3 / min(timed(multiply)[0] for _ in range(trials))


def here() -> str:
    """On what this runs, in a few words."""
    return f"{torch.get_num_threads()} threads, torch {torch.__version__}, {processor()}"


def processor() -> str:
    """The processor's own name, where the system tells it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text("utf-8").splitlines() if about.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def keep(path: Path | None, **figures: Any) -> None:
    """Write figures as JSON, with what made them; nothing where no file is asked for."""
    if path is None:
        return
    about = {
        "command": shlex.join(["python", *sys.argv]),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"about": about, **json.loads(json.dumps(figures))})
    print(f"written: {path}")
