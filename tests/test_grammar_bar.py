"""The bar script: rows match factors, a bar is a range."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.grammar import FACTORS, english
from seqvae.corpus import Corpus
from seqvae.errors import Refused

SCRIPT = Path(__file__).parents[1] / "scripts" / "grammar_bar.py"
FIGURES = {"reconstruction": 11.2, "kl": 6.0, "iw_bound": 17.3, "iw_effective_samples": 40.0}


@pytest.fixture(scope="module")
def bar() -> dict[str, Any]:
    """The script's names, with a language of a few sentences."""
    names = runpy.run_path(str(SCRIPT))
    names["make_language"].__globals__["LANGUAGE"] = {
        "train": (300, 0),
        "valid": (40, 1),
        "test": (60, 2),
    }
    return names


@pytest.fixture(scope="module")
def language(bar: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return bar["make_language"](tmp_path_factory.mktemp("language"))


def test_rows_match_factors_and_no_sentence_is_left_out(
    bar: dict[str, Any], language: Corpus
) -> None:
    for split, count in [("train", 300), ("test", 60)]:
        rows = bar["read_rows"](language.folder.parent / f"{split}.jsonl", language, split)
        items = language.split(split)
        assert len(rows) == len(items) == count
        for place, row in enumerate(rows):
            assert language.codec.encode(row.pop("text")).ids == items[place].tolist()
            assert set(row) == set(FACTORS)


def test_lines_in_another_order_are_refused(
    bar: dict[str, Any], language: Corpus, tmp_path: Path
) -> None:
    lines = (language.folder.parent / "test.jsonl").read_text("utf-8").splitlines()
    for changed in (lines[::-1], lines[:-1]):
        (tmp_path / "test.jsonl").write_text("\n".join(changed), "utf-8")
        with pytest.raises(Refused, match="same order"):
            bar["read_rows"](tmp_path / "test.jsonl", language, "test")


def test_exact_costs_are_those_of_the_grammar(bar: dict[str, Any]) -> None:
    rows = [{"text": sentence} for sentence, _ in english().sample(1000, seed=0)]
    exact = bar["exact_nll"](rows)
    assert exact[3] == -english().log_prob(rows[3]["text"])
    assert exact.mean() == pytest.approx(english().entropy, abs=0.5)


def test_a_figure_off_its_bar_is_seen_and_luck_of_the_draw_is_taken_off(
    bar: dict[str, Any],
) -> None:
    entropy = english().entropy
    exact = np.full(2000, entropy + 0.5)  # test items that cost more than the language does
    lm = {"reconstruction": entropy + 0.6}
    found = bar["bars"](lm, {**FIGURES, "iw_samples": 100}, exact, {"tense": 0.95}, 600.0)
    named = {b.name.strip(): b for b in found}
    assert not named["language model, NLL"].reached
    # Both NLLs are corrected; the one that is named last is the VAE's.
    assert named["less luck of the draw"].value == pytest.approx(FIGURES["iw_bound"] - 0.5)
    assert named["repayment"].value == pytest.approx((entropy + 0.6 - 11.2) / 6)
    assert named["repayment"].most is None
    assert named["share of samples that count"].value == 0.4
    assert named["rate R"].reached and named["probe, tense"].reached
    assert named["time in all"].value == 10
    assert "NO" in bar["report"](found)


def test_the_whole_script_measures_a_tiny_run_and_says_that_it_misses(
    bar: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scope = bar["main"].__globals__
    read = scope["recipe"].read

    def brief(name: str) -> dict[str, Any]:
        small = ["encoder.hidden=8", "decoder.hidden=8", "training.steps=2"]
        return scope["recipe"].override(read(name), [*small, "training.validate_on=20"])

    monkeypatch.setattr(scope["recipe"], "read", brief)
    monkeypatch.setitem(scope, "SAMPLES", 2)
    monkeypatch.setattr("sys.argv", ["grammar_bar.py", str(tmp_path), "--seed", "3"])
    assert bar["main"]() == 1
    assert bar["main"]() == 1, "a second call measures the same runs again"
    written = json.loads((tmp_path / "grammar_bar.json").read_bytes())
    assert written["seed"] == 3 and len(written["corpus"]) == 64
    assert {name for name in FACTORS} == {
        b["name"].removeprefix("probe, ") for b in written["bars"] if "probe" in b["name"]
    }
    assert (tmp_path / "grammar-3" / "card.md").is_file()
