"""A network of dense layers that writes all pixels of a picture at once."""

from torch import Tensor, nn

from ..errors import check_sizes
from ..layers import Activation, Init, begin, dense
from ..likelihoods.likelihood import Likelihood
from .picture import PictureDecoder


class DenseDecoder(PictureDecoder):
    """p(x | z) from dense layers of `hidden` units, pixels independent given the code.

    Arguments: `length` of a picture in tokens, its `likelihood`, `hidden` units of each layer from
    the code on (none: a linear decoder, that of factor analysis), `activation`, `dropout` behind
    each, and `init`, "torch" or "normal" (N(0, 0.01^2), biases 0).

    >>> import torch
    >>> from seqvae.likelihoods import Bernoulli
    >>> decoder = DenseDecoder(6, 2, length=4, likelihood=Bernoulli(6), hidden=(16,))
    >>> decoder(torch.zeros(5, 2)).log_prob(torch.full((5, 4), 4)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        length: int,
        likelihood: Likelihood,
        hidden: tuple[int, ...] = (256, 512),
        activation: Activation = "relu",
        dropout: float = 0.0,
        init: Init = "torch",
    ) -> None:
        sizes = (max(latent, 1), *hidden)
        check_sizes(length=length, hidden=min(sizes))
        super().__init__(vocab, latent, likelihood)
        self.length = length
        self.layers = dense(sizes, activation, dropout)
        self.output = nn.Linear(sizes[-1], length * likelihood.size)
        begin(self.layers, init)
        begin(self.output, init)

    def numbers(self, z: Tensor) -> Tensor:
        return self.output(self.layers(z)).unflatten(-1, (self.length, self.likelihood.size))
