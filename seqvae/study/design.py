"""What a study is: blocks, entries, cells, and the recipe of each.

A block is a corpus and a decoder, an entry a remedy or a language model with a knob, a cell one
run: an entry in a block, at one value of its knob, with one seed.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..build import build
from ..codecs.codec import Extent
from ..corpus import Corpus
from ..errors import Refused
from ..estimate import count_weights
from ..recipe import Recipe, check, override, to_toml

MEASURE = {
    "samples": 50,
    "sample_items": 300,
    "fitted_items": 0,
    "mixture_items": 2000,
    "probe_items": 0,
}


LEFT_OUT = "none"  # a knob's value: it is not said, as where decoders see all tokens


class Entry(NamedTuple):
    """A remedy, or a language model: its settings, and the knob that is tried at every value."""

    name: str
    settings: tuple[str, ...]
    knob: str
    values: tuple[Any, ...]
    about: str = ""
    language_model: bool = False
    grow: bool = False  # until it has as many weights as the reference
    stages: tuple[Mapping[str, Any], ...] = ()
    names: tuple[str, ...] = ()  # of the values, where they are long

    def called(self, place: int) -> str:
        """A value of the knob, as tables say it."""
        if self.names:
            return self.names[place]
        return "all" if self.values[place] == LEFT_OUT else written(self.values[place])


class Kind(NamedTuple):
    """A decoder: its settings, and the size that makes it larger."""

    settings: tuple[str, ...]
    grow: str


class Cell(NamedTuple):
    """One run of a study. `share` is that of the updates which it gets, 1 but at equal compute."""

    corpus: str
    decoder: str
    entry: str
    place: int  # of the value among those of the knob
    seed: int
    share: float = 1.0

    @property
    def block(self) -> tuple[str, str]:
        return self.corpus, self.decoder


class Wanted(NamedTuple):
    """A corpus that a study is on, and how it is prepared where it is given as text."""

    name: str
    path: str | None
    options: Mapping[str, Any]
    language: str | None = None  # that it is of, where the factors of a sentence are known


@dataclass(frozen=True)
class Study:
    """Everything that a TOML says of a study."""

    name: str
    base: Recipe
    reference: str
    corpora: Mapping[str, Wanted]
    decoders: Mapping[str, Kind]
    entries: Mapping[str, Entry]
    rates: tuple[float, ...]
    final_rate: float  # the one of these at which models are run again
    final_seeds: tuple[int, ...]
    sweep_seed: int = 0
    about: str = ""
    measure: Mapping[str, int] = field(default_factory=lambda: MEASURE)
    test: Mapping[str, int] = field(default_factory=lambda: MEASURE)

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        return [(corpus, decoder) for corpus in self.corpora for decoder in self.decoders]

    @property
    def remedies(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if not entry.language_model]

    @property
    def language_models(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.language_model]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All that it names, that of the sweep first."""
        return self.sweep_seed, *self.final_seeds

    def with_decoders(self, wanted: Sequence[str]) -> "Study":
        """The study of these decoders, of all where none is named."""
        if unknown := sorted(set(wanted) - set(self.decoders)):
            raise Refused(f"--decoder {unknown[0]}: name one of {', '.join(self.decoders)}.")
        kept = {name: kind for name, kind in self.decoders.items() if name in wanted or not wanted}
        return replace(self, decoders=kept)

    def sweep(self, seed: int | None = None) -> list[Cell]:
        """Every value of every knob once, the language models of a block first.

        With another `seed` than the sweep's it says how sure a sweep is; winners are not chosen by
        it.
        """
        return [
            Cell(*block, entry.name, place, self.sweep_seed if seed is None else seed)
            for block in self.blocks
            for entry in (*self.language_models, *self.remedies)
            for place in range(len(entry.values))
        ]

    def recipe(self, cell: Cell, size: int | None = None) -> Recipe:
        """The recipe of a cell; `size` is what its decoder grows to, where it grows.

        Raises `Refused` for settings that no recipe has.
        """
        entry, decoder = self.entries[cell.entry], self.decoders[cell.decoder]
        settings = [*decoder.settings, *entry.settings]
        value = entry.values[cell.place]
        if value != LEFT_OUT:
            settings.append(f"{entry.knob}={written(value)}")
        settings += [f"seed={cell.seed}", f"name={cell.entry}"]
        if size is not None:
            settings.append(f"{decoder.grow}={size}")
        made = override(self.base, settings)
        if entry.stages:
            made = {**made, "stage": [dict(stage) for stage in entry.stages]}
            check(made)
        return made if cell.share == 1 else shortened(made, cell.share)

    def told(self, cell: Cell) -> str:
        """A cell by its entry, the knob and its value."""
        entry = self.entries[cell.entry]
        return f"{entry.name}, {entry.knob} = {written(entry.values[cell.place])}"

    def place(self, cell: Cell) -> Path:
        """Where a cell's run lies in the folder of a study."""
        entry = self.entries[cell.entry]
        equal = "" if cell.share == 1 else "-equal-compute"
        value = slug(entry.names[cell.place] if entry.names else entry.values[cell.place])
        return Path(
            "cells", cell.corpus, cell.decoder, cell.entry, value, f"seed{cell.seed}{equal}"
        )


def shortened(recipe: Recipe, share: float) -> Recipe:
    """The recipe with a share of its updates; what is a share of the run shrinks with it."""
    made = {**recipe, "training": _shorter(recipe["training"], share)}
    if "stage" in recipe:
        made["stage"] = [_shorter(stage, share) for stage in recipe["stage"]]
    return made


def _shorter(section: Mapping[str, Any], share: float) -> dict[str, Any]:
    lengths: dict[str, Any] = {}
    if "steps" in section:
        lengths["steps"] = max(round(share * section["steps"]), 1)
    if "epochs" in section:
        lengths["epochs"] = share * section["epochs"]
    return {**section, **lengths}


def written(value: Any) -> str:
    """A knob's value as `--set` takes it.

    >>> written(0.5), written("max"), written({"kind": "linear", "share": 0.1})
    ('0.5', '"max"', '{kind = "linear", share = 0.1}')
    """
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {written(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value)


def slug(value: Any) -> str:
    """A knob's value as the name of a folder.

    >>> slug(-0.5), slug({"kind": "linear", "share": 0.1})
    ('-0.5', 'kind-linear-share-0.1')
    """
    if isinstance(value, int | float):
        return written(value)
    return re.sub(r"[^A-Za-z0-9.+_]+", "-", written(value)).strip("-")


def digest(recipe: Recipe) -> str:
    """What tells one recipe from another."""
    return hashlib.sha256(to_toml(recipe).encode()).hexdigest()[:16]


def sized(study: Study, corpora: Mapping[str, Corpus]) -> "Sizes":
    """The recipes of a study's cells, once its corpora are there."""
    return Sizes(study, {name: corpus.codec.extent for name, corpus in corpora.items()})


class Sizes:
    """The recipe of every cell, with sizes that grow until a model has as many weights as another.

    `extents` are those of the items of every corpus.
    """

    STEP = 8  # sizes are multiples of that: heads divide them, and processors like them

    def __init__(self, study: Study, extents: Mapping[str, Extent]) -> None:
        self.study, self.extents = study, extents
        self.found: dict[tuple[str, str, str], int] = {}

    def recipe(self, cell: Cell) -> Recipe:
        return self.study.recipe(cell, self.size(cell))

    def size(self, cell: Cell) -> int | None:
        """What the entry's size is raised to, None where it does not grow."""
        if not self.study.entries[cell.entry].grow:
            return None
        key = (*cell.block, cell.entry)
        if key not in self.found:
            self.found[key] = self._search(cell._replace(place=0, share=1.0))
        return self.found[key]

    def _search(self, cell: Cell) -> int:
        """The multiple of `STEP` whose weights come nearest to those of the reference."""
        wanted = self.weights(cell._replace(entry=self.study.reference, place=0))
        low, high = 1, 2
        while self.weights(cell, high * self.STEP) < wanted:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high)
                if self.weights(cell, middle * self.STEP) < wanted
                else (low, middle)
            )
        nearest = min((low, high), key=lambda n: abs(self.weights(cell, n * self.STEP) - wanted))
        return nearest * self.STEP

    def weights(self, cell: Cell, size: int | None = None) -> int:
        """Numbers that the model of a cell learns."""
        extent = self.extents[cell.corpus]
        return count_weights(build(self.study.recipe(cell, size), **extent._asdict()))
