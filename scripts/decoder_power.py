"""The decoder-power dial: rate, repayment and what a code is worth, by how much a decoder sees.

    python scripts/decoder_power.py scripts/studies/power.toml reports/power

reads the sweep of a study whose every entry turns one knob through the same values, and writes
OUT/power.md, OUT/power.json and a figure a decoder. Repayment is against the language model at the
same value, of the same seed. A dashed line marks the NLL of the best language model of all: R + D
lies below it only where a code and a decoder together are the better model of the data.

Where a value was swept with several seeds, its figures are means, with half the range beside them.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from seqvae import Refused, __version__
from seqvae.corpus import write_json
from seqvae.metrics import repayment
from seqvae.plots import dial, save
from seqvae.study import Cell, Study, read_study
from seqvae.study.design import Sizes
from seqvae.study.records import Figures, Records
from seqvae.study.tables import LEAST_RATE, markdown

PANELS = {
    "kl": "rate R, nats",
    "repayment": "repayment η",
    "shuffle_delta_nll": "z-shuffle ΔNLL, nats",
    "negative_elbo": "R + D, nats",
}
HEAD = (
    *("penalty", "sees", "seeds", "R", "D", "R + D", "LM", "η", "z-shuffle ΔNLL", "active"),
    "KL(q(z), p)",
)

KEYS = (
    *("kl", "reconstruction", "negative_elbo", "shuffle_delta_nll"),
    *("active_units", "aggregate_kl_low", "aggregate_kl_high"),
)

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="a TOML, such as scripts/studies/power.toml")
    parser.add_argument("out", type=Path, help="the folder of its sweep")
    parser.add_argument("--across", default="tokens that the decoder sees", help="of the figure")
    given = parser.parse_args()
    study = read_study(given.study)
    values = values_of(study)
    records = Records(study, Sizes(study, {}), given.out)
    parts, data = [f"# {study.name}", "", study.about, ""], {}
    for block in study.blocks:
        rows = list(read_block(records, block, values))
        data["/".join(block)] = rows
        parts += [f"## {' / '.join(block)}", "", *table(rows), ""]
        figure = draw(rows, given.across)
        print("drawn:", save(figure, given.out / f"power-{'-'.join(block)}.png"))
    command = shlex.join(["python", *sys.argv])
    about = {"version": __version__, "torch": torch.__version__, "command": command}
    write_json(given.out / "power.json", {"about": about, "seeds": study.seeds, "rows": data})
    page = "\n".join([*parts, f"    {command}", "", f"seqvae {__version__}", ""])
    (given.out / "power.md").write_text(page, "utf-8")
    print(page)


def values_of(study: Study) -> tuple[Any, ...]:
    """The values of the one knob. Raises `Refused` where entries turn several, or grow."""
    turned = {(entry.knob, entry.values) for entry in study.entries.values()}
    if len(turned) > 1 or any(entry.grow for entry in study.entries.values()):
        raise Refused(
            f"{study.name}: a dial is one knob, turned alike by every entry, none of which grows."
        )
    return next(iter(turned))[1]


def read_block(records: Records, block: tuple[str, str], values: Sequence[Any]) -> Iterator[Row]:
    """A row for every entry and value, of all seeds that it was swept with.

    Raises `Refused` where a value has none, or a language model is missing: the sweep is not done.
    """
    for place, value in enumerate(values):
        for entry in records.study.remedies:
            runs = [
                row(figures, language_model(records, block, place, seed))
                for seed in records.study.seeds
                if (figures := look(records, block, entry.name, place, seed)) is not None
            ]
            if runs:
                yield {"penalty": entry.name, "value": entry.called(place), **mean(runs)}
            elif entry.name == records.study.reference:
                raise undone(block, f"{entry.name} where the knob is {value!r}")


def language_model(records: Records, block: tuple[str, str], place: int, seed: int) -> float:
    """The NLL of the best that sees as much."""
    lines = [entry.name for entry in records.study.language_models]
    found = [figures for name in lines if (figures := look(records, block, name, place, seed))]
    if not found:
        raise undone(block, f"language model at value {place}, seed {seed},")
    return min(float(figures["reconstruction"]) for figures in found)


def undone(block: tuple[str, str], what: str) -> Refused:
    return Refused(
        f"{'/'.join(block)}: no {what} is done: run the sweep to its end, --phase sweep."
    )


def look(
    records: Records, block: tuple[str, str], entry: str, place: int, seed: int
) -> Figures | None:
    return records.figures(Cell(*block, entry, place, seed), "valid")


def row(figures: Figures, nll: float) -> Row:
    """The figures of a model beside the NLL of a language model that sees as much."""
    rate, distortion = figures["kl"], figures["reconstruction"]
    paid = repayment(*map(torch.tensor, (nll, distortion, rate))).item()
    return {
        "seconds": figures["seconds"],
        "language_model": nll,
        **{key: figures.get(key) for key in KEYS},
        "repayment": paid if rate >= LEAST_RATE else None,
    }


def mean(runs: Sequence[Row]) -> Row:
    """Means over runs, and half the range of each figure as `spread`; None where one has none."""
    known = {key: [run[key] for run in runs] for key in runs[0]}
    whole = {key: each for key, each in known.items() if None not in each}
    return {
        "seeds": len(runs),
        **dict.fromkeys(known),
        **{key: sum(each) / len(each) for key, each in whole.items()},
        "spread": {key: (max(each) - min(each)) / 2 for key, each in whole.items()},
    }


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as Markdown."""
    lines = [
        (
            one["penalty"],
            one["value"],
            str(one["seeds"]),
            *(said(one, key) for key in ("kl", "reconstruction", "negative_elbo")),
            f"{one['language_model']:.2f}",
            *(said(one, key) for key in ("repayment", "shuffle_delta_nll")),
            f"{one['active_units']:.3g}",
            f"{one['aggregate_kl_low']:.1f} to {one['aggregate_kl_high']:.1f}",
        )
        for one in rows
    ]
    return markdown([HEAD, *lines])


def said(one: Row, key: str) -> str:
    """A figure, with its spread where there is one.

    >>> said({"kl": 2.5, "seeds": 3, "spread": {"kl": 0.25}}, "kl")
    '2.50 ± 0.25'
    """
    if one[key] is None:
        return "—"
    return f"{one[key]:.2f}" + (f" ± {one['spread'][key]:.2f}" if one["seeds"] > 1 else "")


def draw(rows: Sequence[Row], across: str) -> Figure:
    """The four panels of a block."""
    names = list(dict.fromkeys(one["penalty"] for one in rows))
    places = list(dict.fromkeys(one["value"] for one in rows))
    at = {(one["penalty"], one["value"]): one for one in rows}
    panels = {
        title: {name: [at.get((name, value), {}).get(key) for value in places] for name in names}
        for key, title in PANELS.items()
    }
    best = min(one["language_model"] for one in rows)
    lines = {PANELS["negative_elbo"]: best, PANELS["repayment"]: 1.0}
    return dial(places, panels, lines, across=across)


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
