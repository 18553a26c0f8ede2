"""The benchmark of preparation, tiny; and what it may not change: the bytes that are written."""

import gzip
import hashlib
import io
import json
import random
import re
import runpy
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import sources
from data_prep.composer import write_songs
from data_prep.lines import ODD_SPACES, Lines, faults_of, line_hash, line_hashes
from data_prep.sources import Request, find_sources
from data_prep.text import prepare_text
from data_prep.toy import english
from seqvae.codecs import SentencePieceCodec, WordCodec
from seqvae.errors import Refused

SCRIPTS = Path(__file__).parents[1] / "scripts"
BAD = [b"", b"\xff\xfe x", b"a\0b", "a \u2581 b".encode(), b"x " * 300, b" \t ", b"a\r"]
PLAIN = "the a cat dog bird sat ran on under mat log tree red"
WORDS = [*PLAIN.split(" "), "猫", "犬", "été", "naïve"]
SPACES = [" ", "  ", "\t", "\xa0", "\u3000", "\x85", "\x1f"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr(sys, "argv", ["bench_prepare.py", *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / "bench_prepare.py"), run_name="__main__")


def nasty(count: int, seed: int) -> list[bytes]:
    """Lines, one of thirty of which nobody can use, with all sorts of spaces."""
    drawn = random.Random(seed)
    lines = []
    for _ in range(count):
        words = drawn.choices(WORDS, k=drawn.randint(1, 9))
        line = words[0] + "".join(drawn.choice([" "] * 60 + SPACES) + word for word in words[1:])
        lines.append(drawn.choice(BAD) if drawn.random() < 0.03 else line.encode())
    return lines


def digest(folder: Path) -> str:
    """One checksum of all rows and of the list of what was dropped."""
    found = hashlib.sha256()
    for path in [*sorted(folder.rglob("*.arrow")), folder / "dropped.tsv"]:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


# The bench


def test_text_is_timed_beside_its_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(s.sentence for s in english().sample(400, seed=0)), "utf-8")
    brief = ["--rounds", 1, "--processes", 2, "--json", tmp_path / "found.json"]
    run(monkeypatch, "text", text, *brief)
    said = capsys.readouterr().out
    assert "400 lines, " in said and "shards give the same rows" in said
    written = json.loads((tmp_path / "found.json").read_bytes())
    assert [bool(row["share"]) for row in written["rows"]] == [False, True] * 2


def test_midi_is_timed_beside_pretty_midi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "songs", 4, seed=0)
    brief = ["--rounds", 1, "--track", "melody", "--json", tmp_path / "found.json"]
    run(monkeypatch, "midi", tmp_path / "songs", *brief)
    said = capsys.readouterr().out.splitlines()
    assert re.match(r"4 files; symusic .*, pretty_midi ", said[1])
    names = [line.split(" | ")[0] for line in said[4:7]]
    assert names == ["| prepared", "| of which reading", "| pretty_midi, for reading 4 alone"]
    assert "shards give the same rows" in said[7]
    assert len(json.loads((tmp_path / "found.json").read_bytes())["milliseconds"]) == 3


def test_shards_that_write_other_rows_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    bench = runpy.run_path(str(SCRIPTS / "bench_prepare.py"))
    text = tmp_path / "text.txt"
    text.write_bytes(b"\n".join(nasty(300, 0)))

    def other(source: Any, out: Any, **options: Any) -> object:
        seed = 1 if "shard" in options else 0
        return prepare_text(source, out, seed=seed, codec="word", **options)

    with pytest.raises(Refused, match="rows of shards have checksum"):
        bench["check_shards"](other, str(text), {"block": 100})


# What is fast writes what was slow: the sums are those of the code that took line by line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "5e06da3ad26814f1"),
        ({"block": 701, "max_tokens": 8, "min_tokens": 3}, "b3fe182592b17850"),
        ({"valid": "b.txt", "test": "c.txt.gz", "seed": 3}, "b099c4537c09e747"),
        ({"valid": "b.txt", "keep_duplicates": True}, "4289f7fdc37d4b77"),
    ],
)
@pytest.mark.parametrize("held", [0, 30_000, 10**6])  # bytes: no source, one, all of them
def test_rows_and_drops_are_what_they_always_were(
    options: Mapping[str, Any],
    expected: str,
    held: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "HELD", held)
    monkeypatch.setattr("data_prep.blocks.GROUP_LINES", 500)  # a group spans two files
    Path("a.txt").write_bytes(b"\xef\xbb\xbf" + b"\n".join(nasty(1201, 1)))
    Path("b.txt").write_bytes(b"\n".join(nasty(401, 2)) + b"\n")
    Path("c.txt.gz").write_bytes(gzip.compress(b"\n".join([*nasty(301, 3), b""])))
    given = ["a.txt"] if "valid" in options else ["a.txt", "b.txt", "c.txt.gz"]
    prepare_text(given, "out", codec="word", **options)
    assert digest(Path("out")) == expected


def line_by_line(raw: bytes) -> list[str | None]:
    """Text of each line, or None where it is no UTF-8."""
    found: list[str | None] = []
    for line in io.BytesIO(raw.removeprefix(b"\xef\xbb\xbf")):
        try:
            found.append(line.decode().strip())
        except UnicodeDecodeError:
            found.append(None)
    return found


def test_small_sources_are_read_once_while_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HELD", 130)
    for name, text in {"a": "one two\n", "b": "three four\n", "c": "x\n"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    found = find_sources([tmp_path], Request(None, None))
    first = [list(source.lines()) for source in found]
    (tmp_path / "b.txt").write_text("changed\n")
    second = [list(source.lines()) for source in found]
    again = [one[0] is two[0] for one, two in zip(first, second, strict=True)]
    assert again == [True, False, True], "67 bytes and 61 have room in 130, 70 more have not"
    assert second[1][0].texts == ["changed"]


def test_hashes_are_found_once_and_shared_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(["a", "b", "c"], None, {1: "short row"})
    keys = lines.hashes(3)
    monkeypatch.setattr("data_prep.lines.line_hashes", None)
    assert lines.hashes(3) is keys
    part = lines.part(1, 3)
    assert part.hashes(3).tolist() == keys[1:].tolist() and part.faults == {0: "short row"}


@given(
    st.lists(st.sampled_from([b"a", b" ", b"\n", b"\r", b"\xff", b"\xc3\xa9"])), st.integers(1, 9)
)
def test_text_read_in_pieces_is_that_of_its_lines(parts: list[bytes], size: int) -> None:
    raw = b"\xef\xbb\xbf" + b"".join(parts)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_BYTES", size)
        path = Path(folder) / "text.txt"
        path.write_bytes(raw)
        [found] = find_sources([path], Request(None, None))
        read = list(found.lines())
    texts = [
        None if i in lines.faults else text for lines in read for i, text in enumerate(lines.texts)
    ]
    # A file of nothing but its mark is one blank line.
    assert texts == (line_by_line(raw) or [""])


def test_odd_spaces_are_all_but_the_blank() -> None:
    spaces = {character for character in map(chr, range(0x110000)) if character.isspace()}
    assert set(ODD_SPACES) == spaces - {" "}
    assert set(" ".join(ODD_SPACES).split()) == set(), "as `str.split` has it"


@given(st.lists(st.text(st.sampled_from("ab \t\n\u3000\x85é\ud800")).map(str.strip), max_size=6))
def test_many_hashes_are_each_their_own(texts: list[str]) -> None:
    assert line_hashes(texts, 7).tolist() == [line_hash(text, 7) for text in texts]
    assert line_hashes(texts, 7).tolist() == line_hashes([f"{t}  " for t in texts], 7).tolist()


@pytest.mark.parametrize("codec", [WordCodec, SentencePieceCodec])
@given(
    texts=st.lists(st.text(st.sampled_from("ab \0\u2581é\ud800")).map(str.strip), max_size=6),
    labels=st.none() | st.lists(st.sampled_from(["x", None]), min_size=6, max_size=6),
    faults=st.dictionaries(st.integers(0, 5), st.just("short row")),
)
def test_faults_of_many_are_each_their_own(
    codec: type[WordCodec], texts: list[str], labels: list[str | None] | None, faults: Any
) -> None:
    faults = {place: why for place, why in faults.items() if place < len(texts)}
    cut = None if labels is None else labels[: len(texts)]
    found = faults_of(Lines(texts, cut, faults), codec)
    for place, text in enumerate(texts):
        own = faults.get(place) or codec.fault(text)
        told = own or ("no label" if cut is not None and cut[place] is None else None)
        assert found.get(place) == told
