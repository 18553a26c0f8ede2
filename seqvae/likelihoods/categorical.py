"""Pixels of any number of levels, each with a probability of its own."""

import torch
from torch import Tensor
from torch import distributions as torch_distributions

from .likelihood import Likelihood, Pixels


class Categorical(Likelihood):
    """p(x_t = v | z) = softmax(a_t)_v over the levels v.

    It knows nothing of one level lying beside another (van den Oord et al., 2016, section 2.3),
    and is a probability: nats compare with those of an autoregressive decoder, and are never
    below 0. The decoder gives as many numbers a pixel as there are levels.

    Arguments: `vocab`.

    >>> p = Categorical(vocab=8)(torch.zeros(1, 3, 4))
    >>> round(1 / p.log_prob(torch.tensor([[4, 7, 5]])).exp().item())  # 4 levels, 3 pixels
    64
    """

    def __init__(self, vocab: int) -> None:
        super().__init__(vocab, 0)
        self.size = self.levels

    def pixels(self, numbers: Tensor) -> Pixels:
        return Pixels(_Levels(logits=numbers, validate_args=False), self.levels)


class _Levels(torch_distributions.Categorical):
    """A categorical whose values are numbers, so that it has a mean."""

    @property
    def mean(self) -> Tensor:
        level = torch.arange(self.logits.shape[-1], device=self.logits.device)
        return (self.probs * level).sum(-1)
