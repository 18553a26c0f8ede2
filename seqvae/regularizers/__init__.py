"""Regularisers: a pass through the model -> a penalty."""

from .adversarial import Adversarial as Adversarial
from .bag_of_words import BagOfWords as BagOfWords
from .capacity import Capacity as Capacity
from .free_bits import FreeBits as FreeBits
from .kl import KL as KL
from .mmd import MMD as MMD
from .rate_constraint import RateConstraint as RateConstraint
from .sliced_wasserstein import SlicedWasserstein as SlicedWasserstein
from .target_rate import TargetRate as TargetRate
