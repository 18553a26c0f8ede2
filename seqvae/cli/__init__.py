"""`seqvae …`: thin commands over the package. Imports that weigh wait until they are needed."""

from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from .attributes import attribute
from .exploring import decode, encode, export, info, label, neighbours, reconstruct, sample
from .forms import phrases
from .measuring import compare, density, draw, evaluate, rate
from .morphing import humanise, interpolate, tracks
from .preparing import prepare
from .training import recipes, train

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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
) -> None: ...


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
