"""`seqvae interpolate`, from one sentence, MIDI file or picture to another; and its music."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused
from .given import check_sentences
from .music import (
    MELODY,
    PLAYING,
    Humanise,
    Quantise,
    Swing,
    Velocity,
    check_files,
    is_midi,
    knows_music,
)
from .options import AsJson, Device, OfTrack, Run, check_free, load, warn, writes
from .pictures import (
    brightness,
    free,
    is_picture,
    knows_pictures,
    looked_at,
    one_picture,
    tens,
    write_pictures,
)
from .sentences import write_rows

if TYPE_CHECKING:
    from ..explore import Decoding, Explorer


@writes
def interpolate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] A B",
            help="Two sentences, MIDI files or pictures; a run first, or one that ships.",
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
    swing: Swing = "keep",
    humanise: Humanise = 0.0,
    quantise: Quantise = 0.0,
    velocity: Velocity = "keep",
    *,
    decoding: "Decoding",
) -> None:
    """Walk from one sentence, MIDI file or picture to another through the space of codes."""
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
    feel: dict[str, Any] = {
        "swing": swing,
        "humanise": humanise,
        "quantise": quantise,
        "velocity": velocity,
    }
    if run is None:
        _check_known(a, b)
    model = load(run or (_run_for(a, b) if midi else None), device)
    if knows_pictures(model):
        _check_unused({**playing, **feel, "audio": audio}, "pictures")
        _walk(model, a, b, steps or 7, path, out, as_json, decoding)
    elif knows_music(model) or midi:
        from dataclasses import replace

        from ..feel import Touch
        from ..morph import Taste

        decoding, touch = replace(decoding, together=True), Touch(**feel)
        taste = Taste(**playing, steps=steps or 9, kind=path, decoding=decoding, touch=touch)
        _morph(model, a, b, taste, out, audio, as_json)
    else:
        _check_unused({**playing, **feel, "out": out, "audio": audio}, "sentences")
        check_sentences(model, (a, b))
        count = steps or 7
        written = model.interpolate(a, b, steps=count, kind=path, decoding=decoding)
        rows = [{"mix": round(i / (count - 1), 4), "text": t} for i, t in enumerate(written)]
        write_rows(rows, as_json, "{mix:4.2f}  {text}")


def _two_ends(arguments: list[str]) -> tuple[str | None, str, str]:
    """The run, if one is named, and the two sentences or files."""
    from ..shelf import shipped

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


def _are_midi(a: str, b: str) -> bool:
    """Whether both ends are MIDI files. Refuses one file and one sentence."""
    midi = [name for name in (a, b) if is_midi(name)]
    if len(midi) == 1:
        other = b if midi == [a] else a
        raise Refused(
            f"{midi[0]} is a MIDI file and {other!r} is none: a way has two ends of one kind."
        )
    return bool(midi)


def _run_for(a: str, b: str) -> str:
    """The run that ships for two MIDI files; what holds drums only is read by that of drums."""
    from ..shelf import shipped
    from ..studio import fitting

    run = fitting(a, b)
    if run not in shipped():
        return MELODY
    if run != MELODY:
        warn(f"both files hold drums only: they are read by the run {run!r}")
    return run


def _check_known(a: str, b: str) -> None:
    """Refuse pictures where no run is named, for none that knows them comes with the package."""
    for name in (a, b):
        if is_picture(name) and (" " not in name or Path(name).is_file()):
            raise Refused(
                f"{name} is a picture, and no run that knows pictures comes with seqvae. Name "
                "one of yours first: seqvae interpolate RUN a.png b.png"
            )


def _check_unused(playing: Mapping[str, Any], given: str) -> None:
    """Refuse options of MIDI files that are given for others."""
    usual = inspect.signature(interpolate).parameters
    changed = [name for name, value in playing.items() if value != usual[name].default]
    if changed:
        flags = (("no-" if playing[name] is False else "") + name for name in changed)
        options = ", ".join(f"--{flag.replace('_', '-')}" for flag in flags)
        raise Refused(f"{options}: only of MIDI files, and these are {given}. Leave it out.")


def _morph(
    model: "Explorer", a: str, b: str, taste: Any, out: Path | None, audio: bool, as_json: bool
) -> None:
    import torch

    from ..album import folder_name, free_folder, save
    from ..morph import morph, music_codec

    torch.set_num_threads(1)  # on a handful of windows threads would only wait for each other
    music_codec(model)  # which refuses a run of sentences
    check_files(model, (a, b))
    folder = free_folder(out, folder_name(a, b))
    files, sound, said = save(morph(model, a, b, taste), folder, model, audio=audio)
    if as_json:
        report = json.loads((folder / "report.json").read_bytes())
        write_rows([{"folder": str(folder), **report}], True)
        return
    print(*said, sep="\n")
    if sound is not None:
        print(f"sound: {sound}")
    print(f"written to {folder}: {', '.join(path.name for path in files)}")


def _walk(
    model: "Explorer",
    a: str,
    b: str,
    steps: int,
    kind: str,
    out: Path | None,
    as_json: bool,
    decoding: "Decoding",
) -> None:
    """From picture to picture: the way of their codes, on its page below their cross-fade."""
    from dataclasses import replace

    import numpy as np

    from ..album import folder_name

    ends = [one_picture(model, name) for name in (a, b)]
    folder = free(out, folder_name(a, b))
    z = model.way(*ends, steps=steps, kind=kind)
    walked = looked_at(model, z, replace(decoding, together=True))
    mix = np.linspace(0, 1, steps)
    first, last = brightness(ends)
    faded = np.stack([(1 - t) * first + t * last for t in mix])
    names = [
        f"{i:02d}of{steps:02d}_a{100 * (1 - t):02.0f}_b{100 * t:02.0f}"
        for i, t in enumerate(mix, 1)
    ]
    said = [{"mix": round(t, 4)} for t in mix.tolist()]
    form = "{mix:4.2f}  {file}"
    write_pictures(walked, names, folder, as_json, said, form, tens(faded, walked))


@writes
def humanise(
    run: Run,
    file: Annotated[str, typer.Argument(help="A MIDI file with drums.")],
    like: Annotated[
        str | None, typer.Option(help="A MIDI file whose drums' feel to take; else the model's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The MIDI file to write; else FILE_human.mid, here.")
    ] = None,
    track: OfTrack = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="In which the model draws its feel; without --like.")
    ] = 8,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Play the drums of a file anew: its hits, with a model's feel, or another drummer's.

    The run is one that knows how drums are played: seqvae train feel FOLDER.
    """
    from dataclasses import replace

    from ..midi import write
    from ..studio import humanise as humanise_song

    model = load(run, device)
    check_files(model, filter(None, (file, like)))
    path = out or Path(f"{Path(file).stem}_human.mid")
    check_free(path)
    if decoding.greedy and like is None:  # the likeliest of every hit is nobody's playing
        decoding = replace(decoding, temperature=1.0)
    played = humanise_song(model, file, like, decoding, asked=track, rounds=rounds)
    for line in () if as_json else played.piece.said:
        print(f"{file}: {line}")
    row = {"file": file, "f1": played.f1, "said": played.piece.said, "like": like}
    form = "{file}: {f1:.1%} of its hits are there (F1), written: {written}"
    write_rows([{**row, "written": str(write(played.song, path))}], as_json, form)


def tracks(
    file: Annotated[str, typer.Argument(help="A MIDI file.")],
    as_json: AsJson = False,
) -> None:
    """Say what tracks a MIDI file has, and how well each would do as melody, bass and drums."""
    from ..midi import read
    from ..parts import PARTS, scores
    from ..progress import table

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
        write_rows(rows, True)
        return
    print(
        f"{file}: {len(song.tracks)} tracks, {len(song.bars)} bars from {song.bars.metre[0]} at "
        f"{song.qpm_at(0):.0f} bpm, {song.seconds:.0f} seconds"
    )
    print(*song.repairs, sep="\n", end="\n" if song.repairs else "")
    header = ("part", "track", "name", "program", "notes", "score", "why")
    print(table([header, *(tuple(str(value) for value in row.values()) for row in rows)]))
