"""An LSTM that writes a window of fixed length by a plan laid out from its code."""

import torch
from torch import Tensor, nn

from ..errors import check_sizes
from ..schedules import FAR, Schedule
from .planned import PlannedDecoder
from .sequence import State


class WindowDecoder(PlannedDecoder):
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
        check_sizes(length=length)
        super().__init__(
            vocab,
            latent,
            places=length,
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
        self.lstm = nn.LSTM(embed + self.plan, hidden, batch_first=True)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        state = self.start(z)
        place = torch.arange(x.shape[1], device=x.device).expand(x.shape)
        read = self.read(self.inputs(x, step), state["plan"], place % self.places)
        features, _ = self.lstm(read, self.memory(state))
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        place = torch.zeros(len(z), dtype=torch.long, device=z.device)
        return State({**super().start(z), "place": place})

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        place = state["place"]
        now = (place % self.places).unsqueeze(1)
        read = self.read(tokens.unsqueeze(1), state["plan"], now)
        features, (hidden, cell) = self.lstm(read, self.memory(state))
        after = State({**state, "hidden": hidden[0], "cell": cell[0], "place": place + 1})
        return self.head(self.add_skip(self.dropout(features.squeeze(1)), state["z"])), after
