"""What a journey leaves on disk: MIDI files, a roll with its mix below it, a report."""

import math
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..explore import Explorer
from ..midi import TICKS, Marker, MetreChange, Notes, Song, Tempo, Track, joined
from ..midi.clips import DRUMS, Clip
from ..midi.keys import KeyFound
from ..plots import save as save_figure
from .album import (
    FAINTEST,
    Score,
    Written,
    about,
    controls_at,
    end_key,
    facts,
    folder_name,
    loudness,
    players,
    save_long,
    save_report,
    shares_told,
)
from .crossing import lifted
from .journey import Journey, heard_bars, left_out, rest_added, spans
from .rolls import journey_sheet


def folder_for(a: str, b: str) -> str:
    """A name for the journey from a file to another.

    >>> folder_for("songs/My Song.mid", "b.mid")
    'journey-My_Song-b'
    """
    return folder_name(a, b).replace("morph", "journey", 1)


def save(
    found: Journey,
    folder: Path,
    explorer: Explorer,
    *,
    audio: bool = False,
    stems: bool = False,
) -> Written:
    """Write a journey into a folder, made if absent.

    `journey.mid`, with the other tracks `journey_band.mid`, its roll `journey.png`, WAV and stems
    if asked for, and `report.json`.
    """
    long = save_long(score(found), folder, "journey", audio=audio, stems=stems)
    files = [*long.files, save_figure(_sheet(found), folder / "journey.png")]
    said = [*found.said, *long.said]
    plain = {**report(found, explorer), "said": said, "sound": long.sound}
    return Written([*files, save_report(plain, folder, files)], long.sound, said)


def score(found: Journey) -> Score:
    """The song and its tracks: every bar is played by the nearer song's instruments."""
    parts, band = _Desk(), _Desk()
    for end in (0, 1):
        _solos(found, end, parts)
        _others(found, end, band)
    tempos = [Tempo(round(i * found.clip.bar), bar.qpm) for i, bar in enumerate(found.bars)]
    markers = [
        Marker(place * found.length, _title(found, place)) for place in range(len(found.pairs))
    ]
    frame = Song(
        [*parts.tracks, *band.tracks],
        TICKS,
        tempos=[t for i, t in enumerate(tempos) if i == 0 or t.qpm != tempos[i - 1].qpm],
        metres=[MetreChange(0, found.clip.metre)],
        markers=markers,
        length=found.clip.length,
        name="journey",
    )
    return Score(frame, [*parts.stems, *band.stems], band.tracks)


class _Desk:
    """Tracks that are put together phrase by phrase: what one player plays is one track."""

    def __init__(self) -> None:
        self.found: dict[tuple[Any, ...], tuple[str, Track]] = {}

    def add(self, stem: str, track: Track) -> None:
        """Its notes and controls go behind those of the same player."""
        who = (stem, track.name, track.program, track.drums, track.channel)
        if who in self.found:
            _, before = self.found[who]
            controls = np.concatenate([before.controls, track.controls])
            track = replace(track, notes=joined([before.notes, track.notes]), controls=controls)
        self.found[who] = stem, track

    @property
    def tracks(self) -> list[Track]:
        return [track for _, track in self.found.values()]

    @property
    def stems(self) -> list[str]:
        return [stem for stem, _ in self.found.values()]


def _later(track: Track, notes: Notes, tick: int) -> Track:
    """A track with these notes, its controls so many ticks later."""
    controls = track.controls + np.array([[tick, 0, 0]], np.int32)
    return replace(track, notes=notes, controls=controls.astype(np.int32))


def _solos(found: Journey, end: int, desk: _Desk) -> None:
    """The parts, of the bars that are nearer to an end."""
    pace = found.ends[end].pace
    for place, pair in enumerate(found.pairs):
        tick = place * found.length
        for part, player in players(pair[end], pace, 1, found.length).items():
            notes = found.clip.part(part)
            nearer = (found.mixes[found.place(notes)] >= 0.5) == bool(end)
            begun = (notes.start >= tick) & (notes.start < tick + found.length)
            player = replace(player, name=player.name or part, drums=part == DRUMS)
            desk.add(part, _later(player, notes[nearer & begun], tick))


def _others(found: Journey, end: int, desk: _Desk) -> None:
    """The tracks of an end that the model does not know, in its key, as loud as the mix says."""
    its, length = found.ends[end], found.length
    for place, pair in enumerate(found.pairs):
        for track in pair[end].others:
            clip = Clip({track.name: track.notes}, length).stretched(its.pace)
            notes = clip.part(track.name).within(0, length).moved(place * length)
            bars = found.place(notes)
            weight = found.mixes[bars] if end else 1 - found.mixes[bars]
            loud = np.array([loudness(its.letter, w, found.taste) for w in weight.tolist()])
            velocity = np.floor(notes.velocity * loud + 0.5).astype(np.int32)
            ups = its.move.key + np.array([bar.semitones for bar in found.bars])[bars]
            notes = replace(notes, velocity=velocity)
            notes = notes if track.drums else lifted(notes, ups)
            audible = notes[notes.velocity >= FAINTEST]
            whole = replace(track, controls=controls_at(track, its.pace, 1, length))
            desk.add(
                f"{its.letter} {track.name or 'track'}", _later(whole, audible, place * length)
            )


def key_at(found: Journey, bar: int) -> KeyFound | None:
    """The key of a bar, from 0: that of the nearer song, as it was moved by then."""
    key = end_key(found.ends[found.bars[bar].mix >= 0.5])
    return None if key is None else key.moved(found.bars[bar].semitones)


def _title(found: Journey, place: int) -> str:
    """What is heard of A and of B in a phrase, and how much of each where it begins."""
    mix = found.bars[place * found.each].mix
    a, b = (spans(heard_bars([piece])) for piece in found.pairs[place])
    return f"{shares_told('AB', (1 - mix, mix))} (A {a}, B {b})"


def _sheet(found: Journey) -> Figure:
    """The roll of a journey, its mix below it."""
    a, b = (end.file for end in found.ends)
    labels = []
    for place, bar in enumerate(found.bars):
        key = key_at(found, place)
        labels.append(f"{'' if key is None else f'{key.name} · '}{bar.qpm:.0f} bpm")
    marks = {
        place * found.each: "A {} · B {}".format(*(spans(heard_bars([its])) for its in pair))
        for place, pair in enumerate(found.pairs)
    }
    return journey_sheet(
        found.clip,
        found.mixes.tolist(),
        labels=labels,
        marks=marks,
        heading=f"{a}  to  {b}",
        notes="Below each row: how much of B is in a bar, and which bars of A and B are heard.",
    )


def report(found: Journey, explorer: Explorer) -> dict[str, Any]:
    """What was brought together by what, how, and how it went, as plain data."""
    a, b = found.ends
    return {
        **facts(explorer),
        "taste": asdict(found.taste),
        "course": asdict(found.course),
        "a": {**about(a), **_heard(found, 0)},
        "b": {**about(b), "pace": b.pace, **_heard(found, 1)},
        "key": None if found.key is None else found.key.name,
        "usual_bits_a_window": None if found.usual is None else found.usual / math.log(2),
        "phrases": [_phrase(found, place) for place in range(len(found.pairs))],
        "bars": [
            {**bar._asdict(), "key": None if (k := key_at(found, i)) is None else k.name}
            for i, bar in enumerate(found.bars)
        ],
    }


def _heard(found: Journey, end: int) -> dict[str, Any]:
    """How often phrases of a song are heard, and what of it is not."""
    gone = left_out(found, end)
    return {
        "times_heard": Counter(spans(heard_bars([pair[end]])) for pair in found.pairs),
        "bars_not_heard": len(gone),
        "not_heard": spans(gone),
        "beats_of_rest_added": rest_added(found, end),
    }


def _phrase(found: Journey, place: int) -> dict[str, Any]:
    """One phrase of a journey: its bars, those of A and B, and what is to be said of them."""
    pair, first = found.pairs[place], place * found.each
    shared = {"a": found.ends[0].piece.said, "b": found.ends[1].piece.said}
    return {
        "bars": f"{first + 1}-{first + found.each}",
        "a": spans(heard_bars([pair.a])),
        "b": spans(heard_bars([pair.b])),
        "said": {
            name: [line for line in piece.said if line not in shared[name]]
            for name, piece in pair._asdict().items()
        },
    }
