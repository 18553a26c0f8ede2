"""Phrases: the bars of a song that stand for it, for they come again and are full of notes."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..errors import Refused
from .notes import Ints, Metre, Notes, joined
from .song import Bars, Song

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]

STEPS = 4  # a beat: the grid on which bars are compared
LONGEST = 384  # bars of a song that are looked at
MOST = 4096  # steps of a bar that are told apart
PERIOD = 4  # bars: phrases begin at multiples of it
INTERVALS = 25  # what a note does at its step: the octave down to the octave up
ALIKE, SAME = 0.65, 0.9  # likeness from which two phrases begin to count as one, and do
WEIGHTS = {"repeated": 3.0, "full": 3.0, "begins": 2.0, "varied": 1.0}
EARLY = 0.02  # what the song's first bar has before its last
OTHER_METRE, MIXED = 0.5, 0.4  # what a phrase in another metre, or in several, is worth


class Phrase(NamedTuple):
    """Some bars of a song: the first of them as people count, from 1, and where they lie.

    `metre` is that of its first bar. `short` says that the song ends before as many bars as were
    asked for; `bars` are those there are.
    """

    start_bar: int
    bars: int
    start: int  # ticks
    end: int
    metre: Metre
    score: float = 0.0  # 0 to 1
    why: str = ""
    short: bool = False


def phrase_at(song: Song, bar: int, bars: int) -> Phrase:
    """The phrase that begins at a bar, counted from 1. Raises `Refused` beyond the song's end."""
    count = len(song.bars)
    if not 1 <= bar <= count:
        has = f"{count} bar{'s' * (count != 1)}"
        raise Refused(
            f"bar {bar}: {song.name or 'the song'} has {has}; choose one of 1 to {count}."
        )
    return _phrase(song.bars, bar - 1, bars, 1.0, "asked for")


def phrases(
    song: Song, parts: Mapping[str, Notes], bars: int = 4, metre: Metre | None = None
) -> list[Phrase]:
    """Every phrase of so many bars with a note in it, the most telling first, then the earliest.

    Its score is the weighted mean of: repeated, how often it comes again in the song, in other
    keys too; full, the share of beats on which notes begin, of bars that are no rests, and of
    parts that play; begins, whether a phrase begins there: after a rest, and a multiple of four
    bars from the first; and varied, its pitches. Phrases in another metre than the one asked for,
    or in several, come after. A song that is shorter is one phrase, marked as short.

    Raises `Refused` where the parts have no note.
    """
    if bars < 1:
        raise Refused(f"bars = {bars}: a phrase has 1 bar or more.")
    sheet = _Sheet(song, parts)
    count = sheet.count - bars + 1
    if count < 1:
        first = max(min(sheet.first, len(song.bars) - bars), 0)
        return [_phrase(song.bars, first, bars, 1.0, "all there is")]
    marks = {
        "repeated": sheet.repeated(bars),
        "full": sheet.full(bars),
        "begins": sheet.begins()[:count],
        "varied": sheet.varied(bars),
    }
    total = sum(WEIGHTS[name] * marks[name] for name in WEIGHTS) / sum(WEIGHTS.values())
    late = EARLY * np.arange(count) / count
    scores = np.round(np.maximum(total * sheet.metres(bars, metre) - late, 0), 4)
    kept = np.flatnonzero(marks["full"] > 0)
    ranked = kept[np.argsort(-scores[kept], kind="stable")].tolist()
    return [
        _phrase(song.bars, i, bars, float(scores[i]), _why(marks, i, sheet, bars)) for i in ranked
    ]


def sections(
    song: Song, parts: Mapping[str, Notes], bars: int = PERIOD, *, at: int | None = None
) -> list[Phrase]:
    """A song as phrases of so many bars, one after the other, those that are silent left out.

    They are cut where phrases begin: of the places for the first, the one from which on most of
    all begin as `phrases` has it; or the first begins `at` a bar, counted from 1. All are in the
    metre of most bars, and begin anew behind bars in another. The last may lack a quarter, and is
    marked as short. A song without any such phrase is one.

    Raises `Refused` where the parts have no note, and for a bar that the song does not have, or
    that none follows.

    >>> from seqvae.midi import TICKS, Track, notes_of
    >>> tune = notes_of([(i * TICKS, (i + 1) * TICKS, 60 + i % 7, 80) for i in range(44)])
    >>> [found[:2] for found in sections(Song([Track(tune)]), {"melody": tune})]
    [(1, 4), (5, 4), (9, 3)]
    """
    if bars < 1:
        raise Refused(f"bars = {bars}: a phrase has 1 bar or more.")
    sheet = _Sheet(song, parts)
    asked = None if at is None else phrase_at(song, at, bars).start_bar - 1
    starts = [start for start in sheet.cut(bars, asked) if sheet.heard[start : start + bars].any()]
    if not starts and asked is not None and not sheet.heard[asked:].any():
        raise Refused(f"bar {at}: {song.name or 'the song'} has no note of its parts from there.")
    alone = max(min(sheet.first, len(song.bars) - bars), 0) if asked is None else asked
    return [_phrase(song.bars, start, bars, 1.0, "in order") for start in starts or [alone]]


def first_full(song: Song, parts: Mapping[str, Notes]) -> int:
    """The bar, counted from 1, with which the parts begin: that after a pickup, or after rests.

    A bar whose notes are all in its second half is a pickup. Raises `Refused` where there is no
    note.
    """
    return int(_Sheet(song, parts)._first_full()) + 1


def likeness(song: Song, parts: Mapping[str, Notes], bars: int) -> Singles:
    """How alike the phrases of so many bars are that begin at any two bars (N, N), 0 to 1.

    The mean over their bars and parts of Dice's coefficient of what begins where, pitches by the
    interval from the note before, so that a phrase is like itself in another key. Row 0 begins
    with the song's first bar; the last rows end with the last bar that has a note, or with that
    `LONGEST` after the first. Raises `Refused` where there is no note.
    """
    sheet = _Sheet(song, parts)
    return _along(sheet._likeness(), bars) if sheet.count >= bars else np.zeros((0, 0), np.float32)


def off_grid(song: Song, notes: Notes, steps: int = STEPS) -> float:
    """The share of notes that begin farther than a quarter of a step from the grid of the bars.

    About 0 for what was written, 0.5 for what was played without a click.
    """
    if not len(notes):
        return 0.0
    bars = song.bars.start
    since = notes.start - bars[np.searchsorted(bars, notes.start, side="right") - 1]
    at = since * (steps / song.ticks_per_beat)
    return float((np.abs(at - np.round(at)) > 0.25).mean())


def _phrase(found: Bars, first: int, bars: int, score: float, why: str) -> Phrase:
    last = min(first + bars, len(found))
    metres = dict.fromkeys(map(str, found.metre[first:last]))
    if len(metres) > 1:
        why += f"; in {' and '.join(metres)}"
    start, end = int(found.start[first]), int(found.start[last])
    short = last - first < bars
    why += f"; {last - first} of {bars} bars" * short
    return Phrase(first + 1, last - first, start, end, found.metre[first], score, why, short)


def _why(marks: Mapping[str, Floats], i: int, sheet: "_Sheet", bars: int) -> str:
    again = sheet.again(bars)[i]
    times = "comes once" if again < 0.5 else f"comes {round(again) + 1} times"
    begins = ", begins where a phrase does" * bool(marks["begins"][i] >= 0.5)
    return f"{times}, {marks['full'][i]:.0%} full{begins}"


class _Sheet:
    """The parts of a song by bar and step; arrays over bars (N,), of notes in the bar of each."""

    def __init__(self, song: Song, parts: Mapping[str, Notes]) -> None:
        self.parts = {name: notes for name, notes in parts.items() if len(notes)}
        if not self.parts:
            raise Refused(
                f"{song.name or 'the song'}: no note in {', '.join(parts) or 'no part'}."
            )
        self.asked = len(parts)
        self.found, self.beat = song.bars, song.ticks_per_beat
        self.step = self.beat / STEPS  # ticks
        self.all = joined(self.parts.values())
        place, _ = self._places(self.all)
        self.first = int(place.min())
        self.count = min(int(place.max()) + 1, self.first + LONGEST, len(self.found))
        self.start: Ints = self.found.start[: self.count + 1]
        self.kinds = np.array([hash(metre) for metre in self.found.metre[: self.count]])
        self._again: dict[int, Floats] = {}

    def _places(self, notes: Notes) -> tuple[Ints, Ints]:
        """The bar and the step in it of each note, the nearest.

        What is early by half a step is in the next bar, if it sounds in it.
        """
        at = notes.start + int(self.step / 2)
        starts = self.found.start
        bar = np.searchsorted(starts, np.minimum(at, notes.end - 1), side="right") - 1
        bar = np.minimum(bar, len(self.found) - 1)
        return bar.astype(np.int32), ((at - starts[bar]) / self.step).astype(np.int32)

    def _counted(self, bar: Ints) -> Floats:
        return np.bincount(bar[bar < self.count], minlength=self.count).astype(np.float64)

    # --- in order ---

    @cached_property
    def heard(self) -> Bools:
        """Whether a note begins in each bar (N,)."""
        return self._counted(self._places(self.all)[0]) > 0

    def cut(self, bars: int, at: int | None) -> list[int]:
        """Where phrases begin, one after the other: from a bar on, or from where they fit best."""
        usual = Counter(self.kinds.tolist()).most_common(1)[0][0]  # of two alike, the earlier
        fits = self.kinds == usual
        if at is not None:
            return _cut(fits, at, bars)
        begins = self.begins()
        cuts = [_cut(fits, self.first + i, bars) for i in range(bars)]
        return max(cuts, key=lambda starts: float(begins[starts].sum()))

    # --- repetition ---

    def again(self, bars: int) -> Floats:
        """How often the phrase from each bar on comes again, where it does not overlap itself."""
        if bars not in self._again:
            alike = np.clip((_along(self._likeness(), bars) - ALIKE) / (SAME - ALIKE), 0, 1)
            self._again[bars] = _apart(alike, bars)
        return self._again[bars]

    def repeated(self, bars: int) -> Floats:
        """Of n times again n / (n + 2): half for a phrase that is heard three times."""
        again = self.again(bars)
        return again / (again + 2)

    def _likeness(self) -> Singles:
        """How alike any two bars are, (N, N): the mean over the parts of Dice's coefficient.

        2 |A and B| / (|A| + |B|) over what a bar has: that a note begins at a step, and by what
        interval from the note before (drums: which). Rests are like nothing.
        """
        total = np.zeros((self.count, self.count), np.float32)
        for name, notes in self.parts.items():
            marks = self._marks(name, notes)
            sizes = marks.sum(axis=1)
            both = sizes[:, None] + sizes
            total += 2 * (marks @ marks.T) / np.maximum(both, 1)
        total[self.kinds[:, None] != self.kinds] = 0
        return total / np.float32(self.asked)

    def _marks(self, name: str, notes: Notes) -> Singles:
        """What each bar of a part has, as zeros and ones (N, F)."""
        bar, step = self._places(notes)
        if name == "drums":
            what = notes.pitch % INTERVALS
        else:
            top = np.append((np.diff(bar) != 0) | (np.diff(step) != 0), True)
            bar, step = bar[top], step[top]
            moves = np.diff(notes.pitch[top], prepend=notes.pitch[top][:1])
            what = np.clip(moves, -12, 12) + 12
        inside = bar < self.count
        bar, step, what = bar[inside], np.minimum(step[inside], MOST - 1), what[inside]
        used, column = np.unique(step * (INTERVALS + 1) + 1 + what, return_inverse=True)
        steps, other = np.unique(step, return_inverse=True)
        marks = np.zeros((self.count, len(used) + len(steps)), np.float32)
        marks[bar, column] = 1
        marks[bar, len(used) + other] = 1
        return marks

    # --- fullness, beginnings, variety, metre ---

    def full(self, bars: int) -> Floats:
        """The share of beats with an onset, times the shares of bars and of parts that play."""
        beats = np.diff(self.start) / self.beat
        onsets = [self._onsets(notes) for notes in self.parts.values()]
        shares = [_sums(each, bars) / _sums(np.maximum(beats, 1), bars) for each in onsets]
        playing = sum((_sums(each, bars) > 0).astype(np.float64) for each in onsets) / self.asked
        sounding = _sums(np.any(onsets, axis=0).astype(np.float64), bars) / bars
        return np.minimum(sum(shares) / self.asked, 1) * sounding * playing

    def _onsets(self, notes: Notes) -> Floats:
        """On how many beats of each bar a note begins."""
        bar, step = self._places(notes)
        cells = np.unique(bar.astype(np.int64) * MOST + np.minimum(step // STEPS, MOST - 1))
        return self._counted((cells // MOST).astype(np.int32))

    def begins(self) -> Floats:
        """How much each bar is like a phrase's first (N,).

        Half for lying a multiple of four bars (a quarter: two) after the first full bar, three
        tenths for a rest of a beat before it, or before its pickup, a fifth for a note on its
        first step. A bar that is but a pickup begins nothing.
        """
        since = np.arange(self.count) - self._first_full()
        square = np.where(since % PERIOD == 0, 0.5, np.where(since % 2 == 0, 0.25, 0.0))
        bar, step = self._places(self.all)
        downbeat = self._counted(bar[step == 0]) > 0
        marks = square + 0.3 * self._rested() + 0.2 * downbeat
        return np.where(since < 0, 0.0, marks)

    def _first_full(self) -> int:
        """The first bar that begins with music: after one with notes in its second half only."""
        bar, step = self._places(self.all)
        half = np.diff(self.start)[self.first] / self.step / 2
        pickup = int(step[bar == self.first].min()) >= half and self.first + 1 < self.count
        return self.first + pickup

    def _rested(self) -> Bools:
        """Whether a beat of silence ends at a bar's beginning, or half a bar or less before."""
        start, end = self.all.start, np.maximum.accumulate(self.all.end)
        silent = np.append(True, start[1:] - end[:-1] >= self.beat)
        ends = start[silent] + int(self.step / 2)
        bar = np.searchsorted(self.start, ends, side="right") - 1
        late = np.minimum(bar, self.count - 1)
        half = self.start[late] + np.diff(self.start)[late] / 2
        # An entry in the second half of a bar is the pickup to the next.
        at = bar + (ends >= half)
        early = ends < self.start[late] + self.beat
        return self._counted(at[early | (ends >= half)]) > 0

    def varied(self, bars: int) -> Floats:
        """The share of six that a phrase's pitches are, at most 1."""
        bar, _ = self._places(self.all)
        inside = bar < self.count
        heard = np.zeros((self.count, 128))
        heard[bar[inside], self.all.pitch[inside]] = 1
        return np.minimum((_sums(heard, bars) > 0).sum(axis=1) / 6, 1)

    def metres(self, bars: int, metre: Metre | None) -> Floats:
        """1 where a phrase is all in the metre asked for, or in any one; less elsewhere."""
        wanted = self.kinds if metre is None else np.full(self.count, hash(metre))
        one = _sums((self.kinds[1:] != self.kinds[:-1]).astype(np.float64), bars - 1) == 0
        own = _sums((self.kinds != wanted).astype(np.float64), bars) == 0
        return np.where(one, 1.0, MIXED) * np.where(own, 1.0, OTHER_METRE)


def _cut(fits: Bools, first: int, bars: int) -> list[int]:
    """Where phrases begin whose bars all fit, from a bar on; the last may lack a quarter."""
    starts, at = [], first
    while at < len(fits):
        run = fits[at : at + bars]
        whole = bool(run.all()) and 4 * len(run) >= 3 * bars
        starts += [at] * whole
        at += bars if whole else 1
    return starts


def _sums(values: Floats, width: int) -> Floats:
    """Sums of so many neighbours (N - width + 1, ...)."""
    if width == 0:
        return np.zeros((len(values) + 1, *values.shape[1:]))
    whole = np.cumsum(np.concatenate([np.zeros((1, *values.shape[1:])), values]), axis=0)
    return np.round(whole[width:] - whole[:-width], 9)


def _along(likeness: Singles, bars: int) -> Singles:
    """How alike the phrases from any two bars on are: the mean along the diagonal."""
    count = len(likeness) - bars + 1
    total = np.zeros((count, count), likeness.dtype)
    for k in range(bars):
        total += likeness[k : k + count, k : k + count]
    return total / np.float32(bars)


def _apart(alike: Singles, bars: int) -> Floats:
    """Of what is like each phrase (N, N), the sum over the others (N,).

    What is like a phrase is like its neighbours too: the best is taken of those that lie about
    the same number of phrases away.
    """
    count = len(alike)
    reach = -(-count // bars) * bars + bars // 2  # the column of each row's own phrase
    width = 2 * reach + bars
    away = np.zeros(count * width, alike.dtype)
    # Row i begins i places earlier: a column is a distance.
    strides = ((width - 1) * away.itemsize, away.itemsize)
    as_strided(away[reach:], alike.shape, strides)[:] = alike
    table = away.reshape(count, width)
    table[:, reach - bars + 1 : reach + bars] = 0
    whole = width // bars * bars
    groups = [table[:, k:whole:bars] for k in range(bars)]
    return np.maximum.reduce(groups).sum(axis=1, dtype=np.float64)
