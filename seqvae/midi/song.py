"""A song: tracks and the maps around them, in ticks; what it may claim, and the check of that.

A reader mends and checks what it found, whichever library found it; a writer asks what a message
can hold.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..errors import Refused
from .notes import (
    COMMON,
    Ints,
    Key,
    Marker,
    Metre,
    MetreChange,
    Notes,
    Tempo,
    latest,
    ordered,
    rounded,
)

TICKS = 480  # a beat, in what we write unless told otherwise
DRUM_CHANNEL = 9  # channel 10, as musicians count
PLACEHOLDER = (1, 4)  # a metre that programs write when they know none
QPM = 120.0  # where a file names no tempo; so says the standard
FASTEST = 1000.0  # bpm that anybody plays; a file may say sixty million
# The latest tick: the longest time that a file can say between two events.
FARTHEST = (1 << 28) - 1


class MidiError(Refused):
    """A MIDI file that cannot be used; the message names it and the reason."""


@dataclass(frozen=True)
class Limits:
    """What a file may claim; beyond, it is refused before memory is asked for."""

    bytes: int = 10_000_000
    notes: int = 200_000
    tracks: int = 256
    events: int = 1_000_000  # controls and bends
    changes: int = 50_000  # of tempo, metre and key, and markers
    seconds: float = 7200.0
    beats: float = 400_000
    bars: int = 100_000


LIMITS = Limits()


class Bars(NamedTuple):
    """Where the bars of a song begin, in ticks, and the metre of each."""

    start: Ints  # (N + 1,): the last is the end of the last bar
    metre: list[Metre]  # N of them

    def __len__(self) -> int:
        return len(self.metre)


@dataclass(frozen=True, eq=False)
class Track:
    """One instrument: its notes, and what is played around them.

    `controls` are rows (tick, number, value) and `bends` rows (tick, value).
    """

    notes: Notes
    name: str = ""
    program: int = 0
    drums: bool = False
    channel: int | None = None  # 0 to 15; None: as it falls
    controls: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    bends: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int32))

    @property
    def last(self) -> int:
        """The tick of the last thing in it."""
        ends = (part[:, 0].max(initial=0) for part in (self.controls, self.bends))
        return max(self.notes.last, *map(int, ends))


@dataclass(frozen=True, eq=False)
class Song:
    """A MIDI file as music: tracks, and maps of tempo, metre, key and markers, all in ticks.

    The maps may come in any order; of two changes at one tick the later in the list holds.

    `repairs` says in words what had to be mended to read it. `length` is where it ends, in ticks,
    if that is later than all that is in it: at a bar's end a loop closes.
    """

    tracks: Sequence[Track]
    ticks_per_beat: int = TICKS
    tempos: Sequence[Tempo] = ()
    metres: Sequence[MetreChange] = ()
    keys: Sequence[Key] = ()
    markers: Sequence[Marker] = ()
    length: int = 0
    name: str = ""
    repairs: Sequence[str] = ()

    @cached_property
    def end(self) -> int:
        """The tick at which it ends: `length`, or the last thing played or marked."""
        marked = (marker.tick for marker in self.markers)
        return max([self.length, *(track.last for track in self.tracks), *marked])

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.seconds_at(self.end)

    def qpm_at(self, tick: int) -> float:
        """The tempo that holds at a tick, quarter notes a minute."""
        tempos = self._tempos
        return tempos[max(bisect_right(tempos, tick, key=lambda tempo: tempo.tick) - 1, 0)].qpm

    def seconds_at(self, tick: int) -> float:
        """The time of a tick."""
        changes = [tempo for tempo in self._tempos if tempo.tick < tick]
        edges = [*(tempo.tick for tempo in changes), tick]
        spans = zip(edges[:-1], edges[1:], changes, strict=True)
        return sum(((b - a) / self.ticks_per_beat * 60 / t.qpm for a, b, t in spans), 0.0)

    @cached_property
    def _tempos(self) -> list[Tempo]:
        return latest([Tempo(0, QPM), *self.tempos])

    @cached_property
    def bars(self) -> Bars:
        """The bars from tick 0 to the end. A change of metre begins a bar; 1/4 counts as 4/4.

        Raises `MidiError` where there would be more than any piece of music has.
        """
        counts = self.bar_counts
        if sum(count for _, _, count in counts) > LIMITS.bars:
            raise MidiError(f"{self.called}: over {LIMITS.bars:,} bars; this is no music.")
        starts = [rounded(start.tick + ticks * np.arange(n)) for start, ticks, n in counts]
        change, ticks, count = counts[-1]
        last = rounded(np.array([change.tick + ticks * count]))
        metres = [start.metre for start, _, n in counts for _ in range(n)]
        return Bars(np.concatenate([*starts, last]), metres)

    @property
    def bar_counts(self) -> list[tuple[MetreChange, float, int]]:
        """Each metre, the ticks of its bar and how many of them follow; sizes nothing."""
        end = max(self.end, 1)
        known = [change for change in _metres(self.metres) if change.tick < end]
        ticks = [change.metre.beats * self.ticks_per_beat for change in known]
        edges = [*(change.tick for change in known), end]
        spans = zip(edges[:-1], edges[1:], ticks, strict=True)
        counts = [int(np.ceil((b - a) / each - 1e-9)) for a, b, each in spans]
        return list(zip(known, ticks, counts, strict=True))

    @property
    def called(self) -> str:
        """Its name, for messages."""
        return self.name or "the song"


def _metres(changes: Iterable[MetreChange]) -> list[MetreChange]:
    """The metre map from tick 0 on, where 1/4 stands for not knowing."""
    known = [MetreChange(t, COMMON if m == PLACEHOLDER else Metre(*m)) for t, m in changes]
    return latest([MetreChange(0, COMMON), *known])


def mended(song: Song) -> Song:
    """The song with maps in order, keys and tempos that music has, no note shorter than a tick."""
    repairs = list(song.repairs)
    short = sum(int((track.notes.end <= track.notes.start).sum()) for track in song.tracks)
    if short:
        repairs.append(f"notes without length were given one tick: {short}")
    keys = [key for key in song.keys if abs(key.sharps) <= 7]
    if len(keys) < len(song.keys):
        repairs.append("keys of more than 7 sharps or flats were left out")
    tempos = [tempo._replace(qpm=min(tempo.qpm, FASTEST)) for tempo in song.tempos]
    if fast := [tempo.qpm for tempo in song.tempos if tempo.qpm > FASTEST]:
        repairs.append(
            f"tempos of up to {max(fast):,.0f} bpm were held at {FASTEST:,.0f}: {len(fast):,}"
        )
    return replace(
        song,
        tracks=[_lasting(track) for track in song.tracks] if short else song.tracks,
        tempos=latest(tempos),
        metres=latest(song.metres),
        keys=latest(keys),
        repairs=repairs,
    )


def _lasting(track: Track) -> Track:
    notes = track.notes
    end = np.maximum(notes.end, notes.start + 1)
    return replace(track, notes=ordered(notes.start, end, notes.pitch, notes.velocity))


def checked(song: Song, limits: Limits) -> Song:
    """The song, if its ticks are times a piece of music can have."""
    for tick, metre in song.metres:
        if not is_metre(metre) or metre.beats * song.ticks_per_beat < 1:
            raise MidiError(f"{song.name}: a metre of {metre} at tick {tick}.")
    if earliest(song) < 0:
        raise MidiError(f"{song.name}: damaged (something before its beginning).")
    if song.end > FARTHEST or song.end > limits.beats * song.ticks_per_beat:
        beats = song.end / song.ticks_per_beat
        raise MidiError(f"{song.name}: it claims to last {beats:,.0f} beats; this is no music.")
    if song.seconds > limits.seconds:
        raise MidiError(
            f"{song.name}: it claims to last {song.seconds / 3600:,.1f} hours; "
            f"at most {limits.seconds / 3600:g} are read."
        )
    if sum(count for _, _, count in song.bar_counts) > limits.bars:
        raise MidiError(f"{song.name}: over {limits.bars:,} bars; this is no music.")
    return song


def is_metre(metre: Metre) -> bool:
    """Whether a file can say it."""
    above, below = metre
    return 1 <= above <= 255 and 1 <= below <= 128 and below & (below - 1) == 0


def earliest(song: Song) -> int:
    """The earliest tick in a song: below 0, where its ticks ran over what 32 bits hold."""
    maps = (song.tempos, song.metres, song.keys, song.markers)
    changes = [change.tick for part in maps for change in part]
    tables = [t for track in song.tracks for t in (track.controls[:, 0], track.bends[:, 0])]
    starts = [track.notes.start for track in song.tracks]
    return min([0, *changes, *(int(part.min(initial=0)) for part in (*tables, *starts))])


def check_playable(track: Track, name: str) -> None:
    """Raise `MidiError` for a value that no MIDI message can hold."""
    for what, values, low, high in (
        ("pitch", track.notes.pitch, 0, 127),
        ("control", track.controls[:, 1], 0, 127),
        ("value of a control", track.controls[:, 2], 0, 127),
        ("bend", track.bends[:, 1], -8192, 8191),
        ("program", np.array([track.program]), 0, 127),
        ("channel", np.array([track.channel or 0]), 0, 15),
    ):
        wrong = values[(values < low) | (values > high)]
        if len(wrong):
            where = f"{name}, track {track.name!r}" if track.name else name
            raise MidiError(f"{where}: {what} {wrong[0]}; it lies in {low} to {high}.")
