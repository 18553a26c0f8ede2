"""Songs out of nothing: harmony, motifs, bass and drums by the rules of a band, attributes known.

Chords, melody and bass are thought in degrees of a scale (0 is the tonic, 7 the tonic above), as
musicians do; a degree becomes a pitch where a chord sounds, so a motif moves diatonically.
Times are counted in sixteenths until the band plays.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from seqvae.corpus import Replacing
from seqvae.midi import Song, write

from .band import bass_line, comped, drummed
from .grooves import GROOVES as GROOVES
from .harmony import KEYS as KEYS
from .harmony import PROGRESSIONS as PROGRESSIONS
from .harmony import SCALES as SCALES
from .melody import Melodist
from .performance import MOST_MS as MOST_MS
from .performance import STEP as STEP
from .performance import Attributes, attributes_of, song_of, track_of
from .plan import DENSITIES as DENSITIES
from .plan import GRIDS as GRIDS
from .plan import SYNCOPATIONS as SYNCOPATIONS
from .plan import Dice, bars_of, planned
from .plan import Grid as Grid

SPLITS = ("train", "valid", "test", *["train"] * 7)  # song by song, again and again


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
    plan = planned(seed, wishes, metre, mode, tempo, progression, groove)
    bars = bars_of(plan)
    melody = Melodist(plan, bars, Dice(f"{seed} melody")).melody()
    parts = {
        "melody": melody,
        "chords": comped(plan, bars, Dice(f"{seed} chords")),
        "bass": bass_line(plan, bars, Dice(f"{seed} bass")),
        "drums": drummed(plan, bars, Dice(f"{seed} drums")),
    }
    tracks = [track_of(name, part, plan, len(bars), seed) for name, part in parts.items()]
    return Composed(song_of(plan, bars, tracks), attributes_of(plan, bars, melody))


def write_songs(folder: str | Path, count: int, seed: int) -> list[Path]:
    """Write so many songs as MIDI files, and `index.tsv`: file, split, and their attributes.

    The same every time, and the first ones of a larger count; one song in ten is for validation
    and one for the test.
    """
    folder = Path(folder)
    dice = Dice(f"{seed} songs")
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
