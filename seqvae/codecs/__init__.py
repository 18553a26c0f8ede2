"""Items as token ids and back; the export list is the list of kinds a folder may hold."""

from pathlib import Path
from typing import TypeVar

from ..errors import Refused
from .chorale import ChoraleCodec as ChoraleCodec
from .codec import Codec as Codec
from .codec import Encoded as Encoded
from .drums import DrumsCodec as DrumsCodec
from .folder import read_folder
from .groove import GrooveCodec as GrooveCodec
from .melody import MelodyCodec as MelodyCodec
from .music import MusicCodec as MusicCodec
from .music import VoicedCodec as VoicedCodec
from .pixels import PixelCodec as PixelCodec
from .polyphony import MultitrackCodec as MultitrackCodec
from .polyphony import PolyphonyCodec as PolyphonyCodec
from .text import SentencePieceCodec as SentencePieceCodec
from .text import TextCodec as TextCodec
from .text import WordCodec as WordCodec
from .trio import TrioCodec as TrioCodec

C = TypeVar("C", bound=Codec)


def kinds_of(base: type[C]) -> dict[str, type[C]]:
    """The exported codecs of a sort by their kind: the export list is the registry.

    >>> sorted(kinds_of(MusicCodec))
    ['chorale', 'drums', 'groove', 'melody', 'multitrack', 'polyphony', 'trio']
    """
    exported = [value for value in globals().values() if isinstance(value, type)]
    return {c.kind: c for c in exported if issubclass(c, base) and hasattr(c, "kind")}


def load_codec(folder: Path) -> Codec:
    """Open a saved codec of any kind. Raises `Refused` if it is damaged or of an unknown kind.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> WordCodec(["hello", "world"]).save(folder)
    >>> load_codec(folder).decode([4, 5, 3])
    'hello world'
    """
    # mypy takes no abstract class for a type; here it only sorts.
    kind, kinds = read_folder(folder).kind, kinds_of(Codec)  # type: ignore[type-abstract]
    if kind not in kinds:
        known = ", ".join(sorted(kinds))
        raise Refused(f"{folder}: unknown codec kind {kind!r}; known: {known}. Update seqvae.")
    return kinds[kind].load(folder)
