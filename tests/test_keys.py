"""Keys: judged by the notes, sure in proportion to them; moves that a musician would make."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from seqvae.midi import TICKS, Key, Notes, joined, notes_of, read
from seqvae.midi.keys import (
    PROFILES,
    SCALES,
    KeyFound,
    Move,
    estimate,
    nearest_octaves,
    smallest_move,
)

MUSIC = Path(__file__).parents[2] / "shared" / "data" / "music"

TUNES = {  # beginnings, and the keys people write them in
    "G major": [67, 67, 74, 74, 76, 76, 74, 72, 72, 71, 71, 69, 69, 67],
    "A minor": [64, 69, 71, 72, 71, 69, 68, 69, 71, 64, 69, 72, 76, 74, 72, 71, 69],
    "E minor": [64, 67, 71, 69, 67, 66, 64, 62, 63, 64, 71, 74, 71, 67, 64],  # both sevenths
    "F major": [60, 60, 72, 69, 65, 64, 62, 70, 70, 69, 65, 67, 65],
}


def line(pitches: Sequence[int], length: int = TICKS) -> Notes:
    return notes_of((i * length, (i + 1) * length, p, 80) for i, p in enumerate(pitches))


@pytest.mark.parametrize(("name", "tune"), TUNES.items())
def test_tunes_are_in_the_keys_people_write_them_in(name: str, tune: list[int]) -> None:
    found = estimate(line(tune))
    assert found.name == name and 0.6 < found.confidence <= 1


@pytest.mark.parametrize("tune", TUNES.values(), ids=TUNES)
@pytest.mark.parametrize("up", range(-6, 6))
def test_the_key_moves_with_the_music(tune: list[int], up: int) -> None:
    here, there = estimate(line(tune)), estimate(line(tune).moved(semitones=up))
    assert there.tonic == (here.tonic + up) % 12 and there.minor == here.minor
    assert there.confidence == pytest.approx(here.confidence, abs=1e-9)


def test_every_profile_is_found_in_its_own_key() -> None:
    assert np.allclose(PROFILES.sum(axis=1), 0) and np.allclose((PROFILES**2).sum(axis=1), 1)
    for place, profile in enumerate(PROFILES):
        found = estimate(profile - profile.min() + 0.01)
        assert (found.tonic, found.minor) == (place % 12, place >= 12)
        assert found.confidence > 0.9


def test_speed_loudness_and_octave_do_not_matter() -> None:
    tune = TUNES["A minor"]
    found = estimate(line(tune))
    for same in (line(tune, 7), line([p - 24 for p in tune]), joined([line(tune)] * 3)):
        assert estimate(same)[:2] == found[:2]
        assert estimate(same).confidence == pytest.approx(found.confidence)


def test_weights_say_which_notes_count() -> None:
    both = joined([line(TUNES["G major"]), line([p + 1 for p in TUNES["G major"]]).moved(5)])
    low = np.isin(both.start % TICKS, [0])
    assert estimate(both, np.where(low, 1.0, 0.0)).name == "G major"
    assert estimate(both, np.where(low, 0.0, 1.0)).name == "Ab major"


NOTHING = {
    "no notes": line([]),
    "all twelve": line(range(60, 72)),
    "no pitch class": np.zeros(12),
    "all alike": np.ones(12),
}


@pytest.mark.parametrize("music", NOTHING.values(), ids=NOTHING)
def test_where_nothing_speaks_for_a_key_the_confidence_is_zero(music: Notes) -> None:
    assert estimate(music).confidence == 0


def test_few_pitches_say_little() -> None:
    sure = [estimate(line(TUNES["G major"][:n])).confidence for n in (1, 4, 14)]
    assert sure[0] < 0.25 and sure[0] < sure[1] < sure[2]


def test_a_signature_decides_what_the_notes_leave_open_and_no_more() -> None:
    tune = line(TUNES["F major"])
    for sharps in range(-7, 8):
        assert estimate(tune, signatures=[Key(0, sharps, False)]).name == "F major"
    either = np.array([2, 0, 0.5, 0, 2, 0, 0, 1.5, 0, 1.75, 0, 0])  # C D E G A
    assert estimate(either).name == "C major"
    assert estimate(either, signatures=[Key(0, 0, True)]).name == "A minor"


@pytest.mark.parametrize(
    "signatures",
    [[Key(0, 0, False)], [Key(0, 2, False), Key(9, -3, True)], [Key(0, 99, False)], []],
    ids=["C major", "two", "nonsense", "none"],
)
def test_a_signature_that_says_nothing_changes_nothing(signatures: list[Key]) -> None:
    tune = line(TUNES["E minor"])
    assert estimate(tune, signatures=signatures) == estimate(tune)


def test_keys_are_spelled_as_musicians_do() -> None:
    majors = [KeyFound(tonic, False, 1).letter for tonic in range(12)]
    minors = [KeyFound(tonic, True, 1).letter for tonic in range(12)]
    assert majors == ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
    assert minors == ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"]
    assert KeyFound(0, True, 1).name == "C minor" and KeyFound(0, True, 1).short == "Cmin"
    assert SCALES.tolist() == [*range(12), *(t % 12 for t in range(3, 15))]


# --- moves ---


KEYS = [KeyFound(tonic, minor, 1.0) for minor in (False, True) for tonic in range(12)]


@pytest.mark.parametrize("a", KEYS, ids=lambda key: key.short)
def test_after_the_smallest_move_both_share_scale_and_if_they_can_tonic(a: KeyFound) -> None:
    for b in KEYS:
        move = smallest_move(a, b)
        assert (b.scale + move - a.scale) % 12 == 0
        assert a.minor != b.minor or (b.tonic + move - a.tonic) % 12 == 0
        assert -6 <= move <= 6
    assert smallest_move(a, a) == 0


@pytest.mark.parametrize(
    ("a", "b", "move"),
    [
        ((0, False), (2, False), -2),  # D major to C major: down a tone
        ((0, True), (9, True), 3),  # A minor to C minor
        ((0, True), (0, False), 3),  # C major to E flat, the relative of C minor
        ((9, True), (0, False), 0),  # C major beside A minor: nothing to do
        ((0, False), (7, False), 5),
        ((0, False), (6, False), -6),  # a tritone: down, as near as up
    ],
)
def test_the_moves_of_known_pairs(a: tuple[int, bool], b: tuple[int, bool], move: int) -> None:
    assert smallest_move(KeyFound(*a, 1.0), KeyFound(*b, 1.0)) == move


@pytest.mark.parametrize(
    ("up", "rooms", "octaves"),
    [
        (5, [], 0),
        (7, [], 1),
        (6, [], 0),  # as near: not at all
        (-76, [], -2),  # never more
        (24, [(-30, 20)], 1),
        (24, [(-30, 40), (-50, 11)], 0),  # every part stays inside
        (0, [(13, 40)], 2),  # one that is outside comes in
        (0, [(60, 90)], 2),  # or as near as it can
    ],
)
def test_octaves_come_near_and_stay_inside(
    up: float, rooms: list[tuple[float, float]], octaves: int
) -> None:
    assert nearest_octaves(up, rooms) == octaves
    assert Move(3, octaves).semitones == 3 + 12 * octaves


# --- files ---


@pytest.mark.skipif(not MUSIC.is_dir(), reason="the shared corpora are not here: no music folder")
def test_nottingham_is_in_the_keys_its_files_state() -> None:
    right, scales, sure = [], [], []
    with zipfile.ZipFile(MUSIC / "nottingham.zip") as opened:
        names = [n for n in opened.namelist() if "full/" in n and n.endswith(".mid")]
        for name in names[::8]:
            song = read(opened.read(name))
            stated = {(key.sharps, key.minor) for key in song.keys}
            if len(stated) != 1:
                continue
            [(sharps, minor)] = stated
            found = estimate(joined(track.notes for track in song.tracks))
            scales.append(found.scale == sharps * 7 % 12)
            right.append(scales[-1] and found.minor == minor)
            sure.append(found.confidence)
    assert len(right) > 100
    assert np.mean(right) > 0.9 and np.mean(scales) > 0.94  # of all: 0.946 and 0.973
    certain = np.array(scales)[np.array(sure) > 0.9]
    assert len(certain) > 0.8 * len(right) and certain.mean() > 0.97
