"""Items as token ids and back; the export list is the list of kinds a folder may hold."""

from pathlib import Path

from ..errors import Refused
from .codec import Codec as Codec
from .codec import Encoded as Encoded
from .drums import DrumsCodec as DrumsCodec
from .folder import read_folder
from .melody import MelodyCodec as MelodyCodec
from .music import MusicCodec as MusicCodec
from .text import SentencePieceCodec as SentencePieceCodec
from .text import TextCodec as TextCodec
from .text import WordCodec as WordCodec
from .trio import TrioCodec as TrioCodec


def load_codec(folder: Path) -> Codec:
    """Open a saved codec of any kind. Raises `Refused` if it is damaged or of an unknown kind.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> WordCodec(["hello", "world"]).save(folder)
    >>> load_codec(folder).decode([4, 5, 3])
    'hello world'
    """
    kind = read_folder(folder).kind
    classes = [value for value in globals().values() if isinstance(value, type)]
    kinds = {c.kind: c for c in classes if issubclass(c, Codec) and hasattr(c, "kind")}
    if kind not in kinds:
        known = ", ".join(sorted(kinds))
        raise Refused(f"{folder}: unknown codec kind {kind!r}; known: {known}. Update seqvae.")
    return kinds[kind].load(folder)
