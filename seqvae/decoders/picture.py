"""What decoders share that write all pixels of a picture at once."""

from abc import abstractmethod

from torch import Tensor

from ..errors import Refused
from ..likelihoods.likelihood import Likelihood, Pixels
from ..schedules import FAR
from ..vae import Decoder


class PictureDecoder(Decoder):
    """Codes z (*, D) -> numbers (*, T, size) -> p(x | z) by a likelihood, T = H*W*C pixels.

    A code of no dimensions (D = 0) leaves a model of pixels that are independent and the same for
    every picture: the network then reads a one.

    Arguments:
        vocab: V, four ids and the levels of brightness.
        latent: D.
        likelihood: what makes a distribution of the numbers; its `size` sets how many a pixel.

    Raises `Refused` where the likelihood is of other levels.
    """

    def __init__(self, vocab: int, latent: int, likelihood: Likelihood) -> None:
        super().__init__()
        if likelihood.vocab != vocab:
            raise Refused(
                f"vocab = {vocab} of the decoder and {likelihood.vocab} of its likelihood: give "
                "both the same."
            )
        self.vocab = vocab
        self.latent = latent
        self.likelihood = likelihood

    @abstractmethod
    def numbers(self, z: Tensor) -> Tensor:
        """Codes (N, D), or ones (N, 1) where D = 0 -> (N, T, size) in the order of tokens."""

    def forward(self, z: Tensor, step: int = FAR) -> Pixels:
        shape = z.shape[:-1]
        z = z if self.latent else z.new_ones(*shape, 1)
        numbers = self.numbers(z.flatten(0, -2))
        return self.likelihood(numbers.view(*shape, *numbers.shape[1:]))
