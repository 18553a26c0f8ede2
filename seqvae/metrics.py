"""Numbers in, numbers out: what is measured of a model. All information in nats."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .errors import Refused

ACTIVE = 0.01  # the variance of posterior means above which a unit counts as active
DRAWN_AT_ONCE = 2**21  # numbers of a bootstrap in memory
MOST_DRAWN = 200_000_000  # items that a bootstrap draws in all
FEWEST_DRAWS = 200
HALVINGS = 60  # of an interval, until no more than rounding is left
SUREST = 1000.0  # bits: the odds against an error, 2 to the power of that, still are a number


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


# --- ranks ---------------------------------------------------------------------------------------


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """The correlation of the ranks of a and b (N,), equal values at the mean of their ranks.

    1 where one rises whenever the other does. Not a number where either never changes.

    >>> spearman([1, 2, 3], [1, 10, 100])
    1.0
    """
    ranks = np.stack([_ranks(np.asarray(values)) for values in (a, b)])
    centred = ranks - ranks.mean(1, keepdims=True)
    size = np.sqrt((centred**2).sum(1).prod())
    return float(centred.prod(0).sum() / size) if size > 0 else math.nan


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


# --- rate and accuracy ---------------------------------------------------------------------------


def bits(nats: float) -> float:
    """nats / ln 2.

    >>> bits(math.log(8))
    3.0
    """
    return nats / math.log(2)


def fano_rate(accuracy: float, nll_bits: float, classes: Sequence[int]) -> float:
    """The fewest bits of code by which so large a share of an item's tokens can be told, bits.

    Fano's inequality at each place t of T (Cover and Thomas, 2006, section 2.10),

        R >= H(x) - sum_t [ h2(e_t) + e_t log2(V_t - 1) ],   sum_t e_t / T = e = 1 - accuracy

    with h2 the entropy of a coin. Where all V_t are equal the sum is largest at e_t = e; else at
    e_t = (V_t - 1) / (V_t - 1 + c), one c for all, and that is what is subtracted: the line holds
    however the errors are spread. It binds what is told from z ~ q(z|x), R being its KL.

    Arguments:
        accuracy: share of tokens that are right, 0 to 1.
        nll_bits: H, the entropy of an item. A language model's NLL is an upper bound of it: the
            line is then that model's, and a better one's lies lower.
        classes: V_t, how many tokens may stand at each place.

    >>> fano_rate(1.0, 60.0, [90] * 32), fano_rate(1 / 90, 0.0, [90]) + math.log2(90) < 1e-9
    (60.0, True)
    """
    counted = Counter(classes)
    error = 1 - accuracy
    if error >= _mean_error(0.0, counted):
        return nll_bits - _unknown(0.0, counted)
    if error <= _mean_error(SUREST, counted):
        return nll_bits
    sure = _bisect(lambda odds: error - _mean_error(odds, counted), 0.0, SUREST)
    return nll_bits - _unknown(sure, counted)


def fano_accuracy(rate_bits: float, nll_bits: float, classes: Sequence[int]) -> float:
    """The best accuracy that a code of so many bits allows: the inverse of `fano_rate`.

    Not under chance, the mean of 1 / V_t, which no bound excludes.

    >>> round(fano_accuracy(fano_rate(0.8, 60.0, [90, 512]), 60.0, [90, 512]), 9)
    0.8
    """
    if rate_bits >= nll_bits:
        return 1.0
    chance = 1 - _mean_error(0.0, Counter(classes))
    return _bisect(lambda share: fano_rate(share, nll_bits, classes) - rate_bits, chance, 1.0)


def _errors(odds: float, classes: Mapping[int, int]) -> list[tuple[float, int, int]]:
    """How often each V errs where the odds against it are 2^odds to V - 1, with V and its count.

    >>> _errors(1.0, {3: 5})
    [(0.5, 3, 5)]
    """
    return [((v - 1) / (v - 1 + 2**odds), v, count) for v, count in classes.items()]


def _mean_error(odds: float, classes: Mapping[int, int]) -> float:
    total = sum(error * count for error, _, count in _errors(odds, classes))
    return total / sum(classes.values())


def _unknown(odds: float, classes: Mapping[int, int]) -> float:
    """sum_t h2(e_t) + e_t log2(V_t - 1), bits."""
    return sum(
        count * (_coin(error) + error * math.log2(max(v - 1, 1)))
        for error, v, count in _errors(odds, classes)
    )


def _coin(p: float) -> float:
    """The entropy of a coin that falls on one side with probability p, bits."""
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q > 0)


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses 0 between `low` and `high`."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


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


# --- how sure, of several runs -------------------------------------------------------------------


def hierarchical_bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] = lambda means: means,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The middle 95 % of a statistic of means over seeds and items, both drawn again.

    In every draw S of the S runs are drawn with replacement, then N of the N items, *the same ones
    for all runs*: the runs were measured on the same items, so a hard item is hard in each of
    them, and items drawn for each run apart would make the interval too narrow by up to the root
    of S (the crossed or pigeonhole bootstrap; Owen, 2007). Columns of `values` (S, N, ...) stay
    together: what is compared is compared on the same items, and of the same draw of runs.

    `statistic` takes means (draws, ...) and returns (draws,). Of few seeds it is still somewhat
    narrow, by about the root of (S - 1) / S in its part of the seeds; of one seed it says what
    other items would change and nothing on other seeds.

    >>> hierarchical_bootstrap(torch.ones(3, 10))
    (1.0, 1.0)
    """
    random = torch.Generator().manual_seed(seed)
    values = values.double()
    runs, count = values.shape[:2]
    if count < 2:
        return math.nan, math.nan
    draws = max(min(draws, MOST_DRAWN // (runs * count)), FEWEST_DRAWS)
    part = max(DRAWN_AT_ONCE // values.numel(), 1)
    means = []
    for done in range(0, draws, part):
        some = min(part, draws - done)
        chosen = torch.randint(runs, (some, runs), generator=random)
        items = torch.randint(count, (some, count), generator=random)
        of_runs = values[:, items].mean(2).transpose(0, 1)  # (draws, S, ...)
        means.append(of_runs[torch.arange(some).unsqueeze(1), chosen].mean(1))
    low, high = statistic(torch.cat(means)).quantile(torch.tensor([0.025, 0.975]).double())
    return float(low), float(high)


def boxes(points: Tensor, low: Tensor, high: Tensor, bins: int = 20) -> Tensor:
    """The share of points (N, D) in each of bins^D boxes from low to high (D,), and outside: last.

    >>> inside, outside = torch.tensor([0.5, 0.5]), torch.tensor([9.0, 0.5])
    >>> shares = boxes(torch.stack([inside, outside]), torch.zeros(2), torch.ones(2))
    >>> len(shares), shares[[210, 400]].tolist()
    (401, [0.5, 0.5])
    """
    place = ((points.double() - low) / (high - low) * bins).floor()
    inside = ((place >= 0) & (place < bins)).all(1)
    sizes = bins ** torch.arange(points.shape[1]).flip(0).to(place)
    box = torch.where(inside, place.nan_to_num() @ sizes, bins ** points.shape[1])
    return box.long().bincount(minlength=bins ** points.shape[1] + 1).double() / len(points)


def total_variation(codes: Tensor, draws: Tensor, *, bins: int = 20) -> float:
    """½ sum over boxes of |share of codes (N, D) - share of the prior's draws (M, D)|, D <= 2.

    0 where both are spread alike, 1 where they never meet. There are bins^D boxes within four
    standard deviations of the draws about their mean, and one for all that lies outside. Chance
    alone gives a little, less with more codes: compare with that of other draws.

    >>> total_variation(torch.zeros(9, 1), torch.zeros(5, 1))
    0.0
    """
    if codes.shape[1] > 2 or codes.shape[1] != draws.shape[1]:
        raise Refused(
            f"codes of {codes.shape[1]} and draws of {draws.shape[1]} dimensions: boxes are "
            "counted in one or two. Compare single dimensions, or by MMD."
        )
    middle, reach = draws.double().mean(0), 4 * draws.double().std(0, correction=0)
    low, high = (middle + side * reach.clamp_min(1e-6) for side in (-1, 1))
    p, q = (boxes(each, low, high, bins) for each in (codes, draws))
    return float((p - q).abs().sum() / 2)


def chance_variation(draws: Tensor, count: int) -> float:
    """The total variation that `count` of the prior's draws (M, D) have to all others, D <= 2.

    What codes of that number come to if they lie just as the prior does: their floor.

    >>> chance_variation(torch.zeros(9, 2), 3)
    0.0
    """
    if not 0 < count < len(draws):
        raise Refused(f"{count} of {len(draws)} draws: some, and some to hold them against.")
    return total_variation(draws[:count], draws[count:])
