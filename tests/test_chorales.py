"""Laws of chorales: four voices read from steps of pitches, and every step comes back."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from console import Command
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.chorales import SIXTEENTH, chorale, holds_chorales
from data_prep.midi import prepare_midi
from seqvae.codecs import ChoraleCodec, load_codec
from seqvae.corpus import open_corpus
from seqvae.errors import Refused
from seqvae.midi import TICKS, Metre, Song, Track, notes_of, read, write
from seqvae.midi.clips import Clip
from seqvae.midi.parts import CHOIR, NoPart, find_part

FILE = Path(__file__).parents[2] / "shared/data/music/jsb_chorales_16th_satb.json.gz"
Steps = list[list[int]]
STEPS = st.lists(
    st.tuples(*(st.integers(low, low + 15) | st.just(-1) for low in (60, 55, 48, 36))).map(list),
    min_size=1,
    max_size=40,
)


def tune(seed: int, bars: int = 4) -> Steps:
    """Quarters in four voices, in random motion, no two pieces alike."""
    draw = np.random.default_rng(seed)
    beats = draw.integers(0, 12, (4 * bars, 4)) + np.array([65, 58, 52, 40])
    return [[int(pitch) for pitch in beats[step // 4]] for step in range(16 * bars)]


def file_of(folder: Path, splits: dict[str, Any], name: str = "c.json") -> Path:
    data = json.dumps(splits).encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return folder / name


def song_of(steps: Steps, **other: Any) -> Song:
    return chorale(json.dumps(steps).encode(), "it", **other)


def sung(song: Song) -> list[list[int]]:
    """The pitches of every voice at every sixteenth of a song, -1 where it rests."""
    found = np.full((song.length // SIXTEENTH, 4), -1)
    for track in song.tracks:
        voice = CHOIR.index(track.name.lower())
        for start, end, pitch, _ in track.notes.table.tolist():
            found[start // SIXTEENTH : end // SIXTEENTH, voice] = pitch
    rows: list[list[int]] = found.tolist()
    return rows


@given(STEPS)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_every_step_of_a_chorale_comes_back(steps: Steps) -> None:
    late = -len(steps) % 16
    assert sung(song_of(steps)) == [[-1] * 4] * late + steps


def test_a_pitch_that_stays_is_one_note_and_a_rest_parts_two() -> None:
    steps = [[60, 55, 50, 45]] * 3 + [[60, -1, 50, 47]] + [[60, 55, 50, 47]] * 12
    counts = {track.name: len(track.notes) for track in song_of(steps).tracks}
    assert counts == {"Soprano": 1, "Alto": 2, "Tenor": 1, "Bass": 2}


@pytest.mark.parametrize(("metre", "bars", "first"), [((4, 4), 3, 12), ((3, 4), 3, 0)])
def test_what_is_above_whole_bars_is_a_pickup(metre: Any, bars: int, first: int) -> None:
    song = song_of([[60, 55, 50, 45]] * 36, metre=Metre(*metre))
    assert len(song.bars) == bars and song.bars.metre[0] == metre
    assert song.tracks[0].notes.start.tolist() == [first * SIXTEENTH]


def test_null_and_nan_are_rests_as_minus_one_is() -> None:
    data = b"[[60, null, NaN, -1], [60.0, 55, 50, 45]]"
    assert sung(chorale(data))[-2:] == [[60, -1, -1, -1], [60, 55, 50, 45]]


@pytest.mark.parametrize(
    ("piece", "says"),
    [
        ([[60, 55, 50]], "step 0: 3 pitches, not 4.*Write -1"),
        ([[60, 55, 50, 45], [60, 55, 50, 128]], "step 1: pitch 128; it lies in 0 to 127"),
        ([[60, 55, 50, 45.5]], "pitch 45.5"),
        ([[60, 55, 50, "c"]], "pitch 'c'"),
        ([[60, 55, 50, True]], "pitch True"),
        ([60, 55], "no list of steps"),
    ],
)
def test_what_is_no_chorale_is_refused_with_the_step(piece: Any, says: str) -> None:
    with pytest.raises(Refused, match=says):
        song_of(piece)


# --- voices --------------------------------------------------------------------------------------


def four(*names: str) -> Song:
    """Four tracks, the lowest first."""
    tracks = [
        Track(
            notes_of([(0, TICKS, 45 + 6 * place, 80), (TICKS, 2 * TICKS, 47 + 6 * place, 80)]), n
        )
        for place, n in enumerate(names)
    ]
    return Song(tracks, name="four")


@pytest.mark.parametrize(
    "names",
    [
        ("Bass", "Tenor", "Alto", "Soprano"),
        ("BASSO", "Tenore", "Contralto", "Cantus"),
        ("B. bass", "T.", "A.", "S."),
        ("", "", "", ""),
    ],
)
def test_voices_are_found_by_name_or_by_height(names: tuple[str, ...]) -> None:
    assert [find_part(four(*names), part).tracks for part in CHOIR] == [[3], [2], [1], [0]]


@pytest.mark.parametrize("name", ["Alto Sax", "Tenor Drum", "Soprano Recorder", "Walter"])
def test_instruments_in_a_voices_register_are_no_voices(name: str) -> None:
    song = four("Bass", name)
    for part in CHOIR[:3]:
        with pytest.raises(NoPart, match=f"no {part}: none of its 2 tracks is named so"):
            find_part(song, part)


def test_four_voices_a_step_have_ids_of_their_own(tmp_path: Path) -> None:
    codec = ChoraleCodec(bars=1)
    parts = {part: notes_of([(0, 480, 60 + i, 80)]) for i, part in enumerate(CHOIR)}
    ids = codec.encode(Clip(parts, 1920)).ids
    assert codec.tokens(ids)[:5] == ["soprano 60", "alto 61", "tenor 62", "bass 63", "soprano -"]
    spans = codec.allowed.tolist()
    assert all(low <= i < high for i, (low, high) in zip(ids[:4], spans, strict=True))
    assert spans[1:] == [[high, high + 58] for _, high in spans[:-1]]
    codec.save(tmp_path / "codec")
    assert load_codec(tmp_path / "codec").extent == codec.extent


# --- a corpus ------------------------------------------------------------------------------------


SPLITS = {"train": [tune(1), tune(2)], "valid": [tune(3)], "test": [tune(4), tune(5)]}


@pytest.mark.parametrize("name", ["c.json", "C.JSON.GZ"])
def test_a_file_of_chorales_is_prepared_in_its_own_splits(name: str, tmp_path: Path) -> None:
    source = file_of(tmp_path, SPLITS, name.lower())
    made = prepare_midi([source], tmp_path / "out", workers=0)
    rows = {split: (row["files"], row["kept"]) for split, row in made.splits.items()}
    assert rows == {"train": (2, 6), "valid": (1, 3), "test": (2, 6)}
    codec = open_corpus(tmp_path / "out").codec
    assert isinstance(codec, ChoraleCodec)
    clip = codec.decode(open_corpus(tmp_path / "out").split("valid")[0].tolist())
    assert [clip.part(part).pitch[0] for part in CHOIR] == tune(3)[0]


def test_midi_files_of_four_voices_make_the_same_windows(tmp_path: Path) -> None:
    prepare_midi([file_of(tmp_path, SPLITS)], tmp_path / "json", workers=0)
    for place, steps in enumerate(SPLITS["train"]):
        write(song_of(steps), tmp_path / "midi" / f"{place}.mid")
    shares: dict[str, Any] = {"valid_fraction": 0.0, "test_fraction": 0.0}
    prepare_midi([tmp_path / "midi"], tmp_path / "out", codec="chorale", workers=0, **shares)
    one, other = (open_corpus(tmp_path / name).split("train") for name in ("json", "out"))
    assert [one[i].tolist() for i in range(6)] == [other[i].tolist() for i in range(6)]


def test_a_melody_codec_reads_the_soprano(tmp_path: Path) -> None:
    prepare_midi([file_of(tmp_path, SPLITS)], tmp_path / "out", codec="melody", workers=0)
    corpus = open_corpus(tmp_path / "out")
    clip = corpus.codec.decode(corpus.split("valid")[0].tolist())
    assert clip.part("melody").pitch[0] == tune(3)[0][0]


@pytest.mark.parametrize(
    ("splits", "options", "says"),
    [
        (SPLITS, {"test_fraction": 0.5}, "says what is valid and test: leave the fractions out"),
        ({**SPLITS, "more": [tune(9)]}, {}, "its split is called 'more', not train"),
        ({"train": [[]], "valid": 3}, {}, "is no JSON of chorales"),
    ],
)
def test_splits_that_cannot_hold_are_refused(
    splits: Any, options: Any, says: str, tmp_path: Path
) -> None:
    source = file_of(tmp_path, splits)
    with pytest.raises(Refused, match=says):
        prepare_midi([source], tmp_path / "out", workers=0, **options)


def test_chorales_and_midi_together_need_a_table(tmp_path: Path) -> None:
    write(song_of(tune(7)), tmp_path / "midi" / "a.mid")
    sources = [file_of(tmp_path, SPLITS), tmp_path / "midi"]
    with pytest.raises(Refused, match=r"a.mid is in no split, and the chorales.*--splits"):
        prepare_midi(sources, tmp_path / "out", workers=0)


def test_a_table_of_other_splits_leaves_chorales_in_four_voices(tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    rows = ["train/0,test", "train/1,train", "valid/0,valid"]
    table.write_text("\n".join(["file,split", *(f"c.json/{row}" for row in rows)]), "utf-8")
    made = prepare_midi([file_of(tmp_path, SPLITS)], tmp_path / "out", splits=table, workers=0)
    assert [made.splits[split]["kept"] for split in ("train", "valid", "test")] == [3, 3, 3]
    assert isinstance(open_corpus(tmp_path / "out").codec, ChoraleCodec)


def test_a_piece_that_is_damaged_is_counted_and_the_others_kept(tmp_path: Path) -> None:
    splits = {**SPLITS, "train": [*SPLITS["train"], [[60, 55]]]}
    made = prepare_midi([file_of(tmp_path, splits)], tmp_path / "out", workers=0)
    assert made.splits["train"]["kept"] == 6
    assert "train/2" in (tmp_path / "out" / "quarantine.tsv").read_text("utf-8")


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    source = file_of(tmp_path, SPLITS, "c.json.gz")
    source.write_bytes(source.read_bytes()[:-40])
    assert holds_chorales(source)
    with pytest.raises(Refused, match="is damaged"):
        prepare_midi([source], tmp_path / "out", workers=0)


def test_json_of_sentences_holds_no_chorales(tmp_path: Path) -> None:
    lines = tmp_path / "lines.json"
    lines.write_text('{"text": "one two"}\n', "utf-8")
    assert not holds_chorales(lines) and not holds_chorales(tmp_path / "none.json")


def test_a_file_of_chorales_is_trained_on_by_its_recipe(seqvae: Command, tmp_path: Path) -> None:
    source = file_of(tmp_path, SPLITS)
    for corpus in (source, prepare_midi([source], tmp_path / "out", workers=0).folder):
        said = seqvae("train", corpus, "--print-recipe").out
        assert 'name = "chorales"' in said and 'codec = "chorale"' in said
    words = seqvae("train", "text", source, "--out", tmp_path / "words")
    assert words.status == 2 and "seqvae train chorales" in words.line


@pytest.mark.skipif(not FILE.is_file(), reason="the shared corpora are not here: no JSB chorales")
def test_the_published_chorales_are_read_whole(tmp_path: Path) -> None:
    splits = json.loads(gzip.decompress(FILE.read_bytes()))
    assert {name: len(pieces) for name, pieces in splits.items()} == {
        "train": 229,
        "valid": 76,
        "test": 77,
    }
    for steps in splits["valid"][:10]:
        song = song_of(steps)
        assert sung(song)[-len(steps) :] == steps
        write(song, tmp_path / "it.mid")
        again = read(tmp_path / "it.mid")
        assert [t.notes for t in again.tracks] == [t.notes for t in song.tracks]
