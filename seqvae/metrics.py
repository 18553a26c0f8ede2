"""Numbers in, numbers out: what is measured of a model. All information in nats."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

ACTIVE = 0.01  # the variance of posterior means above which a unit counts as active
DRAWN_AT_ONCE = 2**21  # numbers of a bootstrap in memory
MOST_DRAWN = 200_000_000  # items that a bootstrap draws in all
FEWEST_DRAWS = 200


# --- the code ------------------------------------------------------------------------------------


def spectrum(mu: Tensor, prior_variance: Tensor | float = 1.0) -> Tensor:
    """Variance of the posterior means (N, D) over the data, every dimension, largest first (D,).

    Var_x E_q(z_d|x)[z_d] / Var p(z_d)   (Burda et al., 2016, section 5.2, whose prior has
    variance 1), unbiased, in two passes.
    """
    return _variances(mu, prior_variance).sort(descending=True).values


def active_units(
    mu: Tensor, threshold: float = ACTIVE, prior_variance: Tensor | float = 1.0
) -> int:
    """How many dimensions move with the data: relative variance of posterior means >= threshold.

    >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    1
    """
    return int((_variances(mu, prior_variance) >= threshold).sum())


def effective_dimension(mu: Tensor, prior_variance: Tensor | float = 1.0) -> float:
    """exp of the entropy of the eigenvalues of Cov mu, each as a share of their sum.

    Between 1 and D, whatever the axes: ten units that say the same thing count as one (Roy and
    Vetterli, 2007). 0 where the means do not move at all.

    >>> round(effective_dimension(torch.tensor([[1.0, 1.0], [-1.0, -1.0], [2.0, 2.0]])), 6)
    1.0
    """
    if len(mu) < 2 or mu.shape[-1] == 0:
        return 0.0
    scaled = (mu.double() - mu.double().mean(0)) / _as_double(prior_variance).sqrt()
    values = torch.linalg.svdvals(scaled).square()
    share = values / values.sum().clamp_min(1e-300)
    if float(values.sum()) < 1e-12 * len(mu):
        return 0.0
    return math.exp(-float(torch.special.xlogy(share, share).sum()))


def _variances(mu: Tensor, prior_variance: Tensor | float) -> Tensor:
    if len(mu) < 2:
        return torch.zeros(mu.shape[-1], dtype=torch.float64)
    return mu.double().var(0) / _as_double(prior_variance)


def _as_double(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


# --- evidence ------------------------------------------------------------------------------------


def evidence(log_w: Tensor) -> Tensor:
    """log 1/K sum_k w_k of log-weights (K, N): the bound of Burda et al. (2016), (N,) nats."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def evidence_of(log_w: Tensor, count: int) -> Tensor:
    """The bound with only `count` of the K samples, (N,): the mean over disjoint groups of them.

    >>> evidence_of(torch.tensor([[0.0], [2.0], [4.0]]), 1)
    tensor([2.])
    """
    groups = len(log_w) // count
    grouped = log_w[: groups * count].view(groups, count, -1)
    return (grouped.logsumexp(1) - math.log(count)).mean(0)


def effective_samples(log_w: Tensor) -> Tensor:
    """(sum_k w_k)^2 / sum_k w_k^2 of log-weights (K, N): how many of K samples count, (N,)."""
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()


def perplexity(nats: float, tokens: int) -> float:
    """exp(nats / tokens), of total nats over total tokens; infinite where a float overflows."""
    exponent = nats / max(tokens, 1)
    return math.exp(exponent) if exponent < 700 else math.inf


def repayment(baseline: Tensor, reconstruction: Tensor, rate: Tensor) -> Tensor:
    """eta = (NLL without z - D) / R of means (*,): the share of the code's nats that come back.

    0 for a decoder that is deaf to its code, about 1 for a code that costs nothing.

    >>> repayment(torch.tensor(30.0), torch.tensor(24.0), torch.tensor(8.0)).item()
    0.75
    """
    return (baseline - reconstruction) / rate


# --- how sure ------------------------------------------------------------------------------------


def standard_error(values: Tensor) -> float:
    """Standard deviation of the mean of independent values (N,)."""
    if len(values) < 2:
        return math.nan
    return float(values.double().std() / math.sqrt(len(values)))


def bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] = lambda means: means,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The middle 95 % of a statistic of means over items, items drawn again with replacement.

    Columns of `values` (N, ...) stay together, so that what is compared is compared on the same
    items. `statistic` takes means (draws, ...) and returns (draws,)   (Efron, 1979). Of more than
    100,000 items fewer draws are made: enough for the two digits that are read.

    >>> bootstrap(torch.ones(10))
    (1.0, 1.0)
    """
    random = torch.Generator().manual_seed(seed)
    values, count = values.double(), len(values)
    if count < 2:
        return math.nan, math.nan
    draws = max(min(draws, MOST_DRAWN // count), FEWEST_DRAWS)
    part = max(DRAWN_AT_ONCE // values.numel(), 1)
    means = []
    for done in range(0, draws, part):
        drawn = torch.randint(count, (min(part, draws - done), count), generator=random)
        means.append(values[drawn].mean(1))
    low, high = statistic(torch.cat(means)).quantile(torch.tensor([0.025, 0.975]).double())
    return float(low), float(high)


# --- order ---------------------------------------------------------------------------------------


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
