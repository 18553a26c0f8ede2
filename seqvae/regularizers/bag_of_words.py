"""The words of an item, in any order, must be readable from its code alone."""

import torch
from torch import Tensor, nn

from ..errors import check_sizes
from ..tokens import BOS, EOS, PAD
from ..vae import Pass
from .regularizer import Regularizer


class BagOfWords(Regularizer):
    """-sum_t log softmax(f(z))[x_t] per item (B,), nats: f a network of one layer of `hidden`.

    An auxiliary loss beside the decoder's, which tells all words at once without hearing those
    before, so that the code must say which they are   (Zhao et al., 2017, with weight 1). PAD, BOS
    and EOS are no words; the authors' code also counts EOS, of which each sentence has one
    whatever its code. f learns with all other networks. A code of no dimensions can say nothing,
    and costs nothing here.

    Arguments: `vocab` V, `latent` D, `hidden` units (400 in the authors' code).

    >>> from seqvae.distributions import gaussian
    >>> from seqvae.vae import Batch
    >>> q = gaussian(torch.zeros(2, 8), torch.ones(2, 8))
    >>> x, length = torch.tensor([[5, 6, 3], [7, 3, 0]]), torch.tensor([3, 2])
    >>> batch = Batch(x, length, None, torch.arange(2))
    >>> BagOfWords(100, 8)(Pass(batch, q, q, q.rsample(), q, torch.zeros(2))).shape
    torch.Size([2])
    """

    def __init__(self, vocab: int, latent: int, *, hidden: int = 400) -> None:
        super().__init__()
        check_sizes(hidden=hidden)
        layers = [nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, vocab)] if latent else []
        self.network = nn.Sequential(*layers)

    def forward(self, out: Pass) -> Tensor:
        if out.z.shape[-1] == 0:
            return out.z.sum(-1)
        x = out.batch.x
        log_p = self.network(out.z).float().log_softmax(-1)
        words = ~torch.isin(x, x.new_tensor([PAD, BOS, EOS]))
        return -(log_p.gather(-1, x) * words).sum(-1)
