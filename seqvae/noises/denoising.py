"""An encoder that reads a corrupted item, in training only."""

from torch import nn
from torch.distributions import Distribution

from ..vae import Batch, Encoder


class Denoising(Encoder):
    """q(z | noise(x)) in training, q(z | x) otherwise   (Vincent et al., 2008).

    The decoder still has to write x itself. On sentences a corrupted encoder draws similar
    sentences to similar codes   (DAAE: Shen et al., 2020, section 3).

    Arguments: the `encoder` to wrap, and a `noise`, Batch -> Batch.

    >>> import torch
    >>> from seqvae.encoders import LSTMEncoder
    >>> from seqvae.noises import Words
    >>> from seqvae.posteriors import DeltaPosterior
    >>> read = Denoising(LSTMEncoder(9, DeltaPosterior(2), hidden=4), Words(vocab=9, blank=1.0))
    >>> x = torch.tensor([[5, 6, 3], [7, 8, 3]])
    >>> batch = Batch(x, torch.tensor([3, 3]), None, torch.arange(2))
    >>> for training in (True, False):  # without their words two sentences are the same
    ...     one, other = read.train(training)(batch).mean
    ...     bool((one - other).abs().max() < 1e-6)
    True
    False
    """

    def __init__(self, encoder: Encoder, noise: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.noise = noise

    def forward(self, batch: Batch) -> Distribution:
        return self.encoder(self.noise(batch) if self.training else batch)
