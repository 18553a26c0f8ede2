"""Attributes of sentences, as their codec counts; what their labels say, a corpus says."""

import math
from functools import partial

from ..codecs import Codec, TextCodec
from .attribute import Attribute


def of_text(codec: Codec) -> tuple[Attribute, ...]:
    """`length`: the tokens of a sentence, its end not counted; none if a model wrote none.

    What a model writes may be no text that its codec reads, as a byte that ends strings: NaN.
    """
    return (Attribute("length", "tokens", partial(_length, codec)),)


def _length(codec: Codec, text: str) -> float:
    fault = codec.fault(text) if isinstance(codec, TextCodec) else None
    if fault is not None:
        return 0.0 if fault == "blank" else math.nan
    return float(len(codec.encode(text).ids) - 1)
