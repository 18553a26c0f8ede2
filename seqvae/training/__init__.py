"""Training: an iterator over optimiser steps, and what it steps with."""

from .loop import train as train
from .optimizers import SGD as SGD
from .optimizers import AdamW as AdamW
