"""Does the label head tell labels: how often it is right, and how sure it is of what is."""

from typing import Any

from torch import Tensor


def labelling(y: Tensor, nll: Tensor, label: Tensor) -> dict[str, Any]:
    """Probabilities (N, K), -log y[label] (N,), nats, and labels (N,): the head's figures.

    `label_accuracy` is the share of items whose likeliest label is theirs, `label_floor` what
    always naming the commonest would reach, `label_cross_entropy` the mean of -log y[label].

    >>> from torch import tensor
    >>> y = tensor([[0.5, 0.5], [0.25, 0.75], [0.1, 0.9]])
    >>> found = labelling(y, tensor([0.7, 0.3, 2.3]), tensor([0, 1, 0]))
    >>> [round(found[f"label_{name}"], 3) for name in ("accuracy", "floor", "cross_entropy")]
    [0.667, 0.667, 1.1]
    """
    return {
        "labels": y.shape[-1],
        "label_items": len(label),
        "label_accuracy": float((y.argmax(-1) == label).double().mean()),
        "label_floor": float(label.bincount().max()) / len(label),
        "label_cross_entropy": float(nll.double().mean()),
    }
