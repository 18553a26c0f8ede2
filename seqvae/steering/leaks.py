"""What attribute vectors do to unseen items: the change achieved, what leaks, what is kept."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from ..midi.clips import DRUMS, Clip
from ..reports.report import check_codec
from ..runs import write_text
from ..vectors import Vector, Vectors
from .learning import Labelled, gained, taken
from .picking import Picker

Values = NDArray[np.float64]  # of attributes (S, N, K), at S strengths

STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
OCTAVE = 12
FILES = ("attributes.md", "attributes.json")


@dataclass(frozen=True)
class Moves:
    """What moving by one attribute's vector, or something in its place, did to unseen items.

    Arguments:
        spearman: the mean over items of the correlation of ranks of attribute and strength, 0 for
            an item that never changes; None for an edit that knows one strength only.
        change: of the attribute at `strength`, in standard deviations of the data, the mean over
            items against what is written at strength 0.
        leaks: the same of every other attribute.
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
    rhythm: float | None
    contour: float | None
    words: float | None
    items: int

    @property
    def worst(self) -> tuple[str, float]:
        """The largest leak, and into what."""
        if not self.leaks:
            return "", 0.0
        return max(self.leaks.items(), key=lambda leak: abs(leak[1]))

    def cells(self) -> list[str]:
        into, leak = self.worst
        numbers = [self.spearman, self.change, leak if into else None]
        numbers += [self.rhythm, self.contour, self.words]
        told = ["—" if n is None or math.isnan(n) else f"{n:.2f}" for n in numbers]
        told[2] += f" ({into})" if into else ""
        return [self.attribute, self.by, f"{self.strength:+g}", *told, str(self.items)]


HEADER = (
    "attribute",
    "moved by",
    "strength",
    "Spearman",
    "change",
    "largest leak",
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
            "against what is written from the item's own code; likenesses are to that.\n\n"
            f"{lines}\n"
        )

    def save(self, folder: Path) -> list[Path]:
        """Write both forms into a folder."""
        page, data = (folder / name for name in FILES)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(page, self.markdown())
        rows = [{**_plain(moves.__dict__), "worst_leak": moves.worst[1]} for moves in self.moves]
        write_json(data, {"about": self.about, "moves": rows})
        return [page, data]


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
    seed. Trivial edits are made to what is written at strength 0: register by an octave up a
    strength; note_density by leaving notes out, evenly spread, until one standard deviation is
    gone.

    Raises `Refused` for another codec, for vectors of labels alone, which nothing measures, and
    where strengths lack 0 and 1.
    """
    check_sizes(items=items)
    check_codec(explorer.codec, corpus.codec, corpus.folder)
    if not {0.0, 1.0} <= set(strengths):
        raise Refused(f"strengths {list(strengths)}: 0 and 1 must be among them.")
    known = attributes_of(explorer.codec)
    names = [name for name in vectors.vectors if name in known]
    if not names:
        raise Refused(
            "these are vectors of labels, of which no function measures what is written."
        )
    given = taken(corpus, split, items)
    trial = _Trial(explorer, [vectors.vectors[name] for name in names], given, strengths)
    random = torch.Generator().manual_seed(seed)
    tell = progress or _silent
    moves: list[Moves] = []
    for number, vector in enumerate(trial.vectors):
        other = torch.randn(len(vector.shift), generator=random)
        other *= vector.shift.norm() / other.norm()
        ways = {
            "its vector": (vector.shift, trial.picker),
            "its vector, not picked": (vector.shift, trial.plain),
            "a random vector": (other, trial.picker),
        }
        for done, (by, (shift, picker)) in enumerate(ways.items(), 1):
            moves.append(trial.moved(vector, by, shift, picker))
            tell("ways of moving", number * len(ways) + done, len(names) * len(ways))
        moves += trial.edited(vector)
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

    def moved(self, vector: Vector, by: str, shift: Tensor, picker: Picker) -> Moves:
        """By a shift, at every strength."""
        decode = self.explorer.codec.decode
        written = {
            strength: list(map(decode, picker.write(self.z, vector.name, shift, strength)))
            for strength in self.strengths
        }
        k = self.vectors.index(vector)
        ways = np.stack([self.measured(items)[:, k] for items in written.values()], axis=1)
        return self.told(vector, by, 1.0, written[1.0], _rises(self.strengths, ways))

    def edited(self, vector: Vector) -> list[Moves]:
        """By the trivial edit, where there is one."""
        if vector.name == "register":
            up = [clip.moved(OCTAVE) for clip in self.home]
            return [self.told(vector, "an octave up", 1.0, up, None)]
        if vector.name == "note_density":
            fewer = [thinned(clip, vector.std) for clip in self.home]
            return [self.told(vector, "notes left out", -1.0, fewer, None)]
        return []

    def told(
        self, vector: Vector, by: str, strength: float, items: Sequence[Any], rises: float | None
    ) -> Moves:
        """What these items have become."""
        values = self.measured(items)
        changes = {
            other.name: gained(self.values[:, k], values[:, k], other.std)
            for k, other in enumerate(self.vectors)
        }
        own = self.vectors.index(vector)
        both = np.isfinite(values[:, own] - self.values[:, own])
        change = changes.pop(vector.name)
        return Moves(
            vector.name,
            by,
            strength,
            rises,
            change,
            changes,
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


def _rises(strengths: Sequence[float], values: Values) -> float:
    """The mean over items (N, S) of Spearman's correlation with the strengths, of defined ones."""
    found = []
    for row in values:
        there = np.isfinite(row)
        own = spearman(np.asarray(strengths)[there], row[there]) if there.sum() > 1 else math.nan
        found.append(0.0 if math.isnan(own) else own)
    return float(np.mean(found))


def thinned(clip: Clip, fewer: float) -> Clip:
    """A clip with so many notes a beat left out, evenly spread; one note at least stays.

    >>> from seqvae.midi import notes_of
    >>> notes = notes_of([(480 * beat, 480 * beat + 240, 60, 80) for beat in range(8)])
    >>> len(thinned(Clip({"melody": notes}, 8 * 480), 0.5).part("melody"))
    4
    """
    count = fewer * clip.length / clip.ticks_per_beat
    parts = {}
    for name, notes in clip.parts.items():
        kept = max(len(notes) - round(count), min(len(notes), 1))
        places = np.linspace(0, len(notes) - 1, kept).round().astype(int)
        parts[name] = notes if name == DRUMS else notes[places]
    return replace(clip, parts=parts)
