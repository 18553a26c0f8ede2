"""How much memory a training step takes with many words, against holding all scores at once.

    python scripts/bench_memory.py

A text VAE of LSTMs takes one optimiser step on a batch of random words, each time in a fresh
process: as it is, its scores made in slices and made again on the way back; and unfused, the
scores of all tokens (B T, V) in memory together. Printed is the most that the process held in the
step beyond what it held before, and how long it took; loss and gradients of both are compared. A
step before it, on a few tokens, has set up kernels and the optimiser's state. Linux only, which
tells a process its peak.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file
from timing import Spread, here, keep, ratio, spread, timed
from torch import Tensor

from seqvae import Refused, distributions, recipe
from seqvae.build import Built, build, build_stepper
from seqvae.tokens import SPECIAL
from seqvae.training.loop import backward
from seqvae.vae import Batch

OURS, UNFUSED = "in slices", "all at once"
CLOSE = 1e-4
SIZES = {
    "words": 30_000,
    "sentences": 64,
    "tokens": 100,
    "hidden": 512,
    "embed": 256,
    "latent": 32,
    "at_once": distributions.SCORES_AT_ONCE,
}
HELP = {
    "tokens": "of every sentence",
    "hidden": "units of both LSTMs",
    "at_once": "scores in the largest slice",
}
Found = dict[str, Tensor]  # mib, seconds, loss, and the gradients by name


def main() -> None:
    given = parsed()
    if given.way is not None:
        save_file(step(given), given.out)
        return
    rounds = [{way: in_process(way) for way in (OURS, UNFUSED)} for _ in range(given.rounds)]
    apart = differences(rounds[0][OURS], rounds[0][UNFUSED])
    ways = {
        way: {name: spread(series(rounds, way, name)) for name in ("mib", "seconds")}
        for way in (OURS, UNFUSED)
    }
    shares = {
        name: ratio(series(rounds, OURS, name), series(rounds, UNFUSED, name))
        for name in ("mib", "seconds")
    }
    print_found(given, ways, shares, apart)
    sizes = {name: getattr(given, name) for name in SIZES}
    keep(given.json, sizes=sizes, ways=ways, shares=shares, apart=apart)
    if max(apart.values()) > CLOSE:
        raise Refused(f"the two ways differ by more than {CLOSE}: {apart}. A step is wrong.")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, size in SIZES.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=size, help=HELP.get(name))
    parser.add_argument("--rounds", type=int, default=3, help="steps of each way, by turns")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--way", choices=(OURS, UNFUSED), help="one step of it, in this process")
    parser.add_argument("--out", type=Path, help="where that step leaves what it found")
    return parser.parse_args()


def in_process(way: str) -> Found:
    """A step in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "step.safetensors"
        own = ["--way", way, "--out", str(out)]
        subprocess.run([sys.executable, __file__, *sys.argv[1:], *own], check=True)
        return load_file(out)


def step(given: argparse.Namespace) -> Found:
    """Memory, time, loss and gradients of a step of the way that is asked for."""
    built = model(given)
    stepper = build_stepper(recipe.read("text"), built)
    taken: dict[str, float] = {}

    def take(batch: Batch) -> None:
        stepper.optimizer.zero_grad(set_to_none=True)
        report = backward(built.vae, built.objective, batch, accumulate=1, bf16=False)
        taken["loss"] = float(report["loss"])
        stepper.optimizer.step()

    take(words(given, sentences=2, tokens=2))
    stepper.optimizer.zero_grad(set_to_none=True)
    batch = words(given, sentences=given.sentences, tokens=given.tokens)
    at_once = given.at_once if given.way == OURS else sys.maxsize
    with patch.object(distributions, "SCORES_AT_ONCE", at_once):
        before = forget_peak()
        seconds, _ = timed(lambda: take(batch))
        mib = peak() - before
    numbers = {"mib": mib, "seconds": seconds, "loss": taken["loss"]}
    gradients = {n: w.grad for n, w in built.vae.named_parameters() if w.grad is not None}
    return {n: torch.tensor(v, dtype=torch.float64) for n, v in numbers.items()} | gradients


def model(given: argparse.Namespace) -> Built:
    changes = [
        f"latent={given.latent}",
        f"encoder.embed={given.embed}",
        f"encoder.hidden={given.hidden}",
        f"decoder.embed={given.embed}",
        f"decoder.hidden={given.hidden}",
        "decoder.tied=false",
        "decoder.dropout=0.0",
        "objective.terms.kl={kind='KL', weight=0.1}",
    ]
    return build(recipe.override(recipe.read("text"), changes), given.words)


def words(given: argparse.Namespace, *, sentences: int, tokens: int) -> Batch:
    """Sentences of equal length; noise is drawn from the same seed in both ways."""
    torch.manual_seed(0)
    x = torch.randint(SPECIAL, given.words, (sentences, tokens))
    return Batch(x, torch.full((sentences,), tokens), None, torch.arange(sentences))


def forget_peak() -> float:
    """MiB that this process holds; its peak begins anew from there."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _told("VmRSS")


def peak() -> float:
    """MiB: the most this process has held since."""
    return _told("VmHWM")


def _told(name: str) -> float:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 2**10


def series(rounds: Sequence[Mapping[str, Found]], way: str, name: str) -> list[float]:
    return [float(ways[way][name]) for ways in rounds]


def differences(ours: Found, unfused: Found) -> dict[str, float]:
    """Of the loss, beside its size; of gradients the largest, beside the largest number in them.

    >>> one, two = {"loss": torch.tensor(2.0)}, {"loss": torch.tensor(2.5)}
    >>> differences(one | {"w": torch.ones(2)}, two | {"w": torch.ones(2)})
    {'loss': 0.2, 'gradients': 0.0}
    """
    names = [name for name in unfused if name not in ("mib", "seconds", "loss")]
    furthest = max(float((ours[n] - unfused[n]).abs().max()) for n in names)
    largest = max(float(unfused[n].abs().max()) for n in names)
    loss = abs(float(ours["loss"] - unfused["loss"])) / abs(float(unfused["loss"]))
    return {"loss": loss, "gradients": furthest / largest}


def print_found(
    given: argparse.Namespace,
    ways: Mapping[str, Mapping[str, Spread]],
    shares: Mapping[str, Spread],
    apart: Mapping[str, float],
) -> None:
    sizes = f"{given.words:,} words, {given.sentences} x {given.tokens} tokens"
    print(f"{here()}; {sizes}, LSTMs of {given.hidden}\n")
    print("| scores | MiB of a step (least to most) | seconds |\n|---|---|---|")
    for way, numbers in ways.items():
        held = "{:,.0f} ({:,.0f} to {:,.0f})".format(*numbers["mib"])
        print(f"| {way} | {held} | {numbers['seconds']} |")
    print(f"\nof the unfused: memory {shares['mib']}, time {shares['seconds']}")
    print(f"apart: loss {apart['loss']:.1e}, gradients {apart['gradients']:.1e} of the largest")


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
