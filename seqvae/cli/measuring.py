"""`seqvae evaluate`, `density`, `compare` and `rate`: what is measured of runs."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import Refused
from .corpora import fitting_recipe, make_corpus
from .options import (
    AnotherCorpus,
    AsJson,
    Device,
    RecipeSeed,
    Run,
    Seed,
    Settings,
    load,
    plain,
    recipe_changes,
    warn,
)
from .sentences import write_rows

Split = Annotated[str, typer.Option(help="valid, or at the very end test.")]
Exact = Annotated[bool, typer.Option("--exact", help="Importance-sample every item, 500 times.")]
Samples = Annotated[int, typer.Option(min=0, help="Importance samples an item; 0: none.")]
Weighed = Annotated[int, typer.Option(min=1, help="Items for importance sampling, at most.")]
Fitted = Annotated[
    int, typer.Option(min=0, help="Items whose posterior is fitted one by one; 0: none.")
]
Written = Annotated[
    int, typer.Option(min=0, help="Items to reconstruct, and samples to draw; 0: none.")
]

Precision = Annotated[
    str,
    typer.Option(
        help="Of importance samples: float32, bf16, or auto: the faster that changes nothing."
    ),
]


def evaluate(
    run: Run,
    corpus: AnotherCorpus = None,
    split: Split = "valid",
    out: Annotated[Path | None, typer.Option(help="Where to write; else into the run.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The run of a language model, the same decoder without a code."),
    ] = None,
    exact: Exact = False,
    samples: Samples = 100,
    items: Weighed = 1000,
    fitted: Fitted = 200,
    written: Written = 1000,
    noise: Annotated[
        bool, typer.Option("--noise", help="Also feed the decoder noise in place of its code.")
    ] = False,
    precision: Precision = "auto",
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure a run: what it costs, what its code holds, whether the decoder reads it.

    Started by torchrun, several processes share the importance samples.
    """
    from ..progress import Progress, table
    from ..reports.report import evaluate_run
    from ..shelf import find

    with Progress() as progress:
        report, files = evaluate_run(
            find(run),
            corpus,
            baseline=None if baseline is None else find(baseline),
            out=out,
            split=split,
            **_counts(exact, samples, items, fitted, written, precision),
            noise=noise,
            seed=seed,
            device=device,
            progress=progress.count,
            warn=warn,
        )
    if not files:  # the first of several processes writes and speaks
        return
    print(table(report.rows()))
    for note in report.notes:
        print(note)
    print(f"written: {', '.join(str(path) for path in files)}")


def draw(
    run: Run,
    corpus: AnotherCorpus = None,
    split: Split = "valid",
    out: Annotated[Path | None, typer.Option(help="A folder; else figures/ of the run.")] = None,
    items: Annotated[int, typer.Option(min=2, help="Items to encode, at most.")] = 2000,
    device: Device = "auto",
) -> None:
    """Draw a run's codes and, of pictures, what it makes of them: PNGs, with numbers as JSON."""
    from ..corpus import find_corpus, open_corpus
    from ..data import spread
    from ..gallery import gallery
    from ..shelf import find

    model, folder = load(run, device), find(run)
    found = find_corpus(folder) if corpus is None else open_corpus(corpus)
    some = found.split(split)
    rows = spread(len(some), items).tolist()
    given = [found.codec.decode(some[row].tolist()) for row in rows]
    numbers = [some.label(row) for row in rows]
    labels = [found.labels[n] for n in numbers if n is not None] if found.labels else None
    place = out or folder / "figures"
    for name, drawn in gallery(model, given, labels).items():
        print(f"drawn: {drawn.save(place / f'{name}.png')}")


def density(
    run: Run,
    kind: Annotated[str, typer.Option(help="mixture (of Gaussians) or flow.")] = "mixture",
    components: Annotated[
        int | None,
        typer.Option(min=1, help="Of a mixture; if left out as many as held-out codes favour."),
    ] = None,
    corpus: AnotherCorpus = None,
    split: Annotated[str, typer.Option(help="Whose codes: train, or valid.")] = "train",
    items: Annotated[int, typer.Option(min=1, help="Items to encode, at most.")] = 10_000,
    written: Annotated[
        int, typer.Option(min=0, help="Samples to write from prior and density; 0: none.")
    ] = 500,
    seed: Seed = 0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Fit a density on a run's codes, to sample from it where the prior has holes.

    It is kept in the run, for `seqvae sample RUN --from density`, and belongs to its weights. How
    far codes of the prior and of the density lie from codes of other items is told. No likelihood
    is ever measured under it.
    """
    from ..progress import Progress, table
    from ..reports.holes import fit_density
    from ..shelf import find

    with Progress() as progress:
        found = fit_density(
            find(run),
            corpus,
            kind=kind,
            components=components,
            split=split,
            items=items,
            written=written,
            seed=seed,
            device=device,
            progress=progress.count,
            warn=warn,
        )
    if as_json:
        write_rows([{"density": found.kept.header, **found.figures}], True)
        return
    print(table(found.rows()))
    print(found.reading(), f"written: {found.path}", sep="\n")


def compare(
    named: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Two or more, best with a language model among them."),
    ],
    corpus: AnotherCorpus = None,
    split: Split = "valid",
    out: Annotated[
        Path | None, typer.Option(help="Where to write; reports/compare-NAMES if left out.")
    ] = None,
    exact: Exact = False,
    samples: Samples = 100,
    items: Weighed = 1000,
    fitted: Fitted = 200,
    written: Written = 1000,
    precision: Precision = "auto",
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Hold several runs of one corpus side by side: all their figures, and rate over distortion.

    A run that was measured in the same way already is not measured again; a report of something
    else is left as it is. Name a language model, the same decoder without a code, among them: the
    others are held against it.
    """
    from ..progress import Progress, table
    from ..reports.compare import compare as compare_runs
    from ..verdict import THRESHOLDS

    with Progress() as progress:
        found, files = compare_runs(
            named,
            corpus,
            out=out,
            split=split,
            seed=seed,
            device=device,
            say=progress.say,
            progress=progress.count,
            warn=warn,
            **_counts(exact, samples, items, fitted, written, precision),
        )
    print(found.heading(), table(found.rows()), *found.notes, *found.verdicts(), sep="\n")
    print(f"Thresholds: {THRESHOLDS}.")
    print(f"written: {', '.join(str(path) for path in files)}")


def _counts(
    exact: bool, samples: int, items: int, fitted: int, written: int, precision: str
) -> dict[str, Any]:
    """How much `measure` is to count, and how exactly; exactly, it is all items."""
    return {
        "samples": 500 if exact else samples,
        "sample_items": None if exact else items,
        "fitted_items": fitted,
        "written": written,
        "precision": precision,
    }


def rate(
    corpus: Annotated[
        str, typer.Argument(help="A text file, one sentence a line; MIDI, pictures; prepared.")
    ],
    named: Annotated[
        str | None, typer.Option("--recipe", help="Whose models: a recipe's name, or a .toml.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where runs and figure go; runs/NAME-rate if left out.")
    ] = None,
    floors: Annotated[
        str, typer.Option(help="Sizes of code to try, in nats a sentence; one run each.")
    ] = "1,2,4,8,16",
    latent: Annotated[
        int | None,
        typer.Option(min=1, help="Numbers in every code; if left out as many as its size needs."),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the corpus a run; if left out at most 3.")
    ] = None,
    settings: Settings = None,
    seed: RecipeSeed = None,
    device: Device = "auto",
) -> None:
    """Find how large a code may be before it costs more than it gives back.

    A nat is a unit of information, about 1.44 bits. Trains one model without a code and some with
    ever larger ones, briefly, and compares: of each further nat in the code, how much is saved in
    writing the sentence? A second start trains nothing that is there, and goes on where one was
    stopped.
    """
    from .. import recipe as recipes
    from ..progress import Progress, table
    from ..reports.rating import check_floors, frontier, settings_at, write

    tried = _numbers(floors, "--floors", "1,2,4,8,16")
    check_floors(tried)
    changes = recipe_changes(settings, seed)
    recipe = recipes.override(recipes.read(named or fitting_recipe(corpus)), changes)
    folder = plain(out or Path("runs") / f"{recipe['name']}-rate")
    prepared = make_corpus(corpus, recipe, folder, device)
    with Progress() as progress:
        found = frontier(
            recipe,
            prepared,
            folder,
            floors=tried,
            latent=latent,
            epochs=epochs,
            device=device,
            say=progress.say,
            tick=progress.count,
        )
    written = write(found, folder)
    print(table(found.rows()))
    print(*found.notes(), found.reading(), sep="\n")
    floor = found.floors.get(found.free.name)
    if floor is not None:
        changes += settings_at(recipe, floor, latent)
        words = [*([named] if named else []), corpus, *(w for c in changes for w in ("--set", c))]
        print(f"To train at it: {shlex.join(['seqvae', 'train', *words])}")
    print(f"written: {', '.join(str(path) for path in written)}")


def _numbers(text: str, option: str, example: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise Refused(f"{option} {text}: write numbers with commas, as in {example}.") from error
