"""The encoder of a control: a code that knows nothing of its item."""

import torch
from torch.distributions import Distribution

from ..distributions import gaussian
from ..posteriors.posterior import Posterior
from ..vae import Batch, Encoder


class NoiseEncoder(Encoder):
    """q(z|x) = N(0, I) whatever x: the decoder is fed independent noise.

    Trained like any other model it says what the decoder's extra input costs or gains by itself,
    with nothing in it: a second baseline beside the language model. Under the prior N(0, I) its
    KL is 0, so the ELBO is a bound of a model without a code.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.latent = posterior.latent

    def forward(self, batch: Batch) -> Distribution:
        zeros = torch.zeros(len(batch.x), self.latent, device=batch.x.device)
        return gaussian(zeros, torch.ones_like(zeros))
