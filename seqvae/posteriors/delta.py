"""The posterior of a plain autoencoder: one code, no spread."""

from torch import Tensor

from ..distributions import Delta
from .posterior import Posterior


class DeltaPosterior(Posterior):
    """q(z|x) = delta(z - mu(x)): samplable, without density, hence without KL.

    With a penalty on samples it makes a Wasserstein autoencoder (Tolstikhin et al., 2018).

    >>> import torch
    >>> DeltaPosterior(2)(torch.tensor([[0.5, -1.0]])).rsample((2,)).tolist()
    [[[0.5, -1.0]], [[0.5, -1.0]]]
    """

    def __init__(self, latent: int) -> None:
        super().__init__(latent, latent)

    def forward(self, parameters: Tensor) -> Delta:
        return Delta(parameters)
