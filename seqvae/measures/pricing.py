"""A bound of -log p(x) in the units people compare: perplexity a token, a word; bits a byte.

Of pictures, bits a pixel.
"""

import math
from typing import Any, NamedTuple

from torch import Tensor

from ..codecs.codec import Codec
from ..data import Items
from ..metrics import perplexity
from ..tokens import UNK


class Bound(NamedTuple):
    """An upper bound of -log p(x), by name, of each of some items; nats (N,)."""

    name: str
    nll: Tensor
    item: Tensor


DENSITY = "a density of brightness is no probability of levels, and has no bits"


def prices(
    bound: Bound, items: Items, codec: Codec | None = None, *, density: bool = False
) -> dict[str, Any]:
    """Perplexity a token and, of text, a word; bits a byte where the text has its bytes.

    PPL = exp(NLL / (words + one end of sentence each)); bits a byte = NLL / ln 2 / (bytes of UTF-8
    + one end of line each), which does not depend on the vocabulary. A codec of words, or a text
    in which rare words were replaced, does not spell its sentences: there are no bytes to count.
    Of pictures bits a pixel (and channel) = NLL / ln 2 / (H W C), bits a dimension as they are
    called too; a `density` has none.
    """
    total = float(bound.nll.double().sum())
    rows = bound.item.tolist()
    tokens = int(items.lengths[bound.item.numpy()].sum())
    if codec is not None and codec.shape is not None:
        bits = {"why_no_bits_per_pixel": DENSITY} if density else {}
        each = None if density else total / math.log(2) / tokens
        return {"perplexity_from": bound.name, "bits_per_pixel": each, **bits}
    found: dict[str, Any] = {
        "perplexity_from": bound.name,
        "perplexity_per_token": perplexity(total, tokens),
    }
    if codec is None or not isinstance(codec.decode(items[rows[0]].tolist()), str):
        return found
    texts = [codec.decode(items[row].tolist()) for row in rows]
    words = sum(len(text.split()) + 1 for text in texts)
    found["perplexity_per_word"] = perplexity(total, words)
    unspelt = why_no_bytes(codec, items, rows, texts)
    if unspelt:
        return {**found, "bits_per_byte": None, "why_no_bits_per_byte": unspelt}
    size = sum(len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts)
    return {**found, "bits_per_byte": total / math.log(2) / size}


def why_no_bytes(codec: Codec, items: Items, rows: list[int], texts: list[str]) -> str | None:
    """Why the bytes of these texts are not what was predicted, or None."""
    if not codec.reversible:
        return "this codec does not spell what it does not know"
    if any("<unk>" in text.lower() for text in texts):
        return "words of this text were replaced by <unk>"
    if any(UNK in items[row] for row in rows):
        return "the codec lacks some of these tokens"
    return None
