"""Models whose evidence, posterior and information are known exactly.

A linear decoder of real vectors, whose posterior is Gaussian; strings of bits, each said by a
dimension of its own; and integrals over codes by sums on a grid.
"""

from itertools import product

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from seqvae.data import InMemory
from seqvae.distributions import TokenSequence, gaussian, kl, kl_per_dimension
from seqvae.encoders import EmptyEncoder
from seqvae.measures import Codes
from seqvae.priors import StandardNormal
from seqvae.schedules import FAR
from seqvae.tokens import EOS, SPECIAL
from seqvae.vae import VAE, Batch, Decoder, Encoder

# --- real vectors --------------------------------------------------------------------------------


class Linear(Decoder):
    """p(x | z) = N(W z, noise^2 I); with p(z) = N(0, I) evidence and posterior are Gaussian."""

    def __init__(self, weight: Tensor, noise: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.noise = noise

    def forward(self, z: Tensor, step: int = FAR) -> Distribution:
        x = z @ self.weight.T
        return gaussian(x, torch.full_like(x, self.noise))

    def evidence(self) -> Distribution:
        """p(x) = N(0, W W^T + noise^2 I)."""
        weight = self.weight.detach()
        covariance = weight @ weight.T + self.noise**2 * torch.eye(len(weight)).to(weight)
        return MultivariateNormal(weight.new_zeros(len(weight)), covariance)

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z | x), whose precision I + W^T W / noise^2 is the same for all x."""
        weight = self.weight.detach()
        size = weight.shape[1]
        precision = torch.eye(size).to(weight) + weight.T @ weight / self.noise**2
        covariance = precision.inverse()
        mean = x @ weight @ covariance / self.noise**2
        return MultivariateNormal(mean, covariance.expand(len(x), size, size))


class Amiss(Encoder):
    """The best diagonal Gaussian of a linear decoder, `shift` widths beside it, `stretch` wide.

    Of all products the one from which a Gaussian is least far in KL(q || p) has its mean and the
    diagonal of its precision.
    """

    def __init__(self, decoder: Linear, shift: float, stretch: float) -> None:
        super().__init__()
        self.decoder, self.shift, self.stretch = decoder, shift, stretch

    def forward(self, batch: Batch) -> Distribution:
        truth = self.decoder.posterior(batch.x)
        sigma = truth.precision_matrix.diagonal(dim1=-2, dim2=-1).rsqrt()
        return gaussian(truth.mean + self.shift * sigma, self.stretch * sigma)


ACROSS = [[1.0, 0.0], [0.0, 0.5], [0.0, -2.0]]  # orthogonal columns: the posterior is a product
ALONG = [[1.0, 0.6], [-0.2, 0.5], [0.5, 1.0]]  # oblique ones: it is none
SHIFT, STRETCH = 0.3, 1.3


def linear(weight: list[list[float]], shift: float = SHIFT, stretch: float = STRETCH) -> VAE:
    """A model in float64 whose encoder is amiss by so much."""
    decoder = Linear(torch.tensor(weight, dtype=torch.float64), 0.7)
    return VAE(Amiss(decoder, shift, stretch), StandardNormal(2).double(), decoder)


def vectors(vae: VAE, count: int) -> Batch:
    """Items drawn from a linear model."""
    x = decoder_of(vae).evidence().sample((count,))
    return Batch(x, torch.ones(count, dtype=torch.long), None, torch.arange(count))


def in_parts(batch: Batch, size: int) -> list[Batch]:
    """The same items in batches; `Batch.part` is for sequences, which it cuts to their length."""
    rows = torch.arange(len(batch.x))
    cuts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [Batch(batch.x[cut], batch.length[cut], None, batch.item[cut]) for cut in cuts]


def decoder_of(vae: VAE) -> Linear:
    assert isinstance(vae.decoder, Linear)
    return vae.decoder


def full(q: Distribution) -> MultivariateNormal:
    """A diagonal Gaussian as one that torch compares with any other."""
    return MultivariateNormal(q.mean, torch.diag_embed(q.variance))


# --- strings of bits -----------------------------------------------------------------------------

BIT = SPECIAL  # the two words are 4 and 5


class Bits(Decoder):
    """Word t is 5 rather than 4 with log-odds volume_t z_t, and the end stands where it must.

    Without a code (`latent` 0) it is the language model that knows strings to be uniform.
    """

    def __init__(self, volume: Tensor, latent: int | None = None) -> None:
        super().__init__()
        self.volume = nn.Parameter(volume)
        self.latent = len(volume) if latent is None else latent
        self.vocab = SPECIAL + 2

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        words = len(self.volume)
        scores = z.new_full((len(x), words + 1, self.vocab), -1e4)
        scores[:, :words, BIT] = 0.0
        scores[:, :words, BIT + 1] = self.volume * z if self.latent else 0.0
        scores[:, words, EOS] = 0.0
        return scores

    def head(self, features: Tensor) -> Tensor:
        return features

    def forward(self, z: Tensor, step: int = FAR) -> TokenSequence:
        return TokenSequence(self, z)


class Signs(Encoder):
    """q(z_t | x) = N(±mean, sigma^2), the sign that of bit t."""

    def __init__(self, words: int, mean: float, sigma: float) -> None:
        super().__init__()
        self.words, self.mean, self.sigma = words, mean, sigma

    def forward(self, batch: Batch) -> Distribution:
        sign = 2.0 * (batch.x[:, : self.words] - BIT) - 1
        return gaussian(self.mean * sign, torch.full_like(sign, self.sigma))


def bits(mean: float, sigma: float, volume: float | list[float], words: int = 8) -> VAE:
    """A model of strings of bits whose every figure is a sum over bits."""
    loud = torch.tensor(volume).expand(words).clone()
    return VAE(Signs(words, mean, sigma), StandardNormal(words), Bits(loud))


def bits_language_model(words: int = 8) -> VAE:
    return VAE(EmptyEncoder(), StandardNormal(0), Bits(torch.zeros(words), latent=0))


def strings(words: int = 8, copies: int = 1) -> InMemory:
    """Every string of so many bits, so many times."""
    return InMemory([[*s, EOS] for s in product((BIT, BIT + 1), repeat=words)] * copies)


# --- codes made by hand, and sums on a grid ------------------------------------------------------


def codes(
    mu: Tensor, sigma: Tensor | float, p: Distribution | None = None, size: int = 64
) -> Codes:
    """What `encode_all` finds where item i has the posterior N(mu_i, sigma_i^2)."""
    sigma = torch.as_tensor(sigma, dtype=mu.dtype).expand_as(mu)
    p = gaussian(torch.zeros_like(mu[0]), torch.ones_like(mu[0])) if p is None else p
    q, count = gaussian(mu, sigma), len(mu)
    z = q.sample()
    return Codes(
        item=torch.arange(count),
        length=torch.ones(count, dtype=torch.long),
        mu=mu,
        z=z,
        reconstruction=torch.zeros(count),
        rate=kl(q, p, z),
        rates=kl_per_dimension(q, p),
        tokens=None,
        q=[gaussian(mu[i : i + size], sigma[i : i + size]) for i in range(0, count, size)],
        p=p,
    )


def grid(step: float, reach: float, dimensions: int) -> tuple[Tensor, float]:
    """Points (G, D) of a cube around zero, and the volume each stands for, float64.

    For smooth functions that vanish at the border, sums over evenly spaced points converge faster
    than any power of the step.
    """
    line = torch.arange(-reach, reach + step / 2, step, dtype=torch.float64)
    return torch.cartesian_prod(*[line] * dimensions).view(-1, dimensions), step**dimensions


def information_of(q: Distribution, share: Tensor, p: Distribution) -> tuple[float, float]:
    """I(x; z) and KL(q(z) || p) of items with these posteriors (M,) and probabilities (M,)."""
    z, volume = grid(float(q.stddev.min()) / 3, float(q.mean.abs().max()) + 8.0, q.mean.shape[-1])
    log_q = q.log_prob(z.unsqueeze(1))
    log_aggregate = (log_q + share.log()).logsumexp(1)
    weight = log_q.exp() * share * volume
    information = (weight * (log_q - log_aggregate.unsqueeze(1))).sum()
    distance = (weight.sum(1) * (log_aggregate - p.log_prob(z))).sum()
    return float(information), float(distance)
