"""Maximum mean discrepancy between the codes of a batch and the prior."""

import torch
from torch import Tensor

from ..errors import Refused
from ..vae import Pass
from .regularizer import Regularizer

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class MMD(Regularizer):
    """MMD^2(q(z), p(z)) between the batch's codes z and as many draws of the prior; one number.

    mean_{i!=j} k(z_i, z_j) + mean_{i!=j} k(y_i, y_j) - 2 mean_{ij} k(z_i, y_j), the unbiased
    estimate (Gretton et al., 2012, lemma 6), so it may fall below zero; k is the sum over scales s
    of the inverse multiquadric C_s / (C_s + |a - b|^2), C_s = 2 D s sigma^2 (Tolstikhin et al.,
    2018, section 4), whose heavy tail still pulls a code that lies far out. Needs samples only,
    so any posterior and any prior will do. A batch of one (the last, longest sentence where
    batches are cut by tokens) says nothing of an aggregate and counts 0.

    Arguments:
        sigma: the prior's width, which sets the scale of the kernel.
        scales: the multiples of it that are summed.
    """

    of_batch = True

    def __init__(self, *, sigma: float = 1.0, scales: tuple[float, ...] = SCALES) -> None:
        super().__init__()
        if sigma <= 0 or not scales or min(scales) <= 0:
            raise Refused(f"MMD needs positive widths; got sigma = {sigma}, scales = {scales}.")
        self.sigma = sigma
        self.scales = scales

    def forward(self, out: Pass) -> Tensor:
        if len(out.z) < 2:
            return 0 * out.z.sum()
        return mmd(out.z, out.p.sample((len(out.z),)), self.sigma, self.scales)


def mmd(z: Tensor, y: Tensor, sigma: float = 1.0, scales: tuple[float, ...] = SCALES) -> Tensor:
    """Unbiased MMD^2 of samples z and y, both (N, D), N >= 2: a number without a unit.

    >>> near = mmd(torch.zeros(8, 2), torch.zeros(8, 2))
    >>> near.item()
    0.0
    """
    if len(z) < 2:
        raise Refused(
            f"MMD compares the codes of a batch with one another and this batch has {len(z)}; "
            "train with batches of at least 2, better 64."
        )
    widths = [2 * z.shape[-1] * scale * sigma**2 for scale in scales]
    # Distances are small differences of large products: bfloat16 would leave nothing of them.
    with torch.autocast(z.device.type, enabled=False):
        z, y = z.float(), y.float()
        within = _mean_of_pairs(_kernel(z, z, widths)) + _mean_of_pairs(_kernel(y, y, widths))
        return within - 2 * _kernel(z, y, widths).mean()


def _kernel(a: Tensor, b: Tensor, widths: list[float]) -> Tensor:
    # Distances as sums of squares: the square of cdist has no gradient where a meets itself.
    square = (a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.T).clamp_min(0)
    # A code of no dimensions (a language model) has width 0 and distance 0: k = 1.
    return torch.stack([w / (w + square) if w else torch.ones_like(square) for w in widths]).sum(0)


def _mean_of_pairs(kernel: Tensor) -> Tensor:
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
