"""What the commands share: their options, and how each opens a run, names a folder and warns."""

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused

if TYPE_CHECKING:
    from ..explore import Decoding

Run = Annotated[str, typer.Argument(help="A run's folder, or the name of one that ships.")]
Texts = Annotated[
    list[str] | None,
    typer.Argument(
        help="Sentences; MIDI files or pictures, if the run knows them; with --file: none."
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="The folder for MIDI files or pictures, if the run knows them.")
]
OfTrack = Annotated[
    str | None,
    typer.Option(help="Of MIDI: a track by NAME, #2 or program:0-31; else the best.", metavar="T"),
]
FromFile = Annotated[
    str | None,
    typer.Option("--file", help="Sentences from a file (.txt; .jsonl with `text`), - for stdin."),
]
OfLabel = Annotated[
    str | None, typer.Option(help="Write with this label, if the run has a label head.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON lines.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every random draw.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe: decoder.hidden=512.")
]
RecipeSeed = Annotated[
    int | None, typer.Option(min=0, max=2**63 - 1, help="The same as --set seed=N.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")]
Beam = Annotated[int | None, typer.Option(min=1, help="Search for the likeliest with this width.")]
Temperature = Annotated[float | None, typer.Option(help="Draw; below 1 sharper, above flatter.")]
TopK = Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest tokens.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the fewest that reach this share.")]
Length = Annotated[
    int | None, typer.Option(min=1, help="The most tokens to write; else as many as in training.")
]
AnotherCorpus = Annotated[Path | None, typer.Option("--corpus", help="Another prepared corpus.")]


def decoding(
    beam: Beam = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    length: Length = None,
    seed: Seed = 0,
) -> "Decoding":
    from ..explore import Decoding

    return Decoding(beam, temperature, top_k, top_p, length, seed)


def taking(*makers: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that is given what these make takes the options of each in its place.

    What `decoding` makes is given as `decoding`, an object of class `Playing` as `playing`.
    """
    every = {made.__name__.lower(): inspect.signature(made).parameters for made in makers}
    by_name = {made.__name__.lower(): made for made in makers}

    def taken(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command).parameters
        options = [each for name in own for each in every.get(name, {name: own[name]}).values()]

        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            chosen = {name: {key: given.pop(key) for key in keys} for name, keys in every.items()}
            command(**given, **{name: by_name[name](**keys) for name, keys in chosen.items()})

        with_options.__annotations__ = {each.name: each.annotation for each in options}
        with_options.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        return with_options

    return taken


writes = taking(decoding)


def recipe_changes(settings: list[str] | None, seed: int | None) -> list[str]:
    """What `--set` and `--seed` change in a recipe."""
    return [*(settings or []), *([] if seed is None else [f"seed={seed}"])]


def plain(folder: Path) -> Path:
    """The folder without "..", which would hide what stands at its end until it is made."""
    return Path(os.path.normpath(folder))


def check_free(out: Path) -> None:
    if out.exists():
        raise Refused(f"{out} exists already; name another file, or remove it.")


def load(run: str | None, device: str) -> Any:
    from ..explore import load as load_run
    from ..runs import find_device
    from ..shelf import DEFAULT

    return load_run(run or DEFAULT, device=str(find_device(device)), warn=warn)


def warn(sentence: str) -> None:
    print(f"seqvae: {sentence}", file=sys.stderr)
