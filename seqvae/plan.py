"""What is fixed before the first step: how long, how often, where, in which precision."""

from collections.abc import Sequence
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
from .randomness import seed_of
from .recipe import NETS, Recipe, staged
from .training.loop import has_bf16

VALIDATE_WITHIN = 5000  # steps, where an epoch is longer and the recipe says nothing
SAVE_WITHIN = 1000  # likewise


class Stage(NamedTuple):
    """A part of a run: it begins with an optimiser and schedules anew, and may have other losses.

    Of a run without stages there is one.
    """

    recipe: Recipe  # of this stage alone
    stop: int  # the step at which it ends
    name: str = ""
    reset: tuple[str, ...] = ()  # networks whose weights are drawn anew
    freeze: tuple[str, ...] = ()  # networks whose weights stay as they are
    lagging: int = 0  # steps of the encoder alone before each, at most


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
    stages: tuple[Stage, ...] = ()


def make_plan(recipe: Recipe, corpus: Corpus, folder: Path, device: str) -> Plan:
    """How many steps, how often to look and to save, where and in which precision.

    A label head gets the names of the corpus's labels.
    """
    recipe = _named(recipe, corpus)
    training = recipe["training"]
    corpus.split("valid")  # refused now, not after the first epoch, where there is none
    lengths = corpus.split("train").lengths
    order = Order(
        lengths,
        training["batch"],
        by=training["by"],
        seed=recipe["seed"],
        mixed=training["mixed"],
    )
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
        stages=plan_stages(recipe, steps, epoch),
    )


def _named(recipe: Recipe, corpus: Corpus) -> Recipe:
    """The recipe with the names of the labels that its head tells, if it has one."""
    if "label" not in recipe:
        return recipe
    if not corpus.labels:
        pictures = corpus.codec.shape is not None
        how = "images FOLDER, a subfolder each" if pictures else "text FILE --label COLUMN"
        raise Refused(
            f"[label]: the items of {corpus.folder} have no labels. Prepare them with some "
            f"(seqvae prepare {how}), or leave the head out: --set label=none"
        )
    named = recipe["label"].get("names", corpus.labels)
    if named != corpus.labels:
        raise Refused(
            f"label.names = {named!r:.60} and the labels of {corpus.folder} are "
            f"{', '.join(corpus.labels):.60}: leave the names out, they are the corpus's; for "
            "other labels, begin a new run."
        )
    return {**recipe, "label": {**recipe["label"], "names": list(corpus.labels)}}


def plan_stages(recipe: Recipe, steps: int, epoch: int) -> tuple[Stage, ...]:
    """The stages of a run of so many steps, of which an epoch has `epoch`.

    The weights that a stage draws anew are a function of (seed, stage).

    Raises `Refused` where one of them is left without a step, and where the first draws anew what
    nobody has learned yet.
    """
    stages = recipe.get("stage") or [{}]
    if stages[0].get("reset"):
        raise Refused(
            f"[[stage]] 1: reset = {list(stages[0]['reset'])}: a run begins with weights drawn "
            "anew, so the first stage has nothing to draw again. Leave it out."
        )
    for number, said in enumerate(stages, start=1):
        named = {*said.get("reset", ()), *said.get("freeze", ())}
        if "labeller" in named and "label" not in recipe:
            raise Refused(
                f"[[stage]] {number} names the labeller, and the recipe has none. Leave it out, "
                "or add a label head: --set label={}"
            )
    found: list[Stage] = []
    start = 0
    for number, said in enumerate(stages):
        stop = start + _length(said, steps, epoch) if number < len(stages) - 1 else steps
        if stop <= start or stop > steps:
            raise Refused(
                f"[[stage]] {number + 1} would go from step {start} to step {stop} of a run of "
                f"{steps}: shorten the stages, or train for longer (training.epochs or .steps)."
            )
        own = staged(recipe, number)
        own["seed"] = seed_of(recipe["seed"], number) if number else recipe["seed"]
        found.append(
            Stage(
                own,
                stop,
                said.get("name", ""),
                tuple(said.get("reset", ())),
                tuple(said.get("freeze", ())),
                said.get("lagging", recipe["training"]["lagging"]),
            )
        )
        start = stop
    return tuple(found)


def _length(stage: Recipe, steps: int, epoch: int) -> int:
    """Steps of a stage that is not the last."""
    asked = stage.get("steps") or stage.get("epochs", 0) * epoch or stage["share"] * steps
    return max(round(asked), 1)


def describe_stage(stages: Sequence[Stage], number: int) -> str:
    """A stage, counted from 0, in a few words.

    >>> own, reset = Stage({}, 10, "autoencoder"), Stage({}, 30, reset=("decoder",))
    >>> describe_stage([own, reset], 1)
    'stage 2 of 2, to step 30: decoder drawn anew'
    """
    stage = stages[number]
    name = f" ({stage.name})" if stage.name else ""
    done = [f"{net} drawn anew" for net in NETS if net in stage.reset]
    done += [f"{net} stays as it is" for net in NETS if net in stage.freeze]
    done += [f"at most {stage.lagging} steps of the encoder ahead of each"] * bool(stage.lagging)
    what = f": {', '.join(done)}" if done else ""
    return f"stage {number + 1} of {len(stages)}{name}, to step {stage.stop}{what}"


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
