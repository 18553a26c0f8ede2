"""What is known of a study's cells: figures, those of every item, and failures, as files.

OUT/cells/CORPUS/DECODER/ENTRY/VALUE/seed0/     a run, with what was measured of it
    cell.json                                   what it is, and the recipe it was begun with
    valid.json  valid.npz                       its figures on validation, and of every item
    test.json  test.npz  test_ledger.jsonl      likewise of the winners on the test split
…/seed0.failed.json  seed0.log  seed0.lock      why it could not be; what it said; who is at it
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..corpus import Replacing, write_json
from ..errors import Refused
from ..frontier import Point
from .design import Cell, Sizes, Study, digest

CHOICES = "choices.json"
LEDGER = "test_ledger.jsonl"
Figures = Mapping[str, Any]
Block = dict[str, Any]  # what was chosen in a block, as choices.json has it
EACH = ("item", "reconstruction", "rate", "iw_item", "iw_nll")  # what is kept of every item


@dataclass(frozen=True)
class Records:
    """The cells of a study in a folder, as far as they are done."""

    study: Study
    sizes: Sizes
    folder: Path

    def place(self, cell: Cell) -> Path:
        return self.folder / self.study.place(cell)

    def beside(self, cell: Cell, ending: str) -> Path:
        place = self.place(cell)
        return place.with_name(f"{place.name}.{ending}")

    def ledger(self, cell: Cell) -> Path:
        """Where each look at the test split is noted."""
        return self.place(cell) / LEDGER

    def done(self, cell: Cell, split: str) -> bool:
        """Whether a cell was measured on a split, or is known to fail."""
        return (self.place(cell) / f"{split}.json").is_file() or self.failure(cell) is not None

    def figures(self, cell: Cell, split: str) -> Figures | None:
        """What was measured of a cell; None where nothing was, yet or ever.

        Raises `Refused` where it was made with another recipe than the study's by now.
        """
        path = self.place(cell) / f"{split}.json"
        if not path.is_file():
            return None
        self.check_recipe(cell)
        return json.loads(path.read_bytes())

    def begun(self, cell: Cell) -> Figures | None:
        """What was noted of a cell when it was begun; None where it was not."""
        note = self.place(cell) / "cell.json"
        return json.loads(note.read_bytes()) if note.is_file() else None

    def check_recipe(self, cell: Cell) -> None:
        """Refuse a cell that was begun with another recipe: its name would lie."""
        note = self.begun(cell)
        if note is not None and note["recipe"] != self.digest(cell):
            raise Refused(
                f"{self.place(cell)} was made with another recipe than the study has now. Go on "
                "in another folder, or remove what has changed."
            )

    def check_corpora(self, checksums: Mapping[str, str]) -> None:
        """Refuse other corpora than those, by name, that the cells which lie here are of."""
        for name, checksum in checksums.items():
            for path, said in self._corpora(name):
                if said != checksum:
                    raise Refused(
                        f"{path.parent} was made with another corpus {name} than is given now "
                        f"(checksum {said[:12]}, now {checksum[:12]}): name that one, --corpus "
                        f"{name}=…, or go on in another folder."
                    )

    def _corpora(self, name: str) -> Iterator[tuple[Path, str]]:
        """The checksums that cells of a corpus have noted: when begun, and when measured."""
        for file, key in (
            ("corpus.json", "checksum"),
            ("valid.json", "corpus"),
            ("test.json", "corpus"),
        ):
            for path in sorted((self.folder / "cells" / name).glob(f"*/*/*/*/{file}")):
                said = json.loads(path.read_bytes())
                if key in said:
                    yield path, str(said[key])

    def digest(self, cell: Cell) -> str:
        return digest(self.sizes.recipe(cell))

    def note(self, cell: Cell) -> None:
        """Say what a cell is before it is begun."""
        self.check_recipe(cell)
        self.place(cell).mkdir(parents=True, exist_ok=True)
        about = {**cell._asdict(), "recipe": self.digest(cell)}
        write_json(self.place(cell) / "cell.json", about)

    def keep(
        self, cell: Cell, split: str, figures: Figures, each: Mapping[str, Tensor | None]
    ) -> None:
        """Write what was measured; the figures last, which make it done."""
        place = self.place(cell)
        arrays = {name: value.numpy() for name, value in each.items() if value is not None}
        with Replacing(place / f"{split}.npz") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        write_json(place / f"{split}.json", figures)

    def each(self, cell: Cell, split: str) -> dict[str, Tensor]:
        """The figures of every item."""
        with np.load(self.place(cell) / f"{split}.npz") as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in EACH if name in arrays}

    def fail(self, cell: Cell, error: BaseException) -> None:
        """Write down why a cell could not be."""
        said = {**cell._asdict(), "kind": type(error).__name__, "reason": str(error)}
        path = self.beside(cell, "failed.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, said)

    def failure(self, cell: Cell) -> Figures | None:
        """Why a cell could not be; None where it could, or was not tried."""
        path = self.beside(cell, "failed.json")
        return json.loads(path.read_bytes()) if path.is_file() else None

    def forget_failures(self, cells: Iterable[Cell]) -> None:
        """So that they are tried again."""
        for cell in cells:
            self.beside(cell, "failed.json").unlink(missing_ok=True)

    def left(self, cells: Iterable[Cell], split: str) -> list[Cell]:
        """Those that are not done."""
        return [cell for cell in cells if not self.done(cell, split)]


def point(name: str, figures: Figures) -> Point | None:
    """Where a model stands; None where it has no rate. Rounding may put a rate below 0."""
    rate, distortion = figures.get("kl"), figures.get("reconstruction")
    if rate is None or distortion is None:
        return None
    return Point(name, max(rate, 0.0), distortion)


def chosen(folder: Path) -> dict[str, Block]:
    """The winners as they were written. Raises `Refused` where none are."""
    path = folder / CHOICES
    if not path.is_file():
        raise Refused(f"{path} is not there: the winners are chosen after the sweep.")
    return json.loads(path.read_bytes())


def finals(study: Study, choices: dict[str, Block]) -> list[Cell]:
    """The runs on fresh seeds: of every winner, and of dear ones a second at equal compute.

    Raises `Refused` where of a block, or of an entry of it, no winner was chosen.
    """
    cells = []
    for corpus, decoder in study.blocks:
        block = _winners(study, choices, f"{corpus}/{decoder}")
        for one in (*block["language_models"], *block["remedies"]):
            shares = dict.fromkeys((1.0, one.get("share", 1.0)))
            cells += [
                Cell(corpus, decoder, one["entry"], one["place"], seed, share)
                for share in shares
                for seed in study.final_seeds
            ]
    return cells


def _winners(study: Study, choices: dict[str, Block], name: str) -> Block:
    """What was chosen in a block, refused where that is not what the study asks for."""
    block = choices.get(name)
    if block is None:
        raise Refused(f"no winners of {name} were chosen: run --phase choose for all blocks.")
    remedies = {one["entry"] for one in block["remedies"]} | set(block["without_rate"])
    models = {one["entry"] for one in block["language_models"]}
    wrong = remedies ^ {entry.name for entry in study.remedies}
    wrong |= models - {entry.name for entry in study.language_models}
    if wrong:
        raise Refused(
            f"the winners of {name} are another study's ({', '.join(sorted(wrong))}): run "
            "--phase choose with this one."
        )
    return block
