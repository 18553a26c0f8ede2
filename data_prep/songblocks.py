"""Songs prepared in blocks of files: the plan, and what every finished block holds.

A block depends on its files and the plan alone: killed and run again, or shared among machines,
it is the same. It is written when all of its files are done.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from seqvae.corpus import Replacing, write_json
from seqvae.errors import Refused

from .plan import Tell
from .songs import File
from .windows import UNREAD, Record, Wish, record
from .workers import Bounds, Lost, results

FORMAT = 1
FEW = 250  # files a block
TOLD = 20  # files after which somebody is told
ARRAYS = ("tokens", "opening", "starts", "bars", "keys")
PLAIN = ("file", "sha256", "fault", "detail", "windows", "dropped", "about", "lost", "song")


@dataclass(frozen=True)
class SongOptions:
    """Everything that decides the bytes of a corpus of songs, besides the songs."""

    codec: str
    settings: Mapping[str, Any]
    sources: Sequence[str]
    track: Mapping[str, str]
    other_metres: str
    splits: str | None
    splits_sha256: str | None
    label: str | None
    valid_fraction: float | None
    test_fraction: float | None
    seed: int
    keep_duplicates: bool
    block: int
    max_tokens: int | None = None


@dataclass(frozen=True)
class SongPlan:
    """What was decided before the first file was read."""

    options: SongOptions
    files: int
    listing: str  # a checksum of the files' names and sizes

    @property
    def blocks(self) -> int:
        return -(-self.files // self.options.block)

    def block(self, files: Sequence[File], number: int) -> Sequence[File]:
        """The files of a block."""
        size = self.options.block
        return files[number * size : (number + 1) * size]


def song_plan(options: SongOptions, files: Sequence[File]) -> SongPlan:
    """The plan for these files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.size}\n".encode(errors="surrogateescape"))
    return SongPlan(options, len(files), digest.hexdigest())


def write_song_plan(out: Path, plan: SongPlan) -> None:
    """Write `plan.json`: from now on the folder is carried on, not begun anew."""
    write_json(out / "plan.json", {"format": FORMAT, "modality": "music", **asdict(plan)})


def check_song_plan(out: Path, plan: SongPlan) -> None:
    """Raise `Refused` if the folder was begun by another plan, or its plan is damaged."""
    path = out / "plan.json"
    cure = f"Choose another folder, or delete {out} and prepare it again."
    try:
        begun = json.loads(path.read_bytes())
        old = dict(begun["options"])
        music = begun.get("modality") == "music"
        number, listing = begun["format"], begun.get("listing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path} is damaged. Delete {out} and prepare it again.") from error
    if not music:
        raise Refused(f"{out} holds a corpus of text. Choose another folder: --out NEW")
    if number != FORMAT:
        raise Refused(f"{path} has format {number!r}, not {FORMAT}. Delete {out}; start anew.")
    for name, new in json.loads(json.dumps(asdict(plan.options))).items():
        if old.get(name) != new:
            raise Refused(f"{out} was begun with {name} = {old.get(name)!r}, now {new!r}. {cure}")
    if listing != plan.listing:
        raise Refused(f"{out} was begun from other files, or some have changed. {cure}")


def write_song_blocks(
    out: Path,
    plan: SongPlan,
    files: Sequence[File],
    wish: Wish,
    shard: tuple[int, int],
    workers: int,
    bounds: Bounds,
    strict: bool,
    tell: Tell,
) -> None:
    """Write the shard's blocks that are not written yet."""
    mine = range(shard[0], plan.blocks, shard[1])
    missing = [number for number in mine if not block_path(out, number).is_file()]
    tasks = [file for number in missing for file in plan.block(files, number)]
    found = results(partial(record, wish=wish), tasks, workers, bounds)
    records = _told(tasks, found, strict, tell)
    for number in missing:
        write_records(
            block_path(out, number), list(islice(records, len(plan.block(files, number))))
        )


def _told(
    tasks: Sequence[File], found: Iterator[Record | Lost], strict: bool, tell: Tell
) -> Iterator[Record]:
    for number, (file, result) in enumerate(zip(tasks, found, strict=True), 1):
        made = result if isinstance(result, Record) else _lost(file, result.reason)
        if strict and made.fault is not None:
            raise Refused(
                f"{file.name}: {made.fault} ({made.detail}). Mend or remove it, or drop such "
                "files: leave out --strict."
            )
        if number % TOLD == 0 or number == len(tasks):
            tell("files", number, len(tasks))
        yield made


def _lost(file: File, reason: str) -> Record:
    """A file that ended its worker; its checksum is all that is still asked of it."""
    try:
        sha256 = hashlib.sha256(file.read(file.size)).hexdigest()
    except Refused:
        sha256 = None
    return Record(file.name, sha256, UNREAD, reason)


def block_path(out: Path, number: int) -> Path:
    return out / "blocks" / f"{number:05d}.npz"


def finished_song_blocks(out: Path, plan: SongPlan) -> int:
    """How many blocks are written."""
    return sum(block_path(out, number).is_file() for number in range(plan.blocks))


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write what became of some files, atomically."""
    heads = []
    for made in records:
        sizes = [len(made.tokens), made.tokens.shape[1], len(made.starts)]
        heads.append([*(getattr(made, name) for name in PLAIN), sizes])
    flat = {
        name: np.concatenate([getattr(made, name).ravel() for made in records]) for name in ARRAYS
    }
    text = json.dumps(heads, ensure_ascii=True).encode()
    with Replacing(path) as file:
        np.savez(file, heads=np.frombuffer(text, np.uint8), **flat)  # type: ignore[arg-type]


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote. Raises `Refused` where it is damaged."""
    try:
        with np.load(path) as found:
            heads = json.loads(found["heads"].tobytes())
            arrays = {name: found[name] for name in ARRAYS}
    except Exception as error:  # zip, zlib, numpy and JSON each have errors of their own
        raise Refused(f"{path} is damaged. Delete it, and run the same command again.") from error
    return list(_records(heads, arrays))


def _records(heads: Sequence[Any], arrays: Mapping[str, Any]) -> Iterator[Record]:
    at = dict.fromkeys(ARRAYS, 0)
    for *plain, (voices, steps, windows) in heads:
        sizes = dict.fromkeys(ARRAYS, windows)
        sizes |= dict.fromkeys(("tokens", "opening"), voices * steps)
        own = {name: arrays[name][at[name] : at[name] + sizes[name]] for name in ARRAYS}
        at = {name: at[name] + sizes[name] for name in ARRAYS}
        lanes = {name: own[name].reshape(voices, steps) for name in ("tokens", "opening")}
        yield Record(**dict(zip(PLAIN, plain, strict=True)), **(own | lanes))
