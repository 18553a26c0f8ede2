"""Measure a model on a corpus: what it costs, what its code carries, and whether it is read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .data import Items, collate, in_batches, in_order, spread
from .distributions import has_density, kl, kl_per_dimension
from .errors import Refused
from .metrics import (
    active_units,
    effective_samples,
    evidence,
    perplexity,
    shuffle_within,
    spectrum,
    standard_error,
)
from .randomness import seeded
from .vae import VAE, Batch

Tell = Callable[[str, int, int], None]  # what, done, of how many


@dataclass
class Codes:
    """A corpus walked once: per item, in the order of `item`; nats."""

    item: Tensor
    length: Tensor
    mu: Tensor
    z: Tensor
    reconstruction: Tensor
    rate: Tensor | None
    rates: Tensor | None = None


class Bound(NamedTuple):
    """An upper bound of -log p(x), by name, of each of some items; nats (N,)."""

    name: str
    nll: Tensor
    item: Tensor


@dataclass
class Measured:
    """The figures of a model on a split, with what they were measured on."""

    figures: dict[str, Any]
    spectrum: list[float] = field(default_factory=list)
    kl_per_dimension: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def device_of(vae: VAE) -> torch.device:
    """Where a model's weights are."""
    return next(iter(vae.parameters())).device


@torch.no_grad()
def encode_all(vae: VAE, batches: Iterable[Batch], *, seed: int = 0) -> Codes:
    """Encode every item, sample z once from its posterior and score the item under it."""
    vae.eval()
    with seeded(seed):
        return _encode_all(vae, batches)


def _encode_all(vae: VAE, batches: Iterable[Batch]) -> Codes:
    parts: list[tuple[Tensor | None, ...]] = []
    for batch in batches:
        out = vae(batch.to(device_of(vae)))
        defined = has_density(out.q) and has_density(out.p)
        total = kl(out.q, out.p, out.z) if defined else None
        each = _per_dimension(out.q, out.p) if defined else None
        row = (batch.item, batch.length, out.q.mean, out.z, -out.log_px, total, each)
        parts.append(tuple(None if part is None else part.cpu() for part in row))
    if not parts:
        raise Refused("there is nothing to evaluate: this split of the corpus has no items.")
    columns = [None if c[0] is None else torch.cat(c) for c in zip(*parts, strict=True)]
    return Codes(*columns)  # type: ignore[arg-type]


def _per_dimension(q: Any, p: Any) -> Tensor | None:
    try:
        return kl_per_dimension(q, p)
    except Refused:
        return None  # q or p is no product over dimensions: only the total is defined


@torch.no_grad()
def shuffled(vae: VAE, items: Items, codes: Codes, *, size: int = 64, seed: int = 0) -> Tensor:
    """How much worse each item is reconstructed from the code of another of equal length.

    NLL(x | z of another) - NLL(x | z), nats (M,), over items that have a partner. About 0: the
    decoder does not read its code. Lengths are kept equal so that knowing the length is no help.
    """
    order = shuffle_within(codes.length, seed)
    moved = (order != torch.arange(len(order))).nonzero().flatten()
    worse = torch.zeros(len(order))
    device = device_of(vae)
    for start in range(0, len(moved), size):
        places = moved[start : start + size]
        batch = collate(items, codes.item[places].numpy()).to(device)
        log_px = vae.decoder(codes.z[order[places]].to(device)).log_prob(batch.x)
        worse[places] = -log_px.cpu() - codes.reconstruction[places]
    return worse[moved]


@torch.no_grad()
def importance(
    vae: VAE,
    batches: Iterable[Batch],
    samples: int,
    *,
    seed: int = 0,
    at_once: int = 640,
    progress: Tell | None = None,
    total: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Importance-weighted -log p(x) and effective samples per item (N,), and the items.

    `at_once` sequences are scored together: samples times items.
    """
    vae.eval()
    nll, effective, items = [], [], []
    with seeded(seed):
        for batch in batches:
            log_w = _log_weights(vae, batch.to(device_of(vae)), samples, at_once)
            nll.append(-evidence(log_w))
            effective.append(effective_samples(log_w))
            items.append(batch.item)
            if progress is not None:
                progress("importance samples", sum(map(len, items)), total)
    return torch.cat(nll), torch.cat(effective), torch.cat(items)


def _log_weights(vae: VAE, batch: Batch, samples: int, at_once: int) -> Tensor:
    part = max(at_once // len(batch.x), 1)
    counts = [min(part, samples - done) for done in range(0, samples, part)]
    return torch.cat([vae.log_weights(batch, count) for count in counts]).cpu().double()


def measure(
    vae: VAE,
    items: Items,
    *,
    samples: int = 100,
    sample_items: int = 1000,
    limit: int | None = None,
    size: int = 64,
    seed: int = 0,
    words: Callable[[int], int] | None = None,
    progress: Tell | None = None,
) -> Measured:
    """All figures of a model on a split: nats a sentence unless named otherwise.

    Reconstruction at z ~ q, KL in total and per dimension, -ELBO (weight 1, no free bits),
    importance-weighted NLL with `samples` on at most `sample_items` items (0: not measured),
    perplexity, active units with their spectrum, and what shuffling the codes costs. `words`
    counts the words of an item, for perplexity per word (one end of sentence is added).
    """
    codes = encode_all(vae, in_order(items, size, limit), seed=seed)
    figures: dict[str, Any] = {
        "items": len(codes.item),
        "tokens": int(codes.length.sum()),
        "reconstruction": float(codes.reconstruction.double().mean()),
    }
    measured = Measured(figures)
    _rate(measured, codes)
    latent = codes.mu.shape[-1]
    if latent:
        measured.spectrum = spectrum(codes.mu).tolist()
        figures |= {"active_units": active_units(codes.mu), "latent": latent}
        _shuffle(measured, shuffled(vae, items, codes, size=size, seed=seed))
    if codes.rate is None:
        return measured
    bound = Bound(
        "-ELBO" if latent else "exact NLL", codes.reconstruction + codes.rate, codes.item
    )
    if samples and latent:
        rows = codes.item.sort().values.numpy()[spread(len(codes.item), sample_items)]
        batches = in_batches(items, rows, size)
        bound = _importance(
            measured,
            codes,
            importance(vae, batches, samples, seed=seed, progress=progress, total=len(rows)),
            samples,
        )
    _perplexity(measured, bound, items, words)
    return measured


def _importance(
    measured: Measured, codes: Codes, found: tuple[Tensor, Tensor, Tensor], samples: int
) -> Bound:
    nll, effective, rows = found
    measured.figures |= {
        "iw_nll": float(nll.mean()),
        "iw_standard_error": standard_error(nll),
        "iw_samples": samples,
        "iw_items": len(nll),
        "iw_effective_samples": float(effective.mean()),
        "iw_elbo_same_items": _negative_elbo_of(codes, rows),
    }
    return Bound("importance-weighted NLL", nll, rows)


def _negative_elbo_of(codes: Codes, rows: Tensor) -> float:
    assert codes.rate is not None
    place = {int(row): i for i, row in enumerate(codes.item.tolist())}
    at = torch.tensor([place[int(row)] for row in rows.tolist()])
    return float((codes.reconstruction + codes.rate)[at].double().mean())


def _rate(measured: Measured, codes: Codes) -> None:
    if codes.rate is None:
        measured.notes.append("KL, -ELBO and NLL: — (the posterior or the prior has no density)")
        return
    rate = float(codes.rate.double().mean())
    measured.figures["kl"] = rate
    measured.figures["negative_elbo"] = measured.figures["reconstruction"] + rate
    if codes.rates is not None:
        measured.kl_per_dimension = codes.rates.double().mean(0).tolist()


def _shuffle(measured: Measured, worse: Tensor) -> None:
    if len(worse) < 2:
        measured.notes.append("shuffled codes: — (no two items have the same length)")
        return
    measured.figures["shuffle_delta_nll"] = float(worse.double().mean())
    measured.figures["shuffle_standard_error"] = standard_error(worse)
    measured.figures["shuffle_items"] = len(worse)


def _perplexity(
    measured: Measured, bound: Bound, items: Items, words: Callable[[int], int] | None
) -> None:
    total = float(bound.nll.double().sum())
    tokens = int(items.lengths[bound.item.numpy()].sum())
    measured.figures["perplexity_from"] = f"{bound.name} of {len(bound.item):,} items"
    measured.figures["perplexity_per_token"] = perplexity(total, tokens)
    if words is not None:
        spoken = sum(words(int(row)) + 1 for row in bound.item.tolist())
        measured.figures["perplexity_per_word"] = perplexity(total, spoken)
