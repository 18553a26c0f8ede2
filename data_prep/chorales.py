"""Chorales as the field shares them: one JSON file of splits, pieces and steps of four pitches.

    {"train": [[[74, 70, 65, 58], ...], ...], "valid": [...], "test": [...]}

A step is a sixteenth; its four numbers are the pitches that soprano, alto, tenor and bass sing
then, -1 (or null, or NaN) where one rests. The JSB chorales of Boulanger-Lewandowski et al. (2012)
come so, in sixteenths and by voice, as Huang et al. (2017, Coconet, section 5) train on them.

What such a file does not say, and how it is read here:

- *Whether a pitch that stays is held or sung again.* It has no onsets. A note is read as held as
  long as its pitch stays: the fewest notes that say the same steps, so that repeated notes are one
  (17 % of the soprano's notes last a half, and many of them were two syllables).
- *The metre.* None is stated: it is the one that is asked for, 4/4 by default. Most pieces are in
  4/4 (354 of 382 of the JSB chorales have a whole number of bars, or a beat more); a tenth or so
  is in 3/4, of which windows begin on beats.
- *Where the bars lie.* Pieces end with a bar, so what their length has above whole bars is the
  pickup: chords of a half or more begin five times in six on the first beat or the third so.
  The pickup stands at the end of a bar of its own, as in a score.
- *The tempo.* 90 quarter notes a minute.

No piece stands twice, in any key. Hymns that Bach set more than once do: of 326 beginnings
of sopranos, 25 pitches each, 20 occur in more than one split. The published split is
kept nevertheless.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqvae.errors import Refused
from seqvae.midi import TICKS, Metre, MetreChange, Notes, Song, Tempo, Track, notes_of
from seqvae.midi.clips import LOUD
from seqvae.midi.parts import CHOIR

Pitches = NDArray[np.int64]

ENDINGS = (".json", ".json.gz")
LARGEST = 100_000_000  # bytes, unpacked
BEGINS = re.compile(rb'\s*\{\s*"(train|training|valid|validation|val|dev|test|testing)"\s*:\s*\[')
SIXTEENTH = TICKS // 4
QPM = 90.0
VOICES = 52  # General MIDI's "Choir Aahs", as programs count from 0
REST = -1


def holds_chorales(path: Path) -> bool:
    """Whether a file is one of chorales: by its ending, and by how it begins."""
    if not path.name.lower().endswith(ENDINGS) or not path.is_file():
        return False
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return BEGINS.match(file.read(200)) is not None
    except (OSError, EOFError, zlib.error):
        return False


@lru_cache(2)
def read_chorales(path: str, changed: int) -> dict[str, list[bytes]]:
    """Split, as the file calls it -> its pieces, each as the bytes of its JSON.

    `changed` tells a file from what stood there before. Raises `Refused` for what is damaged.
    """
    try:
        with gzip.open(path) if path.lower().endswith(".gz") else Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise Refused(f"{path}: over {LARGEST:,} bytes; chorales are not so many. Split it.")
        splits = json.loads(data)
        return {
            str(split): [json.dumps(piece).encode() for piece in pieces]
            for split, pieces in splits.items()
        }
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{path} is damaged ({error}). Fetch it again.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(
            f"{path} is no JSON of chorales ({error}): it is to be an object of splits, each a "
            "list of pieces, each a list of steps of four pitches."
        ) from error


def chorale(data: bytes, name: str = "", metre: Metre | None = None) -> Song:
    """A piece (JSON of its steps) as a song of four tracks, in a metre, 4/4 unless one is named.

    Raises `Refused` for what is no list of steps of four pitches.

    >>> song = chorale(b"[[72, 67, 64, 48], [72, 67, 62, -1]]")
    >>> [track.name for track in song.tracks]
    ['Soprano', 'Alto', 'Tenor', 'Bass']
    >>> [len(track.notes) for track in song.tracks]
    [1, 1, 2, 1]
    """
    steps = _steps(data, name)
    metre = metre or Metre(4, 4)
    bar = round(16 * metre.numerator / metre.denominator)
    late = -len(steps) % bar
    tracks = [
        Track(_sung(lane, late), voice.capitalize(), VOICES)
        for voice, lane in zip(CHOIR, steps.T, strict=True)
    ]
    length = (late + len(steps)) * SIXTEENTH
    return Song(
        [track for track in tracks if len(track.notes)],
        TICKS,
        tempos=[Tempo(0, QPM)],
        metres=[MetreChange(0, metre)],
        length=length,
        name=name,
    )


def _steps(data: bytes, name: str) -> Pitches:
    """The pitches of a piece (T, 4), `REST` for rests."""
    try:
        rows = [[REST if _is_rest(pitch) else pitch for pitch in row] for row in json.loads(data)]
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(f"{name}: no list of steps ({error}).") from error
    for place, row in enumerate(rows):
        if len(row) != len(CHOIR):
            raise Refused(
                f"{name}, step {place}: {len(row)} pitches, not {len(CHOIR)}, so that nobody can "
                "tell which voice rests. Write -1 for a rest."
            )
        for pitch in row:
            if type(pitch) not in (int, float) or pitch % 1 or not REST <= pitch <= 127:
                raise Refused(f"{name}, step {place}: pitch {pitch!r}; it lies in 0 to 127.")
    return np.array(rows, dtype=np.int64).reshape(-1, len(CHOIR))


def _is_rest(pitch: Any) -> bool:
    return pitch is None or pitch == REST or pitch != pitch  # the last is NaN


def _sung(lane: Pitches, late: int) -> Notes:
    """The notes of a voice's pitches (T,): each as long as its pitch stays."""
    edges = np.flatnonzero(np.diff(lane, prepend=REST - 1, append=REST - 1))
    spans = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return notes_of(
        ((late + a) * SIXTEENTH, (late + b) * SIXTEENTH, int(lane[a]), int(LOUD))
        for a, b in spans
        if lane[a] != REST
    )


def pieces_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """The pieces of a file by name, "train/0": in order, each as the bytes of its JSON."""
    for split, pieces in read_chorales(str(path), path.stat().st_mtime_ns).items():
        yield from ((f"{split}/{place}", data) for place, data in enumerate(pieces))


def piece_of(path: str, member: str) -> bytes:
    """One of them. Raises `Refused` for one that is not there, or a file that is damaged."""
    split, _, place = member.rpartition("/")
    found: Sequence[bytes] = read_chorales(path, Path(path).stat().st_mtime_ns).get(split, [])
    if not (place.isdecimal() and int(place) < len(found)):
        raise Refused(f"{path} has no piece {member}.")
    return found[int(place)]
