"""The page on remedies says which parts go together as it is."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "remedies.md"


def test_the_table_of_pairs_is_what_trying_them_gives() -> None:
    filled = runpy.run_path(str(ROOT / "scripts" / "pair_table.py"))["filled"]
    page = PAGE.read_text("utf-8")
    assert filled(page) == page, "write it anew: python scripts/pair_table.py docs/remedies.md"
    assert "no (1)" in page and "| yes |" in page
