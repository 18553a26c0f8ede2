"""`seqvae …`: thin commands over the package. Imports that weigh wait until they are needed."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors import Refused

if TYPE_CHECKING:
    from .corpus import Corpus
    from .explore import How
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

SMALL = 300  # ids, as good as any number to try a recipe with
DOCSTRINGS = "docstrings"  # as a corpus: the embedded one, made where it is used

Run = Annotated[str, typer.Argument(help="A run's folder, or the name of one that ships.")]
Texts = Annotated[list[str] | None, typer.Argument(help="Sentences; with --file: none.")]
FromFile = Annotated[
    str | None,
    typer.Option("--file", help="Sentences from a file (.txt; .jsonl with `text`), - for stdin."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON lines.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every random draw.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")]
Beam = Annotated[int | None, typer.Option(min=1, help="Search for the likeliest with this width.")]
Temperature = Annotated[float | None, typer.Option(help="Draw; below 1 sharper, above flatter.")]
TopK = Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest tokens.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the fewest that reach this share.")]
Length = Annotated[int, typer.Option(min=1, help="The most tokens to write.")]


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
            metavar="[RECIPE] [TEXT|PREPARED]",
            help="A recipe (name or .toml) and/or a corpus (text file, or a prepared folder).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; runs/NAME if left out.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: training.epochs=3.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint.")] = False,
    device: Device = "auto",
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard files.")] = False,
    print_recipe: Annotated[bool, typer.Option(help="Print the whole recipe and stop.")] = False,
) -> None:
    """Train a model on a corpus; leaves a run that every other command opens."""
    from . import recipe as recipes

    named, corpus = _sort_out(what or [])
    if resume:
        return _resume(named, corpus, out, settings or [], device, tensorboard)
    recipe = recipes.override(recipes.read(named or recipes.DEFAULT), settings or [])
    if print_recipe:
        print(recipes.to_toml(recipe), end="")
        return None
    from . import runs
    from .build import build

    folder = out or Path("runs") / str(recipe["name"])
    runs.check_new(folder)
    runs.find_device(device)
    build(recipe, SMALL)  # what cannot be built is said before a corpus is prepared for it
    return _fit(recipe, _corpus(corpus, recipe, folder), folder, device, tensorboard)


def _sort_out(what: list[str]) -> tuple[str | None, str | None]:
    """Which argument is the recipe, and which the corpus."""
    from .recipe import shipped

    recipe = [w for w in what if w in shipped() or w.endswith(".toml")]
    corpus = [w for w in what if w not in recipe]
    if len(recipe) > 1 or len(corpus) > 1:
        raise Refused(
            f"{' '.join(what)}: name at most one recipe ({', '.join(shipped())}, or a .toml file) "
            "and one corpus."
        )
    return next(iter(recipe), None), next(iter(corpus), None)


def _resume(
    named: str | None,
    corpus: str | None,
    out: Path | None,
    settings: list[str],
    device: str,
    tensorboard: bool,
) -> None:
    from . import recipe as recipes
    from . import runs
    from .corpus import open_corpus
    from .fit import find_corpus

    if named or out is None:
        raise Refused(
            "--resume goes on with a run as it is: name it with --out FOLDER, and change its "
            "recipe only with --set."
        )
    recipe = recipes.override(runs.read_recipe(out), settings)
    found = find_corpus(out) if corpus is None else open_corpus(Path(corpus))
    _fit(recipe, found, out, device, tensorboard, resume=True)


def _corpus(named: str | None, recipe: "Recipe", folder: Path) -> "Corpus":
    """The prepared corpus of that name, or one made of that text inside the run."""
    from .corpus import open_corpus

    source = named or recipe["data"].get("source")
    if source is None:
        raise Refused(
            "no corpus named: seqvae train corpus.txt --out runs/NAME. To try without one: "
            "seqvae train demo --out runs/demo"
        )
    if (Path(source) / "manifest.json").is_file():
        return open_corpus(Path(source))
    if source == DOCSTRINGS and not Path(source).exists():
        source = str(_write_docstrings(folder / "docstrings.txt"))
    prepared = folder / "corpus"
    _prepare_text([source], prepared, **_preparation(recipe))
    return open_corpus(prepared)


def _write_docstrings(path: Path) -> Path:
    from data_prep.toy import write_docstrings

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_docstrings(path)
    return path


def _preparation(recipe: "Recipe") -> dict[str, Any]:
    wanted = ("codec", "vocab", "max_tokens", "column", "label")
    return {key: recipe["data"][key] for key in wanted if key in recipe["data"]}


def _fit(
    recipe: "Recipe",
    corpus: "Corpus",
    folder: Path,
    device: str,
    tensorboard: bool,
    resume: bool = False,
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
    valid: Annotated[Path | None, typer.Option(help="A file of validation sentences.")] = None,
    test: Annotated[Path | None, typer.Option(help="A file of test sentences.")] = None,
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
        bool, typer.Option(help="Keep training lines that also occur in --valid or --test.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Refuse at the first unusable line.")] = False,
) -> None:
    """Sentences to a prepared corpus: every line kept or counted with the reason."""
    _prepare_text(
        sources,
        out,
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
) -> None:
    """A real corpus without a download: sentences from this Python's own documentation."""
    from data_prep.toy import write_docstrings

    _check_free(out)
    print(f"{write_docstrings(out)} sentences in {out}")


def _check_free(out: Path) -> None:
    if out.exists():
        raise Refused(f"{out} exists already; name another file, or remove it.")


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
    corpus: Annotated[Path | None, typer.Option(help="Another prepared corpus.")] = None,
    split: Annotated[str, typer.Option(help="valid, or at the very end test.")] = "valid",
    out: Annotated[Path | None, typer.Option(help="Where to write; else into the run.")] = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Importance samples an item; 0: none.")
    ] = 100,
    items: Annotated[
        int, typer.Option(min=1, help="Items for importance sampling, at most.")
    ] = 1000,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure a run: reconstruction, KL, bounds, perplexity, active units, is the code read."""
    from .explore import find, shipped
    from .progress import Progress, table
    from .report import evaluate_run

    with Progress() as progress:
        report, written = evaluate_run(
            find(run),
            corpus,
            out=out or (Path("runs") / run if run in shipped() else None),
            split=split,
            samples=samples,
            sample_items=items,
            seed=seed,
            device=device,
            progress=progress.count,
            warn=_warn,
        )
    table(report.rows())
    for note in report.notes:
        print(note)
    print(f"written: {', '.join(str(path) for path in written)}")


# --- exploring ----------------------------------------------------------------------------------


@app.command()
def sample(
    run: Annotated[str, typer.Argument(help="A run; the one that ships if left out.")] = "tatoeba",
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    beam: Beam = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    length: Length = 128,
    seed: Seed = 0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Write sentences from codes drawn from the prior."""
    how = _how(beam, temperature, top_k, top_p, length, seed)
    _write(({"text": text} for text in _load(run, device).sample(n, how)), as_json)


@app.command()
def reconstruct(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    beam: Beam = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    length: Length = 128,
    seed: Seed = 0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Encode sentences and write them again from their codes."""
    given = _given(texts, file)
    how = _how(beam, temperature, top_k, top_p, length, seed)
    again = _load(run, device).reconstruct(given, how)
    rows = ({"text": a, "reconstruction": b} for a, b in zip(given, again, strict=True))
    _write(rows, as_json, "{text}\n  -> {reconstruction}")


@app.command()
def interpolate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar='[RUN] "A" "B"', help="Two sentences; a run first, or the shipped."
        ),
    ],
    steps: Annotated[
        int, typer.Option(min=2, help="Sentences on the way, both ends included.")
    ] = 7,
    path: Annotated[str, typer.Option(help="lerp (straight) or slerp (great circle).")] = "lerp",
    beam: Beam = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    length: Length = 128,
    seed: Seed = 0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Walk from one sentence to another through the space of codes."""
    if len(arguments) not in (2, 3):
        raise Refused(
            f'{len(arguments)} arguments: give two sentences, as in seqvae interpolate "A" "B", '
            'or a run and two sentences, as in seqvae interpolate runs/x "A" "B".'
        )
    *run, a, b = arguments
    how = _how(beam, temperature, top_k, top_p, length, seed)
    found = _load(run[0] if run else "tatoeba", device)
    written = found.interpolate(a, b, steps=steps, kind=path, how=how)
    rows = [{"mix": round(i / (steps - 1), 4), "text": t} for i, t in enumerate(written)]
    _write(rows, as_json, "{mix:4.2f}  {text}")


@app.command()
def encode(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    draw: Annotated[bool, typer.Option(help="Draw from the posterior, not its mean.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write the codes of sentences as JSON lines: text, z, sigma."""
    given = _given(texts, file)
    found = _load(run, device)
    codes, spread = found.encode(given, sample=draw, seed=seed), found.spread(given)
    for text, z, sigma in zip(given, codes.tolist(), spread.tolist(), strict=True):
        print(json.dumps({"text": text, "z": z, "sigma": sigma}, ensure_ascii=False))


@app.command()
def decode(
    run: Run,
    file: Annotated[str, typer.Argument(help="JSON lines with `z`, as encode writes; -: stdin.")],
    beam: Beam = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    length: Length = 128,
    seed: Seed = 0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Write the sentences of codes."""
    import torch

    codes = torch.tensor(_codes(file), dtype=torch.float32)
    how = _how(beam, temperature, top_k, top_p, length, seed)
    _write(({"text": text} for text in _load(run, device).decode(codes, how)), as_json)


@app.command()
def neighbours(
    run: Run,
    text: Annotated[str, typer.Argument(help="The sentence to start from.")],
    among: Annotated[
        str | None, typer.Option(help="A prepared folder or text file; else the run's corpus.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a prepared corpus.")] = "valid",
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Find the sentences whose codes lie nearest."""
    from .explore import find

    found = _load(run, device)
    candidates = _candidates(find(run), among, split)
    rows = ({"distance": d, "text": t} for t, d in found.neighbours(text, candidates, n))
    _write(rows, as_json, "{distance:7.3f}  {text}")


@app.command()
def info(run: Run, as_json: AsJson = False) -> None:
    """Say what a run is."""
    from .progress import table

    facts = _load(run, "cpu").info()
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        table([(name, str(value)) for name, value in facts.items()])


@app.command()
def export(run: Run, out: Annotated[Path, typer.Argument(help="The folder to make.")]) -> None:
    """Copy a run without its optimiser and logs, in half precision, to share it."""
    from .explore import find
    from .runs import export as export_run

    export_run(find(run), out, warn=_warn)
    print(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 2**20:.1f} MiB")


# --- what the commands share --------------------------------------------------------------------


def _load(run: str, device: str) -> Any:
    from .explore import load
    from .runs import find_device

    return load(run, device=str(find_device(device)), warn=_warn)


def _warn(sentence: str) -> None:
    print(f"seqvae: {sentence}", file=sys.stderr)


def _how(
    beam: int | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    length: int,
    seed: int,
) -> "How":
    from .explore import How

    return How(beam, temperature, top_k, top_p, length, seed)


def _given(texts: list[str] | None, file: str | None) -> list[str]:
    if bool(texts) == bool(file):
        raise Refused('give sentences ("one" "two") or --file FILE (- for stdin), not both.')
    given = texts or [row["text"] for row in _rows(str(file), "text")]
    if not given:
        raise Refused(f"{file} holds no sentence: write one a line.")
    return given


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
    path = Path(file)
    if file != "-" and not path.is_file():
        raise Refused(f"no file {file!r}. Check its name, or write - for standard input.")
    binary = sys.stdin.buffer.read() if file == "-" else path.read_bytes()
    try:
        text = binary.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Refused(
            f"{file} is not UTF-8 text: {error}. Convert it: iconv -f LATIN1 -t UTF-8 {file}"
        ) from error
    lines = [line for line in text.split("\n") if line.strip()]
    if field == "text" and not file.endswith(".jsonl"):
        yield from ({"text": line} for line in lines)
        return
    for place, line in enumerate(lines, 1):
        yield _row(line, field, f"{file}, line {place}")


def _row(line: str, field: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where} is no JSON: {error}. Write one object a line.") from error
    if not isinstance(row, dict) or field not in row:
        raise Refused(f'{where} has no field {field!r}. Write one object a line: {{"{field}": …}}')
    return row


def _candidates(run: Path, among: str | None, split: str) -> Iterable[str]:
    from .corpus import open_corpus
    from .explore.explorer import sentences_of
    from .fit import find_corpus

    if among is None:
        return sentences_of(find_corpus(run), split)
    if Path(among).is_dir():
        return sentences_of(open_corpus(Path(among)), split)
    return (row["text"] for row in _rows(among, "text"))


def _write(rows: Iterable[Mapping[str, Any]], as_json: bool, form: str = "{text}") -> None:
    for row in rows:
        print(json.dumps(row, ensure_ascii=False) if as_json else form.format(**row))
