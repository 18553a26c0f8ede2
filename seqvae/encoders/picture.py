"""What encoders of pictures share: brightness in, one summary, a posterior out."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..pixels import brightness, levels_of
from ..posteriors.posterior import Posterior
from ..vae import Batch, Encoder


class PictureEncoder(Encoder):
    """Ids (B, H*W*C) -> brightness in [0, 1] -> a summary (B, width) -> q(z|x).

    Arguments:
        vocab: V, four ids and the levels of brightness.
        posterior: the head that turns numbers into a distribution; its `size` sets the output.
        width: size of the summary.
    """

    def __init__(self, vocab: int, posterior: Posterior, *, width: int) -> None:
        super().__init__()
        levels_of(vocab)  # or it is refused
        self.vocab = vocab
        self.parameters_of = nn.Linear(width, posterior.size)
        self.posterior = posterior

    @abstractmethod
    def summary(self, pixels: Tensor) -> Tensor:
        """Brightness (B, H*W*C) -> (B, width)."""

    def forward(self, batch: Batch) -> Distribution:
        parameters = self.parameters_of(self.summary(brightness(batch.x, self.vocab)))
        # Densities need float32 even where the networks run in bfloat16.
        with torch.autocast(parameters.device.type, enabled=False):
            return self.posterior(parameters.float())
