"""The chunks of a MIDI file; and what symusic does not tell: a track's end and its channel."""

import struct
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from .song import DRUM_CHANNEL, Limits, MidiError, Song, Track, checked

SCANNED = 1 << 20  # bytes; beyond, nobody wants to wait for it


def unwrapped(data: bytes) -> bytes:
    """The MIDI inside a RIFF file, as some programs wrap it."""
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        return data[max(data.find(b"MThd"), 0) :]
    return data


def tidied(data: bytes, name: str, limits: Limits) -> tuple[bytes, list[bytes], list[str]]:
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
    return file_of(form, division, chunks), chunks, repairs


def file_of(form: int, division: int, chunks: Sequence[bytes]) -> bytes:
    """The chunks behind a header that counts them."""
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


def ending(song: Song, chunks: Sequence[bytes], limits: Limits) -> Song:
    """The song with its length: the end of its first track, if it lasts longer than the notes.

    Many programs end a track some ticks too late: that alone begins no bar.
    """
    if not chunks or len(chunks[0]) > SCANNED or _tail(chunks[0]) <= 1:
        return song
    length = _end_of(chunks[0])
    try:
        longer = checked(replace(song, length=length), limits)
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


Print = tuple[int, bool, int, int, int]  # program, drums, notes, start and pitch of the first


def with_channels(tracks: Sequence[Track], chunks: Iterable[bytes]) -> list[Track]:
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
