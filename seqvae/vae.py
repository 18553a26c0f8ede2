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
    """Items side by side: sequences (B, T) int64 padded behind their end; of pictures, all pixels.

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
    y: Distribution | None = None  # over labels (B, K), where there is a label head


class VAE(nn.Module):
    """An encoder, a prior and a decoder   (Kingma and Welling, 2014); a label head if wanted.

    The head is an encoder whose distribution y(x) is over K labels, event (K,). The decoder, made
    for codes of D + K numbers, reads the probabilities behind z, so that a label which is set says
    what is written and z how (an auxiliary classifier). KL and all that is said of codes are of z
    alone: log p(x | z, y(x)) is told of a label what no KL counts. A label that is certain says
    ln K nats an item at most; probabilities in between may say more.
    """

    def __init__(
        self, encoder: Encoder, prior: Prior, decoder: Decoder, labeller: Encoder | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.prior = prior
        self.decoder = decoder
        self.labeller = labeller

    def forward(self, batch: Batch) -> Pass:
        """z ~ q(z|x), one sample an item; `log_px` (B,) is log p(x|z), summed over tokens."""
        q = self.encoder(batch)
        z = q.rsample()
        y = self.label(batch)
        px = self.decoder(beside(z, y), batch.step)
        return Pass(batch, q, self.prior(), z, px, px.log_prob(batch.x), y)

    def label(self, batch: Batch) -> Distribution | None:
        """y(x), the items' labels as the head has them; None where there is no head."""
        return None if self.labeller is None else self.labeller(batch)

    def condition(self, z: Tensor, batch: Batch) -> Tensor:
        """What the decoder reads: z (*, B, D), behind it the label's probabilities (*, B, K)."""
        return beside(z, self.label(batch))

    def log_weights(
        self, batch: Batch, samples: int, q: Distribution | None = None, bf16: bool = False
    ) -> Tensor:
        """log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x) for z_k ~ q: (K, B) nats.

        q is the encoder's posterior unless another is given. The mean over k estimates the ELBO,
        and logsumexp - log K is the importance-weighted bound on log p(x), which tightens with K
        (Burda et al., 2016, equation 8). With `bf16` the decoder multiplies in bfloat16.
        """
        q = self.encoder(batch) if q is None else q
        z = q.rsample((samples,))
        read, device = self.condition(z, batch), z.device.type
        rounded = bf16 or torch.is_autocast_enabled(device)
        with torch.autocast(device, torch.bfloat16, enabled=rounded):
            log_px = self.decoder(read, batch.step).log_prob(batch.x)
        return log_px + self.prior().log_prob(z) - q.log_prob(z)


def beside(z: Tensor, y: Distribution | None) -> Tensor:
    """Codes z (*, B, D) and behind them the probabilities of labels y (B, K): (*, B, D + K).

    Gradient flows into both; z itself where there are no labels.
    """
    return z if y is None else torch.cat([z, y.mean.expand(*z.shape[:-1], -1)], dim=-1)
