"""A tiny corpus and tiny runs, and processes that can be killed without harm to the tests."""

import hashlib
import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from data_prep.text import prepare_text
from seqvae import fit as fitting
from seqvae import recipe as recipes
from seqvae import runs
from seqvae.codecs import VoicedCodec
from seqvae.corpus import Corpus, Packed, open_corpus, write_block, write_manifest

SMALL: dict[str, dict[str, Any]] = {
    "LSTM": {
        "latent": 2,
        "encoder": {"kind": "LSTMEncoder", "embed": 8, "hidden": 8, "pool": "max"},
        "decoder": {
            "kind": "LSTMDecoder",
            "embed": 8,
            "hidden": 8,
            "word_dropout": 0.3,
            "dropout": 0.2,
            "tied": True,
        },
    },
    "Transformer": {
        "latent": 2,
        "encoder": {"kind": "TransformerEncoder", "width": 8, "heads": 2, "layers": 1},
        "decoder": {
            "kind": "TransformerDecoder",
            "width": 8,
            "heads": 2,
            "layers": 1,
            "word_dropout": 0.3,
        },
    },
}
# A code that is in use after a dozen steps.
FLOOR = 'objective.terms.kl={kind = "FreeBits", nats = 0.5, per = "batch_dimension"}'
TRAINING = {
    "data.codec": "word",
    "optimizer.rate": 0.01,
    "optimizer.warm_up": 0,
    "training.precision": "float32",
    "training.batch": 16,
    "training.steps": 12,
    "training.validate_every": 6,
    "training.save_every": 3,
}

# Forked from a process that has imported everything and done nothing: a child costs
# milliseconds, and no thread or lock of the tests is copied into it.
NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload(
    ["seqvae.fit", "seqvae.cli", "data_prep.text", "torch._dynamo"]  # the last for any optimiser
)


def sentences(count: int = 200, seed: int = 0) -> list[str]:
    """Distinct sentences over some twenty words."""
    draw = random.Random(seed)
    nouns = ["cat", "dog", "bird", "fish", "child", "teacher"]
    verbs = ["sees", "likes", "finds", "follows"]
    found: dict[str, None] = {}
    while len(found) < count:
        adjective = draw.choice(["red", "old", "small", "happy"])
        end = draw.choice(["", " now", " in the garden", " today"])
        verb, noun, other = draw.choice(verbs), draw.choice(nouns), draw.choice(nouns)
        found[f"the {adjective} {noun} {verb} the {other}{end}"] = None
    return list(found)


def write_text(path: Path, count: int = 200) -> Path:
    path.write_text("".join(f"{line}\n" for line in sentences(count)), "utf-8")
    return path


def prepared(folder: Path, count: int = 200) -> Corpus:
    """A corpus of words, prepared beside its text."""
    text = write_text(folder / "text.txt", count)
    return open_corpus(prepare_text([text], folder / "corpus", codec="word").folder)


def windows(folder: Path, codec: VoicedCodec, count: int = 60) -> Corpus:
    """A corpus of random ids that a codec of music may write, half of them holds."""
    draw = np.random.default_rng(0)
    first, end = np.tile(codec.allowed, (codec.grid.length, 1)).T
    splits = {}
    for name in ("train", "valid", "test"):
        ids = draw.integers(first, end, (count, codec.length))
        ids = np.where(draw.random(ids.shape) < 0.5, first, ids)
        packed = Packed(ids.ravel(), np.full(count, codec.length))
        (folder / name).mkdir(parents=True)
        splits[name] = [write_block(folder / name / "00000.arrow", [packed])]
    codec.save(folder / "codec")
    header = json.loads((folder / "codec" / "codec.json").read_bytes())
    about = {"vocab": codec.vocab, **{key: header[key] for key in ("kind", "sha256")}}
    write_manifest(folder, splits, about, None, {"sources": []})
    return open_corpus(folder)


def settings(network: str = "LSTM", **other: Any) -> list[str]:
    """As `--set` takes them; of `other`, "_" stands for the dot: training_steps=3."""
    named = {key.replace("_", ".", 1): value for key, value in other.items()}
    changes = {**flat(SMALL[network]), **TRAINING, **named}
    # A section's kind goes first: naming another one empties the section.
    ordered = sorted(changes.items(), key=lambda change: not change[0].endswith(".kind"))
    return [FLOOR, *(f"{key}={json.dumps(value)}" for key, value in ordered)]


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        found |= flat(value, f"{above}{key}.") if inner else {f"{above}{key}": value}
    return found


def recipe(network: str = "LSTM", **other: Any) -> recipes.Recipe:
    return recipes.override(recipes.read("text"), settings(network, **other))


def hush(*anything: object) -> None:
    """Say, or draw, nothing."""


def train(
    experiment: recipes.Recipe,
    corpus: Path,
    folder: Path,
    *,
    resume: bool = False,
    tick: Callable[..., None] | None = None,
    say: Callable[[str], None] = hush,
    **watched: Any,
) -> None:
    """Train in this process, with a line of the log every 4 steps and no pictures, which cost."""
    torch.set_num_threads(1)
    with patch.multiple(fitting, LOG_EVERY=4, curves=hush, save=lambda figure, path: path):
        options = {"resume": resume, "tick": tick, "say": say, **watched}
        fitting.fit(experiment, Corpus(corpus), folder, **options)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(
    experiment: recipes.Recipe, corpus: Path, folder: Path, step: int, saving: bool
) -> None:
    """Begin a run or go on with it, and be killed at a step or while saving after it."""

    def tick(now: int, steps: int, numbers: Mapping[str, float]) -> None:
        if now == step and not saving:
            die()
        if now == step:
            die_at_sync(2)

    multiprocessing.set_start_method(None, force=True)  # loaders start as they do for people
    train(experiment, corpus, folder, resume=runs.is_run(folder), tick=tick)


def die_at_sync(count: int) -> None:
    """From now on, the process is killed when it asks the disk to keep a file so many times."""
    left = [count]

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] <= 0:
            die()

    setattr(os, "fsync", fsync)  # noqa: B010 (mypy would have its whole signature)


def in_child(target: Callable[..., Any], *arguments: Any, seconds: float = 60) -> int:
    """Run a function in a child process; its exit code, minus the signal that killed it."""
    child = NURSERY.Process(target=target, args=arguments)
    child.start()
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
        raise AssertionError(f"{target.__name__} still ran after {seconds} seconds")
    assert child.exitcode is not None
    return child.exitcode


def weights_sum(folder: Path, which: str = "checkpoints") -> str:
    """SHA-256 of the newest weights of a run."""
    path = runs.newest(folder / which) / runs.WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The log without what the clock says."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
