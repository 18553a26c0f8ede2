"""Keys: which key music is in, judged by its notes, and how to bring one piece to another's."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .notes import Key, Notes

Floats = NDArray[np.float64]

# How often each degree sounds in music of a key, from its tonic up: Temperley, Music and
# Probability (2007), table 6.1, from the corpus of Kostka and Payne. One number is ours: the
# minor's lowered seventh weighs as much as its leading note (0.330; 0.133 in the book), for tunes
# and pop are Aeolian or Dorian where the classics raise it. Compared with Krumhansl and Kessler
# (1982), Temperley (1999), Aarden (2003) and Albrecht and Shanahan (2013) on 974 Nottingham tunes
# whose files state their key, and on composed songs.
MAJOR = (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400)
MINOR = (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.330, 0.330)

MAJORS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINORS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

DOUBT, WIDTH = 0.6, 0.08  # of the confidence, see `estimate`
PITCH_CLASSES = 5  # in music of fewer, less can be known
DECLARED = 0.05  # what a key signature adds to a correlation
OCTAVES = 2  # that music is moved by, at most


class KeyFound(NamedTuple):
    """A key, and the chance that at least its scale is right.

    >>> KeyFound(0, True, 0.9).name, KeyFound(10, False, 0.9).short
    ('C minor', 'Bbmaj')
    """

    tonic: int  # 0 is C, 11 is B
    minor: bool
    confidence: float  # 0 to 1; 0 says that nothing speaks for it

    @property
    def letter(self) -> str:
        """The tonic as musicians spell it in this key."""
        return (MINORS if self.minor else MAJORS)[self.tonic]

    @property
    def name(self) -> str:
        return f"{self.letter} {'minor' if self.minor else 'major'}"

    @property
    def short(self) -> str:
        """For the names of files."""
        return f"{self.letter}{'min' if self.minor else 'maj'}"

    def moved(self, semitones: int) -> "KeyFound":
        """That of the same music so many semitones higher."""
        return self._replace(tonic=(self.tonic + semitones) % 12)

    @property
    def scale(self) -> int:
        """The tonic of the major key with the same notes: C for A minor."""
        return (self.tonic + 3 * self.minor) % 12


def estimate(
    music: Notes | Floats, weights: Floats | None = None, signatures: Iterable[Key] = ()
) -> KeyFound:
    """The key of notes, or of how much each of the twelve pitch classes sounds (12,).

    A note counts the square root of its length, times its weight (N,) if given: of the beat it
    falls on, say, though doubling those on beats improved no figure. The key is the one of 24
    whose profile correlates best   (Krumhansl and Schmuckler, in Krumhansl, 1990, chapter 4).
    With m the margin to the best key of another scale,

        confidence = 1 - 0.6 exp(-m / 0.08),

    less where fewer than five pitch classes sound: as fitted to how often the scale was right on
    Nottingham and composed songs, whole and by four bars. A file's key signature is weak evidence,
    and none if it says C major, as files do that know nothing.

    >>> estimate(np.array([3.0, 0, 1, 0, 2, 1, 0, 2, 0, 1, 0, 1])).name
    'C major'
    """
    sounding = _sounding(music, weights) if isinstance(music, Notes) else np.asarray(music, float)
    fit = fits(sounding)
    if fit is None:
        return KeyFound(0, False, 0.0)
    fit = fit + _declared(signatures)
    best = int(fit.argmax())
    margin = float(fit[best] - fit[SCALES[best] != SCALES].max())
    confidence = 1 - DOUBT * float(np.exp(-margin / WIDTH))
    confidence *= min(int(np.count_nonzero(sounding > 0)) / PITCH_CLASSES, 1.0)
    return KeyFound(best % 12, best >= 12, confidence)


def fits(music: Notes | Floats) -> Floats | None:
    """How well the profile of each key correlates with music (24,): major from C, then minor.

    Of notes, or of how much each of the twelve pitch classes sounds (12,). None where all sound
    alike, or nothing does.
    """
    sounding = _sounding(music) if isinstance(music, Notes) else music
    centred = sounding - sounding.mean()
    norm = float(np.linalg.norm(centred))
    if norm <= 1e-9 * max(float(np.abs(sounding).sum()), 1e-300):
        return None
    return PROFILES @ (centred / norm)


def _sounding(notes: Notes, weights: Floats | None = None) -> Floats:
    """How much each pitch class sounds (12,)."""
    each = np.sqrt((notes.end - notes.start).astype(np.float64))
    each = each if weights is None else each * weights
    return np.bincount(notes.pitch % 12, each, 12).astype(np.float64)


def _declared(signatures: Iterable[Key]) -> Floats:
    """What key signatures add to the fit of each key (24,); half of it to the relative key."""
    said = {(key.sharps, key.minor) for key in signatures if -7 <= key.sharps <= 7}
    extra = np.zeros(24)
    if len(said) == 1 and said != {(0, False)}:
        [(sharps, minor)] = said
        scale = sharps * 7 % 12
        extra[scale == SCALES] = DECLARED / 2
        extra[(scale + 9) % 12 + 12 if minor else scale] = DECLARED
    return extra


class Move(NamedTuple):
    """How music is moved: into a key, and by octaves into a register.

    >>> Move(key=-2, octaves=1).semitones
    10
    """

    key: int = 0  # semitones, -6 to 6
    octaves: int = 0

    @property
    def semitones(self) -> int:
        """Both together."""
        return self.key + 12 * self.octaves


def smallest_move(a: KeyFound, b: KeyFound) -> int:
    """Semitones that bring music in key b to key a, -6 to 5.

    Of one mode, the tonics meet. Of two, b goes to the relative key, so that both share a scale:
    a tune in F major goes to E flat major beside one in C minor, not to C major. A musician who
    blends two tunes bar by bar needs each to sound right over what the other leaves in the ear;
    C major against C minor disputes three notes in seven (E, A, B), the relative key none, and
    major stays major.

    >>> smallest_move(KeyFound(0, True, 1), KeyFound(5, False, 1))
    -2
    """
    up = a.scale - b.scale if a.minor != b.minor else a.tonic - b.tonic
    return (up + 6) % 12 - 6


def nearest_octaves(up: float, rooms: Iterable[tuple[float, float]] = ()) -> int:
    """The octaves, at most 2 either way, that come nearest to so many semitones up.

    `rooms` say how far down and up each part may go, in semitones: those come first that leave
    the parts inside them. Of two as near, the smaller move.

    >>> nearest_octaves(17), nearest_octaves(-40), nearest_octaves(17, [(-20, 10)])
    (1, -2, 0)
    """
    inside = list(rooms)

    def outside(octaves: int) -> float:
        move = 12 * octaves
        return sum(max(down - move, move - above, 0) for down, above in inside)

    return min(
        range(-OCTAVES, OCTAVES + 1),
        key=lambda octaves: (outside(octaves), abs(12 * octaves - up), abs(octaves), octaves),
    )


def _profiles() -> Floats:
    """The 24 profiles, major from C, then minor from C, each of mean 0 and length 1 (24, 12)."""
    rows = [np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)]
    centred = np.array(rows) - np.mean(rows, axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


PROFILES = _profiles()
SCALES = np.array([KeyFound(key % 12, key >= 12, 0.0).scale for key in range(24)])
