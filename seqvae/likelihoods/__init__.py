"""Likelihoods of pixels: a decoder's numbers -> p(x | z) over pictures."""

from .bernoulli import Bernoulli as Bernoulli
from .categorical import Categorical as Categorical
from .gaussian import Gaussian as Gaussian
