"""What encoders of sequences share: embeddings in, one summary, a posterior out."""

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import pad

from ..errors import check_shares, check_sizes
from ..posteriors.posterior import Posterior
from ..tokens import PAD
from ..vae import Batch, Encoder

Pool = Literal["last", "max", "mean"]


class SequenceEncoder(Encoder):
    """Tokens (B, T) -> a summary (B, H) -> q(z|x), padding never seen.

    Arguments:
        vocab: V.
        posterior: the head that turns numbers into a distribution; its `size` sets the output.
        embed: size of a token's embedding.
        width: H, size of the summary.
        dropout: dropout of embeddings and summary.
    """

    reads_ids: ClassVar[bool] = False  # whether `summary` reads which tokens there are

    def __init__(
        self, vocab: int, posterior: Posterior, *, embed: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        check_sizes(embed=embed, width=width)
        check_shares(dropout=dropout)
        self.embedding = nn.Embedding(vocab, embed)
        nn.init.normal_(self.embedding.weight, std=embed**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.parameters_of = nn.Linear(width, posterior.size)
        self.posterior = posterior

    @abstractmethod
    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Tokens as vectors (B, T, E) -> one vector an item, (B, H).

        Of the batch only lengths and what is padding may be read: the tokens may be none of the
        vocabulary's (the pseudo-inputs of a `VampPrior`). What reads more has `reads_ids`.
        """

    def forward(self, batch: Batch) -> Distribution:
        return self.posterior_of(self.embedding(batch.x), batch)

    def posterior_of(self, embedded: Tensor, batch: Batch) -> Distribution:
        """q(z|x) of tokens given as vectors (B, T, E)."""
        parameters = self.parameters_of(self.dropout(self.summary(embedded, batch)))
        # Densities need float32 even where the networks run in bfloat16.
        with torch.autocast(parameters.device.type, enabled=False):
            return self.posterior(parameters.float())


def real_tokens(x: Tensor) -> Tensor:
    """(B, T) -> (B, T), true where there is a token and not padding."""
    return x != PAD


def of_length(embedded: Tensor, batch: Batch, length: int) -> Tensor:
    """Vectors (B, T, E) -> (B, length, E): cut there, zeros where nothing is."""
    read = (embedded * real_tokens(batch.x).unsqueeze(-1))[:, :length]
    return pad(read, (0, 0, 0, length - read.shape[1]))


def pool_max(states: Tensor, real: Tensor) -> Tensor:
    """States (B, T, H) -> (B, H), the largest over real tokens."""
    return states.masked_fill(~real.unsqueeze(-1), -torch.inf).amax(1)


def pool_mean(states: Tensor, real: Tensor) -> Tensor:
    """States (B, T, H) -> (B, H), the mean over real tokens."""
    return (states * real.unsqueeze(-1)).sum(1) / real.sum(1, keepdim=True)
