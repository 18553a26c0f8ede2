"""Do codes that lie near mean the same: another item with the same label, found by its code."""

from typing import Any

import torch
from torch import Tensor

AT_ONCE = 2**24  # similarities in memory


def retrieval(mu: Tensor, label: Tensor) -> dict[str, Any]:
    """Codes (N, D) and labels (N,): how often the nearest codes are of one's own label.

    Items are compared by cosine of the centred means, each with all others. `retrieval_at_1` is
    the share of items whose nearest neighbour has their label, `retrieval_at_10` that of items
    with such a one among ten, `retrieval_rank` the median rank of the first. Chance is what a
    random order gives, in expectation. Items that are alone in their label are left out as
    queries, not as candidates, and counted.

    With captions as items and pictures as labels this is a semantic score that needs no other
    model: captions of one picture share what they say, not their words.

    >>> found = retrieval(torch.tensor([[1.0], [2.0], [-1.0], [-2.0]]), torch.tensor([0, 0, 1, 1]))
    >>> found["retrieval_at_1"], round(found["retrieval_chance_at_1"], 3)
    (1.0, 0.333)
    """
    same = _peers(label)
    asking = (same > 0).nonzero().flatten()
    if len(asking) == 0:
        return {}
    codes = torch.nn.functional.normalize(mu.double() - mu.double().mean(0), dim=-1)
    part = max(AT_ONCE // len(label), 1)
    starts = range(0, len(asking), part)
    ranks = torch.cat([_ranks(codes, label, asking[start : start + part]) for start in starts])
    others = len(label) - 1
    return {
        "retrieval_items": len(asking),
        "retrieval_alone": len(label) - len(asking),
        "retrieval_at_1": float((ranks < 1).double().mean()),
        "retrieval_at_10": float((ranks < 10).double().mean()),
        "retrieval_rank": float(ranks.double().median()) + 1,
        "retrieval_chance_at_1": float((same[asking] / others).double().mean()),
        "retrieval_chance_at_10": float(_chance(same[asking], others, 10).mean()),
    }


def _peers(label: Tensor) -> Tensor:
    """How many others share each item's label."""
    _, group, sizes = torch.unique(label, return_inverse=True, return_counts=True)
    return sizes[group] - 1


def _ranks(codes: Tensor, label: Tensor, rows: Tensor) -> Tensor:
    """How many others lie nearer than the nearest of one's own label, or as near."""
    near = codes[rows] @ codes.T
    near[torch.arange(len(rows)), rows] = -torch.inf
    own = (label[rows].unsqueeze(1) == label).scatter(1, rows.unsqueeze(1), False)
    best = near.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
    # Codes that do not differ are no find: what ties with the best stands before it.
    return ((near >= best) & ~own).scatter(1, rows.unsqueeze(1), False).sum(1)


def _chance(peers: Tensor, others: int, places: int) -> Tensor:
    """Probability that a random order has one of `peers` among its first `places`."""
    missed = torch.ones(len(peers), dtype=torch.float64)
    for place in range(min(places, others)):
        missed *= ((others - peers - place) / (others - place)).clamp_min(0)
    return 1 - missed
