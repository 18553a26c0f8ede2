"""Decoders: z -> p(x | z)."""

from .lstm import LSTMDecoder as LSTMDecoder
from .transformer import TransformerDecoder as TransformerDecoder
from .window import WindowDecoder as WindowDecoder
