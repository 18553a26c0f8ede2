"""The parts of a song: a name decides, then a program, then how a track plays."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seqvae.errors import Refused
from seqvae.midi import TICKS, MidiError, Notes, Song, Track, joined, notes_of, read
from seqvae.midi.parts import PARTS, NoPart, find_part, outline, scores

MUSIC = Path(__file__).parents[2] / "shared" / "data" / "music"
HARD = Path(__file__).parents[2] / "shared" / "data" / "midi_hard"
HALF = TICKS // 2

TUNE = (72, 74, 76, 77, 76, 74, 72, 71)


def line(pitches: Sequence[int], length: int = HALF, start: int = 0, times: int = 4) -> Notes:
    """Notes one after the other."""
    rows = list(pitches) * times
    return notes_of(
        (start + i * length, start + (i + 1) * length, p, 90) for i, p in enumerate(rows)
    )


def chords(times: int = 4) -> Notes:
    return joined(line([pitch], 4 * TICKS, times=times) for pitch in (60, 64, 67))


MELODY = Track(line(TUNE), "MELODY")
BASS = Track(line((36, 36, 43, 36), 2 * TICKS, times=2), "BASS")
PIANO = Track(chords(), "PIANO")
DRUMS = Track(line((36, 42, 38, 42)), "", drums=True)


def song(*tracks: Track) -> Song:
    return Song(tracks)


def unnamed(whole: Song) -> Song:
    return replace(whole, tracks=[replace(track, name="") for track in whole.tracks])


BAND = song(DRUMS, PIANO, BASS, MELODY)


@pytest.mark.parametrize("whole", [BAND, unnamed(BAND)], ids=["named", "unnamed"])
def test_a_band_is_known_by_its_names_or_by_how_it_plays(whole: Song) -> None:
    assert [find_part(whole, part).tracks for part in PARTS] == [[3], [2], [0]]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("whole", [BAND, unnamed(BAND)], ids=["named", "unnamed"])
def test_what_is_chosen_is_the_best_by_the_scores(part: str, whole: Song) -> None:
    ranked = scores(whole, part)
    assert find_part(whole, part).tracks == [ranked[0].track]
    values = [one.score for one in ranked]
    assert values == sorted(values, reverse=True) and all(0 <= value <= 1 for value in values)
    assert sorted(one.track for one in ranked) == [0, 1, 2, 3]
    assert all(one.why for one in ranked)


@pytest.mark.parametrize("part", ["melody", "bass"])
def test_the_order_of_the_tracks_does_not_matter(part: str) -> None:
    backwards = song(*reversed(unnamed(BAND).tracks))
    assert find_part(backwards, part).notes == find_part(unnamed(BAND), part).notes


def test_how_it_was_chosen_is_said() -> None:
    assert find_part(BAND, "melody").how.startswith('track 4 "MELODY": by name; one voice at 100%')
    assert find_part(unnamed(BAND), "melody").how.startswith("track 4: one voice at 100%")
    assert find_part(BAND, "drums").how == "track 1: on channel 10"
    assert find_part(BAND, "bass", "piano").how.endswith("its lowest line, 4 of 12 notes")


ROLES = {
    "melody": ["Melody", "LeadGuitar", "lead_gtr", "VOCALS 1", "Gesang", "Soprano", "主旋律",
               "piano right", "Solo Violin", "Singer", "Tune"],
    "bass": ["Bass", "Fretless Bass", "Contrabasse", "E-BASS", "slapbass"],
}  # fmt: skip
NO_ROLES = {
    "melody": ["Square Lead", "Bass Lead", "Lead 2 (sawtooth)", "Voice Oohs", "SynthVox",
               "Backing Vocals", "Single Coil", "Tuned Drums", "Chanter's Rest", "Leading"],
    "bass": ["Bassoon", "Bass Drum", "Bass Clarinet", "Basso"],
}  # fmt: skip


@pytest.mark.parametrize(("part", "name"), [(p, n) for p, names in ROLES.items() for n in names])
def test_a_name_outdoes_every_score(part: str, name: str) -> None:
    odd = Track(line((55, 40), TICKS, times=2), name)
    assert find_part(song(MELODY_PLAIN, BASS_PLAIN, odd), part).tracks == [2]


@pytest.mark.parametrize(
    ("part", "name"), [(p, n) for p, names in NO_ROLES.items() for n in names]
)
def test_the_name_of_an_instrument_is_no_role(part: str, name: str) -> None:
    odd = Track(line((55, 40), TICKS, times=2), name)
    assert find_part(song(MELODY_PLAIN, BASS_PLAIN, odd), part).tracks != [2]


MELODY_PLAIN, BASS_PLAIN = replace(MELODY, name=""), replace(BASS, name="")


def test_of_several_named_the_better_wins_and_a_title_with_no_music_does_not() -> None:
    title, short = Track(line((60,), times=1), "My Melody"), Track(line(TUNE, times=1), "Lead 1")
    assert find_part(song(title, short, replace(MELODY, name="Lead 2nd")), "melody").tracks == [1]
    assert find_part(song(title, replace(MELODY, name="Flute")), "melody").tracks == [1]


def test_a_bass_program_is_a_bass_though_another_is_lower() -> None:
    low = Track(line((30, 31), TICKS, times=8))
    assert find_part(song(low, replace(BASS_PLAIN, program=33), MELODY), "bass").tracks == [1]
    assert find_part(song(low, BASS_PLAIN, MELODY), "bass").tracks == [0]


@pytest.mark.parametrize(
    "tracks",
    [(MELODY_PLAIN,), (MELODY_PLAIN, replace(PIANO, name="")), (DRUMS,), (BASS_PLAIN,), ()],
    ids=["a melody alone", "melody and chords", "drums", "one low line", "nothing"],
)
def test_what_is_high_or_chords_or_alone_is_no_bass(tracks: Sequence[Track]) -> None:
    with pytest.raises(NoPart, match=r"^no bass: none of its"):
        find_part(song(*tracks), "bass")


def test_all_drum_tracks_are_joined() -> None:
    more = Track(line((49,), 4 * TICKS), "crash", drums=True)
    found = find_part(song(DRUMS, MELODY, more), "drums")
    assert found.tracks == [0, 2] and found.notes == joined([DRUMS.notes, more.notes])
    assert found.how == "tracks 1, 3: on channel 10"


def test_drums_by_name_count_only_where_channel_10_is_silent() -> None:
    named = Track(DRUMS.notes, "Percussion")
    assert find_part(song(MELODY, named), "drums").tracks == [1]
    assert find_part(song(MELODY, named, DRUMS), "drums").tracks == [2]
    assert find_part(song(named, MELODY_PLAIN), "melody").tracks == [1]
    with pytest.raises(NoPart):
        find_part(song(MELODY, Track(DRUMS.notes, "Steel Drums")), "drums")


def test_a_missing_part_says_which_tracks_there_are() -> None:
    whole = song(MELODY, Track(line((60,)), "BRIDGE"), PIANO)
    with pytest.raises(NoPart) as caught:
        find_part(whole, "drums")
    expected = "no drums: none of its 3 tracks is on channel 10 (MELODY, BRIDGE, PIANO)"
    assert str(caught.value) == expected
    with pytest.raises(NoPart, match=r"no melody: none of its 1 track has notes .* \(#1\)"):
        find_part(song(DRUMS), "melody")
    with pytest.raises(NoPart, match=r"#12, 28 more\)$"):
        find_part(song(*[MELODY_PLAIN] * 40), "drums")


@pytest.mark.parametrize(
    ("asked", "tracks"),
    [("melody", [3]), (" Mel* ", [3]), ("*A*O", [1]), ("#2", [1]), ("program:0", [3]),
     ("program:0-31", [3]), ("PIANO", [1])],
)  # fmt: skip
def test_a_track_is_asked_for_by_name_number_or_program(asked: str, tracks: list[int]) -> None:
    assert find_part(BAND, "melody", asked).tracks == tracks


def test_what_was_asked_for_is_taken_though_it_does_not_look_the_part() -> None:
    assert find_part(BAND, "melody", "#1").notes == DRUMS.notes
    assert find_part(BAND, "drums", "*").tracks == [0, 1, 2, 3]


def test_a_bracket_in_a_name_is_a_bracket() -> None:
    assert find_part(
        song(PIANO, Track(line(TUNE), "Flute [x]")), "melody", "flute [X]"
    ).tracks == [1]


@pytest.mark.parametrize("asked", ["violin", "#5", "#0", "program:40", "program:120-127", ""])
def test_a_track_that_is_not_there_is_named_with_those_that_are(asked: str) -> None:
    with pytest.raises(NoPart, match=r"no track '.*' with notes among its 4 \(#1, PIANO, BASS"):
        find_part(BAND, "melody", asked)


def test_a_program_that_is_no_number_and_a_part_that_is_none_are_refused() -> None:
    with pytest.raises(Refused, match="write it as program:33 or program:0-31"):
        find_part(BAND, "melody", "program:flute")
    for find in (find_part, scores):
        with pytest.raises(Refused, match="part 'tuba': choose one of melody, bass, drums"):
            find(BAND, "tuba")


# --- lines ---


def test_the_outline_of_a_line_is_the_line_though_it_is_played_legato() -> None:
    for pitches in (TUNE, tuple(reversed(TUNE))):
        legato = line(pitches)
        legato = replace(legato, end=legato.end + TICKS // 10)
        assert outline(legato, TICKS) == legato == outline(legato, TICKS, lowest=True)


def test_the_outline_of_two_hands_is_the_upper_or_the_lower() -> None:
    upper, lower = line(TUNE), line((48, 55, 52, 55), times=8)
    both = joined([upper, lower])
    assert outline(both, TICKS) == upper
    assert outline(both, TICKS, lowest=True) == lower


def test_hands_that_are_not_together_still_strike_chords() -> None:
    ahead = notes_of([(i * TICKS - 20 * (i > 0), (i + 1) * TICKS, 60, 80) for i in range(4)])
    top = notes_of([(i * TICKS, (i + 1) * TICKS, 72 + i, 80) for i in range(4)])
    assert outline(joined([ahead, top]), TICKS) == top


def test_the_melody_of_a_piano_piece_is_its_top_line() -> None:
    upper = line(TUNE)
    found = find_part(
        song(Track(joined([upper, line((48, 55, 52, 55), times=8)]), "Piano")), "melody"
    )
    assert found.notes == upper and found.how.endswith("its top line, 32 of 64 notes")


# --- files ---


def members(archive: str, folder: str, count: int) -> list[Song]:
    with zipfile.ZipFile(MUSIC / archive) as opened:
        names = [n for n in opened.namelist() if folder in n and n.endswith(".mid")]
        return [read(opened.read(name), name=name) for name in names[:: len(names) // count]]


@pytest.mark.skipif(not MUSIC.is_dir(), reason="the shared corpora are not here: no music folder")
def test_melodies_of_pop_and_folk_are_found_with_their_names_hidden() -> None:
    pop, folk = members("pop909_dev.zip", "aligned/", 60), members("nottingham.zip", "full/", 60)
    assert all(one.tracks[find_part(one, "melody").tracks[0]].name == "MELODY" for one in pop)
    right = [find_part(unnamed(one), "melody").tracks == [0] for one in pop]
    assert sum(right) >= 0.93 * len(right)  # 580 of all 600; the others are the BRIDGE
    backwards = [replace(one, tracks=[*reversed(one.tracks)]) for one in folk]
    last = [len(one.tracks) - 1 for one in folk]
    assert [find_part(one, "melody").tracks for one in backwards] == [[i] for i in last]
    assert not any(scores(one, "bass")[0].score for one in folk)


@pytest.mark.skipif(not HARD.is_dir(), reason="the shared corpora are not here: no midi_hard")
def test_awkward_files_give_a_part_or_say_why_not() -> None:
    for path in sorted(HARD.glob("*.mid*")):
        try:
            whole = read(path)
        except MidiError:
            continue
        for part in PARTS:
            ranked = scores(whole, part)
            try:
                found = find_part(whole, part)
            except NoPart:
                assert not any(one.score for one in ranked)
            else:
                assert len(found.notes) and found.tracks[0] == ranked[0].track
    names = {"bach_846": "Piano right", "claire_de_lune": "Piano right", "TheEntertainer": ""}
    for file, name in names.items():
        piece = read(HARD / f"tonejs__{file}.mid")
        track = find_part(piece, "melody").tracks[0]
        assert (piece.tracks[track].name, track) == (name, 0)
