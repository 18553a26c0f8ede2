"""What music leaves on disk: MIDI files with names that speak, pictures, sound, a report."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import __version__
from .audio import render
from .clips import Clip
from .corpus import write_json
from .errors import Refused
from .explore import Explorer
from .keys import KeyFound
from .midi import TICKS, Marker, MetreChange, Notes, Song, Tempo, Track, joined, write
from .morph import Morph, Step
from .pieces import Piece
from .plots import save as save_figure
from .rolls import contact_sheet

FAINTEST = 8  # velocity below which a fading track is silent
REPORT = 1  # format


def clip_song(clip: Clip, players: Mapping[str, Track], *, name: str = "") -> Song:
    """A clip as a song that ends on its bar, each part played by the track of its player."""
    return Song(
        [_played(notes, part, players) for part, notes in clip.parts.items()],
        clip.ticks_per_beat,
        tempos=[Tempo(0, clip.qpm)],
        metres=[MetreChange(0, clip.metre)],
        length=clip.length,
        name=name,
    )


def _played(notes: Notes, part: str, players: Mapping[str, Track]) -> Track:
    """Notes with the program, channel and name of their player; drums are always drums."""
    player = players.get(part)
    drums = part == "drums"
    if player is None:
        return Track(notes, part, 33 if part == "bass" else 0, drums)
    return Track(notes, player.name or part, player.program, drums, player.channel)


def players(piece: Piece) -> dict[str, Track]:
    """Who plays each part of a piece."""
    return {part: piece.player(part) for part in piece.parts}


def free_folder(wanted: Path | None, name: str) -> Path:
    """The folder asked for, or `name`, `name-2`, … whichever is free.

    Raises `Refused` where the folder asked for holds anything.
    """
    if wanted is not None:
        if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
            raise Refused(f"{wanted} is in use. Name another folder: --out NEW, or remove it.")
        return wanted
    free = (Path(f"{name}-{i}" if i > 1 else name) for i in count(1))
    return next(folder for folder in free if not folder.exists())


class Written(NamedTuple):
    """The files of a morph, and how the sound was made, if any was."""

    files: list[Path]
    sound: str | None


def save(morph: Morph, folder: Path, explorer: Explorer, *, audio: bool = False) -> Written:
    """Write a morph into a folder, made if absent.

    Each step, the reconstructions of both ends, the whole way with and without the other tracks,
    a contact sheet, WAV if asked for, and `report.json`.
    """
    names = [file_name(morph, place) for place in range(len(morph.steps))]
    files = [
        write(step_song(morph, step), folder / f"{name}.mid")
        for step, name in zip(morph.steps, names, strict=True)
    ]
    for place in (0, -1):
        again = morph.steps[place]._replace(clip=morph.steps[place].again)
        files.append(write(step_song(morph, again), folder / f"{names[place]}_again.mid"))
    alone = way(morph)
    files.append(write(alone, folder / "morph.mid"))
    band = way(morph, band=True)
    if len(band.tracks) > len(alone.tracks):
        files.append(write(band, folder / "morph_band.mid"))
    sheet = contact_sheet(
        [step.clip for step in morph.steps], titles=_titles(morph), heading=_heading(morph)
    )
    files.append(save_figure(sheet, folder / "morph.png"))
    sound = None
    if audio:
        sound = render(band, folder / "morph.wav")
        files.append(folder / "morph.wav")
    write_json(folder / "report.json", report(morph, explorer, files, sound))
    return Written([*files, folder / "report.json"], sound)


def file_name(morph: Morph, place: int) -> str:
    """A name that sorts and speaks: 03of09_a75_b25_4bar_112bpm_Cmin."""
    step, steps = morph.steps[place], len(morph.steps)
    of = max(len(str(steps)), 2)
    b = round(100 * step.mix)
    bars = round(step.clip.length / step.clip.bar)
    return (
        f"{place + 1:0{of}d}of{steps:0{of}d}_a{100 - b:02d}_b{b:02d}_{bars}bar_"
        f"{step.clip.qpm:.0f}bpm_{key_at(morph, step.mix).short}"
    )


def key_at(morph: Morph, mix: float) -> KeyFound:
    """The key of a step: the common one, or that of the nearer end."""
    return morph.key or (morph.a.key if mix < 0.5 else morph.b.key)


def step_song(morph: Morph, step: Step) -> Song:
    """One step as a song, with the instruments of the nearer end."""
    nearer = morph.a if step.mix < 0.5 else morph.b
    return clip_song(step.clip, players(nearer))


def way(morph: Morph, *, band: bool = False) -> Song:
    """All steps one after the other, with a marker and a tempo each; with the other tracks."""
    length = morph.steps[0].clip.length
    halves: list[tuple[Piece, list[tuple[int, Step]]]] = [(morph.a, []), (morph.b, [])]
    for place, step in enumerate(morph.steps):
        halves[step.mix >= 0.5][1].append((place * length, step))
    tracks = [track for piece, steps in halves for track in _solos(piece, steps)]
    if band:
        tracks += _band(morph)
    return Song(
        _merged(tracks),
        TICKS,
        tempos=[Tempo(i * length, step.clip.qpm) for i, step in enumerate(morph.steps)],
        metres=[MetreChange(0, morph.steps[0].clip.metre)],
        markers=[Marker(i * length, _title(step.mix)) for i, step in enumerate(morph.steps)],
        length=length * len(morph.steps),
        name="morph",
    )


def _solos(piece: Piece, steps: Sequence[tuple[int, Step]]) -> list[Track]:
    """The parts of some steps, by the players of a piece."""
    found = []
    for part in piece.parts:
        notes = joined(step.clip.part(part).moved(tick) for tick, step in steps)
        found.append(_played(notes, part, players(piece)))
    return found


def _merged(tracks: Sequence[Track]) -> list[Track]:
    """Tracks of one name, program and channel as one: the same player goes on."""
    found: dict[tuple[Any, ...], Track] = {}
    for track in tracks:
        who = (track.name, track.program, track.drums, track.channel)
        before = found.get(who)
        found[who] = (
            track if before is None else replace(before, notes=joined([before.notes, track.notes]))
        )
    return [track for track in found.values() if len(track.notes)]


def _band(morph: Morph) -> list[Track]:
    """The tracks the model does not know, from A, from B, or one fading into the other."""
    found = []
    for piece, semitones, pace, loud in (
        (morph.a, morph.moved[0], 1.0, _loudness(morph, "a")),
        (morph.b, morph.moved[1], morph.pace, _loudness(morph, "b")),
    ):
        for track in piece.others:
            heard = _repeated(track, semitones, pace, loud, morph.steps[0].clip.length)
            found.append(heard)
    return found


def _loudness(morph: Morph, end: str) -> list[float]:
    """How loud the other tracks of an end are at every step, 0 to 1."""
    mixes = [step.mix for step in morph.steps]
    if morph.taste.band != "crossfade":
        return [float(morph.taste.band == end)] * len(mixes)
    return [1 - mix if end == "a" else mix for mix in mixes]


def _repeated(
    track: Track, semitones: int, pace: float, loud: Sequence[float], length: int
) -> Track:
    """A track's phrase at every step, as loud as that step has it, silent where too faint."""
    notes = Clip({track.name: track.notes}, length).stretched(pace).part(track.name)
    notes = notes.within(0, length)
    notes = notes if track.drums else notes.moved(semitones=semitones)
    steps = []
    for place, share in enumerate(loud):
        velocity = np.floor(notes.velocity * share + 0.5).astype(np.int32)
        audible = replace(notes, velocity=velocity)[velocity >= FAINTEST]
        steps.append(audible.moved(place * length))
    return replace(track, notes=joined(steps), controls=NO_CONTROLS, bends=NO_BENDS)


NO_CONTROLS, NO_BENDS = np.zeros((0, 3), np.int32), np.zeros((0, 2), np.int32)


def _title(mix: float) -> str:
    names = {0.0: "A", 1.0: "B"}
    return names.get(mix, f"{1 - mix:.0%} A, {mix:.0%} B")


def _titles(morph: Morph) -> list[str]:
    return [_title(step.mix) for step in morph.steps]


def _heading(morph: Morph) -> str:
    a, b = (Path(piece.name).name for piece in (morph.a, morph.b))
    return f"{a}  to  {b}"


def report(
    morph: Morph, explorer: Explorer, files: Sequence[Path], sound: str | None
) -> dict[str, Any]:
    """What was morphed by what, how, and how it went, as plain data."""
    a_again, b_again = morph.ends
    return {
        "format": REPORT,
        "version": __version__,
        "run": explorer.recipe["name"],
        "weights_step": explorer.facts.get("step"),
        "corpus": explorer.facts.get("corpus"),
        "device": explorer.facts.get("device"),
        "taste": asdict(morph.taste),
        "a": _about(morph.a, morph.moved[0], morph.costs[0], a_again),
        "b": {**_about(morph.b, morph.moved[1], morph.costs[1], b_again), "pace": morph.pace},
        "key": None if morph.key is None else morph.key.name,
        "usual_bits_a_window": None if morph.usual is None else morph.usual / math.log(2),
        "steps": [
            {"mix": step.mix, "bpm": step.clip.qpm, "f1_with_a": a, "f1_with_b": b}
            for step, (a, b) in zip(morph.steps, morph.distances, strict=True)
        ],
        "said": morph.said,
        "sound": sound,
        "files": [path.name for path in files],
    }


def _about(piece: Piece, moved: int, cost: float, again: float) -> dict[str, Any]:
    path = Path(piece.name)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return {
        "file": piece.name,
        "sha256": checksum,
        "parts": {part: found.how for part, found in piece.parts.items()},
        "bar": piece.bar,
        "metre": str(piece.clip.metre),
        "bpm": piece.clip.qpm,
        "key": piece.key.name,
        "key_confidence": piece.key.confidence,
        "moved_by_semitones": moved,
        "bits_a_window": cost / math.log(2),
        "comes_back_f1": again,
    }
