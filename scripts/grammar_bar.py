"""Does training find what is known? A language of exactly known entropy, its model, its code.

    python scripts/grammar_bar.py runs/grammar --seed 0

Makes the language of `seqvae prepare grammar`, trains the recipes `grammar-lm` and `grammar` on
it, measures both on the test split, and reads each factor from the code with a linear probe. One
table says which bars are reached; the status is 1 if one is not. Finished runs are not trained
again, and stopped ones go on.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.grammar import FACTORS, english, write_grammar
from data_prep.text import prepare_text
from seqvae import Refused, __version__, recipe, runs
from seqvae.corpus import Corpus, open_corpus, write_json
from seqvae.data import in_order, spread
from seqvae.evaluate import encode_all, measure
from seqvae.fit import fit
from seqvae.measures.probe import probe_all
from seqvae.progress import duration, table
from seqvae.vae import VAE

LANGUAGE = {"train": (100_000, 0), "valid": (2_000, 1), "test": (5_000, 3)}  # sentences, seed
RECIPES = ("grammar-lm", "grammar")
SAMPLES, SAMPLE_ITEMS = 100, 1_000  # of the importance-weighted NLL
PROBE_ITEMS = 20_000  # training sentences that the probe learns from

Row = dict[str, str]  # a sentence under "text", and its factors


class Bar(NamedTuple):
    """A figure and the range it should lie in."""

    name: str
    value: float
    least: float
    most: float | None
    unit: str

    @property
    def reached(self) -> bool:
        return self.least <= self.value and (self.most is None or self.value <= self.most)

    def row(self) -> tuple[str, ...]:
        upper = "or more" if self.most is None else f"to {self.most:.3f}"
        bounds = f"{self.least:.3f} {upper}"
        return self.name, f"{self.value:.3f}", bounds, self.unit, "yes" if self.reached else "NO"


def make_language(folder: Path) -> Corpus:
    """The prepared language. Its test split is the language itself, chance repetitions too."""
    files = {split: folder / f"{split}.jsonl" for split in LANGUAGE}
    for split, (count, seed) in LANGUAGE.items():
        if not files[split].is_file():
            write_grammar(files[split], count, seed)
    # A test split without the sentences of the training split would be of higher entropy.
    prepared = prepare_text(
        [files["train"]],
        folder / "corpus",
        valid=files["valid"],
        test=files["test"],
        column="text",
        codec="word",
        keep_duplicates=True,
    )
    print(prepared)
    return open_corpus(folder / "corpus")


def read_rows(path: Path, corpus: Corpus, split: str) -> list[Row]:
    """The sentences of a split with their factors; refused unless its items are the same."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    items = corpus.split(split)
    if len(rows) != len(items) or any(
        corpus.codec.encode(row["text"]).ids != items[place].tolist()
        for place, row in enumerate(rows)
    ):
        raise Refused(
            f"{path} and the {split} split of {corpus.folder} are not the same sentences in the "
            "same order. Delete both, and begin again."
        )
    return rows


def train(name: str, corpus: Corpus, folder: Path, seed: int) -> tuple[VAE, float]:
    """The trained model of a recipe, and the seconds that its training took in all."""
    experiment = recipe.override(recipe.read(name), [f"seed={seed}"])
    state = fit(experiment, corpus, folder, resume=runs.is_run(folder))
    return runs.open_run(folder).built.vae, state.seconds


def read_factors(
    vae: VAE, corpus: Corpus, train: Sequence[Row], test: Sequence[Row]
) -> dict[str, float]:
    """For each factor, the accuracy on test items of a probe of posterior means."""
    known = encode_all(vae, in_order(corpus.split("train"), 64, PROBE_ITEMS))
    new = encode_all(vae, in_order(corpus.split("test"), 64))
    seen = [train[row] for row in known.item.tolist()]
    asked = [test[row] for row in new.item.tolist()]
    found = probe_all(known.mu.numpy(), _factors(seen), new.mu.numpy(), _factors(asked))
    return {name: read.accuracy for name, read in found.items()}


def _factors(rows: Sequence[Row]) -> list[Row]:
    """Rows without their sentences."""
    return [{name: row[name] for name in FACTORS} for row in rows]


def exact_nll(rows: Sequence[Row]) -> NDArray[np.float64]:
    """-log p(x) of every sentence under the language itself, nats (N,)."""
    language = english()
    return np.array([-language.log_prob(row["text"]) for row in rows])


def bars(
    lm: Mapping[str, Any],
    vae: Mapping[str, Any],
    exact: NDArray[np.float64],
    accuracy: Mapping[str, float],
    seconds: float,
) -> list[Bar]:
    """What was measured, beside what it should be. `exact`: -log p(x) of every test item."""
    language = english()
    entropy, factors = language.entropy, language.factor_entropy
    near = (0.99 * entropy, 1.01 * entropy)
    # What the drawn items cost above the entropy is luck, and known exactly.
    luck = float(exact.mean()) - entropy
    luck_of_sample = float(exact[spread(len(exact), SAMPLE_ITEMS)].mean()) - entropy
    repaid = (lm["reconstruction"] - vae["reconstruction"]) / vae["kl"]
    effective = vae["iw_effective_samples"] / vae["iw_samples"]
    return [
        Bar("language model, NLL", lm["reconstruction"], *near, "nats"),
        Bar("  less luck of the draw", lm["reconstruction"] - luck, *near, "nats"),
        Bar("VAE, importance-weighted NLL", vae["iw_bound"], *near, "nats"),
        Bar("  less luck of the draw", vae["iw_bound"] - luck_of_sample, *near, "nats"),
        Bar("  share of samples that count", effective, 0.05, 1.0, ""),
        Bar("rate R", vae["kl"], 0.8 * factors, 1.5 * factors, "nats"),
        Bar("repayment", repaid, 0.9, None, "nats a nat"),
        *(Bar(f"probe, {name}", value, 0.9, 1.0, "accuracy") for name, value in accuracy.items()),
        Bar("time in all", seconds / 60, 0.0, 15.0, "minutes"),
    ]


def report(found: Sequence[Bar]) -> str:
    """The table of all bars."""
    return table([("figure", "", "bar", "unit", "reached"), *(bar.row() for bar in found)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the language and the runs are made")
    parser.add_argument("--seed", type=int, default=0, help="of both trainings")
    arguments = parser.parse_args()
    folder, seed = arguments.folder, arguments.seed

    began = time.monotonic()
    corpus = make_language(folder)
    files = {split: folder / f"{split}.jsonl" for split in LANGUAGE}
    rows = {split: read_rows(files[split], corpus, split) for split in ("train", "test")}
    exact = exact_nll(rows["test"])
    seconds = {"language": time.monotonic() - began}
    models = {}
    for name in RECIPES:
        models[name], seconds[name] = train(name, corpus, folder / f"{name}-{seed}", seed)

    began = time.monotonic()
    test = corpus.split("test")
    figures = {
        name: measure(vae, test, samples=SAMPLES, sample_items=SAMPLE_ITEMS, seed=seed).figures
        for name, vae in models.items()
    }
    accuracy = read_factors(models["grammar"], corpus, rows["train"], rows["test"])
    seconds["measuring"] = time.monotonic() - began

    total = sum(seconds.values())
    found = bars(figures["grammar-lm"], figures["grammar"], exact, accuracy, total)
    print(report(found))
    print(", ".join(f"{part} {duration(spent)}" for part, spent in seconds.items()))
    about = {
        "version": __version__,
        "torch": torch.__version__,
        "seed": seed,
        "language": {split: {"sentences": n, "seed": s} for split, (n, s) in LANGUAGE.items()},
        "corpus": corpus.checksum,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "bars": [{**bar._asdict(), "reached": bar.reached} for bar in found],
        "figures": figures,
    }
    write_json(folder / "grammar_bar.json", about)
    return 0 if all(bar.reached for bar in found) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refused as refusal:
        sys.exit(str(refusal))
