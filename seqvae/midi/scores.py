"""Tracks as symusic's score, which other libraries take, and back."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import symusic

from .notes import Ints, ordered
from .song import Track


def to_score(tracks: Iterable[Track], ticks_per_beat: int) -> Any:
    """The notes, programs and names of some tracks.

    >>> from .notes import notes_of
    >>> score = to_score([Track(notes_of([(0, 4, 60, 80)]), program=33)], 4)
    >>> [(track.program, len(track.notes)) for track in score.tracks], tracks_of(score)[0].program
    ([(33, 1)], 33)
    """
    score: Any = symusic.Score(ticks_per_beat)
    for track in tracks:
        score.tracks.append(_to_track(track))
    return score


def _to_track(track: Track) -> Any:
    start, end, pitch, velocity = track.notes.table.T
    columns = start, end - start, pitch.astype(np.int8), velocity.astype(np.int8)
    found: Any = symusic.Track(name=track.name, program=track.program, is_drum=track.drums)
    found.notes = symusic.Note.from_numpy(*map(np.ascontiguousarray, columns))
    return found


def tracks_of(score: Any) -> list[Track]:
    """Its tracks that have notes, with their controls and bends."""
    return [_track(track) for track in score.tracks if len(track.notes)]


def _track(track: Any) -> Track:
    found = track.notes.numpy()
    start, duration = found["time"], found["duration"]
    pitch, velocity = found["pitch"].astype(np.int32), found["velocity"].astype(np.int32)
    notes = ordered(start, start + duration, pitch, velocity)
    controls = _rows(track.controls, "time", "number", "value")
    bends = _rows(track.pitch_bends, "time", "value")
    program = int(track.program)
    return Track(notes, track.name, program, track.is_drum, None, controls, bends)


def _rows(events: Any, *names: str) -> Ints:
    if not len(events):
        return np.zeros((0, len(names)), np.int32)
    found = events.numpy()
    return np.stack([found[name].astype(np.int32) for name in names], axis=1)
