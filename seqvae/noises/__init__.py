"""Noises: what an encoder reads is corrupted, in training only, while the target stays whole."""

from .denoising import Denoising as Denoising
from .words import Words as Words
