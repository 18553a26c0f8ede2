"""How a large corpus trains: memory of our own, and time to the first step.

    python scripts/bench_corpus.py FOLDER --gigabytes 2

Makes a text of that size (random words, Zipf's law), prepares it, trains 200 steps on it in a
fresh process, and prints the process's anonymous memory (RssAnon, which leaves out the pages of
mapped files) and the seconds from its start to its first step. Linux only.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

LINES = 100_000  # written at once
HALVES = 100_000  # a line is two of them


def write_corpus(path: Path, size: int) -> None:
    """Lines of 6 to 16 words until the file has `size` bytes; hardly two of them are equal."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(random.choice(letters, n)) for n in random.integers(2, 9, 20_000)]
    counts = random.integers(3, 9, HALVES)
    drawn = iter([words[i % len(words)] for i in random.zipf(1.3, counts.sum())])
    halves = [" ".join(next(drawn) for _ in range(count)) for count in counts]
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            pairs = random.integers(0, HALVES, (LINES, 2)).tolist()
            file.write("".join(f"{halves[a]} {halves[b]}\n" for a, b in pairs))


def memory() -> int:
    """Bytes of anonymous memory that this process holds."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def age() -> float:
    """Seconds since this process began."""
    ticks = int(Path("/proc/self/stat").read_text("utf-8").rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def train(corpus: Path, run: Path) -> None:
    """The measured process: 200 steps, then one line of JSON."""
    from seqvae import recipe
    from seqvae.corpus import open_corpus
    from seqvae.fit import fit

    first, largest = 0.0, 0

    def tick(step: int, steps: int, numbers: object) -> None:
        nonlocal first, largest
        first = first or age()
        largest = max(largest, memory())

    settings = ["training.steps=200", "training.validate_on=500"]
    experiment = recipe.override(recipe.read("text"), settings)
    opened = open_corpus(corpus)
    fit(experiment, opened, run, say=lambda sentence: None, tick=tick)
    figures = {
        "sentences": len(opened.split("train")),
        "seconds_to_first_step": round(first, 1),
        "largest_anonymous_MiB": round(largest / 2**20),
    }
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where corpus and run are made")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--train-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    text, corpus = arguments.folder / "corpus.txt", arguments.folder / "corpus"
    run = arguments.folder / f"run-{os.getpid()}"
    if arguments.train_only:
        train(corpus, run)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if not text.exists():
        write_corpus(text, int(arguments.gigabytes * 1e9))
    began = time.monotonic()
    prepare = [sys.executable, "-m", "seqvae", "prepare", "text"]
    subprocess.run([*prepare, text, "--out", corpus], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"prepared {text.stat().st_size / 1e9:.2f} GB in {time.monotonic() - began:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor time"
    )
    again = [sys.executable, __file__, str(arguments.folder), "--train-only"]
    subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
