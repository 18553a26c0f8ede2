"""PrettyMIDI in and out: its objects count in seconds, a song in ticks."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .notes import Ints, Key, Marker, Metre, MetreChange, Tempo, ordered, rounded
from .song import FARTHEST, MidiError, Song, Track, check_playable, mended
from .writing import to_bytes

if TYPE_CHECKING:
    from pretty_midi import Instrument, PrettyMIDI


def from_pretty_midi(found: "PrettyMIDI", name: str) -> Song:
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
        check_playable(track, name)
    return mended(song)


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
        return rounded(found)

    return ticks


def _heard(player: "Instrument", ticks: Clock, name: str) -> Track:
    """One instrument of a PrettyMIDI."""
    notes = player.notes
    return Track(
        ordered(
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
        raise MidiError(f"{song.called}: pretty_midi cannot hold it ({error}).") from error
    made.text_events = [Text(text, made.tick_to_time(tick)) for tick, text in song.markers]
    return made
