"""Divergences against torch's closed forms, Monte Carlo, and hand calculation."""

import math
from typing import Any, ClassVar

import pytest
import torch
from small import same
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from seqvae.data import InMemory, collate
from seqvae.decoders import LSTMDecoder
from seqvae.distributions import Delta, gaussian, has_density, kl, kl_per_dimension
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Refused
from seqvae.evaluate import measure
from seqvae.objectives import Elbo
from seqvae.posteriors import GaussianPosterior
from seqvae.priors import Fixed
from seqvae.regularizers import MMD
from seqvae.schedules import constant
from seqvae.vae import VAE

MU, SIGMA = torch.tensor([[0.5, -1.0, 0.0], [2.0, 0.0, 0.3]]), torch.tensor([0.5, 2.0, 1.0])
Q = gaussian(MU, SIGMA.expand(2, 3))
P = gaussian(torch.zeros(3), torch.ones(3))


def test_kl_of_gaussians_is_the_formula() -> None:
    each = 0.5 * (MU**2 + SIGMA**2 - 1) - SIGMA.log()
    same(kl_per_dimension(Q, P), each)
    same(kl(Q, P, Q.rsample()), each.sum(-1))
    assert kl(P.expand((2,)), P, P.sample((2,))).tolist() == [0.0, 0.0]


def test_kl_equals_torchs_for_families_it_knows() -> None:
    full = MultivariateNormal(torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 0.5], [0.5, 1.0]]))
    wide = MultivariateNormal(torch.zeros(2), 4 * torch.eye(2))
    same(kl(full, wide, full.sample()), kl_divergence(full, wide))
    q = Independent(Laplace(MU, SIGMA.expand(2, 3)), 1)
    same(kl(q, P, q.sample()), kl_divergence(q.base_dist, Normal(0.0, 1.0)).sum(-1))


def test_kl_without_a_closed_form_is_estimated_without_bias_and_with_the_right_gradient() -> None:
    """A mixture of one component is a Gaussian that torch does not recognise."""
    one = gaussian(torch.full((1, 2), 0.5), torch.full((1, 2), 1.5))
    p = MixtureSameFamily(Categorical(torch.ones(1)), one)
    mu = torch.tensor([1.0, -0.5], requires_grad=True)
    q = gaussian(mu, torch.tensor([0.8, 1.2]))
    exact = kl_divergence(q, gaussian(torch.full((2,), 0.5), torch.full((2,), 1.5)))
    (slope,) = torch.autograd.grad(exact, mu)
    many = gaussian(mu.expand(20_000, 2), torch.tensor([0.8, 1.2]).expand(20_000, 2))
    estimates = kl(many, p, many.rsample())
    (estimated,) = torch.autograd.grad(estimates.mean(), mu)
    error = estimates.detach().std().item() / math.sqrt(20_000)
    assert abs(estimates.mean().item() - exact.item()) < 4 * error
    same(estimated, slope, 0.05)


def test_kl_agrees_with_monte_carlo() -> None:
    z = Q.sample((40_000,))
    estimates = Q.log_prob(z) - P.log_prob(z)
    error = estimates.std(0) / math.sqrt(40_000)
    assert ((estimates.mean(0) - kl(Q, P, z)).abs() < 4 * error).all()


def test_kl_is_refused_where_there_is_no_density() -> None:
    delta = Delta(MU)
    assert has_density(Q) and not has_density(delta)
    with pytest.raises(Refused, match="GaussianPosterior"):
        kl(delta, P, MU)
    with pytest.raises(Refused, match="MMD"):
        kl_per_dimension(Q, Delta(torch.zeros(3)))


def test_kl_per_dimension_is_refused_where_there_are_no_dimensions_to_speak_of() -> None:
    full = MultivariateNormal(torch.zeros(3), torch.eye(3))
    with pytest.raises(Refused, match="penalty KL"):
        kl_per_dimension(Q, full)
    with pytest.raises(Refused, match="no closed-form"):
        kl_per_dimension(Q, Independent(torch.distributions.StudentT(torch.full((3,), 4.0)), 1))


def test_a_code_of_no_dimensions_costs_nothing() -> None:
    q, p = gaussian(torch.zeros(4, 0), torch.zeros(4, 0)), gaussian(torch.zeros(0), torch.zeros(0))
    assert kl(q, p, q.rsample()).tolist() == [0.0] * 4
    assert p.log_prob(q.rsample()).tolist() == [0.0] * 4


class Ring(Distribution):
    """A distribution over the plane that only knows how to sample."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__(event_shape=torch.Size([2]), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> torch.Tensor:
        angle = 6.28 * torch.rand(*sample_shape, 1)
        return torch.cat([angle.cos(), angle.sin()], -1)


def test_a_prior_known_only_by_sampling_has_no_kl_and_can_still_be_matched() -> None:
    q = gaussian(torch.zeros(4, 2), torch.ones(4, 2))
    assert not has_density(Ring())
    with pytest.raises(Refused, match=r"can only be sampled.*MMD"):
        kl(q, Ring(), q.rsample())
    model = VAE(
        LSTMEncoder(9, GaussianPosterior(2), embed=4, hidden=4),
        Fixed(Ring()),
        LSTMDecoder(9, 2, embed=4, hidden=4),
    )
    items = InMemory([[5, 6, 3], [7, 8, 3], [4, 3], [8, 3]])
    loss, report = Elbo({"mmd": (MMD(), constant)})(model, collate(items, range(4)))
    assert bool(loss.isfinite()) and "kl" not in report and "penalty/mmd" in report
    measured = measure(model, items)
    assert "iw_nll" not in measured.figures and "reconstruction" in measured.figures
    assert any(note.startswith("KL and -ELBO: n/a") for note in measured.notes)
