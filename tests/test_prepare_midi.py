"""Laws of `prepare_midi`: every window kept or counted, songs whole in one split, same bytes."""

import csv
import hashlib
import os
import signal
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from data_prep import songblocks, windows
from data_prep.composer import write_songs
from data_prep.midi import KINDS, RECIPES, Prepared, prepare_midi
from data_prep.songs import File, find_files
from data_prep.windows import bar_steps, hashed, normal
from data_prep.workers import Bounds, Lost, results
from seqvae.cli import app
from seqvae.codecs import DrumsCodec, MelodyCodec, TrioCodec, VoicedCodec
from seqvae.corpus import Corpus, open_corpus
from seqvae.errors import Refused
from seqvae.midi import Limits, Metre, MetreChange, Song, Tempo, Track, notes_of, read, write
from seqvae.midi.clips import Clip, Grid
from seqvae.midi.parts import find_part
from seqvae.recipe import read as read_recipe

POP909 = Path(__file__).parents[2] / "shared" / "data" / "music" / "pop909_dev.zip"
WHOLE: dict[str, Any] = {"valid_fraction": 0, "test_fraction": 0, "workers": 0}  # all is train
BEAT, BAR = 480, 1920
FORKS = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs forked processes")

Row = tuple[int, int, int, int]


def tune(pitches: Sequence[int], beat: int = BEAT, start: int = 0) -> list[Row]:
    """A quarter note each."""
    return [(start + i * beat, start + (i + 1) * beat, p, 80) for i, p in enumerate(pitches)]


def song_file(
    path: Path,
    melody: Sequence[Row] = (),
    *,
    bass: Sequence[Row] = (),
    drums: Sequence[Row] = (),
    metres: Sequence[tuple[int, Metre]] = (),
    qpm: float = 120.0,
) -> Path:
    named = (("melody", melody), ("bass", bass), ("drums", drums))
    tracks = [Track(notes_of(rows), name, drums=name == "drums") for name, rows in named if rows]
    changes = [MetreChange(*change) for change in metres]
    return write(Song(tracks, tempos=[Tempo(0, qpm)], metres=changes), path)


def different(path: Path, count: int, bars: int = 6) -> list[Path]:
    """Songs that share no window, in any key."""
    rng = np.random.default_rng(0)
    return [
        song_file(path / f"{i:02d}.mid", tune(rng.integers(40, 90, 4 * bars).tolist()))
        for i in range(count)
    ]


def corpus_of(sources: Sequence[str | Path], out: Path, **options: Any) -> Corpus:
    return open_corpus(prepare_midi(sources, out, **{"workers": 0, **options}).folder)


def said(corpus: Corpus, split: str = "train") -> list[str]:
    items = corpus.split(split)
    return [" ".join(corpus.codec.tokens(items[i].tolist())) for i in range(len(items))]


def listed(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def splits_of(out: Path) -> dict[str, str]:
    return {Path(row["file"]).name: row["split"] for row in listed(out, "songs.tsv")}


def dropped(prepared: Prepared, split: str = "train") -> dict[str, int]:
    return dict(prepared.splits[split]["dropped"])


def table(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), "utf-8")
    return path


# Windows


def test_a_window_begins_at_every_bar_and_says_what_sounds_in_it(tmp_path: Path) -> None:
    rows = [(0, 480, 60, 80), (480, 2400, 62, 80), (3840, 4800, 64, 80)]
    corpus = corpus_of([song_file(tmp_path / "a.mid", rows)], tmp_path / "out", bars=1, **WHOLE)
    assert said(corpus) == [
        "60 - - - 62 - - - - - - - - - - -",
        "62 - - - off - - - - - - - - - - -",  # held from the bar before: struck again
        "64 - - - - - - - off - - - - - - -",
    ]


def test_every_window_is_what_the_codec_makes_of_its_bars(tmp_path: Path) -> None:
    write_songs(tmp_path / "songs", 8, seed=3)
    for kind in ("melody", "drums", "trio"):
        out = tmp_path / kind
        corpus = corpus_of([tmp_path / "songs"], out, codec=kind, steps=12, **WHOLE)
        assert isinstance(corpus.codec, VoicedCodec)
        for row in listed(out, "songs.tsv"):
            song = read(row["file"])
            codec = corpus.codec
            parts = {part: find_part(song, part).notes for part in codec.parts}
            whole = Clip(parts, song.end, song.ticks_per_beat)
            lanes = codec.lanes(whole, song.end * 12 // song.ticks_per_beat)
            first, last = map(int, row["bars"].split(",")[0].split("-"))
            at = np.arange(first - 1, last) * codec.grid.bar
            own = [corpus.split("train")[int(row["row"]) + i] for i in range(len(at))]
            assert np.array_equal(np.stack(own), codec.windows(lanes, at))


def test_every_window_is_kept_or_counted_by_file_and_reason(tmp_path: Path) -> None:
    silence = tune([60] * 8) + tune([62] * 8, start=6 * BAR)  # bars 1, 2 and 7, 8
    song_file(tmp_path / "in" / "a.mid", silence)
    song_file(tmp_path / "in" / "b.mid", tune([60] * 24), metres=[(2 * BAR, Metre(3, 4))])
    song_file(tmp_path / "in" / "c.mid", drums=tune([36] * 16))
    song_file(tmp_path / "in" / "d.mid", tune([70, 71]))  # half a bar
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", splits=None, **WHOLE)
    assert dropped(prepared) == {"empty": 3, "other metre": 6}
    assert dropped(prepared, "in no split") == {"no melody": 3}
    assert [
        (Path(row["file"]).name, row["reason"], row["windows"])
        for row in listed(tmp_path / "out", "dropped.tsv")
    ] == [
        ("a.mid", "empty", "3"),
        ("b.mid", "other metre", "6"),
        ("c.mid", "no melody", "3"),
    ]
    header, *rows = prepared.table()
    assert header == ("split", "files", "used", "windows", "kept", "dropped", "reasons")
    assert all(int(row[3]) == int(row[4]) + int(row[5]) for row in rows)
    assert rows[0][:6] == ("train", "3", "3", "15", "6", "9")
    assert "filled with rests: 1 file\n" in str(prepared)
    assert "b.mid 6 (other metre)" in str(prepared) and "finished" in str(prepared)
    last = said(open_corpus(tmp_path / "out"))[-1]
    assert last == "70 - - - 71 - - - off" + " -" * 23
    manifest = open_corpus(tmp_path / "out").manifest
    assert manifest["modality"] == "music" and "symusic" in manifest["versions"]
    assert manifest["dropped"]["train"]["empty"] == 3 and manifest["sources"]["files"] == 4


def test_a_song_whose_notes_lie_in_no_window_is_empty_and_not_unreadable(tmp_path: Path) -> None:
    metres = [(0, Metre(4, 4)), (3 * BAR, Metre(3, 4))]
    song_file(tmp_path / "in" / "a.mid", tune([60] * 3, start=3 * BAR), metres=metres)
    song_file(tmp_path / "in" / "b.mid", tune([60] * 8))
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", **WHOLE)
    assert dropped(prepared) == {"empty": 2, "other metre": 1}
    assert prepared.report["quarantined"] == 0


def test_other_metres_are_taken_by_beats_or_stretched_if_asked(tmp_path: Path) -> None:
    waltz = [(i * BEAT, (i + 1) * BEAT, 60 + i % 3, 80) for i in range(12)]
    source = song_file(tmp_path / "waltz.mid", waltz, metres=[(0, Metre(3, 4))])
    with pytest.raises(Refused, match=r"other metre 3 \(1 file\).*waltz\.mid: 3/4, not 4/4"):
        prepare_midi([source], tmp_path / "skip", **WHOLE)
    assert not (tmp_path / "skip" / "plan.json").exists()
    beats = corpus_of([source], tmp_path / "beats", other_metres="beats", bars=1, **WHOLE)
    assert said(beats) == [f"{' - - - '.join(['60', '61', '62', '60'])} - - -"] * 3
    stretched = corpus_of([source], tmp_path / "s", other_metres="stretch", bars=1, **WHOLE)
    assert said(stretched) == ["60 - - - - 61 - - - - - 62 - - - -"] * 4
    assert stretched.manifest["report"]["counts"]["converted"] == 4
    own = corpus_of([source], tmp_path / "own", metre="3/4", bars=1, **WHOLE)
    assert said(own) == ["60 - - - 61 - - - 62 - - -"] * 4


def test_bars_that_begin_between_two_steps_take_their_notes_along(tmp_path: Path) -> None:
    seven = BAR * 7 // 16  # 7/16, and then 4/4 from there: not on a grid of 4 steps… of 6
    notes = tune([60, 62, 64, 65], start=seven)
    metres = [(0, Metre(7, 16)), (seven, Metre(4, 4))]
    source = song_file(tmp_path / "a.mid", notes, metres=metres)
    bars = read(source).bars
    assert bar_steps(bars, Grid(6, Metre(4, 4), 1), BEAT, "skip").tolist() == [0, 11, 35]
    corpus = corpus_of([source], tmp_path / "out", steps=6, bars=1, **WHOLE)
    assert said(corpus) == ["60 - - - - - 62 - - - - - 64 - - - - - 65 - - - - -"]


def test_a_trio_needs_all_three_parts_of_which_some_may_rest(tmp_path: Path) -> None:
    beat = tune([36] * 16)
    song_file(tmp_path / "in" / "a.mid", tune([60] * 4), bass=tune([40] * 16), drums=beat)
    song_file(tmp_path / "in" / "b.mid", tune([60] * 16), drums=beat)
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", codec="trio", **WHOLE)
    assert prepared.splits["train"]["kept"] == 3
    assert dropped(prepared, "in no split") == {"no bass": 3}
    assert "melody -" in said(open_corpus(tmp_path / "out"))[2]


def test_what_the_grid_did_to_the_notes_is_reported(tmp_path: Path) -> None:
    late = [(i * BEAT + 48, (i + 1) * BEAT, p, 80) for i, p in enumerate([60, 62, 64, 12])]
    source = song_file(tmp_path / "a.mid", late, qpm=125.0)
    prepared = prepare_midi([source], tmp_path / "out", **WHOLE)
    assert prepared.report["lost"]["off the grid"] == 4
    assert "4 notes: off the grid 100.0% (by 48 ms on average), folded 25.0%" in str(prepared)


# Tracks


def test_the_track_of_a_part_is_chosen_or_asked_for_and_said(tmp_path: Path) -> None:
    tracks = [
        Track(notes_of(tune([72] * 8)), "Lead"),
        Track(notes_of(tune([50] * 8)), "Cello 1"),
    ]
    source = write(Song(tracks), tmp_path / "a.mid")
    corpus = corpus_of([source], tmp_path / "chosen", **WHOLE)
    assert said(corpus)[0].startswith("72")
    for asked in ("cello*", "#2", {"melody": "CELLO 1"}):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert said(corpus_of([source], out, track=asked, **WHOLE))[0].startswith("50")
        [row] = listed(out, "songs.tsv")
        assert "Cello 1" in row["tracks"] and "asked for" in row["tracks"]
    with pytest.raises(Refused, match=r"no melody 1 .*a\.mid: no track 'viola'.*--track melody="):
        prepare_midi([source], tmp_path / "viola", track="viola", **WHOLE)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"track": {"bass": "x"}}, "has no part 'bass'; it has melody"),
        ({"track": "x", "codec": "trio"}, "of which part.*melody, bass, drums"),
        ({"track": "program:x"}, "program:33"),
        ({"codec": "melodie"}, r"Did you mean 'melody'\?"),
        ({"codec": "feel"}, r"feel is a recipe; its codec is groove\.$"),
        ({"codec": "chorales"}, r"chorales is a recipe; its codec is chorale\.$"),
        ({"codec": "drums", "low": 3}, "no range"),
        ({"other_metres": "cut"}, "one of skip, beats, stretch"),
        ({"metre": "4/5"}, "4/5"),
        ({"bars": 0}, "1 bar or more"),
        ({"timeout": 0}, "above 0"),
        ({"memory": 0}, "memory = 0"),
        ({"workers": -1}, "workers = -1"),
        ({"block": 0}, "block = 0"),
        ({"shard": (2, 2)}, "from 0 to n - 1"),
        ({"valid_fraction": 1.0}, "nothing to train on"),
        ({"label": "style"}, "--splits TABLE"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_cure(
    tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    source = song_file(tmp_path / "a.mid", tune([60] * 8))
    with pytest.raises(Refused, match=why):
        prepare_midi([source], tmp_path / "out", **{"workers": 0, **options})
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_is_taken_for_a_codec_has_the_codec_that_is_said() -> None:
    found = {name: read_recipe(name)["data"]["codec"] for name in RECIPES}
    assert found == RECIPES and not RECIPES.keys() & KINDS.keys()


def test_a_codec_may_be_reused(tmp_path: Path) -> None:
    source = song_file(tmp_path / "a.mid", tune([60] * 12))
    first = corpus_of([source], tmp_path / "first", bars=1, steps=6, low=40, high=80, **WHOLE)
    for number, folder in enumerate((first.folder, first.folder / "codec")):
        again = corpus_of([source], tmp_path / str(number), codec=folder, **WHOLE)
        assert again.checksum == first.checksum
    with pytest.raises(Refused, match="bars = 1: a codec from a folder has its own"):
        prepare_midi([source], tmp_path / "x", codec=first.folder, bars=1)


# Splits


def test_songs_are_split_whole_and_exactly(tmp_path: Path) -> None:
    different(tmp_path / "in", 20)
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", test_fraction=0.2, workers=0)
    used = {name: row["used"] for name, row in prepared.splits.items()}
    assert used == {"train": 15, "valid": 1, "test": 4}
    rows = listed(tmp_path / "out", "songs.tsv")
    corpus = open_corpus(tmp_path / "out")
    for split in ("train", "valid", "test"):
        own = [row for row in rows if row["split"] == split]
        ends = [int(row["row"]) + int(row["rows"]) for row in own]
        assert [int(row["row"]) for row in own] == [0, *ends[:-1]]
        assert ends[-1] == len(corpus.split(split))
    other = corpus_of([tmp_path / "in"], tmp_path / "seed", test_fraction=0.2, seed=1)
    assert splits_of(other.folder) != splits_of(corpus.folder)


def test_a_song_in_another_key_tempo_and_file_is_in_the_same_split(tmp_path: Path) -> None:
    for number, path in enumerate(different(tmp_path / "in", 12)):
        notes = read(path).tracks[0].notes
        higher = [(a, b, p + 5, v) for a, b, p, v in notes.table.tolist()]
        slow = [(2 * a + BAR, 2 * b + BAR, p - 3, v) for a, b, p, v in notes.table.tolist()]
        song_file(tmp_path / "in" / f"z{number:02d} higher.mid", higher, qpm=77.0)
        song_file(tmp_path / "in" / f"z{number:02d} slow.mid", slow)
    corpus_of([tmp_path / "in"], tmp_path / "out", valid_fraction=0.3, test_fraction=0.2)
    splits = splits_of(tmp_path / "out")
    assert len(splits) == 36 and set(splits.values()) == {"train", "valid", "test"}
    for number in range(12):
        names = (f"{number:02d}.mid", f"z{number:02d} higher.mid", f"z{number:02d} slow.mid")
        assert len({splits[name] for name in names}) == 1


def test_one_song_cannot_be_split(tmp_path: Path) -> None:
    source = song_file(tmp_path / "a.mid", tune([60] * 8))
    with pytest.raises(Refused, match=r"only one.*prepare midi FILES --valid-fraction 0"):
        prepare_midi([source], tmp_path / "out", workers=0)
    assert len(corpus_of([source], tmp_path / "out", **WHOLE).split("train")) == 1


@pytest.mark.parametrize(
    "rows",
    [
        ("id,split,style", "00,train,rock/a", "01,validation,folk b", "02,test,rock"),
        (
            *("style\tsplit\tpath", "rock/a\ttrain\tin/00.mid"),
            *("folk\tVal\tin/01.mid", "rock\ttest\t./in/02.MID"),
        ),
        ("x,set,style", "00.mid,train,rock", "01.mid,dev,folk", "02.mid,test,rock"),
    ],
)
def test_a_table_names_the_splits_and_labels(tmp_path: Path, rows: tuple[str, ...]) -> None:
    different(tmp_path / "in", 4)
    splits = table(tmp_path / "splits.txt", *rows)
    options: dict[str, Any] = {"splits": splits, "label": "style:first", "workers": 0}
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", **options)
    assert splits_of(prepared.folder) == {"00.mid": "train", "01.mid": "valid", "02.mid": "test"}
    assert dropped(prepared, "in no split") == {"not in the table of splits": 5}
    corpus = open_corpus(prepared.folder)
    assert corpus.labels == ["folk", "rock"]
    assert [corpus.split(name).label(0) for name in ("train", "valid", "test")] == [1, 0, 1]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (("id,split,style", "99,train,x"), r"no column names the files, such as .*00\.mid"),
        (("id,style", "00,train", "01,else"), "no column 'split'"),
        (("id,split,style",), "empty"),
        (("id,split", "00,train"), "no column 'style' for labels; it has 'id', 'split'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, rows: tuple[str, ...], why: str
) -> None:
    different(tmp_path / "in", 1)
    splits = table(tmp_path / "splits.csv", *rows)
    with pytest.raises(Refused, match=why):
        prepare_midi([tmp_path / "in"], tmp_path / "out", splits=splits, label="style")
    with pytest.raises(Refused, match=r"gone\.csv: No such file"):
        prepare_midi([tmp_path / "in"], tmp_path / "out", splits=tmp_path / "gone.csv")
    with pytest.raises(Refused, match="leave the fractions out"):
        prepare_midi([tmp_path / "in"], tmp_path / "out", splits=splits, test_fraction=0.1)


def test_windows_that_stand_in_two_splits_in_any_key_stand_in_one(tmp_path: Path) -> None:
    a, b, c = [60, 62, 64, 65], [60, 67, 60, 67], [60, 60, 72, 60]

    def song(name: str, *bars: Sequence[int], up: int = 0) -> None:
        pitches = [pitch + up for bar in bars for pitch in bar]
        song_file(tmp_path / "in" / name, tune(pitches))

    song("train.mid", a, b, c, [50, 51, 50, 51])
    song("valid.mid", b, c, [70, 71, 71, 70], up=3)
    song("test.mid", c, up=-7)
    splits = table(tmp_path / "s.csv", "id,split", "train,train", "valid,valid", "test,test")
    options: dict[str, Any] = {"splits": splits, "bars": 1, "workers": 0}
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", **options)
    assert dropped(prepared) == {"duplicate of valid/test": 2}
    assert dropped(prepared, "valid") == {"duplicate of test": 1}
    assert [row["bars"] for row in listed(tmp_path / "out", "songs.tsv")] == ["1", "1,4", "1,3"]
    kept = prepare_midi([tmp_path / "in"], tmp_path / "kept", keep_duplicates=True, **options)
    assert [row["kept"] for row in kept.splits.values()] == [4, 3, 1]


def test_repeats_within_a_song_are_kept_and_counted(tmp_path: Path) -> None:
    source = song_file(tmp_path / "a.mid", tune([60, 62, 64, 65] * 5))
    prepared = prepare_midi([source], tmp_path / "out", **WHOLE)
    assert prepared.splits["train"]["kept"] == 4
    assert "kept: 3 (75%)" in str(prepared)


@given(st.integers(-5, 6), st.integers(0, 2**32 - 1))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_a_window_in_another_key_is_the_same_but_for_its_drums(up: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for codec in (MelodyCodec(), TrioCodec(), DrumsCodec()):
        firsts, ends = np.array(codec.allowed).T
        ids = rng.integers(firsts, ends, (3, codec.grid.length, len(codec.voices)))
        for place, voice in enumerate(codec.voices):  # no octave is folded
            if not voice.drums:
                ids[..., place] = np.clip(ids[..., place], firsts[place], firsts[place] + 60)
                pitched = ids[..., place] >= firsts[place] + 2
                ids[..., place] += np.where(pitched, 10, 0)
        rows = ids.reshape(3, -1)
        moved = codec.transposed(up)[rows]
        assert np.array_equal(hashed(normal(codec, rows)), hashed(normal(codec, moved)))
        changed = rows.copy()
        changed[:, 5] += np.where(rows[:, 5] == firsts[5 % len(firsts)], 1, -1)
        assert (hashed(changed) != hashed(rows)).all()


# Sources


def test_files_are_found_in_folders_archives_and_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    names = ("b.MID", "a.midi", "deep/c.kar", "deep/d.rmi", "deep/._c.mid", "readme.txt")
    for name in names:
        song_file(folder / name, tune([60 + len(name)] * 8))
    archive = tmp_path / "songs.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in reversed(names):
            opened.write(folder / name, f"top/{name}")
    found = [Path(file.name).name for file in find_files([folder])]
    assert found == ["a.midi", "b.MID", "c.kar", "d.rmi"]
    assert [Path(file.name).name for file in find_files([archive])] == found
    assert [Path(file.name).name for file in find_files([archive / "deep"])] == found[2:]
    assert len(find_files([folder, folder / "b.MID"])) == 4
    first = corpus_of([folder], tmp_path / "first", **WHOLE)
    assert corpus_of([archive], tmp_path / "second", **WHOLE).checksum == first.checksum
    splits = "top/index.csv"
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(splits, "f,split\na,train\nb,valid\nd,test\n")
    corpus_of([archive], tmp_path / "t", splits=splits, keep_duplicates=True)
    assert set(splits_of(tmp_path / "t")) == {"a.midi", "b.MID", "d.rmi"}


def test_a_source_without_midi_is_refused_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").touch()
    with pytest.raises(Refused, match=r"holds no MIDI file.*2 \.wav.*Name the folder"):
        find_files([tmp_path])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("scores/a.xml", "")
    with pytest.raises(Refused, match=r"x\.zip holds no MIDI file.*1 \.xml"):
        find_files([tmp_path / "x.zip"])
    with pytest.raises(Refused, match=r"no folder 'other'; it has .*x\.zip/scores"):
        find_files([tmp_path / "x.zip" / "other"])
    (tmp_path / "x.zip").write_bytes(b"PK no archive")
    with pytest.raises(Refused, match=r"x\.zip is damaged"):
        find_files([tmp_path / "x.zip"])
    with pytest.raises(Refused, match="no such file"):
        find_files([tmp_path / "gone"])
    with pytest.raises(Refused, match="no source"):
        find_files([])


def test_unreadable_files_are_listed_with_their_checksum(tmp_path: Path) -> None:
    song_file(tmp_path / "in" / "good.mid", tune([60] * 8))
    page = b"<html>not found</html>"
    (tmp_path / "in" / "page.mid").write_bytes(page)
    (tmp_path / "in" / "torn.mid").write_bytes(b"MThd\0\0\0\x06\0\x01\0\x02")
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", **WHOLE)
    first, second = listed(tmp_path / "out", "quarantine.tsv")
    assert Path(first["file"]).name == "page.mid" and "web page" in first["reason"]
    assert first["sha256"] == hashlib.sha256(page).hexdigest()
    assert second["reason"].startswith("damaged")
    assert "could not be read (quarantine.tsv): 2 files" in str(prepared)
    assert "  unreadable (2 files)\n" in str(prepared)
    with pytest.raises(Refused, match=r"page\.mid: unreadable \(a web page.*--strict"):
        prepare_midi([tmp_path / "in"], tmp_path / "strict", strict=True, **WHOLE)
    (tmp_path / "in" / "good.mid").unlink()
    with pytest.raises(Refused, match=r"split: unreadable \(2 files\)\. .* with MThd\. What"):
        prepare_midi([tmp_path / "in"], tmp_path / "none", **WHOLE)


def test_an_archive_that_lies_about_its_sizes_is_no_danger(tmp_path: Path) -> None:
    song_file(tmp_path / "good.mid", tune([60] * 8))
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mid", bytes(20_000_000))
        archive.write(tmp_path / "good.mid", "good.mid")
    prepare_midi([path], tmp_path / "out", **WHOLE)
    [row] = listed(tmp_path / "out", "quarantine.tsv")
    assert "20,000,000 bytes" in row["reason"] and path.stat().st_size < 30_000
    liar = File("bomb.mid", str(path), "bomb.mid", 10)
    assert len(liar.read(Limits.bytes)) == Limits.bytes + 1, "more is never unpacked"
    data = bytearray(path.read_bytes())
    place = data.index(b"good.mid") + 20
    data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(Refused, match=r"good\.mid: the archive is damaged"):
        File("good.mid", str(path), "good.mid", 10).read(Limits.bytes)


@FORKS
def test_names_may_hold_any_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    different(folder, 2)
    (folder / "00.mid").rename(os.fsdecode(os.fsencode(folder) + b"/tab\t\xff.mid"))
    (folder / "odd\n.mid").write_bytes(b"nothing")
    prepared = prepare_midi([folder], tmp_path / "out", **WHOLE)
    assert prepared.splits["train"]["used"] == 2
    assert str(prepared).encode()
    assert len(listed(tmp_path / "out", "songs.tsv")) == 2


# The same however it was run


def bytes_of(out: Path) -> dict[str, bytes]:
    files = [
        *out.rglob("*.arrow"),
        *out.glob("codec/*"),
        *out.glob("*.tsv"),
        out / "manifest.json",
    ]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_workers_shards_and_interruptions_change_no_byte(tmp_path: Path) -> None:
    write_songs(tmp_path / "in", 9, seed=1)
    (tmp_path / "in" / "broken.mid").write_bytes(b"MThd")
    options: dict[str, Any] = {"block": 3, "valid_fraction": 0.2, "codec": "trio"}

    def prepared(name: str, **more: Any) -> Prepared:
        return prepare_midi([tmp_path / "in"], tmp_path / name, **{**options, **more})

    expected = bytes_of(prepared("one", workers=0).folder)
    assert bytes_of(prepared("two", workers=2).folder) == expected
    first = prepared("shards", shard=(1, 2), workers=0)
    assert not first.finished and str(first).endswith("2 of 4 blocks finished")
    with pytest.raises(Refused, match=r"not prepared to its end.*prepare midi FOLDER --out"):
        open_corpus(tmp_path / "shards")
    assert prepared("shards", shard=(0, 2), workers=0).finished
    assert bytes_of(tmp_path / "shards") == expected

    class Killed(Exception):
        pass

    def kill(stage: str, done: int, total: int | None) -> None:
        if stage == "windows":
            raise Killed

    with pytest.raises(Killed):
        prepared("killed", progress=kill, workers=0)
    (tmp_path / "killed" / "blocks" / "00001.npz").unlink()
    told: list[tuple[str, int, int | None]] = []
    prepared("killed", workers=0, progress=lambda *what: told.append(what))
    assert told[0] == ("files", 3, 3), "only the missing block is read again"
    assert bytes_of(tmp_path / "killed") == expected
    again = prepared("one", workers=0, progress=lambda *what: pytest.fail("nothing is to do"))
    assert again.finished and again.table() == prepared("two").table()


def test_a_folder_begun_otherwise_is_not_carried_on(tmp_path: Path) -> None:
    different(tmp_path / "in", 4)
    options: dict[str, Any] = {"workers": 0, "block": 2, "shard": (0, 2)}
    prepare_midi([tmp_path / "in"], tmp_path / "out", **options)
    with pytest.raises(Refused, match="begun with seed = 0, now 1"):
        prepare_midi([tmp_path / "in"], tmp_path / "out", seed=1, **options)
    with pytest.raises(Refused, match=r"settings = \{'steps': 4.*now \{'steps': 6"):
        prepare_midi([tmp_path / "in"], tmp_path / "out", steps=6, **options)
    (tmp_path / "out" / "blocks" / "00000.npz").write_bytes(b"torn")
    with pytest.raises(Refused, match=r"00000\.npz is damaged. Delete it"):
        prepare_midi([tmp_path / "in"], tmp_path / "out", workers=0, block=2)
    different(tmp_path / "in", 5)
    with pytest.raises(Refused, match="begun from other files"):
        prepare_midi([tmp_path / "in"], tmp_path / "out", **options)
    (tmp_path / "out" / "plan.json").write_text("{")
    with pytest.raises(Refused, match="damaged"):
        prepare_midi([tmp_path / "in"], tmp_path / "out", **options)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.doc").touch()
    with pytest.raises(Refused, match="in use, by something else"):
        prepare_midi([tmp_path / "in"], tmp_path / "used", **options)


# Workers


def misbehave(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 7:
        time.sleep(60)
    if number == 9:
        return len(bytearray(400_000_000))
    if number == 11:
        raise ZeroDivisionError("by name")
    if number == 20:
        os._exit(3)
    return number * number


EXPECTED = {
    3: "crashed its reader (SIGKILL)",
    7: "took over 1.5 s",
    9: "needs over 200 MB",
    11: "ZeroDivisionError: by name",
    20: "crashed its reader (exit code 3)",
}


@FORKS
@pytest.mark.parametrize("workers", [1, 3])
def test_a_task_that_takes_its_process_down_costs_itself_alone(workers: int) -> None:
    found = list(results(misbehave, range(40), workers, Bounds(1.5, 200_000_000)))
    assert found == [Lost(EXPECTED[i]) if i in EXPECTED else i * i for i in range(40)]


def test_without_processes_errors_cost_their_task_alone() -> None:
    found = list(results(misbehave, [10, 11, 12], 0, Bounds()))
    assert found == [100, Lost(EXPECTED[11]), 144]


@FORKS
def test_a_file_that_crashes_or_hangs_its_reader_is_quarantined_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    different(tmp_path / "in", 6)

    def reading(data: bytes, name: str) -> Song:
        if name.endswith("02.mid"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.endswith("04.mid"):
            time.sleep(60)
        return read(data, name=name)

    monkeypatch.setattr(windows, "read", reading)
    options: dict[str, Any] = {**WHOLE, "workers": 2, "timeout": 0.5}
    prepared = prepare_midi([tmp_path / "in"], tmp_path / "out", **options)
    assert prepared.splits["train"]["used"] == 4
    rows = listed(tmp_path / "out", "quarantine.tsv")
    assert [(Path(row["file"]).name, row["reason"]) for row in rows] == [
        ("02.mid", "crashed its reader (SIGKILL)"),
        ("04.mid", "took over 0.5 s"),
    ]
    assert all(len(row["sha256"]) == 64 for row in rows)


def test_what_a_block_holds_comes_back(tmp_path: Path) -> None:
    paths = different(tmp_path / "in", 2)
    (tmp_path / "in" / "bad.mid").write_bytes(b"")
    wish = windows.Wish(MelodyCodec(), {}, "skip")
    records = [windows.record(file, wish) for file in find_files([tmp_path / "in"])]
    songblocks.write_records(tmp_path / "block.npz", records)
    again = songblocks.read_records(tmp_path / "block.npz")
    assert [made.file for made in again] == [*map(str, paths), str(tmp_path / "in" / "bad.mid")]
    for before, after in zip(records, again, strict=True):
        for name, value in vars(before).items():
            assert np.array_equal(getattr(after, name), value), name


# The command, and a real corpus


def test_the_command_prepares_and_refuses(tmp_path: Path) -> None:
    write_songs(tmp_path / "in", 10, seed=0)
    words = ["prepare", "midi", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    words += ["--codec", "trio", "--bars", "1", "--splits", str(tmp_path / "in" / "index.tsv")]
    words += ["--track", "melody=mel*", "--track", "bass=#3", "--workers", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "696 ids, 48 a window, finished" in done.output
    assert set(splits_of(tmp_path / "out").values()) <= {"train", "valid", "test"}
    for more, why in ((["--track", "x"], "write part=track"), (["--shard", "2/2"], "0/4")):
        failed = CliRunner().invoke(app, [*words, *more])
        assert isinstance(failed.exception, Refused) and why in str(failed.exception)


@pytest.mark.skipif(not POP909.is_file(), reason="POP909 is not here (shared/data/music)")
def test_pop909_is_prepared_from_its_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(POP909) as archive:
        for name in archive.namelist():
            if name[:10] in ("aligned/00", "aligned/01", "aligned/02"):
                archive.extract(name, tmp_path)
        archive.extract("index.tsv", tmp_path)
    options: dict[str, Any] = {"splits": tmp_path / "index.tsv", "track": "MELODY", "workers": 0}
    began = time.process_time()
    prepared = prepare_midi([tmp_path / "aligned"], tmp_path / "out", **options)
    files = sum(row["files"] for row in prepared.splits.values())
    assert files == len(list((tmp_path / "aligned").iterdir())) > 10
    assert (time.process_time() - began) / files < 0.02  # ten times what it takes, imports too
    corpus = open_corpus(tmp_path / "out")
    kept = sum(row["kept"] for row in prepared.splits.values())
    assert kept > 40 * files and prepared.report["lost"].get("folded", 0) == 0
    rows = corpus.split("train")
    for number in range(0, len(rows), 97):
        clip = corpus.codec.decode(rows[number].tolist())
        assert corpus.codec.encode(clip).ids == rows[number].tolist()
