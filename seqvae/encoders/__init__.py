"""Encoders: x -> q(z | x)."""

from .empty import EmptyEncoder as EmptyEncoder
from .lstm import LSTMEncoder as LSTMEncoder
from .transformer import TransformerEncoder as TransformerEncoder
