"""A measurement of models whose figures are known: deaf, collapsed, good, and without a code."""

import math
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from small import LATENT, VOCAB, loud, make, same, vae
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from seqvae.data import InMemory, Order, batches, in_order, spread
from seqvae.decoders import LSTMDecoder
from seqvae.distributions import gaussian
from seqvae.encoders import EmptyEncoder, LSTMEncoder
from seqvae.errors import Refused
from seqvae.evaluate import Codes, Measured, encode_all, measure
from seqvae.measures.bounds import rounding, weigh
from seqvae.measures.listening import shuffled
from seqvae.objectives import Elbo
from seqvae.posteriors import DeltaPosterior, GaussianPosterior
from seqvae.priors import Product, StandardNormal
from seqvae.regularizers import KL
from seqvae.schedules import FAR, constant
from seqvae.training import AdamW, train
from seqvae.vae import VAE, Batch, Decoder, Encoder


def corpus(count: int = 60) -> InMemory:
    draw = np.random.default_rng(0)
    words = [draw.integers(4, VOCAB, int(draw.integers(2, 6))).tolist() for _ in range(count)]
    return InMemory([[*ids, 3] for ids in words])


ITEMS = corpus()
TOKENS = int(ITEMS.lengths.sum())


class Collapsed(Encoder):
    """Every item has the prior for a posterior."""

    def forward(self, batch: Batch) -> Distribution:
        zeros = torch.zeros(len(batch.x), LATENT)
        return gaussian(zeros, torch.ones_like(zeros))


class DeafDecoder(LSTMDecoder):
    """Writes what it writes whatever the code."""

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        return super().features(x, torch.zeros_like(z), step)


def delta_vae() -> VAE:
    return vae(encoder=loud(make(LSTMEncoder, posterior=DeltaPosterior(LATENT))))


def language_model() -> VAE:
    return VAE(EmptyEncoder(), StandardNormal(0), loud(make(LSTMDecoder, latent=0)))


@pytest.fixture(scope="module")
def good() -> VAE:
    """A model that was trained to reconstruct sixty sentences through narrow posteriors."""
    torch.manual_seed(0)
    encoder = make(LSTMEncoder, posterior=GaussianPosterior(8, sigma=0.3), hidden=24)
    decoder = make(LSTMDecoder, latent=8, hidden=24)
    model = VAE(encoder, StandardNormal(8), decoder)
    stream = batches(ITEMS, Order(ITEMS.lengths, 20))
    stepper = AdamW(model.parameters(), rate=0.02)
    for _ in islice(train(model, Elbo({}), stepper, stream), 250):
        pass
    return model


def figures(model: VAE, **options: Any) -> dict[str, Any]:
    return measure(model, ITEMS, **{"samples": 0, "fitted_items": 0, **options}).figures


def test_a_deaf_decoder_is_called_deaf_however_busy_the_encoder() -> None:
    model = vae(encoder=loud(make(LSTMEncoder), 5.0), decoder=loud(make(DeafDecoder)))
    found = figures(model)
    assert found["shuffle_delta_nll"] == pytest.approx(0.0, abs=1e-5)
    assert found["kl"] > 0.1 and found["active_units"] == LATENT


def test_a_collapsed_encoder_carries_nothing_however_sharp_the_decoders_ear() -> None:
    measured = measure(vae(encoder=Collapsed(), decoder=loud(make(LSTMDecoder))), ITEMS, samples=0)
    found = measured.figures
    assert found["kl"] == 0.0 and found["active_units"] == 0
    assert (
        measured.vectors["spectrum"] == [0.0] * LATENT
        and measured.vectors["kl_per_dimension"] == [0.0] * LATENT
    )
    assert abs(found["shuffle_delta_nll"]) < 3 * found["shuffle_standard_error"]


def test_a_good_model_needs_its_own_codes(good: VAE) -> None:
    found = figures(good)
    assert found["shuffle_delta_nll"] > 10 * found["shuffle_standard_error"] > 0
    assert found["active_units"] == 8 and found["kl"] > 5
    assert found["reconstruction"] < 0.5 * figures(vae())["reconstruction"]


def test_figures_of_an_autoencoder_are_those_of_its_decoder_at_the_means() -> None:
    model = delta_vae().eval()
    total, mus = 0.0, []
    for row in range(len(ITEMS)):
        (item,) = in_order(InMemory([ITEMS[row].tolist()]), 1)
        mus.append(model.encoder(item).mean)
        total -= model.decoder(mus[-1]).log_prob(item.x).item()
    measured = measure(model, ITEMS)
    assert measured.figures["reconstruction"] == pytest.approx(total / len(ITEMS), rel=1e-5)
    assert (measured.figures["items"], measured.figures["tokens"]) == (len(ITEMS), TOKENS)
    expected = torch.cat(mus).double().var(0).sort(descending=True).values
    same(torch.tensor(measured.vectors["spectrum"], dtype=torch.float64), expected.detach(), 1e-4)


def test_what_is_undefined_says_so_and_is_no_number() -> None:
    measured = measure(delta_vae(), ITEMS, samples=5, fitted_items=0)
    undefined = {"kl", "negative_elbo", "iw_nll", "perplexity_per_token"}
    assert not undefined & set(measured.figures)
    assert "kl_per_dimension" not in measured.vectors
    assert any("n/a" in note and "no density" in note for note in measured.notes)
    alone = measure(delta_vae(), InMemory([[4, 3], [4, 5, 3]]), samples=0)
    assert "shuffle_delta_nll" not in alone.figures
    assert any("same length" in note for note in alone.notes)


def test_a_prior_without_a_closed_form_has_a_rate_in_total_only() -> None:
    prior = Product(LATENT, family="StudentT", parameters={"df": 4.0})
    measured = measure(vae(prior=prior), ITEMS, samples=0)
    assert math.isfinite(measured.figures["kl"]) and measured.vectors["kl_per_dimension"] == []


def test_a_language_model_has_its_exact_likelihood_and_no_code() -> None:
    model = language_model()
    found = figures(model, samples=10)
    exact = -sum(model(batch).log_px.sum().item() for batch in in_order(ITEMS, 7))
    assert found["kl"] == 0.0
    assert found["negative_elbo"] == found["reconstruction"]
    assert found["negative_elbo"] == pytest.approx(exact / len(ITEMS), rel=1e-5)
    assert found["perplexity_per_token"] == pytest.approx(math.exp(exact / TOKENS), rel=1e-5)
    assert not {"active_units", "latent", "shuffle_delta_nll", "iw_nll"} & set(found)


def test_figures_add_up(good: VAE) -> None:
    measured = measure(good, ITEMS, samples=0)
    found = measured.figures
    assert found["negative_elbo"] == pytest.approx(found["reconstruction"] + found["kl"])
    assert sum(measured.vectors["kl_per_dimension"]) == pytest.approx(found["kl"], rel=1e-5)
    nats = found["negative_elbo"] * len(ITEMS)
    assert found["perplexity_per_token"] == pytest.approx(math.exp(nats / TOKENS), rel=1e-5)


def test_the_importance_weighted_bound_is_tighter_and_says_what_it_was_made_of(good: VAE) -> None:
    few, many = (figures(good, samples=samples, sample_items=30) for samples in (1, 200))
    assert many["iw_bound"] < many["iw_negative_elbo"] - 0.1
    assert many["iw_bound"] < few["iw_bound"]
    assert (many["iw_samples"], many["iw_items"]) == (200, 30)
    assert few["iw_effective_samples"] == pytest.approx(1.0)
    assert 1 < many["iw_effective_samples"] < 200


@pytest.mark.parametrize("at_once", [1, 20, 10_000])
def test_as_many_samples_are_drawn_as_asked_for_whatever_fits_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = vae()
    drawn: list[tuple[int, int]] = []
    original = VAE.log_weights

    def noting(self: VAE, batch: Batch, samples: int, *how: Any) -> Tensor:
        drawn.append((samples, len(batch.x)))
        return original(self, batch, samples, *how)

    monkeypatch.setattr(VAE, "log_weights", noting)
    found = weigh(model, in_order(ITEMS, 10), 13, at_once=at_once)
    assert sum(samples * items for samples, items in drawn) == 13 * len(ITEMS)
    assert all(samples * items <= at_once or samples == 1 for samples, items in drawn)
    assert sorted(found.item.tolist()) == list(range(len(ITEMS)))
    assert found.nll.isfinite().all() and (found.effective <= 13 + 1e-9).all()


def test_what_an_item_is_weighed_with_depends_on_its_batch_alone() -> None:
    """So that whoever weighs it, before or after others, finds the same."""
    model, parts = vae(), list(in_order(ITEMS, 10))
    whole = weigh(model, parts, 5, seed=3)
    last = weigh(model, parts[-1:], 5, seed=3)
    same(last.nll, whole.of(last.item).nll)
    assert not torch.equal(last.nll, weigh(model, parts[-1:], 5, seed=4).nll)


def test_bfloat16_rounds_the_decoder_and_nothing_else(good: VAE) -> None:
    """Its weights differ, by little; without a decoder's part they are the same bits."""
    parts = list(in_order(ITEMS, 16))
    exact, rounded = (weigh(good, parts, 50, bf16=bf16) for bf16 in (False, True))
    off = (exact.nll - rounded.nll).abs()
    assert 0 < float(off.max()) < 0.1 and float(off.mean()) < 0.02
    moved, error = rounding(lambda bf16: rounded if bf16 else exact)
    assert moved == pytest.approx(float((rounded.nll - exact.nll).mean()))
    assert 0 < error < float(off.max())
    deaf = vae(decoder=Untold())
    exact, rounded = (weigh(deaf, parts, 5, bf16=bf16) for bf16 in (False, True))
    assert torch.equal(exact.nll, rounded.nll)


class Untold(Decoder):
    """Every x is as likely: log p(x|z) = 0."""

    def forward(self, z: Tensor, step: int = FAR) -> Distribution:
        return Always(z.shape[:-1])


class Always(Distribution):
    arg_constraints: ClassVar[dict[str, Constraint]] = {}

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros(self.batch_shape)


@pytest.mark.parametrize(
    ("precision", "fast", "most", "taken"),
    [
        ("float32", True, 1.0, "float32"),
        ("auto", False, 1.0, "float32"),
        ("auto", True, 1.0, "bfloat16"),
        ("auto", True, -1.0, "float32"),
        ("bf16", False, -1.0, "bfloat16"),
    ],
)
def test_bfloat16_is_taken_unasked_where_it_is_fast_and_moves_nothing(
    good: VAE, precision: str, fast: bool, most: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqvae.evaluate.has_bf16", lambda device: fast)
    monkeypatch.setattr("seqvae.evaluate.MOST_MOVED", most)
    counted: dict[str, Any] = {"samples": 5, "sample_items": 20, "fitted_items": 0}
    found = measure(good, ITEMS, precision=precision, **counted)
    assert found.figures["weighed_in"] == taken
    checked = precision == "bf16" or (precision == "auto" and fast)
    assert ("weighed_rounding" in found.figures) == checked
    assert any(f"scored in {taken}" in note for note in found.notes) == checked


def test_a_precision_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="precision = 'half': one of auto, float32, bf16"):
        measure(vae(), ITEMS, precision="half")


def test_the_items_of_the_bound_are_spread_over_the_split() -> None:
    for count, items in ((60, 60), (7, 7), (600, 60)):
        assert figures(vae(), samples=2, sample_items=count)["iw_items"] == items
    assert figures(vae(), samples=2, sample_items=50, limit=9)["iw_items"] == 9


def test_only_the_items_asked_for_are_measured() -> None:
    found = figures(delta_vae(), limit=11)
    assert found["items"] == 11 and found["tokens"] == int(
        ITEMS.lengths[spread(len(ITEMS), 11)].sum()
    )


def test_figures_depend_on_the_seed_alone(good: VAE) -> None:
    first, again = figures(good, samples=3), figures(good, samples=3)
    assert first == again
    assert figures(good, samples=3, seed=1)["reconstruction"] != first["reconstruction"]
    model = delta_vae()
    for name, value in figures(model, size=4).items():
        assert value == pytest.approx(figures(model, size=60)[name], abs=1e-4), name


def test_nothing_is_corrupted_in_evaluation_and_nothing_is_left_to_learn_from() -> None:
    decoder = make(LSTMDecoder, word_dropout=1.0, dropout=0.9)
    model = vae(encoder=delta_vae().encoder, decoder=decoder).train()
    clean = vae(encoder=model.encoder, decoder=make(LSTMDecoder))
    clean.load_state_dict(model.state_dict())
    assert figures(model) == figures(clean)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_walk_keeps_every_items_figures_together() -> None:
    model = delta_vae()
    codes: Codes = encode_all(model, in_order(ITEMS, 7))
    assert sorted(codes.item.tolist()) == list(range(len(ITEMS)))
    for place, row in enumerate(codes.item.tolist()):
        (item,) = in_order(InMemory([ITEMS[row].tolist()]), 1)
        assert codes.length[place] == len(ITEMS[row])
        same(codes.mu[place], model.encoder(item).mean[0].detach())


def test_shuffled_codes_come_from_an_item_of_the_same_length() -> None:
    """With codes that say only the length, another's code of that length costs nothing."""

    class Lengths(Encoder):
        def forward(self, batch: Batch) -> Distribution:
            mu = batch.length.unsqueeze(-1).float().expand(-1, LATENT)
            return gaussian(mu, torch.full_like(mu, 1e-6))

    model = vae(encoder=Lengths(), decoder=loud(make(LSTMDecoder)))
    worse = shuffled(model, ITEMS, encode_all(model, in_order(ITEMS, 7))).worse
    assert len(worse) > 50
    same(worse, torch.zeros(len(worse)), 1e-3)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(Refused, match="no items"):
        measure(vae(), InMemory([]))


def test_rates_are_those_of_the_penalty(good: VAE) -> None:
    totals, count = 0.0, 0
    for batch in in_order(ITEMS, 60):
        _, report = Elbo({"kl": (KL(), constant)})(good.eval(), batch)
        totals, count = totals + report["kl"].item() * len(batch.x), count + len(batch.x)
    measured: Measured = measure(good, ITEMS, samples=0)
    assert measured.figures["kl"] == pytest.approx(totals / count, rel=1e-5)
