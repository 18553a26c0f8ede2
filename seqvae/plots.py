"""Pure functions: numbers -> a figure. Nothing is shown, nothing is written but by `save`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, GREY, BLUE, RED = "#222222", "#9a9a9a", "#2b6cb0", "#c05621"
SEVERAL = (BLUE, "#2f855a", "#6b46c1", "#b7791f", "#2c7a7b", INK)  # lines side by side
COLOURS, MARKERS = colormaps["tab20"], "osD^"  # of more lines than that
UNIT = "nats a sentence"  # unless the codec's items are called otherwise


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, its folder made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def curves(history: Sequence[Mapping[str, Any]], unit: str = UNIT) -> Figure:
    """Reconstruction, KL and active units over steps, from the lines of metrics.jsonl.

    Thin lines are training batches, dots are validation. Where they were measured: beside the
    reconstruction the language model's NLL; beside the KL the information of the code, between
    its bounds, and what another item's code costs; beside active units the effective dimension.
    """
    figure, axes = charts(1, 3, (11, 3.2))
    train = [row for row in history if row["kind"] == "train"]
    valid = [row for row in history if row["kind"] == "valid"]
    for axis, name, label in zip(
        axes,
        ("reconstruction", "kl", "active_units"),
        (unit, unit, "units"),
        strict=True,
    ):
        _line(axis, train, name, color=GREY, linewidth=0.8)
        _line(axis, valid, name, color=BLUE, marker="o", markersize=3.5, linewidth=1.4)
        axis.set_title(name.replace("_", " ").replace("kl", "KL"), loc="left")
        axis.set_xlabel("step")
        axis.set_ylabel(label)
    _line(axes[0], valid, "baseline_nll", color=RED, linestyle="--", label="language model")
    red = {"color": RED, "marker": "o", "markersize": 2.5, "linewidth": 1.2}
    _line(axes[1], valid, "shuffle_delta_nll", label="z-shuffle ΔNLL", **red)
    _band(axes[1], valid, "mutual_information", color=SEVERAL[1], alpha=0.25, label="I(x; z)")
    _line(axes[2], valid, "effective_dimension", label="effective dimension", **red)
    for axis in axes:
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize="small")
    if valid and "latent" in valid[0]:
        axes[-1].set_ylim(0, 1.05 * valid[0]["latent"])
    return figure


def bars_of_dimensions(
    values: Sequence[float], *, title: str, unit: str, threshold: float | None = None
) -> Figure:
    """One bar a latent dimension, largest first, on a logarithmic scale with a threshold line."""
    figure, (axis,) = charts(1, 1, (6, 3.2))
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


def positions(named: Mapping[str, Sequence[float]]) -> Figure:
    """Nats that the code saves at every position of a sequence, a line a name."""
    figure, (axis,) = charts(1, 1, (6, 3.2))
    for (name, values), color in zip(named.items(), (BLUE, RED, GREY), strict=False):
        axis.plot(range(1, len(values) + 1), values, color=color, linewidth=1.4, label=name)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.legend(frameon=False)
    axis.set_title("Where the code helps", loc="left")
    axis.set_xlabel("position in the sequence")
    axis.set_ylabel("nats a token")
    return figure


def convergence(named: Mapping[str, Mapping[str, float]], unit: str = UNIT) -> Figure:
    """Importance-weighted bounds over the number of samples: level where they have converged."""
    figure, (axis,) = charts(1, 1, (6, 3.2))
    for (name, bound), color in zip(named.items(), (BLUE, RED, GREY), strict=False):
        samples = [int(count) for count in bound]
        axis.plot(
            samples, list(bound.values()), color=color, marker="o", markersize=3.5, label=name
        )
    axis.set_xscale("log")
    axis.legend(frameon=False)
    axis.set_title("Bounds of -log p(x)", loc="left")
    axis.set_xlabel("samples an item")
    axis.set_ylabel(unit)
    return figure


def _line(axis: Axes, rows: Sequence[Mapping[str, Any]], name: str, **style: Any) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    if points:
        axis.plot(*zip(*points, strict=True), **style)


def _band(axis: Axes, rows: Sequence[Mapping[str, Any]], name: str, **style: Any) -> None:
    points = [(r["step"], r[f"{name}_low"], r[f"{name}_high"]) for r in rows if f"{name}_low" in r]
    if points:
        steps, low, high = zip(*points, strict=True)
        axis.fill_between(steps, low, high, **style)


def charts(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    # A canvas of its own: no global state of pyplot, no window, safe in threads.
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#eeeeee")
        axis.set_axisbelow(True)
    return figure, axes


def rate_distortion(
    points: Sequence[tuple[str, float, float]],
    language_model: float | None = None,
    title: str = "Rate and distortion",
    unit: str = UNIT,
) -> Figure:
    """Distortion over rate of named points (name, R, D), joined in the order of their rates.

    With the NLL of a language model, the same decoder without a code, two lines say what a point
    is worth: D = NLL - R, where every nat of the code is repaid, and D = NLL, where none is.
    """
    figure, (axis,) = charts(1, 1, (6.4, 4.2))
    ordered = sorted(points, key=lambda point: point[1])
    rates, distortions = [rate for _, rate, _ in ordered], [d for _, _, d in ordered]
    if language_model is not None:
        _worth(axis, language_model, max([1.0, *rates]))
    axis.plot(rates, distortions, color=BLUE, marker="o", markersize=4, linewidth=1.4)
    for place, point in enumerate(ordered):
        _name(axis, *point, above=place % 2 == 0)  # in turn: neighbours may lie near each other
    axis.set_title(title, loc="left")
    axis.set_xlabel(f"rate R, {unit} in the code")
    axis.set_ylabel(f"distortion D, {unit}")
    return figure


def _name(axis: Axes, name: str, x: float, y: float, *, above: bool) -> None:
    """A point's name: above right or below left of it, where a falling curve leaves room."""
    axis.annotate(
        name,
        (x, y),
        xytext=(5, 4) if above else (-5, -4),
        textcoords="offset points",
        ha="left" if above else "right",
        va="bottom" if above else "top",
        fontsize="small",
        color=INK,
    )


def _worth(axis: Axes, nll: float, farthest: float) -> None:
    """The two lines between which a code that helps at all, and no more than it holds, lies."""
    axis.axhline(nll, color=GREY, linewidth=1, linestyle="--", label="no code: D = NLL")
    repaid = min(farthest, nll)  # no distortion lies below 0
    axis.plot(
        [0, repaid],
        [nll, nll - repaid],
        color=RED,
        linewidth=1,
        label="every nat repaid: D = NLL - R",
    )
    axis.legend(frameon=False)


def accuracies(
    points: Sequence[tuple[float, Mapping[str, float | None]]],
    *,
    floor: float | None = None,
    best: Sequence[tuple[float, float]] = (),
    title: str = "Accuracy and rate",
) -> Figure:
    """Named shares of 1 over rate, of models (bits a window, share by name), a line a name.

    Beside them the floor, and the `best` accuracy that a code of some bits allows, as far as a
    bound says, where there are any. What no model has is left out.
    """
    figure, (axis,) = charts(1, 1, (7.2, 4.6))
    ordered = sorted(points, key=lambda point: point[0])
    names = dict.fromkeys(name for _, shares in ordered for name in shares)
    for place, name in enumerate(names):
        found = [(rate, shares.get(name)) for rate, shares in ordered]
        drawn = [(rate, share) for rate, share in found if share is not None]
        if not drawn:
            continue
        axis.plot(
            [rate for rate, _ in drawn],
            [share for _, share in drawn],
            color=SEVERAL[place % len(SEVERAL)],
            marker="o",
            markersize=4,
            linewidth=1.4,
            label=name,
        )
    if floor is not None:
        axis.axhline(floor, color=GREY, linewidth=1, linestyle="--", label="the commonest token")
    if best:
        rates, shares = zip(*best, strict=True)
        axis.plot(rates, shares, color=RED, linewidth=1, linestyle=":", label="Fano's bound")
    axis.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    axis.set_ylim(0, 1.02)
    axis.set_title(title, loc="left")
    axis.set_xlabel("rate R, bits a window in the code")
    axis.set_ylabel("share that is right")
    return figure


def dial(
    places: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float | None]]],
    lines: Mapping[str, float] | None = None,
    *,
    across: str,
) -> Figure:
    """Figures at the places of a dial, a panel a figure, a line a model; None where there is none.

    `lines` are levels to draw in a panel, by its title; `across` says what is turned.
    """
    figure, axes = charts(1, len(panels), (1.2 + 3.3 * len(panels), 3.4))
    for axis, (title, models) in zip(axes, panels.items(), strict=True):
        for place, (name, values) in enumerate(models.items()):
            found = [(x, y) for x, y in enumerate(values) if y is not None]
            style: dict[str, Any] = {"color": SEVERAL[place % len(SEVERAL)], "markersize": 4}
            axis.plot(*zip(*found, strict=True), marker="o", linewidth=1.4, label=name, **style)
        if lines and title in lines:
            axis.axhline(lines[title], color=GREY, linewidth=1, linestyle="--")
        axis.set_xticks(range(len(places)), places)
        axis.set_title(title, loc="left")
        axis.set_xlabel(across)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
    return figure


def frontiers(
    blocks: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    language_models: Mapping[str, float],
    unit: str = UNIT,
) -> Figure:
    """Rate and distortion of many remedies, a panel a block, a line a remedy by rising rate.

    `blocks` are points (R, D) by the name of the remedy, by that of the block; with every block
    the NLL of its language model, from which two lines say what a point is worth.
    """
    figure, axes = charts(1, len(blocks), (1.5 + 5.5 * len(blocks), 5.2))
    names = list(dict.fromkeys(name for each in blocks.values() for name in each))
    styles = {
        name: (COLOURS(place % 20), MARKERS[place // 20 % 4]) for place, name in enumerate(names)
    }
    for axis, (title, remedies) in zip(axes, blocks.items(), strict=True):
        for name, points in remedies.items():
            color, marker = styles[name]
            style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4}
            axis.plot(*zip(*sorted(points), strict=True), linewidth=1.1, label=name, **style)
        rates = [rate for points in remedies.values() for rate, _ in points]
        _worth(axis, language_models[title], max([1.0, *rates]))
        if (own := axis.get_legend()) is not None:  # one for all panels stands beside them
            own.remove()
        axis.set_title(title, loc="left")
        axis.set_xlabel(f"rate R, {unit} in the code")
        axis.set_ylabel(f"distortion D, {unit}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="x-small")
    return figure
