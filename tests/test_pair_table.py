"""The page on remedies says which parts go together as it is."""

from pathlib import Path

from scripts.pair_table import filled

PAGE = Path(__file__).parent.parent / "docs" / "remedies.md"


def test_the_table_of_pairs_is_what_trying_them_gives() -> None:
    page = PAGE.read_text("utf-8")
    assert filled(page) == page, "write it anew: python scripts/pair_table.py docs/remedies.md"
    assert "no (1)" in page and "| yes |" in page
