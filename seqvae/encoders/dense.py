"""A network of dense layers that reads a picture."""

from torch import Tensor

from ..errors import check_sizes
from ..layers import Activation, Init, begin, dense
from ..posteriors.posterior import Posterior
from .picture import PictureEncoder


class DenseEncoder(PictureEncoder):
    """q(z|x) from dense layers of `hidden` units that read all pixels, in [0, 1], at once.

    Arguments: `length` of a picture in tokens, `hidden` units of each layer (none: the code is a
    linear function of the picture), `activation`, `dropout` behind each, and `init`, "torch" or
    "normal" (N(0, 0.01^2), biases 0).

    >>> import torch
    >>> from seqvae.posteriors import GaussianPosterior
    >>> from seqvae.vae import Batch
    >>> encoder = DenseEncoder(6, GaussianPosterior(8), length=4, hidden=(16, 16))
    >>> x = torch.tensor([[4, 5, 5, 4]])
    >>> encoder(Batch(x, torch.tensor([4]), None, torch.arange(1))).mean.shape
    torch.Size([1, 8])
    """

    def __init__(
        self,
        vocab: int,
        posterior: Posterior,
        *,
        length: int,
        hidden: tuple[int, ...] = (512, 256),
        activation: Activation = "relu",
        dropout: float = 0.0,
        init: Init = "torch",
    ) -> None:
        sizes = (length, *hidden)
        check_sizes(length=length, hidden=min(sizes))
        super().__init__(vocab, posterior, width=sizes[-1])
        self.layers = dense(sizes, activation, dropout)
        begin(self.layers, init)
        begin(self.parameters_of, init)

    def summary(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)
