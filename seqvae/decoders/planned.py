"""A decoder that lays its code out beforehand, and reads at each place what is for there."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..errors import check_sizes
from ..schedules import Schedule
from .sequence import SequenceDecoder, State


class PlannedDecoder(SequenceDecoder):
    """Next-token scores by an LSTM that reads, at each place, that place's share of the code.

    The code is laid out as a plan, W_t gelu(W z) for t = 1 … `places`, or with `direct` as W_t z,
    without the layer in between. z also sets the first state: cell W z, hidden state tanh(W z).
    Which place a token stands at is for the decoder to say.

    Arguments: those of `SequenceDecoder`; `places` of a window; `plan`, numbers a place;
        `direct`; `hidden` units of the LSTM and of the layer that plans; `width` of a feature
        vector, `hidden` unless told.
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        places: int,
        plan: int,
        direct: bool,
        embed: int,
        hidden: int,
        width: int | None = None,
        at_start: bool = True,
        at_every_step: bool = True,
        skip: bool = False,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        check_sizes(plan=plan, hidden=hidden)
        super().__init__(
            vocab,
            latent,
            embed=embed,
            width=hidden if width is None else width,
            at_start=at_start,
            at_every_step=at_every_step,
            skip=skip,
            word_dropout=word_dropout,
            scheduled_sampling=scheduled_sampling,
            dropout=dropout,
            tied=tied,
        )
        self.places = places
        self.hidden = hidden
        self.plan = plan if self.at_every_step else 0
        self.first = nn.Linear(latent, hidden, bias=False) if self.at_start else None
        self.planner = nn.Linear(latent, hidden) if self.plan and not direct else None
        known = latent if direct else hidden
        self.layout = nn.Linear(known, places * plan) if self.plan else None

    def start(self, z: Tensor) -> State:
        cell = z.new_zeros(len(z), self.hidden) if self.first is None else self.first(z)
        return State(hidden=cell.tanh(), cell=cell, plan=self.laid_out(z), z=z)

    def laid_out(self, z: Tensor) -> Tensor:
        """Codes z (B, D) -> their plan (B, places, P); P is 0 where z is not told at each step."""
        if self.layout is None:
            return z.new_zeros(len(z), self.places, 0)
        known = z if self.planner is None else gelu(self.planner(z))
        return self.layout(known).view(len(z), self.places, -1)

    def read(self, tokens: Tensor, plan: Tensor, places: Tensor) -> Tensor:
        """What is read of tokens (B, T) at their places (B, T): each, and the plan there."""
        at = places.unsqueeze(-1).expand(-1, -1, plan.shape[-1])
        return torch.cat([self.dropout(self.embedding(tokens)), plan.gather(1, at)], dim=-1)

    def memory(self, state: State) -> tuple[Tensor, Tensor]:
        """Hidden state and cell (B, H) as nn.LSTM wants them: layers first, and contiguous."""
        return state["hidden"].unsqueeze(0).contiguous(), state["cell"].unsqueeze(0).contiguous()
