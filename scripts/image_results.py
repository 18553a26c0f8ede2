"""The experiments on pictures whose right answers are known, over several seeds.

    python scripts/image_results.py OUT --pictures FOLDER --part labels --part vae --part wizard

FOLDER is one of pictures with labels, as MNIST's four files (see `seqvae prepare images`). OUT
gets a table and its numbers for each part:

    labels   an auxiliary classifier: digits asked for and read by a judge, epoch by epoch
    vae      16 numbers, a VAE and an autoencoder: -ELBO, what lies between codes, and how many
             times as often that is clear under the VAE (the hole ratio, in both rows)
    wizard   the adversarial autoencoder, as published and in a stable variant, epoch by epoch

Finished trainings are not begun again, and stopped ones go on.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.images import prepare_images
from seqvae import Refused, __version__, images, load, runs
from seqvae.corpus import Corpus, open_corpus, write_json
from seqvae.data import Order, in_order
from seqvae.evaluate import encode_all
from seqvae.explore import Explorer
from seqvae.fit import fit
from seqvae.latent import path
from seqvae.log import read_log
from seqvae.measures.match import match
from seqvae.progress import table
from seqvae.recipe import override, read

ASKED = 200  # codes for each digit that is asked for
BETWEEN = 1000  # pairs of test items, halfway between which a judge looks

Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """Pictures, and runs on them that are kept at every epoch."""

    out: Path
    source: str
    epochs: int | None  # in place of the recipe's

    @cache  # noqa: B019  # there is one bench
    def corpus(self, binarize: Literal["none", "dynamic"]) -> Corpus:
        folder = self.out / "corpora" / binarize
        if not (folder / "manifest.json").is_file():
            print(prepare_images([self.source], folder, binarize=binarize))
        return open_corpus(folder)

    def run(self, name: str, seed: int) -> Path:
        """The folder of a recipe's run, trained."""
        recipe = read(name)
        corpus = self.corpus(recipe["data"]["binarize"])
        training = recipe["training"]
        epochs = self.epochs or round(training["epochs"])
        epoch = Order(corpus.split("train").lengths, training["batch"]).steps_per_epoch()
        every = [f"training.{key}_every={epoch}" for key in ("save", "validate")]
        own = [f"training.epochs={epochs}", *every, f"training.keep={epochs + 1}", f"seed={seed}"]
        folder = self.out / "runs" / f"{name}-{seed}"
        made = override(recipe, [*own, "optimizer.patience=none"])
        fit(made, corpus, folder, resume=runs.is_run(folder), say=lambda line: None)
        print(f"trained: {name}, seed {seed}", flush=True)
        return folder

    def epochs_of(self, folder: Path) -> Iterator[tuple[int, Explorer, runs.Opened]]:
        """A run after each of its epochs, counted from 1."""
        for epoch, place in enumerate(runs.checkpoints(folder / "checkpoints"), 1):
            opened = runs.open_checkpoint(folder, place)
            yield epoch, Explorer(opened.built.vae, opened.codec, opened.recipe, {}), opened

    @cache  # noqa: B019
    def judge(self) -> images.Judge:
        """An independent reader of digits, trained on the shades of the training split."""
        pixels, labels = self.pictures("train")
        judge = images.fit_judge(pixels, labels)
        print(f"the judge reads {judge.accuracy(*self.pictures('test')):.1%} of test pictures")
        return judge

    def pictures(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        corpus = self.corpus("none")
        items = corpus.split(split)
        pixels = [corpus.codec.decode(items[row].tolist()) for row in range(len(items))]
        return np.stack(pixels), np.array([items.label(row) for row in range(len(items))])


def labels(bench: Bench, seed: int) -> Iterator[Row]:
    """Epoch by epoch what the whole model costs, and whether the digits asked for are read."""
    corpus = bench.corpus("none")
    for epoch, model, opened in bench.epochs_of(bench.run("image-labels", seed)):
        test = encode_all(opened.built.vae, in_order(corpus.split("test"), 100))
        asked = ask(bench.judge(), model)
        if test.rate is None or test.label_nll is None or test.y is None:
            raise Refused("image-labels lost its KL or its label head: restore the recipe.")
        right = test.y.argmax(1) == truth(corpus, test.item)
        yield {
            "seed": seed,
            "epoch": epoch,
            "D + R, test": float((test.reconstruction + test.rate).double().mean()),
            "R": float(test.rate.double().mean()),
            "cross-entropy": float(test.label_nll.double().mean()),
            "accuracy": float(right.double().mean()),
            "asked and read": asked,
        }


def ask(judge: images.Judge, model: Explorer) -> float:
    """The share of digits made to order that the judge reads as asked for."""
    count = len(model.labels)
    torch.manual_seed(0)
    z = torch.randn(ASKED, 1, model.latent).expand(-1, count, -1)
    codes = torch.cat([z, torch.eye(count).expand(ASKED, -1, -1)], -1).flatten(0, 1)
    return judge.accuracy(model.means(codes).numpy(), np.tile(np.arange(count), ASKED))


def truth(corpus: Corpus, rows: Tensor) -> Tensor:
    items = corpus.split("test")
    return torch.tensor([items.label(row) or 0 for row in rows.tolist()])


def vae(bench: Bench, seed: int) -> Iterator[Row]:
    """A VAE and an autoencoder of 16 numbers: what they cost, what lies between their codes."""
    rows, read = [], []
    for name in ("image-vae", "image-autoencoder"):
        model, corpus = load(bench.run(name, seed)), bench.corpus("dynamic")
        test = encode_all(model.vae, in_order(corpus.split("test"), 100))
        rate = None if test.rate is None else float(test.rate.double().mean())
        distortion = float(test.reconstruction.double().mean())
        read.append(holes(bench.judge(), model, test.mu))
        rows.append(
            {
                "model": name,
                "seed": seed,
                "D": distortion,
                "R": rate,
                "-ELBO": None if rate is None else distortion + rate,
                **clear(read[-1]),
            }
        )
    filled, empty = read
    ratios = {f"hole ratio, {at}": images.hole_ratio(empty[at], filled[at]) for at in filled}
    yield from ({**row, **{name: finite(ratio) for name, ratio in ratios.items()}} for row in rows)


def holes(judge: images.Judge, model: Explorer, mu: Tensor) -> dict[str, NDArray[Any]]:
    """A judge's probabilities of draws of the prior, and of codes halfway between two items."""
    torch.manual_seed(0)
    a, b = torch.randperm(len(mu))[: 2 * min(BETWEEN, len(mu) // 2)].chunk(2)
    halfway = path(mu[a], mu[b], 3)[1]
    codes = {"prior": model.draw(2 * BETWEEN), "halfway": halfway}
    return {at: judge.probabilities(model.means(z).numpy()) for at, z in codes.items()}


def clear(read: Mapping[str, NDArray[Any]]) -> Row:
    """How many of them are clear to the judge, and the entropy of the classes read, nats."""
    found = {}
    for place, probabilities in read.items():
        told = images.judged(probabilities)
        found[f"clear, {place}"] = told["confident"]
        found[f"classes, {place}"] = told["class_entropy"]
    return found


def finite(ratio: float) -> float | None:
    """None in the place of infinity, which JSON has no word for."""
    return ratio if math.isfinite(ratio) else None


def wizard(bench: Bench, seed: int) -> Iterator[Row]:
    """Epoch by epoch whether the codes are where the prior is."""
    for name in ("image-wizard", "image-wizard-unstable", "image-wizard-stable"):
        items, run = bench.corpus("none").split("test"), bench.run(name, seed)
        losses = critic_losses(run)
        for epoch, model, opened in bench.epochs_of(run):
            codes = encode_all(opened.built.vae, in_order(items, 100))
            pixels = model.means(codes.mu[:2000]).numpy()
            seen = np.stack([model.codec.decode(items[r].tolist()) for r in codes.item[:2000]])
            yield {
                "model": name,
                "seed": seed,
                "epoch": epoch,
                "critic's loss": losses[epoch - 1],
                "squared error a pixel": float(((seen / 255.0 - pixels) ** 2).mean()),
                "mean": codes.z.double().mean(0).tolist(),
                "deviation": codes.z.double().std(0).tolist(),
                "total variation": match(codes)["aggregate_tv"],
            }


def critic_losses(folder: Path) -> list[float | None]:
    """The critic's own loss, -log D(prior) - log(1 - D(code)), in the mean of every epoch.

    It is 2 ln 2 = 1.386 for a critic that cannot tell codes from draws of the prior; None of an
    epoch of so few steps that none was logged.
    """
    steps = [int(each.name.split("-")[1]) for each in runs.checkpoints(folder / "checkpoints")]
    lines = [line for line in read_log(folder) if "own/critic" in line]
    epochs = [
        [line["own/critic"] for line in lines if begun < line["step"] <= step]
        for begun, step in pairwise([0, *steps])
    ]
    return [2 * float(np.mean(logged)) if logged else None for logged in epochs]


PARTS: dict[str, Callable[[Bench, int], Iterator[Row]]] = {
    "labels": labels,
    "vae": vae,
    "wizard": wizard,
}


def told(rows: list[Row]) -> str:
    """The rows as a table."""
    head = tuple(rows[0])
    return table([head, *(tuple(_short(row[name]) for name in head) for row in rows)])


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{number:.2f}" for number in value)
    return f"{value:.3f}" if isinstance(value, float) else "n/a" if value is None else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder: corpora, runs, tables and numbers")
    parser.add_argument("--pictures", required=True, help="a folder of pictures with labels")
    parser.add_argument("--part", action="append", choices=PARTS, help="all if left out")
    parser.add_argument("--seeds", type=int, default=3, help="0 and so many after it")
    parser.add_argument("--epochs", type=int, help="in place of each recipe's own")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(given.out, given.pictures, given.epochs)
    command = shlex.join(["python", *sys.argv])
    about = {"version": __version__, "torch": torch.__version__, "command": command}
    for part in given.part or PARTS:
        rows = [row for seed in range(given.seeds) for row in PARTS[part](bench, seed)]
        page = f"{told(rows)}\n\n    {command}\n"
        (given.out / f"{part}.txt").write_text(page, "utf-8")
        write_json(given.out / f"{part}.json", {"about": about, "rows": rows})
        print(page, flush=True)


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
