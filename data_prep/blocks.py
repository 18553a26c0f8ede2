"""Pass 2: the plan's blocks of lines, encoded and written, each dropped line listed.

What a block holds depends on the plan alone: killed and run again, or shared among machines, it
has the same bytes. Its counts are written last and say that it is finished.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqvae.codecs import TextCodec
from seqvae.corpus import SPLITS, Packed, Replacing, write_block, write_json
from seqvae.errors import Refused

from .lines import Hashes, Lines, faults_of
from .plan import TOO_LONG, Origin, Plan, Tell

GROUP_LINES = 1_000  # encoded at once: few enough that a cache holds them and their ids
# Where a line may not stand twice: its split -> the splits that keep it, and the reason given.
RIVALS = {"train": ("valid", "test"), "valid": ("test",)}
DUPLICATE = {split: f"duplicate of {'/'.join(rivals)}" for split, rivals in RIVALS.items()}


class Stretch(NamedTuple):
    """Items of one source that follow each other, and where they stand."""

    origin: Origin
    first: int  # number of the first of them within its source, from 1
    lines: Lines

    @property
    def size(self) -> int:
        return len(self.lines.texts)

    def split_at(self, count: int) -> "tuple[Stretch, Stretch | None]":
        """The first `count` items, and those after them if there are any."""
        if count >= self.size:
            return self, None
        rest = self.lines.part(count, self.size)
        first = self._replace(lines=self.lines.part(0, count))
        return first, self._replace(first=self.first + count, lines=rest)


class Feed:
    """The items of all sources in order, handed out in groups of any size."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        self.stretches = _stretches(origins)
        self.left: Stretch | None = None
        self.at = 0  # items handed out

    def take(self, count: int) -> list[Stretch]:
        """The next `count` items, or those that are left."""
        taken: list[Stretch] = []
        while count > 0:
            stretch = self.left or next(self.stretches, None)
            if stretch is None:
                break
            part, self.left = stretch.split_at(count)
            taken.append(part)
            count -= part.size
            self.at += part.size
        return taken

    def skip_to(self, start: int) -> None:
        """Pass over the items before item `start`, or over all."""
        while self.at < start and self.take(min(start - self.at, GROUP_LINES)):
            pass


def _stretches(origins: Sequence[Origin]) -> Iterator[Stretch]:
    for origin in origins:
        first = 1
        for lines in origin.source.lines():
            yield Stretch(origin, first, lines)
            first += len(lines.texts)


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
        feed = Feed(self.origins)
        for number in missing:
            feed.skip_to(number * self.plan.options.block)
            self._write_block(number, feed)

    def _read_taken(self) -> dict[str, frozenset[int]]:
        """Split -> hashes of the lines that given files keep for others."""
        hashes: dict[str, set[int]] = {split: set() for split in SPLITS}
        for origin in self.origins:
            if origin.split != "train" and not self.plan.options.keep_duplicates:
                seed = self.plan.options.seed
                for lines in origin.source.lines():
                    hashes[origin.split].update(lines.hashes(seed).tolist())
        rivals = {split: [hashes[rival] for rival in RIVALS.get(split, ())] for split in SPLITS}
        return {split: frozenset[int]().union(*others) for split, others in rivals.items()}

    def _write_block(self, number: int, feed: Feed) -> None:
        draft = _Draft(self)
        end = min((number + 1) * self.plan.options.block, self.plan.items)
        while group := feed.take(min(GROUP_LINES, end - feed.at)):
            draft.take(group)
            self.tell("encode", feed.at, self.plan.items)
        if feed.at != end:
            raise Refused(
                "a source was shortened while it was being read. "
                f"Delete {self.out} and prepare it again."
            )
        draft.write(number)


class _Usable(NamedTuple):
    """The N lines of a stretch that are encoded, by column."""

    stretch: Stretch
    places: Sequence[int]  # in the stretch
    texts: list[str]
    splits: NDArray[np.int8]  # (N,) in `SPLITS`
    labels: NDArray[np.int32]  # (N,), or none: their ids


class _Draft:
    """The items and drops of one block while it is read."""

    def __init__(self, writer: BlockWriter) -> None:
        self.writer = writer
        self.options = writer.plan.options
        self.parts: dict[str, list[Packed]] = {split: [] for split in SPLITS}
        self.drops: list[str] = []
        self.dropped: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.read = 0

    def take(self, group: Sequence[Stretch]) -> None:
        self.read += sum(stretch.size for stretch in group)
        usable = [self._usable(stretch) for stretch in group]
        texts = [text for part in usable for text in part.texts]
        encoded = self.writer.codec.encode_batch(texts)
        lengths = np.fromiter(map(len, encoded), np.int32, len(encoded))
        ids = np.fromiter(chain.from_iterable(encoded), np.int32, lengths.sum())
        splits = np.concatenate([part.splits for part in usable])
        labels = np.concatenate([part.labels for part in usable])
        fits = (lengths >= self.options.min_tokens) & (lengths <= self.options.max_tokens)
        if not fits.all():
            self._drop_lengths(usable, lengths, fits)
        for number, split in enumerate(SPLITS):
            kept = fits & (splits == number)
            if kept.any():
                told = None if self.options.label is None else labels[kept]
                part = Packed(ids[np.repeat(kept, lengths)], lengths[kept], told)
                self.parts[split].append(part)

    def _usable(self, stretch: Stretch) -> "_Usable":
        """The lines of a stretch that are worth encoding; the others are dropped."""
        texts, labels, given = stretch.lines.texts, stretch.lines.labels, stretch.origin.split
        faults = faults_of(stretch.lines, type(self.writer.codec))
        keys = stretch.lines.hashes(self.options.seed)
        if taken := self.writer.taken[given]:
            found = (place for place, key in enumerate(keys.tolist()) if key in taken)
            faults = {**dict.fromkeys(found, DUPLICATE[given]), **faults}
        for place in sorted(faults):
            self._drop(stretch, place, given, faults[place])
        kept = [place for place in range(stretch.size) if place not in faults]
        label_ids = self.writer.label_ids
        told = [] if labels is None else [label_ids[labels[place] or ""] for place in kept]
        return _Usable(
            stretch,
            kept,
            [texts[place] for place in kept],
            self._splits(given, keys[kept]),
            np.array(told, np.int32),
        )

    def _splits(self, given: str, keys: Hashes) -> NDArray[np.int8]:
        """The places of lines' splits in `SPLITS`: as given, or by their hashes (N,)."""
        if given != "train":
            return np.full(len(keys), SPLITS.index(given), np.int8)
        plan = self.writer.plan
        held_out = np.where(keys < plan.valid_below, SPLITS.index("valid"), SPLITS.index("test"))
        below = max(plan.valid_below, plan.test_below)
        return np.where(keys < below, held_out, SPLITS.index("train")).astype(np.int8)

    def _drop_lengths(
        self, usable: Sequence["_Usable"], lengths: NDArray[np.int32], fits: NDArray[np.bool_]
    ) -> None:
        """Drop the lines (N,) that do not fit."""
        where = [(part, number) for part in usable for number in range(len(part.texts))]
        for row in np.flatnonzero(~fits).tolist():
            part, number = where[row]
            reason = TOO_LONG if lengths[row] > self.options.max_tokens else "too short"
            split = SPLITS[part.splits[number]]
            self._drop(part.stretch, part.places[number], split, reason)

    def _drop(self, stretch: Stretch, place: int, split: str, reason: str) -> None:
        name, number = stretch.origin.source.name, stretch.first + place
        if self.writer.strict and reason != "blank":
            raise Refused(
                f"{name}, line {number}: {reason}. Mend it, or drop such lines: "
                "leave out --strict."
            )
        self.dropped[split][reason] += 1
        self.drops.append(f"{name}\t{number}\t{reason}\n")

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
