"""Any number of notes at once, as events: bar, position, pitch, velocity, duration."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import Refused
from ..midi import TICKS, Notes, Song, Track, fold, joined, notes_of, to_score, tracks_of
from ..midi.clips import DRUMS, LOUD, Clip, Feel, Grid, metre_of
from ..midi.parts import PROGRAM, Part, find_pitched, find_players, program_of
from ..tokens import EOS, SPECIAL
from .codec import BAR, NOTHING, Clock, Encoded
from .folder import Saved, read_folder, write_folder
from .music import MusicCodec
from .voices import HIGH, HIT, LOW, Timing, off_by

Ids = NDArray[np.int64]
Players = Mapping[int, Notes]  # program -> notes in steps; `DRUMMER` plays the drums

VELOCITIES = 8  # how many are told apart
MOST_VELOCITIES = 64
DRUMMER = -1  # the program of drums, as MidiTok has it
BEATS = 4  # of a bar, as MidiTok counts where it is told no metre
LIBRARY = "miditok"
FILE = "miditok.json"  # the data file: MidiTok's settings, and what every id says
EXAMPLE = [(0, 2, 60, 80), (0, 2, 64, 80), (3, 4, 72, 30)]  # steps: told alike by equal tokenizers


class PolyphonyCodec(MusicCodec):
    """All that has pitch as one part, chords whole, as REMI   (Huang and Yang, 2020).

    A window is, for each bar up to its last note, `Bar`, then for each step at which notes begin
    `Position`, then of every note, the lowest first, `Pitch`, `Velocity` and `Duration`; an end
    token closes it. So a window has as many tokens as it has music: empty, the end alone. The
    events and their ids are MidiTok's (Fradet et al., 2021), whose `REMI` writes and reads them;
    every bar is of one metre, so no token says it.

    Notes go to the nearest step, and their ends too, at least one step behind. Of notes of one
    pitch that begin together one is kept, as long as the longest and as loud as the loudest; one
    that still sounds where the same pitch is struck again ends there, as on a piano. Velocity is
    in the tokens, so there is no feel beside them. All of it is counted in the loss report:
    `off the grid` and `ms off the grid`, `softer or louder` and `velocity in all`, `merged`,
    `cut short`, `folded`, `outside`, and `drums left out`.

    Arguments:
        steps: a quarter note, 4, 6, 12 or 24.
        metre, bars: of a window.
        low, high: pitches; others are folded in by octaves.
        velocities: told apart, 2 to 64, multiples of 127 / velocities; 0: none, all are 80.

    Raises `Refused` for arguments out of range.

    >>> codec = PolyphonyCodec(bars=1)
    >>> chord = notes_of([(0, 960, 60, 80), (0, 960, 64, 80), (960, 1080, 67, 111)])
    >>> codec.show(Clip({"piano": chord}, 1920))[:81]
    'Bar_None Position_0 Pitch_60 Velocity_79 Duration_2.0.4 Pitch_64 Velocity_79 Dura'
    """

    kind: ClassVar[str] = "polyphony"
    several: ClassVar[bool] = False  # whether programs are told apart

    def __init__(
        self,
        *,
        steps: int = 4,
        metre: str = "4/4",
        bars: int = 2,
        low: int = LOW,
        high: int = HIGH,
        velocities: int = VELOCITIES,
    ) -> None:
        super().__init__(Grid(steps, metre_of(metre), bars))
        _check(low, high, velocities)
        self.low, self.high, self.velocities = low, high, velocities
        # MidiTok's bar has 4 beats: a step is one of the ticks into which it parts a beat, and
        # a bar that has no multiple of 4 steps leaves the last of them empty.
        self.fineness = -(-self.grid.bar // BEATS)
        self._remi = self._tokenizer()
        self.vocab = len(self._remi.vocab)
        self.levels = self._levels()
        says = (NOTHING,) * SPECIAL + tuple(map(self._when, self.names()))
        self.clock = Clock(self.grid.bar, self.grid.bars, says)
        self.version = version(LIBRARY)

    @property
    def parts(self) -> list[str]:
        return ["piano"]

    def find(self, song: Song, part: str, asked: str | None = None) -> dict[str, Part]:
        return {part: find_pitched(song, asked)}

    def encode(self, item: Any) -> Encoded:
        steps = self.steps_of(item)
        players, lost = self.placed(item, self.grid.length)
        lost["rest added at the end"] = self.grid.length - steps
        return Encoded(self.written(players), {name: n for name, n in lost.items() if n})

    def placed(self, clip: Clip, steps: int) -> tuple[Players, Counter[str]]:
        """What a clip of so many steps, which may be a whole song, is on the grid.

        Programs -> notes in steps, and what of them was lost, counted.
        """
        timing, lost, found = self.timing(clip, steps), Counter[str](), {}
        for program, notes in self._players(clip, lost).items():
            found[program], own = self._placed(notes, timing, drums=program == DRUMMER)
            lost.update(own)
        return found, lost

    def written(self, players: Players) -> list[int]:
        """Notes in steps, as `placed` has them, as the ids of a window, EOS behind them."""
        bar, wide = self.grid.bar, BEATS * self.fineness
        tracks = []
        for program, notes in sorted(players.items()):
            if len(notes):
                moved = notes.start // bar * (wide - bar)
                notes = Notes(notes.start + moved, notes.end + moved, notes.pitch, notes.velocity)
                tracks.append(Track(notes, program=max(program, 0), drums=program == DRUMMER))
        if not tracks:
            return [EOS]
        told = self._remi.encode(to_score(tracks, self.fineness), no_preprocess_score=True)
        [sequence] = [told] if self._remi.one_token_stream else told
        return [*map(int, sequence.ids), EOS]

    def decode(self, ids: Iterable[int], feel: Feel | None = None) -> Clip:
        """Any ids -> a clip; what makes no note in its place, or one behind the end, is skipped.

        A feel changes nothing: velocity is in the tokens, and all is on the grid.
        """
        said = [i for i in takewhile(EOS.__ne__, map(int, ids)) if SPECIAL <= i < self.vocab]
        parts = {name: notes_of([]) for name in ([] if self.several else self.parts)}
        for track in self._tracks(said):
            notes = self._read(track)
            if len(notes):
                parts[self._part(track)] = notes
        return Clip(parts, self.grid.length * TICKS // self.grid.steps, TICKS, self.grid.metre)

    def feel(self, clip: Clip) -> Feel:
        nothing = np.zeros((self.grid.length, 0), np.float32)
        return Feel(nothing, nothing)

    def transposed(self, semitones: int) -> Ids:
        moved = np.arange(self.vocab)
        first, end = self.pitches
        pitch = np.arange(self.low, self.high + 1, dtype=np.int32) + semitones
        moved[first:end] = first + fold(pitch, self.low, self.high) - self.low
        return moved

    @property
    def pitches(self) -> tuple[int, int]:
        """The ids of what has pitch: the first, and the one behind the last."""
        first = int(self._remi.vocab[f"Pitch_{self.low}"])
        return first, first + self.high - self.low + 1

    def names(self) -> list[str]:
        return sorted(self._remi.vocab, key=self._remi.vocab.__getitem__)[SPECIAL:]

    def settings(self) -> dict[str, Any]:
        own = {"low": self.low, "high": self.high, "velocities": self.velocities}
        return {**super().settings(), **own}

    def save(self, folder: Path) -> None:
        told = {LIBRARY: self.version, "config": self._remi.config.to_dict(serialize=True)}
        data = json.dumps({**told, **self._told()}, indent=1, sort_keys=True) + "\n"
        write_folder(folder, Saved(self.kind, self.settings(), data.encode()), FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        saved = read_folder(folder)
        try:
            made, told = cls(**cls._checked(saved.settings)), json.loads(saved.data)
            there = str(told[LIBRARY])
        except (TypeError, KeyError, ValueError) as error:
            raise Refused(f"{folder}/codec.json is damaged ({error}). Copy it again.") from error
        if any(told.get(name) != value for name, value in made._told().items()):
            raise Refused(
                f"{folder} was written with {LIBRARY} {there}, whose ids have other meanings than "
                f"those of {made.version}, which is installed. Install that: pip install "
                f"{LIBRARY}=={there}"
            )
        made.version = there  # so that it is saved as it was
        return made

    def _told(self) -> dict[str, Any]:
        """What tells another tokenizer: what every id says, and an example."""
        start, end, pitch, velocity = np.array(EXAMPLE, dtype=np.int32).T
        level = self.levels[self._level(velocity)]
        notes = Notes(start, end, fold(pitch, self.low, self.high), level)
        return {"tokens": self.names(), "example": self.written({0: notes})}

    def _tokenizer(self) -> Any:
        from miditok import REMI, TokenizerConfig  # imported when used: others need none of it

        longest = -(-self.grid.length // self.fineness)
        return REMI(
            TokenizerConfig(
                # Of drums too MidiTok reads none outside.
                pitch_range=(0, 127) if self.several else (self.low, self.high),
                beat_res={(0, longest): self.fineness},
                num_velocities=max(self.velocities, 1),
                special_tokens=["PAD", "UNK", "BOS", "EOS"],
                encode_ids_split="no",
                use_velocities=self.velocities > 0,
                use_note_duration_programs=list(range(128)),
                use_programs=self.several,
                use_pitchdrum_tokens=self.several,
                drums_pitch_range=(0, 127),
                use_time_signatures=False,
                use_chords=False,
                use_rests=False,
                use_tempos=False,
                use_key_signatures=False,
                use_sustain_pedals=False,
                use_pitch_bends=False,
                use_control_changes=False,
                use_pitch_intervals=False,
                use_bar_end_tokens=False,
                add_trailing_bars=False,
            )
        )

    def _tracks(self, ids: list[int]) -> list[Track]:
        """What MidiTok reads in ids, which takes no empty list."""
        if not ids:
            return []
        return tracks_of(self._remi.decode(ids if self._remi.one_token_stream else [ids]))

    def _when(self, name: str) -> int:
        """What an event of MidiTok's says of when."""
        sort, _, value = name.partition("_")
        if sort == "Position":
            return min(int(value), self.grid.bar - 1)
        return BAR if sort == "Bar" else NOTHING

    def _levels(self) -> NDArray[np.int32]:
        """The velocities that are told apart."""
        told = self._remi.velocities if self.velocities else [LOUD]
        return np.asarray(told, np.int32)

    def _level(self, velocity: Any) -> Any:
        """Which of them is nearest, the softer of two."""
        return np.abs(np.asarray(velocity)[..., None] - self.levels).argmin(axis=-1)

    def _players(self, clip: Clip, lost: Counter[str]) -> dict[int, Notes]:
        """Who plays which notes, in ticks."""
        lost["drums left out"] = len(clip.part(DRUMS))
        return {0: joined(notes for name, notes in clip.parts.items() if name != DRUMS)}

    def _part(self, track: Track) -> str:
        return self.parts[0]

    def _placed(
        self, notes: Notes, timing: Timing, *, drums: bool
    ) -> tuple[Notes, dict[str, int]]:
        """Notes in ticks as notes in steps, at velocities that are told, and what was lost."""
        step = timing.nearest(notes.start)
        inside = (step >= 0) & (step < timing.steps)
        step, chosen = step[inside], notes[inside]
        end = step + 1 if drums else np.maximum(timing.nearest(chosen.end), step + 1)
        pitch = chosen.pitch if drums else fold(chosen.pitch, self.low, self.high)
        velocity = self.levels[self._level(chosen.velocity)]
        softer = np.abs(chosen.velocity - velocity)
        table = np.stack([step, np.minimum(end, timing.steps), pitch, velocity], axis=1)
        apart, cut = _apart(table)
        lost = {
            **off_by(np.abs(chosen.start - step * timing.ticks), timing),
            "outside": len(notes) - len(chosen),
            "folded": int((pitch != chosen.pitch).sum()),
            "merged": len(table) - len(apart),
            "cut short": cut + int((end > timing.steps).sum()),
            "softer or louder": int((softer > 0).sum()),
            "velocity in all": int(softer.sum()),
        }
        return notes_of(apart.tolist()), lost

    def _read(self, track: Track) -> Notes:
        """What a track of MidiTok's plays in the window, in ticks of a clip."""
        start, end, pitch, velocity = track.notes.table.T
        bar, place = np.divmod(start, BEATS * self.fineness)
        step = bar * self.grid.bar + place
        length = HIT if track.drums else end - start
        stop = np.minimum(step + length, self.grid.length)
        ticks = TICKS // self.grid.steps
        loud = velocity if self.velocities else np.full_like(velocity, int(LOUD))
        table = np.stack([step * ticks, (stop * ticks).astype(np.int32), pitch, loud], axis=1)
        return notes_of(table[(place < self.grid.bar) & (step < self.grid.length)].tolist())


class MultitrackCodec(PolyphonyCodec):
    """All tracks together, each note behind the program that plays it; drums have their own.

    REMI+   (von Rütte et al., 2023): a part of a clip is "program:N", N from 0 to 127, or "drums",
    and before each `Pitch` stands `Program`; drums are `PitchDrum` without a `Duration`. Tracks
    of one program are one part. A part of another name is played by the program that it is written
    with, as `parts.program_of` has it.

    Arguments: those of `PolyphonyCodec`; low and high are not for drums.

    >>> codec = MultitrackCodec(bars=1, velocities=0)
    >>> low = Clip({"program:33": notes_of([(0, 960, 40, 80)])}, 1920)
    >>> codec.show(low), list(codec.decode(codec.encode(low).ids).parts)
    ('Bar_None Position_0 Program_33 Pitch_40 Duration_2.0.4 </s>', ['program:33'])
    """

    kind: ClassVar[str] = "multitrack"
    several: ClassVar[bool] = True

    @property
    def parts(self) -> list[str]:
        return ["band"]

    def find(self, song: Song, part: str, asked: str | None = None) -> dict[str, Part]:
        return find_players(song, asked)

    def _players(self, clip: Clip, lost: Counter[str]) -> dict[int, Notes]:
        found: dict[int, list[Notes]] = {}
        for name, notes in clip.parts.items():
            program = DRUMMER if name == DRUMS else program_of(name)
            found.setdefault(program, []).append(notes)
        return {program: joined(notes) for program, notes in found.items()}

    def _part(self, track: Track) -> str:
        return DRUMS if track.drums else f"{PROGRAM}{track.program}"


def _check(low: int, high: int, velocities: int) -> None:
    if not 0 <= low <= high - 11 <= 127 - 11:
        raise Refused(
            f"pitches {low} to {high}: a range lies within 0 and 127 and spans an octave or more, "
            "so that notes outside it can be folded in."
        )
    if velocities != 0 and not 2 <= velocities <= MOST_VELOCITIES:
        raise Refused(
            f"velocities = {velocities}: 2 to {MOST_VELOCITIES} can be told apart; 0 leaves them "
            "out."
        )


def _apart(table: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Rows (step, end, pitch, velocity) of which no two of a pitch sound at once; how many cut.

    >>> rows, cut = _apart(np.array([(0, 4, 60, 80), (2, 3, 60, 90), (2, 6, 60, 70)]))
    >>> rows.tolist(), cut
    ([[0, 2, 60, 80], [2, 6, 60, 90]], 1)
    """
    rows = np.asarray(table).reshape(-1, 4)
    rows = rows[np.lexsort((rows[:, 0], rows[:, 2]))]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (rows[1:, [0, 2]] != rows[:-1, [0, 2]]).any(axis=1)
    first = np.flatnonzero(new)
    kept = rows[first]
    if len(first):
        kept[:, 1] = np.maximum.reduceat(rows[:, 1], first)
        kept[:, 3] = np.maximum.reduceat(rows[:, 3], first)
    over = (kept[1:, 2] == kept[:-1, 2]) & (kept[:-1, 1] > kept[1:, 0])
    kept[:-1, 1] = np.where(over, kept[1:, 0], kept[:-1, 1])
    return kept, int(over.sum())
