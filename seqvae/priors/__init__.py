"""Priors: -> p(z)."""

from .fixed import Fixed as Fixed
from .mixture import GaussianMixture as GaussianMixture
from .normal import StandardNormal as StandardNormal
from .product import Product as Product
from .uniform_sphere import UniformSphere as UniformSphere
from .vamp import VampPrior as VampPrior
