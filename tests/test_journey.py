"""Journeys: they begin as A and end as B, and every bar is of the phrases and the mix it says."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo import echo, untrained

from data_prep.composer import compose
from seqvae.codecs import DrumsCodec, MelodyCodec, MusicCodec, TrioCodec, WordCodec
from seqvae.errors import Refused
from seqvae.explore import Decoding
from seqvae.midi import TICKS, Metre, MetreChange, Song, Tempo, Track, notes_of, read
from seqvae.midi import to_bytes as midi
from seqvae.midi.clips import DRUMS, Clip
from seqvae.midi.parts import NoPart
from seqvae.music.course import Course, matched, mixes
from seqvae.music.feel import Touch
from seqvae.music.journey import Journey, journey, left_out, rest_added, spans
from seqvae.music.logbook import key_at, save, score
from seqvae.music.morph import morph
from seqvae.music.rolls import journey_sheet
from seqvae.music.taste import Taste

BEAT, BAR = TICKS, 4 * TICKS
MELODY = MelodyCodec(bars=2)
ECHO = echo(MELODY)
CODECS: dict[str, MusicCodec] = {
    "melody": MELODY,
    "drums": DrumsCodec(bars=2),
    "trio": TrioCodec(bars=1),
}


def tune(
    bars: int,
    low: int = 60,
    metre: Metre = Metre(4, 4),
    qpm: float = 120.0,
    scale: tuple[int, ...] = (0, 2, 4, 5, 7, 9, 11),
    more: tuple[MetreChange, ...] = (),
) -> Song:
    """Quarter notes up and down a scale; each bar begins two places later in it."""
    beats = round(metre.beats)
    rows = []
    for i in range(bars * beats):
        pitch = low + scale[(i + 2 * (i // beats)) % len(scale)]
        rows.append((i * BEAT, (i + 1) * BEAT, pitch, 60 + i // beats))
    tracks = [Track(notes_of(rows), "tune", 73)]
    metres = [MetreChange(0, metre), *more]
    return Song(tracks, tempos=[Tempo(0, qpm)], metres=metres, length=bars * beats * BEAT)


def go(a: Song, b: Song, model: Any = ECHO, course: Course | None = None, **taste: Any) -> Journey:
    return journey(model, midi(a), midi(b), Taste(**taste), course)


def table(clip: Clip, part: str = "melody") -> list[list[int]]:
    return clip.part(part).table.tolist()


def pitches(found: Journey, first: int, last: int) -> list[int]:
    """What begins in some bars, from 0."""
    return found.clip.cut(first * BAR, last * BAR).part("melody").pitch.tolist()


def said(found: Journey) -> str:
    return "\n".join(found.said)


A, B = tune(32), tune(16, low=67, qpm=90.0)
SHORT = tune(4)
AB = go(A, B, key="keep")


# --- which phrases, and how much of each ---------------------------------------------------------


@pytest.mark.parametrize("fit", ["loop", "stretch"])
@pytest.mark.parametrize("a", range(1, 6))
@pytest.mark.parametrize("b", range(1, 6))
def test_matching_begins_with_the_first_and_ends_with_the_last(a: int, b: int, fit: str) -> None:
    for count in range(max(a, b, 2), 12):
        found = matched(a, b, count, fit)
        assert len(found) == count
        assert found[0][0] == 0 and found[-1][1] == b - 1
        assert {i for i, _ in found} == set(range(a)) and {j for _, j in found} == set(range(b))
        for (i, j), (k, m) in pairwise(found):
            if fit == "stretch":
                assert k - i in (0, 1) and m - j in (0, 1)
            else:
                assert k == (i + 1) % a and m == (j + 1) % b


def test_trimming_keeps_the_beginning_of_a_and_the_end_of_b() -> None:
    assert matched(5, 3, 3, "trim") == [(0, 0), (1, 1), (2, 2)]
    assert matched(3, 5, 3, "trim") == [(0, 2), (1, 3), (2, 4)]


@pytest.mark.parametrize("curve", ["linear", "smooth", "step"])
@pytest.mark.parametrize("bars", [8, 12, 64])
def test_the_mix_grows_from_0_to_1(curve: str, bars: int) -> None:
    found = mixes(bars, 2, curve, 4)
    assert len(found) == bars and (np.diff(found) >= 0).all()
    assert (found[:2] == 0).all() and (found[-2:] == 1).all()
    assert np.allclose(found + found[::-1], 1)


def test_the_mix_moves_by_bars_though_windows_are_of_two() -> None:
    assert len(set(AB.mixes.tolist())) == 30
    assert np.allclose(np.diff(AB.mixes)[1:-1], 1 / 29)
    steps = go(A, B, course=Course(curve="step")).mixes.reshape(-1, 4)
    assert (steps == steps[:, :1]).all() and np.allclose(np.diff(steps[:, 0]), 1 / 7)


# --- what is heard -------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_the_ends_are_the_songs_themselves(codec: MusicCodec) -> None:
    """With how loud and late every note is."""
    a, b = (compose(seed, metre=(4, 4), feel="human").song for seed in (1, 2))
    found = go(a, b, echo(codec), key="keep", refine=False)
    step, (first, last) = BEAT / 4, (found.pairs[0].a.clip, found.pairs[-1].b.clip)
    held = int((found.mixes == 0).sum()) * found.clip.bar
    assert held >= codec.grid.length * BEAT / 4
    own, its = (
        first.heard(0, round(held), step),
        last.heard(last.length - round(held), last.length, step),
    )
    up = found.ends[1].move.semitones
    begun = found.clip.length - round(held)
    for part in codec.parts:
        heard = found.clip.heard(0, round(held), step).part(part)
        assert heard.start.tolist() == own.part(part).start.tolist()
        assert heard.pitch.tolist() == own.part(part).pitch.tolist()
        assert heard.velocity.tolist() == own.part(part).velocity.tolist()
        end = found.clip.heard(begun, found.clip.length, step).part(part)
        assert sorted(end.start.tolist()) == sorted(its.part(part).start.tolist())
        lifted = its.part(part).pitch + up * (part != DRUMS)
        assert sorted(end.pitch.tolist()) == sorted(lifted.tolist())


def test_each_bar_is_what_its_windows_code_at_its_own_mix_gives() -> None:
    """By an echo, whose code is the ids: their mean, rounded, of every bar by itself."""
    a_ids, b_ids = (
        [np.array(MELODY.encode(piece.clip.heard(k * 2 * BAR, (k + 1) * 2 * BAR, 120)).ids)
         for piece in side for k in (0, 1)]
        for side in ([p.a for p in AB.pairs], [p.b for p in AB.pairs])
    )  # fmt: skip
    up = AB.ends[1].move.octaves
    assert up == 0
    for window, (a, b) in enumerate(zip(a_ids, b_ids, strict=True)):
        for half in (0, 1):
            bar, own = 2 * window + half, slice(16 * half, 16 * half + 16)
            mix = AB.mixes[bar]
            ids = np.zeros(32, int)
            z = a + mix * (b - a)
            ids[own] = np.round(z)[own]
            if 0 < mix < 1 and np.abs(z[own] - np.floor(z[own]) - 0.5).min() > 1e-3:
                wanted = MELODY.decode(ids.tolist()).part("melody")
                begun = (wanted.start >= half * BAR) & (wanted.start < (half + 1) * BAR)
                heard = AB.clip.part("melody")
                inside = (heard.start >= bar * BAR) & (heard.start < (bar + 1) * BAR)
                assert wanted.pitch[begun].tolist() == heard.pitch[inside].tolist()


def test_between_a_song_and_itself_is_the_song() -> None:
    a = compose(5, metre=(4, 4), feel="straight").song
    found = go(a, a)
    assert all(bar.f1_with_a == bar.f1_with_b == 1 for bar in found.bars)
    assert {bar.qpm for bar in found.bars} == {found.bars[0].qpm}


def test_a_note_held_over_a_bar_line_is_one_note() -> None:
    rows = [(i * 2 * BAR, (i + 1) * 2 * BAR, 60 + i % 5, 80) for i in range(8)]
    long = Song([Track(notes_of(rows), "tune")])
    found = go(long, long)
    assert table(found.clip) == [list(row) for row in rows]


def test_the_tempo_glides_from_bar_to_bar() -> None:
    tempos = [bar.qpm for bar in AB.bars]
    assert tempos[0] == pytest.approx(120) and tempos[-1] == pytest.approx(90)
    assert tempos == sorted(tempos, reverse=True)
    assert [t.tick for t in score(AB).frame.tempos] == [0, *(i * BAR for i in range(2, 31))]


def test_half_as_fast_is_as_many_bars_again() -> None:
    """B's 60 bpm is read as 120: a bar of it lasts two of A's."""
    found = go(A, tune(16, low=62, qpm=60.0), key="keep")
    assert found.ends[1].pace == 2 and found.bars[-1].qpm == pytest.approx(120)
    assert spans(range(1, 17)) == "1-16" and left_out(found, 1) == set()
    assert len(found.bars) == 32


# --- keys ----------------------------------------------------------------------------------------


def test_a_key_glides_by_semitones_from_window_to_window() -> None:
    a, b = tune(16), tune(16, low=63)
    plain, found = go(a, b), go(a, b, key="glide")
    ups = [bar.semitones for bar in found.bars]
    assert ups[0] == 0 and ups[-1] == 3 and set(np.diff(ups).tolist()) == {0, 1}
    assert ups[::2][:-1] == ups[1::2][:-1], "only where windows begin"
    assert pitches(found, 0, 2) == pitches(plain, 0, 2)
    assert pitches(found, 14, 16) == [p + 3 for p in pitches(plain, 14, 16)]
    assert [key_at(found, i).short for i in (0, 15)] == ["Cmaj", "Ebmaj"]  # type: ignore[union-attr]
    assert "all glides by +3" in said(found) and found.key is None


def test_a_morph_glides_too() -> None:
    a, b = midi(tune(8)), midi(tune(8, low=63))
    plain = morph(ECHO, a, b, Taste(steps=4))
    found = morph(ECHO, a, b, Taste(steps=4, key="glide"))
    for step, its, up in zip(found.steps, plain.steps, (0, 1, 2, 3), strict=True):
        raised = its.clip.part("melody").pitch + up
        assert step.clip.part("melody").pitch.tolist() == raised.tolist()
    assert found.distances == plain.distances


def test_drums_have_no_key_to_glide() -> None:
    a, b = (compose(seed, metre=(4, 4)).song for seed in (1, 2))
    found = go(a, b, echo(CODECS["drums"]), key="glide")
    assert set(found.clip.parts) == {DRUMS}
    plain = go(a, b, echo(CODECS["drums"]), key="a")
    assert table(found.clip, DRUMS) == table(plain.clip, DRUMS)


# --- how long ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("course", "bars", "of_a", "of_b"),
    [
        (Course(), 32, "", ""),
        (Course(fit="stretch"), 32, "", ""),
        (Course(fit="trim"), 16, "17-32", ""),
        (Course(bars=8), 8, "9-32", "1-8"),
        (Course(bars=48), 48, "", ""),
        (Course(bars=48, fit="trim"), 16, "17-32", ""),
        (Course(bars=8, fit="stretch"), 8, "5-28", "5-12"),
    ],
    ids=str,
)
def test_what_is_not_heard_is_said(course: Course, bars: int, of_a: str, of_b: str) -> None:
    found = go(A, B, course=course)
    assert len(found.bars) == bars and found.clip.length == bars * BAR
    assert (spans(left_out(found, 0)), spans(left_out(found, 1))) == (of_a, of_b)
    for gone in filter(None, (of_a, of_b)):
        assert f"bars not heard: {gone}" in said(found)


def test_a_long_song_is_cut_to_64_bars_and_two_loops_last_16() -> None:
    long = go(tune(102), B)
    assert len(long.bars) == 64
    assert (
        "16 phrases of 4, of which A has 25: --bars 100 takes them all; A has 25 as long"
        in said(long)
    )
    short = go(tune(4), tune(2, low=67))
    assert len(short.bars) == 16 and short.each == 2
    assert "8 phrases of 2, of which A has only 2; A has 2" in said(short)


def test_a_single_phrase_is_one_phrase() -> None:
    assert "4 bars, 1 phrase of 4" in said(go(SHORT, SHORT, course=Course(fit="trim")))


def test_so_few_bars_that_nothing_lies_between_are_refused() -> None:
    why = r"a journey needs 5 or more\. It begins with 2 of A alone.*--bars 16"
    for bars, whole in ((3, ", 2 in whole phrases"), (4, ""), (6, ", 4 in whole phrases")):
        with pytest.raises(Refused, match=f"^bars = {bars}{whole}: {why}"):
            go(A, B, course=Course(bars=bars))
    shortest = go(A, B, bars=1, course=Course(bars=6))
    assert shortest.mixes.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])
    assert len(go(A, B, echo(MelodyCodec(bars=16)), course=Course(bars=16)).bars) == 16


# --- silence -------------------------------------------------------------------------------------


def silenced(song: Song, *bars: int) -> Song:
    """The song without what begins in some bars, from 1."""
    [track] = song.tracks
    kept = ~np.isin(track.notes.start // BAR + 1, bars)
    return replace(song, tracks=[replace(track, notes=track.notes[kept])])


def test_phrases_that_mostly_rest_are_left_out_while_there_are_fuller_ones() -> None:
    gaps = silenced(A, 9, 10, 11, 17, 18)
    found = go(gaps, B)
    assert left_out(found, 0) == {9, 10, 11, 12} and "in 3 of them what the model" in said(found)
    assert go(gaps, B, from_a=9).pairs[0].a.bar == 9, "one that is asked for is heard"
    sparse = silenced(tune(4), 2, 3, 4)
    assert go(sparse, B).pairs[0].a.bar == 1, "where there is no other"


def test_bars_that_are_silent_are_said_with_who_rests_and_have_no_f1(tmp_path: Path) -> None:
    gap = silenced(A, 6)
    found = go(gap, gap)
    [place] = [i for i, bar in enumerate(found.bars) if bar.f1_with_a is None]
    assert found.bars[place].f1_with_b is None
    assert found.clip.heard(place * BAR, (place + 1) * BAR, 120).notes == 0
    assert f"bar {place + 1} rests, for both songs do there" in said(found)
    assert not any("rests, for" in line for line in AB.said)
    save(found, tmp_path, ECHO)
    bars = json.loads((tmp_path / "report.json").read_bytes())["bars"]
    assert bars[place]["f1_with_a"] is None and bars[0]["f1_with_a"] == 1


def test_bars_that_are_no_whole_phrases_are_said() -> None:
    found = go(A, B, course=Course(bars=10))
    assert len(found.bars) == 8 and "10 were asked for" in said(found)


@pytest.mark.parametrize("bars", [1, 3, 5])
def test_a_song_shorter_than_a_phrase_goes_round(bars: int) -> None:
    found = go(tune(bars), B)
    assert len(found.bars) >= 12 and found.clip.length == len(found.bars) * BAR
    assert found.clip.part("melody").end.max() <= found.clip.length


def test_an_end_that_comes_early_is_filled_with_rests_and_counted() -> None:
    found = go(tune(15), B)
    assert rest_added(found, 0) == 4 and rest_added(found, 1) == 0
    assert "A: 4 beats of rest were added" in said(found)


def test_phrases_are_aligned_behind_a_pickup() -> None:
    bar = [(BAR - BEAT, BAR, 55, 90)]
    rows = [*bar, *(tuple(row) for row in tune(16).tracks[0].notes.moved(BAR).table.tolist())]
    found = go(Song([Track(notes_of(rows), "tune")]), B)
    assert found.pairs[0].a.bar == 2 and left_out(found, 0) == {1}


# --- metres --------------------------------------------------------------------------------------


def test_in_other_metres_phrases_are_lengthened_until_windows_fill_them() -> None:
    jig = tune(32, metre=Metre(3, 4))
    found = go(jig, jig)
    assert found.each == 8 and found.clip.metre == Metre(3, 4)
    assert len(found.bars) == 32 and found.ends[0].f1 == 1
    assert go(jig, tune(32), metre="stretch").each == 4
    beside = go(tune(48), tune(64, metre=Metre(6, 8)))
    assert beside.each == 12 and [pair.b.bar for pair in beside.pairs] == [1, 17, 33, 49]


def test_bars_in_other_metres_are_left_out_and_counted() -> None:
    """12 bars of 4/4, 5 of 3/4, 3 of 2/4, 12 of 4/4 (the tune goes on whatever the metre)."""
    changes = (
        MetreChange(12 * BAR, Metre(3, 4)),
        MetreChange(12 * BAR + 15 * BEAT, Metre(2, 4)),
        MetreChange(12 * BAR + 21 * BEAT, Metre(4, 4)),
    )
    odd = tune(30, more=changes)
    found = go(odd, B)
    gone = left_out(found, 0)
    assert set(range(13, 21)) <= gone and not gone & set(range(1, 13))
    assert found.clip.metre == Metre(4, 4) and f"bars not heard: {spans(gone)}" in said(found)
    assert "some are in 3/4 and 2/4" in said(found)


def test_a_phrase_is_in_one_metre_where_three_share_a_song() -> None:
    """8 bars of 4/4, as many of 7/8 and of 3/4: of equals the first, and no phrase is longer."""
    changes = (
        MetreChange(8 * BAR, Metre(7, 8)),
        MetreChange(8 * BAR + 28 * BEAT, Metre(3, 4)),
    )
    three = tune(21, more=changes)
    assert [str(metre) for metre in three.bars.metre[::8]] == ["4/4", "7/8", "3/4"]
    found = go(three, B)
    assert found.clip.metre == Metre(4, 4) and found.each == 4 and "7/8 and 3/4" in said(found)
    assert left_out(found, 0) == set(range(9, 25))
    other = go(B, three)
    assert other.each == 4 and left_out(other, 1) == set(range(9, 25))


def test_a_song_that_changes_metre_every_bar_still_goes() -> None:
    metres = [
        MetreChange(i * 7 * BEAT + 4 * BEAT * k, Metre(4 - k, 4)) for i in range(6) for k in (0, 1)
    ]
    found = go(tune(10, more=tuple(metres[1:])), B)
    assert found.each == 4 and found.clip.metre == Metre(4, 4)


# --- how it is played, and decoded ---------------------------------------------------------------


def test_velocities_go_from_a_to_b() -> None:
    loud, soft = tune(16), tune(16)
    [track] = soft.tracks
    quiet = replace(track.notes, velocity=np.full_like(track.notes.velocity, 20))
    found = go(loud, replace(soft, tracks=[replace(track, notes=quiet)]), key="keep")
    heard = found.clip.part("melody").velocity
    place = found.place(found.clip.part("melody"))
    own = 60 + np.arange(16)
    wanted = (1 - found.mixes) * own + found.mixes * 20
    assert np.abs(heard - wanted[place]).max() <= 1


def test_a_touch_is_put_on_every_bar() -> None:
    flat = go(A, B, touch=Touch(velocity="flat"), key="keep")
    assert len(set(flat.clip.part("melody").velocity[:8].tolist())) == 1
    swung = go(A, B, touch=Touch(swing="66", quantise=100), key="keep")
    assert swung.clip.length == AB.clip.length and "swing" in said(swung)


def test_draws_are_the_same_for_one_seed() -> None:
    model = untrained(MELODY)
    drawn = [
        table(
            go(SHORT, SHORT, model, refine=False, decoding=Decoding(temperature=1.0, seed=s)).clip
        )
        for s in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_refined_codes_come_back() -> None:
    a = tune(4)
    off = echo(MELODY, off=1.3)
    assert all((e.f1 or 0.0) < 0.2 for e in go(a, a, off, refine=False).ends)
    assert [e.f1 for e in go(a, a, off).ends] == [1, 1]


# --- files ---------------------------------------------------------------------------------------


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    a, b = (compose(seed, metre=(4, 4), feel="human").song for seed in (3, 6))
    found = go(a, b, key="glide", refine=False)
    made = save(found, tmp_path, ECHO)
    assert {"journey.mid", "journey_band.mid", "journey.png", "report.json"} == {
        path.name for path in made.files
    }
    heard = read(tmp_path / "journey.mid")
    assert sum(len(t.notes) for t in heard.tracks) == found.clip.notes
    assert heard.end == found.clip.length
    assert [m.tick for m in heard.markers] == [i * found.length for i in range(len(found.pairs))]
    told = json.loads((tmp_path / "report.json").read_bytes())
    assert len(told["bars"]) == len(found.bars) and len(told["phrases"]) == len(found.pairs)
    assert told["bars"][0]["mix"] == 0 and told["bars"][-1]["mix"] == 1
    assert told["bars"][-1]["key"] == found.ends[1].piece.key.name
    assert told["a"]["not_heard"] == spans(left_out(found, 0))
    assert sum(told["b"]["times_heard"].values()) == len(found.pairs)


def test_the_band_of_a_fades_and_that_of_b_comes() -> None:
    a, b = (compose(seed, metre=(4, 4), feel="straight").song for seed in (3, 6))
    found = go(a, b, refine=False)
    written = score(found)
    heard = zip(written.stems, written.frame.tracks, strict=True)
    band = [(name[0], track.notes) for name, track in heard if name[:2] in ("A ", "B ")]
    assert {letter for letter, _ in band} == {"A", "B"}
    assert sum(len(notes) for _, notes in band) == sum(len(t.notes) for t in written.band)
    for letter, notes in band:
        mix = found.mixes[found.place(notes)]
        assert (mix < 1).all() if letter == "A" else (mix > 0).all()
    one = score(go(a, b, refine=False, band="b"))
    assert not any(name.startswith("A ") and len(track.notes)
                   for name, track in zip(one.stems, one.frame.tracks, strict=True))  # fmt: skip


def test_a_sheet_wants_a_share_for_each_bar() -> None:
    with pytest.raises(Refused, match="3 shares for 32 bars"):
        journey_sheet(AB.clip, [0.0, 0.5, 1.0])
    assert len(journey_sheet(AB.clip, AB.mixes.tolist()).axes) == 2


# --- what cannot be done -------------------------------------------------------------------------


def test_what_cannot_be_done_is_said() -> None:
    for wrong, why in (
        ({"bars": 1}, "2 bars or more"),
        ({"bars": 257}, "256 at most"),
        ({"fit": "squeeze"}, "fit has no choice 'squeeze'"),
        ({"curve": "round"}, "curve has no choice 'round'"),
    ):
        with pytest.raises(Refused, match=why):
            Course(**wrong)
    with pytest.raises(Refused, match="one phrase of 4 bars has no steps"):
        go(A, B, course=Course(bars=4, curve="step"))
    with pytest.raises(Refused, match="reads sentences, not MIDI"):
        go(A, B, untrained(WordCodec(["a"])))
    with pytest.raises(NoPart, match=r"no drums|no part"):
        go(A, B, echo(CODECS["drums"]))
    with pytest.raises(Refused, match="choose one of 1 to 32"):
        go(A, B, from_a=40)
    with pytest.raises(Refused, match="holds no notes"):
        go(A, Song([]))
    free = np.random.default_rng(0).integers(0, 64 * BEAT, 200)
    loose = Song([Track(notes_of([(t, t + 60, 60 + t % 12, 80) for t in free.tolist()]), "tune")])
    with pytest.raises(Refused, match="no grid to swing"):
        go(loose, B, touch=Touch(quantise=50))
    assert "are off the grid" in said(go(loose, B, refine=False))
