"""The benchmarks of generation and of beginning, tiny: what they print, and what they hold."""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seqvae.decoders import LSTMDecoder
from seqvae.generate import Form

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def test_both_decoders_write_together_what_they_write_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    brief = ["--sentences", 6, "--alone", 3, "--rounds", 1, "--tokens", 3, "--size", 8]
    run(monkeypatch, "bench_generate.py", *brief, "--json", tmp_path / "found.json")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 2 * 3 * 2
    written = json.loads((tmp_path / "found.json").read_bytes())
    assert {row["batch"] for row in written["raced"]} == {1, 6}
    for row in written["raced"]:
        assert row["same"] == 1.0 and row["apart"] < 1e-4
        assert (row["gain"] is None) == (row["batch"] == 1)


def test_what_differs_when_it_is_written_alone_is_told() -> None:
    bench = runpy.run_path(str(SCRIPTS / "bench_generate.py"))
    net = bench["Net"]("of the batch", LSTMDecoder(vocab=9, latent=2, hidden=4), Form(3, None))

    def by_batch(_: Any, form: Form, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        written = torch.full((len(z), form.length), 5)
        written[0] = 5 if len(z) == 1 else 6  # the first of several only
        return written, torch.full((len(z),), float(len(z)))

    found = bench["raced"](net, "by batch", by_batch, torch.zeros(4, 2), 1, 4)
    assert found.same == 0.75, "one of four differs"
    assert found.apart == 3.0, "nats, between 4 and 1, of those that are the same"


def test_lengths_are_timed_and_their_growth_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--rounds", 1, "--size", 8]
    run(monkeypatch, "bench_generate.py", "--lengths", 2, 4, *small)
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "| ms a token | 2 | 4 | last / first |"
    assert len(said) == 3 + 4 and all(re.search(r"\d\.\d\d \| \d", row) for row in said[3:])


def test_what_a_process_imports_and_takes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = runpy.run_path(str(SCRIPTS / "bench_start.py"))
    asked = bench["commands"](tmp_path, "melody")
    assert asked["seqvae interpolate A.mid B.mid"][-1] == bench["OUT"]
    brief = {name: asked[name] for name in ("import seqvae", "seqvae --help")}
    brief["heavy"] = ["-c", bench["IMPORTED"].replace("import seqvae", "import numpy")]
    found = bench["measured"](brief, 1)
    assert [found[name].heavy for name in brief] == [[], [], ["numpy"]]
    assert all(one.processor.median > 0 and one.wall.median > 0 for one in found.values())
