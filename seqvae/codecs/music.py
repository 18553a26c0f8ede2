"""What the codecs of music share: a grid of bars; and most of them one token a step and voice."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from ..errors import Refused
from ..midi import TICKS, Notes, Song, joined
from ..midi.clips import Clip, Feel, Grid
from ..midi.parts import NoPart, Part, find_part
from ..tokens import SPECIAL
from .codec import Encoded
from .listed import ListedCodec
from .voices import KNOWN, Ids, Lane, Timing, Voice


class MusicCodec(ListedCodec):
    """A clip of so many bars on a grid <-> ids.

    `voices` play a token each at every step; there are none where tokens are events.
    """

    noun: ClassVar[str] = "window"
    hears: ClassVar[str] = "on the nearest step"  # where, what is off the grid
    words = ("metre",)
    voices: Sequence[Voice] = ()

    def __init__(self, grid: Grid) -> None:
        grid.check()
        self.grid = grid

    @property
    @abstractmethod
    def parts(self) -> list[str]:
        """What is looked for in a song, each of which `find` can find."""

    @abstractmethod
    def find(self, song: Song, part: str, asked: str | None = None) -> dict[str, Part]:
        """One of the `parts` in a song, by the names that it has in a clip.

        `asked` names its track, as for `find_part`. Raises `NoPart` where it is missing.
        """

    @abstractmethod
    def decode(self, ids: Iterable[int], feel: Feel | None = None) -> Clip:
        """Any ids -> a clip; with a feel (T, C) played so, as far as ids leave that open."""

    @abstractmethod
    def feel(self, clip: Clip) -> Feel:
        """How a clip is played, beside its ids: (T, C), a column a voice, nine for drums."""

    @abstractmethod
    def transposed(self, semitones: int) -> Ids:
        """Id -> the id of the same so many semitones higher (V,), octaves folded into range."""

    def steps_of(self, item: Any) -> int:
        """The steps of a clip. Raises `Refused` for what is none, or longer than the grid."""
        if not isinstance(item, Clip):
            raise Refused(f"a music codec encodes clips, not {type(item).__name__}: {item!r:.60}.")
        steps = round(item.length * self.grid.steps / item.ticks_per_beat)
        if steps > self.grid.length:
            raise Refused(
                f"a clip of {steps} steps; this codec holds {self.grid.length}, {self.grid.bars} "
                f"bars of {self.grid.metre}. Cut it first."
            )
        return steps

    def timing(self, clip: Clip, steps: int) -> Timing:
        """How the grid's steps lie in a clip."""
        ms = 6e4 / clip.qpm / clip.ticks_per_beat
        return Timing(clip.ticks_per_beat / self.grid.steps, steps, ms)

    def show(self, item: Any) -> str:
        return " ".join(self.tokens(self.encode(item).ids))

    def settings(self) -> dict[str, Any]:
        return {"steps": self.grid.steps, "metre": str(self.grid.metre), "bars": self.grid.bars}


class VoicedCodec(MusicCodec):
    """A clip <-> ids: at each step of the grid one token of every voice, in order.

    Each voice has a range of ids of its own, so that a position says which ids may stand there.
    A clip is a fixed number of ids: there is no end token.

    Arguments:
        grid: bars of a metre, steps a beat.
        voices: what sounds together.
    """

    length: int
    allowed: Ids

    def __init__(self, grid: Grid, voices: Sequence[Voice]) -> None:
        super().__init__(grid)
        self.voices = list(voices)
        self.firsts = np.cumsum([SPECIAL, *(voice.size for voice in voices)]).tolist()
        self.vocab = int(self.firsts.pop())
        self.length = grid.length * len(self.voices)
        spans = zip(self.firsts, self.voices, strict=True)
        self.allowed = np.array([(first, first + voice.size) for first, voice in spans])

    @property
    def parts(self) -> list[str]:
        return list(dict.fromkeys(voice.part for voice in self.voices))

    def check(self, part: str, notes: Notes) -> None:
        """Raise `NoPart` for the notes of a song's part where the codec knows none of them."""
        drums = any(voice.drums for voice in self.voices if voice.part == part)
        if drums and len(notes) and not KNOWN[notes.pitch].any():
            heard = f"{notes.pitch.min()} to {notes.pitch.max()}"
            raise NoPart(
                f"none of the {len(notes)} notes of {part} is a drum of General MIDI, which are "
                f"notes {KNOWN.argmax()} to {127 - KNOWN[::-1].argmax()}; these are {heard}. Map "
                "them to General MIDI's in the program they come from, or name another track."
            )

    def find(self, song: Song, part: str, asked: str | None = None) -> dict[str, Part]:
        found = find_part(song, part, asked)
        self.check(part, found.notes)
        return {part: found}

    def encode(self, item: Any) -> Encoded:
        steps = self.steps_of(item)
        lanes = self.lanes(item, self.grid.length)
        lost = sum((lane.lost for lane in lanes), Counter[str]())
        lost["rest added at the end"] = self.grid.length - steps
        [ids] = self.windows(lanes, np.zeros(1, np.int64))
        return Encoded(ids.tolist(), {name: count for name, count in lost.items() if count})

    def lanes(self, clip: Clip, steps: int) -> list[Lane]:
        """Every voice over so many steps of a clip, which may be a whole song."""
        timing = self.timing(clip, steps)
        return [voice.write(clip.part(voice.part), timing) for voice in self.voices]

    def windows(self, lanes: Sequence[Lane], starts: Ids) -> Ids:
        """The ids of the windows that begin at these steps (N, length); rests behind the end."""
        at = starts[:, None] + np.arange(self.grid.length)
        columns = [
            first + _taken(lane, at, voice.rest(lane.tokens))
            for first, voice, lane in zip(self.firsts, self.voices, lanes, strict=True)
        ]
        return np.stack(columns, axis=2).reshape(len(starts), -1)

    def decode(self, ids: Iterable[int], feel: Feel | None = None) -> Clip:
        """Any ids -> a clip; ids of another voice's range, or none, change nothing.

        With a feel (T, C) the notes are played as it says.
        """
        timing = Timing(TICKS / self.grid.steps, self.grid.length, 0.0)
        lanes = self._split(ids)
        feels = [None] * len(lanes) if feel is None else self._split_feel(feel)
        parts: dict[str, Notes] = {}
        for voice, tokens, own in zip(self.voices, lanes, feels, strict=True):
            notes = voice.read(tokens, timing, own)
            before = parts.get(voice.part)
            parts[voice.part] = notes if before is None else joined([before, notes])
        length = self.grid.length * TICKS // self.grid.steps
        return Clip(parts, length, TICKS, self.grid.metre)

    def feel(self, clip: Clip) -> Feel:
        timing = self.timing(clip, self.grid.length)
        feels = [voice.feel(clip.part(voice.part), timing) for voice in self.voices]
        velocity = np.concatenate([feel.velocity for feel in feels], axis=1)
        return Feel(velocity, np.concatenate([feel.shift for feel in feels], axis=1))

    def transposed(self, semitones: int) -> Ids:
        own = [
            first + voice.transposed(semitones)
            for first, voice in zip(self.firsts, self.voices, strict=True)
        ]
        return np.concatenate([np.arange(SPECIAL), *own])

    def names(self) -> list[str]:
        several = len(self.voices) > 1
        return [
            f"{voice.part} {voice.name(token)}" if several else voice.name(token)
            for voice in self.voices
            for token in range(voice.size)
        ]

    def _split(self, ids: Iterable[int]) -> list[Ids]:
        """Ids -> the tokens of every voice (T,), 0 where an id is none of them."""
        whole = np.zeros(self.length, np.int64)
        given = [i if 0 <= i < self.vocab else 0 for i in map(int, islice(ids, self.length))]
        whole[: len(given)] = given
        lanes = []
        columns = whole.reshape(-1, len(self.voices)).T
        for column, (first, end) in zip(columns, self.allowed, strict=True):
            lanes.append(np.where((column >= first) & (column < end), column - first, 0))
        return lanes

    def _split_feel(self, feel: Feel) -> list[Feel]:
        edges = np.cumsum([voice.width for voice in self.voices])[:-1]
        velocity, shift = (np.split(column, edges, axis=1) for column in feel)
        return [Feel(*both) for both in zip(velocity, shift, strict=True)]


def _taken(lane: Lane, at: Ids, rest: int) -> Ids:
    """A lane's tokens at steps (N, T), the first of each row as a window's opening.

    Behind the lane's last step stands `rest` once, which ends what sounds, and then nothing new.
    """
    last = len(lane.tokens)
    taken = np.append(lane.tokens, [rest, 0])[np.minimum(at, last + 1)]
    taken[:, 0] = np.append(lane.opening, 0)[np.minimum(at[:, 0], last)]
    return taken
