"""The page on remedies says which parts go together as it is."""

import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "remedies.md"
SCRIPT = ROOT / "scripts" / "pair_table.py"
BEGIN, END = "<!-- pairs: begin -->", "<!-- pairs: end -->"


def test_the_table_of_pairs_is_what_trying_them_gives() -> None:
    filled = runpy.run_path(str(SCRIPT))["filled"]
    page = PAGE.read_text("utf-8")
    assert filled(page) == page, "write it anew: python scripts/pair_table.py docs/remedies.md"
    assert "no (1)" in page and "| yes |" in page


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
