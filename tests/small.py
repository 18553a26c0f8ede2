"""Small objects that the tests share.

Whatever a package exports is built from the names of its arguments, so that a new export is
tested by every law without a line here, unless it brings an argument of a new name.
"""

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from seqvae import decoders, encoders
from seqvae.codecs.codec import BAR, NOTHING, Clock
from seqvae.data import InMemory, collate
from seqvae.decoders.picture import PictureDecoder
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.encoders.picture import PictureEncoder
from seqvae.encoders.sequence import SequenceEncoder
from seqvae.likelihoods import Categorical
from seqvae.posteriors import GaussianPosterior
from seqvae.priors import StandardNormal
from seqvae.vae import VAE, Batch

VOCAB, LATENT = 9, 3
ARGUMENTS: dict[str, Any] = {
    "vocab": VOCAB,
    "latent": LATENT,
    "length": 8,
    "bars": 2,
    "conductor": 8,
    "over": 8,
    "voices": 2,
    "inner": 16,
    "shape": (2, 4, 1),
    "clock": Clock(2, 2, (NOTHING,) * 4 + (BAR, 0, 1, NOTHING, NOTHING)),
    "embed": 8,
    "hidden": 8,
    "width": 8,
    "heads": 2,
    "layers": 1,
    "dropout": 0.0,
    "nats": 0.5,
    "alpha": 0.5,
    "lambda_": 2.0,
    "steps": 100,
    "middle": 50,
}
PICTURES = [[5, 4, 5, 5, 4, 4, 4, 5], [4] * 8, [5] * 8, [4, 5, 4, 5, 5, 5, 4, 4]]
SENTENCES = [[5, 4, 6, 8, 3], [7, 3], [4, 4, 5, 3], [8, 7, 6, 5, 4, 3]]


def exports(package: ModuleType, of: Callable[[Any], bool] = inspect.isclass) -> list[Any]:
    """What a package exports of a sort, by default its classes."""
    return [value for name, value in vars(package).items() if of(value) and name[0] != "_"]


def make(maker: Callable[..., Any], **other: Any) -> Any:
    """An object with small sizes; `other` arguments are given where they are declared."""
    given = ARGUMENTS | {"posterior": GaussianPosterior(LATENT)} | other
    wanted = inspect.signature(maker).parameters
    if "likelihood" in wanted:
        given = {"likelihood": Categorical(given["vocab"])} | given
    return maker(
        **{name: fitting(value, wanted[name]) for name, value in given.items() if name in wanted}
    )


def fitting(value: Any, wanted: inspect.Parameter) -> Any:
    """The size of a layer, for a network with several as one of one layer."""
    several = isinstance(wanted.default, tuple) and not isinstance(value, tuple)
    return (value,) if several else value


def batch(ids: Sequence[Sequence[int]] = SENTENCES, *, step: int = 0) -> Batch:
    return collate(InMemory(ids), range(len(ids)), step)


def reads_pictures(kind: Any) -> bool:
    """Whether a network is for items of exactly so many pixels."""
    dense = issubclass(kind, PictureEncoder | PictureDecoder)
    return dense or "shape" in inspect.signature(kind).parameters


def pad(batch: Batch, columns: int = 3) -> Batch:
    """The same items behind more columns of padding."""
    return batch._replace(x=torch.nn.functional.pad(batch.x, (0, columns)))


def vae(**other: Any) -> VAE:
    """LSTMs with a Gaussian posterior, randomly drawn, unless something else is named."""
    parts: dict[str, Any] = {
        "encoder": make(encoders.LSTMEncoder),
        "prior": StandardNormal(LATENT),
        "decoder": make(decoders.LSTMDecoder),
    }
    return VAE(**parts | other)


def loud(module: torch.nn.Module, scale: float = 3.0) -> Any:
    """The module with its weights scaled up, so that its scores are far from uniform."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(scale)
    return module


def of_sequences(package: ModuleType) -> list[Any]:
    """The exported encoders or decoders of sequences."""
    bases = (SequenceDecoder, SequenceEncoder)
    return [kind for kind in exports(package) if issubclass(kind, bases)]


def same(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
