"""README and guide to music are run as they are printed: commands on small corpora, Python."""

import gzip
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.toy import compose, english, write_songs
from seqvae import recipe
from seqvae.__main__ import main
from seqvae.build import build
from seqvae.midi import write

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
MUSIC = (ROOT / "docs/music.md").read_text("utf-8")
# The liberties taken: what is trained is trained for a moment, what is measured is so on little.
FEW = ["--samples=5", "--items=20", "--fitted=4", "--written=20"]
BRIEFLY = [f"--set=training.{s}" for s in ("steps=3", "epochs=0.1", "batch=8", "validate_on=20")]
BRIEF = {
    "attribute learn": ["--items=200", "--tried=0"],
    "attribute test": ["--items=2", "--attribute=register"],  # of nine
}


def commands(text: str = README) -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line[2:], comments=True) for line in lines]


def write_corpus(folder: Path) -> None:
    sentences = [sampled.sentence for sampled in english().sample(700, seed=0)]
    (folder / "sentences.txt").write_text("\n".join(sentences), "utf-8")
    for name, part in (
        ("train", sentences[:500]),
        ("valid", sentences[500:600]),
        ("test", sentences[600:]),
    ):
        with gzip.open(folder / f"{name}.txt.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(part))


def write_music(folder: Path) -> None:
    write_songs(folder / "songs", 40, seed=1)
    for name, seed in (("a", 5), ("b", 6)):
        write(compose(seed, metre=(4, 4)).song, folder / f"{name}.mid")


def write_pictures(folder: Path) -> None:
    folder.mkdir()
    drawn = np.random.default_rng(0).integers(256, size=(60, 8, 8), dtype=np.uint8)
    for number, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(folder / f"{number}.png")


def small(command: list[str]) -> list[str]:
    """The arguments of a command, training shortened, the vocabulary fit for a small corpus."""
    arguments = shlex.split(shlex.join(command[1:]).replace("--vocab 4000", "--vocab 400"))
    if arguments[0] == "rate":
        arguments = [a for a in arguments if a not in ("--epochs", "1")]
    if arguments[0] in ("train", "rate") and "--print-recipe" not in arguments:
        arguments += BRIEFLY
    if arguments[0] in ("evaluate", "compare"):
        arguments += FEW
    return arguments


def test_every_command_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path)
    write_music(tmp_path)
    write_pictures(tmp_path / "pictures")
    found = commands()
    assert {"train", "evaluate", "interpolate", "prepare"} <= {c[1] for c in found}
    for command in found:
        if command[0] in ("make", "."):  # CI runs the one; the other readies a shell
            continue
        assert command[0] == "seqvae"
        status = main(small(command))
        said = capfd.readouterr()
        assert status == 0, f"{shlex.join(command)}\n{said.err}"


def test_every_command_of_the_guide_to_music_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_songs(tmp_path / "songs", 10, seed=1)
    write_songs(tmp_path / "drumming", 4, seed=2)
    names = ("first", "second", "third", "fourth", "loop", "played")
    for seed, name in enumerate(names, 5):
        write(compose(seed, metre=(4, 4)).song, tmp_path / f"{name}.mid")
    found = commands(MUSIC)
    verbs = {"tracks", "phrases", "interpolate", "humanise", "attribute", "sample", "train"}
    assert verbs <= {c[1] for c in found}
    for command in found:
        assert command[0] == "seqvae"
        briefly = BRIEF.get(" ".join(command[1:3]), [])
        status = main([*small(command), *briefly])
        said = capfd.readouterr()
        assert status == 0, f"{shlex.join(command)}\n{said.err}"


def test_what_the_guide_to_music_links_to_is_there() -> None:
    for name, place in re.findall(r"\]\(([\w./-]*)(?:#([\w-]*))?\)", MUSIC):
        assert (ROOT / "docs" / name).exists(), name
        if place:
            text = (ROOT / "docs" / name).read_text("utf-8").lower()
            titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert place in {re.sub(r"[^\w -]", "", t).replace(" ", "-") for t in titles}, place
    for picture in (ROOT / "docs/images").glob("journey-*.png"):
        assert f"images/{picture.name}" in MUSIC and picture.stat().st_size < 200_000


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
        assert capsys.readouterr().out


def test_the_recipes_of_the_readme_build(tmp_path: Path) -> None:
    found = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert found
    for text in found:
        (tmp_path / "mine.toml").write_text(text, "utf-8")
        build(recipe.read(tmp_path / "mine.toml"), vocab=50, steps=100)


def test_every_file_the_tree_names_is_there() -> None:
    tree = README.split("## The tree")[1].split("## ")[0]
    root = Path(__file__).parents[1]
    for name in re.findall(r"(?:seqvae|data_prep|scripts|docs)/[\w./]*", tree):
        assert (root / name).exists(), name
