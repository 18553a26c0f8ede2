"""An LSTM that writes a sequence from a code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import check_sizes
from ..schedules import FAR, Schedule
from ..tokens import BOS, PAD, UNK
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
        skip: bool = False,
        context: int | None = None,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
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
            skip=skip,
            context=context,
            word_dropout=word_dropout,
            scheduled_sampling=scheduled_sampling,
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
        tokens, state = self.inputs(x, step), self.start(z)
        if self.context is not None:
            return self._features_of(tokens, state, self.context)
        features, _ = self.lstm(self._read(tokens, z), self._memory(state))
        return self.add_skip(self.dropout(features), z)

    def start(self, z: Tensor) -> State:
        cell = z.new_zeros(len(z), self.layers, self.hidden)
        if self.first is not None:
            cell = self.first(z).view_as(cell)
        state = State(hidden=cell.tanh(), cell=cell, z=z)
        if self.context is not None:
            state["seen"] = torch.full((len(z), self.context), PAD, device=z.device)
        return state

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        if self.context is None:
            last = after = self._advance(tokens, state)
        else:
            last, after = self._glance(tokens, state)
        features = self.add_skip(self.dropout(last["hidden"][:, -1]), state["z"])
        return self.head(features), after

    # A position of limited context: the state after its place has been counted on blanks, then
    # the last tokens. So it knows its code, its place and those tokens, and nothing else.

    def _features_of(self, tokens: Tensor, state: State, context: int) -> Tensor:
        """Features of all positions at once, from states that run behind them by `context`."""
        length = tokens.shape[1]
        behind, states = state, []
        for place in range(length):
            if place >= context:
                behind = self._advance(self._blank(tokens[:, place - context]), behind)
            states.append(behind)
        real = tokens != PAD  # batches of mixed lengths are half padding
        now = State({name: torch.stack([s[name] for s in states], 1)[real] for name in state})
        # Tokens (B, T, context) that each position still reads; PAD before the first.
        padded = F.pad(tokens, (context, 0), value=PAD)
        for tokens_read in padded.unfold(1, context, 1)[:, 1:][real].unbind(1):
            now = self._advance_where(tokens_read, now)
        found = self.add_skip(self.dropout(now["hidden"][:, -1]), now["z"])
        features = found.new_zeros(*tokens.shape, found.shape[-1])
        return features.masked_scatter(real.unsqueeze(-1), found)

    def _glance(self, tokens: Tensor, state: State) -> tuple[State, State]:
        """The state that has read the last tokens up to this one, and the one to go on from."""
        seen = torch.cat([state["seen"], tokens.unsqueeze(1)], dim=1)
        behind = self._advance_where(self._blank(seen[:, 0]), state)
        last = behind = State({**behind, "seen": seen[:, 1:]})
        for tokens_read in seen[:, 1:].unbind(1):
            last = self._advance_where(tokens_read, last)
        return last, behind

    def _blank(self, tokens: Tensor) -> Tensor:
        """The tokens as one sees them that knows only where they stand: BOS comes first."""
        return tokens.masked_fill((tokens != BOS) & (tokens != PAD), UNK)

    def _advance_where(self, tokens: Tensor, state: State) -> State:
        """The state after a token, where there is one: not at PAD."""
        after, real = self._advance(tokens, state), (tokens != PAD)[:, None, None]
        moved = {name: torch.where(real, after[name], state[name]) for name in ("hidden", "cell")}
        return State({**state, **moved})

    def _advance(self, tokens: Tensor, state: State) -> State:
        read = self._read(tokens.unsqueeze(1), state["z"])
        _, (hidden, cell) = self.lstm(read, self._memory(state))
        return State({**state, "hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)})

    def _read(self, tokens: Tensor, z: Tensor) -> Tensor:
        embedded = self.dropout(self.embedding(tokens))
        if not self.at_every_step:
            return embedded
        return torch.cat([embedded, z.unsqueeze(1).expand(-1, tokens.shape[1], -1)], dim=-1)

    def _memory(self, state: State) -> tuple[Tensor, Tensor]:
        # nn.LSTM wants its state layers first, and contiguous.
        hidden, cell = state["hidden"], state["cell"]
        return hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
