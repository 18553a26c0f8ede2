"""Measure a model on a corpus: what it costs, what its code carries, and whether it is read."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor

from .codecs import Codec, MusicCodec, PolyphonyCodec, VoicedCodec
from .data import Items, Rows, in_batches, in_order, spread
from .decoders.picture import PictureDecoder
from .distributions import has_density
from .errors import Refused
from .likelihoods import Gaussian
from .measures import aggregate, bounds, listening, pricing, writing
from .measures.bounds import Weighed
from .measures.codes import Codes as Codes
from .measures.codes import Tell as Tell
from .measures.codes import device_of
from .measures.codes import encode_all as encode_all
from .measures.events import events
from .measures.labelling import labelling
from .measures.match import match
from .measures.music import in_bits, music
from .measures.pictures import pictures
from .measures.retrieval import retrieval
from .measures.structure import copies, structure
from .measures.style import style
from .metrics import bootstrap, repayment
from .processes import is_first, told
from .tokens import EOS
from .training.loop import has_bf16
from .vae import VAE, Decoder
from .verdict import THRESHOLDS, verdict

NO_DENSITY = "the posterior or the prior has no density"
NO_SUPPORT = "the prior gives some codes no probability"
NO_RATE = 1e-3  # nats up to which a baseline counts as without a code
LEAST_RATE = 0.1  # nats below which there is nothing to repay
PRECISIONS = ("auto", "float32", "bf16")  # of the decoder, for importance samples
CHECKED = 64  # items weighed in both
MOST_MOVED = 0.02  # nats by which the bound may differ for bfloat16 to be taken unasked
COPIED_FROM = 20_000  # training windows of music among which runs are looked for


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
    baseline: VAE | Codes | None = None,
    noise: bool = False,
    precision: str = "float32",
    progress: Tell | None = None,
) -> Measured:
    """All figures of a model on a split: nats an item unless named otherwise.

    Of several processes (`seqvae.processes`) each weighs its share of the items; all else is the
    first one's, and what the others return are its bounds alone.

    Arguments:
        samples: of the importance-weighted bound, on at most `sample_items` items; 0: none.
        fitted_items: of these, so many also under a Gaussian fitted to each; 0: none.
        mixture_items: at most, for mutual information and retrieval by label, whose cost grows
            with their square.
        written: items reconstructed, and as many sampled, where there is a `codec`; 0: none.
        limit: of items measured at all, evenly spread; None: every one.
        size: items a batch.
        train: what the model was trained on, to see what samples copy.
        baseline: a language model, the same decoder without a code. It gives the repayment. Or
            what `without_code` has found these items to cost one, for who measures them often.
        noise: also feed the decoder independent noise in place of its code.
        precision: in which the decoder scores importance samples, "float32" or "bf16"; "auto" is
            the latter where the processor is faster with it and the bound of some items, weighed
            in both, stays within 0.02 nats. By how much it is moved is among the figures.

    Raises `Refused` for a split without items, a baseline that has a code, or a precision that is
    none of these.
    """
    if precision not in PRECISIONS:
        raise Refused(f"precision = {precision!r}: one of {', '.join(PRECISIONS)}.")
    total = len(spread(len(items), limit))
    without = (
        without_code(baseline, items, limit=limit, size=size, seed=seed)
        if isinstance(baseline, VAE)
        else baseline
    )
    batches = in_order(items, size, limit)
    codes = encode_all(vae, batches, seed=seed, progress=progress, total=total)
    task = _Task(
        vae, items, codes, codec, size=size, seed=seed, precision=precision, progress=progress
    )
    task.cost()
    # Before all that the first process does alone, so that none waits for it.
    bound = task.bound(samples, sample_items, fitted_items)
    if not is_first():
        return task.measured
    task.tell_labels()
    if codes.latent:
        task.look_at_codes(mixture_items)
        task.listen(noise)
        task.retrieve(mixture_items)
    if without is not None:
        task.repay(without)
    if bound is not None and codes.tokens is not None:
        density = _is_density(vae.decoder)
        task.measured.add(pricing.prices(bound, items, codec, density=density))
    if codec is not None and written:
        task.write_back(codec, written, train)
        task.sample(codec, written, train, baseline if _has_no_code(baseline) else None)
    return task.judge()


class _Task:
    """A model, a split and its codes, and what has been measured of them so far."""

    def __init__(
        self,
        vae: VAE,
        items: Items,
        codes: Codes,
        codec: Codec | None,
        *,
        size: int,
        seed: int,
        precision: str,
        progress: Tell | None,
    ) -> None:
        self.vae, self.items, self.codes, self.codec = vae, items, codes, codec
        self.size, self.seed, self.progress = size, seed, progress
        self.precision = precision
        self.bf16: bool | None = None  # not decided yet
        self.why_no_rate = NO_DENSITY
        if codes.rate is not None and not bool(codes.rate.isfinite().all()):
            self.codes = codes = replace(codes, rate=None, rates=None)
            self.why_no_rate = NO_SUPPORT
        counts = {"items": len(codes.item), "tokens": int(codes.length.sum())}
        self.measured = Measured(counts | ({"noun": codec.noun} if codec is not None else {}))
        self.rows = codes.item.sort().values.numpy()

    def cost(self) -> None:
        """Reconstruction, KL and -ELBO."""
        reconstruction = _mean(self.codes.reconstruction)
        self.measured.figures["reconstruction"] = reconstruction
        if self.codes.rate is None:
            self._note(f"KL and -ELBO: n/a ({self.why_no_rate})")
            return
        rate = _mean(self.codes.rate)
        self.measured.figures |= {"kl": rate, "negative_elbo": reconstruction + rate}
        self.measured.vectors["kl_per_dimension"] = aggregate.kl_per_dimension(self.codes)

    def tell_labels(self) -> None:
        """What the label head tells, if there is one, and what no likelihood of it counts."""
        y, nll = self.codes.y, self.codes.label_nll
        if y is None:
            return
        self._note(
            f"likelihoods are given the label head's y(x), which no KL counts: a label of "
            f"{y.shape[-1]} that is certain says {math.log(y.shape[-1]):.2f} nats at most, "
            "probabilities in between may say more"
        )
        if nll is None:
            self._note("label accuracy: n/a (these items have no labels)")
            return
        labels = [self.items.label(row) for row in self.codes.item.tolist()]
        self.measured.add(labelling(y, nll, torch.tensor(labels)))

    def look_at_codes(self, mixture_items: int | None) -> None:
        """Active units, moments, information: what the encoder has put into the codes."""
        self.measured.add(aggregate.units(self.codes))
        self.measured.add(aggregate.moments(self.codes))
        part = aggregate.part_of(self.codes, mixture_items)
        self.measured.add(aggregate.information(part, self.progress))
        self.measured.add(match(part, seed=self.seed))

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
                self.where(heard.by_token, length, "gain")
        if noise:
            fed = listening.fed_noise(
                self.vae, self.items, self.codes, size=self.size, seed=self.seed
            )
            self.measured.add(listening.cost(fed, "noise"))

    def where(self, gain: Tensor, length: Tensor, name: str) -> None:
        """Where in a sequence z helps; windows of music have no token that ends them."""
        ends = int(self.items[int(self.rows[0])][-1]) == EOS
        self.measured.add(listening.where(gain, length, name, ends=ends))

    def retrieve(self, at_most: int | None) -> None:
        """Whether codes that lie near have the same label, where items have labels."""
        some = aggregate.part_of(self.codes, at_most)
        labels = [self.items.label(row) for row in some.item.tolist()]
        if all(label is not None for label in labels):
            self.measured.add(retrieval(some.mu, torch.tensor(labels)))

    def repay(self, without: Codes) -> None:
        """Repayment against a language model, every item paired with itself."""
        nll, codes = without.reconstruction, self.codes
        assert torch.equal(without.item, codes.item), "every item is paired with itself"
        self.measured.figures["baseline_nll"] = _mean(nll)
        if not codes.latent:
            return
        if codes.tokens is not None and without.tokens is not None:
            saved = without.tokens - codes.tokens
            self.where(saved, codes.length, "saved")
        if codes.rate is None or _mean(codes.rate) < LEAST_RATE:
            why = self.why_no_rate if codes.rate is None else f"a rate under {LEAST_RATE} nats"
            self._note(f"repayment: n/a ({why})")
            return
        each = torch.stack([nll, codes.reconstruction, codes.rate], dim=1).double()
        low, high = bootstrap(each, lambda means: repayment(*means.unbind(-1)), seed=self.seed)
        share = float(repayment(*each.mean(0)))
        self.measured.add({"repayment": share, "repayment_low": low, "repayment_high": high})
        beyond = codes.reconstruction.double() + codes.rate.double() - nll.double()
        low, high = bootstrap(beyond, seed=self.seed)
        self.measured.add({"price": _mean(beyond), "price_low": low, "price_high": high})

    def bound(
        self, samples: int, sample_items: int | None, fitted_items: int
    ) -> pricing.Bound | None:
        """The tightest bound of -log p(x) that can be trusted, all of them among the figures."""
        codes = self.codes
        if not codes.latent:
            what = "exact NLL" if codes.y is None else "NLL given the label head's y(x)"
            name = f"{what} of {len(codes.item):,} items"
            return pricing.Bound(name, codes.reconstruction, codes.item)
        own, fitted = self._weighed(samples, sample_items, fitted_items)
        for name, weighed in ((bounds.NLL, own), (bounds.FITTED, fitted)):
            if weighed is not None and not weighed.converged:
                counting = f"{_mean(weighed.effective):.1f} of {samples} samples count"
                at_most = f"at most {_mean(weighed.nll):.2f}"
                self._note(f"{name.rstrip(',')}: n/a (only {counting}); {at_most}")
        found = bounds.tightest(own, fitted)
        if found is None:
            name = f"-ELBO of {len(codes.item):,} items"
            return None if codes.rate is None else pricing.Bound(name, *self._elbo())
        return self._of_all(*found)

    def _elbo(self) -> tuple[Tensor, Tensor]:
        """-ELBO of every item, of which there must be one, and the items."""
        assert self.codes.rate is not None
        return self.codes.reconstruction + self.codes.rate, self.codes.item

    def _of_all(self, name: str, nll: Tensor, item: Tensor) -> pricing.Bound:
        """The bound of every item, from the gap of those that have one."""
        name = f"{name} of {len(item):,} items"
        if self.codes.rate is None or len(item) == len(self.codes.item):
            return pricing.Bound(name, nll, item)
        elbo, everyone = self._elbo()
        all_of_them, error = bounds.carry_over(nll, item, elbo, everyone)
        self.measured.add(
            {"nll": _mean(all_of_them), "nll_standard_error": error, "nll_from": name}
        )
        return pricing.Bound(f"{name}, carried over", all_of_them, everyone)

    def _weighed(
        self, samples: int, sample_items: int | None, fitted_items: int
    ) -> tuple[Weighed | None, Weighed | None]:
        """Bounds under the encoder's posteriors, and under fitted ones on some of the items."""
        rows = self.rows[spread(len(self.rows), sample_items)]
        own = fitted = None
        if samples and self.codes.rate is not None:
            own = self._weigh(rows, samples, fitted=False)
            self.measured.add(bounds.figures(own, "iw"))
        elif samples:
            self._note(f"{bounds.NLL}: n/a ({self.why_no_rate})")
        if samples and fitted_items and self._can_fit():
            some = rows[spread(len(rows), fitted_items)]
            fitted = self._weigh(some, samples, fitted=True)
            self.measured.add(bounds.figures(fitted, "fitted"))
            self.measured.add(bounds.gaps(fitted, own))
        return own, fitted

    def _can_fit(self) -> bool:
        """Whether the prior gives every code a density, as a Gaussian posterior needs it to."""
        p = self.codes.p
        if not has_density(p):
            return False
        far = 1000 * (1 + self.codes.z.abs()).to(device_of(self.vae))
        with torch.no_grad():
            return bool(p.log_prob(far).isfinite().all())

    def _weigh(self, rows: Rows, samples: int, *, fitted: bool) -> Weighed:
        weighing = partial(self._weighing, samples=samples, fitted=fitted)
        if self.bf16 is None:
            some = rows[spread(len(rows), CHECKED)]
            self.bf16 = self._is_rounded(lambda bf16: weighing(some, bf16=bf16))
        return weighing(rows, bf16=self.bf16, progress=self.progress)

    def _weighing(self, rows: Rows, *, progress: Tell | None = None, **how: Any) -> Weighed:
        # A GPU has no cache to stay within, and would idle.
        few = self.size if device_of(self.vae).type == "cuda" else bounds.TOGETHER
        batches = in_batches(self.items, rows, min(self.size, few))
        return bounds.weigh(
            self.vae, batches, seed=self.seed, progress=progress, total=len(rows), **how
        )

    def _is_rounded(self, weighing: Callable[[bool], Weighed]) -> bool:
        """Whether importance samples are scored in bfloat16; said, with what that moves."""
        device = device_of(self.vae)
        if self.precision == "float32" or (
            self.precision == "auto" and not told(lambda: has_bf16(device))
        ):
            self.measured.add({"weighed_in": "float32"})
            return False
        moved, error = bounds.rounding(weighing)
        taken = self.precision == "bf16" or abs(moved) <= MOST_MOVED
        name = "bfloat16" if taken else "float32"
        self.measured.add(
            {"weighed_in": name, "weighed_rounding": moved, "weighed_rounding_error": error}
        )
        self._note(
            f"importance samples are scored in {name}: bfloat16 moves the bound by {moved:+.4f} ± "
            f"{error:.4f} nats (the mean of some items weighed in both)"
        )
        return taken

    def write_back(self, codec: Codec, count: int, train: Items | None) -> None:
        """What comes back from the codes; of music also from none, where its figures begin."""
        if not (self.codes.latent or isinstance(codec, MusicCodec)):
            return
        rows = self.rows[spread(len(self.rows), count)]
        back = writing.write_back(self.vae, codec, self.items, rows)
        if self.codes.latent:
            self.measured.add(writing.agreement(codec, back))
            if train is not None:
                self.measured.add(writing.nearest(self.vae, codec, self.items, rows, train))
            if codec.shape is not None:
                self.measured.add(pictures(self.vae.decoder, codec, back))
        if isinstance(codec, PolyphonyCodec):
            self.measured.add(events(codec, self.codes, back))
        if isinstance(codec, VoicedCodec) and not isinstance(self.vae.decoder, PictureDecoder):
            self.measured.add(music(self.vae, codec, self.codes, back, seed=self.seed))

    def sample(
        self, codec: Codec, count: int, train: Items | None, language_model: VAE | None
    ) -> None:
        """What is written from the prior."""
        if train is None:
            self._note("samples: n/a (the corpus has no training split to hold them against)")
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
        if isinstance(codec, MusicCodec):
            self.hear(codec, train)

    def hear(self, codec: MusicCodec, train: Items) -> None:
        """What is written from the prior as music: its style, its bars, and what it copies."""
        rows = self.rows[spread(len(self.rows), len(self.measured.samples))]
        lessons = spread(len(train), COPIED_FROM)
        written = [codec.decode(ids) for ids in self.measured.samples]
        real, known = (
            [codec.decode(items[int(row)].tolist()) for row in taken]
            for items, taken in ((self.items, rows), (train, lessons))
        )
        self.measured.add(style(written, real, known))
        self.measured.add(structure(written, real))
        self.measured.add(copies(written, real, known))

    def judge(self) -> Measured:
        """The figures, with the verdict as the last of the notes."""
        self.measured.add(in_bits(self.codec, self.measured.figures))
        found = verdict(self.measured.figures)
        if found is not None:
            self.measured.figures["verdict"] = found.name
            self._note(f"Verdict: {found.name}. {found.sentence}")
            self._note(f"Thresholds: {THRESHOLDS}.")
        return self.measured

    def _note(self, sentence: str) -> None:
        self.measured.notes.append(sentence)


def without_code(
    baseline: VAE, items: Items, *, limit: int | None = None, size: int = 64, seed: int = 0
) -> Codes:
    """What the items cost a baseline. Raises `Refused` where it has a code of its own."""
    codes = encode_all(baseline, in_order(items, size, limit), seed=seed)
    if codes.rate is None or not _mean(codes.rate) <= NO_RATE:
        raise Refused(
            "the baseline has a code of its own: a repayment is measured against a model without "
            "one. Train it with latent = 0, or with encoder.kind = NoiseEncoder and a "
            "GaussianPosterior of learned width."
        )
    return codes


def _is_density(decoder: Decoder) -> bool:
    """Whether p(x|z) is a density, whose nats depend on what x is counted in."""
    return isinstance(decoder, PictureDecoder) and isinstance(decoder.likelihood, Gaussian)


def _has_no_code(model: VAE | Codes | None) -> TypeGuard[VAE]:
    return isinstance(model, VAE) and model.prior().event_shape[-1] == 0


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
