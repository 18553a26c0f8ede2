"""Priors: -> p(z)."""

from .fixed import Fixed as Fixed
from .normal import StandardNormal as StandardNormal
from .product import Product as Product
