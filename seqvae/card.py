"""What a run is, on one page, for people it is handed to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import __version__
from .measures.music import in_bits
from .plan import Plan, describe_stage
from .progress import duration
from .recipe import Recipe, label_names, to_toml
from .rows import nats, rows


def card(plan: Plan, weights: int, trainer: Mapping[str, Any]) -> str:
    """A page of Markdown: corpus and licence, sizes, figures, version, command, recipe.

    `weights` is how many the model has, `trainer` where training stands.
    """
    recipe, corpus = plan.recipe, plan.corpus
    noun, figures = corpus.codec.noun, trainer["figures"]
    figures = {**figures, **in_bits(corpus.codec, figures), "noun": noun}
    licence = recipe.get("licence", "not said; it follows from the corpus")
    sources = ", ".join(source_names(corpus.manifest))
    time = duration(trainer["seconds"])
    table = "\n".join(
        f"| {title.strip()} | {cell} | {remark} |" for title, cell, remark in rows(figures) if cell
    )
    return f"""# {recipe["name"]}

{recipe.get("about", "A sequence VAE.")}

- licence: {licence}
- corpus: {sources}: {len(plan.order.lengths):,} {noun}s to train on; checksum \
`{corpus.checksum}`
- size: {weights:,} weights, codes of {recipe["latent"]} numbers, {corpus.codec.vocab:,} token ids\
{_labels(recipe)}
- trained: {trainer["step"]:,} steps, {trainer["tokens"]:,} tokens, {time} on {plan.device}, \
seed {recipe["seed"]}{_course(plan, trainer)}
- made by: seqvae {__version__}, torch {torch.__version__}
- again: `seqvae train recipe.toml CORPUS --out RUN`, with the recipe below

## Validation, at the chosen step ({nats(noun)})

| figure | value | |
|---|---|---|
{table}

## Recipe

```toml
{to_toml(recipe)}```
"""


def _labels(recipe: Recipe) -> str:
    names = label_names(recipe)
    return f", a label of {len(names)}: {', '.join(names):.200}" if names else ""


def _course(plan: Plan, trainer: Mapping[str, Any]) -> str:
    """What else was done than a step a batch, if anything, as lines of a list."""
    count = len(plan.stages)
    lines = [describe_stage(plan.stages, number) for number in range(count)] if count > 1 else []
    if trainer["encoder_steps"]:
        lines.append(f"and {trainer['encoder_steps']:,} steps of the encoder alone")
    return "".join(f"\n- {line}" for line in lines)


def source_names(manifest: Mapping[str, Any]) -> list[str]:
    """The names of the files, or folders of MIDI, that a corpus was prepared from."""
    sources = manifest.get("sources", [])
    names = sources["names"] if isinstance(sources, Mapping) else [s["name"] for s in sources]
    return [Path(str(name)).name for name in names]
