"""Heads with a floor under their rate keep it whatever they are fed; the sphere's has one rate."""

import math
from typing import Any

import pytest
import torch
from small import LATENT, batch, make, same

from seqvae.distributions import gaussian, has_density, kl, kl_per_dimension
from seqvae.encoders import LSTMEncoder, NoiseEncoder
from seqvae.errors import Refused
from seqvae.posteriors import (
    BatchNormPosterior,
    BoundedPosterior,
    GaussianPosterior,
    VonMisesFisherPosterior,
)
from seqvae.posteriors.bounded import widths_at
from seqvae.priors import UniformSphere
from seqvae.vae import Batch


def rates(q: Any) -> Any:
    """KL from N(0, I) of every item and dimension."""
    size = q.event_shape[0]
    return kl_per_dimension(q, gaussian(torch.zeros(size), torch.ones(size)))


def of_one_noise(q: Any) -> torch.Tensor:
    """Some loss of codes, drawn with the same noise every time."""
    torch.manual_seed(0)
    return (q.rsample().sin() * torch.arange(1, 9).view(2, 4)).sum()


def test_a_reparameterised_loss_has_the_slopes_of_finite_differences() -> None:
    """To mu and log sigma, and through the head; z = mu + sigma eps with eps held."""
    mu, log_sigma, head = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda mu, log_sigma: of_one_noise(gaussian(mu, log_sigma.exp())), (mu, log_sigma)
    )
    parameters = torch.cat([mu, head], -1)
    assert torch.autograd.gradcheck(
        lambda numbers: of_one_noise(GaussianPosterior(4)(numbers)), (parameters,)
    )


@pytest.mark.parametrize("gamma", [0.6, 0.7])
@pytest.mark.parametrize("spread", [0.01, 1.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_normalised_means_keep_the_published_floor(
    gamma: float, spread: float, offset: float
) -> None:
    """D gamma^2 / 2: 5.76 nats of 32 dimensions at 0.6, 7.84 at 0.7."""
    head = BatchNormPosterior(32, gamma=gamma)
    floor = {0.6: 5.76, 0.7: 7.84}[gamma]
    q = head(offset + spread * torch.randn(9, 64))
    assert rates(q).sum(-1).mean().item() >= floor * (1 - 1e-3)
    # Where nothing else costs, widths of 1 and no shift, it is reached.
    parameters = torch.cat([offset + spread * torch.randn(9, 32), torch.zeros(9, 32)], -1)
    assert rates(head(parameters)).sum(-1).mean().item() == pytest.approx(floor, rel=1e-3)


def test_normalised_means_are_moved_by_a_learned_shift_and_scaled_by_nothing_learned() -> None:
    head = BatchNormPosterior(LATENT, gamma=0.5)
    assert [name for name, _ in head.named_parameters()] == ["shift"]
    with torch.no_grad():
        head.shift.fill_(2.0)
    q = head(torch.randn(7, 2 * LATENT))
    same(q.mean.mean(0), torch.full((LATENT,), 2.0))
    same(q.mean.var(0, correction=0), torch.full((LATENT,), 0.25))


def test_outside_of_training_an_item_is_normalised_by_the_average_batch() -> None:
    head = BatchNormPosterior(LATENT, gamma=0.5, momentum=1.0)
    parameters = 3 + 2 * torch.randn(5, 2 * LATENT)
    head(parameters)
    m = parameters[:, :LATENT]
    expected = 0.5 * (m - m.mean(0)) / m.std(0)
    same(head.eval()(parameters).mean, expected)
    same(head(parameters[:1]).mean, expected[:1])  # whatever else is in the batch


def test_a_batch_of_one_is_normalised_by_the_average_batch_and_moves_no_average() -> None:
    head = BatchNormPosterior(LATENT)
    head(torch.randn(5, 2 * LATENT))
    before = {name: value.clone() for name, value in head.state_dict().items()}
    one = torch.randn(1, 2 * LATENT)
    trained = head(one).mean
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())
    same(trained, head.eval()(one).mean)


def test_equal_items_have_no_spread_to_normalise_and_stay_finite() -> None:
    head = BatchNormPosterior(LATENT)
    parameters = torch.ones(4, 2 * LATENT, requires_grad=True)
    q = head(parameters)
    rates(q).sum().backward()
    assert (q.mean == 0).all() and parameters.grad is not None and parameters.grad.isfinite().all()


@pytest.mark.parametrize("nats", [0.01, 0.5, 3.2, 100.0, 1280.0])
@pytest.mark.parametrize("size", [0.0, 1.0, 100.0, 1e6])
def test_a_bounded_posterior_keeps_its_floor_for_every_item_and_dimension(
    nats: float, size: float
) -> None:
    parameters = (size * torch.randn(500, 64)).requires_grad_()
    each = rates(BoundedPosterior(32, nats=nats)(parameters))
    assert each.min().item() >= nats / 32 * (1 - 1e-4)
    assert each.sum(-1).min().item() >= nats * (1 - 1e-5)
    each.sum().backward()
    assert parameters.grad is not None and parameters.grad.isfinite().all()


def test_a_bounded_rate_is_the_floor_and_half_a_softplus_of_the_means_number() -> None:
    parameters = torch.randn(6, 2 * LATENT)
    each = rates(BoundedPosterior(LATENT, nats=1.5)(parameters))
    same(each, 0.5 + torch.nn.functional.softplus(parameters[:, :LATENT]) / 2)


@pytest.mark.parametrize("delta", [1e-6, 0.1, 3.0, 40.0])
def test_the_bounds_of_a_width_are_where_it_costs_the_floor_by_itself(delta: float) -> None:
    narrow, wide = widths_at(delta)
    for sigma in (narrow, wide):
        assert (sigma**2 - 1) / 2 - math.log(sigma) == pytest.approx(delta, rel=1e-6)
    assert narrow < 1 < wide


def test_a_rate_on_the_sphere_is_one_number_without_gradient_and_codes_carry_one() -> None:
    head = VonMisesFisherPosterior(LATENT, kappa=5.0)
    parameters = torch.randn(6, LATENT, requires_grad=True)
    q = head(parameters)
    z = q.rsample((4,))
    rate = kl(q, UniformSphere(LATENT)(), z[0])
    assert not rate.requires_grad and (rate == rate[0]).all() and rate[0] > 0
    (z * torch.randn_like(z)).sum().backward()
    gradient = parameters.grad
    assert gradient is not None and (gradient.abs().sum(-1) > 0).all()
    # Only a direction is read, so that there is no slope along it.
    same((gradient * parameters).sum(-1), torch.zeros(6))


def test_a_code_without_direction_is_always_the_same() -> None:
    q = NoiseEncoder(VonMisesFisherPosterior(LATENT))(batch())
    assert q.mean.isfinite().all() and (q.mean == q.mean[0]).all()
    parameters = torch.zeros(2, LATENT, requires_grad=True)
    VonMisesFisherPosterior(LATENT)(parameters).rsample().sum().backward()
    assert parameters.grad is not None and parameters.grad.isfinite().all()


@pytest.mark.parametrize("head", [BatchNormPosterior, BoundedPosterior, VonMisesFisherPosterior])
def test_a_head_takes_batches_of_one_in_training_and_not(head: Any) -> None:
    encoder = make(LSTMEncoder, posterior=head(LATENT))
    one: Batch = batch([[4, 5, 3]])
    for part in (encoder.train(), encoder.eval()):
        q = part(one)
        assert has_density(q) and q.rsample().isfinite().all()


@pytest.mark.parametrize(
    ("make_head", "cure"),
    [
        (lambda: BatchNormPosterior(LATENT, gamma=0.0), "GaussianPosterior"),
        (lambda: BatchNormPosterior(LATENT, gamma=math.nan), "positive"),
        (lambda: BatchNormPosterior(LATENT, momentum=2.0), "momentum"),
        (lambda: BoundedPosterior(LATENT, nats=0.0), "GaussianPosterior"),
        (lambda: BoundedPosterior(LATENT, nats=math.inf), "positive"),
        (lambda: BoundedPosterior(LATENT, nats=1000.0), "40 a dimension"),
        (lambda: VonMisesFisherPosterior(LATENT, kappa=0.0), "DeltaPosterior"),
        (lambda: VonMisesFisherPosterior(1), "two points"),
    ],
)
def test_numbers_that_make_no_posterior_are_refused(make_head: Any, cure: str) -> None:
    with pytest.raises(Refused, match=cure):
        make_head()
