"""A network that reads the bars of a window alike, and lays them side by side."""

import torch
from torch import Tensor, nn

from ..errors import check_parts, check_sizes
from ..layers import dense
from ..posteriors.posterior import Posterior
from ..vae import Batch
from .sequence import SequenceEncoder, of_length


class BarwiseEncoder(SequenceEncoder):
    """q(z|x) from the bars of a window, each read by the same two layers, side by side.

    The window is cut into parts of equal length, its bars. Of each, two dense layers read all
    tokens at once, as `WindowEncoder` reads a window, and `share` numbers are made of it; those of
    all bars together are what the parameters of q are a linear function of. So the layers learn
    from every bar, and what stands in one has a short way to the code: with layers or an LSTM over
    the bars in between, codes are learnt several times slower. What is behind `length` is not
    read, and what is missing is a vector of zeros.

    Arguments: `length` of a window in tokens, `bars` it has, `embed`, `hidden` units of the
        layers or 0, without any, `share` numbers of a bar, `dropout`.

    Raises `Refused` where the bars do not divide the length.

    >>> from seqvae.posteriors import GaussianPosterior
    >>> q = GaussianPosterior(8)
    >>> encoder = BarwiseEncoder(100, q, length=4, bars=2, embed=16, hidden=32, share=6)
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
        share: int = 64,
        dropout: float = 0.0,
    ) -> None:
        check_parts(length, bars=bars)
        check_sizes(hidden=hidden or 1, share=share)
        super().__init__(vocab, posterior, embed=embed, width=bars * share, dropout=dropout)
        self.length = length
        self.bars = bars
        read = length // bars * embed
        self.inside = dense([read, hidden, hidden] if hidden else [read], "gelu")
        self.own = nn.Linear(hidden or read, share)

    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        read = of_length(self.dropout(embedded), batch, self.length)
        each = self.inside(read.reshape(len(read) * self.bars, -1))
        return torch.flatten(self.own(self.dropout(each)).view(len(read), self.bars, -1), 1)
