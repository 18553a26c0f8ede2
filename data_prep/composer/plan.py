"""The plan of a song: what is decided before the first note, and the bars that follow from it."""

import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from .grooves import GROOVES
from .harmony import BLUES, KEYS, LOOPS, PROGRESSIONS, TWELVE_BARS, Chord, chord_of

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

MODES = {"major": 0.6, "minor": 0.4}
FORMS = {"AB": 0.15, "AAB": 0.15, "ABA": 0.15, "ABB": 0.1, "ABAB": 0.25, "AABA": 0.2}

DENSITIES = {"sparse": 0.25, "medium": 0.45, "dense": 0.3}
SYNCOPATIONS = {"none": 0.35, "light": 0.35, "strong": 0.3}
FEELS = {"straight": 0.5, "human": 0.5}
METRES = {(4, 4): 0.76, (3, 4): 0.14, (6, 8): 0.1}


class Dice:
    """Choices from `random()` alone: the one method Python promises never to change."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def between(self, low: int, high: int) -> int:
        """low … high, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def weigh(self, weights: Mapping[H, float]) -> H:
        """One of the keys, as likely as its weight says."""
        left = self.random() * sum(weights.values())
        for choice, weight in weights.items():
            if left < weight:
                return choice
            left -= weight
        return choice


class Grid(NamedTuple):
    """A metre in sixteenths."""

    bar: int
    beat: int
    strong: tuple[int, ...]  # where in a bar the ear expects the harmony


GRIDS = {(4, 4): Grid(16, 4, (0, 8)), (3, 4): Grid(12, 4, (0,)), (6, 8): Grid(12, 6, (0, 6))}


def heard_at(start: int, end: int, grid: Grid) -> int:
    """Where the ear puts a note: on the next beat, if it begins before and sounds over it."""
    beat = -(-start // grid.beat) * grid.beat
    return beat if end > beat else start


@dataclass(frozen=True)
class Plan:
    """What is decided before the first note."""

    metre: tuple[int, int]
    mode: str
    key: str
    tempo: int
    progression: str
    chorus: str
    form: str
    density: str
    syncopation: str
    groove: str
    bass: str
    feel: str
    pickup: bool

    @property
    def grid(self) -> Grid:
        return GRIDS[self.metre]

    @property
    def tonic(self) -> int:
        """Its pitch class."""
        return KEYS[self.mode].index(self.key)


def planned(
    seed: int,
    wishes: Mapping[str, str | None],
    metre: tuple[int, int] | None,
    mode: str | None,
    tempo: int | None,
    progression: str | None,
    groove: str | None,
) -> Plan:
    """The wishes, and what goes with them, drawn."""

    def drawn(name: str, wish: H | None, weights: Mapping[H, float]) -> H:
        if wish is not None and wish not in weights:
            known = ", ".join(map(str, weights))
            raise ValueError(f"no {name} {wish!r} here; what there is: {known}")
        own = Dice(f"{seed} {name}").weigh(weights)  # drawn even if not needed
        return own if wish is None else wish

    if tempo is not None and not 70 <= tempo <= 160:
        raise ValueError(f"a tempo of {tempo}; the band plays 70 to 160 quarter notes a minute")
    metres = {m: p for m, p in METRES.items() if groove is None or groove in GROOVES[m]}
    metre = drawn("metre", metre, METRES if metre or not metres else metres)
    groove = drawn("groove", groove, {g: G.weight for g, G in GROOVES[metre].items()})
    fits = {m for m in MODES if wishes["key"] in (None, *KEYS[m])}
    fits &= {m for m in MODES if progression in (None, *PROGRESSIONS[m])}
    modes = {m: p for m, p in MODES.items() if m in fits}
    mode = drawn("mode", mode, MODES if mode or not modes else modes)
    progression = drawn("progression", progression, dict.fromkeys(PROGRESSIONS[mode], 1.0))
    blues = progression == TWELVE_BARS
    chorus = drawn("chorus", None, {p: 1.0 for p in LOOPS[mode] if p != progression})
    style = GROOVES[metre][groove]
    slowest, fastest = style.tempo
    quick = Dice(f"{seed} tempo").between(slowest, fastest)
    return Plan(
        metre=metre,
        mode=mode,
        key=drawn("key", wishes["key"], dict.fromkeys(KEYS[mode], 1.0)),
        tempo=quick if tempo is None else tempo,
        progression=progression,
        chorus=progression if blues else chorus,
        form="AA" if blues else drawn("form", None, FORMS),
        density=drawn("density", wishes["density"], DENSITIES),
        syncopation=drawn("syncopation", wishes["syncopation"], SYNCOPATIONS),
        groove=groove,
        bass=drawn("bass", None, {"walking": 0.6, "root-fifth": 0.4} if blues else style.bass),
        feel=drawn("feel", wishes["feel"], FEELS),
        pickup=Dice(f"{seed} pickup").chance(0.3),
    )


class Bar(NamedTuple):
    """A bar of the form."""

    chord: Chord
    section: str  # A is the verse, B the chorus, empty the pickup
    time: int  # how often its section has come before
    place: int  # in its section
    left: int  # bars of the section after it


def bars_of(plan: Plan) -> list[Bar]:
    """The form bar by bar, its close and its pickup."""
    bars = []
    for number, section in enumerate(plan.form):
        name = plan.progression if section == "A" else plan.chorus
        numerals = (BLUES[plan.mode] if name == TWELVE_BARS else name).split("-")
        numerals *= 1 if len(numerals) > 4 else 2
        time = plan.form[:number].count(section)
        for place, numeral in enumerate(numerals):
            left = len(numerals) - 1 - place
            bars.append(Bar(chord_of(numeral, plan.mode), section, time, place, left))
    tonic, blues = "I" if plan.mode == "major" else "i", plan.progression == TWELVE_BARS
    if not blues:
        bars[-2] = bars[-2]._replace(chord=chord_of("V7", plan.mode))
    bars[-1] = bars[-1]._replace(chord=chord_of(tonic, plan.mode))
    return [bars[0]._replace(section="", left=0)] * plan.pickup + bars


class Note(NamedTuple):
    """A note of a part, in sixteenths."""

    step: int
    length: int
    pitch: int
    velocity: int
