"""Objectives: (model, batch) -> the loss to descend, and what to report of it."""

from .elbo import Elbo as Elbo
from .elbo import InfoVAE as InfoVAE
from .iwae import IWAE as IWAE
from .semi_amortized import SemiAmortized as SemiAmortized
