"""A corpus walked once: the posterior, a code and the cost of every item, for all measures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data import Items, Rows, collate
from ..distributions import has_density, kl, kl_per_dimension
from ..errors import Refused
from ..randomness import seeded
from ..regularizers.cross_entropy import cross_entropy
from ..vae import VAE, Batch, beside

Tell = Callable[[str, int, int], None]  # what, done, of how many


@dataclass
class Codes:
    """Per item, in the order of `item`; nats, on the CPU. `q` are batches of posteriors."""

    item: Tensor
    length: Tensor
    mu: Tensor
    z: Tensor  # one draw from q, the one that `reconstruction` is for
    reconstruction: Tensor
    rate: Tensor | None
    rates: Tensor | None
    tokens: Tensor | None  # -log p of every token, item after item; None where x has no tokens
    q: list[Distribution]
    p: Distribution
    y: Tensor | None = None  # probabilities (N, K) of the label head, where there is one
    label_nll: Tensor | None = None  # -log y(x) of the label, where items have one

    @property
    def latent(self) -> int:
        return self.z.shape[-1]

    @property
    def read(self) -> Tensor:
        """What the decoder reads (N, D + K): z, and behind it the label's probabilities."""
        return self.z if self.y is None else torch.cat([self.z, self.y], dim=-1)


class Back(NamedTuple):
    """Items by row, and what is written greedily from the means of their posteriors, as ids.

    `codes` (N, D) are those means, with a label's probabilities behind them where there are any.
    """

    rows: Rows
    originals: list[list[int]]
    written: list[list[int]]
    longest: int
    codes: Tensor


def device_of(vae: VAE) -> torch.device:
    """Where a model's weights are."""
    return next(iter(vae.parameters())).device


@torch.no_grad()
def encode_all(
    vae: VAE,
    batches: Iterable[Batch],
    *,
    seed: int = 0,
    progress: Tell | None = None,
    total: int = 0,
) -> Codes:
    """Encode every item, sample z once from its posterior and score the item under it."""
    vae.eval()
    parts: list[dict[str, Tensor | None]] = []
    posteriors: list[Distribution] = []
    done = 0
    with seeded(seed):
        for batch in batches:
            q, found = _encode(vae, batch.to(device_of(vae)))
            posteriors.append(q)
            parts.append(found)
            done += len(batch.x)
            if progress is not None:
                progress("encoded", done, total)
    if not parts:
        raise Refused("there is nothing to evaluate: this split of the corpus has no items.")
    columns: Any = {name: _together([part[name] for part in parts]) for name in parts[0]}
    return Codes(**columns, q=posteriors, p=vae.prior())


def _encode(vae: VAE, batch: Batch) -> tuple[Distribution, dict[str, Tensor | None]]:
    q, p = vae.encoder(batch), vae.prior()
    z, y = q.rsample(), vae.label(batch)
    nll, tokens = score(vae.decoder(beside(z, y)), batch)
    defined = has_density(q) and has_density(p)
    return q, {
        "item": batch.item,
        "length": batch.length,
        "mu": q.mean,
        "z": z,
        "reconstruction": nll,
        "rate": kl(q, p, z) if defined else None,
        "rates": _per_dimension(q, p) if defined else None,
        "tokens": tokens,
        "y": None if y is None else y.mean,
        "label_nll": None if y is None or batch.label is None else cross_entropy(y, batch.label),
    }


def _per_dimension(q: Distribution, p: Distribution) -> Tensor | None:
    try:
        return kl_per_dimension(q, p)
    except Refused:
        return None  # q or p is no product over dimensions: only the total is defined


def score(px: Distribution, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """-log p(x|z) of every item (B,), and of every token (sum of lengths,) where x has them."""
    if not hasattr(px, "token_log_prob"):
        return -px.log_prob(batch.x), None
    each = -px.token_log_prob(batch.x)
    here = torch.arange(each.shape[1], device=each.device) < batch.length.unsqueeze(1)
    return each.sum(-1), each[here]


@torch.no_grad()
def score_with(
    vae: VAE, items: Items, rows: Tensor, z: Tensor, *, size: int = 64
) -> tuple[Tensor, Tensor | None]:
    """-log p(x|z) of items `rows` (M,) under codes z (M, D): per item, and per token in a row.

    The label that a head finds stays each item's own.
    """
    vae.eval()
    device, nll, tokens = device_of(vae), [], []
    for start in range(0, len(rows), size):
        batch = collate(items, rows[start : start + size].numpy()).to(device)
        read = vae.condition(z[start : start + size].to(device), batch)
        each, by_token = score(vae.decoder(read), batch)
        nll.append(each.cpu())
        tokens.append(by_token)
    return (torch.cat(nll), _together(tokens)) if nll else (torch.zeros(0), None)


def _together(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part.cpu() for part in parts if part is not None]
    return torch.cat(there) if len(there) == len(parts) else None
