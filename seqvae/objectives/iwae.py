"""The importance-weighted bound, which tightens with the number of samples."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions import has_density, kl
from ..errors import Refused, check_sizes
from ..metrics import effective_samples, evidence
from ..vae import VAE, Batch
from .objective import Objective, Report


class IWAE(Objective):
    """loss = mean_x [ -log 1/K sum_k w_k ],   w_k = p(x|z_k) p(z_k) / q(z_k|x),   z_k ~ q(z|x).

    Nats a sentence   (Burda et al., 2016, equation 8). One sample is the ELBO with its KL
    estimated, many approach -log p(x). As K grows, the gradient that reaches the encoder drowns
    in its own noise   (Rainforth et al., 2018); with `doubly_reparameterized` it is

        sum_k v_k^2  d log w_k / dz_k  dz_k / dphi,   v_k = w_k / sum_j w_j,

    with the same mean and less noise   (Tucker et al., 2019, equation 8). What decoder and prior
    learn, sum_k v_k d log w_k, and the loss itself are the same either way.

    With a label head it bounds log p(x | y(x)), and nothing teaches the head its labels.

    The report holds `loss`; `reconstruction`, the mean over samples; `kl`, the true one; and
    `effective_samples`, (sum_k w_k)^2 / sum_k w_k^2: near 1 one sample speaks for all.

    Arguments: `samples` K an item: all K B of them go through the decoder at once.

    Raises `Refused` for a posterior or prior without density, and where the KL is infinite.

    >>> from seqvae.decoders import LSTMDecoder
    >>> from seqvae.encoders import NoiseEncoder
    >>> from seqvae.posteriors import GaussianPosterior
    >>> from seqvae.priors import StandardNormal
    >>> reads_nothing = NoiseEncoder(GaussianPosterior(2, sigma=2.0))  # its KL: 1.61
    >>> vae = VAE(reads_nothing, StandardNormal(2), LSTMDecoder(9, 2, embed=4, hidden=4))
    >>> _ = [weight.data.zero_() for weight in vae.parameters()]  # -log p(x) = log 9 = 2.20
    >>> batch = Batch(torch.full((2000, 1), 5), torch.ones(2000), None, torch.arange(2000))
    >>> [round(IWAE(samples=count)(vae, batch)[0].item()) for count in (1, 100)]  # 3.81, 2.20
    [4, 2]
    """

    def __init__(self, *, samples: int = 5, doubly_reparameterized: bool = False) -> None:
        super().__init__()
        check_sizes(samples=samples)
        self.samples = samples
        self.doubly_reparameterized = doubly_reparameterized

    def forward(self, vae: VAE, batch: Batch) -> tuple[Tensor, Report]:
        q, p = vae.encoder(batch), vae.prior()
        _check_densities(q, p)
        z = q.rsample((self.samples,))
        log_px = vae.decoder(vae.condition(z, batch), batch.step).log_prob(batch.x)
        log_joint = log_px + p.log_prob(z)
        log_w = log_joint - q.log_prob(z)
        loss = -evidence(log_w).mean()
        rate = kl(q, p, z[0]).mean()
        if not self.training:
            _check_rate(rate)
        report = {
            "loss": loss,
            "reconstruction": -log_px.mean(),
            "kl": rate,
            "effective_samples": effective_samples(log_w).mean(),
        }
        if self.doubly_reparameterized and z.requires_grad:
            loss = _doubly_reparameterized(loss, log_joint, log_w, q, z)
        return loss, {name: value.detach() for name, value in report.items()}

    def settled(self, step: int) -> bool:
        return True


def _doubly_reparameterized(
    loss: Tensor, log_joint: Tensor, log_w: Tensor, q: Distribution, z: Tensor
) -> Tensor:
    """The same number, whose gradient is that of Tucker et al. (2019), equation 8, for q.

    Of log q only the slope in z counts, not that in q's parameters: a linear function of z has
    the one without the other. Whatever comes back to a z_k on its way to q, which has the weight
    v_k once, is multiplied by it again.
    """
    share = log_w.detach().softmax(0)
    hook: Any = z.register_hook  # torch has not typed it
    hook(lambda slope: share.unsqueeze(-1) * slope)
    log_q = (_slope_of_density(q, z) * z).sum(-1)
    descended = -(share * (log_joint - log_q)).sum(0).mean()
    return loss.detach() + (descended - descended.detach())  # which is zero exactly


def _slope_of_density(q: Distribution, z: Tensor) -> Tensor:
    """d log q(z) / dz of codes (K, B, D), as numbers."""
    at = z.detach().requires_grad_()
    (slope,) = torch.autograd.grad(q.log_prob(at).sum(), at)
    return slope


def _check_densities(q: Distribution, p: Distribution) -> None:
    if not has_density(q):
        raise Refused(
            "importance weights need q(z|x), and this posterior has no density. Use a "
            "GaussianPosterior, or the objective Elbo with a penalty on samples such as MMD."
        )
    if not has_density(p):
        raise Refused(
            "importance weights need p(z), and this prior has no density: it can only be sampled. "
            "Use StandardNormal, or the objective Elbo with a penalty on samples such as MMD."
        )


def _check_rate(rate: Tensor) -> None:
    """With K samples the bound is finite by luck where none of them is sure to have a density."""
    if bool(rate.isinf()):
        raise Refused(
            "the KL is infinite, and so is the mean of the importance-weighted bound: the prior "
            "gives some of the posterior's codes no density. Use a prior without borders, such as "
            "StandardNormal."
        )
