"""Posteriors fitted to each item, where the best one is known; and what a fit leaves alone."""

import math
from functools import cache
from typing import Any, ClassVar

import numpy as np
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
from small import LATENT, VOCAB, batch, loud, make, pad, same, vae
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
from seqvae.generate import generate
from seqvae.infer import _adam, _lead, _may, infer, settle
from seqvae.priors import Fixed
from seqvae.schedules import FAR
from seqvae.tokens import PAD
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

        def forward(self, z: Tensor, step: int = FAR) -> Distribution:
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


# --- codes moved until their items are written ---------------------------------------------------


@cache
def learned() -> tuple[VAE, Tensor]:
    """A model that knows four sentences by heart, and the codes it learned them at."""
    torch.manual_seed(0)
    model, items = vae(decoder=make(LSTMDecoder, hidden=16)), batch()
    z = torch.tensor([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, -2.0, 0.0]])
    optimizer = torch.optim.Adam(model.decoder.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        (-model.decoder(z + 0.3 * torch.randn(4, LATENT)).log_prob(items.x).mean()).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model.eval(), z


def written(model: VAE, z: Tensor) -> list[list[int]]:
    decoder: Any = model.decoder
    found = generate(decoder, z, length=6).tolist()
    return [[token for token in ids if token != PAD] for ids in found]


def wrong(model: VAE, items: Batch, z: Tensor) -> Tensor:
    """Tokens of each item that are not the likeliest after those before them."""
    decoder: Any = model.decoder
    with torch.no_grad():
        likeliest = decoder.head(decoder.features(items.x, z)).argmax(-1)
    return ((likeliest != items.x) & (items.x != PAD)).sum(1)


def sentences_of(items: Batch) -> list[list[int]]:
    return [ids[: int(n)].tolist() for ids, n in zip(items.x, items.length, strict=True)]


@pytest.mark.parametrize("order", [[1, 0, 3, 2], [2, 3, 1, 0], [0, 0, 0, 0]])
def test_settled_codes_are_written_back_exactly_from_wherever_they_began(order: list[int]) -> None:
    model, z = learned()
    items = batch()
    assert written(model, z) == sentences_of(items)
    assert written(model, z[order]) != sentences_of(items)
    found = settle(model, items, z[order], steps=300)
    assert written(model, found) == sentences_of(items)


def test_adam_as_a_function_is_adam() -> None:
    """Bit for bit that of the class, which imports torch's compiler."""
    torch.manual_seed(0)
    ours = torch.randn(5, 3)
    theirs = ours.clone().requires_grad_(True)
    ours.requires_grad_(True)
    move, optimizer = _adam(ours, 0.1), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(30):
        gradient = torch.randn(5, 3)
        theirs.grad = gradient.clone()
        optimizer.step()
        move(gradient)
        assert torch.equal(ours, theirs)


def test_a_code_that_is_at_its_goal_stays_where_it_is() -> None:
    model, z = learned()
    assert torch.equal(settle(model, batch(), z), z)
    mixed = z[[0, 0, 2, 3]]
    found = settle(model, batch(), mixed, steps=300)
    assert torch.equal(found[[0, 2, 3]], mixed[[0, 2, 3]]) and not torch.equal(found[1], z[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [0, 1, 25])
def test_settling_never_makes_more_tokens_wrong(seed: int, steps: int) -> None:
    """By a decoder that was never trained, most items are out of reach."""
    torch.manual_seed(seed)
    model, items = vae(decoder=loud(make(LSTMDecoder), 4.0)).eval(), batch()
    z = torch.randn(4, LATENT)
    found = settle(model, items, z, steps=steps, learning_rate=0.5)
    assert (wrong(model, items, found) <= wrong(model, items, z)).all()
    assert steps or torch.equal(found, z)


def test_what_the_last_step_reached_is_looked_at() -> None:
    torch.manual_seed(0)
    model, items = vae(decoder=loud(make(LSTMDecoder), 4.0)).eval(), batch()
    z = torch.randn(4, LATENT)
    found = settle(model, items, z, steps=1, learning_rate=0.5)
    assert (wrong(model, items, found) < wrong(model, items, z)).any()


def test_padding_is_no_token_that_could_be_wrong() -> None:
    model, z = learned()
    wide = settle(model, pad(batch(), 5), z[[1, 0, 3, 2]], steps=300)
    same(wide, settle(model, batch(), z[[1, 0, 3, 2]], steps=300), 1e-4)


def test_codes_settle_as_if_each_were_alone() -> None:
    """Whoever the neighbours are, and however long they take; a batch of one up to rounding."""
    model, z = learned()
    items = batch([[5, 4, 6, 8, 3], [7, 4, 5, 6, 3], [4, 4, 5, 5, 3]])
    other = batch([[5, 4, 6, 8, 3], [8, 8, 8, 8, 3], [6, 7, 6, 7, 3]])
    found = [settle(model, each, z[[1, 1, 1]], steps=40) for each in (items, other)]
    assert torch.equal(found[0][0], found[1][0]) and not torch.equal(found[0][0], z[1])
    alone = settle(model, batch([[5, 4, 6, 8, 3]]), z[[1]], steps=40)
    same(alone[0], found[0][0], 1e-4)


def test_a_code_stops_as_soon_as_its_item_is_written() -> None:
    model, z = learned()
    begun = z[[1, 0, 3, 2]]
    found = settle(model, batch(), begun, steps=300)
    assert not wrong(model, batch(), found).any()
    assert torch.equal(found, settle(model, batch(), begun, steps=3000))
    assert torch.equal(settle(model, batch(), found), found)


def test_a_code_is_pulled_back_to_where_it_began() -> None:
    model, z = learned()
    begun = z[[1, 0, 3, 2]]
    near, far = (
        (settle(model, batch(), begun, steps=300, pull=pull) - begun).norm(dim=-1)
        for pull in (3.0, 0.0)
    )
    assert near.mean() < far.mean()


SPANS = np.array([[4, 6], [6, 9]])  # two voices in turn, as a codec of music has them


def test_codes_settled_among_what_may_stand_there_are_written_and_by_less() -> None:
    """What greedy decoding cannot write competes with nothing: the same goal, and nearer."""
    torch.manual_seed(0)
    model = vae(decoder=loud(make(LSTMDecoder), 4.0)).eval()
    decoder: Any = model.decoder
    form: dict[str, Any] = {"length": 4, "end": None, "allowed": SPANS}
    goal, begun = torch.randn(6, LATENT), torch.randn(6, LATENT)
    ids = generate(decoder, goal, **form)
    items = batch(ids.tolist())
    assert torch.equal(settle(model, items, goal, allowed=SPANS), goal), "they are written already"
    assert not torch.equal(settle(model, items, goal), goal), "where all ids compete they are not"
    found = settle(model, items, begun, allowed=SPANS, steps=300)
    again = generate(decoder, found, **form)
    at_goal = (again == ids).all(1)
    assert at_goal.sum() > (generate(decoder, begun, **form) == ids).all(1).sum()
    may = _may(SPANS, 4, VOCAB)
    for z in (begun, found):
        lead = _lead(decoder.head(decoder.features(items.x, z)), items.x, may)
        assert torch.equal((lead > 0).all(1), (generate(decoder, z, **form) == ids).all(1))
    still = settle(model, items, found, allowed=SPANS, steps=300)
    assert torch.equal(still[at_goal], found[at_goal])


class Flat(LSTMDecoder):
    """All tokens alike, until its code says otherwise of id 5."""

    def head(self, features: Tensor) -> Tensor:
        tilt = torch.zeros(self.vocab)
        tilt[5] = 1.0
        return features[..., :1] * tilt


def test_a_tie_is_wrong_for_greed_may_write_the_other() -> None:
    decoder = make(Flat)
    model, items = vae(decoder=decoder).eval(), batch([[5, 5]])
    scores = torch.zeros(1, 2, VOCAB)
    assert (_lead(scores, items.x, None) == 0).all()
    decoder.features = lambda x, z: z[:, None, :1].expand(-1, x.shape[1], -1)
    spans = np.array([[4, 9]])
    z = torch.zeros(1, LATENT)
    found = settle(model, items, z, allowed=spans)
    assert found[0, 0] > 0 and torch.equal(found[0, 1:], z[0, 1:])


def test_settling_leaves_networks_and_what_it_was_given_as_they_were() -> None:
    model = vae(decoder=make(LSTMDecoder, dropout=0.5, word_dropout=0.5))
    kept = [parameter.clone() for parameter in model.parameters()]
    model.decoder.embedding.weight.requires_grad_(False)  # type: ignore[union-attr]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    z, noise = torch.ones(4, LATENT), torch.get_rng_state()
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            found = settle(model, batch(), z, steps=3)
            assert not torch.is_grad_enabled()
        assert not found.requires_grad and torch.equal(z, torch.ones(4, LATENT))
        assert all(module.training == training for module in model.modules())
        assert [parameter.requires_grad for parameter in model.parameters()] == learning
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(map(torch.equal, model.parameters(), kept))
    assert torch.equal(torch.get_rng_state(), noise)  # nothing is drawn: no dropout either
