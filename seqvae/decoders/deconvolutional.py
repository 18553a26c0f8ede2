"""A network of transposed convolutions that writes all pixels of a picture at once."""

from torch import Tensor

from ..codecs.codec import Shape
from ..errors import check_sizes
from ..layers import Activation, Init, begin, deconvolutions, dense, halved
from ..likelihoods.likelihood import Likelihood
from .picture import PictureDecoder


class DeconvDecoder(PictureDecoder):
    """p(x | z) from dense layers, and transposed convolutions that each double height and width.

    The mirror of a `ConvEncoder` of the same arguments: maps grow through the very sizes that they
    shrink through there, to exactly H x W, odd ones too. Pixels are independent given the code.

    Arguments: `shape` (H, W, C) of a picture, its `likelihood`, `channels` of the maps that each
    transposed convolution reads, from the picture inwards, `kernel`, its odd height and width,
    `hidden` units of the dense layer behind the code, `activation`, `dropout` behind dense layers,
    and `init`, "torch" or "normal" (N(0, 0.01^2), biases 0).

    >>> import torch
    >>> from seqvae.likelihoods import Bernoulli
    >>> decoder = DeconvDecoder(6, 2, shape=(3, 2, 1), likelihood=Bernoulli(6), channels=(4,))
    >>> decoder(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 6])
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        shape: Shape,
        likelihood: Likelihood,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 3,
        hidden: int = 128,
        activation: Activation = "relu",
        dropout: float = 0.0,
        init: Init = "torch",
    ) -> None:
        check_sizes(shape=min(shape), hidden=hidden)
        super().__init__(vocab, latent, likelihood)
        height, width, colours = shape
        sizes = halved(height, width, len(channels))
        written = (colours * likelihood.size, *channels)
        self.colours = colours
        self.deconvolutions = deconvolutions(written, sizes, kernel, activation)
        self.smallest = (channels[-1], *sizes[-1])
        size = self.smallest[0] * self.smallest[1] * self.smallest[2]
        self.layers = dense((max(latent, 1), hidden, size), activation, dropout)
        begin(self.layers, init)
        begin(self.deconvolutions, init)

    def numbers(self, z: Tensor) -> Tensor:
        maps = self.deconvolutions(self.layers(z).unflatten(-1, self.smallest))
        # (N, C * size, H, W) -> (N, H, W, C, size): rows, columns, channels.
        each = maps.unflatten(1, (self.colours, -1)).permute(0, 3, 4, 1, 2)
        return each.flatten(1, 3)
