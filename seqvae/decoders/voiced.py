"""An LSTM over the steps of a window, at each of which several voices are written in turn."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..errors import check_parts, check_sizes
from ..schedules import FAR, Schedule
from ..tokens import PAD
from .planned import PlannedDecoder
from .sequence import State


class VoicedDecoder(PlannedDecoder):
    """Next-token scores by an LSTM that takes one step for `voices` tokens, and then each in turn.

    A window is a grid: at each of its length / P steps stand P tokens, one of every voice, in a
    fixed order. Let r_sp be what is read where voice p of step s is written: the token before it.
    The LSTM reads the P tokens that came last when a step begins, side by side, and the step's
    share of z, W_s gelu(W z), laid out beforehand as by `WindowDecoder`. Of its state h_s and of
    what was written in the step so far a voice makes

        f_sp = gelu(V_p h_s + b_p + sum over q <= p of U_pq e(r_sq))

    with weights of its own, as in a neural autoregressive density estimator (Larochelle and
    Murray, 2011), and f_sp is what the scores are made of. So a step of P tokens costs the LSTM
    what one costs it, and what a voice played last is one step behind it, not P. z also sets the
    first state. Tokens behind `length` begin the plan anew.

    Arguments: those of `SequenceDecoder`;
        length: of a window in tokens.
        voices: P, the tokens of a step.
        plan: numbers a step.
        direct: whether the plan is W_s z, without the layer in between.
        hidden: units of the LSTM and of the layer that plans.
        inner: units of a voice.

    Raises `Refused` where the voices do not divide the length.

    >>> decoder = VoicedDecoder(100, 8, length=6, voices=3, embed=16, hidden=32, inner=24)
    >>> decoder(torch.zeros(5, 8)).log_prob(torch.full((5, 6), 7)).shape
    torch.Size([5])
    """

    earlier: Tensor

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        length: int,
        voices: int,
        plan: int = 64,
        direct: bool = False,
        embed: int = 32,
        hidden: int = 512,
        inner: int = 128,
        at_start: bool = True,
        at_every_step: bool = True,
        skip: bool = False,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        check_parts(length, voices=voices)
        check_sizes(inner=inner)
        super().__init__(
            vocab,
            latent,
            places=length // voices,
            plan=plan,
            direct=direct,
            embed=embed,
            hidden=hidden,
            width=inner,
            at_start=at_start,
            at_every_step=at_every_step,
            skip=skip,
            word_dropout=word_dropout,
            scheduled_sampling=scheduled_sampling,
            dropout=dropout,
            tied=tied,
        )
        self.voices = voices
        self.lstm = nn.LSTM(voices * embed + self.plan, hidden, batch_first=True)
        self.of_state = nn.Linear(hidden, voices * inner)
        self.of_step = nn.Linear(voices * embed, voices * inner, bias=False)
        up_to_own = torch.ones(voices, voices).tril().repeat_interleave(inner, 0)
        self.register_buffer("earlier", up_to_own.repeat_interleave(embed, 1), persistent=False)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        items, length = x.shape
        steps = -(-length // self.voices)
        tokens = F.pad(self.inputs(x, step), (0, steps * self.voices - length), value=PAD)
        read = self.dropout(self.embedding(tokens))
        last = F.pad(read, (0, 0, self.voices - 1, 0))[:, : steps * self.voices]
        state = self.start(z)
        plan = state["plan"][:, torch.arange(steps, device=x.device) % self.places]
        states, _ = self.lstm(
            torch.cat([last.reshape(items, steps, -1), plan], -1), self.memory(state)
        )
        said = self.of_state(self.dropout(states)) + self._in_step(read.view(items, steps, -1))
        features = gelu(said).reshape(items, steps * self.voices, -1)[:, :length]
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        last = z.new_zeros(len(z), self.voices, self.embedding.embedding_dim)
        place = torch.zeros(len(z), dtype=torch.long, device=z.device)
        return State({**super().start(z), "last": last, "place": place})

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        embedded = self.dropout(self.embedding(tokens)).unsqueeze(1)
        last = torch.cat([state["last"][:, 1:], embedded.to(state["last"].dtype)], dim=1)
        state = State({**state, "last": last})
        begins = state["place"] % self.voices == 0
        if bool(begins.any()):
            state = self._stepped(state, begins)
        features = gelu(self._said(state))
        scores = self.head(self.add_skip(self.dropout(features), state["z"]))
        return scores, State({**state, "place": state["place"] + 1})

    def _stepped(self, state: State, begins: Tensor) -> State:
        """The state with that of the LSTM a step further, of items that begin one."""
        rows = torch.arange(len(begins), device=begins.device)
        plan = state["plan"][rows, state["place"] // self.voices % self.places]
        read = torch.cat([state["last"].flatten(1), plan], -1).unsqueeze(1)
        _, (hidden, cell) = self.lstm(read, self.memory(state))
        new = {"hidden": hidden[0], "cell": cell[0]}
        kept = {n: torch.where(begins[:, None], new[n], state[n]) for n in new}
        return State({**state, **kept})

    def _said(self, state: State) -> Tensor:
        """What each item's next voice makes of the state and of its step so far, (B, F)."""
        voice = state["place"] % self.voices
        # `last` ends with what was read last: turned until that stands at the voice's own place.
        # What then stands behind it is of the step before, and not read.
        places = torch.arange(self.voices, device=voice.device)
        turned = (places + (self.voices - 1 - voice).unsqueeze(1)) % self.voices
        step = state["last"].gather(1, turned.unsqueeze(-1).expand_as(state["last"]))
        said = self.of_state(self.dropout(state["hidden"])) + self._in_step(step.flatten(1))
        rows = torch.arange(len(voice), device=voice.device)
        return said.view(len(voice), self.voices, -1)[rows, voice]

    def _in_step(self, read: Tensor) -> Tensor:
        """What voices make of the tokens up to their own of their step, (*, P E) -> (*, P F)."""
        return F.linear(read, self.of_step.weight * self.earlier)
