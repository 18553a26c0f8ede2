"""Items that stand one after the other in a source: their hashes, and which are unusable.

They are kept by column: what is done with each of them alone costs more than the tokenizer does.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqvae.codecs import TextCodec

Hashes = NDArray[np.uint64]

ODD_SPACES = (  # white space but for " ", as `str.split` has it
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


@dataclass
class Lines:
    """Some items that stand one after the other, by column."""

    texts: list[str]
    labels: list[str | None] | None  # None: nobody asked for labels
    faults: Mapping[int, str]  # place -> why this item is unusable
    known: dict[int, Hashes] = field(default_factory=dict, repr=False)  # seed -> hashes

    def part(self, start: int, end: int) -> "Lines":
        """Those from place `start` up to, without, `end`."""
        faults = {place - start: why for place, why in self.faults.items() if start <= place < end}
        labels = None if self.labels is None else self.labels[start:end]
        known = {seed: keys[start:end] for seed, keys in self.known.items()}
        return Lines(self.texts[start:end], labels, faults, known)

    def hashes(self, seed: int) -> Hashes:
        """The `line_hash` of each, usable or not, (N,); found once."""
        if seed not in self.known:
            self.known[seed] = line_hashes(self.texts, seed)
        return self.known[seed]


def line_hash(text: str, seed: int) -> int:
    """64 bits that decide a line's split: equal for lines that differ only in their spaces.

    >>> line_hash("a  b", 0) == line_hash("a b", 0) != line_hash("a b", 1)
    True
    """
    return int(line_hashes([text], seed)[0])


def line_hashes(texts: Sequence[str], seed: int) -> Hashes:
    """The `line_hash` of each, (N,); of many at once it costs half of that."""
    begun = hashlib.blake2b(digest_size=8, key=b"%d" % seed)

    def digest(words: str) -> bytes:
        hashed = begun.copy()
        hashed.update(words.encode(errors="surrogatepass"))
        return hashed.digest()

    digests = b"".join(map(digest, _one_space(texts)))
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _one_space(texts: Sequence[str]) -> Sequence[str]:
    """Texts with one space between their words, and none around them.

    >>> _one_space(["a b", "c"]), _one_space(["a \\t b", " c"])
    (['a b', 'c'], ['a b', 'c'])
    """
    joined = " ".join(filter(None, texts))
    if joined == joined.strip() and not any(space in joined for space in ("  ", *ODD_SPACES)):
        return texts
    return [" ".join(text.split()) for text in texts]


def faults_of(lines: Lines, codec: type[TextCodec]) -> dict[int, str]:
    """Why items are unusable before they are encoded: place -> reason, in order of places."""
    texts, labels = lines.texts, lines.labels
    # A fault is a character that stands somewhere, or that none stands there: all at once first.
    sound = not lines.faults and all(texts) and codec.fault("\n".join(texts)) is None
    if sound and None not in (labels or ()):
        return {}
    found = [lines.faults.get(place) or codec.fault(text) for place, text in enumerate(texts)]
    if labels is not None:
        found = [
            "no label" if why is None and label is None else why
            for why, label in zip(found, labels, strict=True)
        ]
    return {place: why for place, why in enumerate(found) if why is not None}
