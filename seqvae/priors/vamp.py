"""A mixture of the encoder's own posteriors, at inputs that are learned."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from ..distributions import gaussian
from ..errors import Refused, check_sizes
from ..tokens import EOS
from ..vae import Batch, Encoder, Prior

PosteriorOf = Callable[[Tensor, Batch], Distribution]


class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z | u_k), u_k pseudo-inputs learned with the model   (VampPrior).

    Tomczak and Welling (2018), equation 9: of all mixtures of K posteriors the nearest to the
    aggregate posterior is the best prior. Sequences have no gradient, so a pseudo-input is a row
    of `length` vectors that stand where embeddings do, (K, length, E), and the encoder reads it
    as such: a prior costs as much as a batch of K items. Whatever the posterior is, the prior is
    a mixture of the same; KL is estimated from the one code of each item.

    The encoder stays the model's: the prior only calls it, so that its weights are trained, saved
    and copied once. What corrupts items (`encoder.noise`) does not touch pseudo-inputs.

    Arguments:
        latent: D.
        encoder: the model's encoder, of sequences, which gives `posterior_of` vectors.
        components: K.
        length: of each pseudo-input in tokens; windows of music have their own.

    Raises `Refused` for an encoder that reads no vectors, or more of tokens than theirs, or whose
    posterior is normalised over the batch: pseudo-inputs would be normalised among themselves, and
    move the running averages.

    >>> from seqvae.encoders import LSTMEncoder
    >>> from seqvae.posteriors import GaussianPosterior
    >>> encoder = LSTMEncoder(100, GaussianPosterior(2), embed=16, hidden=32)
    >>> VampPrior(2, encoder, components=5, length=4)().sample((3,)).shape
    torch.Size([3, 2])
    """

    zeros: Tensor

    def __init__(
        self, latent: int, encoder: Encoder, *, components: int = 64, length: int = 16
    ) -> None:
        super().__init__()
        check_sizes(components=components, length=length)
        self.register_buffer("zeros", torch.zeros(latent), persistent=False)
        if latent == 0:  # a language model: there is nothing to be a prior of
            return
        reader: Any = getattr(encoder, "encoder", encoder)  # inside of what corrupts its items
        _check(reader)
        # The bound method and not the encoder, which would be registered here a second time.
        self.posterior_of: PosteriorOf = reader.posterior_of
        size = reader.embedding.embedding_dim
        # As the encoder's embeddings begin.
        self.inputs = nn.Parameter(size**-0.5 * torch.randn(components, length, size))

    def forward(self) -> Distribution:
        if len(self.zeros) == 0:
            return gaussian(self.zeros, self.zeros)
        q = self.posterior_of(self.inputs, self._batch())
        alike = Categorical(logits=self.inputs.new_zeros(len(self.inputs)), validate_args=False)
        return MixtureSameFamily(alike, q, validate_args=False)

    def _batch(self) -> Batch:
        """What an encoder may read of it: that every token is real, and how many there are."""
        count, length, _ = self.inputs.shape
        x = torch.full((count, length), EOS, device=self.inputs.device)
        return Batch(x, x.new_full((count,), length), None, torch.arange(count))


def _check(encoder: Any) -> None:
    if not hasattr(encoder, "posterior_of"):
        raise Refused(
            f"a VampPrior is a mixture of posteriors of learned sequences of vectors, which "
            f"{type(encoder).__name__} does not read. Use an encoder of sequences such as "
            "LSTMEncoder, or the prior GaussianMixture."
        )
    if encoder.reads_ids:
        raise Refused(
            f"a VampPrior's pseudo-inputs are vectors of no token, and {type(encoder).__name__} "
            "reads of tokens when they happen. Use an LSTMEncoder, or the prior GaussianMixture."
        )
    if any(isinstance(part, nn.BatchNorm1d) for part in encoder.modules()):
        raise Refused(
            "a VampPrior reads pseudo-inputs as a batch of their own, and a BatchNormPosterior "
            "would normalise them among themselves. Use the prior StandardNormal, under which "
            "its floor holds, or a GaussianPosterior."
        )
