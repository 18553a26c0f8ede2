"""Whether the rate of a code lands where it was asked for, and what it is worth there.

    python scripts/landing.py CORPUS OUT --recipe text --nats 4 --nats 12 --baseline runs/lm

trains the recipe once for each rate with each penalty that holds one, measures it on validation,
and writes OUT/landing.md and landing.json. Started again it goes on.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from seqvae import Refused, __version__, load
from seqvae.corpus import Corpus, open_corpus, write_json
from seqvae.evaluate import measure
from seqvae.fit import fit
from seqvae.recipe import override, read
from seqvae.runs import is_run

KINDS = ("TargetRate", "RateConstraint")
SHOWN = {
    "kl": "R",
    "off": "R / asked - 1",
    "reconstruction": "D",
    "repayment": "η",
    "mutual_information_low": "I(x; z), at least",
    "mutual_information_high": "at most",
    "verdict": "verdict",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="a prepared corpus")
    parser.add_argument("out", type=Path, help="a folder: runs and tables lie there")
    parser.add_argument("--recipe", default="text")
    parser.add_argument("--nats", type=float, action="append", required=True, help="a rate")
    parser.add_argument("--kind", choices=KINDS, action="append", help="all if left out")
    parser.add_argument("--baseline", help="the run of a language model")
    parser.add_argument("--set", action="append", default=[], help="change the recipe")
    given = parser.parse_args()

    torch.set_num_threads(1)
    corpus = open_corpus(given.corpus)
    rows = [
        landed(given, corpus, kind, nats) for kind in given.kind or KINDS for nats in given.nats
    ]
    command = " ".join(["python", *sys.argv])
    about = {"version": __version__, "command": command, "corpus": corpus.checksum}
    write_json(given.out / "landing.json", {"about": about, "rows": rows})
    page = f"{table(rows)}\n\n    {command}\n"
    (given.out / "landing.md").write_text(page, "utf-8")
    print(page)


def landed(given: argparse.Namespace, corpus: Corpus, kind: str, nats: float) -> dict[str, Any]:
    """One rate asked of one penalty: what was trained, and its figures."""
    folder = given.out / f"{kind}-{nats:g}"
    done = folder / "landed.json"
    if done.is_file():
        return json.loads(done.read_bytes())
    penalty = f'objective.terms={{kl = {{kind = "{kind}", nats = {nats}}}}}'
    recipe = override(read(given.recipe), [*given.set, "objective.terms={}", penalty])
    fit(recipe, corpus, folder, resume=is_run(folder), say=lambda line: print(line, flush=True))
    model, baseline = load(folder), load(given.baseline) if given.baseline else None
    found = measure(
        model.vae,
        corpus.split("valid"),
        samples=0,
        codec=corpus.codec,
        written=0,
        baseline=None if baseline is None else baseline.vae,
    ).figures
    off = found["kl"] / nats - 1
    row = {"penalty": kind, "asked": nats, **found, "off": off, "seed": recipe["seed"]}
    write_json(done, row)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, nats an item."""
    lines = [["penalty", "asked", *SHOWN.values()], ["---"] * (len(SHOWN) + 2)]
    for row in rows:
        cells = [written(name, row.get(name)) for name in SHOWN]
        lines.append([row["penalty"], f"{row['asked']:g}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(name: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return str(value or "—")
    return f"{value:+.1%}" if name == "off" else f"{value:.2f}"


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
