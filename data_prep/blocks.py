"""Pass 2: the plan's blocks of lines, encoded and written, each dropped line listed.

What a block holds depends on the plan alone: killed and run again, or shared among machines, it
has the same bytes. Its counts are written last and say that it is finished.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqvae.codecs import TextCodec
from seqvae.corpus import SPLITS, Packed, Replacing, write_block, write_json
from seqvae.errors import Refused

from .plan import TOO_LONG, Origin, Plan, Tell, item_fault, line_hash
from .sources import Item

GROUP_LINES = 10_000  # encoded at once: large enough for speed, small enough for memory
# Where a line may not stand twice: its split -> the splits that keep it, and the reason given.
RIVALS = {"train": ("valid", "test"), "valid": ("test",)}
DUPLICATE = {split: f"duplicate of {'/'.join(rivals)}" for split, rivals in RIVALS.items()}


class Located(NamedTuple):
    """An item and where it stands."""

    origin: Origin
    number: int  # within its source, from 1
    item: Item


class BlockWriter:
    """Writes blocks: for each split an Arrow file, the list of drops, then the counts."""

    def __init__(
        self,
        out: Path,
        plan: Plan,
        codec: TextCodec,
        origins: Sequence[Origin],
        strict: bool,
        tell: Tell,
    ) -> None:
        self.out = out
        self.plan = plan
        self.codec = codec
        self.origins = origins
        self.strict = strict
        self.tell = tell
        self.label_ids = {label: i for i, label in enumerate(plan.labels or [])}

    def write(self, shard: tuple[int, int]) -> None:
        """Write the shard's blocks that are not written yet."""
        mine = range(shard[0], self.plan.blocks, shard[1])
        missing = [number for number in mine if not _counts_path(self.out, number).is_file()]
        if not missing:
            return
        self.taken = self._read_taken()
        stream = self._stream()
        at = 0
        for number in missing:
            start = number * self.plan.options.block
            next(islice(stream, start - at, start - at), None)
            at = min(start + self.plan.options.block, self.plan.items)
            self._write_block(number, islice(stream, at - start), at - start)

    def _stream(self) -> Iterator[Located]:
        for origin in self.origins:
            for number, item in enumerate(origin.source.items(), 1):
                yield Located(origin, number, item)

    def _read_taken(self) -> dict[str, frozenset[int]]:
        """Split -> hashes of the lines that given files keep for others."""
        hashes: dict[str, set[int]] = {split: set() for split in SPLITS}
        for origin in self.origins:
            if origin.split != "train" and not self.plan.options.keep_duplicates:
                seed = self.plan.options.seed
                found = (line_hash(item.text, seed) for item in origin.source.items())
                hashes[origin.split].update(found)
        rivals = {split: [hashes[rival] for rival in RIVALS.get(split, ())] for split in SPLITS}
        return {split: frozenset[int]().union(*others) for split, others in rivals.items()}

    def _write_block(self, number: int, items: Iterator[Located], expected: int) -> None:
        draft = _Draft(self)
        while group := list(islice(items, GROUP_LINES)):
            draft.take(group)
            done = number * self.plan.options.block + draft.read
            self.tell("encode", done, self.plan.items)
        if draft.read != expected:
            raise Refused(
                "a source was shortened while it was being read. "
                f"Delete {self.out} and prepare it again."
            )
        draft.write(number)


class _Draft:
    """The items and drops of one block while it is read."""

    def __init__(self, writer: BlockWriter) -> None:
        self.writer = writer
        self.options = writer.plan.options
        self.parts: dict[str, list[Packed]] = {split: [] for split in SPLITS}
        self.drops: list[str] = []
        self.dropped: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.read = 0

    def take(self, group: Sequence[Located]) -> None:
        self.read += len(group)
        usable = [(located, split) for located in group if (split := self._split(located))]
        encoded = self.writer.codec.encode_batch([located.item.text for located, _ in usable])
        fitting: dict[str, list[tuple[list[int], str | None]]] = {split: [] for split in SPLITS}
        for (located, split), ids in zip(usable, encoded, strict=True):
            if self._fits(located, split, len(ids)):
                fitting[split].append((ids, located.item.label))
        for split, pairs in fitting.items():
            if pairs:
                self.parts[split].append(self._packed(pairs))

    def _split(self, located: Located) -> str | None:
        """The split a line belongs to; None if it was dropped."""
        given = located.origin.split
        fault = item_fault(located.item, type(self.writer.codec), self.options)
        if fault is not None:
            self._drop(located, given, fault)
            return None
        key = line_hash(located.item.text, self.options.seed)
        if key in self.writer.taken[given]:
            self._drop(located, given, DUPLICATE[given])
            return None
        if given != "train":
            return given
        if key < self.writer.plan.valid_below:
            return "valid"
        return "test" if key < self.writer.plan.test_below else "train"

    def _fits(self, located: Located, split: str, length: int) -> bool:
        if length > self.options.max_tokens:
            self._drop(located, split, TOO_LONG)
        elif length < self.options.min_tokens:
            self._drop(located, split, "too short")
        else:
            return True
        return False

    def _drop(self, located: Located, split: str, reason: str) -> None:
        name = located.origin.source.name
        if self.writer.strict and reason != "blank":
            raise Refused(
                f"{name}, line {located.number}: {reason}. Mend it, or drop such lines: "
                "leave out --strict."
            )
        self.dropped[split][reason] += 1
        self.drops.append(f"{name}\t{located.number}\t{reason}\n")

    def _packed(self, pairs: Sequence[tuple[list[int], str | None]]) -> Packed:
        lengths = np.fromiter((len(ids) for ids, _ in pairs), np.int32, len(pairs))
        ids = np.concatenate([np.asarray(ids, np.int32) for ids, _ in pairs])
        if self.options.label is None:
            return Packed(ids, lengths)
        label_ids = self.writer.label_ids
        labels = np.array([label_ids[label] for _, label in pairs if label is not None], np.int32)
        return Packed(ids, lengths, labels)

    def write(self, number: int) -> None:
        out = self.writer.out
        blocks = {
            split: write_block(out / split / f"{number:05d}.arrow", parts)._asdict()
            for split, parts in self.parts.items()
            if parts
        }
        with Replacing(_drops_path(out, number)) as file:
            file.write("".join(self.drops).encode(errors="surrogateescape"))
        dropped = {split: dict(sorted(counts.items())) for split, counts in self.dropped.items()}
        counts = {"items": self.read, "blocks": blocks, "dropped": dropped}
        write_json(_counts_path(out, number), counts)


def finished_blocks(out: Path, plan: Plan) -> list[dict[str, Any]]:
    """The counts of every block that is finished, in order."""
    paths = [_counts_path(out, number) for number in range(plan.blocks)]
    return [json.loads(path.read_bytes()) for path in paths if path.is_file()]


def write_drops(out: Path, plan: Plan) -> None:
    """Write `dropped.tsv`, the drops of all blocks in order."""
    with Replacing(out / "dropped.tsv") as file:
        file.write(b"file\tline\treason\n")
        for number in range(plan.blocks):
            file.write(_drops_path(out, number).read_bytes())


def _counts_path(out: Path, number: int) -> Path:
    return out / "blocks" / f"{number:05d}.json"


def _drops_path(out: Path, number: int) -> Path:
    return out / "blocks" / f"{number:05d}.tsv"
