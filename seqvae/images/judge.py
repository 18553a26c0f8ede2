"""An independent judge of pictures: what a digit is read as, and how surely."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..errors import Refused, check_sizes
from ..randomness import seeded
from .drawing import Array, shades

SURE = 0.9  # the probability from which a reading counts as confident
AT_ONCE = 2000  # pictures read together


class Judge(NamedTuple):
    """A classifier of pictures that has seen no model of ours: `read` and `probabilities`."""

    network: nn.Module
    classes: Array  # labels in the order of its scores

    @torch.no_grad()
    def probabilities(self, pixels: ArrayLike) -> Array:
        """Pixels (N, H, W, C) -> p(class | x) (N, K), in the order of `classes`."""
        scores = [self.network(part) for part in torch.split(_flat(pixels), AT_ONCE)]
        return torch.cat(scores).softmax(-1).double().numpy()

    def read(self, pixels: ArrayLike) -> Array:
        """Pixels (N, H, W, C) -> the likeliest label of each (N,)."""
        return self.classes[self.probabilities(pixels).argmax(-1)]

    def accuracy(self, pixels: ArrayLike, labels: ArrayLike) -> float:
        """The share read as labelled; of pictures made to order, as asked for."""
        return float((self.read(pixels) == np.asarray(labels)).mean())


def fit_judge(
    pixels: ArrayLike,
    labels: ArrayLike,
    *,
    hidden: int = 256,
    steps: int = 4000,
    size: int = 100,
    rate: float = 2e-3,
    seed: int = 0,
) -> Judge:
    """A perceptron of one hidden layer, with dropout, taught by Adam at a rate that falls to 0.

    Seconds on 8x8 digits, under a minute on MNIST, of whose test digits it reads about 98 %: say
    how many with every figure that it judges. It should never have seen what a model was trained
    to copy beyond the real pictures themselves, and shares nothing with the models' label heads.

    Arguments:
        pixels, labels: (N, H, W, C) and (N,), of the training split.
        steps, size, rate: batches, pictures in each, first learning rate.
    """
    check_sizes(hidden=hidden, steps=steps, size=size)
    classes, targets = np.unique(np.asarray(labels), return_inverse=True)
    x, y = _flat(pixels), torch.as_tensor(targets)
    if len(x) != len(y) or len(classes) < 2:
        raise Refused(
            f"{len(x)} pictures with {len(y)} labels of {len(classes)} classes: a judge learns "
            "from one label a picture, of two classes or more."
        )
    with seeded(seed):
        network = _perceptron(x.shape[1], hidden, len(classes))
        _teach(network, x, y, steps, size, rate)
    return Judge(network.eval(), classes)


def _perceptron(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(0.1),
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(hidden, classes),
    )


def _teach(network: nn.Module, x: Tensor, y: Tensor, steps: int, size: int, rate: float) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (size,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()


def _flat(pixels: ArrayLike) -> Tensor:
    found = shades(pixels)
    return torch.as_tensor(found.reshape(len(found), -1), dtype=torch.float32)


def judged(probabilities: ArrayLike, *, sure: float = SURE) -> dict[str, Any]:
    """What a judge says of samples by its probabilities (N, K): two numbers, never one alone.

    `confident` is the share of samples whose likeliest class has a probability of `sure` or more.
    A model that writes the same clear digit for ever scores 1; so `class_entropy`, in nats, that
    of the classes read, stands beside it: ln K = `class_entropy_most` where all are as common, 0
    for one alone. `confident_classes` is the same of confident samples only, None of none.

    >>> judged([[1.0, 0.0], [1.0, 0.0]])["class_entropy"]
    0.0
    """
    p = np.asarray(probabilities, dtype=np.float64)
    read, clear = p.argmax(1), p.max(1) >= sure
    counts = np.bincount(read, minlength=p.shape[1])
    return {
        "confident": float(clear.mean()),
        "class_entropy": _entropy(counts),
        "class_entropy_most": math.log(p.shape[1]),
        "confident_classes": _entropy(np.bincount(read[clear])) if clear.any() else None,
        "classes": counts.tolist(),
    }


def hole_ratio(autoencoder: ArrayLike, vae: ArrayLike, *, sure: float = SURE) -> float:
    """How many times as often a VAE's sample is clear to a judge as an autoencoder's.

    Of each, the judge's probabilities (N, K) of what it decodes codes of the prior N(0, I) to, or
    codes halfway between two items': where no code of an item ever was, an autoencoder has holes.
    Show it of 10 dimensions or more; codes in the plane lie too densely. Infinite where none of
    the autoencoder's is clear. Print both shares and the class entropies of `judged` with it.

    >>> hole_ratio([[0.9, 0.1], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]])
    2.0
    """
    empty, filled = (judged(p, sure=sure)["confident"] for p in (autoencoder, vae))
    return filled / empty if empty else math.inf


def _entropy(counts: Array) -> float:
    share = counts[counts > 0] / counts.sum()
    return abs(float((share * np.log(share)).sum()))  # 0, not -0
