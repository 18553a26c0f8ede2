"""Figures draw the numbers they are given, and leave no state behind."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqvae.plots import accuracies, bars_of_dimensions, curves, rate_distortion, save

HISTORY: list[dict[str, Any]] = [
    {"kind": "train", "step": 50, "reconstruction": 30.0, "kl": 2.0},
    {"kind": "train", "step": 100, "reconstruction": 20.0, "kl": 4.0},
    {"kind": "valid", "step": 100, "reconstruction": 21.0, "kl": 5.0, "active_units": 7},
]


def test_curves_draw_training_and_validation_over_steps() -> None:
    figure = curves(HISTORY)
    drawn = [
        [np.asarray(line.get_xydata()).tolist() for line in axes.lines] for axes in figure.axes
    ]
    assert drawn == [
        [[[50.0, 30.0], [100.0, 20.0]], [[100.0, 21.0]]],
        [[[50.0, 2.0], [100.0, 4.0]], [[100.0, 5.0]]],
        [[[100.0, 7.0]]],
    ]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "reconstruction",
        "KL",
        "active units",
    ]
    assert [axes.get_ylabel() for axes in figure.axes] == ["nats a sentence"] * 2 + ["units"]


def test_a_figure_that_was_not_measured_is_left_empty() -> None:
    """A language model has no active units, an autoencoder no KL, a new run nothing at all."""
    assert [len(axes.lines) for axes in curves(HISTORY[:2]).axes] == [1, 1, 0]
    assert [len(axes.lines) for axes in curves([]).axes] == [0, 0, 0]


def test_curves_show_whether_the_code_is_read_where_that_was_measured() -> None:
    """The language model beside D; information and shuffle beside R; the effective dimension."""
    more = {"baseline_nll": 25.0, "shuffle_delta_nll": 6.0, "effective_dimension": 3.0}
    more |= {"mutual_information_low": 3.0, "mutual_information_high": 4.0}
    axes = curves([*HISTORY, {**HISTORY[-1], "step": 200, **more}]).axes
    legends = [axis.get_legend_handles_labels()[1] for axis in axes]
    assert legends == [
        ["language model"],
        ["z-shuffle ΔNLL", "I(x; z)"],
        ["effective dimension"],
    ]
    assert [np.asarray(axis.lines[-1].get_xydata()).tolist() for axis in axes] == [
        [[200.0, 25.0]],
        [[200.0, 6.0]],
        [[200.0, 3.0]],
    ]
    assert len(axes[1].collections) == 1


def test_bars_stand_in_the_order_of_their_size_beside_the_threshold() -> None:
    figure = bars_of_dimensions([0.1, 2.0, 0.0], title="t", unit="u", threshold=0.01)
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [2.0, 0.1, 1e-6]  # type: ignore[attr-defined]
    assert axes.lines[0].get_ydata() == [0.01, 0.01]
    assert axes.get_yscale() == "log"
    assert (axes.get_title(loc="left"), axes.get_ylabel()) == ("t", "u")
    assert not bars_of_dimensions([1.0], title="t", unit="u").axes[0].lines


@pytest.mark.parametrize("figure", [curves([]), curves(HISTORY)])
def test_a_figure_is_saved_as_png_where_no_folder_was(figure: Any, tmp_path: Path) -> None:
    path = save(figure, tmp_path / "figures" / "a.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_nothing_global_is_drawn_on() -> None:
    before = sys.modules.pop("matplotlib.pyplot", None)
    curves(HISTORY)
    assert "matplotlib.pyplot" not in sys.modules
    if before is not None:
        sys.modules["matplotlib.pyplot"] = before


def test_a_unit_is_what_the_items_are_called() -> None:
    unit = "nats a window"
    assert [axes.get_ylabel() for axes in curves(HISTORY, unit).axes] == [unit, unit, "units"]
    [axes] = rate_distortion([("a", 1.0, 2.0)], 3.0, unit=unit).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "rate R, nats a window in the code",
        "distortion D, nats a window",
    )


def test_accuracies_are_drawn_over_rate_beside_their_floor_and_bound() -> None:
    points: list[tuple[float, dict[str, float | None]]]
    points = [(30.0, {"a": 0.9, "F1": None}), (10.0, {"a": 0.7, "F1": 0.5})]
    [axes] = accuracies(points, floor=0.55, best=[(0.0, 0.6), (40.0, 1.0)]).axes
    drawn = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    assert drawn["a"] == [[10.0, 0.7], [30.0, 0.9]]
    assert drawn["F1"] == [[10.0, 0.5]]
    assert drawn["the commonest token"] == [[0.0, 0.55], [1.0, 0.55]]
    assert drawn["Fano's bound"] == [[0.0, 0.6], [40.0, 1.0]]
    assert "bits a window" in axes.get_xlabel()
    assert len(accuracies(points, floor=0.5).axes[0].lines) == 3
