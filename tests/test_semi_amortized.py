"""Posteriors refined while training: how far they get, and that the encoder learns through it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from exact import ACROSS, Amiss, Linear, decoder_of, linear, vectors
from small import LATENT, batch, loud, make, same, vae
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from seqvae.decoders import LSTMDecoder, TransformerDecoder
from seqvae.distributions import gaussian, kl
from seqvae.encoders import EmptyEncoder, LSTMEncoder
from seqvae.errors import Refused
from seqvae.objectives import Elbo, SemiAmortized
from seqvae.posteriors import DeltaPosterior
from seqvae.priors import StandardNormal
from seqvae.regularizers import KL, MMD, FreeBits
from seqvae.schedules import constant
from seqvae.schedules import linear as warm_up
from seqvae.vae import VAE, Batch, Encoder

TERMS: Any = {"kl": (KL(), constant)}


class Beside(Encoder):
    """The best diagonal Gaussian of a linear decoder, beside it and wider by what it learns."""

    def __init__(self, decoder: Linear, shift: float, stretch: float) -> None:
        super().__init__()
        self.best = Amiss(decoder, 0.0, 1.0)
        self.shift = nn.Parameter(torch.tensor(shift, dtype=torch.float64))
        self.stretch = nn.Parameter(torch.tensor(stretch, dtype=torch.float64))

    def forward(self, batch: Batch) -> Distribution:
        q = self.best(batch)
        return gaussian(q.mean + self.shift * q.stddev, self.stretch * q.stddev)


def amiss(shift: float, stretch: float = 1.0, learned: bool = False) -> VAE:
    """A linear model whose encoder is so far beside the best; its width may be `learned`."""
    model = linear(ACROSS)
    encoder = Beside(decoder_of(linear(ACROSS)), shift, stretch)
    encoder.stretch.requires_grad_(learned)
    return VAE(encoder, model.prior, model.decoder)


def refined(objective: SemiAmortized, model: VAE, items: Batch) -> Any:
    q = model.encoder(items)
    return objective._refined(model, items, q, model.prior())[0]


def best(model: VAE, items: Batch) -> Any:
    return Amiss(decoder_of(model), 0.0, 1.0)(items)


@pytest.mark.parametrize("end_to_end", [True, False])
@pytest.mark.parametrize("refinements", [1, 2, 5])
def test_the_mean_approaches_the_best_by_one_minus_the_rate_a_step(
    refinements: int, end_to_end: bool
) -> None:
    """In widths of the true posterior the loss is |a|^2 / 2, so a <- (1 - rate) a, and noise."""
    model = amiss(0.9)
    items = vectors(model, 4000)
    objective = SemiAmortized(
        TERMS, refinements=refinements, learning_rate=0.3, end_to_end=end_to_end
    )
    q, goal = refined(objective, model, items), best(model, items)
    away = (q.mean - goal.mean) / goal.stddev
    error = away.std(0) / len(away) ** 0.5
    assert ((away.mean(0) - 0.9 * 0.7**refinements).abs() < 4.5 * error).all()
    same(q.stddev, goal.stddev, 1e-12)  # a width that does not learn is not refined


def test_a_width_that_learns_is_refined_too() -> None:
    model = amiss(0.3, 2.0, learned=True)
    items = vectors(model, 1000)
    steps = [SemiAmortized(TERMS, refinements=count) for count in (1, 3, 9)]
    model.requires_grad_(False)  # nor is any encoder that is frozen left as it is
    widths = [float(refined(step, model, items).stddev.mean().detach()) for step in steps]
    start = float(model.encoder(items).stddev.mean())
    goal = float(best(model, items).stddev.mean())
    assert start > widths[0] > widths[1] > widths[2] > 0.9 * goal


def test_a_gradient_is_clipped_so_that_no_item_moves_further_than_the_rate_times_five() -> None:
    model = amiss(1000.0)
    items = vectors(model, 50)
    objective = SemiAmortized(TERMS, refinements=1, learning_rate=0.1)
    before, after = model.encoder(items), refined(objective, model, items)
    same(
        ((after.mean - before.mean) / before.stddev).norm(dim=-1), torch.full((50,), 0.5).double()
    )


@pytest.mark.parametrize("end_to_end", [True, False])
def test_an_item_is_refined_as_it_would_be_alone(end_to_end: bool) -> None:
    """The noise is the same in a batch and in its parts, as none is drawn."""
    model = amiss(0.9)
    items = vectors(model, 6)
    objective = SemiAmortized(TERMS, end_to_end=end_to_end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Normal, "rsample", lambda q, sample_shape=(): q.mean)
        whole = refined(objective, model, items).mean
        alone = refined(objective, model, Batch(items.x[2:3], *items[1:])).mean
    same(whole[2:3], alone, 1e-9)


def check_slope(loss: Callable[[], Any], weight: Tensor, h: float, tolerance: float) -> None:
    """The weight's gradient, along itself, is the central difference of the loss."""
    assert weight.grad is not None
    length = float(weight.grad.norm())
    along = weight.grad / length
    values = []
    for move in (h, -2 * h, h):
        with torch.no_grad():
            weight += move * along
        values.append(float(loss().detach()))
    assert (values[0] - values[1]) / (2 * h) == pytest.approx(length, rel=tolerance)


def test_end_to_end_the_gradient_is_that_of_the_loss_through_all_steps() -> None:
    """Of encoder and decoder, against differences of the whole loss at the same draws."""
    model = amiss(0.9, 1.5, learned=True)
    items = vectors(model, 20)
    objective = SemiAmortized(TERMS, refinements=3)

    def loss() -> Any:
        torch.manual_seed(1)
        return objective(model, items)[0]

    loss().backward()
    for name in ("encoder.shift", "encoder.stretch", "decoder.weight"):
        check_slope(loss, model.get_parameter(name), 1e-5, 1e-6)


@pytest.mark.parametrize("kind", [LSTMDecoder, TransformerDecoder])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_through_networks_of_sequences_too(
    kind: Any, checkpointed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if checkpointed:  # scores in slices, made again on the way back, and again on the way of that
        monkeypatch.setattr("seqvae.distributions.SCORES_AT_ONCE", 64)
    model = loud(vae(decoder=make(kind)), 1.2)
    objective = SemiAmortized(TERMS, refinements=3)

    def loss() -> Any:
        torch.manual_seed(1)
        return objective(model, batch())[0]

    loss().backward()
    for name in ("encoder.parameters_of.weight", "decoder.embedding.weight"):
        check_slope(loss, model.get_parameter(name), 1e-2, 0.02)


def gradients(objective: Any, model: VAE) -> dict[str, Tensor]:
    torch.manual_seed(1)
    model.zero_grad()
    objective(model, batch())[0].backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_otherwise_the_encoder_learns_to_follow_and_the_decoder_at_the_last_posterior() -> None:
    model = loud(vae(), 2.0)
    objective = SemiAmortized(TERMS, end_to_end=False)
    found = gradients(objective, model)
    torch.manual_seed(1)
    model.zero_grad()
    q = model.encoder(batch())
    last, _ = objective._refined(model, batch(), q, model.prior())
    assert not last.mean.requires_grad
    z = last.rsample()
    (kl(q, last, z) - model.decoder(z).log_prob(batch().x)).mean().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        same(found[name], weight.grad, 1e-6)


@pytest.mark.parametrize("end_to_end", [True, False])
def test_refining_lowers_the_loss_and_says_by_how_much(end_to_end: bool) -> None:
    model = amiss(1.5, 1.5, learned=True)
    items = vectors(model, 2000)
    objective = SemiAmortized(TERMS, refinements=8, end_to_end=end_to_end)
    _, report = objective(model, items)
    plain = objective.eval()(model, items)[1]
    gain = float(plain["loss"] - report["loss"])
    assert gain > 1.0 and float(report["gain"]) == pytest.approx(gain, rel=0.1)
    assert float(report["moved"]) > 0.5
    assert not any(value.requires_grad for value in report.values())


def test_in_evaluation_it_is_the_elbo_of_the_encoders_own_posterior() -> None:
    model, elbo = vae(), Elbo(TERMS)
    objective = SemiAmortized(TERMS).eval()
    for step in (0, 7):
        torch.manual_seed(1)
        with torch.no_grad():
            loss, report = objective(model, batch(step=step))
        torch.manual_seed(1)
        theirs, expected = elbo(model, batch(step=step))
        same(loss, theirs.detach(), 1e-7)
        assert set(report) == set(expected)
        for name in expected:
            same(report[name], expected[name], 1e-6)


def test_it_descends_the_terms_at_their_weight() -> None:
    """Where the KL weighs nothing the posterior leaves the prior further behind."""
    schedule = partial(warm_up, steps=10)
    model = loud(vae(), 3.0)
    objective = SemiAmortized({"kl": (KL(), schedule)}, refinements=20, learning_rate=0.3)
    rates = []
    for step in (0, 10):
        torch.manual_seed(1)
        _, report = objective(model, batch(step=step))
        assert report["weight/kl"] == schedule(step)
        rates.append(float(report["kl"]))
    assert rates[0] > 2 * rates[1]
    assert not objective.settled(9) and objective.settled(10)


def test_an_update_reaches_every_penalty_and_a_checkpoint_holds_them() -> None:
    heard: list[Any] = []

    class Listening(KL):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("level", torch.zeros(()))

        def update(self, report: Any) -> None:
            heard.append(report)

    objective = SemiAmortized({"kl": (Listening(), constant)})
    objective.update({"kl": torch.tensor(1.0)})
    assert len(heard) == 1 and list(objective.penalties) == ["kl"]
    assert any(name.endswith("level") for name in objective.state_dict())


@pytest.mark.parametrize("end_to_end", [True, False])
@pytest.mark.parametrize("floor", ["dimension", "sentence", "batch_dimension"])
@pytest.mark.parametrize("count", [1, 4])
def test_it_goes_with_floors_and_penalties_on_samples_and_small_batches(
    end_to_end: bool, floor: Any, count: int
) -> None:
    terms: Any = {"kl": (FreeBits(nats=0.2, per=floor), constant), "mmd": (MMD(), constant)}
    model = vae()
    loss, _ = SemiAmortized(terms, end_to_end=end_to_end)(model, batch().part(0, count))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_code_of_no_dimensions_has_nothing_to_refine() -> None:
    parts = {"prior": StandardNormal(0), "decoder": make(LSTMDecoder, latent=0)}
    model = vae(encoder=EmptyEncoder(), **parts)
    loss, report = SemiAmortized(TERMS)(model, batch())
    assert loss == report["reconstruction"] and "gain" not in report


@pytest.mark.parametrize("training", [True, False])
def test_another_posterior_is_refused_with_the_cure(training: bool) -> None:
    model = vae(encoder=make(LSTMEncoder, posterior=DeltaPosterior(LATENT)))
    with pytest.raises(Refused, match=r"Delta.*GaussianPosterior"):
        SemiAmortized({}).train(training)(model, batch())


@pytest.mark.parametrize(
    "wrong", [{"refinements": 0}, {"learning_rate": 0.0}, {"learning_rate": 1.0}]
)
def test_steps_that_lead_nowhere_are_refused(wrong: Any) -> None:
    with pytest.raises(Refused, match=next(iter(wrong))):
        SemiAmortized(TERMS, **wrong)
