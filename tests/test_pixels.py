"""Laws of pictures as tokens: what is drawn, what comes back, and what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvae.binarized import Binarized, drawn
from seqvae.codecs import PixelCodec, load_codec
from seqvae.codecs.codec import Extent
from seqvae.codecs.pixels import intensities
from seqvae.corpus import Packed, Split, open_corpus, write_block, write_manifest
from seqvae.data import InMemory, Order, batches, collate, drawn_anew
from seqvae.errors import Refused
from seqvae.tokens import SPECIAL

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3]))


@given(SHAPES, st.integers(2, 256), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_levels_come_back_and_any_ids_are_a_picture(
    shape: tuple[int, int, int], levels: int, seed: int
) -> None:
    height, width, channels = shape
    codec = PixelCodec(height, width, channels, levels)
    drawn_levels = np.random.default_rng(seed).integers(levels, size=codec.length)
    ids = (SPECIAL + drawn_levels).tolist()
    again = codec.encode(codec.decode(ids))
    assert again.ids == ids and not again.loss
    assert codec.decode([-1, 10**30, 0, *ids]).shape == codec.decode([]).shape == shape
    assert codec.extent == Extent(SPECIAL + levels, codec.length, shape)


def test_ids_run_along_rows_columns_and_channels() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert PixelCodec(2, 2, 3).encode(picture).ids == list(range(4, 16))


def test_of_two_levels_white_begins_at_128_and_what_changed_is_told() -> None:
    codec = PixelCodec(1, 4, binarize="dynamic")
    ids, loss = codec.encode(np.array([[0, 127, 128, 255]]))
    assert ids == [4, 4, 5, 5] and loss == {"pixels changed": 2} and codec.vocab == 6
    assert codec.decode(ids).ravel().tolist() == [0, 0, 255, 255]


def test_a_codec_is_saved_whole_and_a_damaged_one_refused(tmp_path: Path) -> None:
    made = PixelCodec(3, 5, 3, levels=7, seed=9)
    made.save(tmp_path)
    read = load_codec(tmp_path)
    assert isinstance(read, PixelCodec) and read.settings() == made.settings()
    header = tmp_path / "codec.json"
    header.write_text(header.read_text().replace('"levels": 7', '"levels": 8'))
    with pytest.raises(Refused, match=r"damaged.*12 ids.*says 11"):
        load_codec(tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 300]]), r"pixels from 0 to 300.*integers they are 0 to 255"),
        (np.array([[-1, 3]]), r"pixels from -1 to 3"),
        (np.array([[0.0, 255.0]]), r"pixels from 0 to 255.*floats they are 0 to 1.*Rescale"),
        (np.array([[np.nan, 0.5]]), r"some pixels are NaN"),
        (np.zeros((0, 3)), r"no picture"),
        ([[1, 2], [3]], r"rows differ in length"),
        ("a.png", r"no picture"),
    ],
)
def test_what_is_no_picture_is_refused(values: object, said: str) -> None:
    with pytest.raises(Refused, match=said):
        intensities(values)


def test_floats_and_truth_values_are_taken_as_brightness() -> None:
    assert intensities([[0.0, 0.25, 1.0]]).tolist() == [[0, 64, 255]]
    assert intensities([[True, False]]).tolist() == [[255, 0]]


def test_another_shape_and_impossible_codecs_are_refused() -> None:
    with pytest.raises(Refused, match=r"2 x 2 in colour; this codec holds 2 x 2 grey"):
        PixelCodec(2, 2).encode(np.zeros((2, 2, 3), np.uint8))
    for wrong in ({"height": 0}, {"channels": 2}, {"levels": 1}, {"binarize": "some"}):
        with pytest.raises(Refused):
            PixelCodec(**{"height": 2, "width": 2, **wrong})  # type: ignore[arg-type]


# --- drawn pixels -------------------------------------------------------------------------------


def test_a_pixel_is_white_as_often_as_it_is_bright() -> None:
    levels = np.repeat([0, 51, 204, 255], 20_000)
    white = (drawn(levels, [3]) - SPECIAL).reshape(4, -1).mean(axis=1)
    assert white[0] == 0 and white[3] == 1
    assert np.abs(white[1:3] - [0.2, 0.8]).max() < 0.012  # four standard errors


def grey(rows: int = 6) -> InMemory:
    return InMemory([[128] * 40] * rows, labels=list(range(rows)))


def test_one_row_has_one_fixed_drawing_and_another_at_every_step() -> None:
    items = Binarized(grey(), [0, 1])
    fixed = items[2].tolist()
    assert items[2].tolist() == fixed == items[-4].tolist() != items[3].tolist()
    assert fixed != Binarized(grey(), [0, 2])[2].tolist()  # of another split
    steps = [items.redrawn(step)[2].tolist() for step in range(3)]
    assert len({*map(tuple, steps), tuple(fixed)}) == 4
    assert items.redrawn(1, seed=5)[2].tolist() != steps[1] == items.redrawn(1)[2].tolist()
    assert items.label(2) == 2 and items.lengths.tolist() == [40] * 6


def test_training_draws_anew_and_evaluation_does_not() -> None:
    items = Binarized(grey(), [0, 0])
    order = Order(items.lengths, 6, seed=1)
    stream = batches(items, order)
    first, second = (next(stream) for _ in range(2))
    resumed = next(batches(items, order, start=1))
    rows = first.item.tolist()
    again = collate(items, rows)
    assert first.x.shape == (6, 40) and set(first.x.ravel().tolist()) == {4, 5}
    assert (first.x != again.x).any() and (again.x == collate(items, rows).x).all()
    in_order = [batch.x[batch.item.argsort()] for batch in (first, second)]
    assert (in_order[0] != in_order[1]).any() and (resumed.x == second.x).all()
    other = next(batches(items, Order(items.lengths, 6, seed=2)))
    assert (other.x[other.item.argsort()] != in_order[0]).any()  # of another seed
    extra = [next(iter(drawn_anew(items, order, step, 1))).x for step in (0, 0, 1)]
    assert (extra[0] == extra[1]).all() and (extra[0] != extra[2]).any()


def test_small_ids_take_their_bytes_and_come_back(tmp_path: Path) -> None:
    for kind, most in ((np.uint8, 255), (np.uint16, 259)):
        ids = np.array([4, most, 5, 6], kind)
        folder = tmp_path / kind.__name__
        block = write_block(folder / "0.arrow", [Packed(ids, np.array([2, 2]))])
        split = Split(folder, [block])
        assert split[0].tolist() == [4, most] and split[1].dtype == np.int32


def test_a_dynamic_corpus_is_opened_as_its_drawings(tmp_path: Path) -> None:
    codec = PixelCodec(2, 2, binarize="dynamic", seed=7)
    codec.save(tmp_path / "codec")
    levels = np.array([0, 255, 128, 128, 9, 99, 199, 255], np.uint8)
    packed = Packed(levels, np.array([4, 4]), np.array([1, 0]))
    block = write_block(tmp_path / "valid" / "0.arrow", [packed])
    write_manifest(tmp_path, {"valid": [block]}, {"vocab": codec.vocab}, ["a", "b"], {})
    split = open_corpus(tmp_path).split("valid")
    assert isinstance(split, Binarized)
    copy = pickle.loads(pickle.dumps(split.redrawn(4, 2)))
    for row in range(2):
        expected = drawn(levels[4 * row : 4 * row + 4], [7, 1, row])
        assert split[row].tolist() == expected.tolist()
        assert copy[row].tolist() == split.redrawn(4, 2)[row].tolist()
    assert [split.label(row) for row in range(2)] == [1, 0]
