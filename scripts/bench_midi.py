"""What it costs to prepare 2-bar melodies, in milliseconds a file on one core.

    python scripts/bench_midi.py pop909_dev/aligned --track MELODY

Prepares all files in this process, again and again, and prints the best round: with all of its
work (finding, reading, checksums, cutting, duplicates, writing), and the reading in it. Beside it
what pretty_midi takes in the same run to read some of the files, which is all that it does.
"""

import argparse
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_prep.midi import Prepared, prepare_midi
from data_prep.songs import File, find_files
from seqvae.errors import Refused
from seqvae.midi import LIMITS, read

ROUNDS = 5
YARDSTICK = 60  # files that pretty_midi reads


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Processor time of the fastest round."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def prepare(source: str, options: dict[str, Any]) -> Prepared:
    """Prepare everything into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return prepare_midi([source], Path(folder) / "corpus", workers=0, **options)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a folder or archive of MIDI files")
    parser.add_argument("--track", help="of the melody; else the best by score")
    parser.add_argument("--codec", default="melody")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    files = find_files([arguments.source])
    options = {"track": arguments.track, "codec": arguments.codec}
    prepared = prepare(arguments.source, options)  # imports, and the disk's cache
    whole = seconds(lambda: prepare(arguments.source, options), arguments.rounds)
    reading = seconds(lambda: read_all(files), arguments.rounds)
    some = files[:: max(len(files) // YARDSTICK, 1)]
    read_pretty(some[:1])
    pretty = seconds(lambda: read_pretty(some), 1)
    kept = sum(row["kept"] for row in prepared.splits.values())
    versions = ", ".join(f"{name} {version(name)}" for name in ("symusic", "numpy", "pretty_midi"))
    print(f"{len(files)} files, {kept} windows; {versions}, Python {sys.version.split()[0]}")
    print(
        f"preparing    {1000 * whole / len(files):7.2f} ms a file, {kept / whole:,.0f} windows/s"
    )
    print(f"  of which reading {1000 * reading / len(files):.2f} ms a file")
    print(
        f"pretty_midi  {1000 * pretty / len(some):7.2f} ms a file, for reading {len(some)} alone"
    )


if __name__ == "__main__":
    main()
