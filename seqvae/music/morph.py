"""A morph: one song's phrase becomes another's, step by step through the space of codes.

The ends are the phrases themselves; between them a decoder writes what lies on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..explore import Explorer
from ..midi import Source
from ..midi.clips import Clip, Grid
from ..midi.keys import KeyFound, Move
from .beside import beside, first, glided, keys_of, music_codec, paced, song_of, usual_cost
from .even import between
from .feel import Playing, check_time
from .likeness import Range, compared, ranges_of
from .pieces import Piece
from .taste import Taste
from .told import End, told
from .walk import Walk


class Step(NamedTuple):
    """One phrase on the way: how much of B is in it, and its music; what the ends' codes give."""

    mix: float
    clip: Clip
    again: Clip  # as the decoder writes it; at the ends the clip is the phrase itself


@dataclass(frozen=True)
class Morph:
    """The way from one phrase to another."""

    a: Piece
    b: Piece
    key: KeyFound | None  # the one that both were brought to; None: each is in its own
    moved: tuple[Move, Move]  # A's and B's parts; their other tracks are moved in key only
    pace: float  # how many times B's notes were lengthened
    steps: list[Step]
    taste: Taste
    costs: tuple[float, float] | None  # -ELBO of A and B, nats a window; None: it has none
    usual: float | None  # what the model's validation items cost it
    lost: tuple[Mapping[str, int], Mapping[str, int]]  # what the codec changed in A and B
    grid: Grid
    ranges: Mapping[str, Range]  # the pitches the model can write, by part
    written: list[Step]  # the steps as the model has them, before what `Taste.touch` does
    said: list[str] = field(default_factory=list)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Onset and pitch F1 of what comes back of A and of B, on the grid; 1 of silence."""
        first, last = (self._alike(step.clip, step.again) for step in self._edges)
        return 1.0 if first is None else first, 1.0 if last is None else last

    @property
    def _edges(self) -> tuple[Step, Step]:
        return self.written[0], self.written[-1]

    @property
    def both(self) -> list[End]:
        """A and B."""
        back = [self._alike(step.clip, step.again) for step in self._edges]
        of_a, of_b = zip(self.costs or (None, None), self.lost, back, strict=True)
        return [
            End("A", self.a, self.moved[0], 1.0, *of_a),
            End("B", self.b, self.moved[1], self.pace, *of_b),
        ]

    def glide(self, mix: float) -> int:
        """By how many semitones all is moved at a mix, on its way from A's key to B's."""
        return glided(self.taste, self.moved[1], mix)

    @cached_property
    def distances(self) -> list[tuple[float | None, float | None]]:
        """Onset and pitch F1 of every step with A and with B; None where both are silent."""
        first, last = self.written[0].clip, self.written[-1].clip
        return [
            (self._alike(first, step.clip), self._alike(last, step.clip)) for step in self.written
        ]

    def _alike(self, one: Clip, other: Clip) -> float | None:
        return compared(one, other, self.grid, self.ranges)


def morph(explorer: Explorer, a: Source, b: Source, taste: Taste | None = None) -> Morph:
    """Two pieces of music and the way between them.

    Raises `Refused` for a run that knows no music, files that cannot be read (`MidiError`) or lack
    the parts the run knows (`NoPart`).
    """
    taste = taste or Taste()
    codec = music_codec(explorer)
    song_a, song_b = song_of(a), song_of(b)
    piece_a = first(song_a, codec, taste)
    piece_b, pace = beside(song_b, codec, taste, piece_a)
    clip_a, clip_b = piece_a.clip, paced(piece_b.clip, pace, piece_a)
    ranges = ranges_of(codec)
    moved, key = keys_of(taste, piece_a, piece_b, ranges)
    clip_a, clip_b = clip_a.moved(moved[0].semitones), clip_b.moved(moved[1].semitones)
    for piece in (piece_a, piece_b) if taste.touch.timed else ():
        check_time(piece.played, piece.name)
    seed = taste.decoding.seed
    playing = Playing(taste.touch, clip_a, clip_b, codec.grid.steps, seed)
    walk = Walk(explorer, codec, taste, playing.read)
    grid = Grid(codec.grid.steps, clip_a.metre, taste.bars)
    written = _written(walk, taste)
    of_a, of_b = walk.costs() or (None, None)
    costs = None if of_a is None or of_b is None else (of_a, of_b)
    lost_a, lost_b = walk.lost()
    lost, usual = (lost_a, lost_b), usual_cost(explorer)
    steps = [
        _glided(step, glided(taste, moved[1], step.mix)) for step in _played(written, playing)
    ]
    found = Morph(
        piece_a, piece_b, key, moved, pace, steps, taste, costs, usual, lost, grid, ranges, written
    )
    found.said.extend([*told(found.both, key, taste, codec, usual), *playing.told])
    return found


def _written(walk: Walk, taste: Taste) -> list[Step]:
    """The steps from A to B as the decoder writes them; the ends are the phrases themselves."""
    mixes = [place / (taste.steps - 1) for place in range(taste.steps)]
    again = walk.phrases(between(walk, 0, 1), [(1 - mix, mix) for mix in mixes])
    return [
        Step(mix, {0.0: walk.ends[0], 1.0: walk.ends[1]}.get(mix, clip), clip)
        for mix, clip in zip(mixes, again, strict=True)
    ]


def _played(steps: Sequence[Step], playing: Playing) -> list[Step]:
    """The steps of a way with their feel put back; its ends are the phrases themselves."""
    found = []
    for place, (mix, clip, again) in enumerate(steps):
        end = {0: 0, len(steps) - 1: 1}.get(place)
        clip = playing.written(clip, mix) if end is None else playing.end(end)
        found.append(Step(mix, clip, playing.written(again, mix)))
    return found


def _glided(step: Step, semitones: int) -> Step:
    """A step that is so many semitones higher."""
    if semitones == 0:
        return step
    return step._replace(clip=step.clip.moved(semitones), again=step.again.moved(semitones))
