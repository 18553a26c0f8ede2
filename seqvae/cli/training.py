"""`seqvae train` and `seqvae recipes`."""

import inspect
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from ..verdict import OnCollapse
from .corpora import fitting_recipe, make_corpus, resumed_corpus, sort_out
from .options import Device, RecipeSeed, Settings, plain, recipe_changes

if TYPE_CHECKING:
    from ..corpus import Corpus
    from ..recipe import Recipe


def train(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [TEXT|MIDI|IMAGES|PREPARED]",
            help="A recipe (name or .toml) and/or a corpus: a text file, a folder or .zip of MIDI "
            "files, pictures, a prepared folder, or one made here: docstrings, composed, digits.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; runs/NAME if left out.")
    ] = None,
    settings: Settings = None,
    seed: RecipeSeed = None,
    nats: Annotated[
        float | None, typer.Option(help="The rate of the code, held by a controller: TargetRate.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run at --out.")] = False,
    device: Device = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard files.")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(help="The run of a language model of this corpus: measures the repayment."),
    ] = None,
    on_collapse: Annotated[
        OnCollapse, typer.Option(help="Of a code that stays empty or unread: say so, or end.")
    ] = OnCollapse.WARN,
    print_recipe: Annotated[
        bool, typer.Option("--print-recipe", help="Print the whole recipe and stop.")
    ] = False,
) -> None:
    """Train a model on a corpus; leaves a run that every other command opens."""
    from .. import recipe as recipes

    named, corpus = sort_out(what or [])
    recipe = (
        _begun(named, corpus, out) if resume else recipes.read(named or fitting_recipe(corpus))
    )
    recipe = recipes.override(recipe, recipe_changes(settings, seed))
    if nats is not None:
        recipe = _held(recipe, nats)
    if print_recipe:
        from ..build import complete

        print(recipes.to_toml(complete(recipe)), end="")
        return
    folder = plain(out or Path("runs") / str(recipe["name"]))
    watched = {"baseline": _baseline(baseline), "on_collapse": on_collapse}
    _fit(recipe, corpus, folder, device, tensorboard, resume, **watched)


def _baseline(run: str | None) -> Path | None:
    """The folder of the language model that a run is held against, if one is named."""
    from ..runs import check_run
    from ..shelf import find

    if run is None:
        return None
    folder = find(run)
    check_run(folder)
    return folder


def _held(recipe: "Recipe", nats: float) -> "Recipe":
    """The recipe with a rate of so many nats, whatever weighed its KL before; all else stays."""
    from .. import regularizers
    from ..recipe import override

    if not 0 <= nats < math.inf:
        raise Refused(f"--nats {nats:g}: a rate is 0 or more and finite, such as --nats 10.")
    if recipe["latent"] == 0 or "stage" in recipe:
        what = "has no code" if recipe["latent"] == 0 else "says in stages what holds its KL"
        raise Refused(
            f"--nats {nats:g}: the recipe {recipe['name']!r} {what}, so its rate cannot be asked "
            "for. Name another recipe, such as text."
        )
    kind, terms = str(recipe["objective"].get("kind")), recipe["objective"].get("terms")
    if terms is None and not _takes_terms(kind):
        raise Refused(
            f"--nats {nats:g}: the objective {kind} has terms of its own, so its rate cannot be "
            "asked for. Name one that takes any: --set objective.kind=Elbo"
        )
    of_rate = [
        name
        for name, term in (terms or {}).items()
        if getattr(getattr(regularizers, str(term.get("kind")), None), "of_rate", False)
    ]
    penalty = f'{{kind = "TargetRate", nats = {nats}}}'
    gone = [f"objective.terms.{name}=none" for name in of_rate]
    return override(recipe, [*gone, f"objective.terms.kl={penalty}"])


def _takes_terms(kind: str) -> bool:
    """Whether an objective is made of the terms that a recipe names; one unknown is refused later.

    >>> _takes_terms("SemiAmortized"), _takes_terms("IWAE")
    (True, False)
    """
    from .. import objectives

    maker = getattr(objectives, kind, None)
    return not inspect.isclass(maker) or "terms" in inspect.signature(maker).parameters


def _begun(named: str | None, corpus: str | None, out: Path | None) -> "Recipe":
    """The recipe of the run to go on with."""
    from ..runs import is_run, read_recipe

    if named or out is None:
        run = corpus if corpus and is_run(Path(corpus)) else "FOLDER"
        raise Refused(
            f"--resume goes on with a run as it is: name it with --out {run}, and change its "
            "recipe only with --set."
        )
    return read_recipe(plain(out))


def _fit(
    recipe: "Recipe",
    named: str | None,
    folder: Path,
    device: str,
    tensorboard: bool,
    resume: bool,
    **watched: Any,
) -> None:
    from ..fit import fit
    from ..processes import joined
    from ..progress import Progress

    with joined():
        corpus, resume = _corpus(named, recipe, folder, device, resume)
        with Progress() as progress:
            fit(
                recipe,
                corpus,
                folder,
                device=device,
                resume=resume,
                tensorboard=tensorboard,
                say=progress.say,
                tick=progress.train,
                **watched,
            )


def _corpus(
    named: str | None, recipe: "Recipe", folder: Path, device: str, resume: bool
) -> "tuple[Corpus, bool]":
    """The corpus, made by the first of several processes; and whether to go on with a run."""
    from ..corpus import open_corpus
    from ..fit import is_again
    from ..processes import told

    if told(lambda: not resume and is_again(folder)):
        return resumed_corpus(None, folder), True
    if resume:
        return resumed_corpus(named, folder), True
    made = told(lambda: str(make_corpus(named, recipe, folder, device).folder))
    return open_corpus(Path(made)), False


def recipes() -> None:
    """List the recipes that come with the package."""
    from ..recipe import read, shipped

    for name in shipped():
        print(f"{name:18} {read(name).get('about', '')}")
