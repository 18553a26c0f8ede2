"""Voices: what sounds at each step of a grid, as one token, and the notes of such tokens."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clips import LOUD, Feel
from ..errors import Refused
from ..midi import Ints, Notes, fold, notes_of

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]

HOLD, OFF, FIRST_PITCH = 0, 1, 2  # of a line: nothing new; the note ends; a note begins
LOST = ("polyphony", "cut short", "folded", "merged", "off the grid", "ms off the grid")

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
    def name(self, token: int) -> str:
        """What a token says, for people."""

    @abstractmethod
    def transposed(self, semitones: int) -> Ids:
        """Token -> the token of the same so many semitones higher (size,)."""

    def feel(self, notes: Notes, timing: Timing) -> Feel:
        """How the notes are played, at every step (T, width): the nearest stroke's, on time."""
        velocity = np.full((timing.steps, self.width), LOUD, np.float32)
        shift = np.zeros((timing.steps, self.width), np.float32)
        step, places = timing.nearest(notes.start), self.places(notes)
        inside = (step >= 0) & (step < timing.steps)
        for place in np.unique(places[inside]):
            chosen = np.flatnonzero(inside & (places == place))
            at = step[chosen]
            shift[at, place] = np.clip(notes.start[chosen] / timing.ticks - at, -0.5, 0.5)
            nearest = np.abs(np.arange(timing.steps)[:, None] - at).argmin(axis=1)
            velocity[:, place] = notes.velocity[chosen][nearest]
        return Feel(velocity, shift)

    def read(self, tokens: Ids, timing: Timing, feel: Feel | None = None) -> Notes:
        """The notes of tokens (T,), in ticks; played as `feel` says, else even and on time."""
        step, end, pitch, place = self.strokes(tokens).T
        velocity, shift = np.full(len(step), LOUD), np.zeros(len(step))
        if feel is not None:
            velocity, shift = feel.velocity[step, place], feel.shift[step, place]
        start = np.maximum(np.floor((step + shift) * timing.ticks + 0.5), 0)
        length = HIT if self.drums else end - step - shift
        stop = np.maximum(start + np.floor(length * timing.ticks + 0.5), start + 1)
        loud = np.clip(np.floor(velocity + 0.5), 1, 127)
        return notes_of(np.stack([start, stop, pitch, loud], axis=1).astype(np.int32).tolist())


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
        lost = _moved(notes, timing)
        step = timing.nearest(notes.start)
        # A note before the first step may still sound in it; one at the last belongs to the next.
        end = np.maximum(timing.nearest(notes.end), step + 1)
        chosen = np.flatnonzero((step < timing.steps) & (end > 0))
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
        lost = _moved(notes, timing)
        step, place = timing.nearest(notes.start), self.places(notes)
        inside = (step >= 0) & (step < timing.steps)
        struck = np.zeros((timing.steps, len(KIT)), dtype=bool)
        struck[step[inside], place[inside]] = True
        lost["merged"] = int(inside.sum() - struck.sum())
        lost["folded"] = int((~KNOWN[notes.pitch]).sum())
        tokens = struck @ (1 << np.arange(len(KIT), dtype=np.int64))
        return Lane(tokens, tokens, lost)

    def strokes(self, tokens: Ids) -> Ints:
        step, place = np.nonzero(tokens[:, None] >> np.arange(len(KIT)) & 1)
        pitch = np.array(WRITTEN)[place]
        return np.stack([step, step + 1, pitch, place], axis=1).astype(np.int32)

    def places(self, notes: Notes) -> Ints:
        return PLACE[notes.pitch]

    def name(self, token: int) -> str:
        struck = [name for place, name in enumerate(KIT) if token >> place & 1]
        return " + ".join(struck) or "-"

    def transposed(self, semitones: int) -> Ids:
        return np.arange(self.size)


def _moved(notes: Notes, timing: Timing) -> Counter[str]:
    """How far the notes are from the grid: how many, and milliseconds in all."""
    off = np.abs(notes.start - timing.nearest(notes.start) * timing.ticks)
    moved = off > 1
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
