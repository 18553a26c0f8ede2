"""An attribute of a picture that one dimension of its code should rise with."""

from typing import Literal

import torch
from torch import Tensor

from ..codecs.codec import Shape
from ..errors import Refused
from ..pixels import brightness, maps, mass, slant
from ..processes import gathered
from ..vae import Pass
from .regularizer import Regularizer

ATTRIBUTES = {"mass": mass, "slant": slant}


class AttributeOrder(Regularizer):
    """Dimension d of the code orders items as their attribute a does; one number for a batch.

    mean over pairs i != j of |tanh(delta (z_id - z_jd)) - sign(a_i - a_j)|   (the
    attribute-regularised VAE: Pati and Lerch, 2020, equation 4). 0 where the code's order is the
    attribute's and steep, 1 on average where it knows nothing of it. Turning dimension d then
    turns the attribute. A batch of one has no order and counts 0.

    Arguments:
        vocab, latent, shape: of the pictures, and D; a recipe gives them.
        attribute: "mass", the mean brightness, or "slant", how far strokes lean to the right.
        dimension: d, from 0.
        delta: how steep; a difference of about 1 / delta counts as clear.

    Raises `Refused` for a dimension that the code does not have, and a delta that is not positive.

    >>> from seqvae.distributions import Delta
    >>> from seqvae.vae import Batch
    >>> black_white = Batch(torch.tensor([[4], [5]]), torch.ones(2), None, torch.arange(2))
    >>> penalty = AttributeOrder(6, 1, shape=(1, 1, 1))
    >>> for z in (torch.tensor([[-9.0], [9.0]]), torch.tensor([[9.0], [-9.0]])):
    ...     penalty(Pass(black_white, Delta(z), None, z, None, None)).item()
    0.0
    2.0
    """

    of_batch = True

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        shape: Shape,
        attribute: Literal["mass", "slant"] = "mass",
        dimension: int = 0,
        delta: float = 1.0,
    ) -> None:
        super().__init__()
        if latent and not 0 <= dimension < latent:
            raise Refused(
                f"dimension = {dimension}: this code has dimensions 0 to {latent - 1}; name one."
            )
        if not 0 < delta < float("inf"):
            raise Refused(f"delta = {delta}: how steep an order counts is a positive number.")
        self.vocab, self.shape = vocab, shape
        self.attribute = ATTRIBUTES[attribute]
        self.dimension, self.delta = dimension, delta

    def forward(self, out: Pass) -> Tensor:
        whole, x = gathered(out.z), gathered(out.batch.x)
        if len(whole) < 2 or whole.shape[-1] == 0:
            return 0 * whole.sum()
        # A sign is no matter of degree, but in bfloat16 near attributes would have none.
        with torch.autocast(out.z.device.type, enabled=False):
            pixels = maps(brightness(x, self.vocab).float(), self.shape)
            a, z = self.attribute(pixels), whole[:, self.dimension].float()
            told = torch.tanh(self.delta * _apart(z))
            return (told - _apart(a).sign()).abs().sum() / (len(z) * (len(z) - 1))


def _apart(values: Tensor) -> Tensor:
    """Values (B,) -> the difference of every two (B, B)."""
    return values.unsqueeze(1) - values
