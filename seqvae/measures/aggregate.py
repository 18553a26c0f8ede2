"""What the codes of a corpus look like: active units, information, the aggregate posterior."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ..distributions import densities_under
from ..metrics import ACTIVE, active_units, effective_dimension, spectrum, standard_error
from ..randomness import seeded
from .codes import Codes, Tell

THRESHOLDS = (0.05, 0.2)  # beside 0.01: published tables use 0.01 or 0.2
CODES, ITEMS = 256, 1024  # whose densities log q_j(z_i) are in memory at once, 2 MiB of float64
BY_ITEM = ("item", "length", "mu", "z", "reconstruction", "rate", "rates")
QUARTILES = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
GAUSSIAN_QUARTILES = 1.349  # widths between the quartiles of a Gaussian
NARROWEST = 0.1  # widths of the prior
ENOUGH = 50  # items from which their moments say how far the aggregate lies from the prior
DRAWN = 10_000  # samples of a prior whose moments have no closed form


class Moments(NamedTuple):
    """Mean and variance of every dimension (D,)."""

    mean: Tensor
    variance: Tensor


def prior_moments(p: Distribution) -> Moments:
    """Those of the prior; from samples where it has none, or torch knows no closed form.

    A prior with tails too heavy for a variance is given its median and the width of its middle
    half, as a Gaussian of that width would have it.
    """
    try:
        mean, variance = p.mean, p.variance
    except NotImplementedError:
        z = _drawn(p)
        mean, variance = z.mean(0), z.var(0)
    if not bool(mean.isfinite().all() and variance.isfinite().all()):
        low, mean, high = _drawn(p).quantile(QUARTILES, dim=0)
        variance = ((high - low) / GAUSSIAN_QUARTILES).square()
    return Moments(mean.detach().cpu().double(), variance.detach().cpu().double())


def _drawn(p: Distribution) -> Tensor:
    with seeded(0):
        return p.sample((DRAWN,)).cpu().double()


def units(codes: Codes) -> dict[str, Any]:
    """Active units, relative to the prior's variance, at three thresholds; their spectrum."""
    variance = prior_moments(codes.p).variance
    return {
        "latent": codes.latent,
        "active_units": active_units(codes.mu, ACTIVE, variance),
        **{
            f"active_units_at_{threshold:.0%}".replace("%", "_percent"): active_units(
                codes.mu, threshold, variance
            )
            for threshold in THRESHOLDS
        },
        "effective_dimension": effective_dimension(codes.mu, variance),
        "spectrum": spectrum(codes.mu, variance).tolist(),
    }


def moments(codes: Codes) -> dict[str, Any]:
    """Mean and width of the aggregate posterior per dimension, beside the prior's.

    `moment_kl` is sum_d KL(N(m_d, v_d) || N of the prior's moments): where the prior is a diagonal
    Gaussian it bounds KL(q(z) || p) from below, since of all distributions with these moments the
    Gaussian is nearest to it.
    """
    prior = prior_moments(codes.p)
    z = codes.z.double()
    mean = (z.mean(0) - prior.mean) / prior.variance.sqrt()
    variance = (z.var(0) if len(z) > 1 else torch.ones_like(mean)) / prior.variance
    # A dimension that stands still is no further from the prior than one a tenth as wide.
    each = (variance + mean.square() - 1 - variance.clamp_min(NARROWEST**2).log()) / 2
    worst = int(each.argmax())
    return {
        "aggregate_mean": mean.tolist(),
        "aggregate_sd": variance.sqrt().tolist(),
        "moment_kl": float(each.sum()),
        "worst_dimension": worst,
        "worst_mean": float(mean[worst]),
        "worst_sd": float(variance[worst].sqrt()),
    }


class Mixtures(NamedTuple):
    """log q(z_i | x_i), and log q(z_i) of the mixture over the set with and without item i."""

    own: Tensor
    everyone: Tensor
    others: Tensor


def mixtures(codes: Codes, progress: Tell | None = None) -> Mixtures:
    """Every code under the posteriors of the whole set, (N,) each, float64.

    Exact, in memory that does not grow with N^2: densities are made block by block, and each block
    is summed at once. Item i's own is never summed with the others and taken off again, which
    would leave nothing of them where it outweighs them all.
    """
    count, z = len(codes.item), codes.z.to(codes.q[0].mean.device)
    own = torch.full((count,), -math.inf, dtype=torch.float64, device=z.device)
    others = own.clone()
    for first, posteriors in _blocks(codes.q):
        densities = densities_under(posteriors)
        stop = first + sum(q.batch_shape[0] for q in posteriors)
        for start in range(0, count, CODES):
            pairs = densities(z[start : start + CODES]).double()
            both = list(range(max(first, start), min(stop, start + len(pairs))))
            at = [i - start for i in both], [i - first for i in both]
            own[both] = pairs[at]
            pairs[at] = -math.inf
            here = slice(start, start + len(pairs))
            others[here] = torch.logaddexp(others[here], pairs.logsumexp(1))
        if progress is not None:
            progress("aggregate posterior", stop, count)
    everyone = torch.logaddexp(others, own) - math.log(count)
    return Mixtures(own.cpu(), everyone.cpu(), others.cpu() - math.log(max(count - 1, 1)))


def _blocks(batches: Sequence[Distribution]) -> Iterator[tuple[int, list[Distribution]]]:
    """Batches of posteriors in blocks of at least `ITEMS` items, with the first one's number."""
    first, block = 0, list[Distribution]()
    for q in batches:
        block.append(q)
        size = sum(each.batch_shape[0] for each in block)
        if size >= ITEMS:
            yield first, block
            first, block = first + size, []
    if block:
        yield first, block


def information(codes: Codes, progress: Tell | None = None) -> dict[str, Any]:
    """Mutual information of item and code, and KL(q(z) || p), each between two bounds; nats.

    With one z_i ~ q(z|x_i) an item and log q(z_i | x_i) - log of a mixture over the whole set:

    - own component included: a lower bound of I(x; z), never above log N   (InfoNCE);
    - own component left out: an upper bound   (Poole et al., 2019, sections 2.1 and 2.3).

    The rate is their sum, R = I(x; z) + KL(q(z) || p), so each bound of the one gives one of the
    other, and I is at most R less what the moments of q(z) say of its distance   (Hoffman and
    Johnson, 2016). R is taken as it was measured, in closed form where there is one.
    """
    if codes.rate is None or len(codes.item) < 2:
        return {}
    rate = float(codes.rate.double().mean())
    found = mixtures(codes, progress)
    lower, upper = found.own - found.everyone, found.own - found.others
    low = min(max(float(lower.mean()), 0.0), rate)
    high = max(min(float(upper.mean()), rate - _least_distance(codes, rate)), low)
    return {
        "mutual_information_low": low,
        "mutual_information_high": high,
        "mutual_information_standard_error": standard_error(lower),
        "mutual_information_cap": math.log(len(codes.item)),
        "aggregate_kl_low": rate - high,
        "aggregate_kl_high": rate - low,
    }


def _least_distance(codes: Codes, rate: float) -> float:
    """What moments alone say, where they may speak: KL(q(z) || p) is at least so much."""
    if not (isinstance(codes.p, Independent) and isinstance(codes.p.base_dist, Normal)):
        return 0.0
    if len(codes.item) < ENOUGH:
        return 0.0
    found = moments(codes)
    # By chance alone the squared mean of N codes is their variance v / N too large, and - log v
    # about 1 / N, both of them halved in the divergence.
    noise = sum(1 + width**2 for width in found["aggregate_sd"]) / 2 / len(codes.item)
    return min(max(found["moment_kl"] - noise, 0.0), rate)


def kl_per_dimension(codes: Codes) -> list[float]:
    """KL of every dimension, averaged over items; empty where q or p is no product."""
    return [] if codes.rates is None else codes.rates.double().mean(0).tolist()


def part_of(codes: Codes, limit: int | None) -> Codes:
    """The codes of at most about `limit` items: every n-th batch, so that lengths stay mixed."""
    count = len(codes.item)
    if limit is None or count <= limit:
        return codes
    step = -(-count // limit)
    sizes = [q.batch_shape[0] for q in codes.q]
    kept = [i % step == 0 for i in range(len(sizes))]
    chosen = torch.tensor(kept).repeat_interleave(torch.tensor(sizes))
    columns = {name: getattr(codes, name) for name in BY_ITEM}
    cut: Any = {name: None if c is None else c[chosen] for name, c in columns.items()}
    q = [q for q, keep in zip(codes.q, kept, strict=True) if keep]
    return replace(codes, **cut, tokens=None, q=q)
