"""Laws of `prepare_text`: nothing lost in silence, the same bytes however it was run."""

import csv
import gzip
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import sources as source_module
from data_prep.lines import line_hash
from data_prep.plan import unchanged
from data_prep.scan import exact_thresholds
from data_prep.text import Prepared, prepare_text
from seqvae.codecs import WordCodec
from seqvae.corpus import Corpus, open_corpus
from seqvae.errors import Refused

SHARED = Path(__file__).parents[2] / "shared" / "data" / "text"
ROOT = Path(__file__).parents[1]
VOCABULARY = "the a cat dog bird sat ran on under mat log tree red big old and not very"
WORDS = VOCABULARY.split()
WHOLE: dict[str, Any] = {"valid_fraction": 0, "test_fraction": 0}  # everything is train


def sentences(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(2, 9))) for _ in range(n)]


def text_file(path: Path, lines: Sequence[str | bytes]) -> Path:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def corpus_of(sources: Sequence[str | Path], out: Path, **options: Any) -> Corpus:
    return open_corpus(prepare_text(sources, out, **options).folder)


def texts(corpus: Corpus, name: str) -> list[str]:
    return list(corpus.sentences(name))


def arrow_bytes(folder: Path) -> dict[str, bytes]:
    names = [*folder.rglob("*.arrow"), *folder.glob("codec/*"), folder / "dropped.tsv"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def count(prepared: Prepared, reason: str) -> int:
    return sum(counts.dropped[reason] for counts in prepared.splits.values())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    bad: list[str | bytes] = ["", b"\xff\xfe bad", "a\0b", "a \u2581 b", "x " * 300, " \t "]
    lines = [*sentences(600), *bad]
    random.Random(1).shuffle(lines)
    return text_file(tmp_path / "source.txt", lines)


# What is kept and what is dropped


def test_every_line_is_kept_or_dropped_with_its_reason(source: Path, tmp_path: Path) -> None:
    prepared = prepare_text([source], tmp_path / "out", max_tokens=100)
    kept = sum(counts.kept for counts in prepared.splits.values())
    dropped: Counter[str] = sum((c.dropped for c in prepared.splits.values()), Counter())
    assert dropped == {"blank": 2, "invalid UTF-8": 1, "NUL byte": 1, "U+2581": 1, "too long": 1}
    assert kept + dropped.total() == 606
    corpus = open_corpus(prepared.folder)
    rows = sum(len(corpus.split(name)) for name in ("train", "valid", "test"))
    assert rows == kept
    assert corpus.manifest["dropped"]["train"]["blank"] == 2


def test_drops_are_listed_with_file_and_line(tmp_path: Path) -> None:
    source = text_file(tmp_path / "a.txt", ["one two", "", b"\xff", "three four", "five six"])
    prepare_text([source], tmp_path / "out", codec="word")
    listed = (tmp_path / "out" / "dropped.tsv").read_text().splitlines()
    assert [line.split("\t") for line in listed] == [
        ["file", "line", "reason"],
        [str(source), "2", "blank"],
        [str(source), "3", "invalid UTF-8"],
    ]


def test_kept_sentences_come_back_in_order_without_outer_spaces(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes("\ufeffone cat\r\n  two  dogs \r\nthree é\nfour".encode())
    corpus = corpus_of([source], tmp_path / "out", **WHOLE)
    assert texts(corpus, "train") == ["one cat", "two  dogs", "three é", "four"]


def test_the_table_adds_up_and_prints(source: Path, tmp_path: Path) -> None:
    prepared = prepare_text([source], tmp_path / "out", codec="word")
    header, *rows = prepared.table()
    assert header == ("split", "lines", "kept", "mean length", "dropped", "reasons")
    assert all(int(row[1]) == int(row[2]) + int(row[4]) for row in rows)
    assert "invalid UTF-8 1" in str(prepared) and "finished" in str(prepared)


def test_a_megabyte_in_one_line_is_one_dropped_line(tmp_path: Path) -> None:
    for name, long in (("words", "word " * 200_000), ("none", "x" * 1_000_000)):
        source = text_file(tmp_path / f"{name}.txt", [*sentences(100), long])
        assert count(prepare_text([source], tmp_path / name), "too long") == 1


def test_a_line_that_will_be_dropped_for_its_length_teaches_the_codec_nothing(
    tmp_path: Path,
) -> None:
    for kind in ("bpe", "word"):
        learnt = []
        for name, lines in (("plain", []), ("long", ["zq " * 300_000])):
            source = text_file(tmp_path / f"{name}.txt", [*sentences(100), *lines])
            prepare_text(
                [source], tmp_path / kind / name, codec=kind, valid_fraction=0.05, test_fraction=0
            )
            learnt.append(open_corpus(tmp_path / kind / name).codec.vocab)
        assert learnt[0] == learnt[1]
    only = text_file(tmp_path / "only.txt", ["zq " * 300_000])
    with pytest.raises(Refused, match=r"no usable line.*too long 1.*allow more: --max-tokens"):
        prepare_text([only], tmp_path / "only")


def test_short_sentences_are_dropped_on_request(tmp_path: Path) -> None:
    source = text_file(tmp_path / "a.txt", ["one", "one two", "one two three", "four five six"])
    prepared = prepare_text([source], tmp_path / "out", codec="word", min_tokens=3)
    assert count(prepared, "too short") == 1


def test_strict_refuses_the_first_dropped_line_but_for_blank_ones(tmp_path: Path) -> None:
    source = text_file(tmp_path / "a.txt", ["one two", "", "three four", b"\xff", "five"])
    with pytest.raises(Refused, match=r"a\.txt, line 4: invalid UTF-8"):
        prepare_text([source], tmp_path / "out", codec="word", strict=True)


# Splits


def test_equal_lines_never_stand_in_two_splits(tmp_path: Path) -> None:
    lines = sentences(400) * 3
    source = text_file(tmp_path / "a.txt", [*lines, *(f" {line}  " for line in lines[:50])])
    corpus = corpus_of([source], tmp_path / "out", codec="word", valid_fraction=0.2)
    sets = [set(texts(corpus, name)) for name in ("train", "valid", "test")]
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(set(lines))


@pytest.mark.parametrize("n", [2, 3, 19, 20, 1000])
def test_small_corpora_are_split_exactly(tmp_path: Path, n: int) -> None:
    source = text_file(tmp_path / "a.txt", [f"word{i} and more" for i in range(n)])
    prepared = prepare_text([source], tmp_path / "out", codec="word")
    kept = {name: counts.kept for name, counts in prepared.splits.items()}
    valid, test = max(1, n // 20), n // 20
    expected = {"train": n - valid - test, "valid": valid, "test": test}
    assert kept == {name: number for name, number in expected.items() if number}


@given(
    keys=st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda k: len(set(k)) > 1),
    first=st.floats(0, 0.6),
    second=st.floats(0, 0.3),
)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_thresholds_leave_something_to_train_on(
    keys: list[int], first: float, second: float
) -> None:
    valid_below, test_below = exact_thresholds(sorted(keys), first, second)
    valid = sum(key < valid_below for key in keys)
    test = sum(valid_below <= key < test_below for key in keys)
    assert valid_below <= test_below and valid + test < len(keys)
    assert (valid > 0) == (first > 0) and valid + test <= max(1, len(keys) * (first + second)) + (
        keys.count(min(keys)) if first else 0
    )


def test_splits_of_large_corpora_are_as_large_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_prep.scan.EXACT_LINES", 100)
    source = text_file(tmp_path / "a.txt", [f"w{i % 7} line {i}" for i in range(4000)])
    prepared = prepare_text([source], tmp_path / "out", valid_fraction=0.25, max_tokens=999)
    assert prepared.splits["valid"].kept == pytest.approx(1000, abs=4 * 28)
    assert prepared.splits["test"].kept == pytest.approx(200, abs=4 * 14)


def test_the_split_of_a_line_is_literal_and_moves_with_the_seed() -> None:
    assert line_hash("a cat", 0) == line_hash(" a  cat", 0) == 0xD951A9F0911395DA
    assert line_hash("a cat", 1) != 0xD951A9F0911395DA


def test_a_line_of_given_splits_stands_in_one_of_them_unless_kept(tmp_path: Path) -> None:
    train = text_file(tmp_path / "train.txt", ["a b", "c d", "e  f", "a b", "g h", "k l"])
    valid = text_file(tmp_path / "valid.txt", ["a b", "i j", "k  l", "e f"])
    test = text_file(tmp_path / "test.txt", ["e f", "a b", "a b"])
    files: dict[str, Any] = {"valid": valid, "test": test, "codec": "word"}
    prepared = prepare_text([train], tmp_path / "out", **files)
    corpus = open_corpus(tmp_path / "out")
    assert texts(corpus, "train") == ["c d", "g h"]
    assert texts(corpus, "valid") == ["\u2047 \u2047", "\u2047 \u2047"]  # i j, k l
    assert texts(corpus, "test") == ["\u2047 \u2047"] * 3
    assert prepared.splits["train"].dropped == {"duplicate of valid/test": 4}
    assert prepared.splits["valid"].dropped == {"duplicate of test": 2}
    assert f"{valid}\t1\tduplicate of test" in (tmp_path / "out" / "dropped.tsv").read_text()
    kept = corpus_of([train], tmp_path / "kept", keep_duplicates=True, **files)
    assert [len(kept.split(name)) for name in ("train", "valid", "test")] == [6, 4, 3]


def test_the_codec_learns_from_train_alone(tmp_path: Path) -> None:
    train = text_file(tmp_path / "train.txt", ["a b", "c d", "only-valid"])
    valid = text_file(tmp_path / "valid.txt", ["only-valid", "x y"])
    codec = corpus_of([train], tmp_path / "out", valid=valid, codec="word").codec
    assert isinstance(codec, WordCodec) and codec.words == ["a", "b", "c", "d"]
    source = text_file(tmp_path / "all.txt", [f"word{i}" for i in range(100)])
    corpus = corpus_of([source], tmp_path / "hash", codec="word")
    assert isinstance(corpus.codec, WordCodec)
    assert sorted(corpus.codec.words) == sorted(texts(corpus, "train"))


def test_a_codec_may_be_reused(source: Path, tmp_path: Path) -> None:
    first = corpus_of([source], tmp_path / "first")
    for number, folder in enumerate((tmp_path / "first", tmp_path / "first" / "codec")):
        again = corpus_of([source], tmp_path / f"again{number}", codec=folder)
        assert again.manifest["codec"] == first.manifest["codec"]
    with pytest.raises(Refused, match="has its own"):
        prepare_text([source], tmp_path / "x", codec=tmp_path / "first", vocab=500)
    with pytest.raises(Refused, match=r"neither one of bpe.*Did you mean 'word'\?"):
        prepare_text([source], tmp_path / "x", codec="wrod")


# Formats


def rows_of(path: Path) -> list[dict[str, str]]:
    made = [{"id": str(i), "body": line, "y": "NA"} for i, line in enumerate(sentences(40))]
    made[3]["y"] = "12"
    made[4]["body"] = 'with "quotes", commas,\nand a new line'
    return made


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "body", "y"])
        writer.writeheader()
        writer.writerows(rows)


def write_rows(path: Path) -> Path:
    rows = rows_of(path)
    if path.name.endswith(".csv"):
        write_csv(path, rows)
    elif path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl", "a.json", "a.jsonl.gz"])
def test_tables_of_every_kind_say_the_same(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name)
    out = tmp_path / "out"
    corpus = corpus_of([path], out, column="body", label="y", **WHOLE)
    assert texts(corpus, "train") == [row["body"] for row in rows_of(path)]
    assert corpus.labels == ["12", "NA"]
    split = corpus.split("train")
    assert [split.label(i) for i in range(5)] == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl"])
def test_a_column_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name)
    with pytest.raises(
        Refused, match=r"no column 'bodyy'; it has 'id', 'body', 'y'\. Did.*'body'"
    ):
        prepare_text([path], tmp_path / "out", column="bodyy")
    with pytest.raises(Refused, match="no column 'yy'"):
        prepare_text([path], tmp_path / "out", column="body", label="yy")
    with pytest.raises(Refused, match=r"Name one: --column NAME \(.*--set data\.column=NAME\)"):
        prepare_text([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tabs_separate_and_quotes_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"half a quote\tno\nplain words\tyes\n')
    corpus = corpus_of([path], tmp_path / "out", label="label", **WHOLE)
    assert texts(corpus, "train") == ['"half a quote', "plain words"]


def test_bad_rows_of_tables_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\none two,a\n\xff\xfe,a\nshort\nthree four,\n\nfive six,b\n")
    prepared = prepare_text([path], tmp_path / "out", label="label", codec="word")
    assert prepared.splits["train"].dropped == {
        "invalid UTF-8": 1,
        "short row": 1,
        "no label": 1,
        "blank": 1,
    }


def test_bad_json_lines_are_counted(tmp_path: Path) -> None:
    lines: list[str | bytes] = [
        *('{"text": "one two"}', '{"text": "three four"}', "{", "", "[1]", '{"text": 7}'),
        *('{"text": null}', '{"other": 1}', b'{"text": "\xff"}', '{"text": "\\ud800"}'),
        "[" * 100_000,
    ]
    path = text_file(tmp_path / "a.jsonl", lines)
    prepared = prepare_text([path], tmp_path / "out", codec="word")
    assert prepared.splits["train"].dropped == {
        "invalid JSON": 2,
        "blank": 1,
        "not an object": 1,
        "not a string": 1,
        "no text": 2,
        "invalid UTF-8": 1,
        "lone surrogate": 1,
    }


def test_a_json_array_is_refused_with_the_cure(tmp_path: Path) -> None:
    for text in ('[{"text": "a"}]', '[\n {"text": "a"}\n]'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(Refused, match="one object a line"):
            prepare_text([tmp_path / "a.json"], tmp_path / "out")


def test_labels_may_stand_beside_a_text_file(tmp_path: Path) -> None:
    path = text_file(tmp_path / "train.txt", ["good food", "bad food", "fine"])
    with pytest.raises(Refused, match=r"train\.labels\.tsv"):
        prepare_text([path], tmp_path / "out", label="name")
    (tmp_path / "train.labels.tsv").write_text(
        "line\tlabel\tname\n0\t1\tpos\n1\t0\tneg\n2\t1\tpos\n"
    )
    corpus = corpus_of([path], tmp_path / "out", label="name", **WHOLE)
    assert corpus.labels == ["neg", "pos"]
    assert [corpus.split("train").label(i) for i in range(3)] == [1, 0, 1]


def test_too_many_labels_are_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.scan.MOST_LABELS", 10)
    path = write_rows(tmp_path / "a.csv")
    with pytest.raises(Refused, match="more than 10 different values"):
        prepare_text([path], tmp_path / "out", column="body", label="id")


def test_folders_are_read_in_order_and_only_what_is_text(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    text_file(folder / "b.txt", ["third one", "fourth one"])
    text_file(folder / "a.txt", ["first one", "second one"])
    text_file(folder / "README.txt", ["not this"])
    (folder / "picture.png").write_bytes(b"\0\1")
    corpus = corpus_of([folder], tmp_path / "out", **WHOLE)
    assert texts(corpus, "train") == ["first one", "second one", "third one", "fourth one"]


def test_a_folder_that_is_split_already_is_refused_with_the_command(tmp_path: Path) -> None:
    for name in ("train", "test"):
        text_file(tmp_path / f"{name}.txt", ["a b"])
    with pytest.raises(Refused, match=r"--valid FILE --test .*test\.txt --out DIR"):
        prepare_text([tmp_path], tmp_path / "out")
    text_file(tmp_path / "valid.txt", ["a b"])
    with pytest.raises(Refused, match=r"--valid .*valid\.txt --test"):
        prepare_text([tmp_path], tmp_path / "out")


# Bad sources


def test_a_mistyped_path_is_refused_and_never_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(name: str, *rest: object) -> None:
        raise AssertionError(f"{name} was looked up")

    monkeypatch.setattr(source_module, "_hub", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("corpus.txt", "archive.jsonl.gz", "data/text.csv"):
        text_file(tmp_path / name, ["a"])
    for name, near in (
        ("corpsu.txt", "corpus.txt"),
        ("corpsu", "corpus.txt"),
        ("archiv", "archive.jsonl.gz"),
        ("date/text.csv", "data/text.csv"),
        ("date/none", "data"),
    ):
        for folder in (Path(), tmp_path):
            whole = f"no such file: {folder / name}. Did you mean {folder / near}?"
            with pytest.raises(Refused, match=f"^{re.escape(whole)}$"):
                prepare_text([folder / name], tmp_path / "out")
    for name in ("squad/plain", "imdb"):
        says = f"no such file: {name}. Nothing in the current folder has a name like"
        with pytest.raises(Refused, match=re.escape(says)):
            prepare_text([name], tmp_path / "out")
    with pytest.raises(Refused, match="no such file"):
        prepare_text([tmp_path / "corpus.txt"], tmp_path / "out", valid=tmp_path / "none.txt")
    with pytest.raises(Refused, match="no source"):
        prepare_text([], tmp_path / "out")


class Hub:
    """A data set of the Hub without the network: rows by split, at a revision."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: Mapping[str, Sequence[str]]) -> None:
        self.rows = rows
        self.revision = "abc"
        self.asked: list[tuple[object, ...]] = []
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: self)
        monkeypatch.setattr("datasets.load_dataset", self.load)
        monkeypatch.setattr("datasets.get_dataset_split_names", self.split_names)

    def dataset_info(self, path: str, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(sha=self.revision)

    def split_names(self, path: str, config: str | None, revision: str) -> list[str]:
        if config == "none":
            raise ValueError("BuilderConfig 'none' not found. Available: ['small']")
        return list(self.rows)

    def load(self, *names: object, split: str, **options: object) -> list[dict[str, object]]:
        self.asked.append((*names, split, options["revision"], options["streaming"]))
        return [{"sentence": text, "label": i % 2} for i, text in enumerate(self.rows[split])]


def numbered(word: str, n: int) -> list[str]:
    return [f"{word}{i} and {word}{i + 1}" for i in range(n)]


def test_an_unreachable_hub_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoNetwork:
        def dataset_info(self, *args: object, **options: object) -> None:
            raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi", NoNetwork)
    for name in ("hf://owner/name", "hf://owner/name#train"):
        with pytest.raises(Refused, match=r"reached on the Hub \(ConnectionError: no route\)"):
            prepare_text([name], tmp_path / "out")


def test_a_data_set_of_the_hub_is_streamed_at_one_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(monkeypatch, {"train": numbered("w", 30)})
    name = "hf://owner/name:small"
    prepared = prepare_text([name], tmp_path / "out", label="label", codec="word")
    corpus = open_corpus(tmp_path / "out")
    assert hub.asked == [("owner/name", "small", "train", "abc", True)], "little: fetched once"
    assert corpus.labels == ["0", "1"] and len(corpus.split("train")) == 28
    assert corpus.manifest["sources"][0]["revision"] == "abc"
    assert f"read from the Hub: {name}#train; no other split" in str(prepared)
    with pytest.raises(Refused, match=r"'none' not found.*OWNER/NAME:CONFIG#SPLIT"):
        prepare_text(["hf://owner/name:none"], tmp_path / "none")


def test_splits_of_the_hub_stay_what_they_are_unless_others_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("train", "validation", "test", "extra")
    Hub(monkeypatch, {name: numbered(name, 40) for name in names})
    name = "hf://owner/name"
    prepared = prepare_text([name], tmp_path / "own", codec="word")
    assert f"the Hub: {name}#train, {name}#validation, {name}#test; no other" in str(prepared)
    assert {split: counts.kept for split, counts in prepared.splits.items()} == {
        "train": 40,
        "valid": 40,
        "test": 40,
    }
    cut = prepare_text([name], tmp_path / "cut", codec="word", valid_fraction=0.1)
    assert cut.hub == (f"{name}#train",) and cut.splits["valid"].kept == 4
    one = prepare_text([f"{name}#extra"], tmp_path / "one", codec="word")
    assert one.hub == (f"{name}#extra",)
    two = prepare_text([name], tmp_path / "two", codec="word", valid=f"{name}#extra")
    assert two.hub == (f"{name}#train", f"{name}#extra") and two.splits["valid"].kept == 40


def test_a_hub_without_validation_has_it_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(monkeypatch, {"train": numbered("train", 40), "test": numbered("test", 10)})
    prepared = prepare_text(["hf://owner/name"], tmp_path / "out", codec="word")
    assert [prepared.splits[name].kept for name in ("train", "valid", "test")] == [38, 2, 10]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no usable line.*empty"),
        (["", "  "], "no usable line.*blank 2"),
        (["one line"], "only one distinct line"),
        (["one line", "one  line", ""], r"only one distinct line .*2 of it, blank 1"),
        ([b"\xff", "a\0"], "no usable line.*NUL byte 1, invalid UTF-8 1"),
    ],
)
def test_what_nobody_can_learn_from_is_refused_before_anything_is_written(
    tmp_path: Path, lines: list[str | bytes], why: str
) -> None:
    source = text_file(tmp_path / "a.txt", lines)
    with pytest.raises(Refused, match=why):
        prepare_text([source], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_the_corpus_does_not_allow_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"this corpus allows.*--vocab N .*--set data\.vocab=N"):
        prepare_text([source], tmp_path / "out", vocab=30_000)
    with pytest.raises(Refused, match="byte fallback takes 256 ids"):
        prepare_text([source], tmp_path / "out", vocab=100)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"max_tokens": 1}, "max_tokens = 1"),
        ({"min_tokens": 0}, "min_tokens = 0"),
        ({"valid_fraction": 0.7, "test_fraction": 0.3}, "nothing to train on"),
        ({"valid_fraction": -0.1}, "nothing to train on"),
        ({"shard": (2, 2)}, "shard 2/2"),
        ({"column": "text"}, "plain text"),
        ({"block": 0}, "block = 0"),
    ],
)
def test_options_without_sense_are_refused(
    source: Path, tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        prepare_text([source], tmp_path / "out", **options)


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(sentences(500)).encode())
    (tmp_path / "cut.txt.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.txt.gz").write_bytes(b"plain text")
    (tmp_path / "no.parquet").write_bytes(b"plain text")
    for name in ("cut.txt.gz", "no.txt.gz", "no.parquet"):
        with pytest.raises(Refused, match=f"{name} is damaged"):
            prepare_text([tmp_path / name], tmp_path / "out", column=None)
    (tmp_path / "a.txt").write_bytes("hello\n".encode("utf-16"))
    with pytest.raises(Refused, match=r"UTF-16\. Convert it: iconv"):
        prepare_text([tmp_path / "a.txt"], tmp_path / "out")


def test_nothing_left_after_encoding_is_refused_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    source = text_file(tmp_path / "a.txt", ["one two three", "four five six"])
    out = tmp_path / "out"
    says = r"nothing is left in train \(too long 1.*--max-tokens N .*data\.max_tokens=N"
    with pytest.raises(Refused, match=says):
        prepare_text([source], out, codec="char", max_tokens=3)
    assert not list(out.iterdir())
    assert prepare_text([source], out, codec="char", max_tokens=20).finished


def test_a_plan_of_another_version_is_refused(source: Path, tmp_path: Path) -> None:
    prepare_text([source], tmp_path / "out", codec="word")
    path = tmp_path / "out" / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    with pytest.raises(Refused, match=r"has format 1, not 2\. Delete"):
        prepare_text([source], tmp_path / "out", codec="word")


# Killed, shared, run again


def options(**more: Any) -> dict[str, Any]:
    return {"block": 100, "vocab": 330, **more}


def test_shards_and_one_run_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    whole = prepare_text([source], tmp_path / "whole", **options())
    for i in (2, 0, 1):
        part = prepare_text([source], tmp_path / "parts", shard=(i, 3), **options())
        assert part.finished == (i == 1)
    assert whole.blocks == 7
    assert arrow_bytes(tmp_path / "whole") == arrow_bytes(tmp_path / "parts")
    assert open_corpus(whole.folder).manifest == open_corpus(tmp_path / "parts").manifest


SHARD = """
import sys, time
from pathlib import Path
from data_prep.text import prepare_text
source, out, shard = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
out.with_name(f"ready-{shard}").touch()
while not out.with_name("go").exists():
    time.sleep(0.001)
prepare_text([source], out, shard=(shard, 4), block=100, vocab=330)
"""


def test_shards_may_begin_at_one_moment(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    begun = [
        subprocess.Popen([sys.executable, "-c", SHARD, source, out, str(i)]) for i in range(4)
    ]
    while len(list(tmp_path.glob("ready-*"))) < 4:
        assert all(each.poll() is None for each in begun)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [each.wait(60) for each in begun] == [0] * 4
    whole = prepare_text([source], tmp_path / "whole", **options())
    assert open_corpus(out).manifest == open_corpus(whole.folder).manifest
    assert {path.name for path in tmp_path.glob(".*")} == set(), "no claim is left"


def test_an_interrupted_run_is_carried_on_not_begun_anew(source: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int | None) -> None:
        if stage == "encode" and done == 300:
            raise KeyboardInterrupt

    prepare_text([source], tmp_path / "whole", **options())
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare_text([source], out, progress=interrupt, **options())
    with pytest.raises(Refused, match="not prepared to its end"):
        open_corpus(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.arrow")}
    stages: list[str] = []
    prepare_text([source], out, progress=lambda *report: stages.append(report[0]), **options())
    assert before and all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert set(stages) == {"encode"} and len(stages) == 5
    assert arrow_bytes(out) == arrow_bytes(tmp_path / "whole")


KILLED = """
import os, signal, sys
from data_prep.text import prepare_text

def kill(stage, done, total):
    if [stage, str(done)] == sys.argv[3:]:
        os.kill(os.getpid(), signal.SIGKILL)

prepare_text([sys.argv[1]], sys.argv[2], block=100, vocab=330, progress=kill)
"""


def test_a_killed_run_is_carried_on_to_the_same_bytes(source: Path, tmp_path: Path) -> None:
    prepare_text([source], tmp_path / "whole", **options())
    out = tmp_path / "out"
    for at in (("codec", "0"), ("encode", "200"), ("encode", "606")):
        arguments = [sys.executable, "-c", KILLED, str(source), str(out), *at]
        assert subprocess.run(arguments, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    prepare_text([source], out, **options())
    assert arrow_bytes(out) == arrow_bytes(tmp_path / "whole")


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """No file may grow beyond the limit: like a disk that is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk_leaves_no_half_file_and_is_carried_on(source: Path, tmp_path: Path) -> None:
    prepare_text([source], tmp_path / "whole", **options(block=600))
    out = tmp_path / "out"
    prepare_text([source], out, shard=(1, 2), **options(block=600))
    with file_size_limit(12_000), pytest.raises(OSError, match="too large"):
        prepare_text([source], out, **options(block=600))
    assert not (out / "train" / "00000.arrow").exists()
    assert not [path for path in out.rglob("*.part") if path.is_file()]
    prepare_text([source], out, **options(block=600))
    assert arrow_bytes(out) == arrow_bytes(tmp_path / "whole")


def test_a_finished_folder_is_only_counted_again(source: Path, tmp_path: Path) -> None:
    first = prepare_text([source], tmp_path / "out", **options())
    stages: list[str] = []
    again = prepare_text(
        [source], tmp_path / "out", progress=lambda *r: stages.append(r[0]), **options()
    )
    assert again == first and not stages


def test_a_folder_begun_otherwise_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_text([source], out, **options())
    with pytest.raises(Refused, match="begun with seed = 0, now 1"):
        prepare_text([source], out, **options(seed=1))
    other = text_file(tmp_path / "other.txt", ["a b", "c d"])
    with pytest.raises(Refused, match="begun from other sources"):
        prepare_text([other], out, **options())
    os.utime(source, (1, 1))
    prepare_text([source], out, **options())
    source.write_bytes(source.read_bytes().replace(b"cat", b"cow"))
    with pytest.raises(Refused, match=r"source\.txt has changed"):
        prepare_text([source], out, **options())
    (tmp_path / "used").mkdir()
    text_file(tmp_path / "used" / "thesis.txt", ["mine"])
    with pytest.raises(Refused, match="in use, by something else"):
        prepare_text([source], tmp_path / "used")
    (out / "plan.json").write_text("{")
    with pytest.raises(Refused, match=r"plan\.json is damaged"):
        prepare_text([source], out, **options())


def test_the_manifest_says_what_it_was_made_from(source: Path, tmp_path: Path) -> None:
    manifest = corpus_of([source], tmp_path / "out", **options()).manifest
    [described] = manifest["sources"]
    assert described["items"] == 606 and len(described["sha256"]) == 64
    assert manifest["codec"]["vocab"] == 330 and manifest["options"]["seed"] == 0
    train = manifest["splits"]["train"]
    lengths = open_corpus(tmp_path / "out").split("train").lengths
    assert train["tokens"] == lengths.sum() and lengths.dtype == np.int32
    assert train["mean_length"] == pytest.approx(lengths.mean())


def test_preparing_imports_neither_torch_nor_datasets(source: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from data_prep.text import prepare_text; "
        "prepare_text([sys.argv[1]], sys.argv[2]); "
        "print([name for name in ('torch', 'datasets') if name in sys.modules])"
    )
    arguments = [sys.executable, "-c", code, str(source), str(tmp_path / "out")]
    printed = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True)
    assert printed.stdout == "[]\n"


def test_a_source_that_shrinks_while_it_is_read_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "HELD", 0)  # so large that it is read twice

    def shorten(stage: str, done: int, total: int | None) -> None:
        if stage == "codec":
            source.write_bytes(source.read_bytes()[:1000])

    with pytest.raises(Refused, match="was shortened while it was being read"):
        prepare_text([source], tmp_path / "out", progress=shorten, **options())


def test_what_cannot_be_read_twice_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="pipe or device"):
        prepare_text([tmp_path / "pipe"], tmp_path / "out")


def test_a_moved_revision_of_the_hub_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, {})
    source = source_module.Source("hf://owner/name", source_module.Request(None, None))
    before = {"name": source.name, "revision": "abc", "sha256": None}
    assert unchanged(source, before)
    hub.revision = "def"
    assert not unchanged(source, before)


# Real corpora


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared corpora are not here")
def test_ptb_comes_out_as_published(tmp_path: Path) -> None:
    """10,000 words with EOS; 42,068 / 3,370 / 3,761 sentences; 21.917 tokens a test sentence."""
    train, valid, test = (SHARED / "ptb" / f"{s}.txt.gz" for s in ("train", "valid", "test"))
    corpus = corpus_of(
        [train], tmp_path / "ptb", valid=valid, test=test, codec="word", keep_duplicates=True
    )
    splits = corpus.manifest["splits"]
    assert [splits[s]["rows"] for s in ("train", "valid", "test")] == [42_068, 3_370, 3_761]
    assert splits["test"]["mean_length"] == pytest.approx(21.917, abs=5e-4)
    assert corpus.codec.vocab == 10_003  # 9,999 words and PAD, UNK, BOS, EOS


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared corpora are not here")
def test_snips_has_seven_intents(tmp_path: Path) -> None:
    train, valid, test = (SHARED / "snips" / f"{s}.txt.gz" for s in ("train", "valid", "test"))
    corpus = corpus_of([train], tmp_path / "snips", valid=valid, test=test, label="name")
    assert corpus.labels is not None and len(corpus.labels) == 7
    valid_labels = [corpus.split("valid").label(i) for i in range(700)]
    assert Counter(valid_labels) == dict.fromkeys(range(7), 100)
