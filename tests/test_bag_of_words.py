"""The bag of words: its value by hand, what it counts, and who learns by it."""

from typing import Any

import pytest
import torch
from small import LATENT, VOCAB, batch, loud, pad, same, vae
from torch import Tensor

from seqvae.distributions import gaussian
from seqvae.errors import Refused
from seqvae.objectives import Elbo
from seqvae.regularizers import BagOfWords
from seqvae.schedules import constant
from seqvae.tokens import BOS, EOS, PAD, UNK
from seqvae.vae import Batch, Pass


def trip(z: Tensor, items: Batch) -> Pass:
    q = gaussian(z, torch.ones_like(z))
    return Pass(items, q, q, z, q, torch.zeros(len(z)))


@pytest.fixture
def bag() -> Any:
    return BagOfWords(VOCAB, LATENT, hidden=8)


def test_it_is_the_sum_over_words_of_their_log_probabilities(bag: BagOfWords) -> None:
    z, items = torch.randn(4, LATENT), batch()
    found = bag(trip(z, items))
    for row, words in enumerate(items.x.tolist()):
        log_p = bag.network(z[row]).softmax(-1).log()
        expected = -sum(log_p[word] for word in words if word not in (PAD, BOS, EOS))
        same(found[row], torch.as_tensor(expected))


def test_order_and_padding_do_not_count_but_unknown_words_do(bag: BagOfWords) -> None:
    z = torch.randn(1, LATENT).expand(4, -1)
    items = batch([[5, 4, 6, 3], [6, 5, 4, 3], [5, 4, 6], [5, 4, 6, UNK, 3]])
    value = bag(trip(z, items))
    same(value[1:3], value[:1].expand(2))
    assert value[3] > value[0]
    same(bag(trip(z, pad(items))), value)


def test_where_all_words_are_as_likely_a_word_costs_log_v(bag: BagOfWords) -> None:
    loud(bag.network[-1], 0.0)
    words = batch().length - 1
    value = bag(trip(torch.randn(4, LATENT), batch()))
    same(value, words * torch.tensor(float(VOCAB)).log())


def test_its_network_learns_with_the_others_until_the_code_tells_the_words() -> None:
    model, bag = vae(), BagOfWords(VOCAB, LATENT, hidden=16)
    assert not bag.learns_apart()
    objective = Elbo({"bag": (bag, constant)})
    weights = [*model.parameters(), *objective.parameters()]
    assert {id(p) for p in bag.parameters()} <= {id(p) for p in weights}
    optimizer = torch.optim.Adam(weights, lr=0.02)
    values = []
    for _ in range(80):
        loss, report = objective(model, batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(report["penalty/bag"]))
    # No code could do better than to know each item's shares of words.
    least = sum(_entropy(words) for words in ([5, 4, 6, 8], [7], [4, 4, 5], [8, 7, 6, 5, 4])) / 4
    assert values[0] > 1.5 * least
    assert least - 1e-4 < values[-1] < least + 0.4


def _entropy(words: list[int]) -> float:
    """-sum_t log of the share of word t among its item's."""
    share = torch.bincount(torch.tensor(words))[words] / len(words)
    return float(-share.log().sum())


def test_it_is_in_float32_where_networks_run_in_bfloat16(bag: BagOfWords) -> None:
    out = trip(torch.randn(4, LATENT), batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = bag(out)
    assert value.dtype == torch.float32
    same(value, bag(out), 0.05)


def test_a_code_of_no_dimensions_costs_nothing_and_has_no_network() -> None:
    bag = BagOfWords(VOCAB, 0)
    assert list(bag.parameters()) == []
    assert bag(trip(torch.zeros(4, 0), batch())).tolist() == [0.0] * 4


def test_a_network_of_no_width_is_refused() -> None:
    with pytest.raises(Refused, match="hidden = 0"):
        BagOfWords(VOCAB, LATENT, hidden=0)
