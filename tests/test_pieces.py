"""Pieces: a phrase is cut as it is heard, in any song, and what was done to it is said."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data_prep.composer import compose
from seqvae.codecs import DrumsCodec, MelodyCodec, TrioCodec
from seqvae.errors import Refused
from seqvae.midi import TICKS, Metre, MetreChange, Notes, Song, Tempo, Track, notes_of
from seqvae.midi.clips import Grid
from seqvae.midi.keys import KeyFound
from seqvae.midi.parts import NoPart
from seqvae.music.pieces import Piece, find_parts, parts_in, phrase, rest_of, song_key, whole

BEAT, BAR = TICKS, 4 * TICKS
MELODY, DRUMS, TRIO = MelodyCodec(bars=2), DrumsCodec(bars=2), TrioCodec(bars=1)
Row = tuple[int, int, int, int]
TUNE = (60, 62, 64, 65, 67, 65, 64, 62)


def eighths(*pitches: int, at: int = 0, beat: int = BEAT) -> list[Row]:
    return [(at + i * beat // 2, at + (i + 1) * beat // 2, p, 80) for i, p in enumerate(pitches)]


def song(*rows: Sequence[Row], ticks: int = TICKS, **other: object) -> Song:
    """A track for each list of rows."""
    return Song([Track(notes_of(each)) for each in rows], ticks, name="a.mid", **other)  # type: ignore[arg-type]


def table(notes: Notes) -> list[list[int]]:
    return notes.table.tolist()


def said(piece: Piece) -> str:
    return "\n".join(piece.said)


FOUR = song(eighths(*TUNE * 4))


def test_a_phrase_is_its_notes_from_its_first_bar_line_on() -> None:
    found = phrase(FOUR, MELODY, 2, at=2)
    assert (found.start, found.end, found.bar) == (BAR, 3 * BAR, 2)
    assert table(found.clip.part("melody")) == [list(row) for row in eighths(*TUNE * 2)]
    assert found.clip.length == 2 * BAR and found.clip.metre == Metre(4, 4)
    assert "bars 2 to 3: asked for" in said(found)
    assert "bar 4: asked for" in said(phrase(FOUR, MELODY, 1, at=4))


@pytest.mark.parametrize("ticks", [96, 220, 960])
def test_a_clip_has_480_ticks_a_beat_whatever_its_file_has(ticks: int) -> None:
    found = phrase(song(eighths(*TUNE * 4, beat=ticks), ticks=ticks), MELODY, 2, at=1)
    assert table(found.clip.part("melody")) == [list(row) for row in eighths(*TUNE * 2)]
    assert found.of_length(8).clip.length == 8 * TICKS


def test_what_comes_a_little_early_belongs_to_the_next_bar() -> None:
    rows = [(0, BAR - 9, 60, 80), (BAR - 9, 2 * BAR + 9, 64, 81), (2 * BAR + 9, 3 * BAR, 67, 82)]
    found = phrase(song(rows), MELODY, 1, at=1)
    assert table(found.clip.part("melody")) == [[0, BAR - 9, 60, 80]], "no blip at its end"
    found = phrase(song(rows), MELODY, 1, at=2)
    assert table(found.clip.part("melody")) == [[0, BAR, 64, 81]]
    found = phrase(song(rows), MELODY, 1, at=3)
    assert table(found.clip.part("melody")) == [[9, BAR, 67, 82]], "nor at its beginning"


def test_what_is_held_into_a_phrase_sounds_in_it() -> None:
    held = [(0, 2 * BAR, 60, 80), (2 * BAR, 3 * BAR, 62, 80)]
    assert table(phrase(song(held), MELODY, 1, at=2).clip.part("melody")) == [[0, BAR, 60, 80]]


def test_a_song_that_is_too_short_is_filled_with_rest_and_says_so() -> None:
    found = phrase(song(eighths(*TUNE)), MELODY, 4)
    assert "all there is; 1 of 4 bars" in said(found)
    longer = found.of_length(16)
    assert longer.clip.length == 4 * BAR and longer.clip.notes == 8
    assert "its song ends early: 12 beats of rest were added" in said(longer)
    assert said(found.of_length(4)) == said(found), "nothing was added"


def test_a_length_takes_what_follows_in_the_song_or_is_cut() -> None:
    found = phrase(FOUR, MELODY, 1, at=1)
    assert table(found.of_length(6).clip.part("melody")) == [
        list(row) for row in eighths(*TUNE, *TUNE[:4])
    ]
    assert found.of_length(1).clip.notes == 2


def test_bars_where_the_part_rests_are_said_to() -> None:
    late = song(eighths(*TUNE * 2, at=4 * BAR))
    found = phrase(late, MELODY, 2, at=1)
    assert found.clip.notes == 0
    assert "there melody rests; another bar may have more" in said(found)


def test_a_bar_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(Refused, match=r"bar 17: a\.mid has 4 bars; choose one of 1 to 4"):
        phrase(FOUR, MELODY, 2, at=17)


def test_a_phrase_in_the_metre_asked_for_comes_first() -> None:
    three = [(BAR * 4 + i * BEAT, BAR * 4 + (i + 1) * BEAT, 60 + i % 5, 80) for i in range(12)]
    metres = [MetreChange(0, Metre(4, 4)), MetreChange(4 * BAR, Metre(3, 4))]
    changing = song([*eighths(*TUNE * 4), *three], metres=metres)
    assert phrase(changing, MELODY, 2).clip.metre == Metre(4, 4)
    assert phrase(changing, MELODY, 2, metre=Metre(3, 4)).clip.metre == Metre(3, 4)


def test_the_tempo_is_the_one_that_holds_longest_in_the_phrase() -> None:
    changing = song(eighths(*TUNE * 4), tempos=[Tempo(0, 90.0), Tempo(BAR + BEAT, 150.0)])
    found = [phrase(changing, MELODY, 1, at=bar) for bar in (1, 2, 3)]
    assert [piece.clip.qpm for piece in found] == [90.0, 150.0, 150.0]
    assert ["tempo changes" in said(piece) for piece in found] == [False, True, False]
    assert "from 90 to 150: all of it is read at 150 bpm, which holds longest" in said(found[1])
    assert phrase(changing, MELODY, 4, at=1).clip.qpm == 150.0
    assert "tempo changes" not in said(whole(changing, MELODY)), "a whole song keeps its tempos"


def test_a_tempo_that_comes_and_goes_counts_all_it_holds() -> None:
    tempos = [(0, 100.0), (2 * BEAT, 60.0), (5 * BEAT, 100.0), (7 * BEAT, 100.4)]
    there = song(eighths(*TUNE * 2), tempos=[Tempo(*each) for each in tempos])
    found = phrase(there, MELODY, 2, at=1)
    assert found.clip.qpm == 100.0
    assert "from 100 to 100 by other tempos" in said(found)


# --- grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [50, -40])
def test_notes_that_all_lie_beside_the_bars_are_counted_from_where_they_lie(late: int) -> None:
    found = phrase(song([(s + late, e + late, p, v) for s, e, p, v in FOUR_ROWS]), MELODY, 2, at=2)
    assert found.start == BAR + late
    assert table(found.clip.part("melody"))[0] == [0, BEAT // 2, 60, 80]
    side = "0.10 beats after" if late > 0 else "0.08 beats before"
    assert f"its notes lie {side} its bar lines: it begins there" in said(found)
    assert "off the grid" not in said(found)


FOUR_ROWS = eighths(*TUNE * 4)


def test_notes_a_little_late_stay_so() -> None:
    found = phrase(song([(s + 20, e + 20, p, v) for s, e, p, v in FOUR_ROWS]), MELODY, 2, at=2)
    assert found.start == BAR and table(found.clip.part("melody"))[0][:2] == [20, 260]
    assert "its bar lines" not in said(found)


def test_a_file_that_is_on_no_grid_is_said_to_be() -> None:
    draw = np.random.default_rng(0)
    starts = np.sort(draw.integers(0, 4 * BAR, 60)).tolist()
    wild = song([(start, start + 60, 60 + i % 7, 80) for i, start in enumerate(starts)])
    assert "played without a click" in said(phrase(wild, MELODY, 2))
    third = BEAT // 3
    triplets = song([(i * third, (i + 1) * third, 60 + i % 5, 80) for i in range(48)])
    assert "they fit 6 steps, as triplets do" in said(phrase(triplets, MELODY, 2))
    assert "off the grid" not in said(phrase(triplets, MelodyCodec(steps=12), 2))
    assert "off the grid" not in said(phrase(FOUR, MELODY, 2))


# --- parts ---------------------------------------------------------------------------------------


def test_the_others_are_what_no_part_is_taken_from() -> None:
    composed = compose(1).song
    found = phrase(composed, MELODY, 4)
    assert [track.name for track in found.others] == ["chords", "bass", "drums"]
    assert found.player("melody").name == "melody"
    assert [track.name for track in phrase(composed, TRIO, 4).others] == ["chords"]
    assert all(track.notes.last <= found.clip.length for track in found.others)


def test_below_a_top_line_the_chords_are_the_others() -> None:
    """A piano's left hand plays on, by the same player."""
    chords = [(i * BEAT, (i + 1) * BEAT, p, 70) for i in range(16) for p in (48, 52, 76 + i % 5)]
    found = phrase(song(chords), MELODY, 2, at=1)
    assert {row[2] for row in table(found.clip.part("melody"))} <= set(range(76, 81))
    [rest] = found.others
    assert set(rest.notes.pitch.tolist()) == {48, 52}
    assert len(rest_of(found.song, found.parts, 0)) + len(found.parts["melody"].notes) == 48


def test_the_others_keep_their_volume_and_their_pedal() -> None:
    rows = [(0, 7, 90), (100, 64, 127), (BAR - 1, 64, 0), (BAR + 240, 64, 127), (3 * BAR, 7, 3)]
    rows += [(0, 20, 5)]  # of no meaning
    controls = np.array(rows, np.int32)
    tracks = [Track(notes_of(eighths(*TUNE * 4)), "tune"), Track(notes_of([(0, BAR * 4, 40, 70)]))]
    tracks[1] = Track(tracks[1].notes, "pad", 89, controls=controls)
    [pad] = phrase(Song(tracks, name="a.mid"), MELODY, 2, at=2, asked="tune").others
    assert pad.controls.tolist() == [[0, 7, 90], [0, 64, 0], [240, 64, 127]]


def test_a_player_has_the_notes_and_the_controls_of_the_phrase() -> None:
    controls = np.array([(0, 7, 90), (BAR + 240, 64, 127), (3 * BAR, 7, 3)], np.int32)
    bends = np.array([(BAR, 0), (3 * BAR, 900)], np.int32)
    tune = Track(notes_of(eighths(*TUNE * 4)), "tune", 73, controls=controls, bends=bends)
    found = phrase(Song([tune], name="a.mid"), MELODY, 2, at=2)
    player = found.player("melody")
    assert player.controls.tolist() == [[0, 7, 90], [240, 64, 127]]
    assert player.notes == found.clip.part("melody") and not len(player.bends)
    assert not found.bent and phrase(Song([tune], name="a.mid"), MELODY, 2, at=3).bent


def test_a_bar_that_is_asked_for_needs_no_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqvae.music.pieces.phrases", None)
    assert phrase(FOUR, MELODY, 2, at=2).bar == 2


def test_two_parts_of_one_track_are_said() -> None:
    both = [(i * BEAT, (i + 1) * BEAT, p, 80) for i in range(16) for p in (40, 76)]
    drums = Track(notes_of([(i * BEAT, i * BEAT + 60, 36, 90) for i in range(16)]), drums=True)
    piano = Song([Track(notes_of(both), "piano"), drums], name="a.mid")
    found = phrase(piano, TRIO, 2, asked="melody=piano,bass=piano")
    assert "melody and bass are both taken from track 1" in said(found)
    assert {row[2] for row in table(found.clip.part("bass"))} == {40}


def test_a_missing_part_names_the_file_and_the_run_that_reads_it() -> None:
    beat = Track(notes_of([(i * BEAT, i * BEAT + 60, 36, 90) for i in range(16)]), drums=True)
    drums, tune = Song([beat], name="beat.mid"), song(eighths(*TUNE))
    with pytest.raises(NoPart, match=r"^beat\.mid: no melody.*has drums: a run such as drums"):
        find_parts(drums, MELODY)
    with pytest.raises(NoPart, match=r"^a\.mid: no drums.*has melody: a run such as melody"):
        find_parts(tune, DRUMS)
    with pytest.raises(NoPart, match=r"^a\.mid: no track 'viola'.*seqvae tracks a\.mid$"):
        find_parts(tune, MELODY, "viola")
    assert (parts_in(drums), parts_in(tune)) == (["drums"], ["melody"])
    own = replace(drums, tracks=[replace(beat, notes=beat.notes.moved(semitones=-30))])
    with pytest.raises(NoPart, match=r"It has drums, none of them of General MIDI\. See its"):
        find_parts(own, MELODY)


def test_of_a_song_in_several_metres_it_is_said_where_a_phrase_is_taken_from() -> None:
    changes = [MetreChange(16 * BEAT, Metre(3, 4)), MetreChange(28 * BEAT, Metre(7, 8))]
    rows = eighths(*([60, 62, 64, 65] * 21))
    odd = song(rows, metres=changes)
    assert "it is in 4/4, 3/4 and 7/8: the phrase is taken from its 3/4" in said(
        phrase(odd, MELODY, 4, at=5)
    )
    mixed = said(phrase(odd, MELODY, 4, at=3))
    assert "it is in 4/4, 3/4 and 7/8, and the phrase runs through 4/4 and 3/4" in mixed
    assert "all of it is counted in 4/4" in mixed
    assert "it is in" not in said(phrase(FOUR, MELODY, 2))


@pytest.mark.parametrize("asked", ["melody=a,viola=b", "melody=", "x"])
def test_tracks_of_several_parts_are_asked_for_by_part(asked: str) -> None:
    with pytest.raises(Refused, match="write melody=NAME or bass=NAME or drums=NAME"):
        find_parts(compose(0).song, TRIO, asked)


def test_drums_have_no_key() -> None:
    beat = Track(notes_of([(0, 60, 36, 90)]), drums=True)
    assert song_key(Song([beat])) == KeyFound(0, False, 0.0)
    assert song_key(compose(0, key="D", mode="minor").song).name == "D minor"


def test_the_whole_of_a_song_is_all_its_notes() -> None:
    found = whole(FOUR, MELODY)
    assert table(found.clip.part("melody")) == [list(row) for row in FOUR_ROWS]
    assert found.clip.length == Grid(bars=4).length * TICKS // 4
