"""`seqvae attribute …`: vectors learnt, applied to an item, and tested on unseen ones."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .corpora import prepare_of_midi, prepare_of_text
from .given import check_no_folder, check_sentences
from .music import check_files, knows_music
from .options import AsJson, Device, OfTrack, Out, Run, Seed, load, plain, warn, writes
from .pictures import knows_pictures
from .sentences import write_rows

if TYPE_CHECKING:
    from ..corpus import Corpus
    from ..explore import Decoding, Explorer

attribute = typer.Typer(
    help="Directions along which one attribute rises: learn, apply, test.", no_args_is_help=True
)
Data = Annotated[
    str, typer.Argument(help="A prepared corpus; or MIDI files, or sentences, to prepare.")
]


@attribute.command("learn")
def learn(
    run: Run,
    data: Data,
    asked: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            help="One that must be learnt, such as note-density, or a label; all are tried.",
        ),
    ] = None,
    items: Annotated[int, typer.Option(min=1, help="Items to encode, at most.")] = 10_000,
    tried: Annotated[
        int, typer.Option(min=0, help="Items to try each vector's length on; 0: as a line says.")
    ] = 200,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Learn a vector for every attribute of a corpus's items, each holding the others.

    They are kept in the run, for `seqvae attribute apply`, and belong to its weights. One that
    was learnt before stays, unless it is learnt again.
    """
    from ..progress import Progress, table
    from ..steering.learning import check_asked, own_folder
    from ..steering.learning import learn as learn_vectors

    model = _without_pictures(load(run, device))
    own_folder(model)
    if not _is_prepared(data):  # then its items have no labels
        check_asked(model, asked or ())
    with TemporaryDirectory() as folder, Progress() as progress, _called(data, folder):
        found = learn_vectors(
            model,
            _corpus(data, model, Path(folder)),
            asked=asked or (),
            items=items,
            tried=tried,
            progress=progress.count,
        )
    for line in found.said:
        warn(line)
    if as_json:
        write_rows(found.plain(), True)
        return
    print(table(found.rows()))
    print(f"written: {found.path}")


@attribute.command("apply", context_settings={"ignore_unknown_options": True})
@writes
def apply(
    run: Run,
    what: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="A MIDI file or a sentence.")],
    further: Annotated[
        list[float] | None, typer.Argument(metavar="[STRENGTH]...", help="More strengths.")
    ] = None,
    named: Annotated[
        str | None,
        typer.Option("--attribute", help="Which; if left out the only one there is."),
    ] = None,
    strength: Annotated[
        list[float] | None,
        typer.Option(help="How much, in standard deviations of the data: --strength 0.5 1 2."),
    ] = None,
    out: Out = None,
    bars: Annotated[int, typer.Option(min=1, max=64, help="Of MIDI: of the phrase.")] = 4,
    bar: Annotated[
        int | None, typer.Option(min=1, help="Of MIDI: its first bar; else the best.")
    ] = None,
    track: OfTrack = None,
    pick: Annotated[
        bool,
        typer.Option(
            "--pick/--no-pick",
            help="Of many ways to write it take the one that changes this and little else.",
        ),
    ] = True,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Write a MIDI file's phrase, or a sentence, again with more of an attribute, or less."""
    from dataclasses import replace

    from ..steering.applying import apply as apply_vector
    from ..steering.applying import named_vector, vectors_of
    from ..steering.picking import Picker

    model = _without_pictures(load(run, device))
    strengths = [*(strength or ()), *(further or ())] or [1.0]
    picker = Picker(model, vectors_of(model).vectors.values() if pick else [])
    decoding = replace(decoding, together=True)
    if knows_music(model):
        check_files(model, [what])
        wanted = {"bars": bars, "bar": bar, "asked": track, "picker": picker}
        _apply_song(model, what, named, strengths, out, as_json, decoding, wanted)
        return
    check_no_folder(out)
    check_sentences(model, [what])
    vector = named_vector(model, named)
    moved = apply_vector(model, what, vector, strengths, decoding, picker=picker)
    _say(moved)
    rows = ({"strength": m.strength, "text": m.item, **_values(m)} for m in moved)
    write_rows(rows, as_json, "{strength:+5.2f}  {text}")


def _apply_song(
    model: "Explorer",
    file: str,
    named: str | None,
    strengths: list[float],
    out: Path | None,
    as_json: bool,
    decoding: "Decoding",
    wanted: dict[str, Any],
) -> None:
    from ..midi import write
    from ..music.album import free_folder
    from ..steering.applying import apply_song, named_vector

    vector = named_vector(model, named)
    played = apply_song(model, file, vector, strengths, decoding, **wanted)
    folder = free_folder(out, f"{Path(file).stem}-{vector.name}")
    for line in () if as_json else played.piece.said:
        print(f"{file}: {line}")
    _say(played.moved)
    for number, (moved, song) in enumerate(zip(played.moved, played.songs, strict=True), 1):
        path = folder / f"{number:02d}_{vector.name}_{moved.strength:+.2f}.mid"
        row = {"file": str(write(song, path)), "strength": moved.strength, **_values(moved)}
        write_rows([row], as_json, "{file}" + _figures(moved, vector))


def _say(moved: list[Any]) -> None:
    """What leaves the range of the data."""
    for one in moved:
        for line in one.said:
            warn(line)


def _figures(moved: Any, vector: Any) -> str:
    """The attribute before, as the model writes it unmoved, and now, for people."""
    told = {
        name: "—" if value is None else f"{value:.3g}" for name, value in _values(moved).items()
    }
    form = f": {vector.name} {{before}}, written by the model {{written}}, now {{now}}"
    return f"{form.format(**told)} {vector.unit}" if told else ""


def _values(moved: Any) -> dict[str, float | None]:
    """The same as plain data, None where it is undefined; nothing of what is not measured."""
    values = {"before": moved.before, "written": moved.written, "now": moved.now}
    told = {name: None if value != value else value for name, value in values.items()}
    return told if any(value is not None for value in told.values()) else {}


@attribute.command("test")
def test(
    run: Run,
    data: Data,
    asked: Annotated[
        list[str] | None,
        typer.Option("--attribute", help="One to move, such as note-density; else all are."),
    ] = None,
    split: Annotated[str, typer.Option(help="valid, or at the very end test.")] = "valid",
    items: Annotated[
        int, typer.Option(min=1, help="Items to move, at most; of nine attributes 30 s each.")
    ] = 100,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to; else into the run.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Tell what the vectors change on unseen items, what leaks, and what is kept.

    Beside each vector stand a random one as long and, where there is one, the trivial edit.
    """
    from ..progress import Progress, table
    from ..shelf import find, is_shipped
    from ..steering.applying import vectors_of
    from ..steering.leaks import HEADER, try_vectors

    model = _without_pictures(load(run, device))
    folder = find(run)
    if out is None and is_shipped(folder):
        raise Refused(f"{run} comes with the package and is never written to: --out FOLDER.")
    vectors = vectors_of(model)
    with TemporaryDirectory() as place, Progress() as progress, _called(data, place):
        found = try_vectors(
            model,
            vectors,
            _corpus(data, model, Path(place)),
            asked=asked or (),
            split=split,
            items=items,
            seed=seed,
            progress=progress.count,
        )
    print(table([HEADER, *(tuple(moves.cells()) for moves in found.moves)]))
    written = found.save(plain(out) if out is not None else folder)
    print(f"written: {', '.join(map(str, written))}")


def _without_pictures(model: "Explorer") -> "Explorer":
    if knows_pictures(model):
        raise Refused(
            f"the run {model.recipe['name']!r} knows pictures, whose attributes have no names "
            "here: seqvae draw shows what its dimensions do."
        )
    return model


def _is_prepared(data: str) -> bool:
    """Whether it is a corpus on disk, or was begun to be one."""
    return any((Path(data) / name).is_file() for name in ("manifest.json", "plan.json"))


def _corpus(data: str, model: "Explorer", folder: Path) -> "Corpus":
    """A prepared corpus, or what is named prepared as the run's own was, for this once."""
    from ..corpus import open_corpus

    if _is_prepared(data):
        return open_corpus(data)
    if not Path(data).exists():
        raise Refused(
            f"{data} does not exist: name a prepared corpus, MIDI files or a file of sentences."
        )
    codec, prepared = folder / "codec", _prepared(data, folder)
    model.codec.save(codec)
    make = prepare_of_midi if knows_music(model) else prepare_of_text
    with redirect_stdout(StringIO()) as printed:
        make([data], prepared, codec=codec)
    told = printed.getvalue().replace(str(prepared), data)
    print(told, end="", file=sys.stderr)  # not what was asked for
    return open_corpus(prepared)


def _prepared(data: str, folder: Path | str) -> Path:
    """Where what is named is prepared for this once; vectors keep the last part as its name."""
    return Path(folder, "prepared", Path(data).resolve().name)


@contextmanager
def _called(data: str, folder: str) -> Iterator[None]:
    """A refusal names what was given, and no folder that is gone when it is read."""
    own = str(_prepared(data, folder))
    try:
        yield
    except Refused as error:
        if own not in (said := str(error)):
            raise
        gone = f" Deleted what was begun in {own}."
        raise Refused(said.replace(gone, "").replace(own, data)) from error
