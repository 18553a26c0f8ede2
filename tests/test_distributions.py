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
    VonMises,
    kl_divergence,
)

from seqvae.data import InMemory, collate
from seqvae.decoders import LSTMDecoder
from seqvae.distributions import (
    Delta,
    HypersphericalUniform,
    VonMisesFisher,
    gaussian,
    has_density,
    kl,
    kl_per_dimension,
    log_area,
    log_modified_bessel,
)
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


def about(direction: list[float], kappa: float) -> VonMisesFisher:
    mu = torch.tensor(direction)
    return VonMisesFisher(mu / mu.norm(), kappa)


def uniform(dimensions: int) -> HypersphericalUniform:
    return HypersphericalUniform(torch.zeros(dimensions))


SPHERES = [(2, 0.5), (2, 30.0), (3, 4.0), (8, 2.0), (32, 13.0), (32, 200.0)]


@pytest.mark.parametrize("order", [0.5, 1.5])
@pytest.mark.parametrize("kappa", [1e-3, 1.0, 20.0, 500.0])
def test_a_bessel_function_of_half_an_order_is_elementary(order: float, kappa: float) -> None:
    """I_1/2(k) = sqrt(2 / (pi k)) sinh k and I_3/2(k) = sqrt(2 / (pi k)) (cosh k - sinh k / k)."""
    log_sinh = kappa + math.log(-math.expm1(-2 * kappa) / 2)
    expected = math.log(2 / (math.pi * kappa)) / 2 + log_sinh
    if order == 1.5 and kappa < 0.1:  # coth k - 1/k = k/3 - k^3/45 + ..., which cancels
        expected += math.log(kappa / 3 - kappa**3 / 45)
    elif order == 1.5:
        expected += math.log(1 / math.tanh(kappa) - 1 / kappa)
    assert log_modified_bessel(order, kappa) == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_a_bessel_function_is_finite_where_it_would_under_or_overflow() -> None:
    """I_v(k) -> (k/2)^v / Gamma(v + 1) for k far under v; exp(k) / sqrt(2 pi k) for k far over."""
    assert log_modified_bessel(255, 0.1) == pytest.approx(
        255 * math.log(0.05) - math.lgamma(256), rel=1e-6
    )
    assert log_modified_bessel(0, 1e5) == pytest.approx(
        1e5 - math.log(2 * math.pi * 1e5) / 2, rel=1e-9
    )


@pytest.mark.parametrize("kappa", [0.1, 2.0, 50.0])
def test_a_von_mises_fisher_is_the_known_one_on_a_circle_and_in_space(kappa: float) -> None:
    angle = torch.linspace(-3.0, 3.0, 7)
    flat = about([math.cos(0.4), math.sin(0.4)], kappa)
    known: Distribution = VonMises(torch.tensor(0.4), torch.tensor(kappa))
    expected = known.log_prob(angle)
    same(flat.log_prob(torch.stack([angle.cos(), angle.sin()], -1)), expected, 1e-4)
    q = about([1.0, -2.0, 2.0], kappa)
    z = uniform(3).sample((5,))
    constant = math.log(kappa / (4 * math.pi * math.sinh(kappa)))
    same(q.log_prob(z), constant + kappa * z @ q.mode, 1e-4)
    assert q.log_prob(1.1 * z).tolist() == [-math.inf] * 5


@pytest.mark.parametrize(("dimensions", "kappa"), [(2, 0.5), (3, 4.0), (8, 2.0), (32, 5.0)])
def test_a_density_on_the_sphere_integrates_to_one(dimensions: int, kappa: float) -> None:
    z = uniform(dimensions).sample((50_000,))
    q = about([1.0] * dimensions, kappa)
    weights = (q.log_prob(z) + log_area(dimensions)).exp()
    error = weights.std().item() / math.sqrt(len(z))
    assert abs(weights.mean().item() - 1) < 4 * error < 0.1


@pytest.mark.parametrize(("dimensions", "kappa"), SPHERES)
def test_draws_of_a_von_mises_fisher_have_its_moments_and_its_rate(
    dimensions: int, kappa: float
) -> None:
    q = about([1.0, 2.0] + [0.5] * (dimensions - 2), kappa)
    z = q.sample((20_000,))
    same(z.norm(dim=-1), torch.ones(20_000))
    error = (q.variance / len(z)).sqrt()
    assert ((z.mean(0) - q.mean).abs() < 5 * error).all()
    spread = (z - q.mean).square()
    assert ((spread.mean(0) - q.variance).abs() < 5 * spread.std(0) / math.sqrt(len(z))).all()
    log_ratio = q.log_prob(z) - uniform(dimensions).log_prob(z)
    error = log_ratio.std() / math.sqrt(len(z))
    assert abs(log_ratio.mean() - kl(q, uniform(dimensions), z)) < 5 * error


def test_draws_on_a_circle_have_the_angles_of_a_von_mises() -> None:
    """The distribution of angles within 0.02 of that by quadrature, not only its moments."""
    z = about([1.0, 0.0], 2.0).sample((20_000,))
    angle = torch.atan2(z[:, 1], z[:, 0])
    grid = torch.linspace(-math.pi, math.pi, 1001)
    known: Distribution = VonMises(torch.tensor(0.0), torch.tensor(2.0))
    below = torch.cumulative_trapezoid(known.log_prob(grid).exp(), grid)
    found = (angle.unsqueeze(1) <= grid[1::50]).float().mean(0)
    same(found, below[::50], 0.02)


def test_the_rate_of_a_von_mises_fisher_is_the_same_for_every_direction() -> None:
    """In space it is kappa coth kappa - 1 + log(kappa / sinh kappa)."""
    q = VonMisesFisher(torch.eye(3), 4.0)
    exact = 4 / math.tanh(4) - 1 + math.log(4 / math.sinh(4))
    same(kl(q, uniform(3), q.sample()), torch.full((3,), exact))


def test_the_reparameterised_gradient_of_a_von_mises_fisher_is_that_of_its_mean() -> None:
    """d/dm E a.z = A a.d(m/|m|)/dm."""
    m, a = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 2.0, -1.0])
    expected = m.clone().requires_grad_()
    known = VonMisesFisher(expected / expected.norm(), 3.0)
    (slope,) = torch.autograd.grad((known.mean * a).sum(), expected)
    free = m.expand(40_000, 3).clone().requires_grad_()
    z = VonMisesFisher(free / free.norm(dim=-1, keepdim=True), 3.0).rsample()
    (each,) = torch.autograd.grad((z * a).sum(), free)
    assert ((each.mean(0) - slope).abs() < 5 * each.std(0) / 200).all()


def test_what_is_on_the_sphere_cannot_be_held_against_what_is_not() -> None:
    on, off = VonMisesFisher(torch.eye(3), 4.0), gaussian(torch.zeros(3), torch.ones(3))
    with pytest.raises(Refused, match="UniformSphere"):
        kl(on, off, on.sample())
    around = gaussian(torch.zeros(4, 3), torch.ones(4, 3))
    assert kl(around, uniform(3), around.sample()).tolist() == [math.inf] * 4
    with pytest.raises(Refused, match="penalty KL"):
        kl_per_dimension(on, uniform(3))


def test_a_mixture_has_a_density_where_its_components_have() -> None:
    even = Categorical(torch.ones(2))
    assert has_density(MixtureSameFamily(even, gaussian(MU, SIGMA.expand(2, 3))))
    assert not has_density(MixtureSameFamily(even, Delta(MU)))
