"""`seqvae interpolate`, from one sentence, MIDI file or picture to another; and its music."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..errors import Refused
from .given import check_sentences
from .music import PLAYING, Playing, check_files, is_midi, knows_music, run_for
from .options import (
    AsJson,
    Device,
    OfTrack,
    Run,
    check_free,
    decoding,
    load,
    taking,
    writes,
)
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
    from ..music.album import Written
    from ..music.taste import Taste

PHRASE = 64  # bars, at most


@taking(Playing, decoding)
def interpolate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] A B [C ...]",
            help="Two sentences, MIDI files or pictures; a run first, or one that ships. Of MIDI "
            "files also more: a tour from the first to the last.",
        ),
    ],
    steps: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="On the way, both ends included; 7 sentences, 9 phrases; 5 on each leg of a tour "
            "or side of a grid.",
        ),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option("--grid", help="Four of them at the corners, A B above and C D below."),
    ] = False,
    path: Annotated[str, typer.Option(help="lerp (straight) or slerp (great circle).")] = "lerp",
    as_json: AsJson = False,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="The folder for the files.", rich_help_panel=PLAYING)
    ] = None,
    *,
    playing: Playing,
    decoding: "Decoding",
) -> None:
    """Walk from one sentence, MIDI file or picture to another through the space of codes."""
    run, ends = _ends(arguments, grid)
    a, b, midi = ends[0], ends[1], _are_midi(ends)
    if run is None:
        _check_known(ends)
    model = load(run or (run_for(ends) if midi else None), device)
    if knows_pictures(model):
        _check_unused([*playing.changed, *["grid"] * grid], "pictures")
        _walk(model, a, b, steps or 7, path, out, as_json, decoding)
    elif knows_music(model) or midi:
        _play(model, ends, _asked(playing, ends, grid, steps, path, decoding), out, as_json)
    else:
        _check_unused([*playing.changed, *["out"] * (out is not None)], "sentences")
        check_sentences(model, ends)
        if grid:
            _square(model, ends, steps or 5, path, as_json, decoding)
        else:
            _line(model, a, b, steps or 7, path, as_json, decoding)


def _ends(arguments: list[str], grid: bool) -> tuple[str | None, list[str]]:
    """The run, if one is named, and the sentences or files: two, or MIDI files as many as like."""
    from ..shelf import shipped

    first = arguments[0]
    run = first if first in shipped() or Path(first).is_dir() else None
    if len(arguments) == 2 and run is not None and not grid:
        raise Refused(
            f"{first} is a run or a folder, so a sentence or file is missing: "
            f'seqvae interpolate {first} "A" "B"'
        )
    named = len(arguments) == (5 if grid else 3) or all(map(is_midi, arguments[1:]))
    if run is None and named and len(arguments) > 2 and not is_midi(first):
        run = first  # one that is not there, which is said when it is opened
    ends = arguments[run is not None :]
    if grid:
        _check_corners(ends)
    elif len(ends) < 2 or (len(ends) > 2 and not any(map(is_midi, ends))):
        raise Refused(
            f'{len(arguments)} arguments: give two sentences, as in seqvae interpolate "A" "B", '
            "or MIDI files, as in seqvae interpolate a.mid b.mid, or a run and two of them, "
            'as in seqvae interpolate runs/x "A" "B".'
        )
    return run, ends


def _check_corners(ends: list[str]) -> None:
    if len(ends) != 4:
        raise Refused(
            f"{len(ends)} for a grid, which has one at each of its 4 corners: seqvae interpolate "
            "--grid a.mid b.mid c.mid d.mid. Without --grid any number of MIDI files is a tour."
        )


def _are_midi(ends: list[str]) -> bool:
    """Whether all ends are MIDI files. Refuses files among sentences."""
    midi = [name for name in ends if is_midi(name)]
    if midi and len(midi) < len(ends):
        other = next(name for name in ends if not is_midi(name))
        raise Refused(
            f"{midi[0]} is a MIDI file and {other!r} is none: a way has ends of one kind."
        )
    return bool(midi)


def _check_known(ends: list[str]) -> None:
    """Refuse pictures where no run is named, for none that knows them comes with the package."""
    for name in ends:
        if is_picture(name) and (" " not in name or Path(name).is_file()):
            raise Refused(
                f"{name} is a picture, and no run that knows pictures comes with seqvae. Name "
                "one of yours first: seqvae interpolate RUN a.png b.png"
            )


def _check_unused(changed: Iterable[str], given: str) -> None:
    """Refuse options of MIDI files that are given for others."""
    if options := ", ".join(f"--{name}" for name in changed):
        raise Refused(f"{options}: only of MIDI files, and these are {given}. Leave it out.")


class _Asked(NamedTuple):
    """What is to be made of MIDI files: how, and which of the options of their kind."""

    playing: Playing
    taste: "Taste"
    grid: bool
    many: bool  # more than one way: a tour or a grid


def _asked(
    playing: Playing,
    files: list[str],
    grid: bool,
    steps: int | None,
    kind: str,
    decoding: "Decoding",
) -> _Asked:
    """Refuses what does not go together; `Taste` refuses what it does not know."""
    from dataclasses import replace

    many = grid or playing.loop or len(files) > 2
    phrase = _phrase(playing, many, steps)
    if (grid or playing.journey) and "way" in playing.changed:
        raise Refused(
            f"--way {playing.way}: a grid is written straight, and a journey's mix moves with "
            "every bar. Leave it out."
        )
    if grid and playing.loop:
        raise Refused("--loop closes a tour, and a grid has no last file. Leave one of them out.")
    together, count = replace(decoding, together=True), steps or (5 if many else 9)
    return _Asked(playing, playing.taste(phrase, count, kind, together), grid, many)


def _phrase(playing: Playing, many: bool, steps: int | None) -> int:
    """The bars of a phrase. Refuses what does not go with a journey, or goes only with one."""
    bars = playing.bars
    if not playing.journey:
        for name in (name for name in ("fit", "curve") if name in playing.changed):
            raise Refused(f"--{name} {getattr(playing, name)}: only of a journey. Add --journey.")
        if bars is not None and bars > PHRASE:
            raise Refused(
                f"--bars {bars}: a phrase has {PHRASE} at most; a --journey may be longer."
            )
        return bars or 4
    if many:
        raise Refused(
            "--journey goes from one file to one other. Leave out --grid, --loop and more."
        )
    if steps is not None:
        raise Refused(
            f"--steps {steps}: a journey's mix moves with every bar. Leave it out and say how "
            "long the journey is: --bars 32; or leave out --journey."
        )
    return 4


class _Work(NamedTuple):
    """How it is made and written, and what its folder is called where nobody says."""

    name: str
    make: Callable[[], Any]
    save: Callable[..., "Written"]


def _play(
    model: "Explorer", files: list[str], asked: _Asked, out: Path | None, as_json: bool
) -> None:
    """A morph, a journey, a tour or a grid of MIDI files, made and written."""
    from ..music.album import free_folder

    _check_music(model, files)
    work = _journey if asked.playing.journey else _tour if asked.many else _morph
    name, make, save = work(model, files, asked)
    folder = free_folder(out, name)  # refused before anything is made
    audio, stems = asked.playing.audio, asked.playing.stems
    _tell(save(make(), folder, model, audio=audio, stems=stems), folder, as_json)


def _morph(model: "Explorer", files: list[str], asked: _Asked) -> _Work:
    from ..music.album import folder_name, save
    from ..music.morph import morph

    a, b = files
    return _Work(folder_name(a, b), partial(morph, model, a, b, asked.taste), save)


def _journey(model: "Explorer", files: list[str], asked: _Asked) -> _Work:
    from ..music.journey import journey
    from ..music.logbook import folder_for, save

    (a, b), course = files, asked.playing.course()
    return _Work(folder_for(a, b), partial(journey, model, a, b, asked.taste, course), save)


def _tour(model: "Explorer", files: list[str], asked: _Asked) -> _Work:
    from ..music.scrapbook import folder_for, save
    from ..music.tour import square, tour

    if asked.grid:
        return _Work(folder_for(files, "grid"), partial(square, model, files, asked.taste), save)
    make = partial(tour, model, files, asked.taste, loop=asked.playing.loop)
    return _Work(folder_for(files, "tour"), make, save)


def _check_music(model: "Explorer", files: Iterable[str]) -> None:
    """Refuse a run of sentences and what is no file; on few windows threads would only wait."""
    import torch

    from ..music.beside import music_codec

    torch.set_num_threads(1)
    music_codec(model)
    check_files(model, files)


def _tell(made: "Written", folder: Path, as_json: bool) -> None:
    """What was decided and written."""
    if as_json:
        report = json.loads((folder / "report.json").read_bytes())
        write_rows([{"folder": str(folder), **report}], True)
        return
    print(*made.said, sep="\n")
    if made.sound is not None:
        print(f"sound: {made.sound}")
    names = (path.relative_to(folder).as_posix() for path in made.files)
    print(f"written to {folder}: {', '.join(names)}")


def _line(
    model: "Explorer",
    a: str,
    b: str,
    steps: int,
    kind: str,
    as_json: bool,
    decoding: "Decoding",
) -> None:
    """Sentences from one to another."""
    texts = model.interpolate(a, b, steps=steps, kind=kind, decoding=decoding)
    rows = [{"mix": round(i / (steps - 1), 4), "text": text} for i, text in enumerate(texts)]
    write_rows(rows, as_json, "{mix:4.2f}  {text}")


def _square(
    model: "Explorer",
    corners: list[str],
    steps: int,
    kind: str,
    as_json: bool,
    decoding: "Decoding",
) -> None:
    """Sentences between four corners, row by row."""
    z = model.square(corners, steps=steps, kind=kind)
    texts = model.decode(z.flatten(0, 1), decoding)
    places = [(row + 1, column + 1) for row in range(steps) for column in range(steps)]
    rows = [
        {"row": row, "column": column, "text": text}
        for (row, column), text in zip(places, texts, strict=True)
    ]
    write_rows(rows, as_json, "{row} {column}  {text}")


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

    from ..music.album import folder_name

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
    from ..music.studio import humanise as humanise_song

    model = load(run, device)
    check_files(model, filter(None, (file, like)))
    path = out or Path(f"{Path(file).stem}_human.mid")
    check_free(path)
    if decoding.greedy and like is None:  # the likeliest of every hit is nobody's playing
        decoding = replace(decoding, temperature=1.0)
    played = humanise_song(model, file, like, decoding, asked=track, rounds=rounds)
    for line in () if as_json else played.piece.said:
        print(f"{file}: {line}")
    feels = {when: None if feel is None else feel._asdict() for when, feel in played.feels.items()}
    named = {"before": f"{file}, before", "after": f"{file}, after", "like": like}
    for when, feel in () if as_json else played.feels.items():
        print(f"{named[when]}: {feel or 'no hit'}")
    row = {"file": file, "f1": played.f1, "said": played.piece.said, "like": like, "feel": feels}
    form = "{file}: {f1:.1%} of its hits are there (F1), written: {written}"
    write_rows([{**row, "written": str(write(played.song, path))}], as_json, form)


def tracks(
    file: Annotated[str, typer.Argument(help="A MIDI file.")],
    as_json: AsJson = False,
) -> None:
    """Say what tracks a MIDI file has, and how well each would do as melody, bass and drums."""
    from ..midi import read
    from ..midi.parts import PARTS, scores
    from ..music.pieces import in_a_row
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
    size = f"{_counted(len(song.tracks), 'track')}, {_counted(len(song.bars), 'bar')}"
    tempo = f"{song.bars.metre[0]} at {song.qpm_at(0):.0f} bpm"
    print(f"{file}: {size} from {tempo}, {song.seconds:.0f} seconds")
    if (metres := Counter(map(str, song.bars.metre))) and len(metres) > 1:
        bars = [f"{metre} in {_counted(count, 'bar')}" for metre, count in metres.items()]
        print(f"metres: {in_a_row(bars)}; a morph takes a phrase in one of them")
    print(*song.repairs, sep="\n", end="\n" if song.repairs else "")
    header = ("part", "track", "name", "program", "notes", "score", "why")
    print(table([header, *(tuple(str(value) for value in row.values()) for row in rows)]))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
