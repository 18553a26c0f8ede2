"""A model whose code of a window is the window, so that what comes of it is known beforehand."""

from typing import Any

import pytest
import torch
from small import make
from torch import Tensor
from torch.distributions import Distribution

from seqvae.codecs import MusicCodec
from seqvae.decoders import LSTMDecoder
from seqvae.decoders.sequence import SequenceDecoder, State
from seqvae.distributions import Delta
from seqvae.encoders import LSTMEncoder
from seqvae.explore import Explorer
from seqvae.explore.decoding import GREEDY
from seqvae.generate import Lean
from seqvae.posteriors import GaussianPosterior
from seqvae.priors import StandardNormal
from seqvae.schedules import FAR
from seqvae.vae import VAE, Batch, Encoder


class Recorder(Encoder):
    """The code of a window is its ids, or so far above them."""

    def __init__(self, off: float = 0.0) -> None:
        super().__init__()
        self.off = off

    def forward(self, batch: Batch) -> Distribution:
        return Delta(batch.x + self.off)


class Player(SequenceDecoder):
    """Writes at every step the id nearest to the code there."""

    def __init__(self, vocab: int, latent: int) -> None:
        super().__init__(vocab, latent, embed=1, width=1)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        return z.unsqueeze(-1)

    def head(self, features: Tensor) -> Tensor:
        return -(features - torch.arange(self.vocab)).square() / 10

    def start(self, z: Tensor) -> State:
        return State(z=z, place=torch.zeros(len(z), dtype=torch.long))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        now = state["z"].gather(1, state["place"][:, None])
        return self.head(now), State(z=state["z"], place=state["place"] + 1)


def opened(vae: VAE, codec: Any, latent: int, **facts: Any) -> Explorer:
    recipe = {"name": "echo", "latent": latent, "data": {}}
    return Explorer(vae, codec, recipe, {"step": 7, "corpus": "c" * 64, **facts})


def echo(codec: MusicCodec, off: float = 0.0, **facts: Any) -> Explorer:
    size = codec.length
    assert size is not None, "windows of a fixed length are their own codes"
    vae = VAE(Recorder(off), StandardNormal(size), Player(codec.vocab, size))
    return opened(vae, codec, size, **facts)


def untrained(codec: Any, latent: int = 6, **facts: Any) -> Explorer:
    """LSTMs with a Gaussian posterior, randomly drawn."""
    sizes = {"vocab": codec.vocab, "latent": latent}
    encoder = make(LSTMEncoder, posterior=GaussianPosterior(latent), **sizes)
    decoder = make(LSTMDecoder, **sizes)
    return opened(VAE(encoder, StandardNormal(latent), decoder), codec, latent, **facts)


def leans(model: Explorer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Lean]]:
    """The codes that are written with a lean from now on, and theirs, as they come."""
    write, seen = model.write, []

    def noting(z: Tensor, how: Any = GREEDY, lean: Lean | None = None) -> list[list[int]]:
        if lean is not None:
            seen.append((z, lean))
        return write(z, how, lean=lean)

    monkeypatch.setattr(model, "write", noting)
    return seen
