"""Feel: swing, onsets and velocities measured, taken out, mixed and put back; known answers."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from console import Command
from echo import echo
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.composer import compose
from seqvae.codecs import DrumsCodec, GrooveCodec, MelodyCodec, MusicCodec, TrioCodec
from seqvae.errors import Refused
from seqvae.explore import Decoding
from seqvae.midi import Metre, Song, Track, notes_of, read, to_bytes, write
from seqvae.midi.clips import STEPS, Clip
from seqvae.music.feel import (
    Playing,
    Template,
    Touch,
    flat,
    free_time,
    humanised,
    mixed,
    quantised,
    swing,
    swung,
    templates,
)
from seqvae.music.morph import Morph, morph
from seqvae.music.studio import reconstruct
from seqvae.music.taste import Taste

MANY = settings(deadline=None, derandomize=True, max_examples=60)
SHARES = st.floats(0, 1)
CODECS: dict[str, MusicCodec] = {
    "melody": MelodyCodec(bars=2),
    "drums": DrumsCodec(bars=2),
    "groove": GrooveCodec(bars=2),
    "trio": TrioCodec(bars=1),
}
TWO = compose(3, metre=(4, 4), feel="human").song, compose(6, metre=(4, 4), feel="human").song
START, END = np.s_[:, 0], np.s_[:, 1]
SHORT = 0, 120, 360  # of a beat: its sixteenths, but for the third


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    """Any music within two bars, melodies one note at a time."""
    row = st.tuples(st.integers(0, 3839), st.integers(1, 700), st.integers(1, 127))
    hits = [(s, min(s + d, 3840), 36 + v % 9, v) for s, d, v in draw(st.lists(row, max_size=20))]
    line = sorted({s: (s, s + d, 60, v) for s, d, v in draw(st.lists(row, max_size=12))}.values())
    ends = [*(row[0] for row in line[1:]), 3840][: len(line)]
    tune = [(s, min(e, end), p, v) for (s, e, p, v), end in zip(line, ends, strict=True)]
    return Clip({"drums": notes_of(hits), "melody": notes_of(tune)}, 3840, qpm=100.0)


def clip(*rows: tuple[int, int, int, int], part: str = "melody", **other: Any) -> Clip:
    return Clip({part: notes_of(rows)}, other.pop("length", 1920), **other)


def eighths(off: float, bars: int = 2, **other: Any) -> Clip:
    """Eighths one after the other, those off the beat at so much of it."""
    starts = [round(480 * (i // 2 + (i % 2) * off)) for i in range(8 * bars)]
    ends = [*starts[1:], 1920 * bars]
    rows = [(s, e, 60 + i % 5, 80) for i, (s, e) in enumerate(zip(starts, ends, strict=True))]
    return clip(*rows, length=1920 * bars, **other)


def table(found: Clip, part: str = "melody") -> Any:
    return found.part(part).table


# --- swing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [50.0, 55.0, 60.0, 66.0, 70.0])
def test_swing_is_where_the_off_beat_eighth_lies(percent: float) -> None:
    assert swing(eighths(percent / 100)) == pytest.approx(percent, abs=0.2)
    assert swing(swung(eighths(0.5), percent)) == pytest.approx(percent, abs=0.2)


def test_a_swing_of_66_puts_the_off_beat_eighth_at_two_thirds_of_the_beat() -> None:
    found = swung(eighths(0.5, bars=1), 200 / 3)
    assert table(found)[START].tolist() == [0, 320, 480, 800, 960, 1280, 1440, 1760]
    assert table(found)[END].tolist() == [320, 480, 800, 960, 1280, 1440, 1760, 1920]
    # What lies between is stretched with it: sixteenths go to a third and five sixths.
    sixteenths = clip((120, 240, 60, 80), (360, 480, 62, 80))
    assert table(swung(sixteenths, 200 / 3))[START].tolist() == [160, 400]


@given(clip=clips(), to=st.floats(20, 80), at=st.floats(20, 80))
@MANY
def test_swing_keeps_order_beats_and_the_bounds_of_the_clip(
    clip: Clip, to: float, at: float
) -> None:
    found = swung(clip, to, at)
    for name, notes in clip.parts.items():
        new = found.part(name)
        assert len(new) == len(notes) and sorted(new.velocity) == sorted(notes.velocity)
        assert (new.start < new.end).all() and (new.start >= 0).all()
        assert (new.end <= clip.length + 1).all()
        on = notes.start % 480 == 0
        assert np.isin(notes.start[on], new.start).all()
    back = swung(found, at, to)
    for name, notes in clip.parts.items():
        # A tick of rounding, stretched by as much as half a beat of 20 % is to 50 %.
        assert np.abs(back.part(name).start - notes.start).max(initial=0) <= 4
    assert swung(clip, at, at) is clip


def test_a_dotted_eighth_swings_only_where_no_other_sixteenths_are() -> None:
    assert swing(eighths(0.75)) == 75 and swing(eighths(0.78)) == pytest.approx(78, abs=0.2)
    beats = [(b * 480 + t, b * 480 + t + 99, 60, 80) for b in range(8) for t in (0, 120, 240, 360)]
    assert swing(clip(*beats, length=3840)) == 50
    assert swing(clip(*(row for row in beats if row[0] % 480 != 240), length=3840)) is None
    one = [*((b * 480 + t, b * 480 + t + 99, 60, 80) for b in range(16) for t in (0, 360))]
    assert swing(clip(*one, (240, 339, 60, 80), length=7680)) == 75, "nearly none"


def test_what_does_not_swing_says_so() -> None:
    assert swing(clip()) is None
    assert swing(clip(*((i * 480, i * 480 + 60, 60, 80) for i in range(4)))) is None
    assert swing(eighths(0.66, metre=Metre(6, 8))) is None
    with pytest.raises(Refused, match=r"swing in 6/8.*three eighths"):
        swung(eighths(0.5, metre=Metre(6, 8)), 66)
    for percent in (0, 100, -3, float("nan")):
        with pytest.raises(Refused, match=r"1 to 99\. Give 50 for straight"):
            swung(eighths(0.5), percent)


# --- the grid ------------------------------------------------------------------------------------


@given(clip=clips(), steps=st.sampled_from(STEPS))
@MANY
def test_quantised_wholly_every_onset_is_on_the_grid(clip: Clip, steps: int) -> None:
    found = quantised(clip, 1.0, steps)
    for name, notes in clip.parts.items():
        new = found.part(name)
        assert (new.start % (480 // steps) == 0).all() and len(new) == len(notes)
        assert (new.start < new.end).all() and (new.start < clip.length).all()
        late = notes.start >= clip.length - 240 / steps
        away = np.sort(new.start) - np.sort(notes.start)
        assert (np.abs(away[~late[np.argsort(notes.start)]]) <= 240 / steps).all()
    again = quantised(found, 1.0, steps)
    assert all((again.part(n).start == found.part(n).start).all() for n in clip.parts)


@given(clip=clips(), amount=SHARES)
@MANY
def test_quantising_goes_so_much_of_the_way(clip: Clip, amount: float) -> None:
    part, whole = quantised(clip, amount), quantised(clip, 1.0)
    for name, notes in clip.parts.items():
        away = np.sort(notes.start + amount * (np.sort(whole.part(name).start) - notes.start))
        assert np.abs(np.sort(part.part(name).start) - away).max(initial=0) <= 0.5 + 1e-6
    assert quantised(clip, 0.0) is clip


def test_what_ended_where_the_next_begins_still_does() -> None:
    tune = clip((0, 473, 60, 80), (473, 967, 62, 80), (967, 1300, 64, 80), (1440, 1920, 65, 80))
    found = table(quantised(tune, 1.0))
    assert found[START].tolist() == [0, 480, 960, 1440]
    assert found[END].tolist()[:2] == [480, 960] and found[END].tolist()[3] == 1920
    assert 1290 < found[END][2] < 1310
    hit = clip((70, 130, 36, 90), part="drums")
    assert table(quantised(hit, 1.0), "drums").tolist() == [[120, 180, 36, 90]]
    assert table(quantised(clip((1900, 1919, 60, 80)), 1.0))[START].tolist() == [1800]


def test_flat_is_as_loud_as_the_part_is_in_the_mean() -> None:
    both = Clip({**clip((0, 9, 60, 30), (9, 20, 61, 61)).parts, "drums": notes_of([])}, 1920)
    assert flat(both).part("melody").velocity.tolist() == [46, 46]
    assert len(flat(both).part("drums")) == 0


# --- templates -----------------------------------------------------------------------------------


def test_a_template_is_the_mean_over_bars_of_each_step() -> None:
    """At 125 beats a minute a tick is one millisecond."""
    rows = [
        *((bar * 1920 + 12, bar * 1920 + 60, 36, 90 + 10 * bar) for bar in range(3)),
        *((bar * 1920 + 480 - 7, bar * 1920 + 540, 38, 110) for bar in range(2)),
    ]
    found = templates(clip(*rows, part="drums", length=3 * 1920, qpm=125.0))["drums"]
    late, velocity = found.late, found.velocity
    assert late.shape == velocity.shape == (16, 9)
    np.testing.assert_allclose(late[[0, 4], [0, 1]], [12, -7])
    np.testing.assert_allclose(velocity[[0, 4], [0, 1]], [100, 110])
    assert (late[:, 0] == 12).all(), "what a drum never strikes has its mean"
    assert np.isnan(late[:, 2:]).all() and np.isnan(velocity[:, 2:]).all()
    np.testing.assert_allclose(found.velocity_spread[:2], [10, 0])  # the deviation of 90, 100, 110
    np.testing.assert_allclose(found.late_spread, 0)


def test_templates_mix_and_lend_what_one_has_not() -> None:
    a = templates(clip((12, 60, 36, 100), part="drums", qpm=125.0))
    b = templates(clip((0, 60, 36, 60), (476, 540, 38, 40), part="drums", qpm=125.0))
    half = mixed(a, b, 0.25)["drums"]
    assert (half.late[0, 0], half.velocity[0, 0]) == (9, 90)
    assert (half.late[4, 1], half.velocity[4, 1]) == (-4, 40)
    assert set(mixed(a, templates(clip((0, 9, 60, 80))), 0.5)) == {"drums", "melody"}


def even(late: float, velocity: float, spread: float = 0.0, width: int = 1) -> Template:
    whole, each = np.ones((16, width)), np.ones(width)
    return Template(late * whole, velocity * whole, spread * each, spread * each)


def test_humanised_a_note_is_played_as_its_step_is() -> None:
    stiff = clip((0, 480, 60, 80), (480, 960, 62, 80), qpm=125.0)
    whole = humanised(stiff, {"melody": even(10, 100)}, 1.0)
    assert table(whole).tolist() == [[10, 490, 60, 100], [490, 967, 62, 100]]
    half = table(humanised(stiff, {"melody": even(10, 100)}, 0.5))
    assert half[START].tolist() == [5, 485] and half[:, 3].tolist() == [90, 90]
    faster = humanised(Clip(stiff.parts, 1920, qpm=250.0), {"melody": even(10, 100)}, 1.0)
    assert table(faster)[START].tolist() == [20, 500]  # as many milliseconds


def test_draws_of_a_template_have_its_mean_and_spread_and_a_seed() -> None:
    rows = [(i * 120, i * 120 + 60, 60, 64) for i in range(16 * 40)]
    stiff = clip(*rows, length=40 * 1920, qpm=125.0)
    played = {"melody": even(5, 70, spread=8)}
    one, again, other = (humanised(stiff, played, 1.0, seed=seed) for seed in (1, 1, 2))
    late, velocity = table(one)[START] - np.arange(640) * 120, table(one)[:, 3]
    assert late.mean() == pytest.approx(5, abs=1) and late.std() == pytest.approx(8, rel=0.1)
    assert velocity.mean() == pytest.approx(70, abs=1)
    assert velocity.std() == pytest.approx(8, rel=0.1)
    assert (table(one) == table(again)).all() and (table(one) != table(other)).any()


@given(clip=clips(), amount=SHARES, seed=st.integers(0, 9))
@MANY
def test_however_human_a_note_keeps_its_step(clip: Clip, amount: float, seed: int) -> None:
    played = {"melody": even(30, 64, 60), "drums": even(-20, 99, 60, 9)}
    found = humanised(clip, played, amount, seed=seed)
    for name, notes in clip.parts.items():
        new = found.part(name)
        steps = [np.minimum((n.start + 60) // 120, 31) for n in (new, notes)]
        assert sorted(steps[0]) == sorted(steps[1])
        assert (new.start >= 0).all() and (new.start < new.end).all()
        assert ((new.velocity >= 1) & (new.velocity <= 127)).all()
    assert humanised(clip, played, 0.0) is clip
    untouched = humanised(clip, {}, 1.0)
    assert all((untouched.part(n).table == clip.part(n).table).all() for n in clip.parts)


# --- free time -----------------------------------------------------------------------------------


def test_free_time_is_told_from_playing_that_has_a_grid() -> None:
    random = np.random.default_rng(0)
    free = sorted(random.integers(0, 32 * 1920, 400).tolist())
    loose = (np.arange(400) * 120 + random.normal(0, 20, 400)).round().astype(int).clip(0)
    triplets = np.arange(400) * 160
    for starts, told in ((free, True), (loose, False), (triplets, False), (free[:20], False)):
        rows = [(int(s), int(s) + 30, 60, 80) for s in starts]
        assert free_time(clip(*rows, length=40 * 1920)) == told
    assert not free_time(clip())


# --- what is wanted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"swing": "much"}, "keep, or a number"),
        ({"swing": "0"}, "1 to 99"),
        ({"humanise": 101.0}, "per cent, 0 to 100"),
        ({"quantise": -1.0}, "per cent, 0 to 100"),
        ({"velocity": "loud"}, "keep, or flat"),
    ],
)
def test_a_touch_that_means_nothing_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        Touch(**wrong)


@given(a=clips(), b=clips(), mix=SHARES)
@MANY
def test_nothing_asked_is_nothing_done(a: Clip, b: Clip, mix: float) -> None:
    playing = Playing(Touch(), a, b)
    assert playing.read == (a, b) and playing.written(b, mix) is b
    assert playing.end(0) is a and playing.end(1) is b and playing.told == []


def test_swing_is_taken_out_mixed_and_put_back() -> None:
    straight, shuffle = eighths(0.5), eighths(2 / 3)
    playing = Playing(Touch(humanise=1e-9), shuffle, straight)
    assert swing(playing.read[0]) == pytest.approx(50, abs=0.2)
    for mix, percent in ((0.0, 66.7), (0.5, 58.3), (1.0, 50.0)):
        between = playing.written(playing.read[0], mix)
        assert swing(between) == pytest.approx(percent, abs=0.3)
    assert playing.end(0) is shuffle
    fixed = Playing(Touch(swing="60"), shuffle, straight)
    for found in (fixed.end(0), fixed.end(1), fixed.written(fixed.read[0], 0.3)):
        assert swing(found) == pytest.approx(60, abs=0.3)
    assert fixed.told == ["swing: A's is 67 %, B's is 50 %; written with 60"]


@pytest.mark.parametrize("to", [50, 66, 75])
def test_a_dotted_swing_is_taken_out_and_another_put_in(to: int) -> None:
    playing = Playing(Touch(swing=str(to)), eighths(0.75), eighths(0.75))
    assert playing.swings == (75, 75) and swing(playing.read[0]) == 50
    assert playing.end(0).part("melody").start[1] == round(480 * to / 100)
    assert playing.told_of_one == [f"its swing is 75 %; written with {to}"]


def test_a_swing_that_cannot_be_told_is_left_and_said() -> None:
    few = clip((0, 240, 60, 80), (240, 480, 62, 80), (800, 960, 64, 80))
    playing = Playing(Touch(swing="66"), few, eighths(2 / 3))
    assert playing.swings[0] is None and table(playing.end(0)).tolist() == table(few).tolist()
    why = "cannot be told (2 off-beat eighths) and is left as it is"
    assert playing.told == [f"swing: A's {why}, B's is 67 %; written with 66"]
    assert Playing(Touch(humanise=9), few, few).told_of_one[0] == f"its swing {why}"
    for mix, percent in ((0.0, 50), (0.5, 58), (1.0, 66)):
        assert swing(playing.written(eighths(0.5), mix)) == pytest.approx(percent, abs=0.3)
    sixteenths = clip(*((b * 480 + t, b * 480 + t + 99, 60, 80) for b in range(4) for t in SHORT))
    alone = Playing(Touch(swing="66"), sixteenths, sixteenths)
    assert alone.end(1).part("melody").start.tolist() == table(sixteenths)[START].tolist()
    assert "written" not in alone.told[0] and alone.told[0].count("0 off-beat eighths") == 2
    alike = clip((0, 240, 60, 80), (240, 480, 62, 80), (720, 960, 64, 80))
    at_one_place = Playing(Touch(swing="66"), alike, alike)
    assert at_one_place.told_of_one == ["its swing is 50 %; written with 66"]
    assert at_one_place.end(0).part("melody").start.tolist() == [0, 317, 797]
    jig = eighths(0.5, metre=Metre(6, 8))
    assert "in 6/8 no eighth is off" in Playing(Touch(humanise=9), jig, jig).told_of_one[0]


# --- along the line ------------------------------------------------------------------------------


def walk(codec: MusicCodec, **touch: Any) -> Morph:
    a, b = map(to_bytes, TWO)
    return morph(echo(codec), a, b, Taste(steps=3, touch=Touch(**touch)))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_by_default_a_morph_is_what_the_model_wrote(codec: MusicCodec) -> None:
    found = walk(codec)
    assert all(step.clip is was.clip for step, was in zip(found.steps, found.written, strict=True))
    quantised_way = walk(codec, quantise=100.0)
    assert quantised_way.ends == found.ends and quantised_way.distances == found.distances
    for step in quantised_way.steps:
        for notes in (*step.clip.parts.values(), *step.again.parts.values()):
            assert (notes.start % 120 == 0).all()


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_touch_changes_feel_and_no_note(codec: MusicCodec) -> None:
    plain = walk(codec)
    touched = walk(codec, swing="60", humanise=80.0, quantise=50.0, velocity="flat")
    assert touched.ends == plain.ends == (1.0, 1.0)
    for step, was in zip(touched.steps[::2], plain.steps[::2], strict=True):
        for name, notes in step.clip.parts.items():
            assert sorted(notes.pitch) == sorted(was.clip.part(name).pitch)
            assert len(set(notes.velocity.tolist())) <= 1
    assert any("humanised by 80 %" in line for line in touched.said)


def test_a_song_is_reconstructed_with_a_touch_and_that_is_said() -> None:
    source, codec = to_bytes(TWO[0]), CODECS["melody"]
    again = reconstruct(echo(codec), source, Decoding(), touch=Touch("62", 0, 100, "flat"))
    assert again.f1 == 1.0
    swung, *done = again.piece.said[-3:]
    assert re.fullmatch(r"its swing is \d\d %; written with 62", swung)
    assert done == ["quantised by 100 %", "every part is as loud throughout as in the mean"]
    for track, was in zip(again.song.tracks, TWO[0].tracks, strict=True):
        if was.name == "melody":
            assert len(set(track.notes.velocity.tolist())) == 1
            phases = set((track.notes.start % 480).tolist())
            assert phases <= {0, 149, 298, 389}  # sixteenths, swung by 62 %
        else:
            assert track.notes == was.notes


def free_song() -> Song:
    random = np.random.default_rng(1)
    rows = [
        (int(s), int(s) + 100, 60 + i % 12, 80)
        for i, s in enumerate(random.integers(0, 30000, 200))
    ]
    return Song([Track(notes_of(rows), "melody")], name="free.mid")


@pytest.mark.parametrize("touch", [{"quantise": 50.0}, {"swing": "60"}, {"humanise": 9.0}])
def test_free_time_has_no_grid_to_be_touched_by(touch: dict[str, Any]) -> None:
    source, model = to_bytes(free_song()), echo(CODECS["melody"])
    verbs: tuple[Callable[[Touch], Any], ...] = (
        lambda touch: reconstruct(model, source, Decoding(), touch=touch),
        lambda touch: morph(model, to_bytes(TWO[0]), source, Taste(steps=2, touch=touch)),
    )
    for verb in verbs:
        with pytest.raises(Refused, match=r"played without a click.*Align it to a click first"):
            verb(Touch(**touch))
        verb(Touch(velocity="flat"))


# --- the commands --------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two songs, where every run is one that plays what it reads."""
    for name, song in zip("ab", TWO, strict=True):
        write(song, tmp_path / f"{name}.mid")
    for module in ("morphing", "exploring"):
        model = echo(CODECS["groove"])
        monkeypatch.setattr(f"seqvae.cli.{module}.load", lambda run, device, model=model: model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_take_feel(seqvae: Command, place: Path) -> None:
    brief = ("x", "a.mid", "b.mid", "--steps", 3, "--bars", 1)
    seqvae("interpolate", *brief, "--out", "plain")
    seqvae("interpolate", *brief, "--out", "default", "--swing", "keep", "--velocity", "keep")
    done = seqvae("interpolate", *brief, "--out", "touched", "--quantise", 100)
    assert "quantised by 100 %" in done.lines
    files = [
        {f.name: f.read_bytes() for f in (place / n).glob("*.mid")} for n in ("plain", "default")
    ]
    assert files[0] == files[1] and len(files[0]) >= 6
    [first] = read(place / "touched" / "morph.mid").tracks
    assert (first.notes.start % 120 == 0).all()
    assert seqvae("reconstruct", "x", "a.mid", "--quantise", 100, "--out", "again").status == 0
    refused = seqvae("interpolate", *brief, "--swing", 120)
    assert refused.status == 2 and "1 to 99" in refused.line


def test_a_file_is_humanised_once_and_by_its_name(seqvae: Command, place: Path) -> None:
    done = seqvae("humanise", "x", "a.mid", "--like", "b.mid")
    feels = r"velocity \d+ \(spread \d+\), timing [+-]\d+ ms from the grid \(spread \d+\)"
    for whose, line in zip(
        ("a.mid, before", "a.mid, after", "b.mid"), done.lines[-4:-1], strict=True
    ):
        assert re.fullmatch(f"{whose}: {feels}", line)
    assert done.lines[-1] == "a.mid: 100.0% of its hits are there (F1), written: a_human.mid"
    again = seqvae("humanise", "x", "a.mid")
    assert again.status == 2 and "a_human.mid exists already" in again.line
