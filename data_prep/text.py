"""Sentences in files -> a prepared corpus: scanned, split, encoded, counted.

Pass 1 reads every source once: it counts, draws the sample the codec is trained on, and fixes
`plan.json`. Pass 2 writes one block of source lines after the other; what a block holds depends
on the plan alone, so killed and run again, or shared among machines, gives the same bytes.
"""

import hashlib
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqvae import __version__
from seqvae.codecs import SentencePieceCodec, TextCodec, WordCodec, load_codec
from seqvae.corpus import (
    SPLITS,
    Block,
    Corpus,
    Replacing,
    Rows,
    open_corpus,
    write_block,
    write_json,
    write_manifest,
)
from seqvae.errors import Refused

from .sources import Columns, Item, Source, find_sources

Progress = Callable[[str, int, int | None], None]  # stage, lines done, lines in all if known

PLAN_FORMAT = 1
BLOCK_LINES = 200_000
GROUP_LINES = 10_000  # encoded at once: large enough for speed, small enough for memory
SAMPLE_LINES = 1_000_000
SAMPLE_CHARACTERS = 40_000_000  # keeps the codec's training under 500 MB
EXACT_LINES = 100_000  # up to here the splits' sizes are exact, above within 1 % or so
DEFAULT_FRACTION = 0.05
DEFAULT_LINES = 5_000  # a split is never larger unless a fraction was asked for
MOST_LABELS = 10_000
DUPLICATE = "duplicate of valid/test"
LEARNT = ("bpe", "unigram", "char", "word")


@dataclass(frozen=True)
class Options:
    """Everything that decides the bytes of a corpus, besides its sources."""

    codec: str
    vocab: int | None
    column: str | None
    label: str | None
    max_tokens: int
    min_tokens: int
    valid_fraction: float | None
    test_fraction: float | None
    seed: int
    keep_duplicates: bool
    block: int


class Origin(NamedTuple):
    """A source and the split it was given for; lines of "train" may be moved by their hash."""

    split: str
    source: Source


@dataclass(frozen=True)
class Plan:
    """What pass 1 decided."""

    options: Options
    sources: list[dict[str, Any]]  # split, name, size, sha256 and number of items of each
    valid_below: int  # a train line goes to valid if its hash is below this,
    test_below: int  # else to test if it is below this
    labels: list[str] | None
    codec: dict[str, Any]

    @property
    def items(self) -> int:
        return sum(source["items"] for source in self.sources)

    @property
    def blocks(self) -> int:
        return -(-self.items // self.options.block)


@dataclass
class Counts:
    """Lines of one split: kept, their tokens with EOS, and the dropped by reason."""

    kept: int = 0
    tokens: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Prepared:
    """What a call of `prepare_text` did: counts by split, and how many blocks are finished."""

    folder: Path
    splits: dict[str, Counts]
    vocab: int
    done: int
    blocks: int

    @property
    def finished(self) -> bool:
        """Whether the manifest is written; if not, other shards still have blocks to do."""
        return self.done == self.blocks

    def open(self) -> Corpus:
        """The corpus. Raises `Refused` while blocks are missing."""
        return open_corpus(self.folder)

    def table(self) -> list[tuple[str, ...]]:
        """A header and one row a split: lines read = kept + dropped; length in tokens with EOS."""
        header = ("split", "lines", "kept", "mean length", "dropped", "reasons")
        return [header, *(_table_row(name, counts) for name, counts in self.splits.items())]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
        return "\n".join([*lines, f"{self.folder}: {self.vocab} ids, {self._state()}"])

    def _state(self) -> str:
        return "finished" if self.finished else f"{self.done} of {self.blocks} blocks finished"


def prepare_text(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    column: str | None = None,
    label: str | None = None,
    codec: str | Path = "bpe",
    vocab: int | None = None,
    max_tokens: int = 256,
    min_tokens: int = 2,
    valid_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
    keep_duplicates: bool = False,
    shard: tuple[int, int] | None = None,
    strict: bool = False,
    block: int = BLOCK_LINES,
    progress: Progress | None = None,
) -> Prepared:
    """Write a prepared corpus of sentences, or the part of it that is still missing.

    Arguments:
        sources: files (.txt, .jsonl, .csv, .tsv, .parquet, each also .gz), folders of them,
            or `hf://owner/name[:config]`; spaces around a sentence are no part of it.
        out: the corpus's folder; an unfinished one is carried on.
        valid, test: files that are these splits. Lines of `sources` that also stand in them are
            dropped unless `keep_duplicates`. Without them lines are split by hash and seed,
            so that equal lines (up to spaces) always share a split.
        column, label: where a table holds the sentence, and the label if there is one.
        codec: "bpe", "unigram", "char", "word", or the folder of a codec or corpus to reuse.
        vocab: ids to learn (for "word": words); None: 8,000 at most (for "word": all).
        max_tokens, min_tokens: other lengths, EOS counted, are dropped.
        valid_fraction, test_fraction: shares of the lines; None: 5 %, 5,000 lines at most (no
            test split is cut off when `valid` or `test` is a file).
        shard: (i, n): do only every n-th block, from the i-th; whoever is last finishes.
        strict: the first dropped line, blank ones aside, is `Refused`.
        progress: called with stage, lines done, lines in all (None if unknown).

    Raises `Refused` for input that cannot be used, `OSError` when the disk is full.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("one fish\\ntwo fish\\nred fish\\n\\n")
    >>> print(prepare_text([folder / "a.txt"], folder / "a", codec="word").table()[1:])
    [('train', '3', '2', '3.0', '1', 'blank 1'), ('valid', '1', '1', '3.0', '0', '')]
    """
    given = {"train": sources, "valid": _one(valid), "test": _one(test)}
    origins = _origins(given, Columns(column, label))
    options = Options(
        codec=str(codec),
        vocab=vocab,
        column=column,
        label=label,
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        keep_duplicates=keep_duplicates,
        block=block,
    )
    _check_options(options, shard)
    report = progress or _silent
    plan, text_codec = _planned(Path(out), origins, options, report)
    encoder = Encoder(Path(out), plan, text_codec, origins, strict, report)
    encoder.write_blocks(shard or (0, 1))
    return _finish(Path(out), plan)


def _one(path: str | Path | None) -> list[str | Path]:
    return [] if path is None else [path]


def _origins(given: Mapping[str, Sequence[str | Path]], columns: Columns) -> list[Origin]:
    return [
        Origin(split, source)
        for split, paths in given.items()
        if paths or split == "train"
        for source in find_sources(paths, columns)
    ]


def _silent(stage: str, done: int, total: int | None) -> None:
    """Progress that nobody asked for."""


def _check_options(options: Options, shard: tuple[int, int] | None) -> None:
    if not 1 <= options.min_tokens <= options.max_tokens:
        raise Refused(
            f"min_tokens = {options.min_tokens}, max_tokens = {options.max_tokens}: no length "
            "fits. Set 1 <= min_tokens <= max_tokens, EOS counted."
        )
    if options.block < 1:
        raise Refused(f"block = {options.block}: a block has at least one line.")
    shares = [options.valid_fraction or 0.0, options.test_fraction or 0.0]
    if min(shares) < 0 or sum(shares) >= 1:
        raise Refused(f"valid and test fractions {shares} leave nothing to train on.")
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise Refused(f"shard {shard[0]}/{shard[1]}: of n shards, i runs from 0 to n - 1.")


def _table_row(name: str, counts: Counts) -> tuple[str, ...]:
    dropped = counts.dropped.total()
    mean = f"{counts.tokens / counts.kept:.1f}" if counts.kept else "—"
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.dropped.items()))
    return name, str(counts.kept + dropped), str(counts.kept), mean, str(dropped), reasons


# Pass 1 ------------------------------------------------------------------------------------


def line_hash(text: str, seed: int) -> int:
    """64 bits that decide a line's split: equal for lines that differ only in their spaces.

    >>> line_hash("a  b", 0) == line_hash("a b", 0) != line_hash("a b", 1)
    True
    """
    words = " ".join(text.split()).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8, key=b"%d" % seed).digest(), "big")


class Sample:
    """A uniform sample of a stream of unknown length, bounded in lines and characters.

    Each line enters with the current probability; when the sample is too large, half of it
    leaves and the probability is halved. Small streams are kept whole.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rate = 1.0
        self.kept: list[tuple[int, str]] = []
        self.characters = 0

    def offer(self, key: int, text: str) -> None:
        if self.rate < 1 and self.random.random() >= self.rate:
            return
        self.kept.append((key, text))
        self.characters += len(text)
        if len(self.kept) > SAMPLE_LINES or self.characters > SAMPLE_CHARACTERS:
            self._halve()

    def _halve(self) -> None:
        self.rate /= 2
        self.kept = [pair for pair in self.kept if self.random.random() < 0.5]
        self.characters = sum(len(text) for _, text in self.kept)


class Scan:
    """What one reading of all sources tells."""

    def __init__(self, options: Options, codec: type[TextCodec]) -> None:
        self.options = options
        self.codec = codec
        self.sample = Sample(options.seed)
        self.hashes: list[int] = []  # of the train lines, the first EXACT_LINES of them
        self.held_out: set[int] = set()
        self.items = 0
        self.usable = 0  # of the train sources
        self.faults: Counter[str] = Counter()
        self.labels: set[str] = set()

    def read(self, origin: Origin, report: Progress) -> int:
        """Take in one source; returns the number of its items."""
        number = 0
        for number, item in enumerate(origin.source.items(), 1):
            self._take(origin.split, item)
            if number % GROUP_LINES == 0:
                report("scan", self.items + number, None)
        self.items += number
        return number

    def _take(self, split: str, item: Item) -> None:
        fault = _fault(item, self.codec, self.options)
        if fault is not None:
            self.faults[fault] += split == "train"
            return
        if item.label is not None:
            self._take_label(item.label)
        key = line_hash(item.text, self.options.seed)
        if split == "train":
            self._take_train(key, item.text)
        else:
            self.held_out.add(key)

    def _take_train(self, key: int, text: str) -> None:
        self.usable += 1
        if len(self.hashes) < EXACT_LINES:
            self.hashes.append(key)
        self.sample.offer(key, text)

    def _take_label(self, label: str) -> None:
        self.labels.add(label)
        if len(self.labels) > MOST_LABELS:
            raise Refused(
                f"column {self.options.label!r} holds more than {MOST_LABELS} different "
                "values: no label. Name another column, or none."
            )

    def check(self) -> None:
        """Refuse what nobody can learn from, with the counts."""
        counts = ", ".join(f"{reason} {n}" for reason, n in sorted(self.faults.items()) if n)
        if self.usable == 0:
            raise Refused(
                f"no usable line in the source ({counts or 'it is empty'}). "
                "Give a file with one sentence a line."
            )
        if self.usable <= len(self.hashes) and len(set(self.hashes)) == 1:
            raise Refused(
                f"only one distinct line in the source ({self.usable} of it"
                f"{', ' + counts if counts else ''}): nothing to split or learn. Give more text."
            )

    def thresholds(self, valid: bool, test: bool) -> tuple[int, int]:
        """(valid_below, test_below) given which splits are to be cut off."""
        first = _share(self.options.valid_fraction, self.usable) if valid else 0.0
        second = _share(self.options.test_fraction, self.usable) if test else 0.0
        if self.usable > EXACT_LINES:
            return round(first * 2**64), round((first + second) * 2**64)
        return _exact_thresholds(sorted(self.hashes), first, second)

    def train_sample(self, valid_below: int, test_below: int) -> list[str]:
        """The sampled lines that stay in train, in their order."""
        out = set() if self.options.keep_duplicates else self.held_out
        first = max(valid_below, test_below)
        return [text for key, text in self.sample.kept if key >= first and key not in out]


def _share(fraction: float | None, lines: int) -> float:
    return min(DEFAULT_FRACTION, DEFAULT_LINES / lines) if fraction is None else fraction


def _exact_thresholds(ordered: Sequence[int], first: float, second: float) -> tuple[int, int]:
    """Bounds that give the sorted hashes to valid, test and train in exact numbers.

    Equal hashes stay together, so a split may get fewer; but valid gets one if it gets any.

    >>> _exact_thresholds([10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 0.2, 0.1)
    (12, 13)
    """
    count = max(1, int(first * len(ordered))) if first else 0
    valid_below = ordered[count] if count else 0
    if count and valid_below == ordered[0]:
        valid_below = next(key for key in ordered if key > valid_below)
    last = min(count + int(second * len(ordered)), len(ordered) - 1)
    return valid_below, max(valid_below, ordered[last])


def _fault(item: Item, codec: type[TextCodec], options: Options) -> str | None:
    fault = item.fault or codec.fault(item.text)
    if fault is None and options.label is not None and item.label is None:
        return "no label"
    return fault


def _planned(
    out: Path, origins: Sequence[Origin], options: Options, report: Progress
) -> tuple[Plan, TextCodec]:
    """The plan and codec of an unfinished folder, if they fit; else new ones."""
    if (out / "plan.json").is_file():
        plan = _read_plan(out)
        _check_same(out, plan, origins, options)
        return plan, _text_codec(out / "codec")
    if out.exists() and (not out.is_dir() or {path.name for path in _visible(out)} - {"codec"}):
        raise Refused(f"{out} is in use, by something else. Choose another folder: --out NEW")
    plan, codec = _make_plan(origins, options, report)
    _save_codec(codec, out)
    write_json(out / "plan.json", {"format": PLAN_FORMAT, **asdict(plan)})
    return plan, codec


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _make_plan(
    origins: Sequence[Origin], options: Options, report: Progress
) -> tuple[Plan, TextCodec]:
    reused = None if options.codec in LEARNT else _reused_codec(options)
    kind = type(reused) if reused else WordCodec if options.codec == "word" else SentencePieceCodec
    scan = Scan(options, kind)
    sources = [_described(origin, scan.read(origin, report)) for origin in origins]
    scan.check()
    given = {origin.split for origin in origins}
    no_files = given == {"train"}
    below = scan.thresholds(
        valid="valid" not in given,
        test=no_files or (options.test_fraction is not None and "test" not in given),
    )
    report("codec", 0, None)
    codec = reused or _trained_codec(scan.train_sample(*below), options)
    labels = None if options.label is None else sorted(scan.labels, key=_label_order)
    about = {"kind": codec.kind, "vocab": codec.vocab}
    return Plan(options, sources, *below, labels, about), codec


def _label_order(label: str) -> tuple[bool, int, str]:
    """Numbers by value, before words by alphabet."""
    number = label.isascii() and label.isdigit()
    return not number, int(label) if number else 0, label


def _described(origin: Origin, items: int) -> dict[str, Any]:
    sha256 = origin.source.sha256()
    return {"split": origin.split, **origin.source.stamp(), "sha256": sha256, "items": items}


def _reused_codec(options: Options) -> TextCodec:
    if options.vocab is not None:
        raise Refused(f"vocab = {options.vocab}: a codec from a folder has its own. Leave it out.")
    folder = Path(options.codec)
    if not folder.is_dir():
        raise Refused(
            f"codec = {options.codec!r} is neither one of {', '.join(LEARNT)} nor the folder of "
            "a codec or corpus."
        )
    return _text_codec(folder / "codec" if (folder / "codec").is_dir() else folder)


def _text_codec(folder: Path) -> TextCodec:
    codec = load_codec(folder)
    if not isinstance(codec, TextCodec):
        raise Refused(f"{folder} holds a codec of kind {codec.kind!r}, which encodes no text.")
    return codec


def _trained_codec(sample: Sequence[str], options: Options) -> TextCodec:
    if not sample:
        raise Refused(
            "every line of the source also stands in valid or test: nothing to train on. "
            "Give another file, or keep them: --keep-duplicates"
        )
    if options.codec == "word":
        return WordCodec.train(sample, vocab=options.vocab)
    model = next(name for name in SentencePieceCodec.MODELS if name == options.codec)
    return SentencePieceCodec.train(sample, model=model, vocab=options.vocab)


def _save_codec(codec: TextCodec, out: Path) -> None:
    beside = out / f".codec.{os.getpid()}.part"
    codec.save(beside)
    # Left by a run that was killed before its plan, so perhaps of other options.
    shutil.rmtree(out / "codec", ignore_errors=True)
    beside.rename(out / "codec")


def _read_plan(out: Path) -> Plan:
    path = out / "plan.json"
    try:
        value = json.loads(path.read_bytes())
        number = value.pop("format")
        options = Options(**value.pop("options"))
        plan = Plan(options=options, **value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path} is damaged. Delete {out} and prepare it again.") from error
    if number != PLAN_FORMAT:
        raise Refused(
            f"{path} has format {number!r}, not {PLAN_FORMAT}. Delete {out}; start anew."
        )
    return plan


def _check_same(out: Path, plan: Plan, origins: Sequence[Origin], options: Options) -> None:
    cure = f"Choose another folder, or delete {out} and prepare it again."
    old, new = asdict(plan.options), asdict(options)
    for name in new:
        if old[name] != new[name]:
            raise Refused(
                f"{out} was begun with {name} = {old[name]!r}, now {new[name]!r}. {cure}"
            )
    before = [(source["split"], source["name"]) for source in plan.sources]
    if before != [(origin.split, origin.source.name) for origin in origins]:
        raise Refused(f"{out} was begun from other sources. {cure}")
    for origin, source in zip(origins, plan.sources, strict=True):
        if not _unchanged(origin.source, source):
            raise Refused(f"{origin.source.name} has changed since {out} was begun. {cure}")


def _unchanged(source: Source, before: dict[str, Any]) -> bool:
    """Same size and time; or, copied to another machine say, the same contents."""
    now = source.stamp()
    if all(before.get(name) == value for name, value in now.items()):
        return True
    same_size = "bytes" in now and before.get("bytes") == now["bytes"]
    return same_size and before["sha256"] == source.sha256()


# Pass 2 ------------------------------------------------------------------------------------


class Located(NamedTuple):
    """An item and where it stands."""

    origin: Origin
    number: int  # within its source, from 1
    item: Item


class Encoder:
    """Writes blocks: for each split an Arrow file, the list of drops, then the counts."""

    def __init__(
        self,
        out: Path,
        plan: Plan,
        codec: TextCodec,
        origins: Sequence[Origin],
        strict: bool,
        report: Progress,
    ) -> None:
        self.out = out
        self.plan = plan
        self.codec = codec
        self.origins = origins
        self.strict = strict
        self.report = report
        self.label_ids = {label: i for i, label in enumerate(plan.labels or [])}

    def write_blocks(self, shard: tuple[int, int]) -> None:
        """Write the shard's blocks that are not written yet."""
        mine = range(shard[0], self.plan.blocks, shard[1])
        missing = [number for number in mine if not _counts_path(self.out, number).is_file()]
        if not missing:
            return
        self.held_out = self._read_held_out()
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

    def _read_held_out(self) -> frozenset[int]:
        if self.plan.options.keep_duplicates:
            return frozenset()
        seed = self.plan.options.seed
        others = [origin.source for origin in self.origins if origin.split != "train"]
        return frozenset(
            line_hash(item.text, seed) for source in others for item in source.items()
        )

    def _write_block(self, number: int, items: Iterator[Located], expected: int) -> None:
        block = _Block(self)
        while group := list(islice(items, GROUP_LINES)):
            block.take(group)
            done = number * self.plan.options.block + block.read
            self.report("encode", done, self.plan.items)
        if block.read != expected:
            raise Refused(
                "a source was shortened while it was being read. "
                f"Delete {self.out} and prepare it again."
            )
        block.write(number)


class _Block:
    """The rows and drops of one block while it is read."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.options = encoder.plan.options
        self.parts: dict[str, list[Rows]] = {split: [] for split in SPLITS}
        self.drops: list[str] = []
        self.dropped: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.read = 0

    def take(self, group: Sequence[Located]) -> None:
        self.read += len(group)
        usable = [(located, split) for located in group if (split := self._split(located))]
        encoded = self.encoder.codec.encode_batch([located.item.text for located, _ in usable])
        rows: dict[str, list[tuple[list[int], str | None]]] = {split: [] for split in SPLITS}
        for (located, split), ids in zip(usable, encoded, strict=True):
            if self._fits(located, split, len(ids)):
                rows[split].append((ids, located.item.label))
        for split, pairs in rows.items():
            if pairs:
                self.parts[split].append(self._rows(pairs))

    def _split(self, located: Located) -> str | None:
        """The split a line belongs to; None if it was dropped."""
        origin, _, item = located
        fault = _fault(item, type(self.encoder.codec), self.options)
        if fault is not None:
            self._drop(located, origin.split, fault)
            return None
        if origin.split != "train":
            return origin.split
        key = line_hash(item.text, self.options.seed)
        if key in self.encoder.held_out:
            self._drop(located, "train", DUPLICATE)
            return None
        if key < self.encoder.plan.valid_below:
            return "valid"
        return "test" if key < self.encoder.plan.test_below else "train"

    def _fits(self, located: Located, split: str, length: int) -> bool:
        if length > self.options.max_tokens:
            self._drop(located, split, "too long")
        elif length < self.options.min_tokens:
            self._drop(located, split, "too short")
        else:
            return True
        return False

    def _drop(self, located: Located, split: str, reason: str) -> None:
        name = located.origin.source.name
        if self.encoder.strict and reason != "blank":
            raise Refused(
                f"{name}, line {located.number}: {reason}. Mend it, or drop such lines: "
                "leave out --strict."
            )
        self.dropped[split][reason] += 1
        self.drops.append(f"{name}\t{located.number}\t{reason}\n")

    def _rows(self, pairs: Sequence[tuple[list[int], str | None]]) -> Rows:
        lengths = np.fromiter((len(ids) for ids, _ in pairs), np.int32, len(pairs))
        ids = np.concatenate([np.asarray(ids, np.int32) for ids, _ in pairs])
        if self.options.label is None:
            return Rows(ids, lengths)
        label_ids = self.encoder.label_ids
        labels = np.array([label_ids[label] for _, label in pairs if label is not None], np.int32)
        return Rows(ids, lengths, labels)

    def write(self, number: int) -> None:
        """Write the files; the counts come last and say that the block is finished."""
        out = self.encoder.out
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


def _counts_path(out: Path, number: int) -> Path:
    return out / "blocks" / f"{number:05d}.json"


def _drops_path(out: Path, number: int) -> Path:
    return out / "blocks" / f"{number:05d}.tsv"


def _finish(out: Path, plan: Plan) -> Prepared:
    """Add up the finished blocks; if they are all, write the manifest."""
    paths = [_counts_path(out, number) for number in range(plan.blocks)]
    finished = [json.loads(path.read_bytes()) for path in paths if path.is_file()]
    splits = _added(finished)
    prepared = Prepared(out, splits, plan.codec["vocab"], len(finished), plan.blocks)
    if prepared.finished and not (out / "manifest.json").is_file():
        _check_kept(out, splits)
        _write_end(out, plan, finished, splits)
    return prepared


def _added(finished: Sequence[dict[str, Any]]) -> dict[str, Counts]:
    splits = {split: Counts() for split in SPLITS}
    for block in finished:
        for split, written in block["blocks"].items():
            splits[split].kept += written["rows"]
            splits[split].tokens += written["tokens"]
        for split, dropped in block["dropped"].items():
            splits[split].dropped.update(dropped)
    return {name: counts for name, counts in splits.items() if counts.kept or counts.dropped}


def _check_kept(out: Path, splits: dict[str, Counts]) -> None:
    for name in ("train", *splits):
        counts = splits.get(name, Counts())
        if counts.kept == 0:
            reasons = _table_row(name, counts)[-1]
            raise Refused(
                f"nothing is left in {name} ({reasons}; see {out}/blocks). Delete {out}, and "
                "allow other lengths (--max-tokens), another split or more text."
            )


def _write_end(
    out: Path, plan: Plan, finished: Sequence[dict[str, Any]], splits: dict[str, Counts]
) -> None:
    with Replacing(out / "dropped.tsv") as file:
        file.write(b"file\tline\treason\n")
        for number in range(plan.blocks):
            file.write(_drops_path(out, number).read_bytes())
    files = {
        name: [Block(**block["blocks"][name]) for block in finished if name in block["blocks"]]
        for name in splits
    }
    about = {
        "modality": "text",
        "version": __version__,
        "options": asdict(plan.options),
        "sources": plan.sources,
        "dropped": {name: dict(sorted(counts.dropped.items())) for name, counts in splits.items()},
    }
    header = json.loads((out / "codec" / "codec.json").read_bytes())
    write_manifest(out, files, {**plan.codec, "sha256": header["sha256"]}, plan.labels, about)
