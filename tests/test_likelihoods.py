"""Likelihoods of pixels: what they sum to, what they cost, and what they say of themselves."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from small import exports, same
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from seqvae import likelihoods
from seqvae.errors import Refused
from seqvae.likelihoods import Bernoulli, Categorical, Gaussian
from seqvae.likelihoods.likelihood import Likelihood
from seqvae.tokens import SPECIAL

LEVELS = {Bernoulli: 2}
WAYS: dict[Any, list[dict[str, Any]]] = {
    Gaussian: [{}, {"sigma": 0.5}, {"sigma": 0.05}, {"learned": "one"}, {"learned": "pixel"}]
}
CASES = [
    pytest.param(kind, way, id="-".join([kind.__name__, *map(str, way.values())]))
    for kind in exports(likelihoods)
    for way in WAYS.get(kind, [{}])
]
laws = pytest.mark.parametrize(("kind", "way"), CASES)


def made(kind: Any, way: dict[str, Any], levels: int = 5) -> Likelihood:
    return kind(SPECIAL + LEVELS.get(kind, levels), **way)


def numbers(likelihood: Likelihood, *shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, likelihood.size)


def ids(likelihood: Likelihood, *shape: int) -> Tensor:
    return torch.randint(SPECIAL, likelihood.vocab, shape)


def by_hand(likelihood: Any, a: list[float], level: int) -> float:
    """log p of one pixel from its numbers, in plain Python."""
    if isinstance(likelihood, Bernoulli):
        white = 1 / (1 + math.exp(-a[0]))
        return math.log(white if level else 1 - white)
    if isinstance(likelihood, Categorical):
        return math.log(math.exp(a[level]) / sum(map(math.exp, a)))
    s = a[1] if likelihood.size == 2 else 0.0
    sigma = likelihood.sigma or 1 / 255 + math.log1p(math.exp(s - 1))
    away = (level / (likelihood.levels - 1) - 1 / (1 + math.exp(-a[0]))) / sigma
    return -(away**2) / 2 - math.log(sigma * math.sqrt(2 * math.pi))


@laws
def test_it_sums_over_pixels_what_is_worked_out_by_hand(kind: Any, way: dict[str, Any]) -> None:
    likelihood = made(kind, way)
    a, x = numbers(likelihood, 2, 3, 7), ids(likelihood, 3, 7)
    p = likelihood(a)
    assert (p.batch_shape, p.event_shape) == ((2, 3), (7,))
    expected = [
        [
            sum(by_hand(likelihood, a[k, b, t].tolist(), int(x[b, t]) - SPECIAL) for t in range(7))
            for b in range(3)
        ]
        for k in range(2)
    ]
    same(p.log_prob(x), torch.tensor(expected), 1e-4)
    same(p.token_log_prob(x).sum(-1), p.log_prob(x))


@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_the_probabilities_of_all_pictures_sum_to_one(kind: Any) -> None:
    likelihood = made(kind, {})
    p = likelihood(numbers(likelihood, 1, 3, scale=2.0))
    every = torch.tensor(list(product(range(SPECIAL, likelihood.vocab), repeat=3)))
    assert p.log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("learned", [{"sigma": 0.5}, {"learned": "one"}, {"learned": "pixel"}])
def test_the_density_of_brightness_has_volume_one(learned: dict[str, Any]) -> None:
    """Over the whole line, in steps of 1/255 far outside of what pixels are."""
    p = Gaussian(SPECIAL + 256, **learned)(torch.zeros(1, 1, 2))
    grid = torch.arange(-2000, 2000) / 255
    assert p.each.log_prob(grid[:, None]).exp().sum().item() / 255 == pytest.approx(1, abs=1e-3)


def test_minus_the_log_of_a_bernoulli_is_the_cross_entropy() -> None:
    logits, x = 3 * torch.randn(4, 9), torch.randint(4, 6, (4, 9))
    bce = binary_cross_entropy_with_logits(logits, (x - 4.0), reduction="none").sum(1)
    same(-Bernoulli(6)(logits.unsqueeze(-1)).log_prob(x), bce)


@pytest.mark.parametrize(("sigma", "floor"), [(0.5, 177.02), (1.0, 720.45), (0.1, -1084.78)])
def test_a_fixed_width_has_its_floor(sigma: float, floor: float) -> None:
    """T ln(sigma sqrt(2 pi)), reached by means that are exactly the pixels: black and white."""
    assert 784 * math.log(sigma * math.sqrt(2 * math.pi)) == pytest.approx(floor, abs=0.005)
    x = torch.randint(4, 6, (3, 784))
    exact = (200.0 * (x - 4.5)).unsqueeze(-1)
    same(-Gaussian(6, sigma=sigma)(exact).log_prob(x), torch.full((3,), floor), 1e-4)


def test_a_learned_width_is_best_at_the_root_of_the_mean_squared_error() -> None:
    likelihood, a = Gaussian(SPECIAL + 256), torch.randn(20, 50, 1)
    x = torch.randint(SPECIAL, likelihood.vocab, (20, 50))
    error = (a.sigmoid().squeeze(-1) - (x - SPECIAL) / 255).square().mean().sqrt().item()
    assert likelihood.scale is not None
    with torch.no_grad():  # softplus(s - 1) + 1/255 = error
        likelihood.scale.copy_(torch.tensor(math.log(math.expm1(error - 1 / 255)) + 1))

    def slope_at(shift: float) -> float:
        assert likelihood.scale is not None
        with torch.no_grad():
            likelihood.scale.add_(shift)
        [slope] = torch.autograd.grad(likelihood(a).log_prob(x).sum(), likelihood.scale)
        return slope.item() / x.numel()

    assert slope_at(0.0) == pytest.approx(0, abs=1e-4)
    assert slope_at(-0.5) > 0.05 and slope_at(1.0) < -0.05


def test_a_width_for_each_pixel_grows_with_its_own_number_and_is_never_below_a_level() -> None:
    a = torch.tensor([[[0.0, -1000.0], [0.0, 0.0], [0.0, 3.0]]])
    widths = Gaussian(6, learned="pixel")(a).each.stddev[0].tolist()
    assert widths == pytest.approx([1 / 255, 0.3171826, 2.1308489], abs=1e-5)


@laws
def test_samples_have_the_mean_it_says(kind: Any, way: dict[str, Any]) -> None:
    likelihood = made(kind, way, levels=256)
    p = likelihood(numbers(likelihood, 2, 5))
    drawn = p.sample((4000,))
    assert drawn.dtype == torch.int64 and drawn.shape == (4000, 2, 5)
    assert drawn.min() >= SPECIAL and drawn.max() < likelihood.vocab
    assert p.sample().shape == p.mode.shape == p.mean.shape == (2, 5)
    assert p.mean.min() >= 0 and p.mean.max() <= 1
    bright = (drawn - SPECIAL) / (likelihood.levels - 1)
    if kind is Gaussian:  # what is drawn outside comes back to 0 and 1
        mu, sigma = p.each.mean, p.each.stddev
        expected = (mu + sigma * torch.randn(20_000, 2, 5)).clamp(0, 1).mean(0)
    else:
        expected = p.mean
    same(bright.mean(0), expected, 5 * 0.5 / 4000**0.5)


@laws
def test_no_picture_is_likelier_than_the_mode(kind: Any, way: dict[str, Any]) -> None:
    likelihood = made(kind, way)
    p = likelihood(numbers(likelihood, 3, 4))
    best = p.token_log_prob(p.mode)
    for level in range(likelihood.levels):
        assert (p.token_log_prob(torch.full((3, 4), SPECIAL + level)) <= best + 1e-6).all()


def test_a_fair_coin_is_black_in_the_mode() -> None:
    assert Bernoulli(6)(torch.zeros(1, 2, 1)).mode.tolist() == [[4, 4]]


@laws
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_gradients_are_finite_however_far_the_numbers_go(
    kind: Any, way: dict[str, Any], scale: float
) -> None:
    likelihood = made(kind, way)
    a = numbers(likelihood, 2, 6, scale=scale).requires_grad_()
    log_px = likelihood(a).log_prob(ids(likelihood, 2, 6))
    learned = [a, *likelihood.parameters()]
    slopes = torch.autograd.grad(log_px.sum(), learned)
    assert log_px.isfinite().all() and all(slope.isfinite().all() for slope in slopes)


@laws
def test_densities_are_float32_of_numbers_in_half_precision(
    kind: Any, way: dict[str, Any]
) -> None:
    likelihood = made(kind, way)
    half, x = numbers(likelihood, 2, 100).bfloat16(), ids(likelihood, 2, 100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        p = likelihood(half)
        log_px, mean = p.log_prob(x), p.mean
    assert log_px.dtype == mean.dtype == torch.float32
    exact = likelihood(half.float())
    same(log_px, exact.log_prob(x), 1e-6)
    same(mean, exact.mean, 1e-6)


@laws
def test_ids_that_are_no_level_have_probability_zero(kind: Any, way: dict[str, Any]) -> None:
    likelihood = made(kind, way)
    p = likelihood(numbers(likelihood, 1, 3))
    x = torch.tensor([[0, SPECIAL, likelihood.vocab]])
    assert p.token_log_prob(x).isinf().tolist() == [[True, False, True]]
    assert p.log_prob(x).item() == -math.inf


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Bernoulli, {"vocab": 260}, "2 levels, and these have 256.*Binarise.*Gaussian, or Categ"),
        (Bernoulli, {"vocab": 5}, r"vocab = 5: .*Set vocab to 4 \+ levels"),
        (Categorical, {"vocab": 4}, "2 levels of brightness or more"),
        (Gaussian, {"vocab": 6, "sigma": 0.0}, "sigma = 0"),
        (Gaussian, {"vocab": 6, "sigma": -0.5}, "0.5 was published"),
        (Gaussian, {"vocab": 6, "sigma": math.nan}, "sigma = nan"),
        (Gaussian, {"vocab": 6, "sigma": math.inf}, "sigma = inf"),
        (Gaussian, {"vocab": 6, "sigma": 0.5, "learned": "one"}, "leave one out"),
        (Gaussian, {"vocab": 6, "learned": "all"}, "one of: one, pixel"),
    ],
)
def test_what_is_no_likelihood_is_refused_with_the_cure(
    kind: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        kind(**arguments)
