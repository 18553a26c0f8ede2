"""Attributes of items: pure functions of clips and sentences, by the codec that reads them."""

from ..codecs import Codec, MusicCodec
from .attribute import Attribute as Attribute
from .drums import DRUMMING as DRUMMING
from .likeness import contour_likeness as contour_likeness
from .likeness import rhythm_likeness as rhythm_likeness
from .likeness import word_likeness as word_likeness
from .melody import MELODY as MELODY
from .text import of_text as of_text


def attributes_of(codec: Codec) -> dict[str, Attribute]:
    """The attributes of a codec's items by name: of melody, of drums, of both, or of sentences.

    Of pictures there are none here.

    >>> from seqvae.codecs import DrumsCodec
    >>> list(attributes_of(DrumsCodec()))
    ['kick_density', 'hat_density', 'backbeat', 'swing']
    """
    found: tuple[Attribute, ...] = ()
    if isinstance(codec, MusicCodec):
        drums = {voice.drums for voice in codec.voices}
        found = (MELODY if False in drums else ()) + (DRUMMING if True in drums else ())
    elif codec.shape is None:
        found = of_text(codec)
    return {attribute.name: attribute for attribute in found}
