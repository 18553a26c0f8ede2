"""Laws of events: what is on the grid comes back, any ids are music, losses are told."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from echo import Player, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Distribution

from data_prep.midi import prepare_midi
from data_prep.toy import write_songs
from data_prep.windows import TOO_DENSE
from seqvae.codecs import MultitrackCodec, PolyphonyCodec, load_codec
from seqvae.codecs.folder import Saved, read_folder, write_folder
from seqvae.corpus import open_corpus
from seqvae.distributions import Delta
from seqvae.errors import Refused
from seqvae.explore import Decoding, Explorer
from seqvae.measures.codes import Back
from seqvae.measures.events import compared, events
from seqvae.midi import Song, Track, notes_of, read, write
from seqvae.midi.clips import STEPS, Clip, split
from seqvae.midi.parts import NoPart, find_pitched, find_players
from seqvae.music.album import clip_song
from seqvae.music.morph import morph
from seqvae.music.pieces import whole
from seqvae.music.studio import reconstruct
from seqvae.music.taste import Taste
from seqvae.priors import StandardNormal
from seqvae.tokens import EOS, PAD
from seqvae.vae import VAE, Batch, Encoder

KINDS: tuple[Any, ...] = (PolyphonyCodec, MultitrackCodec)
METRES = ("4/4", "3/4", "6/8", "7/8", "5/4", "12/8")
PARTS = ("piano", "bass", "program:40", "drums")
MANY = settings(deadline=None, derandomize=True, max_examples=60)
ONE = PolyphonyCodec(bars=1)
LONGEST = 160  # tokens of a code that holds them all
Rows = list[tuple[int, int, int, int]]


CODECS = st.builds(
    lambda kind, **given: kind(**given),
    st.sampled_from(KINDS),
    steps=st.sampled_from(STEPS),
    metre=st.sampled_from(METRES),
    bars=st.integers(1, 2),
    velocities=st.sampled_from((0, 2, 8, 64)),
    low=st.sampled_from((0, 21, 60)),
    high=st.sampled_from((71, 108, 127)),
)


@st.composite
def clips(draw: st.DrawFn, codec: PolyphonyCodec) -> Clip:
    """Any notes, in several parts, of which some overlap, some begin early or last too long."""
    tick = draw(st.sampled_from((24, 120, 480, 960))) // codec.grid.steps
    start = st.integers(-tick, codec.grid.length * tick - 1)
    row = st.tuples(start, st.integers(1, 5 * tick), st.integers(0, 127), st.integers(1, 127))
    rows = st.lists(row.map(lambda r: (r[0], r[0] + r[1], r[2], r[3])), max_size=10)
    parts = {name: notes_of(draw(rows)) for name in PARTS}
    return Clip(parts, codec.grid.length * tick, tick * codec.grid.steps, codec.grid.metre)


def piano(*rows: tuple[int, int, int, int]) -> Clip:
    """A bar of 4/4 at 120 beats a minute."""
    return Clip({"piano": notes_of(rows)}, 1920)


# --- there and back ------------------------------------------------------------------------------


def test_a_known_chord_has_known_tokens() -> None:
    chord = piano((480, 960, 64, 111), (480, 960, 60, 64), (1440, 1920, 67, 127))
    told = ONE.tokens(ONE.encode(chord).ids)
    assert told == [
        *("Bar_None", "Position_4", "Pitch_60", "Velocity_63", "Duration_1.0.4"),
        *("Pitch_64", "Velocity_111", "Duration_1.0.4"),
        *("Position_12", "Pitch_67", "Velocity_127", "Duration_1.0.4", "</s>"),
    ]


@MANY
@given(st.data())
def test_what_was_encoded_comes_back_to_the_same_ids(data: st.DataObject) -> None:
    codec = data.draw(CODECS)
    ids = codec.encode(data.draw(clips(codec))).ids
    assert codec.encode(codec.decode(ids)).ids == ids


@MANY
@given(st.data())
def test_any_ids_are_music_inside_the_window(data: st.DataObject) -> None:
    codec = data.draw(CODECS)
    ids = data.draw(st.lists(st.integers(-3, codec.vocab + 3) | st.just(2**70), max_size=60))
    clip = codec.decode(ids)
    again = codec.decode(ids)
    assert {**clip.parts} == {**again.parts} and clip.metre == codec.grid.metre
    for notes in clip.parts.values():
        assert (notes.start >= 0).all() and (notes.end <= clip.length).all()
        assert (notes.end > notes.start).all() and (notes.velocity > 0).all()
    codec.encode(clip)


@pytest.mark.parametrize("metre", METRES)
def test_notes_on_the_grid_come_back_in_every_metre(metre: str) -> None:
    codec = MultitrackCodec(metre=metre, velocities=64)
    step, last = 120, codec.grid.length
    levels = codec.levels.tolist()
    rows = [(i * step, (i + 3) * step, 40 + i, levels[i]) for i in range(0, last - 3, 2)]
    hits = [(i * step, i * step + 60, 36, levels[20]) for i in range(last)]
    parts = {"program:33": notes_of(rows), "drums": notes_of(hits)}
    clip = Clip(parts, last * step, 480, codec.grid.metre)
    encoded = codec.encode(clip)
    assert codec.decode(encoded.ids).parts == parts and not encoded.loss


def test_silence_is_its_end_alone_and_comes_back_as_silence() -> None:
    for kind in KINDS:
        codec = kind()
        assert codec.encode(Clip({}, 3840)).ids == [EOS]
        assert codec.decode([EOS, 50, 60, 70]).notes == codec.decode([]).notes == 0


def test_nothing_behind_the_end_or_out_of_its_place_makes_a_note() -> None:
    ids = ONE.encode(piano((0, 480, 60, 80))).ids
    assert ONE.decode([*ids, *ids]).parts == ONE.decode([PAD, *ids[:-1]]).parts
    assert ONE.decode([*ids[:-2], EOS]).notes == 0  # a pitch and a velocity, no duration
    assert ONE.decode([ids[0], *ids]).notes == 0  # in the second bar of one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("semitones", [-5, 1, 5])
def test_ids_moved_are_the_ids_of_the_music_moved(kind: Any, semitones: int) -> None:
    codec = kind(bars=1)
    rows = [(i * 240, i * 240 + 480, 50 + 3 * i, 80) for i in range(6)]
    clip = Clip({"piano": notes_of(rows), "drums": notes_of([(0, 60, 36, 80)])}, 1920)
    ids = np.array(codec.encode(clip).ids)
    moved = codec.transposed(semitones)[ids]
    assert moved.tolist() == codec.encode(clip.moved(semitones)).ids != ids.tolist()


def test_every_transposition_is_of_pitches_that_there_are() -> None:
    table = ONE.transposed(100)
    first, end = ONE.pitches
    assert (table[first:end] >= first).all() and (table[first:end] < end).all()
    others = [*range(first), *range(end, ONE.vocab)]
    assert table[others].tolist() == others


# --- what is lost --------------------------------------------------------------------------------


def test_all_that_is_lost_is_counted() -> None:
    clip = Clip(
        {
            "piano": notes_of(
                [
                    (10, 480, 60, 79),  # 10 ticks late: 10 ms
                    (480, 960, 61, 90),  # 5 from 95
                    (960, 1200, 62, 79),
                    (960, 1440, 62, 79),  # the same once more
                    (0, 480, 63, 79),
                    (240, 480, 63, 79),  # struck again while it sounds
                    (0, 120, 10, 79),  # under the keyboard
                    (1900, 1920, 65, 79),  # nearest to the next bar line
                ]
            ),
            "drums": notes_of([(0, 60, 36, 79)]),
        },
        1920,
    )
    assert dict(ONE.encode(clip).loss) == {
        "off the grid": 1,
        "ms off the grid": 10,
        "softer or louder": 1,
        "velocity in all": 5,
        "merged": 1,
        "cut short": 1,
        "folded": 1,
        "outside": 1,
        "drums left out": 1,
    }
    short = Clip({"piano": notes_of([(0, 480, 60, 79)])}, 960)
    assert dict(ONE.encode(short).loss) == {"rest added at the end": 8}


def test_what_is_no_clip_or_too_long_is_refused() -> None:
    with pytest.raises(Refused, match="not str"):
        ONE.encode("music")
    with pytest.raises(Refused, match="a clip of 32 steps"):
        ONE.encode(Clip({}, 3840))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 60, "high": 64}, "spans an octave"),
        ({"velocities": 1}, "2 to 64"),
        ({"velocities": 65}, "2 to 64"),
        ({"bars": 0}, "1 bar or more"),
        ({"metre": "4"}, "write it as 4/4"),
    ],
)
def test_arguments_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        PolyphonyCodec(**given)


# --- on disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_codec_comes_back_from_its_folder_to_the_byte(kind: Any, tmp_path: Path) -> None:
    codec = kind(metre="6/8", steps=12, bars=1, velocities=4, low=30, high=90)
    codec.save(tmp_path / "a")
    again = load_codec(tmp_path / "a")
    again.save(tmp_path / "b")
    assert isinstance(again, kind) and again.settings() == codec.settings()
    for name in ("codec.json", "miditok.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("what", ["tokens", "example"])
def test_ids_of_another_version_are_refused_with_the_version(what: str, tmp_path: Path) -> None:
    ONE.save(tmp_path)
    saved = read_folder(tmp_path)
    told = json.loads(saved.data)
    told |= {"miditok": "9.9", what: told[what][::-1]}
    data = json.dumps(told).encode()
    write_folder(tmp_path, Saved(saved.kind, saved.settings, data), "miditok.json")
    with pytest.raises(Refused, match=r"pip install miditok==9\.9"):
        load_codec(tmp_path)


def test_another_version_with_the_same_ids_is_saved_as_it_was(tmp_path: Path) -> None:
    ONE.save(tmp_path)
    saved = read_folder(tmp_path)
    told = json.loads(saved.data) | {"miditok": "9.9"}
    write_folder(
        tmp_path, Saved(saved.kind, saved.settings, json.dumps(told).encode()), "miditok.json"
    )
    load_codec(tmp_path).save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "miditok.json").read_bytes())["miditok"] == "9.9"


def test_the_tokenizer_is_imported_only_when_used() -> None:
    code = "import seqvae.codecs, sys; sys.exit('miditok' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- songs ---------------------------------------------------------------------------------------


def band() -> Song:
    """Two bars of a melody, a bass and drums, by their programs, and a second bass."""
    tune = notes_of([(i * 480, i * 480 + 480, 60 + i, 79) for i in range(8)])
    low = notes_of([(i * 960, i * 960 + 960, 36 + i, 79) for i in range(4)])
    hits = notes_of([(i * 480, i * 480 + 60, 36, 95) for i in range(8)])
    return Song(
        [
            Track(tune, "tune", 40, channel=0),
            Track(low, "low", 33, channel=1),
            Track(low.moved(semitones=12), "lower", 33, channel=2),
            Track(hits, "kit", 0, drums=True, channel=9),
        ],
        name="band.mid",
    )


def test_all_tracks_are_found_by_who_plays_them() -> None:
    found = find_players(band())
    assert {name: len(part.notes) for name, part in found.items()} == {
        "program:40": 8,
        "program:33": 8,
        "drums": 8,
    }
    assert found["program:33"].tracks == [1, 2]
    assert find_pitched(band()).tracks == [0, 1, 2]
    assert find_pitched(band(), "lo*").tracks == [1, 2]
    for asked in ("kit", "no such"):
        with pytest.raises(NoPart):
            find_pitched(band(), asked)


class Padded(Encoder):
    """The code of a window is its ids, and zeros behind them."""

    def forward(self, batch: Batch) -> Distribution:
        behind = LONGEST - batch.x.shape[1]
        return Delta(torch.nn.functional.pad(batch.x, (0, behind)).float())


def echo(codec: PolyphonyCodec) -> Explorer:
    vae = VAE(Padded(), StandardNormal(LONGEST), Player(codec.vocab, LONGEST))
    found = opened(vae, codec, LONGEST)
    found.recipe["data"]["max_tokens"] = LONGEST
    return found


def test_a_song_written_again_keeps_programs_velocities_and_drums(tmp_path: Path) -> None:
    path = write(band(), tmp_path / "band.mid")
    again = reconstruct(echo(MultitrackCodec()), path, Decoding())
    song = read(write(again.song, tmp_path / "again.mid"))
    assert again.f1 == 1 and again.piece.parts.keys() == {"program:40", "program:33", "drums"}
    heard = {(t.program, t.drums): np.unique(t.notes.velocity).tolist() for t in song.tracks}
    assert heard == {(40, False): [79], (33, False): [79], (0, True): [95]}


def test_parts_of_no_song_are_played_by_the_programs_of_their_names() -> None:
    codec = MultitrackCodec()
    clip = codec.decode(codec.encode(split(whole(band(), codec).clip, codec.grid)[0]).ids)
    tracks = clip_song(clip, {}).tracks
    assert {(t.program, t.drums) for t in tracks} == {(40, False), (33, False), (0, True)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_morph_between_songs_has_them_at_its_ends(kind: Any, tmp_path: Path) -> None:
    tune, *others = band().tracks
    other = Song([tune, *(replace(t, program=t.program + 1) for t in others)])
    a, b = write(band(), tmp_path / "a.mid"), write(other, tmp_path / "b.mid")
    found = morph(echo(kind()), a, b, Taste(bars=2, steps=3, key="keep", refine=False))
    assert found.ends == (1.0, 1.0) and len(found.steps) == 3
    assert found.distances[0][0] == found.distances[-1][1] == 1.0


# --- prepared ------------------------------------------------------------------------------------


def test_prepared_windows_are_those_of_the_songs(tmp_path: Path) -> None:
    write_songs(tmp_path / "songs", 6, seed=3)
    given: dict[str, Any] = {"workers": 0, "valid_fraction": 0.2, "test_fraction": 0.2}
    for kind in ("polyphony", "multitrack"):
        report = prepare_midi([tmp_path / "songs"], tmp_path / kind, codec=kind, **given).report
        corpus = open_corpus(tmp_path / kind)
        codec, items = corpus.codec, corpus.split("train")
        assert isinstance(codec, PolyphonyCodec) and "miditok" in corpus.manifest["versions"]
        table = (tmp_path / kind / "songs.tsv").read_text().split("\n")
        train = next(row for row in table if row.startswith("train"))
        _, row, count, file, bars, *_ = train.split("\t")
        clip = whole(read(file), codec).clip
        bar = codec.grid.bar * 480 // codec.grid.steps
        for place in (0, int(count) // 2):
            at = _numbers(bars)[place] - 1
            own = clip.heard(at * bar, (at + codec.grid.bars) * bar, 480 / codec.grid.steps)
            assert items[int(row) + place].tolist() == codec.encode(own).ids
        assert report["lost"].get("outside", 0) == 0
        most = int(items.lengths.max()) - 1
        fewer = prepare_midi(
            [tmp_path / "songs"], tmp_path / f"{kind} few", codec=kind, max_tokens=most, **given
        )
        dropped = sum(row["dropped"].get(TOO_DENSE, 0) for row in fewer.splits.values())
        assert dropped > 0 and open_corpus(fewer.folder).split("train").lengths.max() <= most


def _numbers(spans: str) -> list[int]:
    edges = [span.partition("-")[::2] for span in spans.split(",")]
    return [i for first, last in edges for i in range(int(first), int(last or first) + 1)]


def test_a_song_in_another_key_is_in_the_same_split(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    random = np.random.default_rng(0)
    for number in range(8):
        tune = random.integers(50, 70, 24).tolist()
        rows = [(i * 480, i * 480 + 480, pitch, 80) for i, pitch in enumerate(tune)]
        for name, move in (("low", 0), ("high", 5)):
            notes = notes_of(rows).moved(semitones=move)
            write(Song([Track(notes)]), tmp_path / "songs" / f"{number}{name}.mid")
    prepare_midi([tmp_path / "songs"], tmp_path / "out", codec="polyphony", workers=0)
    lines = (tmp_path / "out" / "songs.tsv").read_text().split("\n")[1:-1]
    places = {Path(row.split("\t")[3]).stem: row.split("\t")[0] for row in lines}
    assert {places[f"{i}low"] == places[f"{i}high"] for i in range(8)} == {True}
    assert len(set(places.values())) > 1


# --- measured ------------------------------------------------------------------------------------


def test_what_is_equal_is_right_and_what_is_silent_is_not() -> None:
    clip = piano((0, 480, 60, 80), (0, 960, 64, 90))
    same = compared([clip, clip], [clip, clip], 4)
    for name in ("note", "duration", "overlap"):
        assert same[f"{name}_f1"] == same[f"{name}_precision"] == same[f"{name}_recall"] == 1
    assert same["velocity_error"] == 0 and same["plain_velocity_error"] == 5
    silent = compared([clip], [piano()], 4)
    assert silent["note_recall"] == silent["note_f1"] == 0
    assert silent["note_precision"] is silent["overlap_f1"] is silent["velocity_error"] is None


def test_notes_are_counted_as_by_hand() -> None:
    """Five true notes, four told: three begin right, two of these end right."""
    true = piano(*[(i * 240, i * 240 + 240, 60 + i, 80) for i in range(5)])
    told = piano((0, 240, 60, 90), (240, 480, 61, 70), (480, 960, 62, 80), (720, 960, 70, 80))
    found = compared([true], [told], 4)
    assert found["note_both"] == 3 and found["note_f1"] == pytest.approx(2 * 3 / 9)
    assert found["duration_both"] == 2 and found["duration_f1"] == pytest.approx(2 * 2 / 9)
    assert found["overlap_precision"] == pytest.approx(6 / 8) and found["overlap_recall"] == 1
    assert found["overlap_f1"] == pytest.approx(2 * 0.75 / 1.75)
    assert found["velocity_error"] == pytest.approx(20 / 3)


def test_the_floor_is_of_another_song() -> None:
    """Windows of a song lie in a row; equal within it, and apart from all others, they agree on
    nothing: in whatever order the rows come, and however many windows a song has.
    """
    codec, rows = PolyphonyCodec(bars=1), np.array([7, 2, 0, 5, 3, 8, 9, 1, 4, 6])
    song = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    ids = [codec.encode(piano((0, 480, 60 + song[row], 80))).ids for row in rows]
    codes: Any = SimpleNamespace(item=torch.arange(10), rate=torch.ones(10))
    found = events(codec, codes, Back(rows, ids, ids, 99, torch.zeros(10, 1)))
    assert found["note_f1"] == 1 and found["note_floor"] == 0


def test_parts_and_windows_are_told_apart() -> None:
    one, other = piano((0, 480, 60, 80)), Clip({"drums": notes_of([(0, 60, 60, 80)])}, 1920)
    assert compared([one], [other], 4)["note_both"] == 0
    assert compared([one, piano()], [piano(), one], 4)["note_both"] == 0
    both = compared([other], [other], 4)
    assert both["note_f1"] == 1 and both["duration_f1"] is None
