"""Where codes lie: by class, beside the prior, as smudges, and folded into the plane."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.collections import EllipseCollection
from matplotlib.patches import Circle
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import check_sizes
from ..metrics import chance_variation, total_variation
from ..plots import GREY
from .drawing import Array, Drawn, by_class, charts, colour, drawn, in_plane, key, name

AT_ONCE = 1000  # codes whose neighbours are looked for together


def neighbours_right(codes: Tensor, labels: ArrayLike, neighbours: int = 15) -> float:
    """The share of codes (N, D) whose nearest others are mostly of the code's own class.

    Each code is classed by the votes of its k nearest others by Euclidean distance, itself left
    out; of classes with as many votes the first counts. Of codes that say nothing of the class,
    it is about the share of the commonest.

    >>> codes = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> neighbours_right(codes, [0, 0, 0, 1, 1, 1], neighbours=2)
    1.0
    """
    check_sizes(neighbours=neighbours)
    codes = codes.detach().float()
    classes = torch.as_tensor(np.unique(np.asarray(labels), return_inverse=True)[1])
    counted = min(neighbours, len(codes) - 1)
    right = 0
    for start in range(0, len(codes), AT_ONCE):
        own = classes[start : start + AT_ONCE]
        distance = torch.cdist(codes[start : start + AT_ONCE], codes)
        distance[torch.arange(len(own)), start + torch.arange(len(own))] = math.inf
        nearest = classes[distance.topk(counted, largest=False).indices]
        votes = torch.nn.functional.one_hot(nearest, int(classes.max()) + 1).sum(1)
        right += int((votes.argmax(1) == own).sum())
    return right / len(codes)


def principal_axes(codes: Tensor) -> Tensor:
    """Codes (N, D) -> (N, 2): how far each lies along the two directions of most variance.

    >>> principal_axes(torch.tensor([[3.0, 0, 0], [-3.0, 0, 0], [0, 1.0, 0]])).shape
    torch.Size([3, 2])
    """
    centred = codes.double() - codes.double().mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    return (centred @ directions.T).to(codes.dtype)


def extent(codes: Tensor) -> dict[str, Any]:
    """How far codes (N, D) reach: mean and standard deviation by dimension, and the farthest."""
    found = codes.detach().double()
    return {
        "mean": found.mean(0),
        "std": found.std(0, correction=0),
        "farthest": found.abs().max(),
    }


def latent_scatter(
    codes: Tensor,
    labels: ArrayLike,
    *,
    draws: Tensor | None = None,
    title: str = "Codes of test items",
    neighbours: int = 15,
) -> Drawn:
    """Codes (N, 2) in the colours of their classes, axes with numbers, and how well they part.

    With `draws` (M, 2) of the prior, M above N, these lie behind in grey, and `total_variation`
    is that between both, with the `floor` that as many draws have.
    """
    points, classes = in_plane(codes, "a scatter"), np.asarray(labels)
    right = neighbours_right(codes, classes, neighbours)
    figure, (axis,) = charts(1, 1, (5.6, 4.6))
    said = f"{title}: {right:.0%} right by {neighbours} neighbours"
    apart = {}
    if draws is not None:
        x, y = in_plane(draws, "a scatter").T
        axis.scatter(x, y, s=3, color=GREY, alpha=0.25, linewidths=0)
        floor = chance_variation(draws, len(codes))
        apart = {"total_variation": total_variation(codes, draws), "floor": floor}
        said += f"\n{apart['total_variation']:.2f} from the prior, whose own draws are {floor:.2f}"
    by_class(axis, points, classes)
    name(axis, said, "z₁", "z₂")
    key(axis, "class")
    found = {"points": points, "labels": classes, "neighbours_right": right}
    return drawn(figure, **found, **apart, **extent(codes), neighbours=neighbours)


def three_panels(
    models: Mapping[str, Tensor], labels: ArrayLike, *, sigma: float = 1.0, neighbours: int = 15
) -> Drawn:
    """Codes (N, 2) of the same items under several models: look at the axes, then at the classes.

    With reconstruction alone the codes fly apart, with the KL alone they are one heap without
    classes, with both they lie side by side about zero. Each panel has its own scale; the dashed
    circle, of twice the prior's `sigma`, is the same in all.
    """
    classes = np.asarray(labels)
    figure, axes = charts(1, len(models), (0.8 + 3.7 * len(models), 4.1))
    found = {}
    for axis, (title, codes) in zip(axes, models.items(), strict=True):
        by_class(axis, in_plane(codes, "a panel"), classes)
        axis.add_patch(Circle((0, 0), 2 * sigma, fill=False, color="black", linestyle="--"))
        right = neighbours_right(codes, classes, neighbours)
        found[title] = {**extent(codes), "neighbours_right": right}
        reach = float(codes.abs().max())
        name(axis, f"{title}\nreach ±{reach:.3g}, {right:.0%} by neighbours", "z₁", "z₂")
        axis.set_aspect("equal", adjustable="datalim")
    key(axes[-1], "class")
    return drawn(figure, models=found, circle=2 * sigma, neighbours=neighbours)


def smudges(
    mu: Tensor, sigma: Tensor, labels: ArrayLike, *, title: str = "Posteriors as smudges"
) -> Drawn:
    """q(z|x) = N(mu, diag sigma²) (N, 2) of every item as the ellipse of one sigma.

    `covered` is the share of items whose mean lies within another's ellipse,
    sum_d (mu_d - mu'_d)² / sigma'_d² <= 1: 0 for points with nothing between them, near 1 where
    neighbours share their ground, and the decoder is made to answer for all of it.
    """
    centres, classes = in_plane(mu, "a smudge"), np.asarray(labels)
    widths = in_plane(sigma, "a smudge")
    figure, (axis,) = charts(1, 1, (5.6, 4.6))
    for place, label in enumerate(np.unique(classes)):
        own = classes == label
        wide, high = 2 * widths[own].T
        ellipses = EllipseCollection(
            wide,
            high,
            np.zeros(len(wide)),
            units="xy",
            offsets=centres[own],
            offset_transform=axis.transData,
            color=colour(place),
            alpha=0.12,
            linewidths=0.3,
        )
        axis.add_collection(ellipses)
        axis.scatter(centres[own, 0], centres[own, 1], s=2, color=colour(place), label=str(label))
    share = _covered(centres, widths)
    low, high = (centres - widths).min(0), (centres + widths).max(0)
    edge = 0.5 * (low == high)  # of a single point
    low, high = low - edge, high + edge
    axis.set_xlim(low[0], high[0])
    axis.set_ylim(low[1], high[1])
    name(axis, f"{title}: {share:.0%} lie in another's 1σ", "z₁", "z₂")
    key(axis, "class")
    found = {"mu": centres, "sigma": widths, "labels": classes, "covered": share}
    return drawn(figure, **found, median_sigma=np.median(widths, axis=0))


def _covered(mu: Array, sigma: Array) -> float:
    """The share of means inside at least one ellipse but their own."""
    widths = np.maximum(sigma, 1e-12)  # codes without noise are points, and no division by 0
    covered = [
        bool(((((mean - mu) / widths) ** 2).sum(1) <= 1).sum() > 1)  # its own always is
        for mean in mu
    ]
    return float(np.mean(covered))


def tsne(
    spaces: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    style: ArrayLike | None = None,
    style_name: str = "style",
    perplexity: float = 30.0,
    neighbours: int = 15,
    seed: int = 0,
) -> Drawn:
    """The same items folded into the plane from several spaces, as their pixels and their codes.

    t-SNE (van der Maaten and Hinton, 2008) keeps neighbours and nothing else: neither sizes of
    clusters nor distances between them mean anything. So the neighbours' vote is measured in the
    space itself, not in the picture.

    Arguments:
        spaces: values (N, ...) by the name of the space.
        style: a number an item, as its slant: a second row is coloured by it.
        perplexity: about how many neighbours count; less than N.
    """
    from sklearn.manifold import (
        TSNE,
    )  # what only this figure needs must not slow down every import

    classes = np.asarray(labels)
    rows = 1 if style is None else 2
    figure, axes = charts(rows, len(spaces), (0.8 + 3.9 * len(spaces), 0.3 + 3.6 * rows))
    found = {}
    for place, (title, values) in enumerate(spaces.items()):
        flat = np.asarray(values, dtype=np.float32).reshape(len(classes), -1)
        folding = TSNE(perplexity=perplexity, init="pca", random_state=seed)
        points = folding.fit_transform(flat)
        right = neighbours_right(torch.as_tensor(flat), classes, neighbours)
        found[title] = {"points": points, "neighbours_right": right}
        by_class(axes[place], points, classes)
        name(axes[place], f"t-SNE of {title}: {right:.0%} by neighbours")
        if style is not None:
            lower = axes[len(spaces) + place]
            dots = lower.scatter(
                points[:, 0], points[:, 1], c=np.asarray(style), s=4, cmap="viridis"
            )
            name(lower, f"the same, by {style_name}")
    key(axes[len(spaces) - 1], "class")
    if style is not None:
        figure.colorbar(dots, ax=axes[-1], label=style_name)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set(visible=True, color=GREY)
    return drawn(figure, spaces=found, labels=classes, neighbours=neighbours)
