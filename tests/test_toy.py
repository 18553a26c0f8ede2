"""The toy corpora: docstrings are prose; the grammar is unambiguous, its entropy exact."""

import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from data_prep.text import prepare_text
from data_prep.toy import (
    FACTORS,
    Grammar,
    Kind,
    Rule,
    docstring_sentences,
    english,
    prose_sentences,
    write_docstrings,
    write_grammar,
)
from seqvae.corpus import open_corpus

ENGLISH = english()


def finite() -> Grammar:
    """A grammar without recursion, so that its sentences can be counted."""
    rules = {
        "<who>": [Rule(0.7, ("she",)), Rule(0.3, ("the", "<adjective>", "dog"))],
        "<adjective>": [Rule(0.5, ()), Rule(0.25, ("old",)), Rule(0.25, ("big",))],
    }
    kinds = [
        Kind(0.6, ("<who>", "ran"), {"tense": "past"}),
        Kind(0.4, ("<who>", "runs"), {"tense": "present"}),
    ]
    return Grammar(kinds, rules)


def test_probabilities_of_all_sentences_sum_to_one_and_give_the_entropy() -> None:
    grammar = finite()
    subjects = ["she", "the dog", "the old dog", "the big dog"]
    log_p = [grammar.log_prob(f"{who} {verb}") for who, verb in product(subjects, ["ran", "runs"])]
    assert sum(map(math.exp, log_p)) == pytest.approx(1.0, abs=1e-12)
    assert -sum(math.exp(value) * value for value in log_p) == pytest.approx(grammar.entropy)
    assert grammar.factor_entropy == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4))


def test_entropy_of_a_recursion_is_that_of_the_geometric_distribution() -> None:
    p = 0.3
    rules = {"S": [Rule(p, ("a", "S")), Rule(1 - p, ("b",))]}
    bits = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert Grammar([Kind(1.0, ("S",), {})], rules).entropy == pytest.approx(bits / (1 - p))


def test_an_ambiguous_grammar_is_seen_to_be_one() -> None:
    rules = {"A": [Rule(0.5, ("x",)), Rule(0.5, ("x", "A"))]}
    [parse] = Grammar([Kind(1.0, ("A", "A"), {})], rules).parses("x x x")
    assert parse.derivations == 2


def test_probabilities_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match=r"the rules of S have probability 0\.9"):
        Grammar([Kind(1.0, ("S",), {})], {"S": [Rule(0.9, ("a",))]})


def test_mean_surprise_of_samples_is_the_entropy() -> None:
    log_p = np.array([ENGLISH.log_prob(sentence) for sentence, _ in ENGLISH.sample(2000, seed=1)])
    error = log_p.std() / math.sqrt(len(log_p))
    assert abs(-log_p.mean() - ENGLISH.entropy) < 4 * error
    assert 12 < ENGLISH.entropy < 18 and 4 < ENGLISH.factor_entropy < 6.5


def test_every_sentence_has_one_parse_with_its_own_factors() -> None:
    for sentence, factors in ENGLISH.sample(500, seed=2):
        [parse] = ENGLISH.parses(sentence)
        assert parse.derivations == 1 and parse.factors == factors


def test_factors_occur_as_often_as_they_should() -> None:
    sampled = ENGLISH.sample(4000, seed=3)
    for name, values in FACTORS.items():
        for value, probability in values.items():
            share = sum(factors[name] == value for _, factors in sampled) / len(sampled)
            assert share == pytest.approx(probability, abs=4 * 0.5 / math.sqrt(len(sampled)))


def test_samples_are_a_function_of_the_seed_and_vary_in_length() -> None:
    sampled = ENGLISH.sample(300, seed=4)
    assert ENGLISH.sample(10, seed=4) == sampled[:10]
    assert ENGLISH.sample(10, seed=5) != sampled[:10]
    lengths = {len(sentence.split()) for sentence, _ in sampled}
    assert min(lengths) <= 6 and max(lengths) >= 14


@pytest.mark.parametrize(
    "sentence",
    ["", "the", "The cook tasted the soup .", "the cook tasted the soup", "the cooks tastes it ."],
)
def test_what_is_not_said_in_the_language_has_no_probability(sentence: str) -> None:
    assert ENGLISH.log_prob(sentence) == -math.inf


def test_a_known_sentence_has_the_product_of_its_choices() -> None:
    """i (a kind) · past of a food verb · the · no adjective · thing · no place, time, remark."""
    kind = 0.5 * 0.6 * 0.3 * 0.4 * 0.75 * 0.8 * 0.3
    zipf = 1 / sum(1 / rank for rank in range(1, 6))
    log_p = math.log(kind * zipf * 0.75 * zipf * 0.6 * 0.7 * 0.7)
    assert ENGLISH.log_prob("i tasted the soup .") == pytest.approx(log_p)


@pytest.mark.parametrize(
    ("docstring", "sentences"),
    [
        ("Return the sum.\nOf it all, as a list.", ["Of it all, as a list."]),
        ("Open the file.  Then close\nit again.", ["Then close it again."]),
        (">>> This is not prose at all.", []),
        ("Use it like this::\n\n    Call the function with it.", []),
        ("Set the value of some_name to this.", []),
        ("Call the doThing method of it.", []),
        ("An ending is missing from this", []),
        ('He said "this is a quote.', []),
        ("- Items of a list are not prose.", []),
        ("", []),
    ],
)
def test_only_plain_sentences_are_taken(docstring: str, sentences: list[str]) -> None:
    assert prose_sentences(docstring) == sentences


def test_docstrings_give_unique_sentences_the_same_every_time() -> None:
    sentences = docstring_sentences(limit=400)
    assert len(set(sentences)) == len(sentences) == 400
    assert docstring_sentences(limit=400) == sentences
    assert docstring_sentences(limit=50) == sentences[:50]
    assert all(4 <= len(sentence.split()) <= 20 for sentence in sentences)
    assert docstring_sentences(limit=50, seed=1) != sentences[:50]


def test_both_corpora_are_written_for_the_usual_path(tmp_path: Path) -> None:
    assert write_docstrings(tmp_path / "docs.txt", limit=200) == 200
    write_grammar(tmp_path / "toy.jsonl", 200, seed=0)
    first = json.loads((tmp_path / "toy.jsonl").read_text().split("\n")[0])
    assert set(first) == {"text", *FACTORS}
    docs = prepare_text([tmp_path / "docs.txt"], tmp_path / "docs")
    toy = prepare_text([tmp_path / "toy.jsonl"], tmp_path / "toy", label="tense", codec="word")
    assert docs.finished and sum(counts.kept for counts in docs.splits.values()) == 200
    assert toy.finished and open_corpus(toy.folder).labels == ["future", "past", "present"]
