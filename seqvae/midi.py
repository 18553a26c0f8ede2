"""Songs: notes in ticks, with all that a MIDI file says around them; read, checked, written.

The only file that knows a MIDI library. Everything is counted in ticks, never in seconds: a tempo
map moves no note off its beat. Reading is safe: a file is loaded or refused by name and reason,
before anything is sized by what it claims. symusic reads; the bytes we write are our own, because
its writer gives out channels itself and ends every track where its last note does.
"""

import io
import re
import struct
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, Union

import numpy as np
import symusic
from numpy.typing import NDArray

from .errors import Refused

if TYPE_CHECKING:
    from pretty_midi import Instrument, PrettyMIDI

Ints = NDArray[np.int32]
Source = Union[str, Path, bytes, "PrettyMIDI"]

ENDINGS = (".mid", ".midi", ".kar", ".rmi")  # of the names of MIDI files
TICKS = 480  # a beat, in what we write unless told otherwise
DRUM_CHANNEL = 9  # channel 10, as musicians count
PLACEHOLDER = (1, 4)  # a metre that programs write when they know none
QPM = 120.0  # where a file names no tempo; so says the standard
FARTHEST = (
    1 << 28
) - 1  # the latest tick: the longest time that a file can say between two events


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


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes side by side, (N,) each, in ticks, ordered by start, then pitch, end and velocity."""

    start: Ints
    end: Ints
    pitch: Ints
    velocity: Ints

    def __len__(self) -> int:
        return len(self.start)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes) and bool(np.array_equal(self.table, other.table))

    def __getitem__(self, chosen: Any) -> "Notes":
        """Some of the notes, by a mask, a slice or places."""
        return Notes(*(column[chosen] for column in self._columns))

    @property
    def table(self) -> Ints:
        """One row a note: start, end, pitch, velocity (N, 4)."""
        return np.stack(self._columns, axis=1)

    @property
    def _columns(self) -> tuple[Ints, Ints, Ints, Ints]:
        return self.start, self.end, self.pitch, self.velocity

    @property
    def last(self) -> int:
        """The tick at which the last of them ends; 0 if there are none."""
        return int(self.end.max(initial=0))

    def moved(self, ticks: int = 0, semitones: int = 0) -> "Notes":
        """Later by so many ticks, higher by so many semitones (an octave is kept inside MIDI)."""
        pitch = fold(self.pitch + semitones, 0, 127) if semitones else self.pitch
        return _ordered(self.start + ticks, self.end + ticks, pitch, self.velocity)

    def within(self, start: int, end: int) -> "Notes":
        """Those that sound between two ticks, cut to them, counted from the first."""
        chosen = self[(self.start < end) & (self.end > start) & (start < end)]
        starts = np.maximum(chosen.start, start) - start
        ends = np.minimum(chosen.end, end) - start
        return _ordered(starts, ends, chosen.pitch, chosen.velocity)

    def rescaled(self, before: int, after: int) -> "Notes":
        """The same music with another number of ticks a beat; nothing gets length 0."""
        if before == after:
            return self
        start, end = (_rounded(column * (after / before)) for column in (self.start, self.end))
        return _ordered(start, np.maximum(end, start + 1), self.pitch, self.velocity)


def notes_of(rows: Iterable[Sequence[int]]) -> Notes:
    """Notes from rows (start, end, pitch, velocity), in any order.

    >>> notes_of([(480, 960, 62, 80), (0, 480, 60, 80)]).pitch.tolist()
    [60, 62]
    """
    table = np.array([tuple(row) for row in rows], dtype=np.int32).reshape(-1, 4)
    return _ordered(*table.T)


def joined(parts: Iterable[Notes]) -> Notes:
    """All notes of several parts, in order."""
    tables = [part.table for part in parts]
    return _ordered(*np.concatenate([np.zeros((0, 4), np.int32), *tables]).T)


def _ordered(start: Ints, end: Ints, pitch: Ints, velocity: Ints) -> Notes:
    order = np.lexsort((velocity, end, pitch, start))
    return Notes(start[order], end[order], pitch[order], velocity[order])


def fold(pitch: Ints, low: int, high: int) -> Ints:
    """Pitches moved by octaves into low … high (at least an octave apart), the others kept.

    >>> fold(np.array([20, 60, 110], dtype=np.int32), 21, 108).tolist()
    [32, 60, 98]
    """
    below, above = np.maximum(low - pitch, 0), np.maximum(pitch - high, 0)
    return (pitch + 12 * -(-below // 12) - 12 * -(-above // 12)).astype(np.int32)


def _rounded(values: NDArray[Any]) -> Ints:
    """To the nearest whole number, halves up: a tick is never pulled two ways."""
    return np.floor(values + 0.5).astype(np.int32)


class Metre(NamedTuple):
    """A time signature: 6/8 is (6, 8)."""

    numerator: int
    denominator: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"

    @property
    def beats(self) -> float:
        """Quarter notes in a bar: 6/8 has 3."""
        return 4 * self.numerator / self.denominator


COMMON = Metre(4, 4)  # common time: what holds where a file names no metre


class Tempo(NamedTuple):
    tick: int
    qpm: float  # quarter notes a minute


class MetreChange(NamedTuple):
    tick: int
    metre: Metre


class Key(NamedTuple):
    tick: int
    sharps: int  # flats are negative
    minor: bool


class Marker(NamedTuple):
    tick: int
    text: str


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
        return _latest([Tempo(0, QPM), *self.tempos])

    @cached_property
    def bars(self) -> Bars:
        """The bars from tick 0 to the end. A change of metre begins a bar; 1/4 counts as 4/4.

        Raises `MidiError` where there would be more than any piece of music has.
        """
        counts = self._bar_counts
        if sum(count for _, _, count in counts) > LIMITS.bars:
            raise MidiError(f"{self._called}: over {LIMITS.bars:,} bars; this is no music.")
        starts = [_rounded(start.tick + ticks * np.arange(n)) for start, ticks, n in counts]
        change, ticks, count = counts[-1]
        last = _rounded(np.array([change.tick + ticks * count]))
        metres = [start.metre for start, _, n in counts for _ in range(n)]
        return Bars(np.concatenate([*starts, last]), metres)

    @property
    def _bar_counts(self) -> list[tuple[MetreChange, float, int]]:
        """Each metre, the ticks of its bar and how many of them follow; sizes nothing."""
        end = max(self.end, 1)
        known = [change for change in _metres(self.metres) if change.tick < end]
        ticks = [change.metre.beats * self.ticks_per_beat for change in known]
        edges = [*(change.tick for change in known), end]
        spans = zip(edges[:-1], edges[1:], ticks, strict=True)
        counts = [int(np.ceil((b - a) / each - 1e-9)) for a, b, each in spans]
        return list(zip(known, ticks, counts, strict=True))

    @property
    def _called(self) -> str:
        return self.name or "the song"


class _Change(Protocol):
    @property
    def tick(self) -> int: ...


C = TypeVar("C", bound=_Change)


def _latest(changes: Iterable[C]) -> list[C]:
    """In order, one a tick: of several the last."""
    found = {change.tick: change for change in changes if change.tick >= 0}
    return [found[tick] for tick in sorted(found)]


def _metres(changes: Iterable[MetreChange]) -> list[MetreChange]:
    """The metre map from tick 0 on, where 1/4 stands for not knowing."""
    known = [MetreChange(t, COMMON if m == PLACEHOLDER else Metre(*m)) for t, m in changes]
    return _latest([MetreChange(0, COMMON), *known])


# --- reading ------------------------------------------------------------------------------------


def read(
    source: Source, *, name: str | None = None, limits: Limits = LIMITS, channels: bool = False
) -> Song:
    """A song from a path, the bytes of a file, or a `pretty_midi.PrettyMIDI`.

    Raises `MidiError` with the file's name and the reason for what is no MIDI, is damaged beyond
    reading, or claims more than the limits. What could be mended is, and said in `repairs`. Tracks
    without notes are left out. `channels` asks for the channel of each track too, which costs
    some milliseconds; where it cannot be told, it is None.
    """
    if isinstance(source, bytes):
        return _parsed(source, name or "the MIDI data", limits, channels)
    if isinstance(source, str | Path):
        path = Path(source)
        return _parsed(_bytes(path, limits), name or str(source), limits, channels)
    if not hasattr(source, "get_tempo_changes"):
        kind = type(source).__name__
        raise MidiError(f"{name or kind}: give a path, bytes or a PrettyMIDI, not {kind}.")
    return _checked(_from_pretty_midi(source, name or "the PrettyMIDI object"), limits)


def _bytes(path: Path, limits: Limits) -> bytes:
    """The file, and one byte more than allowed at most: a size asked for first may not hold."""
    try:
        with path.open("rb") as file:
            return file.read(limits.bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero in it
        raise MidiError(f"{path}: {getattr(error, 'strerror', None) or error}.") from error


def _parsed(data: bytes, name: str, limits: Limits, channels: bool) -> Song:
    if len(data) > limits.bytes:
        raise MidiError(f"{name}: a MIDI file of over {limits.bytes:,} bytes is not read.")
    data = _unwrapped(data)
    if not data.startswith(b"MThd"):
        raise MidiError(f"{name}: {_what(data)}, not MIDI: it does not begin with MThd.")
    data, chunks, repairs = _tidied(data, name, limits)
    score, clamped = _score(data, name)
    _check_size(score, name, limits)
    song = _song(score, name, [*repairs, *clamped])
    if channels and len(data) <= SCANNED:
        song = replace(song, tracks=_with_channels(song.tracks, chunks))
    return _ending(_checked(song, limits), chunks, limits)


def _unwrapped(data: bytes) -> bytes:
    """The MIDI inside a RIFF file, as some programs wrap it."""
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        return data[max(data.find(b"MThd"), 0) :]
    return data


def _what(data: bytes) -> str:
    """What a file that is no MIDI seems to be."""
    if not data.strip(b"\0"):
        return "empty" if not data else "nothing but zeros"
    if data.lstrip()[:1] == b"<":
        return "a web page"
    return "something else"


def _tidied(data: bytes, name: str, limits: Limits) -> tuple[bytes, list[bytes], list[str]]:
    """The file with a header that says what follows, its chunks of music, and what was mended."""
    if len(data) < 14:
        raise MidiError(f"{name}: damaged (it breaks off in its header).")
    size, form, count, division = struct.unpack(">IHHH", data[4:14])
    chunks, others = _chunks(data, 8 + size, name, limits)
    repairs = []
    if others and not chunks:
        raise MidiError(f"{name}: damaged (it holds no tracks).")
    if form > 2:
        repairs.append(f"its header names format {form}; it was read as format 1")
        form = 1
    if others:
        repairs.append("parts that are no tracks were skipped")
    if count != len(chunks):
        repairs.append(f"its header counts {count} tracks, there are {len(chunks)}")
    if not repairs:
        return data, chunks, repairs
    return _file(form, division, chunks), chunks, repairs


def _file(form: int, division: int, chunks: Sequence[bytes]) -> bytes:
    head = struct.pack(">4sIHHH", b"MThd", 6, form, len(chunks), division)
    return head + b"".join(struct.pack(">4sI", b"MTrk", len(c)) + c for c in chunks)


def _chunks(data: bytes, place: int, name: str, limits: Limits) -> tuple[list[bytes], int]:
    """The chunks that hold music, and how many hold something else."""
    found: list[bytes] = []
    others = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(">4sI", data, place)
        if kind != b"MTrk":
            if not kind.isalnum() and b"MTrk" in data[place:]:
                raise MidiError(f"{name}: damaged (track {len(found)} is not as long as it says).")
            others += 1
        elif place + 8 + size > len(data):
            raise MidiError(f"{name}: damaged (it breaks off in track {len(found) + 1}).")
        else:
            found.append(data[place + 8 : place + 8 + size])
        if len(found) + others > limits.tracks:
            raise MidiError(f"{name}: over {limits.tracks} tracks, the most that is read.")
        place += 8 + size
    return found, others


def _score(data: bytes, name: str) -> tuple[Any, list[str]]:
    """The parsed file; damaged values are clamped into range, if that is all it takes."""
    try:
        return symusic.Score.from_midi(data), []
    except Exception as error:
        why = _reason(error)
    try:
        score = symusic.Score.from_midi(data, sanitize_data=True)
    except Exception as error:
        raise MidiError(f"{name}: damaged ({why}). Export it again from its program.") from error
    return score, [f"values outside their range were clamped ({why})"]


def _reason(error: Exception) -> str:
    """What symusic says, without what only its authors understand."""
    said = (str(error).splitlines() or [""])[0]
    said = re.sub(r"^MiniMidi: |: iostream error$", "", said)
    said = re.sub(r"^Get (\w+)=(-?\d+)", r"a \1 of \2", said).rstrip("!. ")[:120]
    return said[:1].lower() + said[1:] if said else type(error).__name__


def _check_size(score: Any, name: str, limits: Limits) -> None:
    """Refuse before anything is copied."""
    maps = (score.tempos, score.time_signatures, score.key_signatures, score.markers)
    played = [events for t in score.tracks for events in (t.controls, t.pitch_bends)]
    sizes = {
        "tracks": (len(score.tracks), limits.tracks),
        "notes": (score.note_num(), limits.notes),
        "controls and bends": (sum(map(len, played)), limits.events),
        "changes of tempo, metre and key, and markers": (sum(map(len, maps)), limits.changes),
    }
    for what, (size, most) in sizes.items():
        if size > most:
            raise MidiError(f"{name}: {size:,} {what}; at most {most:,} are read.")
    if score.tpq <= 0:
        raise MidiError(f"{name}: 0 ticks a beat, so nothing in it has a time.")


def _song(score: Any, name: str, repairs: Sequence[str]) -> Song:
    metres = [
        MetreChange(m.time, Metre(m.numerator, m.denominator)) for m in score.time_signatures
    ]
    keys = [Key(key.time, key.key, bool(key.tonality)) for key in score.key_signatures]
    song = Song(
        tracks=[_track(track) for track in score.tracks if len(track.notes)],
        ticks_per_beat=score.tpq,
        tempos=[Tempo(tempo.time, _qpm(tempo.mspq, name)) for tempo in score.tempos],
        metres=metres,
        keys=keys,
        markers=[Marker(marker.time, marker.text) for marker in score.markers],
        name=name,
        repairs=repairs,
    )
    return _mended(song)


def _mended(song: Song) -> Song:
    """The song with maps in order, keys that exist, and no note shorter than a tick."""
    repairs = list(song.repairs)
    short = sum(int((track.notes.end <= track.notes.start).sum()) for track in song.tracks)
    if short:
        repairs.append(f"notes without length were given one tick: {short}")
    keys = [key for key in song.keys if abs(key.sharps) <= 7]
    if len(keys) < len(song.keys):
        repairs.append("keys of more than 7 sharps or flats were left out")
    return replace(
        song,
        tracks=[_lasting(track) for track in song.tracks] if short else song.tracks,
        tempos=_latest(song.tempos),
        metres=_latest(song.metres),
        keys=_latest(keys),
        repairs=repairs,
    )


def _track(track: Any) -> Track:
    found = track.notes.numpy()
    start, duration = found["time"], found["duration"]
    pitch, velocity = found["pitch"].astype(np.int32), found["velocity"].astype(np.int32)
    notes = _ordered(start, start + duration, pitch, velocity)
    controls = _rows(track.controls, "time", "number", "value")
    bends = _rows(track.pitch_bends, "time", "value")
    program = int(track.program)
    return Track(notes, track.name, program, track.is_drum, None, controls, bends)


def _rows(events: Any, *names: str) -> Ints:
    if not len(events):
        return np.zeros((0, len(names)), np.int32)
    found = events.numpy()
    return np.stack([found[name].astype(np.int32) for name in names], axis=1)


def _lasting(track: Track) -> Track:
    notes = track.notes
    end = np.maximum(notes.end, notes.start + 1)
    return replace(track, notes=_ordered(notes.start, end, notes.pitch, notes.velocity))


def _qpm(microseconds: int, name: str) -> float:
    if microseconds <= 0:
        raise MidiError(f"{name}: a tempo of 0 microseconds a beat, which is no tempo.")
    return 6e7 / microseconds


def _checked(song: Song, limits: Limits) -> Song:
    """The song, if its ticks are times a piece of music can have."""
    for tick, metre in song.metres:
        if not _is_metre(metre) or metre.beats * song.ticks_per_beat < 1:
            raise MidiError(f"{song.name}: a metre of {metre} at tick {tick}.")
    if _first(song) < 0:
        raise MidiError(f"{song.name}: damaged (something before its beginning).")
    if song.end > FARTHEST or song.end > limits.beats * song.ticks_per_beat:
        beats = song.end / song.ticks_per_beat
        raise MidiError(f"{song.name}: it claims to last {beats:,.0f} beats; this is no music.")
    if song.seconds > limits.seconds:
        raise MidiError(
            f"{song.name}: it claims to last {song.seconds / 3600:,.1f} hours; "
            f"at most {limits.seconds / 3600:g} are read."
        )
    if sum(count for _, _, count in song._bar_counts) > limits.bars:
        raise MidiError(f"{song.name}: over {limits.bars:,} bars; this is no music.")
    return song


def _is_metre(metre: Metre) -> bool:
    above, below = metre
    return 1 <= above <= 255 and 1 <= below <= 128 and below & (below - 1) == 0


def _first(song: Song) -> int:
    """The earliest tick in a song: below 0, where its ticks ran over what 32 bits hold."""
    maps = (song.tempos, song.metres, song.keys, song.markers)
    changes = [change.tick for part in maps for change in part]
    tables = [t for track in song.tracks for t in (track.controls[:, 0], track.bends[:, 0])]
    starts = [track.notes.start for track in song.tracks]
    return min([0, *changes, *(int(part.min(initial=0)) for part in (*tables, *starts))])


# --- what symusic does not tell: where a track ends, and its channel ---------------------------

SCANNED = 1 << 20  # bytes; beyond, nobody wants to wait for it

Event = tuple[int, int, int, int]  # tick, status, and two bytes


def _events(chunk: bytes) -> Iterator[Event]:
    """What is played in a track, and its meta events (status 255, kind, 0); IndexError if cut."""
    place = tick = running = 0
    while place < len(chunk):
        wait, place = _number(chunk, place)
        tick += wait
        status = chunk[place]
        place += status >= 0x80
        if status >= 0xF0:
            kind = chunk[place] if status == 0xFF else 0
            yield tick, status, kind, 0
            place = _after(chunk, place, status)
            continue
        running = status if status >= 0x80 else running
        two = running & 0xE0 != 0xC0
        yield tick, running, chunk[place], chunk[place + 1] if two else 0
        place += 1 + two


def _number(chunk: bytes, place: int) -> tuple[int, int]:
    """A number of up to four bytes, seven bits in each, and the place after it."""
    value = 0
    for at in range(place, place + 4):
        value = value << 7 | chunk[at] & 0x7F
        if chunk[at] < 0x80:
            return value, at + 1
    return value, place + 4


def _after(chunk: bytes, place: int, status: int) -> int:
    """Where a message ends that is not of a channel."""
    if status in (0xF0, 0xF7, 0xFF):
        size, place = _number(chunk, place + (status == 0xFF))
        return place + size
    return place + {0xF1: 1, 0xF2: 2, 0xF3: 1}.get(status, 0)


def _ending(song: Song, chunks: Sequence[bytes], limits: Limits) -> Song:
    """The song with its length: the end of its first track, if it lasts longer than the notes.

    Many programs end a track some ticks too late: that alone begins no bar.
    """
    if not chunks or len(chunks[0]) > SCANNED or _tail(chunks[0]) <= 1:
        return song
    length = _end_of(chunks[0])
    try:
        longer = _checked(replace(song, length=length), limits)
    except MidiError:
        return replace(song, repairs=[*song.repairs, "the silence it claims to end with was cut"])
    late = longer.end - song.end < song.ticks_per_beat / 4
    return song if late and len(longer.bars) > len(song.bars) else longer


def _tail(chunk: bytes) -> int:
    """The time between the last event of a track and its end, or more: read from behind."""
    if chunk[-3:] != b"\xff\x2f\x00":
        return 0
    start = len(chunk) - 4
    while start > max(len(chunk) - 7, 0) and chunk[start - 1] >= 0x80:
        start -= 1
    return _number(chunk, start)[0] if start >= 0 else 0


def _end_of(chunk: bytes) -> int:
    try:
        return max((event[0] for event in _events(chunk)), default=0)
    except IndexError:
        return 0


Print = tuple[int, bool, int, int, int]  # program, drums, notes, start and pitch of the first


def _with_channels(tracks: Sequence[Track], chunks: Iterable[bytes]) -> list[Track]:
    """The tracks with the channels they were on, known again by their notes, in their order."""
    found: dict[Print, deque[int]] = defaultdict(deque)
    try:
        for chunk in chunks:
            for print_, channel in _players(chunk):
                found[print_].append(channel)
    except IndexError:
        return list(tracks)
    prints = [_print(track) for track in tracks]
    counts = Counter(prints)
    sure = [counts[p] == len(found[p]) or len(set(found[p])) == 1 for p in prints]
    taken = [
        found[p].popleft() if known and found[p] else None
        for p, known in zip(prints, sure, strict=True)
    ]
    return [replace(t, channel=channel) for t, channel in zip(tracks, taken, strict=True)]


def _print(track: Track) -> Print:
    notes = track.notes
    return track.program, track.drums, len(notes), int(notes.start[0]), int(notes.pitch[0])


def _players(chunk: bytes) -> list[tuple[Print, int]]:
    """Who plays in a track, as symusic parts them, by channel and program; each with its channel.

    A note-off ends the oldest note of its pitch; a note belongs to the program it began with.
    """
    programs = [0] * 16
    open_: dict[tuple[int, int], deque[tuple[int, int]]] = defaultdict(deque)
    played: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for tick, status, first, second in _events(chunk):
        kind, channel = status & 0xF0, status & 0x0F
        if kind == 0xC0:
            programs[channel] = first
        elif kind == 0x90 and second:
            open_[channel, first].append((tick, programs[channel]))
        elif kind in (0x80, 0x90) and open_[channel, first]:
            start, program = open_[channel, first].popleft()
            played[channel, program].append((start, first))
    return [
        ((program, channel == DRUM_CHANNEL, len(notes), *min(notes)), channel)
        for (channel, program), notes in sorted(played.items())
    ]


# --- PrettyMIDI ---------------------------------------------------------------------------------


def _from_pretty_midi(found: "PrettyMIDI", name: str) -> Song:
    """A PrettyMIDI holds seconds; its own tempo map gives back the ticks they came from."""
    times, tempos = found.get_tempo_changes()
    ticks = _clock(found.resolution, times, tempos, name)

    def at(events: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        events = sorted(events, key=lambda event: event.time)
        return zip(ticks([event.time for event in events]).tolist(), events, strict=True)

    song = Song(
        tracks=[_heard(player, ticks, name) for player in found.instruments],
        ticks_per_beat=found.resolution,
        tempos=[Tempo(t, q) for t, q in zip(ticks(times).tolist(), tempos.tolist(), strict=True)],
        metres=[
            MetreChange(t, Metre(m.numerator, m.denominator))
            for t, m in at(found.time_signature_changes)
        ],
        keys=[Key(t, *_signature(k.key_number)) for t, k in at(found.key_signature_changes)],
        markers=[Marker(t, _mojibake(text.text)) for t, text in at(found.text_events)],
        name=name,
    )
    for track in song.tracks:
        _check_playable(track, name)
    return _mended(song)


Clock = Callable[[Any], Ints]


def _clock(resolution: int, times: Any, tempos: Any, name: str) -> Clock:
    """Seconds -> ticks, by the tempo that holds at each."""
    rates = resolution * tempos / 60  # ticks a second
    marks = np.concatenate([[0], np.cumsum(np.rint(np.diff(times) * rates[:-1]))])

    def ticks(seconds: Any) -> Ints:
        seconds = np.asarray(seconds, dtype=np.float64)
        place = np.maximum(np.searchsorted(times, seconds, side="right") - 1, 0)
        found = marks[place] + (seconds - times[place]) * rates[place]
        if not (np.abs(found) <= FARTHEST).all():
            raise MidiError(f"{name}: a time of {np.abs(seconds).max()} seconds.")
        return _rounded(found)

    return ticks


def _heard(player: "Instrument", ticks: Clock, name: str) -> Track:
    """One instrument of a PrettyMIDI."""
    notes = player.notes
    return Track(
        _ordered(
            ticks([note.start for note in notes]),
            ticks([note.end for note in notes]),
            np.array([note.pitch for note in notes], np.int32),
            np.clip(np.array([note.velocity for note in notes], np.int32), 1, 127),
        ),
        _mojibake(player.name),
        int(player.program),
        bool(player.is_drum),
        None,
        _in_time(ticks, [(c.time, c.number, c.value) for c in player.control_changes], 3),
        _in_time(ticks, [(bend.time, bend.pitch) for bend in player.pitch_bends], 2),
    )


def _in_time(ticks: Clock, rows: Sequence[Sequence[float]], width: int) -> Ints:
    """Rows whose first column is seconds -> in ticks; what comes at once stays in order."""
    table = np.array(sorted(rows, key=lambda row: row[0]), dtype=np.float64).reshape(-1, width)
    values = table[:, 1:].astype(np.int32)
    return np.concatenate([ticks(table[:, 0])[:, None], values], axis=1)


def _mojibake(text: str) -> str:
    """UTF-8 that pretty_midi read as Latin-1, by its default, read right."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _signature(number: int) -> tuple[int, bool]:
    """pretty_midi's key number (0 to 11 major, 12 to 23 minor) -> sharps, minor."""
    minor = number >= 12
    major = (number + 3) % 12 if minor else number
    return (major * 7 + 5) % 12 - 5, minor


def to_pretty_midi(song: Song) -> "PrettyMIDI":
    """The song as a `pretty_midi.PrettyMIDI`, its tempo map kept: read from what is written.

    Markers become its text events. Raises `MidiError` for what it cannot hold.
    """
    from pretty_midi import PrettyMIDI, Text

    try:
        made = PrettyMIDI(io.BytesIO(to_bytes(song)), charset="utf-8")
    except ValueError as error:
        raise MidiError(f"{song._called}: pretty_midi cannot hold it ({error}).") from error
    made.text_events = [Text(text, made.tick_to_time(tick)) for tick, text in song.markers]
    return made


# --- writing ------------------------------------------------------------------------------------


def to_bytes(song: Song) -> bytes:
    """The song as a MIDI file; each of its tracks ends where the song does.

    MIDI says of one pitch in one track only when it begins and when it ends: where such notes
    overlap, the first to begin becomes the first to end; no note is lost. Velocities are brought
    into 1 to 127, notes without length last one tick, and a change of tempo, metre or key after
    the end is left out. Raises `MidiError` for what a file cannot say, such as pitch 128.
    """
    _check_song(song)
    players = zip(song.tracks, _given_out(song.tracks), strict=True)
    return _file(
        1, song.ticks_per_beat, [_conductor(song), *(_part(t, c, song.end) for t, c in players)]
    )


def write(song: Song, path: str | Path) -> Path:
    """Write the song as a MIDI file, its folder made if absent; what stood there is replaced."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(song))
    return path


def _check_song(song: Song) -> None:
    name = song._called
    if not 1 <= song.ticks_per_beat < 1 << 15:
        raise MidiError(f"{name}: {song.ticks_per_beat} ticks a beat; write 1 to 32767.")
    if _first(song) < 0 or song.end > FARTHEST:
        raise MidiError(f"{name}: ticks {_first(song)} to {song.end}; write 0 to {FARTHEST}.")
    for tempo in song.tempos:
        if not 1 <= _microseconds(tempo) < 1 << 24:
            raise MidiError(f"{name}: a tempo of {tempo.qpm} a minute; a file says 3.6 or more.")
    for _, metre in song.metres:
        if not _is_metre(metre):
            raise MidiError(f"{name}: a metre of {metre}; below stands a power of 2, up to 128.")
    for key in song.keys:
        if abs(key.sharps) > 7:
            raise MidiError(f"{name}: a key of {key.sharps} sharps; there are -7 to 7.")
    for track in song.tracks:
        _check_playable(track, name)


def _check_playable(track: Track, name: str) -> None:
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


def _given_out(tracks: Sequence[Track]) -> list[int]:
    """A channel for each: drums on 10, others as they ask, or where nobody else is."""
    asked = [None if track.channel == DRUM_CHANNEL else track.channel for track in tracks]
    others = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    free = cycle([channel for channel in others if channel not in asked] or others)
    return [
        DRUM_CHANNEL if track.drums else next(free) if channel is None else channel
        for track, channel in zip(tracks, asked, strict=True)
    ]


def _microseconds(tempo: Tempo) -> int:
    """Of a quarter note, as a file says it."""
    return round(6e7 / tempo.qpm) if 0 < tempo.qpm < 1e9 else 0


def _conductor(song: Song) -> bytes:
    """The first track: what holds for all of them, as far as there is music."""
    events = [
        *((t, 0x59, struct.pack(">bB", sharps, minor)) for t, sharps, minor in _latest(song.keys)),
        *((t, 0x58, _metre_bytes(metre)) for t, metre in _latest(song.metres)),
        *((t.tick, 0x51, _microseconds(t).to_bytes(3, "big")) for t in _latest(song.tempos)),
        *((t, 0x06, text.encode("utf-8", "replace")) for t, text in song.markers),
    ]
    events = sorted((e for e in events if e[0] <= song.end), key=lambda event: event[0])
    events.append((song.end, 0x2F, b""))
    before = [0, *(tick for tick, _, _ in events)]
    return b"".join(
        _meta(kind, data, tick - last)
        for (tick, kind, data), last in zip(events, before, strict=False)
    )


def _metre_bytes(metre: Metre) -> bytes:
    return bytes([metre.numerator, metre.denominator.bit_length() - 1, 24, 8])


def _meta(kind: int, data: bytes, wait: int = 0) -> bytes:
    return _said(wait) + bytes([0xFF, kind]) + _said(len(data)) + data


def _said(number: int) -> bytes:
    """A number in as many bytes as it needs, seven bits in each: the reverse of `_number`."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(number & 0x7F | 0x80)
    return bytes(parts[::-1])


def _part(track: Track, channel: int, end: int) -> bytes:
    """One track; what ends at a tick comes before what begins."""
    name = _meta(0x03, track.name.encode("utf-8", "replace")) if track.name else b""
    program = bytes([0, 0xC0 | channel, track.program])
    notes, bends = _in_turn(track.notes), track.bends[:, 1] + 8192
    tick, messages = _in_order(
        _messages(notes.end, 0x80 | channel, notes.pitch, np.zeros_like(notes.pitch)),
        _messages(track.controls[:, 0], 0xB0 | channel, *track.controls[:, 1:].T),
        _messages(track.bends[:, 0], 0xE0 | channel, bends & 0x7F, bends >> 7),
        _messages(notes.start, 0x90 | channel, notes.pitch, np.clip(notes.velocity, 1, 127)),
    )
    rest = end - int(tick.max(initial=0))
    return name + program + _flattened(tick, messages) + _meta(0x2F, b"", max(rest, 0))


def _in_turn(notes: Notes) -> Notes:
    """The first to begin of a pitch is the first to end; each lasts a tick at least."""
    last = np.maximum(notes.end, notes.start + 1)
    end = np.empty_like(last)
    end[np.lexsort((notes.start, notes.pitch))] = last[np.lexsort((last, notes.pitch))]
    return replace(notes, end=end)


Messages = tuple[Ints, Ints]  # ticks (N,) and messages (N, 3)


def _messages(tick: Ints, status: int, first: Ints, second: Ints) -> Messages:
    return tick, np.stack([np.full_like(first, status), first, second], axis=1)


def _in_order(*parts: Messages) -> Messages:
    tick = np.concatenate([tick for tick, _ in parts])
    messages = np.concatenate([messages for _, messages in parts])
    order = np.argsort(tick, kind="stable")
    return tick[order], messages[order]


def _flattened(tick: Ints, messages: Ints) -> bytes:
    """Each message behind the time since the one before, all at once: see `_said`."""
    wait = np.diff(tick, prepend=0)[:, None]
    shifts = np.array([21, 14, 7, 0])
    parts = wait >> shifts & 0x7F | np.where(shifts > 0, 0x80, 0)
    said = (wait >> shifts > 0) | (shifts == 0)
    everything = np.concatenate([parts, messages], axis=1).astype(np.uint8)
    return everything[np.concatenate([said, np.ones_like(messages, dtype=bool)], axis=1)].tobytes()
