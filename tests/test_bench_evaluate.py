import json
import math
import runpy
import sys
from pathlib import Path

import pytest
from tiny import prepared, recipe, train

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts import what stands beside them."""
    monkeypatch.syspath_prepend(SCRIPTS)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_evaluate.py", *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / "bench_evaluate.py"), run_name="__main__")


def test_the_bench_weighs_the_same_items_in_each_way_and_keeps_all_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, folder, out = prepared(tmp_path, 80), tmp_path / "run", tmp_path / "found.json"
    train(recipe(training_steps=1), corpus.folder, folder)
    capsys.readouterr()
    few = ("--items", 3, "--samples", 200, "--fitted", 2, "--rounds", 2, "--codes", 100, 300)
    run(monkeypatch, folder, corpus.folder, *few, "--json", out)
    said, found = capsys.readouterr().out, json.loads(out.read_bytes())
    bound = found["bound"]
    ways = [name for name in bound["seconds"] if name in bound]
    assert ways[:2] == ["one item, chunks of 100", "float32"]
    for name in ways:
        assert len(bound["seconds"][name]) == 2 and f"| {name} |" in said
        assert bound[name]["differs_most"] < (1e-4 if name == "float32" else 0.1)
        assert bound[name]["nll"] > 1
    assert bound[ways[0]]["differs"] == 0 and bound[ways[0]]["times_as_fast"] == [1.0] * 3
    assert list(found["fitted"]["seconds"]) == ["64", "16"]
    assert [each["codes"] for each in found["information"]] == [100, 300]
    assert {"version", "torch", "threads", "processor", "command"} <= found["about"].keys()


def test_codes_of_the_bench_have_the_information_of_gaussians(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Means N(0, .9), widths sqrt .1: q(z) is the prior, the rate 16 ln 10 nats, in batches."""
    bench = runpy.run_path(str(SCRIPTS / "bench_evaluate.py"))
    codes = bench["gaussian_codes"](3000)
    assert sum(q.batch_shape[0] for q in codes.q) == 3000 and len(codes.q) > 1
    assert float(codes.rate.mean()) == pytest.approx(16 * math.log(10), rel=0.01)
