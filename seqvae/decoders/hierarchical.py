"""An LSTM that writes a window bar by bar, under a conductor."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import check_parts, check_sizes
from ..schedules import FAR, Schedule
from ..tokens import PAD
from .conductors import PlanningConductor, RecurrentConductor, memory
from .sequence import SequenceDecoder, State


class HierarchicalDecoder(SequenceDecoder):
    """Next-token scores by a conductor over bars and an LSTM inside each   (MusicVAE).

    The window is cut into parts of equal length, its bars. A conductor, which reads nothing of
    what is written, makes of z a vector c_b for each: an LSTM over bars, as published
    (`RecurrentConductor`), or a layer that lays all of them out at once (`PlanningConductor`).
    The LSTM that writes begins every bar anew, with cell W c_b and hidden state tanh(W c_b), and
    reads c_b beside every token. So all that a bar knows of earlier ones is the last token before
    it: what holds over a long time must be in z (Roberts et al., 2018, section 3.2).

    With a `plan` it reads W_t c_b in place of c_b, what the conductor has for step t of the bar,
    as `WindowDecoder` reads its plan: it need not count steps to know when something is to happen.

    The first token a bar reads is the one before it: teacher-forced the true one, step by step the
    one that was written, where the authors' evaluation has the true one. `features` writes all
    bars side by side, which takes length / bars steps in place of length.

    Tokens behind `length` begin the bars anew, from the same code. Without a code (D = 0) the
    conductor still says which bar it is.

    Arguments: those of `SequenceDecoder`;
        length: of a window in tokens.
        bars: how many parts it has.
        conductor: units of the conductor.
        recurrent: whether the conductor is an LSTM over bars, or lays them out at once.
        plan: numbers a step of a bar; 0: the bar's vector at each.
        hidden: units of the LSTM that writes.
        layers: of each LSTM.

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
        recurrent: bool = True,
        plan: int = 0,
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
        check_sizes(conductor=conductor, plan=plan or 1, hidden=hidden, layers=layers)
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
        self.conductor: nn.Module = (
            RecurrentConductor(
                latent,
                bars,
                conductor,
                layers=layers,
                dropout=dropout,
                at_start=self.at_start,
                at_every_step=self.at_every_step,
            )
            if recurrent
            else PlanningConductor(latent, bars, conductor)
        )
        # As it was asked for: a decoder without a code still hears its conductor.
        self.opening = nn.Linear(conductor, layers * hidden, bias=False) if at_start else None
        self.beside = at_every_step
        told = plan or conductor
        self.layout = nn.Linear(conductor, self.bar * plan) if plan and at_every_step else None
        self.lstm = nn.LSTM(
            embed + told * at_every_step,
            hidden,
            layers,
            batch_first=True,
            dropout=dropout * (layers > 1),
        )

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        items, length = x.shape
        parts = -(-length // self.bar)
        tokens = F.pad(self.inputs(x, step), (0, parts * self.bar - length), value=PAD)
        which = torch.arange(parts, device=x.device) % self.bars
        c = self.conductor(z)[:, which].flatten(0, 1)  # of each bar, (B * parts, C)
        read = self._read(tokens.view(-1, self.bar), self._told(c))
        features, _ = self.lstm(read, memory(*self._opened(c)))
        features = features.reshape(items, parts * self.bar, -1)[:, :length]
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        c = self.conductor(z)
        hidden, cell = self._opened(c[:, 0])
        place = torch.zeros(len(z), dtype=torch.long, device=z.device)
        return State(hidden=hidden, cell=cell, conducted=c, place=place, z=z)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        place, z = state["place"], state["z"]
        rows = torch.arange(len(place), device=place.device)
        c = state["conducted"][rows, place // self.bar % self.bars]
        begins = (place % self.bar == 0)[:, None, None]
        both = zip(self._opened(c), (state["hidden"], state["cell"]), strict=True)
        before = memory(*(torch.where(begins, new, old) for new, old in both))
        told = self._told(c)[rows, place % self.bar].unsqueeze(1)
        features, (hidden, cell) = self.lstm(self._read(tokens.unsqueeze(1), told), before)
        now = {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1), "place": place + 1}
        scores = self.head(self.add_skip(self.dropout(features.squeeze(1)), z))
        return scores, State({**state, **now})

    def _opened(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden state and cell (N, layers, H) in which bars begin, of their vectors (N, C)."""
        cell = c.new_zeros(len(c), self.layers, self.hidden)
        if self.opening is not None:
            cell = self.opening(c).view_as(cell)
        return cell.tanh(), cell

    def _told(self, c: Tensor) -> Tensor:
        """What stands beside the tokens of bars, (N, bar, P), of their vectors (N, C)."""
        if self.layout is None:
            return c.unsqueeze(1).expand(-1, self.bar, -1)
        return self.layout(c).view(len(c), self.bar, -1)

    def _read(self, tokens: Tensor, told: Tensor) -> Tensor:
        """What is read of tokens (N, T): each, and what stands beside it, (N, T, P)."""
        embedded = self.dropout(self.embedding(tokens))
        return torch.cat([embedded, told], dim=-1) if self.beside else embedded
