"""LSTMs that read a window bar by bar, and then its bars."""

import torch
from torch import Tensor, nn

from ..errors import check_parts, check_sizes
from ..posteriors.posterior import Posterior
from ..vae import Batch
from .sequence import SequenceEncoder, of_length


class HierarchicalEncoder(SequenceEncoder):
    """q(z|x) from an LSTM over the bars of a window, each read by an LSTM of its own beginning.

    The window is cut into parts of equal length, its bars; one bidirectional LSTM reads each, all
    side by side, and another the bars' last states. So a token is length / bars + bars steps from
    the code at most, and reading takes as many, where a flat LSTM has `length` of both. What is
    behind `length` is not read, and what is missing is a vector of zeros.

    Arguments: `length` of a window in tokens, `bars` it has, `embed`, `hidden` units a direction
        of the LSTM inside bars and `over`, of that over them, `dropout`.

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
        dropout: float = 0.0,
    ) -> None:
        check_parts(length, bars=bars)
        check_sizes(hidden=hidden, over=over)
        super().__init__(vocab, posterior, embed=embed, width=2 * over, dropout=dropout)
        self.length = length
        self.bars = bars
        self.inside = nn.LSTM(embed, hidden, batch_first=True, bidirectional=True)
        self.over = nn.LSTM(2 * hidden, over, batch_first=True, bidirectional=True)

    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        read = of_length(self.dropout(embedded), batch, self.length)
        bars = read.reshape(len(read) * self.bars, self.length // self.bars, -1)
        each = self.dropout(_ends(self.inside(bars)[0]))
        return _ends(self.over(each.view(len(read), self.bars, -1))[0])


def _ends(states: Tensor) -> Tensor:
    """States (N, T, 2H) -> the last of both directions (N, 2H): that at the end, at the start."""
    forwards, backwards = states.chunk(2, dim=-1)
    return torch.cat([forwards[:, -1], backwards[:, 0]], dim=-1)
