"""What can be drawn of one trained model: of any its codes, of pictures what it makes of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import pad

from .explore import Decoding, Explorer
from .images import (
    Drawn,
    code_histogram,
    contact_sheet,
    interpolation,
    latent_grid,
    latent_scatter,
    principal_axes,
    smudges,
    stochastic_codes,
    style_by_digit,
)
from .images.drawing import Array
from .randomness import seeded

DRAWS = 5000  # of the prior, beside codes
SMUDGES = 300  # posteriors that can still be told apart
PICTURES = 10  # in a row
STYLES = 6
SIDE = 12  # pictures along each side of the plane


def gallery(
    model: Explorer, items: Sequence[Any], labels: ArrayLike | None = None
) -> dict[str, Drawn]:
    """Figures by name of a model with a code and of items it was not trained on.

    Of every model the codes in the plane (their two directions of most variance where they have
    more numbers) and their histograms over the prior's; the posteriors as smudges where codes have
    two numbers. Of pictures also reconstructions, samples, a walk between two of them over their
    cross-fade, several codes of one of them, the grid of a plane, and with a label head every
    label in several styles.

    Arguments:
        labels: a name for each item, for colours; all are alike if not given.

    Raises `Refused` for a language model, which has no code.
    """
    classes = np.array([""] * len(items)) if labels is None else np.asarray(labels)
    z = model.encode(items)[:, : model.latent]
    drawn = {"codes": latent_scatter(_plane(z), classes, title=_said(model))}
    drawn["histogram"] = code_histogram(z, _prior(model, DRAWS))
    if model.latent == 2:
        few, some = items[:SMUDGES], classes[:SMUDGES]
        drawn["smudges"] = smudges(z[:SMUDGES], model.stddev(few), some)
    return {**drawn, **(_of_pictures(model, items, classes) if model.codec.shape else {})}


def _prior(model: Explorer, count: int) -> Tensor:
    with torch.no_grad(), seeded(0):
        return model.vae.prior().sample((count,)).cpu()


def _across(model: Explorer) -> Tensor:
    """Values over which the plane is drawn: where 9 tenths of the prior's draws lie."""
    return _prior(model, DRAWS).flatten().quantile(torch.linspace(0.05, 0.95, SIDE))


def _said(model: Explorer) -> str:
    plane = "Codes" if model.latent <= 2 else "The two widest directions of codes"
    return f"{plane}, {model.recipe['name']}"


def _plane(z: Tensor) -> Tensor:
    """Codes (N, D) -> (N, 2): as they are, along their widest directions, or with a zero."""
    plane = principal_axes(z) if z.shape[1] > 2 else z
    return pad(plane, (0, 2 - plane.shape[1]))  # a single item has but one direction


def _of_pictures(model: Explorer, items: Sequence[Any], classes: Array) -> dict[str, Drawn]:
    few = list(items[:PICTURES])
    codes = model.encode(few)
    back = model.means(codes).numpy()
    pairs = np.concatenate([np.stack(few).reshape(back.shape) / 255.0, back])
    drawn = {
        "reconstructions": contact_sheet(
            pairs, ["picture", "comes back"], columns=len(few), title="What comes back"
        ),
        "samples": contact_sheet(
            # The likeliest of every pixel in turn would be the background.
            model.means(model.draw(4 * PICTURES), Decoding(temperature=1.0)).numpy(),
            columns=PICTURES,
            title="Codes drawn from the prior",
        ),
        "walk": interpolation(model.means, codes[0], codes[_other(classes[: len(few)])]),
        "several_codes": _several(model, few[0]),
    }
    if model.latent == 2 and not model.labels:
        drawn["grid"] = latent_grid(model.means, _across(model))
    if model.labels:
        drawn["styles"] = _styles(model)
    return drawn


def _other(classes: Array) -> int:
    """The place of an item of another class than the first one's, else the last place."""
    others = np.flatnonzero(classes != classes[0])
    return int(others[0]) if len(others) else len(classes) - 1


def _several(model: Explorer, item: Any) -> Drawn:
    draws = torch.cat([model.encode([item], sample=True, seed=seed) for seed in range(8)])
    mu, sigma = model.encode([item])[0], model.stddev([item])[0]
    sigma = pad(sigma, (0, len(mu) - len(sigma)))  # a label's probabilities are not drawn
    picture = np.asarray(item).reshape(model.codec.shape or ())
    return stochastic_codes(picture, mu, sigma, draws, model.means)


def _styles(model: Explorer) -> Drawn:
    """Codes from the prior, each with every label in turn."""
    count = len(model.labels)
    z = _prior(model, STYLES).unsqueeze(1).expand(-1, count, -1)
    asked = torch.eye(count).expand(STYLES, -1, -1)
    pixels = model.means(torch.cat([z, asked], -1).flatten(0, 1)).numpy()
    return style_by_digit(pixels.reshape(STYLES, count, *pixels.shape[1:]))
