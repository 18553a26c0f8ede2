"""A song as the bytes of a MIDI file, and as a file.

The bytes are our own: symusic's writer gives out channels itself and ends every track where its
last note does.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np

from .notes import Ints, Metre, Notes, Tempo, latest
from .raw import file_of
from .song import (
    DRUM_CHANNEL,
    FARTHEST,
    MidiError,
    Song,
    Track,
    check_playable,
    earliest,
    is_metre,
)


def to_bytes(song: Song) -> bytes:
    """The song as a MIDI file; each of its tracks ends where the song does.

    MIDI says of one pitch in one track only when it begins and when it ends: where such notes
    overlap, the first to begin becomes the first to end; no note is lost. Velocities are brought
    into 1 to 127, notes without length last one tick, and a change of tempo, metre or key after
    the end is left out. Raises `MidiError` for what a file cannot say, such as pitch 128.
    """
    _check_song(song)
    players = zip(song.tracks, _given_out(song.tracks), strict=True)
    return file_of(
        1, song.ticks_per_beat, [_conductor(song), *(_part(t, c, song.end) for t, c in players)]
    )


def write(song: Song, path: str | Path) -> Path:
    """Write the song as a MIDI file, its folder made if absent; what stood there is replaced."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(song))
    return path


def _check_song(song: Song) -> None:
    name = song.called
    if not 1 <= song.ticks_per_beat < 1 << 15:
        raise MidiError(f"{name}: {song.ticks_per_beat} ticks a beat; write 1 to 32767.")
    if earliest(song) < 0 or song.end > FARTHEST:
        raise MidiError(f"{name}: ticks {earliest(song)} to {song.end}; write 0 to {FARTHEST}.")
    for tempo in song.tempos:
        if not 1 <= _microseconds(tempo) < 1 << 24:
            raise MidiError(f"{name}: a tempo of {tempo.qpm} a minute; a file says 3.6 or more.")
    for _, metre in song.metres:
        if not is_metre(metre):
            raise MidiError(f"{name}: a metre of {metre}; below stands a power of 2, up to 128.")
    for key in song.keys:
        if abs(key.sharps) > 7:
            raise MidiError(f"{name}: a key of {key.sharps} sharps; there are -7 to 7.")
    for track in song.tracks:
        check_playable(track, name)


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
        *((t, 0x59, struct.pack(">bB", sharps, minor)) for t, sharps, minor in latest(song.keys)),
        *((t, 0x58, _metre_bytes(metre)) for t, metre in latest(song.metres)),
        *((t.tick, 0x51, _microseconds(t).to_bytes(3, "big")) for t in latest(song.tempos)),
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
    """A number in as many bytes as it needs, seven bits in each: the reverse of `raw._number`."""
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
