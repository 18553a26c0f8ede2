"""How much of a melody on strong beats belongs to the chord that holds, before a model and after.

    python scripts/chord_tones.py FOLDER --chords CHORDS --run melody --out reports/chords

FOLDER has songs (NAME.mid), CHORDS what chords they have (NAME.txt: begin, end, both in seconds,
and the chord as `chord_classes` reads it). Where the songs were moved after somebody wrote down
their chords, --timed FOLDER names the songs as they were: the difference of the first notes is
taken off. --index TABLE --split test keeps those of a split (columns id and split).

Of every song the melody is measured as it was written, as the run writes it again from its codes,
and as the same notes in any order would be: chance. Leaves chords.md and chords.json.
"""

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from seqvae import Refused, __version__, load
from seqvae.corpus import write_json
from seqvae.explore import Decoding, Explorer
from seqvae.measures.structure import Chord, chord_classes, chord_tones, strong_beats
from seqvae.metrics import bootstrap
from seqvae.midi import ENDINGS, Song, read
from seqvae.music.beside import music_codec
from seqvae.music.pieces import whole
from seqvae.music.studio import reconstruct
from seqvae.progress import Progress
from seqvae.study.running import plain
from seqvae.study.tables import markdown

EARLY = 8  # a note may begin an eighth of a beat after the beat it belongs to
HEAD = ("melody", "chord tones on strong beats", "notes")
SAID = {"own": "as written", "again": "as the model writes it again", "chance": "chance"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of MIDI files")
    parser.add_argument("--chords", type=Path, required=True, help="a folder of NAME.txt")
    parser.add_argument("--timed", type=Path, help="the same songs in the chords' own time")
    parser.add_argument("--index", type=Path, help="a table (.tsv, .csv) with id and split")
    parser.add_argument("--split", default="test")
    parser.add_argument("--run", default="melody", help="a run's folder, or one that ships")
    parser.add_argument("--out", type=Path, default=Path("reports/chords"), help="a folder")
    given = parser.parse_args()

    torch.set_num_threads(1)
    model = load(given.run)
    files = songs_of(given)
    rows, left_out = [], {}
    with Progress() as progress:
        for place, path in enumerate(files):
            try:
                rows.append({"song": path.stem, **measured(model, path, given)})
            except Refused as refusal:
                left_out[path.stem] = str(refusal)
            progress.count("song", place + 1, len(files))
    if not rows:
        raise Refused(f"none of {len(files)} songs could be measured: {left_out}")
    written(given, model, rows, left_out)


def songs_of(given: argparse.Namespace) -> list[Path]:
    """The songs that have chords, of the split if a table tells it."""
    found = sorted(path for path in given.folder.glob("*") if path.suffix.lower() in ENDINGS)
    if given.index is not None:
        with given.index.open(encoding="utf-8") as file:
            tab = "\t" if given.index.suffix == ".tsv" else ","
            wanted = {
                r["id"] for r in csv.DictReader(file, delimiter=tab) if r["split"] == given.split
            }
        found = [path for path in found if path.stem in wanted]
    found = [path for path in found if (given.chords / f"{path.stem}.txt").is_file()]
    if not found:
        raise Refused(f"{given.folder} has no song whose chords are in {given.chords}.")
    return found


def measured(model: Explorer, path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """How many of the notes on strong beats are chord tones, written and written again."""
    song = read(path)
    moved = 0.0 if given.timed is None else first(song) - first(read(given.timed / path.name))
    chords = chords_of(song, given.chords / f"{path.stem}.txt", moved)
    beats = strong_beats(song.bars)
    found: dict[str, Any] = {}
    for name, each in (("own", song), ("again", reconstruct(model, path, Decoding()).song)):
        melody = whole(each, music_codec(model)).clip.part("melody")
        found[name] = chord_tones(melody, chords, beats, each.ticks_per_beat // EARLY)._asdict()
    if not (found["own"]["notes"] and found["again"]["notes"]):
        raise Refused("no note sounds on a strong beat that has a chord")
    return found


def first(song: Song) -> float:
    """When the first note of any track begins, in seconds."""
    return song.seconds_at(
        min(int(track.notes.start[0]) for track in song.tracks if len(track.notes))
    )


def chords_of(song: Song, path: Path, moved: float) -> list[Chord]:
    """The chords of a song in its ticks; those it was moved past the beginning are left out."""
    lines = path.read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    return [
        Chord(
            tick_at(song, float(begin) + moved),
            tick_at(song, float(end) + moved),
            chord_classes(label),
        )
        for begin, end, label in rows
        if float(end) + moved > 0
    ]


def tick_at(song: Song, seconds: float) -> int:
    """The tick that sounds at a time: the last one not after it, found by halving."""
    low, high = 0, song.end + song.ticks_per_beat
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if song.seconds_at(middle) <= seconds else (low, middle - 1)
    return low


def share(rows: Sequence[Mapping[str, Any]], name: str, key: str) -> tuple[float, float, float]:
    """The share of all notes of all songs, with its interval over songs."""
    notes = torch.tensor([row[name]["notes"] for row in rows]).double()
    held = notes * torch.tensor([row[name][key] for row in rows]).double()
    pairs = torch.stack([held, notes], 1)
    low, high = bootstrap(pairs, lambda means: means[:, 0] / means[:, 1])
    return float(held.sum() / notes.sum()), low, high


def written(
    given: argparse.Namespace,
    model: Explorer,
    rows: Sequence[Mapping[str, Any]],
    left_out: Mapping[str, str],
) -> None:
    """The table and what it was made of."""
    found = {
        "own": share(rows, "own", "share"),
        "again": share(rows, "again", "share"),
        "chance": share(rows, "own", "chance"),
    }
    notes = {name: sum(row[name]["notes"] for row in rows) for name in ("own", "again")}
    table = [
        (SAID[name], f"{at:.3f} ({low:.3f} to {high:.3f})", f"{notes.get(name, notes['own']):,}")
        for name, (at, low, high) in found.items()
    ]
    command = shlex.join(["python", *sys.argv])
    text = "\n".join(
        [*markdown([HEAD, *table]), "", f"{len(rows)} songs; seqvae {__version__}", ""]
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "chords.md").write_text(text, "utf-8")
    about = {"version": __version__, "command": command, "run": model.recipe["name"]}
    about |= {"corpus": model.facts.get("corpus"), "left_out": dict(left_out)}
    write_json(given.out / "chords.json", {"about": about, **plain(found), "songs": list(rows)})
    print(text)
    print(json.dumps(dict(left_out), indent=1) if left_out else "none left out")


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
