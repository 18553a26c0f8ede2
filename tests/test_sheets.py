"""Contact sheets: every picture stands where it should, as bright as it is."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from seqvae.sheets import GAP, PAPER, SIDE, contact_sheet, save_sheet, sheet

PICTURES = np.random.default_rng(0).random((5, 8, 6, 1))
TIMES = SIDE // 8


def tile(drawn: np.ndarray, row: int, column: int) -> np.ndarray:
    """A picture cut out of a sheet of 8 x 6 pixels, one point for every pixel."""
    top, left = GAP + row * (8 * TIMES + GAP), GAP + column * (6 * TIMES + GAP)
    return drawn[top : top + 8 * TIMES : TIMES, left : left + 6 * TIMES : TIMES]


def test_every_picture_stands_in_its_row_and_column() -> None:
    drawn = contact_sheet(PICTURES, columns=2)
    for number, picture in enumerate(PICTURES):
        seen = tile(drawn, *divmod(number, 2)) / 255
        np.testing.assert_allclose(seen, np.broadcast_to(picture, (8, 6, 3)), atol=0.5 / 255)


def test_a_pixel_is_a_square_and_what_lies_between_is_paper() -> None:
    drawn = sheet([PICTURES[:1]])
    inside = drawn[GAP:-GAP, GAP:-GAP].reshape(8, TIMES, 6, TIMES, 3)
    assert (inside == inside[:, :1, :, :1]).all()
    frame = np.ones(drawn.shape[:2], bool)
    frame[GAP:-GAP, GAP:-GAP] = False
    assert (drawn[frame] == round(255 * PAPER)).all()


def test_a_short_row_leaves_paper_and_colours_stay() -> None:
    red = np.zeros((1, 8, 6, 3))
    red[..., 0] = 2.0  # more than white is white
    drawn = sheet([PICTURES[:3], red])
    assert (tile(drawn, 1, 0) == [255, 0, 0]).all()
    assert (tile(drawn, 1, 1) == round(255 * PAPER)).all()


@pytest.mark.parametrize(("height", "width", "side"), [(28, 28, 56), (64, 10, 64), (5, 9, 35)])
def test_small_pictures_are_enlarged_by_a_whole_number(height: int, width: int, side: int) -> None:
    drawn = contact_sheet(np.zeros((1, height, width)))
    assert drawn.shape == (side + 2 * GAP, side * width // height + 2 * GAP, 3)


def test_a_sheet_is_read_back_as_it_was_drawn(tmp_path: Path) -> None:
    drawn = contact_sheet(PICTURES)
    path = save_sheet(drawn, tmp_path / "new" / "sheet.png")
    np.testing.assert_array_equal(np.rint(255 * imread(path)[..., :3]), drawn)
