"""Where attributes lie in the space of codes: vectors learnt from a corpus, kept in the run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attributes import attributes_of
from ..corpus import Corpus
from ..data import Rows, spread
from ..distributions import on_sphere
from ..errors import Refused, check_sizes
from ..explore import Explorer
from ..measures.codes import Tell
from ..recipe import unknown
from ..reports.report import check_codec
from ..shelf import is_shipped
from ..vae import VAE
from ..vectors import COMMAND, FILE, LABEL, NONE, Fit, Vector, Vectors, fit, forms, load, save

Values = NDArray[np.float64]  # of attributes (N, K), NaN where they are undefined

HELD_OUT = 2000  # items that R² is told of
FEWEST = 20  # items, under which no line is fitted
MOSTLY = 0.5  # of the items: an attribute that more do not have is left out
FARTHEST = 10.0  # standard deviations of codes: a vector that long leads where no items are
TAIL = 0.01  # of the data at each end, not counted as their range
AT_ONCE = 256
TRIED = 200  # items that a vector's length is tried on
STRETCHES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # times as far as the line says, tried in turn
HALVINGS = 4  # of the interval in which the right length lies


@dataclass(frozen=True)
class Learnt:
    """All vectors in their run's folder, and what is to be said of how they were learnt."""

    vectors: Vectors
    path: Path
    said: list[str]

    def rows(self) -> list[tuple[str, ...]]:
        """A table for people."""
        header = ("attribute", "mean", "std", "R², held out", "length", "stretch", "unit", "from")
        return [header, *(self._told(vector) for vector in self.vectors.vectors.values())]

    def _told(self, vector: Vector) -> tuple[str, ...]:
        numbers = (vector.mean, vector.std, vector.r2, vector.length)
        stretch = f"{vector.stretch:.2f}" if vector.stretch else "—"
        last = (stretch, vector.unit, self.vectors.origin(vector.name)["corpus"])
        return (vector.name, *(f"{number:.2f}" for number in numbers), *last)

    def plain(self) -> list[dict[str, Any]]:
        """As plain data: each vector's row, and which corpus it was learnt from."""
        corpora = {name: self.vectors.origin(name)["corpus"] for name in self.vectors.vectors}
        return [{**v.row(), "corpus": corpora[name]} for name, v in self.vectors.vectors.items()]


class Labelled(NamedTuple):
    """Items of a corpus, and the label of each by name, if it has labels."""

    items: list[Any]
    labels: list[str] | None


def learn(
    explorer: Explorer,
    corpus: Corpus,
    *,
    asked: Sequence[str] = (),
    items: int = 10_000,
    tried: int = TRIED,
    progress: Tell | None = None,
) -> Learnt:
    """Learn a vector for every attribute that a corpus's items have, and keep them in the run.

    Posterior means of items of the training split are read by a line, with all attributes at
    once (`vectors.fit`), so that each vector holds the others. Of a label it holds the attributes
    that are measured, but no other label. R² is told of validation items, or of the last fifth
    where there are none. Vectors learnt before, of attributes that these items leave out, are
    kept, and named; those learnt again are replaced, and named.

    Arguments:
        asked: attributes that must be learnt; the others come along where they can be.
        items: how many, at most, evenly spread.
        tried: items of these that each vector's length is tried on (`stretched`); 0: none, so
            that strength 1 goes as far as the line says.

    Raises `Refused` for a run that comes with the package, which is never written to, a language
    model, another codec, an attribute asked for that items do not have, that is constant over the
    data, or that is nothing but what the others say.
    """
    check_sizes(items=items)
    folder = own_folder(explorer)
    check_codec(explorer.codec, corpus.codec, corpus.folder)
    check_asked(explorer, asked, corpus.labels or ())
    known, new = _two_parts(corpus, items)
    names = [*attributes_of(explorer.codec), *_labels(known)]
    wanted = [_named(name, names, explorer) for name in asked]
    values, new_values = (measured(explorer, part, names) for part in (known, new))
    kept, omitted, said = _usable(names, values, wanted, explorer.codec.noun)
    z, new_z = (encoded(explorer, part.items, progress) for part in (known, new))
    learnt: list[Vector] = []
    for group in _groups(kept):
        far = _fit_group(learnt, group, names, (z, values), (new_z, new_values), wanted, explorer)
        omitted |= {name: why for name, why in far.items() if name in group[1]}
        said += _not_held(far, group)
    said += [f"{name}: left out, for {why}" for name, why in omitted.items()]
    if not learnt:
        raise Refused(f"no attribute of {corpus.folder} could be learnt: {'; '.join(said)}.")
    some = spread(len(z), tried).tolist()
    if some:
        learnt = [stretched(explorer, z[some], vector) for vector in learnt]
        said += [_deaf(vector) for vector in learnt if vector.stretch == 0]
    before, lost = _before(folder, explorer.vae)
    about = _about(corpus, known, new, omitted)
    vectors = save(folder, learnt, explorer.vae, about, before)
    return Learnt(vectors, folder / FILE, [*said, *lost, *_beside(learnt, before)])


def _about(
    corpus: Corpus, known: Labelled, new: Labelled, omitted: Mapping[str, str]
) -> dict[str, Any]:
    """What vectors were learnt from, and what could not be learnt of it."""
    name = corpus.folder.name
    return {
        "corpus": name,
        "checksum": corpus.checksum,
        "split": "train" if corpus.has("train") else "valid",
        "items": len(known.items),
        "held_out": len(new.items),
        "omitted": {each: {"corpus": name, "why": why} for each, why in omitted.items()},
    }


def _before(folder: Path, vae: VAE) -> tuple[Vectors, list[str]]:
    """The vectors learnt before, and what to say where there are some that cannot be kept."""
    if not (folder / FILE).is_file():
        return NONE, []
    try:
        return load(folder, vae), []
    except Refused as reason:
        return NONE, [f"vectors learnt before are not kept: {reason}"]


def _beside(learnt: Sequence[Vector], before: Vectors) -> list[str]:
    """What has become of the vectors learnt before."""
    kept = [vector.name for vector in before.but(learnt)]
    replaced = [name for name in before.vectors if name not in kept]
    return [
        f"{what}: {', '.join(names)} (learnt from {', '.join(_corpora(names, before))})"
        for what, names in (("replaced", replaced), ("kept from before", kept))
        if names
    ]


def _corpora(names: Iterable[str], vectors: Vectors) -> list[str]:
    return list(dict.fromkeys(vectors.origin(name)["corpus"] for name in names))


def own_folder(explorer: Explorer) -> Path:
    """The folder of a run in which vectors may be kept.

    Raises `Refused` for a language model, and for a run that comes with the package.
    """
    if explorer.latent == 0:
        raise Refused(
            f"the run {explorer.recipe['name']!r} is a language model (latent = 0): its items "
            "have no codes, and so no vectors. Name a run with a code."
        )
    if "folder" not in explorer.facts:
        raise Refused("this model was not opened from a run's folder, where vectors are kept.")
    folder = Path(explorer.facts["folder"])
    if is_shipped(folder):
        name = folder.name
        raise Refused(f"{name} comes with the package and is never written to. {copied(name)}")
    return folder


def copied(name: str) -> str:
    """How vectors are learnt for a run that comes with the package: on a copy of it."""
    return f"Copy it: seqvae export {name} runs/{name}; {COMMAND} runs/{name} DATA"


def _two_parts(corpus: Corpus, items: int) -> tuple[Labelled, Labelled]:
    """Items to learn from, and others to look with."""
    first = "train" if corpus.has("train") else "valid"
    if first == "train" and corpus.has("valid"):
        return taken(corpus, "train", items), taken(corpus, "valid", HELD_OUT)
    rows = spread(len(corpus.split(first)), items)
    cut = len(rows) - max(len(rows) // 5, 1)
    return _items(corpus, first, rows[:cut]), _items(corpus, first, rows[cut:])


def taken(corpus: Corpus, split_name: str, limit: int) -> Labelled:
    """At most so many items of a split, evenly spread."""
    return _items(corpus, split_name, spread(len(corpus.split(split_name)), limit))


def _items(corpus: Corpus, split_name: str, rows: Rows) -> Labelled:
    found = corpus.split(split_name)
    items = [corpus.codec.decode(found[row].tolist()) for row in rows.tolist()]
    numbers = [found.label(row) for row in rows.tolist()]
    if corpus.labels is None or None in numbers:
        return Labelled(items, None)
    return Labelled(items, [corpus.labels[n] for n in numbers if n is not None])


def _labels(known: Labelled) -> list[str]:
    return [LABEL + name for name in sorted(set(known.labels or ()))]


def check_asked(explorer: Explorer, asked: Iterable[str], labels: Iterable[str] = ()) -> None:
    """Raise `Refused` for an attribute that items of the run do not have, nor is it a label.

    Before data are prepared or read, which may take long.
    """
    names = [*attributes_of(explorer.codec), *(LABEL + label for label in labels)]
    for name in asked:
        _named(name, names, explorer)


def _named(name: str, names: Sequence[str], explorer: Explorer) -> str:
    """An attribute as we name it: "note-density" is note_density, a label may stand alone."""
    found = next((form for form in forms(name) if form in names), None)
    if found is None and name.startswith(LABEL) and not any(n.startswith(LABEL) for n in names):
        raise Refused(
            f"--attribute {name}: these {explorer.codec.noun}s have no labels. Labels come from a "
            "column when a corpus is prepared, with --label COLUMN: then name that corpus."
        )
    if found is None:
        where = f"this corpus of {explorer.codec.noun}s"
        raise Refused(unknown(name, names, where, "attribute"))
    return found


def measured(explorer: Explorer, part: Labelled, names: Sequence[str]) -> Values:
    """The attributes of items (N, K); of labels 1 or 0, as the corpus has them."""
    known = attributes_of(explorer.codec)
    columns = [
        [float(own == name.removeprefix(LABEL)) for own in part.labels or ()]
        if name.startswith(LABEL)
        else [known[name].measure(item) for item in part.items]
        for name in names
    ]
    return np.array(columns, float).reshape(len(names), -1).T


def encoded(explorer: Explorer, items: Sequence[Any], progress: Tell | None = None) -> Tensor:
    """Posterior means (N, D), without a label head's part."""
    parts = []
    for first in range(0, len(items), AT_ONCE):
        parts.append(explorer.encode(items[first : first + AT_ONCE])[:, : explorer.latent])
        if progress is not None:
            progress("encoded", min(first + AT_ONCE, len(items)), len(items))
    return torch.cat([*parts, torch.zeros(0, explorer.latent)])


def _usable(
    names: Sequence[str], values: Values, wanted: Sequence[str], noun: str
) -> tuple[list[str], dict[str, str], list[str]]:
    """The attributes that can be learnt, why the others cannot, and what to say of undefined ones.

    Raises `Refused` for one that is wanted and cannot be.
    """
    kept, omitted, said = [], {}, []
    for name, column in zip(names, values.T, strict=True):
        there = column[np.isfinite(column)]
        missing = len(column) - len(there)
        if missing:
            said.append(f"{name}: undefined in {missing:,} of {len(column):,} {noun}s")
        why = _useless(there, missing, noun)
        if why and name in wanted:
            raise Refused(f"{name} {why}. Learn on data that differ in it, or leave it out.")
        if why:
            omitted[name] = f"it {why}"
        else:
            kept.append(name)
    return kept, omitted, said


def _useless(there: Values, missing: int, noun: str) -> str:
    """Why an attribute cannot be learnt from these values, if it cannot."""
    if len(there) and np.ptp(there) <= 1e-9 * max(float(np.abs(there).max()), 1.0):
        return f"is constant over the data: {there[0]:.4g} in all {len(there):,} {noun}s"
    if missing > MOSTLY * (missing + len(there)):
        return f"is undefined in {missing:,} of {missing + len(there):,} {noun}s"
    if len(there) < FEWEST:
        return f"is defined in {len(there)} {noun}s, and {FEWEST} are the fewest to fit a line to"
    return ""


def _groups(kept: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """What is fitted together, and which vectors of it are kept: labels one by one."""
    plain = [name for name in kept if not name.startswith(LABEL)]
    labels = [name for name in kept if name.startswith(LABEL)]
    return [(plain, plain)] * bool(plain) + [([*plain, label], [label]) for label in labels]


def _fit_group(
    learnt: list[Vector],
    group: tuple[list[str], list[str]],
    names: Sequence[str],
    known: tuple[Tensor, Values],
    new: tuple[Tensor, Values],
    wanted: Sequence[str],
    explorer: Explorer,
) -> dict[str, str]:
    """Add the group's vectors to those learnt; which were not fitted with them, and why."""
    together, own = list(group[0]), group[1]
    far: dict[str, str] = {}
    while set(own) & set(together):
        places = [names.index(name) for name in together]
        z, values = _whole(known, places)
        if len(z) < FEWEST:
            raise Refused(
                f"{len(z)} of {len(known[0])} {explorer.codec.noun}s have all of "
                f"{', '.join(together)}: {FEWEST} are the fewest to learn from. Name more data."
            )
        found = fit(z, values)
        worst = min(range(len(together)), key=lambda k: _worth(found, together[k], k, wanted))
        if found.length[worst] <= FARTHEST:
            break
        name = together.pop(worst)
        must = [each for each in wanted if each in own]  # others are only held
        far[name] = _too_far(name, float(found.length[worst]), must)
    if not set(own) & set(together):
        return far
    tested = _whole(new, places)
    r2 = found.r2(*tested) if len(tested[0]) else torch.full((len(together),), np.nan)
    low, high = np.quantile(values.numpy(), [TAIL, 1 - TAIL], axis=0)
    units = {name: a.unit for name, a in attributes_of(explorer.codec).items()}
    for k, name in enumerate(together):
        if name in own:
            learnt.append(
                Vector(
                    name,
                    units.get(name, "share"),
                    found.vectors[k].float(),
                    float(found.mean[k]),
                    float(found.std[k]),
                    float(low[k]),
                    float(high[k]),
                    float(r2[k]),
                    float(found.length[k]),
                )
            )
    return far


def _not_held(far: Mapping[str, str], group: tuple[list[str], list[str]]) -> list[str]:
    """What to say of attributes that a label's vector does not hold."""
    return [
        f"{name}: not held by the vector of {', '.join(group[1])}, for {why}"
        for name, why in far.items()
        if name not in group[1]
    ]


def _worth(found: Fit, name: str, k: int, wanted: Sequence[str]) -> tuple[bool, bool, float]:
    """What is left out first: what leads too far, and of such what nobody asked for."""
    length = float(found.length[k])
    return length <= FARTHEST, name in wanted, -length


def _whole(part: tuple[Tensor, Values], places: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Codes and attributes of the items that have all of these attributes."""
    codes, values = part[0], part[1][:, places]
    there = np.isfinite(values).all(axis=1)
    return codes[torch.as_tensor(there)], torch.as_tensor(values[there])


def _too_far(name: str, length: float, wanted: Sequence[str]) -> str:
    why = (
        f"codes tell so little of it, beside the other attributes, that its vector would be "
        f"{length:.3g} standard deviations long, where no items are"
    )
    if name in wanted:
        raise Refused(f"{name}: {why}. Name another attribute, or a run with a larger code.")
    return why


def steered(explorer: Explorer, z: Tensor, shift: Tensor, strength: float) -> Tensor:
    """Codes (N, D + K) moved by so many times a shift (D,); a label's part stays.

    Codes that are directions keep their length.
    """
    size = explorer.latent
    moved = z[:, :size] + strength * shift.to(z)
    if on_sphere(explorer.vae.prior()):
        moved = moved * z[:, :size].norm(dim=1, keepdim=True) / moved.norm(dim=1, keepdim=True)
    return torch.cat([moved, z[:, size:]], dim=1)


# --- how far -------------------------------------------------------------------------------------


def stretched(explorer: Explorer, z: Tensor, vector: Vector) -> Vector:
    """The vector as long as it must be for what is written to gain one standard deviation.

    A decoder writes what is likely, so a small shift of its code often changes nothing at all and
    a line says too little. Codes z (N, D) are moved, written greedily and measured: the length at
    which they gain one standard deviation on average, against what is written from z itself, is
    bracketed and halved down. Where eight times the line's length does not suffice, or leads
    where no items are, or the attribute does not fall the other way, the line's length stays and
    `stretch` is 0. A label, which is not measured, is not tried.
    """
    if vector.name.startswith(LABEL):
        return vector
    z = explorer.labelled(z) if explorer.labels else z
    home = written_values(explorer, z, vector.name)

    def gain(times: float) -> float:
        moved = steered(explorer, z, vector.shift, times)
        return gained(home, written_values(explorer, moved, vector.name), vector.std)

    enough = next((times for times in STRETCHES if gain(times) >= 1), None)
    if enough is None:
        return vector._replace(stretch=0.0)
    low = max((times for times in (0.0, *STRETCHES) if times < enough), default=0.0)
    for _ in range(HALVINGS):
        middle = (low + enough) / 2
        low, enough = (low, middle) if gain(middle) >= 1 else (middle, enough)
    if gain(-enough) >= 0 or vector.length * enough > FARTHEST:
        return vector._replace(stretch=0.0)
    return vector._replace(
        shift=vector.shift * enough, length=vector.length * enough, stretch=enough
    )


def written_values(explorer: Explorer, z: Tensor, name: str) -> Values:
    """An attribute of what is written greedily from codes (N, D + K): (N,)."""
    measure = attributes_of(explorer.codec)[name].measure
    return np.array([measure(item) for item in explorer.decode(z)], float)


def gained(before: Values, after: Values, std: float) -> float:
    """The mean change in standard deviations, of items that have the attribute both times."""
    change = (after - before)[np.isfinite(after - before)]
    return float(change.mean()) / std if len(change) else 0.0


def _deaf(vector: Vector) -> str:
    return (
        f"{vector.name}: what is written does not follow its vector, which is as long as the line "
        f"says (R² {vector.r2:.2f} on held-out items): no straight way through these codes"
    )
