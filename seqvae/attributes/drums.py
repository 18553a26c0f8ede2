"""Attributes of drumming: clips, of which the part "drums" is looked at.

Which of the nine drums a note is, the codecs say. A beat is a quarter note. What is undefined, as
nearly everything is of a clip without strokes, is NaN.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ..codecs.voices import KIT, PLACE
from ..midi import Notes
from ..midi.clips import DRUMS, Clip
from .attribute import Attribute

KICK, SNARE, HATS = ("kick",), ("snare",), ("closed hi-hat", "open hi-hat")
NEAR = 1 / 8  # of a beat: what lies nearer to a beat is on it
DIVIDES = (3 / 8, 7 / 8)  # of a beat: where what divides it in two may lie


def struck(clip: Clip, drums: tuple[str, ...]) -> Notes:
    """The strokes of some of the nine drums."""
    notes = clip.part(DRUMS)
    places = [list(KIT).index(name) for name in drums]
    return notes[np.isin(PLACE[notes.pitch], places)]


def kick_density(clip: Clip) -> float:
    """How often the kick is struck; strokes a beat."""
    return _density(clip, KICK)


def hat_density(clip: Clip) -> float:
    """How often the hi-hat is struck, closed or open; strokes a beat."""
    return _density(clip, HATS)


def _density(clip: Clip, drums: tuple[str, ...]) -> float:
    return len(struck(clip, drums)) * clip.ticks_per_beat / clip.length


def backbeat(clip: Clip) -> float:
    """The share of the beats 2 and 4 on which the snare is struck; 0 to 1.

    In other metres than 4/4 of every second beat of a bar; undefined where a bar is not an even
    number of quarter notes, and of a clip without strokes.
    """
    beats = clip.metre.beats
    if beats % 2 or not len(clip.part(DRUMS)):
        return math.nan
    count = round(clip.length / clip.ticks_per_beat)
    wanted = np.arange(1, count, 2)
    beat, away = _places(struck(clip, SNARE), clip)
    hit = np.isin(wanted, beat[np.abs(away) <= NEAR])
    return float(hit.mean()) if len(wanted) else math.nan


def swing(clip: Clip) -> float:
    """Where the beat is divided: the mean place of its second half; 0.5 straight, 2/3 triplets.

    Of the beats in which something is struck at one place only between 3/8 and 7/8 of the beat,
    and at none before it but on the beat. Undefined where there is no such beat. A grid of four
    steps a beat knows no place but 0.5 and 0.75.
    """
    at = clip.part(DRUMS).start / clip.ticks_per_beat
    beat, place = np.divmod(at, 1)
    inside = (place > NEAR) & (place < 1 - NEAR)
    found = []
    for one in np.unique(beat[inside]):
        places = np.unique(place[inside & (beat == one)])
        if len(places) == 1 and DIVIDES[0] < places[0] < DIVIDES[1]:
            found.append(places[0])
    return float(np.mean(found)) if found else math.nan


def _places(notes: Notes, clip: Clip) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The beat nearest to each stroke, and how far from it, in beats."""
    at = notes.start / clip.ticks_per_beat
    beat = np.floor(at + 0.5)
    return beat.astype(np.int64), at - beat


DRUMMING = (
    Attribute("kick_density", "strokes a beat", kick_density),
    Attribute("hat_density", "strokes a beat", hat_density),
    Attribute("backbeat", "share of beats 2 and 4", backbeat),
    Attribute("swing", "place in the beat", swing),
)
