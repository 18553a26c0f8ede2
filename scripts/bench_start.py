"""What it costs to begin: seconds of fresh processes, and the heavy modules that each imports.

    python scripts/bench_start.py --rounds 5 --json docs/results/speed/start.json

Every command is a process of its own, by turns. Its files are in the disk's cache, as on a machine
where somebody works: the first command of the day also waits for the disk. Songs to go between
are made here.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from timing import Spread, here, keep, spread

from data_prep.composer import write_songs

HEAVY = {"datasets", "gradio", "matplotlib", "numpy", "pretty_midi", "pyarrow", "scipy", "sympy"}
HEAVY |= {"sentencepiece", "symusic", "torch"}  # sympy comes with torch's compiler
OUT = "OUT"  # stands for a folder that is new each time
LAST = "modules:"  # begins the line with what was imported
# A command as the console has it, which says at its end which modules it took.
ASKED = f"""
import sys
from seqvae.__main__ import main
status = main(sys.argv[1:])
print({LAST!r}, *sys.modules, file=sys.stderr)
sys.exit(status)
"""
IMPORTED = f"import seqvae, sys; print({LAST!r}, *sys.modules, file=sys.stderr)"


class Cost(NamedTuple):
    """Seconds of one process: by the clock, and of processors."""

    wall: float
    processor: float


class Started(NamedTuple):
    """What was measured of a command."""

    wall: Spread
    processor: Spread
    heavy: list[str]


def main() -> None:
    given = parsed()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(commands(Path(folder), given.run), given.rounds)
    print(f"{here()}; seconds, least to most of {given.rounds}")
    print("| | by the clock | of processors | imports |\n|---|---|---|---|")
    for name, one in found.items():
        print(f"| `{name}` | {one.wall} | {one.processor} | {', '.join(one.heavy) or '—'} |")
    keep(given.json, started={name: one._asdict() for name, one in found.items()})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="melody", help="that goes from one song to the other")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each command")
    parser.add_argument("--json", type=Path, help="where to keep all figures")
    return parser.parse_args()


def commands(folder: Path, run: str) -> dict[str, list[str]]:
    """Name -> what Python is called with; the songs lie in the folder."""
    a, b = map(str, write_songs(folder / "songs", 2, seed=0))
    asked = {
        "seqvae --help": ["--help"],
        "seqvae --version": ["--version"],
        "seqvae recipes": ["recipes"],
        "seqvae evaluate --help": ["evaluate", "--help"],
        "seqvae interpolate --help": ["interpolate", "--help"],
        "seqvae interpolate A.mid B.mid": ["interpolate", run, a, b, "--out", OUT],
    }
    named = {name: ["-c", ASKED, *words] for name, words in asked.items()}
    return {"nothing": ["-c", "pass"], "import seqvae": ["-c", IMPORTED], **named}


def measured(asked: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Started]:
    """Run every command once to see what it imports, then time them by turns."""
    modules = {name: heavy(words) for name, words in asked.items()}
    costs: dict[str, list[Cost]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, words in asked.items():
            costs[name].append(cost(words))
    return {
        name: Started(
            spread([one.wall for one in times]),
            spread([one.processor for one in times]),
            modules[name],
        )
        for name, times in costs.items()
    }


def heavy(words: Sequence[str]) -> list[str]:
    """Which of the heavy modules a process imports."""
    said = run(words).stderr.splitlines()
    named = {name for line in said if line.startswith(LAST) for name in line.split()}
    return sorted(named & HEAVY)


def cost(words: Sequence[str]) -> Cost:
    """Seconds of a fresh process."""
    before, began = children(), time.perf_counter()
    run(words)
    return Cost(time.perf_counter() - began, children() - before)


def children() -> float:
    """Processor seconds of the processes that were waited for."""
    times = os.times()
    return times.children_user + times.children_system


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Python; what it writes is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = [str(Path(folder) / OUT) if word == OUT else word for word in words]
        return subprocess.run([sys.executable, *fresh], capture_output=True, text=True, check=True)


if __name__ == "__main__":
    main()
