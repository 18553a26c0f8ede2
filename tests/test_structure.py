"""How music is built: bars, chords, grooves and copies whose figures are known beforehand."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvae.codecs.voices import WRITTEN
from seqvae.errors import Refused
from seqvae.measures.structure import (
    Chord,
    by_lag,
    chord_classes,
    chord_tones,
    copied,
    copies,
    groove,
    longest_runs,
    repeated,
    self_similarity,
    strong_beats,
    structure,
)
from seqvae.midi import Bars, Metre, notes_of
from seqvae.midi.clips import DRUMS, Clip

BAR = 1920
KICK, SNARE = WRITTEN[:2]


def bars(*each: Iterable[int], metre: Metre | None = None) -> Clip:
    """A bar a list of pitches, a beat each."""
    metre = metre or Metre(4, 4)
    long = round(metre.beats * 480)
    rows = [
        (at * long + 480 * beat, at * long + 480 * beat + 480, pitch, 80)
        for at, pitches in enumerate(each)
        for beat, pitch in enumerate(pitches)
    ]
    return Clip({"melody": notes_of(rows)}, len(each) * long, metre=metre)


# --- bars that come again ------------------------------------------------------------------------


def test_a_bar_is_like_itself_in_another_key_and_half_like_its_half() -> None:
    clip = bars([60, 62, 64], [67, 69, 71], [60, 62], [], [])
    found = self_similarity(clip)
    assert np.array_equal(found, found.T, equal_nan=True)
    assert found[0, 1] == 1 and found[0, 2] == found[1, 2] == 0.8 and found[0, 3] == 0
    assert math.isnan(found[3, 4]) and math.isnan(found[3, 3]) and found[0, 0] == 1
    # 1 apart: 1, .8, 0 and one unknown; 2: .8, 0, 0; 3: 0, 0; 4: 0.
    assert by_lag(found).tolist() == pytest.approx([0.6, 0.8 / 3, 0, 0])


def test_bars_are_those_of_the_metre_and_a_late_note_belongs_to_the_next() -> None:
    waltz = bars([60, 62, 64], [60, 62, 64], metre=Metre(3, 4))
    assert self_similarity(waltz).shape == (2, 2) and self_similarity(waltz).min() == 1
    late = Clip({"melody": notes_of([(BAR - 3, 2400, 60, 80), (0, 480, 50, 80)])}, 2 * BAR)
    assert self_similarity(late, 4)[0, 1] == 1, "heard on the bar line"


def test_a_song_of_two_phrases_repeats_by_phrases_and_not_by_bars() -> None:
    one, other = [60, 62, 64, 65], [60, 55, 60, 54]
    found = self_similarity(bars(one, other, one, other))
    assert repeated(found) == repeated(found, 2, 1.0) * 3 / 2 == 1.0, "the middle phrase overlaps"
    assert repeated(self_similarity(bars(one, other))) == 0.0
    assert math.isnan(repeated(self_similarity(bars([], []))))
    assert math.isnan(repeated(found, 5))
    with pytest.raises(Refused, match="bars = 0"):
        repeated(found, 0)


def test_structure_of_samples_stands_beside_that_of_data() -> None:
    same, apart = bars([60, 62], [60, 62]), bars([60, 62], [60, 62], [60, 50, 51], [40])
    found = structure([same], [same, apart])
    assert found["bar_similarity"] == found["bar_repeated"] == 1.0
    assert found["bar_repeated_real"] == 0.75
    assert (
        found["bar_similarity_by_lag"] == [1.0] and len(found["bar_similarity_by_lag_real"]) == 3
    )
    none = structure([bars([60])], [])
    assert none["bar_similarity"] is None is none["bar_repeated"]
    assert none["bar_similarity_by_lag_real"] == []


# --- chord tones ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("C", {0, 4, 7}),
        ("Eb:min", {3, 6, 10}),
        ("F#:hdim7", {6, 9, 0, 4}),
        ("B:7/b7", {11, 3, 6, 9}),
        ("G:maj/2", {7, 11, 2, 9}),
        ("C:maj(*3,9)", {0, 7, 2}),
        ("C:(1,b3)", {0, 3}),
        ("Cb:dim7", {11, 2, 5, 8}),
        ("N", set()),
    ],
)
def test_a_chord_has_the_notes_that_its_label_says(label: str, classes: set[int]) -> None:
    assert chord_classes(label) == classes


@pytest.mark.parametrize("label", ["H:maj", "C:hard", "", "C:maj(x)", "C:maj(0)", "c"])
def test_what_is_no_chord_is_refused(label: str) -> None:
    with pytest.raises(Refused, match="write it as"):
        chord_classes(label)


def test_notes_on_strong_beats_are_held_against_the_chord_that_holds() -> None:
    tune = bars([60, 61, 64, 61], [62, 60, 65, 60])
    chords = [Chord(0, BAR, chord_classes("C")), Chord(BAR, 2 * BAR, chord_classes("D:min"))]
    strong = strong_beats(Bars(np.array([0, BAR, 2 * BAR], np.int32), [Metre(4, 4)] * 2))
    assert strong == [0, 960, 1920, 2880]
    assert chord_tones(tune.part("melody"), chords, strong) == (1.0, 0.5, 4)
    weak = [tick + 480 for tick in strong]
    assert chord_tones(tune.part("melody"), chords, weak).share == 0.0
    assert chord_tones(tune.part("melody"), chords[:1], strong).notes == 2
    assert chord_tones(tune.part("melody"), [], strong) == (None, None, 0)


def test_a_note_that_comes_a_little_late_is_heard_on_its_beat() -> None:
    late = notes_of([(0, 490, 61, 80), (490, 960, 60, 80)])
    chords = [Chord(480, 960, chord_classes("C"))]
    assert chord_tones(late, chords, [480]).share == 0.0
    assert chord_tones(late, chords, [480], early=20).share == 1.0


# --- the feel of drums ---------------------------------------------------------------------------


def beat(*rows: tuple[int, int, int], qpm: float = 120.0) -> Clip:
    """Strokes (tick, drum, velocity)."""
    return Clip({DRUMS: notes_of((at, at + 9, p, v) for at, p, v in rows)}, BAR, qpm=qpm)


def test_a_groove_is_as_far_off_as_it_was_moved() -> None:
    true = beat((0, KICK, 100), (490, SNARE, 80), (970, KICK, 90), (1440, SNARE, 70), qpm=60.0)
    again = beat((0, KICK, 90), (480, SNARE, 84), (960, KICK, 90), (1200, SNARE, 1))
    found = groove([(true, again)])
    tick = 1000 / 480  # milliseconds at 60 quarters a minute
    assert (found["groove_true"], found["groove_strokes"]) == (4, 3)
    assert found["groove_velocity"] == pytest.approx((10 + 4 + 0) / 3)
    assert found["groove_timing"] == found["groove_timing_grid"] == pytest.approx(20 / 3 * tick)
    assert found["groove_velocity_flat"] == pytest.approx((5 + 5 + 0) / 3)
    kick, snare = found["groove_drums"]
    assert (kick["drum"], kick["velocity"], kick["strokes"]) == ("kick", 5.0, 2)
    assert (snare["drum"], snare["timing"]) == ("snare", pytest.approx(10 * tick))


def test_what_comes_back_as_it_was_played_is_not_off_and_what_is_not_there_has_no_figure() -> None:
    true = beat((3, KICK, 100), (3, KICK, 20), (490, SNARE, 80))
    same = groove([(true, true), (true, true)])
    assert same["groove_velocity"] == same["groove_timing"] == 0.0 < same["groove_timing_grid"]
    none = groove([(true, beat())])
    assert none["groove_velocity"] is None is none["groove_timing"] and none["groove_true"] == 2
    assert groove([])["groove_drums"] == []
    with pytest.raises(Refused, match="steps = 0"):
        groove([], steps=0)


# --- what is copied ------------------------------------------------------------------------------

LINES = st.lists(st.lists(st.integers(0, 2), max_size=7), max_size=4)


@settings(max_examples=80, deadline=None)
@given(LINES, LINES)
def test_the_longest_run_is_that_of_a_naive_search(
    asked: list[list[int]], known: list[list[int]]
) -> None:
    found = longest_runs(*([np.array(x, np.int64) for x in each] for each in (asked, known)))
    grams = {tuple(x[i:j]) for x in known for i in range(len(x)) for j in range(i + 1, len(x) + 1)}
    for line, run in zip(asked, found.tolist(), strict=True):
        pairs = [(i, j) for i in range(len(line)) for j in range(i + 1, len(line) + 1)]
        assert run == max((j - i for i, j in pairs if tuple(line[i:j]) in grams), default=0)


def test_a_copy_is_one_in_any_key_but_not_in_another_rhythm() -> None:
    tune = bars([60, 62, 64, 65], [67, 60, 59, 60])
    assert copied([tune.moved(3)], [tune]).share.tolist() == [1.0]
    assert copied([tune.stretched(2)], [tune]).longest.tolist() == [0]
    whole, single = copied([tune, bars([60])], [tune])
    assert whole.tolist() == [7, 0] and single.tolist() == [7, 0]
    assert copied([tune], []).longest.tolist() == [0]


def test_copies_are_counted_beside_those_of_held_out_data() -> None:
    tune, new = bars([60, 62, 64, 65]), bars([60, 67, 50, 52])
    found = copies([tune, tune, bars([])], [new, new], [tune])
    assert (found["copy_share"], found["copy_whole"], found["copy_moves"]) == (1.0, 1.0, 3.0)
    assert found["copy_share_real"] == pytest.approx(1 / 3), "a second up, as in the tune"
    assert found["copy_whole_real"] == 0.0 and found["copy_above"] == 1.0
    assert found["copy_lengths"] == [3, 3] and found["copy_lengths_real"] == [1, 1]
    none = copies([], [], [tune])
    assert none["copy_share"] is None is none["copy_above"]
