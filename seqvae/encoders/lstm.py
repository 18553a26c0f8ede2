"""An LSTM that reads a sequence, in one direction or both."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import check_sizes
from ..posteriors.posterior import Posterior
from ..vae import Batch
from .sequence import Pool, SequenceEncoder, pool_max, pool_mean, real_tokens


class LSTMEncoder(SequenceEncoder):
    """q(z|x) from a (bi-)LSTM's last state, or the maximum or mean of all of them.

    Pooling keeps a short path from every token to the code, which by itself goes a long way
    against collapse   (Long et al., 2019; Li et al., 2019).

    Arguments: `embed`, `hidden` units a direction, `layers`, `bidirectional`, `pool` ("last",
    "max" or "mean"), `dropout`.

    >>> from seqvae.posteriors import GaussianPosterior
    >>> encoder = LSTMEncoder(100, GaussianPosterior(8), embed=16, hidden=32)
    >>> x, length = torch.tensor([[5, 6, 3], [7, 3, 0]]), torch.tensor([3, 2])
    >>> encoder(Batch(x, length, None, torch.arange(2))).mean.shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        vocab: int,
        posterior: Posterior,
        *,
        embed: int = 256,
        hidden: int = 512,
        layers: int = 1,
        bidirectional: bool = True,
        pool: Pool = "last",
        dropout: float = 0.0,
    ) -> None:
        check_sizes(hidden=hidden, layers=layers)
        directions = 2 if bidirectional else 1
        super().__init__(vocab, posterior, embed=embed, width=directions * hidden, dropout=dropout)
        self.pool = pool
        widths = [embed] + [directions * hidden] * (layers - 1)
        # Two one-way LSTMs, the second on each sequence reversed within its length, are exact
        # without packed sequences, which would leave the fast path of a CPU.
        self.forwards = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)
        self.backwards = nn.ModuleList(
            nn.LSTM(w, hidden, batch_first=True) for w in widths * (directions - 1)
        )

    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        states = self.states(embedded, batch)
        if self.pool == "max":
            return pool_max(states, real_tokens(batch.x))
        if self.pool == "mean":
            return pool_mean(states, real_tokens(batch.x))
        return self._last(states, batch.length)

    def states(self, embedded: Tensor, batch: Batch) -> Tensor:
        """A state for every token, (B, T, directions * hidden), of the top layer."""
        states = self.dropout(embedded)
        turn = reversal(batch.x, batch.length)
        for layer, forward in enumerate(self.forwards):
            read = [cast(nn.LSTM, forward)(states)[0]]
            if self.backwards:
                backward: Any = self.backwards[layer]
                read.append(reorder(backward(reorder(states, turn))[0], turn))
            states = torch.cat(read, dim=-1)
        return states

    def _last(self, states: Tensor, length: Tensor) -> Tensor:
        # The forward LSTM has read everything at the last token, the backward one at the first.
        rows = torch.arange(len(states), device=states.device)
        final = states[rows, length - 1]
        if not self.backwards:
            return final
        half = states.shape[-1] // 2
        return torch.cat([final[:, :half], states[:, 0, half:]], dim=-1)


def reversal(x: Tensor, length: Tensor) -> Tensor:
    """(B, T) positions that turn each sequence around within its length; padding stays.

    >>> reversal(torch.zeros(1, 4), torch.tensor([3])).tolist()
    [[2, 1, 0, 3]]
    """
    position = torch.arange(x.shape[1], device=x.device).expand(x.shape)
    turned = length.unsqueeze(1) - 1 - position
    return torch.where(turned >= 0, turned, position)


def reorder(states: Tensor, order: Tensor) -> Tensor:
    """States (B, T, H) in the order of positions (B, T)."""
    return states.gather(1, order.unsqueeze(-1).expand_as(states))
