"""Where sentences come from: text, JSON lines, CSV, TSV, Parquet, folders of them, the Hub.

Every reader yields an item for every line or row it meets, also for those nobody can use:
what is dropped can only be counted if it arrives. They come many at once, as `Lines`.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import wraps
from itertools import chain, islice, repeat
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from seqvae.corpus import file_sha256
from seqvae.errors import Refused

from .lines import Lines
from .songs import archive_of

HUB = "hf://"
HUB_SPLITS = [("valid", ("validation", "valid", "dev")), ("test", ("test",))]  # ours, the usual
HUB_SECONDS = 5.0  # how long a look-up may take before we say that there is no network
FIELD_LIMIT = 1 << 30  # the csv module's own, 131,072 characters, ends the file at a long line
READ_BYTES = 1 << 18  # of a text at once: large enough for speed, small enough for a cache
READ_ITEMS = 1_000  # of what is read row by row
HELD = 32_000_000  # bytes or so of small sources that are kept, to be read and hashed but once
OF_A_LINE = 60  # bytes that a line takes beside its characters
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, pa.ArrowInvalid, csv.Error)


class Item(NamedTuple):
    """One line or row: its text without the spaces around it, its label, why it is unusable."""

    text: str
    label: str | None = None
    fault: str | None = None


class Request(NamedTuple):
    """The columns a user asked for; None: the only or usual one for the text, and no label."""

    text: str | None
    label: str | None


class Columns(NamedTuple):
    """The columns of one table that hold the text and, if asked for, the label."""

    text: str
    label: str | None


class Shelf:
    """Whole sources, kept as long as there is room."""

    def __init__(self) -> None:
        self.room = HELD
        self.held: dict[str, list[Lines]] = {}

    def keep(self, name: str, read: Iterator[Lines]) -> Iterator[Lines]:
        """What is read of a source; if it was little, it is here from its end on."""
        held: list[Lines] = []
        size = 0
        for lines in read:
            size += sum(map(len, lines.texts)) + OF_A_LINE * len(lines.texts)
            if size > self.room:
                held.clear()
                yield lines
                yield from read
                return
            held.append(lines)
            yield lines
        self.room -= size
        self.held[name] = held


@dataclass(frozen=True)
class Source:
    """One file, or one data set of the Hub, as a stream of items that can be read again."""

    name: str
    request: Request
    shelf: Shelf = field(default_factory=Shelf, compare=False, repr=False)

    def lines(self) -> Iterator[Lines]:
        """All items in order. Raises `Refused` on a damaged file or a column that is not there."""
        if self.name in self.shelf.held:
            return iter(self.shelf.held[self.name])
        return self.shelf.keep(self.name, self._read())

    def _read(self) -> Iterator[Lines]:
        try:
            yield from _reader(self.name)(self.name, self.request)
        except DAMAGED as error:
            raise Refused(f"{self.name} is damaged ({error}). Fetch or make it again.") from error
        except OSError as error:
            raise Refused(f"{self.name}: {error.strerror or error}.") from error

    def stamp(self) -> dict[str, Any]:
        """What tells cheaply that the source is still the same: its size and time of change."""
        if is_hub(self.name):
            return {"name": self.name, "revision": _hub(self.name).revision}
        status = Path(self.name).stat()
        return {"name": self.name, "bytes": status.st_size, "mtime": status.st_mtime_ns}

    def sha256(self) -> str | None:
        """The checksum of the file; a data set of the Hub has its revision instead."""
        return None if is_hub(self.name) else file_sha256(Path(self.name))


def is_hub(name: str) -> bool:
    """Whether a source is a data set of the Hub; nothing else is ever looked up there."""
    return name.startswith(HUB)


def option(key: str, value: str) -> str:
    """How a refusal names a setting, for both commands that prepare.

    >>> option("max_tokens", "N")
    '--max-tokens N (when training at once: --set data.max_tokens=N)'
    """
    return f"--{key.replace('_', '-')} {value} (when training at once: --set data.{key}={value})"


def find_sources(paths: Sequence[str | Path], request: Request) -> list[Source]:
    """Files, folders (their files, sorted), `hf://owner/name[:config][#split]` -> sources.

    Raises `Refused` when something is missing; a local path is never looked up on the Hub.
    """
    names = list(chain.from_iterable(map(_expand, paths)))
    if not names:
        raise Refused("no source was given. Name a file: seqvae prepare text FILE --out DIR")
    shelf = Shelf()
    return [Source(name, request, shelf) for name in names]


def _expand(path: str | Path) -> list[str]:
    if is_hub(str(path)):
        return [f"{path}" if "#" in str(path) else f"{path}#train"]
    path = Path(path)
    if path.is_dir():
        return _folder_files(path)
    if archive_of(path) is not None:
        raise Refused(
            f"{path} is an archive, and sentences are read from files: unpack it first. One of "
            f"MIDI files is for a recipe of music: seqvae train melody {path}"
        )
    if not path.exists():
        raise Refused(f"no such file: {path}. {_nearest_path(path)}")
    if not path.is_file():
        raise Refused(f"{path} is a pipe or device, and is read twice. Save it as a file first.")
    return [str(path)]


def _folder_files(folder: Path) -> list[str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _readable(path)]
    if not files:
        kinds = ", ".join(READERS)
        raise Refused(f"{folder} holds no file to read ({kinds}, each also .gz). Name the file.")
    stems = {path.name.split(".")[0]: path for path in files}
    if "train" in stems and "test" in stems:
        raise Refused(
            f"{folder} is split already ({stems['train'].name}, {stems['test'].name}). Keep its "
            f"splits: seqvae prepare text {stems['train']} --valid {stems.get('valid', 'FILE')} "
            f"--test {stems['test']} --out DIR, and train on DIR."
        )
    return [str(path) for path in files]


def _readable(path: Path) -> bool:
    about = path.name.startswith((".", "README", "LICENSE", "LICENCE"))
    return not about and ".labels." not in path.name and _suffix(path.name) in READERS


def _nearest_path(path: Path) -> str:
    """Which file was probably meant; without the folder, or the ending, a name is near too."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    wrong, *rest = path.relative_to(folder).parts
    present = sorted(entry.name for entry in folder.iterdir())
    by_name = {name.split(".")[0]: name for name in present} | {name: name for name in present}
    close = get_close_matches(wrong, by_name, 1)
    if not close:
        where = "the current folder" if folder == Path() else str(folder)
        return (
            f"Nothing in {where} has a name like {wrong!r}. Check it; a data set of the Hub is "
            "written hf://OWNER/NAME."
        )
    near = folder / by_name[close[0]]
    return f"Did you mean {near.joinpath(*rest) if near.joinpath(*rest).exists() else near}?"


def _suffix(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _reader(name: str) -> "Reader":
    if is_hub(name):
        return read_hub
    return READERS.get(_suffix(name), read_text)  # corpora come as .tok, .en, or bare names


def _open(name: str) -> IO[bytes]:
    if not name.lower().endswith(".gz"):
        return Path(name).open("rb")
    # A GzipFile reads lines one by one in Python; a buffer over it does not.
    return io.BufferedReader(gzip.open(name), READ_BYTES)


def _item(text: Any, label: Any = None) -> Item:
    if text is None:
        return Item("", None, "no text")
    if not isinstance(text, str):
        return Item("", None, "not a string")
    return Item(text.strip(), None if label is None or label == "" else str(label))


def _by_column(read: Callable[[str, Request], Iterator[Item]]) -> "Reader":
    """A reader of single items, as one of `Lines`."""

    @wraps(read)
    def lines(name: str, request: Request) -> Iterator[Lines]:
        items = read(name, request)
        while some := list(islice(items, READ_ITEMS)):
            labels = None if request.label is None else [item.label for item in some]
            faults = {i: item.fault for i, item in enumerate(some) if item.fault is not None}
            yield Lines([item.text for item in some], labels, faults)

    return lines


def read_text(name: str, request: Request) -> Iterator[Lines]:
    """One sentence a line, UTF-8; labels, if asked for, stand in NAME.labels.tsv(.gz) beside."""
    if request.text is not None:
        raise Refused(
            f"{name} is plain text: it has no column {request.text!r}. Leave out --column (in a "
            "recipe: data.column)."
        )
    labels = None if request.label is None else _labels_beside(name, request.label)
    with _open(name) as file:
        read = iter(lambda: file.read(READ_BYTES) + file.readline(), b"")
        for number, raw in enumerate(read):
            texts, faults = _decoded(_first_line(name, raw) if number == 0 else raw)
            told = None if labels is None else [next(labels, None) for _ in texts]
            yield Lines(texts, told, faults)


def _first_line(name: str, raw: bytes) -> bytes:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Refused(f"{name} is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 {name} > NEW")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _decoded(raw: bytes) -> tuple[list[str], dict[int, str]]:
    """Rows of a file -> their texts, and which of them are unusable.

    >>> _decoded(b" a\\n\\xff\\nb")
    (['a', '', 'b'], {1: 'invalid UTF-8'})
    """
    rows = raw.removesuffix(b"\n")
    try:  # all of them: hardly a file has a row that is wrong
        return [text.strip() for text in rows.decode().split("\n")], {}
    except UnicodeDecodeError:
        found = [_text_of(row) for row in rows.split(b"\n")]
        faults = {place: "invalid UTF-8" for place, text in enumerate(found) if text is None}
        return [text or "" for text in found], faults


def _text_of(row: bytes) -> str | None:
    try:
        return row.decode().strip()
    except UnicodeDecodeError:
        return None


def _labels_beside(name: str, column: str) -> Iterator[str | None]:
    stem = name.removesuffix(".gz").removesuffix(".txt")
    beside = [f"{stem}.labels.tsv", f"{stem}.labels.tsv.gz"]
    found = next((path for path in beside if Path(path).is_file()), None)
    if found is None:
        raise Refused(
            f"{name} is plain text without labels. Put them in {beside[0]}, a row a line and a "
            f"column {column!r}, or use CSV or JSON lines."
        )
    tables = read_table(found, Request(column, None))
    return (text or None for table in tables for text in table.texts)


@_by_column
def read_json_lines(name: str, request: Request) -> Iterator[Item]:
    """One object a line; or one string a line."""
    columns: Columns | None = None
    with _open(name) as file:
        for number, raw in enumerate(file):
            line = _first_line(name, raw) if number == 0 else raw
            value, fault = _parsed(line)
            if (number == 0 and isinstance(value, list)) or line.strip() == b"[":
                raise Refused(f"{name} is a JSON array. Write one object a line: jq -c '.[]'")
            if fault is not None:
                yield Item("", None, fault)
            elif isinstance(value, str) and request == Request(None, None):
                yield _item(value)
            elif isinstance(value, dict):
                columns = columns or _choose(name, list(value), request)
                label = None if columns.label is None else value.get(columns.label)
                yield _item(value.get(columns.text), label)
            else:
                yield Item("", None, "not an object")


def _parsed(raw: bytes) -> tuple[Any, str | None]:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None, "invalid UTF-8"
    if text.isspace():
        return None, "blank"
    try:
        return json.loads(text), None
    except (ValueError, RecursionError):
        return None, "invalid JSON"


@_by_column
def read_table(name: str, request: Request) -> Iterator[Item]:
    """CSV, or TSV (where a quotation mark is text); values stay the strings they are."""
    csv.field_size_limit(FIELD_LIMIT)
    tabs = _suffix(name) == ".tsv"
    with _open(name) as file:
        rows = _table_rows(name, file, tabs)
        header = next(rows, [])
        columns = _choose(name, header, request)
        at = header.index(columns.text)
        label_at = None if columns.label is None else header.index(columns.label)
        for row in rows:
            yield _table_item(row, at, label_at)


def _table_rows(name: str, file: IO[bytes], tabs: bool) -> Iterator[list[str]]:
    # Bytes that are no UTF-8 become lone surrogates, so that they spoil one row, not the file.
    first = (_first_line(name, raw) for raw in [file.readline()])
    lines = (raw.decode(errors="surrogateescape") for raw in chain(first, file))
    if tabs:
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(lines)


def _table_item(row: list[str], at: int, label_at: int | None) -> Item:
    if at >= len(row) or (label_at is not None and label_at >= len(row)):
        return Item("", None, "short row" if row else "blank")
    try:
        row[at].encode()
    except UnicodeEncodeError:
        return Item("", None, "invalid UTF-8")
    return _item(row[at], None if label_at is None else row[label_at])


@_by_column
def read_parquet(name: str, request: Request) -> Iterator[Item]:
    """A column of strings, in batches."""
    with pq.ParquetFile(name) as file:
        columns = _choose(name, file.schema_arrow.names, request)
        wanted = [column for column in columns if column is not None]
        for batch in file.iter_batches(columns=wanted):
            texts = batch.column(columns.text).to_pylist()
            labels = batch.column(columns.label).to_pylist() if columns.label else repeat(None)
            yield from map(_item, texts, labels)


@_by_column
def read_hub(name: str, request: Request) -> Iterator[Item]:
    """One split of `hf://owner/name[:config]#split`, streamed at the revision found first."""
    path, config, split, revision = _hub(name)
    from datasets import load_dataset  # slow to import, and only the Hub needs it

    options = {"split": split, "streaming": True, "revision": revision}
    columns: Columns | None = None
    for row in _fetched(name, load_dataset, path, config, **options):
        columns = columns or _choose(name, list(row), request)
        yield _item(row.get(columns.text), row.get(columns.label) if columns.label else None)


def hub_splits(name: str) -> dict[str, list[str]]:
    """Our names of the splits -> the Hub's own, if `name` is a data set of it and names none."""
    if not is_hub(name) or "#" in name:
        return {}
    path, config, _, revision = _hub(name)
    from datasets import get_dataset_split_names

    theirs = _fetched(name, get_dataset_split_names, path, config, revision=revision)
    own = {ours: [split for split in names if split in theirs] for ours, names in HUB_SPLITS}
    return {ours: [f"{name}#{splits[0]}"] for ours, splits in own.items() if splits}


class _Hub(NamedTuple):
    path: str
    config: str | None
    split: str
    revision: str


def _hub(name: str) -> _Hub:
    """What a name says, and the newest revision. Raises `Refused` at once without network."""
    from huggingface_hub import HfApi

    whole, _, split = name.removeprefix(HUB).partition("#")
    path, _, config = whole.partition(":")
    found = _fetched(name, HfApi().dataset_info, path, timeout=HUB_SECONDS)
    return _Hub(path, config or None, split or "train", str(found.sha))


def _fetched(name: str, fetch: Callable[..., Any], *what: object, **options: object) -> Any:
    try:
        return fetch(*what, **options)
    except Exception as error:  # the client raises its transport's errors, of many classes
        says = str(error).partition("\n")[0]
        raise Refused(
            f"{name} cannot be reached on the Hub ({type(error).__name__}: {says}). Check the "
            "name, hf://OWNER/NAME:CONFIG#SPLIT, and the network, or give a local file."
        ) from error


def _choose(name: str, present: Sequence[str], request: Request) -> Columns:
    """The columns to read. Raises `Refused` listing those present, with the nearest name."""
    for wanted in request:
        if wanted is not None and wanted not in present:
            close = get_close_matches(wanted, present, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise Refused(f"{name} has no column {wanted!r}; it has {_listed(present)}.{hint}")
    return Columns(request.text or _usual(name, present, request.label), request.label)


def _usual(name: str, present: Sequence[str], label: str | None) -> str:
    others = [column for column in present if column != label]
    usual = [column for column in ("text", "sentence") if column in others]
    if len(others) != 1 and not usual:
        raise Refused(
            f"{name}: which column holds the sentences? It has {_listed(present)}. "
            f"Name one: {option('column', 'NAME')}"
        )
    return (usual or others)[0]


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns)) or "none"


Reader = Callable[[str, Request], Iterator[Lines]]

READERS: dict[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_json_lines,
    ".json": read_json_lines,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
}
