"""Priors and posterior heads are distributions over codes, or are refused with the cure."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from small import LATENT, batch, exports, make, of_sequences, same, vae
from torch import Tensor, distributions
from torch.distributions import Independent, MultivariateNormal, Normal, Uniform

from seqvae import encoders, posteriors, priors
from seqvae.distributions import Delta, has_density, kl
from seqvae.encoders import EmptyEncoder, LSTMEncoder, NoiseEncoder
from seqvae.errors import Refused
from seqvae.noises import Denoising
from seqvae.posteriors import (
    BatchNormPosterior,
    DeltaPosterior,
    GaussianPosterior,
    VonMisesFisherPosterior,
)
from seqvae.priors import (
    Fixed,
    GaussianMixture,
    Product,
    Ring,
    StandardNormal,
    SwissRoll,
    UniformSphere,
    VampPrior,
)

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
    (z * torch.randn_like(z)).sum().backward()
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
    [
        StandardNormal(LATENT),
        Product(LATENT, family="Laplace", parameters=FAMILIES["Laplace"]),
        UniformSphere(LATENT),
        Ring(4),
        SwissRoll(4),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_a_priors_numbers_follow_the_module_and_are_no_weights(prior: Any) -> None:
    assert prior.to(torch.float64)().sample().dtype == torch.float64
    assert list(prior.parameters()) == [] and dict(prior.state_dict()) == {}


def mixed(prior: Any, weights: Tensor) -> Any:
    """The components of a mixture, and its log-density by hand: log sum_k w_k p_k(z)."""
    components = prior.component_distribution

    def log_prob(z: Tensor) -> Tensor:
        each = [components.log_prob(row) for row in z]
        return torch.stack([(weights.log() + e).logsumexp(0) for e in each])

    return components, log_prob


def test_a_mixture_of_gaussians_is_the_weighted_sum_of_its_components() -> None:
    prior = GaussianMixture(LATENT, components=4)
    torch.nn.init.normal_(prior.logits)
    p = prior()
    weights = prior.logits.softmax(0)
    components, log_prob = mixed(p, weights)
    z = p.sample((6,))
    same(p.log_prob(z), log_prob(z))
    mean = weights @ components.mean
    same(p.mean, mean)
    same(p.variance, weights @ (components.variance + components.mean.square()) - mean.square())
    p.log_prob(z).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in prior.parameters())


def test_a_mixture_of_gaussians_begins_with_the_moments_of_the_standard_normal() -> None:
    p = GaussianMixture(2, components=4000)()
    same(p.component_distribution.stddev, torch.full((4000, 2), 0.5**0.5), 1e-3)
    same(p.mean, torch.zeros(2), 0.06)
    same(p.variance, torch.ones(2), 0.08)


def test_a_vamp_prior_is_the_even_mixture_of_the_encoders_posteriors() -> None:
    """At pseudo-inputs that are embeddings of real items it is their aggregate posterior."""
    encoder = make(LSTMEncoder).eval()
    items = batch([[4, 5, 6, 3], [7, 8, 4, 3]])
    prior = VampPrior(LATENT, encoder, components=2, length=4)
    with torch.no_grad():
        prior.inputs.copy_(encoder.embedding(items.x))
    p, q = prior(), encoder(items)
    same(p.component_distribution.mean, q.mean)
    z = p.sample((5,))
    expected = torch.stack([q.log_prob(row) for row in z]).logsumexp(1) - math.log(2)
    same(p.log_prob(z), expected)
    same(p.mean, q.mean.mean(0))


@pytest.mark.parametrize("encoder", [e for e in of_sequences(encoders) if not e.reads_ids])
def test_a_vamp_prior_learns_its_inputs_and_the_encoder_through_them(encoder: Any) -> None:
    model = with_vamp(make(encoder))
    model.prior().log_prob(torch.randn(4, LATENT)).sum().backward()
    assert model.prior.inputs.grad is not None and model.prior.inputs.grad.abs().sum() > 0
    gradient = model.encoder.parameters_of.weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


def with_vamp(encoder: Any) -> Any:
    return vae(encoder=encoder, prior=VampPrior(LATENT, encoder, components=3, length=4))


def test_the_encoder_of_a_vamp_prior_is_saved_once_and_copied_with_it() -> None:
    model = with_vamp(make(LSTMEncoder)).eval()
    assert list(model.prior.state_dict()) == ["inputs"]
    copied = deepcopy(model)
    assert copied.prior.posterior_of.__self__ is copied.encoder is not model.encoder
    before, other = model.prior().mean, copied.prior().mean
    with torch.no_grad():
        copied.encoder.parameters_of.bias.add_(1.0)
    assert torch.equal(model.prior().mean, before)
    assert not torch.equal(copied.prior().mean, other)


def test_noise_of_the_encoder_does_not_touch_pseudo_inputs() -> None:
    inner = make(LSTMEncoder)
    noisy = Denoising(inner, torch.nn.Identity())
    prior: Any = VampPrior(LATENT, noisy, components=3, length=4)
    assert prior.posterior_of.__self__ is inner


@pytest.mark.parametrize(
    ("encoder", "cure"),
    [
        (NoiseEncoder(GaussianPosterior(LATENT)), "GaussianMixture"),
        (make(LSTMEncoder, posterior=BatchNormPosterior(LATENT)), "StandardNormal"),
    ],
)
def test_an_encoder_without_pseudo_inputs_has_no_vamp_prior(encoder: Any, cure: str) -> None:
    with pytest.raises(Refused, match=cure):
        VampPrior(LATENT, encoder)


@pytest.mark.parametrize("head", [DeltaPosterior, VonMisesFisherPosterior])
def test_a_vamp_prior_is_a_mixture_of_whatever_the_posterior_is(head: Any) -> None:
    encoder = make(LSTMEncoder, posterior=head(LATENT))
    q, p = encoder(batch()), VampPrior(LATENT, encoder, components=3, length=4)()
    assert p.sample((7,)).shape == (7, LATENT)
    assert has_density(p) == has_density(q) == (head is VonMisesFisherPosterior)
    if has_density(p):
        assert kl(q, p, q.rsample()).isfinite().all()


def test_the_prior_on_the_sphere_is_uniform_there_and_nothing_elsewhere() -> None:
    p = UniformSphere(3)()
    z = p.sample((20_000,))
    same(z.norm(dim=-1), torch.ones(20_000))
    assert p.log_prob(z).exp().tolist() == pytest.approx([1 / (4 * math.pi)] * 20_000)
    assert p.log_prob(2 * z[:2]).tolist() == [-math.inf] * 2
    same(z.mean(0), p.mean, 0.02)
    same(z.var(0), p.variance, 0.01)


def vamp_of_no_code(latent: int) -> VampPrior:
    return VampPrior(latent, EmptyEncoder())


@pytest.mark.parametrize("make_prior", [UniformSphere, GaussianMixture, Ring, vamp_of_no_code])
def test_a_prior_of_an_empty_code_costs_nothing(make_prior: Any) -> None:
    p = make_prior(0)()
    z = p.sample((4,))
    assert z.shape == (4, 0) and p.log_prob(z).abs().max() < 1e-6


def test_sizes_that_make_no_prior_are_refused() -> None:
    with pytest.raises(Refused, match="two points"):
        UniformSphere(1)
    for wrong in ({"components": 0}, {"length": 0}):
        with pytest.raises(Refused, match="1 or more"):
            VampPrior(LATENT, make(LSTMEncoder), **wrong)
    with pytest.raises(Refused, match="components = 0"):
        GaussianMixture(LATENT, components=0)


def test_every_prior_is_tested_here() -> None:
    learned = {GaussianMixture, UniformSphere, VampPrior}
    of_the_plane = {Ring, SwissRoll}
    assert set(exports(priors)) == {Fixed, Product, StandardNormal} | learned | of_the_plane


def test_a_ring_is_the_even_mixture_of_its_petals_in_each_pair_of_dimensions() -> None:
    p = Ring(4, count=3, radius=2.0, along=0.7, across=0.2)()
    angles = 2 * math.pi * torch.arange(3) / 3
    out = torch.stack([angles.cos(), angles.sin()], 1)
    petals: list[Any] = [
        MultivariateNormal(2.0 * u, 0.7**2 * torch.outer(u, u) + 0.2**2 * torch.outer(v, v))
        for u, v in zip(out, torch.stack([-out[:, 1], out[:, 0]], 1), strict=True)
    ]

    def log_prob(pair: Tensor) -> Tensor:
        return torch.stack([petal.log_prob(pair) for petal in petals]).logsumexp(0) - math.log(3)

    z = p.sample((5, 6))
    assert z.shape == (5, 6, 4)
    same(p.log_prob(z), log_prob(z[..., :2]) + log_prob(z[..., 2:]), 1e-4)


def test_draws_of_a_ring_lie_on_its_petals_and_have_its_moments() -> None:
    p = Ring(4)()
    z = p.sample((40_000,))
    same(p.mean, torch.zeros(4), 1e-6)
    same(p.variance, torch.full((4,), (1.4**2 + 0.5**2 + 0.1**2) / 2))
    same(z.mean(0), p.mean, 0.03)
    same(z.var(0), p.variance, 0.03)
    angle = torch.atan2(z[:, 1::2], z[:, ::2]) * 10 / (2 * math.pi)
    off = (angle - angle.round()) * (2 * math.pi / 10) * z.view(-1, 2, 2).norm(dim=-1)
    outside = z.view(-1, 2, 2).norm(dim=-1) > 1
    assert off[outside].std().item() == pytest.approx(0.1, abs=0.01)
    petals = (angle.round() % 10).long()
    counts = (10 * petals[:, 0] + petals[:, 1]).bincount(minlength=100)
    assert counts.min() > 250  # the pairs are independent


def test_a_code_of_a_swiss_roll_lies_on_its_spiral_and_says_how_far_along() -> None:
    z = SwissRoll(4, radius=6.0, turns=1.5)().sample((20_000,)).view(-1, 2, 2).double()
    s = z.norm(dim=-1) / 6
    same(z[..., 0] + 0, 6 * s * (3 * math.pi * s).cos(), 1e-4)
    same(z[..., 1] + 0, 6 * s * (3 * math.pi * s).sin(), 1e-4)
    shares = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    for pair in (0, 1):
        same(s[:, pair].square().quantile(shares), shares, 0.02)
    assert torch.corrcoef(s.T)[0, 1].abs() < 0.03


def test_a_swiss_roll_has_no_density_and_a_ring_has_one() -> None:
    assert has_density(Ring(2)()) and not has_density(SwissRoll(2)())
    with pytest.raises(Refused, match="is a curve and has no density"):
        SwissRoll(2)().log_prob(torch.zeros(2))
    q = GaussianPosterior(2)(torch.randn(5, 4))
    with pytest.raises(Refused, match="only be sampled"):
        kl(q, SwissRoll(2)(), q.rsample())
    z = q.rsample()
    same(kl(q, Ring(2)(), z), q.log_prob(z) - Ring(2)().log_prob(z))


@pytest.mark.parametrize("prior", [Ring, SwissRoll])
def test_a_prior_of_the_plane_wants_pairs_of_dimensions(prior: Any) -> None:
    with pytest.raises(Refused, match="Set latent = 4"):
        prior(3)
    with pytest.raises(Refused, match="radius -1"):
        prior(2, radius=-1.0)


@pytest.mark.parametrize("wrong", [{"along": 0.0}, {"across": -0.1}, {"radius": math.nan}])
def test_a_petal_without_a_width_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Refused, match="positive widths"):
        Ring(2, **wrong)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="count = 0"):
        Ring(2, count=0)
    with pytest.raises(Refused, match="above 0"):
        SwissRoll(2, turns=0.0)
