"""An LSTM that writes a window of fixed length by a plan laid out from its code."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..errors import check_sizes
from ..schedules import FAR, Schedule
from .sequence import SequenceDecoder, State


class WindowDecoder(SequenceDecoder):
    """Next-token scores by an LSTM that reads, at each position, that position's share of z.

    The code is laid out as a plan, W_t gelu(W z) for t = 1 … `length`, and the LSTM reads the
    plan's vector of the position it writes beside the embedding of the token before. So a code
    says *where* something happens without the LSTM counting steps. The idea is that of a
    conductor above a decoder (Roberts et al., 2018), down to single steps and without recurrence.
    With `direct` it is W_t z, without the layer in between. Positions behind `length` begin the
    plan anew. z also sets the first state.

    Arguments: those of `SequenceDecoder`; `length` of a window in tokens; `plan`, numbers a
        position; `direct`; `hidden` units of the LSTM and of the layer that plans.

    >>> decoder = WindowDecoder(vocab=100, latent=8, length=4, plan=8, embed=16, hidden=32)
    >>> decoder(torch.zeros(5, 8)).log_prob(torch.full((5, 4), 7)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        length: int,
        plan: int = 64,
        direct: bool = False,
        embed: int = 64,
        hidden: int = 512,
        at_start: bool = True,
        at_every_step: bool = True,
        skip: bool = False,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        check_sizes(length=length, plan=plan, hidden=hidden)
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
        self.length = length
        self.hidden = hidden
        self.first = nn.Linear(latent, hidden, bias=False) if self.at_start else None
        self.planner = nn.Linear(latent, hidden) if self.at_every_step and not direct else None
        known = latent if direct else hidden
        self.layout = nn.Linear(known, length * plan) if self.at_every_step else None
        self.lstm = nn.LSTM(embed + plan * self.at_every_step, hidden, batch_first=True)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        state = self.start(z)
        place = torch.arange(x.shape[1], device=x.device).expand(x.shape)
        read = self._read(self.inputs(x, step), state["plan"], place)
        features, _ = self.lstm(read, self._memory(state))
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        cell = z.new_zeros(len(z), self.hidden) if self.first is None else self.first(z)
        plan = z.new_zeros(len(z), self.length, 0)
        if self.layout is not None:
            known = z if self.planner is None else gelu(self.planner(z))
            plan = self.layout(known).view(len(z), self.length, -1)
        place = torch.zeros(len(z), dtype=torch.long, device=z.device)
        return State(hidden=cell.tanh(), cell=cell, plan=plan, place=place, z=z)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        place = state["place"]
        read = self._read(tokens.unsqueeze(1), state["plan"], place.unsqueeze(1))
        features, (hidden, cell) = self.lstm(read, self._memory(state))
        after = State({**state, "hidden": hidden[0], "cell": cell[0], "place": place + 1})
        return self.head(self.add_skip(self.dropout(features.squeeze(1)), state["z"])), after

    def _read(self, tokens: Tensor, plan: Tensor, place: Tensor) -> Tensor:
        """What is read at places (B, T): tokens there, and their part of the plan."""
        at = (place % self.length).unsqueeze(-1).expand(-1, -1, plan.shape[-1])
        return torch.cat([self.dropout(self.embedding(tokens)), plan.gather(1, at)], dim=-1)

    def _memory(self, state: State) -> tuple[Tensor, Tensor]:
        return state["hidden"].unsqueeze(0).contiguous(), state["cell"].unsqueeze(0).contiguous()
