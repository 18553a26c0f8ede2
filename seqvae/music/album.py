"""What music leaves on disk: MIDI files with names that speak, pictures, sound, a report."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import __version__
from ..corpus import write_json
from ..errors import Refused
from ..explore import Explorer
from ..midi import (
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
from ..midi.clips import DRUMS, Clip
from ..midi.keys import KeyFound
from ..midi.parts import program_of
from ..plots import save as save_figure
from .audio import render, render_stems
from .morph import Morph, Step
from .pieces import Piece
from .rolls import contact_sheet
from .taste import Taste
from .told import DOUBT, End

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
        return Track(notes, part, program_of(part), drums)
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
        part: replace(track, controls=controls_at(track, pace, steps, length))
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
    return "-".join(["morph", *(safe(Path(name).stem) or "song" for name in (a, b))])


def safe(name: str) -> str:
    """A name in letters that every shell and disk takes; nothing where there are none."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._-")[:LETTERS]


class Written(NamedTuple):
    """The files of a morph, how the sound was made, if any was, and what is to be said of them."""

    files: list[Path]
    sound: str | None
    said: list[str]


def save(
    morph: Morph, folder: Path, explorer: Explorer, *, audio: bool = False, stems: bool = False
) -> Written:
    """Write a morph into a folder, made if absent.

    Each step, the reconstructions of both ends, the whole way with and without the other tracks,
    a contact sheet, WAV and stems if asked for, and `report.json`.
    """
    names = [file_name(morph, place) for place in range(len(morph.steps))]
    files = [
        write(step_song(morph, step), folder / f"{name}.mid")
        for step, name in zip(morph.steps, names, strict=True)
    ]
    for place in (0, -1):
        again = morph.steps[place]._replace(clip=morph.steps[place].again)
        files.append(write(step_song(morph, again), folder / f"{names[place]}_again.mid"))
    long = save_long(_score(morph), folder, "morph", audio=audio, stems=stems)
    files += [*long.files, save_figure(_sheet(morph), folder / "morph.png")]
    said = [*morph.said, *long.said]
    about = {**report(morph, explorer), "said": said, "sound": long.sound}
    return Written([*files, save_report(about, folder, files)], long.sound, said)


def save_long(
    score: "Score", folder: Path, name: str, *, audio: bool = False, stems: bool = False
) -> Written:
    """Write a long song: alone and with its band, if it has one; as sound and as stems if asked.

    Files are called by the name, `NAME.mid`, `NAME_band.mid`, `NAME.wav`; stems lie in `stems`.
    """
    alone, band = score.song(band=False), score.song()
    files = [write(alone, folder / f"{name}.mid")]
    if sum(len(track.notes) for track in band.tracks) > sum(len(t.notes) for t in alone.tracks):
        files.append(write(band, folder / f"{name}_band.mid"))
    said, sound = _replaced(score, band), None
    if audio:
        sound = render(band, folder / f"{name}.wav")
        files.append(folder / f"{name}.wav")
    if stems:
        files += save_stems(score.frame, folder / "stems", score.stems, audio=audio)
        said += _resting(score)
    return Written(files, sound, said)


def save_report(about: Mapping[str, Any], folder: Path, files: Sequence[Path]) -> Path:
    """Write `report.json`: plain data, and which files lie beside it."""
    path = folder / "report.json"
    names = [file.relative_to(folder).as_posix() for file in (*files, path)]
    write_json(path, {**about, "files": names})
    return path


# --- stems ---------------------------------------------------------------------------------------


def stems(song: Song, names: Sequence[str] | None = None) -> dict[str, Song]:
    """A song by its players: those of one name in a song of their own, all of one length.

    Each has the tempos, metres and markers of the whole, and ends at its tick, so that they lie
    on one another in a workstation; together they hold every note. What has no notes is left out.

    Arguments:
        song: any, such as one that was read from a file.
        names: of the stem of each track; None: each track is one, called as it is.

    >>> from seqvae.midi import notes_of
    >>> flute = Track(notes_of([(0, 480, 72, 80)]), "flute")
    >>> bass = Track(notes_of([(480, 960, 36, 80)]), "bass")
    >>> {name: stem.end for name, stem in stems(Song([flute, bass], length=1920)).items()}
    {'flute': 1920, 'bass': 1920}
    """
    found: dict[str, list[Track]] = {}
    for name, track in zip(names or _own_names(song.tracks), song.tracks, strict=True):
        if len(track.notes):
            found.setdefault(name, []).append(track)
    return {
        name: replace(song, tracks=seated(_merged(tracks)), length=song.end, name=name)
        for name, tracks in found.items()
    }


def _own_names(tracks: Sequence[Track]) -> list[str]:
    """What each track is called, or its number; with its number where several are called so.

    No two are called the same.
    """
    often = Counter(track.name for track in tracks)
    found = []
    for place, track in enumerate(tracks, 1):
        name = track.name
        if not name or often[name] > 1:
            name = f"{name or 'track'} {place}"
            while often[name]:
                name = f"{name} {place}"
        found.append(name)
    return found


def save_stems(
    song: Song, folder: Path, names: Sequence[str] | None = None, *, audio: bool = False
) -> list[Path]:
    """Write the `stems` of a song into a folder: MIDI, and WAV that add up to the whole if asked.

    Files of one kind are equally long, to the tick and to the sample.
    """
    found = stems(song, names)
    files = _file_names(found)
    written = [write(found[name], folder / f"{file}.mid") for name, file in files.items()]
    if audio and found:
        sounds = {folder / f"{file}.wav": found[name] for name, file in files.items()}
        render_stems(sounds)
        written += sounds
    return written


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """Each name, and a file name that no other has, whatever a disk thinks of capitals."""
    found: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for name in names:
        file = safe(name) or "track"
        while taken[file.lower()]:
            taken[file.lower()] += 1
            file = f"{file}_{taken[file.lower()]}"
        taken[file.lower()] += 1
        found[name] = file
    return found


def _resting(score: "Score") -> list[str]:
    """Which parts have no stem."""
    heard = {
        name
        for name, track in zip(score.stems, score.frame.tracks, strict=True)
        if len(track.notes)
    }
    silent = sorted(set(score.stems) - heard)
    return [f"no stem of {', '.join(silent)}: no note of it is heard"] * bool(silent)


# --- names ---------------------------------------------------------------------------------------


def file_name(morph: Morph, place: int) -> str:
    """A name that sorts and speaks: 03of09_a75_b25_4bar_112bpm_Cmin."""
    step, steps = morph.steps[place], len(morph.steps)
    b = round(100 * step.mix)
    spoken = described(step.clip, key_at(morph, step.mix))
    return f"{numbered(place, steps)}_a{100 - b:02d}_b{b:02d}_{spoken}"


def numbered(place: int, count: int) -> str:
    """The place of a file among others, from 0, in as many digits as the last has: 03of09."""
    digits = max(len(str(count)), 2)
    return f"{place + 1:0{digits}d}of{count:0{digits}d}"


def described(clip: Clip, key: KeyFound | None) -> str:
    """A phrase in the name of a file: 4bar_112bpm_Cmin."""
    bars = round(clip.length / clip.bar)
    return f"{bars}bar_{clip.qpm:.0f}bpm" + ("" if key is None else f"_{key.short}")


def key_at(morph: Morph, mix: float) -> KeyFound | None:
    """The key of a step: that of the nearer end, as it was moved by then, if it is told."""
    key = end_key(morph.both[mix >= 0.5])
    return None if key is None else key.moved(morph.glide(mix))


def end_key(end: End) -> KeyFound | None:
    """The key of a phrase as it was moved; drums alone have none, nor what is in doubt."""
    key = end.piece.key
    if key.confidence < DOUBT or set(end.piece.parts) == {DRUMS}:
        return None
    return key.moved(end.move.key)


def step_song(morph: Morph, step: Step) -> Song:
    """One step as a song, with the instruments of the nearer end."""
    return end_song(step.clip, morph.both[step.mix >= 0.5])


def end_song(clip: Clip, end: End) -> Song:
    """A phrase as a song, with the instruments of an end."""
    return clip_song(clip, players(end.piece, end.pace, 1, clip.length))


# --- the long song -------------------------------------------------------------------------------


class Phrase(NamedTuple):
    """One phrase of a long song: its music, how much of every end is in it, and its title."""

    clip: Clip
    weights: Sequence[float]  # one an end
    title: str
    semitones: int = 0  # by which all in it was moved, on its way to another key

    @property
    def nearest(self) -> int:
        """The end of which there is most in it; the last of several."""
        weights = [round(weight, 9) for weight in self.weights]
        return len(weights) - 1 - weights[::-1].index(max(weights))


class Score(NamedTuple):
    """A long song whose tracks stand apart: by the end that plays them, and by stem."""

    frame: Song
    stems: list[str]  # of each track
    band: list[Track]  # the last tracks of the frame: what the model does not know

    def song(self, *, band: bool = True) -> Song:
        """As it is played, with or without the other tracks."""
        count = len(self.frame.tracks) - (0 if band else len(self.band))
        return replace(self.frame, tracks=seated(_merged(self.frame.tracks[:count])))


def score(ends: Sequence[End], phrases: Sequence[Phrase], taste: Taste, name: str) -> Score:
    """Phrases of one length one after the other, with a marker and a tempo each.

    Each is played by the instruments of its nearest end; the other tracks of every end are as
    loud as its weight, or one end's play on, as the taste has it.
    """
    length = phrases[0].clip.length
    parts = [
        (part, track)
        for number, end in enumerate(ends)
        for part, track in _solos(end, number, phrases).items()
    ]
    band = _band(ends, phrases, taste)
    frame = Song(
        [*(track for _, track in parts), *(track for _, track in band)],
        TICKS,
        tempos=[Tempo(i * length, phrase.clip.qpm) for i, phrase in enumerate(phrases)],
        metres=[MetreChange(0, phrases[0].clip.metre)],
        markers=[Marker(i * length, phrase.title) for i, phrase in enumerate(phrases)],
        length=length * len(phrases),
        name=name,
    )
    return Score(frame, [stem for stem, _ in (*parts, *band)], [track for _, track in band])


def way(morph: Morph, *, band: bool = False) -> Song:
    """All steps one after the other, with a marker and a tempo each; with the other tracks."""
    return _score(morph).song(band=band)


def _score(morph: Morph) -> Score:
    phrases = [
        Phrase(step.clip, (1 - step.mix, step.mix), _title(step.mix), morph.glide(step.mix))
        for step in morph.steps
    ]
    return score(morph.both, phrases, morph.taste, "morph")


def _solos(end: End, number: int, phrases: Sequence[Phrase]) -> dict[str, Track]:
    """The parts of the phrases nearest to an end, by its players."""
    length = phrases[0].clip.length
    own = players(end.piece, end.pace, len(phrases), length)
    found = {}
    for part in own:
        notes = joined(
            phrase.clip.part(part).moved(place * length)
            for place, phrase in enumerate(phrases)
            if phrase.nearest == number
        )
        found[part] = _played(notes, part, own)
    return found


def _replaced(score: Score, whole: Song) -> list[str]:
    """Which programs of the other tracks are played by others, for there are 15 channels."""
    band = {track.program for track in score.band if len(track.notes) and not track.drums}
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


def _band(ends: Sequence[End], phrases: Sequence[Phrase], taste: Taste) -> list[tuple[str, Track]]:
    """The tracks the model does not know, of every end, as loud as it is; and their stems."""
    length, found = phrases[0].clip.length, []
    for number, end in enumerate(ends):
        loud = [loudness(end.letter, phrase.weights[number], taste) for phrase in phrases]
        up = [end.move.key + phrase.semitones for phrase in phrases]
        others = end.piece.others
        for name, track in zip(_own_names(others), others, strict=True):
            heard = _repeated(track, up, end.pace, loud, length)
            found.append((f"{end.letter} {name}", heard))
    return found


def loudness(letter: str, weight: float, taste: Taste) -> float:
    """How loud the other tracks of an end are in a phrase, 0 to 1."""
    return weight if taste.band == "crossfade" else float(taste.band == letter.lower())


def _repeated(
    track: Track, up: Sequence[int], pace: float, loud: Sequence[float], length: int
) -> Track:
    """A track's phrase at every step, as high and as loud as that step has it.

    It is silent where it would be too faint.
    """
    notes = Clip({track.name: track.notes}, length).stretched(pace).part(track.name)
    notes = notes.within(0, length)
    steps = []
    for place, (semitones, share) in enumerate(zip(up, loud, strict=True)):
        velocity = np.floor(notes.velocity * share + 0.5).astype(np.int32)
        audible = replace(notes, velocity=velocity)[velocity >= FAINTEST]
        steps.append(audible.moved(place * length, 0 if track.drums else semitones))
    return replace(
        track, notes=joined(steps), controls=controls_at(track, pace, len(loud), length)
    )


def controls_at(track: Track, pace: float, steps: int, length: int) -> Ints:
    """A phrase's controls at every step: each begins as the first did."""
    once = track.controls.copy()
    once[:, 0] = np.minimum(once[:, 0] * pace, length - 1)
    later = np.array([[length, 0, 0]], np.int32)
    return np.concatenate([NO_CONTROLS, *(once + place * later for place in range(steps))])


NO_CONTROLS = np.zeros((0, 3), np.int32)


def _title(mix: float) -> str:
    return shares_told("AB", (1 - mix, mix))


def shares_told(letters: Sequence[str], weights: Sequence[float]) -> str:
    """How much of every end is in a phrase, for people.

    >>> shares_told("ABC", (0.0, 0.75, 0.25)), shares_told("AB", (0.0, 1.0))
    ('75% B, 25% C', 'B')
    """
    told = {x: weight for x, weight in zip(letters, weights, strict=True) if weight > 0}
    return ", ".join(f"{w:.0%} {x}" if w < 1 else x for x, w in told.items())


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
    a, b = morph.both
    return {
        **facts(explorer),
        "taste": asdict(morph.taste),
        "a": about(a),
        "b": {**about(b), "pace": b.pace},
        "key": None if morph.key is None else morph.key.name,
        "usual_bits_a_window": None if morph.usual is None else morph.usual / math.log(2),
        "steps": [
            {
                "mix": step.mix,
                "bpm": step.clip.qpm,
                "key": None if (key := key_at(morph, step.mix)) is None else key.name,
                "f1_with_a": a,
                "f1_with_b": b,
            }
            for step, (a, b) in zip(morph.steps, morph.distances, strict=True)
        ],
    }


def facts(explorer: Explorer) -> dict[str, Any]:
    """What wrote the music: the program, and the run."""
    return {
        "format": REPORT,
        "version": __version__,
        "torch": torch.__version__,
        "run": explorer.recipe["name"],
        "run_version": explorer.facts.get("version"),
        "weights_step": explorer.facts.get("step"),
        "corpus": explorer.facts.get("corpus"),
        "device": explorer.facts.get("device"),
    }


def about(end: End) -> dict[str, Any]:
    """A phrase at an end, how it was chosen and moved, and how it comes back, as plain data."""
    piece = end.piece
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
        "moved_by_semitones": end.move.semitones,
        "moved_in_key_by_semitones": end.move.key,
        "moved_by_octaves": end.move.octaves,
        "changed_by_the_codec": end.lost,
        "bits_a_window": None if end.cost is None else end.cost / math.log(2),
        "comes_back_f1": end.f1,
    }
