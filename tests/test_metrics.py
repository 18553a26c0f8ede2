"""What is measured, on posteriors and weights whose figures are known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import same

from seqvae.metrics import (
    active_units,
    effective_samples,
    evidence,
    perplexity,
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


def test_perplexity_of_a_fair_die_is_six_and_never_overflows() -> None:
    assert perplexity(10 * math.log(6), 10) == pytest.approx(6)
    assert perplexity(1e6, 1) == math.inf


def test_standard_error_is_that_of_the_mean() -> None:
    assert standard_error(torch.tensor([1.0, 3.0, 5.0])) == pytest.approx(2 / 3**0.5)
    assert math.isnan(standard_error(torch.tensor([1.0])))


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
