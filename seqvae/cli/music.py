"""MIDI files as the commands take and write them, and who knows music."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .options import warn
from .sentences import write_rows

if TYPE_CHECKING:
    from ..explore import Decoding, Explorer
    from ..midi import Song
    from ..music.course import Course
    from ..music.taste import Taste

MELODY = "melody"  # the run that morphs MIDI files where none is named
PLAYING = "Of MIDI files"
OF_TASTE = ("from_a", "from_b", "track_a", "track_b", "key", "metre", "band", "refine", "way")
OF_TOUCH = ("swing", "humanise", "quantise", "velocity")
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


@dataclass(frozen=True)
class Playing:
    """What `seqvae interpolate` asks of MIDI files alone, as its options."""

    bars: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Of the phrase: 4, at most 64; of a whole journey: as the longer song, 16 to 64.",
            rich_help_panel=PLAYING,
        ),
    ] = None
    from_a: Annotated[
        int | None,
        typer.Option(min=1, help="Its first bar in A; else by itself.", rich_help_panel=PLAYING),
    ] = None
    from_b: Annotated[
        int | None, typer.Option(min=1, help="Its first bar in B.", rich_help_panel=PLAYING)
    ] = None
    track_a: Annotated[
        str | None,
        typer.Option(help="NAME, #2 or program:0-31; else the best.", rich_help_panel=PLAYING),
    ] = None
    track_b: Annotated[
        str | None, typer.Option(help="Likewise, in B.", rich_help_panel=PLAYING)
    ] = None
    key: Annotated[
        str,
        typer.Option(
            help="Move all to a's key, to b's, keep, or glide from a's to b's on the way.",
            rich_help_panel=PLAYING,
        ),
    ] = "a"
    metre: Annotated[
        str,
        typer.Option(
            help="Where metres differ: count beats on, or stretch bars.", rich_help_panel=PLAYING
        ),
    ] = "beats"
    band: Annotated[
        str,
        typer.Option(help="The other tracks: crossfade, a's or b's.", rich_help_panel=PLAYING),
    ] = "crossfade"
    way: Annotated[
        str,
        typer.Option(
            help="even: of all that is written near the path, what goes in the smallest steps; "
            "straight: what is written on it.",
            rich_help_panel=PLAYING,
        ),
    ] = "even"
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            help="Fit the ends' codes so that they come back.",
            rich_help_panel=PLAYING,
        ),
    ] = True
    audio: Annotated[
        bool, typer.Option("--audio", help="Also write a WAV file.", rich_help_panel=PLAYING)
    ] = False
    stems: Annotated[
        bool,
        typer.Option(
            "--stems",
            help="Also each part, and each other track, as a file of its own; all equally long.",
            rich_help_panel=PLAYING,
        ),
    ] = False
    loop: Annotated[
        bool,
        typer.Option("--loop", help="From the last back to the first.", rich_help_panel=PLAYING),
    ] = False
    journey: Annotated[
        bool,
        typer.Option(
            "--journey",
            help="One piece as long as a song, that begins as A and ends as B.",
            rich_help_panel=PLAYING,
        ),
    ] = False
    fit: Annotated[
        str,
        typer.Option(
            help="The shorter song of a journey: loop it, stretch it, or trim the other.",
            rich_help_panel=PLAYING,
        ),
    ] = "loop"
    curve: Annotated[
        str,
        typer.Option(
            help="How a journey's mix grows: linear or smooth, bar by bar; step, by phrases.",
            rich_help_panel=PLAYING,
        ),
    ] = "linear"
    swing: Swing = "keep"
    humanise: Humanise = 0.0
    quantise: Quantise = 0.0
    velocity: Velocity = "keep"

    @property
    def changed(self) -> list[str]:
        """Those that are not as they usually are, as they are typed, without their dashes."""
        new = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        flags = ("no-" * (getattr(self, name) is False) + name for name in new)
        return [flag.replace("_", "-") for flag in flags]

    def taste(self, bars: int, steps: int, kind: str, decoding: "Decoding") -> "Taste":
        """How phrases of so many bars are morphed, in so many steps."""
        from ..music.feel import Touch
        from ..music.taste import Taste

        given: dict[str, Any] = asdict(self)  # both refuse what they do not know
        own, touch = ({name: given[name] for name in names} for names in (OF_TASTE, OF_TOUCH))
        taken = {"bars": bars, "steps": steps, "kind": kind, "decoding": decoding}
        return Taste(**{**own, **taken}, touch=Touch(**touch))

    def course(self) -> "Course":
        """How a journey goes."""
        from ..music.course import Course

        return Course(self.bars, self.fit, self.curve)  # type: ignore[arg-type]


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


def run_for(files: list[str]) -> str:
    """The run that ships for MIDI files; what holds drums only is read by that of drums."""
    from ..music.studio import fitting
    from ..shelf import shipped

    run = fitting(*files)
    if run not in shipped():
        return MELODY
    if run != MELODY:
        which = {1: "the file holds", 2: "both files hold"}.get(len(files), "all files hold")
        read = "it is" if len(files) == 1 else "they are"
        warn(f"{which} drums only: {read} read by the run {run!r}")
    return run


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
