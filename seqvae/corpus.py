"""The prepared corpus on disk: token ids in Arrow files, their codec, and a manifest.

    FOLDER/manifest.json         what it is, what it was made from, a checksum of every file
    FOLDER/codec/                ids <-> items
    FOLDER/train/00000.arrow …   likewise valid/ and test/: columns `ids`, and `label` if labelled

The files are Arrow streams, memory-mapped: a corpus may be far larger than memory, and
`datasets.Dataset.from_file` opens them too.
"""

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from .binarized import Binarized
from .codecs import Codec, PixelCodec, load_codec
from .errors import Refused

FORMAT = 1
SPLITS = ("train", "valid", "test")
COMMANDS = {
    "text": "seqvae prepare text FILE",
    "music": "seqvae prepare midi FOLDER",
    "image": "seqvae prepare images FOLDER",
}


class Packed(NamedTuple):
    """Some items as arrays: the ids of all of them in a row, their lengths, their labels."""

    ids: np.ndarray  # (sum of lengths,); int32, or small ones of pictures: uint8, uint16
    lengths: np.ndarray  # (N,)
    labels: np.ndarray | None = None  # (N,) int32


class Block(NamedTuple):
    """One written file, as the manifest names it."""

    file: str
    rows: int
    tokens: int
    bytes: int
    sha256: str


class Split:
    """Items of one split by number, as views into the memory map: `split[i]` -> int32 ids.

    Small ids, of pictures, take a byte or two each on the disk and are copied as they are read.

    Pickles as its paths and reopens them, so it may be sent to a loader's workers.
    """

    def __init__(self, folder: Path, blocks: Sequence[Block]) -> None:
        self.folder = folder
        self.blocks = list(blocks)
        self._chunks = [chunk for block in self.blocks for chunk in _open_block(folder, block)]
        ends = np.cumsum([len(chunk.column("ids")) for chunk in self._chunks], dtype=np.int64)
        self._starts: list[int] = [0, *ends.tolist()]
        self._views = [_views(chunk) for chunk in self._chunks]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> np.ndarray:
        chunk, row = self._locate(index)
        ids, offsets = self._views[chunk][:2]
        return ids[offsets[row] : offsets[row + 1]].astype(np.int32, copy=False)

    def label(self, index: int) -> int | None:
        """The label of an item as a position in `Corpus.labels`; None if there are none."""
        chunk, row = self._locate(index)
        labels = self._views[chunk][2]
        return None if labels is None else int(labels[row])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of every item with its EOS, (N,) int32; no token is touched."""
        parts = [np.diff(offsets) for _, offsets, _ in self._views]
        return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int32, copy=False)

    def _locate(self, index: int) -> tuple[int, int]:
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"item {index} of a split of {len(self)}")
        chunk = bisect_right(self._starts, row) - 1
        return chunk, row - self._starts[chunk]

    def __reduce__(self) -> tuple[Any, ...]:
        return Split, (self.folder, self.blocks)


class Corpus:
    """An opened prepared corpus; nothing but the manifest and the codec is read yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        self.codec: Codec = load_codec(self.folder / "codec")
        self.labels: list[str] | None = self.manifest["labels"]

    def split(self, name: str) -> Split | Binarized:
        """The items of "train", "valid" or "test". Raises `Refused` if absent or damaged.

        Of pictures whose pixels are drawn anew each time: one fixed drawing of them.
        """
        present = {name: part for name, part in self.manifest["splits"].items() if part["rows"]}
        if name not in present:
            raise Refused(
                f"{self.folder} has no split {name!r}; it has {', '.join(present)}. "
                f"{_split_cure(name, self.manifest.get('modality'))}"
            )
        blocks = [Block(**block) for block in present[name]["files"]]
        items, codec = Split(self.folder / name, blocks), self.codec
        if isinstance(codec, PixelCodec) and codec.binarize == "dynamic":
            return Binarized(items, [codec.seed, SPLITS.index(name)])
        return items

    def has(self, name: str) -> bool:
        """Whether there is a split of that name with items in it."""
        return bool(self.manifest["splits"].get(name, {"rows": 0})["rows"])

    def sentences(self, name: str) -> Iterator[Any]:
        """The items of a split, decoded, in order. Raises `Refused` as `split` does."""
        items = self.split(name)
        return (self.codec.decode(items[row].tolist()) for row in range(len(items)))

    @property
    def checksum(self) -> str:
        """One SHA-256 for all the data, the codec and the labels: equal data, equal checksum."""
        parts = {
            name: [block["sha256"] for block in part["files"]]
            for name, part in self.manifest["splits"].items()
        }
        named = {"splits": parts, "codec": self.manifest["codec"], "labels": self.labels}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def open_corpus(folder: str | Path) -> Corpus:
    """Open a prepared corpus. Raises `Refused` if the folder is none, or is damaged.

    >>> open_corpus("no/such/folder")
    Traceback (most recent call last):
    ...
    seqvae.errors.Refused: no/such/folder does not exist. \
Make a corpus: seqvae prepare text FILE --out no/such/folder \
(of MIDI: seqvae prepare midi FOLDER --out no/such/folder; \
of pictures: seqvae prepare images FOLDER --out no/such/folder)
    """
    return Corpus(Path(folder))


def find_corpus(folder: Path) -> Corpus:
    """The corpus a run was trained on. Raises `Refused` where it is gone or has changed."""
    note = folder / "corpus.json"
    if not note.is_file():
        raise Refused(
            f"{folder} does not say which corpus it was trained on, as an export does not. To "
            "measure it, name one: --corpus FOLDER (of neighbours: --among); to train, begin a "
            "new run."
        )
    try:
        said = json.loads(note.read_bytes())
        place, checksum = folder / said["path"], str(said["checksum"])  # or an absolute path
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{note} is damaged ({error!r:.80}); name a corpus.") from error
    corpus = open_corpus(place)
    if corpus.checksum != checksum:
        raise Refused(
            f"{corpus.folder} is not the corpus {folder} was trained on: its checksum is "
            f"{corpus.checksum[:12]}, not {checksum[:12]}. Prepare it as it was."
        )
    return corpus


def write_block(path: Path, parts: Iterable[Packed]) -> Block:
    """Write items as one Arrow stream, atomically; equal parts give equal bytes.

    Raises `OSError` when the disk is full; no half file is left under the name then.
    """
    rows = tokens = 0
    with Replacing(path) as file:
        writer = None
        for part in parts:
            batch = _record_batch(part)
            writer = writer or pa.ipc.new_stream(file, batch.schema)
            writer.write_batch(batch)
            rows, tokens = rows + len(part.lengths), tokens + len(part.ids)
        if writer is None:
            raise ValueError(f"{path}: a block needs at least one part")
        writer.close()
    return Block(path.name, rows, tokens, path.stat().st_size, file_sha256(path))


def write_manifest(
    folder: Path,
    splits: Mapping[str, Sequence[Block]],
    codec: Mapping[str, Any],
    labels: Sequence[str] | None,
    about: Mapping[str, Any],
) -> None:
    """Write the manifest, the last file of a corpus; `about` says where it came from."""
    manifest = {
        **about,
        "format": FORMAT,
        "codec": dict(codec),
        "labels": None if labels is None else list(labels),
        "splits": {name: _summary(blocks) for name, blocks in splits.items()},
    }
    write_json(folder / "manifest.json", manifest)


def write_json(path: Path, value: Any) -> None:
    """Write JSON a person can read, atomically."""
    with Replacing(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file. Raises `Refused` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}.") from error


class Replacing:
    """`with Replacing(path) as file`: the file takes its name whole, or not at all.

    It is written beside, flushed to the disk, then renamed: a kill or a full disk at any moment
    leaves what stood there before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.beside = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.beside.open("wb")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            with self.file:
                if kind is None:
                    self.file.flush()
                    os.fsync(self.file.fileno())
            if kind is None:
                self.beside.replace(self.path)
        finally:
            with suppress(FileNotFoundError):
                self.beside.unlink()


def _record_batch(part: Packed) -> pa.RecordBatch:
    offsets = np.zeros(len(part.lengths) + 1, np.int32)
    np.cumsum(part.lengths, out=offsets[1:])
    small = part.ids.dtype in (np.uint8, np.uint16)
    ids = part.ids if small else part.ids.astype(np.int32)
    columns = {"ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))}
    if part.labels is not None:
        columns["label"] = pa.array(part.labels.astype(np.int32))
    return pa.RecordBatch.from_pydict(columns)


def _summary(blocks: Sequence[Block]) -> dict[str, Any]:
    rows, tokens = sum(block.rows for block in blocks), sum(block.tokens for block in blocks)
    mean = tokens / rows if rows else None  # tokens an item, EOS counted
    files = [block._asdict() for block in blocks]
    return {"rows": rows, "tokens": tokens, "mean_length": mean, "files": files}


def _open_block(folder: Path, block: Block) -> list[pa.RecordBatch]:
    path = folder / block.file
    try:
        size = path.stat().st_size
        # The mapping outlives the closed file: thousands of blocks take no file descriptors.
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            batches = list(stream)
    except (OSError, pa.ArrowInvalid) as error:
        raise Refused(f"{path}: {error}. {_cure(folder.parent)}") from error
    if size != block.bytes or sum(map(len, batches)) != block.rows:
        raise Refused(f"{path} is not what the manifest says. {_cure(folder.parent)}")
    return batches


def _views(chunk: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    column = chunk.column("ids")
    labels = chunk.column("label").to_numpy() if "label" in chunk.schema.names else None
    return column.values.to_numpy(), column.offsets.to_numpy(), labels


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if folder.is_file():
        raise Refused(f"{folder} is a file, not a prepared corpus: seqvae prepare text {folder}")
    if not folder.is_dir():
        raise Refused(f"{folder} does not exist. Make a corpus: {_command(folder)}")
    if not path.is_file():
        unfinished = (folder / "plan.json").is_file()
        what = "is not prepared to its end" if unfinished else "is no prepared corpus"
        raise Refused(f"{folder} {what} (no manifest.json). Make it: {_command(folder)}")
    try:
        manifest = json.loads(path.read_bytes())
        number = manifest["format"]
        _check_manifest(manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path} is damaged ({error!r:.80}). {_cure(folder)}") from error
    if number != FORMAT:
        raise Refused(f"{path} has format {number!r}; this version reads {FORMAT}. Update seqvae.")
    return manifest


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    """Touch what will be read, so that a damaged manifest is found when it is opened."""
    if manifest["labels"] is not None:
        [str(label) for label in manifest["labels"]]
    manifest["codec"]["vocab"]
    for part in manifest["splits"].values():
        blocks = [Block(**block) for block in part["files"]]
        if sum(block.rows for block in blocks) != part["rows"]:
            raise ValueError("rows do not add up")


def _cure(folder: Path) -> str:
    return f"Prepare the corpus again: {_command(folder)}"


def _command(folder: Path) -> str:
    """The command that makes a corpus there: of the kind that was begun, if one was."""
    for name in ("plan.json", "manifest.json"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            begun = json.loads((folder / name).read_bytes()).get("modality", "text")
            return f"{COMMANDS[begun]} --out {folder}"
    text, music, image = (f"{command} --out {folder}" for command in COMMANDS.values())
    return f"{text} (of MIDI: {music}; of pictures: {image})"


def _split_cure(name: str, modality: str | None) -> str:
    """How a corpus of that kind gets the split that this one lacks."""
    if name not in SPLITS:
        return "Name one of these."
    if modality == "music":
        how = f"--splits TABLE, or --{name}-fraction 0.05"
    else:
        how = f"--{name} FILE, or --{name}-fraction 0.05"
    command = COMMANDS.get(modality or "", COMMANDS["text"])
    return f"Prepare a corpus with one: {command} --out NEW {how}"
