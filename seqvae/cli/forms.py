"""`seqvae phrases`: a whole song as codes, and which of its phrases come again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Refused
from .music import MELODY, check_files, run_for
from .options import AsJson, Device, OfTrack, load
from .sentences import write_rows

if TYPE_CHECKING:
    from ..music.form import Form


def phrases(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] SONG", help="A MIDI file; before it a run, else melody or drums."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="A folder to write form.png and form.json into.")
    ] = None,
    near: Annotated[
        float,
        typer.Option(help="What counts as the same: the distance of codes in widths."),
    ] = 1.25,
    track: OfTrack = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """List a song's phrases by the model's codes of its windows: A B A C, and what comes again.

    Two windows are one phrase where their codes lie nearer than 1.25 times as far as a draw of
    the posterior from its mean. Last it says how far that agrees with the notes' own repeats.
    """
    from ..music.album import free_folder
    from ..music.form import form, save

    run, file = _run_and_file(arguments)
    model = load(run or (run_for([file]) if Path(file).is_file() else MELODY), device)
    check_files(model, [file])
    folder = None if out is None else free_folder(out, "form")
    found = form(model, file, track, near=near)
    files = [] if folder is None else save(found, folder)
    if as_json:
        from ..music.form import report

        write_rows([{**report(found), "files": [str(path) for path in files]}], True)
        return
    _print(found)
    if files:
        print(f"written to {folder}: {', '.join(path.name for path in files)}")


def _run_and_file(arguments: list[str]) -> tuple[str | None, str]:
    if len(arguments) > 1 and arguments[0].lower().endswith((".mid", ".midi")):
        raise Refused(
            f"{len(arguments)} songs: one at a time, as in seqvae phrases {arguments[0]}; a run "
            "may stand before it."
        )
    if len(arguments) not in (1, 2):
        raise Refused(
            f"{len(arguments)} arguments: give a MIDI file, as in seqvae phrases song.mid, or a "
            "run and one, as in seqvae phrases runs/x song.mid."
        )
    return (None if len(arguments) == 1 else arguments[0]), arguments[-1]


def _print(found: "Form") -> None:
    from ..progress import table

    print(*found.said, sep="\n", end="\n" if found.said else "")
    rows = [
        (
            str(each.bar),
            each.letter,
            f"{each.start:.1f} to {each.end:.1f}",
            "" if each.likeness is None else f"{each.likeness:.2f}",
        )
        for each in found.stretches
    ]
    print(table([("bar", "phrase", "seconds", "likeness to its first"), *rows]))
    print(f"form, {found.each} a letter: {found.letters}")
    if (told := found.agreement) is not None:
        kappa = "undefined" if told.kappa is None else f"{told.kappa:.2f}"
        print(
            f"with the notes' own repeats: {told.agreed:.1%} of {told.pairs} pairs agree, "
            f"{told.chance:.1%} would by chance (kappa {kappa}); the same are "
            f"{told.by_code:.1%} by code, {told.by_note:.1%} by note"
        )
