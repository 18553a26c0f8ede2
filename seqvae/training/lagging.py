"""The encoder runs ahead of the decoder while it lags behind   (He et al., 2019)."""

import math
from collections.abc import Callable, Iterable

from ..vae import Batch

EVERY = 15  # steps between two looks at the loss

# By the step of training, batches for the encoder alone; none where it does not lag.
Ahead = Callable[[int], Iterable[Batch]]
# A step on a batch, the so-and-so-manyth from 1: its loss, nats an item.
Take = Callable[[Batch, int], float]


def run_ahead(take: Take, batches: Iterable[Batch], *, every: int = EVERY) -> int:
    """Steps on these batches until the loss no longer falls; how many were taken.

    The inner loop of He et al. (2019), algorithm 1. As there the loss is that of a token, nats,
    averaged over `every` steps and held against the `every` steps before: of fewer than twice
    `every` batches all are taken. A critic stands still meanwhile.

    >>> from itertools import repeat
    >>> import torch
    >>> one = Batch(torch.tensor([[5, 3]]), torch.tensor([2]), None, torch.arange(1))
    >>> run_ahead(lambda batch, count: 1 / min(count, 4), repeat(one), every=2)
    8
    """
    before, loss, tokens, count = math.inf, 0.0, 0, 0
    for count, batch in enumerate(batches, start=1):
        loss += take(batch, count) * len(batch.x)
        tokens += int(batch.length.sum())
        if count % every == 0:
            if not loss / tokens < before:
                break
            before, loss, tokens = loss / tokens, 0.0, 0
    return count


def has_caught_up(information: float, best: float | None) -> bool:
    """Whether mutual information on validation, nats, has stopped climbing: lagging is over.

    He et al. (2019), section 4.2. `best` is the most at the looks before; None at the first.

    >>> has_caught_up(0.5, None), has_caught_up(0.7, 0.5), has_caught_up(0.6, 0.7)
    (False, False, True)
    """
    return best is not None and not information > best
