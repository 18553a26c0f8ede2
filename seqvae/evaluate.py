"""Measure a model on a corpus: what it costs, what its code carries, and whether it is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .codecs.codec import Codec
from .data import Items, Rows, in_batches, in_order, spread
from .distributions import has_density
from .errors import Refused
from .measures import aggregate, bounds, listening, pricing, writing
from .measures.bounds import Weighed
from .measures.codes import Codes as Codes
from .measures.codes import Tell as Tell
from .measures.codes import encode_all as encode_all
from .measures.retrieval import retrieval
from .metrics import bootstrap, repayment
from .vae import VAE
from .verdict import THRESHOLDS, verdict

NO_DENSITY = "the posterior or the prior has no density"
IW = "importance-weighted NLL"
NO_RATE = 1e-3  # nats up to which a baseline counts as without a code
LEAST_RATE = 0.1  # nats below which there is nothing to repay


@dataclass
class Measured:
    """Figures by name, those of many numbers apart, with sentences on what is undefined."""

    figures: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, list[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    samples: list[list[int]] = field(default_factory=list)  # token ids, for people to read

    def add(self, found: Mapping[str, Any]) -> None:
        """Lists go to the vectors, everything else is a figure."""
        for name, value in found.items():
            (self.vectors if isinstance(value, list) else self.figures)[name] = value


def measure(
    vae: VAE,
    items: Items,
    *,
    samples: int = 100,
    sample_items: int | None = 1000,
    fitted_items: int = 200,
    mixture_items: int | None = 10_000,
    written: int = 1000,
    limit: int | None = None,
    size: int = 64,
    seed: int = 0,
    codec: Codec | None = None,
    train: Items | None = None,
    baseline: VAE | None = None,
    noise: bool = False,
    progress: Tell | None = None,
) -> Measured:
    """All figures of a model on a split: nats a sentence unless named otherwise.

    Arguments:
        samples: of the importance-weighted bound, on at most `sample_items` items; 0: none.
        fitted_items: of these, so many also under a Gaussian fitted to each; 0: none.
        mixture_items: at most, for mutual information, whose cost grows with their square.
        written: items reconstructed and sentences sampled, where there is a `codec`; 0: none.
        limit: of items measured at all, evenly spread; None: every one.
        size: items a batch.
        train: what the model was trained on, to see what samples copy.
        baseline: a language model, the same decoder without a code. It gives the repayment.
        noise: also feed the decoder independent noise in place of its code.

    Raises `Refused` for a split without items, or a baseline that has a code.
    """
    rows = spread(len(items), limit)
    codes = encode_all(
        vae, in_order(items, size, limit), seed=seed, progress=progress, total=len(rows)
    )
    task = _Task(vae, items, codes, size=size, seed=seed, progress=progress)
    task.cost()
    if codes.latent:
        task.look_at_codes(mixture_items)
        task.listen(noise)
        task.retrieve()
    if baseline is not None:
        task.repay(encode_all(baseline, in_order(items, size, limit), seed=seed))
    bound = task.bound(samples, sample_items, fitted_items)
    if bound is not None:
        task.measured.add(pricing.prices(bound, items, codec))
    if codec is not None and written:
        task.write(codec, written, train, baseline if _has_no_code(baseline) else None)
    return task.judge()


class _Task:
    """A model, a split and its codes, and what has been measured of them so far."""

    def __init__(
        self,
        vae: VAE,
        items: Items,
        codes: Codes,
        *,
        size: int,
        seed: int,
        progress: Tell | None,
    ) -> None:
        self.vae, self.items, self.codes = vae, items, codes
        self.size, self.seed, self.progress = size, seed, progress
        counts = {"items": len(codes.item), "tokens": int(codes.length.sum())}
        self.measured = Measured(counts)
        self.rows = codes.item.sort().values.numpy()

    def cost(self) -> None:
        """Reconstruction, KL and -ELBO."""
        reconstruction = _mean(self.codes.reconstruction)
        self.measured.figures["reconstruction"] = reconstruction
        if self.codes.rate is None:
            self._note(f"KL and -ELBO: n/a ({NO_DENSITY})")
            return
        rate = _mean(self.codes.rate)
        self.measured.figures |= {"kl": rate, "negative_elbo": reconstruction + rate}
        self.measured.vectors["kl_per_dimension"] = aggregate.kl_per_dimension(self.codes)

    def look_at_codes(self, mixture_items: int | None) -> None:
        """Active units, moments, information: what the encoder has put into the codes."""
        self.measured.add(aggregate.units(self.codes))
        self.measured.add(aggregate.moments(self.codes))
        part = aggregate.part_of(self.codes, mixture_items)
        self.measured.add(aggregate.information(part, self.progress))

    def listen(self, noise: bool) -> None:
        """Whether the decoder reads its code, and where in the sequence."""
        heard = listening.shuffled(
            self.vae, self.items, self.codes, size=self.size, seed=self.seed
        )
        if len(heard.worse) < 2:
            self._note("z-shuffle ΔNLL: n/a (no two items have the same length)")
        else:
            self.measured.add(listening.cost(heard, "shuffle"))
            if heard.by_token is not None:
                length = self.codes.length[heard.places]
                self.measured.add(listening.where(heard.by_token, length, "gain"))
        if noise:
            fed = listening.fed_noise(
                self.vae, self.items, self.codes, size=self.size, seed=self.seed
            )
            self.measured.add(listening.cost(fed, "noise"))

    def retrieve(self) -> None:
        """Whether codes that lie near have the same label, where items have labels."""
        labels = [self.items.label(row) for row in self.codes.item.tolist()]
        if all(label is not None for label in labels):
            self.measured.add(retrieval(self.codes.mu, torch.tensor(labels)))

    def repay(self, without: Codes) -> None:
        """Repayment against a language model, every sentence paired with itself."""
        if without.rate is None or _mean(without.rate) > NO_RATE:
            raise Refused(
                "the baseline has a code of its own: a repayment is measured against a model "
                "without one. Train it with latent = 0, or with the encoder NoiseEncoder."
            )
        nll, codes = without.reconstruction, self.codes
        self.measured.figures["baseline_nll"] = _mean(nll)
        if not codes.latent:
            return
        if codes.tokens is not None and without.tokens is not None:
            saved = without.tokens - codes.tokens
            self.measured.add(listening.where(saved, codes.length, "saved"))
        if codes.rate is None or _mean(codes.rate) < LEAST_RATE:
            why = NO_DENSITY if codes.rate is None else f"a rate under {LEAST_RATE} nats"
            self._note(f"repayment: n/a ({why})")
            return
        each = torch.stack([nll, codes.reconstruction, codes.rate], dim=1).double()
        low, high = bootstrap(each, lambda means: repayment(*means.unbind(-1)), seed=self.seed)
        share = float(repayment(*each.mean(0)))
        self.measured.add({"repayment": share, "repayment_low": low, "repayment_high": high})

    def bound(
        self, samples: int, sample_items: int | None, fitted_items: int
    ) -> pricing.Bound | None:
        """The tightest bound of -log p(x) that can be trusted, all of them among the figures."""
        codes = self.codes
        if not codes.latent:
            return pricing.Bound("exact NLL", codes.reconstruction, codes.item)
        found = list(self._weighed(samples, sample_items, fitted_items)) if samples else []
        for name, weighed in found:
            if weighed.converged:
                return self._of_all(name, weighed)
            self._note(
                f"{name}: n/a (only {_mean(weighed.effective):.1f} of {samples} samples count, "
                f"under {bounds.LEAST_SHARE:.0%}); at most {_mean(weighed.nll):.2f}"
            )
        if codes.rate is None:
            return None
        return pricing.Bound("-ELBO", codes.reconstruction + codes.rate, codes.item)

    def _of_all(self, name: str, weighed: Weighed) -> pricing.Bound:
        """The bound of every item, from the gap of those that were weighed."""
        codes = self.codes
        if codes.rate is None or len(weighed.item) == len(codes.item):
            return pricing.Bound(name, weighed.nll, weighed.item)
        elbo = codes.reconstruction + codes.rate
        nll, error = bounds.spread_over(weighed, codes.item, elbo)
        self.measured.add({"nll": _mean(nll), "nll_standard_error": error, "nll_from": name})
        return pricing.Bound(name, nll, codes.item)

    def _weighed(
        self, samples: int, sample_items: int | None, fitted_items: int
    ) -> Iterator[tuple[str, Weighed]]:
        """The bound under the encoder's posteriors, and under fitted ones on some of the items."""
        rows = self.rows[spread(len(self.rows), sample_items)]
        own = None
        if self.codes.rate is None:
            self._note(f"{IW}: n/a ({NO_DENSITY})")
        else:
            own = self._weigh(rows, samples, fitted=False)
            self.measured.add(bounds.figures(own, "iw"))
            yield IW, own
        if fitted_items and has_density(self.codes.p):
            some = rows[spread(len(rows), fitted_items)]
            fitted = self._weigh(some, samples, fitted=True)
            self.measured.add(bounds.figures(fitted, "fitted"))
            self.measured.add(bounds.gaps(fitted, own))
            yield f"{IW} under fitted posteriors", fitted

    def _weigh(self, rows: Rows, samples: int, *, fitted: bool) -> Weighed:
        return bounds.weigh(
            self.vae,
            in_batches(self.items, rows, self.size),
            samples,
            seed=self.seed,
            fitted=fitted,
            progress=self.progress,
            total=len(rows),
        )

    def write(
        self, codec: Codec, count: int, train: Items | None, language_model: VAE | None
    ) -> None:
        """What comes back from the codes, and what is written from the prior."""
        if self.codes.latent:
            rows = self.rows[spread(len(self.rows), count)]
            self.measured.add(writing.reconstruction(self.vae, codec, self.items, rows))
        if train is None:
            return
        drawn = writing.samples(
            self.vae,
            codec,
            self.items,
            train,
            count=count,
            seed=self.seed,
            language_model=language_model,
        )
        self.measured.add(drawn.figures)
        self.measured.samples = drawn.ids

    def judge(self) -> Measured:
        """The figures, with the verdict as the last of the notes."""
        found = verdict(self.measured.figures)
        if found is not None:
            self.measured.figures["verdict"] = found.name
            self._note(f"Verdict: {found.name}. {found.sentence}")
            self._note(f"Thresholds: {THRESHOLDS}.")
        return self.measured

    def _note(self, sentence: str) -> None:
        self.measured.notes.append(sentence)


def _has_no_code(model: VAE | None) -> bool:
    return model is not None and model.prior().event_shape[-1] == 0


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
