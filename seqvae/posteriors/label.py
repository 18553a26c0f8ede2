"""The head of a label: which of K an item has, as probabilities."""

from torch import Tensor
from torch.distributions import OneHotCategorical

from ..errors import check_sizes
from .posterior import Posterior


class LabelPosterior(Posterior):
    """y(x) = softmax(s(x)) over K labels: what an encoder ends in that tells labels, not codes.

    Its mean is the probabilities, its mode the likeliest label with probability one. No gradient
    passes through a sample, so that a code cannot be drawn from it: `[label]` in a recipe builds
    it, never `[posterior]`.

    Arguments:
        labels: K.

    >>> import torch
    >>> LabelPosterior(2)(torch.tensor([[0.0, 0.0], [9.0, -9.0]])).mean.round(decimals=3).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """

    def __init__(self, labels: int) -> None:
        check_sizes(labels=labels)
        super().__init__(labels, labels)

    def forward(self, parameters: Tensor) -> OneHotCategorical:
        return OneHotCategorical(logits=parameters, validate_args=False)
