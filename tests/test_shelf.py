"""Runs are found by path or by name, and those that come with the package cannot be hidden."""

import shutil
from pathlib import Path

import pytest

import seqvae
from seqvae import shelf
from seqvae.errors import Refused
from seqvae.runs import is_run

SMALL = 8 * 2**20  # bytes


def test_the_default_comes_with_the_package_and_opens() -> None:
    assert shelf.DEFAULT in shelf.shipped()
    folder = shelf.find(shelf.DEFAULT)
    assert is_run(folder) and shelf.is_shipped(folder)
    assert seqvae.load(shelf.DEFAULT).latent > 0


def test_only_a_run_of_the_same_name_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path(shelf.DEFAULT)
    own.mkdir()
    assert shelf.find(shelf.DEFAULT) == shelf.shipped_folder() / shelf.DEFAULT
    shutil.copytree(shelf.shipped_folder() / shelf.DEFAULT, own, dirs_exist_ok=True)
    assert shelf.find(shelf.DEFAULT) == own
    assert not shelf.is_shipped(own)


def test_a_folder_is_taken_as_it_is_and_a_mistyped_name_is_guessed(tmp_path: Path) -> None:
    assert shelf.find(tmp_path) == tmp_path
    with pytest.raises(Refused, match=r"no run at 'tatoba'\. Did you mean tatoeba"):
        shelf.find("tatoba")
    with pytest.raises(Refused, match='Name the run before the sentence: tatoeba "I am here"'):
        shelf.find("I am here")
    with pytest.raises(Refused, match=r"no run at 'runs/x'. A run is .*come: .*tatoeba"):
        shelf.find("runs/x")


@pytest.mark.parametrize("name", shelf.shipped())
def test_what_comes_with_the_package_opens_is_small_and_says_its_licence(name: str) -> None:
    folder = shelf.find(name)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= SMALL
    card = (folder / "card.md").read_text("utf-8")
    assert "licence: not said" not in card and "- licence: " in card
    assert seqvae.load(name).latent > 0
