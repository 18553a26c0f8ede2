"""Numbers and torch distributions in, numbers out: what is measured of a model, in nats."""

import math

import torch
from torch import Tensor

ACTIVE = 0.01  # the variance of posterior means above which a unit counts as active


def spectrum(mu: Tensor) -> Tensor:
    """Variance of the posterior means (N, D) over the data, every dimension, largest first (D,).

    Var_x E_q(z_d|x)[z_d]   (Burda et al., 2016, section 5.2), unbiased, in two passes.
    """
    if len(mu) < 2:
        return torch.zeros(mu.shape[-1])
    return mu.double().var(0).sort(descending=True).values


def active_units(mu: Tensor, threshold: float = ACTIVE) -> int:
    """How many dimensions move with the data: variance of posterior means >= threshold.

    >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    1
    """
    return int((spectrum(mu) >= threshold).sum())


def evidence(log_w: Tensor) -> Tensor:
    """log 1/K sum_k w_k of log-weights (K, N): the bound of Burda et al. (2016), (N,) nats."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def effective_samples(log_w: Tensor) -> Tensor:
    """(sum_k w_k)^2 / sum_k w_k^2 of log-weights (K, N): how many of K samples count, (N,)."""
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()


def perplexity(nats: float, tokens: int) -> float:
    """exp(nats / tokens), of total nats over total tokens; infinite where a float overflows."""
    exponent = nats / max(tokens, 1)
    return math.exp(exponent) if exponent < 700 else math.inf


def standard_error(values: Tensor) -> float:
    """Standard deviation of the mean of independent values (N,)."""
    if len(values) < 2:
        return math.nan
    return float(values.double().std() / math.sqrt(len(values)))


def shuffle_within(groups: Tensor, seed: int = 0) -> Tensor:
    """A permutation (N,) that moves every item to another of its own group, if it has one.

    The members of a group are put in random order and each is sent to the next, so that nobody
    keeps its place; a group of one keeps it.

    >>> order = shuffle_within(torch.tensor([5, 7, 5, 5, 8]))
    >>> order[[1, 4]].tolist(), (order[[0, 2, 3]] != torch.tensor([0, 2, 3])).all().item()
    ([1, 4], True)
    """
    random = torch.Generator().manual_seed(seed)
    order = torch.arange(len(groups))
    for group in sorted(set(groups.tolist())):
        members = (groups == group).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=random)]
        order[members] = members.roll(1)
    return order
