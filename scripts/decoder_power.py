"""The decoder-power dial: rate, repayment and what a code is worth, by how much a decoder sees.

    python scripts/decoder_power.py scripts/studies/power.toml reports/power

reads the sweep of a study whose every entry turns one knob through the same values, and writes
OUT/power.md, OUT/power.json and a figure a decoder. Repayment is against the language model at the
same value, of the same seed. A dashed line marks the NLL of the best language model of all: R + D
lies below it only where a code and a decoder together are the better model of the data.

A second table says where codes lie and what they hold. Of pictures also what comes back from them,
and how sharp that is, as the data are: measured once a run, where its weights and its corpus are
still at hand, and kept beside the run as pictures.json.

Where a value was swept with several seeds, its figures are means, with half the range beside them.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from seqvae import Refused, __version__
from seqvae.codecs import load_codec
from seqvae.corpus import find_corpus, write_json
from seqvae.data import spread
from seqvae.measures.pictures import pictures
from seqvae.measures.writing import agreement, samples, write_back
from seqvae.metrics import repayment
from seqvae.plots import dial, save
from seqvae.rows import near_cap
from seqvae.runs import open_run
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
CODES = (
    *("penalty", "sees", "seeds", "I(x; z)", "MMD²", "moment KL", "farthest: mean", "deviation"),
    *("pixels back", "sharpness, back", "sharpness, prior"),
)
OF_CODES = """\
The codes: I(x; z) between its bounds, nats, ≥ where the lower one is near all that so many items
can show; the MMD² of codes and draws from the prior; the KL that the moments of q(z) alone make
out, nats; and of the dimension farthest from the prior the mean, without its sign, and the
deviation, both in deviations of the prior."""
OF_PICTURES = """\
Pictures: the share of pixels that come back, each the likeliest, from the means of posteriors, to
which one picture for all comes with {same:.3f}; and the mean squared step between neighbouring
pixels, {data:.4f} in the data themselves, of what comes back and of draws from the prior. Of a
decoder that writes all pixels at once it is that of the brightness it expects: what people see.
"""
SHARP = "sharpness of what comes back"

KEYS = (
    *("kl", "reconstruction", "negative_elbo", "shuffle_delta_nll"),
    *("active_units", "aggregate_kl_low", "aggregate_kl_high"),
    *("mutual_information_low", "mutual_information_high", "mutual_information_cap"),
    *("aggregate_mmd", "moment_kl", "worst_sd"),
)
LOOKS = (
    *("token_accuracy", "token_accuracy_same", "pixel_error", "pixel_error_average"),
    *("sharpness_data", "sharpness_reconstructions", "sharpness_samples"),
)
LOOKED = 500  # pictures written back, and as many drawn

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="a TOML, such as scripts/studies/power.toml")
    parser.add_argument("out", type=Path, help="the folder of its sweep")
    parser.add_argument("--decoder", action="append", default=[], help="only these decoders")
    parser.add_argument("--across", default="tokens that the decoder sees", help="of the figure")
    given = parser.parse_args()
    study = read_study(given.study).with_decoders(given.decoder)
    values = values_of(study)
    records = Records(study, Sizes(study, {}), given.out)
    parts, data = [f"# {study.name}", "", study.about, ""], {}
    for block in study.blocks:
        rows = list(read_block(records, block, values))
        data["/".join(block)] = rows
        parts += [f"## {' / '.join(block)}", "", *table(rows), "", *codes(rows), ""]
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
    first, *others = study.entries.values()
    alike = all((one.knob, one.values) == (first.knob, first.values) for one in others)
    if not alike or any(entry.grow for entry in study.entries.values()):
        raise Refused(
            f"{study.name}: a dial is one knob, turned alike by every entry, none of which grows."
        )
    return first.values


def read_block(records: Records, block: tuple[str, str], values: Sequence[Any]) -> Iterator[Row]:
    """A row for every entry and value, of all seeds that it was swept with.

    Raises `Refused` where a value has none, or a language model is missing: the sweep is not done.
    """
    for place, value in enumerate(values):
        for entry in records.study.remedies:
            cells = [Cell(*block, entry.name, place, seed) for seed in records.study.seeds]
            found = [
                row(figures, language_model(records, block, place, cell.seed), look(records, cell))
                for cell in cells
                if (figures := records.figures(cell, "valid")) is not None
            ]
            if found:
                yield {"penalty": entry.name, "value": entry.called(place), **mean(found)}
            elif entry.name == records.study.reference:
                raise undone(block, f"{entry.name} where the knob is {value!r}")


def language_model(records: Records, block: tuple[str, str], place: int, seed: int) -> float:
    """The NLL of the best that sees as much."""
    lines = [Cell(*block, entry.name, place, seed) for entry in records.study.language_models]
    found = [figures for cell in lines if (figures := records.figures(cell, "valid"))]
    if not found:
        raise undone(block, f"language model at value {place}, seed {seed},")
    return min(float(figures["reconstruction"]) for figures in found)


def undone(block: tuple[str, str], what: str) -> Refused:
    return Refused(
        f"{'/'.join(block)}: no {what} is done: run the sweep to its end, --phase sweep."
    )


def look(records: Records, cell: Cell) -> Figures:
    """What comes back of pictures and what is drawn, on validation; nothing of other items.

    Measured once. A sweep does not: it decodes nothing. Where weights or corpus are gone it says
    so, and there are no such figures.
    """
    folder = records.place(cell)
    kept = folder / "pictures.json"
    if not kept.is_file():
        try:
            if load_codec(folder / "codec").shape is None:
                return {}
            write_json(kept, looks_of(folder))
        except Refused as reason:
            print(f"{folder}: pictures are not looked at. {reason}", file=sys.stderr)
            return {}
    return json.loads(kept.read_bytes())


def looks_of(folder: Path) -> Figures:
    """Figures of what a run writes: from the codes of validation items, and from the prior."""
    opened, corpus = open_run(folder), find_corpus(folder)
    vae, codec, items = opened.built.vae, corpus.codec, corpus.split("valid")
    back = write_back(vae, codec, items, spread(len(items), LOOKED), size=LOOKED)
    drawn = samples(vae, codec, items, corpus.split("train"), count=LOOKED)
    x = torch.tensor(back.originals)
    return {
        **agreement(codec, back),
        "token_accuracy_same": float((x == x.mode(dim=0).values).double().mean()),
        **pictures(vae.decoder, codec, back),
        **drawn.figures,
    }


def row(figures: Figures, nll: float, looks: Figures) -> Row:
    """The figures of a model beside the NLL of a language model that sees as much."""
    rate, distortion = figures["kl"], figures["reconstruction"]
    paid = repayment(*map(torch.tensor, (nll, distortion, rate))).item()
    return {
        "seconds": figures["seconds"],
        "language_model": nll,
        **{key: figures.get(key) for key in KEYS},
        **{key: looks.get(key) for key in LOOKS},
        "worst_mean": None if (off := figures.get("worst_mean")) is None else abs(off),
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


def codes(rows: Sequence[Row]) -> list[str]:
    """Where codes lie and what they hold as Markdown, with what is seen of pictures."""
    data, same = of_data(rows, "sharpness_data"), of_data(rows, "token_accuracy_same")
    width = len(CODES) if data else CODES.index("pixels back")
    lines = [
        (
            one["penalty"],
            one["value"],
            str(one["seeds"]),
            held(one),
            said(one, "aggregate_mmd", 4),
            *(said(one, key) for key in ("moment_kl", "worst_mean", "worst_sd")),
            said(one, "token_accuracy", 3),
            *(said(one, f"sharpness_{what}", 4) for what in ("reconstructions", "samples")),
        )[:width]
        for one in rows
    ]
    told = [OF_PICTURES.format(data=data, same=same)] if data else []
    return [OF_CODES, "", *told, *markdown([CODES[:width], *lines])]


def of_data(rows: Sequence[Row], key: str) -> float | None:
    """A figure of the data themselves, the same in every row; None where none has it."""
    return next((one[key] for one in rows if one[key]), None)


def held(one: Row) -> str:
    """What the code says of its item, between two bounds, of which the lower has a cap."""
    low, high = said(one, "mutual_information_low"), said(one, "mutual_information_high")
    if one["mutual_information_low"] is None:
        return low
    return f"≥ {low}, ≤ {high}" if near_cap(one) else f"{low} to {high}"


def said(one: Row, key: str, digits: int = 2) -> str:
    """A figure, with its spread where there is one.

    >>> said({"kl": 2.5, "seeds": 3, "spread": {"kl": 0.25}}, "kl")
    '2.50 ± 0.25'
    """
    if one[key] is None:
        return "—"
    spread = f" ± {one['spread'][key]:.{digits}f}" if one["seeds"] > 1 else ""
    return f"{one[key]:.{digits}f}{spread}"


def draw(rows: Sequence[Row], across: str) -> Figure:
    """The panels of a block: four, and of pictures a fifth."""
    names = list(dict.fromkeys(one["penalty"] for one in rows))
    places = list(dict.fromkeys(one["value"] for one in rows))
    at = {(one["penalty"], one["value"]): one for one in rows}
    data = of_data(rows, "sharpness_data")
    keys = PANELS | ({"sharpness_reconstructions": SHARP} if data else {})
    panels = {
        title: {name: [at.get((name, value), {}).get(key) for value in places] for name in names}
        for key, title in keys.items()
    }
    best = min(one["language_model"] for one in rows)
    lines = {PANELS["negative_elbo"]: best, PANELS["repayment"]: 1.0}
    lines |= {SHARP: data} if data else {}
    return dial(places, panels, lines, across=across)


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
