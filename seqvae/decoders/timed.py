"""An LSTM that writes events by a plan laid out over the time in which they happen."""

import torch
from torch import Tensor, nn

from ..clock import Timekeeper
from ..codecs.codec import Clock
from ..schedules import FAR, Schedule
from ..tokens import BOS
from .planned import PlannedDecoder
from .sequence import State


class TimedDecoder(PlannedDecoder):
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
        time = Timekeeper(clock)
        super().__init__(
            vocab,
            latent,
            places=time.steps,
            plan=plan,
            direct=direct,
            embed=embed,
            hidden=hidden,
            at_start=at_start,
            at_every_step=at_every_step,
            skip=skip,
            word_dropout=word_dropout,
            scheduled_sampling=scheduled_sampling,
            dropout=dropout,
            tied=tied,
        )
        self.time = time
        self.lstm = nn.LSTM(embed + (plan + latent) * self.at_every_step, hidden, batch_first=True)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        state = self.start(z)
        before = torch.cat([torch.full_like(x[:, :1], BOS), x[:, :-1]], dim=1)
        read = self.read(self.inputs(x, step), state["plan"], self.time(before))
        features, _ = self.lstm(read, self.memory(state))
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        time = self.time.before(torch.zeros(len(z), dtype=torch.long, device=z.device))
        return State({**super().start(z), "time": time})

    def laid_out(self, z: Tensor) -> Tensor:
        plan = super().laid_out(z)
        if not self.at_every_step:
            return plan
        return torch.cat([plan, z.unsqueeze(1).expand(-1, self.places, -1)], dim=-1)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        time = self.time.after(tokens, state["time"])
        now = self.time.within(time).unsqueeze(1)
        read = self.read(tokens.unsqueeze(1), state["plan"], now)
        features, (hidden, cell) = self.lstm(read, self.memory(state))
        after = State({**state, "hidden": hidden[0], "cell": cell[0], "time": time})
        return self.head(self.add_skip(self.dropout(features.squeeze(1)), state["z"])), after
