"""An LSTM that writes a sequence from a code."""

import torch
from torch import Tensor, nn

from ..errors import check_sizes
from ..schedules import FAR, Schedule
from .sequence import SequenceDecoder, State


class LSTMDecoder(SequenceDecoder):
    """Next-token scores by an LSTM   (Bowman et al., 2016).

    At the start z sets the cell c_0 = W z and the hidden state h_0 = tanh(c_0) of every layer; at
    every step it is concatenated to the embedding of the token just read (He et al., 2019).

    Arguments: those of `SequenceDecoder`, `hidden` units a layer and the number of `layers`.

    >>> decoder = LSTMDecoder(vocab=100, latent=8, embed=16, hidden=32)
    >>> decoder(torch.zeros(5, 8)).log_prob(torch.full((5, 3), 7)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        embed: int = 256,
        hidden: int = 512,
        layers: int = 1,
        at_start: bool = True,
        at_every_step: bool = True,
        word_dropout: float | Schedule = 0.0,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        check_sizes(hidden=hidden, layers=layers)
        super().__init__(
            vocab,
            latent,
            embed=embed,
            width=hidden,
            at_start=at_start,
            at_every_step=at_every_step,
            word_dropout=word_dropout,
            dropout=dropout,
            tied=tied,
        )
        self.layers = layers
        self.hidden = hidden
        self.first = nn.Linear(latent, layers * hidden, bias=False) if self.at_start else None
        self.lstm = nn.LSTM(
            embed + latent * self.at_every_step,
            hidden,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
        )

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        read = self._read(self.inputs(x, step), z)
        features, _ = self.lstm(read, self._memory(self.start(z)))
        return self.dropout(features)

    def start(self, z: Tensor) -> State:
        cell = z.new_zeros(len(z), self.layers, self.hidden)
        if self.first is not None:
            cell = self.first(z).view_as(cell)
        return State(hidden=cell.tanh(), cell=cell, z=z)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        read = self._read(tokens.unsqueeze(1), state["z"])
        features, (hidden, cell) = self.lstm(read, self._memory(state))
        after = State(hidden=hidden.transpose(0, 1), cell=cell.transpose(0, 1), z=state["z"])
        return self.head(self.dropout(features.squeeze(1))), after

    def _read(self, tokens: Tensor, z: Tensor) -> Tensor:
        embedded = self.dropout(self.embedding(tokens))
        if not self.at_every_step:
            return embedded
        return torch.cat([embedded, z.unsqueeze(1).expand(-1, tokens.shape[1], -1)], dim=-1)

    def _memory(self, state: State) -> tuple[Tensor, Tensor]:
        # nn.LSTM wants its state layers first, and contiguous.
        hidden, cell = state["hidden"], state["cell"]
        return hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
