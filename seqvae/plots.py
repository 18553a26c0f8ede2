"""Pure functions: numbers -> a figure. Nothing is shown, nothing is written but by `save`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, GREY, BLUE, RED = "#222222", "#9a9a9a", "#2b6cb0", "#c05621"


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, its folder made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Reconstruction, KL and active units over steps, from the lines of metrics.jsonl.

    Thin lines are training batches, dots are validation.
    """
    figure, axes = _canvas(1, 3, (11, 3.2))
    train = [row for row in history if row["kind"] == "train"]
    valid = [row for row in history if row["kind"] == "valid"]
    for axis, name, unit in zip(
        axes,
        ("reconstruction", "kl", "active_units"),
        ("nats a sentence", "nats a sentence", "units"),
        strict=True,
    ):
        _line(axis, train, name, color=GREY, linewidth=0.8)
        _line(axis, valid, name, color=BLUE, marker="o", markersize=3.5, linewidth=1.4)
        axis.set_title(name.replace("_", " ").replace("kl", "KL"), loc="left")
        axis.set_xlabel("step")
        axis.set_ylabel(unit)
    if valid and "latent" in valid[0]:
        axes[-1].set_ylim(0, 1.05 * valid[0]["latent"])
    return figure


def bars_of_dimensions(
    values: Sequence[float], *, title: str, unit: str, threshold: float | None = None
) -> Figure:
    """One bar a latent dimension, largest first, on a logarithmic scale with a threshold line."""
    figure, (axis,) = _canvas(1, 1, (6, 3.2))
    ordered = sorted(values, reverse=True)
    axis.bar(range(1, len(ordered) + 1), [max(v, 1e-6) for v in ordered], color=BLUE)
    axis.set_yscale("log")
    if threshold is not None:
        axis.axhline(threshold, color=RED, linewidth=1, label=f"threshold {threshold:g}")
        axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    axis.set_title(title, loc="left")
    axis.set_xlabel("latent dimension, sorted")
    axis.set_ylabel(unit)
    return figure


def _line(axis: Axes, rows: Sequence[Mapping[str, Any]], name: str, **style: Any) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    if points:
        axis.plot(*zip(*points, strict=True), **style)


def _canvas(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    # A canvas of its own: no global state of pyplot, no window, safe in threads.
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#eeeeee")
        axis.set_axisbelow(True)
    return figure, axes
