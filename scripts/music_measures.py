"""Measure the paths of random pairs of songs, each beside the paths that need no such model.

    python scripts/music_measures.py CORPUS --run RUN --lm LM --pairs 50 --out reports/paths

Songs are the files that a split of the prepared corpus was made from, or a folder's (`--folder`).
Of each pair the model's even way is measured, and beside it what the model writes straight along
the path, a bar splice (the first bars of A, then B's), the training windows whose codes lie
nearest to the path's codes, and with --autoencoder the path of another run, say one without noise
in its codes. What is typical is where the middle 90 % of these songs' own phrases lie, nats a note
by the language model.

Leaves table.md, results.json with what it was made with, and figures/paths.png.
"""

import argparse
import csv
import random
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqvae import Refused, __version__, load, runs
from seqvae.codecs import MusicCodec
from seqvae.corpus import Corpus, open_corpus, write_json
from seqvae.data import spread
from seqvae.explore import Explorer
from seqvae.measures.way import Band, band, nats_a_note, splices, way
from seqvae.midi import ENDINGS, read
from seqvae.midi.clips import Clip, Grid, join, split
from seqvae.music.beside import music_codec
from seqvae.music.morph import morph
from seqvae.music.pieces import whole
from seqvae.music.taste import Taste
from seqvae.plots import dial, save
from seqvae.progress import Progress
from seqvae.reports.report import check_codec

Rows = list[dict[str, Any]]

DRAWN_AGAIN = 2000  # sets of pairs, for an interval
SMALL = 3.0  # times an even step, which is no leap
HEAD = (
    *(
        "path",
        "typical steps",
        "dull steps",
        "paths all typical",
        "largest step / whole",
        "no leap",
        "detour",
    ),
    *("onward", "density within the ends'", "density off by", "distance of the ends"),
)
DRAWN = {  # title of a panel: what of every step
    "nats a note": "nats_a_note",
    "distance to the step before": "step",
    "onsets a beat": "onsets_a_beat",
}


def main() -> None:
    given = parse()
    torch.set_num_threads(1)
    paths = Paths(given)
    found, left_out = usable(given, paths.corpus, paths.codec)
    if len(found) < 2:
        raise Refused(f"{len(found)} usable songs; a pair takes 2 or more. Name a --folder.")
    real = phrases(list(found.values()), paths.codec, given.bars, given.phrases, given.seed)
    typical = band(nats_a_note(paths.lm.vae, paths.codec, real))
    draw, rows, refused = random.Random(given.seed), [], []
    with Progress() as progress:
        for place in range(given.pairs):
            names = dict(zip("ab", map(str, draw.sample(list(found), 2)), strict=True))
            try:
                rows.append({**names, "paths": paths.measured(**names, typical=typical)})
            except Refused as refusal:
                refused.append({**names, "why": str(refusal)})
            progress.count("pair", place + 1, given.pairs)
    about = {**paths.about(), "songs": len(found), "phrases": len(real), "seed": given.seed}
    written(given.out, rows, typical, {**about, "refused": refused, "left_out": left_out})


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="a prepared corpus of the run's codec")
    parser.add_argument("--run", default="melody", help="a run's folder, or one that ships")
    parser.add_argument("--lm", required=True, help="a run of latent 0: the language model")
    parser.add_argument("--autoencoder", help="another run, whose path is measured beside")
    parser.add_argument("--split", default="test", help="whose songs are paired")
    parser.add_argument("--folder", type=Path, help="of MIDI files to pair instead")
    parser.add_argument("--out", type=Path, default=Path("reports/paths"), help="a folder")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--bars", type=int, default=4, help="of a phrase")
    parser.add_argument("--steps", type=int, default=9, help="of a path, both ends included")
    parser.add_argument("--phrases", type=int, default=400, help="real ones, for the band")
    parser.add_argument("--known", type=int, default=10_000, help="training windows looked up")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs and phrases")
    return parser.parse_args(arguments)


# --- songs ---------------------------------------------------------------------------------------


def usable(
    given: argparse.Namespace, corpus: Corpus, codec: MusicCodec
) -> tuple[dict[Path, Clip], dict[str, str]]:
    """Songs that have the parts the model knows, whole, and why the others have not."""
    found, left_out = {}, {}
    for path in files_in(given.folder) if given.folder else files_of(corpus, given.split):
        try:
            found[path] = whole(read(path), codec).clip
        except Refused as refusal:
            left_out[str(path)] = str(refusal)
    return found, left_out


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def files_of(corpus: Corpus, name: str) -> list[Path]:
    """The files that a split was made from, as its table of songs has them."""
    table = corpus.folder / "songs.tsv"
    if not table.is_file():
        raise Refused(f"{corpus.folder} does not say what it was made from. Name a --folder.")
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == name]
    found = list(dict.fromkeys(Path(row["file"]) for row in rows))
    if not found or not all(path.is_file() for path in found):
        raise Refused(f"the songs of {name!r} of {corpus.folder} are gone. Name a --folder.")
    return found


def phrases(
    songs: Sequence[Clip], codec: MusicCodec, bars: int, count: int, seed: int
) -> list[Clip]:
    """Some phrases of so many bars, of all songs, in which no window of the model's rests."""
    found = []
    for song in songs:
        grid = Grid(codec.grid.steps, song.metre, bars)
        own = [clip for clip in split(song, grid) if clip.length >= bars * song.bar - 1]
        found += [clip for clip in own if all(each.notes for each in split(clip, codec.grid))]
    return random.Random(seed).sample(found, min(count, len(found)))


# --- paths ---------------------------------------------------------------------------------------


class Paths:
    """The runs, and the paths they lay between two songs."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.taste = Taste(bars=given.bars, steps=given.steps)
        self.model, self.lm = load(given.run), load(given.lm)
        self.codec = music_codec(self.model)
        self.corpus = open_corpus(given.corpus)
        self.other = load(given.autoencoder) if given.autoencoder else None
        for name, codec in self._others(given):
            check_codec(self.codec, codec, Path(name))
        train = self.corpus.split("train")
        self.rows = spread(len(train), given.known)
        self.known = [self.codec.decode(train[int(row)].tolist()) for row in self.rows]
        self.codes = self.model.encode(self.known)

    def _others(self, given: argparse.Namespace) -> list[tuple[str, Any]]:
        found = [(given.lm, self.lm.codec), (str(given.corpus), self.corpus.codec)]
        return found + ([(given.autoencoder, self.other.codec)] if self.other else [])

    def about(self) -> dict[str, Any]:
        named = {"run": self.model, "language_model": self.lm, "autoencoder": self.other}
        return {
            "version": __version__,
            "torch": torch.__version__,
            "command": shlex.join(["python", *sys.argv]),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **{key: run and run.recipe["name"] for key, run in named.items()},
            "corpus": self.corpus.checksum,
            "known": len(self.known),
            "bars": self.taste.bars,
            "steps": self.taste.steps,
        }

    def measured(self, a: str, b: str, typical: Band) -> dict[str, Any]:
        """Every path between two files, by its name. Raises `Refused` as `morph` does."""
        return {
            name: way(
                clips,
                nats_a_note(self.lm.vae, self.codec, clips),
                typical,
                steps=self.codec.grid.steps,
            )
            for name, clips in self.between(a, b).items()
        }

    def between(self, a: str, b: str) -> dict[str, list[Clip]]:
        clips = self._morphed(self.model, a, b, self.taste)
        start, end = clips[0], clips[-1]
        straight = replace(self.taste, way="straight")
        found = {
            "model": clips,
            "model, straight": self._morphed(self.model, a, b, straight),
            "bar splice": splices(start, end, len(clips)),
            "nearest training windows": self._looked_up(start, end),
        }
        if self.other:
            found["autoencoder, straight"] = self._morphed(self.other, a, b, straight)
        return found

    def _morphed(self, model: Explorer, a: str, b: str, taste: Taste) -> list[Clip]:
        return [step.clip for step in morph(model, a, b, taste).steps]

    def _looked_up(self, a: Clip, b: Clip) -> list[Clip]:
        """From A to B by the training windows nearest to the codes between them."""
        z_a, z_b = (self.model.encode(split(clip, self.codec.grid)) for clip in (a, b))
        z = self.model.path(z_a, z_b, self.taste.steps)[1:-1]
        return [a, *(self._found(each, a) for each in z), b]

    def _found(self, z: Tensor, a: Clip) -> Clip:
        """Codes (K, D) of one step -> the nearest windows, as long as A."""
        nearest = torch.cdist(z, self.codes).argmin(1).tolist()
        clip = join([self.known[place] for place in nearest])
        return replace(clip.rescaled(a.ticks_per_beat).cut(0, a.length), metre=a.metre)


# --- what is left --------------------------------------------------------------------------------


def written(folder: Path, rows: Rows, typical: Band, about: Mapping[str, Any]) -> None:
    """Print the table, and leave it with all that it was made with, and the figure."""
    if not rows:
        raise Refused(f"none of the pairs could be morphed: {about['refused'][0]['why']}")
    found = {name: summary(rows, name, about["steps"]) for name in rows[0]["paths"]}
    text = f"{table(found)}\n{below(rows, typical, about)}\n"
    print(text)
    runs.write_text(folder / "table.md", text)
    result = {"about": about, "typical": typical._asdict(), "paths": found, "pairs": rows}
    write_json(folder / "results.json", result)
    save(draw(rows, typical), folder / "figures" / "paths.png")
    print(f"written: {folder}")


def summary(rows: Rows, name: str, steps: int) -> dict[str, Any]:
    """The figures of one kind of path over all pairs; None where none has one."""
    each = [row["paths"][name] for row in rows]
    shares = column(each, "largest_share")
    return {
        "typical": mean(column(each, "typical")),
        "typical_between": between(column(each, "typical")),
        "dull": mean(column(each, "dull")),
        "all_typical": mean(column(each, "all_typical")),
        "largest_share": median(shares) if shares else None,
        "no_leap": mean(leapless(shares, steps)),
        "no_leap_between": between(leapless(shares, steps)),
        "detour": mean(column(each, "detour")),
        "onward": mean(column(each, "onward")),
        "dense": mean(column(each, "dense")),
        "density_off": mean(column(each, "density_off")),
        "whole": mean(column(each, "whole")),
    }


def between_typical(rows: Rows, name: str, typical: Band) -> tuple[int, float | None]:
    """Of how many pairs both ends are typical, and the share of these all of whose steps are."""
    each = [row["paths"][name] for row in rows]
    ends = [[path["steps"][end]["nats_a_note"] for end in (0, -1)] for path in each]
    both = [path for path, nats in zip(each, ends, strict=True) if all(n in typical for n in nats)]
    return len(both), mean(column(both, "all_typical"))


def leapless(shares: Sequence[float], steps: int) -> list[float]:
    return [float(share <= SMALL / (steps - 1) + 1e-9) for share in shares]


def between(values: Sequence[float]) -> tuple[float, float] | None:
    """Where 95 % of the means of as many values drawn from these lie (bootstrap)."""
    if not values:
        return None
    draw = np.random.default_rng(0)
    means = np.asarray(values)[draw.integers(len(values), size=(DRAWN_AGAIN, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return low, high


def column(rows: Rows, name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None]


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The kinds of paths in Markdown."""
    lines: list[Sequence[str]] = [HEAD, ["---"] * len(HEAD)]
    for name, figures in found.items():
        ends = {key: figures[f"{key}_between"] for key in ("typical", "no_leap")}
        cells = (
            cell(value, ends.get(key)) for key, value in figures.items() if "_between" not in key
        )
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: float | None, ends: tuple[float, float] | None) -> str:
    told = "—" if value is None else f"{value:.2f}"
    return told if ends is None else f"{told} ({ends[0]:.2f} to {ends[1]:.2f})"


def below(rows: Rows, typical: Band, about: Mapping[str, Any]) -> str:
    """What stands under the table."""
    even = 1 / (about["steps"] - 1)
    found = {name: between_typical(rows, name, typical) for name in rows[0]["paths"]}
    told = (f"{name} {cell(share, None)} of {count}" for name, (count, share) in found.items())
    return (
        f"\n{len(rows)} pairs of {about['songs']} songs, {about['bars']} bars, {about['steps']} "
        f"steps; {len(about['refused'])} pairs refused, seed {about['seed']}, seqvae "
        f"{about['version']}. Typical: {typical.low:.2f} to {typical.high:.2f} nats a note, as 90 "
        f"% of {about['phrases']} phrases of these songs by {about['language_model']}; dull "
        f"steps cost less. Means over pairs, of the largest step the median; an even "
        f"step is {even:.3f} of the whole, and no leap is {SMALL:g} times that at "
        f"most. Brackets: 95 % over pairs (bootstrap). Training windows: {about['known']:,}. All "
        f"steps typical, where both ends are: {', '.join(told)}."
    )


def draw(rows: Rows, typical: Band) -> Any:
    """The medians of all pairs, step by step."""
    names = list(rows[0]["paths"])
    count = len(rows[0]["paths"][names[0]]["steps"])
    panels = {
        title: {name: medians(rows, name, key) for name in names} for title, key in DRAWN.items()
    }
    figure = dial([f"{100 * i / (count - 1):.0f}" for i in range(count)], panels, across="% of B")
    figure.axes[0].axhspan(*typical, color="#9a9a9a", alpha=0.2)
    return figure


def medians(rows: Rows, name: str, key: str) -> list[float | None]:
    """Of every step; at the start there is no step before."""
    steps = [row["paths"][name]["steps"] for row in rows]
    columns = [column(list(each), key) for each in zip(*steps, strict=True)]
    found = [median(each) if each else None for each in columns]
    return [None, *found[1:]] if key == "step" else found


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
