"""What is measured, on posteriors and weights whose figures are known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import same

from seqvae.metrics import (
    active_units,
    bootstrap,
    effective_samples,
    evidence,
    evidence_of,
    fano_accuracy,
    fano_rate,
    perplexity,
    repayment,
    shuffle_within,
    spectrum,
    standard_error,
)


def test_active_units_and_spectrum_of_a_posterior_made_by_hand() -> None:
    """Dimension d has means ±s_d, hence variance s_d^2 N/(N-1): 3 of 5 are above 0.01."""
    widths = torch.tensor([0.05, 2.0, 0.0, 0.5, 0.2])
    signs = torch.tensor([1.0, -1.0]).repeat(50).unsqueeze(-1)
    mu = 1000.0 + signs * widths  # far from zero, where one pass in float32 would see noise
    same(
        spectrum(mu),
        torch.tensor([4.0, 0.25, 0.04, 0.0025, 0.0], dtype=torch.float64) * 100 / 99,
        1e-4,
    )
    assert active_units(mu) == 3
    assert active_units(mu, threshold=0.001) == 4
    assert active_units(mu[:1]) == 0


def test_the_threshold_of_an_active_unit_belongs_to_it() -> None:
    assert active_units(torch.tensor([[0.0], [1.0]]), threshold=0.5) == 1


def test_evidence_is_the_log_of_the_mean_weight() -> None:
    log_w = torch.tensor([[0.0, -2000.0], [math.log(3.0), -2000.0]])
    same(evidence(log_w), torch.tensor([math.log(2.0), -2000.0]))


def test_effective_samples_count_equal_weights_fully_and_one_large_weight_once() -> None:
    log_w = torch.tensor([[5.0, 0.0, 0.0], [5.0, -900.0, 0.0], [5.0, -900.0, -900.0]]) - 3000.0
    same(effective_samples(log_w), torch.tensor([3.0, 1.0, 2.0]), 1e-3)
    weights = torch.tensor([[1.0], [2.0], [3.0]])
    same(effective_samples(weights.log()), torch.tensor([36.0 / 14.0]))


def test_the_bound_at_fewer_samples_uses_each_sample_once() -> None:
    """At one sample it is the mean log-weight, at all of them the bound; groups are disjoint."""
    log_w = torch.tensor([1.0, 3.0, 1.0, 1.0, 5.0]).log().unsqueeze(1)
    same(evidence_of(log_w, 1), log_w.mean(0))
    same(evidence_of(log_w, 5), evidence(log_w))
    same(evidence_of(log_w, 2), torch.tensor([(math.log(2) + math.log(1)) / 2]))  # 5 is spare
    same(evidence_of(log_w, 3), torch.tensor([math.log(5 / 3)]))


@given(count=st.sampled_from([1, 2, 4, 8]), seed=st.integers(0, 99))
@settings(deadline=None, derandomize=True)
def test_the_bound_tightens_with_every_doubling(count: int, seed: int) -> None:
    """Of the same samples, by Jensen: no chance is involved."""
    log_w = torch.randn(16, 3, generator=torch.Generator().manual_seed(seed)) * 3
    assert (evidence_of(log_w, 2 * count) >= evidence_of(log_w, count) - 1e-5).all()


def test_perplexity_of_a_fair_die_is_six_and_never_overflows() -> None:
    assert perplexity(10 * math.log(6), 10) == pytest.approx(6)
    assert perplexity(1e6, 1) == math.inf


def test_standard_error_is_that_of_the_mean() -> None:
    assert standard_error(torch.tensor([1.0, 3.0, 5.0])) == pytest.approx(2 / 3**0.5)
    assert math.isnan(standard_error(torch.tensor([1.0])))


def test_a_bootstrap_interval_covers_the_truth_at_its_rate() -> None:
    """400 samples of 60 skewed numbers of mean 1: 95 % give or take 1.1, less what skew costs."""
    draw = torch.Generator().manual_seed(0)
    covered = 0
    for seed in range(400):
        values = -torch.rand(60, generator=draw).log()
        low, high = bootstrap(values, draws=500, seed=seed)
        assert low < float(values.mean()) < high
        covered += low < 1.0 < high
    assert 0.90 < covered / 400 < 0.975


def test_a_bootstrap_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    low, high = bootstrap(values)
    assert high - low == pytest.approx(2 * 1.96 * standard_error(values), rel=0.06)
    assert (low, high) == bootstrap(values) != bootstrap(values, seed=1)


def test_a_bootstrap_keeps_what_is_paired_together() -> None:
    """The ratio of a column to itself is sure, however uncertain the column is."""
    column = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 20 + 30
    pairs = torch.stack([column, column, 2 * column], dim=1)
    low, high = bootstrap(column)
    assert high - low > 5
    assert bootstrap(pairs, lambda means: means[:, 0] / means[:, 1]) == (1.0, 1.0)
    same(
        torch.tensor(bootstrap(pairs, lambda means: repayment(*means[:, [2, 0, 1]].unbind(-1)))),
        torch.ones(2),
    )


def test_one_value_has_no_interval() -> None:
    assert all(map(math.isnan, bootstrap(torch.ones(1))))


def test_repayment_is_nothing_for_the_deaf_and_one_for_a_code_that_costs_nothing() -> None:
    rate, nll = torch.tensor([6.0, 6.0, 6.0]), torch.tensor([30.0, 24.0, 33.0])
    same(repayment(torch.tensor(30.0), nll, rate), torch.tensor([0.0, 1.0, -0.5]))


@given(groups=st.lists(st.integers(0, 4), max_size=40), seed=st.integers(0, 99))
@settings(deadline=None, derandomize=True)
def test_shuffling_moves_everybody_within_its_group_who_can_move(
    groups: list[int], seed: int
) -> None:
    order = shuffle_within(torch.tensor(groups, dtype=torch.long), seed).tolist()
    assert sorted(order) == list(range(len(groups)))
    for place, source in enumerate(order):
        assert groups[place] == groups[source]
        assert (place == source) == (groups.count(groups[place]) == 1)


def test_shuffling_is_a_function_of_its_seed() -> None:
    groups = torch.zeros(50, dtype=torch.long)
    assert torch.equal(shuffle_within(groups, 1), shuffle_within(groups, 1))
    assert not torch.equal(shuffle_within(groups, 1), shuffle_within(groups, 2))


# --- rate and accuracy ---------------------------------------------------------------------------


def test_all_bits_are_needed_to_tell_everything_and_none_to_guess() -> None:
    """Of 32 tokens drawn evenly from 90, guessing is right once in 90 times."""
    places = [90] * 32
    entropy = 32 * math.log2(90)
    assert fano_rate(1.0, entropy, places) == entropy
    assert fano_rate(1 / 90, entropy, places) == pytest.approx(0.0, abs=1e-9)
    assert fano_accuracy(0.0, entropy, places) == pytest.approx(1 / 90, abs=1e-6)
    assert fano_accuracy(entropy, entropy, places) == 1.0
    assert fano_accuracy(1e9, entropy, places) == 1.0


def test_fano_is_the_formula_where_all_places_have_equally_many_tokens() -> None:
    error, places = 0.05, [90] * 32
    coin = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    expected = 60.0 - 32 * (coin + error * math.log2(89))
    assert fano_rate(1 - error, 60.0, places) == pytest.approx(expected, abs=1e-9)


def test_errors_fall_where_they_leave_most_open() -> None:
    """No other spread of the same errors over unequal places asks for fewer bits."""
    places, error = [2, 90, 512], 0.2
    least = fano_rate(1 - error, 20.0, places)
    draw = np.random.default_rng(0)
    for _ in range(200):
        spread = draw.dirichlet([1.0, 1.0, 1.0]) * 3 * error
        if spread.max() < 1:
            each = zip(spread, places, strict=True)
            told = 20.0 + sum(fano_rate(1 - float(e), 0.0, [v]) for e, v in each)
            assert told >= least - 1e-9


@pytest.mark.parametrize("places", [[90] * 32, [2] * 8, [90, 90, 512] * 32, [1, 90]])
def test_more_accuracy_needs_more_bits_and_the_inverse_gives_it_back(places: list[int]) -> None:
    chance = sum(1 / v for v in places) / len(places)
    shares = [chance + (1 - chance) * step / 20 for step in range(1, 21)]
    rates = [fano_rate(share, 60.0, places) for share in shares]
    assert rates == sorted(rates) and rates[-1] == 60.0
    for share, rate in zip(shares, rates, strict=True):
        assert fano_accuracy(rate, 60.0, places) == pytest.approx(share, abs=1e-9)


def test_a_code_that_holds_what_it_tells_lies_on_the_line() -> None:
    """One bit sent through a coin that lies with probability e: I = 1 - h2(e) bits, told 1 - e."""
    error = 0.11
    held = 1 + error * math.log2(error) + (1 - error) * math.log2(1 - error)
    assert fano_rate(1 - error, 1.0, [2]) == pytest.approx(held, abs=1e-9)
