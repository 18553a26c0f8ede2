"""Piano rolls draw every note once, at its place, in panels that can be compared."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from seqvae.codecs.voices import KIT
from seqvae.errors import Refused
from seqvae.midi import Metre, notes_of
from seqvae.midi.clips import Clip
from seqvae.music.rolls import contact_sheet, kept_notes, roll, square_sheet
from seqvae.plots import save

BAR = 1920
TUNE = [(0, 480, 60, 127), (480, 960, 62, 20), (BAR, BAR + 960, 79, 80)]
BEAT = [(0, 60, 36, 90), (0, 60, 42, 70), (480, 540, 38, 80)]
TRIO = {"melody": TUNE, "bass": [(0, BAR, 36, 90)], "drums": BEAT}


def clip(parts: Any = None, bars: int = 2, **more: Any) -> Clip:
    parts = {"melody": TUNE} if parts is None else parts
    return Clip({part: notes_of(rows) for part, rows in parts.items()}, bars * BAR, **more)


def drawn(panel: Axes, part: str) -> PathCollection:
    [found] = [c for c in panel.collections if c.get_gid() == part]
    assert isinstance(found, PathCollection)
    return found


def boxes(panel: Axes, part: str) -> list[list[float]]:
    """Left, right and middle of what is drawn."""
    extents = [path.get_extents() for path in drawn(panel, part).get_paths()]
    return [[box.x0, box.x1, (box.y0 + box.y1) / 2] for box in extents]


def texts(panel: Axes) -> list[str]:
    return [text.get_text() for text in panel.texts]


def labels(panel: Axes) -> list[str]:
    return [label.get_text() for label in panel.get_yticklabels()]


def test_a_note_lies_at_its_pitch_from_its_beginning_almost_to_its_end() -> None:
    [panel] = roll(clip()).axes
    for (x0, x1, y), (start, end, pitch, _) in zip(boxes(panel, "melody"), TUNE, strict=True):
        assert x0 == start / 480
        assert y == pytest.approx(pitch)
        assert end / 480 - 0.05 < x1 < end / 480


def test_every_note_of_every_part_is_drawn_once_and_inside() -> None:
    [panel] = roll(clip(TRIO)).axes
    low, high = panel.get_ylim()
    for part, notes in TRIO.items():
        assert len(boxes(panel, part)) == len(notes)
        assert all(low < y < high for _, _, y in boxes(panel, part))
    parts = [c.get_gid() for c in panel.collections if c.get_gid() != "rows"]
    assert {part for part in parts if part} == set(TRIO)


def test_drums_lie_below_the_pitches_on_lanes_that_are_named_from_the_kick_up() -> None:
    [panel] = roll(clip(TRIO)).axes
    assert labels(panel)[-3:] == ["kick", "snare", "closed hi-hat"]
    heights = dict(zip(labels(panel), panel.get_yticks(), strict=True))
    named = [heights[name] for name in ("kick", "closed hi-hat", "snare")]
    assert [y for _, _, y in boxes(panel, "drums")] == pytest.approx(named)
    assert heights["closed hi-hat"] < min(y for _, _, y in boxes(panel, "bass"))


def test_octaves_are_named_by_their_c() -> None:
    [panel] = roll(clip({"melody": [(0, 480, 47, 80), (0, 480, 73, 80)]})).axes
    assert dict(zip(labels(panel), panel.get_yticks(), strict=True)) == {
        "C3": 48,
        "C4": 60,
        "C5": 72,
    }


def test_louder_is_more_opaque() -> None:
    [panel] = roll(clip()).axes
    first, second, third = np.asarray(drawn(panel, "melody").get_facecolor())[:, 3]
    assert first == 1 > third > second > 0.3


@pytest.mark.parametrize(
    ("metre", "bars", "beats"),
    [(Metre(4, 4), 3, 9), (Metre(3, 4), 3, 7), (Metre(6, 8), 3, 5), (Metre(5, 8), 3, 11)],
)
def test_lines_are_drawn_at_the_bars_and_the_beats_of_the_metre(
    metre: Metre, bars: int, beats: int
) -> None:
    [panel] = roll(Clip({}, round(2 * metre.beats * 480), metre=metre)).axes
    lines = [c for c in panel.collections if isinstance(c, LineCollection)]
    drawn_lines = [line.get_segments() for line in lines[-2:]]
    assert [len(segments) for segments in drawn_lines] == [beats, bars]
    assert [float(x) for [[x, _], _] in drawn_lines[1]] == [0, metre.beats, 2 * metre.beats]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2"]


def test_a_contact_sheet_has_a_panel_a_step_and_all_have_the_same_axes() -> None:
    steps = [clip(TRIO), clip({}), clip({"melody": [(0, 9000, 100, 1)]}, bars=5), clip()]
    figure = contact_sheet(steps, ["a", "b", "c", "d"], heading="h", notes="n\nm")
    assert len(figure.axes) == 4
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert [texts(axes)[-2] for axes in figure.axes] == ["a", "b", "c", "d"]
    assert figure.texts[0].get_text() == "h"
    assert figure.texts[1].get_text().splitlines()[1:] == ["n", "m"]


@pytest.mark.parametrize("count", [1, 2, 11, 14])
def test_the_eye_follows_the_steps_by_rows(count: int) -> None:
    figure = contact_sheet([clip()] * count, [str(i) for i in range(count)])
    boxes = [axes.get_position() for axes in figure.axes]
    places = [(-round(box.y0, 6), box.x0) for box in boxes]
    assert places == sorted(places)
    assert min(min(box.x0, box.y0) for box in boxes) > 0
    assert max(max(box.x1, box.y1) for box in boxes) < 1
    assert all(a.y0 >= b.y1 or a.x1 <= b.x0 for a, b in pairwise(boxes))


def test_steps_go_from_blue_to_red() -> None:
    figure = contact_sheet([clip()] * 3, ["a", "b", "c"], mixes=[0, 0.25, 1])
    colors = [axes.texts[0].get_color() for axes in figure.axes]
    assert (colors[0], colors[2]) == ("#2b6cb0", "#c05621")
    assert len(set(colors)) == 3


def test_a_square_lies_as_it_is_read_on_one_scale_with_a_colour_a_corner() -> None:
    clips = [clip(TRIO), *[clip({"melody": [(0, 480, 40 + 8 * i, 80)]}) for i in range(8)]]
    figure = square_sheet(clips, [str(i) for i in range(9)], heading="h", notes="n")
    assert [texts(axes)[0] for axes in figure.axes] == [str(i) for i in range(9)]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    boxes = [axes.get_position() for axes in figure.axes]
    places = [(-round(box.y0, 6), round(box.x0, 6)) for box in boxes]
    assert places == sorted(places) and len({y for y, _ in places}) == 3
    assert all(a.y0 >= b.y1 or a.x1 <= b.x0 for a, b in pairwise(boxes))
    assert max(max(box.x1, box.y1) for box in boxes) < 1
    colors = [axes.texts[0].get_color() for axes in figure.axes]
    assert (colors[0], colors[2]) == ("#2b6cb0", "#c05621") and len(set(colors)) == 9
    for count in (0, 2, 5):
        with pytest.raises(Refused, match=f"a square of {count} clips"):
            square_sheet(clips[:count], ["x"] * count)


def test_steps_have_colours_of_their_own_if_they_are_given() -> None:
    figure = contact_sheet([clip()] * 2, "ab", colors=["#2f855a", "#6b46c1"])
    assert [axes.texts[0].get_color() for axes in figure.axes] == ["#2f855a", "#6b46c1"]


def test_what_the_step_before_has_too_is_pale() -> None:
    changed = [TUNE[0], (480, 960, 64, 20), TUNE[2]]
    figure = contact_sheet([clip(), clip({"melody": changed})], ["a", "b"])
    before, after = (np.asarray(drawn(a, "melody").get_facecolor())[:, 3] for a in figure.axes)
    assert (after < before).tolist() == [True, False, True]


def test_a_note_is_kept_if_it_begins_within_a_thirty_second_at_the_same_pitch() -> None:
    one = clip({"melody": [(0, 10, 60, 9), (480, 500, 60, 9), (960, 990, 61, 9)]})
    other = clip({"melody": [(30, 480, 60, 99), (270, 280, 60, 99), (480, 490, 60, 99)]})
    twice = other.rescaled(960)
    assert kept_notes(one, other, "melody").tolist() == [True, True, False]
    assert kept_notes(one, twice, "melody").tolist() == [True, True, False]
    assert not kept_notes(one, clip({}), "melody").any()


def test_a_drum_is_kept_if_the_same_of_the_nine_was_struck() -> None:
    one, other = (clip({"drums": [(0, 60, pitch, 80)]}) for pitch in (38, 40))
    assert kept_notes(one, other, "drums").all()


def test_labels_say_mix_key_and_tempo() -> None:
    steps = [clip(qpm=100.4, about={"key": "C minor"})]
    [panel] = contact_sheet(steps, ["a"], mixes=[0.125]).axes
    assert texts(panel)[1] == "13 % B · C minor · 100 bpm"
    assert texts(roll(steps[0], "t").axes[0]) == ["t", "C minor · 4/4 · 100 bpm"]


@pytest.mark.parametrize(
    ("parts", "named"),
    [({}, ["C4", "C5"]), ({"melody": []}, ["C4", "C5"]), ({"drums": []}, list(KIT))],
)
def test_a_clip_without_notes_says_so(parts: Any, named: list[str], tmp_path: Path) -> None:
    figure = contact_sheet([clip(parts)], ["a"])
    assert "no notes" in texts(figure.axes[0])
    assert "no notes" in texts(roll(clip(parts)).axes[0])
    assert labels(figure.axes[0]) == named
    save(figure, tmp_path / "a.png")


def test_any_title_is_written_without_a_warning(tmp_path: Path) -> None:
    figure = contact_sheet(
        [clip()], ["123我爱你 $x_ $\n" + 200 * "é"], heading="旋$律$", notes="$"
    )
    save(figure, tmp_path / "a.png")
    assert texts(figure.axes[0])[0].startswith("123??? $x_ $ é")
    assert texts(figure.axes[0])[0].endswith("é…")


@pytest.mark.parametrize("figure", [roll(clip(TRIO), "t"), contact_sheet([clip()] * 2, "ab")])
def test_a_figure_is_saved_as_png(figure: Figure, tmp_path: Path) -> None:
    assert save(figure, tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_no_steps_are_refused() -> None:
    with pytest.raises(Refused, match="one clip or more"):
        contact_sheet([], [])


def test_nothing_global_is_drawn_on() -> None:
    before = sys.modules.pop("matplotlib.pyplot", None)
    contact_sheet([clip(TRIO)] * 2, "ab")
    assert "matplotlib.pyplot" not in sys.modules
    if before is not None:
        sys.modules["matplotlib.pyplot"] = before
