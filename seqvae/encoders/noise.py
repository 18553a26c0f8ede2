"""The encoder of a control: a code that knows nothing of its item."""

import torch
from torch.distributions import Distribution

from ..posteriors.posterior import Posterior
from ..vae import Batch, Encoder


class NoiseEncoder(Encoder):
    """q(z|x) = the posterior head at zero, whatever x: the decoder is fed independent noise.

    With a GaussianPosterior that is N(0, I) (to 1e-4), so under the prior N(0, I) the KL is 0 and
    the ELBO bounds a model without a code. Trained like any other it says what the decoder's
    extra input costs or gains with nothing in it: a second baseline beside the language model.

    >>> from seqvae.posteriors import GaussianPosterior
    >>> x, length = torch.tensor([[5, 6, 3], [7, 3, 0]]), torch.tensor([3, 2])
    >>> q = NoiseEncoder(GaussianPosterior(8))(Batch(x, length, None, torch.arange(2)))
    >>> q.mean.abs().max().item(), round(q.stddev.max().item(), 3)
    (0.0, 1.0)
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, batch: Batch) -> Distribution:
        return self.posterior(
            torch.zeros(len(batch.x), self.posterior.size, device=batch.x.device)
        )
