"""What attribute vectors do to unseen items: the change achieved, what leaks, what is kept."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from ..attributes import attributes_of, contour_likeness, rhythm_likeness, word_likeness
from ..corpus import Corpus, write_json
from ..errors import Refused, check_sizes
from ..explore import Explorer
from ..measures.codes import Tell
from ..metrics import spearman
from ..midi.clips import Clip
from ..reports.report import check_codec
from ..runs import write_text
from ..vectors import Vector, Vectors
from .learning import Labelled, gained, taken
from .picking import Picker

Values = NDArray[np.float64]  # of attributes (S, N, K), at S strengths

STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
WAYS = 3  # of moving by an attribute: its vector, that not picked, a random one
NO_NUMBER = "—"
FILES = ("attributes.md", "attributes.json")


@dataclass(frozen=True)
class Moves:
    """What moving by one attribute's vector, or something in its place, did to unseen items.

    Arguments:
        spearman: the mean over items of the correlation of ranks of attribute and strength, 0 for
            an item that never changes; None for an edit that knows one strength only.
        change: of the attribute at `strength`, in standard deviations of the data, the mean over
            items against what is written at strength 0.
        leaks: the same of every other attribute; what rises in one item and falls in the next
            has a mean of 0.
        swayed: of every other attribute the root mean square over items of that change, which
            counts both.
        rhythm, contour, words: how like the item at strength 0 it still is (`likeness`), where
            there is such a thing.
        items: those whose attribute is defined at strength 0 and at `strength`.
    """

    attribute: str
    by: str
    strength: float
    spearman: float | None
    change: float
    leaks: dict[str, float]
    swayed: dict[str, float]
    rhythm: float | None
    contour: float | None
    words: float | None
    items: int

    @property
    def worst(self) -> tuple[str, float]:
        """The largest leak, and into what."""
        return _largest(self.leaks)

    @property
    def most_swayed(self) -> tuple[str, float]:
        """What was swayed most, and how much."""
        return _largest(self.swayed)

    def cells(self) -> list[str]:
        others = [
            f"{size:.2f} ({name})" if name else NO_NUMBER
            for name, size in (self.worst, self.most_swayed)
        ]
        start = [self.attribute, self.by, f"{self.strength:+g}"]
        likenesses = [_cell(each) for each in (self.rhythm, self.contour, self.words)]
        start += [_cell(self.spearman), _cell(self.change)]
        return [*start, *others, *likenesses, str(self.items)]


def _largest(found: Mapping[str, float]) -> tuple[str, float]:
    return max(found.items(), key=lambda one: abs(one[1]), default=("", 0.0))


def _cell(number: float | None) -> str:
    return NO_NUMBER if number is None or math.isnan(number) else f"{number:.2f}"


HEADER = (
    "attribute",
    "moved by",
    "strength",
    "Spearman",
    "change",
    "largest leak",
    "most swayed",
    "rhythm",
    "contour",
    "words",
    "items",
)


@dataclass(frozen=True)
class Effects:
    """The table of a run's vectors, and what it was measured on."""

    moves: list[Moves]
    about: dict[str, Any]

    def markdown(self) -> str:
        """The table for people, with what its columns are."""
        rows = [list(HEADER), ["---"] * len(HEADER), *(moves.cells() for moves in self.moves)]
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        about = self.about
        strengths = ", ".join(f"{strength:g}" for strength in about["strengths"])
        return (
            f"# Attribute vectors of {about['run']}\n\n"
            f"{about['items']:,} unseen items of {about['split']} ({about['corpus']}, checksum "
            f"`{about['checksum'][:12]}`), strengths {strengths}, seed {about['seed']}, seqvae "
            f"{about['version']}. Change and leaks are in standard deviations of the data, "
            "against what is written from the item's own code; likenesses are to that. A leak is "
            "the mean over items, in which what rises here and falls there cancels; swayed is the "
            "root mean square, in which it does not.\n\n"
            f"{lines}\n"
        )

    def save(self, folder: Path) -> list[Path]:
        """Write both forms into a folder."""
        page, data = (folder / name for name in FILES)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(page, self.markdown())
        write_json(data, {"about": self.about, "moves": list(map(_row, self.moves))})
        return [page, data]


def _row(moves: Moves) -> dict[str, Any]:
    worst = {"worst_leak": moves.worst[1], "most_swayed": moves.most_swayed[1]}
    return {**_plain(moves.__dict__), **worst}


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it: what is not finite is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in found.items()
    }


def try_vectors(
    explorer: Explorer,
    vectors: Vectors,
    corpus: Corpus,
    *,
    asked: Sequence[str] = (),
    split: str = "valid",
    items: int = 100,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    progress: Tell | None = None,
) -> Effects:
    """Move unseen items by every vector, by a random one as long, and by the trivial edit.

    Posterior means are moved. What is written of them is picked (`Picker`), along the vector and
    the random one alike; beside it stands what is written greedily from the moved code. As long is
    meant of the Euclidean length; the random direction is uniform, drawn for each attribute by the
    seed. Trivial edits of one standard deviation are made to what is written at strength 0:
    register by the whole number of semitones nearest to it; note_density by leaving notes out,
    evenly spread, and beside that stands the vector at strength -1.

    Arguments:
        asked: the attributes to move, of those with a vector; none: all. Leaks are those into all.

    Raises `Refused` for another codec, for vectors of labels, which nothing measures, for an
    attribute that has no vector, and where strengths lack 0 and 1.
    """
    check_sizes(items=items)
    check_codec(explorer.codec, corpus.codec, corpus.folder)
    if not {0.0, 1.0} <= set(strengths):
        raise Refused(f"strengths {list(strengths)}: 0 and 1 must be among them.")
    measured = attributes_of(explorer.codec)
    known = [vector for name, vector in vectors.vectors.items() if name in measured]
    wanted = _wanted(vectors, [vector.name for vector in known], asked)
    given = taken(corpus, split, items)
    trial = _Trial(explorer, known, given, strengths)
    random = torch.Generator().manual_seed(seed)
    others = {vector.name: torch.randn(len(vector.shift), generator=random) for vector in known}
    tell = progress or _silent
    moves: list[Moves] = []
    for number, name in enumerate(wanted):
        for done, found in enumerate(trial.tried(vectors.vectors[name], others[name]), 1):
            moves += found
            tell("ways of moving", number * WAYS + done, len(wanted) * WAYS)
    about = {
        "run": explorer.recipe["name"],
        "corpus": corpus.folder.name,
        "checksum": corpus.checksum,
        "split": split,
        "items": len(given.items),
        "strengths": [float(strength) for strength in strengths],
        "seed": seed,
        "version": __version__,
        "learnt": {k: v for k, v in vectors.header.items() if k != "attributes"},
        "vectors": [vector.row() for vector in trial.vectors],
    }
    return Effects(moves, about)


def _wanted(vectors: Vectors, known: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The names of the vectors to try: of those asked for, or of all that something measures."""
    named = [vectors.named(name).name for name in asked]
    labels = [name for name in named or vectors.vectors if name not in known]
    if labels and (named or not known):
        raise Refused(
            f"{', '.join(labels)}: vectors of labels, of which no function measures what is "
            "written. Try an attribute that is measured"
            + (f": {', '.join(known)}." if known else ", if the run learns one.")
        )
    return list(dict.fromkeys(named)) or list(known)


def _silent(what: str, done: int, total: int) -> None:
    """For whoever did not ask to be told."""


class _Trial:
    """Unseen items, what is written of their codes, and the attributes of that."""

    def __init__(
        self,
        explorer: Explorer,
        vectors: Sequence[Vector],
        given: Labelled,
        strengths: Sequence[float],
    ) -> None:
        self.explorer, self.vectors = explorer, list(vectors)
        self.picker, self.plain = Picker(explorer, vectors), Picker(explorer, [])
        self.strengths = sorted(map(float, strengths))
        self.z = explorer.encode(given.items)
        self.home = explorer.decode(self.z)
        self.values = self.measured(self.home)

    def measured(self, items: Sequence[Any]) -> Values:
        """The attributes of items (N, K)."""
        known = attributes_of(self.explorer.codec)
        measures = [known[vector.name].measure for vector in self.vectors]
        return np.array([[measure(item) for measure in measures] for item in items], float)

    def tried(self, vector: Vector, other: Tensor) -> Iterator[list[Moves]]:
        """What it did, beside it another direction at its length and the trivial edits."""
        edits = self.edited(vector)
        at = [edit.strength for edit in edits if edit.strength != 1]
        other = other * (vector.shift.norm() / other.norm())
        own, *more = self.moved(vector, "its vector", vector.shift, self.picker, [1.0, *at])
        yield [own]
        yield self.moved(vector, "its vector, not picked", vector.shift, self.plain, [1.0])
        random = self.moved(vector, "a random vector", other, self.picker, [1.0])
        yield [*random, *more, *edits]

    def moved(
        self, vector: Vector, by: str, shift: Tensor, picker: Picker, told: Sequence[float]
    ) -> list[Moves]:
        """By a shift, at every strength; what it did is told of some of these."""
        decode = self.explorer.codec.decode
        written = {
            strength: list(map(decode, picker.write(self.z, vector.name, shift, strength)))
            for strength in sorted({*self.strengths, *told})
        }
        k = self.vectors.index(vector)
        ways = [self.measured(written[strength])[:, k] for strength in self.strengths]
        rises = _rises(self.strengths, np.stack(ways, axis=1))
        return [self.told(vector, by, each, written[each], rises) for each in told]

    def edited(self, vector: Vector) -> list[Moves]:
        """By the trivial edit, where there is one."""
        edit = attributes_of(self.explorer.codec)[vector.name].edit
        if edit is None:
            return []
        more = edit.strength * vector.std
        items = [edit.made(item, more) for item in self.home]
        return [self.told(vector, edit.called(more), edit.strength, items, None)]

    def told(
        self, vector: Vector, by: str, strength: float, items: Sequence[Any], rises: float | None
    ) -> Moves:
        """What these items have become."""
        values = self.measured(items)
        columns = {
            other.name: (self.values[:, k], values[:, k], other.std)
            for k, other in enumerate(self.vectors)
        }
        changes = {name: gained(*column) for name, column in columns.items()}
        others = [name for name in columns if name != vector.name]
        own = self.vectors.index(vector)
        both = np.isfinite(values[:, own] - self.values[:, own])
        return Moves(
            vector.name,
            by,
            strength,
            rises,
            changes[vector.name],
            {name: changes[name] for name in others},
            {name: swayed(*columns[name]) for name in others},
            self._like(rhythm_likeness, items, Clip),
            self._like(contour_likeness, items, Clip),
            self._like(word_likeness, items, str),
            int(both.sum()),
        )

    def _like(
        self, likeness: Callable[[Any, Any], float], items: Sequence[Any], kind: type
    ) -> float | None:
        """The mean likeness to the items at strength 0, of those that have one."""
        if not all(isinstance(item, kind) for item in self.home):
            return None
        each = [likeness(*pair) for pair in zip(self.home, items, strict=True)]
        there = [value for value in each if not math.isnan(value)]
        return float(np.mean(there)) if there else None


def swayed(before: Values, after: Values, std: float) -> float:
    """The root mean square change in standard deviations, of items as `gained` takes them.

    >>> swayed(np.array([1.0, 1.0, np.nan]), np.array([3.0, -1.0, 0.0]), 2.0)
    1.0
    """
    change = (after - before)[np.isfinite(after - before)]
    return float(np.sqrt(np.square(change).mean())) / std if len(change) else 0.0


def _rises(strengths: Sequence[float], values: Values) -> float:
    """The mean over items (N, S) of Spearman's correlation with the strengths, of defined ones."""
    found = []
    for row in values:
        there = np.isfinite(row)
        own = spearman(np.asarray(strengths)[there], row[there]) if there.sum() > 1 else math.nan
        found.append(0.0 if math.isnan(own) else own)
    return float(np.mean(found))
