"""The scripts on pictures, run for a moment on the embedded digits."""

import json
import math
import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def test_figures_are_drawn_of_what_they_train_and_of_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("smudges", "axis_of_ink", "adversarial_game", "two_losses", "one_bit")
    only = [word for name in wanted for word in ("--only", name)]
    run(monkeypatch, "image_figures.py", tmp_path, "--steps", 10, *only)
    assert "trained: axis, 10 steps" in capsys.readouterr().out
    assert {path.stem for path in tmp_path.glob("*.png")} == set(wanted)
    game = json.loads((tmp_path / "adversarial_game.json").read_bytes())
    assert len(game["epochs"]) == len(game["critic"]) == 10, "a look at every tenth"
    assert 0 < game["floor"] < max(game["variation"]) <= 1
    both = json.loads((tmp_path / "two_losses.json").read_bytes())["losses"]
    assert [len(values) for values in both.values()] == [10, 10]
    axis = json.loads((tmp_path / "axis_of_ink.json").read_bytes())
    assert set(axis["attributes"]) == {"ink", "slant"}
    before = (tmp_path / "runs" / "axis" / "metrics.jsonl").read_bytes()
    run(monkeypatch, "image_figures.py", tmp_path, "--steps", 10, "--only", "axis_of_ink")
    assert (tmp_path / "runs" / "axis" / "metrics.jsonl").read_bytes() == before


def test_a_figure_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match='did you mean "smudges"'):
        run(monkeypatch, "image_figures.py", "nowhere", "--only", "smudge")


WIZARDS = ("image-wizard", "image-wizard-unstable", "image-wizard-stable")


def test_results_are_tables_of_every_epoch_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = ("--pictures", "digits", "--seeds", 1, "--epochs", 2)
    run(monkeypatch, "image_results.py", tmp_path, *brief)
    labels = json.loads((tmp_path / "labels.json").read_bytes())
    assert [row["epoch"] for row in labels["rows"]] == [1, 2]
    assert all(0 <= row["asked and read"] <= 1 for row in labels["rows"])
    vae, plain = json.loads((tmp_path / "vae.json").read_bytes())["rows"]
    assert vae["-ELBO"] == vae["D"] + vae["R"] and plain["R"] is None
    for at in ("prior", "halfway"):
        ratio = vae[f"clear, {at}"] / plain[f"clear, {at}"] if plain[f"clear, {at}"] else None
        assert vae[f"hole ratio, {at}"] == plain[f"hole ratio, {at}"] == ratio
        assert 0 <= vae[f"classes, {at}"] <= math.log(10) + 1e-9
    wizard = json.loads((tmp_path / "wizard.json").read_bytes())["rows"]
    assert [(row["model"], row["epoch"]) for row in wizard] == [
        (name, epoch) for name in WIZARDS for epoch in (1, 2)
    ]
    assert all(0 <= row["total variation"] <= 1 for row in wizard)
    assert "image_results.py" in labels["about"]["command"]
