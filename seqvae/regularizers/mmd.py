"""Maximum mean discrepancy between the codes of a batch and the prior."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ..errors import Refused
from ..processes import alike, gathered
from ..vae import Pass
from .regularizer import Regularizer

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

Kernel = Literal["imq", "rbf"]


class MMD(Regularizer):
    """MMD^2(q(z), p(z)) between the batch's codes z and as many draws y of the prior; one number.

    mean_{i!=j} k(z_i, z_j) + mean_{i!=j} k(y_i, y_j) - 2 mean_{ij} k(z_i, y_j), the unbiased
    estimate (Gretton et al., 2012, lemma 6), so it may fall below zero. k is a sum over scales s,
    each of the width C_s = 2 D s sigma^2, the mean squared distance of two draws of the prior
    times s, of

    - kernel="imq", the inverse multiquadric C_s / (C_s + |a - b|^2) (Tolstikhin et al., 2018,
      section 4), whose heavy tail still pulls a code that lies far out;
    - kernel="rbf", the Gaussian exp(-|a - b|^2 / C_s), which forgets such a code. At s = 1 it is
      the radial kernel of common InfoVAE libraries; the code of Zhao et al. (2019) has C = D^2.

    Needs samples only, so any posterior and any prior will do; a prior that learns learns nothing
    of it. A batch of one (the last, longest sentence where batches are cut by tokens) says nothing
    of an aggregate and counts 0.

    A small batch is blind to a dead dimension of many. With a `buffer`, the codes of earlier steps
    stand beside the n of the batch as samples that no longer move: N in all, against N draws. Were
    the encoder to stand still the estimate would stay unbiased, with less noise; as it moves, the
    past stands in for the present, so let the buffer be a few batches. Only n of N codes can
    be moved, so the gradient is multiplied by N / n: it too stays that of MMD^2, and the weight
    means the same with any buffer. The codes of a step, those of all its micro-batches and of
    batches that a lagging encoder saw before it, enter the buffer after the step (`update`), the
    oldest leave it, and evaluation changes nothing. Work grows as N^2, but of the pairs only those
    with the batch are kept for a gradient: on one processor core 1,000 codes take some 20 ms a
    step.

    Arguments:
        latent: D, which a buffer needs; a recipe gives it.
        kernel: "imq" or "rbf".
        buffer: how many codes of earlier steps are kept.
        sigma: the prior's width, which sets the scale of the kernel.
        scales: the multiples of it that are summed.

    Raises `Refused` for widths that are not positive, or a buffer without `latent`.

    >>> MMD(latent=2, buffer=256).past.shape
    torch.Size([256, 2])
    """

    of_batch = of_aggregate = True
    past: Tensor
    filled: Tensor

    def __init__(
        self,
        latent: int | None = None,
        *,
        kernel: Kernel = "imq",
        buffer: int = 0,
        sigma: float = 1.0,
        scales: tuple[float, ...] = SCALES,
    ) -> None:
        super().__init__()
        if not scales or not all(0 < width < math.inf for width in (sigma, *scales)):
            raise Refused(f"MMD needs positive widths; got sigma = {sigma}, scales = {scales}.")
        _check_buffer(buffer, latent)
        self.kernel = kernel
        self.buffer = buffer
        self.sigma = sigma
        self.scales = scales
        self.newest: dict[int, Tensor] = {}  # codes of this step by their first item
        self.step = -1  # the one they are of
        if buffer:
            self.register_buffer("past", torch.zeros(buffer, latent or 0))  # the newest last
            self.register_buffer("filled", torch.tensor(0))

    def forward(self, out: Pass) -> Tensor:
        z = gathered(out.z)
        past = self.past[self.buffer - int(self.filled) :] if self.buffer else None
        if self.buffer and self.training:
            self._remember(out, z)
        count = len(z) if past is None else len(past) + len(z)
        if count < 2:
            return 0 * z.sum()
        with alike():
            y = out.p.sample((count,))
        return mmd(z, y, self.sigma, self.scales, self.kernel, past)

    def update(self, report: Mapping[str, Tensor]) -> None:
        if not self.newest:
            return
        kept = torch.cat([self.past, *self.newest.values()])
        self.filled.add_(len(kept) - self.buffer).clamp_(max=self.buffer)
        self.past.copy_(kept[-self.buffer :])
        self.newest.clear()

    def _remember(self, out: Pass, z: Tensor) -> None:
        if out.batch.step != self.step:  # passes no update followed, as a trial's, are forgotten
            self.newest.clear()
        self.step = out.batch.step
        # Of several passes over the same items, as where posteriors are refined, the last.
        self.newest[int(out.batch.item[0])] = z.detach().float()


def mmd(
    z: Tensor,
    y: Tensor,
    sigma: float = 1.0,
    scales: tuple[float, ...] = SCALES,
    kernel: Kernel = "imq",
    past: Tensor | None = None,
) -> Tensor:
    """Unbiased MMD^2 of samples z (n, D) and y (N, D), N >= 2: a number without a unit.

    `past`, (N - n, D), are samples as z that do not move; the gradient in z is then that of the
    estimate times N / n. Without it N is n.

    >>> near = mmd(torch.zeros(8, 2), torch.zeros(8, 2))
    >>> near.item()
    0.0
    """
    count = len(y)
    if count < 2:
        raise Refused(
            f"MMD compares the codes of a batch with one another and this batch has {len(z)}; "
            "train with batches of at least 2, better 64."
        )
    widths = [2 * z.shape[-1] * scale * sigma**2 or 1.0 for scale in scales]  # of D = 0: k = 1
    # Distances are small differences of large products: bfloat16 would leave nothing of them.
    with torch.autocast(z.device.type, enabled=False):
        still = z[:0].detach().float() if past is None else past.float()
        if count != len(z) + len(still):
            raise Refused(f"MMD takes as many draws as codes: {count}, {len(z) + len(still)}.")
        z, y = torch.lerp(z.detach().float(), z.float(), count / len(z)), y.float()
        total = partial(_total, widths=widths, kernel=kernel)
        within = total(z, z) + 2 * total(z, still) + total(still, still) + total(y, y)
        between = total(z, y) + total(still, y)
        themselves = 2 * count * len(widths)  # k of a code and itself is 1 at every scale
    return (within - themselves) / (count * (count - 1)) - 2 * between / count**2


def _total(a: Tensor, b: Tensor, widths: list[float], kernel: Kernel) -> Tensor:
    """The sum of k over the pairs of one of a and one of b."""
    # Distances as sums of squares: the square of cdist has no gradient where a meets itself.
    square = (a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.T).clamp_min(0)
    if square.requires_grad:
        ratios = (square / width for width in widths)
        terms = (torch.exp(-r) if kernel == "rbf" else 1 / (1 + r) for r in ratios)
        return sum(terms, torch.zeros_like(square)).sum()  # a stack of them takes far longer
    # Most pairs of a long past: in place, which takes a third of the time.
    parts = (
        (square / -width).exp_() if kernel == "rbf" else (square / width).add_(1).reciprocal_()
        for width in widths
    )
    return sum((part.sum() for part in parts), square.new_zeros(()))


def _check_buffer(buffer: int, latent: int | None) -> None:
    if buffer < 0:
        raise Refused(f"buffer = {buffer}: it holds 0 codes (none are kept) or more.")
    if buffer and latent is None:
        raise Refused(f"buffer = {buffer}: how large is a code? Say latent=32 beside it.")
