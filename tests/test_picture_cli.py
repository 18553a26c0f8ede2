"""The command as people with pictures meet it: PNG in, PNG out, what cannot be done one line."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from console import Command
from numpy.typing import NDArray
from PIL import Image
from test_cli import tree
from tiny import hush, prepared, recipe, train

from data_prep.images import prepare_images
from seqvae.corpus import open_corpus
from seqvae.explore import load
from seqvae.fit import fit
from seqvae.gallery import gallery
from seqvae.recipe import override, read
from seqvae.runs import is_run, read_recipe

SHORT = ("training.steps=3", "training.validate_every=3", "encoder.hidden=[16]")
CNN = "{kind='PixelCNNDecoder', channels=8, layers=2}"
RUNS = {
    "dense": ("decoder.hidden=[16]",),
    "cnn": (f"decoder={CNN}",),
    "plain": ("decoder.hidden=[16]", "latent=0"),
    "headed": (
        "decoder.hidden=[16]",
        "label={hidden=[8]}",
        "objective.terms.label={kind='CrossEntropy'}",
    ),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that know pictures and one that knows words, and pictures of several sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    prepare_images(["digits"], folder / "digits", binarize="dynamic", limit=60)
    corpus = open_corpus(folder / "digits")
    for name, settings in RUNS.items():
        fit(override(read("digits"), (*SHORT, *settings)), corpus, folder / name, say=hush)
    train(recipe(training_steps=1), prepared(folder, 60).folder, folder / "words")
    draw = np.random.default_rng(0)
    for name in ("a", "b", "wide/a", *(f"loose/{i}" for i in range(12))):
        save(folder / f"{name}.png", draw.integers(256, size=(8, 8), dtype=np.uint8))
    save(folder / "photo.jpg", draw.integers(256, size=(20, 30, 3), dtype=np.uint8))
    np.savez(folder / "two.npz", x=draw.random((2, 8, 8)), y=np.arange(3))
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "a.mid").write_bytes(b"MThd")
    return folder


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what people do ------------------------------------------------------------------------------


def test_samples_are_png_files_and_one_page(seqvae: Command, home: Path, place: Path) -> None:
    rows = seqvae("sample", home / "dense", "-n", 12, "--json").rows
    assert rows[11] == {"from": "prior", "file": "dense-samples/sample-012.png"}
    m = load(home / "dense")
    expected = np.rint(255 * m.means(m.draw(12)).numpy()).astype(np.uint8)
    for row, picture in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(pixels(place / row["file"]), picture[..., 0])
    assert pixels(place / "dense-samples" / "sheet.png").shape[:2] == (2 * 60 + 4, 10 * 60 + 4)
    again = seqvae("sample", home / "dense", "-n", 1, "--temperature", 1).lines
    assert again == ["dense-samples-2/sample-001.png"], "nothing is overwritten"
    assert set(np.unique(pixels(place / again[0]))) <= {0, 255}


@pytest.mark.parametrize("run", ["cnn", "plain"])
def test_pixels_are_drawn_where_their_likeliest_would_be_no_sample(
    run: str, seqvae: Command, home: Path, place: Path
) -> None:
    rows = seqvae("sample", home / run, "-n", 3, "--json", "--out", "one").rows
    drawn = {pixels(place / row["file"]).tobytes() for row in rows}
    assert len(drawn) == 3
    rows = seqvae("sample", home / run, "-n", 3, "--json", "--out", "two").rows
    assert {pixels(place / row["file"]).tobytes() for row in rows} == drawn


def test_pictures_come_back_beside_what_they_were(
    seqvae: Command, home: Path, place: Path
) -> None:
    given = [home / "a.png", home / "wide" / "a.png", home / "two.npz"]
    lines = seqvae("reconstruct", home / "dense", *given, "--out", "x").lines
    assert re.search(r"a\.png: squared error a pixel 0\.\d+, written: x/a_again\.png$", lines[0])
    assert lines[-1] == "on one page: x/sheet.png"
    names = {path.name for path in (place / "x").iterdir()}
    assert names == {f"{n}_again.png" for n in ("a", "a-2", "x_1", "x_2")} | {"sheet.png"}
    m, first = load(home / "dense"), pixels(home / "a.png")
    again = m.means(m.encode([first])).numpy()[0, ..., 0]
    np.testing.assert_array_equal(pixels(place / "x" / "a_again.png"), np.rint(255 * again))
    [row] = seqvae("reconstruct", home / "dense", home / "a.png", "--json").rows
    assert row["pixel_error"] == pytest.approx(float(((again - first / 255) ** 2).mean()))


def test_a_picture_of_another_size_is_made_to_fit_and_that_is_said(
    seqvae: Command, home: Path, place: Path
) -> None:
    done = seqvae("encode", home / "dense", home / "photo.jpg", home / "a.png")
    assert "one picture is 20 x 30 in colour; read as 8 x 8 grey" in done.err
    assert [Path(row["file"]).name for row in done.rows] == ["photo.jpg", "a.png"]
    small = Image.open(home / "photo.jpg").resize((8, 8), Image.Resampling.BILINEAR).convert("L")
    z = load(home / "dense").encode([np.asarray(small)])[0]
    assert done.rows[0]["z"] == pytest.approx(z.tolist(), abs=1e-5)


def test_what_was_encoded_is_decoded(seqvae: Command, home: Path, place: Path) -> None:
    coded = seqvae("encode", home / "dense", home / "a.png", home / "b.png")
    (place / "z.jsonl").write_text(coded.out, "utf-8")
    lines = seqvae("decode", home / "dense", "z.jsonl").lines
    assert lines[:2] == ["digits-codes/code-001.png", "digits-codes/code-002.png"]
    seqvae("reconstruct", home / "dense", home / "b.png", "--out", "x")
    one, other = (pixels(place / p) for p in (lines[1], "x/b_again.png"))
    np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)


@pytest.mark.parametrize("run", ["dense", "cnn", "headed"])
def test_a_way_has_the_reconstructions_for_its_ends(
    run: str, seqvae: Command, home: Path, place: Path
) -> None:
    ends = (home / "a.png", home / "b.png")
    rows = seqvae("interpolate", home / run, *ends, "--steps", 3, "--json").rows
    assert [row["mix"] for row in rows] == [0, 0.5, 1]
    assert [row["file"] for row in rows] == [
        f"morph-a-b/{name}.png"
        for name in ("01of03_a100_b00", "02of03_a50_b50", "03of03_a00_b100")
    ]
    seqvae("reconstruct", home / run, *ends, "--out", "x")
    for row, name in ((rows[0], "a"), (rows[2], "b")):
        one, other = pixels(place / row["file"]), pixels(place / "x" / f"{name}_again.png")
        np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)
    page = pixels(place / "morph-a-b" / "sheet.png")
    assert page.shape[:2] == (2 * 60 + 4, 3 * 60 + 4), "below the cross-fade"
    np.testing.assert_array_equal(page[4:60:7, 4:60:7, 0], pixels(home / "a.png"))


def test_labels_are_told_and_taken(seqvae: Command, home: Path, place: Path) -> None:
    [row] = seqvae("label", home / "headed", home / "a.png", "--json").rows
    assert row["file"] == str(home / "a.png") and sum(row["probabilities"].values()) > 0.999
    line = seqvae("label", home / "headed", home / "a.png").lines[0]
    assert re.fullmatch(rf" +\d+\.\d%  {row['label']}  .*a\.png", line)
    drawn = [
        seqvae(*words, "--label", label, "--json", "--out", f"{words[0]}{label}").rows[0]
        for words in (
            ("sample", home / "headed"),
            ("reconstruct", home / "headed", home / "a.png"),
        )
        for label in (3, 4)
    ]
    files = [place / row.get("written", row["file"]) for row in drawn]
    assert len({path.read_bytes() for path in files}) == 4


def test_the_nearest_pictures_are_found_and_written(
    seqvae: Command, home: Path, place: Path
) -> None:
    rows = seqvae("neighbours", home / "dense", home / "a.png", "-n", 3, "--json").rows
    assert all(re.fullmatch(r"valid \d+, \d", row["text"]) for row in rows)
    assert rows[0]["distance"] <= rows[2]["distance"] and (place / rows[2]["file"]).is_file()
    among = ("--among", home / "two.npz", "-n", 1, "--out", "x")
    line = seqvae("neighbours", home / "dense", home / "a.png", *among).lines[0]
    assert re.search(r"two\.npz/x:[12]  x/near-001\.png$", line)


def test_a_density_of_pictures_says_how_sharp_they_are(
    seqvae: Command, home: Path, place: Path
) -> None:
    done = seqvae("density", home / "headed", "--items", 40, "--written", 4)
    assert re.search(r"from the density +0\.\d{4}", done.out)
    assert seqvae("sample", home / "headed", "--from", "density", "-n", 1).status == 0


def test_a_single_picture_is_drawn_too(home: Path) -> None:
    found = gallery(load(home / "dense"), [pixels(home / "a.png")])
    assert found["codes"].numbers["points"] == [[0, 0]]


def test_a_frontier_of_pictures_is_of_their_recipe(
    seqvae: Command, home: Path, place: Path
) -> None:
    brief = [word for setting in SHORT for word in ("--set", setting)]
    done = seqvae("rate", home / "digits", "--floors", 1, "--out", "x", *brief)
    assert done.status == 0 and "nats an image" in done.err
    assert read_recipe(place / "x" / "lm")["decoder"]["kind"] == "DenseDecoder"


# --- what cannot be done -------------------------------------------------------------------------


@dataclass
class Wrong:
    """A command line that cannot be done; {home} stands for the files, words are split at ~."""

    command: str
    says: str
    files: dict[str, bytes] = field(default_factory=dict)


A = "{home}/a.png"
DENSE = "{home}/dense"
TRAIN = "--out~new~--set~training.steps=1"
WRONG = {
    "pictures, and no run": Wrong(f"interpolate~{A}~{A}", "no run that knows pict.*RUN a.png"),
    "a picture and words": Wrong(f"interpolate~{A}~I am", "a.png is a picture"),
    "pictures for words": Wrong(
        f"interpolate~{{home}}/words~{A}~{A}", "a.png is a picture, and the run .* knows sentences"
    ),
    "a picture for codes of words": Wrong(f"encode~{{home}}/words~{A}", "knows sentences"),
    "a picture by what is in it": Wrong(
        "encode~{home}/words~x", "^x is a picture", {"x": b"\xff\xd8\xff\xe0"}
    ),
    "words for pictures": Wrong(f"interpolate~{DENSE}~a cat~a dog", "a cat is no file here;.*PNG"),
    "words to encode": Wrong(f"encode~{DENSE}~a cat", "a cat is no file here"),
    "music for pictures": Wrong(f"encode~{DENSE}~{{home}}/a.mid", "a.mid: no picture. Name PNG"),
    "a torn file": Wrong(f"reconstruct~{DENSE}~{{home}}/torn.png", "torn.png: cannot be read"),
    "no picture": Wrong(f"reconstruct~{DENSE}", "name PNG or JPEG files, such as a.png"),
    "lines for pictures": Wrong(f"label~{DENSE}~--file~t.txt", "name PNG", {"t.txt": b"a b"}),
    "several for one": Wrong(
        f"interpolate~{DENSE}~{A}~{{home}}/two.npz", "two.npz holds 2 pictures"
    ),
    "options of music": Wrong(
        f"interpolate~{DENSE}~{A}~{A}~--bars~8", "^--bars: only of MIDI.* these are pictures"
    ),
    "a folder in use": Wrong(f"sample~{DENSE}~--out~.", "is in use", {"t.txt": b""}),
    "a temperature": Wrong(f"sample~{DENSE}~--temperature~0.5", "no other temperature than 1"),
    "no code": Wrong(f"encode~{{home}}/plain~{A}", "images have no code"),
    "no such label": Wrong(f"reconstruct~{{home}}/headed~{A}~--label~cat", "no label 'cat'"),
    "words among pictures": Wrong(
        f"neighbours~{DENSE}~{A}~--among~{{home}}/corpus", "corpus holds sentences, and the run"
    ),
    "a folder for near words": Wrong("neighbours~{home}/words~the cat~--out~x", "are printed"),
    "sentences made here": Wrong(
        f"train~image-vae~docstrings~{TRAIN}",
        "docstrings holds sentences.*train text-transformer doc",
    ),
    "songs made here": Wrong(
        f"train~image-vae~composed~{TRAIN}", "composed holds MIDI files.*seqvae train melody com"
    ),
    "a head without labels": Wrong(
        f"train~image-labels~{{home}}/loose~{TRAIN}",
        "have no labels.*prepare images FOLDER, a sub",
    ),
    "another corpus": Wrong(
        f"evaluate~{DENSE}~--corpus~{{home}}/corpus", "another codec.*--levels, --binarize"
    ),
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
