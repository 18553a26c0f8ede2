"""An LSTM that writes a window bar by bar, under a conductor."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import check_parts, check_sizes
from ..schedules import FAR, Schedule
from ..tokens import PAD
from .sequence import SequenceDecoder, State


class HierarchicalDecoder(SequenceDecoder):
    """Next-token scores by a conductor over bars and an LSTM inside each   (MusicVAE).

    The window is cut into parts of equal length, its bars. A conductor, an LSTM that reads nothing
    of what is written, makes of z a vector c_b for each. The LSTM that writes them begins every
    bar anew from its vector and reads it beside every token. So all that a bar knows of earlier
    ones is the last token before it: what holds over a long time must be in z (Roberts et al.,
    2018, section 3.2).

    At the start z sets the conductor's cell W z and hidden state tanh(W z), and c_b a bar's so.
    At every step the conductor reads z and which bar it is, where the published one reads a
    constant, and the bar's LSTM c_b and the embedding of the token just read.

    The first token a bar reads is the one before it: teacher-forced the true one, step by step the
    one that was written, where the authors' evaluation has the true one. `features` writes all
    bars side by side, which takes length / bars steps in place of length.

    Tokens behind `length` begin the bars anew, from the same code. Without a code (D = 0) the
    conductor still says which bar it is.

    Arguments: those of `SequenceDecoder`;
        length: of a window in tokens.
        bars: how many parts it has.
        conductor: units of the conductor.
        hidden: units of the LSTM that writes.
        layers: of each of the two.

    Raises `Refused` where the bars do not divide the length.

    >>> decoder = HierarchicalDecoder(100, 8, length=6, bars=2, conductor=16, embed=16, hidden=32)
    >>> decoder(torch.zeros(5, 8)).log_prob(torch.full((5, 6), 7)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        length: int,
        bars: int = 16,
        conductor: int = 512,
        embed: int = 64,
        hidden: int = 512,
        layers: int = 1,
        at_start: bool = True,
        at_every_step: bool = True,
        skip: bool = False,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        check_parts(length, bars=bars)
        check_sizes(conductor=conductor, hidden=hidden, layers=layers)
        super().__init__(
            vocab,
            latent,
            embed=embed,
            width=hidden,
            at_start=at_start,
            at_every_step=at_every_step,
            skip=skip,
            word_dropout=word_dropout,
            scheduled_sampling=scheduled_sampling,
            dropout=dropout,
            tied=tied,
        )
        self.bars = bars
        self.bar = length // bars
        self.layers = layers
        self.hidden = hidden
        deep = {"num_layers": layers, "batch_first": True, "dropout": dropout * (layers > 1)}
        self.first = nn.Linear(latent, layers * conductor, bias=False) if self.at_start else None
        self.conductor = nn.LSTM(bars + latent * self.at_every_step, conductor, **deep)
        # As it was asked for: a decoder without a code still hears its conductor.
        self.opening = nn.Linear(conductor, layers * hidden, bias=False) if at_start else None
        self.beside = at_every_step
        self.lstm = nn.LSTM(embed + conductor * at_every_step, hidden, **deep)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        items, length = x.shape
        parts = -(-length // self.bar)
        tokens = F.pad(self.inputs(x, step), (0, parts * self.bar - length), value=PAD)
        which = torch.arange(parts, device=x.device) % self.bars
        c = self._conducted(z)[:, which].flatten(0, 1)  # of each bar, (B * parts, C)
        read = self._read(tokens.view(-1, self.bar), c)
        features, _ = self.lstm(read, _memory(*self._opened(c)))
        features = features.reshape(items, parts * self.bar, -1)[:, :length]
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        c = self._conducted(z)
        hidden, cell = self._opened(c[:, 0])
        place = torch.zeros(len(z), dtype=torch.long, device=z.device)
        return State(hidden=hidden, cell=cell, conducted=c, place=place, z=z)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        place, z = state["place"], state["z"]
        rows = torch.arange(len(place), device=place.device)
        c = state["conducted"][rows, place // self.bar % self.bars]
        begins = (place % self.bar == 0)[:, None, None]
        opened = zip(self._opened(c), (state["hidden"], state["cell"]), strict=True)
        memory = _memory(*(torch.where(begins, new, old) for new, old in opened))
        features, (hidden, cell) = self.lstm(self._read(tokens.unsqueeze(1), c), memory)
        now = {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1), "place": place + 1}
        scores = self.head(self.add_skip(self.dropout(features.squeeze(1)), z))
        return scores, State({**state, **now})

    def _conducted(self, z: Tensor) -> Tensor:
        """Codes (B, D) -> the conductor's vectors (B, bars, C)."""
        which = torch.eye(self.bars, dtype=z.dtype, device=z.device).expand(len(z), -1, -1)
        told = z.unsqueeze(1).expand(-1, self.bars, -1)
        read = torch.cat([which, told], dim=-1) if self.at_every_step else which
        if self.first is None:
            return self.conductor(read)[0]
        cell = self.first(z).view(len(z), self.layers, -1)
        return self.conductor(read, _memory(cell.tanh(), cell))[0]

    def _opened(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden state and cell (N, layers, H) in which bars begin, of their vectors (N, C)."""
        cell = c.new_zeros(len(c), self.layers, self.hidden)
        if self.opening is not None:
            cell = self.opening(c).view_as(cell)
        return cell.tanh(), cell

    def _read(self, tokens: Tensor, c: Tensor) -> Tensor:
        """Tokens (N, T) of bars and beside each its bar's vector (N, C)."""
        embedded = self.dropout(self.embedding(tokens))
        if not self.beside:
            return embedded
        return torch.cat([embedded, c.unsqueeze(1).expand(-1, tokens.shape[1], -1)], dim=-1)


def _memory(hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """(N, layers, H) as nn.LSTM wants it: layers first, and contiguous."""
    return hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
