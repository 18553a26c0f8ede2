"""The band: chords, bass and drums to a plan."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .grooves import GROOVES, Groove
from .harmony import Chord
from .plan import Bar, Dice, Note, Plan

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


def comped(plan: Plan, bars: Sequence[Bar], dice: Dice) -> list[Note]:
    patterns = COMPING[plan.metre]
    names = {section: dice.pick(list(patterns)) for section in "AB"}
    voicing = [52, 56, 59]
    notes: list[Note] = []
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
            notes += [Note(start + step, length, pitch, velocity) for pitch in pitches]
    return notes


def _voicing(chord: Chord, tonic: int, before: Sequence[int]) -> list[int]:
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


def bass_line(plan: Plan, bars: Sequence[Bar], dice: Dice) -> list[Note]:
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
            notes.append(Note(number * plan.grid.bar + step, length, pitch, velocity))
    return notes


def _roots(plan: Plan, bars: Sequence[Bar]) -> list[int]:
    """The root of each bar, each near the one before."""
    roots = [35]
    for bar in bars:
        lowest = 29 + (plan.tonic + bar.chord.pitch(bar.chord.root) - 29) % 12
        near = [pitch for pitch in (lowest, lowest + 12) if pitch <= 45]
        roots.append(min(near, key=lambda pitch: abs(pitch - roots[-1])))
    return roots[1:]


def _bass_pitch(chord: Chord, root: int, following: int, tone: int) -> int:
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
STROKES = dict(s="snare", h="high", m="mid", l="low", k="kick")
FILLS = {  # sixteenths of a beat -> the end of a bar
    4: ["ssml", "s.sl", "s.shh.ml", "shmlk...", "..sshhml", "s.h.m.l.", "sssshhml", "..ss..ll"],
    6: ["s.h.m.", "sshmml", "s.ssl.", "h.hm.l"],
}


def drummed(plan: Plan, bars: Sequence[Bar], dice: Dice) -> list[Note]:
    style = GROOVES[plan.metre][plan.groove]
    same = {drum: dice.pick(choices) for drum, choices in style.patterns.items()}
    patterns = {section: {**same, **_time(style, dice)} for section in "AB"}
    every = dice.pick((4, 8))
    fills = [dice.pick(FILLS[plan.grid.beat]) for _ in range(2)]
    notes: list[Note] = []
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


def _time(style: Groove, dice: Dice) -> dict[str, str]:
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


def _struck(hits: Mapping[str, str], start: int) -> list[Note]:
    return [
        Note(start + step, 1, DRUMS[drum], LOUDNESS[stroke] - SOFTER.get(drum, 0))
        for drum, pattern in hits.items()
        for step, stroke in enumerate(pattern)
        if stroke != "."
    ]
