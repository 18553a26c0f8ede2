"""Voices: what sounds at each step of a grid, as one token, and the notes of such tokens."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import Refused
from ..midi import Ints, Notes, fold, notes_of
from ..midi.clips import LOUD, Feel

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]

LOW, HIGH = 21, 108  # a piano's keys: with hold and note-off the usual 90 classes
HOLD, OFF, FIRST_PITCH = 0, 1, 2  # of a line: nothing new; the note ends; a note begins
INAUDIBLE = 3.0  # milliseconds off the grid that nobody would call off

# The nine drums of the field, and which General MIDI notes count as each; any other note is the
# drum of the nearest.
KIT = {
    "kick": (35, 36),
    "snare": (27, 28, 31, 32, 33, 34, 37, 38, 39, 40, 56, 65, 66, 75, 85),
    "closed hi-hat": (22, 42, 44, 54, 68, 69, 70, 71, 73, 78, 80),
    "open hi-hat": (26, 46, 67, 72, 74, 79, 81),
    "low tom": (29, 41, 43, 45, 61, 64, 84),
    "mid tom": (47, 48, 60, 63, 77, 86, 87),
    "high tom": (30, 50, 62, 76, 83),
    "crash": (49, 52, 55, 57, 58),
    "ride": (51, 53, 59, 82),
}
WRITTEN = (36, 38, 42, 46, 45, 48, 50, 49, 51)  # the note each drum is written as
HIT = 0.5  # of a step: how long a drum's note is written, for it has no length


class Timing(NamedTuple):
    """How steps lie in a clip: ticks a step, steps in all, milliseconds a tick."""

    ticks: float
    steps: int
    ms: float

    def nearest(self, ticks: Ints) -> Ints:
        """The step nearest to each tick, halves late."""
        return np.floor(ticks / self.ticks + 0.5).astype(np.int32)

    def first(self, steps: Ints) -> Floats:
        """The first tick that each step is the nearest to."""
        return np.ceil((steps - 0.5) * self.ticks)


class Lane(NamedTuple):
    """One voice over the steps of a clip, (S,), and what of its notes was lost, counted.

    A window that begins at a step has `opening` there instead: a note that already sounds is
    struck again, so that every window says all that sounds in it.
    """

    tokens: Ids
    opening: Ids
    lost: Counter[str]


class Voice(ABC):
    """One token a step, 0 to `size` - 1; `drums` voices are played on channel 10."""

    part: str
    size: int
    width: int  # how many strokes at once have a feel of their own
    drums: bool = False

    @property
    def called(self) -> str:
        """Its name among the voices of a codec, for people: several may play one part."""
        return self.part

    @abstractmethod
    def write(self, notes: Notes, timing: Timing) -> Lane:
        """The notes of a part, in ticks, as tokens."""

    @abstractmethod
    def strokes(self, tokens: Ids) -> Ints:
        """Tokens (T,), any of 0 to size - 1 -> rows (step, end step, pitch, place in the feel)."""

    @abstractmethod
    def places(self, notes: Notes) -> Ints:
        """Which place in the feel each note has."""

    @abstractmethod
    def rank(self, notes: Notes) -> Ints:
        """Of notes at one step and place, the one of the highest rank is felt."""

    @abstractmethod
    def rest(self, tokens: Ids) -> int:
        """The token that ends what sounds behind the last of these."""

    @abstractmethod
    def name(self, token: int) -> str:
        """What a token says, for people."""

    @abstractmethod
    def transposed(self, semitones: int) -> Ids:
        """Token -> the token of the same so many semitones higher (size,)."""

    def feel(self, notes: Notes, timing: Timing) -> Feel:
        """How the notes are played, at every step (T, width): the nearest stroke's, on time."""
        velocity = np.full((timing.steps, self.width), LOUD, np.float32)
        shift = np.zeros((timing.steps, self.width), np.float32)
        every = np.arange(timing.steps)
        step, places, rank = timing.nearest(notes.start), self.places(notes), self.rank(notes)
        for place in np.unique(places).tolist():
            inside = (places == place) & (step >= 0) & (step < timing.steps)
            chosen = foremost(np.flatnonzero(inside), step, rank)
            if len(chosen):
                at = step[chosen]
                shift[at, place] = np.clip(notes.start[chosen] / timing.ticks - at, -0.5, 0.5)
                nearest = np.abs(every[:, None] - at).argmin(axis=1)
                velocity[:, place] = notes.velocity[chosen][nearest]
        return Feel(velocity, shift)

    def read(self, tokens: Ids, timing: Timing, feel: Feel | None = None) -> Notes:
        """The notes of tokens (T,), in ticks; played as `feel` says, else even and on time.

        However it is felt, a note keeps its step, and ends where the next of its place begins.
        """
        step, end, pitch, place = self.strokes(tokens).T
        velocity, shift = np.full(len(step), LOUD), np.zeros(len(step))
        if feel is not None:
            velocity, shift = feel.velocity[step, place], feel.shift[step, place]
        start = np.floor((step + shift) * timing.ticks + 0.5)
        start = np.clip(start, np.maximum(timing.first(step), 0), timing.first(step + 1) - 1)
        stop = start / timing.ticks + HIT if self.drums else end
        stop = np.maximum(np.floor(stop * timing.ticks + 0.5), start + 1)
        stop = np.minimum(stop, _following(start, place))
        loud = np.clip(np.floor(velocity + 0.5), 1, 127)
        return notes_of(np.stack([start, stop, pitch, loud], axis=1).astype(np.int32).tolist())


def foremost(chosen: Places, step: Ints, rank: Ints) -> Places:
    """Of the notes at these places, at every step the one of the highest rank."""
    chosen = chosen[np.lexsort((rank[chosen], step[chosen]))]
    return chosen[np.append(np.diff(step[chosen]) > 0, True)[: len(chosen)]]


def _following(start: Floats, place: Ints) -> Floats:
    """Where the next note of each note's place begins; never, of the last."""
    order = np.lexsort((start, place))
    found = np.full(len(start), np.inf)
    same = place[order[1:]] == place[order[:-1]]
    found[order[:-1][same]] = start[order[1:][same]]
    return found


class Line(Voice):
    """A melody: 0 goes on as before, 1 ends the note, 2 … begin one, `low` to `high`.

    Of notes that begin together the highest is kept, and a note ends where the next begins.
    """

    width = 1

    def __init__(self, part: str, low: int, high: int) -> None:
        if not 0 <= low <= high - 11 <= 127 - 11:
            raise Refused(
                f"pitches {low} to {high}: a range lies within 0 and 127 and spans an octave or "
                "more, so that notes outside it can be folded in."
            )
        self.part, self.low, self.high = part, low, high
        self.size = FIRST_PITCH + high - low + 1

    def write(self, notes: Notes, timing: Timing) -> Lane:
        step = timing.nearest(notes.start)
        # A note before the first step may still sound in it; one at the last belongs to the next.
        end = np.maximum(timing.nearest(notes.end), step + 1)
        chosen = np.flatnonzero((step < timing.steps) & (end > 0))
        lost = _moved(notes[chosen], timing)
        lost["outside"] = len(notes) - len(chosen)
        order = chosen[np.lexsort((-notes.pitch[chosen], step[chosen]))]
        step, end, pitch = step[order], end[order], notes.pitch[order]
        first = np.ones(len(step), dtype=bool)
        first[1:] = step[1:] != step[:-1]
        lost["polyphony"] = int((~first).sum())
        step, end, pitch = step[first], end[first], pitch[first]
        following = np.append(step[1:], timing.steps)
        lost["cut short"] = int((end[:-1] > following[:-1]).sum())
        end = np.minimum(end, following)
        folded = fold(pitch, self.low, self.high)
        lost["folded"] = int((folded != pitch).sum())
        return self._lane(step, end, folded - self.low + FIRST_PITCH, timing.steps, lost)

    def _lane(self, step: Ints, end: Ints, begun: Ints, steps: int, lost: Counter[str]) -> Lane:
        tokens = np.full(steps, HOLD, np.int64)
        tokens[end[(end < steps) & (end >= 0)]] = OFF
        tokens[step[step >= 0]] = begun[step >= 0]
        opening = np.where(tokens == OFF, HOLD, tokens)
        if len(step):
            steps_all = np.arange(steps)
            last = np.searchsorted(step, steps_all, side="right") - 1
            sounds = (last >= 0) & (steps_all < end[last])
            opening = np.where(sounds, begun[last], opening)
        return Lane(tokens, opening, lost)

    def strokes(self, tokens: Ids) -> Ints:
        begins = np.flatnonzero(tokens >= FIRST_PITCH)
        changes = np.flatnonzero(tokens != HOLD)
        ends = np.append(changes, len(tokens))[np.searchsorted(changes, begins, side="right")]
        pitch = tokens[begins] - FIRST_PITCH + self.low
        return np.stack([begins, ends, pitch, np.zeros_like(begins)], axis=1).astype(np.int32)

    def places(self, notes: Notes) -> Ints:
        return np.zeros(len(notes), np.int32)

    def rank(self, notes: Notes) -> Ints:
        return notes.pitch  # the one that is kept

    def rest(self, tokens: Ids) -> int:
        changes = tokens[tokens != HOLD]
        return OFF if len(changes) and changes[-1] != OFF else HOLD

    def name(self, token: int) -> str:
        return {HOLD: "-", OFF: "off"}.get(token, str(token - FIRST_PITCH + self.low))

    def transposed(self, semitones: int) -> Ids:
        pitch = np.arange(self.low, self.high + 1, dtype=np.int32) + semitones
        moved = fold(pitch, self.low, self.high) - self.low + FIRST_PITCH
        return np.concatenate([[HOLD, OFF], moved]).astype(np.int64)


class Kit(Voice):
    """Drums: which of nine strike at a step, as the bits of 0 to 511."""

    width = len(KIT)
    size = 1 << len(KIT)
    drums = True

    def __init__(self, part: str = "drums") -> None:
        self.part = part

    def write(self, notes: Notes, timing: Timing) -> Lane:
        step, place = timing.nearest(notes.start), self.places(notes)
        inside = (step >= 0) & (step < timing.steps)
        lost = _moved(notes[inside], timing)
        lost["outside"] = int((~inside).sum())
        struck = np.zeros((timing.steps, len(KIT)), dtype=bool)
        struck[step[inside], place[inside]] = True
        lost["merged"] = int(inside.sum() - struck.sum())
        lost["folded"] = int((~KNOWN[notes.pitch[inside]]).sum())
        tokens = struck @ (1 << np.arange(len(KIT), dtype=np.int64))
        return Lane(tokens, tokens, lost)

    def strokes(self, tokens: Ids) -> Ints:
        step, place = np.nonzero(tokens[:, None] >> np.arange(len(KIT)) & 1)
        pitch = np.array(WRITTEN)[place]
        return np.stack([step, step + 1, pitch, place], axis=1).astype(np.int32)

    def places(self, notes: Notes) -> Ints:
        return PLACE[notes.pitch]

    def rank(self, notes: Notes) -> Ints:
        return notes.velocity

    def rest(self, tokens: Ids) -> int:
        return 0

    def name(self, token: int) -> str:
        struck = [name for place, name in enumerate(KIT) if token >> place & 1]
        return " + ".join(struck) or "-"

    def transposed(self, semitones: int) -> Ids:
        return np.arange(self.size)


def _moved(notes: Notes, timing: Timing) -> Counter[str]:
    """How far the notes are from the grid: how many, and milliseconds in all."""
    return off_by(np.abs(notes.start - timing.nearest(notes.start) * timing.ticks), timing)


def off_by(off: Floats, timing: Timing) -> Counter[str]:
    """How many of these ticks off are heard, and the milliseconds of those in all.

    One is that is off by more than a tick, or than half a tick where ticks are far apart.
    """
    moved = off > max(min(INAUDIBLE / timing.ms, 1.0), 0.5)
    ms = round(float(off[moved].sum() * timing.ms))
    return Counter({"off the grid": int(moved.sum()), "ms off the grid": ms})


def _places(kit: Mapping[str, tuple[int, ...]]) -> tuple[Ints, NDArray[np.bool_]]:
    """Note number -> its drum, and whether it is one of those named."""
    named = [(pitch, place) for place, pitches in enumerate(kit.values()) for pitch in pitches]
    pitches, places = np.array(sorted(named), dtype=np.int32).T
    every = np.arange(128)
    nearest = np.abs(every[:, None] - pitches).argmin(axis=1)
    return places[nearest], np.isin(every, pitches)


PLACE, KNOWN = _places(KIT)
