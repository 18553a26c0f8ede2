"""How fast a model is measured: importance-weighted bound, fitted posteriors, information.

    python scripts/bench_evaluate.py RUN CORPUS
    python scripts/bench_evaluate.py --codes 10000 100000

The first compares the bound on log p(x) of 500 samples, 16 items at once, with the protocol of
published code: one item at a time, its samples in chunks of 100. It goes in each precision, by
turns over the same items, spread evenly over the validation split, and with the same codes drawn:
by how much the bound differs is what rounding does. Then posteriors are fitted to few items at
once and to 64. The second times both bounds of the mutual information over so many Gaussian codes
of 32 numbers, and says what memory that took above the most there was before.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import by_turns, here, keep, memory, ratio, spread, timed
from torch import Tensor
from torch.distributions import Independent, Normal

from seqvae import Refused, load
from seqvae.corpus import open_corpus
from seqvae.data import Items, Rows, in_batches
from seqvae.data import spread as spread_rows
from seqvae.distributions import gaussian, kl
from seqvae.measures.aggregate import information
from seqvae.measures.bounds import TOGETHER, Weighed, weigh
from seqvae.measures.codes import Codes
from seqvae.metrics import evidence, standard_error
from seqvae.randomness import seed_of, seeded
from seqvae.training.loop import has_bf16
from seqvae.vae import VAE

CHUNK = 100  # samples scored at once by published code
AT_ONCE = 640  # sequences by ours: 40 samples of 16 items
LATENT = 32
ONE_BY_ONE = "one item, chunks of 100"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="a run, or one that ships")
    parser.add_argument("corpus", nargs="?", type=Path, help="its prepared corpus")
    parser.add_argument("--items", type=int, default=64, help="items weighed")
    parser.add_argument("--samples", type=int, default=500, help="importance samples an item")
    parser.add_argument("--fitted", type=int, default=64, help="items fitted; 0: none")
    parser.add_argument("--rounds", type=int, default=3, help="timings of each way")
    parser.add_argument("--codes", type=int, nargs="+", default=[], help="so many")
    parser.add_argument("--json", type=Path, help="where all numbers go")
    given = parser.parse_args()
    print(here())
    found: dict[str, Any] = {}
    if given.run and given.corpus:
        model, corpus = load(given.run), open_corpus(given.corpus)
        items = corpus.split("valid")
        found |= {"run": given.run, "corpus": corpus.checksum}
        found["bound"] = compare_bounds(model.vae, items, given.items, given.samples, given.rounds)
        if given.fitted:
            found["fitted"] = compare_fits(model.vae, items, given.fitted, given.rounds)
    if given.codes:
        found["information"] = [inform(count) for count in given.codes]
    keep(given.json, **found)


def compare_bounds(
    vae: VAE, items: Items, count: int, samples: int, rounds: int
) -> dict[str, Any]:
    """-log p(x) of the same items one by one and together, by turns: a table."""
    rows = spread_rows(len(items), count)
    z = drawn(vae, items, rows, samples)
    found: dict[str, tuple[Tensor, Tensor]] = {}  # items, and the bound of each

    def published() -> None:
        found[ONE_BY_ONE] = one_by_one(vae, items, rows, z)

    def together(name: str, bf16: bool) -> None:
        weighed = weigh(
            vae, in_batches(items, rows, TOGETHER), samples, at_once=AT_ONCE, bf16=bf16
        )
        found[name] = weighed.item, weighed.nll

    ways: dict[str, Callable[[], None]] = {
        ONE_BY_ONE: published,
        "float32": partial(together, "float32", False),
    }
    if has_bf16("cpu"):
        ways["bfloat16"] = partial(together, "bfloat16", True)
    took = by_turns(ways, rounds)
    print(f"\n{len(rows)} items, {samples} samples each; nats an item\n")
    print("| | seconds | times as fast | bound | differs by |\n|---|---|---|---|---|")
    figures: dict[str, Any] = {"items": len(rows), "samples": samples, "seconds": took}
    item, reference = found[ONE_BY_ONE]
    for name, (same, nll) in found.items():
        assert torch.equal(same, item), "every item is held against itself"
        off = nll - reference
        figures[name] = {
            "nll": float(nll.mean()),
            "differs": float(off.mean()),
            "differs_standard_error": standard_error(off),
            "differs_most": float(off.abs().max()),
            "times_as_fast": ratio(took[ONE_BY_ONE], took[name]),
        }
        print(
            f"| {name} | {spread(took[name])} | {ratio(took[ONE_BY_ONE], took[name])} | "
            f"{nll.mean():.3f} | {off.mean():+.4f} ± {standard_error(off):.4f}, of one item "
            f"{off.abs().max():.4f} at most |"
        )
    print(f"\n{memory():,.0f} MiB at most")
    return {**figures, "memory_mib": memory()}


@torch.no_grad()
def drawn(vae: VAE, items: Items, rows: Rows, samples: int) -> dict[int, Tensor]:
    """The codes (K, 1, D) that `weigh` draws for every item, so that each way has the same."""
    found: dict[int, Tensor] = {}
    for batch in in_batches(items, rows, TOGETHER):
        part = AT_ONCE // len(batch.x)
        with seeded(seed_of(0, int(batch.item[0]))):
            q = vae.encoder(batch)
            parts = [q.rsample((min(part, samples - k),)) for k in range(0, samples, part)]
        found |= zip(batch.item.tolist(), torch.split(torch.cat(parts), 1, dim=1), strict=True)
    return found


@torch.no_grad()
def one_by_one(
    vae: VAE, items: Items, rows: Rows, codes: dict[int, Tensor]
) -> tuple[Tensor, Tensor]:
    """The bound of every item (N,) as published code has it, and the items."""
    found = []
    for batch in in_batches(items, rows, 1):
        q, p = vae.encoder(batch), vae.prior()
        log_w = [
            vae.decoder(vae.condition(z, batch)).log_prob(batch.x) + p.log_prob(z) - q.log_prob(z)
            for z in torch.split(codes[int(batch.item)], CHUNK)
        ]
        found.append((batch.item, -evidence(torch.cat(log_w).double())))
    item, nll = (torch.cat(column) for column in zip(*found, strict=True))
    return item, nll


def compare_fits(vae: VAE, items: Items, count: int, rounds: int) -> dict[str, Any]:
    """Posteriors fitted to few items at once and to many, by turns: a table."""
    rows = spread_rows(len(items), count)

    def fit(size: int) -> Weighed:
        return weigh(vae, in_batches(items, rows, size), 1, fitted=True)

    took = by_turns({str(size): partial(fit, size) for size in (64, TOGETHER)}, rounds)
    print("\n| items fitted at once | seconds of all | times as fast |\n|---|---|---|")
    for name, seconds in took.items():
        print(f"| {name} | {spread(seconds)} | {ratio(took['64'], seconds)} |")
    return {"items": len(rows), "seconds": took}


def inform(count: int) -> dict[str, Any]:
    """Both bounds of the information of so many codes: a line of a table."""
    codes = gaussian_codes(count)
    before = memory()
    seconds, found = timed(lambda: information(codes))
    low, high = found["mutual_information_low"], found["mutual_information_high"]
    print(
        f"| {count:,} codes | I(x; z) {low:.2f} to {high:.2f} nats | {seconds:.1f} s | "
        f"{memory() - before:,.0f} MiB above the {before:,.0f} before |"
    )
    return {"codes": count, "seconds": seconds, "mib": memory() - before, **found}


def gaussian_codes(count: int) -> Codes:
    """Codes whose means spread as N(0, .9) and whose posteriors have the variance .1.

    In batches of 64, as a corpus is encoded.
    """
    torch.manual_seed(0)
    mu = 0.9**0.5 * torch.randn(count, LATENT)
    q = gaussian(mu, torch.full_like(mu, 0.1**0.5))
    batches = [gaussian(part, torch.full_like(part, 0.1**0.5)) for part in mu.split(64)]
    p = Independent(Normal(torch.zeros(LATENT), 1.0), 1)
    z, nothing = q.sample(), torch.zeros(count)
    return Codes(torch.arange(count), nothing, mu, z, nothing, kl(q, p, z), None, None, batches, p)


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
