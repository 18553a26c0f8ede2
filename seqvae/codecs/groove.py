"""Drums with their feel in the tokens: at every step, of each of nine, how loud and how late."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import Refused
from ..midi import Ints, Notes
from ..midi.clips import DRUMS, LOUD, Feel, Grid, metre_of
from .codec import Spans
from .music import VoicedCodec
from .voices import KIT, KNOWN, PLACE, WRITTEN, Ids, Lane, Timing, Voice, foremost, off_by

VELOCITIES, TIMINGS = 8, 9  # how many are told apart
MOST_VELOCITIES, MOST_TIMINGS = 32, 15  # more would not fit the ticks of the finest grid
LOUDEST = 128  # velocities are shares of it


class Stroke(Voice):
    """One of the nine drums: 0 rests, 1 + v S + s strikes at velocity v of V, timing s of S.

    Velocity v is 128 (v + 1) / V, rounded (of 8: 16, 32, … 112, 127). Timing s is the s-th of S
    equal parts of the step, which reaches half a step to either side of its place on the grid: S
    is odd, so the middle one is on time. Of the drum's strokes at one step the loudest is kept. At
    the first step of a window nothing is early, for nothing is before it.

    Arguments:
        place: which of the nine.
        velocities, timings: V and S.
    """

    part = DRUMS
    width = 1
    drums = True

    def __init__(self, place: int, velocities: int, timings: int) -> None:
        self.place, self.timings = place, timings
        self.size = 1 + velocities * timings
        share = LOUDEST / velocities
        self.levels = np.minimum(np.floor(np.arange(1, velocities + 1) * share + 0.5), 127)
        nearest = np.clip(np.floor(np.arange(128) / share + 0.5), 1, velocities) - 1
        self.nearest: Ids = nearest.astype(np.int64)  # velocity 0 to 127 -> which of V
        every = np.arange(velocities)
        self.softest = np.maximum(np.searchsorted(nearest, every), 1)
        self.loudest = np.searchsorted(nearest, every, side="right") - 1

    @property
    def called(self) -> str:
        return list(KIT)[self.place]

    @property
    def shifts(self) -> NDArray[np.float64]:
        """How late each timing is, in steps (S,)."""
        return (np.arange(self.timings) - self.timings // 2) / self.timings

    def write(self, notes: Notes, timing: Timing) -> Lane:
        own = self._own(notes)
        step = timing.nearest(own.start)
        inside = np.flatnonzero((step >= 0) & (step < timing.steps))
        kept = foremost(inside, step, own.velocity)
        at, velocity = step[kept], self.nearest[own.velocity[kept]]
        late = np.clip(self._slot(own.start[kept], timing) - at * self.timings, 0, None)
        late = np.minimum(late, self.timings - 1)
        tokens = np.zeros(timing.steps, np.int64)
        tokens[at] = 1 + velocity * self.timings + late
        tokens[:1] = self._begun(tokens[:1])
        _, late = self._split(tokens[at])
        lost = off_by(np.abs(own.start[kept] - (at + self.shifts[late]) * timing.ticks), timing)
        lost["outside"] = len(own) - len(inside)
        lost["merged"] = len(inside) - len(kept)
        lost["folded"] = int((~KNOWN[own.pitch[inside]]).sum())
        softer = np.abs(own.velocity[kept] - self.levels[velocity])
        lost["softer or louder"] = int((softer > 0).sum())
        lost["velocity in all"] = int(softer.sum())
        return Lane(tokens, self._begun(tokens), lost)

    def _own(self, notes: Notes) -> Notes:
        """The notes that are this drum's."""
        return notes[PLACE[notes.pitch] == self.place]

    def _slot(self, ticks: Ints, timing: Timing) -> Ids:
        """Which part of a step each tick is in, counted from the first of step 0."""
        # As a quotient of whole numbers, so that what lies on an edge falls on one side of it.
        ahead = ticks.astype(np.float64) * (2 * self.timings) + self.timings * timing.ticks
        return np.floor(ahead / (2 * timing.ticks)).astype(np.int64)

    def _first(self, slot: Ids, timing: Timing) -> NDArray[np.float64]:
        """The first tick of such a part."""
        ahead = 2 * timing.ticks * slot - self.timings * timing.ticks
        return np.ceil(ahead / (2 * self.timings))

    def _split(self, tokens: Ids) -> tuple[Ids, Ids]:
        """Which velocity and which timing tokens say; of a rest, the softest on time."""
        struck = np.where(tokens > 0, tokens - 1, self.timings // 2)
        return struck // self.timings, struck % self.timings

    def played(self, tokens: Ids) -> NDArray[np.float64]:
        """The velocity and the lateness, in steps, of tokens that strike (N, 2)."""
        velocity, late = self._split(tokens)
        return np.stack([self.levels[velocity], self.shifts[late]], axis=1)

    def _begun(self, tokens: Ids) -> Ids:
        """The same tokens at the beginning of a window, where what is early is on time."""
        velocity, late = self._split(tokens)
        late = np.maximum(late, self.timings // 2)
        return np.where(tokens > 0, 1 + velocity * self.timings + late, 0)

    def strokes(self, tokens: Ids) -> Ints:
        step = np.flatnonzero(tokens)
        pitch = np.full_like(step, WRITTEN[self.place])
        return np.stack([step, step + 1, pitch, np.zeros_like(step)], axis=1).astype(np.int32)

    def places(self, notes: Notes) -> Ints:
        return np.zeros(len(notes), np.int32)

    def rank(self, notes: Notes) -> Ints:
        return notes.velocity

    def rest(self, tokens: Ids) -> int:
        return 0

    def name(self, token: int) -> str:
        if token == 0:
            return f"{self.called} -"
        [velocity], [late] = self._split(np.array([token]))
        shift = f" {self.shifts[late]:+.0%}" if self.shifts[late] else ""
        return f"{self.called} {self.levels[velocity]:.0f}{shift}"

    def transposed(self, semitones: int) -> Ids:
        return np.arange(self.size)

    def feel(self, notes: Notes, timing: Timing) -> Feel:
        return super().feel(self._own(notes), timing)

    def read(self, tokens: Ids, timing: Timing, feel: Feel | None = None) -> Notes:
        """The notes as the tokens say; a feel says where in the bounds of each it is played."""
        return super().read(tokens, timing, self._within(tokens, timing, feel))

    def _within(self, tokens: Ids, timing: Timing, feel: Feel | None) -> Feel:
        """How each step is played: as a token says, or as near to a feel as it allows."""
        velocity, late = self._split(np.concatenate([self._begun(tokens[:1]), tokens[1:]]))
        step = np.arange(len(tokens))
        slot = step * self.timings + late
        loud, shift = self.levels[velocity], self.shifts[late]
        if feel is not None:
            loud, shift = (column[:, 0].astype(np.float64) for column in feel)
        loud = np.clip(loud, self.softest[velocity], self.loudest[velocity])
        start = np.floor((step + shift) * timing.ticks + 0.5)
        earliest = np.maximum(self._first(slot, timing), 0)
        start = np.clip(start, earliest, self._first(slot + 1, timing) - 1)
        late_by = start / timing.ticks - step
        both = (column.astype(np.float32)[:, None] for column in (loud, late_by))
        return Feel(*both)


class GrooveCodec(VoicedCodec):
    """Which of nine drums strike at a step, how hard, and how early or late.

    At every step nine tokens in fixed order, one a drum: none, or a velocity with a timing. So
    a window has as many tokens whatever is struck, a position says whose turn it is, and what
    is struck can be kept while the rest is drawn (`same_hits`). Two bars are 288 tokens of 661;
    with velocity and timing as tokens of their own there would be three times as many. What is
    put on the grid of velocities and timings is counted in the loss report: `off the grid` and
    `ms off the grid`, `softer or louder` and `velocity in all`.

    The hits, velocities and offsets are those of Gillick et al. (2019, section 3), in classes.

    Arguments:
        steps: a quarter note, 4, 6, 12 or 24.
        metre, bars: of a window.
        velocities: told apart, 2 to 32; by 8 they are kept within 8 (the softest within 15).
        timings: parts of a step told apart, odd, 1 to 15; by 9 of a sixteenth at 120 beats a
            minute, notes are kept within 7 milliseconds.

    >>> from seqvae.midi.clips import Clip
    >>> from seqvae.midi import notes_of
    >>> codec = GrooveCodec(bars=1)
    >>> beat = notes_of([(0, 60, 36, 99), (14, 60, 42, 64), (466, 540, 38, 127)])
    >>> codec.show(Clip({"drums": beat}, 1920))[:69]
    'kick 96, closed hi-hat 64 +11% | - | - | - | snare 127 -11% | - | - |'
    """

    kind: ClassVar[str] = "groove"
    hears: ClassVar[str] = "as so early or late on the nearest step"

    def __init__(
        self,
        *,
        steps: int = 4,
        metre: str = "4/4",
        bars: int = 2,
        velocities: int = VELOCITIES,
        timings: int = TIMINGS,
    ) -> None:
        if not 2 <= velocities <= MOST_VELOCITIES:
            raise Refused(
                f"velocities = {velocities}: 2 to {MOST_VELOCITIES} can be told apart. Without "
                "any, the codec is drums."
            )
        if not (1 <= timings <= MOST_TIMINGS and timings % 2):
            raise Refused(
                f"timings = {timings}: an odd number up to {MOST_TIMINGS}, so that the middle one "
                "is on time."
            )
        drums = [Stroke(place, velocities, timings) for place in range(len(KIT))]
        super().__init__(Grid(steps, metre_of(metre), bars), drums)
        self.plain = int(drums[0].nearest[int(LOUD)]) * timings + timings // 2
        self.velocities, self.timings = velocities, timings

    def same_hits(self, ids: Sequence[int]) -> Spans:
        """Which ids may stand where, for the same drums to strike at the same steps (T, 2).

        At a rest only the rest; at a stroke any of its drum. `generate` takes it as `allowed`.

        Raises `Refused` for ids that are no window.
        """
        given = np.asarray(ids, np.int64)
        first, end = np.tile(self.allowed, (self.grid.length, 1)).T
        if given.shape != first.shape or ((given < first) | (given >= end)).any():
            raise Refused(f"{len(given)} ids that are no window of {self.length}: encode one.")
        struck = given > first
        return np.stack([first + struck, np.where(struck, end, first + 1)], axis=1)

    def stiff(self, ids: Sequence[int]) -> list[int]:
        """The same hits, on time, at the velocity nearest to that of notes nobody played."""
        allowed = self.same_hits(ids)
        struck = allowed[:, 1] - allowed[:, 0] > 1
        return [int(i) for i in allowed[:, 0] + struck * self.plain]

    def show(self, item: Any) -> str:
        steps = np.array(self.encode(item).ids).reshape(self.grid.length, -1)
        hits = (
            [i for i, (rest, _) in zip(row, self.allowed, strict=True) if i > rest]
            for row in steps
        )
        return " | ".join(", ".join(self.tokens(row)) or "-" for row in hits)

    def names(self) -> list[str]:
        return [voice.name(token) for voice in self.voices for token in range(voice.size)]

    def settings(self) -> dict[str, Any]:
        own = {"velocities": self.velocities, "timings": self.timings}
        return {**super().settings(), **own}
