"""Morph random pairs of a folder's MIDI files: how many work, and how well the ends come back.

    python scripts/morph_pairs.py FOLDER OUT.json --run melody --pairs 200

Files that cannot be read, or lack the parts that the run knows, are named and left out of the
count; any other failure is a pair that was not accepted. Of each pair: the onset and pitch F1 of
the ends (refined, and as the encoder alone gives them), whether the tempo and the instruments of
the files are those of the first and the last step, and how evenly the way goes.
"""

import argparse
import json
import random
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from seqvae import Refused, __version__, load
from seqvae.corpus import write_json
from seqvae.explore import Explorer
from seqvae.midi import ENDINGS, read, to_bytes
from seqvae.music.album import step_song
from seqvae.music.beside import music_codec
from seqvae.music.likeness import agreement
from seqvae.music.morph import Morph, morph
from seqvae.music.pieces import find_parts
from seqvae.music.taste import Taste
from seqvae.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of MIDI files")
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("--run", default="melody", help="a run's folder, or one that ships")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--bars", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    model = load(arguments.run)
    found, left_out = usable(model, arguments.folder)
    if len(found) < 2:
        raise Refused(f"{arguments.folder}: {len(found)} usable files; a pair takes 2 or more.")
    draw = random.Random(arguments.seed)
    rows: list[dict[str, Any]] = []
    with Progress() as progress:
        for place in range(arguments.pairs):
            a, b = draw.sample(found, 2)
            names = {
                "a": str(a.relative_to(arguments.folder)),
                "b": str(b.relative_to(arguments.folder)),
            }
            rows.append({**names, **tried(model, a, b, arguments.bars)})
            progress.count("pair", place + 1, arguments.pairs)
    result = {
        "version": __version__,
        "command": " ".join(["python", *sys.argv]),
        "run": model.recipe["name"],
        "corpus": model.facts.get("corpus"),
        "seed": arguments.seed,
        "files": len(found),
        "left_out": left_out,
        **summary(rows),
        "pairs": rows,
    }
    write_json(arguments.out, result)
    shown = {name: value for name, value in result.items() if name not in ("pairs", "left_out")}
    print(json.dumps(shown, indent=1))
    print(f"left out: {len(left_out)}")
    print(*(f"  {name}: {why}" for name, why in left_out.items()), sep="\n")


def usable(model: Explorer, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The files that have the parts the model knows, and why the others have not."""
    found, left_out = [], {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS):
        try:
            find_parts(read(path), music_codec(model))
            found.append(path)
        except Refused as refusal:
            left_out[str(path.relative_to(folder))] = str(refusal)
    return found, left_out


def tried(model: Explorer, a: Path, b: Path, bars: int) -> dict[str, Any]:
    """What became of one pair."""
    began = time.monotonic()
    try:
        way = morph(model, a, b, Taste(bars))
        plain = morph(model, a, b, Taste(bars, refine=False))
        return {
            "accepted": True,
            "refined": way.ends,
            "encoded": plain.ends,
            "tempo_kept": kept_tempo(way),
            "instruments_kept": kept_instruments(way),
            "largest_step": max(leaps(way)),
            "seconds": time.monotonic() - began,
        }
    except Refused as refusal:
        return {"accepted": False, "why": str(refusal)}


def kept_tempo(way: Morph) -> bool:
    """Whether the first and last step, as written, go at the pace of their files."""
    for piece, step, pace in ((way.a, way.steps[0], 1.0), (way.b, way.steps[-1], way.pace)):
        written = read(to_bytes(step_song(way, step))).qpm_at(0)
        if abs(written / (pace * piece.clip.qpm) - 1) > 0.001:
            return False
    return True


def kept_instruments(way: Morph) -> bool:
    """Whether the first and last step, as written, are played by the programs of their files."""
    for piece, step in ((way.a, way.steps[0]), (way.b, way.steps[-1])):
        written = {(t.program, t.drums) for t in read(to_bytes(step_song(way, step))).tracks}
        parts = [part for part, notes in step.clip.parts.items() if len(notes)]
        if written != {(piece.player(p).program, piece.player(p).drums) for p in parts}:
            return False
    return True


def leaps(way: Morph) -> list[float]:
    """How much each step changes: 1 - F1 of its notes with those of the step before."""
    pairs = pairwise(way.steps)
    return [1 - agreement(one.again, other.again, way.grid, way.ranges) for one, other in pairs]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all pairs."""
    good = [row for row in rows if row["accepted"]]
    if not good:
        return {"accepted": 0.0}
    refined = [f1 for row in good for f1 in row["refined"]]
    encoded = [f1 for row in good for f1 in row["encoded"]]
    return {
        "accepted": len(good) / len(rows),
        "refined_f1_median": median(refined),
        "refined_f1_quartiles": quantiles(refined, n=4),
        "refined_f1_of_one": sum(f1 == 1 for f1 in refined) / len(refined),
        "encoded_f1_median": median(encoded),
        "tempo_kept": sum(row["tempo_kept"] for row in good) / len(good),
        "instruments_kept": sum(row["instruments_kept"] for row in good) / len(good),
        "seconds_median": median(row["seconds"] for row in good),
    }


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
