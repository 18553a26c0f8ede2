import runpy
import sys
from pathlib import Path

import pytest

from data_prep.toy import english
from seqvae import load

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def test_a_text_is_trained_on_in_one_command_and_its_active_units_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, folder = tmp_path / "sentences.txt", tmp_path / "run"
    text.write_text("\n".join(s.sentence for s in english().sample(300, seed=0)), "utf-8")
    brief = ["--set=training.steps=3", "--set=encoder.hidden=16", "--set=decoder.hidden=16"]
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
