"""A network that reads a window of fixed length all at once, each position by itself."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..errors import check_sizes
from ..posteriors.posterior import Posterior
from ..vae import Batch
from .sequence import SequenceEncoder, of_length


class WindowEncoder(SequenceEncoder):
    """q(z|x) from the embeddings of a window side by side, by two layers of `hidden` units.

    Bars of music have a fixed length, so that what stands at a position has a path of its own to
    the code: nothing has to be carried along. With `hidden` = 0 there are no layers either, and
    the parameters of q are linear in the embeddings: codes are learnt several times faster so, and
    what lies between two of them is less often like an item. What is behind `length` is not read.

    Arguments: `length` of a window in tokens, `embed`, `hidden` or 0, `dropout`.

    >>> from seqvae.posteriors import GaussianPosterior
    >>> encoder = WindowEncoder(100, GaussianPosterior(8), length=4, embed=16, hidden=32)
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
        embed: int = 64,
        hidden: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        check_sizes(length=length, hidden=hidden or 1)
        width = hidden or length * embed
        super().__init__(vocab, posterior, embed=embed, width=width, dropout=dropout)
        self.length = length
        self.first = nn.Linear(length * embed, hidden) if hidden else None
        self.second = nn.Linear(hidden, hidden) if hidden else None

    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        read = of_length(self.dropout(embedded), batch, self.length)
        flat = torch.flatten(read, 1)
        if self.first is None or self.second is None:
            return flat
        return gelu(self.second(gelu(self.first(flat))))
