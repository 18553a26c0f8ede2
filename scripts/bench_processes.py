"""What two processes of one thread gain over one process of two, with the same batch of both.

    python scripts/bench_processes.py CORPUS --json docs/results/speed/processes.json

Each turn starts a training anew, by torchrun where it is of several processes, and times its steps
from the second on: starting up is not counted. Losses are compared step by step; there is no
network dropout, of which each process draws its own. The network is that of bench_train.py: a
bidirectional LSTM of 512, an LSTM decoder of 512, embeddings of 256, 64 latent dimensions.
Without a corpus sentences are made of random words.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from timing import Spread, here, keep, memory, ratio, spread, timed
from torch import Tensor

from seqvae import Refused, recipe
from seqvae.build import build, build_stepper
from seqvae.codecs.codec import Extent
from seqvae.corpus import open_corpus
from seqvae.data import InMemory, Items, Order, batches
from seqvae.processes import is_first, joined, sum_up
from seqvae.tokens import EOS, SPECIAL
from seqvae.training import loop, train

NET = (
    "latent=64",
    "encoder.hidden=512",
    "encoder.pool=last",
    "encoder.dropout=0",
    "decoder.hidden=512",
    "decoder.tied=false",
    "decoder.word_dropout=0.2",
    "decoder.dropout=0",
    "objective.terms.kl={kind='KL', weight=0.1}",
    "optimizer.final=1.0",
    "training.batch=256",
)
ALIKE = 1e-5  # of a loss


def main() -> None:
    given = parsed()
    if given.child:
        torch.set_num_threads(given.threads)
        with joined():
            walked = walk(given)
            if is_first():
                given.child.write_text(json.dumps(walked), "utf-8")
        return
    given.steps = max(given.steps, 3)
    one, many = raced(given)
    apart = check_alike(one + many)
    print(f"{here()}; {one[0]['about']}; {given.steps} steps a turn")
    print(f"| processes x threads | seconds a step, {given.rounds} turns | MiB of the first |")
    print("|---|---|---|")
    for name, found in ((f"1 x {given.processes}", one), (f"{given.processes} x 1", many)):
        most = max(each["memory"] for each in found)
        print(f"| {name} | {of(found, 'seconds')} | {most:,.0f} |")
    gain = ratio([each["seconds"] for each in one], [each["seconds"] for each in many])
    print(f"throughput, several / one: {gain}")
    print(f"of a step, until the gradients are summed: {of(many, 'passing')} s, waiting included")
    print(f"losses are {apart:.1e} apart at most, of themselves")
    keep(
        given.json,
        about_corpus=one[0]["about"],
        net=[*NET, *given.set],
        one=one,
        several=many,
        gain=gain._asdict(),
        losses_apart=apart,
    )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, nargs="?", help="a prepared corpus")
    parser.add_argument("--set", action="append", default=[], help="as decoder.hidden=256")
    parser.add_argument("--processes", type=int, default=2, help="how many, of one thread each")
    parser.add_argument("--steps", type=int, default=12, help="steps of one turn")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each way")
    parser.add_argument("--words", type=int, default=7262, help="ids, where no corpus is given")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def raced(given: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What one process and what several found, turn by turn."""
    one, many = [], []
    with TemporaryDirectory() as place:
        for _ in range(given.rounds):
            one.append(started(given, Path(place) / "found", 1, given.processes))
            many.append(started(given, Path(place) / "found", given.processes, 1))
    return one, many


def started(given: argparse.Namespace, out: Path, processes: int, threads: int) -> dict[str, Any]:
    """What fresh processes find; `Refused` where they fail."""
    own = [sys.executable]
    if processes > 1:
        own += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*own, __file__, "--child", str(out), "--threads", str(threads)]
    command += ["--steps", str(given.steps), "--words", str(given.words)]
    command += [f"--set={change}" for change in given.set]
    command += [str(given.corpus)] if given.corpus else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{processes} processes could not train: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(out.read_bytes())
    return found


def walk(given: argparse.Namespace) -> dict[str, Any]:
    """Train a few steps, and say how long one took and what was lost at each."""
    extent, items, about = opened(given)
    experiment = recipe.override(recipe.read("text"), [*NET, *given.set])
    torch.manual_seed(experiment["seed"])
    built = build(experiment, steps=given.steps, **extent._asdict())
    stepper = build_stepper(experiment, built, steps=given.steps)
    order = Order(items.lengths, experiment["training"]["batch"], seed=experiment["seed"])
    passing: list[float] = []
    with patch.object(loop, "sum_up", noting(passing)):
        steps = train(built.vae, built.objective, stepper, batches(items, order))
        first = float(next(steps)[1]["loss"])
        rest = islice(steps, given.steps - 1)
        took, losses = timed(lambda: [float(report["loss"]) for _, report in rest])
    return {
        "about": about,
        "seconds": took / len(losses),
        "passing": sum(passing[1:]) / len(losses),
        "losses": [first, *losses],
        "memory": memory(),
    }


def noting(passing: list[float]) -> Callable[[Sequence[Tensor]], None]:
    """`sum_up`, which leaves how many seconds it took."""

    def noted(tensors: Sequence[Tensor]) -> None:
        passing.append(timed(lambda: sum_up(tensors))[0])

    return noted


def opened(given: argparse.Namespace) -> tuple[Extent, Items, str]:
    if given.corpus is None:
        return Extent(given.words), made(given.words), f"made sentences, {given.words:,} ids"
    corpus = open_corpus(given.corpus)
    items, extent = corpus.split("train"), corpus.codec.extent
    return extent, items, f"{len(items):,} {corpus.codec.noun}s, {extent.vocab:,} ids"


def made(words: int, items: int = 4000) -> InMemory:
    """Sentences of 5 to 14 words by Zipf's law, as long as short reviews are.

    Raises `Refused` where there would be no words but the special tokens.
    """
    if words <= SPECIAL:
        raise Refused(f"--words {words}: the first {SPECIAL} ids are no words; take more.")
    draw, share = np.random.default_rng(0), 1 / np.arange(1, words - SPECIAL + 1)
    lengths = draw.integers(5, 15, size=items)
    ids = SPECIAL + draw.choice(len(share), size=int(lengths.sum()), p=share / share.sum())
    return InMemory([[*row.tolist(), EOS] for row in np.split(ids, lengths.cumsum()[:-1])])


def check_alike(found: Sequence[dict[str, Any]]) -> float:
    """By how much the losses of a step differ at most, of themselves.

    Raises `Refused` where that is more than `ALIKE`: then something else is trained.
    """
    losses = torch.tensor([each["losses"] for each in found], dtype=torch.float64)
    apart = float(((losses - losses[0]) / losses[0]).abs().max())
    if apart > ALIKE:
        raise Refused(f"losses are {apart:.1e} apart, more than {ALIKE:g}: not the same training.")
    return apart


def of(found: Sequence[dict[str, Any]], name: str) -> Spread:
    return spread([each[name] for each in found])


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
