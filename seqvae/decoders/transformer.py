"""A causal Transformer that writes a sequence from a code."""

import math

import torch
from torch import Tensor, nn

from ..attention import Block, sinusoid
from ..errors import check_sizes
from ..schedules import FAR, Schedule
from .sequence import SequenceDecoder, State


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
        word_dropout: float | Schedule = 0.0,
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
            word_dropout=word_dropout,
            dropout=dropout,
            tied=tied,
        )
        self.width = width
        self.first = nn.Linear(latent, width, bias=False) if self.at_start else None
        self.every = nn.Linear(latent, width, bias=False) if self.at_every_step else None
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        read = self._read(self.inputs(x, step), z, torch.arange(x.shape[1], device=x.device))
        if self.first is not None:
            read = torch.cat([read[:, :1] + self.first(z).unsqueeze(1), read[:, 1:]], dim=1)
        hidden = self.dropout(read)
        for block in self.blocks:
            hidden, _ = block(hidden, causal=True)
        return self.norm(hidden)

    def start(self, z: Tensor) -> State:
        empty = z.new_zeros(len(z), len(self.blocks), 2, self._heads, 0, self.width // self._heads)
        return State(past=empty, z=z)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        z, past = state["z"], state["past"]
        position = past.shape[-2]
        hidden = self._read(tokens.unsqueeze(1), z, torch.tensor([position], device=z.device))
        if self.first is not None and position == 0:
            hidden = hidden + self.first(z).unsqueeze(1)
        seen = []
        for layer, block in enumerate(self.blocks):
            hidden, keys_values = block(hidden, past=(past[:, layer, 0], past[:, layer, 1]))
            seen.append(torch.stack(keys_values, dim=1))
        scores = self.head(self.norm(hidden.squeeze(1)))
        return scores, State(past=torch.stack(seen, dim=1), z=z)

    @property
    def _heads(self) -> int:
        return self.blocks[0].heads  # type: ignore[return-value]

    def _read(self, tokens: Tensor, z: Tensor, positions: Tensor) -> Tensor:
        # Embeddings are drawn with standard deviation width^-1/2 for the tied output; as inputs
        # they are scaled back to 1, the size of the sinusoids (Vaswani et al., section 3.4).
        embedded = self.embedding(tokens) * math.sqrt(self.width)
        embedded = embedded + sinusoid(positions, self.width)
        return embedded if self.every is None else embedded + self.every(z).unsqueeze(1)
