"""An encoder that reads a corrupted item, in training only."""

from torch import nn
from torch.distributions import Distribution

from ..vae import Batch, Encoder


class Denoising(Encoder):
    """q(z | noise(x)) in training, q(z | x) otherwise   (Vincent et al., 2008).

    The decoder still has to write x itself. On sentences a corrupted encoder draws similar
    sentences to similar codes   (DAAE: Shen et al., 2020, section 3).

    Arguments: the `encoder` to wrap, and a `noise`, Batch -> Batch.
    """

    def __init__(self, encoder: Encoder, noise: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.noise = noise

    def forward(self, batch: Batch) -> Distribution:
        return self.encoder(self.noise(batch) if self.training else batch)
