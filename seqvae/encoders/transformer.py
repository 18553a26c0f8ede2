"""A Transformer that reads a sequence, every token seeing every other."""

import math

import torch
from torch import Tensor, nn

from ..attention import Block, sinusoid
from ..errors import check_sizes
from ..posteriors.posterior import Posterior
from ..vae import Batch
from .sequence import Pool, SequenceEncoder, pool_max, pool_mean, real_tokens


class TransformerEncoder(SequenceEncoder):
    """q(z|x) from a bidirectional Transformer, pooled over tokens.

    Arguments: `width` of the residual stream, `heads`, `layers`, `pool` ("last" is the end
    token's state), `dropout`.

    >>> from seqvae.posteriors import GaussianPosterior
    >>> encoder = TransformerEncoder(100, GaussianPosterior(8), width=32, heads=4, layers=2)
    >>> x, length = torch.tensor([[5, 6, 3], [7, 3, 0]]), torch.tensor([3, 2])
    >>> encoder(Batch(x, length, None, torch.arange(2))).mean.shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        vocab: int,
        posterior: Posterior,
        *,
        width: int = 256,
        heads: int = 4,
        layers: int = 4,
        pool: Pool = "mean",
        dropout: float = 0.1,
    ) -> None:
        check_sizes(width=width, heads=heads, layers=layers)
        super().__init__(vocab, posterior, embed=width, width=width, dropout=dropout)
        self.pool = pool
        self.scale = math.sqrt(width)  # embeddings to size 1, that of the sinusoids
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        real = real_tokens(batch.x)
        states = self.states(embedded, real)
        if self.pool == "max":
            return pool_max(states, real)
        if self.pool == "mean":
            return pool_mean(states, real)
        return states[torch.arange(len(states), device=states.device), batch.length - 1]

    def states(self, embedded: Tensor, real: Tensor) -> Tensor:
        """A state for every token, (B, T, width)."""
        _, length, width = embedded.shape
        positions = sinusoid(torch.arange(length, device=embedded.device), width)
        states = self.dropout(embedded * self.scale + positions)
        for block in self.blocks:
            states = block(states, mask=real)
        return self.norm(states)
