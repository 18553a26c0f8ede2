"""The script that measures paths between songs, on a run that has learnt next to nothing."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from tiny import recipe, train, windows

from data_prep.composer import write_songs
from seqvae.codecs import DrumsCodec, MelodyCodec

SCRIPT = str(Path(__file__).parents[1] / "scripts" / "music_measures.py")
KINDS = {
    *("model", "model, straight", "bar splice"),
    *("nearest training windows", "autoencoder, straight"),
}


def test_paths_are_measured_beside_those_that_need_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = windows(tmp_path / "corpus", MelodyCodec(bars=1), 20).folder
    train(recipe(training_steps=1), corpus, tmp_path / "run")
    train(recipe(training_steps=1, latent=0), corpus, tmp_path / "lm")
    drums = windows(tmp_path / "drum-corpus", DrumsCodec(bars=1), 20).folder
    train(recipe(training_steps=1), drums, tmp_path / "drums")
    *_, broken = write_songs(tmp_path / "songs", 4, seed=0)
    broken.write_bytes(b"<html>")
    out = tmp_path / "out"
    words = [corpus, "--run", tmp_path / "run", "--lm", tmp_path / "lm", "--steps", 3]
    words += ["--pairs", 1, "--bars", 2, "--out", out]

    def run(*more: object) -> None:
        monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, [*words, *more])])
        runpy.run_path(SCRIPT, run_name="__main__")

    run("--folder", tmp_path / "songs", "--autoencoder", tmp_path / "run")
    said = capsys.readouterr().out
    result = json.loads((out / "results.json").read_bytes())
    assert set(result["paths"]) == KINDS and len(result["pairs"]) == 1
    paths = result["pairs"][0]["paths"]
    assert paths["model, straight"] == paths["autoencoder, straight"], "the same run twice"
    for path in paths.values():
        assert len(path["steps"]) == 3 and path["whole"] == paths["model"]["whole"]
        first, last = path["steps"][0], path["steps"][-1]
        assert first["from_a"] == last["to_b"] == 0.0
        assert (first["nats_a_note"], last["nats_a_note"]) == (
            paths["model"]["steps"][0]["nats_a_note"],
            paths["model"]["steps"][-1]["nats_a_note"],
        )
    assert result["paths"]["bar splice"]["dense"] is not None
    assert list(result["about"]["left_out"]) == [str(broken)]
    assert result["typical"]["low"] < result["typical"]["high"]
    assert (out / "table.md").read_text("utf-8") in said and "1 pairs of 3 songs" in said
    assert (out / "figures" / "paths.png").stat().st_size > 1000
    with pytest.raises(SystemExit, match="does not say what it was made from"):
        run()
    with pytest.raises(SystemExit, match="another codec"):
        run("--folder", tmp_path / "songs", "--autoencoder", tmp_path / "drums")
    broken.rename(tmp_path / "alone.mid")
    with pytest.raises(SystemExit, match="0 usable songs"):
        run("--folder", out)
