"""MIDI files as the commands take and write them, and who knows music."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Refused
from .sentences import write_rows

if TYPE_CHECKING:
    from ..explore import Explorer
    from ..midi import Song

MELODY = "melody"  # the run that morphs MIDI files where none is named
PLAYING = "Of MIDI files"
Swing = Annotated[
    str,
    typer.Option(
        help="Where off-beat eighths lie: keep, 50 (straight), 66 (triplets), 1 to 99.",
        metavar="keep|%",
        rich_help_panel=PLAYING,
    ),
]
Humanise = Annotated[
    float,
    typer.Option(
        help="Per cent of the way to how the files are played in the mean, by step of the bar.",
        min=0,
        max=100,
        rich_help_panel=PLAYING,
    ),
]
Quantise = Annotated[
    float,
    typer.Option(help="Per cent of the way to the grid.", min=0, max=100, rich_help_panel=PLAYING),
]
Velocity = Annotated[str, typer.Option(help="keep, or flat: one a part.", rich_help_panel=PLAYING)]


def is_midi(name: str) -> bool:
    """Whether somebody means a MIDI file: by its ending, or by how the file begins."""
    from ..midi import ENDINGS

    if name.lower().endswith(ENDINGS):
        return True
    try:
        with Path(name).open("rb") as file:
            head = file.read(12)
    except (OSError, ValueError):
        return False
    # A WAV file is RIFF too.
    return head.startswith(b"MThd") or (head[:4], head[8:]) == (b"RIFF", b"RMID")


def knows_music(model: "Explorer") -> bool:
    from ..codecs import MusicCodec

    return isinstance(model.codec, MusicCodec)


def midi_files(given: list[str] | None, file: str | None) -> list[str]:
    if file is not None or not given:
        raise Refused("this run knows music: name MIDI files, such as a.mid b.mid.")
    return given


def check_files(model: "Explorer", names: Iterable[str]) -> None:
    """Refuse what is no file, for a run that knows music."""
    for name in names:
        if not Path(name).is_file():
            what = "is a folder" if Path(name).is_dir() else "is no file here"
            run = model.recipe["name"]
            raise Refused(f"{name} {what}; the run {run!r} knows music: name MIDI files.")


def write_songs(
    named: "Iterable[tuple[str, Song]]",
    out: Path | None,
    usual: str,
    as_json: bool,
    said: Mapping[str, str] | None = None,
) -> None:
    """Write songs as MIDI files; nothing is overwritten. `said` is added to what JSON says.

    They go into the folder `out`, or one called `usual` where none is named.
    """
    from ..midi import write
    from ..music.album import free_folder

    folder = free_folder(out, usual)
    rows = (
        {"file": str(write(song, folder / f"{name}.mid")), **(said or {})} for name, song in named
    )
    write_rows(rows, as_json, "{file}")
