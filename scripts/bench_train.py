"""How fast a network trains, and what share of the processor's matrix peak that is.

    python scripts/bench_train.py CORPUS --net lstm
    python scripts/bench_train.py --net yahoo --device cuda

Times optimiser steps on a prepared corpus, in float32 and in bfloat16 by turns so that noise
falls on both alike, beside the largest matrix product that torch makes here in the same round.
Counted are the operations of the model: a padded position costs as much as any and counts as
none. LSTMs have kernels of another library, which may beat torch's product: their share may be
above 100 %. `--profile FILE` says where the time goes. With `--epochs 2` it also trains so long
in each precision and prints what validation says: speed that costs quality is none.

Networks: `lstm`, bidirectional of 512 and a decoder of 512; `transformer`, of as many weights;
`melody`, sixteen bars under a conductor beside one flat LSTM of as many weights, on a corpus
prepared by `--bars 16`; `pictures`, dense layers beside convolutions; `yahoo`, the published text
VAE of 54 million weights, for a GPU. Without a corpus sentences are made of random words.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from timing import (
    Spread,
    by_turns,
    here,
    keep,
    matrix_peak,
    most_memory,
    ratio,
    settle,
    spread,
)
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from seqvae import Refused, distributions, recipe
from seqvae.build import Built, build, build_stepper
from seqvae.codecs.codec import Extent
from seqvae.corpus import open_corpus
from seqvae.data import InMemory, Items, Order, batches
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.distributions import ROWS_ROUNDED_TO
from seqvae.evaluate import measure
from seqvae.recipe import Recipe
from seqvae.tokens import EOS, SPECIAL
from seqvae.training import train
from seqvae.training.loop import backward
from seqvae.vae import VAE, Batch

PLAIN = ("objective.terms.kl={kind='KL', weight=0.1}", "optimizer.final=1.0")
NET = (
    "latent=64",
    "encoder.hidden=512",
    "encoder.pool=last",
    "decoder.hidden=512",
    "decoder.tied=false",
    "decoder.word_dropout=0",
    "decoder.dropout=0.5",
    *PLAIN,
)
TRANSFORMER = (
    "latent=64",
    "encoder.width=288",
    "decoder.width=288",
    "decoder.tied=false",
    *PLAIN,
)
# He et al. (2019), section 5.1.
YAHOO = (
    "encoder.embed=512",
    "encoder.hidden=1024",
    "encoder.bidirectional=false",
    "encoder.pool=last",
    "decoder.embed=512",
    "decoder.hidden=1024",
    "decoder.tied=false",
    "decoder.dropout=0.5",
    "training.batch=32",
    *PLAIN,
)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PROFILED = 5  # steps
SHOWN = 15  # operators


class Net(NamedTuple):
    """A recipe, what is changed of it, and a recipe that is timed by turns with it."""

    recipe: str
    changes: tuple[str, ...] = ()
    beside: str | None = None
    steps: int = 40  # of one timing


NETS = {
    "lstm": Net("text", NET),
    "transformer": Net("text-transformer", TRANSFORMER),
    "melody": Net("melody-16", beside="melody-16-flat", steps=4),
    "pictures": Net("image-vae", beside="image-convolutional"),
    "yahoo": Net("text", YAHOO, steps=20),
}


class Source(NamedTuple):
    """What is trained on, and how large its items are."""

    extent: Extent
    train: Items
    valid: Items
    said: str


class Size(NamedTuple):
    """How large a batch is: items, their tokens, and these with the padding."""

    items: int
    tokens: int
    positions: int


def main() -> None:
    given = parsed()
    device, source, net = torch.device(given.device), opened(given), NETS[given.net]
    experiments = chosen(net, given.set)
    check_bars(next(iter(experiments.values())), given.corpus)
    steps = given.steps or net.steps
    print(f"{here()}, {device_name(device)}; {source.said}")
    walks = {
        (name, precision): Walk(experiment, source, precision=precision, device=device)
        for name, experiment in experiments.items()
        for precision in PRECISIONS
    }
    costs = {name: cost(walks[name, "float32"]) for name in experiments}
    found = raced(walks, costs, steps, given.rounds)
    ratios = compared(found, list(experiments))
    padding = next(iter(walks.values())).padding()
    held = most_memory(device)
    print_found(costs, found, ratios, padding, held)
    quality = learned(experiments, source, given.epochs, device)
    print_learned(quality)
    keep(
        given.json,
        net=given.net,
        changes=[*net.changes, *given.set],
        device=device_name(device),
        corpus=source.said,
        steps=steps,
        networks={name: cost._asdict() for name, cost in costs.items()},
        ways={", ".join(way): speed._asdict() for way, speed in found.items()},
        times_as_fast=ratios,
        padding=padding,
        memory_mib=held,
        quality=quality,
    )
    if given.profile:
        given.profile.write_text(profiles(walks, min(steps, PROFILED)), "utf-8")


def chosen(net: Net, changes: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of a net by name, changed."""
    names = [net.recipe] if net.beside is None else [net.recipe, net.beside]
    return {n: recipe.override(recipe.read(n), [*net.changes, *changes]) for n in names}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, nargs="?", help="a prepared corpus")
    parser.add_argument("--net", choices=list(NETS), default="lstm", help="the network")
    parser.add_argument("--set", action="append", default=[], help="of it, as decoder.hidden=256")
    parser.add_argument("--steps", type=int, help="steps of one timing")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each precision")
    parser.add_argument("--epochs", type=float, default=0.0, help="also train so long, and say")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--words", type=int, default=20_001, help="ids, where no corpus is given")
    parser.add_argument("--profile", type=Path, help="a text file: where the time goes")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"


def opened(given: argparse.Namespace) -> Source:
    if given.corpus is None:
        return made(given.words)
    corpus = open_corpus(given.corpus)
    items = corpus.split("train")
    said = f"{len(items):,} {corpus.codec.noun}s, {corpus.codec.vocab:,} ids"
    return Source(corpus.codec.extent, items, corpus.split("valid"), said)


def made(vocab: int, items: int = 4000, mean: int = 80) -> Source:
    """Sentences of ids by Zipf's law, mean / 4 to 7 / 4 mean of them, as in answers of Yahoo.

    Raises `Refused` where there would be no words but the special tokens.
    """
    if vocab <= SPECIAL:
        raise Refused(f"--words {vocab}: the first {SPECIAL} ids are no words; take more.")
    draw = np.random.default_rng(0)
    share = 1 / np.arange(1, vocab - SPECIAL + 1)

    def drawn(length: int) -> list[int]:
        ids = SPECIAL + draw.choice(len(share), size=length - 1, p=share / share.sum())
        return [*ids.tolist(), EOS]

    lengths = draw.integers(mean // 4, 2 * mean - mean // 4 + 1, size=items)
    rows = [drawn(int(length)) for length in lengths]
    said = f"{items:,} made sentences, {vocab:,} ids"
    return Source(Extent(vocab), InMemory(rows), InMemory(rows[:200]), said)


def check_bars(experiment: Recipe, folder: Path | None) -> None:
    """Raise `Refused` where windows have another number of bars than the recipe."""
    grid = None if folder is None else getattr(open_corpus(folder).codec, "grid", None)
    wanted = experiment["data"].get("bars")
    if grid is not None and wanted is not None and grid.bars != wanted:
        raise Refused(
            f"{folder} holds windows of {grid.bars} bars and {experiment['name']} is for "
            f"{wanted}: prepare them with --bars {wanted}."
        )


class Walk:
    """A model in training, some steps at a time, and the sizes of the batches it met.

    Of the same seed, so that all walks over a corpus meet the same batches.
    """

    def __init__(
        self,
        experiment: Recipe,
        source: Source,
        *,
        precision: str,
        device: torch.device,
        epochs: float = 1e6,
    ) -> None:
        seed, size = experiment["seed"], experiment["training"]["batch"]
        order = Order(source.train.lengths, size, seed=seed)
        steps = round(epochs * order.steps_per_epoch())
        self.built = build(experiment, steps=steps, **source.extent._asdict())
        self.built.vae.to(device)
        self.built.objective.to(device)
        self.device = device
        self.sizes: list[Size] = []
        self.first = next(batches(source.train, order))
        stepper = build_stepper(experiment, self.built, steps=steps)
        self.run = train(
            self.built.vae,
            self.built.objective,
            stepper,
            self._noting(islice(batches(source.train, order), steps)),
            bf16=PRECISIONS[precision] is torch.bfloat16,
            device=device,
        )

    def _noting(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        for batch in stream:
            self.sizes.append(Size(len(batch.x), int(batch.length.sum()), batch.x.numel()))
            yield batch

    def take(self, steps: int | None = None) -> None:
        """So many steps, or all that are left."""
        for _ in islice(self.run, steps):
            pass
        settle(self.device)

    def padding(self) -> float:
        """The share of positions that no token stands at."""
        _, tokens, positions = map(sum, zip(*self.sizes, strict=True))
        return 1 - tokens / positions


class Cost(NamedTuple):
    """How large a network is, and what it counts."""

    weights: int
    operations: float
    unit: str

    def __str__(self) -> str:
        each = f"{self.operations / 1e6:.3g} MFLOP a {self.unit}"
        return f"{self.weights:,} weights, {each}, forward and back"


def cost(walk: Walk) -> Cost:
    """Of a token, where they are written one by one; else of a picture."""
    vae = walk.built.vae
    unit = "token" if isinstance(vae.decoder, SequenceDecoder) else "picture"
    alike = unpadded(walk.first).to(walk.device)
    count = int(alike.length.sum()) if unit == "token" else len(alike.x)
    weights = sum(weight.numel() for weight in vae.parameters())
    return Cost(weights, operations(walk.built, alike) / count, unit)


def unpadded(batch: Batch) -> Batch:
    """The batch's item of median length so many times over that nothing in it is padding.

    Nor is anything in the scores of its tokens, whose number `score_tokens` rounds up.
    """
    row = int(batch.length.argsort()[len(batch.x) // 2])
    item = batch.part(row, row + 1)
    copies = max(ROWS_ROUNDED_TO // math.gcd(int(item.length), ROWS_ROUNDED_TO), 2)
    x, length, of = (torch.cat([field] * copies) for field in (item.x, item.length, item.item))
    label = None if item.label is None else torch.cat([item.label] * copies)
    return Batch(x, length, label, of)


def operations(built: Built, batch: Batch) -> float:
    """Floating-point operations of gradients of the batch: of matrix products and convolutions.

    As torch counts them where they run. What it does not see into are an LSTM's own kernels, of
    oneDNN and of cuDNN: these make two a weight and position forward, twice that on the way back.
    Scores are made once: what memory is short of may cost time, and is not the model's.
    """
    vae = built.vae.train()
    with (
        recurrent(vae) as unseen,
        patch.object(distributions, "SCORES_AT_ONCE", sys.maxsize),
        FlopCounterMode(display=False) as counted,
    ):
        backward(vae, built.objective, batch, accumulate=1, bf16=False)
    vae.zero_grad()
    built.objective.zero_grad()
    return counted.get_total_flops() + sum(unseen)


@contextmanager
def recurrent(vae: VAE) -> Iterator[list[int]]:
    """Operations of every LSTM that torch does not count, as it is walked."""
    found: list[int] = []

    def note(lstm: nn.Module, read: tuple[Any, ...], _: object) -> None:
        weights = [w for name, w in lstm.named_parameters() if name.startswith("weight")]
        found.append(6 * sum(w.numel() for w in weights) * read[0].shape[:-1].numel())

    with ExitStack() as hooks:
        for module in vae.modules():
            if isinstance(module, nn.LSTM) and not is_counted(module):
                hooks.callback(module.register_forward_hook(note).remove)
        yield found


def is_counted(lstm: nn.LSTM) -> bool:
    read = next(lstm.parameters()).new_zeros(2, 2, lstm.input_size)
    with FlopCounterMode(display=False) as counted:
        lstm(read)
    return counted.get_total_flops() > 0


class Speed(NamedTuple):
    """What a second brings, round by round."""

    seconds: list[float]
    units: Spread  # tokens, or pictures
    items: Spread
    share: Spread  # of the matrix peak of the same round
    peak: float  # floating-point operations a second: the median

    def __str__(self) -> str:
        middle, least, most = (f"{number:,.0f}" for number in self.units)
        share, low, high = (f"{number:.0%}" for number in self.share)
        return (
            f"{middle} ({least} to {most}) | {self.items.median:,.1f} | "
            f"{share} ({low} to {high}) of {self.peak / 1e9:,.0f} GFLOP/s"
        )


Way = tuple[str, str]  # recipe, precision


def raced(
    walks: dict[Way, Walk], costs: dict[str, Cost], steps: int, rounds: int
) -> dict[Way, Speed]:
    """All walks and the matrix products of their precisions, by turns."""
    device = next(iter(walks.values())).device
    for walk in walks.values():
        walk.take(steps)  # kernels are set up here
    peaks: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}

    def multiply(precision: str) -> None:
        peaks[precision].append(matrix_peak(PRECISIONS[precision], device=device))

    turns: dict[str, Any] = {p: partial(multiply, p) for p in PRECISIONS}
    turns |= {" ".join(way): partial(walk.take, steps) for way, walk in walks.items()}
    took = by_turns(turns, rounds)
    return {
        way: speed(took[" ".join(way)], walk.sizes[steps:], costs[way[0]], peaks[way[1]])
        for way, walk in walks.items()
    }


def speed(
    seconds: list[float], sizes: Sequence[Size], cost: Cost, peaks: Sequence[float]
) -> Speed:
    steps = len(sizes) // len(seconds)
    rounds = [sizes[first : first + steps] for first in range(0, len(sizes), steps)]
    items = [sum(s.items for s in r) / t for r, t in zip(rounds, seconds, strict=True)]
    tokens = [sum(s.tokens for s in r) / t for r, t in zip(rounds, seconds, strict=True)]
    units = tokens if cost.unit == "token" else items
    shares = [cost.operations * u / peak for u, peak in zip(units, peaks, strict=True)]
    return Speed(seconds, spread(units), spread(items), spread(shares), spread(peaks).median)


def print_found(
    costs: dict[str, Cost],
    found: dict[Way, Speed],
    ratios: dict[str, Spread],
    padding: float,
    held: float,
) -> None:
    for name, cost in costs.items():
        print(f"{name}: {cost}")
    unit = next(iter(costs.values())).unit
    print(f"\n| | {unit}s a second (least to most) | items a second | of the matrix peak |")
    print("|---|---|---|---|")
    for way, speed in found.items():
        print(f"| {', '.join(way)} | {speed} |")
    print()
    for what, times in ratios.items():
        print(f"{what}: {times} times as fast")
    print(f"padding {padding:.1%} of positions; memory at most {held:,.0f} MiB, all models in it")


def compared(found: dict[Way, Speed], names: list[str]) -> dict[str, Spread]:
    """How many times as fast: bfloat16 as float32, the recipe as the one beside it."""
    ratios = {
        f"{name}, bfloat16 against float32": ratio(
            found[name, "float32"].seconds, found[name, "bfloat16"].seconds
        )
        for name in names
    }
    for other in names[1:]:
        for precision in PRECISIONS:
            ratios[f"{names[0]} against {other}, {precision}"] = ratio(
                found[other, precision].seconds, found[names[0], precision].seconds
            )
    return ratios


def profiles(walks: dict[Way, Walk], steps: int) -> str:
    """Where the time of some steps goes in each way, operator by operator."""
    return "\n".join(
        f"{', '.join(way)}, {steps} steps\n{profiled(walk, steps)}" for way, walk in walks.items()
    )


def profiled(walk: Walk, steps: int) -> str:
    """The operators that take most, of their own: share, milliseconds, calls."""
    cuda = walk.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]
    with profile(activities=activities) as seen:
        walk.take(steps)
    own = "self_device_time_total" if cuda else "self_cpu_time_total"
    rows = [(float(getattr(e, own)), int(e.count), str(e.key)) for e in seen.key_averages()]
    whole = sum(time for time, _, _ in rows)
    lines = [
        f"{time / whole:7.1%} {time / 1e3:10,.1f} ms {count:8,} calls  {name}\n"
        for time, count, name in sorted(rows, reverse=True)[:SHOWN]
    ]
    return "".join(lines)


def learned(
    experiments: dict[str, Recipe], source: Source, epochs: float, device: torch.device
) -> dict[str, dict[str, float]]:
    """What validation says of each way after so long."""
    found = {}
    for name, experiment in experiments.items() if epochs else ():
        for precision in PRECISIONS:
            walk = Walk(experiment, source, precision=precision, device=device, epochs=epochs)
            walk.take()
            tokens = sum(size.tokens for size in walk.sizes)
            figures = measure(walk.built.vae, source.valid, samples=0).figures
            told = {key: figures[key] for key in ("reconstruction", "kl")}
            found[f"{name}, {precision}"] = {"tokens": tokens, **told}
    return found


def print_learned(quality: dict[str, dict[str, float]]) -> None:
    for way, figures in quality.items():
        print(
            f"{way}: after {figures['tokens']:,} tokens validation reconstruction "
            f"{figures['reconstruction']:.2f}, KL {figures['kl']:.2f} nats an item"
        )


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
