"""A network that reads events by the time at which they happen, all of them at once."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..clock import Timekeeper
from ..codecs.codec import Clock
from ..errors import Refused, check_sizes
from ..posteriors.posterior import Posterior
from ..vae import Batch
from .sequence import SequenceEncoder, real_tokens


class TimedEncoder(SequenceEncoder):
    """q(z|x) from what happens at every step of a window, by two layers of `hidden` units.

    A convolution over `reach` tokens, about each token, says what it is together with those beside
    it, as a note's pitch with its velocity and duration; what is said of one step is added up, and
    the steps are read side by side. So what happens at a step has a path of its own to the code,
    however many events there are before it: what `WindowEncoder` does for tokens that stand at
    fixed places. With `hidden` = 0 there are no layers, and the parameters of q are linear in
    what the steps hold.

    Arguments: `clock`, what ids say of when; `embed`; `features` of a step; `reach`, which is odd;
        `hidden` or 0, `dropout`.

    Raises `Refused` for an even reach, which has no middle.

    >>> from seqvae.posteriors import GaussianPosterior
    >>> clock = Clock(4, 2, (-2,) * 4 + (-1, 0, 2) + (-2,) * 3)
    >>> encoder = TimedEncoder(10, GaussianPosterior(8), clock=clock, embed=16, hidden=32)
    >>> x = torch.tensor([[4, 5, 7, 8, 9, 3]])
    >>> encoder(Batch(x, torch.tensor([6]), None, torch.arange(1))).mean.shape
    torch.Size([1, 8])
    """

    reads_ids: ClassVar[bool] = True

    def __init__(
        self,
        vocab: int,
        posterior: Posterior,
        *,
        clock: Clock,
        embed: int = 64,
        features: int = 128,
        reach: int = 5,
        hidden: int = 512,
        dropout: float = 0.0,
    ) -> None:
        check_sizes(features=features, reach=reach, hidden=hidden or 1)
        if reach % 2 == 0:
            raise Refused(f"reach = {reach}: it lies about a token; set an odd number, 3 or 5.")
        time = Timekeeper(clock)
        width = hidden or time.steps * features
        super().__init__(vocab, posterior, embed=embed, width=width, dropout=dropout)
        self.time = time
        self.said = nn.Conv1d(embed, features, reach, padding=reach // 2)
        self.first = nn.Linear(time.steps * features, hidden) if hidden else None
        self.second = nn.Linear(hidden, hidden) if hidden else None

    def summary(self, embedded: Tensor, batch: Batch) -> Tensor:
        real = real_tokens(batch.x).unsqueeze(-1)
        read = self.dropout(embedded) * real
        said = gelu(self.said(read.transpose(1, 2)).transpose(1, 2)) * real
        steps = said.new_zeros(len(said), self.time.steps, said.shape[-1])
        at = self.time(batch.x).unsqueeze(-1).expand_as(said)
        steps = steps.scatter_add(1, at, said)
        flat = torch.flatten(steps, 1)
        if self.first is None or self.second is None:
            return flat
        return gelu(self.second(gelu(self.first(flat))))
