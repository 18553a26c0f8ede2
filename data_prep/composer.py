"""Songs out of nothing: harmony, motifs, bass and drums by the rules of a band, attributes known.

Chords, melody and bass are thought in degrees of a scale (0 is the tonic, 7 the tonic above), as
musicians do; a degree becomes a pitch where a chord sounds, so a motif moves diatonically.
Times are counted in sixteenths until the band plays.
"""

import random
import re
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from seqvae.corpus import Replacing
from seqvae.midi import TICKS, Key, Marker, Metre, MetreChange, Song, Tempo, Track, notes_of, write

Attributes = Mapping[str, str | float]
T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

STEP = TICKS // 4  # ticks of a sixteenth
MOST_MS = 15.0  # how far a human note may lie from its place
SPLITS = ("train", "valid", "test", *["train"] * 7)  # song by song, again and again

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
MAJOR_KEYS = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
MINOR_KEYS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"]
KEYS = {"major": MAJOR_KEYS, "minor": MINOR_KEYS}
MODES = {"major": 0.6, "minor": 0.4}

TWELVE_BARS = "12-bar"
BLUES = {
    "major": "I7-I7-I7-I7-IV7-IV7-I7-I7-V7-IV7-I7-V7",
    "minor": "i-i-i-i-iv-iv-i-i-VI-V7-i-V7",
}
LOOPS = {
    "major": [
        "I-V-vi-IV",
        "vi-IV-I-V",
        "I-vi-IV-V",
        "I-vi-ii-V7",
        "I-IV-I-V",
        "I-IV-ii-V",
        "I-iii-IV-V",
        "IV-V-iii-vi",
        "ii7-V7-I-vi",
        "IV-iv-I-V7",
        "I-bVII-IV-I",
        "I-V-vi-iii-IV-I-IV-V",
        "ii7-V7-I-IV-ii7-V7-I-I",
    ],
    "minor": [
        "i-VI-III-VII",
        "i-VII-VI-VII",
        "i-VII-VI-V",
        "i-iv-VII-III",
        "i-VI-iv-V7",
        "i-III-VII-IV",
        "VI-VII-i-i",
        "i-v-VI-iv",
        "i-iv-V7-i",
        "i-iv-VII-III-VI-ii°-V7-i",
    ],
}
PROGRESSIONS = {mode: [*LOOPS[mode], TWELVE_BARS] for mode in SCALES}
FORMS = {"AB": 0.15, "AAB": 0.15, "ABA": 0.15, "ABB": 0.1, "ABAB": 0.25, "AABA": 0.2}

DENSITIES = {"sparse": 0.25, "medium": 0.45, "dense": 0.3}
SYNCOPATIONS = {"none": 0.35, "light": 0.35, "strong": 0.3}
FEELS = {"straight": 0.5, "human": 0.5}
METRES = {(4, 4): 0.76, (3, 4): 0.14, (6, 8): 0.1}


class Composed(NamedTuple):
    """A song, and what is true of it."""

    song: Song
    attributes: Attributes


def compose(
    seed: int,
    *,
    metre: tuple[int, int] | None = None,
    key: str | None = None,
    mode: str | None = None,
    tempo: int | None = None,
    progression: str | None = None,
    density: str | None = None,
    syncopation: str | None = None,
    groove: str | None = None,
    feel: str | None = None,
) -> Composed:
    """A song of 16 to 32 bars for melody, chords, bass and drums; what is None is drawn.

    A seed gives the same song for ever. To set one attribute leaves the others as they were, if
    they go with it: so two songs can be had that differ in it alone. A pickup is a bar more.

    The progression is the verse's and `chorus` the chorus's, in numerals a bar, but for the last
    two bars, which close; `bass` and `form` name those. Two numbers say what the melody came to:
    `notes_per_beat`, a quarter note, and `syncopations_per_bar`, its notes that begin off a beat
    and sound over the next; they rise with `density` and `syncopation`.

    >>> song, attributes = compose(0, key="D", mode="minor", metre=(3, 4))
    >>> [track.name for track in song.tracks], attributes["key"], attributes["groove"]
    (['melody', 'chords', 'bass', 'drums'], 'D', 'waltz')
    """
    wishes = {"key": key, "density": density, "syncopation": syncopation, "feel": feel}
    plan = _planned(seed, wishes, metre, mode, tempo, progression, groove)
    bars = _bars(plan)
    melody = _Melodist(plan, bars, _Dice(f"{seed} melody")).melody()
    parts = {
        "melody": melody,
        "chords": _comped(plan, bars, _Dice(f"{seed} chords")),
        "bass": _bass_line(plan, bars, _Dice(f"{seed} bass")),
        "drums": _drummed(plan, bars, _Dice(f"{seed} drums")),
    }
    tracks = [_track(name, part, plan, len(bars), seed) for name, part in parts.items()]
    return Composed(_song(plan, bars, tracks), _attributes(plan, bars, melody))


def write_songs(folder: str | Path, count: int, seed: int) -> list[Path]:
    """Write so many songs as MIDI files, and `index.tsv`: file, split, and their attributes.

    The same every time, and the first ones of a larger count; one song in ten is for validation
    and one for the test.
    """
    folder = Path(folder)
    dice = _Dice(f"{seed} songs")
    rows: list[Mapping[str, str | float]] = []
    paths = []
    for number in range(count):
        song, attributes = compose(dice.between(0, 2**48))
        paths.append(write(song, folder / f"song-{number:05d}.mid"))
        split = SPLITS[number % len(SPLITS)]
        rows.append({"file": paths[-1].name, "split": split, **attributes})
    with Replacing(folder / "index.tsv") as file:
        lines = [list(rows[0]) if rows else ["file", "split"], *(row.values() for row in rows)]
        file.writelines(("\t".join(map(str, line)) + "\n").encode() for line in lines)
    return paths


class _Dice:
    """Choices from `random()` alone: the one method Python promises never to change."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def between(self, low: int, high: int) -> int:
        """low … high, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def weigh(self, weights: Mapping[H, float]) -> H:
        """One of the keys, as likely as its weight says."""
        left = self.random() * sum(weights.values())
        for choice, weight in weights.items():
            if left < weight:
                return choice
            left -= weight
        return choice


# Harmony and form ---------------------------------------------------------------------------


class Grid(NamedTuple):
    """A metre in sixteenths."""

    bar: int
    beat: int
    strong: tuple[int, ...]  # where in a bar the ear expects the harmony


GRIDS = {(4, 4): Grid(16, 4, (0, 8)), (3, 4): Grid(12, 4, (0,)), (6, 8): Grid(12, 6, (0, 6))}


class _Chord(NamedTuple):
    """A chord and the scale around it: what it alters, it alters for whoever plays over it."""

    root: int
    scale: tuple[int, ...]  # semitones of the seven degrees above the tonic
    seventh: bool

    @property
    def tones(self) -> list[int]:
        """Its degrees, from the root up."""
        return [self.root + above for above in (0, 2, 4, 6)[: 3 + self.seventh]]

    def pitch(self, degree: int) -> int:
        """Semitones of a degree above the tonic."""
        return 12 * (degree // 7) + self.scale[degree % 7]

    def nearest(self, degree: int, among: Iterable[int] | None = None) -> int:
        """The chord tone (or the one of these) nearest to a degree, in any octave."""
        classes = {tone % 7 for tone in (self.tones if among is None else among)}
        offsets = (0, -1, 1, -2, 2, -3, 3)
        return next(degree + by for by in offsets if (degree + by) % 7 in classes)


NUMERAL = re.compile(r"(b?)([ivIV]+)(°?)(7?)")
ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii")


def _chord(numeral: str, mode: str) -> _Chord:
    found = NUMERAL.fullmatch(numeral)
    assert found is not None
    flat, roman, diminished, seventh = found.groups()
    root, scale = ROMAN.index(roman.lower()), list(SCALES[mode])
    base = scale[root] - len(flat)
    thirds = (0, 4 if roman.isupper() else 3, 6 if diminished else 7, 10)
    for place, above in zip(range(root, root + 7, 2), thirds[: 3 + len(seventh)], strict=False):
        scale[place % 7] = base + above - 12 * (place // 7)
    return _Chord(root, tuple(scale), bool(seventh))


@dataclass(frozen=True)
class _Plan:
    """What is decided before the first note."""

    metre: tuple[int, int]
    mode: str
    key: str
    tempo: int
    progression: str
    chorus: str
    form: str
    density: str
    syncopation: str
    groove: str
    bass: str
    feel: str
    pickup: bool

    @property
    def grid(self) -> Grid:
        return GRIDS[self.metre]

    @property
    def tonic(self) -> int:
        """Its pitch class."""
        return KEYS[self.mode].index(self.key)


def _planned(
    seed: int,
    wishes: Mapping[str, str | None],
    metre: tuple[int, int] | None,
    mode: str | None,
    tempo: int | None,
    progression: str | None,
    groove: str | None,
) -> _Plan:
    def drawn(name: str, wish: H | None, weights: Mapping[H, float]) -> H:
        if wish is not None and wish not in weights:
            known = ", ".join(map(str, weights))
            raise ValueError(f"no {name} {wish!r} here; what there is: {known}")
        own = _Dice(f"{seed} {name}").weigh(weights)  # drawn even if not needed
        return own if wish is None else wish

    if tempo is not None and not 70 <= tempo <= 160:
        raise ValueError(f"a tempo of {tempo}; the band plays 70 to 160 quarter notes a minute")
    metres = {m: p for m, p in METRES.items() if groove is None or groove in GROOVES[m]}
    metre = drawn("metre", metre, METRES if metre or not metres else metres)
    groove = drawn("groove", groove, {g: G.weight for g, G in GROOVES[metre].items()})
    fits = {m for m in MODES if wishes["key"] in (None, *KEYS[m])}
    fits &= {m for m in MODES if progression in (None, *PROGRESSIONS[m])}
    modes = {m: p for m, p in MODES.items() if m in fits}
    mode = drawn("mode", mode, MODES if mode or not modes else modes)
    progression = drawn("progression", progression, dict.fromkeys(PROGRESSIONS[mode], 1.0))
    blues = progression == TWELVE_BARS
    chorus = drawn("chorus", None, {p: 1.0 for p in LOOPS[mode] if p != progression})
    style = GROOVES[metre][groove]
    slowest, fastest = style.tempo
    quick = _Dice(f"{seed} tempo").between(slowest, fastest)
    return _Plan(
        metre=metre,
        mode=mode,
        key=drawn("key", wishes["key"], dict.fromkeys(KEYS[mode], 1.0)),
        tempo=quick if tempo is None else tempo,
        progression=progression,
        chorus=progression if blues else chorus,
        form="AA" if blues else drawn("form", None, FORMS),
        density=drawn("density", wishes["density"], DENSITIES),
        syncopation=drawn("syncopation", wishes["syncopation"], SYNCOPATIONS),
        groove=groove,
        bass=drawn("bass", None, {"walking": 0.6, "root-fifth": 0.4} if blues else style.bass),
        feel=drawn("feel", wishes["feel"], FEELS),
        pickup=_Dice(f"{seed} pickup").chance(0.3),
    )


class _Bar(NamedTuple):
    """A bar of the form."""

    chord: _Chord
    section: str  # A is the verse, B the chorus, empty the pickup
    time: int  # how often its section has come before
    place: int  # in its section
    left: int  # bars of the section after it


def _bars(plan: _Plan) -> list[_Bar]:
    bars = []
    for number, section in enumerate(plan.form):
        name = plan.progression if section == "A" else plan.chorus
        numerals = (BLUES[plan.mode] if name == TWELVE_BARS else name).split("-")
        numerals *= 1 if len(numerals) > 4 else 2
        time = plan.form[:number].count(section)
        for place, numeral in enumerate(numerals):
            left = len(numerals) - 1 - place
            bars.append(_Bar(_chord(numeral, plan.mode), section, time, place, left))
    tonic, blues = "I" if plan.mode == "major" else "i", plan.progression == TWELVE_BARS
    if not blues:
        bars[-2] = bars[-2]._replace(chord=_chord("V7", plan.mode))
    bars[-1] = bars[-1]._replace(chord=_chord(tonic, plan.mode))
    return [bars[0]._replace(section="", left=0)] * plan.pickup + bars


# Melody -------------------------------------------------------------------------------------


class _Note(NamedTuple):
    """A note of a part, in sixteenths."""

    step: int
    length: int
    pitch: int
    velocity: int


class _Tone(NamedTuple):
    """A note of a motif: the step counts from its bar, the degree from the motif's anchor."""

    step: int
    length: int
    degree: int


Motif = tuple[_Tone, ...]
Cells = Mapping[tuple[int, ...], float]

CELLS: dict[int, dict[str, Cells]] = {  # sixteenths of a beat -> density -> onsets in a beat
    4: {
        "sparse": {(): 0.5, (0,): 0.45, (0, 2): 0.05},
        "medium": {(): 0.08, (0,): 0.42, (0, 2): 0.42, (0, 3): 0.04, (0, 2, 3): 0.04},
        "dense": {
            (0,): 0.08,
            (0, 2): 0.42,
            (0, 2, 3): 0.17,
            (0, 1, 2): 0.11,
            (0, 3): 0.08,
            (0, 1, 2, 3): 0.14,
        },
    },
    6: {
        "sparse": {(): 0.35, (0,): 0.5, (0, 4): 0.15},
        "medium": {(0,): 0.2, (0, 4): 0.4, (0, 2, 4): 0.4},
        "dense": {(0, 2, 4): 0.45, (0, 3, 4): 0.15, (0, 2, 4, 5): 0.2, (0, 2, 3, 4): 0.2},
    },
}
COUNTS = {  # sixteenths of a bar -> density -> fewest and most notes in a motif
    16: {"sparse": (2, 4), "medium": (5, 7), "dense": (9, 12)},
    12: {"sparse": (1, 3), "medium": (4, 5), "dense": (6, 8)},
}
PUSHES = {"none": 0.0, "light": 0.15, "strong": 0.55}
SHIFTS = {"none": (0, 0), "light": (0, 1), "strong": (2, 16)}  # syncopations in a motif
INTERVALS = {0: 0.16, 1: 0.56, 2: 0.18, 3: 0.06, 4: 0.04}
PHRASES = ("abac", "aaab", "abab", "aaba", "aabc", "abcb")  # a letter is a motif, a bar each
ARCS = ((0, 0, 1, 0), (0, 1, 2, 0), (1, 1, 0, -1), (0, 2, 1, -1), (2, 1, 0, -1), (0, 1, 0, -1))
CENTRES = {"A": 3, "B": 6}  # the chorus lies higher
GOALS = {  # where in a bar a phrase ends
    (4, 4): {8: 0.6, 4: 0.2, 0: 0.2},
    (3, 4): {4: 0.5, 0: 0.5},
    (6, 8): {6: 0.6, 0: 0.4},
}


class _Melodist:
    """Motifs, repeated on the chords as they come, varied at the second time, led to an end."""

    def __init__(self, plan: _Plan, bars: Sequence[_Bar], dice: _Dice) -> None:
        self.plan, self.grid, self.bars, self.dice = plan, plan.grid, bars, dice

    def melody(self) -> list[_Note]:
        sections: dict[tuple[str, int], list[Motif]] = {}
        arcs = {section: self.dice.pick(ARCS) for section in "AB"}
        lead = self.dice.between(1, 3 if self.grid.bar == 16 else 2)
        tones: dict[int, _Tone] = {}  # what a bar begins early stands over the one before
        for number, bar in enumerate(self.bars):
            if not bar.section:
                continue
            if (bar.section, bar.time) not in sections:
                first = sections.get((bar.section, 0))
                count = bar.place + bar.left + 1
                new = self._varied(first) if first else self._section(count)
                sections[bar.section, bar.time] = new
            motif = sections[bar.section, bar.time][bar.place]
            placed = self._placed(motif, bar, arcs[bar.section], number)
            if bar.place == 0 and self.plan.pickup:
                placed = self._led(placed, lead)
            kept = {step: tone for step, tone in tones.items() if step < placed[0].step}
            tones = kept | {max(tone.step, 0): tone for tone in placed}
        return self._voiced([tones[step]._replace(step=step) for step in sorted(tones)])

    def _section(self, count: int) -> list[Motif]:
        """Phrases of four bars, alike but for how they end."""
        phrase = self.dice.pick(PHRASES)
        motifs = {letter: self._motif(letter) for letter in sorted(set(phrase))}
        bars = [motifs[letter] for letter in phrase] * (count // 4)
        for third in range(6, count, 4):
            if self.dice.chance(0.3):
                bars[third] = self._turned(bars[third])
        for last in range(3, count, 4):
            bars[last] = self._ended(bars[last], closed=last == count - 1)
        return bars

    def _motif(self, letter: str) -> Motif:
        onsets = self._rhythm(first=letter == "a")
        degrees = self._contour(len(onsets))
        ends = [*onsets[1:], self.grid.bar]
        tones = zip(onsets, map(self._length, onsets, ends), degrees, strict=True)
        return tuple(_Tone(*tone) for tone in tones)

    def _rhythm(self, first: bool) -> list[int]:
        """Onsets as dense and as syncopated as the plan says, drawn until they are."""
        plan, grid = self.plan, self.grid
        fewest, most = COUNTS[grid.bar][plan.density]
        least, highest = SHIFTS[plan.syncopation]
        least = 1 if first and plan.syncopation == "light" else least
        for _ in range(300):
            onsets = self._pushed(self._onsets())
            if not first and self.dice.chance(0.15) and onsets[0] == 0 and onsets[1:2] > [1]:
                onsets = onsets[1:]  # comes in after the beat
            ends = [*onsets[1:], grid.bar]
            spans = zip(onsets, ends, strict=True)
            over = sum(_place(start, end, grid) > start for start, end in spans)
            if fewest <= len(onsets) <= most and least <= over <= highest:
                break
        return onsets

    def _onsets(self) -> list[int]:
        beat = self.grid.beat
        onsets: list[int] = []
        for start in range(0, self.grid.bar, beat):
            cell = self.dice.weigh(CELLS[beat][self.plan.density])
            if not cell and (not onsets or onsets[-1] % beat):
                cell = (0,)  # only what began on a beat is held over the next
            onsets += [start + step for step in cell]
        return onsets

    def _pushed(self, onsets: Sequence[int]) -> list[int]:
        """Some notes come an eighth before their beat, and are held over it."""
        chance, beat = PUSHES[self.plan.syncopation], self.grid.beat
        early = {onset for onset in onsets if not onset % beat and self.dice.chance(chance)}
        return sorted({onset - 2 if onset in early else onset for onset in onsets})

    def _length(self, step: int, end: int) -> int:
        """To the next note; a long one on the beat may leave a rest."""
        beat, length = self.grid.beat, end - step
        if length > beat and not step % beat and self.dice.chance(0.35):
            return length - beat // 2
        return length

    def _contour(self, count: int) -> list[int]:
        """Mostly steps; a leap is followed by a step back."""
        degree, way, leapt = 0, self.dice.pick((-1, 1)), False
        found = [0]
        for _ in range(count - 1):
            if leapt or self.dice.chance(0.22):
                way = -way
            by = 1 if leapt else self.dice.weigh(INTERVALS)
            way = -way if not -3 <= degree + way * by <= 4 else way
            degree, leapt = degree + way * by, by > 2
            found.append(degree)
        return found[:count]

    def _ended(self, motif: Motif, closed: bool) -> Motif:
        """The motif's beginning, then a long note: the end of a phrase."""
        goal = self.dice.weigh(GOALS[self.plan.metre])
        early = 2 if self.dice.chance(PUSHES[self.plan.syncopation]) else 0
        kept = tuple(tone for tone in motif if tone.step < goal - early)
        rest = 4 if closed or self.dice.chance(0.6) else 0  # a breath
        return (*kept, _Tone(goal - early, self.grid.bar - rest - goal + early, 0))

    def _varied(self, motifs: Sequence[Motif]) -> list[Motif]:
        """The second time, some bars turn another way in their second half; ends stay."""
        return [
            self._turned(motif) if place % 4 != 3 and self.dice.chance(0.3) else motif
            for place, motif in enumerate(motifs)
        ]

    def _turned(self, motif: Motif) -> Motif:
        degrees = self._contour(len(motif))
        return tuple(
            tone._replace(degree=degree) if tone.step >= self.grid.bar // 2 else tone
            for tone, degree in zip(motif, degrees, strict=True)
        )

    def _placed(self, motif: Motif, bar: _Bar, arc: Sequence[int], number: int) -> list[_Tone]:
        """The motif where its bar is, on its chord."""
        anchor = bar.chord.nearest(CENTRES[bar.section] + arc[bar.place % 4])
        start = number * self.grid.bar
        tones = [_Tone(start + step, n, anchor + degree) for step, n, degree in motif]
        if bar.place % 4 != 3:
            return tones
        *before, last = tones
        wanted = self._goals(bar)
        goal = bar.chord.nearest(before[-1].degree if before else anchor, wanted)
        if before:  # arrives by step
            side = 1 if before[0].degree > goal else -1
            before[-1] = before[-1]._replace(degree=goal + side)
        whole = bar.left == 0 and number == len(self.bars) - 1
        length = start + self.grid.bar - last.step if whole else last.length
        return [*before, last._replace(degree=goal, length=length)]

    def _goals(self, bar: _Bar) -> list[int]:
        """Degrees a phrase may end on: home at the end of a section, else open."""
        home = [tone for tone in bar.chord.tones if tone % 7 == 0]
        if bar.left == 0 and home:
            return home
        return [tone for tone in bar.chord.tones[:3] if tone % 7 != 0] or bar.chord.tones

    def _led(self, placed: Sequence[_Tone], count: int) -> list[_Tone]:
        """Eighths that lead up to the first note of a section."""
        first = placed[0]
        return [
            *(_Tone(first.step - 2 * n, 2, first.degree - n) for n in range(count, 0, -1)),
            *placed,
        ]

    def _voiced(self, tones: Sequence[_Tone]) -> list[_Note]:
        """Degrees fitted to the chords, then as pitches; no note sounds into the next."""
        ends = [tone.step for tone in tones[1:]] + [len(self.bars) * self.grid.bar]
        tones = [
            tone._replace(length=min(tone.length, end - tone.step))
            for tone, end in zip(tones, ends, strict=True)
        ]
        degrees = [self._fitted(tone) for tone in tones]
        for i in reversed(range(len(tones) - 1)):
            if abs(degrees[i + 1] - degrees[i]) > 1:  # what is left by a leap is of the chord
                degrees[i] = self._chord_at(tones[i]).nearest(degrees[i])
        base = 53 + (self.plan.tonic - 53) % 12
        return [
            _Note(*tone[:2], base + self._chord_at(tone).pitch(degree), self._velocity(tone))
            for tone, degree in zip(tones, degrees, strict=True)
        ]

    def _fitted(self, tone: _Tone) -> int:
        """On strong beats and when held, a tone of the chord."""
        strong = self._place(tone) % self.grid.bar in self.grid.strong
        if strong or tone.length >= self.grid.beat:
            return self._chord_at(tone).nearest(tone.degree)
        return tone.degree

    def _place(self, tone: _Tone) -> int:
        return _place(tone.step, tone.step + tone.length, self.grid)

    def _chord_at(self, tone: _Tone) -> _Chord:
        number = self._place(tone) // self.grid.bar
        return self.bars[min(number, len(self.bars) - 1)].chord

    def _velocity(self, tone: _Tone) -> int:
        place = self._place(tone)
        accent = 10 if place % self.grid.bar in self.grid.strong else 4
        bar = self.bars[min(place // self.grid.bar, len(self.bars) - 1)]
        louder = 8 if bar.section == "B" else 0
        return 82 + louder + (accent if not place % self.grid.beat else -6)


def _place(start: int, end: int, grid: Grid) -> int:
    """Where the ear puts a note: on the next beat, if it begins before and sounds over it."""
    beat = -(-start // grid.beat) * grid.beat
    return beat if end > beat else start


# Chords and bass ----------------------------------------------------------------------------

Strokes = Sequence[tuple[int, int]]  # step and length

COMPING: dict[tuple[int, int], dict[str, Strokes]] = {
    (4, 4): {
        "pad": [(0, 16)],
        "halves": [(0, 8), (8, 8)],
        "quarters": [(0, 3), (4, 3), (8, 3), (12, 3)],
        "offbeats": [(2, 2), (6, 2), (10, 2), (14, 2)],
        "charleston": [(0, 6), (6, 8)],
        "arpeggio": [(step, 2) for step in range(0, 16, 2)],
    },
    (3, 4): {
        "pad": [(0, 12)],
        "afterbeats": [(4, 3), (8, 3)],
        "arpeggio": [(step, 2) for step in range(0, 12, 2)],
    },
    (6, 8): {
        "pad": [(0, 12)],
        "beats": [(0, 5), (6, 5)],
        "arpeggio": [(step, 2) for step in range(0, 12, 2)],
    },
}
BROKEN = (0, 1, 2, 3, 2, 1, 2, 1)  # the order in which an arpeggio takes its tones


def _comped(plan: _Plan, bars: Sequence[_Bar], dice: _Dice) -> list[_Note]:
    patterns = COMPING[plan.metre]
    names = {section: dice.pick(list(patterns)) for section in "AB"}
    voicing = [52, 56, 59]
    notes: list[_Note] = []
    for number, bar in enumerate(bars):
        if not bar.section:
            continue
        voicing = _voicing(bar.chord, plan.tonic, voicing)
        last = number == len(bars) - 1
        name = "pad" if last else names[bar.section]
        start = number * plan.grid.bar
        for count, (step, length) in enumerate(patterns[name]):
            velocity = (62 if step in plan.grid.strong else 56) + 6 * (bar.section == "B")
            broken = [*voicing[:3], voicing[0] + 12][BROKEN[count % 8]]
            pitches = [broken] if name == "arpeggio" else voicing
            notes += [_Note(start + step, length, pitch, velocity) for pitch in pitches]
    return notes


def _voicing(chord: _Chord, tonic: int, before: Sequence[int]) -> list[int]:
    """The inversion whose voices move least."""
    classes = [tonic + chord.pitch(tone) for tone in chord.tones]
    found = []
    for lowest in range(len(classes)):
        pitches = [50 + (classes[lowest] - 50) % 12]
        for pitch in classes[lowest + 1 :] + classes[:lowest]:
            pitches.append(pitches[-1] + (pitch - pitches[-1]) % 12)
        found.append(pitches)

    def movement(pitches: Sequence[int]) -> int:
        return sum(min(abs(pitch - old) for old in before) for pitch in pitches)

    return min(found, key=lambda pitches: (movement(pitches), pitches))


class _Walk(NamedTuple):
    """A note of a bass pattern: chord tone 0, 1 or 2, 3 the octave, -1 a step to the next root."""

    step: int
    length: int
    tone: int


def _walks(*rows: tuple[int, int, int]) -> tuple[_Walk, ...]:
    return tuple(_Walk(*row) for row in rows)


BASSES: dict[tuple[int, int], dict[str, list[tuple[_Walk, ...]]]] = {
    (4, 4): {
        "root": [
            _walks((0, 8, 0), (8, 8, 0)),
            _walks(*((step, 2, 0) for step in range(0, 16, 2))),
            _walks((0, 6, 0), (6, 2, 0), (8, 6, 0), (14, 2, -1)),
            _walks((0, 3, 0), (3, 3, 0), (6, 2, 0), (8, 4, 0), (12, 4, 0)),
        ],
        "root-fifth": [
            _walks((0, 8, 0), (8, 8, 2)),
            _walks((0, 6, 0), (6, 2, 2), (8, 6, 0), (14, 2, 2)),
            _walks((0, 6, 0), (6, 2, 0), (8, 6, 2), (14, 2, -1)),
        ],
        "walking": [
            _walks((0, 4, 0), (4, 4, 1), (8, 4, 2), (12, 4, -1)),
            _walks((0, 4, 0), (4, 4, 2), (8, 4, 1), (12, 4, -1)),
            _walks((0, 4, 0), (4, 4, 2), (8, 4, 3), (12, 4, -1)),
        ],
        "octaves": [_walks(*((step, 2, 3 * (step % 4 // 2)) for step in range(0, 16, 2)))],
    },
    (3, 4): {
        "root": [_walks((0, 12, 0)), _walks((0, 8, 0), (8, 4, 0))],
        "root-fifth": [_walks((0, 8, 0), (8, 4, 2)), _walks((0, 4, 0), (4, 4, 2), (8, 4, 2))],
        "walking": [
            _walks((0, 4, 0), (4, 4, 1), (8, 4, -1)),
            _walks((0, 4, 0), (4, 4, 2), (8, 4, -1)),
        ],
    },
    (6, 8): {
        "root": [_walks((0, 6, 0), (6, 6, 0)), _walks((0, 4, 0), (4, 2, 0), (6, 6, 0))],
        "root-fifth": [
            _walks((0, 6, 0), (6, 6, 2)),
            _walks((0, 4, 0), (4, 2, 0), (6, 4, 2), (10, 2, 2)),
        ],
        "walking": [_walks((0, 4, 0), (4, 2, 1), (6, 4, 2), (10, 2, -1))],
    },
}


def _bass_line(plan: _Plan, bars: Sequence[_Bar], dice: _Dice) -> list[_Note]:
    patterns = BASSES[plan.metre][plan.bass]
    chosen = {section: dice.pick(patterns) for section in "AB"}
    roots = _roots(plan, bars)
    notes = []
    for number, bar in enumerate(bars):
        if not bar.section:
            continue
        last = number == len(bars) - 1
        if plan.bass == "walking":
            chosen[bar.section] = dice.pick(patterns)
        pattern = _walks((0, plan.grid.bar, 0)) if last else chosen[bar.section]
        following = roots[min(number + 1, len(roots) - 1)]
        for step, length, tone in pattern:
            pitch = _bass_pitch(bar.chord, roots[number], following, tone)
            velocity = 92 if step == 0 else 86 if step in plan.grid.strong else 78
            notes.append(_Note(number * plan.grid.bar + step, length, pitch, velocity))
    return notes


def _roots(plan: _Plan, bars: Sequence[_Bar]) -> list[int]:
    """The root of each bar, each near the one before."""
    roots = [35]
    for bar in bars:
        lowest = 29 + (plan.tonic + bar.chord.pitch(bar.chord.root) - 29) % 12
        near = [pitch for pitch in (lowest, lowest + 12) if pitch <= 45]
        roots.append(min(near, key=lambda pitch: abs(pitch - roots[-1])))
    return roots[1:]


def _bass_pitch(chord: _Chord, root: int, following: int, tone: int) -> int:
    if tone == -1:  # from below, or from above if the root comes down
        return following + (1 if following < root else -1)
    if tone == 3:
        return root + 12
    return root + chord.pitch(chord.root + 2 * tone) - chord.pitch(chord.root)


# Drums --------------------------------------------------------------------------------------

DRUMS = dict(
    kick=36, rim=37, snare=38, hat=42, open=46, low=45, mid=47, high=50, crash=49, ride=51
)
LOUDNESS = {"X": 112, "x": 94, "o": 54}  # a stroke with accent, without, and a ghost
SOFTER = {"hat": 20, "ride": 20, "open": 14, "rim": 10}
EIGHTHS, SIXTEENTHS = "x.o.x.o.x.o.x.o.", "xoxoxoxoxoxoxoxo"


class _Groove(NamedTuple):
    """A way to play drums: for each drum what may be chosen, a character a sixteenth."""

    weight: float
    tempo: tuple[int, int]
    bass: Mapping[str, float]
    patterns: Mapping[str, Sequence[str]]
    cymbal: Mapping[str, Sequence[str]]  # one of these drums keeps the time


_FOUR: dict[str, _Groove] = {
    "rock": _Groove(
        0.4,
        (84, 160),
        {"root": 0.55, "root-fifth": 0.35, "walking": 0.1},
        {
            "kick": [
                "X.......x.......",
                "X.......x.x.....",
                "X.....x.x.......",
                "X..x....x.x.....",
                "X.....x...x.....",
            ],
            "snare": ["....X.......X...", "....X..o.o..X...", "....X.......X..o"],
        },
        {"hat": [EIGHTHS, "x...x...x...x...", SIXTEENTHS], "ride": [EIGHTHS]},
    ),
    "four on the floor": _Groove(
        0.25,
        (104, 140),
        {"octaves": 0.45, "root": 0.35, "root-fifth": 0.2},
        {
            "kick": ["X...X...X...X..."],
            "snare": ["....x.......x...", "....x.......x..o", "............x..."],
        },
        {"open": ["..x...x...x...x."], "hat": [EIGHTHS, SIXTEENTHS]},
    ),
    "half-time": _Groove(
        0.2,
        (100, 160),
        {"root": 0.6, "root-fifth": 0.4},
        {
            "kick": [
                "X.........x.....",
                "X..x......x.....",
                "X.....x.........",
                "X.............x.",
            ],
            "snare": ["........X.......", "........X.....o.", "......o.X......."],
        },
        {"hat": [EIGHTHS, SIXTEENTHS, "x...x...x...x..."], "ride": ["x...x...x...x..."]},
    ),
    "bossa": _Groove(
        0.15,
        (70, 132),
        {"root-fifth": 0.7, "walking": 0.3},
        {"kick": ["X..xx..xx..xx..x"], "rim": ["x..x..x...x..x..", "..x..x....x...x."]},
        {"hat": [EIGHTHS, SIXTEENTHS]},
    ),
}
GROOVES: dict[tuple[int, int], dict[str, _Groove]] = {
    (4, 4): _FOUR,
    (3, 4): {
        "waltz": _Groove(
            1.0,
            (80, 160),
            {"root": 0.4, "root-fifth": 0.4, "walking": 0.2},
            {"kick": ["X...........", "X.........x."], "snare": ["....x...x...", "....x...x.o."]},
            {"hat": ["....x...x...", "x.o.x.o.x.o."], "ride": ["x...x...x...", "x...x.o.x..."]},
        )
    },
    (6, 8): {
        "six-eight": _Groove(
            1.0,
            (70, 130),
            {"root": 0.4, "root-fifth": 0.4, "walking": 0.2},
            {"kick": ["X...........", "X.........x.", "X...x......."], "snare": ["......X....."]},
            {"hat": ["x.o.o.x.o.o."], "ride": ["x.o.o.x.o.o.", "x...o.x...o."]},
        )
    },
}
STROKES = dict(s="snare", h="high", m="mid", l="low", k="kick")
FILLS = {  # sixteenths of a beat -> the end of a bar
    4: ["ssml", "s.sl", "s.shh.ml", "shmlk...", "..sshhml", "s.h.m.l.", "sssshhml", "..ss..ll"],
    6: ["s.h.m.", "sshmml", "s.ssl.", "h.hm.l"],
}


def _drummed(plan: _Plan, bars: Sequence[_Bar], dice: _Dice) -> list[_Note]:
    style = GROOVES[plan.metre][plan.groove]
    same = {drum: dice.pick(choices) for drum, choices in style.patterns.items()}
    patterns = {section: {**same, **_time(style, dice)} for section in "AB"}
    every = dice.pick((4, 8))
    fills = [dice.pick(FILLS[plan.grid.beat]) for _ in range(2)]
    notes: list[_Note] = []
    for number, bar in enumerate(bars):
        if not bar.section:
            continue
        hits = patterns[bar.section]
        if number == len(bars) - 1:
            hits = {"kick": "X", "crash": "X"}
        elif (bar.place + 1) % every == 0 or bar.left == 0:
            hits = _filled(hits, fills[bar.left == 0], plan.grid.bar)
        if bar.place == 0 and "crash" not in hits:
            hits = {**hits, "crash": "x"}
        notes += _struck(hits, number * plan.grid.bar)
    return sorted(notes)


def _time(style: _Groove, dice: _Dice) -> dict[str, str]:
    drum = dice.pick(list(style.cymbal))
    return {drum: dice.pick(style.cymbal[drum])}


def _filled(hits: Mapping[str, str], fill: str, bar: int) -> dict[str, str]:
    """The pattern, but for its end: there the drummer goes over the toms."""
    start = bar - len(fill)
    cut = {drum: pattern[:start] for drum, pattern in hits.items()}
    drums = [STROKES.get(stroke, "") for stroke in fill]
    for drum in sorted(set(drums) - {""}):
        own = "".join("x" if each == drum else "." for each in drums)
        cut[drum] = cut.get(drum, "").ljust(start, ".") + own
    return cut


def _struck(hits: Mapping[str, str], start: int) -> list[_Note]:
    return [
        _Note(start + step, 1, DRUMS[drum], LOUDNESS[stroke] - SOFTER.get(drum, 0))
        for drum, pattern in hits.items()
        for step, stroke in enumerate(pattern)
        if stroke != "."
    ]


# The performance ----------------------------------------------------------------------------

PROGRAMS = {
    "melody": (0, 4, 11, 21, 24, 26, 40, 56, 65, 68, 71, 73, 80),
    "chords": (0, 1, 4, 16, 24, 25, 27, 48, 89),
    "bass": (32, 33, 34, 35, 38),
    "drums": (0,),
}
LEANS = {"melody": 0.0, "chords": 1.0, "bass": 3.0, "drums": -1.0}  # milliseconds behind the beat


def _track(name: str, part: Sequence[_Note], plan: _Plan, bars: int, seed: int) -> Track:
    dice = _Dice(f"{seed} {name} played")
    program = dice.pick(PROGRAMS[name])
    rows = [_in_ticks(note, name == "drums") for note in part]
    if plan.feel == "human":
        rows = [_humane(row, LEANS[name], plan.tempo, dice) for row in rows]
        rows = _parted(sorted(rows), bars * plan.grid.bar * STEP)
    return Track(notes_of(rows), name, program, name == "drums")


Row = tuple[int, int, int, int]  # start, end, pitch, velocity, in ticks


def _in_ticks(note: _Note, drums: bool) -> Row:
    start = note.step * STEP
    return start, start + (STEP // 2 if drums else note.length * STEP), note.pitch, note.velocity


def _humane(row: Row, lean: float, tempo: int, dice: _Dice) -> Row:
    """A little early or late, a little softer or louder."""
    start, end, pitch, velocity = row
    off = lean + 12 * (dice.random() + dice.random() - 1)
    ticks = int(max(-MOST_MS, min(MOST_MS, off)) * tempo * TICKS / 60_000)
    louder = velocity + dice.between(-7, 7)
    return max(start + ticks, 0), end + ticks, pitch, max(1, min(louder, 127))


def _parted(rows: Sequence[Row], end: int) -> list[Row]:
    """Rows by time, none of which sounds into the next place or past the end."""
    starts = [row[0] for row in rows]
    found = []
    for start, stop, pitch, velocity in rows:
        later = bisect_right(starts, start + STEP // 2)
        limit = starts[later] if later < len(starts) else end
        found.append((start, min(stop, limit, end), pitch, velocity))
    return found


def _song(plan: _Plan, bars: Sequence[_Bar], tracks: Sequence[Track]) -> Song:
    bar = plan.grid.bar * STEP
    minor = plan.mode == "minor"
    names = {"A": "verse", "B": "chorus"}
    return Song(
        tracks=tracks,
        tempos=[Tempo(0, float(plan.tempo))],
        metres=[MetreChange(0, Metre(*plan.metre))],
        keys=[Key(0, _sharps(plan.tonic, minor), minor)],
        markers=[
            Marker(number * bar, names[each.section])
            for number, each in enumerate(bars)
            if each.section and each.place == 0
        ],
        length=len(bars) * bar,
    )


def _sharps(tonic: int, minor: bool) -> int:
    """The key signature, as `KEYS` spells it: from six flats to five sharps."""
    return ((tonic + 3 * minor) * 7 + 6) % 12 - 6


def _attributes(plan: _Plan, bars: Sequence[_Bar], melody: Sequence[_Note]) -> Attributes:
    grid = plan.grid
    count = sum(bool(bar.section) for bar in bars)
    over = [_place(note.step, note.step + note.length, grid) > note.step for note in melody]
    return {
        "key": plan.key,
        "mode": plan.mode,
        "metre": str(Metre(*plan.metre)),
        "tempo": float(plan.tempo),
        "progression": plan.progression,
        "chorus": plan.chorus,
        "form": plan.form,
        "density": plan.density,
        "syncopation": plan.syncopation,
        "groove": plan.groove,
        "bass": plan.bass,
        "feel": plan.feel,
        "pickup": "yes" if plan.pickup else "no",
        "notes_per_beat": round(len(melody) / count / grid.bar * 4, 3),
        "syncopations_per_bar": round(sum(over) / count, 3),
    }
