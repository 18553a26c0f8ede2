"""The winners of a study: chosen on validation alone, before anything is tested, and kept."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TypeVar

from ..corpus import write_json
from ..errors import Refused
from ..frontier import Point
from ..matched import Line, best, hull, ranked, stand
from .design import Cell, Entry, Study
from .records import CHOICES, Block, Figures, Records, point

T = TypeVar("T")
DEARER = 1.15  # the cost from which a remedy is also run at equal compute; below it is noise


def choose(records: Records) -> dict[str, Block]:
    """The winners of every block by "corpus/decoder", written to choices.json.

    Winners that the test split has seen stand, whatever was swept since: to choose again would be
    to choose on it. So a study can grow by entries, decoders and corpora.

    Raises `Refused` where a cell of the sweep is not done, where no language model of a block
    could be trained, and where the figures of a winner that was tested are gone.
    """
    study = records.study
    left = records.left(study.sweep(), "valid")
    if left:
        some = ", ".join(str(study.place(cell)) for cell in left[:3])
        raise Refused(f"{len(left)} cells of the sweep are not done ({some} …): run the sweep.")
    found = {"/".join(block): _block(records, *block) for block in study.blocks}
    write_json(records.folder / CHOICES, found)
    return found


def tested(records: Records, corpus: str, decoder: str, entry: Entry) -> set[int]:
    """The places of those values of an entry whose models the test split has seen."""
    return {
        place
        for place in range(len(entry.values))
        for seed in records.study.final_seeds
        if records.ledger(Cell(corpus, decoder, entry.name, place, seed)).is_file()
    }


def _among(found: Mapping[int, T], seen: set[int], entry: Entry) -> Mapping[int, T]:
    """Those of the values of an entry, by place, that may win: if any was tested, of these one."""
    left = {place: each for place, each in found.items() if place in seen or not seen}
    if seen and not left:
        values = ", ".join(entry.called(place) for place in sorted(seen))
        raise Refused(
            f"{entry.name}: the test split has seen its winner, {entry.knob} = {values}, whose "
            "figures on validation are gone. To choose another now would be to choose on it: "
            "bring them back, or begin in another folder."
        )
    return left


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
    seen = {n: tested(records, corpus, decoder, entry) for n, entry in study.entries.items()}
    tried = [_language_model(e, sweeps[e.name], seen[e.name]) for e in study.language_models]
    models = [model for model in tried if model is not None]
    if not models:
        raise Refused(f"{corpus}/{decoder}: no language model could be trained; see the logs.")
    line = min(_same(study, models), key=lambda model: model["nll"])
    placed = {entry.name: points(sweeps[entry.name]) for entry in study.remedies}
    everyone = [at for each in placed.values() for at in each.values()]
    frontier = hull([Point("lm", 0.0, line["nll"]), *everyone])
    pace = _seconds(sweeps[study.reference])
    found = []
    for name in _order(study, placed, frontier):
        remedy = _remedy(study, study.entries[name], placed[name], seen[name], frontier)
        place = remedy["place"]
        earlier = _share_begun(records, corpus, decoder, name, place)
        found.append(remedy | _cost(_seconds([sweeps[name][place]]), pace, earlier))
    return {
        "line": line["entry"],
        "nll": line["nll"],
        "lm_step_seconds": _pace(sweeps[line["entry"]]),
        "rates": list(study.rates),
        "final_rate": study.final_rate,
        "frontier": [list(vertex) for vertex in frontier],
        "language_models": models,
        "remedies": found,
        "without_rate": [name for name, each in placed.items() if not each],
    }


def _same(study: Study, models: list[Block]) -> list[Block]:
    """The language models that are the remedies' decoder without a code; all where none is."""
    same = [model for model in models if not study.entries[model["entry"]].grow]
    return same or models


def _order(study: Study, placed: dict[str, dict[int, Point]], frontier: Line) -> list[str]:
    """The remedies that have a rate, the best first."""
    standings = (
        stand(n, each.values(), frontier, study.rates) for n, each in placed.items() if each
    )
    place = study.rates.index(study.final_rate)
    return [standing.name for standing in ranked(standings, place)]


def _language_model(entry: Entry, found: Sequence[Figures | None], seen: set[int]) -> Block | None:
    """The value of the lowest NLL."""
    nll = {i: figures["reconstruction"] for i, figures in enumerate(found) if figures}
    if not nll:
        return None
    able = _among(nll, seen, entry)
    place = min(able, key=lambda i: able[i])
    value = entry.values[place]
    return {"entry": entry.name, "place": place, "value": value, "nll": nll[place]}


def _remedy(
    study: Study, entry: Entry, placed: dict[int, Point], seen: set[int], frontier: Line
) -> Block:
    about = study.final_rate, study.rates[0] / 2
    winner = best(list(_among(placed, seen, entry).values()), frontier, *about)
    standing = stand(entry.name, placed.values(), frontier, study.rates)
    return {
        "entry": entry.name,
        "place": int(winner.name),
        "value": entry.values[int(winner.name)],
        "earlier": winner != best(list(placed.values()), frontier, *about),
        "rate": winner.rate,
        "distortion": winner.distortion,
        "distortions": list(standing.distortions),
        "excess": list(standing.excess),
        "missed": standing.missed,
        "points": [[at.rate, at.distortion] for at in placed.values()],
    }


def _cost(seconds: float, reference: float, earlier: float | None) -> Block:
    """How much dearer a run is than the reference's, and what share of its updates costs as much.

    Rounded: seconds are no finer than that. A share with which runs were begun stands, whatever
    the reference was found to cost since.
    """
    times = seconds / reference if reference > 0 else 1.0
    share = round(1 / times, 2) if times > DEARER else 1.0
    return {"cost": round(times, 2), "share": earlier or share}


def _share_begun(
    records: Records, corpus: str, decoder: str, name: str, place: int
) -> float | None:
    """The share with which equal-compute runs of an entry's value were begun; None where none."""
    seeds = records.study.final_seeds
    # Where such a run lies is the same for every share.
    cells = [Cell(corpus, decoder, name, place, seed, share=0.5) for seed in seeds]
    return next((note["share"] for note in map(records.begun, cells) if note), None)


def _seconds(found: Sequence[Figures | None]) -> float:
    """The median of the seconds of runs; 0 where none could be."""
    return median([figures["seconds"] for figures in found if figures] or [0.0])


def _pace(found: Sequence[Figures | None]) -> float:
    """The median of the seconds of an update."""
    return median([f["seconds"] / max(f["updates"], 1) for f in found if f] or [0.0])
