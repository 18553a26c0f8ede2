"""Attribute vectors: what the fit guarantees, what a file keeps, and the three commands."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from console import Command
from small import same, vae
from tiny import prepared, recipe, train, windows
from torch import Tensor

from data_prep.composer import compose
from data_prep.text import prepare_text
from seqvae import vectors
from seqvae.codecs import MelodyCodec
from seqvae.corpus import open_corpus
from seqvae.errors import Refused
from seqvae.explore import Explorer, load
from seqvae.midi import read, write
from seqvae.runs import export
from seqvae.steering import learning
from seqvae.steering.applying import apply, apply_song
from seqvae.steering.leaks import FILES, thinned, try_vectors
from seqvae.steering.learning import learn, steered, stretched
from seqvae.vectors import Fit, Vector, fit

SURE = ("--device", "cpu")


def linear(count: int = 2000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Codes (N, 4) of unequal spread, and two attributes that go together, lines of them."""
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 4, generator=draw) @ torch.diag(torch.tensor([2.0, 1.0, 1.0, 0.5]))
    a = 3 + z @ torch.tensor([[1.0, 0.8], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    return z, a


# --- the fit -------------------------------------------------------------------------------------


def test_strength_one_is_one_standard_deviation_and_leaks_nothing_where_codes_say_all() -> None:
    z, a = linear()
    found = fit(z, a, ridge=0.0, hold=0.0)
    slope = torch.linalg.lstsq(z.double() - z.mean(0), a.double() - a.mean(0)).solution
    moved = found.vectors @ slope / a.double().std(0, correction=0)
    same(moved, torch.eye(2).double())
    same(found.r2(*linear(seed=1)), torch.ones(2).double())


def test_a_vector_that_holds_nothing_is_the_covariance_and_leaks() -> None:
    z, a = linear()
    free = fit(z, a, ridge=0.0, hold=1e9)
    centred = ((a - a.mean(0)) / a.std(0)).T @ (z - z.mean(0))
    cosine = torch.nn.functional.cosine_similarity(free.vectors, centred.double(), dim=1)
    same(cosine, torch.ones(2).double())
    held = fit(z, a, ridge=0.0, hold=0.0)
    leak = [float((each.vectors @ each.weights)[0, 1]) for each in (free, held)]
    assert leak[0] > 0.3 and abs(leak[1]) < 1e-6


def test_of_all_shifts_that_do_it_is_the_shortest() -> None:
    z, a = linear()
    found = fit(z, a, ridge=0.0, hold=0.0)
    inverse = torch.linalg.inv(torch.cov(z.double().T, correction=0))
    null = torch.linalg.svd(found.weights.T).Vh[2:]  # what no reading sees

    def length(v: Tensor) -> Tensor:
        return (v @ inverse @ v).sqrt()

    for k in range(2):
        same(length(found.vectors[k]), found.length[k])
        for other in (*null, *-null):
            assert length(found.vectors[k] + 0.1 * other) > found.length[k]


def test_an_attribute_that_codes_do_not_tell_has_no_reading() -> None:
    z, a = linear()
    noise = torch.randn(len(z), 1, generator=torch.Generator().manual_seed(3))
    found = fit(z, torch.cat([a, noise], dim=1))
    other_z, other_a = linear(seed=1)
    told = found.r2(other_z, torch.cat([other_a, torch.randn(len(z), 1)], dim=1))
    assert told[:2].min() > 0.95 and told[2].abs() < 0.05
    assert found.length[2] > 5 * found.length[:2].max()


def test_dead_numbers_and_attributes_that_are_one_do_no_harm() -> None:
    z, a = linear(50)
    z = torch.cat([z, torch.zeros(50, 3)], dim=1)
    found = fit(z, torch.cat([a, a[:, :1]], dim=1), ridge=0.0)
    assert torch.isfinite(found.vectors).all()
    same(found.vectors[0], found.vectors[2])
    assert not found.vectors[:, 4:].any()


# --- the file ------------------------------------------------------------------------------------


def vector(name: str = "register", **other: Any) -> Vector:
    numbers: dict[str, Any] = {
        "mean": 60.0,
        "std": 5.0,
        "low": 50.0,
        "high": 70.0,
        "r2": 0.9,
        "length": 1.5,
        "stretch": 1.25,
    }
    return Vector(name, "MIDI pitch", torch.tensor([1.0, 0.0, -2.0]), **{**numbers, **other})


def test_vectors_come_back_as_they_were_saved(tmp_path: Path) -> None:
    model = vae()
    kept = vectors.save(tmp_path, [vector(), vector("mode")], model, {"checksum": "x"})
    found = vectors.load(tmp_path, model)
    assert found.header == kept.header and found.header["checksum"] == "x"
    assert [v.row() for v in found.vectors.values()] == [vector().row(), vector("mode").row()]
    same(found.named("register").shift, vector().shift)


def test_vectors_of_other_weights_or_damaged_are_refused(tmp_path: Path) -> None:
    model, path = vae(), tmp_path / vectors.FILE
    with pytest.raises(Refused, match=r"has no attribute vectors.*seqvae attribute learn"):
        vectors.load(tmp_path, model)
    vectors.save(tmp_path, [vector()], model, {})
    with pytest.raises(Refused, match="other weights"):
        vectors.load(tmp_path, vae())
    whole = path.read_bytes()
    damages = {
        "is damaged": whole[:-9],
        "not what was saved": whole[:-4] + b"\0\0\0\1",
        "reads up to 1": whole.replace(b'\\"format\\": 1', b'\\"format\\": 2'),
    }
    for says, data in damages.items():
        assert data != whole
        path.write_bytes(data)
        with pytest.raises(Refused, match=says):
            vectors.load(tmp_path, model)


def test_what_leaves_the_data_is_said() -> None:
    assert vector().leaves(60, 1) == "" == vector().leaves(60, -2)
    assert "asks for 75" in vector().leaves(60, 3)
    assert "asks for 45" in vector().leaves(60, -3)
    assert vector().leaves(80, -1) == "", "it comes nearer to them"
    assert vector().leaves(math.nan, 9) == ""


# --- learning and moving -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of melodies, one of labelled sentences, a language model, a song."""
    folder = tmp_path_factory.mktemp("vectors")
    songs = windows(folder / "songs", MelodyCodec(bars=1), 80).folder
    train(recipe(name="music", training_steps=30, latent=8), songs, folder / "music")
    words = prepared(folder).folder
    lines = (folder / "text.txt").read_text().splitlines()
    rows = [{"text": line, "tone": "red" if "red" in line else "other"} for line in lines]
    (folder / "tone.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    options = {"codec": words / "codec", "label": "tone", "column": "text"}
    prepare_text([folder / "tone.jsonl"], folder / "tone", **options)  # type: ignore[arg-type]
    train(recipe(training_steps=60), folder / "tone", folder / "words")
    train(recipe(training_steps=1, latent=0), words, folder / "lm")
    write(compose(3, metre=(4, 4)).song, folder / "a.mid")
    return folder


def copied(home: Path, name: str, folder: Path) -> Path:
    return Path(shutil.copytree(home / name, folder / name))


@pytest.fixture
def music(home: Path, tmp_path: Path) -> Explorer:
    return load(copied(home, "music", tmp_path))


def learnt(explorer: Explorer, home: Path, **other: Any) -> learning.Learnt:
    return learn(explorer, open_corpus(home / "songs"), tried=5, **other)


def test_a_vector_is_learnt_for_every_attribute_that_the_data_have(
    music: Explorer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FARTHEST", 1e9)
    found = learnt(music, home)
    said = "\n".join(found.said)
    assert re.search(r"repetition: undefined in 80 of 80 windows", said), "clips of one bar"
    assert "repetition: left out" in said and "repetition" not in found.vectors.vectors
    assert {"register", "note_density", "mode"} < set(found.vectors.vectors)
    header = found.vectors.header
    assert header["checksum"] == open_corpus(home / "songs").checksum
    assert (header["items"], header["held_out"]) == (80, 80)
    assert vectors.load(found.path.parent, music.vae).header == header
    with pytest.raises(Refused, match=r"repetition is undefined in 80 of 80.*leave it out"):
        learnt(music, home, asked=["repetition"])
    with pytest.raises(Refused, match="colour"):
        learnt(music, home, asked=["colour"])


def test_an_attribute_that_is_constant_over_the_data_is_refused() -> None:
    values = np.array([[2.0, float(i)] for i in range(30)])
    kept, said = learning._usable(["flat", "rising"], values, [], "window")
    assert kept == ["rising"] and "flat: left out, for it is constant over the data: 2" in said[0]
    with pytest.raises(Refused, match=r"flat is constant over the data.*differ in it"):
        learning._usable(["flat", "rising"], values, ["flat"], "window")
    with pytest.raises(Refused, match="20 are the fewest"):
        learning._usable(["rising"], values[:9, 1:], ["rising"], "window")


def test_what_leads_too_far_is_left_out_those_nobody_asked_for_first() -> None:
    def dropped(*wanted: str) -> str:
        nothing, length = torch.zeros(2, 2), torch.tensor([20.0, 15.0])
        found = Fit(nothing, length, nothing, length, length, length)
        return min("ab", key=lambda n: learning._worth(found, n, "ab".index(n), wanted))

    assert (dropped(), dropped("a")) == ("a", "b")


def test_codes_move_as_far_as_asked_and_directions_stay_directions(music: Explorer) -> None:
    z, shift = torch.randn(3, 8), torch.randn(8)
    same(steered(music, z, shift, 0.0), z)
    same(steered(music, z, shift, 2.0) - z, (2 * shift).expand(3, 8))
    sphere = torch.nn.functional.normalize(z, dim=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "on_sphere", lambda prior: True)
        same(steered(music, sphere, shift, 2.0).norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("slope", [0.25, 1.0, -1.0])
def test_a_vector_is_made_as_long_as_what_is_written_asks(
    music: Explorer, monkeypatch: pytest.MonkeyPatch, slope: float
) -> None:
    """A decoder that answers by so many standard deviations a strength, and never else."""
    given = vector(std=2.0)._replace(shift=torch.eye(8)[0])
    answer = lambda explorer, z, name: (2.0 * slope * z[:, 0]).numpy()  # noqa: E731
    monkeypatch.setattr(learning, "written_values", answer)
    found = stretched(music, torch.randn(20, 8), given)
    if slope < 0:
        assert found.stretch == 0 and torch.equal(found.shift, given.shift)
        return
    assert found.stretch == pytest.approx(1 / slope, rel=0.1)
    same(found.shift, given.shift * (found.stretch or 0))


def test_the_table_has_a_random_vector_and_the_trivial_edit_beside_each(
    music: Explorer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FARTHEST", 1e9)
    found = learnt(music, home)
    clips = list(open_corpus(home / "songs").sentences("test"))[:12]
    ids = [music.codec.encode(clip).ids for clip in clips]  # deaf: whatever the code, the same
    monkeypatch.setattr(music, "write", lambda z, *how, **more: ids * (len(z) // len(ids)))
    monkeypatch.setattr(music, "decode", lambda z: [*map(music.codec.decode, ids)])
    tested = try_vectors(music, found.vectors, open_corpus(home / "songs"), items=12)
    by = {(moves.attribute, moves.by): moves for moves in tested.moves}
    names = set(found.vectors.vectors)
    assert len(tested.moves) == 3 * len(names) + 2
    octave, fewer = by["register", "an octave up"], by["note_density", "notes left out"]
    std = found.vectors.named("register").std
    assert octave.change == pytest.approx(12 / std) and octave.spearman is None
    assert (octave.rhythm, octave.contour) == pytest.approx((1, 1))
    assert all(leak == pytest.approx(0, abs=1e-9) for leak in octave.leaks.values())
    std = found.vectors.named("note_density").std
    assert fewer.change == pytest.approx(-1, abs=0.5 / 4 / std), "to the nearest note"
    assert fewer.strength == -1 and (fewer.rhythm or 1) < 1
    for moves in tested.moves:
        assert "vector" not in moves.by or (moves.change, moves.spearman) == (0, 0)
        assert set(moves.leaks) == names - {moves.attribute}
        assert moves.words is None and 0 <= (moves.rhythm or 0) <= 1
    page, data = tested.save(tmp_path)
    assert (page.name, data.name) == FILES
    assert page.read_text().count("\n|") == len(tested.moves) + 2
    assert len(json.loads(data.read_bytes())["moves"]) == len(tested.moves)
    with pytest.raises(Refused, match="0 and 1 must be among"):
        try_vectors(music, found.vectors, open_corpus(home / "songs"), strengths=[1, 2])


def test_notes_are_left_out_down_to_one() -> None:
    clip = MelodyCodec(bars=1).decode([6] * 16)
    assert [len(thinned(clip, fewer).part("melody")) for fewer in (0, 1, 9)] == [16, 12, 1]


def test_strength_zero_writes_the_reconstruction(music: Explorer, home: Path) -> None:
    clip = next(open_corpus(home / "songs").sentences("valid"))
    given = vector()._replace(shift=torch.randn(8))
    still, far = apply(music, clip, given, [0, 9])
    [again] = music.reconstruct([clip])
    assert music.codec.show(still.item) == music.codec.show(again)
    assert still.said == [] and len(far.said) == 1
    for bad in ([], [math.nan]):
        with pytest.raises(Refused, match="strength"):
            apply(music, clip, given, bad)
    played = apply_song(music, home / "a.mid", given, [0, 1], bars=3)
    assert [song.bars.start[-1] for song in played.songs] == [3 * 4 * 480] * 2
    assert played.moved[0].before == played.moved[1].before


# --- the commands --------------------------------------------------------------------------------


def test_learn_apply_and_test_of_music(
    seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FARTHEST", 1e9)
    monkeypatch.chdir(tmp_path)
    run, corpus = copied(home, "music", tmp_path), home / "songs"
    words = ("--attribute", "note-density", "--tried", 0)
    rows = seqvae("attribute", "learn", run, corpus, *words, "--json", *SURE).rows
    assert {row["name"] for row in rows} > {"note_density", "register"}
    options = ("--attribute", "register", "--strength", -1, 0.5, 2, "--bars", 2)
    done = seqvae("attribute", "apply", run, home / "a.mid", *options, *SURE)
    names = [f"0{i}_register_{s}.mid" for i, s in ((1, "-1.00"), (2, "+0.50"), (3, "+2.00"))]
    assert sorted(path.name for path in (tmp_path / "a-register").iterdir()) == names
    assert done.lines[-1].startswith(f"a-register/{names[-1]}")
    assert all(len(read(tmp_path / "a-register" / name).bars) == 2 for name in names)
    again = seqvae("attribute", "apply", run, home / "a.mid", *options, "--json", *SURE)
    assert [row["strength"] for row in again.rows] == [-1, 0.5, 2]
    tested = seqvae("attribute", "test", run, corpus, "--items", 4, "--out", "table", *SURE)
    assert tested.lines[-1] == "written: table/attributes.md, table/attributes.json"
    export(run, tmp_path / "export")
    assert load(tmp_path / "export").latent == 8
    assert (tmp_path / "export" / vectors.FILE).is_file(), "it travels with the run"


def test_learn_and_apply_of_labelled_sentences(
    seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FARTHEST", 1e9)
    run = copied(home, "words", tmp_path)
    learn_it = ("attribute", "learn", run, home / "tone", "--attribute", "red", "--json", *SURE)
    found = {row["name"]: row for row in seqvae(*learn_it).rows}
    assert set(found) == {"length", "label=red", "label=other"}
    shifts = vectors.load(run, load(run).vae).vectors
    same(  # one label less is the other more
        shifts["label=red"].shift, -shifts["label=other"].shift, 1e-4
    )
    asked = ("--attribute", "label=red", "--strength", 0, 1)
    rows = seqvae(
        "attribute", "apply", run, "the old cat sees the dog", *asked, "--json", *SURE
    ).rows
    assert [row["strength"] for row in rows] == [0, 1] and "now" not in rows[0]
    rows = seqvae("attribute", "apply", run, "the cat", "--attribute", "length", "--json").rows
    assert rows[0]["before"] == 2
    table = tmp_path / "table"
    assert (
        seqvae("attribute", "test", run, home / "tone", "--items", 8, "--out", table).status == 0
    )
    moves = json.loads((table / FILES[1]).read_bytes())["moves"]
    assert [move["attribute"] for move in moves] == ["length"] * 3, "labels are not measured"
    assert all(0 <= move["words"] <= 1 and move["contour"] is None for move in moves)


def test_a_file_of_sentences_is_prepared_for_once(
    seqvae: Command, home: Path, tmp_path: Path
) -> None:
    run = copied(home, "words", tmp_path)
    done = seqvae("attribute", "learn", run, home / "text.txt", "--tried", 0, *SURE)
    assert done.status == 0 and "length" in done.out
    assert sorted(p.name for p in run.iterdir()) == sorted(
        [*(p.name for p in (home / "words").iterdir()), vectors.FILE]
    )


def test_what_is_prepared_for_once_goes_by_the_name_that_was_given(
    seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(learning, "FARTHEST", 1e9)
    run = copied(home, "music", tmp_path)
    for seed in range(3):
        write(compose(seed, metre=(4, 4)).song, tmp_path / f"songs/{seed}.mid")
    done = seqvae("attribute", "learn", run, "songs", "--tried", 0, *SURE)
    assert any(line.startswith("songs: ") for line in done.err.splitlines())
    assert vectors.load(run, load(run).vae).header["corpus"] == "songs"
    alone = seqvae("attribute", "learn", run, "songs/0.mid", *SURE)
    assert "only one distinct song" in alone.line
    for said in (done.err, alone.err):
        assert "/prepared/" not in said and "Deleted" not in said


def test_what_cannot_be_is_refused_with_the_cure(
    seqvae: Command, home: Path, tmp_path: Path
) -> None:
    corpus, run = home / "songs", copied(home, "music", tmp_path)

    def line(*words: object) -> str:
        return seqvae("attribute", *words).line

    assert "comes with the package" in line("learn", "melody", corpus)
    cure = "Copy it: seqvae export melody runs/melody; seqvae attribute learn runs/melody DATA"
    assert line("apply", "melody", home / "a.mid").endswith(cure)
    assert "language model" in line("learn", home / "lm", home / "corpus")
    assert "another codec" in line("learn", run, home / "tone")
    assert "does not exist: name a prepared corpus" in line("learn", run, "nowhere")
    assert "seqvae attribute learn" in line("apply", run, home / "a.mid", "--attribute", "mode")
    vectors.save(run, [vector(), vector("mode")], load(run).vae, {})
    assert "which attribute? --attribute one of register, mode" in line(
        "apply", run, home / "a.mid"
    )
    assert "no vector of 'swing'" in line("apply", run, home / "a.mid", "--attribute", "swing")
