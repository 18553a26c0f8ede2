"""Write which encoders, posteriors, priors and penalties go together, and why others do not.

    python scripts/pair_table.py docs/remedies.md

replaces what stands between the two marks of that file by tables made by trying: each pair is
built and taken through one batch, the other parts being the plain ones.
"""

import argparse
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from seqvae import encoders, objectives, posteriors, priors, regularizers
from seqvae.build import build
from seqvae.codecs.codec import BAR, NOTHING, Clock
from seqvae.encoders.picture import PictureEncoder
from seqvae.errors import Refused
from seqvae.recipe import read
from seqvae.tokens import SPECIAL

BEGIN, END = "<!-- pairs: begin -->", "<!-- pairs: end -->"
# What a kind cannot do without, where it has no default; behind a comma, one of its columns.
NEEDED: dict[str, dict[str, Any]] = {
    "Product": {"family": "Laplace", "parameters": {"loc": 0.0, "scale": 1.0}},
    "FreeBits": {"nats": 0.5},
    "Capacity": {"nats": 5.0},
    "RateConstraint": {"nats": 5.0},
    "TargetRate": {"nats": 5.0},
    "InfoVAE, alpha = 0.5": {"alpha": 0.5, "lambda": 2.0},
    "InfoVAE, alpha = 1": {"alpha": 1.0, "lambda": 2.0},  # without a KL
}
UNNAMED = {"Fixed", "Elbo", "EmptyEncoder"}  # from Python; from its terms; where there is no code
UNNAMED |= {"AttributeOrder", "CrossEntropy"}  # which look at attributes and labels
PLAIN = {
    "encoder": "LSTMEncoder",
    "posterior": "GaussianPosterior",
    "prior": "StandardNormal",
    "objective": "KL",
}
TABLES = (
    ("posterior", "objective"),
    ("posterior", "prior"),
    ("prior", "objective"),
    ("encoder", "prior"),
)
LATENT = 4  # even, as priors in the plane want it
SIZES = {"embed": 4, "hidden": 4, "over": 4, "width": 4, "heads": 2, "layers": 1, "bars": 2}
LENGTH, SHAPE = 4, (2, 2, 1)  # of windows and pictures
CLOCK = Clock(2, 2, (NOTHING,) * SPECIAL + (BAR, 0, 1, NOTHING))  # of events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="a page with the two marks")
    page = parser.parse_args().page
    try:
        text = page.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{page} cannot be read: {error}. Name docs/remedies.md.") from error
    page.write_text(filled(text), "utf-8")


def filled(page: str) -> str:
    """The page with its tables made anew.

    Raises `Refused` where it does not hold each mark once, in their order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(END) < page.index(BEGIN):
        raise Refused(
            f"the page holds {page.count(BEGIN)} times {BEGIN} and {page.count(END)} times {END}: "
            "put each on a line of its own, once and in this order, where the tables belong. "
            "Nothing was written."
        )
    before, _, after = page.partition(BEGIN)
    _, _, after = after.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def kinds(part: str) -> list[str]:
    """The kinds a recipe may name for a part, penalties among the objectives, once a column."""
    packages = {
        "encoder": [encoders],
        "posterior": [posteriors],
        "prior": [priors],
        "objective": [regularizers, objectives],
    }
    found = [name for package in packages[part] for name in vars(package) if name[0].isupper()]
    return [
        column
        for name in found
        if name not in UNNAMED
        for column in [each for each in NEEDED if _kind(each) == name] or [name]
    ]


def _kind(column: str) -> str:
    return column.partition(",")[0]


def tables() -> str:
    """Rows against columns: yes, or the number of a reason that stands below."""
    reasons: list[str] = []
    drawn = []
    for rows, columns in TABLES:
        names = kinds(columns)
        lines = [["", *map(_heading, names)], ["---"] * (len(names) + 1)]
        for row in kinds(rows):
            cells = [_cell({rows: row, columns: name}, reasons) for name in names]
            lines.append([_heading(row), *cells])
        drawn.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    noted = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n\n".join([*drawn, "\n".join(noted)])


def _heading(column: str) -> str:
    return column.replace(_kind(column), f"`{_kind(column)}`", 1)


def _cell(chosen: dict[str, str], reasons: list[str]) -> str:
    why = refusal(chosen)
    if why is None:
        return "yes"
    if why not in reasons:
        reasons.append(why)
    return f"no ({reasons.index(why) + 1})"


def refusal(chosen: dict[str, str]) -> str | None:
    """Why a recipe of these parts is refused, the others being plain; None where it is not."""
    try:
        build(recipe(chosen), vocab=8, **items(chosen))
    except Refused as error:
        return re.sub(r"^this recipe's parts do not go together: ", "", str(error))
    return None


def recipe(chosen: dict[str, str]) -> dict[str, Any]:
    """A small recipe of these parts; a posterior on the sphere has the prior that lies there."""
    spherical = chosen.get("posterior") == "VonMisesFisherPosterior" and "prior" not in chosen
    others = {"prior": "UniformSphere"} if spherical else {}
    others |= {"objective": "MMD"} if "encoder" in chosen else {}  # every prior can be drawn from
    names = PLAIN | others | chosen
    if names["prior"] == "UniformSphere" and "posterior" not in chosen:
        names["posterior"] = "VonMisesFisherPosterior"
    sections = {
        part: {"kind": _kind(name), **NEEDED.get(name, {})} for part, name in names.items()
    }
    if hasattr(regularizers, names["objective"]):
        sections["objective"] = {"kind": "Elbo", "terms": {"it": sections["objective"]}}
    elif names["objective"] == "SemiAmortized":
        sections["objective"]["terms"] = {"it": {"kind": "KL"}}
    sections["encoder"] |= _sizes(names["encoder"])
    decoder = {**read("text")["decoder"], "embed": SIZES["embed"], "hidden": SIZES["hidden"]}
    return {**read("text"), **sections, "decoder": decoder, "latent": LATENT}


def _sizes(encoder: str) -> dict[str, int]:
    """What makes an encoder small."""
    wanted = inspect.signature(getattr(encoders, encoder)).parameters
    return {n: s for n, s in SIZES.items() if n in wanted and isinstance(wanted[n].default, int)}


def items(chosen: dict[str, str]) -> dict[str, Any]:
    """What the encoder reads: sentences, windows, events or pictures."""
    encoder = getattr(encoders, chosen.get("encoder", PLAIN["encoder"]))
    if issubclass(encoder, PictureEncoder):
        return {"length": LENGTH, "shape": SHAPE}
    told = {"length": LENGTH, "clock": CLOCK}
    return {n: v for n, v in told.items() if n in inspect.signature(encoder).parameters}


if __name__ == "__main__":
    try:
        main()
    except Refused as error:
        sys.exit(str(error))
