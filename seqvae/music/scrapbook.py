"""What a tour or a square leaves on disk: MIDI files whose names speak, a picture, a report."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..explore import Explorer
from ..midi import Song, write
from ..midi.keys import KeyFound
from ..plots import save as save_figure
from .album import (
    Phrase,
    Score,
    Written,
    about,
    described,
    end_key,
    end_song,
    facts,
    numbered,
    safe,
    save_long,
    save_report,
    score,
    shares_told,
)
from .rolls import contact_sheet, leg_color, square_sheet
from .tour import Stop, Tour

NAMED = 3  # files in the name of a folder, at most


def folder_for(files: Sequence[str], what: str) -> str:
    """A name for the tour, or grid, of some files.

    >>> folder_for(["a.mid", "b/My Song.mid", "c.mid", "d.mid"], "grid")
    'grid-a-My_Song-c-and-1-more'
    """
    names = [safe(Path(name).stem) or "song" for name in files[:NAMED]]
    more = len(files) - len(names)
    return "-".join([what, *names, *([f"and-{more}-more"] if more else [])])


def save(
    tour: Tour, folder: Path, explorer: Explorer, *, audio: bool = False, stems: bool = False
) -> Written:
    """Write a tour or a square into a folder, made if absent.

    Each stop, the reconstruction of every song's phrase, the whole in the order in which it is
    heard with and without the other tracks, a contact sheet, WAV and stems if asked for, and
    `report.json`.
    """
    named = list(zip(file_names(tour), tour.rows, strict=True))
    files = [write(_song(tour, stop), folder / f"{name}.mid") for name, stop in named]
    seen: set[int] = set()
    for name, stop in named:
        if stop.place.end is not None and stop.place.end not in seen:
            seen.add(stop.place.end)
            again = stop._replace(clip=stop.again)
            files.append(write(_song(tour, again), folder / f"{name}_again.mid"))
    long = save_long(long_score(tour), folder, what(tour), audio=audio, stems=stems)
    files += [*long.files, save_figure(_sheet(tour), folder / f"{what(tour)}.png")]
    said = [*tour.said, *long.said]
    told = {**report(tour, explorer), "said": said, "sound": long.sound}
    return Written([*files, save_report(told, folder, files)], long.sound, said)


def what(tour: Tour) -> str:
    """What it is, in one word: of its files."""
    return "tour" if tour.side is None else "grid"


def file_names(tour: Tour) -> list[str]:
    """Names that sort and speak, in the order of `Tour.rows`.

    Of a tour 05of17_b75_c25_4bar_112bpm_Cmin; of a square row2_column3_a56_b19_c19_d06_….
    """
    found = []
    for place, stop in enumerate(tour.rows):
        where = numbered(place, len(tour.stops)) if tour.side is None else _cell(stop, tour.side)
        spoken = described(stop.clip, _key(tour, stop))
        found.append(f"{where}_{_shares(tour, stop)}_{spoken}")
    return found


def _cell(stop: Stop, side: int) -> str:
    """The row and the column, from 1, in as many digits as the last has."""
    digits = len(str(side))
    return f"row{stop.place.row + 1:0{digits}d}_column{stop.place.column + 1:0{digits}d}"


def _shares(tour: Tour, stop: Stop) -> str:
    """How much of each song is in it, in per cent."""
    shares = ((tour.ends[n].letter, stop.place.weights[n]) for n in _among(tour, stop))
    return "_".join(f"{letter.lower()}{round(100 * weight):02d}" for letter, weight in shares)


def _among(tour: Tour, stop: Stop) -> list[int]:
    """The songs it lies between: of a tour those of its leg, in their order; of a square all."""
    return list(range(len(tour.ends)) if tour.side is not None else dict.fromkeys(stop.place.leg))


def _phrase(tour: Tour, stop: Stop) -> Phrase:
    return Phrase(stop.clip, stop.place.weights, _title(tour, stop))


def _key(tour: Tour, stop: Stop) -> KeyFound | None:
    """The key of a stop: that of the nearest song, as it was moved."""
    return end_key(tour.ends[_phrase(tour, stop).nearest])


def _song(tour: Tour, stop: Stop) -> Song:
    """One stop as a song, with the instruments of the nearest."""
    return end_song(stop.clip, tour.ends[_phrase(tour, stop).nearest])


def long_score(tour: Tour) -> Score:
    """All stops one after the other, as they are heard."""
    phrases = [_phrase(tour, stop) for stop in tour.stops]
    return score(tour.ends, phrases, tour.taste, what(tour))


def _title(tour: Tour, stop: Stop) -> str:
    """How much of which song, by letter; a song's own phrase has its file's name."""
    own = stop.place.end
    if own is not None:
        return f"{tour.ends[own].letter}: {tour.ends[own].file}"
    among = _among(tour, stop)
    letters = [tour.ends[n].letter for n in among]
    return shares_told(letters, [stop.place.weights[n] for n in among])


def _sheet(tour: Tour) -> Figure:
    """The contact sheet: of a tour step by step, of a square as it lies."""
    stops = tour.rows
    keys = [_key(tour, stop) for stop in stops]
    clips = [
        replace(stop.clip, about={} if key is None else {"key": key.name})
        for stop, key in zip(stops, keys, strict=True)
    ]
    titles = [_title(tour, stop) for stop in stops]
    notes = " ".join(f"{e.letter}: {e.file} from bar {e.piece.bar}." for e in tour.ends)
    if tour.side is not None:
        heading = " · ".join(end.file for end in tour.ends)
        return square_sheet(clips, titles, heading=heading, notes=notes)
    colors = [leg_color(*stop.place.leg, stop.place.mix) for stop in stops]
    stations = [tour.ends[n].file for stop in stops if (n := stop.place.end) is not None]
    return contact_sheet(
        clips, titles, colors=colors, heading="  to  ".join(stations), notes=notes
    )


def report(tour: Tour, explorer: Explorer) -> dict[str, Any]:
    """What was mixed by what, how, and how it went, as plain data."""
    return {
        **facts(explorer),
        "what": what(tour),
        "taste": asdict(tour.taste),
        "songs": [{"letter": e.letter, **about(e), "pace": e.pace} for e in tour.ends],
        "key": None if tour.key is None else tour.key.name,
        "usual_bits_a_window": None if tour.usual is None else tour.usual / math.log(2),
        "steps": [_told(tour, stop) for stop in tour.stops],
    }


def _told(tour: Tour, stop: Stop) -> dict[str, Any]:
    """A stop as plain data."""
    letters = [end.letter for end in tour.ends]
    key = _key(tour, stop)
    where = {"row": stop.place.row + 1, "column": stop.place.column + 1}
    return {
        **(where if tour.side is not None else {}),
        "weights": dict(zip(letters, stop.place.weights, strict=True)),
        "bpm": stop.clip.qpm,
        "key": None if key is None else key.name,
        "f1_with": dict(zip(letters, stop.alike, strict=True)),
    }
