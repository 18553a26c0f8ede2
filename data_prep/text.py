"""Sentences in files -> a prepared corpus: scanned, split, encoded, counted.

Pass 1 (`scan`) reads every source once: it counts, draws the sample the codec is trained on, and
fixes the plan. Pass 2 (`blocks`) writes one block of source lines after the other.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqvae import __version__
from seqvae.codecs import TextCodec
from seqvae.corpus import SPLITS, Block, write_manifest
from seqvae.errors import Refused

from .blocks import BlockWriter, finished_blocks, write_drops
from .plan import Options, Origin, Plan, Tell, check_same, read_plan, turn, write_plan
from .scan import make_plan, text_codec
from .sources import Request, find_sources, hub_splits, is_hub, option

BLOCK_LINES = 200_000


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
    hub: tuple[str, ...] = ()  # what was read of the Hub, as `hf://owner/name#split`

    @property
    def finished(self) -> bool:
        """Whether the manifest is written; if not, other shards still have blocks to do."""
        return self.done == self.blocks

    def table(self) -> list[tuple[str, ...]]:
        """A header and one row a split: lines read = kept + dropped; length in tokens with EOS."""
        header = ("split", "lines", "kept", "mean length", "dropped", "reasons")
        return [header, *(_table_row(name, counts) for name, counts in self.splits.items())]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        if self.hub:
            lines.append(f"read from the Hub: {', '.join(self.hub)}; no other split of it")
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
    progress: Tell | None = None,
) -> Prepared:
    """Write a prepared corpus of sentences, or the part of it that is still missing.

    Arguments:
        sources: files (.txt, .jsonl, .csv, .tsv, .parquet, each also .gz), folders of them,
            or `hf://owner/name[:config][#split]`; spaces around a sentence are no part of it.
            Of a data set of the Hub the train split is read if none is named; if it is the only
            source and nothing is said of valid and test, its own such splits are these.
        out: the corpus's folder; an unfinished one is carried on.
        valid, test: files that are these splits. Lines of `sources` that also stand in them, and
            lines of `valid` that stand in `test`, are dropped unless `keep_duplicates`. Without
            files lines are split by hash and seed, so that equal lines (up to spaces) always
            share a split.
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
    given = {"train": sources, "valid": _one(valid), "test": _one(test)}
    nothing_said = not any([valid, test, valid_fraction is not None, test_fraction is not None])
    if nothing_said and len(sources) == 1:
        given |= hub_splits(str(sources[0]))
    origins = _origins(given, Request(column, label))
    tell = progress or _silent
    plan, encoder = _planned(Path(out), origins, options, tell)
    BlockWriter(Path(out), plan, encoder, origins, strict, tell).write(shard or (0, 1))
    return _finish(Path(out), plan)


def _one(path: str | Path | None) -> Sequence[str | Path]:
    return [] if path is None else [path]


def _origins(given: Mapping[str, Sequence[str | Path]], request: Request) -> list[Origin]:
    return [
        Origin(split, source)
        for split, paths in given.items()
        if paths or split == "train"
        for source in find_sources(paths, request)
    ]


def _silent(stage: str, done: int, total: int | None) -> None:
    """For whoever did not ask to be told."""


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


def _planned(
    out: Path, origins: Sequence[Origin], options: Options, tell: Tell
) -> tuple[Plan, TextCodec]:
    """The plan and codec of an unfinished folder, if they fit; else new ones."""
    if not (out / "plan.json").is_file():
        with turn(out):
            if not (out / "plan.json").is_file():
                return _new_plan(out, origins, options, tell)
    plan = read_plan(out)
    check_same(out, plan, origins, options)
    return plan, text_codec(out / "codec")


def _new_plan(
    out: Path, origins: Sequence[Origin], options: Options, tell: Tell
) -> tuple[Plan, TextCodec]:
    if out.exists() and (not out.is_dir() or {path.name for path in _visible(out)} - {"codec"}):
        raise Refused(f"{out} is in use, by something else. Choose another folder: --out NEW")
    plan, codec = make_plan(origins, options, tell)
    _save_codec(codec, out)
    write_plan(out, plan)
    return plan, codec


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _save_codec(codec: TextCodec, out: Path) -> None:
    beside = out / f".codec.{os.getpid()}.part"
    codec.save(beside)
    # Left by a run that was killed before its plan, so perhaps of other options.
    shutil.rmtree(out / "codec", ignore_errors=True)
    beside.rename(out / "codec")


def _finish(out: Path, plan: Plan) -> Prepared:
    """Add up the finished blocks; if they are all, write the manifest."""
    finished = finished_blocks(out, plan)
    splits = _added(finished)
    hub = tuple(source["name"] for source in plan.sources if is_hub(source["name"]))
    prepared = Prepared(out, splits, plan.codec["vocab"], len(finished), plan.blocks, hub)
    if prepared.finished and not (out / "manifest.json").is_file():
        _check_kept(out, splits)
        write_drops(out, plan)
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
            _discard(out)
            raise Refused(
                f"nothing is left in {name} ({reasons or 'no line fell to it'}). Allow other "
                f"lengths: {option('max_tokens', 'N')}, keep duplicates: seqvae prepare text … "
                f"--keep-duplicates, or give more text. Deleted what was begun in {out}."
            )


def _discard(out: Path) -> None:
    """Take back an unusable corpus, so that nothing stands in the way of the next attempt."""
    for name in ("blocks", *SPLITS):
        shutil.rmtree(out / name, ignore_errors=True)
    (out / "plan.json").unlink(missing_ok=True)
    shutil.rmtree(out / "codec", ignore_errors=True)


def _write_end(
    out: Path, plan: Plan, finished: Sequence[dict[str, Any]], splits: dict[str, Counts]
) -> None:
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
