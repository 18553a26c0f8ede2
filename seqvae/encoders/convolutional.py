"""A network of convolutions that reads a picture of any height and width."""

from math import prod

from torch import Tensor

from ..codecs.codec import Shape
from ..errors import check_sizes
from ..layers import Activation, Init, begin, convolutions, dense, halved
from ..pixels import maps
from ..posteriors.posterior import Posterior
from .picture import PictureEncoder


class ConvEncoder(PictureEncoder):
    """q(z|x) from convolutions that each halve height and width, and a dense layer.

    A height or width that is odd is halved and rounded up, and one of 1 stays, so that any shape
    will do with any number of convolutions.

    Arguments: `shape` (H, W, C) of a picture, `channels` of each convolution, `kernel`, its odd
    height and width, `hidden` units of the dense layer, `activation`, `dropout` behind the dense
    layer, and `init`, "torch" or "normal" (N(0, 0.01^2), biases 0).

    >>> import torch
    >>> from seqvae.posteriors import GaussianPosterior
    >>> from seqvae.vae import Batch
    >>> encoder = ConvEncoder(6, GaussianPosterior(8), shape=(2, 3, 1), channels=(4,), hidden=16)
    >>> x = torch.tensor([[4, 5, 5, 4, 5, 5]])
    >>> encoder(Batch(x, torch.tensor([6]), None, torch.arange(1))).mean.shape
    torch.Size([1, 8])
    """

    def __init__(
        self,
        vocab: int,
        posterior: Posterior,
        *,
        shape: Shape,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 3,
        hidden: int = 128,
        activation: Activation = "relu",
        dropout: float = 0.0,
        init: Init = "torch",
    ) -> None:
        check_sizes(shape=min(shape), hidden=hidden)
        super().__init__(vocab, posterior, width=hidden)
        self.shape = shape
        height, width, colours = shape
        self.convolutions = convolutions((colours, *channels), kernel, activation)
        size = channels[-1] * prod(halved(height, width, len(channels))[-1])
        self.layers = dense((size, hidden), activation, dropout)
        for part in (self.convolutions, self.layers, self.parameters_of):
            begin(part, init)

    def summary(self, pixels: Tensor) -> Tensor:
        return self.layers(self.convolutions(maps(pixels, self.shape)).flatten(1))
