"""How codes are spread, dimension by dimension, beside what the prior would have."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.distributions import Distribution

from ..metrics import chance_variation as chance_variation
from ..metrics import total_variation as total_variation
from ..plots import BLUE, GREY, RED
from .drawing import Array, Drawn, charts, drawn, name


def moments(codes: Tensor, draws: Tensor, bins: int = 20) -> dict[str, Any]:
    """Mean, standard deviation and total variation to the prior, by dimension; and in the plane.

    `total_variation_2d` counts boxes of the plane, where there are two dimensions.
    """
    dimensions = range(codes.shape[1])
    by_dimension = [
        total_variation(codes[:, d : d + 1], draws[:, d : d + 1], bins=bins) for d in dimensions
    ]
    plane = len(dimensions) == 2
    return {
        "mean": codes.double().mean(0),
        "std": codes.double().std(0, correction=0),
        "total_variation": by_dimension,
        "total_variation_2d": total_variation(codes, draws, bins=bins) if plane else None,
    }


def code_histogram(
    codes: Tensor,
    draws: Tensor,
    *,
    density: Distribution | None = None,
    dimensions: int | Sequence[int] = 4,
    bins: int = 40,
) -> Drawn:
    """Histograms of codes (N, D) over those of the prior's draws (M, D), a panel a dimension.

    Arguments:
        density: the prior of a single dimension, with event shape (), drawn as a line; where it
            has no `log_prob`, or depends on the dimension, the draws alone stand for it.
        dimensions: how many are drawn, the first ones, or which, as the first of `by_use`; the
            numbers are of all.
    """
    first = range(min(dimensions, codes.shape[1])) if isinstance(dimensions, int) else dimensions
    figure, axes = charts(1, len(first), (1 + 2.9 * len(first), 3.2))
    heights = []
    for place, axis in zip(first, axes, strict=True):
        edges = _window(codes[:, place], draws[:, place], bins)
        style: dict[str, Any] = {"bins": edges, "density": True}
        axis.hist(draws[:, place].numpy(), **style, color=GREY, alpha=0.5, label="prior, draws")
        own = codes[:, place].detach().numpy()
        height, *_ = axis.hist(own, **style, histtype="step", color=BLUE, label="codes")
        heights.append({"dimension": place, "edges": edges, "density": height})
        if density is not None:
            _line(axis, density, edges)
        mean, std = own.mean(), own.std()
        name(axis, f"mean {mean:.2f}, std {std:.2f}", f"z{_low(place + 1)}", "")
    axes[0].set_ylabel("density")
    handles, titles = axes[0].get_legend_handles_labels()
    legend: dict[str, Any] = {"ncols": len(titles), "frameon": False, "fontsize": "small"}
    figure.legend(handles, titles, loc="outside upper right", **legend)
    return drawn(figure, histograms=heights, **moments(codes, draws))


def by_use(codes: Tensor) -> list[int]:
    """The dimensions of mean codes (N, D) in the order of their variance, most used first.

    >>> by_use(torch.tensor([[0.0, 1.0, 3.0], [0.0, 2.0, -3.0]]))
    [2, 1, 0]
    """
    return [int(place) for place in codes.var(0).argsort(descending=True)]


def _line(axis: Axes, density: Distribution, edges: Array) -> None:
    z = torch.linspace(float(edges[0]), float(edges[-1]), 300)
    support = density.support
    inside = z == z if support is None else support.check(z)  # type: ignore[no-untyped-call]
    p = torch.where(inside, density.log_prob(torch.where(inside, z, density.mean)).exp(), 0)
    axis.plot(z.numpy(), p.numpy(), color=RED, linewidth=1.2, label="prior, density")


def _window(codes: Tensor, draws: Tensor, bins: int) -> Array:
    """Edges over both, for codes may lie far off."""
    both = torch.cat([codes.detach().flatten(), draws.flatten()]).double()
    low, high = float(both.min()), float(both.max())
    return np.linspace(low, max(high, low + 1e-6), bins + 1)


def _low(number: int) -> str:
    """A number below the line, as in z₁."""
    return "".join(chr(ord("₀") + int(digit)) for digit in str(number))


def histograms_by_epoch(
    codes: Mapping[int, Tensor],
    draws: Tensor,
    *,
    bins: int = 40,
    dimensions: int = 2,
    counted: str = "epoch",
) -> Drawn:
    """Codes (N, D) of every epoch as a ridge above the last one's, the prior's draws behind each.

    A game of critic and encoder may lose the prior in one epoch and find it again in the next:
    what counts is every epoch's mean, width and total variation, not the last one's.
    """
    shown = min(dimensions, draws.shape[1])
    high = 1.4 + 0.42 * len(codes)
    figure, axes = charts(1, shown, (1 + 3.4 * shown, high))
    every = torch.cat(list(codes.values()))
    for place, axis in enumerate(axes):
        edges = _window(every[:, place], draws[:, place], bins)
        middle = (edges[1:] + edges[:-1]) / 2
        prior = np.histogram(draws[:, place].numpy(), edges, density=True)[0]
        for row, values in enumerate(codes.values()):
            own = np.histogram(values[:, place].detach().numpy(), edges, density=True)[0]
            scale = 0.9 / max(own.max(), prior.max())
            axis.fill_between(middle, -row, scale * prior - row, color=GREY, alpha=0.5, lw=0)
            axis.plot(middle, scale * own - row, color=BLUE, linewidth=1.1)
        axis.set_yticks([-row for row in range(len(codes))], [str(epoch) for epoch in codes])
        name(axis, "codes (line), prior (grey)" if place == 0 else "", f"z{_low(place + 1)}")
    axes[0].set_ylabel(counted)
    found = {epoch: moments(values, draws) for epoch, values in codes.items()}
    return drawn(figure, epochs=found)
