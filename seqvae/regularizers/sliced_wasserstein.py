"""The sliced Wasserstein distance between the codes of a batch and the prior."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import check_sizes
from ..processes import alike, gathered
from ..vae import Pass
from .regularizer import Regularizer


class SlicedWasserstein(Regularizer):
    """SW_2^2(q(z), p(z)) between the batch's codes and as many draws of the prior; one number.

    mean over directions theta of mean_i (theta . z_[i] - theta . y_[i])^2, where [i] is the i-th
    in order along theta: on a line the best transport keeps the order   (sliced-Wasserstein
    autoencoder: Kolouri et al., 2019, algorithm 1). In squared units of the code.

    Two samples of one distribution differ too: the estimate is biased upwards, by about 1 / B up
    to a logarithm, and by the same in every dimension. Needs samples only, so any posterior and
    any prior will do, but a prior that learns learns nothing of it. A batch of one says nothing of
    an aggregate and counts 0.

    Arguments:
        projections: how many directions are drawn, uniformly on the sphere and anew at every step.

    Raises `Refused` where that is under 1.

    >>> from seqvae.distributions import Delta
    >>> z, nought = torch.tensor([[1.0], [3.0]]), Delta(torch.zeros(1))
    >>> SlicedWasserstein()(Pass(None, Delta(z), nought, z, None, None)).item()  # (1^2 + 3^2) / 2
    5.0
    """

    of_batch = of_aggregate = True

    def __init__(self, *, projections: int = 50) -> None:
        super().__init__()
        check_sizes(projections=projections)
        self.projections = projections

    def forward(self, out: Pass) -> Tensor:
        z = gathered(out.z)
        if len(z) < 2:
            return 0 * z.sum()
        with alike():
            y, theta = out.p.sample((len(z),)), directions(self.projections, z)
        return sliced_wasserstein(z, y, theta)


def directions(count: int, z: Tensor) -> Tensor:
    """Unit vectors (D, count), uniform on the sphere, for codes z (B, D)."""
    return F.normalize(torch.randn(z.shape[-1], count, device=z.device), dim=0)


def sliced_wasserstein(z: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """The mean squared 2-Wasserstein distance of z and y (N, D) along theta (D, L).

    >>> z = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    >>> y = torch.tensor([[4.0, 9.0], [3.0, 9.0]])
    >>> sliced_wasserstein(z, y, torch.eye(2)).item()  # (3^2 + 9^2) / 2
    45.0
    """
    # Differences of sorted neighbours are small: bfloat16 would leave nothing of them.
    with torch.autocast(z.device.type, enabled=False):
        along_z, along_y = ((a.float() @ theta).sort(dim=0).values for a in (z, y))
        return (along_z - along_y).square().mean()
