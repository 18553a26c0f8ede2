"""The melody: motifs in degrees of the scale, repeated, varied, and led to an end."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .harmony import Chord
from .plan import Bar, Dice, Note, Plan, heard_at


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


class Melodist:
    """Motifs, repeated on the chords as they come, varied at the second time, led to an end."""

    def __init__(self, plan: Plan, bars: Sequence[Bar], dice: Dice) -> None:
        self.plan, self.grid, self.bars, self.dice = plan, plan.grid, bars, dice

    def melody(self) -> list[Note]:
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
            over = sum(heard_at(start, end, grid) > start for start, end in spans)
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

    def _placed(self, motif: Motif, bar: Bar, arc: Sequence[int], number: int) -> list[_Tone]:
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

    def _goals(self, bar: Bar) -> list[int]:
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

    def _voiced(self, tones: Sequence[_Tone]) -> list[Note]:
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
            Note(*tone[:2], base + self._chord_at(tone).pitch(degree), self._velocity(tone))
            for tone, degree in zip(tones, degrees, strict=True)
        ]

    def _fitted(self, tone: _Tone) -> int:
        """On strong beats and when held, a tone of the chord."""
        strong = self._place(tone) % self.grid.bar in self.grid.strong
        if strong or tone.length >= self.grid.beat:
            return self._chord_at(tone).nearest(tone.degree)
        return tone.degree

    def _place(self, tone: _Tone) -> int:
        return heard_at(tone.step, tone.step + tone.length, self.grid)

    def _chord_at(self, tone: _Tone) -> Chord:
        number = self._place(tone) // self.grid.bar
        return self.bars[min(number, len(self.bars) - 1)].chord

    def _velocity(self, tone: _Tone) -> int:
        place = self._place(tone)
        accent = 10 if place % self.grid.bar in self.grid.strong else 4
        bar = self.bars[min(place // self.grid.bar, len(self.bars) - 1)]
        louder = 8 if bar.section == "B" else 0
        return 82 + louder + (accent if not place % self.grid.beat else -6)
