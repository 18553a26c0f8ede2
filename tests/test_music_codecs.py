"""Laws of the music codecs: what is on the grid comes back, any ids are music, losses are said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvae.codecs import ChoraleCodec, DrumsCodec, MelodyCodec, TrioCodec, VoicedCodec, load_codec
from seqvae.codecs.voices import FIRST_PITCH, KIT, KNOWN, OFF, PLACE, WRITTEN, Ids
from seqvae.errors import Refused
from seqvae.midi import notes_of
from seqvae.midi.clips import STEPS, Clip, Feel, split
from seqvae.tokens import BOS, EOS, PAD, SPECIAL, UNK

KINDS: tuple[Any, ...] = (MelodyCodec, DrumsCodec, TrioCodec, ChoraleCodec)
METRES = ("4/4", "3/4", "6/8", "7/8", "5/4", "12/8")
RANGES = ((21, 108), (0, 127), (60, 71), (0, 11), (116, 127))
TICKS_PER_BEAT = (24, 120, 480, 960)  # each a whole number of ticks a step, on every grid
MANY = settings(deadline=None, derandomize=True, max_examples=80)
ROWS = list[tuple[int, int, int, int]]


def codec_of(kind: Any, span: tuple[int, int], **grid: Any) -> VoicedCodec:
    pitches = {} if kind is DrumsCodec else {"low": span[0], "high": span[1]}
    codec: VoicedCodec = kind(**grid, **pitches)
    return codec


CODECS = st.builds(
    codec_of,
    st.sampled_from(KINDS),
    st.sampled_from(RANGES),
    steps=st.sampled_from(STEPS),
    metre=st.sampled_from(METRES),
    bars=st.integers(1, 2),
)
ANY_ID = st.integers(-3, 800) | st.sampled_from([-(2**70), 2**31, 2**63, 2**70])


def own_ids(codec: VoicedCodec) -> st.SearchStrategy[list[int]]:
    """Ids that may stand where they stand, most of them at a rest or a hold."""
    spans = codec.allowed.tolist()
    tokens = [st.just(first) | st.integers(first, end - 1) for first, end in spans]
    return st.lists(st.tuples(*tokens), max_size=codec.grid.length).map(
        lambda steps: [token for step in steps for token in step]
    )


def notes(steps: int, step: int, low: int = 0, high: int = 127) -> st.SearchStrategy[ROWS]:
    """Any notes over so many steps, some of which begin before the first or last too long."""
    start = st.integers(-step, steps * step - step // 2 - 1)
    row = st.tuples(start, st.integers(1, 5 * step), st.integers(low, high), st.integers(1, 127))
    return st.lists(row.map(lambda r: (r[0], r[0] + r[1], r[2], r[3])), max_size=12)


def one_by_one(rows: ROWS) -> ROWS:
    """The notes one after the other: one a start, each cut where the next begins."""
    rows = sorted({row[0]: row for row in rows}.values())
    ends = [row[0] for row in rows[1:]] + [2**30]
    return [(s, min(e, end), p, v) for (s, e, p, v), end in zip(rows, ends, strict=False)]


def clip_of(codec: VoicedCodec, parts: dict[str, ROWS], ticks_per_beat: int = 480) -> Clip:
    found = {name: notes_of(rows) for name, rows in parts.items()}
    length = codec.grid.length * ticks_per_beat // codec.grid.steps
    return Clip(found, length, ticks_per_beat, codec.grid.metre)


@st.composite
def clips(draw: st.DrawFn, codec: VoicedCodec, single: bool = False) -> Clip:
    """Any music of a codec's parts; `single`: one note at a time."""
    ticks_per_beat = draw(st.sampled_from(TICKS_PER_BEAT))
    rows = notes(codec.grid.length, ticks_per_beat // codec.grid.steps)
    parts = {name: draw(rows.map(one_by_one) if single else rows) for name in codec.parts}
    return clip_of(codec, parts, ticks_per_beat)


@st.composite
def on_grid(draw: st.DrawFn, codec: VoicedCodec) -> Clip:
    """What a codec says without loss: a note a step and voice, of its pitches, within the clip."""
    step, parts = 480 // codec.grid.steps, {}
    for voice in codec.voices:
        low, high = getattr(voice, "low", 0), getattr(voice, "high", len(KIT) - 1)
        rows = one_by_one(
            [row for row in draw(notes(codec.grid.length, 1, low, high)) if row[0] >= 0]
        )
        if voice.drums:  # each lasts half a step
            parts[voice.part] = [
                (s * step, s * step + step // 2, WRITTEN[p], 80) for s, _, p, _ in rows
            ]
        else:
            last = codec.grid.length
            parts[voice.part] = [(s * step, min(e, last) * step, p, 80) for s, e, p, _ in rows]
    return clip_of(codec, parts)


def melody(*rows: tuple[int, int, int], **other: Any) -> Clip:
    """A bar of 4/4 at 120 beats a minute: start, end and pitch of its notes."""
    return Clip({"melody": notes_of([(*row, 80) for row in rows])}, 1920, **other)


def drums(*hits: tuple[int, int]) -> Clip:
    return Clip({"drums": notes_of([(tick, tick + 60, pitch, 80) for tick, pitch in hits])}, 1920)


def line(clip: Clip) -> str:
    codec = MelodyCodec(bars=1)
    return " ".join(codec.tokens(codec.encode(clip).ids))


def lost(codec: VoicedCodec, clip: Clip) -> dict[str, int]:
    return dict(codec.encode(clip).loss)


# --- literals ------------------------------------------------------------------------------------


def test_a_known_melody_has_known_ids() -> None:
    """Frère Jacques: C D E C in quarters, then E F and a half note G."""
    tune = melody((0, 480, 60), (480, 960, 62), (960, 1440, 64), (1440, 1920, 60))
    following = melody((0, 480, 64), (480, 960, 65), (960, 1920, 67))
    codec = MelodyCodec(bars=1)
    hold, c = SPECIAL, SPECIAL + FIRST_PITCH + 60 - 21
    assert (hold, c) == (4, 45)
    three = [hold] * 3
    assert codec.encode(tune).ids == [c, *three, c + 2, *three, c + 4, *three, c, *three]
    ids = codec.encode(following).ids
    assert ids == [c + 4, *three, c + 5, *three, c + 7, *three, *three, hold]


def test_known_drums_have_known_ids() -> None:
    beat = drums((0, 36), (0, 42), (480, 38), (960, 36), (1440, 38), (1440, 49))
    ids = DrumsCodec(bars=1).encode(beat).ids
    assert ids[::4] == [SPECIAL + 0b101, SPECIAL + 0b10, SPECIAL + 1, SPECIAL + 0b10000010]
    assert set(ids) - set(ids[::4]) == {SPECIAL}


def test_a_trio_speaks_in_turn_melody_bass_drums() -> None:
    codec = TrioCodec(bars=1)
    parts = {"melody": [(0, 120, 72, 80)], "bass": [(120, 480, 36, 80)], "drums": [(0, 9, 36, 80)]}
    ids = codec.encode(clip_of(codec, parts)).ids
    assert codec.allowed.tolist() == [[4, 94], [94, 184], [184, 696]] and codec.vocab == 696
    assert ids[:6] == [4 + 2 + 72 - 21, 94, 184 + 1, 4 + OFF, 94 + 2 + 36 - 21, 184]
    assert codec.tokens(ids[:6]) == [
        *("melody 72", "bass -", "drums kick"),
        *("melody off", "bass 36", "drums -"),
    ]


@pytest.mark.parametrize(("steps", "metre", "length"), [(4, "7/8", 28), (6, "6/8", 36)])
def test_a_window_is_so_many_steps(steps: int, metre: str, length: int) -> None:
    codec = MelodyCodec(steps=steps, metre=metre, bars=2)
    assert codec.length == length == len(codec.encode(codec.decode([])).ids)
    assert MelodyCodec(steps=24, metre="12/8", bars=1).length == 144


def test_rests_and_repeats_are_told_apart() -> None:
    assert line(melody((480, 960, 60), (960, 1080, 60))) == "- - - - 60 - - - 60 off - - - - - -"
    assert line(melody()) == " ".join("-" * 16)
    assert line(melody((0, 960, 60), (1200, 1920, 60))).startswith("60 - - - - - - - off - 60 - -")


def test_of_a_chord_the_highest_is_kept_and_a_note_ends_where_the_next_begins() -> None:
    assert line(melody((0, 480, 60), (0, 240, 67), (0, 960, 64))) == "67 - off" + " -" * 13
    assert line(melody((0, 1920, 72), (480, 720, 60))) == "72 - - - 60 - off" + " -" * 9


def test_a_window_that_begins_in_a_held_note_strikes_it() -> None:
    assert line(melody((-480, 240, 60))) == "60 - off" + " -" * 13
    assert line(melody((-480, 0, 60), (240, 480, 62))) == "- - 62 - off" + " -" * 11
    codec = MelodyCodec(bars=1)
    lanes = codec.lanes(melody((0, 1200, 60)), 16)
    ids = codec.windows(lanes, np.array([0, 4, 10, 12, 40]))
    assert codec.tokens(ids[:, 0].tolist()) == ["60", "60", "-", "-", "-"]


def test_what_sounds_at_the_end_of_a_song_ends_there() -> None:
    """A window that is longer than its song has rests behind it, not one long note."""
    short, long = MelodyCodec(bars=1), MelodyCodec(bars=2)
    for clip in (melody((960, 1920, 60)), melody((0, 480, 60)), melody()):
        [ids] = long.windows(short.lanes(clip, 16), np.array([0]))
        assert ids.tolist() == long.encode(clip).ids
    parts = {"drums": [(1800, 1860, 36, 80)]}
    clip = clip_of(DrumsCodec(bars=1), parts)
    [ids] = DrumsCodec(bars=2).windows(DrumsCodec(bars=1).lanes(clip, 16), np.array([0]))
    assert ids.tolist() == DrumsCodec(bars=2).encode(clip).ids


# --- round trips ---------------------------------------------------------------------------------


@given(data=st.data(), codec=CODECS)
@MANY
def test_any_ids_are_music_that_encodes_to_itself(data: st.DataObject, codec: VoicedCodec) -> None:
    ids = data.draw(own_ids(codec) | st.lists(ANY_ID, max_size=codec.length + 9))
    clip = codec.decode(ids)
    again, loss = codec.encode(clip)
    assert loss == {} and len(again) == codec.length
    assert codec.decode(again) == clip and codec.encode(codec.decode(again)).ids == again
    assert len(codec.tokens(ids)) == len(ids)
    assert clip.length == codec.grid.length * 480 // codec.grid.steps
    for part in clip.parts.values():
        assert (part.start >= 0).all() and (part.start < part.end).all()
        assert (part.end <= clip.length).all()


@given(data=st.data(), codec=CODECS)
@MANY
def test_ids_that_encode_wrote_come_back_exactly(data: st.DataObject, codec: VoicedCodec) -> None:
    clip = data.draw(clips(codec))
    ids = codec.encode(clip).ids
    assert codec.encode(codec.decode(ids)).ids == ids
    first, end = np.tile(codec.allowed, (codec.grid.length, 1)).T
    assert ((first <= ids) & (ids < end)).all()


@given(data=st.data(), codec=CODECS)
@MANY
def test_what_is_on_the_grid_comes_back_exactly(data: st.DataObject, codec: VoicedCodec) -> None:
    clip = data.draw(on_grid(codec))
    ids, loss = codec.encode(clip)
    assert codec.decode(ids) == clip and loss == {}
    for ticks_per_beat in (48, 96, 960):
        assert codec.encode(clip.rescaled(ticks_per_beat)).ids == ids


def test_ids_of_another_voice_or_none_change_nothing() -> None:
    codec = TrioCodec(bars=1)
    drum, tune = codec.firsts[2] + 4, codec.firsts[0] + 40
    nothing = codec.decode([])
    for ids in ([drum, tune, tune], [PAD, UNK, BOS] * 9, [EOS], [-1, 10**30, -(10**30)], [696]):
        assert codec.decode(ids) == nothing and nothing.notes == 0
    assert codec.decode([tune, EOS, drum, tune]).notes == 3  # no id ends it


@pytest.mark.parametrize("kind", KINDS)
def test_ids_may_come_in_any_container(kind: Any) -> None:
    codec = kind()
    ids = np.tile(codec.allowed[:, 0] + 5, codec.grid.length)
    clip = codec.decode(ids.tolist())
    assert clip.notes > 0
    found: list[Any] = [ids.astype(np.int32), tuple(ids), iter(ids.tolist()), torch.tensor(ids)]
    for other in (*found, torch.tensor(ids).float(), np.tile(ids, 2)):
        assert codec.decode(other) == clip


def test_a_stream_of_ids_is_read_no_further_than_a_window() -> None:
    def forever() -> Any:
        while True:
            yield SPECIAL + 40

    assert MelodyCodec(bars=1).decode(forever()).notes == 16


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_clip_is_rests(kind: Any) -> None:
    codec = kind(metre="5/4", steps=6)
    ids, loss = codec.encode(Clip({}, 480 * 10, metre=codec.grid.metre))
    assert ids == np.tile(codec.allowed[:, 0], codec.grid.length).tolist() and loss == {}
    assert codec.decode(ids).notes == 0
    assert codec.encode(Clip({}, 0)).loss == {"rest added at the end": codec.grid.length}
    assert set(codec.show(codec.decode(ids)).split()) <= {"-", *codec.parts}


# --- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "loss"),
    [
        ([(0, 480, 60)], {}),
        ([(0, 480, 60), (0, 480, 64), (0, 480, 67)], {"polyphony": 2}),
        ([(0, 960, 60), (480, 960, 64)], {"cut short": 1}),
        ([(960, 2400, 60)], {}),  # what lasts beyond the window goes on in the next
        ([(0, 480, 20), (480, 960, 109), (960, 1440, 108)], {"folded": 2}),
        ([(24, 480, 60), (456, 960, 62)], {"off the grid": 2, "ms off the grid": 50}),
        ([(1, 480, 60), (481, 960, 62)], {}),  # a tick: 1 ms
        ([(-480, 0, 60), (0, 480, 62), (1900, 1920, 64), (1920, 2400, 65)], {"outside": 3}),
        ([(-480, 0, 10), (1919, 1920, 10), (-480, 0, 60)], {"outside": 3}),
    ],
)
def test_a_melody_tells_what_it_lost(
    rows: list[tuple[int, int, int]], loss: dict[str, int]
) -> None:
    assert lost(MelodyCodec(bars=1), melody(*rows)) == loss


@pytest.mark.parametrize(
    ("hits", "loss"),
    [
        ([(0, 36), (0, 35)], {"merged": 1}),
        ([(0, 35), (480, 40), (960, 59)], {}),  # each is one of the nine by the map
        ([(0, 20), (480, 100)], {"folded": 2}),
        ([(500, 36)], {"off the grid": 1, "ms off the grid": 21}),
        ([(1900, 36), (1930, 20)], {"outside": 2}),
    ],
)
def test_drums_tell_what_they_lost(hits: list[tuple[int, int]], loss: dict[str, int]) -> None:
    assert lost(DrumsCodec(bars=1), drums(*hits)) == loss


def test_milliseconds_off_the_grid_are_those_of_the_tempo_and_the_ticks() -> None:
    rows = (48, 480, 60)
    codec = MelodyCodec(bars=1)
    assert lost(codec, melody(rows, qpm=60.0))["ms off the grid"] == 100
    assert lost(codec, melody(rows, qpm=240.0))["ms off the grid"] == 25
    # One tick of 24 is 21 ms at 120 beats a minute, which anybody hears.
    coarse = Clip({"melody": notes_of([(1, 24, 60, 80)])}, 96, 24)
    assert lost(codec, coarse) == {"off the grid": 1, "ms off the grid": 21}


@given(data=st.data(), codec=CODECS)
@MANY
def test_every_note_is_kept_or_counted(data: st.DataObject, codec: VoicedCodec) -> None:
    clip = data.draw(clips(codec))
    ids, loss = codec.encode(clip)
    dropped = sum(loss.get(name, 0) for name in ("polyphony", "merged", "outside"))
    # A note that was begun before the window and is cut off in it may leave nothing.
    early = sum(int((part.start < 0).sum()) for part in clip.parts.values())
    assert clip.notes - dropped - early <= codec.decode(ids).notes <= clip.notes - dropped


def test_too_long_is_refused_and_too_short_is_filled_with_rests() -> None:
    codec = MelodyCodec(bars=2)
    clip = melody((0, 1920, 60))
    ids, loss = codec.encode(clip)
    assert loss == {"rest added at the end": 16} and codec.tokens(ids)[16] == "off"
    with pytest.raises(Refused, match=r"33 steps; this codec holds 32, 2 bars of 4/4\. Cut it"):
        codec.encode(Clip(clip.parts, 3840 + 120))
    for item in ("a text", [60, 62], None):
        with pytest.raises(Refused, match="encodes clips"):
            codec.encode(item)


# --- drums and pitches ---------------------------------------------------------------------------


def test_the_kit_names_every_drum_once_and_writes_what_it_reads() -> None:
    named = [pitch for pitches in KIT.values() for pitch in pitches]
    assert len(named) == len(set(named)) == KNOWN.sum() and set(range(27, 88)) <= set(named)
    assert PLACE[list(WRITTEN)].tolist() == list(range(9))
    assert all(PLACE[pitch] == at for at, ps in enumerate(KIT.values()) for pitch in ps)
    assert PLACE[0] == PLACE[22] and PLACE[127] == PLACE[87]  # the nearest that is named


@pytest.mark.parametrize("span", [(21, 31), (-1, 60), (60, 128), (70, 60), (60, 60)])
def test_a_range_under_an_octave_or_outside_midi_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(Refused, match="spans an octave"):
        MelodyCodec(low=span[0], high=span[1])


@given(pitch=st.integers(0, 127), span=st.sampled_from(RANGES))
@MANY
def test_a_pitch_outside_the_range_moves_by_octaves(pitch: int, span: tuple[int, int]) -> None:
    codec = MelodyCodec(bars=1, low=span[0], high=span[1])
    ids, loss = codec.encode(melody((0, 480, pitch)))
    [found] = codec.decode(ids).part("melody").pitch.tolist()
    inside = span[0] <= pitch <= span[1]
    assert span[0] <= found <= span[1] and (found - pitch) % 12 == 0
    assert (found == pitch) == inside and loss == ({} if inside else {"folded": 1})


# --- transposition -------------------------------------------------------------------------------


@given(data=st.data(), codec=CODECS, semitones=st.integers(-13, 13))
@MANY
def test_transposing_ids_is_transposing_notes(
    data: st.DataObject, codec: VoicedCodec, semitones: int
) -> None:
    clip = data.draw(on_grid(codec))
    table = codec.transposed(semitones)
    assert table[codec.encode(clip).ids].tolist() == codec.encode(clip.moved(semitones)).ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("semitones", [-24, -7, -1, 0, 1, 5, 12, 30])
def test_a_table_moves_pitches_within_their_voice_and_nothing_else(
    kind: Any, semitones: int
) -> None:
    codec = kind()
    table = codec.transposed(semitones)
    assert table.shape == (codec.vocab,) and table[:SPECIAL].tolist() == [0, 1, 2, 3]
    for voice, (first, end) in zip(codec.voices, codec.allowed, strict=True):
        own = table[first:end] - first
        fixed = len(own) if voice.drums else FIRST_PITCH
        assert own[:fixed].tolist() == list(range(fixed))
        away = own[fixed:] - np.arange(fixed, len(own)) - semitones
        assert (own[fixed:] >= fixed).all() and (own < voice.size).all() and (away % 12 == 0).all()
        assert away.tolist() == [0] * len(away) or semitones  # nobody moves for nothing


@given(codec=CODECS)
@MANY
def test_ranges_of_ids_are_disjoint_and_cover_all_but_the_special_ones(codec: VoicedCodec) -> None:
    spans: Ids = codec.allowed
    assert spans[0, 0] == SPECIAL and spans[-1, 1] == codec.vocab
    assert (spans[1:, 0] == spans[:-1, 1]).all() and (spans[:, 0] < spans[:, 1]).all()
    assert len(set(codec.tokens(range(codec.vocab)))) == codec.vocab  # each says another thing
    assert codec.length == codec.grid.length * len(spans)


# --- how it is played ----------------------------------------------------------------------------


def played(codec: VoicedCodec, clip: Clip) -> Clip:
    return codec.decode(codec.encode(clip).ids, codec.feel(clip))


def test_a_performance_comes_back_as_it_was_played() -> None:
    rows = [(0, 470, 60, 33), (455, 960, 62, 127), (979, 1440, 64, 1), (1440, 1920, 65, 90)]
    clip = clip_of(MelodyCodec(bars=1), {"melody": rows})
    found = played(MelodyCodec(bars=1), clip).part("melody")
    assert found.velocity.tolist() == [33, 127, 1, 90] and found.start.tolist() == [
        0,
        455,
        979,
        1440,
    ]
    assert found.end.tolist() == [455, 960, 1440, 1920]  # each where the next begins, or its step
    hits = [(0, 60, 36, 99), (14, 60, 42, 40), (475, 500, 38, 111), (604, 700, 42, 41)]
    swung = played(DrumsCodec(bars=1), clip_of(DrumsCodec(bars=1), {"drums": hits}))
    assert swung.part("drums").start.tolist() == [0, 14, 475, 604]
    assert swung.part("drums").velocity.tolist() == [99, 40, 111, 41]


@given(data=st.data(), codec=CODECS)
@MANY
def test_however_it_is_felt_music_keeps_its_steps(data: st.DataObject, codec: VoicedCodec) -> None:
    ids = data.draw(own_ids(codec))
    shape = codec.grid.length, sum(voice.width for voice in codec.voices)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    velocity = random.uniform(-9, 140, shape).astype(np.float32)
    shift = random.choice([-0.5, -0.4999, 0.0, 0.3, 0.4999, 0.5], shape).astype(np.float32)
    clip, plain = codec.decode(ids, Feel(velocity, shift)), codec.decode(ids)
    assert codec.encode(clip).ids == codec.encode(plain).ids
    for name, part in clip.parts.items():
        assert len(part) == len(plain.part(name))
        assert (part.start >= 0).all() and (part.end > part.start).all()
        assert (part.end <= clip.length).all()
        assert ((part.velocity >= 1) & (part.velocity <= 127)).all()
        if name != "drums":
            assert (part.end[:-1] <= part.start[1:]).all()  # still one note at a time


@given(data=st.data(), codec=CODECS)
@MANY
def test_playing_as_it_was_played_moves_no_note_that_was_kept(
    data: st.DataObject, codec: VoicedCodec
) -> None:
    clip = data.draw(clips(codec, single=True)).rescaled(480)
    again = played(codec, clip)
    assert codec.encode(again).ids == codec.encode(clip).ids
    for name, part in again.parts.items():
        if name != "drums":
            true = set(clip.part(name).start.tolist()) | {0}  # what began earlier begins at 0
            assert set(part.start.tolist()) <= true
    even = codec.feel(codec.decode(codec.encode(clip).ids))
    assert (even.shift == 0).all() and (even.velocity == 80).all()


@given(data=st.data(), codec=CODECS, mix=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
@MANY
def test_feels_mix_at_every_step(data: st.DataObject, codec: VoicedCodec, mix: float) -> None:
    a, b = data.draw(clips(codec)), data.draw(clips(codec))
    one, other = codec.feel(a), codec.feel(b)
    mixed = Feel(*((1 - mix) * x + mix * y for x, y in zip(one, other, strict=True)))
    assert mixed.velocity.shape == mixed.shift.shape == one.shift.shape
    assert (np.abs(mixed.shift) <= 0.5).all()
    assert ((mixed.velocity >= 1) & (mixed.velocity <= 127)).all()
    for clip in (a, b):
        ids = codec.encode(clip).ids
        assert codec.encode(codec.decode(ids, mixed)).ids == ids


def test_where_nothing_is_struck_the_nearest_stroke_is_felt_on_time() -> None:
    rows = [(130, 480, 60, 30), (960, 1440, 62, 90)]
    feel = MelodyCodec(bars=1).feel(clip_of(MelodyCodec(bars=1), {"melody": rows}))
    assert feel.velocity[:, 0].tolist() == [30.0] * 5 + [90.0] * 11  # halfway, of the earlier
    assert np.flatnonzero(feel.shift).tolist() == [1]
    assert feel.shift[1, 0] == pytest.approx(10 / 120)
    silent = DrumsCodec(bars=1).feel(Clip({}, 1920))
    assert (silent.velocity == 80).all() and (silent.shift == 0).all()
    assert silent.velocity.shape == (16, 9)


def test_of_a_chord_the_feel_is_that_of_the_note_that_is_kept() -> None:
    chord = clip_of(MelodyCodec(bars=1), {"melody": [(0, 480, 48, 20), (0, 480, 72, 100)]})
    assert played(MelodyCodec(bars=1), chord).part("melody").velocity.tolist() == [100]
    rolled = clip_of(MelodyCodec(bars=1), {"melody": [(-9, 480, 76, 99), (30, 480, 48, 20)]})
    feel = MelodyCodec(bars=1).feel(rolled)
    assert feel.velocity[0] == 99 and feel.shift[0] == pytest.approx(-9 / 120)
    flam = clip_of(DrumsCodec(bars=1), {"drums": [(480, 500, 38, 110), (510, 530, 38, 30)]})
    found = played(DrumsCodec(bars=1), flam).part("drums")
    assert (found.start.tolist(), found.velocity.tolist()) == ([480], [110])


def test_a_note_before_the_first_tick_is_played_on_it_and_ends_on_its_step() -> None:
    shift = np.full((16, 1), -0.5, np.float32)
    feel = Feel(np.full((16, 1), 64, np.float32), shift)
    codec = MelodyCodec(bars=1)
    found = codec.decode(codec.encode(melody((0, 240, 60), (960, 1920, 62))).ids, feel)
    assert found.part("melody").table.tolist() == [[0, 240, 60, 64], [900, 1920, 62, 64]]


# --- on disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec",
    [
        MelodyCodec(),
        MelodyCodec(steps=24, metre="7/8", bars=1, low=48, high=72),
        DrumsCodec(steps=6, metre="12/8", bars=4),
        TrioCodec(bars=16, low=0, high=127),
    ],
)
def test_a_saved_codec_is_the_same_again(codec: VoicedCodec, tmp_path: Path) -> None:
    codec.save(tmp_path / "one")
    again = load_codec(tmp_path / "one")
    again.save(tmp_path / "two")
    assert isinstance(again, VoicedCodec) and type(again) is type(codec)
    assert (again.grid, again.vocab, again.length) == (codec.grid, codec.vocab, codec.length)
    assert again.settings() == codec.settings()
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["codec.json", "tokens.txt"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_saved_codec_says_what_its_ids_mean(tmp_path: Path) -> None:
    MelodyCodec().save(tmp_path)
    lines = (tmp_path / "tokens.txt").read_text().splitlines()
    assert lines[:7] == ["0\t<pad>", "1\t<unk>", "2\t<s>", "3\t</s>", "4\t-", "5\toff", "6\t21"]
    assert lines[-1] == "93\t108"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("steps", value) for value in (5, 4.0, "4", None, [4])],
        *[("bars", value) for value in (0, -1, 2.5, True)],
        *[("metre", value) for value in (4, "4", "0/4", "4/0", "4/3", "1/64", "x/y", ["4/4"])],
        *[("low", value) for value in (-1, 22, 100, 21.5)],
        ("tempo", 120),
    ],
)
def test_settings_that_no_codec_saved_are_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    MelodyCodec().save(tmp_path)
    path = tmp_path / "codec.json"
    header = json.loads(path.read_text())
    header["settings"][name] = value
    path.write_text(json.dumps(header))
    with pytest.raises(Refused, match=r"codec\.json is damaged.*[Cc]opy"):
        load_codec(tmp_path)


def test_a_damaged_list_of_ids_is_refused(tmp_path: Path) -> None:
    DrumsCodec().save(tmp_path)
    path = tmp_path / "tokens.txt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Refused, match=r"tokens\.txt.*damaged or edited"):
        load_codec(tmp_path)
    path.unlink()
    with pytest.raises(Refused, match=r"tokens\.txt: No such file"):
        load_codec(tmp_path)


# --- windows of a longer clip --------------------------------------------------------------------


@given(data=st.data(), codec=CODECS, windows=st.integers(1, 3))
@MANY
def test_a_clip_cut_first_has_the_ids_of_one_put_on_the_grid_first(
    data: st.DataObject, codec: VoicedCodec, windows: int
) -> None:
    """So what people encode is what the model was trained on, early and late notes and all."""
    ticks_per_beat = data.draw(st.sampled_from(TICKS_PER_BEAT))
    steps = codec.grid.length * windows
    rows = notes(steps, ticks_per_beat // codec.grid.steps).map(one_by_one)
    parts = {name: notes_of(data.draw(rows)) for name in codec.parts}
    clip = Clip(parts, steps * ticks_per_beat // codec.grid.steps, ticks_per_beat)
    at = np.arange(windows) * codec.grid.length
    cut = [codec.encode(window).ids for window in split(clip, codec.grid)]
    assert cut == codec.windows(codec.lanes(clip, steps), at).tolist()
