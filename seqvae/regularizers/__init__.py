"""Regularisers: a pass through the model -> a penalty."""

from .free_bits import FreeBits as FreeBits
from .kl import KL as KL
from .mmd import MMD as MMD
