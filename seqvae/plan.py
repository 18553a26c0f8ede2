"""What is fixed before the first step: how long, how often, where, in which precision."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import runs
from .codecs import Codec, MusicCodec
from .corpus import Corpus
from .data import Order
from .errors import Refused
from .recipe import Recipe
from .training.loop import has_bf16

VALIDATE_WITHIN = 5000  # steps, where an epoch is longer and the recipe says nothing
SAVE_WITHIN = 1000  # likewise


class Plan(NamedTuple):
    """Everything fixed before the first step."""

    recipe: Recipe
    corpus: Corpus
    folder: Path
    order: Order
    steps: int
    validate_every: int
    save_every: int
    bf16: bool
    device: torch.device
    tables: Tensor | None = None  # id -> id (K, V), by one of which each item is rewritten


def make_plan(recipe: Recipe, corpus: Corpus, folder: Path, device: str) -> Plan:
    """How many steps, how often to look and to save, where and in which precision."""
    training = recipe["training"]
    corpus.split("valid")  # refused now, not after the first epoch, where there is none
    lengths = corpus.split("train").lengths
    order = Order(lengths, training["batch"], by=training["by"], seed=recipe["seed"])
    epoch = order.steps_per_epoch()
    steps = training.get("steps") or max(round(training["epochs"] * epoch), 1)
    every = training.get("validate_every") or max(min(epoch, steps, VALIDATE_WITHIN), 1)
    precision = training["precision"]
    where = runs.find_device(device)
    return Plan(
        recipe=recipe,
        corpus=corpus,
        folder=folder,
        order=order,
        steps=steps,
        validate_every=every,
        save_every=training.get("save_every") or min(every, SAVE_WITHIN),
        bf16=precision == "bf16" or (precision == "auto" and has_bf16(where)),
        device=where,
        tables=transpositions(corpus.codec, training["transpose"]),
    )


def transpositions(codec: Codec, semitones: int) -> Tensor | None:
    """Id -> id for every transposition by at most so many semitones (2 semitones + 1, V).

    Raises `Refused` for what has no pitch.
    """
    if semitones == 0:
        return None
    if not isinstance(codec, MusicCodec):
        raise Refused(
            f"training.transpose = {semitones}: a corpus of kind {codec.kind!r} has no pitch; set "
            "it to 0."
        )
    moves = range(-semitones, semitones + 1)
    return torch.as_tensor(np.stack([codec.transposed(move) for move in moves]))
