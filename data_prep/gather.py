"""The end of a preparation of songs: splits, duplicates, the corpus's files, and its report."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqvae import __version__
from seqvae.codecs import MusicCodec
from seqvae.corpus import SPLITS, Block, Packed, Replacing, write_block, write_manifest
from seqvae.errors import Refused

from .blocks import DUPLICATE, RIVALS
from .lines import line_hash
from .plan import Tell
from .scan import exact_thresholds
from .songblocks import SongPlan, block_path, read_records
from .songs import Placed
from .windows import UNREAD, Keys, Record

FRACTION = 0.05  # of the songs, in valid and in test, unless told
NOWHERE = "in no split"  # the row of files whose split nobody can tell
UNNAMED = "not in the table of splits"
UNLABELLED = "no label"
WORST = 3  # files named under the table

Mask = NDArray[np.bool_]


class Drop(NamedTuple):
    """Windows of a file that are not in the corpus, and why."""

    file: str
    split: str
    reason: str
    windows: int
    detail: str


class Place(NamedTuple):
    """Where the windows of a file go: its split, its label; or why nowhere."""

    split: str | None
    label: str | None = None
    fault: str | None = None


class Tally:
    """What is counted while a corpus is written; `report` is all of it as plain data."""

    def __init__(self) -> None:
        self.splits: dict[str, dict[str, Any]] = {}
        self.lost: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()  # notes, padded, converted, repeats, quarantined
        self.chosen: dict[str, Counter[str]] = {}  # part -> how its track was chosen
        self.drops: list[Drop] = []
        self.quarantine: list[tuple[str, str, str]] = []
        self.checksum = hashlib.sha256()  # of the checksums of all files, in order

    def take(self, made: Record, place: Place, kept: int, dropped: Mapping[str, int]) -> None:
        """Count one file and what was dropped of it."""
        name = place.split or NOWHERE
        row = self.splits.setdefault(name, _row())
        row["files"] += 1
        row["used"] += kept > 0
        row["windows"] += kept + sum(dropped.values())
        row["kept"] += kept
        self.checksum.update(f"{made.sha256}\n".encode())
        if made.fault == UNREAD:
            dropped = {UNREAD: 0, **dropped}
            self.quarantine.append((made.file, made.sha256 or "", made.detail))
        for reason, count in dropped.items():
            row["dropped"][reason] += count
            row["files dropped from"][reason] += 1
            detail = made.detail if reason == made.fault else ""
            self.drops.append(Drop(made.file, name, reason, count, detail))
        if kept:
            self._take_used(made)

    def _take_used(self, made: Record) -> None:
        self.lost.update(made.lost)
        for name in ("notes", "padded", "converted"):
            self.counts[name] += made.about[name]
        self.counts["mended"] += "repairs" in made.about
        for part, how in made.about["parts"].items():
            self.chosen.setdefault(part, Counter())[_kind(how)] += 1

    def report(self) -> dict[str, Any]:
        """All counts, for the manifest and the table."""
        order = (*SPLITS, NOWHERE)
        splits = {name: _plain(self.splits[name]) for name in order if name in self.splits}
        return {
            "splits": splits,
            "lost": dict(sorted(self.lost.items())),
            "counts": dict(sorted(self.counts.items())),
            "chosen": {part: dict(ways.most_common()) for part, ways in self.chosen.items()},
            "quarantined": len(self.quarantine),
            "worst": self._worst(),
        }

    def _worst(self) -> list[list[Any]]:
        """The files of which most was dropped: file, windows, reasons."""
        by_file: dict[str, Counter[str]] = {}
        for drop in self.drops:
            by_file.setdefault(drop.file, Counter())[drop.reason] += drop.windows
        worst = sorted(by_file.items(), key=lambda one: (-one[1].total(), one[0]))[:WORST]
        return [[file, reasons.total(), dict(reasons.most_common())] for file, reasons in worst]


def _row() -> dict[str, Any]:
    numbers = dict.fromkeys(("files", "used", "windows", "kept"), 0)
    return {**numbers, "dropped": Counter(), "files dropped from": Counter()}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose counts by reason are sorted."""
    return {
        name: dict(sorted(value.items())) if isinstance(value, Counter) else value
        for name, value in row.items()
    }


def _kind(how: str) -> str:
    """How a track was chosen, in a few words that are the same for many files."""
    why = how.partition(": ")[2].partition(";")[0].partition(",")[0]
    known = ("all", "asked for", "by name", "on channel", "program")
    return why if why.startswith(known) else "by how it plays"


class Gathering:
    """The finished blocks, and the splits of all their files."""

    def __init__(
        self, out: Path, plan: SongPlan, codec: MusicCodec, placed: Mapping[str, Placed] | None
    ) -> None:
        self.out, self.plan, self.codec = out, plan, codec
        self.options = plan.options
        self.tally = Tally()
        self.placed = placed
        self.below = (0, 0) if placed is not None else self._thresholds()
        self.taken = self._read_taken()
        self.label_ids: dict[str, int] = {}
        if self.options.label is not None:
            used = {self.place(made).label for made in self._records() if len(made.keys)}
            labels = sorted(label for label in used if label is not None)
            self.label_ids = {label: number for number, label in enumerate(labels)}

    def _records(self) -> Iterator[Record]:
        for number in range(self.plan.blocks):
            yield from read_records(block_path(self.out, number))

    def _hash(self, made: Record) -> int:
        return line_hash(made.song, self.options.seed)

    def _thresholds(self) -> tuple[int, int]:
        """Bounds of the songs' hashes: below the first is valid, below the second test."""
        shares = (self.options.valid_fraction, self.options.test_fraction)
        first, second = (FRACTION if share is None else share for share in shares)
        hashes = sorted(self._hash(made) for made in self._records() if len(made.keys))
        if not (first or second) or not hashes:
            return 0, 0
        if len(set(hashes)) < 2:
            discard(self.out)
            raise Refused(
                f"only one distinct song with windows ({n_files(len(hashes))}): nothing to split. "
                "Give more songs: training validates on some. To prepare all for training alone: "
                "seqvae prepare midi FILES --valid-fraction 0 --test-fraction 0 --out DIR. "
                f"Deleted what was begun in {self.out}."
            )
        return exact_thresholds(hashes, first, second)

    def place(self, made: Record) -> Place:
        """The split of a file, by the table or by the hash of its song."""
        if self.placed is not None:
            return self._by_table(made)
        if not made.song:
            return Place(None)
        key = self._hash(made)
        if key < self.below[0]:
            return Place("valid")
        return Place("test" if key < self.below[1] else "train")

    def _by_table(self, made: Record) -> Place:
        said = (self.placed or {}).get(made.file)
        if said is None:
            return Place(None, fault=UNNAMED)
        if self.options.label is not None and said.label is None:
            return Place(said.split, fault=UNLABELLED)
        return Place(said.split, said.label)

    def _read_taken(self) -> dict[str, Keys]:
        """Split -> the sorted keys of the windows that other splits keep."""
        keys: dict[str, list[Keys]] = {split: [] for split in SPLITS}
        if not self.options.keep_duplicates:
            for made in self._records():
                place = self.place(made)
                if place.split in ("valid", "test") and place.fault is None:
                    keys[place.split].append(made.keys)
        return {
            split: np.unique(
                np.concatenate(
                    [np.zeros(0, np.uint64), *(k for r in RIVALS.get(split, ()) for k in keys[r])]
                )
            )
            for split in SPLITS
        }

    def write(self, tell: Tell) -> dict[str, list[Block]]:
        """The files of every split, a block of songs each, and the table of songs."""
        blocks: dict[str, list[Block]] = {split: [] for split in SPLITS}
        rows = dict.fromkeys(SPLITS, 0)
        with Replacing(self.out / "songs.tsv") as songs:
            songs.write(_line(*SONG_COLUMNS))
            for number in range(self.plan.blocks):
                parts: dict[str, list[Packed]] = {split: [] for split in SPLITS}
                for made in read_records(block_path(self.out, number)):
                    place, kept = self._kept(made)
                    if place.split is not None and kept.any():
                        packed = self._packed(made, place, kept)
                        parts[place.split].append(packed)
                        songs.write(_song_line(made, place, rows[place.split], kept))
                        rows[place.split] += len(packed.lengths)
                for split, packs in parts.items():
                    if packs:
                        path = self.out / split / f"{number:05d}.arrow"
                        blocks[split].append(write_block(path, [_together(packs)]))
                tell("windows", number + 1, self.plan.blocks)
        return blocks

    def _kept(self, made: Record) -> tuple[Place, Mask]:
        """Where a file's windows go and which of them, everything counted."""
        place = self.place(made)
        dropped = Counter(made.dropped)
        if place.fault is not None:
            kept = np.zeros(len(made.keys), dtype=bool)
            dropped = Counter({place.fault: made.windows})
        else:
            taken = self.taken[place.split or "test"]
            found = np.minimum(np.searchsorted(taken, made.keys), max(len(taken) - 1, 0))
            kept = taken[found] != made.keys if len(taken) else np.ones(len(made.keys), bool)
            if not kept.all():
                dropped[DUPLICATE[place.split or ""]] = int((~kept).sum())
        self.tally.take(made, place, int(kept.sum()), dropped)
        return place, kept

    def _packed(self, made: Record, place: Place, kept: Mask) -> Packed:
        rows = made.ids(self.codec, kept)
        self.tally.counts["repeats"] += len(rows) - len({row.tobytes() for row in rows})
        lengths = np.array([len(row) for row in rows], np.int32)
        ids = np.concatenate(rows).astype(np.int32)
        if place.label is None:
            return Packed(ids, lengths)
        labels = np.full(len(rows), self.label_ids[place.label], np.int32)
        return Packed(ids, lengths, labels)

    def write_lists(self) -> None:
        """`dropped.tsv` and `quarantine.tsv`."""
        with Replacing(self.out / "dropped.tsv") as file:
            file.write(_line(*Drop._fields))
            for drop in self.tally.drops:
                file.write(_line(*drop))
        with Replacing(self.out / "quarantine.tsv") as file:
            file.write(_line("file", "sha256", "reason"))
            for row in self.tally.quarantine:
                file.write(_line(*row))

    def write_end(
        self, blocks: Mapping[str, Sequence[Block]], versions: Mapping[str, str]
    ) -> None:
        """The manifest: from now on the corpus is one."""
        report = self.tally.report()
        about = {
            "modality": "music",
            "version": __version__,
            "versions": dict(versions),
            "options": asdict(self.options),
            "sources": {
                "names": list(self.options.sources),
                "files": self.plan.files,
                "sha256": self.tally.checksum.hexdigest(),
            },
            "dropped": {name: part["dropped"] for name, part in report["splits"].items()},
            "report": report,
        }
        header = json.loads((self.out / "codec" / "codec.json").read_bytes())
        codec = {"kind": self.codec.kind, "vocab": self.codec.vocab, "sha256": header["sha256"]}
        labels = None if self.options.label is None else list(self.label_ids)
        files = {split: found for split, found in blocks.items() if found}
        write_manifest(self.out, files, codec, labels, about)


def n_files(count: int) -> str:
    """
    >>> n_files(1), n_files(2)
    ('1 file', '2 files')
    """
    return f"{count} file" if count == 1 else f"{count} files"


def discard(out: Path) -> None:
    """Take back an unusable corpus, so that nothing stands in the way of the next attempt."""
    for name in ("blocks", *SPLITS, "codec"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("songs.tsv", "plan.json"):
        (out / name).unlink(missing_ok=True)


def _together(packs: Sequence[Packed]) -> Packed:
    labelled = [pack.labels for pack in packs if pack.labels is not None]
    return Packed(
        np.concatenate([pack.ids for pack in packs]),
        np.concatenate([pack.lengths for pack in packs]),
        np.concatenate(labelled) if labelled else None,
    )


SONG_COLUMNS = (
    *("split", "row", "rows", "file", "bars", "metre", "qpm", "label"),
    *("tracks", "repairs", "sha256"),
)


def _song_line(made: Record, place: Place, row: int, kept: Mask) -> bytes:
    about = made.about
    tracks = "; ".join(f"{part}: {how}" for part, how in about["parts"].items())
    return _line(
        *(place.split, row, int(kept.sum()), made.file, ranges(made.bars[kept])),
        *(about["metre"], about["qpm"], place.label or "", tracks),
        *("; ".join(about.get("repairs", ())), made.sha256 or ""),
    )


def ranges(numbers: NDArray[np.int32]) -> str:
    """Rising whole numbers, short.

    >>> ranges(np.array([1, 2, 3, 7, 9, 10], dtype=np.int32))
    '1-3,7,9-10'
    """
    edges = np.flatnonzero(np.diff(numbers) != 1) + 1
    runs = np.split(numbers, edges)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _line(*cells: object) -> bytes:
    """A row of a table; what is in a cell stays in it."""
    text = "\t".join(" ".join(str(cell).split()) for cell in cells)
    return (text + "\n").encode(errors="surrogateescape")
