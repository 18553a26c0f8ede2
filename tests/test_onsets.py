"""What begins when: likeness against a naive search over transpositions, and lines that move."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvae.codecs.voices import WRITTEN
from seqvae.measures import onsets
from seqvae.measures.onsets import Struck, alike, distance, distances, line, moves, struck
from seqvae.midi import Notes, notes_of
from seqvae.midi.clips import DRUMS, Clip

SIXTEENTH = 120  # ticks
NOTES = st.lists(st.tuples(st.integers(0, 7), st.integers(55, 66)), max_size=6)
STROKES = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(WRITTEN)), max_size=6)


def played(rows: list[tuple[int, int]]) -> Notes:
    """Notes at sixteenths."""
    return notes_of((at * SIXTEENTH, (at + 1) * SIXTEENTH, pitch, 80) for at, pitch in set(rows))


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    parts = {"melody": draw(NOTES), "bass": draw(NOTES), DRUMS: draw(STROKES)}
    return Clip({name: played(rows) for name, rows in parts.items()}, 8 * SIXTEENTH)


def naive(one: Clip, other: Clip) -> float:
    """1 - (notes + onsets) / 2, every transposition tried."""

    def rows(clip: Clip, up: int) -> set[tuple[str, int, int]]:
        return {
            (part, start, pitch + up * (part != DRUMS))
            for part, notes in clip.parts.items()
            for start, _, pitch, _ in notes.table.tolist()
        }

    def f1(first: set[object], second: set[object]) -> float:
        total = len(first) + len(second)
        return 2 * len(first & second) / total if total else 1.0

    target = rows(other, 0)
    notes = max(f1({*rows(one, up)}, {*target}) for up in range(-24, 25))
    onsets = f1({row[:2] for row in rows(one, 0)}, {row[:2] for row in target})
    return 1 - (notes + onsets) / 2


@settings(max_examples=60, deadline=None)
@given(clips(), clips(), st.integers(-12, 12))
def test_a_distance_is_that_of_a_search_symmetric_and_blind_to_keys(
    one: Clip, other: Clip, up: int
) -> None:
    found = distance(one, other, 4)
    assert found == pytest.approx(naive(one, other), abs=1e-12)
    assert found == distance(other, one, 4) == pytest.approx(distance(one.moved(up), other, 4))
    assert 0 <= found <= 1 and distance(one, one.moved(up), 4) == 0


def test_the_transposition_found_is_the_smallest_of_those_that_fit() -> None:
    tune = Clip({"melody": played([(0, 60), (2, 64), (4, 67)])}, 1920)
    assert alike(struck(tune), struck(tune.moved(-5))).moved == -5
    assert alike(struck(tune), struck(Clip({}, 1920))) == (0.0, 0.0, 0)
    octaves = Clip({"melody": played([(0, 48), (0, 72)])}, 1920)
    assert alike(struck(octaves), struck(octaves.moved(12))).moved == 12
    one = Clip({"melody": played([(0, 60)])}, 1920)
    assert alike(struck(octaves), struck(one)).moved == -12, "of 12 down and 12 up the lower"


def test_all_parts_move_together_and_drums_do_not() -> None:
    parts = {"melody": played([(0, 60)]), "bass": played([(0, 40)])}
    clip = Clip(parts, 1920)
    apart = Clip({"melody": played([(0, 62)]), "bass": played([(0, 45)])}, 1920)
    assert alike(struck(clip), struck(apart)).notes == 0.5
    kick, snare = (Clip({DRUMS: played([(0, pitch)])}, 1920) for pitch in WRITTEN[:2])
    assert distance(kick, snare) == 0.5, "the same rhythm on another drum"


def test_ticks_lengths_and_velocities_count_for_nothing_a_late_note_for_its_step() -> None:
    clip = Clip({"melody": played([(0, 60), (3, 64)])}, 1920)
    loose = Clip({"melody": notes_of([(0, 9, 60, 1), (3 * SIXTEENTH + 13, 900, 64, 127)])}, 1920)
    assert distance(clip, loose, 4) == 0 == distance(clip, clip.rescaled(96), 4)
    assert distance(clip, loose, 24) > 0, "a finer grid tells them apart"


def test_a_line_is_of_highest_notes_and_of_all_drums_struck() -> None:
    chord = Clip({"melody": played([(0, 60), (0, 64), (2, 62)]), DRUMS: played([])}, 1920)
    assert line(chord, "melody", 4).tolist() == [[0, 64], [2, 62]]
    assert moves(chord, "melody", 4).tolist() == [[-2, 2]]
    assert moves(chord, DRUMS).shape == moves(chord, "absent").shape == (0, 2)
    kick, snare, hat = WRITTEN[:3]
    beat = Clip({DRUMS: played([(0, kick), (0, hat), (2, snare), (4, kick)])}, 1920)
    assert line(beat, DRUMS, 4).tolist() == [[0, 5], [2, 2], [4, 1]]
    assert moves(beat, DRUMS, 4).tolist() == [[2, 2], [1, 2]]
    assert np.array_equal(moves(chord.moved(7), "melody", 4), moves(chord, "melody", 4))


@given(st.lists(clips(), min_size=1, max_size=4), st.lists(clips(), min_size=1, max_size=3))
@pytest.mark.parametrize("at_once", [1, 1 << 22])
def test_distances_of_many_are_each_their_own(
    at_once: int, ones: list[Clip], others: list[Clip]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onsets, "COUNTS_AT_ONCE", at_once)
        first, second = ([struck(clip, 4) for clip in each] for each in (ones, others))
        found = distances(first, second)
    own = [[distance(one, other, 4) for other in others] for one in ones]
    assert found.tolist() == [pytest.approx(row) for row in own]


@given(st.lists(clips(), min_size=1, max_size=3), clips(), clips(), clips())
def test_what_stands_beside_all_is_heard_with_each(
    ones: list[Clip], other: Clip, first: Clip, second: Clip
) -> None:
    later = 2 * max(clip.length for clip in (*ones, other))
    rests = [
        {(part, n + later): what for (part, n), what in struck(c, 4).items()}
        for c in (first, second)
    ]
    own, its = [struck(clip, 4) for clip in ones], struck(other, 4)
    found = distances(own, [its], (rests[0], rests[1]))
    whole = [alike({**each, **rests[0]}, {**its, **rests[1]}).distance for each in own]
    assert found[:, 0].tolist() == pytest.approx(whole)


def test_distances_of_nothing_to_something() -> None:
    silence: Struck = {}
    note: Struck = {("melody", 0): frozenset({60})}
    assert distances([silence, note], [silence, note]).tolist() == [[0, 1], [1, 0]]
