"""How fast a recipe trains, and what share of the processor's matrix peak that is.

    python scripts/bench_train.py CORPUS

Times optimiser steps on a prepared corpus, in float32 and in bfloat16 by turns so that noise
falls on both alike, beside the largest matrix product that this machine makes in the same run.
With `--epochs 2` it also trains so long in each precision and prints what validation says: speed
that costs quality is none. Without settings the network is a bidirectional LSTM of 512, an LSTM
decoder of 512, embeddings of 256, 64 latent dimensions, batches of 64.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqvae import Refused, recipe
from seqvae.build import Built, build, build_stepper
from seqvae.corpus import Corpus, open_corpus
from seqvae.data import Order, batches
from seqvae.evaluate import measure
from seqvae.recipe import Recipe
from seqvae.training import train
from seqvae.vae import Batch

NET = (
    "latent=64",
    "encoder.hidden=512",
    "encoder.pool=last",
    "decoder.hidden=512",
    "decoder.tied=false",
    "decoder.word_dropout=0",
    "decoder.dropout=0.5",
    "objective.terms.kl={kind='KL', weight=0.1}",
    "optimizer.final=1.0",
)
PRECISIONS = {"float32": False, "bfloat16": True}


def matrix_peak(bf16: bool, size: int = 2048, trials: int = 5) -> float:
    """Floating-point operations a second of the product of two square matrices."""
    a = torch.randn(size, size, dtype=torch.bfloat16 if bf16 else torch.float32)
    a @ a
    return 2 * size**3 / min(seconds(lambda: a @ a) for _ in range(trials))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def operations(built: Built, vocab: int) -> int:
    """Floating-point operations a token: two a weight forward, twice that on the way back.

    Raises `Refused` for a network that is not made of LSTMs: others are not counted.
    """
    vae = built.vae
    if not any(isinstance(module, nn.LSTM) for module in vae.decoder.modules()):
        raise Refused("only networks of LSTMs are counted: choose a recipe with an LSTMDecoder.")
    recurrent = sum(
        parameter.numel()
        for module in vae.modules()
        if isinstance(module, nn.LSTM)
        for name, parameter in module.named_parameters()
        if name.startswith("weight")
    )
    decoder: Any = vae.decoder
    features = (decoder.output or decoder.embedding).weight.shape[1]
    return 6 * (recurrent + vocab * features)


def trained(
    experiment: Recipe, corpus: Corpus, *, bf16: bool, epochs: float = 1.0
) -> tuple[Built, Iterator[int]]:
    """A model, and an iterator that trains it: tokens of the batch of every step."""
    items, seed, size = corpus.split("train"), experiment["seed"], experiment["training"]["batch"]
    order = Order(items.lengths, size, seed=seed)
    steps = round(epochs * order.steps_per_epoch())
    torch.manual_seed(seed)
    built = build(experiment, steps=steps, **corpus.codec.extent._asdict())
    stepper = build_stepper(experiment, built, steps=steps)
    stream = islice(batches(items, order), steps)
    return built, _tokens(built, stepper, stream, bf16)


def _tokens(built: Built, stepper: object, stream: Iterator[Batch], bf16: bool) -> Iterator[int]:
    sizes: list[int] = []

    def noting() -> Iterator[Batch]:
        for batch in stream:
            sizes.append(int(batch.length.sum()))
            yield batch

    for _ in train(built.vae, built.objective, stepper, noting(), bf16=bf16):  # type: ignore[arg-type]
        yield sizes[-1]


def speeds(experiment: Recipe, corpus: Corpus, steps: int, rounds: int) -> dict[str, list[float]]:
    """Tokens a second in each precision, `rounds` times, by turns."""
    runs = {
        name: trained(experiment, corpus, bf16=bf16, epochs=1e6)[1]
        for name, bf16 in PRECISIONS.items()
    }
    for run in runs.values():
        for _ in islice(run, steps):  # kernels are set up here
            pass
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            tokens = sum(islice(run, steps))
            found[name].append(tokens / (time.perf_counter() - began))
    return found


def memory() -> float:
    """MiB: the most this process has held so far."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="a prepared corpus")
    parser.add_argument("--recipe", default="text", help="a recipe's name or file")
    parser.add_argument(
        "--set",
        action="append",
        help="as decoder.hidden=256; any of these and the net is the recipe's, not the one above",
    )
    parser.add_argument("--steps", type=int, default=60, help="steps of one timing")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each precision")
    parser.add_argument("--epochs", type=float, default=0.0, help="also train so long, and say")
    arguments = parser.parse_args()

    corpus = open_corpus(arguments.corpus)
    changes = arguments.set if arguments.set is not None else NET
    experiment = recipe.override(recipe.read(arguments.recipe), changes)
    built, _ = trained(experiment, corpus, bf16=False)
    each = operations(built, corpus.codec.vocab)
    threads = torch.get_num_threads()
    print(f"{threads} threads, torch {torch.__version__}; {each / 1e6:.1f} MFLOP a token")
    found = speeds(experiment, corpus, arguments.steps, arguments.rounds)
    for name, bf16 in PRECISIONS.items():
        speed, peak = statistics.median(found[name]), matrix_peak(bf16)
        spread = f"{min(found[name]):,.0f} to {max(found[name]):,.0f}"
        print(
            f"{name:9s} {speed:7,.0f} tokens/s ({spread}): {speed * each / 1e9:.0f} of "
            f"{peak / 1e9:.0f} GFLOP/s, {speed * each / peak:.0%} of the matrix peak"
        )
    print(f"bfloat16 / float32: {ratio(found):.2f}; memory at most {memory():,.0f} MiB")
    for name, bf16 in PRECISIONS.items():
        if arguments.epochs:
            print(f"{name:9s} {quality(experiment, corpus, bf16, arguments.epochs)}")


def ratio(found: dict[str, list[float]]) -> float:
    pairs = zip(found["bfloat16"], found["float32"], strict=True)
    return statistics.median(fast / slow for fast, slow in pairs)


def quality(experiment: Recipe, corpus: Corpus, bf16: bool, epochs: float) -> str:
    built, run = trained(experiment, corpus, bf16=bf16, epochs=epochs)
    began = time.perf_counter()
    tokens = sum(run)
    took = time.perf_counter() - began
    figures = measure(built.vae, corpus.split("valid"), samples=0).figures
    return (
        f"after {tokens:,} tokens in {took:.0f} s: validation reconstruction "
        f"{figures['reconstruction']:.2f}, KL {figures['kl']:.2f} nats a sentence"
    )


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
