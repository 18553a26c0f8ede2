"""Attributes of melodies: clips, of which the part "melody" is looked at.

Of a clip without a part of that name it is all that has pitch. A beat is a quarter note. What is
undefined, as nearly everything is of a clip without notes, is NaN.
"""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..midi import Metre, Notes, joined
from ..midi.clips import DRUMS, Clip
from ..midi.keys import fits
from .attribute import Attribute, Edit

Ints = NDArray[np.int64]

PART = "melody"
SIXTEENTH = 16  # the finest division of a whole note that counts in a metre
LEAP = 2  # semitones: a wider interval is no step


def line(clip: Clip) -> Notes:
    """The notes of a clip's melody."""
    if PART in clip.parts:
        return clip.part(PART)
    return joined(notes for name, notes in clip.parts.items() if name != DRUMS)


# --- pitch ---------------------------------------------------------------------------------------


def register(clip: Clip) -> float:
    """The mean pitch of the notes, each counted once; MIDI numbers, 60 is middle C."""
    pitch = line(clip).pitch
    return float(pitch.mean()) if len(pitch) else math.nan


def pitch_range(clip: Clip) -> float:
    """From the lowest note to the highest; semitones."""
    pitch = line(clip).pitch
    return float(np.ptp(pitch)) if len(pitch) else math.nan


def average_interval(clip: Clip) -> float:
    """The mean size of the interval from each note to the next; semitones."""
    sizes = _intervals(clip)
    return float(sizes.mean()) if len(sizes) else math.nan


def leap_share(clip: Clip) -> float:
    """The share of intervals wider than two semitones; 0 to 1."""
    sizes = _intervals(clip)
    return float((sizes > LEAP).mean()) if len(sizes) else math.nan


def _intervals(clip: Clip) -> Ints:
    """Semitones from each note to the next, up or down."""
    return np.abs(np.diff(line(clip).pitch.astype(np.int64)))


def mode(clip: Clip) -> float:
    """How much more major than minor the notes are: the difference of two correlations, -2 to 2.

    That of the major key whose profile fits best, less that of the minor key   (`keys.fits`, with
    Temperley's profiles). A relative minor has the scale of its major, so most clips lie near 0.
    """
    fit = fits(line(clip)) if len(line(clip)) else None
    return math.nan if fit is None else float(fit[:12].max() - fit[12:].max())


# --- rhythm --------------------------------------------------------------------------------------


def note_density(clip: Clip) -> float:
    """How many notes begin; onsets a beat. Notes that begin together are one onset."""
    return len(np.unique(line(clip).start)) * clip.ticks_per_beat / clip.length


def rest_ratio(clip: Clip) -> float:
    """The share of the clip's length in which nothing sounds; 0 to 1."""
    notes = line(clip)
    if not len(notes):
        return 1.0
    ends = np.maximum.accumulate(notes.end)  # of what has begun so far
    gaps = np.maximum(notes.start[1:] - ends[:-1], 0).sum()
    silent = notes.start[0] + gaps + max(clip.length - int(ends[-1]), 0)
    return float(silent / clip.length)


def syncopation(clip: Clip) -> float:
    """How much notes lead past stronger places than their own; levels of the metre a bar.

        sum over notes of max(0, max over places r after its onset, before the next, w(r) - w(n))

    with w the metrical `weights`: a note on a weak place which nothing follows on a stronger one
    (Longuet-Higgins and Lee, The rhythmic interpretation of monophonic music, 1984; the sum as in
    Fitch and Rosenfeld, 2007). The last note is followed by the clip's end.
    """
    notes = line(clip)
    if not len(notes):
        return math.nan
    weight = weights(clip.metre)
    place = len(weight) / clip.bar  # places a tick
    total = round(clip.length * place)
    onsets = np.unique(np.floor(notes.start * place + 0.5).astype(np.int64))
    onsets = onsets[onsets < total]
    found = 0
    for onset, following in pairwise([*onsets.tolist(), total]):
        passed = weight[np.arange(onset, following) % len(weight)]
        found += int(passed.max() - passed[0])
    return found * clip.bar / clip.length


def weights(metre: Metre) -> Ints:
    """The weight of each place of a bar, 0 for its first: minus the level at which it appears.

    A bar is divided by the prime factors of its numerator, twos first, then halved to sixteenths.

    >>> weights(Metre(4, 4)).tolist()
    [0, -4, -3, -4, -2, -4, -3, -4, -1, -4, -3, -4, -2, -4, -3, -4]
    >>> weights(Metre(6, 8)).tolist()
    [0, -3, -2, -3, -2, -3, -1, -3, -2, -3, -2, -3]
    """
    found = np.zeros(1, np.int64)
    halvings = [2] * (max(SIXTEENTH // metre.denominator, 1).bit_length() - 1)
    for level, parts in enumerate([*_primes(metre.numerator), *halvings], 1):
        finer = np.full((len(found), parts), -level)
        finer[:, 0] = found
        found = finer.ravel()
    return found


def _primes(number: int) -> list[int]:
    """Its prime factors, the smallest first.

    >>> _primes(12), _primes(1)
    ([2, 2, 3], [])
    """
    least = next((n for n in range(2, number + 1) if number % n == 0), None)
    return [] if least is None else [least, *_primes(number // least)]


def repetition(clip: Clip) -> float:
    """How much of each bar an earlier one has said: the mean over bars with notes, but the first.

    Of bars as sets of (sixteenth in the bar, pitch), the largest of Dice's coefficients
    2 |A and B| / (|A| + |B|) with the bars before; 0 to 1. Undefined where fewer than two bars
    have notes.
    """
    notes = line(clip)
    step = clip.ticks_per_beat / (SIXTEENTH // 4)
    first = np.floor((notes.start + step / 2) / clip.bar).astype(np.int64)
    place = np.floor((notes.start - first * clip.bar) / step + 0.5).astype(np.int64)
    bars: dict[int, set[tuple[int, int]]] = {}
    for bar, at, pitch in zip(first.tolist(), place.tolist(), notes.pitch.tolist(), strict=True):
        bars.setdefault(bar, set()).add((at, pitch))
    said = list(bars.values())  # in order, as the notes are
    best = [max(dice(bar, other) for other in said[:i]) for i, bar in enumerate(said) if i]
    return float(np.mean(best)) if best else math.nan


def dice(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> float:
    """2 |A and B| / (|A| + |B|) of two sets that are not both empty."""
    return 2 * len(one & other) / (len(one) + len(other))


# --- by hand -------------------------------------------------------------------------------------


def transposed(clip: Clip, semitones: float) -> Clip:
    """A clip moved by the nearest whole number of semitones, one at least."""
    return clip.moved(_whole(semitones))


def thinned(clip: Clip, fewer: float) -> Clip:
    """A clip with so many notes a beat left out, evenly spread; one note at least stays.

    >>> from seqvae.midi import notes_of
    >>> notes = notes_of([(480 * beat, 480 * beat + 240, 60, 80) for beat in range(8)])
    >>> len(thinned(Clip({"melody": notes}, 8 * 480), 0.5).part("melody"))
    4
    """
    count = fewer * clip.length / clip.ticks_per_beat
    parts = {}
    for name, notes in clip.parts.items():
        kept = max(len(notes) - round(count), min(len(notes), 1))
        places = np.linspace(0, len(notes) - 1, kept).round().astype(int)
        parts[name] = notes if name == DRUMS else notes[places]
    return replace(clip, parts=parts)


def _whole(semitones: float) -> int:
    return round(semitones) or (1 if semitones > 0 else -1)


def _moved_by(semitones: float) -> str:
    up, way = abs(_whole(semitones)), "up" if semitones > 0 else "down"
    return f"{up} semitones {way}" if up > 1 else f"a semitone {way}"


TRANSPOSED = Edit(transposed, _moved_by, clean=True)
THINNED = Edit(lambda clip, more: thinned(clip, -more), lambda _: "notes left out", strength=-1.0)

MELODY = (
    Attribute("note_density", "onsets a beat", note_density, THINNED),
    Attribute("syncopation", "levels a bar", syncopation),
    Attribute("range", "semitones", pitch_range),
    Attribute("register", "MIDI pitch", register, TRANSPOSED),
    Attribute("average_interval", "semitones", average_interval),
    Attribute("leap_share", "share of intervals", leap_share),
    Attribute("rest_ratio", "share of the time", rest_ratio),
    Attribute("repetition", "share of a bar", repetition),
    Attribute("mode", "major less minor correlation", mode),
)
