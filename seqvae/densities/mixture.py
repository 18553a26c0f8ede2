"""A mixture of Gaussians with full covariances."""

import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import Generator, Tensor

from ..errors import Refused, check_sizes
from ..randomness import seeded
from .density import Density, Tell, apart, check_codes, radius_of, scaled

COMPONENTS = (1, 2, 4, 8, 16, 32, 64)  # tried, as far as there are codes for them
CODES_EACH = 8  # codes a component has on average, at least
MISSES = 2  # numbers of components in a row that are no better, after which none is tried


class Mixture(Density):
    """q̂(z) = sum_k pi_k N(z; mu_k, Sigma_k), fitted by expectation maximisation.

    Where their number is not given, it is doubled from 1 to 64 as long as codes held out of the
    fit become likelier by more than a standard error of their mean; the search ends where two
    numbers in a row do not better the best before them.

    Arguments:
        latent: D.
        components: K.

    >>> codes = torch.cat([torch.randn(200, 2) / 5 - 3, torch.randn(200, 2) / 5 + 3])
    >>> found = Mixture.fit(codes, components=2)
    >>> found.about, found.sample(5).shape
    ('mixture of 2 Gaussians', torch.Size([5, 2]))
    """

    kind = "mixture"
    shares: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, latent: int, components: int) -> None:
        super().__init__(latent)
        check_sizes(latent=latent, components=components)
        self.register_buffer("shares", torch.full((components,), 1 / components))  # pi
        self.register_buffer("means", torch.zeros(components, latent))  # mu
        self.register_buffer("factors", torch.zeros(components, latent, latent))  # L L^T = Sigma

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        *,
        components: int | None = None,
        seed: int = 0,
        tell: Tell | None = None,
    ) -> Self:
        whole, mean, width = scaled(check_codes(codes))
        if components is None:
            found = _chosen(whole, seed, tell)
        else:
            check_sizes(components=components)
            if components > len(whole):
                raise Refused(f"components = {components}, of {len(whole)} codes: ask for fewer.")
            found = _fitted(whole, components, seed)
        mixture = cls(whole.shape[1], len(found.weights_))
        factors = width.double().unsqueeze(1) * torch.linalg.cholesky(_tensor(found.covariances_))
        mixture.shares.copy_(_tensor(found.weights_))
        mixture.means.copy_(mean + width * _tensor(found.means_))
        mixture.factors.copy_(factors)
        mixture.radius.copy_(radius_of(codes))
        return mixture

    def draw(self, count: int, generator: Generator | None) -> Tensor:
        k = torch.multinomial(self.shares, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.latent, generator=generator)
        return self.means[k] + torch.einsum("nij,nj->ni", self.factors[k], noise)

    @property
    def sizes(self) -> dict[str, int]:
        return {"latent": self.latent, "components": len(self.shares)}

    @property
    def about(self) -> str:
        count = len(self.shares)
        return f"mixture of {count} Gaussians" if count > 1 else "one Gaussian"


def _chosen(codes: Tensor, seed: int, tell: Tell | None) -> Any:
    """The mixture under which codes that it was not fitted on are likeliest."""
    with seeded(seed):
        some, held_out = apart(codes)
    asked = held_out.double().numpy()
    best = _fitted(some, COMPONENTS[0], seed)
    misses = 0
    tried = [k for k in COMPONENTS[1:] if CODES_EACH * k <= len(some)]
    for place, components in enumerate(tried):
        if tell is not None:
            tell("numbers of components", place, len(tried))
        found = _fitted(some, components, seed)
        better = _is_above_noise(found.score_samples(asked) - best.score_samples(asked))
        misses = 0 if better else misses + 1
        best = found if better else best
        if misses == MISSES:
            break
    return best


def _is_above_noise(gain: np.ndarray) -> bool:
    """Whether the mean of gains (N,) is more than its standard error."""
    return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))


def _fitted(codes: Tensor, components: int, seed: int) -> Any:
    # What only a fit needs must not slow down every import.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    random = np.random.RandomState(np.random.MT19937(seed))  # which takes a seed of any size
    mixture = GaussianMixture(components, random_state=random, max_iter=200)
    with warnings.catch_warnings():
        # A fit that is stopped early is judged on held-out codes like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(codes.double().numpy())


def _tensor(array: Any) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float64)
