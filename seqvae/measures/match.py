"""How far the codes of a corpus are from draws of the prior: samples of both are all it takes.

What KL(q(z) || p) says where both have densities, this says of any prior that can be sampled. A
critic that cannot tell codes from draws is no such measure: its loss is 2 ln 2 as well where it
has failed to learn.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..metrics import standard_error, total_variation
from ..randomness import seeded
from ..regularizers.mmd import mmd
from .aggregate import Moments, prior_moments
from .codes import Codes

AT_MOST = 10_000  # codes held against the prior
BLOCK = 500  # codes in a sample of the MMD, whose cost grows with their square
NULLS = 10  # pairs of samples of the prior, at least, that say how far one strays by chance
DRAWS = 200_000  # of the prior that stand for its probabilities


def match(codes: Codes, *, seed: int = 0) -> dict[str, Any]:
    """The MMD of codes (at most 10,000, one draw an item) and prior; in 2-D, their variation.

    `prior_mean` and `prior_sd` are what `aggregate_mean` and `aggregate_sd` count in. The rest are
    the figures of `discrepancy` and `variation`, each beside what it comes to by chance for as
    many draws of the prior itself.
    """
    if codes.latent == 0 or len(codes.z) < 2:
        return {}
    prior = prior_moments(codes.p)
    with seeded(seed):
        # In the order of the corpus, or of length, a block would be a sample of its neighbours.
        z = codes.z[torch.randperm(len(codes.z))[:AT_MOST]].float()
        found = discrepancy(z, codes.p, prior)
        if codes.latent == 2:
            found |= variation(z, codes.p)
    named = {"prior_mean": prior.mean.tolist(), "prior_sd": prior.variance.sqrt().tolist()}
    return {"match_items": len(z), **found, **named}


def discrepancy(z: Tensor, p: Distribution, prior: Moments) -> dict[str, Any]:
    """MMD^2 of codes z (N, D) and as many draws of p, the unbiased multi-scale IMQ of `MMD`.

    Taken of blocks of at most 500 codes and averaged, which leaves it unbiased (Zaremba et al.,
    2013), its kernel as wide as the prior. `aggregate_mmd_noise` is the standard error that codes
    drawn from the prior would give it: within 2 of these it says nothing.
    """
    sigma = float(prior.variance.mean().sqrt())
    blocks = torch.tensor_split(z, -(-len(z) // BLOCK))
    found = torch.stack([mmd(b, drawn(p, len(b)), sigma) for b in blocks])
    size, pairs = len(blocks[0]), max(len(blocks), NULLS)
    nulls = torch.stack([mmd(drawn(p, size), drawn(p, size), sigma) for _ in range(pairs)])
    return {
        "aggregate_mmd": float(found.double().mean()),
        "aggregate_mmd_noise": standard_error(nulls) * (pairs / len(blocks)) ** 0.5,
    }


def variation(z: Tensor, p: Distribution) -> dict[str, Any]:
    """Total variation of codes z (N, 2) and p over 20 x 20 squares, and what lies outside them.

    TV = 1/2 sum |share of codes - probability under p|, from 0 to 1; the squares fill a box of 4
    widths of the prior to each side of its mean. `aggregate_tv_floor` is the same of N draws of
    p: few codes in many squares differ from it by chance.
    """
    draws = drawn(p, DRAWS)
    return {
        "aggregate_tv": total_variation(z, draws),
        "aggregate_tv_floor": total_variation(drawn(p, len(z)), draws),
    }


def drawn(p: Distribution, count: int) -> Tensor:
    """Codes of the prior (count, D), on the CPU."""
    with torch.no_grad():
        return p.sample((count,)).cpu().float()
