"""The distributions torch lacks, and the divergence between any two: nats, never averaged."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import (
    Beta,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
    register_kl,
)
from torch.distributions.constraints import Constraint, real_vector
from torch.utils.checkpoint import checkpoint

from .errors import Refused
from .schedules import FAR
from .tokens import PAD, SPECIAL


def gaussian(mu: Tensor, sigma: Tensor) -> Distribution:
    """N(mu, diag sigma^2) with event shape (D,), from mu and sigma (*, D)."""
    return Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)


SMALLEST = 1e-4  # a width below which densities overflow before anything is gained


def width(s: Tensor) -> Tensor:
    """sigma = softplus(s + log(e - 1)) + 1e-4 of any number s: 1.0001 where s = 0.

    It grows linearly with large s: a step too far cannot overflow as it would through exp.
    """
    return F.softplus(s + math.log(math.e - 1)) + SMALLEST


class WithoutDensity(Distribution):
    """What can be sampled and has no density: `log_prob` refuses, with the reason `why`."""

    why: ClassVar[str]

    def log_prob(self, value: Tensor) -> Tensor:
        raise Refused(self.why)


class Delta(WithoutDensity):
    """All mass at one code `value` (*, D): the posterior of a plain autoencoder.

    It can be sampled, with gradient, but has no density: `log_prob` refuses.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    support = real_vector
    has_rsample = True
    why = "a Delta posterior has no density, so its log-probability is undefined"

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def mode(self) -> Tensor:
        return self.value

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.value)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)


OFF_SPHERE = 1e-3  # by how much the length of a code may differ from 1, for rounding


class _Sphere(Constraint):
    """Vectors of length 1."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value.norm(dim=-1) - 1).abs() < OFF_SPHERE


sphere = _Sphere()


class VonMisesFisher(Distribution):
    """p(z) = C_D(kappa) exp(kappa mu.z) on the unit sphere, about a direction mu (*, D), D >= 2.

    C_D(kappa) = kappa^(D/2-1) / ((2 pi)^(D/2) I_(D/2-1)(kappa)), a density of the sphere's area
    (Mardia and Jupp, 2000, section 9.3.2); zero off the sphere. The concentration kappa > 0 is
    one number and no tensor: its Bessel functions are computed once, in float64.

    `mean` is A mu, A = I_(D/2)(kappa) / I_(D/2-1)(kappa), and lies inside the sphere; `mode` is
    mu. Samples carry gradient to mu.

    >>> q = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), kappa=2.0)
    >>> round(q.log_prob(q.mode).exp().item(), 4)  # 2 e^2 / (4 pi sinh 2)
    0.3242
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    support = sphere
    has_rsample = True

    def __init__(self, mu: Tensor, kappa: float) -> None:
        self.mu = mu
        self.kappa = kappa
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._resultant * self.mu

    @property
    def mode(self) -> Tensor:
        return self.mu

    @property
    def variance(self) -> Tensor:
        """A / kappa + (1 - D A / kappa - A^2) mu_d^2 of dimension d; over all 1 - A^2."""
        a, dimensions = self._resultant, self.mu.shape[-1]
        along = 1 - dimensions * a / self.kappa - a**2
        return (a / self.kappa + along * self.mu.square()).clamp_min(0)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """z = w mu + sqrt(1 - w^2) v, w by Wood (1994), v uniform among unit vectors across mu.

        v is noise with its part along mu taken off (Xu and Durrett, 2018), which is as exact as a
        reflection that takes a pole to mu and smooth in mu everywhere.
        """
        shape = self._extended_shape(sample_shape)
        mu, noise = self.mu.expand(shape), self.mu.new_empty(shape).normal_()
        along, across = _tilts(shape[:-1], shape[-1], self.kappa, self.mu)
        v = F.normalize(noise - (noise * mu).sum(-1, keepdim=True) * mu, dim=-1)
        # In exact numbers its length is 1 already.
        return F.normalize(along.unsqueeze(-1) * mu + across.unsqueeze(-1) * v, dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        log_p = self._log_constant + self.kappa * (self.mu * value).sum(-1)
        return log_p.masked_fill(~sphere.check(value), -torch.inf)

    def entropy(self) -> Tensor:
        """-log C_D(kappa) - kappa A, the same for every mu."""
        value = -self._log_constant - self.kappa * self._resultant
        return self.mu.new_full(self.batch_shape, value)

    @property
    def _log_constant(self) -> float:
        order = self.mu.shape[-1] / 2 - 1
        log_bessel = log_modified_bessel(order, self.kappa)
        return order * math.log(self.kappa / (2 * math.pi)) - math.log(2 * math.pi) - log_bessel

    @property
    def _resultant(self) -> float:
        half = self.mu.shape[-1] / 2
        above, below = (log_modified_bessel(v, self.kappa) for v in (half, half - 1))
        return math.exp(above - below)


class HypersphericalUniform(Distribution):
    """p(z) = 1 / area on the unit sphere of `like.shape[-1]` >= 2 dimensions, zero off it.

    Arguments:
        like: a tensor (D,), for its size, device and type.

    >>> z = HypersphericalUniform(torch.zeros(3)).sample((2,))
    >>> torch.allclose(z.norm(dim=-1), torch.ones(2))
    True
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    support = sphere

    def __init__(self, like: Tensor) -> None:
        self.like = like
        super().__init__(event_shape=like.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.like)

    @property
    def variance(self) -> Tensor:
        return torch.full_like(self.like, 1 / len(self.like))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        noise = self.like.new_empty(self._extended_shape(sample_shape)).normal_()
        return F.normalize(noise, dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        log_p = value.new_full(value.shape[:-1], -log_area(len(self.like)))
        return log_p.masked_fill(~sphere.check(value), -torch.inf)


def _kl_from_uniform(q: VonMisesFisher, p: HypersphericalUniform) -> Tensor:
    """log area - H(q): the same whatever mu   (Xu and Durrett, 2018, equation 5)."""
    return log_area(q.event_shape[0]) - q.entropy()


register_kl(VonMisesFisher, HypersphericalUniform)(_kl_from_uniform)  # type: ignore[no-untyped-call]


def log_area(dimensions: int) -> float:
    """log 2 pi^(D/2) / Gamma(D/2), of the unit sphere in D dimensions.

    >>> round(math.exp(log_area(3)) / math.pi, 6)
    4.0
    """
    half = dimensions / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


@cache
def log_modified_bessel(order: float, kappa: float) -> float:
    """log I_order(kappa), order >= 0, kappa > 0, by its series in float64.

    I_v(k) = sum_m (k/2)^(2m+v) / (m! Gamma(m+v+1)): no term is negative, so that none cancel, and
    in logarithms none overflows, as the function itself does under and over a few hundred.
    """
    # Terms rise until some m < kappa / 2; from m = kappa on, each is under a quarter of the last.
    m = torch.arange(math.ceil(kappa) + 64, dtype=torch.float64)
    log_terms = (2 * m + order) * math.log(kappa / 2)
    log_terms = log_terms - torch.lgamma(m + 1) - torch.lgamma(m + order + 1)
    return float(log_terms.logsumexp(0))


def _tilts(
    shape: tuple[int, ...], dimensions: int, kappa: float, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles between mu and draws of a von Mises-Fisher about it.

    Wood (1994), algorithm VM*, rejection from a transformed Beta. Half of the proposals or more
    are taken, whatever D and kappa.
    """
    less = dimensions - 1
    b = less / (2 * kappa + math.sqrt(4 * kappa**2 + less**2))
    x = (1 - b) / (1 + b)
    c = kappa * x + less * math.log(4 * b / (1 + b) ** 2)  # of 1 - x^2
    half = torch.tensor(less / 2, dtype=torch.float64, device=like.device)
    beta = Beta(half, half, validate_args=False)
    kept = torch.empty(math.prod(shape), dtype=torch.float64, device=like.device)
    waiting = torch.arange(len(kept), device=like.device)
    while len(waiting):
        epsilon = beta.sample((len(waiting),))
        w = (1 - (1 + b) * epsilon) / (1 - (1 - b) * epsilon)
        taken = kappa * w + less * torch.log1p(-x * w) - c >= torch.rand_like(w).log()
        kept[waiting[taken]] = epsilon[taken]
        waiting = waiting[~taken]
    scale = 1 - (1 - b) * kept
    cosine = (1 - (1 + b) * kept) / scale
    sine = 2 * (b * kept * (1 - kept)).sqrt() / scale  # sqrt(1 - w^2), which rounds near the pole
    return cosine.to(like.dtype).view(shape), sine.to(like.dtype).view(shape)


def has_density(distribution: Distribution) -> bool:
    """Whether its `log_prob` is defined, so that KL and importance weights are.

    Not so for a `Delta`, nor for a prior that only knows how to sample.
    """
    if isinstance(distribution, Independent):
        return has_density(distribution.base_dist)
    if isinstance(distribution, MixtureSameFamily):
        return has_density(distribution.component_distribution)
    inherited = type(distribution).log_prob is Distribution.log_prob
    return not (inherited or isinstance(distribution, WithoutDensity))


def kl(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """KL(q || p) per item (B,), nats: in closed form where there is one, else at z ~ q.

    The one-sample estimate log q(z) - log p(z) is unbiased and has the right gradient. It is
    infinite where q has codes to which p gives no density, as off the sphere of a p on one.

    Raises `Refused` where either has no density, or a code on the sphere meets a prior that is
    not: their densities are of an area and of a volume, and cannot be compared.

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


def densities_under(posteriors: Sequence[Distribution]) -> Callable[[Tensor], Tensor]:
    """log q_j(z_i) under every item of some batches of posteriors: codes z (M, D) -> (M, N).

    Diagonal Gaussians take one matrix product in float64 instead of M N D densities:

        log q_j(z) = -1/2 sum_d [(z - mu)^2 / sigma^2 + log 2 pi sigma^2]

    multiplied out is z^2, z and 1 times weights of item j.

    >>> q = gaussian(torch.zeros(3, 2), torch.ones(3, 2))
    >>> pairs = densities_under([q, q])(torch.randn(4, 2))
    >>> pairs.shape, torch.allclose(pairs[:, 0], pairs[:, 5])
    (torch.Size([4, 6]), True)
    """
    if not all(_is_gaussian(q) for q in posteriors):
        return lambda z: torch.cat([q.log_prob(z.unsqueeze(1)) for q in posteriors], dim=1)
    mu = torch.cat([q.mean for q in posteriors]).double()
    precision = torch.cat([q.variance for q in posteriors]).double().reciprocal()
    constant = mu.square() * precision + math.log(2 * math.pi) - precision.log()
    weights = torch.cat([-precision / 2, mu * precision, -constant.sum(1, True) / 2], dim=1).T

    def pairs(z: Tensor) -> Tensor:
        z = z.double()
        return torch.cat([z.square(), z, torch.ones_like(z[:, :1])], dim=1) @ weights

    return pairs


def _is_gaussian(q: Distribution) -> bool:
    return isinstance(q, Independent) and isinstance(q.base_dist, Normal)


def _check_densities(q: Distribution, p: Distribution) -> None:
    if not has_density(q):
        raise Refused(
            "KL(q || p) is undefined for a Delta posterior, which has no density. Use a "
            "GaussianPosterior, or a penalty on samples such as MMD in the place of the KL (one "
            "of weight 0 is still computed; an InfoVAE of alpha 1 has none)."
        )
    if not has_density(p):
        raise Refused(
            "KL(q || p) needs a prior with a density; this one can only be sampled. Use a penalty "
            "on samples such as MMD."
        )

    if on_sphere(q) and not on_sphere(p):
        raise Refused(
            "the posterior lies on the unit sphere and the prior does not: no KL compares a "
            "density of area with one of volume. Use the prior UniformSphere (or a VampPrior), "
            "or a GaussianPosterior."
        )


def on_sphere(distribution: Distribution) -> bool:
    """Whether its codes are directions, vectors of length 1."""
    if isinstance(distribution, MixtureSameFamily):
        return on_sphere(distribution.component_distribution)
    return isinstance(distribution, VonMisesFisher | HypersphericalUniform)


def _name(distribution: Distribution) -> str:
    return type(distribution).__name__.removeprefix("_")


class NextTokenScores(Protocol):
    """What `TokenSequence` asks of a decoder: teacher-forced features, and scores from them."""

    vocab: int

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor: ...

    def head(self, features: Tensor) -> Tensor: ...


Told = Callable[[Tensor, Tensor, int], Tensor]  # x (B, T), z (B, D), step -> tokens (B, T)


class TokenSequence(Distribution):
    """p(x | z) = prod_t softmax(scores_t)[x_t], with scores_t a function of z and x_<t only.

    PAD has probability one. `z` is (*, B, D); `log_prob(x)` of x (B, T) is (*, B). Where the
    decoder is to be told other tokens than those it scores, `told` makes them of x.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}

    def __init__(
        self, decoder: NextTokenScores, z: Tensor, step: int = FAR, told: Told | None = None
    ) -> None:
        self.decoder = decoder
        self.z = z
        self.step = step  # of training
        self.told = told
        super().__init__(z.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.token_log_prob(value).sum(-1)

    def token_log_prob(self, x: Tensor) -> Tensor:
        """log p(x_t | x_<t, z) of every token, (*, B, T); zero at PAD."""
        shape = (*self.z.shape[:-1], x.shape[-1])
        x = x.expand(shape).reshape(-1, shape[-1])
        # Not reshape(-1, D): a code of no dimensions leaves -1 to be guessed.
        z = self.z.flatten(0, -2)
        read = x if self.told is None else self.told(x, z, self.step)
        features = self.decoder.features(read, z, self.step)
        real = x != PAD
        log_p = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        log_p = log_p.masked_scatter(real, score_tokens(self.decoder, features[real], x[real]))
        return log_p.view(shape)


ROWS_ROUNDED_TO = 128
# Numbers in the largest matrix of scores ever held: 64 MiB of float32. A slice is half of that at
# least, so that the allocator, which may keep blocks under 32 MiB, gives each back.
SCORES_AT_ONCE = 2**24
SCORES_IN_CACHE = 2**21  # where no gradient needs them again: what a processor's cache can hold


def score_tokens(decoder: NextTokenScores, features: Tensor, tokens: Tensor) -> Tensor:
    """log softmax(head(features))[tokens], (N,) from features (N, H) and tokens (N,).

    All scores at once would be (N, V). They are made in slices, and made again on the way back
    where there is more than one, so that only a slice of them is ever in memory. Without a way
    back slices are small, and a third faster for it.
    """

    def score(features: Tensor, tokens: Tensor) -> Tensor:
        # A processor's matrix kernels are compiled and kept for every shape they meet. Each batch
        # has another number of tokens: rounded up they need 20 kernels, not a thousand.
        spare = -len(tokens) % ROWS_ROUNDED_TO
        scores = decoder.head(F.pad(features, (0, 0, 0, spare)))
        # Spare rows are dropped last: a slice of scores would cost a copy on the way back.
        log_p = -F.cross_entropy(scores.float(), F.pad(tokens, (0, spare)), reduction="none")
        return log_p[: len(tokens)]

    if len(tokens) == 0:
        return features.new_zeros(0, dtype=torch.float32)
    most = SCORES_AT_ONCE if torch.is_grad_enabled() else SCORES_IN_CACHE
    slices = math.ceil(len(tokens) * decoder.vocab / most)
    if slices <= 1:
        return score(features, tokens)
    pairs = zip(features.chunk(slices), tokens.chunk(slices), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([score(f, t) for f, t in pairs])
    # The head draws no random numbers, so there is no generator state to keep for the way back.
    again = partial(checkpoint, score, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([again(f, t) for f, t in pairs])


@torch.no_grad()
def draw_tokens(decoder: NextTokenScores, features: Tensor) -> Tensor:
    """Tokens (N,) drawn from softmax(head(features)), features (N, H), less the special ones.

    In slices, as above. Of fewer than five ids, none of which is a word, the last is drawn.
    """
    first = min(SPECIAL, decoder.vocab - 1)

    def draw(features: Tensor) -> Tensor:
        p = decoder.head(features)[:, first:].float().softmax(-1)
        # Of waits with rates p_v the shortest is v's with probability p_v. Unlike multinomial it
        # takes scores that are not finite, so that training can say which step diverged.
        return first + (p / torch.empty_like(p).exponential_()).argmax(-1)

    slices = math.ceil(len(features) * decoder.vocab / SCORES_IN_CACHE)
    return torch.cat([draw(part) for part in features.chunk(max(slices, 1))])
