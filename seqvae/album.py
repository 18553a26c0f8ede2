"""What music leaves on disk: MIDI files with names that speak, pictures, sound, a report."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from . import __version__
from .audio import render
from .clips import DRUMS, Clip
from .corpus import write_json
from .errors import Refused
from .explore import Explorer
from .keys import KeyFound
from .midi import (
    DRUM_CHANNEL,
    TICKS,
    Ints,
    Marker,
    MetreChange,
    Notes,
    Song,
    Tempo,
    Track,
    joined,
    write,
)
from .morph import Morph, Step
from .pieces import Piece
from .plots import save as save_figure
from .rolls import contact_sheet

FAINTEST = 8  # velocity below which a fading track is silent
REPORT = 1  # format
CHANNELS = [channel for channel in range(16) if channel != DRUM_CHANNEL]
FAMILY = 8  # programs: pianos are 0 to 7, basses 32 to 39
LETTERS = 30  # of a file's name in the name of a folder


def clip_song(clip: Clip, players: Mapping[str, Track], *, name: str = "") -> Song:
    """A clip as a song that ends on its bar, each part played by the track of its player."""
    return Song(
        seated([_played(notes, part, players) for part, notes in clip.parts.items()]),
        clip.ticks_per_beat,
        tempos=[Tempo(0, clip.qpm)],
        metres=[MetreChange(0, clip.metre)],
        length=clip.length,
        name=name,
    )


def _played(notes: Notes, part: str, players: Mapping[str, Track]) -> Track:
    """Notes with all that their player has but its own; drums are always drums."""
    player = players.get(part)
    drums = part == DRUMS
    if player is None:
        return Track(notes, part, 33 if part == "bass" else 0, drums)
    return replace(player, notes=notes, name=player.name or part, drums=drums)


def seated(tracks: Sequence[Track]) -> list[Track]:
    """The tracks, each on a channel of its own, for a channel has one program; drums on 10.

    Of more than 15 that are no drums, those of one program share a channel; the rarest programs,
    where there are more than 15 of those, are played by the nearest. What shares a channel has no
    controls.
    """
    pitched = [track for track in tracks if not track.drums]
    crowded = len(pitched) > len(CHANNELS)
    programs = _nearest_programs(pitched) if crowded else {}
    sharing = Counter(programs.get(track.program, track.program) for track in pitched)
    kit = next((track.program for track in tracks if track.drums), 0)
    seats: dict[int, int] = {}
    found = []
    for place, track in enumerate(tracks):
        if track.drums:
            found.append(replace(track, program=kit, channel=DRUM_CHANNEL, controls=NO_CONTROLS))
            continue
        program = programs.get(track.program, track.program)
        seat = program if crowded else place
        if seat not in seats:
            free = [channel for channel in CHANNELS if channel not in seats.values()]
            seats[seat] = track.channel if track.channel in free else free[0]
        alone = not crowded or sharing[program] == 1
        controls = track.controls if alone else NO_CONTROLS
        found.append(replace(track, program=program, channel=seats[seat], controls=controls))
    return found


def _nearest_programs(tracks: Sequence[Track]) -> dict[int, int]:
    """Program -> the one that plays it: itself, or of its family, where there are too many."""
    counts: Counter[int] = Counter()
    for track in tracks:
        counts[track.program] += len(track.notes)
    kept = [program for program, _ in counts.most_common(len(CHANNELS))]
    return {
        program: min(kept, key=lambda k: (k // FAMILY != program // FAMILY, abs(k - program)))
        for program in counts
    }


def players(piece: Piece, pace: float, steps: int, length: int) -> dict[str, Track]:
    """Who plays each part of a piece, with its controls at so many steps of a length."""
    found = {part: piece.player(part) for part in piece.parts}
    return {
        part: replace(track, controls=_controls(track, pace, steps, length))
        for part, track in found.items()
    }


def free_folder(wanted: Path | None, name: str) -> Path:
    """The folder asked for, or `name`, `name-2`, … whichever is free.

    Raises `Refused` where the folder asked for holds anything, or cannot be made.
    """
    if wanted is not None:
        if wanted.is_dir() and any(wanted.iterdir()):
            raise Refused(f"{wanted} is in use. Name another folder: --out NEW, or remove it.")
        file = next((path for path in (wanted, *wanted.parents) if path.is_file()), None)
        if file is not None:
            raise Refused(
                f"{file} is a file, so no folder can be made there. Choose another --out."
            )
        return wanted
    free = (Path(f"{name}-{i}" if i > 1 else name) for i in count(1))
    return next(folder for folder in free if not folder.exists())


def folder_name(a: str, b: str) -> str:
    """A name for the morph of two files, in letters that every shell and disk takes.

    >>> folder_name("songs/My Song.mid", "b.mid")
    'morph-My_Song-b'
    """
    names = [re.sub(r"[^\w.-]+", "_", Path(name).stem).strip("._-") for name in (a, b)]
    return "-".join(["morph", *(name[:LETTERS] or "song" for name in names)])


class Written(NamedTuple):
    """The files of a morph, how the sound was made, if any was, and what is to be said of them."""

    files: list[Path]
    sound: str | None
    said: list[str]


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
    if sum(len(track.notes) for track in band.tracks) > sum(len(t.notes) for t in alone.tracks):
        files.append(write(band, folder / "morph_band.mid"))
    files.append(save_figure(_sheet(morph), folder / "morph.png"))
    sound = None
    if audio:
        sound = render(band, folder / "morph.wav")
        files.append(folder / "morph.wav")
    said = [*morph.said, *_replaced(morph, band)]
    about = {**report(morph, explorer), "said": said, "sound": sound}
    files.append(folder / "report.json")
    write_json(files[-1], {**about, "files": [path.name for path in files]})
    return Written(files, sound, said)


def file_name(morph: Morph, place: int) -> str:
    """A name that sorts and speaks: 03of09_a75_b25_4bar_112bpm_Cmin."""
    step, steps = morph.steps[place], len(morph.steps)
    of = max(len(str(steps)), 2)
    b = round(100 * step.mix)
    bars = round(step.clip.length / step.clip.bar)
    key = key_at(morph, step.mix)
    return (
        f"{place + 1:0{of}d}of{steps:0{of}d}_a{100 - b:02d}_b{b:02d}_{bars}bar_"
        f"{step.clip.qpm:.0f}bpm" + ("" if key is None else f"_{key.short}")
    )


def key_at(morph: Morph, mix: float) -> KeyFound | None:
    """The key of a step: that of the nearer end, as it was moved; drums alone have none."""
    piece, moved = ((morph.a, morph.b)[mix >= 0.5], morph.moved[mix >= 0.5])
    if not piece.key.confidence or set(piece.parts) == {DRUMS}:
        return None
    return piece.key._replace(tonic=(piece.key.tonic + moved.key) % 12)


def step_song(morph: Morph, step: Step) -> Song:
    """One step as a song, with the instruments of the nearer end."""
    piece, pace = (morph.a, 1.0) if step.mix < 0.5 else (morph.b, morph.pace)
    return clip_song(step.clip, players(piece, pace, 1, step.clip.length))


def way(morph: Morph, *, band: bool = False) -> Song:
    """All steps one after the other, with a marker and a tempo each; with the other tracks."""
    length = morph.steps[0].clip.length
    halves: tuple[list[tuple[int, Step]], ...] = ([], [])
    for place, step in enumerate(morph.steps):
        halves[step.mix >= 0.5].append((place * length, step))
    every = len(morph.steps), length
    tracks = [
        *_solos(halves[0], players(morph.a, 1.0, *every)),
        *_solos(halves[1], players(morph.b, morph.pace, *every)),
    ]
    if band:
        tracks += _band(morph)
    return Song(
        seated(_merged(tracks)),
        TICKS,
        tempos=[Tempo(i * length, step.clip.qpm) for i, step in enumerate(morph.steps)],
        metres=[MetreChange(0, morph.steps[0].clip.metre)],
        markers=[Marker(i * length, _title(step.mix)) for i, step in enumerate(morph.steps)],
        length=length * len(morph.steps),
        name="morph",
    )


def _solos(steps: Sequence[tuple[int, Step]], players: Mapping[str, Track]) -> list[Track]:
    """The parts of some steps, by their players."""
    found = []
    for part in players:
        notes = joined(step.clip.part(part).moved(tick) for tick, step in steps)
        found.append(_played(notes, part, players))
    return found


def _replaced(morph: Morph, whole: Song) -> list[str]:
    """Which programs of the other tracks are played by others, for there are 15 channels."""
    band = {track.program for track in _band(morph) if len(track.notes) and not track.drums}
    gone = sorted(band - {track.program for track in whole.tracks})
    names = ", ".join(map(str, gone))
    return [f"15 channels cannot hold all programs: others play those of {names}"] * bool(gone)


def _merged(tracks: Sequence[Track]) -> list[Track]:
    """Tracks of one name, program, channel and controls as one: the same player goes on."""
    found: dict[tuple[Any, ...], Track] = {}
    for track in tracks:
        own = track.controls.tobytes()
        who = (track.name, track.program, track.drums, track.channel, own)
        before = found.get(who)
        found[who] = (
            track if before is None else replace(before, notes=joined([before.notes, track.notes]))
        )
    return [track for track in found.values() if len(track.notes)]


def _band(morph: Morph) -> list[Track]:
    """The tracks the model does not know, from A, from B, or one fading into the other."""
    found = []
    for piece, semitones, pace, loud in (
        (morph.a, morph.moved[0].key, 1.0, _loudness(morph, "a")),
        (morph.b, morph.moved[1].key, morph.pace, _loudness(morph, "b")),
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
    return replace(track, notes=joined(steps), controls=_controls(track, pace, len(loud), length))


def _controls(track: Track, pace: float, steps: int, length: int) -> Ints:
    """A phrase's controls at every step: each begins as the first did."""
    once = track.controls.copy()
    once[:, 0] = np.minimum(once[:, 0] * pace, length - 1)
    later = np.array([[length, 0, 0]], np.int32)
    return np.concatenate([NO_CONTROLS, *(once + place * later for place in range(steps))])


NO_CONTROLS = np.zeros((0, 3), np.int32)


def _title(mix: float) -> str:
    names = {0.0: "A", 1.0: "B"}
    return names.get(mix, f"{1 - mix:.0%} A, {mix:.0%} B")


def _sheet(morph: Morph) -> Figure:
    """The contact sheet of a morph."""
    clips = []
    for step in morph.steps:
        key = key_at(morph, step.mix)
        about = {} if key is None else {"key": key.name}
        clips.append(replace(step.clip, about=about))
    a, b = (Path(piece.name).name for piece in (morph.a, morph.b))
    bars = [f"bar {piece.bar}" for piece in (morph.a, morph.b)]
    return contact_sheet(
        clips,
        titles=[_title(step.mix) for step in morph.steps],
        heading=f"{a}  to  {b}",
        notes=f"A: {a} from {bars[0]}. B: {b} from {bars[1]}.",
    )


def report(morph: Morph, explorer: Explorer) -> dict[str, Any]:
    """What was morphed by what, how, and how it went, as plain data."""
    costs = morph.costs or (None, None)
    return {
        "format": REPORT,
        "version": __version__,
        "torch": torch.__version__,
        "run": explorer.recipe["name"],
        "run_version": explorer.facts.get("version"),
        "weights_step": explorer.facts.get("step"),
        "corpus": explorer.facts.get("corpus"),
        "device": explorer.facts.get("device"),
        "taste": asdict(morph.taste),
        "a": _about(morph, 0, costs[0]),
        "b": {**_about(morph, 1, costs[1]), "pace": morph.pace},
        "key": None if morph.key is None else morph.key.name,
        "usual_bits_a_window": None if morph.usual is None else morph.usual / math.log(2),
        "steps": [
            {"mix": step.mix, "bpm": step.clip.qpm, "f1_with_a": a, "f1_with_b": b}
            for step, (a, b) in zip(morph.steps, morph.distances, strict=True)
        ],
    }


def _about(morph: Morph, end: int, cost: float | None) -> dict[str, Any]:
    piece = (morph.a, morph.b)[end]
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
        "moved_by_semitones": morph.moved[end].semitones,
        "moved_in_key_by_semitones": morph.moved[end].key,
        "moved_by_octaves": morph.moved[end].octaves,
        "changed_by_the_codec": morph.lost[end],
        "bits_a_window": None if cost is None else cost / math.log(2),
        "comes_back_f1": morph.ends[end],
    }
