"""A report says what was measured, on what, and what is undefined."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import prepared, recipe, sentences, train, windows

from data_prep.text import prepare_text
from seqvae import runs
from seqvae.codecs import DrumsCodec, TrioCodec
from seqvae.corpus import find_corpus
from seqvae.errors import Refused
from seqvae.evaluate import Measured
from seqvae.reports.report import EvaluationReport, _seen, evaluate_run

FEW: dict[str, Any] = {"samples": 4, "fitted_items": 2, "written": 8}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    corpus = prepared(folder).folder
    train(recipe(), corpus, folder / "run")
    train(recipe(latent=0), corpus, folder / "lm")
    autoencoder = recipe(posterior_kind="DeltaPosterior", training_select="reconstruction")
    autoencoder["objective"] = {"kind": "InfoVAE", "alpha": 1.0, "lambda": 10.0}
    train(autoencoder, corpus, folder / "ae")
    noise = recipe()
    noise["encoder"] = {"kind": "NoiseEncoder"}
    train(noise, corpus, folder / "noise")
    return folder


def test_the_figures_can_be_measured_again(home: Path, tmp_path: Path) -> None:
    def measured() -> dict[str, object]:
        report, written = evaluate_run(home / "run", out=tmp_path, device="cpu", **FEW)
        assert written[0] == tmp_path / "report.json"
        assert all(path.is_file() for path in written)
        return dict(report.as_json(), about=None)

    assert measured() == measured()


def test_a_report_on_disk_is_the_report(home: Path, tmp_path: Path) -> None:
    report, _ = evaluate_run(home / "run", out=tmp_path, device="cpu", **FEW)
    assert json.loads((tmp_path / "report.json").read_bytes()) == report.as_json()
    figures = report.measured.figures
    assert figures["items"] == len(find_corpus(home / "run").split("valid"))
    assert math.isclose(
        figures["negative_elbo"], figures["reconstruction"] + figures["kl"], rel_tol=1e-9
    )
    assert math.isclose(
        sum(report.measured.vectors["kl_per_dimension"]), figures["kl"], rel_tol=1e-5
    )
    told = {name.strip(): (cell, remark) for name, cell, remark in report.rows()}
    assert told["valid split"][0] == f"{figures['items']} items"
    assert told["active units"][0] == f"{figures['active_units']} of 2"
    assert "another's code" in told["z-shuffle ΔNLL"][1]
    assert report.about["run"] == "run"


def test_a_language_model_has_a_likelihood_and_no_code(home: Path, tmp_path: Path) -> None:
    report, _ = evaluate_run(home / "lm", out=tmp_path, device="cpu", **FEW)
    assert report.measured.figures["kl"] == 0
    assert "active_units" not in report.measured.figures
    assert "verdict" not in report.measured.figures


@pytest.mark.parametrize("baseline", ["lm", "noise"])
def test_repayment_is_measured_against_a_model_without_a_code(
    baseline: str, home: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"samples": 0, "written": 8, "out": tmp_path, "device": "cpu"}
    report, _ = evaluate_run(home / "run", baseline=home / baseline, **options)
    figures = report.measured.figures
    alone = evaluate_run(home / baseline, **options)[0].measured.figures
    assert figures["baseline_nll"] == pytest.approx(alone["reconstruction"], rel=1e-6)
    saved = figures["baseline_nll"] - figures["reconstruction"]
    assert figures["repayment"] == pytest.approx(saved / figures["kl"], rel=1e-6)
    assert figures["repayment_low"] <= figures["repayment"] <= figures["repayment_high"]
    beyond = figures["negative_elbo"] - figures["baseline_nll"]
    assert figures["price"] == pytest.approx(beyond, rel=1e-6)
    assert figures["price_low"] <= figures["price"] <= figures["price_high"]
    assert ("samples_model_nll" in figures) == (baseline == "lm"), "only its likelihood is exact"
    assert report.about["baseline"] == baseline
    assert (tmp_path / "figures" / "positions.png").is_file()


def test_a_baseline_with_a_code_or_another_codec_is_refused(home: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"samples": 0, "written": 0, "out": tmp_path, "device": "cpu"}
    for wrong in ("run", "ae"):
        with pytest.raises(Refused, match=r"code of its own.*latent = 0"):
            evaluate_run(home / "run", baseline=home / wrong, **options)
    (tmp_path / "text.txt").write_text("\n".join(f"{line} now" for line in sentences(60)), "utf-8")
    other = prepare_text([tmp_path / "text.txt"], tmp_path / "corpus", codec="char").folder
    train(recipe(latent=0, training_steps=1), other, tmp_path / "other")
    with pytest.raises(Refused, match="another codec"):
        evaluate_run(home / "run", baseline=tmp_path / "other", **options)


def test_an_autoencoder_has_a_code_and_no_likelihood(home: Path, tmp_path: Path) -> None:
    report, _ = evaluate_run(home / "ae", out=tmp_path, device="cpu", **FEW)
    figures = report.measured.figures
    assert not {"kl", "negative_elbo", "iw_nll", "repayment"} & set(figures)
    assert "fitted" in figures["perplexity_from"], "only a fitted posterior has a density here"
    assert "active_units" in report.measured.figures
    assert any("n/a" in note and "no density" in note for note in report.notes)


def test_looks_at_the_test_split_add_up(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "run", tmp_path / "run")
    for _ in range(2):
        evaluate_run(run, split="test", samples=0, written=0, device="cpu")
    evaluate_run(run, split="valid", samples=0, written=0, device="cpu")
    ledger = (run / "test_ledger.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["split"] for line in ledger] == ["test", "test"]


def test_a_run_that_ships_is_never_written_to(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(home / "run", tmp_path / "shelf" / "name")
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: tmp_path / "shelf")
    monkeypatch.chdir(tmp_path)
    corpus = find_corpus(home / "run").folder
    before = sorted(run.rglob("*"))
    _, written = evaluate_run(run, corpus, split="test", samples=0, written=0, device="cpu")
    assert {path.parts[:2] for path in written} == {("reports", "name")}
    _, written = evaluate_run(
        run, corpus, split="test", samples=0, written=0, device="cpu", out=tmp_path / "elsewhere"
    )
    ledger = Path("reports/name/test_ledger.jsonl")
    assert written[-1] == ledger, "every look is noted in one place"
    assert len(ledger.read_text("utf-8").splitlines()) == 2
    assert sorted(run.rglob("*")) == before
    with pytest.raises(Refused, match=r"its corpus does not\. Name one: --corpus"):
        evaluate_run(run, samples=0, written=0, device="cpu")


@pytest.mark.parametrize("codec", ["word", "bpe"])
def test_a_codec_that_differs_in_one_token_is_another(codec: str, tmp_path: Path) -> None:
    """Ids would name other tokens: figures of a corpus one cannot read are worse than none."""
    for name, word in (("one", "zebra"), ("two", "zebro")):
        lines = [f"{line} {word}" for line in sentences(120)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines), "utf-8")
        prepare_text(
            [tmp_path / f"{name}.txt"],
            tmp_path / name,
            codec=codec,
            vocab=None if codec == "word" else 300,
        )
    train(recipe(training_steps=1), tmp_path / "one", tmp_path / "run")
    with pytest.raises(Refused, match="another codec"):
        evaluate_run(tmp_path / "run", tmp_path / "two", samples=0, written=0, device="cpu")
    evaluate_run(tmp_path / "run", tmp_path / "one", samples=0, written=0, device="cpu")


def test_an_undefined_figure_is_null_and_never_not_a_number() -> None:
    measured = Measured(
        {"items": 1, "iw_standard_error": math.nan, "iw_convergence": {"1": math.inf}}
    )
    written = json.dumps(EvaluationReport(measured, {"split": "valid"}).as_json())
    assert not re.search("NaN|Infinity", written)


def test_the_corpus_of_a_run_is_found_and_must_be_the_same(home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "run", tmp_path / "run")
    assert find_corpus(run).checksum == find_corpus(home / "run").checksum
    note = json.loads((run / "corpus.json").read_bytes())
    for changed, says in (
        ({**note, "checksum": "0" * 64}, "is not the corpus"),
        ({**note, "path": "gone"}, "does not exist"),
        ({"path": note["path"]}, "is damaged"),
        ([], "is damaged"),
    ):
        runs.write_text(run / "corpus.json", json.dumps(changed))
        with pytest.raises(Refused, match=says):
            find_corpus(run)
    (run / "corpus.json").unlink()
    with pytest.raises(Refused, match="does not say which corpus"):
        find_corpus(run)


def test_positions_that_hardly_any_item_has_are_not_drawn() -> None:
    vectors: dict[str, list[Any]] = {
        "gain_by_position": [1.0, 2.0, 3.0],
        "gain_position_items": [200, 2, 1],
    }
    assert _seen(vectors, "gain") == [1.0, 2.0]
    assert _seen(vectors, "saved") == []


def test_a_run_of_music_is_reported_as_one(tmp_path: Path) -> None:
    codec = TrioCodec(bars=1)
    corpus = windows(tmp_path / "corpus", codec).folder
    train(recipe(), corpus, tmp_path / "run")
    report, written = evaluate_run(tmp_path / "run", corpus, out=tmp_path, device="cpu", **FEW)
    plain = json.loads(written[0].read_bytes())
    assert [voice["voice"] for voice in plain["voices"]] == ["melody", "bass", "drums"]
    assert len(plain["drums"]) == 9
    assert plain["figures"]["noun"] == "window"
    assert len(plain["samples"]) == FEW["written"]
    assert all(len(line.split("melody")) == 17 for line in plain["samples"]), "16 steps to read"
    assert not [line for line in map(str, report.rows()) if "sentence" in line]
    card = (tmp_path / "run" / "card.md").read_text("utf-8")
    assert "60 windows to train on" in card and "(nats a window)" in card
    assert "bits a window" in card and "end token" not in card


def test_a_shipped_run_of_music_names_the_command_that_prepares_music(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = windows(tmp_path / "corpus", DrumsCodec(bars=1)).folder
    train(recipe(training_steps=1), corpus, tmp_path / "shelf" / "drums")
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: tmp_path / "shelf")
    with pytest.raises(Refused, match="seqvae prepare midi FOLDER --codec COPY/codec"):
        evaluate_run(tmp_path / "shelf" / "drums", device="cpu")
