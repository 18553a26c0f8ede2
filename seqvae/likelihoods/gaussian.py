"""Pixels that are numbers, with Gaussian noise of a fixed or a learned width."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import softplus

from ..distributions import SMALLEST
from ..errors import Refused
from .likelihood import Likelihood, Pixels

NARROWEST = 1 / 255  # of what is learned: one level of common pictures
START = -1.0  # softplus of it is 0.31, about how much the pixels of handwritten digits differ


class Gaussian(Likelihood):
    """p(x_t | z) = N(x_t; mu_t, sigma^2) of brightness x_t in [0, 1], mu_t = sigmoid(a_t).

    The squared error with its right weight, 1 / (2 sigma^2), and its constant: with a fixed sigma
    the reconstruction cannot fall under T ln(sigma sqrt(2 pi)) nats, 177.02 for 28 x 28 pixels at
    0.5. It is a density in brightness and no probability of levels: its log may be above 0, a
    reconstruction below 0 nats, and its nats do not compare with those of the other likelihoods.

    A learned width is 1/255 + softplus(s - 1), 0.32 where s = 0, so that no pixel that is the
    same in all pictures takes the density beyond bounds:

    - learned="one", what holds where neither is given: one number for all pixels, whose best
      value is the root of the mean squared error   (sigma-VAE: Rybkin et al., 2021, section 3);
    - learned="pixel": the decoder says one for each pixel beside its mean.

    Samples are rounded to levels, and to 0 and 1 where they lie outside, so that near those the
    mean of samples is not `mean`.

    Arguments: `vocab`; `sigma`, a number fixes the width; `learned`, what of it is learned.

    Raises `Refused` for a sigma under 1e-4, or one that is to be learned too.

    >>> p = Gaussian(vocab=6, sigma=0.5)(torch.full((1, 784, 1), 100.0))
    >>> round(-p.log_prob(torch.full((1, 784), 5)).item(), 2)  # every pixel white, as written
    177.02
    """

    def __init__(
        self,
        vocab: int,
        *,
        sigma: float | None = None,
        learned: Literal["one", "pixel"] | None = None,
    ) -> None:
        super().__init__(vocab, 2 if learned == "pixel" else 1)
        if sigma is not None and learned is not None:
            raise Refused(
                f"sigma = {sigma:g} is fixed and learned = {learned!r} is not: leave one out."
            )
        if sigma is not None and not SMALLEST <= sigma < torch.inf:
            raise Refused(
                f"sigma = {sigma:g}: the width of a pixel's noise is {SMALLEST:g} or more; 0.5 "
                "was published for digits."
            )
        if learned not in (None, "one", "pixel"):
            raise Refused(f"learned = {learned!r} is not one of: one, pixel.")
        self.sigma = sigma
        of_all = sigma is None and learned != "pixel"
        self.scale = nn.Parameter(torch.zeros(())) if of_all else None

    def pixels(self, numbers: Tensor) -> Pixels:
        mu = numbers[..., 0].sigmoid()
        each = Normal(mu, self._width(numbers), validate_args=False)
        return Pixels(each, self.levels, 1 / (self.levels - 1))

    def _width(self, numbers: Tensor) -> Tensor | float:
        """sigma, one for all pixels or (*, T)."""
        if self.sigma is not None:
            return self.sigma
        s = numbers[..., 1] if self.scale is None else self.scale
        return NARROWEST + softplus(s + START)
