"""Pixels that are black or white."""

from torch import Tensor
from torch import distributions as torch_distributions

from ..errors import Refused
from .likelihood import Likelihood, Pixels


class Bernoulli(Likelihood):
    """p(x_t = white | z) = sigmoid(a_t), of pictures of two levels.

    Minus its log is the cross-entropy. The cross-entropy of grey values, common as it is, is
    minus the log of no probability: it does not sum to one, cannot fall to zero where all is
    known, and no bound on log p(x) follows.

    Arguments: `vocab`, which is 6.

    Raises `Refused` for pictures of more levels.

    >>> import torch
    >>> p = Bernoulli(vocab=6)(torch.zeros(1, 3, 1))
    >>> p.log_prob(torch.tensor([[4, 5, 4]])).exp().item()
    0.125
    """

    def __init__(self, vocab: int) -> None:
        super().__init__(vocab, 1)
        if self.levels != 2:
            raise Refused(
                f"the likelihood Bernoulli is of pixels of 2 levels, and these have {self.levels} "
                "(the cross-entropy of grey values is no likelihood). Binarise the pictures "
                "(seqvae prepare images … --binarize dynamic), or name another likelihood: "
                "--set decoder.likelihood.kind=Gaussian, or Categorical"
            )

    def pixels(self, numbers: Tensor) -> Pixels:
        logits = numbers.squeeze(-1)
        each = torch_distributions.Bernoulli(logits=logits, validate_args=False)
        return Pixels(each, self.levels)
