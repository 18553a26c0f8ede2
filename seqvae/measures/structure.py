"""How music is built: bars that come again, chord tones, the feel of drums, and what is copied."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..codecs.voices import KIT, PLACE
from ..errors import Refused, check_sizes
from ..midi import Bars, Notes
from ..midi.clips import DRUMS, Clip
from .onsets import FINE, Struck, alike, moves, struck

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAME = 0.8  # how alike phrases are that count as one
MINUTE = 6e4  # milliseconds


# --- bars that come again ------------------------------------------------------------------------


def self_similarity(clip: Clip, steps: int = FINE) -> Floats:
    """How alike every two bars of a clip are, wherever they are transposed to (N, N), 0 to 1.

    F1 of their notes, by the step in the bar and the pitch, under the best transposition of the
    one   (`onsets.alike`). Nothing is known of two bars without a note: nan.

    >>> from seqvae.midi import notes_of
    >>> rows = [(0, 480, 60, 80), (960, 1920, 64, 80), (1920, 2400, 67, 80), (2880, 3840, 71, 80)]
    >>> self_similarity(Clip({"melody": notes_of([*rows, (5760, 6240, 60, 80)])}, 7680)).round(2)
    array([[1.  , 1.  , 0.  , 0.67],
           [1.  , 1.  , 0.  , 0.67],
           [0.  , 0.  ,  nan, 0.  ],
           [0.67, 0.67, 0.  , 1.  ]])
    """
    bars = _bars(clip, steps)
    found = np.full((len(bars), len(bars)), np.nan)
    for i, one in enumerate(bars):
        for j, other in enumerate(bars[: i + 1]):
            if one or other:
                found[i, j] = found[j, i] = alike(one, other).notes
    return found


def _bars(clip: Clip, steps: int) -> Sequence[Struck]:
    """What begins in each bar of a clip, the steps counted from its bar line."""
    bar = steps * clip.metre.beats
    count = max(round(clip.length / clip.bar), 1)
    bars: list[dict[tuple[str, int], frozenset[int]]] = [{} for _ in range(count)]
    for (part, step), pitches in struck(clip, steps).items():
        at = min(int(step / bar), count - 1)
        bars[at][part, step - round(at * bar)] = pitches
    return bars


def by_lag(similarity: Floats) -> Floats:
    """The mean of each diagonal off the main one (N - 1,): bars 1, 2, … apart; nan of none."""
    count = len(similarity)
    return np.array([_mean(np.diagonal(similarity, lag)) for lag in range(1, count)])


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def repeated(similarity: Floats, bars: int = 1, least: float = SAME) -> float:
    """The share of phrases of so many bars that come again in a piece; nan of none.

    A phrase comes again where another, which it does not overlap, is as much like it as `least`:
    the mean over their bars. Phrases with a bar of which nothing is known, one that rests in both,
    are compared by the others; one that rests all the time comes again nowhere and counts not.

    Raises `Refused` for phrases of no bar.

    >>> repeated(np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]]))
    0.6666666666666666
    """
    check_sizes(bars=bars)
    count = len(similarity) - bars + 1
    again = []
    for i in range(max(count, 0)):
        # A phrase is wholly unknown beside itself only where it rests.
        if np.isnan(_along(similarity, i, i, bars)):
            continue
        others = [_along(similarity, i, j, bars) for j in range(count) if abs(i - j) >= bars]
        again.append(any(other >= least for other in others))
    return float(np.mean(again)) if again else float("nan")


def _along(similarity: Floats, i: int, j: int, bars: int) -> float:
    return _mean(np.array([similarity[i + k, j + k] for k in range(bars)]))


def structure(samples: Sequence[Clip], data: Sequence[Clip], steps: int = FINE) -> dict[str, Any]:
    """Of samples and of data: how alike their bars are, by how far they lie apart, and repeated.

    `bar_similarity` is the mean over items of the mean off the diagonal, `bar_repeated` the share
    of bars that come again, each with `_real`, that of the data; lists `bar_similarity_by_lag` go
    as far as the longest item. None where no item has two bars with a note among them.
    """
    found: dict[str, Any] = {}
    for end, clips in (("", samples), ("_real", data)):
        every = [self_similarity(clip, steps) for clip in clips]
        lags = [by_lag(each) for each in every]
        off = np.array([_mean(each[np.triu_indices(len(each), 1)]) for each in every])
        again = np.array([repeated(each) for each in every if len(each) > 1])
        found[f"bar_similarity{end}"] = _known(off)
        found[f"bar_repeated{end}"] = _known(again)
        found[f"bar_similarity_by_lag{end}"] = [_known(each) for each in _columns(lags)]
    return found


def _known(values: Floats) -> float | None:
    mean = _mean(values)
    return None if np.isnan(mean) else mean


def _columns(rows: Sequence[Floats]) -> list[Floats]:
    """The first entries of all rows that have one, the second, …"""
    longest = max(map(len, rows), default=0)
    return [np.array([row[at] for row in rows if len(row) > at]) for at in range(longest)]


# --- chord tones ---------------------------------------------------------------------------------

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
DEGREES = (0, 2, 4, 5, 7, 9, 11)  # of the major scale
QUALITIES = {  # the shorthands of Harte et al. (2005), and some that annotations use
    "maj": "1,3,5",
    "min": "1,b3,5",
    "dim": "1,b3,b5",
    "aug": "1,3,#5",
    "maj7": "1,3,5,7",
    "min7": "1,b3,5,b7",
    "7": "1,3,5,b7",
    "dim7": "1,b3,b5,bb7",
    "hdim7": "1,b3,b5,b7",
    "minmaj7": "1,b3,5,7",
    "maj6": "1,3,5,6",
    "min6": "1,b3,5,6",
    "9": "1,3,5,b7,9",
    "maj9": "1,3,5,7,9",
    "min9": "1,b3,5,b7,9",
    "sus2": "1,2,5",
    "sus4": "1,4,5",
    "1": "1",
    "5": "1,5",
    "": "1,3,5",
}
LABEL = re.compile(r"([A-G][#b]*)(?::([a-z0-9]*)(?:\(([^()]*)\))?)?(?:/([#b]*\d+))?")


class Chord(NamedTuple):
    """The pitch classes of a chord, and from which tick to which it holds; none: no chord."""

    start: int
    end: int
    classes: frozenset[int]


def chord_classes(label: str) -> frozenset[int]:
    """The pitch classes of a chord as annotators write it   (Harte et al., 2005); none of "N".

    Root, shorthand, degrees added or with * left out, and the bass, which is among them.

    Raises `Refused` for what is no such label.

    >>> [sorted(chord_classes(label)) for label in ("C:maj", "A:min7/b3", "Bb:sus4(b7)", "N")]
    [[0, 4, 7], [0, 4, 7, 9], [3, 5, 8, 10], []]
    """
    if label in ("N", "X"):
        return frozenset()
    found = LABEL.fullmatch(label)
    if found is None or (found[2] or "") not in QUALITIES:
        raise Refused(
            f"chord {label!r}: write it as C:maj, A:min7/b3 or N; a shorthand is one of "
            f"{', '.join(filter(None, QUALITIES))}."
        )
    root, quality, extra, bass = found.groups()
    plain = "1" if quality == "" and extra else QUALITIES[quality or ""]
    degrees = [*plain.split(","), *filter(None, [*(extra or "").split(","), bass])]
    gone = {_degree(degree[1:]) for degree in degrees if degree.startswith("*")}
    kept = {_degree(degree) for degree in degrees if not degree.startswith("*")} - gone
    home = LETTERS[root[0]] + _accidentals(root)
    return frozenset((home + semitones) % 12 for semitones in kept)


def _degree(text: str) -> int:
    """Semitones above the root: "b3" is 3. Raises `Refused` for no degree."""
    number = text.lstrip("#b")
    if not number.isdecimal() or not int(number):
        raise Refused(f"degree {text!r} of a chord: write it as 3, b7 or #11.")
    return (DEGREES[(int(number) - 1) % 7] + _accidentals(text)) % 12


def _accidentals(text: str) -> int:
    return text.count("#") - text.count("b")


def strong_beats(bars: Bars) -> list[int]:
    """The ticks of the strong beats: of every bar the first, of even ones of 4 or more the middle.

    The first and third beat of 4/4, the first and fourth eighth of 6/8, the first of 3/4 and 2/4.

    >>> from seqvae.midi import Metre
    >>> strong_beats(Bars(np.array([0, 1920, 3360], np.int32), [Metre(4, 4), Metre(3, 4)]))
    [0, 960, 1920]
    """
    found = []
    edges = bars.start.tolist()
    for start, end, metre in zip(edges, edges[1:], bars.metre, strict=False):
        halved = metre.numerator >= 4 and metre.numerator % 2 == 0
        found += [start, (start + end) // 2] if halved else [start]
    return found


class ChordTones(NamedTuple):
    """How many of some notes are of the chord that holds.

    `chance` is what the same notes share with the chords of all these moments, in any order.
    """

    share: float | None
    chance: float | None
    notes: int


def chord_tones(
    notes: Notes, chords: Sequence[Chord], at: Iterable[int], early: int = 0
) -> ChordTones:
    """The share of notes that sound at some ticks, say `strong_beats`, and are of the chord there.

    Moments without a chord are left out. None where nothing sounds at any other.

    Arguments:
        early: ticks by which a note may come before its chord, or after the tick.

    >>> from seqvae.midi import notes_of
    >>> tune = notes_of([(0, 480, 60, 80), (480, 960, 62, 80), (960, 1920, 65, 80)])
    >>> chords = [Chord(0, 960, frozenset({0, 4, 7})), Chord(960, 1920, frozenset({0, 5, 9}))]
    >>> chord_tones(tune, chords, [0, 480, 960])
    ChordTones(share=0.6666666666666666, chance=0.4444444444444444, notes=3)
    """
    held: list[tuple[int, frozenset[int]]] = []
    for tick in at:
        chord = next((c.classes for c in chords if c.start <= tick < c.end), frozenset())
        sounding = (notes.start <= tick + early) & (notes.end > tick + early)
        held += [(pitch % 12, chord) for pitch in notes.pitch[sounding].tolist() if chord]
    if not held:
        return ChordTones(None, None, 0)
    inside = sum(pitch in chord for pitch, chord in held)
    any_order = sum(pitch in chord for pitch, _ in held for _, chord in held)
    return ChordTones(inside / len(held), any_order / len(held) ** 2, len(held))


# --- the feel of drums ---------------------------------------------------------------------------


def groove(pairs: Iterable[tuple[Clip, Clip]], steps: int = 4) -> dict[str, Any]:
    """How far reconstructions are from how drums were played: velocity, and time from the grid.

    Of strokes of the same drum at the same step, in original and reconstruction: the mean absolute
    difference of velocities, 1 to 127, and of where they lie around the step, in milliseconds at
    the original's tempo. Of several at one step the loudest counts. Beside it the floors: who
    plays each drum at its mean velocity over all originals, and who plays on the grid. None where
    nothing is struck in both; how many are is `groove_strokes`, of `groove_true`.

    `groove_drums` has the same of each of the nine that has strokes.

    Raises `Refused` for a grid of no step.
    """
    check_sizes(steps=steps)
    tables = [_strokes(one, other, steps) for one, other in pairs]
    true = sum(count for count, _ in tables)
    rows = np.concatenate([np.zeros((0, 5)), *(table for _, table in tables)])
    each = [
        {"drum": name, **_groove(rows[rows[:, 0] == place])}
        for place, name in enumerate(KIT)
        if (rows[:, 0] == place).any()
    ]
    flat = sum(one["velocity_flat"] * one["strokes"] for one in each)
    whole = _groove(rows) | ({"velocity_flat": flat / len(rows)} if each else {})
    named = {f"groove_{name}": value for name, value in whole.items()}
    return {**named, "groove_true": true, "groove_drums": each}


def _groove(rows: Floats) -> dict[str, Any]:
    """Rows (drum, velocity, other velocity, ms, other ms) -> their errors and floors."""
    _, loud, again, ms, ms_again = rows.T
    return {
        "strokes": len(rows),
        "velocity": _known(np.abs(loud - again)),
        "velocity_flat": _known(np.abs(loud - loud.mean())) if len(rows) else None,
        "timing": _known(np.abs(ms - ms_again)),
        "timing_grid": _known(np.abs(ms)),
    }


def _strokes(one: Clip, other: Clip, steps: int) -> tuple[int, Floats]:
    """How many strokes the one has, and those that both have, as `_groove` has them (N, 5)."""
    ms = MINUTE / one.qpm / steps
    first, second = (_played(clip, steps) for clip in (one, other))
    rows = [
        (drum, loud, second[drum, step][0], ms * late, ms * second[drum, step][1])
        for (drum, step), (loud, late) in first.items()
        if (drum, step) in second
    ]
    return len(first), np.array(rows, np.float64).reshape(-1, 5)


def _played(clip: Clip, steps: int) -> dict[tuple[int, int], tuple[int, float]]:
    """(drum, step) -> velocity, and how late it is, in steps."""
    notes = clip.part(DRUMS)
    at = notes.start * steps / clip.ticks_per_beat
    step = np.floor(at + 0.5)
    columns = (PLACE[notes.pitch], step.astype(int), notes.velocity, at - step)
    rows = sorted(zip(*(column.tolist() for column in columns), strict=True), key=lambda r: r[2])
    return {(drum, place): (velocity, late) for drum, place, velocity, late in rows}


# --- what is copied ------------------------------------------------------------------------------


class Copied(NamedTuple):
    """The longest run of each item that stands in others, in moves, and how many moves it has."""

    longest: Ints  # (N,)
    moves: Ints  # (N,)

    @property
    def share(self) -> Floats:
        """Of each item with a move, how much of it the run is (M,)."""
        return self.longest[self.moves > 0] / self.moves[self.moves > 0]


def copied(clips: Sequence[Clip], known: Iterable[Clip], steps: int = FINE) -> Copied:
    """How long a run of each clip stands somewhere in the known ones, in any key.

    A run is of moves, (interval, inter-onset) from each onset of a part to the next
    (`onsets.moves`), so n of them are n + 1 notes. Of several parts the longest run counts, and
    the moves of the longest part.

    >>> from seqvae.midi import notes_of
    >>> def tune(*pitches: int) -> Clip:
    ...     rows = [(480 * i, 480 * i + 480, pitch, 80) for i, pitch in enumerate(pitches)]
    ...     return Clip({"melody": notes_of(rows)}, 480 * len(pitches))
    >>> copied([tune(62, 64, 66, 60)], [tune(60, 62, 64, 65), tune(60, 54)]).longest.tolist()
    [2]
    """
    asked = [(at, line) for at, clip in enumerate(clips) for line in _lines(clip, steps)]
    lessons = [line for clip in known for line in _lines(clip, steps)]
    runs = longest_runs([line for _, line in asked], lessons)
    longest, length = np.zeros((2, len(clips)), np.int64)
    for (at, line), run in zip(asked, runs.tolist(), strict=True):
        longest[at], length[at] = max(longest[at], run), max(length[at], len(line))
    return Copied(longest, length)


def _lines(clip: Clip, steps: int) -> list[Ints]:
    """The moves of every part as one number each."""
    found = (moves(clip, part, steps).astype(np.int64) for part in clip.parts)
    return [rows[:, 0] << 32 | rows[:, 1] for rows in found]


def longest_runs(asked: Sequence[Ints], known: Sequence[Ints]) -> Ints:
    """How long a run of each sequence (T,) stands in some known sequence, 0 if nothing does (N,).

    Runs of n that stand in both give those of n + 1: only where two begin one after the other.

    >>> longest_runs([np.array([1, 2, 3, 9]), np.array([7])], [np.array([5, 1, 2, 3])]).tolist()
    [3, 0]
    """
    sequences = [*asked, *known]
    item = np.repeat(np.arange(len(sequences)), [len(each) for each in sequences])
    _, run = np.unique(_chain(sequences), return_inverse=True)  # each run of n, by a number
    at = np.arange(len(run))  # where it begins
    found, length = np.zeros(len(asked), np.int64), 0
    while len(at):
        kept = _in_both(run, item[at] < len(asked))
        at, run, length = at[kept], run[kept], length + 1
        own = item[at]
        found[own[own < len(asked)]] = length
        pair = (np.diff(at) == 1) & (np.diff(own) == 0)
        _, run = np.unique(run[:-1][pair] * (len(item) + 1) + run[1:][pair], return_inverse=True)
        at = at[:-1][pair]
    return found


def _chain(sequences: Sequence[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *sequences])


def _in_both(run: Ints, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which runs stand both among what is asked and among what is known."""
    return np.isin(run, run[asked]) & np.isin(run, run[~asked])


def copies(
    samples: Sequence[Clip], data: Sequence[Clip], known: Sequence[Clip], steps: int = FINE
) -> dict[str, Any]:
    """How much of samples, and of held-out data, stands in what was learnt from   (`copied`).

    `copy_share` is the mean over items of the longest run's share, `copy_moves` its mean length,
    `copy_moves_high` the length that 5 % reach or pass, and `copy_whole` the share of items that
    are one run, each with `_real`, that of the data; `copy_above` is the share of samples with a
    longer run than 95 % of the data have. None of items without a move. The lengths of all
    are in the lists `copy_lengths`.
    """
    found: dict[str, Any] = {"copy_known": len(known)}
    both = copied([*samples, *data], known, steps)
    parts = {"": slice(len(samples)), "_real": slice(len(samples), None)}
    for end, part in parts.items():
        own = Copied(both.longest[part], both.moves[part])
        moving = own.longest[own.moves > 0]
        figures = {
            "share": _known(own.share),
            "moves": _known(moving.astype(np.float64)),
            "moves_high": float(np.quantile(moving, 0.95)) if len(moving) else None,
            "whole": _known((own.share == 1).astype(np.float64)),
            "lengths": moving.tolist(),
        }
        found |= {f"copy_{name}{end}": value for name, value in figures.items()}
    high = found["copy_moves_high_real"]
    above = [length > high for length in found["copy_lengths"]] if high is not None else []
    return {**found, "copy_above": float(np.mean(above)) if above else None}
