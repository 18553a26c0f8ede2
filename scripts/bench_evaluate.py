"""How fast a model is measured: the importance-weighted bound, and mutual information.

    python scripts/bench_evaluate.py RUN CORPUS
    python scripts/bench_evaluate.py --codes 10000 100000

The first compares the bound on log p(x) of 500 samples, many items at once, with the protocol of
published code: one item at a time, its samples in chunks of 100. Both go by turns over the same
items, spread evenly over the validation split. The second times both bounds of the mutual
information over so many Gaussian codes of 32 numbers, and says what memory that took.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from bench_train import memory
from torch.distributions import Independent, Normal

from seqvae import Refused, load
from seqvae.corpus import open_corpus
from seqvae.data import in_batches, spread
from seqvae.distributions import gaussian, kl
from seqvae.measures.aggregate import information
from seqvae.measures.bounds import Weighed, weigh
from seqvae.measures.codes import Codes

SAMPLES, CHUNK = 500, 100
LATENT = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="a run, or one that ships")
    parser.add_argument("corpus", nargs="?", type=Path, help="its prepared corpus")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--codes", type=int, nargs="+", default=[], help="so many")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    if given.run and given.corpus:
        compare_bounds(given.run, given.corpus, given.items, given.rounds)
    for count in given.codes:
        began = perf_counter()
        found = information(gaussian_codes(count))
        low, high = found["mutual_information_low"], found["mutual_information_high"]
        print(
            f"{count:,} codes: I(x; z) between {low:.2f} and {high:.2f} nats in "
            f"{perf_counter() - began:.1f} s; {memory():,.0f} MiB so far"
        )


def compare_bounds(run: str, folder: Path, count: int, rounds: int) -> None:
    """-log p(x) of the same items in two ways, by turns."""
    model = load(run)
    items = open_corpus(folder).split("valid")
    rows = spread(len(items), count)
    ways: dict[str, Callable[[], Weighed]] = {
        "together": lambda: weigh(model.vae, in_batches(items, rows, 16), SAMPLES),
        "one by one": lambda: weigh(model.vae, in_batches(items, rows, 1), SAMPLES, at_once=CHUNK),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Weighed] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds, found[name] = timed(way)
            took[name].append(seconds)
    ratios = [slow / fast for fast, slow in zip(*took.values(), strict=True)]
    nll = {name: float(weighed.nll.mean()) for name, weighed in found.items()}
    print(
        f"{len(rows)} items, {SAMPLES} samples: {statistics.median(took['together']):.1f} s, "
        f"{statistics.median(ratios):.2f} times as fast as one by one "
        f"({min(ratios):.2f} to {max(ratios):.2f}); {nll['together']:.3f} against "
        f"{nll['one by one']:.3f} nats"
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = perf_counter()
    found = work()
    return perf_counter() - began, found


def gaussian_codes(count: int) -> Codes:
    """Codes whose means spread as N(0, .9) and whose posteriors have the variance .1."""
    torch.manual_seed(0)
    mu = 0.9**0.5 * torch.randn(count, LATENT)
    q = gaussian(mu, torch.full_like(mu, 0.1**0.5))
    p = Independent(Normal(torch.zeros(LATENT), 1.0), 1)
    z, nothing = q.sample(), torch.zeros(count)
    return Codes(torch.arange(count), nothing, mu, z, nothing, kl(q, p, z), None, None, [q], p)


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
