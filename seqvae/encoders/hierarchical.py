"""Networks that read a window bar by bar, and then its bars."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..errors import check_parts, check_sizes
from ..layers import dense
from ..posteriors.posterior import Posterior
from ..vae import Batch
from .sequence import SequenceEncoder, real_tokens


class HierarchicalEncoder(SequenceEncoder):
    """q(z|x) from a network over the bars of a window, each read by another of its own beginning.

    The window is cut into parts of equal length, its bars; one bidirectional LSTM reads each, all
    side by side, and another the bars' last states. So a token is length / bars + bars steps from
    the code at most, and reading takes as many, where a flat LSTM has `length` of both. Not
    `recurrent`, each of the two is a pair of dense layers that read a bar's tokens side by side,
    and its bars, as `WindowEncoder` does: then no step is on the way. What is behind `length` is
    not read, and what is missing is a vector of zeros.

    Arguments: `length` of a window in tokens, `bars` it has, `embed`, `hidden` units a direction
        of the LSTM inside bars and `over`, of that over them, of which dense layers have twice as
        many; `recurrent`: LSTMs, not dense layers; `dropout`.

    Raises `Refused` where the bars do not divide the length.

    >>> from seqvae.posteriors import GaussianPosterior
    >>> q = GaussianPosterior(8)
    >>> encoder = HierarchicalEncoder(100, q, length=4, bars=2, embed=16, hidden=32, over=32)
    >>> x = torch.tensor([[5, 6, 7, 8]])
    >>> encoder(Batch(x, torch.tensor([4]), None, torch.arange(1))).mean.shape
    torch.Size([1, 8])
    """

    def __init__(
        self,
        vocab: int,
        posterior: Posterior,
        *,
        length: int,
        bars: int = 16,
        embed: int = 64,
        hidden: int = 256,
        over: int = 256,
        recurrent: bool = True,
        dropout: float = 0.0,
    ) -> None:
        check_parts(length, bars=bars)
        check_sizes(hidden=hidden, over=over)
        super().__init__(vocab, posterior, embed=embed, width=2 * over, dropout=dropout)
        self.length = length
        self.bars = bars
        read = _one_by_one if recurrent else _at_once
        self.inside = read(length // bars, embed, hidden)
        self.over = read(bars, 2 * hidden, over)

    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        read = self.dropout(embedded) * real_tokens(batch.x).unsqueeze(-1)
        missing = max(self.length - read.shape[1], 0)
        read = pad(read[:, : self.length], (0, 0, 0, missing))
        bars = read.reshape(len(read) * self.bars, self.length // self.bars, -1)
        each = self.dropout(self.inside(bars))
        whole: Tensor = self.over(each.view(len(read), self.bars, -1))
        return whole


class _OneByOne(nn.Module):
    """A bidirectional LSTM: (N, T, E) -> its states at the end and at the start, (N, 2H)."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, units, batch_first=True, bidirectional=True)

    def forward(self, read: Tensor) -> Tensor:
        forwards, backwards = self.lstm(read)[0].chunk(2, dim=-1)
        return torch.cat([forwards[:, -1], backwards[:, 0]], dim=-1)


def _one_by_one(length: int, width: int, units: int) -> nn.Module:
    return _OneByOne(width, units)


def _at_once(length: int, width: int, units: int) -> nn.Module:
    """Two layers that read what stands side by side: (N, T, E) -> (N, 2H)."""
    return nn.Sequential(nn.Flatten(), dense([length * width, 2 * units, 2 * units], "gelu"))
