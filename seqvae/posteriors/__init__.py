"""Posterior heads: an encoder's parameters -> q(z | x)."""

from .batch_norm import BatchNormPosterior as BatchNormPosterior
from .bounded import BoundedPosterior as BoundedPosterior
from .delta import DeltaPosterior as DeltaPosterior
from .gaussian import GaussianPosterior as GaussianPosterior
from .von_mises_fisher import VonMisesFisherPosterior as VonMisesFisherPosterior
