"""Attributes of clips and sentences: by hand, at their limits, and undefined where they are."""

import math
from collections.abc import Callable

import pytest

from data_prep.composer import compose
from seqvae.attributes import (
    DRUMMING,
    MELODY,
    Attribute,
    attributes_of,
    contour_likeness,
    rhythm_likeness,
    word_likeness,
)
from seqvae.attributes import drums as of_drums
from seqvae.attributes import melody as of_melody
from seqvae.codecs import DrumsCodec, MelodyCodec, PixelCodec, TrioCodec
from seqvae.midi import COMMON, Metre, notes_of
from seqvae.midi.clips import Clip
from seqvae.music.pieces import whole

BEAT = 480
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def tune(
    *notes: tuple[float, float, int], bars: int = 1, metre: Metre = COMMON, part: str = "melody"
) -> Clip:
    """Notes by (beat, beats, pitch)."""
    rows = [(round(b * BEAT), round((b + d) * BEAT), p, 80) for b, d, p in notes]
    return Clip({part: notes_of(rows)}, round(bars * metre.beats * BEAT), BEAT, metre)


def beat(*strokes: tuple[float, int], bars: int = 1, metre: Metre = COMMON) -> Clip:
    """Strokes by (beat, note)."""
    return tune(*((b, 0.1, p) for b, p in strokes), bars=bars, metre=metre, part="drums")


def on(*beats: float, bars: int = 1) -> Clip:
    return tune(*((b, 0.25, 60) for b in beats), bars=bars)


SILENT = {"melody": tune(bars=2), "drums": beat(bars=2)}
TUNE = tune((0, 1, 60), (1, 0.5, 64), (1.5, 0.5, 62), (3, 1, 69))


# --- melodies ------------------------------------------------------------------------------------


def test_what_a_melody_is_by_hand() -> None:
    found = {attribute.name: attribute.measure(TUNE) for attribute in MELODY}
    assert found["note_density"] == 1
    assert found["range"] == 9
    assert found["register"] == 63.75
    assert found["average_interval"] == pytest.approx((4 + 2 + 7) / 3)
    assert found["leap_share"] == pytest.approx(2 / 3)
    assert found["rest_ratio"] == 0.25
    assert math.isnan(found["repetition"]), "there is no bar before"


@pytest.mark.parametrize(
    ("onsets", "levels"),
    [
        ((0, 1, 2, 3), 0),  # on every beat
        ((0,), 0),  # nothing is stronger than what is held
        ((1,), 1),  # the half bar (-1) passed by the second beat (-2)
        ((3.5,), 0),  # only weaker places follow in the clip
        ((0.5,), 2),  # an eighth (-3) held over the half bar (-1)
        ((0.25, 1), 1 + 1),  # a sixteenth (-4) over the eighth (-3), then beat 2 over beat 3
        ((1.75, 2), 0),  # a sixteenth answered at once
    ],
)
def test_syncopation_is_that_of_longuet_higgins_and_lee(
    onsets: tuple[float, ...], levels: int
) -> None:
    assert of_melody.syncopation(on(*onsets)) == levels


def test_syncopation_over_a_bar_line_counts_a_bar() -> None:
    assert of_melody.syncopation(on(3.5, bars=2)) == 3 / 2  # -3 held over the bar (0), of 2 bars


@pytest.mark.parametrize(
    ("metre", "first"),
    [((3, 4), [0, -3, -2, -3, -1]), ((6, 8), [0, -3, -2, -3, -2, -3, -1]), ((7, 8), [0, -2, -1])],
)
def test_a_metre_is_divided_by_its_own_numbers(metre: tuple[int, int], first: list[int]) -> None:
    found = of_melody.weights(Metre(*metre))
    assert found[: len(first)].tolist() == first
    assert len(found) == Metre(*metre).beats * 4 and (found[1:] < 0).all()


def test_the_same_bar_twice_is_a_repetition_and_another_key_is_none() -> None:
    bar = [(float(b), 0.5, SCALE[b]) for b in range(4)]
    again, higher = ([(b + 4, d, p + up) for b, d, p in bar] for up in (0, 1))
    assert of_melody.repetition(tune(*bar, *again, bars=2)) == 1
    assert of_melody.repetition(tune(*bar, *higher, bars=2)) == 0
    assert of_melody.repetition(tune(*bar, *again[:2], *higher[2:], bars=2)) == 0.5


def test_major_is_above_minor() -> None:
    def triad(*pitches: int) -> float:
        return of_melody.mode(tune(*((i / 2, 0.5, p) for i, p in enumerate(pitches))))

    assert triad(60, 64, 67, 72, 62, 71) > 0 > triad(60, 63, 67, 72, 68, 67)


def test_rests_are_what_no_note_covers() -> None:
    assert of_melody.rest_ratio(tune((0, 4, 60))) == 0
    assert of_melody.rest_ratio(tune((0, 4, 60), (1, 1, 64))) == 0, "the longer one still sounds"
    assert of_melody.rest_ratio(tune((1, 1, 60), (3, 0.5, 64))) == 2.5 / 4
    assert of_melody.rest_ratio(SILENT["melody"]) == 1


def test_chords_are_one_onset_and_parts_without_a_melody_are_all_heard() -> None:
    assert of_melody.note_density(tune((0, 1, 60), (0, 1, 64))) == 0.25
    voices = Clip({**tune((0, 1, 60), part="alto").parts, **beat((0, 36)).parts}, 4 * BEAT)
    assert of_melody.register(voices) == 60


@pytest.mark.parametrize("attribute", MELODY, ids=lambda attribute: attribute.name)
def test_what_a_move_by_octaves_changes(attribute: Attribute) -> None:
    clip = whole(compose(3, metre=(4, 4)).song, MelodyCodec()).clip
    up = 12 if attribute.name == "register" else 0
    assert attribute.measure(clip.moved(12)) == pytest.approx(attribute.measure(clip) + up)


# --- drums ---------------------------------------------------------------------------------------

KICK, SNARE, HAT, OPEN = 36, 38, 42, 46


def test_what_a_beat_is_by_hand() -> None:
    eighths = [(b / 2, OPEN if b == 7 else HAT) for b in range(8)]
    rock = beat((0, KICK), (2, KICK), (2.5, 35), (1, SNARE), (3, 40), *eighths)
    found = {attribute.name: attribute.measure(rock) for attribute in DRUMMING}
    assert found == {"kick_density": 0.75, "hat_density": 2, "backbeat": 1, "swing": 0.5}


@pytest.mark.parametrize(
    ("snares", "share"), [((1, 3), 1), ((1,), 0.5), ((0, 2, 3.5), 0), ((), 0)]
)
def test_the_backbeat_is_the_snare_on_two_and_four(
    snares: tuple[float, ...], share: float
) -> None:
    assert of_drums.backbeat(beat((0, KICK), *((b, SNARE) for b in snares))) == share


def test_a_bar_of_three_has_no_backbeat() -> None:
    assert math.isnan(of_drums.backbeat(beat((0, KICK), (1, SNARE), metre=Metre(3, 4))))


@pytest.mark.parametrize("place", [0.5, 2 / 3, 0.75])
def test_swing_is_where_the_beat_is_divided(place: float) -> None:
    strokes = [(b + at, HAT) for b in range(4) for at in (0, place)]
    assert of_drums.swing(beat(*strokes)) == pytest.approx(place, abs=1e-3)


def test_sixteenths_do_not_swing() -> None:
    assert math.isnan(of_drums.swing(beat(*((b / 4, HAT) for b in range(16)))))


# --- what is undefined, and for whom -------------------------------------------------------------


@pytest.mark.parametrize("attributes", [MELODY, DRUMMING], ids=["melody", "drums"])
def test_silence_has_no_attribute_but_those_that_count(
    attributes: tuple[Attribute, ...],
) -> None:
    silent = SILENT["melody" if attributes is MELODY else "drums"]
    counted = {"note_density": 0.0, "rest_ratio": 1.0, "kick_density": 0.0, "hat_density": 0.0}
    for attribute in attributes:
        value = attribute.measure(silent)
        assert value == counted.get(attribute.name) or math.isnan(value)


def test_a_codec_says_which_attributes_its_items_have() -> None:
    melody, drums = (tuple(a.name for a in each) for each in (MELODY, DRUMMING))
    assert tuple(attributes_of(MelodyCodec())) == melody
    assert tuple(attributes_of(DrumsCodec())) == drums
    assert tuple(attributes_of(TrioCodec())) == melody + drums
    assert attributes_of(PixelCodec(2, 2)) == {}


# --- likeness ------------------------------------------------------------------------------------


def test_a_clip_is_like_itself_and_in_another_key_too() -> None:
    for likeness in (rhythm_likeness, contour_likeness):
        assert likeness(TUNE, TUNE) == pytest.approx(1)
        assert likeness(TUNE, TUNE.moved(5)) == pytest.approx(1)


def test_contour_upside_down_is_its_opposite() -> None:
    rising = tune(*((b / 2, 0.5, p) for b, p in enumerate(SCALE)))
    falling = tune(*((b / 2, 0.5, 120 - p) for b, p in enumerate(SCALE)))
    assert contour_likeness(rising, falling) == pytest.approx(-1)
    assert contour_likeness(rising, on(0)) == 0
    assert contour_likeness(on(0), on(0, 2)) == 1
    assert math.isnan(contour_likeness(rising, SILENT["melody"]))


@pytest.mark.parametrize(
    ("likeness", "one", "other", "value"),
    [
        (rhythm_likeness, on(0, 1, 2), on(0, 1, 3), 4 / 6),
        (rhythm_likeness, beat((0, KICK)), beat((0, SNARE)), 0),
        (rhythm_likeness, beat((0, KICK)), beat((0, 35)), 1),
        (rhythm_likeness, SILENT["melody"], SILENT["melody"], 1),
        (word_likeness, "a b b", "b c b", 4 / 6),
        (word_likeness, "", "", 1),
    ],
)
def test_likeness_by_hand(
    likeness: Callable[..., float], one: object, other: object, value: float
) -> None:
    assert likeness(one, other) == pytest.approx(value)
    assert likeness(other, one) == likeness(one, other)


def test_values_are_plain_floats() -> None:
    for attribute in MELODY:
        assert type(attribute.measure(TUNE)) is float, attribute.name
