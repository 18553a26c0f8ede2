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
from seqvae.attributes.melody import thinned
from seqvae.codecs import MelodyCodec
from seqvae.corpus import open_corpus
from seqvae.errors import Refused
from seqvae.explore import Explorer, load
from seqvae.midi import read, write
from seqvae.runs import export
from seqvae.steering import applying, learning
from seqvae.steering.applying import apply, apply_song, value
from seqvae.steering.leaks import FILES, HEADER, Moves, swayed, try_vectors
from seqvae.steering.learning import gained, learn, steered, stretched
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


def test_vectors_of_several_corpora_lie_in_one_file_each_with_its_origin(tmp_path: Path) -> None:
    def omitted(name: str) -> dict[str, Any]:
        return {"omitted": {name: {"corpus": "a", "why": "it is constant over the data"}}}

    model = vae()
    first = [vector(), vector("mode")]
    about = {"corpus": "a", "items": 9, **omitted("swing")}
    found = vectors.save(tmp_path, first, model, about)
    assert set(found.omitted) == {"swing"}
    second = [vector("mode", mean=1.0), vector("swing")]
    vectors.save(tmp_path, second, model, {"corpus": "b", **omitted("register")}, found)
    found = vectors.load(tmp_path, model)
    assert {n: v.mean for n, v in found.vectors.items()} == {
        "mode": 1,
        "swing": 60,
        "register": 60,
    }
    assert found.origin("register") == {"corpus": "a", "items": 9}
    assert found.origin("mode") == found.origin("swing") == {"corpus": "b"}
    assert found.omitted == {}, "what is there was not left out"
    vectors.save(tmp_path, [vector("swing")], model, {"corpus": "c"}, found)
    found = vectors.load(tmp_path, model)
    origins = {name: found.origin(name)["corpus"] for name in found.vectors}
    assert origins == {"swing": "c", "mode": "b", "register": "a"}
    same(found.named("register").shift, vector().shift)


def test_a_vector_that_is_not_there_is_refused_with_the_reason(tmp_path: Path) -> None:
    omitted = {"note_density": {"corpus": "songs", "why": "it is constant over the data"}}
    about = {"corpus": "songs", "omitted": omitted}
    found = vectors.save(tmp_path, [vector(), vector("label=red")], vae(), about)
    assert found.named("red").name == "label=red"
    with pytest.raises(Refused, match=r"learnt from songs, for it is constant over.*other data"):
        found.named("note-density")
    with pytest.raises(Refused, match=r'no vector of .registr.; did you mean "register"\?'):
        found.named("registr")
    with pytest.raises(Refused, match=r"has: register, label=red\. More .*attribute learn"):
        found.named("backbeat")


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
    with pytest.raises(Refused, match=r"learnt from songs, for it is undefined in 80 of 80"):
        found.vectors.named("repetition")
    with pytest.raises(Refused, match=r"this corpus of windows has no attribute 'colour'"):
        learnt(music, home, asked=["colour"])


def test_vectors_learnt_before_are_kept_where_the_data_leave_them_out(
    music: Explorer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FARTHEST", 1e9)
    folder, shift = Path(music.facts["folder"]), torch.arange(8.0)
    old = [vector(name)._replace(shift=shift) for name in ("register", "repetition")]
    vectors.save(folder, old, music.vae, {"corpus": "old"})
    found = learn(music, open_corpus(home / "songs"), tried=0)
    assert found.said[-2:] == [
        "replaced: register (learnt from old)",
        "kept from before: repetition (learnt from old)",
    ]
    same(vectors.load(folder, music.vae).named("repetition").shift, shift)
    assert not torch.equal(found.vectors.named("register").shift, shift)
    corpora = {row["name"]: row["corpus"] for row in found.plain()}
    assert {n for n in corpora if corpora[n] == "old"} == {"repetition"}
    assert [row[-1] for row in found.rows()[1:]] == list(corpora.values())
    vectors.save(folder, old, vae(), {"corpus": "old"})
    said = learn(music, open_corpus(home / "songs"), tried=0).said
    assert "are not kept" in said[-1] and "other weights" in said[-1]


def test_an_attribute_that_is_constant_over_the_data_is_refused() -> None:
    values = np.array([[2.0, float(i)] for i in range(30)])
    kept, omitted, said = learning._usable(["flat", "rising"], values, [], "window")
    assert kept == ["rising"] and said == []
    assert omitted == {"flat": "it is constant over the data: 2 in all 30 windows"}
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


def test_what_a_label_cannot_hold_is_said_and_has_its_own_vector_all_the_same(
    music: Explorer,
) -> None:
    z, a = linear()
    noise = torch.randn(len(z), 1, generator=torch.Generator().manual_seed(3))
    part = z, torch.cat([noise, a[:, :1]], dim=1).numpy()
    names, group = ["register", "label=jig"], (["register", "label=jig"], ["label=jig"])
    found: list[Vector] = []
    far = learning._fit_group(found, group, names, part, part, ["register"], music)
    assert [each.name for each in found] == ["label=jig"] and set(far) == {"register"}
    [said] = learning._not_held(far, group)
    assert said.startswith("register: not held by the vector of label=jig, for codes tell so")


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
    names = set(found.vectors.vectors)
    assert len(tested.moves) == 3 * len(names) + 3
    std = found.vectors.named("register").std
    up = round(std)
    by = {(moves.attribute, moves.by): moves for moves in tested.moves if moves.spearman is None}
    higher, fewer = by["register", f"{up} semitones up"], by["note_density", "notes left out"]
    assert higher.change == pytest.approx(up / std) == pytest.approx(1, abs=0.5 / std)
    assert (higher.rhythm, higher.contour) == pytest.approx((1, 1))
    for none in (higher.leaks, higher.swayed):
        assert all(size == pytest.approx(0, abs=1e-9) for size in none.values())
    places = [(moves.attribute, moves.by, moves.strength) for moves in tested.moves]
    at = places.index(("note_density", "notes left out", -1.0))
    assert places[at - 1] == ("note_density", "its vector", -1.0), "beside what it is held against"
    std = found.vectors.named("note_density").std
    assert fewer.change == pytest.approx(-1, abs=0.5 / 4 / std), "to the nearest note"
    assert fewer.strength == -1 and (fewer.rhythm or 1) < 1
    for moves in tested.moves:
        assert "vector" not in moves.by or (moves.change, moves.spearman) == (0, 0)
        assert set(moves.leaks) == set(moves.swayed) == names - {moves.attribute}
        assert all(moves.swayed[name] >= abs(moves.leaks[name]) - 1e-9 for name in moves.leaks)
        assert len(moves.cells()) == len(HEADER)
        assert moves.words is None and 0 <= (moves.rhythm or 0) <= 1
    page, data = tested.save(tmp_path)
    assert (page.name, data.name) == FILES
    assert page.read_text().count("\n|") == len(tested.moves) + 2
    rows = json.loads(data.read_bytes())["moves"]
    assert [row["swayed"] for row in rows] == [moves.swayed for moves in tested.moves]
    assert rows[-1]["most_swayed"] == max(rows[-1]["swayed"].values())
    with pytest.raises(Refused, match="0 and 1 must be among"):
        try_vectors(music, found.vectors, open_corpus(home / "songs"), strengths=[1, 2])
    one = try_vectors(
        music, found.vectors, open_corpus(home / "songs"), items=12, asked=["note-density"]
    )
    assert one.moves == [each for each in tested.moves if each.attribute == "note_density"]
    with pytest.raises(Refused, match="vector of 'colour'"):
        try_vectors(music, found.vectors, open_corpus(home / "songs"), asked=["colour"])


def test_changes_of_opposite_sign_cancel_in_a_leak_and_count_in_what_is_swayed() -> None:
    before, after = np.array([5.0, 5.0, np.nan]), np.array([7.0, 3.0, 1.0])
    assert (gained(before, after, 2.0), swayed(before, after, 2.0)) == (0.0, 1.0)
    moves = Moves("a", "b", 1.0, 1.0, 1.0, {"c": 0.1, "d": 0}, {"c": 0.2, "d": 1}, 1, 1, None, 2)
    assert moves.cells()[5:7] == ["0.10 (c)", "1.00 (d)"]
    alone = Moves("a", "b", 1.0, None, 1.0, {}, {}, 1, 1, None, 2)
    assert alone.cells()[5:7] == ["—", "—"]


def test_notes_are_left_out_down_to_one() -> None:
    clip = MelodyCodec(bars=1).decode([6] * 16)
    assert [len(thinned(clip, fewer).part("melody")) for fewer in (0, 1, 9)] == [16, 12, 1]


def test_strength_zero_writes_the_reconstruction(music: Explorer, home: Path) -> None:
    clip = next(open_corpus(home / "songs").sentences("valid"))
    given = vector("note_density", high=4.0)._replace(shift=torch.randn(8))
    still, far = apply(music, clip, given, [0, 9])
    [again] = music.reconstruct([clip])
    assert music.codec.show(still.item) == music.codec.show(again)
    assert still.said == [] and len(far.said) == 1
    known = [value(music, "note_density", each) for each in (clip, again)]
    for moved in (still, far):
        assert [moved.before, moved.written] == known
    assert still.now == still.written != still.before, "what a strength counts from"
    assert f"asks for {known[1] + 9 * given.std:.3g} " in far.said[0]
    silent = applying._moved(music, vector(), 9, [60.0, math.nan], clip)
    assert "asks for 105 " in silent.said[0], "of what is written it is undefined"
    for bad in ([], [math.nan]):
        with pytest.raises(Refused, match="strength"):
            apply(music, clip, given, bad)
    played = apply_song(music, home / "a.mid", given, [0, 1], bars=3)
    assert [song.bars.start[-1] for song in played.songs] == [3 * 4 * 480] * 2
    assert played.moved[0][2:4] == played.moved[1][2:4]
    assert played.moved[0].now == played.moved[0].written


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
    told = r"register [\d.]+, written by the model [\d.—]+, now [\d.—]+ MIDI pitch"
    assert re.fullmatch(re.escape(f"a-register/{names[-1]}: ") + told, done.lines[-1])
    assert all(len(read(tmp_path / "a-register" / name).bars) == 2 for name in names)
    again = seqvae("attribute", "apply", run, home / "a.mid", *options, "--json", *SURE)
    assert [row["strength"] for row in again.rows] == [-1, 0.5, 2]
    assert len({row["written"] for row in again.rows}) == 1
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
    assert rows[0]["before"] == 2 and rows[0]["written"] >= 0
    table = tmp_path / "table"
    assert (
        seqvae("attribute", "test", run, home / "tone", "--items", 8, "--out", table).status == 0
    )
    moves = json.loads((table / FILES[1]).read_bytes())["moves"]
    assert [move["attribute"] for move in moves] == ["length"] * 3, "labels are not measured"
    refused = seqvae("attribute", "test", run, home / "tone", "--attribute", "red", "--out", table)
    assert refused.status == 2 and "label=red: vectors of labels" in refused.err
    assert "is measured: length." in refused.err
    assert all(0 <= move["words"] <= 1 and move["contour"] is None for move in moves)


def test_a_file_of_sentences_is_prepared_for_once(
    seqvae: Command, home: Path, tmp_path: Path
) -> None:
    run = copied(home, "words", tmp_path)
    done = seqvae("attribute", "learn", run, home / "text.txt", "--tried", 0, *SURE)
    assert done.status == 0 and "length" in done.out
    refused = seqvae("attribute", "learn", run, home / "text.txt", "--attribute", "label=red")
    assert refused.status == 2 and "label=red: these sentences have no labels" in refused.err
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
    vectors.save(run, [vector()._replace(shift=torch.eye(8)[0])], load(run).vae, {})
    tested = seqvae("attribute", "test", run, "songs", "--items", 1, "--out", "table", *SURE)
    assert tested.status == 0, "songs are prepared for it as for learning"
    assert json.loads((tmp_path / "table" / FILES[1]).read_bytes())["about"]["corpus"] == "songs"
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

    song, wrong = home / "a.mid", ("--attribute", "swing")  # one song alone makes no corpus
    for data in (corpus, song):
        assert "comes with the package" in line("learn", "melody", data)
        assert "this corpus of windows has no attribute 'swing'" in line(
            "learn", run, data, *wrong
        )
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
