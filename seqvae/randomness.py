"""Random numbers as a function of a seed, and the caller's own left as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within, torch draws from this seed; afterwards it goes on as if nothing had been drawn.

    >>> with seeded(3):
    ...     first = torch.rand(2)
    >>> with seeded(3):
    ...     print(bool((torch.rand(2) == first).all()))
    True
    """
    # Every GPU is meant, said outright: torch warns where it has to guess that of several.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def seed_step(seed: int, step: int, process: int = 0, *inner: int) -> None:
    """Seed torch from (seed, step, process, …), so that any step can be drawn again.

    `inner` counts the steps within one from 1.
    """
    torch.manual_seed(seed_of(seed, step, process, *inner))


def seed_of(*words: int) -> int:
    """One seed from several numbers: another for any other numbers.

    >>> seed_of(0, 1) == seed_of(0, 1), seed_of(0, 1) == seed_of(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1
