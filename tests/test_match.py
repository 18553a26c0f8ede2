"""How far codes lie from draws of a prior, where the answer is known."""

import math

import pytest
import torch
from small import SENTENCES, make
from torch import Tensor
from torch.distributions import Distribution

from seqvae.data import InMemory
from seqvae.decoders import LSTMDecoder
from seqvae.encoders import LSTMEncoder
from seqvae.evaluate import measure
from seqvae.measures.aggregate import prior_moments
from seqvae.measures.codes import Codes
from seqvae.measures.match import discrepancy, drawn, match, variation
from seqvae.metrics import boxes
from seqvae.posteriors import DeltaPosterior
from seqvae.priors import Product, Ring, StandardNormal, SwissRoll
from seqvae.randomness import seeded
from seqvae.regularizers.mmd import SCALES
from seqvae.vae import VAE

ITEMS = InMemory(SENTENCES * 5)
PRIORS: dict[str, Distribution] = {
    "normal": Product(2, family="Normal", parameters={"loc": 0.0, "scale": 5.0})(),
    "uniform": Product(2, family="Uniform", parameters={"low": -1.0, "high": 1.0})(),
    "gamma": Product(2, family="Gamma", parameters={"concentration": 2.0, "rate": 1.0})(),
    "ring": Ring(2)(),
    "swiss_roll": SwissRoll(2)(),
}
EACH = pytest.mark.parametrize("p", PRIORS.values(), ids=PRIORS)


def codes(z: Tensor, p: Distribution) -> Codes:
    """Nothing but codes and a prior."""
    empty = torch.zeros(len(z))
    return Codes(empty, empty, z, z, empty, None, None, None, [], p)


@EACH
def test_draws_of_a_prior_lie_no_farther_from_it_than_chance_has_them(p: Distribution) -> None:
    with seeded(1):
        found = match(codes(drawn(p, 2000), p))
    assert abs(found["aggregate_mmd"]) < 4 * found["aggregate_mmd_noise"]
    assert found["aggregate_tv"] == pytest.approx(found["aggregate_tv_floor"], rel=0.25)


@EACH
@pytest.mark.parametrize("scale", [0.0, 0.6])
def test_codes_drawn_together_are_told_from_the_prior(p: Distribution, scale: float) -> None:
    with seeded(1):
        found = match(codes(scale * drawn(p, 2000), p))
    assert found["aggregate_mmd"] > 10 * found["aggregate_mmd_noise"]
    assert found["aggregate_tv"] > 2 * found["aggregate_tv_floor"]


def test_the_floor_of_ten_thousand_draws_of_a_wide_normal_is_a_twentieth() -> None:
    """1/2 sum_b E|share - p_b| = 1/2 sum_b sqrt(2 p_b / (pi N)), over bins of 0.4 widths."""
    p = PRIORS["normal"]
    edges = torch.linspace(-4, 4, 21, dtype=torch.float64)
    each = torch.special.ndtr(edges).diff()
    expected = math.sqrt(2 / math.pi / 1e4) * float(each.sqrt().sum()) ** 2 / 2
    with seeded(0):
        floor = variation(drawn(p, 10_000), p)["aggregate_tv_floor"]
    assert floor == pytest.approx(expected, abs=0.006) == pytest.approx(0.05, abs=0.007)


def test_codes_of_another_place_have_all_their_mass_elsewhere() -> None:
    p = PRIORS["normal"]
    assert match(codes(torch.full((500, 2), 1e3), p))["aggregate_tv"] == pytest.approx(1, abs=1e-3)


def test_a_narrower_normal_varies_as_its_density_says() -> None:
    """TV of N(0, 1) and N(0, s^2) in the plane: the difference of their masses in a disc."""
    s = 0.5
    radius = 2 * math.log(1 / s**2) / (1 / s**2 - 1)  # squared, where the densities meet
    exact = math.exp(-radius / 2) - math.exp(-radius / 2 / s**2)
    p = StandardNormal(2)()
    with seeded(0):
        found = variation(s * drawn(p, 50_000), p)
    assert found["aggregate_tv"] == pytest.approx(exact, abs=0.03)


def test_no_code_is_lost_between_the_squares() -> None:
    z = torch.tensor([[0.0, 0.0], [0.999, 0.999], [1.0, 0.5], [-0.01, 0.5], [math.nan, 0.5]])
    shares = boxes(z, torch.zeros(2), torch.ones(2))
    assert shares[[0, 399, 400]].tolist() == [0.2, 0.2, 0.6]


def test_the_discrepancy_of_a_shift_is_that_of_its_kernel() -> None:
    """2 E k(a - b) - 2 E k(a - b + shift), a and b normal, by so many draws of a - b."""

    def kernel(difference: Tensor) -> float:
        square = difference.square().sum(1, keepdim=True)
        widths = 6 * torch.tensor(SCALES)
        return float((1 / (1 + square / widths)).sum(1).mean())

    p = StandardNormal(3)()
    with seeded(0):
        found = discrepancy(drawn(p, 2000) + 0.5, p, prior_moments(p))
        difference = math.sqrt(2) * torch.randn(200_000, 3)
    exact = 2 * kernel(difference) - 2 * kernel(difference + 0.5)
    assert found["aggregate_mmd"] == pytest.approx(exact, rel=0.2)


def test_the_noise_is_how_far_codes_drawn_from_the_prior_stray() -> None:
    """One block of 60 codes: its standard error is that of one sample, not of the nulls' mean."""
    p = StandardNormal(2)()
    with seeded(0):
        found = [discrepancy(drawn(p, 60), p, prior_moments(p)) for _ in range(100)]
    strays = torch.tensor([one["aggregate_mmd"] for one in found]).std().item()
    told = torch.tensor([one["aggregate_mmd_noise"] for one in found]).mean().item()
    assert told == pytest.approx(strays, rel=0.3)


def test_a_dead_dimension_of_many_is_told_by_the_moments_beside() -> None:
    p = StandardNormal(20)()
    with seeded(0):
        z = drawn(p, 400)
    z[:, 7] = 0.0
    found = match(codes(z, p))
    assert found["prior_mean"] == [0.0] * 20 and found["prior_sd"] == [1.0] * 20
    assert "aggregate_tv" not in found


def test_the_same_codes_have_the_same_figures_and_leave_the_callers_draws_alone() -> None:
    p, z = PRIORS["ring"], torch.randn(300, 2)
    torch.manual_seed(3)
    first, after = match(codes(z, p)), torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)
    assert match(codes(z, p)) == first != match(codes(z, p), seed=1)


@pytest.mark.parametrize("count", [0, 1])
def test_there_is_nothing_to_match_in_one_code_or_in_empty_ones(count: int) -> None:
    assert match(codes(torch.randn(count, 2), PRIORS["normal"])) == {}
    assert match(codes(torch.zeros(9, 0), StandardNormal(0)())) == {}


def test_a_measurement_says_how_its_codes_match_whatever_the_prior() -> None:
    encoder = make(LSTMEncoder, posterior=DeltaPosterior(2))
    measured = measure(VAE(encoder, SwissRoll(2), make(LSTMDecoder, latent=2)), ITEMS)
    figures = measured.figures
    assert figures["match_items"] == len(ITEMS) and 0 < figures["aggregate_tv"] <= 1
    assert math.isfinite(figures["aggregate_mmd"]) and len(measured.vectors["prior_sd"]) == 2
    assert not {"kl", "iw_nll", "negative_elbo"} & set(figures)
    assert any("KL and -ELBO: n/a" in note for note in measured.notes)
