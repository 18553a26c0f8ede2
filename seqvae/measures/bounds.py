"""Bounds of -log p(x) by importance weights, with the encoder's posteriors or fitted ones."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..infer import infer
from ..metrics import effective_samples, evidence, evidence_of, standard_error
from ..processes import collected, count, place
from ..randomness import seed_of, seeded
from ..vae import VAE, Batch
from .codes import Tell, device_of

LEAST_SHARE = 0.05  # of the samples must count, or the estimate is none
LEAST = 5  # of them, however few there are: one sample always counts
NLL = "importance-weighted NLL"
FITTED = f"{NLL}, posteriors fitted,"
FITTED_ELBO = "-ELBO, posteriors fitted,"
TOGETHER = 16  # items a batch: of nearly equal length, and what is made of them in a cache
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # how the bound tightens, at these k


class Weighed(NamedTuple):
    """-log p(x) of items, bounded from above with K samples z ~ q an item; nats (N,)."""

    item: Tensor
    elbo: Tensor  # the mean log-weight: the bound at one sample, K times averaged
    nll: Tensor  # at all K samples
    effective: Tensor  # how many of them count
    counts: list[int]
    curve: Tensor  # (len(counts), N): the bound at fewer samples

    @property
    def samples(self) -> int:
        return self.counts[-1]

    def of(self, item: Tensor) -> "Weighed":
        """The same of some of its items."""
        at = _places(self.item, item)
        parts = (self.elbo[at], self.nll[at], self.effective[at])
        return Weighed(item, *parts, self.counts, self.curve[:, at])

    @property
    def share(self) -> float:
        """The mean share of samples that count."""
        return float(self.effective.mean()) / self.samples

    @property
    def converged(self) -> bool:
        """Whether enough samples count for the bound to be taken for an estimate."""
        return self.share >= LEAST_SHARE and self.share * self.samples >= LEAST


def weigh(
    vae: VAE,
    batches: Iterable[Batch],
    samples: int,
    *,
    seed: int = 0,
    fitted: bool = False,
    at_once: int = 640,
    bf16: bool = False,
    progress: Tell | None = None,
    total: int = 0,
) -> Weighed:
    """Importance weights of every item under its posterior, or under one `fitted` to it.

    Several processes deal the batches out among them, and each gets all that comes of it. What is
    drawn for a batch is a function of (seed, its first item), whoever weighs it.

    Arguments:
        at_once: so many sequences are scored together: samples times items.
        bf16: the decoder multiplies in bfloat16. Posteriors, their fitting, log q, log p(z) and
            sums stay what they are.
    """
    vae.eval()
    counts = [fewer for fewer in COUNTS if fewer < samples] + [samples]
    own: list[tuple[int, list[Any]]] = []
    done = 0
    for number, batch in enumerate(batches):
        if number % count() == place():
            with seeded(seed_of(seed, int(batch.item[0]))):
                here = batch.to(device_of(vae))
                log_w = _log_weights(vae, here, samples, at_once, fitted, bf16)
            own.append((number, [each.tolist() for each in (batch.item, *_told(log_w, counts))]))
        done += len(batch.x)
        if progress is not None:
            progress("fitted posteriors" if fitted else "importance samples", done, total)
    # A process has every n-th batch: they go back into one row.
    parts = [part for _, part in sorted(each for made in collected(own) for each in made)]
    item, *found = (list(chain.from_iterable(column)) for column in zip(*parts, strict=True))
    elbo, nll, effective, curves = (torch.tensor(each, dtype=torch.float64) for each in found)
    return Weighed(torch.tensor(item), elbo, nll, effective, counts, curves.T)


def _told(log_w: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
    """What is kept of log-weights (K, B): columns of `Weighed`, items first."""
    curve = torch.stack([-evidence_of(log_w, fewer) for fewer in counts])
    return -log_w.mean(0), -evidence(log_w), effective_samples(log_w), curve.T


def rounding(weighing: Callable[[bool], Weighed]) -> tuple[float, float]:
    """By how much bfloat16 moves the bound: the mean over items and its standard error, nats.

    `weighing` weighs some items with or without it, with the same noise.
    """
    exact, rounded = (weighing(bf16).nll for bf16 in (False, True))
    return float((rounded - exact).mean()), standard_error(rounded - exact)


def _log_weights(
    vae: VAE, batch: Batch, samples: int, at_once: int, fitted: bool, bf16: bool
) -> Tensor:
    with torch.no_grad():
        q = vae.encoder(batch)
    if fitted:
        q = infer(vae, batch, q)
    part = max(at_once // len(batch.x), 1)
    with torch.no_grad():
        drawn = [vae.log_weights(batch, some, q, bf16) for some in _parts(samples, part)]
    return torch.cat(drawn).cpu().double()


def _parts(total: int, part: int) -> Iterator[int]:
    return (min(part, total - done) for done in range(0, total, part))


def figures(weighed: Weighed, name: str) -> dict[str, Any]:
    """The bounds as figures, their names beginning with `name`."""
    return {
        f"{name}_nll": float(weighed.nll.mean()) if weighed.converged else None,
        f"{name}_bound": float(weighed.nll.mean()),
        f"{name}_standard_error": standard_error(weighed.nll),
        f"{name}_negative_elbo": float(weighed.elbo.mean()),
        f"{name}_samples": weighed.samples,
        f"{name}_items": len(weighed.nll),
        f"{name}_effective_samples": float(weighed.effective.mean()),
        f"{name}_convergence": convergence(weighed.counts, weighed.curve),
    }


def convergence(counts: Sequence[int], curve: Tensor) -> dict[str, float]:
    """The mean bound at every number of samples, from that of every item (len(counts), N)."""
    return {str(count): mean for count, mean in zip(counts, curve.mean(1).tolist(), strict=True)}


def gaps(fitted: Weighed, own: Weighed | None) -> dict[str, Any]:
    """On the same items: what the encoder misses of the best Gaussian, and what that one misses.

    Amortisation gap: -ELBO at q(z|x) minus -ELBO at the fitted posterior. Gap of the family: that
    -ELBO minus the importance-weighted NLL, where it is an estimate   (Cremer et al., 2018).
    """
    family = float((fitted.elbo - fitted.nll).mean())
    found: dict[str, Any] = {"family_gap": family} if fitted.converged else {}
    if own is None:
        return found
    same = own.of(fitted.item)
    return {
        **found,
        "amortised_negative_elbo": float(same.elbo.mean()),
        "amortised_nll": float(same.nll.mean()) if same.converged else None,
        "amortised_effective_samples": float(same.effective.mean()),
        "amortisation_gap": float((same.elbo - fitted.elbo).mean()),
        "amortised_convergence": convergence(same.counts, same.curve),
    }


def _places(among: Tensor, rows: Tensor) -> list[int]:
    """Where these rows stand among others."""
    place = {row: i for i, row in enumerate(among.tolist())}
    return [place[row] for row in rows.tolist()]


def tightest(own: Weighed | None, fitted: Weighed | None) -> tuple[str, Tensor, Tensor] | None:
    """The lowest bound that can be trusted: its name, its values and their items.

    Where the encoder's and the fitted posteriors' agree within their errors on the same items,
    the encoder's is taken, which more items have. An ELBO is always a bound.
    """
    own = own if own is not None and own.converged else None
    if fitted is None:
        return None if own is None else (NLL, own.nll, own.item)
    name, nll = (FITTED, fitted.nll) if fitted.converged else (FITTED_ELBO, fitted.elbo)
    if own is not None:
        beyond = own.of(fitted.item).nll - nll
        if not float(beyond.mean()) > 2 * standard_error(beyond):
            return NLL, own.nll, own.item
    return name, nll, fitted.item


def carry_over(nll: Tensor, item: Tensor, elbo: Tensor, everyone: Tensor) -> tuple[Tensor, float]:
    """A bound of some items -> that of all: -log p(x) of each (N,), and its error.

    Sentences differ by tens of nats, their gaps between -ELBO and bound by few: the mean gap of
    some items is known far better than their mean NLL. So every item gets its own -ELBO less that
    gap, and the error is the standard error of the gap   (difference estimator, Cochran, 1977,
    section 7.3): how far the mean over *these* N items may be off, not over all sentences.

    Arguments:
        nll: of some items (M,), nats, and which they are, `item`.
        elbo: -ELBO of all (N,), nats, and which they are, `everyone`.
    """
    gap = elbo.double()[_places(everyone, item)] - nll
    unseen = 1 - len(gap) / len(everyone)
    return elbo.double() - gap.mean(), standard_error(gap) * unseen**0.5
