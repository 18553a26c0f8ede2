"""Scales, keys, chords and the progressions they make, in numerals."""

import re
from collections.abc import Iterable
from typing import NamedTuple

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
MAJOR_KEYS = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
MINOR_KEYS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"]
KEYS = {"major": MAJOR_KEYS, "minor": MINOR_KEYS}

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


class Chord(NamedTuple):
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


def chord_of(numeral: str, mode: str) -> Chord:
    """The chord of a numeral in the major or the minor."""
    found = NUMERAL.fullmatch(numeral)
    assert found is not None
    flat, roman, diminished, seventh = found.groups()
    root, scale = ROMAN.index(roman.lower()), list(SCALES[mode])
    base = scale[root] - len(flat)
    thirds = (0, 4 if roman.isupper() else 3, 6 if diminished else 7, 10)
    for place, above in zip(range(root, root + 7, 2), thirds[: 3 + len(seventh)], strict=False):
        scale[place % 7] = base + above - 12 * (place // 7)
    return Chord(root, tuple(scale), bool(seventh))
