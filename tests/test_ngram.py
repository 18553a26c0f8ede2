"""The n-gram model is a distribution over sequences, smoothed as the formula says."""

import math
from itertools import product

import numpy as np
import pytest

from seqvae.errors import Refused
from seqvae.ngram import NGram
from seqvae.tokens import BOS, EOS, UNK

VOCAB = 9
SENTENCES = [[4, 5, 6, EOS], [4, 5, EOS], [7, 4, 5, 6, EOS], [UNK, 5, EOS], [EOS]]


def language(sharpness: float, count: int, seed: int = 0) -> list[list[int]]:
    """Sentences of nine tokens, each the successor of the last with so much probability."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ids = [int(draw.integers(4, VOCAB))]
        while len(ids) < 9:
            next_one = 4 + (ids[-1] - 3) % (VOCAB - 4)
            follows = draw.random() < sharpness
            ids.append(next_one if follows else int(draw.integers(4, VOCAB)))
        found.append([*ids, EOS])
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("sequences", [SENTENCES, [[4, 5, EOS]] * 1000, []])
def test_next_tokens_have_probabilities_that_sum_to_one_in_every_context(
    sequences: list[list[int]], order: int
) -> None:
    model = NGram(sequences, VOCAB, order)
    for context in product(range(VOCAB), repeat=order - 1):
        each = [model.probability(token, context) for token in range(VOCAB)]
        assert min(each) > 0 and sum(each) == pytest.approx(1.0)


def test_bigrams_are_those_counted_by_hand() -> None:
    model = NGram([[4, 5, 3], [4, 6, 3]], vocab=7, order=2)
    # 4, 5 and 6 were each seen behind one token, 3 behind two: five in all, of four kinds.
    unseen = 0.75 * 4 * (1 / 7) / 5
    four = five = (1 - 0.75) / 5 + unseen
    three = (2 - 0.75) / 5 + unseen
    assert model.probability(0, (0,)) == pytest.approx(unseen)
    assert model.probability(3, (0,)) == pytest.approx(three)
    first = (2 - 0.75 + 0.75 * four) / 2
    second = (1 - 0.75 + 0.75 * 2 * five) / 2
    third = (1 - 0.75 + 0.75 * three) / 1
    assert model.token_log_prob([4, 5, 3]) == pytest.approx(np.log([first, second, third]))
    assert model.log_prob([4, 5, 3]) == pytest.approx(math.log(first * second * third))


def test_below_the_highest_order_a_token_counts_once_for_each_that_stood_before() -> None:
    """5 is frequent but only ever behind 4; 6 is rarer and stood behind three tokens."""
    model = NGram([[4, 5, EOS]] * 9 + [[7, 6, EOS], [8, 6, EOS], [4, 6, EOS]], VOCAB, order=2)
    assert model.counts[(5,)] == 1 and model.counts[(6,)] == 3
    assert model.counts[(4, 5)] == 9


def test_what_begins_a_sequence_is_counted_as_often_as_it_was_seen() -> None:
    model = NGram([[4, EOS]] * 5 + [[6, 4, EOS]], VOCAB)
    assert model.counts[(BOS, BOS, 4)] == model.counts[(BOS, 4)] == 5
    assert model.counts[(4,)] == 2  # behind BOS and behind 6


def test_no_sequence_sees_the_one_before_it() -> None:
    first, second = [4, 5, 6, EOS], [7, 8, EOS]
    assert NGram([first, second], VOCAB).counts == NGram([second, first], VOCAB).counts
    assert not any(BOS in gram[1:] and gram[0] != BOS for gram in NGram([first], VOCAB).counts)


def test_a_sharper_language_costs_less_and_uniform_is_the_most() -> None:
    costs = []
    for sharpness in (0.0, 0.6, 0.95):
        model = NGram(language(sharpness, 2000), VOCAB)
        costs.append(model.nll(language(sharpness, 500, seed=1)))
    assert costs[2] < costs[1] - 0.3 < costs[0] - 0.3 < math.log(VOCAB)
    assert NGram([], VOCAB).nll(SENTENCES) == pytest.approx(math.log(VOCAB))


def test_of_the_sharpest_language_little_is_left_to_pay() -> None:
    """Nine successions known, a first token among five, and an end that comes after nine."""
    exact = math.log(VOCAB - 4) / 10
    assert NGram(language(1.0, 3000), VOCAB, order=10).nll(language(1.0, 500, 1)) < exact + 0.01


def test_another_language_costs_more_than_ones_own() -> None:
    own = NGram(language(0.9, 1000), VOCAB)
    backwards = [[*ids[-2::-1], EOS] for ids in language(0.9, 500, seed=1)]
    assert own.nll(backwards) > own.nll(language(0.9, 500, seed=1)) + 1


def test_nll_is_nats_a_token_with_the_end_and_without_the_unknown() -> None:
    model = NGram(SENTENCES, VOCAB)
    known = [ids for ids in SENTENCES if UNK not in ids]
    total, tokens = sum(map(model.log_prob, known)), sum(map(len, known))
    assert model.nll(known) == pytest.approx(-total / tokens)
    _, five, end = model.token_log_prob([UNK, 5, EOS])
    assert model.nll([[UNK, 5, EOS]]) == pytest.approx(-(five + end) / 2)


def test_an_order_of_one_knows_no_context() -> None:
    model = NGram([[4, 4, 5, EOS]], VOCAB, order=1)
    assert model.probability(4, ()) == pytest.approx((2 - 0.75 + 0.75 * 3 / VOCAB) / 4)


@pytest.mark.parametrize("ids", [[VOCAB, EOS], [-1, EOS]])
def test_ids_outside_the_vocabulary_are_refused(ids: list[int]) -> None:
    with pytest.raises(Refused, match="take the vocab of the codec"):
        NGram([ids], VOCAB)
    with pytest.raises(Refused, match="vocabulary of 9"):
        NGram(SENTENCES, VOCAB).log_prob(ids)


@pytest.mark.parametrize("nothing", [[], [[]], [[UNK]]])
def test_nothing_has_no_cost_a_token(nothing: list[list[int]]) -> None:
    with pytest.raises(Refused, match="no tokens to score"):
        NGram(SENTENCES, VOCAB).nll(nothing)


def test_an_order_below_one_is_refused() -> None:
    with pytest.raises(Refused, match="order = 0"):
        NGram(SENTENCES, VOCAB, order=0)
