"""What it costs to prepare a corpus: text beside the tokenizer alone, MIDI in milliseconds a file.

    python scripts/bench_prepare.py text yelp_short/train.txt.gz
    python scripts/bench_prepare.py midi pop909_dev/aligned --track MELODY

Text: with ids that were learnt before, everything is prepared (read twice, hashed, split, encoded,
written, checked) beside what the tokenizer's own library takes to encode the same lines, given to
it all at once; then in as many processes as there are processors, each a shard, beside as many of
the library's threads. Learning the ids is timed apart. MIDI: all files in this process (finding,
reading, checksums, cutting, duplicates, writing), the reading in it, and what pretty_midi takes to
read some of the files, which is all that it does. Both: the rows of shards are those of one go.
Ratios are of the clock where processes share the work, else of processor seconds.
"""

import argparse
import io
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
from timing import Spread, by_turns, here, keep, memory, ratio, spread

from data_prep.midi import prepare_midi
from data_prep.songs import File, find_files
from data_prep.sources import Request, find_sources
from data_prep.text import BLOCK_LINES, prepare_text
from seqvae.corpus import open_corpus
from seqvae.errors import Refused
from seqvae.midi import LIMITS, read

ROUNDS = 5
YARDSTICK = 60  # files that pretty_midi reads
SHARDS = 3
Prepare = Callable[..., object]


def main() -> None:
    given = parsed()
    print(here())
    found = of_text(given) if given.kind == "text" else of_midi(given)
    print(f"memory at most {memory():,.0f} MiB in the first process")
    keep(given.json, **found)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("text", "midi"))
    parser.add_argument("source", help="a file of sentences; a folder or archive of MIDI files")
    parser.add_argument("--track", help="of the melody; else the best by score")
    parser.add_argument("--codec", help="bpe or unigram; melody, drums …")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="where to keep all figures")
    return parser.parse_args()


# Text


def of_text(given: argparse.Namespace) -> dict[str, Any]:
    lines = lines_of(given.source)
    size = sum(len(line.encode()) + 1 for line in lines) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        learnt = Path(folder) / "learnt"
        began = time.process_time()
        prepare_text([given.source], learnt, codec=given.codec or "bpe")
        whole = time.process_time() - began
        model = sentencepiece.SentencePieceProcessor(
            model_file=str(learnt / "codec" / "sentencepiece.model")
        )
        options = {"codec": learnt, "block": blocks_of(len(lines), given.processes)}
        ours = partial(prepared, prepare_text, given.source, options)
        shared = partial(ours, processes=given.processes)
        library = partial(model.encode, lines, add_eos=True)
        one = by_turns(
            {"library": partial(library, num_threads=1), "prepared": ours},
            given.rounds,
            time.process_time,
        )
        many = by_turns(
            {"library": partial(library, num_threads=given.processes), "prepared": shared},
            given.rounds,
        )
        same = check_shards(prepare_text, given.source, options)
    learning = whole - min(one["prepared"])
    print(f"{len(lines):,} lines, {size:.2f} MB; sentencepiece {sentencepiece.__version__}")
    print("| | MB/s | of the library's rate |\n|---|---|---|")
    rows = [*text_rows("one process", one, size)]
    rows += text_rows(f"{given.processes} processes, by the clock", many, size)
    for row in rows:
        print(f"| {row.name} | {row.rate} | {row.share or ''} |")
    print(f"learning the ids: {learning:.1f} s of processor time; shards give the same rows")
    return {"rows": [row._asdict() for row in rows], "learning": learning, "checksum": same}


class TextRow(NamedTuple):
    """Megabytes a second of one way, and the share of the library's beside it."""

    name: str
    rate: Spread
    share: Spread | None = None


def text_rows(name: str, took: Mapping[str, Sequence[float]], size: float) -> list[TextRow]:
    rates = {way: spread([size / seconds for seconds in times]) for way, times in took.items()}
    share = ratio(took["library"], took["prepared"])
    return [
        TextRow(f"{name}: the library alone", rates["library"]),
        TextRow(f"{name}: prepared", rates["prepared"], share),
    ]


def lines_of(source: str) -> list[str]:
    [found] = find_sources([source], Request(None, None))
    return [text for lines in found.lines() for text in lines.texts if text]


def blocks_of(lines: int, processes: int) -> int:
    """Lines of a block, so that all processes have as many to do."""
    return min(-(-lines // processes), BLOCK_LINES)


# MIDI


def of_midi(given: argparse.Namespace) -> dict[str, Any]:
    files = find_files([given.source])
    options = {"track": given.track, "codec": given.codec or "melody", "workers": 0}
    work = partial(prepared, prepare_midi, given.source, options)
    work()  # imports, and the disk's cache
    some = files[:: max(len(files) // YARDSTICK, 1)]
    read_pretty(some[:1])
    ways: dict[str, Callable[[], object]] = {
        "prepared": work,
        "of which reading": partial(read_all, files),
        f"pretty_midi, for reading {len(some)} alone": partial(read_pretty, some),
    }
    took = by_turns(ways, given.rounds, time.process_time)
    counts = dict(zip(ways, (len(files), len(files), len(some)), strict=True))
    each = {name: [1000 * t / counts[name] for t in times] for name, times in took.items()}
    same = check_shards(prepare_midi, given.source, options)
    versions = ", ".join(f"{name} {version(name)}" for name in ("symusic", "numpy", "pretty_midi"))
    print(f"{len(files)} files; {versions}, Python {sys.version.split()[0]}")
    print("| | ms a file, processor time |\n|---|---|")
    for name, times in each.items():
        print(f"| {name} | {spread(times)} |")
    print(f"{len(files)} files in {min(took['prepared']):.2f} s; shards give the same rows")
    return {
        "files": len(files),
        "milliseconds": {name: spread(times) for name, times in each.items()},
        "checksum": same,
    }


def read_all(files: Sequence[File]) -> None:
    """Read every file that can be read, as preparing does."""
    for file in files:
        try:
            read(file.read(LIMITS.bytes), name=file.name)
        except Refused:
            continue


def read_pretty(files: Sequence[File]) -> None:
    """Read files with pretty_midi."""
    from pretty_midi import PrettyMIDI

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            PrettyMIDI(io.BytesIO(file.read(LIMITS.bytes)))


# Both


def prepared(
    prepare: Prepare, source: str, options: Mapping[str, Any], *, processes: int = 1
) -> str:
    """Prepare everything into a folder that is thrown away -> the checksum of its rows."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "corpus"
        if processes == 1:
            prepare([source], out, **options)
            return open_corpus(out).checksum
        fork = multiprocessing.get_context("fork")
        shards = [(i, processes) for i in range(processes)]
        crew = [
            fork.Process(target=prepare, args=([source], out), kwargs={**options, "shard": shard})
            for shard in shards
        ]
        for one in crew:
            one.start()
        for one in crew:
            one.join()
        return open_corpus(out).checksum


def check_shards(prepare: Prepare, source: str, options: Mapping[str, Any]) -> str:
    """The checksum of the rows: of one go and of shards, one after the other, last first."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "corpus"
        for shard in reversed(range(SHARDS)):
            prepare([source], out, **options, shard=(shard, SHARDS))
        shards, whole = open_corpus(out).checksum, prepared(prepare, source, options)
    if shards != whole:
        raise Refused(f"rows of shards have checksum {shards}, those of one go {whole}.")
    return whole


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
