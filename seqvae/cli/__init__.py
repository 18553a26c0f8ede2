"""`seqvae …`: thin commands over the package. Imports that weigh wait until they are needed."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from ..errors import Refused
from .attributes import attribute
from .exploring import decode, encode, export, info, label, neighbours, reconstruct, sample
from .forms import phrases
from .measuring import compare, density, draw, evaluate, rate
from .morphing import humanise, interpolate, tracks
from .preparing import prepare
from .training import recipes, train

TOGETHER = {"train", "evaluate"}  # what several processes do as one

app = typer.Typer(
    help="Variational autoencoders of sequences: train, measure, explore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"seqvae {__version__}")
        raise typer.Exit


@app.callback()
def _seqvae(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    _check_alone(context.invoked_subcommand)


def _check_alone(command: str | None) -> None:
    """Raise `Refused` where a launcher starts several times what each would do for itself."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1 or "RANK" not in os.environ or command in TOGETHER:
        return
    cure = "divide it by --shard i/n, or run it" if command == "prepare" else "run it"
    raise Refused(
        f"seqvae {command} was started as {processes} processes, of which each would do all of it "
        f"and write over the others: {cure} without torchrun."
    )


COMMANDS: tuple[Callable[..., None], ...] = (  # in the order of `seqvae --help`
    train,
    recipes,
    evaluate,
    draw,
    density,
    compare,
    rate,
    sample,
    reconstruct,
    label,
    interpolate,
    humanise,
    phrases,
    encode,
    decode,
    neighbours,
    info,
    tracks,
    export,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(prepare, name="prepare")
app.add_typer(attribute, name="attribute")
