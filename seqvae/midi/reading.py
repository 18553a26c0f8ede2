"""Any MIDI file as a song, safely: it is loaded, or refused by name and reason; symusic parses."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import symusic

from .notes import Key, Marker, Metre, MetreChange, Tempo
from .pretty import from_pretty_midi
from .raw import SCANNED, ending, tidied, unwrapped, with_channels
from .scores import tracks_of
from .song import LIMITS, Limits, MidiError, Song, checked, mended

if TYPE_CHECKING:
    from pretty_midi import PrettyMIDI

Source = Union[str, Path, bytes, "PrettyMIDI"]
ENDINGS = (".mid", ".midi", ".kar", ".rmi")  # of the names of MIDI files


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
    return checked(from_pretty_midi(source, name or "the PrettyMIDI object"), limits)


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
    data = unwrapped(data)
    if not data.startswith(b"MThd"):
        raise MidiError(f"{name}: {_what(data)}, not MIDI: it does not begin with MThd.")
    data, chunks, repairs = tidied(data, name, limits)
    score, clamped = _score(data, name)
    _check_size(score, name, limits)
    song = _song(score, name, [*repairs, *clamped])
    if channels and len(data) <= SCANNED:
        song = replace(song, tracks=with_channels(song.tracks, chunks))
    return ending(checked(song, limits), chunks, limits)


def _what(data: bytes) -> str:
    """What a file that is no MIDI seems to be."""
    if not data.strip(b"\0"):
        return "empty" if not data else "nothing but zeros"
    if data.lstrip()[:1] == b"<":
        return "a web page"
    return "something else"


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
        tracks=tracks_of(score),
        ticks_per_beat=score.tpq,
        tempos=[Tempo(tempo.time, _qpm(tempo.mspq, name)) for tempo in score.tempos],
        metres=metres,
        keys=keys,
        markers=[Marker(marker.time, marker.text) for marker in score.markers],
        name=name,
        repairs=repairs,
    )
    return mended(song)


def _qpm(microseconds: int, name: str) -> float:
    if microseconds <= 0:
        raise MidiError(f"{name}: a tempo of 0 microseconds a beat, which is no tempo.")
    return 6e7 / microseconds
