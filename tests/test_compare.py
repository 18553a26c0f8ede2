"""Runs side by side: measured alike, once, on the same sentences, or refused."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import prepared, recipe, train, windows, write_text

from data_prep.text import prepare_text
from seqvae import runs
from seqvae.__main__ import main
from seqvae.codecs import DrumsCodec, MelodyCodec
from seqvae.corpus import open_corpus
from seqvae.errors import Refused
from seqvae.plots import rate_distortion
from seqvae.reports import compare as comparing
from seqvae.reports.compare import Comparison, compare, shortest, title
from seqvae.reports.report import evaluate_run
from seqvae.rows import TABLE
from seqvae.verdict import THRESHOLDS

FEW: dict[str, Any] = {"samples": 2, "sample_items": 4, "fitted_items": 1, "written": 4}
WORDS = ["--samples", "2", "--items", "4", "--fitted", "1", "--written", "4", "--device", "cpu"]
WORDS += ["--precision", "float32"]
ALL = ("vae", "lm", "ae", "other")


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """The figures of a report, which are not looked at here, cost more than all that is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqvae.reports.report._drawn", lambda measured: iter(()))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, two VAEs and an autoencoder of one corpus, each measured by nobody."""
    folder = tmp_path_factory.mktemp("home")
    corpus = prepared(folder).folder
    train(recipe(), corpus, folder / "vae")
    train(recipe(seed=1, training_steps=40), corpus, folder / "other")
    train(recipe(latent=0), corpus, folder / "lm")
    autoencoder = recipe(posterior_kind="DeltaPosterior", training_select="reconstruction")
    autoencoder["objective"] = {"kind": "InfoVAE", "alpha": 1.0, "lambda": 10.0}
    train(autoencoder, corpus, folder / "ae")
    return folder


@pytest.fixture(scope="module")
def reported(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """The same, compared once, and what came of it."""
    found, _ = compare(
        [home / name for name in ALL],
        out=tmp_path_factory.mktemp("out"),
        device="cpu",
        say=lambda sentence: None,
        **FEW,
    )
    return home, found


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that are measured from now on."""
    names: list[str] = []

    def counted(folder: Path, *arguments: Any, **options: Any) -> Any:
        names.append(folder.name)
        return evaluate_run(folder, *arguments, **options)

    monkeypatch.setattr(comparing, "evaluate_run", counted)
    return names


Again = Callable[..., Comparison]


@pytest.fixture
def again(tmp_path: Path) -> Again:
    """Compare runs, with few samples unless something else is said."""

    def command(*folders: Path | str, **other: Any) -> Comparison:
        given = {"out": tmp_path / "out", "device": "cpu", "say": print, **FEW, **other}
        return compare(folders, **given)[0]

    return command


def copies(home: Path, folder: Path, *names: str) -> list[Path]:
    """Copies of runs that find the corpus where it stands."""
    found = [shutil.copytree(home / name, folder / name) for name in names]
    for run in found:
        note = json.loads((run / "corpus.json").read_bytes())
        runs.write_text(run / "corpus.json", json.dumps({**note, "path": str(home / "corpus")}))
    return found


def change(run: Path, **about: Any) -> None:
    """Change what a report says of itself."""
    report = json.loads((run / "report.json").read_bytes())
    runs.write_text(
        run / "report.json", json.dumps({**report, "about": {**report["about"], **about}})
    )


def strict(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{path}: {name} is no JSON")

    return json.loads(path.read_bytes(), parse_constant=refuse)


# --- what is compared ---------------------------------------------------------------------------


def test_every_run_has_a_column_and_a_verdict(reported: tuple[Path, Comparison]) -> None:
    _, found = reported
    table = found.rows()
    assert table[0] == ("", *ALL)
    assert all(len(row) == 5 for row in table)
    told = {row[0].strip(): row[1:] for row in table}
    figures = found.figures
    rate = told[next(row.title for part in TABLE.values() for row in part if row.cell({"kl": 1}))]
    assert rate == (f"{figures['vae']['kl']:.3f}", "0.000", "-", f"{figures['other']['kl']:.3f}")
    assert [line.split(":")[0] for line in found.verdicts()] == list(ALL)
    assert re.fullmatch(r"lm: a language model, \d+\.\d\d nats a sentence\.", found.verdicts()[1])
    assert f"vae: {figures['vae']['verdict']}. " in found.verdicts()[0]
    assert found.heading().startswith(f"valid split: {figures['lm']['items']} items, ")


def test_runs_of_music_are_compared_by_the_window_and_in_bits(tmp_path: Path) -> None:
    for name, codec in (("melody", MelodyCodec(bars=1)), ("drums", DrumsCodec(bars=1))):
        windows(tmp_path / f"{name}-corpus", codec)
        train(recipe(training_steps=2), tmp_path / f"{name}-corpus", tmp_path / name)
    train(recipe(latent=0, training_steps=2), tmp_path / "melody-corpus", tmp_path / "lm")
    named = [tmp_path / "melody", tmp_path / "lm"]
    found, _ = compare(named, out=tmp_path / "out", device="cpu", say=print, **FEW)
    assert "nats a window unless" in found.heading() and found.unit == "nats a window"
    titles = [row[0].strip() for row in found.rows()]
    assert {"D + R = -ELBO, in bits", "rate of these items, in bits", "free-running"} <= {*titles}
    said = [found.heading(), *found.notes, *found.verdicts(), *map(str, found.rows())]
    assert not [line for line in said if "sentence" in line or "bits a byte" in line]
    with pytest.raises(Refused, match=r"do not compare\. Train both on one corpus") as refused:
        compare([tmp_path / "melody", tmp_path / "drums"], device="cpu")
    assert "bits a byte" not in str(refused.value)


def test_the_language_model_is_what_all_others_are_held_against(
    reported: tuple[Path, Comparison],
) -> None:
    _, found = reported
    assert found.language_model == "lm"
    assert found.line == found.figures["lm"]["reconstruction"]
    for name in ("vae", "ae", "other"):
        assert found.figures[name]["baseline_nll"] == pytest.approx(found.line, rel=1e-9)
        assert found.reports[name]["about"]["baseline"] == "lm"
    assert "baseline_nll" not in found.figures["lm"]


def test_points_are_rates_and_the_reconstruction_at_a_code_that_was_drawn(
    reported: tuple[Path, Comparison],
) -> None:
    _, found = reported
    assert [point.name for point in found.points] == ["vae", "lm", "other"]
    for name, rate, distortion in found.points:
        figures = found.figures[name]
        assert (rate, distortion) == (figures["kl"], figures["reconstruction"])
        assert rate + distortion == pytest.approx(figures["negative_elbo"])
    assert any("not in the figure: ae, for want of a rate" in note for note in found.notes)


def test_bounds_of_several_kinds_in_one_row_are_told(reported: tuple[Path, Comparison]) -> None:
    _, found = reported
    [note] = [note for note in found.notes if "not of one bound" in note]
    assert "lm: exact NLL of" in note


def test_the_figure_draws_the_points_and_the_line(
    home: Path, again: Again, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def draw(points: Any, line: Any, *, unit: str) -> Any:
        drawn.append((points, line, unit))
        return rate_distortion(points, line, unit=unit)

    monkeypatch.setattr(comparing, "rate_distortion", draw)
    found = again(home / "vae", home / "lm", home / "ae")
    assert drawn == [(found.points, found.line, "nats a sentence")]
    picture = tmp_path / "out" / "figures" / "rate_distortion.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_where_no_run_has_a_rate_there_is_no_figure(
    reported: tuple[Path, Comparison], again: Again, tmp_path: Path
) -> None:
    home, _ = reported
    twin = shutil.copytree(home / "ae", tmp_path / "twin")
    assert again(home / "ae", twin, corpus=home / "corpus").points == []
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["compare.json"]


def test_what_is_written_is_strict_json_with_what_produced_it(
    reported: tuple[Path, Comparison], again: Again, tmp_path: Path
) -> None:
    home, _ = reported
    found = again(*(home / name for name in ALL))
    plain = strict(tmp_path / "out" / "compare.json")
    assert plain == found.as_json()
    about = plain["about"]
    assert about["language_model"] == "lm"
    assert about["options"] == {"precision": "float32", **FEW}
    assert about["corpus"] == open_corpus(home / "corpus").checksum
    assert list(plain["runs"]) == list(ALL)
    for name in ALL:
        report = strict(home / name / "report.json")
        assert {part: report[part] for part in ("about", "figures", "notes")} == plain["runs"][
            name
        ]


def test_figures_that_are_not_finite_leave_the_json_strict(
    home: Path, again: Again, tmp_path: Path
) -> None:
    [run, lm] = copies(home, tmp_path, "vae", "lm")
    again(run, lm)
    report = json.loads((run / "report.json").read_bytes())
    report["figures"] |= {"kl": np.nan, "iw_convergence": {"1": np.inf}, "repayment_low": -np.inf}
    runs.write_text(run / "report.json", json.dumps(report))
    found = again(run, lm)
    assert strict(tmp_path / "out" / "compare.json") == found.as_json()
    assert [point.name for point in found.points] == ["lm"]


# --- what is measured again ---------------------------------------------------------------------


def test_nothing_is_measured_twice(
    reported: tuple[Path, Comparison], again: Again, measured: list[str], tmp_path: Path
) -> None:
    home, first = reported
    assert again(*(home / name for name in ALL)).figures == first.figures
    assert measured == []
    assert again(home / "other", home / "vae").language_model is None
    assert measured == [], "a repayment beside what is asked for is no reason"


def test_a_report_that_evaluate_left_will_do(
    home: Path, again: Again, measured: list[str], tmp_path: Path
) -> None:
    one, other = copies(home, tmp_path, "vae", "ae")
    for run in (one, other):
        assert main(["evaluate", str(run), *WORDS, "--noise"]) == 0
    again(one, other)
    assert measured == []


STALE: dict[str, dict[str, Any]] = {
    "another version": {"version": "0.0.1"},
    "other weights": {"weights": "0" * 64},
    "another corpus": {"corpus": "0" * 64},
    "another split": {"split": "test"},
    "another seed": {"seed": 7},
    "other numbers of samples": {"options": {**FEW, "samples": 3}},
    "or in another precision": {"options": {**FEW, "precision": "bf16"}},
    "no repayment against lm": {"baseline_weights": "0" * 64},
}


def test_a_report_of_something_else_is_measured_again_and_why_is_said(
    reported: tuple[Path, Comparison],
    again: Again,
    measured: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home, first = reported
    run, lm = copies(home, tmp_path, "vae", "lm")
    fresh = (run / "report.json").read_text("utf-8")
    for number, (why, about) in enumerate(list(STALE.items())[:2]):
        runs.write_text(run / "report.json", fresh)
        change(run, **about)
        stale, out = (run / "report.json").read_bytes(), tmp_path / str(number)
        assert again(run, lm, out=out).figures["vae"] == first.figures["vae"]
        assert re.search(f"vae: being measured; its report .*{why}", capsys.readouterr().out)
        assert (run / "report.json").read_bytes() == stale, "it may be of a long evaluation"
        again(run, lm, out=out)
    assert measured == ["vae"] * 2, "the comparison keeps its own"


@pytest.mark.parametrize("why", STALE)
def test_a_report_must_be_of_all_that_is_asked_for(
    why: str, reported: tuple[Path, Comparison]
) -> None:
    home, first = reported
    kept = first.reports["vae"]
    weights = {name: report["about"]["weights"] for name, report in first.reports.items()}
    run, lm = (comparing._Run(n, home / n, recipe(), weights[n]) for n in ("vae", "lm"))
    wanted = {key: first.about[key] for key in ("version", "corpus", "split", "seed", "options")}
    asked = comparing._Measure(wanted, open_corpus(home / "corpus"), home, "cpu", print)
    assert asked.why_not(kept, run, lm) is None
    changed = {**kept, "about": {**kept["about"], **STALE[why]}}
    assert re.search(why, str(asked.why_not(changed, run, lm)))
    missing = {k: v for k, v in kept["about"].items() if k not in STALE[why]}
    assert asked.why_not({**kept, "about": missing}, run, lm) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"about": {"split": "valid"}, "figures": {"kl": 1.0}, "notes": []}',
        '{"about": {}, "figures": {"items": 1, "tokens": 2, "kl": "much"}, "notes": []}',
        '{"about": 3, "figures": {"items": 1, "tokens": 2}, "notes": []}',
        '{"about": {"options": 3}, "figures": {"items": 1, "tokens": 2}, "notes": []}',
        "[" * 100_000,
    ],
)
def test_a_report_of_another_format_is_measured_again(
    text: str, reported: tuple[Path, Comparison], tmp_path: Path
) -> None:
    home, _ = reported
    path = tmp_path / "report.json"
    path.write_text(text, "utf-8")
    kept = comparing._read(path)
    asked = comparing._Measure({"options": FEW}, open_corpus(home / "corpus"), home, "cpu", print)
    run = comparing._Run("vae", home / "vae", recipe(), "0" * 64)
    assert asked.why_not(kept, run, None) is not None


def test_other_weights_and_another_language_model_are_seen(
    reported: tuple[Path, Comparison], again: Again, measured: list[str], tmp_path: Path
) -> None:
    home, _ = reported
    run, lm, other = copies(home, tmp_path, "vae", "lm", "other")
    shutil.rmtree(run / "best")
    shutil.copytree(other / "best", run / "best")
    found = again(run, lm)
    assert measured == ["vae"]
    assert found.figures["vae"] == found.reports["vae"]["figures"]
    train(recipe(latent=0, training_steps=60), home / "corpus", tmp_path / "longer")
    found = again(lm, run, tmp_path / "longer")
    assert measured == ["vae", "longer", "vae"]
    assert found.language_model == "longer"
    assert found.line == min(found.figures[name]["reconstruction"] for name in ("lm", "longer"))
    assert any("lm and longer are language models: line" in note for note in found.notes)


def test_a_run_that_ships_is_measured_on_the_others_corpus_and_never_written_to(
    reported: tuple[Path, Comparison],
    again: Again,
    measured: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, _ = reported
    [run] = copies(home, tmp_path, "vae")
    runs.export(home / "other", tmp_path / "shelf" / "name")
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: tmp_path / "shelf")
    monkeypatch.chdir(tmp_path)
    before = sorted((tmp_path / "shelf").rglob("*"))
    again("name", run)
    again("name", run)
    assert measured == ["name"]
    assert Path("reports/name/report.json").is_file()
    assert sorted((tmp_path / "shelf").rglob("*")) == before


def test_a_look_at_the_test_split_is_noted_once(
    home: Path, again: Again, measured: list[str], tmp_path: Path
) -> None:
    found = copies(home, tmp_path, "vae", "ae")
    few = {"samples": 0, "written": 0}
    for _ in range(2):
        again(*found, split="test", **few)
    for run in found:
        assert len((run / "test_ledger.jsonl").read_text("utf-8").splitlines()) == 1


# --- sentences ----------------------------------------------------------------------------------


def test_how_to_get_a_language_model_is_said_and_works(
    reported: tuple[Path, Comparison],
    again: Again,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, _ = reported
    for first, second in (("vae", "ae"), ("ae", "vae")):
        found = again(home / first, home / second)
        assert found.line is None
        said = re.search(r"name it too: seqvae (train .*)", found.notes[0])
        assert said is not None
        monkeypatch.chdir(tmp_path)
        assert main([*said[1].split(), "--set", "training.steps=1"]) == 0
        assert runs.read_recipe(tmp_path / "runs" / f"{first}-lm")["latent"] == 0


def test_a_language_model_with_another_decoder_is_told(
    home: Path, again: Again, tmp_path: Path
) -> None:
    wide = recipe(latent=0, training_steps=1)
    wide["decoder"] = {**wide["decoder"], "hidden": 9}
    train(wide, home / "corpus", tmp_path / "wide")
    [run] = copies(home, tmp_path, "vae")
    notes = again(run, tmp_path / "wide").notes
    assert any("vae has another decoder than wide" in note for note in notes)
    assert not any("another decoder" in note for note in again(run, home / "lm").notes)


def test_repayments_against_different_models_are_told(
    reported: tuple[Path, Comparison], again: Again, tmp_path: Path
) -> None:
    home, _ = reported
    one, other = copies(home, tmp_path, "vae", "other")
    assert not any("do not compare" in note for note in again(one, other).notes)
    change(other, baseline_weights="0" * 64)
    assert any(": vae; other." in note for note in again(one, other).notes)


def test_names_are_as_short_as_they_can_be() -> None:
    assert shortest([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert shortest([Path("/x/run"), Path("/x/y/run")]) == ["x/run", "y/run"]
    assert shortest([Path("/a/s/run"), Path("/b/s/run"), Path("/s")]) == [
        "a/s/run",
        "b/s/run",
        "s",
    ]


def test_a_comparison_has_a_folder_of_its_own_and_of_bounded_length() -> None:
    names = [f"a-long-name-of-a-run-{number}" for number in range(40)]
    assert len(title(names)) == len(title(names[:30])) == 60
    assert title(names) != title(names[:30])
    assert title(["a", "b/run"]) == "compare-a-b-run"


# --- the command --------------------------------------------------------------------------------


def test_the_command_prints_all_of_it_and_says_what_was_written(
    reported: tuple[Path, Comparison],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home, found = reported
    twin = shutil.copytree(home / "lm", tmp_path / "vae")
    monkeypatch.chdir(tmp_path)
    given = [str(home / "vae"), str(twin), *(str(home / name) for name in ("ae", "other"))]
    assert main(["compare", *given, *WORDS, "--corpus", str(home / "corpus")]) == 0
    lines = capfd.readouterr().out.splitlines()
    names = [f"{home.name}/vae", f"{tmp_path.name}/vae", "ae", "other"]
    assert lines[0].startswith("valid split: ")
    assert lines[1].split() == names
    assert f"{found.figures['other']['kl']:.3f}" in " ".join(lines)
    assert [line for line in lines if line.startswith(tuple(f"{name}: " for name in names))]
    assert lines[-2] == f"Thresholds: {THRESHOLDS}."
    folder = Path("reports") / title(names)
    assert lines[-1] == f"written: {folder}/compare.json, {folder}/figures/rate_distortion.png"
    assert all(Path(path).is_file() for path in lines[-1].removeprefix("written: ").split(", "))


# --- what is refused ----------------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused_with_the_cure_and_nothing_is_written(
    home: Path, measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = write_text(tmp_path / "t.txt", 150)
    for name, codec in (("more", home / "corpus" / "codec"), ("chars", "char")):
        prepare_text([text], tmp_path / "c" / name, codec=str(codec))
        train(recipe(training_steps=1), tmp_path / "c" / name, tmp_path / "r" / name)
    export, alike = tmp_path / "r" / "export", tmp_path / "r" / "alike"
    runs.export(home / "vae", export)
    runs.export(home / "lm", alike)
    (tmp_path / "r" / "empty").mkdir()
    vae, here = home / "vae", tmp_path / "r"
    corpus = home / "corpus"
    for folders, other, says in (
        ([vae], {}, "1 run named: name two or more"),
        ([vae, home / "lm", home / "." / "vae"], {}, "vae is named twice"),
        ([vae, here / "empty"], {}, "empty is no run: it has no recipe.toml"),
        ([vae, here / "none"], {}, "no run at"),
        ([vae, corpus], {}, "corpus is no run"),
        ([vae, here / "more"], {}, f"vae and more .* different corpora.*--corpus {corpus}"),
        ([vae, here / "chars"], {}, "vae and chars have different codecs .word of.*bits a byte"),
        ([vae, here / "chars"], {"corpus": corpus}, "different codecs"),
        ([export, alike], {}, "none of these runs says which corpus.*--corpus FOLDER"),
        ([vae, home / "lm"], {"corpus": tmp_path / "c" / "chars"}, "another codec"),
        ([vae, home / "lm"], {"split": "tset"}, "no split 'tset'"),
        ([vae, home / "lm"], {"device": "gpu"}, "'gpu' cannot be used"),
    ):
        with pytest.raises(Refused, match=says):
            compare(folders, device=str(other.pop("device", "cpu")), **FEW, **other)
    assert not Path("reports").exists()
    assert measured == []


def test_runs_of_two_corpora_compare_on_one(
    home: Path, again: Again, measured: list[str], tmp_path: Path
) -> None:
    text = write_text(tmp_path / "t.txt", 150)
    corpus = prepare_text([text], tmp_path / "more", codec=str(home / "corpus" / "codec")).folder
    train(recipe(training_steps=1), corpus, tmp_path / "run")
    [lm] = copies(home, tmp_path, "lm")
    found = again(tmp_path / "run", lm, corpus=corpus)
    assert found.figures["run"]["items"] == found.figures["lm"]["items"]
    assert {r["about"]["corpus"] for r in found.reports.values()} == {open_corpus(corpus).checksum}
