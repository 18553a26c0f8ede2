"""Composed songs: the same for ever, playable by a band, and what is said of them is true."""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from data_prep.composer import (
    DENSITIES,
    GRIDS,
    GROOVES,
    KEYS,
    MOST_MS,
    PROGRESSIONS,
    SCALES,
    STEP,
    SYNCOPATIONS,
    Grid,
)
from data_prep.toy import Composed, compose, write_songs
from seqvae.midi import Notes, Song, read, to_bytes

SEEDS = range(40)
RANGES = {"melody": (45, 90), "chords": (48, 76), "bass": (28, 58), "drums": (36, 51)}
KICK, SNARE, RIM = 36, 38, 37


@cache
def song_of(seed: int) -> Composed:
    return compose(seed)


def songs(**wanted: str) -> Iterator[Composed]:
    """The sampled songs with these attributes."""
    for seed in SEEDS:
        if wanted.items() <= song_of(seed).attributes.items():
            yield song_of(seed)


def notes(song: Song, name: str) -> Notes:
    return next(track.notes for track in song.tracks if track.name == name)


def in_steps(song: Song, name: str) -> np.ndarray:
    """Start, end and pitch of each note, on the grid of sixteenths."""
    return np.rint(notes(song, name).table[:, :3] / [STEP, STEP, 1]).astype(int)


def written_bar(song: Song) -> int:
    """Sixteenths of a bar."""
    return grid_of(song).bar


def grid_of(song: Song) -> Grid:
    numerator, denominator = song.metres[0].metre
    return GRIDS[numerator, denominator]


def test_a_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    first = to_bytes(compose(3).song)
    assert to_bytes(compose(3).song) == first != to_bytes(compose(4).song)
    assert compose(3).attributes == song_of(3).attributes


def test_the_first_notes_of_a_known_song() -> None:
    """Seed 7 begins on the fifth of A. If this changes, every toy corpus does."""
    song, attributes = compose(7)
    assert (attributes["key"], attributes["mode"], attributes["tempo"]) == ("A", "major", 119.0)
    rows = [[0, 240, 64, 92], [240, 480, 64, 76], [480, 720, 59, 86], [720, 960, 61, 76]]
    assert notes(song, "melody").table[:4].tolist() == rows


@pytest.mark.parametrize("name", RANGES)
def test_notes_last_and_lie_in_the_range_of_their_instrument(name: str) -> None:
    low, high = RANGES[name]
    for song, _ in songs():
        found = notes(song, name)
        assert len(found) and low <= found.pitch.min() and found.pitch.max() <= high
        assert (found.end > found.start).all() and found.start.min() >= 0
        assert found.velocity.min() >= 1 and found.velocity.max() <= 127
        assert len(np.unique(found.velocity)) > 1 or name in ("chords", "bass")


@pytest.mark.parametrize("name", ["melody", "bass"])
def test_one_note_at_a_time(name: str) -> None:
    for song, _ in songs():
        found = notes(song, name)
        assert (found.end[:-1] <= found.start[1:]).all()


def test_no_pitch_begins_while_it_still_sounds() -> None:
    for song, _ in songs():
        for track in song.tracks:
            for pitch in np.unique(track.notes.pitch):
                own = track.notes[track.notes.pitch == pitch]
                assert (own.end[:-1] <= own.start[1:]).all()


def test_a_song_is_a_band_of_sixteen_to_thirty_two_bars_and_ends_on_a_bar() -> None:
    for song, attributes in songs():
        assert [track.name for track in song.tracks] == list(RANGES)
        assert song.tracks[2].program in range(32, 40) and song.tracks[3].drums
        pickup = attributes["pickup"] == "yes"
        assert len(song.bars) - pickup in (16, 24, 32)
        assert song.end == song.bars.start[-1]
        assert len(song.markers) == len(str(attributes["form"]))


def test_a_pickup_is_the_melody_alone_before_the_first_bar() -> None:
    for song, attributes in songs(pickup="yes"):
        bar = int(song.bars.start[1])
        early = round(MOST_MS / 1000 * float(attributes["tempo"]) / 60 * song.ticks_per_beat) + 1
        assert 0 < notes(song, "melody").start[0] < bar - early
        assert all(notes(song, name).start[0] >= bar - early for name in ("bass", "drums"))


def test_the_melody_is_in_its_key_and_ends_at_home() -> None:
    for song, attributes in songs():
        mode = str(attributes["mode"])
        tonic = KEYS[mode].index(str(attributes["key"]))
        degrees = (notes(song, "melody").pitch - tonic) % 12
        assert np.isin(degrees, SCALES[mode]).mean() > 0.75
        assert degrees[-1] == 0
        assert (notes(song, "bass").pitch[-1] - tonic) % 12 == 0


@pytest.mark.parametrize(
    ("key", "mode", "sharps"),
    [
        ("C", "major", 0),
        ("Gb", "major", -6),
        ("B", "major", 5),
        ("F#", "minor", 3),
        ("Eb", "minor", -6),
    ],
)
def test_the_key_signature_is_that_of_the_key(key: str, mode: str, sharps: int) -> None:
    assert compose(0, key=key, mode=mode).song.keys[0][1:] == (sharps, mode == "minor")


def test_the_chords_are_those_of_the_progression() -> None:
    song, _ = compose(1, key="C", mode="major", progression="ii7-V7-I-vi", feel="straight")
    first, bar = song.markers[0].tick, int(song.bars.start[1])
    played = [
        notes(song, "chords").within(first + i * bar, first + (i + 1) * bar) for i in range(4)
    ]
    chords = [{2, 5, 9, 0}, {7, 11, 2, 5}, {0, 4, 7}, {9, 0, 4}]
    assert [set((found.pitch % 12).tolist()) for found in played] == chords


def test_chords_borrow_from_other_scales() -> None:
    song, _ = compose(1, key="A", mode="minor", progression="i-VI-iv-V7", feel="straight")
    first, bar = song.markers[0].tick, int(song.bars.start[1])
    dominant = notes(song, "chords").within(first + 3 * bar, first + 4 * bar)
    assert set((dominant.pitch % 12).tolist()) == {4, 8, 11, 2}


def test_metre_and_tempo_are_those_of_the_file() -> None:
    for song, attributes in songs():
        assert str(song.metres[0].metre) == attributes["metre"]
        assert song.tempos[0].qpm == attributes["tempo"] and 70 <= song.tempos[0].qpm <= 160
    assert {a["metre"] for _, a in songs()} == {"4/4", "3/4", "6/8"}
    assert compose(0, tempo=93).song.tempos[0].qpm == 93


def test_density_and_syncopation_are_counted_from_the_notes() -> None:
    for song, attributes in songs():
        bar, beat, _ = grid_of(song)
        start, end, _ = in_steps(song, "melody").T
        bars = len(song.bars) - (attributes["pickup"] == "yes")
        over = (start % beat != 0) & (end > -(-start // beat) * beat)
        assert attributes["notes_per_beat"] == pytest.approx(len(start) * 4 / bar / bars, abs=1e-3)
        assert attributes["syncopations_per_bar"] == pytest.approx(over.sum() / bars, abs=1e-3)
        assert over.any() != (attributes["syncopation"] == "none")


@pytest.mark.parametrize(
    ("name", "number", "levels"),
    [
        ("density", "notes_per_beat", DENSITIES),
        ("syncopation", "syncopations_per_bar", SYNCOPATIONS),
    ],
)
def test_levels_are_in_order_and_change_nothing_else(
    name: str, number: str, levels: dict[str, float]
) -> None:
    measured = {"notes_per_beat", "syncopations_per_bar", name}
    for seed in range(15):
        made = [compose(seed, **{name: level}) for level in levels]  # type: ignore[arg-type]
        values = [float(attributes[number]) for _, attributes in made]
        assert values[0] < values[1] < values[2]
        others = [{k: v for k, v in a.items() if k not in measured} for _, a in made]
        assert others[0] == others[1] == others[2]
        assert notes(made[0].song, "drums") == notes(made[2].song, "drums")


SIGNATURES = {  # groove -> a drum, where in a bar it is always played, where never
    "rock": (SNARE, {4, 12}, {0, 8}),
    "four on the floor": (KICK, {0, 4, 8, 12}, {2, 6}),
    "half-time": (SNARE, {8}, {0, 4, 12}),
    "bossa": (KICK, {0, 3, 4, 7, 8}, {1, 2}),
    "waltz": (SNARE, {4, 8}, {0}),
    "six-eight": (SNARE, {6}, {0, 3, 9}),
}


def test_every_groove_has_a_signature() -> None:
    assert SIGNATURES.keys() == {name for grooves in GROOVES.values() for name in grooves}


@pytest.mark.parametrize("groove", SIGNATURES)
def test_the_drums_play_the_groove(groove: str) -> None:
    """In the second bar of each section, where no fill comes."""
    drum, always, never = SIGNATURES[groove]
    for seed in range(8):
        song, attributes = compose(seed, groove=groove)
        bar = written_bar(song)
        assert attributes["groove"] == groove
        hits = in_steps(song, "drums")
        for marker in song.markers:
            first = marker.tick // STEP + bar
            own = hits[(hits[:, 2] == drum) & (hits[:, 0] >= first) & (hits[:, 0] < first + bar)]
            struck = set((own[:, 0] - first).tolist())
            assert always <= struck and not never & struck


def test_sections_end_with_a_fill_and_begin_with_a_crash() -> None:
    for song, _ in songs():
        hits, bar = in_steps(song, "drums"), written_bar(song)
        for marker in song.markers:
            first = marker.tick // STEP
            assert 49 in hits[hits[:, 0] == first, 2]
            before = hits[(hits[:, 0] >= first - bar // 2) & (hits[:, 0] < first), 2]
            assert not len(before) or np.isin(before, [KICK, SNARE, 45, 47, 50]).any()


def test_straight_is_on_the_grid_and_human_within_fifteen_milliseconds_of_it() -> None:
    for song, attributes in songs():
        ms = 60_000 / float(attributes["tempo"]) / song.ticks_per_beat
        starts = np.concatenate([track.notes.start for track in song.tracks])
        off = np.abs(starts - np.rint(starts / STEP) * STEP) * ms
        assert (off.max() == 0) == (attributes["feel"] == "straight")
        assert off.max() <= MOST_MS


def test_motifs_come_again_and_songs_differ() -> None:
    """What a small model can learn: bars of rhythm that a song repeats, thousands of phrases."""
    phrases: list[tuple[tuple[int, ...], ...]] = []
    for song, _ in songs(metre="4/4"):
        table = in_steps(song, "melody")
        rhythms = []
        for first in range(0, len(song.bars) * 16 - 16, 16):
            window = table[(table[:, 0] >= first) & (table[:, 0] < first + 32)] - [first, first, 0]
            phrases.append(tuple(map(tuple, window.tolist())))
            rhythms.append(tuple(window[window[:, 0] < 16, 0].tolist()))
        assert len(set(rhythms)) <= 0.75 * len(rhythms)
    assert len(set(phrases)) > 0.6 * len(phrases)


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"density": "thick"}, "no density 'thick' here; what there is: sparse, medium, dense"),
        ({"groove": "waltz", "metre": (4, 4)}, "no groove 'waltz' here; what there is: rock"),
        ({"metre": (7, 8)}, "no metre"),
        ({"progression": "I-V-vi-IV", "mode": "minor"}, "no progression 'I-V-vi-IV' here"),
        ({"key": "H"}, "no key 'H' here"),
        ({"tempo": 300}, "a tempo of 300"),
    ],
)
def test_what_cannot_be_played_is_refused(wishes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compose(0, **wishes)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", PROGRESSIONS)
def test_every_progression_and_key_can_be_asked_for(mode: str) -> None:
    for progression in PROGRESSIONS[mode]:
        attributes = compose(5, mode=mode, progression=progression).attributes
        assert (attributes["mode"], attributes["progression"]) == (mode, progression)
    for key in KEYS[mode]:
        assert compose(6, key=key).attributes["key"] == key
    assert compose(0, groove="six-eight").attributes["metre"] == "6/8"


def test_written_songs_read_back_equal_and_the_index_says_what_they_are(tmp_path: Path) -> None:
    paths = write_songs(tmp_path, 10, seed=2)
    with (tmp_path / "index.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["file"] for row in rows] == [path.name for path in paths]
    assert sorted(row["split"] for row in rows) == ["test"] + ["train"] * 8 + ["valid"]
    for path, row in zip(paths, rows, strict=True):
        song = read(path)
        assert not song.repairs and song.end == song.bars.start[-1]
        assert str(song.metres[0].metre) == row["metre"]
        assert song.tempos[0].qpm == pytest.approx(float(row["tempo"]), abs=1e-3)
        assert KEYS[row["mode"]].index(row["key"]) == tonic_of(song)
        assert [track.name for track in song.tracks] == list(RANGES)


def tonic_of(song: Song) -> int:
    """The pitch class of the tonic that the key signature names."""
    _, sharps, minor = song.keys[0]
    return (sharps * 7 - 3 * minor) % 12


@pytest.mark.parametrize("seed", range(6))
def test_a_file_holds_the_song_as_it_was(seed: int) -> None:
    song, _ = song_of(seed)
    back = read(to_bytes(song))
    for track, found in zip(song.tracks, back.tracks, strict=True):
        assert found.notes == track.notes
        assert (found.name, found.program, found.drums) == (track.name, track.program, track.drums)
    assert (list(back.keys), list(back.metres)) == (list(song.keys), list(song.metres))
    assert list(back.markers) == list(song.markers) and back.ticks_per_beat == 480


def test_the_first_songs_of_a_larger_corpus_are_the_same(tmp_path: Path) -> None:
    few, more = write_songs(tmp_path / "few", 2, seed=0), write_songs(tmp_path / "more", 3, seed=0)
    assert [path.read_bytes() for path in few] == [path.read_bytes() for path in more[:2]]
    index = (tmp_path / "few" / "index.tsv").read_text("utf-8")
    assert (tmp_path / "more" / "index.tsv").read_text("utf-8").startswith(index)
    assert len(index.splitlines()) == 3
