"""An attribute in order: what is in order costs nothing, the reverse most, and training obeys."""

from typing import Any

import numpy as np
import pytest
import torch
from small import PICTURES, batch
from torch import Tensor

from seqvae.distributions import gaussian
from seqvae.encoders import DenseEncoder
from seqvae.errors import Refused
from seqvae.images import slant as slant_of_arrays
from seqvae.images import stroke_mass
from seqvae.pixels import mass, slant
from seqvae.posteriors import GaussianPosterior
from seqvae.regularizers import AttributeOrder
from seqvae.vae import Pass

PRIOR = gaussian(torch.zeros(2), torch.ones(2))
GREYER = [[4 + (place < count) for place in range(8)] for count in (1, 3, 6, 8)]


def penalty(**other: Any) -> AttributeOrder:
    return AttributeOrder(6, 2, shape=(2, 4, 1), **other)


def at(z: Tensor, pictures: list[list[int]] = GREYER) -> Pass:
    return Pass(batch(pictures), PRIOR, PRIOR, z, PRIOR, torch.zeros(len(z)))


def test_codes_in_order_cost_nothing_reversed_ones_two_and_blind_ones_one() -> None:
    z = torch.tensor([[-30.0, 0.0], [-10.0, 0.0], [10.0, 0.0], [30.0, 0.0]])
    assert penalty()(at(z)).item() == pytest.approx(0.0, abs=1e-6)
    assert penalty()(at(-z)).item() == pytest.approx(2.0, abs=1e-6)
    assert penalty(dimension=1)(at(z)).item() == pytest.approx(1.0, abs=1e-6)


def test_it_is_the_published_sum_over_pairs() -> None:
    z, a = torch.randn(4, 2), [sum(ids) for ids in PICTURES]
    told = [
        abs(np.tanh(0.7 * (z[i, 1] - z[j, 1]).item()) - np.sign(a[i] - a[j]))
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    found = penalty(dimension=1, delta=0.7)(at(z, PICTURES)).item()
    assert found == pytest.approx(float(np.mean(told)), rel=1e-5)


def test_attributes_are_those_of_the_figures() -> None:
    drawn = np.random.default_rng(0).random((5, 6, 7, 1))
    pixels = torch.as_tensor(drawn).movedim(-1, 1)
    assert np.allclose(mass(pixels).numpy(), stroke_mass(drawn))
    assert np.allclose(slant(pixels).numpy(), slant_of_arrays(drawn))


def test_training_turns_the_dimension_into_the_attribute() -> None:
    torch.manual_seed(0)
    encoder = DenseEncoder(6, GaussianPosterior(2), length=8, hidden=(16,))
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.02)
    items = batch([[4 + (place < count) for place in range(8)] for count in range(9)])
    for _ in range(150):
        q = encoder(items)
        loss = penalty()(Pass(items, q, PRIOR, q.rsample(), PRIOR, torch.zeros(9)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    means = encoder(items).mean[:, 0]
    assert bool((means.diff() > 0).all())


def test_one_item_and_an_empty_code_have_no_order() -> None:
    assert penalty()(at(torch.randn(1, 2), GREYER[:1])).item() == 0.0
    empty = AttributeOrder(6, 0, shape=(2, 4, 1))
    assert empty(at(torch.zeros(4, 0))).item() == 0.0


@pytest.mark.parametrize("wrong", [{"dimension": 2}, {"dimension": -1}, {"delta": 0.0}])
def test_a_dimension_that_is_none_and_no_steepness_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=next(iter(wrong))):
        penalty(**wrong)
