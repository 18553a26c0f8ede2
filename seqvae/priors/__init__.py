"""Priors: -> p(z)."""

from .fixed import Fixed as Fixed
from .mixture import GaussianMixture as GaussianMixture
from .normal import StandardNormal as StandardNormal
from .product import Product as Product
from .ring import Ring as Ring
from .swiss_roll import SwissRoll as SwissRoll
from .uniform_sphere import UniformSphere as UniformSphere
from .vamp import VampPrior as VampPrior
