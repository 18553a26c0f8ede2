"""Posterior heads: an encoder's parameters -> q(z | x)."""

from .delta import DeltaPosterior as DeltaPosterior
from .gaussian import GaussianPosterior as GaussianPosterior
