"""The page on remedies says which parts go together as it is, and its examples can be copied."""

import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import pytest

from seqvae.build import build
from seqvae.errors import Refused
from seqvae.recipe import override, read
from seqvae.schedules import Shape

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "remedies.md"
SCRIPT = ROOT / "scripts" / "pair_table.py"
NETS = ("encoder", "decoder")
BEGIN, END = "<!-- pairs: begin -->", "<!-- pairs: end -->"


def test_the_table_of_pairs_is_what_trying_them_gives() -> None:
    filled = runpy.run_path(str(SCRIPT))["filled"]
    page = PAGE.read_text("utf-8")
    assert filled(page) == page, "write it anew: python scripts/pair_table.py docs/remedies.md"
    assert "no (1)" in page and "| yes |" in page


def test_no_reason_is_of_a_value_that_the_script_has_chosen() -> None:
    """Else the page says of two parts what is true of a size alone."""
    script = runpy.run_path(str(SCRIPT))
    needed = [name for each in script["NEEDED"].values() for name in each]
    chosen = ["latent", "length", "shape", "vocab", *script["SIZES"], *needed]
    between = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    reasons = re.findall(r"^\d+\. (.*)$", between, re.MULTILINE)
    assert len(reasons) > 10
    for reason in reasons:
        assert not re.search(rf"\b({'|'.join(chosen)}) = ", reason), reason


def table_of(rows: str, columns: str) -> dict[tuple[str, str], bool]:
    """Which pairs of a table of the page go together."""
    tables = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].split("\n\n")
    [lines] = [
        [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]
        for table in tables
        if f"`{rows}`" in table and f"`{columns}`" in table.partition("\n")[0]
    ]
    names, _, *cells = lines
    return {
        (row, column): cell == "yes"
        for row, *values in cells
        for column, cell in zip(names, values, strict=True)
    }


def test_what_is_true_of_a_setting_alone_is_not_said_of_a_pair() -> None:
    penalties = table_of("DeltaPosterior", "InfoVAE")
    assert penalties["`DeltaPosterior`", "`InfoVAE`, alpha = 1"]
    assert not penalties["`DeltaPosterior`", "`InfoVAE`, alpha = 0.5"]
    assert table_of("GaussianPosterior", "Ring")["`GaussianPosterior`", "`Ring`"]
    assert table_of("SwissRoll", "MMD")["`SwissRoll`", "`MMD`"]
    assert not table_of("SwissRoll", "MMD")["`SwissRoll`", "`KL`"]


def test_a_vamp_prior_takes_encoders_that_read_sequences_of_vectors() -> None:
    met = table_of("ConvEncoder", "VampPrior")
    refused = {pair for pair, together in met.items() if not together}
    others = ("`ConvEncoder`", "`DenseEncoder`", "`NoiseEncoder`", "`TimedEncoder`")
    assert refused == {(encoder, "`VampPrior`") for encoder in others}


SCHEDULES = re.findall(r"\{ kind = .*? \}", PAGE.read_text("utf-8"))


@pytest.mark.parametrize("written", SCHEDULES)
def test_a_schedule_on_the_page_can_be_copied_and_settles_within_a_run(written: str) -> None:
    """One in a share of the run by its end, and all as it is written there."""
    weight = tomllib.loads(f"weight = {written}")["weight"]
    term = f'objective.terms={{kl = {{kind = "KL", weight = {written}}}}}'
    sizes = ["latent=2", *(f"{net}.{size}=4" for net in NETS for size in ("embed", "hidden"))]
    objective = build(override(read("text"), [*sizes, term]), 9, steps=5000).objective
    assert objective.settled(5000)
    assert objective.settled(4339 if "middle" in weight else round(weight["share"] * 5000))
    assert "middle" not in weight or not objective.settled(4338)


def test_every_kind_and_shape_of_a_schedule_has_an_example_on_the_page() -> None:
    said = " ".join(SCHEDULES)
    for kind in ("linear", "sigmoid", "cosine", "cyclical"):
        assert f'kind = "{kind}"' in said
    for shape in get_args(Shape):
        assert f'shape = "{shape}"' in said or shape == "linear", "which it has of itself"


@pytest.mark.parametrize(
    "settings",
    [
        ["prior.kind=Ring", "latent=3"],
        ["prior.kind=SwissRoll", "latent=3"],
        ["prior.kind=UniformSphere", "latent=1"],
        ["posterior.kind=VonMisesFisherPosterior", "latent=1"],
        ["decoder.at_start=false", "decoder.at_every_step=false", "decoder.skip=false"],
        ['objective.terms.label={kind = "CrossEntropy"}'],
        ["encoder.kind=WindowEncoder"],
        ["decoder.kind=DeconvDecoder"],
    ],
)
def test_what_the_page_says_is_also_refused_is(settings: list[str]) -> None:
    with pytest.raises(Refused):
        build(override(read("text"), settings), 9)


@pytest.mark.parametrize("marks", ["", BEGIN, END, f"{END} {BEGIN}", f"{BEGIN} {END} {END}"])
def test_a_page_without_both_marks_in_order_is_refused_and_left_as_it_is(
    tmp_path: Path, marks: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before {marks} after", "utf-8")
    with patch.object(sys, "argv", [str(SCRIPT), str(page)]), pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "once and in this order" in str(end.value.code)
    assert page.read_text("utf-8") == f"before {marks} after"


def test_a_page_that_is_not_there_is_refused(tmp_path: Path) -> None:
    words = [str(SCRIPT), str(tmp_path / "none.md")]
    with patch.object(sys, "argv", words), pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "cannot be read" in str(end.value.code)
