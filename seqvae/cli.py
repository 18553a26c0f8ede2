"""`seqvae …`: thin commands over the package. Imports that weigh wait until they are needed."""

import difflib
import functools
import inspect
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors import Refused
from .verdict import OnCollapse

if TYPE_CHECKING:
    from .corpus import Corpus
    from .explore import Decoding, Explorer
    from .midi import Song
    from .recipe import Recipe

app = typer.Typer(
    help="Variational autoencoders of sequences: train, measure, explore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="markdown",
)
prepare = typer.Typer(help="Raw files to a prepared corpus, counted.", no_args_is_help=True)
app.add_typer(prepare, name="prepare")

SMALL, LENGTH = 300, 32  # ids and tokens, as good as any numbers to try a recipe with
EMBEDDED = ("docstrings", "composed")  # corpora that are made where they are used
SONGS = 300  # as many as the corpus "composed" has
TABLE = """--set 'objective.terms.kl.weight={kind = "linear", share = 0.3}'"""

MELODY = "melody"  # the run that morphs MIDI files where none is named
PLAYING = "Of MIDI files"

Run = Annotated[str, typer.Argument(help="A run's folder, or the name of one that ships.")]
Texts = Annotated[
    list[str] | None,
    typer.Argument(help="Sentences, or MIDI files if the run knows music; with --file: none."),
]
Out = Annotated[
    Path | None, typer.Option(help="The folder for MIDI files, if the run knows music.")
]
OfTrack = Annotated[
    str | None,
    typer.Option(help="Of MIDI: a track by NAME, #2 or program:0-31; else the best.", metavar="T"),
]
FromFile = Annotated[
    str | None,
    typer.Option("--file", help="Sentences from a file (.txt; .jsonl with `text`), - for stdin."),
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


# --- training -----------------------------------------------------------------------------------


@app.command()
def train(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [TEXT|MIDI|PREPARED]",
            help="A recipe (name or .toml) and/or a corpus: a text file, a folder or .zip of MIDI "
            "files, a prepared folder, or one made here: docstrings, composed.",
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
    from . import recipe as recipes

    named, corpus = _sort_out(what or [])
    recipe = _begun(named, corpus, out) if resume else recipes.read(named or _fitting(corpus))
    recipe = recipes.override(recipe, _changes(settings, seed))
    if nats is not None:
        recipe = _held(recipe, nats)
    if print_recipe:
        from .build import complete

        print(recipes.to_toml(complete(recipe)), end="")
        return
    folder = _plain(out or Path("runs") / str(recipe["name"]))
    watched = {"baseline": _baseline(baseline), "on_collapse": on_collapse}
    if resume:
        found = _find_corpus(corpus, folder)
    else:
        found = _make_corpus(corpus, recipe, folder, device)
    _fit(recipe, found, folder, device, tensorboard, resume, **watched)


def _baseline(run: str | None) -> Path | None:
    """The folder of the language model that a run is held against, if one is named."""
    from .runs import check_run
    from .shelf import find

    if run is None:
        return None
    folder = find(run)
    check_run(folder)
    return folder


def _changes(settings: list[str] | None, seed: int | None) -> list[str]:
    """What `--set` and `--seed` change in a recipe."""
    return [*(settings or []), *([] if seed is None else [f"seed={seed}"])]


def _held(recipe: "Recipe", nats: float) -> "Recipe":
    """The recipe with a rate of so many nats, whatever held its KL before."""
    from .recipe import override

    if recipe["latent"] == 0 or "stage" in recipe:
        what = "has no code" if recipe["latent"] == 0 else "says in stages what holds its KL"
        raise Refused(
            f"--nats {nats:g}: the recipe {recipe['name']!r} {what}, so its rate cannot be asked "
            "for. Name another recipe, such as text."
        )
    penalty = f'{{kind = "TargetRate", nats = {nats}}}'
    return override(recipe, ["objective.kind=Elbo", f"objective.terms.kl={penalty}"])


def _sort_out(what: list[str]) -> tuple[str | None, str | None]:
    """Which argument is the recipe, and which the corpus."""
    from .recipe import shipped

    recipe = [w for w in what if w in shipped() or w.endswith(".toml")]
    corpus = [w for w in what if w not in recipe]
    for word in corpus:
        _check_corpus(word)
    if len(recipe) > 1 or len(corpus) > 1:
        raise Refused(
            f"{' '.join(what)}: name at most one recipe ({', '.join(shipped())}, or a .toml file) "
            "and one corpus. Several texts make one by: seqvae prepare text FILES --out FOLDER, "
            "and folders of MIDI by: seqvae prepare midi FOLDERS --out FOLDER"
        )
    return next(iter(recipe), None), next(iter(corpus), None)


def _fitting(corpus: str | None) -> str:
    """The recipe for a corpus where none is named: melodies for music, else the default."""
    from .recipe import DEFAULT

    if corpus is None:
        return DEFAULT
    manifest = Path(corpus) / "manifest.json"
    if manifest.is_file():
        from .codecs import MusicCodec, load_codec

        return MELODY if isinstance(load_codec(Path(corpus) / "codec"), MusicCodec) else DEFAULT
    return MELODY if corpus == "composed" or _holds_midi(Path(corpus)) else DEFAULT


def _holds_midi(path: Path) -> bool:
    """Whether a corpus yet to prepare is music: a MIDI file, an archive, a folder of such."""
    from data_prep.songs import archive_of

    from .midi import ENDINGS

    if path.is_dir():
        return any(file.suffix.lower() in ENDINGS for file in path.rglob("*"))
    return archive_of(path) is not None or _is_midi(str(path))


def _check_corpus(word: str) -> None:
    """Refuse a mistyped recipe, and a setting without its --set, for what they are."""
    from .recipe import SECTIONS, TOP, shipped

    if Path(word).exists() or ".zip/" in word or word in EMBEDDED:
        return
    key, sign, _ = word.partition("=")
    if sign and key.split(".")[0] in (*TOP, *SECTIONS):
        raise Refused(
            f"{word}: each setting needs a --set before it, and quotes where the shell would take "
            f"it apart: {TABLE}"
        )
    near = difflib.get_close_matches(word, shipped(), n=1)
    if near and "/" not in word and not Path(word).suffix:
        raise Refused(
            f"{word!r} is no recipe and no file. Did you mean the recipe {near[0]!r}? "
            f"There are: {', '.join(shipped())}."
        )


def _begun(named: str | None, corpus: str | None, out: Path | None) -> "Recipe":
    """The recipe of the run to go on with."""
    from .runs import is_run, read_recipe

    if named or out is None:
        run = corpus if corpus and is_run(Path(corpus)) else "FOLDER"
        raise Refused(
            f"--resume goes on with a run as it is: name it with --out {run}, and change its "
            "recipe only with --set."
        )
    return read_recipe(_plain(out))


def _find_corpus(named: str | None, folder: Path) -> "Corpus":
    """The corpus to go on with: the run's own, unless one is named."""
    from .corpus import open_corpus
    from .fit import find_corpus

    if named is not None and Path(named).is_file():
        raise Refused(
            f"{named} is a text, and a run goes on with the corpus it began with: leave it out, "
            f"seqvae train --resume --out {folder}"
        )
    return find_corpus(folder) if named is None else open_corpus(Path(named))


def _make_corpus(named: str | None, recipe: "Recipe", folder: Path, device: str) -> "Corpus":
    """The corpus to begin with; what cannot be done with it is said before it is prepared."""
    from . import runs
    from .build import build

    runs.check_new(folder)
    runs.find_device(device)
    build(recipe, SMALL, length=LENGTH if _of_music(recipe) else None)
    return _corpus(named, recipe, folder)


def _corpus(named: str | None, recipe: "Recipe", folder: Path) -> "Corpus":
    """The prepared corpus of that name, or one made of that text inside the run."""
    from .corpus import open_corpus
    from .runs import is_run

    source = named or recipe["data"].get("source")
    if source is None:
        raise Refused(
            "no corpus named: seqvae train corpus.txt --out runs/NAME, or a folder of MIDI files. "
            "To try without one: seqvae train demo --out runs/demo"
        )
    place = Path(source)
    if any((place / name).is_file() for name in ("manifest.json", "plan.json")):
        return open_corpus(place)  # which refuses one that is not prepared to its end
    if is_run(place):
        raise _no_corpus(place)
    options = _preparation(recipe)
    if source in EMBEDDED and not place.exists():
        source, own = _write_embedded(source, folder)
        options |= own
    prepared = folder / "corpus"
    music = _of_music(recipe)
    if not music:
        _check_text(source, recipe["name"])
    (_prepare_midi if music else _prepare_text)([source], prepared, **options)
    return open_corpus(prepared)


def _check_text(source: str, recipe: str) -> None:
    """Refuse MIDI files for sentences; an archive is refused by whoever reads it."""
    from data_prep.songs import archive_of

    if archive_of(Path(source)) is None and _holds_midi(Path(source)):
        raise Refused(
            f"{source} holds MIDI files, and the recipe {recipe!r} reads sentences. Name one for "
            f"music: seqvae train melody {source}"
        )


def _no_corpus(run: Path) -> Refused:
    from .fit import find_corpus

    try:
        anew = (
            f"; begin another on its corpus: seqvae train {find_corpus(run).folder} --out FOLDER"
        )
    except Refused:
        anew = ""
    return Refused(
        f"{run} is a run, not a corpus. Go on with it: seqvae train --resume --out {run}{anew}"
    )


def _write_embedded(name: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """Make an embedded corpus inside a run: where it is, and how it is to be prepared."""
    from data_prep.toy import write_docstrings, write_songs

    songs = name == "composed"
    path = folder / ("songs" if songs else "docstrings.txt")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if songs:
            write_songs(path, SONGS, seed=0)
        else:
            write_docstrings(path)
    return str(path), {"splits": str(path / "index.tsv")} if songs else {}


def _of_music(recipe: "Recipe") -> bool:
    """Whether a recipe's codec reads MIDI."""
    from .recipe import MUSIC

    return recipe["data"].get("codec") in MUSIC


def _preparation(recipe: "Recipe") -> dict[str, Any]:
    """Of a recipe's [data], what the preparation of its modality takes."""
    from .recipe import OF_MUSIC, OF_TEXT

    wanted = OF_MUSIC if _of_music(recipe) else OF_TEXT
    return {key: value for key, value in recipe["data"].items() if key in wanted}


def _fit(
    recipe: "Recipe",
    corpus: "Corpus",
    folder: Path,
    device: str,
    tensorboard: bool,
    resume: bool,
    **watched: Any,
) -> None:
    from .fit import fit
    from .progress import Progress

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


@app.command()
def recipes() -> None:
    """List the recipes that come with the package."""
    from .recipe import read, shipped

    for name in shipped():
        print(f"{name:18} {read(name).get('about', '')}")


# --- preparing ----------------------------------------------------------------------------------


@prepare.command("text")
def prepare_text(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files (.txt .csv .jsonl .parquet, .gz), folders, or hf://NAME."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    valid: Annotated[str | None, typer.Option(help="A file of validation sentences.")] = None,
    test: Annotated[str | None, typer.Option(help="A file of test sentences.")] = None,
    column: Annotated[str | None, typer.Option(help="The column that holds the text.")] = None,
    label: Annotated[str | None, typer.Option(help="The column that holds a label.")] = None,
    codec: Annotated[
        str, typer.Option(help="bpe, unigram, char, word, or a prepared codec's folder.")
    ] = "bpe",
    vocab: Annotated[int | None, typer.Option(help="Size of the vocabulary.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longer sentences are left out, counted.")] = 256,
    min_tokens: Annotated[int, typer.Option(help="Shorter ones likewise; the end counts.")] = 2,
    valid_fraction: Annotated[
        float | None, typer.Option(help="Share to validate on; 5 %, 5,000 at most, if left out.")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share to test on; likewise.")
    ] = None,
    seed: Seed = 0,
    shard: Annotated[str | None, typer.Option(help="Prepare part i of n only: 0/4.")] = None,
    keep_duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-duplicates", help="Keep training lines that also occur in --valid or --test."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse at the first unusable line.")
    ] = False,
) -> None:
    """Sentences to a prepared corpus: every line kept or counted with the reason."""
    _prepare_text(
        sources,
        _plain(out),
        valid=valid,
        test=test,
        column=column,
        label=label,
        codec=codec,
        vocab=vocab,
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        shard=_shard(shard),
        keep_duplicates=keep_duplicates,
        strict=strict,
    )


def _prepare_text(sources: list[str], out: Path, **options: Any) -> None:
    from data_prep.text import prepare_text as prepare_sources

    from .progress import Progress

    with Progress() as progress:
        report = prepare_sources(sources, out, progress=progress.count, **options)
    print(report)


@prepare.command("midi")
def prepare_midi(
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders, .zip archives (songs.zip/folder), MIDI files."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    codec: Annotated[
        str, typer.Option(help="melody, drums, trio, or a prepared codec's folder.")
    ] = "melody",
    bars: Annotated[int | None, typer.Option(help="Of a window; 2 if left out.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="A beat: 4, 6, 12 or 24; 4 if left out.")
    ] = None,
    metre: Annotated[str | None, typer.Option(help="Of a window; 4/4 if left out.")] = None,
    low: Annotated[int | None, typer.Option(help="The lowest pitch; 21 if left out.")] = None,
    high: Annotated[int | None, typer.Option(help="The highest pitch; 108 if left out.")] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(help="melody=NAME, bass=#2 or bass=program:32-39; else the best by score."),
    ] = None,
    other_metres: Annotated[
        str, typer.Option(help="Bars in another metre: skip, beats (taken as beats) or stretch.")
    ] = "skip",
    splits: Annotated[
        str | None, typer.Option(help="A table (.csv, .tsv) of files and their split.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="A column of it; COLUMN:first for its first word.")
    ] = None,
    valid_fraction: Annotated[
        float | None, typer.Option(help="Share of the songs to validate on; 5 % if left out.")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share to test on; likewise.")
    ] = None,
    seed: Seed = 0,
    shard: Annotated[str | None, typer.Option(help="Prepare part i of n only: 0/4.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0: no other; else one a core.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a file is given up.")] = 10.0,
    memory: Annotated[int, typer.Option(help="Megabytes that a file may take.")] = 300,
    keep_duplicates: Annotated[
        bool,
        typer.Option("--keep-duplicates", help="Keep windows that occur in valid or test too."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse at the first unusable file.")
    ] = False,
) -> None:
    """MIDI files to a prepared corpus of windows: every one kept or counted with the reason."""
    _prepare_midi(
        sources,
        _plain(out),
        codec=codec,
        bars=bars,
        steps=steps,
        metre=metre,
        low=low,
        high=high,
        track=_named_tracks(track),
        other_metres=other_metres,
        splits=splits,
        label=label,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        shard=_shard(shard),
        workers=workers,
        timeout=timeout,
        memory=memory,
        keep_duplicates=keep_duplicates,
        strict=strict,
    )


def _prepare_midi(sources: list[str], out: Path, **options: Any) -> None:
    from data_prep.midi import prepare_midi as prepare_songs

    from .progress import Progress

    with Progress() as progress:
        report = prepare_songs(sources, out, progress=progress.count, **options)
    print(report)


def _named_tracks(given: list[str] | None) -> dict[str, str] | str | None:
    """--track melody=NAME --track bass=#2 by part; or --track NAME alone."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    for text in given:
        if "=" not in text:
            raise Refused(f"--track {text}: write part=track, such as melody={text}.")
    return {part: track for part, _, track in (text.partition("=") for text in given)}


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise Refused(f"--shard {text}: write i/n with i from 0 to n-1, such as 0/4.")
    return int(first), int(second)


@prepare.command("docstrings")
def prepare_docstrings(
    out: Annotated[Path, typer.Argument(help="The text file to write.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many sentences.")] = None,
    seed: Seed = 0,
) -> None:
    """A real corpus without a download: sentences from this Python's own documentation."""
    from data_prep.toy import write_docstrings

    _check_free(out)
    print(f"{write_docstrings(out, limit, seed)} sentences in {out}")


def _check_free(out: Path) -> None:
    if out.exists():
        raise Refused(f"{out} exists already; name another file, or remove it.")


@prepare.command("songs")
def prepare_songs(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many songs.")] = SONGS,
    seed: Seed = 0,
) -> None:
    """Composed songs as MIDI files, melody, chords, bass, drums; their traits in a table."""
    from data_prep.toy import write_songs

    _check_free(out)
    print(f"{len(write_songs(out, count, seed))} songs in {out}, their traits in index.tsv")


@prepare.command("grammar")
def prepare_grammar(
    out: Annotated[Path, typer.Argument(help="The JSON lines file to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many sentences.")] = 20_000,
    seed: Seed = 0,
) -> None:
    """A synthetic language of exactly known entropy, with its factors as columns."""
    from data_prep.toy import english, write_grammar

    _check_free(out)
    write_grammar(out, count, seed)
    grammar = english()
    print(
        f"{count} sentences in {out}; entropy {grammar.entropy:.4f} nats a sentence, "
        f"of which {grammar.factor_entropy:.4f} in the labelled factors"
    )


# --- measuring ----------------------------------------------------------------------------------


@app.command()
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
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure a run: what it costs, what its code holds, whether the decoder reads it."""
    from .progress import Progress, table
    from .report import evaluate_run
    from .shelf import find

    with Progress() as progress:
        report, files = evaluate_run(
            find(run),
            corpus,
            baseline=None if baseline is None else find(baseline),
            out=out,
            split=split,
            **_counts(exact, samples, items, fitted, written),
            noise=noise,
            seed=seed,
            device=device,
            progress=progress.count,
            warn=_warn,
        )
    print(table(report.rows()))
    for note in report.notes:
        print(note)
    print(f"written: {', '.join(str(path) for path in files)}")


@app.command()
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
    from .holes import fit_density
    from .progress import Progress, table
    from .shelf import find

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
            warn=_warn,
        )
    if as_json:
        _write([{"density": found.kept.header, **found.figures}], True)
        return
    print(table(found.rows()))
    print(found.reading(), f"written: {found.path}", sep="\n")


@app.command()
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
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Hold several runs of one corpus side by side: all their figures, and rate over distortion.

    A run that was measured in the same way already is not measured again; a report of something
    else is left as it is. Name a language model, the same decoder without a code, among them: the
    others are held against it.
    """
    from .compare import compare as compare_runs
    from .progress import Progress, table
    from .verdict import THRESHOLDS

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
            warn=_warn,
            **_counts(exact, samples, items, fitted, written),
        )
    print(found.heading(), table(found.rows()), *found.notes, *found.verdicts(), sep="\n")
    print(f"Thresholds: {THRESHOLDS}.")
    print(f"written: {', '.join(str(path) for path in files)}")


def _counts(exact: bool, samples: int, items: int, fitted: int, written: int) -> dict[str, Any]:
    """How much `measure` is to count; exactly, it is all items."""
    return {
        "samples": 500 if exact else samples,
        "sample_items": None if exact else items,
        "fitted_items": fitted,
        "written": written,
    }


@app.command()
def rate(
    corpus: Annotated[
        str, typer.Argument(help="A text file, one sentence a line, or a prepared folder.")
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
    from . import recipe as recipes
    from .progress import Progress, table
    from .rating import check_floors, frontier, settings_at, write

    tried = _numbers(floors, "--floors", "1,2,4,8,16")
    check_floors(tried)
    changes = _changes(settings, seed)
    recipe = recipes.override(recipes.read(named or recipes.DEFAULT), changes)
    folder = _plain(out or Path("runs") / f"{recipe['name']}-rate")
    prepared = _make_corpus(corpus, recipe, folder, device)
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


# --- exploring ----------------------------------------------------------------------------------


def _decoding(
    beam: Beam = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    length: Length = None,
    seed: Seed = 0,
) -> "Decoding":
    from .explore import Decoding

    return Decoding(beam, temperature, top_k, top_p, length, seed)


def _writes(command: Callable[..., None]) -> Callable[..., None]:
    """A command that is given its `decoding` takes the options of `_decoding` in its place."""
    options = inspect.signature(_decoding).parameters
    own = inspect.signature(command).parameters
    taken = {name: own[name] for name in own if name != "decoding"} | dict(options)

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        command(**given, decoding=_decoding(**chosen))

    with_options.__annotations__ = {name: taken[name].annotation for name in taken}
    with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        list(taken.values())
    )
    return with_options


@app.command()
@_writes
def sample(
    run: Annotated[
        str | None, typer.Argument(help="A run; the one that comes with seqvae if left out.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    source: Annotated[
        str,
        typer.Option("--from", help="prior, or density: the one that `seqvae density` fitted."),
    ] = "prior",
    out: Out = None,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Write sentences, or MIDI files, from codes drawn from the prior, or from a density."""
    model = _load(run, device)
    written = model.sample(n, decoding, source=source)
    if source != "prior":
        _warn(f"codes are drawn from the {source}: {model.density().about}")
    if _knows_music(model):
        from .studio import songs

        named = ((f"sample-{i:03d}", song) for i, song in enumerate(songs(written), 1))
        free = _free(out, f"{model.recipe['name']}-samples")
        _write_songs(named, free, as_json, {"from": source})
    else:
        _check_no_folder(out)
        _write(({"text": text, "from": source} for text in written), as_json)


@app.command()
@_writes
def reconstruct(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    out: Out = None,
    track: OfTrack = None,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Encode sentences, or MIDI files, and write them again from their codes."""
    model = _load(run, device)
    if _knows_music(model):
        _reconstruct_songs(model, _midi_files(texts, file), out, track, as_json, decoding)
    else:
        _check_no_folder(out)
        _check_sentences(model, texts)
        written = model.reconstructions(_given(texts, file), decoding)
        rows = ({"text": text, "reconstruction": again} for text, again in written)
        _write(rows, as_json, "{text}\n  -> {reconstruction}")


@app.command()
@_writes
def interpolate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] A B",
            help="Two sentences or two MIDI files; a run first, or one that ships.",
        ),
    ],
    steps: Annotated[
        int | None,
        typer.Option(min=2, help="On the way, both ends included; 7 sentences, 9 phrases."),
    ] = None,
    path: Annotated[str, typer.Option(help="lerp (straight) or slerp (great circle).")] = "lerp",
    as_json: AsJson = False,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="The folder for the files.", rich_help_panel=PLAYING)
    ] = None,
    bars: Annotated[
        int, typer.Option(min=1, max=64, help="Of the phrase.", rich_help_panel=PLAYING)
    ] = 4,
    from_a: Annotated[
        int | None,
        typer.Option(min=1, help="Its first bar in A; else by itself.", rich_help_panel=PLAYING),
    ] = None,
    from_b: Annotated[
        int | None, typer.Option(min=1, help="Its first bar in B.", rich_help_panel=PLAYING)
    ] = None,
    track_a: Annotated[
        str | None,
        typer.Option(help="NAME, #2 or program:0-31; else the best.", rich_help_panel=PLAYING),
    ] = None,
    track_b: Annotated[
        str | None, typer.Option(help="Likewise, in B.", rich_help_panel=PLAYING)
    ] = None,
    key: Annotated[
        str, typer.Option(help="Move all to a's key, to b's, or keep.", rich_help_panel=PLAYING)
    ] = "a",
    metre: Annotated[
        str,
        typer.Option(
            help="Where metres differ: count beats on, or stretch bars.", rich_help_panel=PLAYING
        ),
    ] = "beats",
    band: Annotated[
        str,
        typer.Option(help="The other tracks: crossfade, a's or b's.", rich_help_panel=PLAYING),
    ] = "crossfade",
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            help="Fit the ends' codes so that they come back.",
            rich_help_panel=PLAYING,
        ),
    ] = True,
    audio: Annotated[
        bool, typer.Option("--audio", help="Also write a WAV file.", rich_help_panel=PLAYING)
    ] = False,
    *,
    decoding: "Decoding",
) -> None:
    """Walk from one sentence, or one MIDI file, to another through the space of codes."""
    run, a, b = _two_ends(arguments)
    midi = _are_midi(a, b)
    playing: dict[str, Any] = {  # Taste refuses what it does not know
        "bars": bars,
        "from_a": from_a,
        "from_b": from_b,
        "track_a": track_a,
        "track_b": track_b,
        "key": key,
        "metre": metre,
        "band": band,
        "refine": refine,
    }
    model = _load(run or (_run_for(a, b) if midi else None), device)
    if _knows_music(model) or midi:
        from dataclasses import replace

        from .morph import Taste

        decoding = replace(decoding, together=True)
        taste = Taste(**playing, steps=steps or 9, kind=path, decoding=decoding)
        _morph(model, a, b, taste, out, audio, as_json)
    else:
        _check_unused({**playing, "out": out, "audio": audio})
        count = steps or 7
        written = model.interpolate(a, b, steps=count, kind=path, decoding=decoding)
        rows = [{"mix": round(i / (count - 1), 4), "text": t} for i, t in enumerate(written)]
        _write(rows, as_json, "{mix:4.2f}  {text}")


def _check_unused(playing: Mapping[str, Any]) -> None:
    """Refuse options of MIDI files that are given for sentences."""
    usual = inspect.signature(interpolate).parameters
    given = [name for name, value in playing.items() if value != usual[name].default]
    if given:
        flags = (("no-" if playing[name] is False else "") + name for name in given)
        options = ", ".join(f"--{flag.replace('_', '-')}" for flag in flags)
        raise Refused(f"{options}: only of MIDI files, and these are sentences. Leave it out.")


def _morph(
    model: "Explorer", a: str, b: str, taste: Any, out: Path | None, audio: bool, as_json: bool
) -> None:
    import torch

    from .album import folder_name, free_folder, save
    from .morph import morph, music_codec

    torch.set_num_threads(1)  # on a handful of windows threads would only wait for each other
    music_codec(model)  # which refuses a run of sentences
    _check_files(model, (a, b))
    folder = free_folder(out, folder_name(a, b))
    files, sound, said = save(morph(model, a, b, taste), folder, model, audio=audio)
    if as_json:
        report = json.loads((folder / "report.json").read_bytes())
        _write([{"folder": str(folder), **report}], True)
        return
    print(*said, sep="\n")
    if sound is not None:
        print(f"sound: {sound}")
    print(f"written to {folder}: {', '.join(path.name for path in files)}")


def _are_midi(a: str, b: str) -> bool:
    """Whether both ends are MIDI files. Refuses one file and one sentence."""
    midi = [name for name in (a, b) if _is_midi(name)]
    if len(midi) == 1:
        other = b if midi == [a] else a
        raise Refused(
            f"{midi[0]} is a MIDI file and {other!r} is none: a way has two ends of one kind."
        )
    return bool(midi)


def _run_for(a: str, b: str) -> str:
    """The run that ships for two MIDI files; what holds drums only is read by that of drums."""
    from .shelf import shipped
    from .studio import fitting

    run = fitting(a, b)
    if run not in shipped():
        return MELODY
    if run != MELODY:
        _warn(f"both files hold drums only: they are read by the run {run!r}")
    return run


def _check_files(model: "Explorer", names: Iterable[str]) -> None:
    """Refuse what is no file, for a run that knows music."""
    for name in names:
        if not Path(name).is_file():
            what = "is a folder" if Path(name).is_dir() else "is no file here"
            run = model.recipe["name"]
            raise Refused(f"{name} {what}; the run {run!r} knows music: name MIDI files.")


def _check_sentences(model: "Explorer", texts: Iterable[str] | None) -> None:
    """Refuse a MIDI file, for a run that knows sentences."""
    for text in texts or ():
        if _is_midi(text) and (" " not in text or Path(text).is_file()):
            raise Refused(
                f"{text} is a MIDI file, and the run {model.recipe['name']!r} knows sentences. "
                f"Name a run that knows music, such as {MELODY}."
            )


def _two_ends(arguments: list[str]) -> tuple[str | None, str, str]:
    """The run, if one is named, and the two sentences or files."""
    from .shelf import shipped

    first = arguments[0]
    if len(arguments) == 2 and (first in shipped() or Path(first).is_dir()):
        raise Refused(
            f"{first} is a run or a folder, so a sentence or file is missing: "
            f'seqvae interpolate {first} "A" "B"'
        )
    if len(arguments) not in (2, 3):
        raise Refused(
            f'{len(arguments)} arguments: give two sentences, as in seqvae interpolate "A" "B", '
            "or two MIDI files, as in seqvae interpolate a.mid b.mid, or a run and two of them, "
            'as in seqvae interpolate runs/x "A" "B".'
        )
    return (None if len(arguments) == 2 else first), arguments[-2], arguments[-1]


def _is_midi(name: str) -> bool:
    """Whether somebody means a MIDI file: by its ending, or by how the file begins."""
    from .midi import ENDINGS

    if name.lower().endswith(ENDINGS):
        return True
    try:
        with Path(name).open("rb") as file:
            head = file.read(12)
    except (OSError, ValueError):
        return False
    # A WAV file is RIFF too.
    return head.startswith(b"MThd") or (head[:4], head[8:]) == (b"RIFF", b"RMID")


def _check_no_folder(out: Path | None) -> None:
    """Refuse a folder for sentences, which are printed."""
    if out is not None:
        raise Refused(f"--out {out} is for MIDI files; sentences are printed: … > {out}.txt")


def _knows_music(model: "Explorer") -> bool:
    from .codecs import MusicCodec

    return isinstance(model.codec, MusicCodec)


def _midi_files(given: list[str] | None, file: str | None) -> list[str]:
    if file is not None or not given:
        raise Refused("this run knows music: name MIDI files, such as a.mid b.mid.")
    return given


def _reconstruct_songs(
    model: "Explorer",
    files: list[str],
    out: Path | None,
    track: str | None,
    as_json: bool,
    decoding: "Decoding",
) -> None:
    from .midi import write
    from .studio import reconstruct as reconstruct_song

    _check_files(model, files)
    paths = [(out or Path()) / f"{Path(name).stem}_again.mid" for name in files]
    for path in paths:
        _check_free(path)
    if len(set(paths)) < len(paths):
        raise Refused("two of the files have one name, and so would what is written of them.")
    form = "{file}: {f1:.1%} of its notes come back (onset and pitch F1), written: {written}"
    for name, path in zip(files, paths, strict=True):
        again = reconstruct_song(model, name, decoding, track)
        for line in () if as_json else again.piece.said:
            print(f"{name}: {line}")
        row = {"file": name, "f1": again.f1, "said": again.piece.said}
        _write([{**row, "written": str(write(again.song, path))}], as_json, form)


def _free(out: Path | None, name: str) -> Path:
    from .album import free_folder

    return free_folder(out, name)


def _write_songs(
    named: "Iterable[tuple[str, Song]]",
    folder: Path,
    as_json: bool,
    said: Mapping[str, str] | None = None,
) -> None:
    """Write songs as MIDI files; nothing is overwritten. `said` is added to what JSON says."""
    from .midi import write

    rows = (
        {"file": str(write(song, folder / f"{name}.mid")), **(said or {})} for name, song in named
    )
    _write(rows, as_json, "{file}")


def _music_corpus(run: str, among: str | None) -> "Corpus":
    from .corpus import open_corpus
    from .fit import find_corpus
    from .shelf import find, is_shipped

    folder = find(run)
    if among is None and is_shipped(folder):
        raise Refused(
            f"{folder.name} comes with the package, its corpus does not. Name one to look in: "
            "seqvae prepare midi FOLDER --out prepared, then --among prepared"
        )
    return find_corpus(folder) if among is None else open_corpus(Path(among))


@app.command()
def encode(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw from the posterior, not its mean.")
    ] = False,
    track: OfTrack = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write the codes of sentences as JSON lines, text, z, sigma; of MIDI a line a window."""
    found = _load(run, device)
    if _knows_music(found):
        from .midi import read
        from .studio import encode as encode_song
        from .studio import metre_told

        files = _midi_files(texts, file)
        _check_files(found, files)
        for name in files:
            for told in metre_told(read(name), found.codec):
                _warn(f"{name}: {told}")
            _write(encode_song(found, name, track, sample=draw, seed=seed), True)
        return
    _check_sentences(found, texts)
    given = list(_given(texts, file))
    codes, stddev = found.encode(given, sample=draw, seed=seed), found.stddev(given)
    for text, z, sigma in zip(given, codes.tolist(), stddev.tolist(), strict=True):
        print(json.dumps({"text": text, "z": z, "sigma": sigma}, ensure_ascii=False))


@app.command()
@_writes
def decode(
    run: Run,
    file: Annotated[str, typer.Argument(help="JSON lines with `z`, as encode writes; -: stdin.")],
    out: Out = None,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Write the sentences, or MIDI files, of codes."""
    import torch

    codes = torch.tensor(_codes(file), dtype=torch.float32)
    model = _load(run, device)
    written = model.decode(codes, decoding)
    if _knows_music(model):
        from .studio import songs

        named = ((f"code-{i:03d}", song) for i, song in enumerate(songs(written), 1))
        _write_songs(named, _free(out, f"{model.recipe['name']}-codes"), as_json)
    else:
        _check_no_folder(out)
        _write(({"text": text} for text in written), as_json)


@app.command()
def neighbours(
    run: Run,
    text: Annotated[str, typer.Argument(help="The sentence, or MIDI file, to start from.")],
    among: Annotated[
        str | None, typer.Option(help="A prepared folder or text file; else the run's corpus.")
    ] = None,
    track: OfTrack = None,
    bar: Annotated[
        int | None, typer.Option(min=1, help="Of MIDI: the bar to start from; else the best.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a prepared corpus.")] = "valid",
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Find the sentences, or windows of songs, whose codes lie nearest."""
    model = _load(run, device)
    if _knows_music(model):
        from .studio import neighbours as near_windows

        _check_files(model, [text])
        found = near_windows(model, text, _music_corpus(run, among), split, n, track, bar)
    else:
        _check_sentences(model, [text])
        found = model.neighbours(text, _candidates(run, among, split), n)
    rows = ({"distance": distance, "text": near} for near, distance in found)
    _write(rows, as_json, "{distance:7.3f}  {text}")


@app.command()
def info(run: Run, as_json: AsJson = False) -> None:
    """Say what a run is."""
    from .progress import short, table

    facts = _load(run, "cpu").info()
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(table((name, short(value)) for name, value in facts.items()))


@app.command()
def tracks(
    file: Annotated[str, typer.Argument(help="A MIDI file.")],
    as_json: AsJson = False,
) -> None:
    """Say what tracks a MIDI file has, and how well each would do as melody, bass and drums."""
    from .midi import read
    from .parts import PARTS, scores
    from .progress import table

    song = read(file)
    if not song.tracks:
        raise Refused(f"{file} has no notes, and so no tracks. Name another file.")
    rows = [
        {
            "part": part,
            "track": score.track + 1,
            "name": song.tracks[score.track].name,
            "program": song.tracks[score.track].program,
            "notes": len(song.tracks[score.track].notes),
            "score": round(score.score, 3),
            "why": score.why,
        }
        for part in PARTS
        for score in scores(song, part)
    ]
    if as_json:
        _write(rows, True)
        return
    print(
        f"{file}: {len(song.tracks)} tracks, {len(song.bars)} bars from {song.bars.metre[0]} at "
        f"{song.qpm_at(0):.0f} bpm, {song.seconds:.0f} seconds"
    )
    print(*song.repairs, sep="\n", end="\n" if song.repairs else "")
    header = ("part", "track", "name", "program", "notes", "score", "why")
    print(table([header, *(tuple(str(value) for value in row.values()) for row in rows)]))


@app.command()
def export(run: Run, out: Annotated[Path, typer.Argument(help="The folder to make.")]) -> None:
    """Copy a run without its optimiser and logs, in half precision, to share it."""
    from .runs import export as export_run
    from .shelf import find

    export_run(find(run), _plain(out), warn=_warn)
    print(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 2**20:.1f} MiB")


# --- what the commands share --------------------------------------------------------------------


def _plain(folder: Path) -> Path:
    """The folder without "..", which would hide what stands at its end until it is made."""
    return Path(os.path.normpath(folder))


def _load(run: str | None, device: str) -> Any:
    from .explore import load
    from .runs import find_device
    from .shelf import DEFAULT

    return load(run or DEFAULT, device=str(find_device(device)), warn=_warn)


def _warn(sentence: str) -> None:
    print(f"seqvae: {sentence}", file=sys.stderr)


def _given(texts: list[str] | None, file: str | None) -> Iterable[str]:
    if bool(texts) == bool(file):
        raise Refused('give sentences ("one" "two") or --file FILE (- for stdin), not both.')
    return texts or _sentences(str(file))


def _sentences(file: str) -> Iterator[str]:
    rows = _rows(file, "text")
    first = next(rows, None)
    if first is None:
        raise Refused(f"{file} holds no sentence: write one a line.")
    return (row["text"] for row in chain([first], rows))


def _codes(file: str) -> list[list[float]]:
    cure = "make codes with: seqvae encode RUN TEXT"
    codes = [row["z"] for row in _rows(file, "z")]
    for place, code in enumerate(codes, 1):
        if not (isinstance(code, list) and all(map(_is_finite, code))):
            raise Refused(f"{file}, code {place}: `z` is not a list of finite numbers; {cure}")
        if len(code) != len(codes[0]):
            raise Refused(
                f"{file}, code {place}: {len(code)} numbers, not {len(codes[0])}; {cure}"
            )
    if not codes:
        raise Refused(f"{file} holds no codes; {cure}")
    return codes


def _is_finite(number: Any) -> bool:
    # Beyond 1e38 a float32 is infinite; the comparison also fails for NaN.
    return type(number) in (int, float) and abs(number) < 1e38


def _rows(file: str, field: str) -> Iterator[dict[str, Any]]:
    """Lines of text as {"text": line}, lines of JSON as they are; `field` must be there."""
    plain = field == "text" and not file.endswith(".jsonl")
    for place, line in _lines(file):
        yield {"text": line} if plain else _row(line, field, f"{file}, line {place}")


def _lines(file: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers, as they come: a pipe may have no end."""
    path = Path(file)
    if file != "-" and (not path.exists() or path.is_dir()):
        raise Refused(f"no file {file!r}. Check its name, or write - for standard input.")
    with nullcontext(sys.stdin.buffer) if file == "-" else path.open("rb") as stream:
        for place, raw in enumerate(stream, 1):
            try:
                line = raw.decode("utf-8-sig" if place == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise Refused(
                    f"{file}, line {place} is not UTF-8 text: {error}. Convert it: "
                    f"iconv -f LATIN1 -t UTF-8 {file}"
                ) from error
            if line.strip():
                yield place, line.removesuffix("\n").removesuffix("\r")


def _row(line: str, field: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where} is no JSON: {error}. Write one object a line.") from error
    if not isinstance(row, dict) or field not in row:
        raise Refused(f'{where} has no field {field!r}. Write one object a line: {{"{field}": …}}')
    return row


def _candidates(run: str, among: str | None, split: str) -> Iterable[str]:
    from .corpus import open_corpus
    from .fit import find_corpus
    from .shelf import find, is_shipped

    folder = find(run)
    if among is None and is_shipped(folder):
        raise Refused(
            f"{folder.name} comes with the package, its corpus does not. Name sentences to look "
            "among: --among FILE, one a line."
        )
    if among is None:
        return find_corpus(folder).sentences(split)
    if Path(among).is_dir():
        return open_corpus(Path(among)).sentences(split)
    return _sentences(among)


def _write(rows: Iterable[Mapping[str, Any]], as_json: bool, form: str = "{text}") -> None:
    for row in rows:
        print(json.dumps(row, ensure_ascii=False) if as_json else form.format(**row))
