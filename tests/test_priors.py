"""Priors and posterior heads are distributions over codes, or are refused with the cure."""

import math
from typing import Any

import pytest
import torch
from small import LATENT, exports, make, same
from torch import distributions
from torch.distributions import Independent, MultivariateNormal, Normal, Uniform

from seqvae import posteriors, priors
from seqvae.distributions import Delta
from seqvae.errors import Refused
from seqvae.posteriors import DeltaPosterior, GaussianPosterior
from seqvae.priors import Fixed, Product, StandardNormal

# Families of one number, with parameters for which they are defined.
FAMILIES: dict[str, dict[str, float]] = {
    "Bernoulli": {"probs": 0.3},
    "Beta": {"concentration1": 2.0, "concentration0": 3.0},
    "Cauchy": {"loc": 0.0, "scale": 1.0},
    "Exponential": {"rate": 2.0},
    "Gamma": {"concentration": 2.0, "rate": 1.0},
    "Gumbel": {"loc": 0.0, "scale": 1.0},
    "Laplace": {"loc": 1.0, "scale": 0.5},
    "LogNormal": {"loc": 0.0, "scale": 1.0},
    "Normal": {"loc": 0.5, "scale": 2.0},
    "StudentT": {"df": 4.0},
    "Uniform": {"low": -1.0, "high": 1.0},
    "VonMises": {"loc": 0.0, "concentration": 1.0},
}


@pytest.mark.parametrize("head", exports(posteriors))
def test_a_posterior_is_over_codes_and_its_samples_carry_gradient(head: Any) -> None:
    posterior = make(head)
    parameters = torch.randn(5, posterior.size, requires_grad=True)
    q = posterior(parameters)
    assert (q.batch_shape, q.event_shape) == ((5,), (LATENT,))
    z = q.rsample((7,))
    assert z.shape == (7, 5, LATENT)
    z.square().sum().backward()
    assert parameters.grad is not None and (parameters.grad != 0).all()


def test_an_untrained_gaussian_has_the_width_of_the_prior_and_no_step_overflows_it() -> None:
    posterior = GaussianPosterior(1)
    assert posterior(torch.tensor([[0.3, 0.0]])).stddev.item() == pytest.approx(1.0, abs=2e-4)
    far = posterior(torch.tensor([[0.0, 1e6], [0.0, -1e6]])).stddev.flatten().tolist()
    assert far[0] == pytest.approx(1e6) and far[1] == pytest.approx(1e-4)


def test_a_fixed_width_is_the_width_of_every_code() -> None:
    posterior = GaussianPosterior(LATENT, sigma=0.25)
    q = posterior(torch.randn(5, posterior.size))
    assert posterior.size == LATENT
    assert (q.stddev == 0.25).all()
    with pytest.raises(Refused, match="DeltaPosterior"):
        GaussianPosterior(LATENT, sigma=0.0)


def test_a_delta_is_its_value_and_has_no_density() -> None:
    value = torch.randn(5, LATENT)
    q = DeltaPosterior(LATENT)(value)
    assert isinstance(q, Delta)
    assert torch.equal(q.rsample((2,))[1], value) and torch.equal(q.mean, value)
    assert (q.variance == 0).all()
    with pytest.raises(Refused, match="no density"):
        q.log_prob(value)


def test_the_standard_normal_is_the_standard_normal() -> None:
    z = torch.randn(4, 2)
    expected = -0.5 * (z.square().sum(-1) + 2 * math.log(2 * math.pi))
    same(StandardNormal(2)().log_prob(z), expected)


@pytest.mark.parametrize("family", distributions.__all__)
def test_a_product_is_any_family_of_one_number_or_is_refused(family: str) -> None:
    if family not in FAMILIES:
        with pytest.raises(Refused):
            Product(LATENT, family=family, parameters={"concentration": 1.0})
        return
    p = Product(LATENT, family=family, parameters=FAMILIES[family])()
    one = getattr(distributions, family)(**FAMILIES[family])
    assert (p.batch_shape, p.event_shape) == ((), (LATENT,))
    z = p.sample((6,))
    same(p.log_prob(z), one.log_prob(z).sum(-1))


@pytest.mark.parametrize("family", ["Uniform", "Gamma", "Exponential"])
def test_a_code_outside_a_priors_support_has_density_zero_and_raises_nothing(family: str) -> None:
    p = Product(2, family=family, parameters=FAMILIES[family])()
    assert p.log_prob(torch.tensor([[-5.0, 0.5], [0.5, 0.5]])).isinf().tolist() == [True, False]


@pytest.mark.parametrize(
    ("family", "parameters", "cure"),
    [
        ("Laplas", {"loc": 0.0}, "Laplace"),
        ("Laplace", {"loc": 0.0}, "scale"),
        ("Laplace", {"loc": 0.0, "scale": -1.0}, "scale"),
        ("Laplace", {"loc": 0.0, "width": 1.0}, "scale"),
        ("Dirichlet", {"concentration": 1.0}, "takes"),
        ("kl_divergence", {}, "Laplace"),
    ],
)
def test_a_wrong_product_is_refused_with_what_it_takes(
    family: str, parameters: dict[str, float], cure: str
) -> None:
    with pytest.raises(Refused, match=cure):
        Product(LATENT, family=family, parameters=parameters)


def test_a_fixed_prior_is_the_distribution_given_if_that_is_over_vectors() -> None:
    p = MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert Fixed(p)() is p
    for wrong in (Normal(0.0, 1.0), Uniform(torch.zeros(3), torch.ones(3))):
        with pytest.raises(Refused, match=r"Independent\(distribution, 1\)"):
            Fixed(wrong)
    Fixed(Independent(Uniform(torch.zeros(3), torch.ones(3)), 1))


@pytest.mark.parametrize(
    "prior",
    [StandardNormal(LATENT), Product(LATENT, family="Laplace", parameters=FAMILIES["Laplace"])],
    ids=lambda prior: type(prior).__name__,
)
def test_a_priors_numbers_follow_the_module_and_are_no_weights(prior: Any) -> None:
    assert prior.to(torch.float64)().sample().dtype == torch.float64
    assert list(prior.parameters()) == [] and dict(prior.state_dict()) == {}


def test_every_prior_is_tested_here() -> None:
    assert set(exports(priors)) == {Fixed, Product, StandardNormal}
