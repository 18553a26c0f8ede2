import gzip
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import prepared, recipe, train, windows

from data_prep.composer import write_songs
from data_prep.toy import english
from seqvae import load
from seqvae.__main__ import main
from seqvae.codecs import MelodyCodec
from seqvae.codecs.voices import KIT
from seqvae.metrics import bits
from seqvae.midi import Song, Track, notes_of, write

SCRIPTS = Path(__file__).parents[1] / "scripts"
AUTOENCODER: dict[str, Any] = {
    "posterior_kind": "DeltaPosterior",
    "training_select": "reconstruction",
}
AUTOENCODER |= {"objective_kind": "InfoVAE", "objective_alpha": 1.0, "objective_lambda": 10.0}


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def test_a_text_is_trained_on_in_one_command_and_its_active_units_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, folder = tmp_path / "sentences.txt", tmp_path / "run"
    text.write_text("\n".join(s.sentence for s in english().sample(300, seed=0)), "utf-8")
    brief = ["--set=training.steps=3", "--set=encoder.width=16", "--set=decoder.width=16"]
    run(monkeypatch, "train_text.py", text, folder, *brief, "--set=data.vocab=300")
    assert (folder / "card.md").is_file()
    assert load(folder).codec.vocab == 300, "the recipe says how the text is prepared"
    capsys.readouterr()
    run(monkeypatch, "active_units.py", folder, "--threshold", 0.0)
    said = capsys.readouterr().out
    assert said.startswith("32 of 32 units active at 0")  # no variance lies below 0
    assert "z-shuffle ΔNLL" in said
    assert (folder / "figures" / "active_units.png").stat().st_size > 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_corpus_benchmark_reports_memory_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = runpy.run_path(str(SCRIPTS / "bench_corpus.py"))
    bench["write_corpus"].__globals__["LINES"] = 500
    bench["write_corpus"](tmp_path / "corpus.txt", 20_000)
    lines = (tmp_path / "corpus.txt").read_text("utf-8").splitlines()
    assert all(6 <= len(line.split()) <= 16 for line in lines)
    assert bench["memory"]() > 10**6 and bench["age"]() > 0


def test_two_files_are_morphed_by_a_page_of_python_and_many_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = windows(tmp_path / "corpus", MelodyCodec(bars=1), 20).folder
    train(recipe(training_steps=1), corpus, tmp_path / "run")
    a, b, c = (path for path in write_songs(tmp_path / "songs", 3, seed=0))
    words = ("--run", tmp_path / "run", "--bars", 1)
    run(monkeypatch, "interpolate_midi.py", a, b, tmp_path / "out", *words, "--steps", 3)
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(tmp_path / "out" / "report.json")
    assert len(list((tmp_path / "out").glob("0?of03_*.mid"))) == 5
    with pytest.raises(SystemExit, match="is in use"):
        run(monkeypatch, "interpolate_midi.py", a, b, tmp_path / "out", *words)
    c.write_bytes(b"<html>")
    pairs = ("morph_pairs.py", tmp_path / "songs", tmp_path / "pairs.json", *words)
    run(monkeypatch, *pairs, "--pairs", 2)
    result = json.loads((tmp_path / "pairs.json").read_bytes())
    assert result["accepted"] == result["tempo_kept"] == result["instruments_kept"] == 1.0
    assert result["files"] == 2 and "a web page" in result["left_out"][c.name]
    assert {"version", "command", "run", "corpus", "seed"} <= set(result)
    b.unlink()
    with pytest.raises(SystemExit, match="1 usable files; a pair takes 2"):
        run(monkeypatch, *pairs)


def test_lines_of_a_group_get_one_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with gzip.open(tmp_path / "text.txt.gz", "wt", encoding="utf-8") as file:
        file.write('one\n"two"\nthree\u2028still\nfoür\n')
    out = tmp_path / "out.jsonl"
    run(monkeypatch, "label_groups.py", tmp_path / "text.txt.gz", out, "--each", 2)
    rows = [json.loads(line) for line in out.read_text("utf-8").split("\n")[:-1]]
    assert [row["text"] for row in rows] == ["one", '"two"', "three\u2028still", "foür"]
    assert [row["group"] for row in rows] == ["0", "0", "1", "1"]
    for arguments, says in (
        ((tmp_path / "text.txt.gz", out), "exists already"),
        ((tmp_path / "text.txt.gz", tmp_path / "x", "--each", 3), "do not fall into groups of 3"),
        ((tmp_path / "text.txt.gz", tmp_path / "x", "--each", 1), "2 lines or more"),
        ((tmp_path / "gone.txt", tmp_path / "x"), "no file"),
    ):
        with pytest.raises(SystemExit, match=says):
            run(monkeypatch, "label_groups.py", *arguments)


def test_a_curve_of_music_is_measured_drawn_and_left_with_what_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = windows(tmp_path / "music", MelodyCodec(bars=1)).folder
    changes: dict[str, dict[str, Any]] = {"lm": {"latent": 0}, "vae": {}, "ae": AUTOENCODER}
    for name, changed in changes.items():
        train(recipe(**changed), corpus, tmp_path / name)
    out, runs = tmp_path / "out", (tmp_path / "vae", tmp_path / "ae")
    line = ["--baseline", tmp_path / "lm", "--items", 20, "--out", out, "--device", "cpu"]
    run(monkeypatch, "music_curve.py", *runs, *line, "--split", "test")
    said = capsys.readouterr().out
    names = [row.split("|")[1].strip() for row in said.splitlines() if row.startswith("| ")]
    assert names == ["run", "---", "lm", "vae", "ae"], "by rate; what has none comes last"
    assert "test split, 20 windows, 320 tokens, seed 0" in said
    assert "Floor of every accuracy: " in said and 'always melody "-"' in said
    results = json.loads((out / "results.json").read_bytes())
    assert set(results["about"]) >= {"version", "command", "corpus", "nll_bits"}
    assert results["runs"]["vae"]["about"]["split"] == "test"
    assert results["runs"]["ae"]["figures"]["accuracy_bits"] is None
    assert results["fano"][-1] == [results["about"]["nll_bits"], 1.0]
    assert (out / "figures" / "accuracy_rate.png").stat().st_size > 1000
    assert (tmp_path / "vae" / "test_ledger.jsonl").is_file()
    assert "by Fano" in said and said.count("| run |") == 1, "one voice, one table"
    words = prepared(tmp_path).folder
    with pytest.raises(SystemExit, match="a corpus of sentences, not of music"):
        run(monkeypatch, "music_curve.py", *runs, *line, "--corpus", words)


@pytest.mark.parametrize("kind", ["polyphony", "groove"])
def test_a_curve_tells_of_each_kind_of_music_what_it_has(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_songs(tmp_path / "songs", 8, seed=0)
    corpus, events = tmp_path / "music", kind == "polyphony"
    asked = ["prepare", "midi", tmp_path / "songs", "--out", corpus, "--codec", kind]
    assert main([*map(str, asked), "--bars=1"]) == 0
    train(recipe(), corpus, tmp_path / "vae")
    capsys.readouterr()
    line = ["--items", 0, "--out", tmp_path / "out"]
    run(monkeypatch, "music_curve.py", tmp_path / "vae", *line, "--device", "cpu")
    said = capsys.readouterr().out
    heads = [row for row in said.splitlines() if row.startswith("| run |")]
    assert ("onset + pitch F1" in heads[0]) and ("velocity error" in heads[0])
    assert ("steps sounding F1" in heads[0]) == events
    assert not any(word in said for word in ("Fano", "repayment", "Language model")), "none named"
    assert ("non-hold" in said) == ("timing error" in said) == (not events)
    results = json.loads((tmp_path / "out" / "results.json").read_bytes())
    assert (tmp_path / "out" / "figures" / "accuracy_rate.png").stat().st_size > 1000
    assert results["fano"] == [] and results["about"]["language_model"] is None
    if events:
        assert len(heads) == 1
        return
    rows = [row.split(" | ") for row in said.splitlines() if row.startswith("| vae | ")]
    assert [row[1] for row in rows[1:]] == list(KIT) and heads[1].count("|") == 9
    report = results["runs"]["vae"]
    costs = [voice["bits"] for voice in report["voices"]]
    assert sum(costs) == pytest.approx(bits(report["figures"]["reconstruction"]), rel=1e-4)
    assert float(rows[1][2]) == pytest.approx(costs[0], abs=0.05)


def test_chord_tones_are_counted_where_a_song_was_moved_from_its_chords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = windows(tmp_path / "corpus", MelodyCodec(bars=1), 20).folder
    train(recipe(training_steps=1), corpus, tmp_path / "run")
    halves = [60, 64, 62, 65, 67, 60, 61, 72]  # on strong beats, two a bar of 4/4, a second each
    for folder, late in (("moved", 0), ("timed", 480)):
        (tmp_path / folder).mkdir()
        rows = [(late + 960 * i, late + 960 * i + 900, p, 80) for i, p in enumerate(halves)]
        for name in ("a", "b"):
            write(Song([Track(notes_of(rows), name="MELODY")]), tmp_path / folder / f"{name}.mid")
    (tmp_path / "chords").mkdir()
    # As heard by one who began half a second earlier: C for five seconds, then nothing, then F.
    chords = "0.5\t5.5\tC:maj\n5.5\t6.5\tN\n6.5\t8.5\tF:maj/5\n"
    (tmp_path / "chords" / "a.txt").write_text(chords, "utf-8")
    (tmp_path / "index.tsv").write_text("id\tsplit\na\ttest\nb\ttrain\n", "utf-8")
    words = ("chord_tones.py", tmp_path / "moved", "--chords", tmp_path / "chords")
    out = ("--run", tmp_path / "run", "--out", tmp_path / "out", "--index", tmp_path / "index.tsv")
    run(monkeypatch, *words, *out, "--timed", tmp_path / "timed")
    found = json.loads((tmp_path / "out" / "chords.json").read_bytes())
    own = found["songs"][0]["own"]
    assert len(found["songs"]) == 1 and own["notes"] == 7
    # C, E and G are of C, D and F are not; of F major C is, and C sharp is not.
    assert own["share"] == pytest.approx(4 / 7)
    assert found["own"] == [pytest.approx(4 / 7), None, None], "one song has no spread"
    assert found["chance"][0] == pytest.approx(own["chance"])
    assert "as the model writes it again" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no song whose chords are in"):
        run(monkeypatch, *words, *out, "--split", "valid")
