"""Laws of `prepare_images`: every picture kept or counted, none in two splits, same bytes."""

import gzip
import hashlib
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from data_prep.images import Prepared, prepare_images
from data_prep.pictures import holds_pictures
from seqvae.binarized import Binarized, drawn
from seqvae.cli import app
from seqvae.cli.corpora import fitting_recipe, make_corpus, sort_out
from seqvae.codecs import PixelCodec
from seqvae.codecs.codec import Extent
from seqvae.corpus import Corpus, Split, open_corpus
from seqvae.errors import Refused
from seqvae.recipe import read
from seqvae.tokens import SPECIAL

MNIST = Path(__file__).parents[2] / "shared" / "data" / "images" / "mnist"
WHOLE: dict[str, Any] = {"valid_fraction": 0, "test_fraction": 0}  # all is train

Array = NDArray[Any]


def noise(count: int = 12, side: int = 4, seed: int = 0) -> Array:
    """Distinct pictures, grey."""
    draw = np.random.default_rng(seed)
    return draw.integers(256, size=(count, side, side), dtype=np.uint8)


def write_idx(path: Path, array: Array) -> Path:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    raw = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def write_png(path: Path, pixels: Array, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def folder_of(root: Path, count: int = 6) -> Path:
    """Two labels, each so many pictures of its own."""
    for number, picture in enumerate(noise(2 * count)):
        write_png(root / ("cat" if number < count else "dog") / f"{number:02d}.png", picture)
    return root


def pictures(corpus: Corpus, split: str) -> list[list[int]]:
    items = corpus.split(split)
    return [items[row].tolist() for row in range(len(items))]


def ids_of(array: Array) -> list[list[int]]:
    return (array.reshape(len(array), -1).astype(int) + SPECIAL).tolist()


def prepared(tmp_path: Path, *sources: Path | str, **options: Any) -> tuple[Prepared, Corpus]:
    made = prepare_images(list(sources), tmp_path / "out", **options)
    return made, open_corpus(made.folder)


# --- readers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_keep_their_splits_and_labels(tmp_path: Path, ending: str) -> None:
    train, test = noise(8), noise(3, seed=1)
    home = tmp_path / "idx"
    write_idx(home / f"train-images-idx3-ubyte{ending}", train)
    write_idx(home / f"train-labels-idx1-ubyte{ending}", np.arange(8) % 3)
    write_idx(home / f"t10k-images-idx3-ubyte{ending}", test)
    write_idx(home / f"t10k-labels-idx1-ubyte{ending}", np.array([2, 0, 1]))
    made, corpus = prepared(tmp_path, home, valid_fraction=0)
    assert pictures(corpus, "train") == ids_of(train) and pictures(corpus, "test") == ids_of(test)
    assert corpus.labels == ["0", "1", "2"] and not corpus.has("valid")
    assert [corpus.split("test").label(row) for row in range(3)] == [2, 0, 1]
    assert made.table()[1:] == [("train", "8", "8", "0", ""), ("test", "3", "3", "0", "")]
    images = next(s for s in corpus.manifest["sources"] if "train" in s["name"])
    assert len(images["sha256"]) == 64 and images["files"] == 2


def test_npz_arrays_are_read_by_name_channels_wherever_they_stand(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(256, size=(5, 3, 4, 6), dtype=np.uint8)
    labels = np.array([["b"], ["a"], ["b"], ["a"], ["b"]])
    path = tmp_path / "a.npz"
    np.savez(path, x_train=colours, y_train=labels, x_test=colours[:2] // 2, y_test=labels[:2])
    _, corpus = prepared(tmp_path, path, valid_fraction=0)
    assert corpus.codec.shape == (4, 6, 3) and corpus.labels == ["a", "b"]
    assert pictures(corpus, "train") == ids_of(np.moveaxis(colours, 1, 3))
    assert corpus.split("train").label(0) == 1 and len(corpus.split("test")) == 2


def test_floats_of_an_npz_are_brightness(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.linspace(0, 1, 16).reshape(1, 4, 4))
    _, corpus = prepared(tmp_path, tmp_path / "a.npz", **WHOLE)
    assert pictures(corpus, "train") == [[SPECIAL + 17 * i for i in range(16)]]


def test_labels_that_are_met_in_no_training_are_named(tmp_path: Path) -> None:
    other = write_png(tmp_path / "other" / "{cow}" / "a.png", noise(1, seed=9)[0]).parents[1]
    made, corpus = prepared(tmp_path, folder_of(tmp_path / "in"), valid=other, test_fraction=0)
    assert made.report["labels unmet"] == ["{cow}"] and corpus.labels == ["cat", "dog", "{cow}"]
    assert "labels of no picture in train: 1 ({cow})" in str(made)


@pytest.mark.parametrize("form", ["idx", "npz"])
def test_labels_that_do_not_fit_are_no_matter_where_none_are_wanted(
    form: str, tmp_path: Path
) -> None:
    if form == "idx":
        source = write_idx(tmp_path / "a-images-idx3-ubyte", noise(5))
        write_idx(tmp_path / "a-labels-idx1-ubyte", np.arange(4))
    else:
        source = tmp_path / "a.npz"
        np.savez(source, x=noise(5), y=np.arange(4))
    made, corpus = prepared(tmp_path, source, labels=False, **WHOLE)
    assert made.labels is None and pictures(corpus, "train") == ids_of(noise(5))


def test_a_folder_of_png_is_labelled_by_its_subfolders(tmp_path: Path) -> None:
    made, corpus = prepared(tmp_path, folder_of(tmp_path / "in"), **WHOLE)
    assert corpus.labels == ["cat", "dog"] and made.codec.shape == (4, 4, 1)
    assert pictures(corpus, "train") == ids_of(noise(12))
    assert [corpus.split("train").label(row) for row in (0, 5, 6, 11)] == [0, 0, 1, 1]


def test_subfolders_called_as_splits_are_splits(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        for number, picture in enumerate(noise(2, seed=seed)):
            write_png(tmp_path / "in" / split / f"is {number}" / "a.png", picture)
    _, corpus = prepared(tmp_path, tmp_path / "in")
    assert {name: len(corpus.split(name)) for name in ("train", "valid", "test")} == {
        "train": 2,
        "valid": 2,
        "test": 2,
    }
    assert corpus.labels == ["is 0", "is 1"]


def test_the_embedded_digits_have_fixed_splits_and_all_their_levels(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    made, corpus = prepared(tmp_path, "digits")
    assert made.codec.extent == Extent(SPECIAL + 17, 64, (8, 8, 1))
    assert made.report["splits"]["train"]["kept"] == 1259
    assert made.report["pixels changed"] == 0 and len(corpus.labels or []) == 10
    every = {tuple(row) for name in corpus.manifest["splits"] for row in pictures(corpus, name)}
    assert every == set(map(tuple, ids_of(load_digits().images)))


@pytest.mark.skipif(not MNIST.is_dir(), reason="no MNIST beside the project")
def test_mnist_is_read_as_it_is(tmp_path: Path) -> None:
    made, corpus = prepared(tmp_path, MNIST, limit=300, valid_fraction=50)
    kept = {name: row["kept"] for name, row in made.report["splits"].items()}
    assert kept == {"train": 250, "valid": 50, "test": 300}
    assert made.codec.shape == (28, 28, 1) and corpus.labels == [str(d) for d in range(10)]


# --- splits, drawing, sizes ---------------------------------------------------------------------


def test_equal_pictures_never_stand_in_two_splits(tmp_path: Path) -> None:
    many = np.concatenate([noise(40), noise(40)])
    np.savez(tmp_path / "a.npz", x=many, x_test=many[:5])
    made, corpus = prepared(tmp_path, tmp_path / "a.npz", valid_fraction=0.25)
    splits = [set(map(tuple, pictures(corpus, name))) for name in ("train", "valid", "test")]
    assert all(splits) and not (splits[0] | splits[1]) & splits[2] and not splits[0] & splits[1]
    rows = made.report["splits"]
    assert rows["train"]["dropped"] == {"duplicate of valid/test": 10}
    assert sum(row["kept"] + sum(row["dropped"].values()) for row in rows.values()) == 85
    assert (made.folder / "dropped.tsv").read_text().count("duplicate") == 10


def test_static_pixels_are_drawn_once_as_dynamic_ones_are_fixed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", noise(9))
    one = prepare_images([tmp_path / "a.npz"], tmp_path / "s", binarize="static", seed=4, **WHOLE)
    two = prepare_images([tmp_path / "a.npz"], tmp_path / "d", binarize="dynamic", seed=4, **WHOLE)
    static, dynamic = open_corpus(one.folder), open_corpus(two.folder)
    items = dynamic.split("train")
    assert isinstance(static.split("train"), Split) and isinstance(items, Binarized)
    assert pictures(static, "train") == pictures(dynamic, "train")
    assert pictures(static, "train")[3] == drawn(noise(9)[3].ravel(), [4, 0, 3]).tolist()
    assert one.codec.vocab == two.codec.vocab == 6
    assert static.manifest["binarize"] == "static" and static.manifest["modality"] == "image"
    assert items.redrawn(0)[3].tolist() != items[3].tolist()


def test_shrunk_pixels_are_averages_of_squares(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", noise(3))
    made, corpus = prepared(tmp_path, tmp_path / "a.npz", shrink=2, **WHOLE)
    naive = [
        [[round(float(p[i : i + 2, j : j + 2].mean())) for j in (0, 2)] for i in (0, 2)]
        for p in noise(3)
    ]
    assert made.codec.shape == (2, 2, 1) and pictures(corpus, "train") == ids_of(np.array(naive))


def test_fewer_levels_take_the_nearest_and_are_counted(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([[[0, 100], [140, 255]]], np.uint8))
    made, corpus = prepared(tmp_path, tmp_path / "a.npz", levels=3, **WHOLE)
    assert pictures(corpus, "train") == [[4, 5, 5, 6]] and made.report["pixels changed"] == 2


def test_other_sizes_are_resized_where_that_is_asked(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png", np.full((4, 4), 90, np.uint8))
    write_png(tmp_path / "in" / "b.png", np.full((8, 6), 70, np.uint8))
    made, corpus = prepared(tmp_path, tmp_path / "in", height=4, width=4, **WHOLE)
    assert pictures(corpus, "train") == [[94] * 16, [74] * 16] and made.report["resized"] == 1


def test_grey_and_colour_are_taken_as_asked(tmp_path: Path) -> None:
    grey, colour = noise(1)[0], np.dstack([noise(3, seed=s)[s] for s in range(3)])
    write_png(tmp_path / "in" / "a.png", grey)
    write_png(tmp_path / "in" / "b.png", colour)
    _, corpus = prepared(tmp_path, tmp_path / "in", channels=3, **WHOLE)
    assert pictures(corpus, "train") == ids_of(np.stack([np.dstack([grey] * 3), colour]))


def test_a_limit_is_a_sample_of_every_label(tmp_path: Path) -> None:
    made, corpus = prepared(tmp_path, folder_of(tmp_path / "in", 30), limit=20, **WHOLE)
    labels = [corpus.split("train").label(row) for row in range(20)]
    assert made.report["splits"]["train"] == {"kept": 20, "dropped": {"over the limit": 40}}
    assert 4 < sum(label == 1 for label in labels) < 16


def test_the_same_command_gives_the_same_bytes_and_a_second_time_nothing(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    made = [prepare_images([source], tmp_path / n, binarize="static") for n in ("a", "b")]
    sums = [
        {p.relative_to(m.folder): hashlib.sha256(p.read_bytes()).digest() for p in files}
        for m in made
        if (files := [p for p in sorted(m.folder.rglob("*")) if p.is_file()])
    ]
    assert sums[0] == sums[1]
    again = prepare_images([source], tmp_path / "a", binarize="static")
    assert str(again) == str(made[0]) and sorted(p.name for p in tmp_path.iterdir()) == [
        "a",
        "b",
        "in",
    ]
    with pytest.raises(Refused, match=r"in use.*--out NEW"):
        prepare_images([source], tmp_path / "a", binarize="none")


# --- what cannot be used ------------------------------------------------------------------------


def test_unusable_pictures_are_dropped_counted_and_named(tmp_path: Path) -> None:
    home = folder_of(tmp_path / "in")
    whole = (home / "cat" / "00.png").read_bytes()
    (home / "cat" / "cut.png").write_bytes(whole[:-30])
    (home / "dog" / "text.png").write_text("hello")
    (home / "dog" / "notes.doc").write_text("hello")
    (home / "README.md").write_text("about")
    write_png(home / "dog" / "clear.png", np.zeros((4, 4, 4), np.uint8))
    made, _ = prepared(tmp_path, home, **WHOLE)
    dropped = made.report["splits"]["train"]["dropped"]
    assert sum(dropped.values()) == 4 and made.report["splits"]["train"]["kept"] == 12
    assert dropped["no picture"] == 2 and dropped["cannot be read"] == 1
    listed = (made.folder / "dropped.tsv").read_text()
    assert all(name in listed for name in ("cut.png", "text.png", "notes.doc", "clear.png"))
    with pytest.raises(Refused, match=r"cut\.png: cannot be read.*--strict"):
        prepare_images([home], tmp_path / "strict", strict=True)


def broken_idx(path: Path) -> Path:
    whole = write_idx(path / "train-images-idx3-ubyte", noise(3))
    whole.write_bytes(whole.read_bytes()[:-5])
    return whole


def broken_gz(path: Path) -> Path:
    whole = write_idx(path / "a-idx3-ubyte.gz", noise(3))
    whole.write_bytes(whole.read_bytes()[:-20])
    return whole


def no_idx(path: Path) -> Path:
    path.mkdir()
    (path / "a-idx3-ubyte").write_bytes(b"GIF8")
    return path


def too_few_labels(path: Path) -> Path:
    write_idx(path / "train-labels-idx1-ubyte", np.arange(4))
    return write_idx(path / "train-images-idx3-ubyte", noise(5))


def npz(**arrays: Any) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.mkdir()
        np.savez(path / "a.npz", **arrays)
        return path / "a.npz"

    return write


def broken_npz(path: Path) -> Path:
    whole = npz(x=noise(3))(path)
    whole.write_bytes(whole.read_bytes()[:100])
    return whole


def mixed(path: Path) -> Path:
    write_png(path / "a.png", noise(1)[0])
    write_png(path / "b.png", noise(1, 5)[0])
    return path


def coloured(path: Path) -> Path:
    return write_png(path / "a.png", np.dstack([noise(3)[s] for s in range(3)]))


def transparent(path: Path) -> Path:
    return write_png(path / "a.png", np.full((2, 2, 4), 9, np.uint8))


def half_labelled(path: Path) -> Path:
    write_png(folder_of(path) / "loose.png", noise(1, seed=7)[0])
    return path


def empty(path: Path) -> Path:
    path.mkdir()
    return path


def text(path: Path) -> Path:
    path.mkdir()
    (path / "a.txt").write_text("hello")
    return path / "a.txt"


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (broken_idx, {}, r"idx3-ubyte is damaged: it has 59 bytes.* 64\. Fetch it again"),
        (broken_gz, {}, r"\.gz is damaged.*Fetch it again"),
        (no_idx, {}, r"no idx file: it begins with 47 49 46 38"),
        (too_few_labels, {}, r"labels of shape \(4,\).* for 5 pictures.*--no-labels"),
        (broken_npz, {}, r"\.npz is no \.npz, or damaged.*Make it again"),
        (npz(x=np.full((2, 3, 3), 300)), {}, r"a\.npz/x: pixels from 300 to 300.*0 to 255"),
        (npz(x=np.full((2, 3, 3), 7.0)), {}, r"floats they are 0 to 1.*Rescale"),
        (npz(x=np.eye(3, dtype=int)[None]), {}, r"0 and 1.*nearly black.*floats, or bool"),
        (npz(x=np.zeros((5, 784))), {}, r"shape \(5, 784\).*\(N, H, W\).*Reshape"),
        (npz(x=np.zeros((0, 3, 3))), {}, r"x is empty"),
        (npz(x=noise(3), y=np.eye(3)), {}, r"labels of shape \(3, 3\).*--no-labels"),
        (npz(y=np.arange(3)), {}, r"no array of pictures; it has y\."),
        (mixed, {}, r"b\.png is 5 x 5 grey.*a\.png is 4 x 4 grey.*--height 4 --width 4"),
        (coloured, {"channels": 1}, r"a\.png is in colour.*--channels 3"),
        (half_labelled, {}, r"1 of 13 pictures have no label.*loose\.png.*--no-labels"),
        (folder_of, {"shrink": 3}, r"shrink = 3: 4 x 4"),
        (folder_of, {"height": 4}, r"height and width: give both"),
        (folder_of, {"binarize": "half"}, r"binarize = 'half': one of none, static, dynamic"),
        (folder_of, {"binarize": "static", "levels": 4}, r"binarised pixels have 2"),
        (folder_of, {"valid_fraction": 0.6, "test_fraction": 0.4}, r"nothing to train on"),
        (folder_of, {"valid_fraction": 12}, r"leave none to train on"),
        (mixed, {"labels": True, "height": 4, "width": 4}, r"none of 2 pictures has one.*--no-la"),
        (empty, {}, r"holds no pictures.*Name the folder"),
        (npz(x=np.zeros((9, 3, 3))), {}, r"9 pictures to train on, and all are alike.*--valid"),
        (npz(x=np.full((2, 3, 3), np.nan)), {}, r"a\.npz/x: some pixels are NaN"),
        (transparent, {}, r"a\.png \(transparent in places\)"),
        (text, {}, r"none of 1 pictures can be used: .*a\.txt \(no picture\)"),
        (lambda path: path / "gone", {}, r"no such file or folder: .*gone"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], Path], options: Mapping[str, Any], said: str
) -> None:
    source = make(tmp_path / "in")
    with pytest.raises(Refused, match=said) as refused:
        prepare_images([source], tmp_path / "out", **options)
    assert "\n" not in str(refused.value)
    assert not [path for path in tmp_path.iterdir() if path.name != "in"]


# --- the commands -------------------------------------------------------------------------------


def test_the_command_prepares_what_the_function_does(tmp_path: Path) -> None:
    folder_of(tmp_path / "in")
    words = ["--binarize", "dynamic", "--shrink", "2", "--no-labels", "--valid-fraction", "3"]
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["prepare", "images", str(tmp_path / "in"), "--out", str(out), *words]
    )
    assert done.exit_code == 0, done.output
    corpus = open_corpus(out)
    assert isinstance(corpus.codec, PixelCodec) and corpus.codec.shape == (2, 2, 1)
    assert corpus.labels is None and len(corpus.split("valid")) == 3


def test_digits_are_a_recipe_and_beside_another_a_corpus(tmp_path: Path) -> None:
    own = str(tmp_path / "own.toml")
    assert sort_out([own, "digits"]) == (own, "digits")
    assert sort_out(["text", str(folder_of(tmp_path / "in"))]) == ("text", str(tmp_path / "in"))
    assert fitting_recipe("digits") == fitting_recipe(str(tmp_path / "in")) == "digits"
    prepare_images(["digits"], tmp_path / "out", limit=50)
    assert fitting_recipe(str(tmp_path / "out")) == "digits"
    assert holds_pictures(tmp_path / "in") and not holds_pictures(tmp_path / "out")


def test_pictures_are_refused_by_a_recipe_of_sentences(tmp_path: Path) -> None:
    for source in ("digits", str(folder_of(tmp_path / "in"))):
        with pytest.raises(Refused, match=r"holds pictures.*'text' reads sentences.*train digits"):
            make_corpus(source, read("text"), tmp_path / "run", "cpu")


def test_a_recipe_that_names_the_digits_prepares_them_in_its_run(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    data = (
        '[data]\ncodec = "pixels"\nsource = "digits"\nbinarize = "dynamic"\nshrink = 2\nlimit = 40'
    )
    own.write_text(
        f'name = "own"\n{data}\n[encoder]\nembed = 4\nhidden = 4\n[decoder]\nhidden = 4'
    )
    corpus = make_corpus(None, read(own), tmp_path / "run", "cpu")
    assert (
        corpus.codec.extent == Extent(6, 16, (4, 4, 1))
        and corpus.folder.parent == tmp_path / "run"
    )
    assert isinstance(corpus.split("valid"), Binarized)
