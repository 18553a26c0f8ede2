"""Attributes of sentences, as their codec counts; what their labels say, a corpus says."""

from ..codecs import Codec
from .attribute import Attribute


def of_text(codec: Codec) -> tuple[Attribute, ...]:
    """`length`: the tokens of a sentence, its end not counted."""
    return (Attribute("length", "tokens", lambda text: float(len(codec.encode(text).ids) - 1)),)
