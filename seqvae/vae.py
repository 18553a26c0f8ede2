"""Three networks that each return a distribution: encoder, prior, decoder.

    encoder  x -> q(z | x)          prior -> p(z)          decoder  z -> p(x | z)

Loss terms, networks and data formats are values that meet here and know nothing of each other.
Read this file first. Letters: B batch, T time, D latent, V vocabulary; all quantities in nats.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .schedules import FAR


class Batch(NamedTuple):
    """Items side by side: sequences (B, T) int64 padded behind their end, or pixels (B, C, H, W).

    `length` (B,) counts tokens with EOS; `label` (B,) or None; `item` (B,) are rows of the corpus;
    `step` is the training step that the batch belongs to.
    """

    x: Tensor
    length: Tensor
    label: Tensor | None
    item: Tensor
    step: int = 0

    def to(self, device: torch.device | str) -> "Batch":
        label = None if self.label is None else self.label.to(device)
        return self._replace(x=self.x.to(device), length=self.length.to(device), label=label)

    def part(self, start: int, stop: int) -> "Batch":
        """Items start to stop, padded no further than their own longest."""
        length = self.length[start:stop]
        x = self.x[start:stop]
        if x.dim() == 2:
            x = x[:, : int(length.max())]
        label = None if self.label is None else self.label[start:stop]
        return Batch(x, length, label, self.item[start:stop], self.step)


class Encoder(nn.Module, ABC):
    """x -> q(z | x), a distribution with batch shape (B,) and event shape (D,)."""

    @abstractmethod
    def forward(self, batch: Batch) -> Distribution: ...


class Prior(nn.Module, ABC):
    """-> p(z), event shape (D,)."""

    @abstractmethod
    def forward(self) -> Distribution: ...


class Decoder(nn.Module, ABC):
    """Codes z (*, B, D) -> p(x | z), whose `log_prob(x)` is (*, B).

    `step` is that of training, for what changes with it, as a schedule of word dropout.
    """

    @abstractmethod
    def forward(self, z: Tensor, step: int = FAR) -> Distribution: ...


class Pass(NamedTuple):
    """One trip of a batch through the model; objectives and penalties read it."""

    batch: Batch
    q: Distribution
    p: Distribution
    z: Tensor
    px: Distribution
    log_px: Tensor


class VAE(nn.Module):
    """An encoder, a prior and a decoder   (Kingma and Welling, 2014)."""

    def __init__(self, encoder: Encoder, prior: Prior, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.prior = prior
        self.decoder = decoder

    def forward(self, batch: Batch) -> Pass:
        """z ~ q(z|x), one sample an item; `log_px` (B,) is log p(x|z), summed over tokens."""
        q = self.encoder(batch)
        z = q.rsample()
        px = self.decoder(z, batch.step)
        return Pass(batch, q, self.prior(), z, px, px.log_prob(batch.x))

    def log_weights(self, batch: Batch, samples: int, q: Distribution | None = None) -> Tensor:
        """log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x) for z_k ~ q: (K, B) nats.

        q is the encoder's posterior unless another is given. The mean over k estimates the ELBO,
        and logsumexp - log K is the importance-weighted bound on log p(x), which tightens with K
        (Burda et al., 2016, equation 8).
        """
        q = self.encoder(batch) if q is None else q
        z = q.rsample((samples,))
        log_px = self.decoder(z, batch.step).log_prob(batch.x)
        return log_px + self.prior().log_prob(z) - q.log_prob(z)
