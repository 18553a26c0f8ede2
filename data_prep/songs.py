"""Where songs come from: MIDI in folders, archives or alone, chorales in JSON; their splits."""

import csv
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from seqvae.errors import Refused
from seqvae.midi import ENDINGS

from .chorales import ENDINGS as ENDINGS_OF_CHORALES
from .chorales import holds_chorales, piece_of, pieces_of

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
FIRST = ":first"  # behind the name of a label's column: only the first word of the label
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    NotImplementedError,
    EOFError,
    ValueError,
)


class File(NamedTuple):
    """A MIDI file: on the disk, or in an archive there; or a piece in a file of chorales."""

    name: str  # for people, and in tables
    path: str  # on the disk
    member: str | None  # in the archive
    size: int  # bytes, as far as is known

    @property
    def published(self) -> str | None:
        """The split that a file of chorales puts it in, as called there; None of MIDI."""
        chorale = self.member is not None and self.path.lower().endswith(ENDINGS_OF_CHORALES)
        return str(self.member).rpartition("/")[0] if chorale else None

    def read(self, limit: int) -> bytes:
        """Its bytes, of an archive's member as many as one more than the limit.

        Raises `Refused` with the reason where they cannot be read.
        """
        if self.size > limit:
            raise Refused(f"{self.name}: {self.size:,} bytes; a MIDI file has at most {limit:,}.")
        try:
            if self.member is None:
                return Path(self.path).read_bytes()
            if self.published is not None:
                return piece_of(self.path, self.member)
            with _archive(self.path, Path(self.path).stat().st_mtime_ns).open(self.member) as file:
                return file.read(limit + 1)  # whatever its header claims
        except OSError as error:
            raise Refused(f"{self.name}: {error.strerror or error}.") from error
        except (*UNREADABLE, KeyError) as error:
            raise Refused(f"{self.name}: the archive is damaged or locked ({error}).") from error


@lru_cache(8)
def _archive(path: str, changed: int) -> zipfile.ZipFile:
    """An archive, opened once a process as long as it does not change."""
    return zipfile.ZipFile(path)


def find_files(sources: Sequence[str | Path]) -> list[File]:
    """The MIDI files of folders (with what is in them), archives and single files, in order.

    A folder inside an archive is named like one on the disk: songs.zip/aligned. Raises `Refused`
    for what does not exist and for a source without MIDI, saying what is there instead.
    """
    if not sources:
        raise Refused("no source was given. Name a folder: seqvae prepare midi FOLDER --out DIR")
    found = {file[1:3]: file for source in sources for file in _found(Path(source))}
    return list(found.values())


def _found(source: Path) -> list[File]:
    if source.is_dir():
        return _of_folder(source)
    archive = archive_of(source)
    if archive is not None:
        inside = source.relative_to(archive).as_posix()
        return _of_archive(archive, "" if inside == "." else inside)
    if holds_chorales(source):
        return _of_chorales(source)
    if source.is_file():
        return [_of_disk(source)]
    raise Refused(f"no such file, folder or archive: {shown(source)}. Check the name.")


def archive_of(path: Path) -> Path | None:
    """The archive that a path names, or leads into: songs.zip of songs.zip/aligned."""
    around = (path, *path.parents)
    return next((p for p in around if p.suffix.lower() == ".zip" and p.is_file()), None)


def _of_disk(path: Path) -> File:
    return File(shown(path), str(path), None, path.stat().st_size)


def _of_chorales(path: Path) -> list[File]:
    return [File(shown(path / name), str(path), name, len(data)) for name, data in pieces_of(path)]


def shown(path: str | Path) -> str:
    """A path that can be printed and written, whatever bytes are in it."""
    text = Path(path).as_posix()
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _of_folder(folder: Path) -> list[File]:
    everything = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [_of_disk(path) for path in everything if _is_midi(path.name)]
    if not files:
        raise _no_midi(shown(folder), [path.name for path in everything])
    return files


def _of_archive(path: Path, inside: str) -> list[File]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}.") from error
    except UNREADABLE as error:
        raise Refused(f"{path} is damaged ({error}). Fetch or make it again.") from error
    chosen = [info for info in members if f"/{inside}/" in f"/{info.filename}" or not inside]
    if not chosen:
        folders = sorted({f"{path}/{PurePosixPath(info.filename).parent}" for info in members})
        raise Refused(f"{path} has no folder {inside!r}; it has {_some(folders)}.")
    files = [
        File(shown(path / info.filename), str(path), info.filename, info.file_size)
        for info in sorted(chosen, key=lambda info: PurePosixPath(info.filename).parts)
        if _is_midi(info.filename)
    ]
    if not files:
        raise _no_midi(f"{path}/{inside}".rstrip("/"), [info.filename for info in chosen])
    return files


def _is_midi(name: str) -> bool:
    path = PurePosixPath(name)
    # A Mac puts beside every file of an archive a ._ one that is none.
    return path.suffix.lower() in ENDINGS and not path.name.startswith("._")


def _no_midi(where: str, names: Sequence[str]) -> Refused:
    kinds = Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in names)
    there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "nothing"
    cure = "Name a folder that has some, or one of the archives in it."
    if ".zip" not in kinds:
        cure = "Name the folder or archive that has some."
    return Refused(
        f"{where} holds no MIDI file ({' '.join(ENDINGS)}); what is there: {there}. {cure}"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


# --- the table of splits ------------------------------------------------------------------------


class Placed(NamedTuple):
    """What a table says of a file."""

    split: str
    label: str | None = None


def published(files: Sequence[File]) -> dict[str, Placed] | None:
    """Names of pieces -> the split that their file of chorales puts them in; None for MIDI.

    Raises `Refused` where both are given, and for a split of another name.
    """
    said = {file.name: file.published for file in files}
    if not any(said.values()):
        return None
    for name, split in said.items():
        if split is None:
            raise Refused(
                f"{name} is in no split, and the chorales beside it are. Prepare them apart, or "
                "give a table that names all: --splits TABLE"
            )
        if split not in SPLIT_NAMES:
            raise Refused(f"{name}: its split is called {split!r}, not train, valid or test.")
    return {name: Placed(SPLIT_NAMES[str(split)]) for name, split in said.items()}


def read_splits(
    table: Path, files: Sequence[File], sources: Sequence[str | Path], label: str | None
) -> dict[str, Placed]:
    """Names of files -> their split and label; files that the table does not name are left out.

    The column that names the files is the one whose values fit the most of them: as a path, the
    end of one, a name, or a name without its ending. Raises `Refused` where there is none.
    """
    header, rows = _table(table, sources)
    splits = _split_column(table, header, rows)
    labels = None if label is None else _label_column(table, header, label)
    keys = {file.name: list(_keys(file.name)) for file in files}
    fits = [_fitting(keys, [row[place] for row in rows]) for place in range(len(header))]
    best = max(fits, key=len)
    if not best:
        raise Refused(
            f"{table}: no column names the files, such as {files[0].name}; it has "
            f"{', '.join(map(repr, header))}. Name each file by its path or name, its ending may "
            "be left out."
        )
    placed = {}
    for name, number in best.items():
        said = SPLIT_NAMES.get(rows[number][splits].strip().casefold())
        if said is not None:
            tag = None if labels is None else _label(rows[number][labels], label or "")
            placed[name] = Placed(said, tag)
    return placed


def _table(table: Path, sources: Sequence[str | Path]) -> tuple[list[str], list[list[str]]]:
    text = _table_text(table, sources)
    tabs = "\t" in text.partition("\n")[0]
    found = csv.reader(io.StringIO(text), delimiter="\t" if tabs else ",")
    try:
        header, *rows = [row for row in found if row] or [[]]
    except csv.Error as error:
        raise Refused(f"{table} is damaged ({error}). It is to be .csv or .tsv.") from error
    if not rows:
        raise Refused(f"{table} is empty: it needs a header, and a row for every file.")
    width = len(header)
    return header, [(row + [""] * width)[:width] for row in rows]


def _table_text(table: Path, sources: Sequence[str | Path]) -> str:
    """The table's text, also from the archive the songs are in."""
    try:
        return table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{table} is no table in UTF-8: it is to be .csv or .tsv.") from error
    except OSError as error:
        for data in _in_archives(table, sources):
            return data.decode("utf-8-sig", "replace")
        raise Refused(f"{table}: {error.strerror or error}. Name a .csv or .tsv file.") from error


def _in_archives(table: Path, sources: Sequence[str | Path]) -> Iterator[bytes]:
    for source in map(Path, sources):
        archive = archive_of(source)
        if archive is not None:
            with zipfile.ZipFile(archive) as opened:
                for name in opened.namelist():
                    inside = f"{archive.as_posix()}/{name}"
                    if table.as_posix() == inside or f"/{name}".endswith(f"/{table.as_posix()}"):
                        yield opened.read(name)


def _split_column(table: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    if "split" in header:
        return header.index("split")
    for place in range(len(header)):
        if {row[place].strip().casefold() for row in rows} <= set(SPLIT_NAMES):
            return place
    raise Refused(
        f"{table} has no column 'split' with train, valid and test; it has "
        f"{', '.join(map(repr, header))}."
    )


def _label_column(table: Path, header: Sequence[str], label: str) -> int:
    column = label.removesuffix(FIRST)
    if column not in header:
        raise Refused(
            f"{table} has no column {column!r} for labels; it has {', '.join(map(repr, header))}."
        )
    return header.index(column)


def _label(value: str, label: str) -> str | None:
    """
    >>> _label("funk/groove1", "style:first"), _label("funk/groove1", "style")
    ('funk', 'funk/groove1')
    """
    value = value.strip()
    return (re.split(r"[\s/,;:|]", value)[0] if label.endswith(FIRST) else value) or None


def _fitting(keys: Mapping[str, Sequence[str]], values: Sequence[str]) -> dict[str, int]:
    """Names of files -> the row that names them."""
    rows = {_key(value): number for number, value in reversed(list(enumerate(values)))}
    fitting = ((name, [rows[key] for key in own if key in rows]) for name, own in keys.items())
    return {name: numbers[0] for name, numbers in fitting if numbers}


def _key(value: str) -> str:
    return value.strip().replace("\\", "/").removeprefix("./").casefold()


def _keys(name: str) -> Iterator[str]:
    """All that may name a file in a table, the longest first.

    >>> list(_keys("a/b.mid"))
    ['a/b.mid', 'a/b', 'b.mid', 'b']
    """
    parts = _key(name).split("/")
    for first in range(len(parts)):
        whole = "/".join(parts[first:])
        yield whole
        yield whole.rpartition(".")[0]
