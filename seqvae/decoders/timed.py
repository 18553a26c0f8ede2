"""An LSTM that writes events by a plan laid out over the time in which they happen."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..clock import Timekeeper
from ..codecs.codec import Clock
from ..errors import check_sizes
from ..schedules import FAR, Schedule
from ..tokens import BOS
from .sequence import SequenceDecoder, State


class TimedDecoder(SequenceDecoder):
    """Next-token scores by an LSTM that reads z with each event, and its time's share of a plan.

    Events say when they happen, at a step of a bar, and a window has so many steps. The code is
    laid out as a plan over these, W_t gelu(W z), and beside a token the LSTM reads z and the
    vector of the step to which the tokens so far have led. So a code says *when* something
    happens, however many events there are before: what `WindowDecoder` does for tokens that stand
    at fixed places. With `direct` the plan is W_t z, without the layer in between. Word dropout
    hides an event and not its time. z also sets the first state.

    Arguments: those of `SequenceDecoder`; `clock`, what ids say of when; `plan`, numbers a step;
        `direct`; `hidden` units of the LSTM and of the layer that plans.

    >>> clock = Clock(4, 2, (-2,) * 4 + (-1, 0, 2) + (-2,) * 3)
    >>> decoder = TimedDecoder(10, 8, clock=clock, plan=8, embed=16, hidden=32)
    >>> decoder(torch.zeros(5, 8)).log_prob(torch.full((5, 4), 7)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        clock: Clock,
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
        check_sizes(plan=plan, hidden=hidden)
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
        self.hidden = hidden
        self.time = Timekeeper(clock)
        self.first = nn.Linear(latent, hidden, bias=False) if self.at_start else None
        self.planner = nn.Linear(latent, hidden) if self.at_every_step and not direct else None
        known = latent if direct else hidden
        self.layout = nn.Linear(known, self.time.steps * plan) if self.at_every_step else None
        self.lstm = nn.LSTM(embed + (plan + latent) * self.at_every_step, hidden, batch_first=True)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        state = self.start(z)
        before = torch.cat([torch.full_like(x[:, :1], BOS), x[:, :-1]], dim=1)
        read = self._read(self.inputs(x, step), state["plan"], self.time(before))
        features, _ = self.lstm(read, self._memory(state))
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        cell = z.new_zeros(len(z), self.hidden) if self.first is None else self.first(z)
        plan = z.new_zeros(len(z), self.time.steps, 0)
        if self.layout is not None:
            known = z if self.planner is None else gelu(self.planner(z))
            plan = self.layout(known).view(len(z), self.time.steps, -1)
            plan = torch.cat([plan, z.unsqueeze(1).expand(-1, self.time.steps, -1)], dim=-1)
        time = self.time.before(torch.zeros(len(z), dtype=torch.long, device=z.device))
        return State(hidden=cell.tanh(), cell=cell, plan=plan, time=time, z=z)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        time = self.time.after(tokens, state["time"])
        now = self.time.within(time).unsqueeze(1)
        read = self._read(tokens.unsqueeze(1), state["plan"], now)
        features, (hidden, cell) = self.lstm(read, self._memory(state))
        after = State({**state, "hidden": hidden[0], "cell": cell[0], "time": time})
        return self.head(self.add_skip(self.dropout(features.squeeze(1)), state["z"])), after

    def _read(self, tokens: Tensor, plan: Tensor, time: Tensor) -> Tensor:
        """What is read of tokens (B, T): each, and the plan of its time."""
        at = time.unsqueeze(-1).expand(-1, -1, plan.shape[-1])
        return torch.cat([self.dropout(self.embedding(tokens)), plan.gather(1, at)], dim=-1)

    def _memory(self, state: State) -> tuple[Tensor, Tensor]:
        return state["hidden"].unsqueeze(0).contiguous(), state["cell"].unsqueeze(0).contiguous()
