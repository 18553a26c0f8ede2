"""Regularisers: a pass through the model -> a penalty."""

from .adversarial import Adversarial as Adversarial
from .attribute_order import AttributeOrder as AttributeOrder
from .bag_of_words import BagOfWords as BagOfWords
from .capacity import Capacity as Capacity
from .cross_entropy import CrossEntropy as CrossEntropy
from .free_bits import FreeBits as FreeBits
from .kl import KL as KL
from .mmd import MMD as MMD
from .rate_constraint import RateConstraint as RateConstraint
from .sliced_wasserstein import SlicedWasserstein as SlicedWasserstein
from .target_rate import TargetRate as TargetRate
