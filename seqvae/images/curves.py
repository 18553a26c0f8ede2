"""Curves of training: the two sides of a game, losses by name, and the gap as data grows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..plots import BLUE, GREY, INK, RED, SEVERAL
from .drawing import Drawn, charts, drawn, key, name

DRAW = {"critic": 2 * math.log(2), "encoder": math.log(2)}  # nats, where neither side is ahead


def adversarial_losses(
    epochs: Sequence[float],
    critic: Sequence[float],
    encoder: Sequence[float],
    variation: Sequence[float] | None = None,
    *,
    floor: float | None = None,
    counted: str = "epoch",
) -> Drawn:
    """The losses of critic and encoder, nats a code, with the lines of a drawn game.

        critic   -log D(y) - log(1 - D(z))   2 ln 2 = 1.386 where D = ½ everywhere
        encoder  -log D(z)                     ln 2 = 0.693

    (Goodfellow et al., 2014.) A game stands at its lines where codes and draws are alike *and*
    where the critic has learned nothing: so the total variation between codes and prior, if
    given, is drawn below. `blown` are the epochs at which it is above ½.

    Arguments:
        variation: of as many codes as there are at every epoch.
        floor: what as many draws of the prior itself have (`chance_variation`).
        counted: what is counted in place of epochs, as steps.
    """
    panels = 1 if variation is None else 2
    figure, axes = charts(panels, 1, (7.4, 0.6 + 2.8 * panels))
    sides = {"critic": critic, "encoder": encoder}
    for (side, losses), color in zip(sides.items(), (RED, BLUE), strict=True):
        axes[0].plot(epochs, losses, "o-", color=color, markersize=3, label=side)
        line, said = DRAW[side], "2 ln 2" if side == "critic" else "ln 2"
        axes[0].axhline(line, color=color, linewidth=0.9, linestyle="--", label=f"{said}, a draw")
    name(axes[0], "The game of critic and encoder", counted, "nats a code")
    key(axes[0])
    blown: list[float] = []
    if variation is not None:
        axes[1].plot(epochs, variation, "o-", color=INK, markersize=3)
        axes[1].axhline(0.5, color=GREY, linewidth=0.9, linestyle="--")
        if floor is not None:
            axes[1].axhline(floor, color=GREY, linewidth=0.9, label="draws of the prior")
            key(axes[1])
        axes[1].set_ylim(0, 1)
        name(axes[1], "Are the codes where the prior is?", counted, "total variation")
        blown = [e for e, v in zip(epochs, variation, strict=True) if v > 0.5]
    off = {side: np.asarray(losses) - DRAW[side] for side, losses in sides.items()}
    own = {"epochs": list(epochs), **sides, "lines": DRAW, "off_draw": off}
    return drawn(figure, **own, variation=variation, floor=floor, blown=blown)


def losses(
    epochs: Sequence[float],
    named: Mapping[str, Sequence[float]],
    unit: str = "nats an image",
    *,
    counted: str = "epoch",
) -> Drawn:
    """A loss a panel, each on its own scale, over epochs; `falling` tells whether each fell.

    That is, whether the mean of its last third lies below that of its first.
    """
    figure, axes = charts(1, len(named), (0.6 + 3.8 * len(named), 3.2))
    for place, (title, values) in enumerate(named.items()):
        axes[place].plot(epochs, values, "o-", color=SEVERAL[place % len(SEVERAL)], markersize=3)
        name(axes[place], title, counted, unit)
    falling = {title: _falls(values) for title, values in named.items()}
    return drawn(figure, epochs=list(epochs), losses=dict(named), falling=falling)


def _falls(values: Sequence[float]) -> bool:
    third = max(len(values) // 3, 1)
    return bool(np.mean(values[-third:]) < np.mean(values[:third]))


def widths(
    epochs: Sequence[float],
    sigma: Mapping[str, Sequence[float]],
    reach: Mapping[str, Sequence[float]],
    *,
    counted: str = "epoch",
) -> Drawn:
    """How wide posteriors are and how far out their means lie, by model, as training goes on.

    Noise makes reconstructions worse. Where no KL pays for it a model that may choose its noise
    gives it up, widths fall towards 0 and means fly apart: what is left is a plain autoencoder.
    `places` is the last reach over the last width, how many codes lie side by side on an axis.
    """
    if sigma.keys() != reach.keys():
        raise Refused(
            f"widths of {', '.join(sigma)}, reaches of {', '.join(reach)}: give both of each."
        )
    figure, axes = charts(1, 2, (9.2, 3.4))
    for axis, named in zip(axes, (sigma, reach), strict=True):
        for place, (model, values) in enumerate(named.items()):
            style: dict[str, Any] = {"color": SEVERAL[place % len(SEVERAL)], "markersize": 4}
            axis.plot(epochs, values, "o-", label=model, **style)
        axis.legend(frameon=False, fontsize="small")
    axes[0].set_yscale("log")
    axes[1].set_ylim(bottom=0)
    name(axes[0], "The median width of a posterior", counted, "σ")
    name(axes[1], "The farthest mean", counted, "|μ|")
    places = {model: reach[model][-1] / max(sigma[model][-1], 1e-12) for model in sigma}
    return drawn(figure, epochs=list(epochs), sigma=dict(sigma), reach=dict(reach), places=places)


def generalisation_gap(
    sizes: Sequence[int],
    train: Mapping[str, Sequence[float]],
    test: Mapping[str, Sequence[float]],
    unit: str = "reconstruction, nats an image",
) -> Drawn:
    """What models cost on items they were trained on and on new ones, as the training set grows.

    A plain autoencoder of few items learns them by heart: nothing on train, anything on test.
    `gap` is test less train, at each size; `train` and `test` are by model, an entry a size.
    """
    if train.keys() != test.keys():
        raise Refused(
            f"models {', '.join(train)} on train, {', '.join(test)} on test: a gap needs both."
        )
    figure, (axis, beside) = charts(1, 2, (9.2, 3.4))
    gap = {}
    for place, model in enumerate(train):
        style: dict[str, Any] = {"color": SEVERAL[place % len(SEVERAL)], "markersize": 4}
        axis.plot(sizes, test[model], "o-", label=f"{model}, test", **style)
        axis.plot(sizes, train[model], "o--", label=f"{model}, train", alpha=0.6, **style)
        gap[model] = np.asarray(test[model]) - np.asarray(train[model])
        beside.plot(sizes, gap[model], "o-", label=model, **style)
    name(axis, "On known items and on new ones", "items trained on", unit)
    name(beside, "The gap, test less train", "items trained on", unit)
    for each in (axis, beside):
        each.set_xscale("log")
        each.legend(frameon=False, fontsize="small")
    numbers = {"train": dict(train), "test": dict(test), "gap": gap}
    return drawn(figure, sizes=list(sizes), **numbers)
