"""Laws of the prepared corpus: what is written is read, by number, lazily, or refused."""

import json
import multiprocessing
import pickle
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvae.codecs import WordCodec
from seqvae.corpus import Block, Packed, Replacing, Split, open_corpus, write_block, write_manifest
from seqvae.data import Items
from seqvae.errors import Refused

Sentences = Sequence[Sequence[int]]
DESCRIPTORS = Path("/proc/self/fd")


def rows(sentences: Sentences, labels: Sequence[int] | None = None) -> Packed:
    ids = np.array([token for ids in sentences for token in ids], np.int32)
    lengths = np.array([len(ids) for ids in sentences], np.int32)
    return Packed(ids, lengths, None if labels is None else np.array(labels, np.int32))


def split_of(folder: Path, blocks: Sequence[Sequence[Packed]]) -> Split:
    written = [
        write_block(folder / f"{number:05d}.arrow", parts) for number, parts in enumerate(blocks)
    ]
    return Split(folder, written)


def corpus_folder(folder: Path, labelled: bool = True) -> Path:
    WordCodec(["a", "b", "c"]).save(folder / "codec")
    labels = [[0, 1], [1]] if labelled else [None, None]
    train = [
        write_block(folder / "train" / "00000.arrow", [rows([[4, 3], [5, 6, 3]], labels[0])]),
        write_block(folder / "train" / "00001.arrow", [rows([[6, 3]], labels[1])]),
    ]
    valid = [write_block(folder / "valid" / "00000.arrow", [rows([[5, 3]], labels[1])])]
    splits: dict[str, list[Block]] = {"train": train, "valid": valid, "test": []}
    names = ["no", "yes"] if labelled else None
    write_manifest(folder, splits, {"kind": "word", "vocab": 7}, names, {"version": "0"})
    return folder


BLOCKS = st.lists(
    st.lists(
        st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5), max_size=6),
        min_size=1,
        max_size=3,
    ),
    max_size=3,
)


@given(blocks=BLOCKS)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_items_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[Sentences]]
) -> None:
    folder = tmp_path_factory.mktemp("split")
    split = split_of(folder, [[rows(part) for part in parts] for parts in blocks])
    expected = [ids for parts in blocks for part in parts for ids in part]
    assert len(split) == len(expected)
    assert [split[i].tolist() for i in range(len(split))] == expected
    assert split.lengths.tolist() == [len(ids) for ids in expected]


def test_items_are_views_of_the_map_and_number_from_both_ends(tmp_path: Path) -> None:
    split = split_of(tmp_path, [[rows([[4, 3], [5, 6, 3]])], [rows([[7, 3]])]])
    assert split[0].dtype == split.lengths.dtype == np.int32
    assert not split[0].flags.owndata and not split[0].flags.writeable
    assert split[-1].tolist() == [7, 3] and split.label(0) is None
    for index in (3, -4):
        with pytest.raises(IndexError, match="split of 3"):
            split[index]


def test_equal_parts_give_equal_bytes(tmp_path: Path) -> None:
    first = write_block(tmp_path / "a" / "x.arrow", [rows([[4, 3]], [1])])
    assert first == write_block(tmp_path / "b" / "x.arrow", [rows([[4, 3]], [1])])
    assert first.rows == 1 and first.tokens == 2
    assert first.bytes == (tmp_path / "a" / "x.arrow").stat().st_size


def test_a_corpus_knows_its_codec_labels_and_splits(tmp_path: Path) -> None:
    corpus = open_corpus(corpus_folder(tmp_path))
    train = corpus.split("train")
    assert corpus.labels == ["no", "yes"]
    assert [train.label(i) for i in range(3)] == [0, 1, 1]
    assert corpus.codec.decode(train[1]) == "b c"
    assert corpus.manifest["splits"]["train"]["mean_length"] == pytest.approx(7 / 3)
    assert list(corpus.sentences("train")) == ["a", "b c", "c"]
    with pytest.raises(Refused, match=r"no split 'test'; it has train, valid\..*--test-fraction"):
        corpus.split("test")
    with pytest.raises(Refused, match=r"no split 'vlaid'.*Name one of these"):
        corpus.sentences("vlaid")


def test_datasets_opens_the_same_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = corpus_folder(tmp_path)
    table = datasets.Dataset.from_file(str(folder / "train" / "00000.arrow"))
    assert table[:] == {"ids": [[4, 3], [5, 6, 3]], "label": [0, 1]}


def test_the_checksum_is_of_the_data_alone(tmp_path: Path) -> None:
    one = open_corpus(corpus_folder(tmp_path / "one"))
    two = open_corpus(corpus_folder(tmp_path / "two"))
    other = open_corpus(corpus_folder(tmp_path / "other", labelled=False))
    assert one.checksum == two.checksum != other.checksum


def items_of(split: Items) -> list[list[int]]:
    return [split[i].tolist() for i in range(len(split))]


def send_items(split: Items, pipe: Connection) -> None:
    pipe.send(items_of(split))


def test_a_split_may_be_sent_to_workers(tmp_path: Path) -> None:
    split = open_corpus(corpus_folder(tmp_path)).split("train")
    assert items_of(pickle.loads(pickle.dumps(split))) == items_of(split)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    worker = context.Process(target=send_items, args=(split, there))
    worker.start()
    assert here.recv() == items_of(split)
    worker.join()
    here.close()
    there.close()


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="this system does not list descriptors")
def test_many_files_take_no_file_descriptors(tmp_path: Path) -> None:
    before = len(list(DESCRIPTORS.iterdir()))
    split = split_of(tmp_path, [[rows([[4, 3]])]] * 50)
    assert len(split) == 50 and len(list(DESCRIPTORS.iterdir())) == before


def test_a_failed_write_leaves_the_file_before_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(OSError, match="No space"), Replacing(path) as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_folders_that_are_no_corpus_are_refused_with_the_cure(tmp_path: Path) -> None:
    for folder, why in ((tmp_path / "none", "does not exist"), (tmp_path, "no prepared corpus")):
        with pytest.raises(Refused, match=rf"{why}.*seqvae prepare text FILE --out {folder}"):
            open_corpus(folder)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(Refused, match="not prepared to its end"):
        open_corpus(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', "null", "\0"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (corpus_folder(tmp_path) / "manifest.json").write_text(text)
    with pytest.raises(Refused, match=r"manifest\.json is damaged"):
        open_corpus(tmp_path)


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    path = corpus_folder(tmp_path) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(Refused, match="format 2"):
        open_corpus(tmp_path)
    manifest["splits"]["train"]["rows"] = 7
    path.write_text(json.dumps(manifest))
    with pytest.raises(Refused, match="do not add up"):
        open_corpus(tmp_path)


def test_missing_and_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = corpus_folder(tmp_path) / "train" / "00001.arrow"
    data = path.read_bytes()
    for damaged in (data[:-20], data[:30], b"", data + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(Refused, match=r"00001\.arrow.*Prepare the corpus again"):
            open_corpus(tmp_path).split("train")
    path.unlink()
    with pytest.raises(Refused, match=r"00001\.arrow"):
        open_corpus(tmp_path).split("train")


def test_a_missing_codec_is_refused(tmp_path: Path) -> None:
    (corpus_folder(tmp_path) / "codec" / "codec.json").unlink()
    with pytest.raises(Refused, match="no codec"):
        open_corpus(tmp_path)
