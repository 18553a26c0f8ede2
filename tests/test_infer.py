"""Posteriors fitted to each item, where the best one is known; and what a fit leaves alone."""

import math
from typing import Any, ClassVar

import pytest
import torch
from exact import (
    ACROSS,
    ALONG,
    SHIFT,
    STRETCH,
    Amiss,
    bits,
    decoder_of,
    full,
    linear,
    strings,
    vectors,
)
from small import batch, loud, make, same, vae
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.transforms import AffineTransform

from seqvae.data import collate
from seqvae.decoders import LSTMDecoder
from seqvae.distributions import Delta, gaussian
from seqvae.errors import Refused
from seqvae.infer import infer
from seqvae.priors import Fixed
from seqvae.vae import VAE, Batch, Decoder


@pytest.mark.parametrize("weight", [ACROSS, ALONG])
def test_it_finds_the_nearest_product_of_gaussians(weight: list[list[float]]) -> None:
    """From a posterior 0.3 widths beside it and 1.3 times as wide.

    Means are exact, as samples come in antithetic pairs; widths are as sure as the samples of
    the last steps: by 64 pairs within 3 %.
    """
    model = linear(weight)
    items = vectors(model, 50)
    best = linear(weight, shift=0.0, stretch=1.0).encoder(items)
    found = infer(model, items, model.encoder(items), steps=150, pairs=64)
    assert float(((found.mean - best.mean) / best.stddev).abs().max()) < 1e-4
    same(found.stddev / best.stddev, torch.ones_like(best.stddev), 0.03)
    truth = decoder_of(model).posterior(items.x)
    missed = float(kl_divergence(full(best), truth).mean())
    assert float(kl_divergence(full(found), truth).mean()) == pytest.approx(missed, abs=1e-3)


def test_as_it_is_used_it_ends_near_the_best_and_above_it() -> None:
    """60 steps of one pair: under 0.02 nats a dimension too many, far less than it gained."""
    model = linear(ACROSS)
    items = vectors(model, 300)
    truth = decoder_of(model).posterior(items.x)
    q = model.encoder(items)
    left = kl_divergence(full(infer(model, items, q)), truth) / 2
    begun = kl_divergence(full(q), truth) / 2
    assert float(left.min()) >= 0.0
    assert float(left.mean()) < 0.02 < 0.1 < float(begun.mean())
    assert float(begun.mean()) == pytest.approx(
        (STRETCH**2 + SHIFT**2 - 1) / 2 - math.log(STRETCH)
    )


@pytest.mark.parametrize(("shift", "stretch"), [(3.0, 0.3), (-3.0, 3.0)])
def test_it_finds_the_way_from_afar(shift: float, stretch: float) -> None:
    model = linear(ACROSS, shift, stretch)
    items = vectors(model, 50)
    truth = decoder_of(model).posterior(items.x)
    found = infer(model, items, model.encoder(items), steps=300, pairs=8)
    assert float(kl_divergence(full(found), truth).mean()) < 0.02


def test_from_a_posterior_without_width_it_starts_narrow() -> None:
    model = linear(ACROSS)
    items = vectors(model, 20)
    truth = decoder_of(model).posterior(items.x)
    found = infer(model, items, Delta(truth.mean), steps=300, pairs=8)
    assert float(kl_divergence(full(found), truth).mean()) < 0.02


def test_items_do_not_influence_each_other() -> None:
    """With other neighbours and the same noise an item gets the same posterior, to the bit."""
    model = vae(decoder=loud(make(LSTMDecoder)))
    first = batch([[5, 4, 6, 8, 3], [7, 4, 5, 6, 3], [4, 4, 5, 5, 3]])
    other = batch([[5, 4, 6, 8, 3], [8, 8, 8, 8, 3], [6, 7, 6, 7, 3]])
    found = []
    for items in (first, other):
        with torch.no_grad():
            q = model.encoder(items)
        torch.manual_seed(1)
        found.append(infer(model, items, gaussian(q.mean * 0 + 0.1, q.stddev * 0 + 1.0)))
    a, b = found
    assert torch.equal(a.mean[0], b.mean[0]) and torch.equal(a.stddev[0], b.stddev[0])
    assert float((a.mean[1:] - b.mean[1:]).abs().min()) > 1e-4


def test_it_gains_on_the_encoder_where_tokens_are_written() -> None:
    """Strings of bits, the code of each bit far too wide: 8 dimensions gain the same."""
    model = bits(mean=0.3, sigma=2.0, volume=3.0)
    items = collate(strings(), range(0, 256, 5))
    q = model.encoder(items)

    def elbo(q: Distribution) -> float:
        with torch.no_grad():
            return float(model.log_weights(items, 500, q).mean())

    assert elbo(infer(model, items, q)) > elbo(q) + 8.0


def test_networks_are_left_as_they_were() -> None:
    model = vae(decoder=make(LSTMDecoder, dropout=0.5, word_dropout=0.5))
    kept = [parameter.clone() for parameter in model.parameters()]
    model.decoder.embedding.weight.requires_grad_(False)  # type: ignore[union-attr]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            q = infer(model, batch(), model.encoder(batch()), steps=3)
            assert not torch.is_grad_enabled()
        assert not q.mean.requires_grad and not q.stddev.requires_grad
        assert all(module.training == training for module in model.modules())
        assert [parameter.requires_grad for parameter in model.parameters()] == learning
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(map(torch.equal, model.parameters(), kept))


def test_networks_are_left_as_they_were_when_a_fit_fails() -> None:
    class Broken(Decoder):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, z: Tensor) -> Distribution:
            raise RuntimeError("out of memory")

    model = vae(decoder=Broken()).train()
    with pytest.raises(RuntimeError, match="out of memory"):
        infer(model, batch(), model.encoder(batch()))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_networks_write_what_they_write_in_evaluation_while_they_are_fitted_to() -> None:
    """Dropout and lost words would add noise to a fit, and to a corpus nothing at all."""
    noisy = vae(decoder=make(LSTMDecoder, dropout=0.9, word_dropout=1.0))
    clean = vae(decoder=make(LSTMDecoder))
    clean.load_state_dict(noisy.state_dict())
    start = gaussian(torch.zeros(4, 3), torch.ones(4, 3))
    found = []
    for model in (noisy, clean):
        torch.manual_seed(1)
        found.append(infer(model.train(), batch(), start, steps=5).mean)
    assert torch.equal(*found)


def test_a_prior_without_a_density_is_refused() -> None:
    class Sampled(Distribution):
        arg_constraints: ClassVar[dict[str, Any]] = {}

        def sample(self, sample_shape: Any = ()) -> Tensor:
            return torch.randn(*sample_shape, 3)

    prior = Sampled(event_shape=torch.Size([3]), validate_args=False)
    model = vae(prior=Fixed(prior))
    with pytest.raises(Refused, match="defines no ELBO"):
        infer(model, batch(), model.encoder(batch()))


def test_a_prior_without_a_closed_form_is_fitted_by_samples() -> None:
    """N(0, I) by another name: a transform of a Gaussian, which torch does not recognise."""
    model = linear(ACROSS)
    zeros = torch.zeros(2, dtype=torch.float64)
    half = Normal(zeros, zeros + 0.5)
    unnamed = Independent(TransformedDistribution(half, AffineTransform(0.0, 2.0)), 1)
    renamed = VAE(model.encoder, Fixed(unnamed), model.decoder)
    items: Batch = vectors(model, 50)
    truth = decoder_of(model).posterior(items.x)
    found = infer(renamed, items, model.encoder(items), steps=200, pairs=16)
    assert isinstance(model.encoder, Amiss)
    assert float(kl_divergence(full(found), truth).mean()) < 0.05
