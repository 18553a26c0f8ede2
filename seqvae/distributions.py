"""The distributions torch lacks, and the divergence between any two: nats, never averaged."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.distributions.constraints import Constraint, real_vector
from torch.utils.checkpoint import checkpoint

from .errors import Refused
from .schedules import FAR
from .tokens import PAD


def gaussian(mu: Tensor, sigma: Tensor) -> Distribution:
    """N(mu, diag sigma^2) with event shape (D,), from mu and sigma (*, D)."""
    return Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)


class Delta(Distribution):
    """All mass at one code `value` (*, D): the posterior of a plain autoencoder.

    It can be sampled, with gradient, but has no density: `log_prob` refuses.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    support = real_vector
    has_rsample = True

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.value)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        raise Refused("a Delta posterior has no density, so its log-probability is undefined")


def has_density(distribution: Distribution) -> bool:
    """Whether its `log_prob` is defined, so that KL and importance weights are.

    Not so for a `Delta`, nor for a prior that only knows how to sample.
    """
    if isinstance(distribution, Independent):
        return has_density(distribution.base_dist)
    inherited = type(distribution).log_prob is Distribution.log_prob
    return not (inherited or isinstance(distribution, Delta))


def kl(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """KL(q || p) per item (B,), nats: in closed form where there is one, else at z ~ q.

    The one-sample estimate log q(z) - log p(z) is unbiased and has the right gradient.

    Raises `Refused` where either has no density.

    >>> one = torch.ones(2)
    >>> q, p = gaussian(one, one), gaussian(0 * one, one)
    >>> kl(q, p, q.rsample()).item()
    1.0
    """
    _check_densities(q, p)
    try:
        return kl_divergence(q, p)
    except NotImplementedError:  # torch has no closed form for the pair
        return q.log_prob(z) - p.log_prob(z)


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor:
    """KL(q_d || p_d) (B, D), nats, for q and p that are products over dimensions.

    Raises `Refused` where they are not, or where torch knows no closed form for the pair.
    """
    _check_densities(q, p)
    if not (isinstance(q, Independent) and isinstance(p, Independent)):
        raise Refused(
            "the KL of every dimension needs q and p that are Independent over dimensions; "
            f"got {_name(q)} and {_name(p)}. Use the penalty KL, which needs only the total."
        )
    try:
        return kl_divergence(q.base_dist, p.base_dist)
    except NotImplementedError as missing:
        raise Refused(
            f"torch has no closed-form KL of {_name(q.base_dist)} from {_name(p.base_dist)}. "
            "Use the penalty KL, which then estimates the total from samples."
        ) from missing


def log_prob_pairs(posteriors: Sequence[Distribution], z: Tensor) -> Tensor:
    """log q_j(z_i) of codes z (M, D) under every item of some batches of posteriors: (M, N).

    Diagonal Gaussians take two matrix products in float64 instead of M N D densities.

    >>> q = gaussian(torch.zeros(3, 2), torch.ones(3, 2))
    >>> pairs = log_prob_pairs([q, q], torch.randn(4, 2))
    >>> pairs.shape, torch.allclose(pairs[:, 0], pairs[:, 5])
    (torch.Size([4, 6]), True)
    """
    if all(_is_gaussian(q) for q in posteriors):
        mu = torch.cat([q.mean for q in posteriors]).double()
        precision = torch.cat([q.variance for q in posteriors]).double().reciprocal()
        z = z.double()
        # sum_d (z - mu)^2 / sigma^2, multiplied out
        distance = z.square() @ precision.T - 2 * z @ (mu * precision).T
        distance = distance + (mu.square() * precision).sum(-1)
        log_volume = math.log(2 * math.pi) * z.shape[-1] - precision.log().sum(-1)
        return -(distance + log_volume) / 2
    return torch.cat([q.log_prob(z.unsqueeze(1)) for q in posteriors], dim=1)


def _is_gaussian(q: Distribution) -> bool:
    return isinstance(q, Independent) and isinstance(q.base_dist, Normal)


def _check_densities(q: Distribution, p: Distribution) -> None:
    if not has_density(q):
        raise Refused(
            "KL(q || p) is undefined for a Delta posterior, which has no density. Use a "
            "GaussianPosterior, or a penalty on samples such as MMD (weight of KL 0 is no cure)."
        )
    if not has_density(p):
        raise Refused(
            "KL(q || p) needs a prior with a density; this one can only be sampled. Use a penalty "
            "on samples such as MMD."
        )


def _name(distribution: Distribution) -> str:
    return type(distribution).__name__


class NextTokenScores(Protocol):
    """What `TokenSequence` asks of a decoder: teacher-forced features, and scores from them."""

    vocab: int

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor: ...

    def head(self, features: Tensor) -> Tensor: ...


class TokenSequence(Distribution):
    """p(x | z) = prod_t softmax(scores_t)[x_t], with scores_t a function of z and x_<t only.

    PAD has probability one. `z` is (*, B, D); `log_prob(x)` of x (B, T) is (*, B).
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}

    def __init__(self, decoder: NextTokenScores, z: Tensor, step: int = FAR) -> None:
        self.decoder = decoder
        self.z = z
        self.step = step  # of training
        super().__init__(z.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.token_log_prob(value).sum(-1)

    def token_log_prob(self, x: Tensor) -> Tensor:
        """log p(x_t | x_<t, z) of every token, (*, B, T); zero at PAD."""
        shape = (*self.z.shape[:-1], x.shape[-1])
        x = x.expand(shape).reshape(-1, shape[-1])
        # Not reshape(-1, D): a code of no dimensions leaves -1 to be guessed.
        features = self.decoder.features(x, self.z.flatten(0, -2), self.step)
        real = x != PAD
        log_p = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        log_p = log_p.masked_scatter(real, score_tokens(self.decoder, features[real], x[real]))
        return log_p.view(shape)


ROWS_ROUNDED_TO = 128
SCORES_AT_ONCE = 2**24  # numbers in the largest matrix of scores ever held: 64 MiB of float32


def score_tokens(decoder: NextTokenScores, features: Tensor, tokens: Tensor) -> Tensor:
    """log softmax(head(features))[tokens], (N,) from features (N, H) and tokens (N,).

    All scores at once would be (N, V). They are made in slices, and made again on the way back
    where there is more than one, so that only a slice of them is ever in memory.
    """

    def score(features: Tensor, tokens: Tensor) -> Tensor:
        # A processor's matrix kernels are compiled and kept for every shape they meet. Each batch
        # has another number of tokens: rounded up they need 20 kernels, not a thousand.
        spare = -len(tokens) % ROWS_ROUNDED_TO
        scores = decoder.head(F.pad(features, (0, 0, 0, spare)))[: len(tokens)]
        return -F.cross_entropy(scores.float(), tokens, reduction="none")

    if len(tokens) == 0:
        return features.new_zeros(0, dtype=torch.float32)
    slices = math.ceil(len(tokens) * decoder.vocab / SCORES_AT_ONCE)
    if slices <= 1:
        return score(features, tokens)
    pairs = zip(features.chunk(slices), tokens.chunk(slices), strict=True)
    # The head draws no random numbers, so there is no generator state to keep for the way back.
    again = partial(checkpoint, score, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([again(f, t) for f, t in pairs])
