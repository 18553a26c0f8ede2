"""Sentences with words missing, blank, wrong or out of place."""

import torch
from torch import Tensor, nn

from ..errors import Refused, check_shares
from ..tokens import BOS, EOS, PAD, SPECIAL, UNK
from ..vae import Batch


class Words(nn.Module):
    """Items whose words are moved, lost, blanked and replaced, in this order (Shen et al., 2020).

    - shuffle: each word moves by at most so many places: words are sorted by i + u, i their place
      and u uniform between 0 and shuffle + 1   (Lample et al., 2018, section 3.3).
    - drop: the share of words that are lost; the others close ranks. One word is always left.
    - blank: the share of the words left that become UNK.
    - substitute: the share of them that become any word of the vocabulary, each as likely, itself
      too. No word is both blanked and replaced.

    EOS stays the last token and PAD behind it; only `x` and `length` change. Random numbers are
    torch's own.

    Windows of music have a fixed length and no EOS, and a position there is a time: they cannot
    lose tokens, and `drop` is refused. Blank them instead.

    Arguments: `vocab` V; `length` of items where all have the same, as such windows do.

    Raises `Refused` for shares outside 0 to 1, or that no words are left for, and for `drop`
    where items have no EOS.

    >>> x, length = torch.tensor([[5, 6, 7, 3], [8, 3, 0, 0]]), torch.tensor([4, 2])
    >>> noisy = Words(vocab=9, blank=1.0)(Batch(x, length, None, torch.arange(2)))
    >>> noisy.x.tolist()
    [[1, 1, 1, 3], [1, 3, 0, 0]]
    """

    def __init__(
        self,
        vocab: int,
        *,
        length: int | None = None,
        drop: float = 0.0,
        blank: float = 0.0,
        substitute: float = 0.0,
        shuffle: int = 0,
    ) -> None:
        super().__init__()
        check_shares(drop=drop, blank=blank, substitute=substitute)
        if blank + substitute > 1:
            raise Refused(
                f"blank = {blank:g} and substitute = {substitute:g} are shares of the same words; "
                "together they are at most 1."
            )
        if shuffle < 0:
            raise Refused(f"shuffle = {shuffle}: words move by 0 places or more.")
        if substitute and vocab <= SPECIAL:
            raise Refused(f"a vocabulary of {vocab} ids has no words to substitute by.")
        if drop and length is not None:
            raise _no_end()
        self.vocab = vocab
        self.drop = drop
        self.blank = blank
        self.substitute = substitute
        self.shuffle = shuffle

    def forward(self, batch: Batch) -> Batch:
        x, length = batch.x, batch.length
        if self.shuffle:
            x = _shuffled(x, self.shuffle)
        if self.drop:
            x, length = _dropped(x, length, self.drop)
        if self.blank or self.substitute:
            x = self._replaced(x)
        return batch._replace(x=x, length=length)

    def _replaced(self, x: Tensor) -> Tensor:
        u, words = torch.rand(x.shape, device=x.device), _is_word(x)
        blank = words & (u < self.blank)
        other = words & ~blank & (u < self.blank + self.substitute)
        drawn = torch.randint_like(x, min(SPECIAL, self.vocab - 1), self.vocab)
        return torch.where(other, drawn, x).masked_fill(blank, UNK)


def _is_word(x: Tensor) -> Tensor:
    return ~torch.isin(x, x.new_tensor([PAD, BOS, EOS]))


def _shuffled(x: Tensor, most: int) -> Tensor:
    """Each word at most so many places from where it was, all else where it was."""
    u = torch.rand(x.shape, device=x.device).masked_fill(~_is_word(x), 1.0)
    place = torch.arange(x.shape[1], device=x.device) + float(most + 1) * u
    return x.gather(1, place.argsort(dim=1, stable=True))


def _dropped(x: Tensor, length: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Items without this share of their words, and how long they still are."""
    if not bool((x.gather(1, length.unsqueeze(1) - 1) == EOS).all()):
        raise _no_end()
    u = torch.rand(x.shape, device=x.device).masked_fill(~_is_word(x), 2.0)
    last = u.masked_fill(u > 1, -1.0).amax(1, keepdim=True)  # lost only if all words were
    kept = (x != PAD) & ((u >= share) | (u == last))
    length = kept.sum(1)
    order = (~kept).byte().argsort(dim=1, stable=True)
    closed = x.masked_fill(~kept, PAD).gather(1, order)
    return closed[:, : int(length.max())], length


def _no_end() -> Refused:
    return Refused(
        "drop shortens items, and these do not end on EOS: they are windows of a fixed length, "
        "whose positions are times. Use blank, which hides as many of their tokens in place."
    )
