"""Decoders: z -> p(x | z)."""

from .deconvolutional import DeconvDecoder as DeconvDecoder
from .dense import DenseDecoder as DenseDecoder
from .hierarchical import HierarchicalDecoder as HierarchicalDecoder
from .lstm import LSTMDecoder as LSTMDecoder
from .pixel_cnn import PixelCNNDecoder as PixelCNNDecoder
from .timed import TimedDecoder as TimedDecoder
from .transformer import TransformerDecoder as TransformerDecoder
from .voiced import VoicedDecoder as VoicedDecoder
from .window import WindowDecoder as WindowDecoder
