"""MIDI files and a model that knows music: windows in, songs out."""

from pathlib import Path

import pytest
from echo import echo, untrained
from tiny import prepared, windows

from data_prep.composer import compose, write_songs
from data_prep.midi import prepare_midi
from seqvae.codecs import DrumsCodec, MelodyCodec, MusicCodec, TrioCodec
from seqvae.corpus import open_corpus
from seqvae.errors import Refused
from seqvae.explore import Decoding
from seqvae.midi import TICKS, Song, Track, notes_of, to_bytes, write
from seqvae.midi.parts import NoPart
from seqvae.music.pieces import metre_told
from seqvae.music.studio import (
    corpus_windows,
    described,
    encode,
    fitting,
    neighbours,
    reconstruct,
    songs,
)
from seqvae.music.studio import windows as windows_of

BAR = 4 * TICKS
CODECS: dict[str, MusicCodec] = {
    "melody": MelodyCodec(bars=2),
    "drums": DrumsCodec(bars=2),
    "trio": TrioCodec(bars=1),
}
SONG = compose(3, metre=(4, 4), feel="human").song


def bars(*numbers: int) -> Song:
    """Quarters in some bars, counted from 1."""
    rows = [
        ((bar - 1) * BAR + i * TICKS, (bar - 1) * BAR + (i + 1) * TICKS, 60 + i + bar, 80)
        for bar in numbers
        for i in range(4)
    ]
    return Song([Track(notes_of(rows))], name="a.mid")


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_song_that_comes_back_is_the_song(codec: MusicCodec) -> None:
    """Every track, tempo and metre of it, and its notes as they were played."""
    source = compose(3, metre=(4, 4), feel="straight").song
    again = reconstruct(echo(codec), to_bytes(source), Decoding())
    assert again.f1 == 1.0
    assert [t.name for t in again.song.tracks] == [t.name for t in source.tracks]
    assert [t.program for t in again.song.tracks] == [t.program for t in source.tracks]
    assert again.song.qpm_at(0) == pytest.approx(source.qpm_at(0), rel=1e-4)
    for track, was in zip(again.song.tracks, source.tracks, strict=True):
        if not track.drums:
            assert track.notes.pitch.tolist() == was.notes.pitch.tolist()
        assert track.notes.start.tolist() == was.notes.start.tolist()
        assert track.notes.velocity.tolist() == was.notes.velocity.tolist()


def test_what_is_no_part_is_left_as_it_was() -> None:
    again = reconstruct(untrained(CODECS["melody"]), to_bytes(SONG), Decoding()).song
    for track, was in zip(again.tracks, SONG.tracks, strict=True):
        assert (track.notes == was.notes) == (was.name != "melody")


def test_a_song_in_another_metre_is_said_to_be_cut_beat_by_beat() -> None:
    waltz = compose(3, metre=(3, 4), feel="straight").song
    model = echo(CODECS["melody"])
    told = "metre: 3/4; the model knows 4/4 and reads it beat by beat: a window begins every 8 be"
    assert any(told in line for line in reconstruct(model, to_bytes(waltz), Decoding()).piece.said)
    assert metre_told(waltz, CODECS["melody"])[0].startswith(told)
    assert metre_told(SONG, CODECS["melody"]) == []


def test_notes_beyond_the_range_come_back_in_another_octave() -> None:
    low = Song([Track(notes_of([(i * 480, (i + 1) * 480, 12 + i, 80) for i in range(16)]))])
    again = reconstruct(echo(CODECS["melody"]), to_bytes(low), Decoding())
    assert again.f1 == 1.0 and again.song.tracks[0].notes.pitch.min() == 21


def test_chords_below_a_line_are_left_as_they_were() -> None:
    rows = [(i * 480, (i + 1) * 480, p, 70) for i in range(16) for p in (48, 52, 76 + i % 5)]
    source = Song([Track(notes_of(rows))])
    again = reconstruct(untrained(CODECS["melody"]), to_bytes(source), Decoding()).song
    low = again.tracks[0].notes
    assert low[low.pitch == 48].start.tolist() == [i * 480 for i in range(16)]
    whole = reconstruct(echo(CODECS["melody"]), to_bytes(source), Decoding()).song
    assert whole.tracks[0].notes == source.tracks[0].notes


def test_windows_are_the_bars_with_notes() -> None:
    found = windows_of(echo(MelodyCodec(bars=1)), to_bytes(bars(2, 3, 6)))
    assert [window.bar for window in found] == [2, 3, 6]
    assert [window.clip.notes for window in found] == [4, 4, 4]
    assert [window.bar for window in windows_of(echo(CODECS["melody"]), to_bytes(bars(4)))] == [3]


def test_codes_are_rows_of_plain_data() -> None:
    rows = list(encode(untrained(CODECS["melody"]), to_bytes(bars(1, 2, 3))))
    assert [row["bar"] for row in rows] == [1, 3]
    assert all(len(row["z"]) == len(row["sigma"]) == 6 for row in rows)
    draws = [list(encode(untrained(CODECS["melody"]), to_bytes(bars(1)), sample=True))]
    assert draws[0][0]["z"] != rows[0]["z"]


def test_samples_are_songs_that_end_on_the_bar() -> None:
    for codec in CODECS.values():
        for song in songs(untrained(codec).sample(3)):
            assert song.end == codec.grid.bars * BAR
            assert [t.drums for t in song.tracks] == [part == "drums" for part in codec.parts]


def test_two_files_of_drums_alone_are_for_the_run_of_drums() -> None:
    beat = Song([t for t in SONG.tracks if t.drums])
    files = [to_bytes(song) for song in (beat, SONG)]
    assert fitting(files[0], files[0]) == "drums"
    assert fitting(files[0], files[1]) == fitting(files[1], files[1]) == "melody"


def test_a_phrase_is_nearest_to_itself(tmp_path: Path) -> None:
    write_songs(tmp_path / "songs", 12, seed=0)
    codec = MelodyCodec(bars=1)
    codec.save(tmp_path / "codec")
    made = prepare_midi(
        [str(tmp_path / "songs")], tmp_path / "corpus", codec=str(tmp_path / "codec"), workers=0
    )
    corpus = open_corpus(made.folder)
    every = list(corpus_windows(corpus, "train"))
    assert len(every) == len(corpus.split("train"))
    model, one = echo(codec), every[3]
    file = tmp_path / "songs" / one.about["file"]
    found = neighbours(model, file, corpus, "train", 3, bar=int(one.about["bar"]))
    text, distance = found[0]
    assert distance == 0.0 and text == described(codec, one)
    assert text.startswith(f"{file.name} bar {one.about['bar']}: ")
    assert [far for _, far in found] == sorted(far for _, far in found)


def test_a_corpus_of_music_that_says_less_is_looked_through_too(tmp_path: Path) -> None:
    codec = MelodyCodec(bars=1)
    corpus = windows(tmp_path / "corpus", codec, 5)
    found = neighbours(echo(codec), write(bars(1), tmp_path / "a.mid"), corpus, "valid", 9)
    assert len(found) == 5 and not any("bar" in text for text, _ in found)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    codec, a = CODECS["drums"], to_bytes(bars(1))
    with pytest.raises(NoPart, match=r"no drums: .*has melody: a run such as melody"):
        reconstruct(echo(codec), a, Decoding())
    with pytest.raises(Refused, match="a corpus of sentences"):
        neighbours(echo(CODECS["melody"]), a, prepared(tmp_path), "valid", 1)
