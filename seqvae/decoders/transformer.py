"""A causal Transformer that writes a sequence from a code."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import Block, sinusoid
from ..errors import check_sizes
from ..schedules import FAR, Schedule
from ..tokens import BOS, PAD, UNK
from .sequence import SequenceDecoder, State

SHORTEST = 16  # tokens that there is room for at first


class TransformerDecoder(SequenceDecoder):
    """Next-token scores by a causal Transformer with cached keys and values.

    At the start W z is added to the embedding of BOS, to which every later position can attend;
    at every step another projection of z is added to the embedding of the token just read
    (Li et al., 2020, "Optimus", section 3.2, the embedding scheme).

    Arguments: those of `SequenceDecoder`; `width` of the residual stream, `heads`, `layers`.

    >>> decoder = TransformerDecoder(vocab=100, latent=8, width=32, heads=4, layers=2)
    >>> decoder(torch.zeros(5, 8)).log_prob(torch.full((5, 3), 7)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        width: int = 256,
        heads: int = 4,
        layers: int = 4,
        at_start: bool = True,
        at_every_step: bool = True,
        skip: bool = False,
        context: int | None = None,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        dropout: float = 0.1,
        tied: bool = True,
    ) -> None:
        check_sizes(width=width, heads=heads, layers=layers)
        super().__init__(
            vocab,
            latent,
            embed=width,
            width=width,
            at_start=at_start,
            at_every_step=at_every_step,
            skip=skip,
            context=context,
            word_dropout=word_dropout,
            scheduled_sampling=scheduled_sampling,
            dropout=dropout,
            tied=tied,
        )
        self.width = width
        self.first = nn.Linear(latent, width, bias=False) if self.at_start else None
        self.every = nn.Linear(latent, width, bias=False) if self.at_every_step else None
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        tokens = self.inputs(x, step)
        if self.context is not None:
            return self._features_of(tokens, z)
        read = self._read(tokens, z, torch.arange(x.shape[1], device=x.device))
        return self.add_skip(self._through(self._opened(read, z)), z)

    def start(self, z: Tensor) -> State:
        if self.context is not None:
            place = torch.zeros(len(z), dtype=torch.long, device=z.device)
            seen = torch.full((len(z), max(self.context, 1)), PAD, device=z.device)
            return State(seen=seen, place=place, z=z)
        shape = (len(self.blocks), 2, self._heads, SHORTEST, self.width // self._heads)
        return Past(z.new_zeros(len(z), *shape), 0, z)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        z = state["z"]
        if self.context is not None:
            place = state["place"]
            seen = torch.cat([state["seen"][:, 1:], self._dimmed(tokens).unsqueeze(1)], dim=1)
            return self.head(self._glimpse(seen, place, z)), State(seen=seen, place=place + 1, z=z)
        assert isinstance(state, Past)
        after = state.grown()
        hidden = self._read(tokens.unsqueeze(1), z, torch.tensor([state.known], device=z.device))
        if state.known == 0:
            hidden = self._opened(hidden, z)
        for layer, block in enumerate(self.blocks):
            hidden = block(hidden, past=after.kept[:, layer], known=state.known)
        return self.head(self.add_skip(self.norm(hidden.squeeze(1)), z)), after

    # A position of limited context reads BOS, which carries the code, and the last tokens at
    # their places. Each has a window of its own: through layers above one another it would see on.

    def _features_of(self, tokens: Tensor, z: Tensor) -> Tensor:
        """Features of all positions at once, each from a window of its own."""
        width = max(self.context or 0, 1)
        seen = F.pad(self._dimmed(tokens), (width - 1, 0), value=PAD).unfold(1, width, 1)
        place = torch.arange(tokens.shape[1], device=z.device).expand(tokens.shape)
        each = z.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        real = tokens != PAD  # batches of mixed lengths are half padding
        glimpsed = self._glimpse(seen[real], place[real], each[real])
        features = glimpsed.new_zeros(*tokens.shape, self.width)
        return features.masked_scatter(real.unsqueeze(-1), glimpsed)

    def _dimmed(self, tokens: Tensor) -> Tensor:
        """Tokens as a window has them: BOS stands before it, and no context has no words."""
        tokens = tokens.masked_fill(tokens == BOS, PAD)
        return tokens if self.context else tokens.masked_fill(tokens != PAD, UNK)

    def _glimpse(self, seen: Tensor, place: Tensor, z: Tensor) -> Tensor:
        """The feature (N, H) of places (N,), from the tokens (N, W) that end there."""
        tokens = F.pad(seen, (1, 0), value=BOS)
        back = torch.arange(1 - seen.shape[1], 1, device=z.device)
        places = F.pad(place.unsqueeze(1) + back, (1, 0))
        read = self._opened(self._read(tokens, z, places), z)
        here = torch.where(place == 0, 0, seen.shape[1])  # the first has read BOS alone
        hidden = self._through(read, tokens != PAD, here)
        return self.add_skip(hidden.squeeze(1), z)

    def _through(
        self, read: Tensor, mask: Tensor | None = None, only: Tensor | None = None
    ) -> Tensor:
        """Vectors (B, T, H) through all blocks, each seeing those before it; `only` one a row."""
        hidden = self.dropout(read)
        *blocks, last = self.blocks
        for block in blocks:
            hidden = block(hidden, causal=True, mask=mask)
        return self.norm(last(hidden, causal=True, mask=mask, only=only))

    def _opened(self, read: Tensor, z: Tensor) -> Tensor:
        """What is read (B, T, H), the code added where it begins."""
        if self.first is None:
            return read
        return torch.cat([read[:, :1] + self.first(z).unsqueeze(1), read[:, 1:]], dim=1)

    @property
    def _heads(self) -> int:
        return self.blocks[0].heads  # type: ignore[return-value]

    def _read(self, tokens: Tensor, z: Tensor, positions: Tensor) -> Tensor:
        # Embeddings are drawn with standard deviation width^-1/2 for the tied output; as inputs
        # they are scaled back to 1, the size of the sinusoids (Vaswani et al., section 3.4).
        embedded = self.embedding(tokens) * math.sqrt(self.width)
        embedded = embedded + sinusoid(positions, self.width)
        return embedded if self.every is None else embedded + self.every(z).unsqueeze(1)


class Past(State):
    """Keys and values of the tokens before: kept (B, layers, 2, heads, C, H/heads), C >= known.

    There is room behind them for those to come, so that a token costs what it costs, and not a
    copy of all before it. The room is shared with the states that follow: `taken` counts how much
    of it is, and a state from which another was made already goes on in a copy. What is written
    in place has no gradient: `step` is for generation, under `torch.no_grad`.
    """

    def __init__(
        self, kept: Tensor, known: int, z: Tensor, taken: list[int] | None = None
    ) -> None:
        super().__init__(z=z)
        self.kept = kept
        self.known = known
        self.taken = [known] if taken is None else taken

    def select(self, index: Tensor) -> "Past":
        return Past(self.kept[index], self.known, self["z"][index])

    def grown(self) -> "Past":
        """The state one token on, whose keys and values are yet to be written."""
        kept, taken = self.kept, self.taken
        room = kept.shape[-2]
        if self.known == room:  # twice the room: copies are rare
            kept = torch.cat([kept, torch.zeros_like(kept)], dim=-2)
            taken = [self.known]
        elif taken[0] > self.known:
            kept, taken = kept.clone(), [self.known]
        taken[0] += 1
        return Past(kept, self.known + 1, self["z"], taken)
