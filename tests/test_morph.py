"""Morphs: the ends are one's own notes, what lies between follows from the codes alone."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo import echo, untrained

from data_prep.composer import compose
from seqvae.codecs import DrumsCodec, MelodyCodec, MusicCodec, TrioCodec, WordCodec
from seqvae.errors import Refused
from seqvae.explore import Decoding, Explorer
from seqvae.midi import (
    TICKS,
    Metre,
    MetreChange,
    MidiError,
    Song,
    Tempo,
    Track,
    notes_of,
    to_pretty_midi,
    write,
)
from seqvae.midi import to_bytes as midi
from seqvae.midi.clips import Clip, Grid
from seqvae.midi.keys import Move
from seqvae.midi.parts import NoPart
from seqvae.music.album import way
from seqvae.music.beside import FOLD
from seqvae.music.likeness import Range, agreement
from seqvae.music.morph import Morph, morph
from seqvae.music.pieces import phrase
from seqvae.music.taste import Taste

BEAT, BAR = TICKS, 4 * TICKS
CODECS: dict[str, MusicCodec] = {
    "melody": MelodyCodec(bars=2),
    "drums": DrumsCodec(bars=2),
    "trio": TrioCodec(bars=1),
}
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)
ECHO = echo(CODECS["melody"])


def straight(seed: int, **wishes: Any) -> Song:
    return compose(seed, **{"metre": (4, 4), "feel": "straight", **wishes}).song


def tune(
    *pitches: int, qpm: float = 120.0, metre: tuple[int, int] = (4, 4), step: int = BEAT // 2
) -> Song:
    """Notes one after the other, softer and softer."""
    rows = [(i * step, (i + 1) * step, p, 100 - i % 50) for i, p in enumerate(pitches)]
    return Song(
        [Track(notes_of(rows), "tune", 73)],
        tempos=[Tempo(0, qpm)],
        metres=[MetreChange(0, Metre(*metre))],
    )


def walk(a: Song, b: Song, explorer: Explorer = ECHO, **taste: Any) -> Morph:
    return morph(explorer, midi(a), midi(b), Taste(**taste))


def table(clip: Clip, part: str = "melody") -> list[list[int]]:
    return clip.part(part).table.tolist()


def seconds(clip: Clip, part: str = "melody") -> list[float]:
    """When each note begins."""
    return (clip.part(part).start * (60 / clip.qpm / clip.ticks_per_beat)).tolist()


def said(found: Morph) -> str:
    return "\n".join(found.said)


SONGS = straight(3, key="C", mode="major"), straight(6, key="D", mode="major")


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("feel", ["straight", "human"])
def test_the_ends_are_the_phrases_themselves(codec: MusicCodec, feel: str) -> None:
    """Velocity, and how late each note is, are those of the file; B is moved into key."""
    a, b = (straight(seed, feel=feel) for seed in (1, 2))
    found = walk(a, b, echo(codec), steps=3)
    for piece, step, up in zip(
        (found.a, found.b), (found.steps[0], found.steps[-1]), found.moved, strict=True
    ):
        for part, notes in piece.clip.parts.items():
            moved = notes.table + np.array([0, 0, up.semitones * (part != "drums"), 0])
            assert sorted(table(step.clip, part)) == sorted(moved.tolist())
    assert found.steps[0].clip.qpm == pytest.approx(found.a.clip.qpm)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_what_a_code_holds_comes_back(codec: MusicCodec) -> None:
    for bars in (1, 4):
        found = walk(*SONGS, echo(codec), bars=bars)
        assert found.ends == (1.0, 1.0)
        assert found.distances[0][0] == found.distances[-1][1] == 1.0


def test_the_ends_come_back_as_they_are_played() -> None:
    found = walk(tune(*SCALE * 4), tune(*SCALE[::-1] * 4), key="keep")
    for step in (found.steps[0], found.steps[-1]):
        assert table(step.clip) == table(step.again)


def test_refined_codes_come_back() -> None:
    """Where the encoder is off by more than one id, the decoder is asked what it needs."""
    model = echo(CODECS["melody"], off=1.3)
    assert max(walk(*SONGS, model, refine=False, steps=2).ends) < 0.1
    assert walk(*SONGS, model, steps=2).ends == (1.0, 1.0)


def test_the_same_twice_is_the_same() -> None:
    model = untrained(CODECS["melody"])
    one, other = (walk(*SONGS, model, steps=4) for _ in range(2))
    assert [table(step.again) for step in one.steps] == [table(s.again) for s in other.steps]
    assert one.said == other.said and one.costs == other.costs


@pytest.mark.parametrize("kind", ["lerp", "slerp"])
def test_a_file_and_itself_are_one_phrase_all_the_way(kind: str) -> None:
    found = walk(SONGS[0], SONGS[0], kind=kind)
    assert found.distances == [(1.0, 1.0)] * 9
    assert found.moved == (Move(), Move()) and found.pace == 1
    assert {round(step.clip.qpm, 3) for step in found.steps} == {110.0}


@pytest.mark.parametrize("steps", [2, 3, 9])
def test_a_way_has_as_many_steps_as_were_asked_for(steps: int) -> None:
    found = walk(*SONGS, steps=steps)
    assert [step.mix for step in found.steps] == np.linspace(0, 1, steps).tolist()
    assert {step.clip.length for step in found.steps} == {4 * BAR}


def test_draws_differ_by_the_code_and_not_by_dice() -> None:
    model = untrained(CODECS["melody"])

    def drawn(seed: int, a: Song, b: Song) -> list[list[list[int]]]:
        decoding = Decoding(temperature=3.0, seed=seed, together=True)
        found = walk(a, b, model, steps=5, way="straight", refine=False, decoding=decoding)
        return [table(step.again) for step in found.steps]

    same = drawn(1, tune(*SCALE * 8), tune(*SCALE * 8))
    assert all(step == same[0] for step in same)
    assert drawn(2, *SONGS) == drawn(2, *SONGS) != drawn(3, *SONGS)
    bars = [[row[:3] for row in same[0] if at <= row[0] < at + 2 * BAR] for at in (0, 2 * BAR)]
    assert bars[0] != [[s - 2 * BAR, e - 2 * BAR, p] for s, e, p in bars[1]], "two windows"


def test_windows_of_neighbouring_seeds_share_no_noise() -> None:
    """Two windows alike: the second of one seed is not the first of the next."""
    model = untrained(CODECS["melody"])
    a = tune(*SCALE * 4)
    windows = []
    for seed in (5, 6):
        decoding = Decoding(temperature=3.0, seed=seed, together=True)
        clip = walk(a, a, model, steps=2, refine=False, decoding=decoding).steps[0].again
        windows += [[row[:3] for row in table(clip.cut(at, at + 2 * BAR))] for at in (0, 2 * BAR)]
    assert all(windows.count(each) == 1 for each in windows)


# --- tempo ---------------------------------------------------------------------------------------


def test_the_tempo_goes_by_equal_ratios() -> None:
    found = walk(tune(*SCALE * 4, qpm=90), tune(*SCALE * 4, qpm=120), steps=5)
    tempos = [step.clip.qpm for step in found.steps]
    assert tempos == pytest.approx([90, 96.719, 103.923, 111.666, 120], abs=0.01)
    assert "tempo: 90 to 120 bpm" in said(found)


@pytest.mark.parametrize(
    ("a", "b", "pace"), [(80, 150, 0.5), (150, 80, 2.0), (100, 130, 1.0), (60, 200, 0.25)]
)
def test_half_and_double_are_folded_and_b_sounds_as_it_did(
    a: float, b: float, pace: float
) -> None:
    quarters = tune(*SCALE * 8, qpm=b, step=2 * BEAT)
    found = walk(tune(*SCALE * 8, qpm=a), quarters, key="keep", from_b=1)
    last = found.steps[-1].clip
    assert found.pace == pace and last.qpm == pytest.approx(b * pace, rel=1e-4)
    assert 1 / FOLD <= last.qpm / found.steps[0].clip.qpm <= FOLD
    every = np.arange(len(seconds(last))) * 2 * 60 / b
    assert seconds(last) == pytest.approx(every.tolist(), abs=1e-3)
    assert last.length == found.steps[0].clip.length
    assert ("it sounds as it did" in said(found)) == (pace != 1)


def test_what_is_too_fast_for_the_grid_is_not_read_in_half_time() -> None:
    fast = tune(*SCALE * 16, qpm=170, step=BEAT // 4)
    found = walk(tune(*SCALE * 8, qpm=85), fast)
    assert found.pace == 1 and found.steps[-1].clip.qpm == pytest.approx(170, rel=1e-4)
    assert "170 bpm is not read as half of it" in said(found)
    assert found.ends == (1.0, 1.0)


def test_the_slowest_of_tempos_is_not_halved() -> None:
    found = walk(tune(*SCALE * 4, qpm=5), tune(*SCALE * 4, qpm=8))
    assert found.pace == 1 and found.steps[-1].clip.qpm == pytest.approx(8, rel=1e-4)


# --- metre ---------------------------------------------------------------------------------------


def test_another_metre_is_read_beat_by_beat() -> None:
    found = walk(tune(*SCALE * 6), tune(*SCALE * 6, metre=(3, 4)), key="keep", from_b=1)
    assert {(step.clip.metre, step.clip.length) for step in found.steps} == {
        (Metre(4, 4), 4 * BAR)
    }
    assert [row[0] for row in table(found.steps[-1].clip)] == list(range(0, 4 * BAR, BEAT // 2))
    assert "metre: 4/4, A's; B is in 3/4 and is read beat by beat" in said(found)


def test_another_metre_is_stretched_bar_by_bar_by_option() -> None:
    """Each bar of B fills one of A's, at a tempo at which it lasts as long as it did."""
    three = tune(*SCALE * 6, metre=(3, 4), qpm=100, step=BEAT)
    found = walk(tune(*SCALE * 6), three, key="keep", from_b=1, metre="stretch")
    last = found.steps[-1].clip
    assert found.pace == pytest.approx(4 / 3) and last.qpm == pytest.approx(400 / 3, rel=1e-4)
    assert [row[0] for row in table(last)] == [i * BAR // 3 for i in range(12)]
    assert seconds(last) == pytest.approx([i * 0.6 for i in range(12)], abs=2e-3)
    assert found.ends == (1.0, 1.0)


@pytest.mark.parametrize("metre", ["beats", "stretch"])
@pytest.mark.parametrize("of_a", [(3, 4), (6, 8), (2, 4), (5, 4), (7, 8)])
def test_every_metre_of_a_is_kept(of_a: tuple[int, int], metre: str) -> None:
    a, b = tune(*SCALE * 9, metre=of_a, step=BEAT), tune(*SCALE * 9, step=BEAT)
    found = walk(a, b, metre=metre, steps=3, bars=2)
    assert {step.clip.length / step.clip.bar for step in found.steps} == {2.0}
    assert {step.clip.metre for step in found.steps} == {Metre(*of_a)}
    assert f"the model knows 4/4 and reads {Metre(*of_a)}" in said(found)
    assert found.ends[0] == 1.0


# --- key -----------------------------------------------------------------------------------------


def test_b_is_moved_to_the_key_of_a_by_the_smallest_interval() -> None:
    found = walk(*SONGS)
    assert (
        found.moved == (Move(), Move(-2)) and found.key is not None and found.key.name == "C major"
    )
    assert "B was moved by -2 semitones" in said(found)
    assert "A is in C major" in said(found) and "B is in D major" in said(found)


def test_a_is_moved_to_the_key_of_b_if_asked() -> None:
    found = walk(*SONGS, key="b")
    assert (
        found.moved == (Move(2), Move()) and found.key is not None and found.key.name == "D major"
    )
    assert "A was moved by +2 semitones" in said(found)


def test_keys_are_kept_if_asked() -> None:
    found = walk(*SONGS, key="keep")
    assert found.moved == (Move(), Move()) and found.key is None
    assert "nothing was moved" in said(found)
    own = phrase(SONGS[1], CODECS["melody"], 4).clip
    assert sorted(table(found.steps[-1].clip)) == sorted(table(own))


def test_on_weak_evidence_only_the_register_is_moved() -> None:
    for a, b in ((tune(*SCALE * 4), tune(*[37] * 32)), (tune(*[37] * 32), tune(*SCALE * 4))):
        found = walk(a, b)
        up = 2 if b.tracks[0].notes.pitch[0] == 37 else -2
        assert found.moved == (Move(), Move(0, up)) and found.key is None
        assert "too weak evidence to move one into the other's" in said(found)
        assert f"{up:+d} octaves for B's melody, to be in the other's register" in said(found)
    assert "weak" not in said(walk(*SONGS))


@pytest.mark.parametrize("octaves", [-3, -2, -1, 1, 2, 3])
def test_b_comes_to_the_register_of_a_by_2_octaves_at_most_and_its_band_stays(
    octaves: int,
) -> None:
    a, b = tune(*SCALE * 4), tune(*[pitch + 2 + 12 * octaves for pitch in SCALE * 4])
    low = Track(notes_of([(i * BAR, (i + 1) * BAR, 38, 80) for i in range(4)]), "low", 38)
    found = walk(a, replace(b, tracks=[*b.tracks, low]), track_b="tune")
    back = min(max(-octaves, -2), 2)
    assert found.moved == (Move(), Move(-2, back))
    assert "B was moved by -2 semitones" in said(found)
    octave = f"{back:+d} octave{'s' * (abs(back) > 1)}"
    assert f"{octave} for B's melody, to be in the other's register" in said(found)
    band = next(t for t in way(found, band=True).tracks if t.name == "low")
    assert set(band.notes.pitch.tolist()) == {36}


def test_octaves_leave_no_phrase_outside_what_the_model_can_write() -> None:
    model = echo(MelodyCodec(bars=2, low=48, high=72))
    high, low = tune(*[p + 36 for p in SCALE * 4]), tune(*SCALE * 4)
    assert walk(high, low, model).moved[1] == Move()
    assert walk(high, low).moved[1] == Move(0, 2)
    model = echo(TrioCodec(bars=1))
    found = walk(*SONGS, model)
    for part, (least, most) in found.ranges.items():
        assert least <= np.median(found.steps[-1].clip.part(part).pitch) <= most


def test_pitch_bends_that_are_left_out_are_said_once() -> None:
    a, b = (replace(s, tracks=list(s.tracks)) for s in SONGS)
    b.tracks[0] = replace(b.tracks[0], bends=np.array([(0, 2000)], np.int32))  # type: ignore[index]
    assert said(walk(a, b)).count("pitch bends are left out, which B has") == 1
    assert "pitch bends" not in said(walk(*SONGS))


def test_drums_have_no_key_but_their_band_has() -> None:
    def alone(song: Song) -> Song:
        return Song([t for t in song.tracks if t.drums], tempos=song.tempos, metres=song.metres)

    model = echo(CODECS["drums"])
    found = walk(alone(SONGS[0]), alone(SONGS[1]), model)
    assert found.moved == (Move(), Move()) and found.key is None
    assert "key" not in said(found)
    assert walk(*SONGS, model).moved[1] == Move(-2), "the other tracks meet in the full render"


# --- what does not fit ---------------------------------------------------------------------------


def test_songs_of_one_bar_are_filled_with_rest() -> None:
    found = walk(tune(*SCALE), tune(*SCALE[::-1]))
    assert {step.clip.length for step in found.steps} == {4 * BAR}
    assert [step.clip.notes for step in (found.steps[0], found.steps[-1])] == [8, 8]
    assert said(found).count("12 beats of rest were added") == 2


def test_a_phrase_of_rests_is_a_way_too() -> None:
    late = Song(
        [
            Track(
                notes_of([(8 * BAR + i * BEAT, 8 * BAR + i * BEAT + 9, 60, 80) for i in range(16)])
            )
        ]
    )
    found = walk(late, SONGS[1], from_a=1)
    assert found.steps[0].clip.notes == 0 and found.ends == (1.0, 1.0)
    assert "there melody rests" in said(found)
    assert found.distances[0] == (None, 0.0) and [end.f1 for end in found.both] == [None, 1.0]


def test_bars_in_two_metres_are_counted_in_the_first() -> None:
    metres = [MetreChange(0, Metre(4, 4)), MetreChange(BAR, Metre(2, 4))]
    odd = Song([Track(tune(*SCALE * 4).tracks[0].notes)], metres=metres)
    found = walk(odd, SONGS[1], from_a=1, bars=2)
    assert {step.clip.length for step in found.steps} == {2 * BAR}
    assert "in 4/4 and 2/4" in said(found)


def test_a_window_longer_than_the_phrase_is_filled_with_rest() -> None:
    found = walk(*SONGS, echo(MelodyCodec(bars=8)), bars=2)
    assert {step.clip.length for step in found.steps} == {2 * BAR} and found.ends == (1.0, 1.0)
    assert "8 bars of 4/4 at a time: its last window is filled with 24 beats" in said(found)


def test_what_costs_much_more_than_usual_is_said_to_be_strange() -> None:
    model = untrained(CODECS["melody"], figures={"negative_elbo": 1.0})
    found = walk(*SONGS, model, steps=2, refine=False)
    assert found.costs is not None and min(found.costs) > 10
    bits = round(found.costs[0] / math.log(2))
    assert f"A is far from what this model knows: its bars cost {bits} bits" in said(found)
    model = untrained(CODECS["melody"], figures={"negative_elbo": 1e6})
    assert "far from" not in said(walk(*SONGS, model, steps=2, refine=False))
    assert walk(*SONGS).costs is None, "a code that is a point has no price"


def test_what_the_codec_changes_is_counted() -> None:
    high = tune(*[p + 48 for p in SCALE * 4])
    found = walk(high, SONGS[1], steps=2, key="keep")
    assert found.lost[0]["folded"] == sum(p + 48 > 108 for p in SCALE * 4)
    assert found.lost[1].get("folded", 0) == 0
    assert found.ends == (1.0, 1.0), "they come back, folded"
    assert f"A: {found.lost[0]['folded']} of its notes are outside" in said(found)
    assert "B: " not in said(found) and "comes back in part" not in said(found)


@pytest.mark.parametrize(
    ("taste", "says"),
    [
        ({"steps": 1}, "steps = 1: a path has its 2 ends"),
        ({"steps": 10_000}, "256 at most"),
        ({"bars": 0}, "bars = 0"),
        ({"key": "c"}, "key"),
        ({"metre": "beat"}, 'did you mean "beats"'),
        ({"band": "fade"}, 'did you mean "crossfade"'),
        ({"kind": "slrep"}, 'did you mean "slerp"'),
    ],
)
def test_a_taste_that_cannot_be_is_refused(taste: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        Taste(**taste)


def test_any_source_will_do(tmp_path: Path) -> None:
    path = write(SONGS[0], tmp_path / "a.mid")
    sources: list[Any] = [midi(SONGS[0]), path, str(path), to_pretty_midi(SONGS[0])]
    ways = [morph(ECHO, source, midi(SONGS[1]), Taste(steps=2)) for source in sources]
    assert all(table(one.steps[0].clip) == table(ways[0].steps[0].clip) for one in ways)


@pytest.mark.parametrize("metre", [(1, 32), (255, 1)])
def test_metres_that_no_music_is_in_are_survived(metre: tuple[int, int]) -> None:
    odd = tune(*SCALE * 4, metre=metre)
    if metre == (1, 32):
        assert walk(odd, SONGS[1]).steps[-1].clip.length == BAR // 8
        assert walk(SONGS[1], odd).ends == (1.0, 1.0)
    else:
        with pytest.raises(Refused, match=r"4 bars of 255/1 in .* are 4,080 beats; .*fewer bars"):
            walk(odd, SONGS[1])


def test_what_cannot_be_morphed_is_refused_by_name() -> None:
    a, silent = midi(SONGS[0]), midi(Song([]))
    with pytest.raises(Refused, match="'echo' reads sentences, not MIDI"):
        morph(untrained(WordCodec(["a", "b"])), a, a)
    with pytest.raises(Refused, match="the MIDI data holds no notes"):
        morph(ECHO, a, silent)
    with pytest.raises(MidiError, match=r"nosuch\.mid: No such file"):
        morph(ECHO, a, "nosuch.mid")
    with pytest.raises(MidiError, match="a web page, not MIDI"):
        morph(ECHO, a, b"<html>")
    with pytest.raises(NoPart, match="no drums"):
        morph(echo(CODECS["drums"]), a, midi(tune(*SCALE)))
    with pytest.raises(Refused, match="choose one of 1 to"):
        morph(ECHO, a, a, Taste(from_b=500))


# --- agreement -----------------------------------------------------------------------------------


def test_agreement_counts_notes_that_begin_together() -> None:
    def clip(*rows: tuple[int, int], part: str = "melody") -> Clip:
        return Clip({part: notes_of([(start, start + 60, p, 80) for start, p in rows])}, BAR)

    grid = Grid(bars=1)
    one = clip((0, 60), (480, 62), (960, 64))
    assert agreement(one, one, grid) == 1.0
    assert agreement(one, clip((20, 60), (480, 62), (960, 64)), grid) == 1.0, "on the same step"
    assert agreement(one, clip((0, 60)), grid) == pytest.approx(0.5)
    assert agreement(one, clip((0, 61)), grid) == 0.0
    assert agreement(clip(), clip(), grid) == 1.0 and agreement(one, clip(), grid) == 0.0
    high = clip((0, 120), (480, 62), (960, 64))
    assert agreement(high, clip((0, 108), (480, 62), (960, 64)), grid) < 1
    ranges = {"melody": Range(21, 108)}
    assert agreement(high, clip((0, 108), (480, 62), (960, 64)), grid, ranges) == 1.0
    assert agreement(high, clip((0, 107), (480, 62), (960, 64)), grid, ranges) < 1
    kicks = [clip((0, pitch), part="drums") for pitch in (35, 36, 38)]
    assert agreement(kicks[0], kicks[1], grid) == 1.0, "both are the kick"
    assert agreement(kicks[0], kicks[2], grid) == 0.0
