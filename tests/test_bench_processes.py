"""The bench of several processes and the drill of their death, as small as they can be."""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
SMALL = ("encoder.embed=8", "encoder.hidden=8", "decoder.hidden=8", "training.batch=8")


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    monkeypatch.syspath_prepend(str(SCRIPTS))
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def script(monkeypatch: pytest.MonkeyPatch, name: str) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return runpy.run_path(str(SCRIPTS / name))


def test_two_processes_are_timed_beside_one_of_two_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [word for size in SMALL for word in ("--set", size)]
    brief = ["--words", 50, "--rounds", 1, "--steps", 3, "--json", tmp_path / "found.json"]
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS.parent))
    run(monkeypatch, "bench_processes.py", *small, *brief)
    said = capsys.readouterr().out
    assert re.search(r"\| 1 x 2 \| [\d.]+ .*\|\n\| 2 x 1 \| ", said)
    found = json.loads((tmp_path / "found.json").read_bytes())
    assert found["gain"]["median"] > 0 and found["losses_apart"] < 1e-5
    assert found["several"][0]["passing"] > 0 and len(found["one"][0]["losses"]) == 3


def test_losses_that_are_apart_are_not_called_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = script(monkeypatch, "bench_processes.py")
    one, other = {"losses": [8.0, 4.0]}, {"losses": [8.0, 4.00001]}
    assert bench["check_alike"]([one, other]) == pytest.approx(2.5e-6)
    with pytest.raises(bench["Refused"], match="not the same training"):
        bench["check_alike"]([one, {"losses": [8.0, 4.1]}])
    with pytest.raises(bench["Refused"], match="--words 4"):
        bench["made"](4)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")
def test_the_drill_knows_processes_by_rank_and_runs_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = script(monkeypatch, "crash_drill.py")
    assert drill["rank_of"](2**22 + 1) == -1 and drill["newest"](tmp_path) == 0
    with pytest.raises(SystemExit, match="name a new folder"):
        run(monkeypatch, "crash_drill.py", tmp_path)
