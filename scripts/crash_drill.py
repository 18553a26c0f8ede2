"""Whether a training survives the death of one of its processes, again and again.

    python scripts/crash_drill.py FOLDER --json docs/results/speed/crash.json

Trains a small model in two processes undisturbed, then as often as is asked with a process killed
on the way (`kill -9`: the last one and the first by turns) under a launcher that may start anew.
Prints of each drill the seconds from the kill to the next whole step, and whether the last weights
are bit for bit those of the undisturbed run. Linux only: finds processes in /proc.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from timing import here, keep, spread

from data_prep.text import prepare_text
from data_prep.toy import english
from seqvae import Refused, runs

WITHIN = 60.0  # seconds, from the kill to the next step
NET = ("latent=8", "encoder.hidden=64", "decoder.hidden=64", "training.batch=64")
EVERY = ("training.save_every=1", "training.keep=3")


def main() -> None:
    given = parsed()
    sums, seconds = [], []
    corpus = prepared(given.folder)
    with launched(given, corpus, given.folder / "undisturbed", restarts=0) as launcher:
        check(launcher)
    whole = weights_sum(given.folder / "undisturbed")
    print(f"{here()}; {given.processes} processes, {given.steps} steps, each of them saved")
    for number in range(given.drills):
        rank = given.processes - 1 if number % 2 == 0 else 0
        seconds.append(drill(given, corpus, given.folder / f"drill-{number}", rank))
        sums.append(weights_sum(given.folder / f"drill-{number}"))
        same = "the same weights" if sums[-1] == whole else "OTHER WEIGHTS"
        print(f"drill {number}: process {rank} killed, back after {seconds[-1]:.1f} s, {same}")
    unharmed = sum(each == whole for each in sums)
    print(f"{unharmed} of {given.drills} bit for bit; back after {spread(seconds)} s")
    keep(given.json, drills=given.drills, seconds=seconds, weights=sums, undisturbed=whole)
    if unharmed < given.drills or max(seconds) > WITHIN:
        raise Refused(
            f"a drill has failed: {unharmed} of {given.drills}, {max(seconds):.0f} s at most."
        )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where runs are made: a new one")
    parser.add_argument("--drills", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="of each training")
    parser.add_argument("--set", action="append", default=[], help="as decoder.hidden=256")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    given = parser.parse_args()
    if given.folder.exists():
        raise Refused(f"{given.folder} is there already; name a new folder.")
    if given.drills < 1 or given.processes < 2 or given.steps < 10:
        raise Refused("a drill needs two processes and ten steps, and there is one at least.")
    return given


def prepared(folder: Path) -> Path:
    """A corpus of made sentences."""
    folder.mkdir(parents=True)
    text = folder / "text.txt"
    text.write_text("\n".join(each.sentence for each in english().sample(400, seed=0)), "utf-8")
    return prepare_text([text], folder / "corpus", codec="word").folder


@contextmanager
def launched(
    given: argparse.Namespace, corpus: Path, run: Path, restarts: int = 3
) -> Iterator["subprocess.Popen[str]"]:
    """A launcher that trains, and is gone afterwards."""
    changes = [*NET, *EVERY, f"training.steps={given.steps}", *given.set]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc-per-node={given.processes}", f"--max-restarts={restarts}"),
        *("-m", "seqvae", "train", "text", str(corpus), "--out", str(run), "--device", "cpu"),
        *(f"--set={change}" for change in changes),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = run.with_suffix(".log").open("w", encoding="utf-8")
    with (
        said,
        subprocess.Popen(command, env=environment, stdout=said, stderr=said, text=True) as p,
    ):
        try:
            yield p
        finally:
            p.terminate()


def drill(given: argparse.Namespace, corpus: Path, run: Path, rank: int) -> float:
    """Seconds from the death of a process to the next whole step of a training that goes on."""
    with launched(given, corpus, run) as launcher:
        wait(launcher, lambda: newest(run) >= given.steps // 4)
        victim = ranks(launcher.pid)[rank]
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        wait(launcher, lambda: victim not in (now := ranks(launcher.pid)).values() and rank in now)
        reached = newest(run)
        wait(launcher, lambda: newest(run) > reached)
        took = time.monotonic() - began
        check(launcher)
    return took


def wait(launcher: "subprocess.Popen[str]", until: Callable[[], bool]) -> None:
    """Raises `Refused` where the launcher ends before."""
    while not until():
        if launcher.poll() is not None:
            raise Refused("the training ended before it was expected to; see its .log file.")
        time.sleep(0.02)


def check(launcher: "subprocess.Popen[str]") -> None:
    """Wait for the end. Raises `Refused` where the training could not finish."""
    if launcher.wait() != 0:
        raise Refused(f"the training ended with status {launcher.returncode}; see its .log file.")


def ranks(launcher: int) -> dict[int, int]:
    """The processes of a launcher: their number by their rank."""
    listed = Path(f"/proc/{launcher}/task/{launcher}/children").read_text("utf-8")
    return {rank: child for child in map(int, listed.split()) if (rank := rank_of(child)) >= 0}


def rank_of(process: int) -> int:
    """-1 of one that has none, or is gone."""
    try:
        words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return -1
    return next((int(word[5:]) for word in words if word.startswith(b"RANK=")), -1)


def newest(run: Path) -> int:
    """The step of the newest checkpoint, 0 before there is one."""
    found = runs.checkpoints(run / "checkpoints") if run.is_dir() else []
    return max((int(path.name.rsplit("-", 1)[1]) for path in found), default=0)


def weights_sum(run: Path) -> str:
    """SHA-256 of the last weights."""
    path = runs.newest(run / "checkpoints") / runs.WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
