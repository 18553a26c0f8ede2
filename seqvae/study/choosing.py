"""The winners of a study: chosen on validation alone, before anything is tested, and kept."""

import json
from collections.abc import Sequence
from statistics import median
from typing import Any

from ..corpus import write_json
from ..errors import Refused
from ..frontier import Point
from ..matched import Line, best, hull, ranked, stand
from .design import Cell, Entry, Study
from .records import CHOICES, Block, Figures, Records, point

DEARER = 1.15  # the cost from which a remedy is also run at equal compute; below it is noise


def choose(records: Records) -> dict[str, Block]:
    """The winners of every block by "corpus/decoder", written to choices.json.

    Raises `Refused` where a cell of the sweep is not done, where no language model of a block
    could be trained, and where the winners would change after the test split was looked at.
    """
    study = records.study
    left = records.left(study.sweep(), "valid")
    if left:
        some = ", ".join(str(study.place(cell)) for cell in left[:3])
        raise Refused(f"{len(left)} cells of the sweep are not done ({some} …): run the sweep.")
    found = {"/".join(block): _block(records, *block) for block in study.blocks}
    path = records.folder / CHOICES
    if path.is_file() and json.loads(path.read_bytes()) != found:
        looked = next((records.folder / "cells").rglob("test_ledger.jsonl"), None)
        if looked is not None:
            raise Refused(
                f"the winners would not be those of {path}, and the test split was looked at "
                f"({looked.parent}): to choose again now would be to choose on it."
            )
    write_json(path, found)
    return found


def swept(records: Records, corpus: str, decoder: str, entry: Entry) -> list[Figures | None]:
    """What a sweep found of an entry, value by value; None where it failed."""
    seed = records.study.sweep_seed
    cells = [Cell(corpus, decoder, entry.name, i, seed) for i in range(len(entry.values))]
    return [records.figures(cell, "valid") for cell in cells]


def points(found: Sequence[Figures | None]) -> dict[int, Point]:
    """Where the models of an entry stand, by the place of their value, of those that have a rate.

    A point's name is that place.
    """
    made = {i: point(str(i), figures) for i, figures in enumerate(found) if figures is not None}
    return {place: at for place, at in made.items() if at is not None}


def _block(records: Records, corpus: str, decoder: str) -> Block:
    study = records.study
    sweeps = {n: swept(records, corpus, decoder, entry) for n, entry in study.entries.items()}
    tried = [_language_model(e, sweeps[e.name]) for e in study.language_models]
    models = [model for model in tried if model is not None]
    if not models:
        raise Refused(f"{corpus}/{decoder}: no language model could be trained; see the logs.")
    line = min(models, key=lambda model: model["nll"])
    placed = {entry.name: points(sweeps[entry.name]) for entry in study.remedies}
    everyone = [at for each in placed.values() for at in each.values()]
    frontier = hull([Point("lm", 0.0, line["nll"]), *everyone])
    pace = _seconds(sweeps[study.reference])
    found = [
        _remedy(study, study.entries[name], placed[name], frontier)
        | _cost(_seconds([sweeps[name][int(_winner(study, placed[name], frontier).name)]]), pace)
        for name in (standing.name for standing in _order(study, placed, frontier))
    ]
    step = _pace(sweeps[line["entry"]])
    return {
        "line": line["entry"],
        "nll": line["nll"],
        "lm_step_seconds": step,
        "rates": list(study.rates),
        "frontier": [list(vertex) for vertex in frontier],
        "language_models": models,
        "remedies": found,
        "without_rate": [name for name, each in placed.items() if not each],
    }


def _order(study: Study, placed: dict[str, dict[int, Point]], frontier: Line) -> Any:
    return ranked(
        stand(name, each.values(), frontier, study.rates) for name, each in placed.items() if each
    )


def _winner(study: Study, placed: dict[int, Point], frontier: Line) -> Point:
    return best(list(placed.values()), frontier, study.rates[0] / 2)


def _language_model(entry: Entry, found: Sequence[Figures | None]) -> Block | None:
    """The value of the lowest NLL."""
    nll = {i: figures["reconstruction"] for i, figures in enumerate(found) if figures}
    if not nll:
        return None
    place = min(nll, key=lambda i: nll[i])
    value = entry.values[place]
    return {"entry": entry.name, "place": place, "value": value, "nll": nll[place]}


def _remedy(study: Study, entry: Entry, placed: dict[int, Point], frontier: Line) -> Block:
    winner = _winner(study, placed, frontier)
    standing = stand(entry.name, placed.values(), frontier, study.rates)
    return {
        "entry": entry.name,
        "place": int(winner.name),
        "value": entry.values[int(winner.name)],
        "rate": winner.rate,
        "distortion": winner.distortion,
        "distortions": list(standing.distortions),
        "excess": list(standing.excess),
        "missed": standing.missed,
        "points": [[at.rate, at.distortion] for at in placed.values()],
    }


def _cost(seconds: float, reference: float) -> Block:
    """How much dearer a run is than the reference's, and what share of its updates costs as much.

    Rounded: seconds are no finer than that, and the same share is found again.
    """
    times = seconds / reference if reference > 0 else 1.0
    return {"cost": round(times, 2), "share": round(1 / times, 2) if times > DEARER else 1.0}


def _seconds(found: Sequence[Figures | None]) -> float:
    """The median of the seconds of runs; 0 where none could be."""
    return median([figures["seconds"] for figures in found if figures] or [0.0])


def _pace(found: Sequence[Figures | None]) -> float:
    """The median of the seconds of an update."""
    return median([f["seconds"] / max(f["updates"], 1) for f in found if f] or [0.0])
