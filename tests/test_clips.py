"""Clips: cut and joined without a loss, heard as a grid counts, moved, stretched and rescaled."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvae.errors import Refused
from seqvae.midi import Metre, MetreChange, Notes, Song, notes_of
from seqvae.midi.clips import Clip, Grid, join, metre_of, split, starts, ties

GRIDS = st.builds(
    Grid,
    st.sampled_from([4, 6, 12, 24]),
    st.sampled_from([Metre(*m) for m in ((4, 4), (3, 4), (6, 8), (7, 8), (5, 4), (12, 8))]),
    st.integers(1, 2),
)
MANY = settings(deadline=None, derandomize=True, max_examples=100)
BAR = Grid(bars=1)  # 1920 ticks


def clip(*rows: tuple[int, int, int], length: int = 3840, part: str = "melody") -> Clip:
    return Clip({part: notes_of([(*row, 80) for row in rows])}, length)


def table(found: Clip, part: str = "melody") -> list[list[int]]:
    """Start, end and pitch of the notes of a part."""
    return found.part(part).table[:, :3].tolist()


def heard(*rows: tuple[int, int, int], part: str = "melody") -> list[list[list[int]]]:
    return [table(window, part) for window in split(clip(*rows, part=part), BAR)]


def ordered(notes: Notes) -> bool:
    rows = [(s, p, e, v) for s, e, p, v in notes.table.tolist()]
    return rows == sorted(rows)


# --- grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "bar", "length"),
    [
        (Grid(), 16, 32),
        (Grid(4, Metre(6, 8), 2), 12, 24),
        (Grid(6, Metre(7, 8), 1), 21, 21),
        (Grid(12, Metre(5, 4), 4), 60, 240),
        (Grid(24, Metre(12, 8), 1), 144, 144),
        (Grid(4, Metre(3, 2), 1), 24, 24),
    ],
)
def test_a_grid_is_so_many_steps(grid: Grid, bar: int, length: int) -> None:
    grid.check()
    assert (grid.bar, grid.length) == (bar, length)


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (Grid(5), r"5 steps a beat: choose one of \(4, 6, 12, 24\)"),
        (Grid(0), "0 steps"),
        (Grid(bars=0), "bars = 0"),
        (Grid(4, Metre(3, 32)), r"3/32 has 1\.5 steps.*more steps"),
        (Grid(6, Metre(7, 16)), r"7/16 has 10\.5 steps"),
        (Grid(4, Metre(0, 4)), "metre 0/4: write it as 4/4"),
        (Grid(4, Metre(4, 0)), "metre 4/0: write it as 4/4"),
        (Grid(6, Metre(4, 3)), "metre 4/3: write it as 4/4"),
    ],
)
def test_a_grid_on_which_bars_do_not_fall_is_refused(grid: Grid, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        grid.check()


def test_a_metre_is_read_as_it_is_written() -> None:
    for text in ("4/4", "6/8", "12/8", "7/16"):
        assert str(metre_of(text)) == text
    for text in ("", "4", "4/", "/4", "0/4", "4/0", "-3/4", "3.5/4", "4/4/4", " 4/4", "4:4"):
        with pytest.raises(Refused, match="write it as 4/4"):
            metre_of(text)


# --- cutting and joining -------------------------------------------------------------------------


@st.composite
def lines(draw: st.DrawFn) -> tuple[Clip, Grid]:
    """Notes one after the other on the steps of a grid, over some windows and perhaps a part."""
    grid, ticks = draw(GRIDS), draw(st.sampled_from([24, 96, 480, 960]))
    length = draw(st.integers(1, 3 * grid.length))
    at = sorted(draw(st.sets(st.integers(0, length), max_size=10)))
    pitches = draw(st.lists(st.integers(60, 61), min_size=10, max_size=10))
    sounds = draw(st.lists(st.booleans(), min_size=10, max_size=10))
    step = ticks // grid.steps
    rows = [
        (a * step, b * step, pitch, 80)
        for (a, b), pitch, on in zip(pairwise(at), pitches, sounds, strict=False)
        if on
    ]
    return Clip({"melody": notes_of(rows)}, length * step, ticks, grid.metre), grid


@given(drawn=lines())
@MANY
def test_joining_what_was_split_and_tied_gives_it_back(drawn: tuple[Clip, Grid]) -> None:
    whole, grid = drawn
    windows = split(whole, grid)
    assert join(windows, ties(whole, grid)) == whole
    window = grid.length * whole.ticks_per_beat // grid.steps
    assert [part.length for part in windows[:-1]] == [window] * (len(windows) - 1)
    assert 0 < windows[-1].length <= window


@given(
    ticks=st.integers(1, 500),
    grid=GRIDS,
    length=st.integers(0, 20_000),
    rows=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 900)), max_size=9),
)
@MANY
def test_windows_lie_side_by_side_whatever_a_tick_is(
    ticks: int, grid: Grid, length: int, rows: list[tuple[int, int]]
) -> None:
    notes = notes_of([(start, start + long, 60, 80) for start, long in rows])
    whole = Clip({"melody": notes, "drums": notes}, length, ticks)
    windows = split(whole, grid)
    assert sum(window.length for window in windows) == length
    assert all(window.length <= grid.length * ticks / grid.steps + 1 for window in windows)
    for window in windows:
        for notes in window.parts.values():
            assert (notes.start >= 0).all() and (notes.end > notes.start).all()
    struck = sum(len(window.part("drums")) for window in windows)
    assert struck == int((whole.part("drums").start < length).sum())  # each once


def test_windows_of_a_tick_and_a_half_are_one_and_two_ticks_long() -> None:
    sixteenths = Grid(4, Metre(6, 16), 1)
    found = [window.length for window in split(Clip({}, 9, 1), sixteenths)]
    assert sorted(found) == [1, 1, 1, 2, 2, 2]


def test_a_note_that_is_held_sounds_in_both_windows_and_a_drum_does_not() -> None:
    assert heard((960, 2880, 60)) == [[[960, 1920, 60]], [[0, 960, 60]]]
    assert heard((960, 2880, 49), part="drums") == [[[960, 1920, 49]], []]


def test_a_note_that_comes_early_belongs_to_the_next_window() -> None:
    assert heard((1900, 2400, 60)) == [[], [[0, 480, 60]]]
    assert heard((1860, 1900, 60)) == [[], [[0, 1, 60]]]
    assert heard((1859, 1900, 60)) == [[[1859, 1900, 60]], []]
    assert heard((1900, 1910, 36), part="drums") == [[], [[0, 1, 36]]]
    assert heard((3830, 3840, 60))[1] == [[1910, 1920, 60]]  # behind the last there is no other


def test_a_note_that_lasts_a_little_too_long_is_not_heard_again() -> None:
    """Or it would be struck on the next first beat, above the note that is played there."""
    assert heard((960, 1979, 72), (1920, 2880, 60)) == [[[960, 1920, 72]], [[0, 960, 60]]]
    assert heard((960, 1980, 72))[1] == [[0, 60, 72]]


def test_windows_are_tied_where_a_note_is_held_and_not_where_it_is_late() -> None:
    assert ties(clip((960, 2880, 60)), BAR) == {(1, "melody")}
    for rows in [(960, 1979, 60)], [(1900, 2880, 60)], [(960, 1920, 60), (1920, 2880, 60)], []:
        assert ties(clip(*rows), BAR) == set()
    long = clip((0, 5760, 60), length=5760)
    assert ties(long, BAR) == {(1, "melody"), (2, "melody")}
    assert join(split(long, BAR), ties(long, BAR)) == long


def test_only_notes_of_one_pitch_that_meet_are_tied() -> None:
    first, second = clip((0, 1920, 60), length=1920), clip((0, 480, 60), length=1920)
    assert table(join([first, second], {(1, "melody")})) == [[0, 2400, 60]]
    assert table(join([first, second])) == [[0, 1920, 60], [1920, 2400, 60]]
    for other in clip((0, 480, 61), length=1920), clip((120, 480, 60), length=1920):
        assert len(table(join([first, other], {(1, "melody")}))) == 2
    assert len(table(join([clip((0, 1800, 60), length=1920), second], {(1, "melody")}))) == 2


def test_joined_clips_have_all_parts_of_each_in_the_first_ones_ticks() -> None:
    tune, beat = clip((0, 480, 60), length=1920), clip((0, 60, 36), length=1920, part="drums")
    both = join([tune, beat.rescaled(96)])
    assert table(both) == [[0, 480, 60]] and table(both, "drums") == [[1920, 1980, 36]]
    assert both.length == 3840 and both.ticks_per_beat == 480 and both.notes == 2


def test_cutting_keeps_what_sounds() -> None:
    found = clip((0, 960, 60), (480, 600, 72), (1920, 2880, 62)).cut(480, 2400)
    assert table(found) == [[0, 480, 60], [0, 120, 72], [1440, 1920, 62]]
    assert found.length == 1920 and found.metre == (4, 4)


# --- other notes ---------------------------------------------------------------------------------


def test_all_but_drums_move_by_semitones_and_stay_within_midi() -> None:
    both = Clip(
        {**clip((0, 9, 60), (0, 9, 126)).parts, "drums": clip((0, 9, 36)).parts["melody"]}, 9
    )
    for semitones in (-61, -5, 0, 7, 12):
        moved = both.moved(semitones)
        assert table(moved, "drums") == [[0, 9, 36]]
        away = {(pitch - semitones) % 12 for _, _, pitch in table(moved)}
        assert away == {0, 6} and all(0 <= pitch <= 127 for _, _, pitch in table(moved))
    assert table(both.moved(5)) == [[0, 9, 65], [0, 9, 119]]
    assert table(both.moved(5, spared=()), "drums") == [[0, 9, 41]]


ANY_NOTES = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(1, 900), st.integers(0, 127), st.integers(1, 127))
).map(lambda rows: notes_of([(s, s + long, p, v) for s, long, p, v in rows]))


@given(notes=ANY_NOTES, factor=st.sampled_from([0.25, 0.5, 0.75, 1.0, 4 / 3, 1.5, 2.0, 4.0]))
@MANY
def test_stretching_keeps_every_note_in_order_and_scales_its_time(
    notes: Notes, factor: float
) -> None:
    whole = Clip({"melody": notes}, 5000)
    longer = whole.stretched(factor)
    part = longer.part("melody")
    assert longer.length == round(5000 * factor) and longer.notes == whole.notes
    assert ordered(part) and (part.end > part.start).all()
    assert sorted(part.pitch.tolist()) == sorted(notes.pitch.tolist())
    assert np.abs(part.start - np.sort(notes.start) * factor).max(initial=0) <= 0.5
    if factor >= 1 and (factor * 3).is_integer():
        assert longer.stretched(1 / factor) == whole


def test_notes_that_come_together_by_being_shortened_are_in_order() -> None:
    assert table(clip((1, 9, 70), (2, 9, 60)).stretched(0.5)) == [[1, 5, 60], [1, 5, 70]]


@given(notes=ANY_NOTES)
@MANY
def test_finer_ticks_lose_nothing(notes: Notes) -> None:
    whole = Clip({"melody": notes}, 5000, 480)
    for ticks in (480, 960, 1440):
        finer = whole.rescaled(ticks)
        assert finer.rescaled(480) == whole and finer.ticks_per_beat == ticks
        assert finer.length == 5000 * ticks // 480
        assert finer.bar == 4 * ticks


def test_a_part_that_a_clip_lacks_has_no_notes() -> None:
    found = clip((0, 480, 60))
    assert len(found.part("bass")) == 0 and found.notes == 1
    assert split(Clip({}, 0), BAR)[0].length == 0


# --- where windows begin -------------------------------------------------------------------------


def song(*metres: tuple[int, Metre], length: int = 9600) -> Song:
    return Song([], metres=[MetreChange(*metre) for metre in metres], length=length)


def test_windows_begin_where_bars_of_their_metre_follow() -> None:
    found = song((0, Metre(4, 4)), (5760, Metre(3, 4)), (7200, Metre(4, 4)), length=11_040)
    bars = found.bars
    assert bars.start.tolist() == [0, 1920, 3840, 5760, 7200, 9120, 11_040]
    four, three = Grid(bars=2), Grid(4, Metre(3, 4), 1)
    assert list(starts(bars, four, 480)) == [0, 1920, 7200, 9120]  # the last has a bar of rest
    assert list(starts(bars, three, 480)) == [5760]
    assert list(starts(bars, four, 480, "beats")) == bars.start[:-1].tolist()
    assert list(starts(song((0, Metre(6, 8))).bars, four, 480)) == []
