"""What a model writes: its reconstructions beside the originals, its samples beside real items."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..codecs import Codec, WordCodec
from ..data import InMemory, Items, Rows, collate, in_batches, spread
from ..decoders.picture import PictureDecoder
from ..errors import Refused, check_sizes
from ..generate import Choose, Form, at_once, form_of, generate, greedy, sampler
from ..ngram import NGram
from ..randomness import seeded
from ..tokens import EOS, PAD, UNK
from ..vae import VAE
from .codes import Back, device_of, score_with
from .pictures import looked_at, sharpness

COUNTED = 20_000  # training items that the n-gram model learns from
SEARCHED = 2_000_000  # training items that copies are looked for among
NEVER = "padding, unknown and start tokens are never written"


class Written(NamedTuple):
    """Figures of samples, and the samples: ids with their EOS, unless they found no end."""

    figures: dict[str, Any]
    ids: list[list[int]]


@torch.no_grad()
def write_back(vae: VAE, codec: Codec, items: Items, rows: Rows, *, size: int = 64) -> Back:
    """These items, the shortest first, and what comes back of each."""
    if len(rows) == 0:
        raise Refused("no items to reconstruct: give at least one row.")
    vae.eval()
    longest = int(items.lengths[rows].max())
    form = _form(codec, items, rows, longest)
    places: list[Tensor] = []
    codes: list[Tensor] = []
    originals: list[list[int]] = []
    written: list[list[int]] = []
    for batch in in_batches(items, rows, size):
        there = batch.to(device_of(vae))
        z = vae.condition(vae.encoder(there).mode, there)
        places.append(batch.item)
        codes.append(z)
        originals += _trimmed(batch.x)
        written += _write(vae, [z], form, greedy)
    return Back(torch.cat(places).numpy(), originals, written, longest, torch.cat(codes))


def reconstruction(
    vae: VAE, codec: Codec, items: Items, rows: Rows, *, size: int = 64
) -> dict[str, Any]:
    """How much of these items comes back, greedily, from the means of their posteriors."""
    return agreement(codec, write_back(vae, codec, items, rows, size=size))


def agreement(codec: Codec, back: Back) -> dict[str, Any]:
    """How much of some items has come back.

    `exact_match` is a share of items; `token_accuracy` the share of places that agree, of the
    places of the longer of original and reconstruction, over all items, EOS counted. Text has
    corpus BLEU besides (Papineni et al., 2002; Post, 2018), which is 0 where no item has 4 words.
    An item with an unknown token cannot come back exactly: no UNK is ever written.
    """
    count = len(back.originals)
    how = f"greedy from the posterior mean, at most {back.longest} tokens, on {count:,} items"
    return {
        **_agreement(back.originals, back.written),
        **_bleu(codec, back.originals, back.written),
        "reconstruction_items": count,
        "reconstruction_decoding": f"{how}; {NEVER}",
    }


@torch.no_grad()
def nearest(
    vae: VAE, codec: Codec, items: Items, rows: Rows, train: Items, *, size: int = 64
) -> dict[str, Any]:
    """How much the training item whose code lies nearest has in common with each of these items.

    What looking up, instead of writing, would bring back: a reconstruction should be well above.
    """
    lessons = spread(len(train), COUNTED)
    z, originals = _coded(vae, items, rows, size)
    known, texts = _coded(vae, train, lessons, size)
    found = torch.cat(
        [torch.cdist(part, known).argmin(1) for part in torch.split(z, size)]
    ).tolist()
    looked_up = [texts[place] for place in found]
    figures = {**_agreement(originals, looked_up), **_bleu(codec, originals, looked_up)}
    wanted = ("token_accuracy", "bleu")
    named = {f"nearest_{name}": figures[name] for name in wanted if name in figures}
    return {**named, "nearest_among": len(lessons)}


def _coded(vae: VAE, items: Items, rows: Rows, size: int) -> tuple[Tensor, list[list[int]]]:
    """Codes (N, D) of items, the shortest first, and their ids."""
    vae.eval()
    codes: list[Tensor] = []
    ids: list[list[int]] = []
    for batch in in_batches(items, rows, size):
        codes.append(vae.encoder(batch.to(device_of(vae))).mode.cpu())
        ids += _trimmed(batch.x)
    return torch.cat(codes), ids


def _agreement(originals: Sequence[list[int]], written: Sequence[list[int]]) -> dict[str, Any]:
    pairs = list(zip(originals, written, strict=True))
    agreed = sum(x == y for a, b in pairs for x, y in zip(a, b, strict=False))
    return {
        "exact_match": sum(a == b for a, b in pairs) / len(pairs),
        "token_accuracy": agreed / sum(max(len(a), len(b)) for a, b in pairs),
    }


def _bleu(
    codec: Codec, originals: Sequence[list[int]], written: Sequence[list[int]]
) -> dict[str, Any]:
    """Corpus BLEU, 0 to 100, with the signature that says how; nothing for what is no text."""
    if not isinstance(codec.decode(originals[0]), str):
        return {}
    references, texts = (list(map(codec.decode, ids)) for ids in (originals, written))
    from sacrebleu.metrics.bleu import BLEU  # what only measures must not slow down every import

    # Words are tokens already. `force` only hushes a warning about text that looks so.
    bleu = BLEU(tokenize="none" if codec.kind == WordCodec.kind else "13a", force=True)
    score = bleu.corpus_score(texts, [references]).score
    return {"bleu": score, "bleu_signature": str(bleu.get_signature())}


def samples(
    vae: VAE,
    codec: Codec,
    held_out: Items,
    train: Items,
    *,
    count: int = 1000,
    seed: int = 0,
    language_model: VAE | None = None,
    size: int = 250,
) -> Written:
    """Write items from codes of the prior, and measure them beside equally many real ones.

    Every figure has an anchor: the same of held-out items, or of an n-gram model that learnt from
    real training items. `count` is lowered to the items there are of either. The draws depend on
    `seed` and `size`; which real items are taken depends on neither.

    `samples_nll` asks whether samples look like data, `samples_reverse_nll` whether the data look
    like samples, which a model that writes one good sentence does not pass (Zhao et al., 2018).
    Of pictures, which no n-gram model can read, copies are counted, and how sharp they are.

    Arguments:
        language_model: of latent 0 and the same codec; its likelihood is exact.
        size: codes written together.
    """
    count = min(count, len(held_out), len(train))
    check_sizes(count=count, size=size)
    real = _taken(held_out, count)
    longest = int(max(held_out.lengths.max(), train.lengths.max()))
    form = _form(codec, held_out, (0,), longest)
    ids, z, decoding = _draw(vae, form, train, count, seed, size)
    figures = {"samples": count, "samples_decoding": decoding, **_copies(ids, real, train)}
    if form.end is not None:
        figures["samples_ended"] = sum(EOS in written for written in ids) / count
    if codec.shape is not None:
        figures["sharpness_samples"] = sharpness(looked_at(vae.decoder, codec, z, ids))
        return Written(figures, ids)
    figures |= _counted(codec.vocab, ids, real, train)
    if language_model is not None:
        figures["samples_model_nll"] = neural_nll(language_model, ids)
        figures["samples_model_nll_held_out"] = neural_nll(language_model, real)
    for n in (1, 2, 3):
        figures |= {f"distinct_{n}": distinct(ids, n), f"distinct_{n}_real": distinct(real, n)}
    return Written(figures, ids)


def _draw(
    vae: VAE, form: Form, train: Items, count: int, seed: int, size: int
) -> tuple[list[list[int]], Tensor, str]:
    """The samples, their codes, and how they were made, for a reader."""
    vae.eval()
    device = device_of(vae)
    with seeded(seed):
        z = _labelled(vae, vae.prior().sample((count,)).to(device), train, size)
    choose = sampler(seed=seed, device=device)
    ids = _write(vae, torch.split(z, size), form, choose)
    labels = "" if vae.labeller is None else ", labels as the head tells them of training items"
    how = f"{count:,} codes from the prior, seed {seed}{labels}"
    if isinstance(vae.decoder, PictureDecoder):
        return ids, z, f"{how}; of every pixel the likeliest level"
    how += "; tokens drawn at temperature 1 without top-k or top-p"
    return ids, z, f"{how}, at most {form.length} an item; {NEVER}"


@torch.no_grad()
def _labelled(vae: VAE, z: Tensor, train: Items, size: int) -> Tensor:
    """Codes (N, D), with a label head behind each the likeliest label of a training item.

    So labels are as common among samples as among what they are held against.
    """
    if vae.labeller is None:
        return z
    rows = np.array_split(spread(len(train), len(z)), -(-len(z) // size))
    told = [vae.labeller(collate(train, part).to(z.device)).mode for part in rows]
    return torch.cat([z, torch.cat(told)], dim=1)


def _counted(
    vocab: int, ids: Sequence[list[int]], real: Sequence[list[int]], train: Items
) -> dict[str, Any]:
    """Nats a token by n-gram models: of what is written, and learnt from what is written."""
    lessons, few = _taken(train, COUNTED), _taken(train, len(ids))
    model = NGram(lessons, vocab)
    tokens = sum(map(len, real))
    return {
        "samples_nll": model.nll(ids),
        "samples_nll_held_out": model.nll(real),
        "samples_reverse_nll": NGram(ids, vocab).nll(real),
        "samples_reverse_nll_real": NGram(few, vocab).nll(real),
        "samples_unknown_held_out": sum(each.count(UNK) for each in real) / tokens,
        "samples_ngram": (
            f"Kneser-Ney, n-grams of order {model.order} over ids, from {len(lessons):,} training "
            f"items, in reverse from {len(ids):,} samples or training items; on {len(real):,} "
            "held-out items; the end token counts, unknown tokens are read but not counted"
        ),
    }


@torch.no_grad()
def neural_nll(language_model: VAE, ids: Sequence[list[int]], *, size: int = 64) -> float:
    """Nats a token by a model of latent 0, exactly; EOS counts, UNK is read but not counted."""
    if language_model.prior().event_shape[-1] != 0:
        raise Refused("a language model has latent = 0: only then is its likelihood exact.")
    order = sorted(ids, key=len)  # batches of equal lengths
    z = torch.zeros(len(ids), 0)
    _, nll = score_with(language_model, InMemory(order), torch.arange(len(ids)), z, size=size)
    assert nll is not None
    known = torch.tensor(list(chain(*order))) != UNK
    return float(nll[known].double().mean())


def distinct(sequences: Sequence[Sequence[int]], n: int) -> float:
    """Different n-grams / all n-grams, without EOS and unknown tokens   (Li et al., 2016).

    It falls with the number of sequences: compare only equally many.

    >>> distinct([[4, 5, 3], [4, 5, 6, 3]], 2)
    0.6666666666666666
    """
    grams: Counter[tuple[int, ...]] = Counter()
    for ids in sequences:
        words = [token for token in ids if token != EOS]
        grams.update(zip(*(words[start:] for start in range(n)), strict=False))
    kept = {gram: count for gram, count in grams.items() if UNK not in gram}
    return len(kept) / max(sum(kept.values()), 1)


def _copies(ids: Sequence[list[int]], real: Sequence[list[int]], train: Items) -> dict[str, Any]:
    """The share of samples, and of held-out items, that stand in the training set as they are."""
    searched = spread(len(train), SEARCHED)
    written, held_out = ([_key(each) for each in part] for part in (ids, real))
    # Of a training set of millions only what is looked for is kept.
    found = {*written, *held_out}.intersection(_key(train[int(row)]) for row in searched)
    return {
        "copied": sum(key in found for key in written) / len(written),
        "copied_real": sum(key in found for key in held_out) / len(held_out),
        "copied_among": len(searched),
    }


def _key(ids: Any) -> bytes:
    return np.asarray(ids, np.int32).tobytes()


def _taken(items: Items, count: int) -> list[list[int]]:
    return [items[int(row)].tolist() for row in spread(len(items), count)]


def _form(codec: Codec, items: Items, rows: Sequence[int] | Rows, longest: int) -> Form:
    """What is written: it ends as these items do, if the codec does not say how."""
    form = form_of(codec, longest)
    ends = int(items[int(rows[0])][-1]) == EOS
    return form if ends else form._replace(end=None)


def _write(vae: VAE, parts: Sequence[Tensor], form: Form, choose: Choose) -> list[list[int]]:
    """Codes, a part (N, D) at a time -> ids of every code, with EOS and without padding."""
    decoder: Any = vae.decoder
    if isinstance(decoder, PictureDecoder):
        return [ids for z in parts for ids in at_once(decoder, z).tolist()]
    written = (generate(decoder, z, choose=choose, **form._asdict()) for z in parts)
    return [ids for part in written for ids in _trimmed(part)]


def _trimmed(x: Tensor) -> Iterator[list[int]]:
    """Rows (N, T) without their padding."""
    return ([token for token in row if token != PAD] for row in x.tolist())
