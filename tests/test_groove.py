"""The groove codec: hits come back exactly, their feel up to its classes; and hits can stay."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo import echo, opened, untrained
from hypothesis import given
from hypothesis import strategies as st
from small import make
from test_music_codecs import ANY_ID, MANY, METRES, TICKS_PER_BEAT, clips, notes, own_ids

import seqvae
from data_prep.midi import prepare_midi
from seqvae.codecs import DrumsCodec, GrooveCodec, load_codec
from seqvae.codecs.groove import Stroke
from seqvae.codecs.voices import KIT
from seqvae.decoders import LSTMDecoder
from seqvae.encoders import EmptyEncoder
from seqvae.errors import Refused
from seqvae.explore import Decoding, Explorer
from seqvae.measures.music import drums as drum_figures
from seqvae.measures.music import feel as feel_figures
from seqvae.measures.music import lanes
from seqvae.midi import Song, Tempo, Track, notes_of, to_bytes, write
from seqvae.midi.clips import STEPS, Clip, Feel, split
from seqvae.midi.parts import NoPart
from seqvae.music.drummer import perform
from seqvae.music.studio import humanise, reconstruct
from seqvae.priors import StandardNormal
from seqvae.tokens import SPECIAL
from seqvae.vae import VAE

GROOVE = Path(__file__).parents[2] / "shared" / "data" / "music" / "groove_dev.zip"
ONE = GrooveCodec(bars=1)
CODECS = st.builds(
    GrooveCodec,
    steps=st.sampled_from(STEPS),
    metre=st.sampled_from(METRES),
    bars=st.integers(1, 2),
    velocities=st.sampled_from([2, 3, 8, 11, 32]),
    timings=st.sampled_from([1, 3, 9, 15]),
)
BEAT = ((0, 36, 99), (14, 42, 64), (466, 38, 127), (700, 42, 20), (1445, 38, 110))


def beat(*hits: tuple[int, int, int], bars: int = 1) -> Clip:
    """Hits: tick, note, velocity."""
    rows = [(tick, tick + 60, pitch, loud) for tick, pitch, loud in hits or BEAT]
    return Clip({"drums": notes_of(rows)}, 1920 * bars)


def song(*hits: tuple[int, int, int], bars: int = 2) -> Song:
    return Song([Track(beat(*hits, bars=bars).part("drums"), "kit", drums=True)], name="a.mid")


def hits(clip: Clip) -> set[tuple[int, int]]:
    """Which drum strikes at which sixteenth."""
    codec = DrumsCodec(bars=-(-clip.length // 1920))
    [struck] = lanes(codec, [codec.encode(clip).ids])[..., 0]
    return {(int(s), d) for s, token in enumerate(struck) for d in range(9) if token >> d & 1}


def table(clip: Clip) -> list[list[int]]:
    return clip.part("drums").table.tolist()


# --- literals ------------------------------------------------------------------------------------


def test_a_known_beat_has_known_ids() -> None:
    """Nine voices of 73 ids; a velocity is a multiple of 16, a timing a ninth of a step."""
    ids = ONE.encode(beat()).ids
    assert (ONE.vocab, ONE.length, ONE.parts) == (4 + 9 * 73, 16 * 9, ["drums"])
    kick, snare, hat = (SPECIAL + 73 * place + 1 for place in (0, 1, 2))
    struck = {i: token for i, token in enumerate(ids) if (token - SPECIAL) % 73}
    assert struck == {
        0: kick + 5 * 9 + 4,  # 96, on time
        2: hat + 3 * 9 + 5,  # 64, a ninth of a step late
        4 * 9 + 1: snare + 7 * 9 + 3,  # 127, a ninth early
        6 * 9 + 2: hat + 0 * 9 + 3,  # 16
        12 * 9 + 1: snare + 6 * 9 + 4,  # 112
    }
    assert ONE.tokens(ids[:3]) == ["kick 96", "snare -", "closed hi-hat 64 +11%"]


def test_decoded_hits_lie_in_the_middle_of_their_classes() -> None:
    found = table(ONE.decode(ONE.encode(beat()).ids))
    assert [(start, pitch, loud) for start, _, pitch, loud in found] == [
        (0, 36, 96),
        (13, 42, 64),
        (467, 38, 127),
        (707, 42, 16),
        (1440, 38, 112),
    ]


def test_what_the_classes_cost_is_counted() -> None:
    lost = ONE.encode(beat()).loss
    # At 120 beats a minute a tick is 1.04 ms: 1, 1, 7 and 5 ticks off, of which 3 are heard.
    assert lost == {
        "off the grid": 2,
        "ms off the grid": 12,
        "softer or louder": 3,
        "velocity in all": 3 + 4 + 2,
    }
    assert ONE.encode(beat((480, 38, 110), (481, 40, 30))).loss["merged"] == 1


def test_of_a_flam_the_louder_is_kept() -> None:
    assert table(ONE.decode(ONE.encode(beat((480, 38, 112), (507, 38, 32))).ids)) == [
        [480, 540, 38, 112]
    ]


def test_nothing_is_early_at_the_first_step_of_a_window() -> None:
    early = beat((-13, 36, 96), (-13 + 480, 36, 96))
    assert [row[0] for row in table(ONE.decode(ONE.encode(early).ids))] == [0, 467]
    lane = ONE.lanes(early, 16)
    [second] = ONE.windows(lane, np.array([4]))
    assert ONE.tokens(second[:1].tolist()) == ["kick 96"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"velocities": 1}, "2 to 32"),
        ({"velocities": 33}, "2 to 32"),
        ({"timings": 4}, "odd"),
        ({"timings": 17}, "odd"),
        ({"timings": -1}, "odd"),
    ],
)
def test_classes_that_do_not_fit_are_refused(wrong: dict[str, int], why: str) -> None:
    with pytest.raises(Refused, match=why):
        GrooveCodec(**wrong)  # type: ignore[arg-type]


# --- round trips ---------------------------------------------------------------------------------


@given(data=st.data(), codec=CODECS)
@MANY
def test_any_ids_are_a_beat_that_encodes_to_itself(
    data: st.DataObject, codec: GrooveCodec
) -> None:
    ids = data.draw(own_ids(codec) | st.lists(ANY_ID, max_size=codec.length + 9))
    clip = codec.decode(ids)
    again, loss = codec.encode(clip)
    assert loss == {} and len(again) == codec.length
    assert codec.decode(again) == clip
    part = clip.part("drums")
    assert (part.start >= 0).all() and (part.start < part.end).all()
    assert (part.end <= clip.length).all() and (part.velocity >= 1).all()


@given(data=st.data(), codec=CODECS)
@MANY
def test_a_beat_comes_back_up_to_its_classes(data: st.DataObject, codec: GrooveCodec) -> None:
    clip = data.draw(clips(codec))
    ids, lost = codec.encode(clip)
    again = codec.decode(ids)
    assert codec.encode(again).ids == ids
    first, end = np.tile(codec.allowed, (codec.grid.length, 1)).T
    assert ((first <= ids) & (ids < end)).all()
    assert len(again.part("drums")) == clip.notes - lost.get("merged", 0) - lost.get("outside", 0)


@given(data=st.data(), codec=CODECS)
@MANY
def test_with_its_own_feel_a_beat_comes_back_exactly(
    data: st.DataObject, codec: GrooveCodec
) -> None:
    """Which is not in the tokens, is in the feel: as of every other codec of music."""
    clip = data.draw(clips(codec)).rescaled(480)
    ids = codec.encode(clip).ids
    kept, again = codec.feel(clip), codec.decode(ids, codec.feel(clip))
    assert codec.encode(again).ids == ids
    there = {(max(s, 0), v) for s, _, _, v in table(clip)}
    assert {(s, v) for s, _, _, v in table(again)} <= there
    assert kept.velocity.shape == kept.shift.shape == (codec.grid.length, len(KIT))


@given(data=st.data(), codec=CODECS)
@MANY
def test_however_it_is_felt_a_hit_keeps_its_classes(
    data: st.DataObject, codec: GrooveCodec
) -> None:
    ids = data.draw(own_ids(codec))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = codec.grid.length, len(KIT)
    velocity = random.uniform(-9, 140, shape).astype(np.float32)
    shift = random.choice([-0.5, -0.4999, 0.0, 0.3, 0.4999, 0.5], shape).astype(np.float32)
    felt = codec.decode(ids, Feel(velocity, shift))
    assert codec.encode(felt).ids == codec.encode(codec.decode(ids)).ids


@given(data=st.data(), codec=CODECS, windows=st.integers(1, 3))
@MANY
def test_a_clip_cut_first_has_the_ids_of_one_put_on_the_grid_first(
    data: st.DataObject, codec: GrooveCodec, windows: int
) -> None:
    ticks = data.draw(st.sampled_from(TICKS_PER_BEAT))
    steps = codec.grid.length * windows
    rows = data.draw(notes(steps, ticks // codec.grid.steps))
    found = {"drums": notes_of({row[0]: row for row in rows}.values())}
    clip = Clip(found, steps * ticks // codec.grid.steps, ticks)
    cut = [codec.encode(window).ids for window in split(clip, codec.grid)]
    at = np.arange(windows) * codec.grid.length
    assert cut == codec.windows(codec.lanes(clip, steps), at).tolist()


@given(codec=CODECS)
@MANY
def test_every_id_says_another_thing_and_every_velocity_is_its_own(codec: GrooveCodec) -> None:
    assert len(set(codec.tokens(range(codec.vocab)))) == codec.vocab
    assert codec.allowed[0, 0] == SPECIAL and codec.allowed[-1, 1] == codec.vocab
    assert (codec.allowed[1:, 0] == codec.allowed[:-1, 1]).all()
    assert (codec.transposed(7) == np.arange(codec.vocab)).all()
    [stroke, *_] = [voice for voice in codec.voices if isinstance(voice, Stroke)]
    loud = np.arange(1, 128)
    level = stroke.nearest[loud]
    away = np.abs(stroke.levels[:, None] - loud)
    assert (away[level, loud - 1] <= away.min(0) + 1).all()  # the nearest, but for rounding
    assert (stroke.nearest[stroke.levels.astype(int)] == np.arange(codec.velocities)).all()
    assert ((stroke.softest[level] <= loud) & (loud <= stroke.loudest[level])).all()
    assert (stroke.softest[1:] == stroke.loudest[:-1] + 1).all()


def test_a_saved_codec_is_the_same_again(tmp_path: Path) -> None:
    codec = GrooveCodec(steps=6, metre="12/8", velocities=5, timings=7)
    codec.save(tmp_path)
    again = load_codec(tmp_path)
    assert isinstance(again, GrooveCodec) and again.settings() == codec.settings()
    assert (tmp_path / "tokens.txt").read_text().splitlines()[4:6] == [
        "4\tkick -",
        "5\tkick 26 -43%",
    ]


# --- the same hits -------------------------------------------------------------------------------


@given(data=st.data(), codec=CODECS)
@MANY
def test_ids_within_the_same_hits_strike_the_same(data: st.DataObject, codec: GrooveCodec) -> None:
    ids = codec.encode(data.draw(clips(codec))).ids
    spans = codec.same_hits(ids)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    other = random.integers(spans[:, 0], spans[:, 1])
    drawn, own = (lanes(codec, [row])[0] > 0 for row in (other.tolist(), ids))
    assert (drawn == own).all() and (codec.same_hits(other.tolist()) == spans).all()
    assert ((spans[:, 0] <= ids) & (ids < spans[:, 1])).all()


def test_a_stiff_beat_is_on_time_and_as_loud_as_nobody_played() -> None:
    stiff = ONE.decode(ONE.stiff(ONE.encode(beat()).ids))
    assert [row[0] % 120 for row in table(stiff)] == [0] * 5
    assert {row[3] for row in table(stiff)} == {80} and hits(stiff) == hits(beat())


def test_ids_that_are_no_window_have_no_hits() -> None:
    for ids in ([], [4] * 9, [0] * ONE.length):
        with pytest.raises(Refused, match="encode one"):
            ONE.same_hits(ids)


# --- a drummer -----------------------------------------------------------------------------------


def test_a_drummer_keeps_every_hit_and_draws_their_feel() -> None:
    model = untrained(ONE)
    stiff = ONE.decode(ONE.stiff(ONE.encode(beat()).ids))
    [one], [again] = (perform(model, [stiff], rounds=2) for _ in range(2))
    [other] = perform(model, [stiff], decoding=Decoding(temperature=1.0, seed=1), rounds=2)
    assert hits(one) == hits(stiff) == hits(other)
    assert table(one) == table(again) != table(other)
    assert len({row[3] for row in table(one)}) > 1


def test_how_a_beat_was_played_is_not_looked_at() -> None:
    model = untrained(ONE)
    stiff = ONE.decode(ONE.stiff(ONE.encode(beat()).ids))
    assert perform(model, [beat()], rounds=1) == perform(model, [stiff], rounds=1)
    assert perform(model, [], rounds=1) == perform(model, [], [beat()]) == []


def test_one_drummers_feel_on_anothers_pattern() -> None:
    """A decoder that writes what was encoded writes the donor's feel where both strike."""
    donor = beat((13, 36, 48), (480, 38, 112), (960, 36, 16))
    pattern = beat((0, 36, 80), (480, 38, 80), (1440, 38, 80))
    [found] = perform(echo(ONE), [pattern], [donor], Decoding())
    assert hits(found) == hits(pattern)
    assert [row[:1] + row[3:] for row in table(found)][:2] == [[13, 48], [480, 112]]


def test_a_language_model_draws_feel_from_no_code_and_takes_none() -> None:
    vae = VAE(EmptyEncoder(), StandardNormal(0), make(LSTMDecoder, vocab=ONE.vocab, latent=0))
    model = opened(vae, ONE, 0)
    [found] = perform(model, [beat()], rounds=1)
    assert hits(found) == hits(beat())
    with pytest.raises(Refused, match="language model"):
        perform(model, [beat()], [beat()])


@pytest.mark.parametrize(
    ("codec", "options", "why"),
    [
        (DrumsCodec(bars=1), {}, "codec is drums. Train one that does"),
        (ONE, {"rounds": 0}, "rounds = 0"),
        (ONE, {"like": []}, "no window with a note"),
    ],
)
def test_what_a_drummer_cannot_do_is_refused(codec: Any, options: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        perform(untrained(codec), [beat()], **options)


def test_a_song_is_humanised_with_all_its_hits_and_its_other_tracks() -> None:
    model: Explorer = untrained(ONE)
    tune = Track(notes_of([(0, 480, 60, 70)]), "tune", 73)
    two = song(*BEAT, *((tick + 1920, pitch, 90) for tick, pitch, _ in BEAT))
    source = to_bytes(Song([tune, *two.tracks], length=3840))
    for like in (None, to_bytes(song())):
        found = humanise(model, source, like, rounds=1)
        assert found.f1 == 1.0 and len(found.song.tracks) == 2
        assert found.song.tracks[0].notes == tune.notes
        assert len(found.song.tracks[1].notes) == 10


def test_a_humanised_loop_is_whole_bars_and_its_feel_is_told() -> None:
    """Stiff hits of 80, and a donor at 125 bpm whose hits are 99 and 14 ms late."""
    stiff = song((0, 36, 80), (480, 38, 80), (1920, 36, 80), (2400, 38, 80))
    late = song((14, 36, 99), (494, 38, 99), bars=1)
    donor = replace(late, tempos=[Tempo(0, 125.0)])
    found = humanise(echo(ONE), to_bytes(stiff), to_bytes(donor), Decoding())
    assert stiff.end == 2460 and found.song.end == 3840
    assert list(found.feels) == ["before", "after", "like"]
    before, after, like = found.feels.values()
    assert before is not None and after is not None and like is not None
    assert tuple(before) == (80, 0, 0, 0) and tuple(like) == pytest.approx((99, 0, 14, 0))
    assert after.velocity > 85 and after.late > 5
    ringing = song((0, 36, 80), (1890, 38, 80))
    assert ringing.end == 1950 and humanise(echo(ONE), to_bytes(ringing)).song.end < 2 * 1920


def test_the_run_that_ships_plays_a_stiff_loop_as_nobody_programs_it() -> None:
    rock = [(tick, 42, 80) for tick in range(0, 3840, 240)]
    rock += [(tick, 36 + 2 * (tick % 960 > 0), 80) for tick in range(0, 3840, 480)]
    found = humanise(seqvae.load("feel"), to_bytes(song(*rock)), rounds=1)
    after = found.feels["after"]
    assert found.f1 == 1.0 and after is not None
    assert after.velocity_spread > 8 and after.late_spread > 1


def test_drums_in_free_time_are_refused_and_their_file_is_named() -> None:
    random = np.random.default_rng(0)
    free = song(*((int(t), 36, 90) for t in random.integers(0, 3840, 120)))
    for source, like in ((free, None), (song(), to_bytes(free))):
        with pytest.raises(Refused, match=r"no grid to swing, humanise or quantise by.*Align it"):
            humanise(untrained(ONE), to_bytes(source), like)


@pytest.mark.parametrize("codec", [ONE, DrumsCodec(bars=1)], ids=["groove", "drums"])
def test_drums_that_no_kit_has_are_refused_with_the_cure(codec: Any, tmp_path: Path) -> None:
    strange = song(*((tick, 100 + i, 90) for i, tick in enumerate(range(0, 3840, 240))))
    with pytest.raises(
        NoPart, match=r"none of the 16 notes.*22 to 87; these are 100.*another track\. See"
    ):
        reconstruct(untrained(codec), to_bytes(strange), Decoding())
    write(strange, tmp_path / "midi" / "strange.mid")
    with pytest.raises(Refused, match=r"no drums.*these are 100 to 115"):
        prepare_midi([tmp_path / "midi"], tmp_path / "out", codec=codec.kind, workers=0)
    mixed = song((0, 36, 90), (480, 100, 90))
    assert reconstruct(echo(codec), to_bytes(mixed), Decoding()).f1 == 1.0


# --- figures -------------------------------------------------------------------------------------


def test_errors_of_feel_are_those_of_the_strokes_in_both() -> None:
    true = beat((0, 36, 96), (480, 38, 64), (960, 36, 32))
    told = beat((13, 36, 64), (480, 38, 64), (1440, 42, 32))
    truth, written = (lanes(ONE, [ONE.encode(clip).ids]) for clip in (true, told))
    found = feel_figures(ONE.voices, truth, written)
    assert found["feel_strokes"] == 2
    assert found["velocity_error"] == 16 and found["timing_error_steps"] == pytest.approx(1 / 18)
    assert found["plain_velocity_error"] == 16 and found["plain_timing_error_steps"] == 0
    kick, snare, *_, ride = found["feel"]
    assert kick["velocity_error"] == 32 and snare["velocity_error"] == 0
    assert ride == {
        "drum": "ride",
        "strokes": 0,
        "velocity_error": None,
        "timing_error_steps": None,
    }
    assert feel_figures(DrumsCodec().voices, truth, written) == {}
    assert feel_figures(ONE.voices, truth, np.zeros_like(truth))["velocity_error"] is None


def test_strokes_are_counted_as_those_of_a_kit() -> None:
    pair = beat(), beat((0, 36, 10), (480, 38, 127), (960, 51, 90))
    counts = []
    for codec in (ONE, DrumsCodec(bars=1)):
        truth, written = (lanes(codec, [codec.encode(clip).ids]) for clip in pair)
        counts.append(drum_figures(codec.voices, truth, written))
    assert counts[0] == counts[1] and counts[0]["drums_f1"] == 2 * 2 / (5 + 3)


@pytest.mark.skipif(not GROOVE.is_file(), reason="the shared corpora are not here: no Groove MIDI")
def test_performances_are_prepared_within_their_classes(tmp_path: Path) -> None:
    """A session of the Groove MIDI Dataset."""
    source = f"{GROOVE}/drummer5/session1"
    made = prepare_midi([source], tmp_path / "out", codec="groove", workers=0)
    lost = made.report["lost"]
    assert made.length == 288 and made.splits["train"]["kept"] > 100
    assert lost["ms off the grid"] / lost["off the grid"] < 8
    assert lost["velocity in all"] / lost["softer or louder"] < 6
    assert "of 127 on average" in str(made)
