"""The command as musicians meet it: MIDI in, MIDI out, and what cannot be done is one line."""

import json
import re
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from console import Command
from test_cli import sets, tree
from tiny import prepared, recipe, train, windows

from data_prep.composer import compose, write_songs
from seqvae.codecs import DrumsCodec, MelodyCodec, VoicedCodec
from seqvae.corpus import Corpus
from seqvae.midi import Metre, MetreChange, Song, Track, notes_of, read, to_bytes, write
from seqvae.recipe import read as shipped_recipe
from seqvae.runs import is_run, read_recipe

RUNS: dict[str, VoicedCodec] = {"melody": MelodyCodec(bars=1), "drums": DrumsCodec(bars=1)}
BRIEF = ("--steps", 3, "--bars", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that know melodies, drums and words, and files of each kind."""
    folder = tmp_path_factory.mktemp("music")
    for name, codec in RUNS.items():
        corpus = windows(folder / f"{name}-corpus", codec, 20).folder
        train(recipe(name=name, training_steps=2), corpus, folder / "shelf" / name)
    train(recipe(training_steps=1), prepared(folder, 60).folder, folder / "words")
    for name, seed in (("a", 3), ("my songs", 6)):
        write(compose(seed, metre=(4, 4)).song, folder / f"{name}.mid")
    song = compose(1, metre=(4, 4)).song
    drums = [track for track in song.tracks if track.drums]
    write(Song(drums, tempos=song.tempos, metres=song.metres), folder / "beat.mid")
    write(Song([t for t in song.tracks if not t.drums]), folder / "tune.mid")
    (folder / "web.mid").write_bytes(b"<html>not found</html>")
    (folder / "folder").mkdir()
    (folder / "folder" / "notes.txt").write_text("one two\nthree four\n", "utf-8")
    return folder


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, where the runs for music come with the package."""
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: home / "shelf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what people do ------------------------------------------------------------------------------


def test_a_journey_is_one_piece_as_long_as_is_asked(
    seqvae: Command, home: Path, place: Path
) -> None:
    ends = (home / "a.mid", home / "my songs.mid")
    flags = ("--journey", "--bars", 8, "--key", "glide", "--no-refine", "--device", "cpu")
    out = seqvae("interpolate", "melody", *ends, *flags).out
    assert "length: 8 bars" in out and "written to journey-a-my_songs: journey.mid" in out
    song = read(place / "journey-a-my_songs" / "journey.mid")
    assert len(song.bars) == 8 and (place / "journey-a-my_songs" / "journey.png").is_file()
    flags = ("--journey", "--bars", 4, "--fit", "trim", "--curve", "smooth", "--json")
    said = json.loads(seqvae("interpolate", "melody", *ends, *flags, "--out", "new").out)
    assert said["course"] == {"bars": 4, "fit": "trim", "curve": "smooth"}
    assert [bar["mix"] for bar in said["bars"]] == pytest.approx([0, 7 / 27, 20 / 27, 1])


def test_two_files_are_morphed_without_a_word_more(
    seqvae: Command, home: Path, place: Path
) -> None:
    done = seqvae("interpolate", home / "a.mid", home / "my songs.mid", *BRIEF)
    made = place / "morph-a-my_songs"
    names = sorted(path.name for path in made.iterdir())
    assert len([name for name in names if re.match(r"0[123]of03_a\d+_b\d+_1bar_", name)]) == 5
    assert {"morph.mid", "morph_band.mid", "morph.png", "report.json"} < set(names)
    assert done.lines[-1].startswith("written to morph-a-my_songs: 01of03_a100_b00_1bar_")
    assert any(re.match(r"key: A is in .* B is in ", line) for line in done.lines)
    assert any(re.match(r"A, a\.mid: bar \d+: ", line) for line in done.lines)
    again = seqvae("interpolate", home / "a.mid", home / "my songs.mid", *BRIEF)
    assert "written to morph-a-my_songs-2: " in again.lines[-1], "nothing is overwritten"
    for name in names:
        if name.endswith(".mid"):
            pair = (
                (place / folder / name).read_bytes() for folder in (made.name, f"{made.name}-2")
            )
            assert len(set(pair)) == 1, "the same twice is the same"


def test_a_morph_is_told_as_json_to_programs(seqvae: Command, home: Path, place: Path) -> None:
    options = ("--key", "keep", "--from-a", 3, "--track-b", "bass", "--path", "slerp", "--json")
    files = (home / "a.mid", home / "a.mid")
    [row] = seqvae("interpolate", "melody", *files, *BRIEF, *options, "--seed", 5).rows
    assert row == {
        "folder": row["folder"],
        **json.loads((place / row["folder"] / "report.json").read_bytes()),
    }
    assert row["run"] == "melody" and row["a"]["bar"] == 3 and row["key"] is None
    assert "bass" in row["b"]["parts"]["melody"]
    assert row["taste"]["kind"] == "slerp" and row["taste"]["decoding"]["seed"] == 5
    assert row["usual_bits_a_window"] > 0 and row["a"]["bits_a_window"] > 0


def test_one_noise_is_for_all_steps(seqvae: Command, home: Path, place: Path) -> None:
    a = home / "a.mid"
    words = (
        "interpolate",
        "melody",
        a,
        a,
        *BRIEF,
        "--temperature",
        2,
        "--no-refine",
        *("--way", "straight"),
        *("--out", "x"),
    )
    assert seqvae(*words).status == 0
    first, last = sorted(path for path in (place / "x").glob("*_again.mid"))
    middle = next((place / "x").glob("02of03*"))
    assert first.read_bytes() == last.read_bytes() == middle.read_bytes()


def test_a_way_is_only_of_a_morph_or_tour(seqvae: Command, home: Path, place: Path) -> None:
    a = home / "a.mid"
    for options in (("--journey", a, a), ("--grid", a, a, a, a)):
        refused = seqvae("interpolate", "melody", *options, "--way", "straight")
        assert refused.status != 0 and "--way straight" in refused.err


def test_files_of_drums_alone_are_read_by_the_run_of_drums(
    seqvae: Command, home: Path, place: Path
) -> None:
    done = seqvae("interpolate", home / "beat.mid", home / "beat.mid", *BRIEF, "--out", "x")
    assert done.status == 0
    assert "both files hold drums only: they are read by the run 'drums'" in done.err
    names = [path.name for path in (place / "x").glob("0*")]
    assert names and all(re.search(r"bpm(_again)?\.mid$", name) for name in names), "no key"
    mixed = seqvae("interpolate", home / "beat.mid", home / "a.mid", *BRIEF)
    assert mixed.status == 2 and re.search("beat.mid: no melody.*such as drums", mixed.line)


def test_sound_is_made_if_asked_for(seqvae: Command, home: Path, place: Path) -> None:
    a = home / "tune.mid"
    brief = ("--steps", 2, "--bars", 1, "--device", "cpu")
    done = seqvae("interpolate", "melody", a, a, *brief, "--audio", "--out", "x")
    assert (place / "x" / "morph.wav").read_bytes()[:4] == b"RIFF"
    assert any(line.startswith("sound: ") for line in done.lines)


def test_more_files_are_a_tour_with_stems(seqvae: Command, home: Path, place: Path) -> None:
    files = [home / name for name in ("a.mid", "my songs.mid", "tune.mid")]
    done = seqvae("interpolate", *files, *BRIEF[2:], "--steps", 2, "--loop", "--stems")
    made = place / "tour-a-my_songs-tune"
    assert done.lines[-1].startswith("written to tour-a-my_songs-tune: 01of04_a100_b00_1bar_")
    assert len([*made.glob("0*of04_*bpm*.mid")]) == 7
    ends = {read(file).end for file in (made / "stems").glob("*.mid")}
    assert ends == {read(made / "tour.mid").end} == {4 * 4 * 480}
    there = seqvae("interpolate", "melody", *files[:2], *BRIEF, "--loop", "--json").rows[0]
    assert there["folder"] == "tour-a-my_songs" and len(there["steps"]) == 5
    both = [step["weights"] for step in there["steps"]]
    assert both[0] == both[-1] == {"A": 1.0, "B": 0.0} and both[2]["B"] == 1.0


def test_four_files_are_the_corners_of_a_grid(seqvae: Command, home: Path, place: Path) -> None:
    files = [home / "a.mid", home / "my songs.mid"] * 2
    [row] = seqvae("interpolate", "melody", "--grid", *files, *BRIEF, "--json").rows
    made = place / row["folder"]
    assert row["folder"] == "grid-a-my_songs-a-and-1-more" and len(row["steps"]) == 9
    assert len([*made.glob("row*_column*bpm*.mid")]) == 9 + 4
    assert {"grid.mid", "grid.png", "report.json"} < {path.name for path in made.iterdir()}
    assert row["steps"][3]["row"] == 2 and row["steps"][3]["column"] == 3, "as it is heard"


def test_drums_alone_are_toured_by_the_run_of_drums(
    seqvae: Command, home: Path, place: Path
) -> None:
    done = seqvae("interpolate", *[home / "beat.mid"] * 3, *BRIEF[2:], "--steps", 2)
    assert "all files hold drums only: they are read by the run 'drums'" in done.err
    assert done.status == 0 and (place / "tour-beat-beat-beat" / "tour.mid").is_file()


def test_sentences_at_four_corners_are_a_table(seqvae: Command, home: Path, place: Path) -> None:
    corners = ("the cat", "the dog", "a cat", "the cat sees")
    rows = seqvae("interpolate", home / "words", "--grid", *corners, "--steps", 3, "--json").rows
    assert [(row["row"], row["column"]) for row in rows] == [
        (row, column) for row in (1, 2, 3) for column in (1, 2, 3)
    ]
    again = seqvae("reconstruct", home / "words", *corners, "--json").rows
    assert [rows[i]["text"] for i in (0, 2, 6, 8)] == [row["reconstruction"] for row in again]


@pytest.mark.parametrize("name", RUNS)
def test_samples_are_midi_files(name: str, seqvae: Command, place: Path) -> None:
    rows = seqvae("sample", name, "-n", 2, "--json", "--device", "cpu").rows
    assert [row["file"] for row in rows] == [f"{name}-samples/sample-00{i}.mid" for i in (1, 2)]
    for row in rows:
        assert read(place / row["file"], name="x").end == 4 * 480
    assert seqvae("sample", name, "-n", 1, "--device", "cpu").lines == [
        f"{name}-samples-2/sample-001.mid"
    ]


def test_a_song_is_reconstructed_with_its_band(seqvae: Command, home: Path, place: Path) -> None:
    told = seqvae("reconstruct", "melody", home / "a.mid", "--device", "cpu").lines
    assert re.search(r"% of its notes come back .*, written: a_again\.mid$", told[-1])
    assert 'melody: track 1 "melody": by name' in told[0]
    tracks = read(place / "a_again.mid").tracks
    assert [t.name for t in tracks][-3:] == ["chords", "bass", "drums"]
    [row] = seqvae("reconstruct", "drums", home / "a.mid", "--out", "new", "--json").rows
    assert row["written"] == "new/a_again.mid" and 0 <= row["f1"] <= 1


def test_codes_of_a_song_are_written_and_read(seqvae: Command, home: Path, place: Path) -> None:
    coded = seqvae("encode", "melody", home / "a.mid", "--device", "cpu")
    assert [row["bar"] for row in coded.rows] == list(range(1, len(coded.rows) + 1))
    (place / "z.jsonl").write_text(coded.out, "utf-8")
    made = seqvae("decode", "melody", "z.jsonl", "--device", "cpu").lines
    assert len(made) == len(coded.rows) and made[0] == "melody-codes/code-001.mid"


def test_the_nearest_windows_of_a_corpus_are_found(
    seqvae: Command, home: Path, place: Path
) -> None:
    among = ("--among", home / "melody-corpus", "--bar", 2, "-n", 3)
    rows = seqvae("neighbours", "melody", home / "a.mid", *among, "--json").rows
    assert len(rows) == 3 and all(row["text"] for row in rows)
    done = seqvae("neighbours", "melody", home / "a.mid")
    assert done.status == 2 and "seqvae prepare midi FOLDER" in done.line


def test_a_folder_of_songs_is_trained_on_measured_and_exported(
    seqvae: Command, place: Path
) -> None:
    write_songs(place / "songs", 20, seed=0)
    with zipfile.ZipFile(place / "songs.zip", "w") as archive:
        for path in sorted((place / "songs").glob("*.mid")):
            archive.write(path, f"inside/{path.name}")
    small = sets(training_steps=1, data_codec="melody")
    for source in ("songs", "songs.zip", "songs.zip/inside"):
        out = f"of-{source.replace('/', '-')}"
        done = seqvae("train", source, "--out", out, *small, "--device", "cpu")
        assert done.status == 0 and "0 MIDI" not in done.out
        assert read_recipe(place / out)["training"]["transpose"] == 5, "the recipe is melody"
    assert Corpus(place / "of-songs" / "corpus").codec.kind == "melody"
    brief = ("--samples", 2, "--fitted", 0, "--written", 2, "--device", "cpu")
    assert "onset and pitch, F1" in seqvae("evaluate", "of-songs", *brief).out
    [facts] = seqvae("info", "of-songs", "--json").rows
    assert facts["codec"] == "melody"
    assert seqvae("export", "of-songs", "small").status == 0
    assert seqvae("sample", "small", "-n", 1, "--out", "x").lines == ["x/sample-001.mid"]
    assert seqvae("sample", "small/", "-n", 1).lines == ["small-samples/sample-001.mid"]


def test_songs_are_composed_to_train_on_by_a_name_of_their_own(
    seqvae: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqvae.cli.corpora.SONGS", 30)
    small = sets(training_steps=1, data_codec="melody")
    done = seqvae("train", "composed", "--out", "run", *small, "--device", "cpu")
    assert done.status == 0
    assert len(list((place / "run" / "songs").glob("*.mid"))) == 30
    assert shipped_recipe("demo-music")["data"]["source"] == "composed"


def test_a_language_model_of_music_has_no_code_of_windows(
    seqvae: Command, home: Path, place: Path
) -> None:
    train(recipe(latent=0, training_steps=1), home / "melody-corpus", place / "lm")
    done = seqvae("encode", "lm", home / "a.mid")
    assert done.status == 2 and "windows have no code in it" in done.line


def test_tracks_says_what_would_be_chosen(seqvae: Command, home: Path, place: Path) -> None:
    rows = seqvae("tracks", home / "a.mid", "--json").rows
    first = {
        part: next(r["name"] for r in rows if r["part"] == part) for part in ("melody", "bass")
    }
    assert first == {"melody": "melody", "bass": "bass"}
    assert re.search(
        r"4 tracks, \d+ bars from 4/4 at 110 bpm", seqvae("tracks", home / "a.mid").out
    )


def test_tracks_says_metres_and_a_single_pitch(seqvae: Command, place: Path) -> None:
    notes = notes_of([(i * 480, i * 480 + 400, 60, 80) for i in range(11)])
    metres = [MetreChange(0, Metre(4, 4)), MetreChange(3840, Metre(3, 4))]
    write(Song([Track(notes)], metres=metres), place / "x.mid")
    said = seqvae("tracks", "x.mid").out
    assert "\nmetres: 4/4 in 2 bars and 3/4 in 1 bar; a morph takes a phrase in one" in said
    assert "a single pitch, 60" in said and "1 pitches" not in said


# --- what cannot be done -------------------------------------------------------------------------


@dataclass
class Wrong:
    """A command line that cannot be done; {home} stands for the files, words are split at ~."""

    command: str
    says: str
    files: dict[str, bytes] = field(default_factory=dict)


A = "{home}/a.mid"
TRAIN = "--out~new~--set~training.steps=1"
WORDS = "interpolate~{home}/words~the cat~the dog"
SILENT = to_bytes(Song([]))
ZIP = {"z.zip": b"PK\x05\x06" + bytes(18)}  # an archive of nothing
WAV = b"RIFF\x24\0\0\0WAVEfmt "
WRONG = {
    "words and music": Wrong(f"interpolate~{A}~I am tired.", "a.mid is a MIDI file and 'I am ti"),
    "music and a folder": Wrong(
        f"interpolate~{A}~{{home}}/folder", "is a MIDI file and .*folder'"
    ),
    "a run and one file": Wrong(f"interpolate~melody~{A}", "a sentence or file is missing"),
    "words for music": Wrong(
        "interpolate~melody~a cat~a dog", "a cat is no file.*name MIDI files"
    ),
    "music for words": Wrong(
        f"interpolate~{{home}}/words~{A}~{A}", "reads sentences, not MIDI.*such as melody"
    ),
    "a sound and a file": Wrong(
        f"interpolate~{A}~x.wav", "'x.wav' is none: a way has ends of one kind", {"x.wav": WAV}
    ),
    "a packed file and words": Wrong(
        "interpolate~x~I am.", "^x is a MIDI file", {"x": b"RIFF\x24\0\0\0RMIDdata"}
    ),
    "options of music": Wrong(
        f"{WORDS}~--bars~8~--track-a~x~--no-refine~--audio",
        "^--bars, --track-a, --no-refine, --audio: only of MIDI.*Leave it out",
    ),
    "stems of words": Wrong(f"{WORDS}~--stems~--loop", "^--stems, --loop: only of MIDI files"),
    "a grid of three": Wrong(
        f"interpolate~melody~--grid~{A}~{A}~{A}", "^3 for a grid, .*--grid a.mid b.mid c.mid d.mid"
    ),
    "a grid of five": Wrong(f"interpolate~--grid~{A}~{A}~{A}~{A}~{A}", "^5 for a grid"),
    "a grid of three sentences": Wrong("interpolate~{home}/words~--grid~a~b~c", "^3 for a grid"),
    "a grid that is closed": Wrong(
        f"interpolate~--grid~--loop~{A}~{A}~{A}~{A}", "--loop closes a tour, and a grid has no"
    ),
    "a grid of both": Wrong(f"interpolate~--grid~{A}~{A}~{A}~the cat", "'the cat' is none"),
    "a tour with a sentence": Wrong(f"interpolate~{A}~{A}~a cat", "'a cat' is none: a way has"),
    "a tour with what is no file": Wrong(f"interpolate~{A}~{A}~no.mid", "no.mid: No such file"),
    "a tour without a part": Wrong(
        f"interpolate~drums~{A}~{A}~{{home}}/tune.mid", "tune.mid: no drums.*such as melody"
    ),
    "a tour by no run": Wrong(f"interpolate~nosuch~{A}~{A}~{A}", "no run at 'nosuch'"),
    "a tour that is too long": Wrong(
        f"interpolate~{A}~{A}~{A}~--steps~200", "399 phrases; 256 at most. Ask for fewer"
    ),
    "a folder for words": Wrong(f"{WORDS}~--out~new", "^--out: only of MIDI"),
    "a missing file": Wrong(f"interpolate~{A}~nosuch.mid", "nosuch.mid: No such file"),
    "a missing file, for a run": Wrong(f"interpolate~melody~{A}~no.mid", "no.mid is no file here"),
    "a web page": Wrong(f"interpolate~{A}~{{home}}/web.mid", "web.mid: a web page, not MIDI"),
    "an empty file": Wrong(f"interpolate~{A}~x.mid", "x.mid: empty, not MIDI", {"x.mid": b""}),
    "no drums": Wrong(
        f"interpolate~drums~{A}~{{home}}/tune.mid", "tune.mid: no drums.*such as melody reads it"
    ),
    "no such track": Wrong(
        f"interpolate~melody~{A}~{A}~--track-a~viola", "no track 'viola'.*seqvae tracks"
    ),
    "no such bar": Wrong(f"interpolate~melody~{A}~{A}~--from-b~999", "bar 999: .*choose one of 1"),
    "no such key": Wrong(f"interpolate~melody~{A}~{A}~--key~c", "key has no choice 'c'"),
    "one step": Wrong(f"interpolate~melody~{A}~{A}~--steps~1", "--steps.*2"),
    "too many steps": Wrong(f"interpolate~melody~{A}~{A}~--steps~999", "256 at most"),
    "a long phrase": Wrong(f"interpolate~melody~{A}~{A}~--bars~65", "a phrase has 64 at most"),
    "steps of a journey": Wrong(
        f"interpolate~melody~{A}~{A}~--journey~--steps~5", "--steps 5: .*Leave it out.*--bars 32"
    ),
    "a fit of no journey": Wrong(
        f"interpolate~melody~{A}~{A}~--fit~trim", "--fit trim: only of a journey. Add --journey"
    ),
    "a journey by many": Wrong(
        f"interpolate~melody~{A}~{A}~{A}~--journey", "from one file to one other"
    ),
    "no such fit": Wrong(f"interpolate~melody~{A}~{A}~--journey~--fit~x", "fit has no choice 'x'"),
    "a journey of one bar": Wrong(
        f"interpolate~melody~{A}~{A}~--journey~--bars~1", "a journey has 2 bars or more"
    ),
    "a journey of words": Wrong(f"{WORDS}~--journey", "^--journey: only of MIDI"),
    "no bars": Wrong(f"interpolate~melody~{A}~{A}~--bars~0", "--bars.*1"),
    "a folder in use": Wrong(
        f"interpolate~melody~{A}~{A}~--out~.", "is in use. Name another folder", {"t.txt": b""}
    ),
    "a file in the way": Wrong(
        f"interpolate~melody~{A}~{A}~--out~t.txt/x", "t.txt is a file", {"t.txt": b""}
    ),
    "a file for words": Wrong(
        f"reconstruct~{{home}}/words~{A}", "knows sentences.*such as melody"
    ),
    "a file for codes of words": Wrong(f"encode~{{home}}/words~{A}", "knows sentences"),
    "a file near words": Wrong(f"neighbours~{{home}}/words~{A}", "knows sentences"),
    "no file": Wrong("reconstruct~melody", "name MIDI files, such as a.mid b.mid"),
    "lines for music": Wrong("encode~melody~--file~t.txt", "name MIDI files", {"t.txt": b"a b"}),
    "words to reconstruct": Wrong("reconstruct~melody~a cat", "a cat is no file here"),
    "words to encode": Wrong("encode~melody~a cat", "a cat is no file here"),
    "a folder to encode": Wrong("encode~melody~{home}/folder", "folder is a folder; .*MIDI files"),
    "words to find": Wrong("neighbours~melody~a cat", "a cat is no file here"),
    "music among words": Wrong(
        f"neighbours~melody~{A}~--among~{{home}}/corpus", "a corpus of sentences.*prepare midi"
    ),
    "two of one name": Wrong(f"reconstruct~melody~{A}~{A}", "two of the files have one name"),
    "a file written already": Wrong(
        f"reconstruct~melody~{A}", "a_again.mid exists already", {"a_again.mid": b""}
    ),
    "samples in a folder in use": Wrong("sample~melody~--out~.", "in use", {"t.txt": b""}),
    "another corpus": Wrong("evaluate~melody~--corpus~{home}/corpus", "another codec"),
    "no MIDI to train on": Wrong(f"train~melody~{{home}}/folder~{TRAIN}", "no MIDI file.*1 .txt"),
    "one song": Wrong(f"train~{A}~{TRAIN}", "only one distinct song"),
    "music for a text": Wrong(f"train~text~{{home}}/shelf/../a.mid~{TRAIN}", "train melody"),
    "an archive for a text": Wrong(
        f"train~text~z.zip~{TRAIN}", "z.zip is an archive.*seqvae train melody z.zip", ZIP
    ),
    "a part of one for a text": Wrong(
        f"train~text~z.zip/in~{TRAIN}", "z.zip/in is an archive.*seqvae train melody", ZIP
    ),
    "an archive as sentences": Wrong(
        "prepare~text~z.zip~--out~new", "z.zip is an archive.*unpack it", ZIP
    ),
    "a corpus that is not there": Wrong(f"train~songs~{TRAIN}", "no such file: songs"),
    "no corpus for music": Wrong(f"train~melody~songs~{TRAIN}", "no such file, folder or arch"),
    "no such folder": Wrong(f"train~melody~nosuch~{TRAIN}", "no such file, folder or archive"),
    "a web page to train on": Wrong(f"train~{{home}}/web.mid~{TRAIN}", "a web page, not MIDI"),
    "tracks of nothing": Wrong("tracks~no.mid", "no.mid: No such file"),
    "tracks of no notes": Wrong("tracks~x.mid", "^x.mid has no notes", {"x.mid": SILENT}),
    "tracks of a page": Wrong("tracks~{home}/web.mid", "a web page, not MIDI"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    case: Wrong, seqvae: Command, home: Path, place: Path
) -> None:
    for name, data in case.files.items():
        (place / name).write_bytes(data)
    before = tree(place, home)
    done = seqvae(*(word.replace("{home}", str(home)) for word in case.command.split("~")))
    assert done.status == 2
    assert re.search(case.says, done.line), done.line
    assert len(done.line) < 600
    after = tree(place, home)
    assert {path: after.get(path) for path in before} == before
    assert {path.relative_to(place).parts[0] for path in after.keys() - before.keys()} <= {"new"}
    assert not is_run(place / "new")


def test_where_no_run_for_drums_ships_the_melody_run_says_what_is_missing(
    seqvae: Command, home: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "shelf" / "melody", place / "shelf" / "melody")
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: place / "shelf")
    done = seqvae("interpolate", home / "beat.mid", home / "beat.mid", *BRIEF)
    assert done.status == 2 and "no melody" in done.line


def test_a_sentence_that_speaks_of_a_file_is_a_sentence(
    seqvae: Command, home: Path, place: Path
) -> None:
    rows: list[Any] = seqvae("reconstruct", home / "words", "the cat sees a.mid", "--json").rows
    assert rows[0]["text"] == "the cat sees a.mid"
