"""Encoders: x -> q(z | x)."""

from .barwise import BarwiseEncoder as BarwiseEncoder
from .convolutional import ConvEncoder as ConvEncoder
from .dense import DenseEncoder as DenseEncoder
from .empty import EmptyEncoder as EmptyEncoder
from .hierarchical import HierarchicalEncoder as HierarchicalEncoder
from .lstm import LSTMEncoder as LSTMEncoder
from .noise import NoiseEncoder as NoiseEncoder
from .timed import TimedEncoder as TimedEncoder
from .transformer import TransformerEncoder as TransformerEncoder
from .window import WindowEncoder as WindowEncoder
