"""Phrases: what comes again and is full is found where it begins, in any song with a note."""

import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seqvae.errors import Refused
from seqvae.midi import TICKS, Metre, MetreChange, MidiError, Notes, Song, Track, joined, notes_of
from seqvae.midi import read as read_midi
from seqvae.midi.parts import PARTS, NoPart, find_part
from seqvae.midi.phrases import LONGEST, off_grid, phrase_at, phrases

HARD = Path(__file__).parents[2] / "shared" / "data" / "midi_hard"
BAR = 4 * TICKS
Row = tuple[int, int, int, int]


def wandering(seed: int, bars: int = 4) -> list[Row]:
    """Bars of eighths that go nowhere twice, resting on the last beat."""
    dice = random.Random(seed)
    rows, pitch = [], 66
    for at in range(bars * 8 - 2):
        pitch += dice.choice((-5, -4, -2, 1, 2, 3, 7)) if pitch < 76 else -9
        if dice.random() < 0.8 or at == 0:
            rows.append((at * TICKS // 2, (at + 1) * TICKS // 2, pitch, 80))
    return rows


HOOK = [
    (beat * TICKS + part * TICKS // 4, beat * TICKS + (part + 1) * TICKS // 4, pitch, 90)
    for beat, pitches in enumerate(["AHCE", "C", "AC", "E", "EECA", "H", "A", "A"] * 2)
    for part, pitch in enumerate(69 + "A HC DE".index(letter) for letter in pitches)
][:-1]


def at(rows: Sequence[Row], bar: float, up: int = 0) -> Notes:
    """Notes that begin in a bar counted from 0."""
    return notes_of(rows).moved(round(bar * BAR), up)


def song_of(*notes: Notes, metres: Sequence[MetreChange] = (), ticks: int = TICKS) -> Song:
    return Song([Track(joined(notes))], ticks, metres=metres)


def melody(song: Song) -> dict[str, Notes]:
    return {"melody": song.tracks[0].notes}


def best(song: Song, bars: int = 4) -> int:
    return phrases(song, melody(song), bars)[0].start_bar


VERSES = [wandering(seed) for seed in range(4)]
HOOKED = song_of(
    at(VERSES[0], 0), at(VERSES[1], 4), at(HOOK, 8), at(VERSES[2], 12), at(HOOK, 16), at(HOOK, 20)
)


def test_the_phrase_that_comes_again_is_found_where_it_is_first_heard() -> None:
    found = phrases(HOOKED, melody(HOOKED), 4)[0]
    assert (found.start_bar, found.bars, found.start, found.end) == (9, 4, 8 * BAR, 12 * BAR)
    assert found.metre == (4, 4) and not found.short
    assert found.why == "comes 3 times, 94% full, begins where a phrase does"


def test_the_scores_fall_and_every_phrase_with_a_note_is_there_once() -> None:
    found = phrases(HOOKED, melody(HOOKED), 4)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert sorted(one.start_bar for one in found) == list(range(1, 22))


def test_a_repetition_in_another_key_or_with_another_ending_counts() -> None:
    ending = [*HOOK[:-2], (HOOK[-2][0], HOOK[-2][1], HOOK[-2][2] + 4, 90)]
    for again in (at(HOOK, 16, up=3), at(HOOK, 16, up=-7), at(ending, 16)):
        song = song_of(at(VERSES[0], 0), at(VERSES[1], 4), at(HOOK, 8), at(VERSES[2], 12), again)
        assert best(song) == 9
        assert "comes 2 times" in phrases(song, melody(song), 4)[0].why


def test_where_nothing_comes_again_the_fullest_phrase_is_taken() -> None:
    thin = [row for row in VERSES[0] if row[0] % BAR == 0]
    song = song_of(at(thin, 0), at(VERSES[1], 4), at(thin, 8))
    found = phrases(song, melody(song), 4)[0]
    assert found.start_bar == 5 and found.why.startswith("comes once")


def test_of_equals_the_earliest() -> None:
    assert best(song_of(*(at(HOOK, bar) for bar in (0, 4, 8)))) == 1


@pytest.mark.parametrize("shift", [0, 3, 7, 41])
def test_an_introduction_of_rests_moves_the_phrase_and_changes_nothing_else(shift: int) -> None:
    moved = song_of(HOOKED.tracks[0].notes.moved(shift * BAR))
    assert best(moved) == 9 + shift


@pytest.mark.parametrize("ticks", [1, 24, 96, 1000])
@pytest.mark.parametrize("up", [-24, 5])
def test_neither_the_key_nor_the_ticks_matter(ticks: int, up: int) -> None:
    notes = HOOKED.tracks[0].notes.moved(semitones=up)
    if ticks >= 24:
        assert best(song_of(notes.rescaled(TICKS, ticks), ticks=ticks)) == 9
    assert phrases(song_of(notes.rescaled(TICKS, ticks), ticks=ticks), {"melody": notes}, 4)


def test_a_pickup_bar_is_not_the_start_of_a_phrase() -> None:
    pickup = notes_of(
        [(3 * TICKS, 3 * TICKS + TICKS // 2, 64, 80), (3 * TICKS + 240, BAR, 67, 80)]
    )
    tune = song_of(pickup, *(at(HOOK, bar) for bar in (1, 5, 9)))
    assert best(tune) == 2
    assert best(song_of(pickup.moved(BAR), *(at(HOOK, bar) for bar in (2, 6)))) == 3


def test_a_phrase_begins_after_a_rest_though_its_upbeat_comes_before_the_bar() -> None:
    body = [(0, BAR - TICKS, 60, 80), (BAR, BAR + TICKS, 62, 80), (BAR + TICKS, 2 * BAR, 64, 80)]
    rows = [(s + 2 * i * BAR, e + 2 * i * BAR, p, v) for i in range(4) for s, e, p, v in body]
    whole = song_of(notes_of(rows))
    with_rest = replace(whole, tracks=[Track(notes_of([r for r in rows if r[0] // BAR != 5]))])
    assert best(whole, 2) == best(with_rest, 2) == 1


def test_notes_a_little_early_belong_to_the_bar_they_begin() -> None:
    dice = random.Random(1)
    notes = HOOKED.tracks[0].notes
    late = [max(start + dice.randint(-40, 40), 0) for start in notes.start.tolist()]
    rows = zip(
        late, notes.end.tolist(), notes.pitch.tolist(), notes.velocity.tolist(), strict=True
    )
    assert best(song_of(notes_of((s, max(e, s + 1), p, v) for s, e, p, v in rows))) == 9


@pytest.mark.parametrize("bars", [1, 2, 3, 4, 8, 16, 23])
def test_phrases_have_the_bars_asked_for_and_follow_the_bar_lines(bars: int) -> None:
    for found in phrases(HOOKED, melody(HOOKED), bars):
        assert found.bars == bars and found.end - found.start == bars * BAR
        assert found.start == (found.start_bar - 1) * BAR


def test_a_song_that_is_shorter_is_one_phrase_marked_as_short() -> None:
    song = song_of(at(HOOK, 1))
    [found] = phrases(song, melody(song), 8)
    assert found.short and (found.start_bar, found.bars, found.end) == (1, 5, 5 * BAR)
    assert found.why == "all there is; 5 of 8 bars"
    [rested] = phrases(replace(song, length=9 * BAR), melody(song), 8)
    assert not rested.short and (rested.start_bar, rested.bars) == (2, 8)


THREE, FOUR = Metre(3, 4), Metre(4, 4)


def test_phrases_in_one_metre_come_first_and_the_others_are_there_and_say_so() -> None:
    change = [MetreChange(0, THREE), MetreChange(6 * 3 * TICKS, FOUR)]
    waltz = [((3 * bar + beat) * TICKS, (3 * bar + beat + 1) * TICKS, 60 + 2 * beat, 80)
             for bar in range(6) for beat in range(3)]  # fmt: skip
    song = song_of(notes_of(waltz), notes_of(HOOK).moved(18 * TICKS), metres=change)
    found = phrases(song, melody(song), 4)
    assert {one.start_bar for one in found if "; in 3/4 and 4/4" in one.why} == {4, 5, 6}
    assert {one.start_bar for one in found[:4]} == {1, 2, 3, 7}
    for metre, first in ((THREE, {1, 2, 3}), (FOUR, {7})):
        wanted = phrases(song, melody(song), 4, metre)
        assert {one.start_bar for one in wanted[: len(first)]} == first
        assert len(wanted) == len(found) and wanted[0].metre == metre


def test_a_song_that_changes_metre_every_bar_still_yields() -> None:
    changes = [MetreChange(bar * 7 * TICKS + late * 3 * TICKS, metre)
               for bar in range(6) for late, metre in enumerate((THREE, FOUR))]  # fmt: skip
    song = song_of(notes_of((i * TICKS, (i + 1) * TICKS, 60 + i % 7, 80) for i in range(42)),
                   metres=changes)  # fmt: skip
    found = phrases(song, melody(song), 4)[0]
    assert found.bars == 4 and found.end - found.start == 14 * TICKS


def test_all_parts_of_a_trio_count() -> None:
    lead = joined([at(HOOK, 0), at(HOOK, 8), at(HOOK, 16)])
    drums = joined([notes_of([(b * TICKS, b * TICKS + 60, 36 + 2 * (b % 2), 99)]).moved(BAR * bar)
                    for bar in range(8, 20) for b in range(4)])  # fmt: skip
    song = Song([Track(lead), Track(drums, drums=True)])
    assert phrases(song, {"melody": lead}, 4)[0].start_bar == 1
    assert phrases(song, {"melody": lead, "drums": drums}, 4)[0].start_bar == 9
    assert phrases(song, {"drums": drums}, 4)[0].start_bar == 9


def test_without_a_note_or_a_bar_there_is_no_phrase() -> None:
    with pytest.raises(Refused, match="the song: no note in melody, bass"):
        phrases(HOOKED, {"melody": notes_of([]), "bass": notes_of([])})
    with pytest.raises(Refused, match="bars = 0: a phrase has 1 bar or more"):
        phrases(HOOKED, melody(HOOKED), 0)


def test_a_phrase_asked_for_is_cut_where_the_song_ends_and_refused_beyond() -> None:
    assert phrase_at(HOOKED, 9, 4)[:4] == (9, 4, 8 * BAR, 12 * BAR)
    late = phrase_at(HOOKED, 23, 4)
    assert late.short and late[:4] == (23, 2, 22 * BAR, 24 * BAR)
    for bar in (0, 25, -1):
        with pytest.raises(
            Refused, match=f"bar {bar}: tune.mid has 24 bars; choose one of 1 to 24"
        ):
            phrase_at(replace(HOOKED, name="tune.mid"), bar, 4)


def test_what_is_written_is_on_the_grid_and_what_is_played_is_not() -> None:
    notes = HOOKED.tracks[0].notes
    assert off_grid(HOOKED, notes) == 0 == off_grid(HOOKED, notes_of([]))
    dice = random.Random(0)
    free = notes_of((dice.randrange(80_000), 90_000, 60, 80) for _ in range(500))
    assert 0.4 < off_grid(song_of(free), free) < 0.6
    triplets = notes_of((i * 160, i * 160 + 80, 60, 80) for i in range(12))
    assert off_grid(HOOKED, triplets, 4) == pytest.approx(2 / 3)
    assert off_grid(HOOKED, triplets, 6) == off_grid(HOOKED, triplets, 12) == 0


def test_a_long_song_takes_no_longer_than_a_blink() -> None:
    song = song_of(*(at(VERSES[i % 4], 4 * i, up=i % 5) for i in range(400)))
    begun = time.process_time()
    found = phrases(song, melody(song), 4)
    assert time.process_time() - begun < 1.0 and found[0].start_bar <= LONGEST
    assert best(song, 16) <= LONGEST


@pytest.mark.parametrize("seed", range(150))
def test_whatever_the_metres_ticks_and_notes_a_phrase_with_a_note_is_found(seed: int) -> None:
    dice = random.Random(seed)
    ticks = dice.choice((1, 3, 24, 480, 32767))
    span = dice.choice((1, 4, 40, 400)) * ticks
    begins = [dice.randrange(span) for _ in range(dice.choice((1, 2, 60)))]
    lengths = (1, ticks, 50 * ticks)
    notes = notes_of((t, t + dice.choice(lengths), dice.randrange(128), 64) for t in begins)
    signs = itertools.product((1, 3, 4, 7, 32), (2, 4, 8, 64, 3))
    metres = [MetreChange(dice.randrange(span), Metre(*sign)) for sign in dice.sample([*signs], 3)]
    song = song_of(notes, ticks=ticks, metres=sorted(metres)[: dice.randrange(4)])
    for name, bars in itertools.product(("melody", "drums"), (1, 4)):
        found = phrases(song, {name: notes}, bars, dice.choice((None, THREE)))[0]
        assert found.bars == bars or found.short
        assert len(notes.within(found.start, found.end)) and 0 <= found.score <= 1


@pytest.mark.skipif(not HARD.is_dir(), reason="the shared corpora are not here: no midi_hard")
def test_every_awkward_file_with_a_note_yields_a_phrase_of_every_length() -> None:
    tried = 0
    for path in sorted(HARD.glob("*.mid*")):
        try:
            song = read_midi(path)
        except MidiError:
            continue
        parts = {}
        for part in PARTS:
            try:
                parts[part] = find_part(song, part).notes
            except NoPart:
                continue
        if not parts:
            assert not any(len(track.notes) for track in song.tracks)
            continue
        tried += 1
        for bars, notes in itertools.product((2, 16), parts.values()):
            found = phrases(song, {"melody": notes}, bars)[0]
            assert found.bars == bars or found.short
            assert len(notes.within(found.start, found.end))
            assert phrase_at(song, found.start_bar, bars)[:5] == found[:5]
    assert tried >= 40
    played = read_midi(HARD / "partitura__mozart_k265_var1.mid")
    assert off_grid(played, played.tracks[0].notes) > 0.3
