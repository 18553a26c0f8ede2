"""A critic that learns to tell codes from draws of the prior, and the penalty it imposes."""

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import Refused, check_sizes
from ..layers import Activation, Init, activated, begin
from ..vae import Pass
from .regularizer import Regularizer

Form = Literal["log_ratio", "non_saturating"]


class Adversarial(Regularizer):
    """What a critic D(z), the probability that z is a draw of the prior, says against codes: (B,).

    The critic descends its binary cross-entropy between the batch's codes and as many draws y of
    the prior (`own_loss`, nats a sample: ln 2 where it can tell nothing),

        -mean log(1 - D(z)) / 2 - mean log D(y) / 2 + gradient_penalty / 2 mean |grad T(y)|^2

    while T(z) = log (1 - D(z)) / D(z), what it has learned, is charged to the encoder with the
    critic's weights frozen, so that one way back serves both sides   (adversarial autoencoder:
    Makhzani et al., 2016; the GAN-based WAE: Tolstikhin et al., 2018, algorithm 1). As

    - form="log_ratio", T(z). At its best the critic's T is log q(z) / p(z) of the aggregate
      posterior, so the mean over codes estimates KL(q(z) || p), nats, and the term's weight is on
      the scale of the KL's (Mescheder et al., 2017, section 3). Where q(z) and p lie many
      nats apart, or the critic lags behind the encoder, it falls short of that.
    - form="non_saturating", -log D(z) = softplus T(z) (Goodfellow et al., 2014, section 3; the
      WAE's choice): never negative, and codes the critic takes for draws are left in peace.

    The last term of the critic's loss is the R1 penalty on draws of the prior (Mescheder et al.,
    2018, equation 9), which vanishes where q(z) = p, as one that wants slopes of 1 would not. It
    is left out wherever gradients are off, as in evaluation.

    Needs samples only, so any posterior and any prior will do; a prior that learns learns nothing
    of it. Each item is judged alone, so accumulation does not change it. A code of no dimensions
    (a language model) is free: T = 0.

    Arguments:
        latent: D; a recipe gives it.
        form: "log_ratio" or "non_saturating".
        hidden, layers: width and number of the critic's hidden layers.
        activation: "silu", for log-ratios of densities are smooth, and it comes closer to them
            than "relu", which published critics have.
        init: "torch", or "normal" (N(0, 0.01^2), biases 0), as `DenseEncoder` has it.
        gradient_penalty: the weight of R1, which calms a critic that runs ahead, at the price of
            the estimate: already 0.1 can halve it.
        pace: by how much the critic's rate is above that of the networks.

    Raises `Refused` for sizes under 1, a negative gradient penalty or a pace that is not positive.

    >>> critic = Adversarial(latent=2, hidden=16)
    >>> sum(weight.numel() for weight in critic.parameters())
    337
    """

    def __init__(
        self,
        latent: int,
        *,
        form: Form = "log_ratio",
        hidden: int = 512,
        layers: int = 2,
        activation: Activation = "silu",
        init: Init = "torch",
        gradient_penalty: float = 0.0,
        pace: float = 1.0,
    ) -> None:
        super().__init__()
        check_sizes(hidden=hidden, layers=layers)
        if not 0 <= gradient_penalty < math.inf:
            raise Refused(f"gradient_penalty = {gradient_penalty}: it is 0 (none) or more.")
        if not 0 < pace < math.inf:
            raise Refused(f"pace = {pace}: a critic learns at a positive pace, as 1.0.")
        self.form = form
        self.gradient_penalty = gradient_penalty
        self.pace = pace
        self.critic = _critic(latent, hidden, layers, activation)
        begin(self.critic, init)

    def forward(self, out: Pass) -> Tensor:
        frozen = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        # Log-ratios near 0 decide: in bfloat16 they would be steps.
        with torch.autocast(out.z.device.type, enabled=False):
            ratio = functional_call(self.critic, frozen, (out.z.float(),)).sum(-1)
        return F.softplus(ratio) if self.form == "non_saturating" else ratio

    def own_loss(self, out: Pass) -> Tensor:
        z, y = out.z.detach().float(), out.p.sample((len(out.z),)).float()
        with torch.autocast(z.device.type, enabled=False):
            told = F.softplus(-self.log_odds(z)).mean() + F.softplus(self.log_odds(y)).mean()
            return told / 2 + self._steepness(y)

    def log_odds(self, z: Tensor) -> Tensor:
        """T (B,), the log-odds that z (B, D) is a code: one number an item, 0 without a critic."""
        return self.critic(z).sum(-1)

    def _steepness(self, y: Tensor) -> Tensor | float:
        """gradient_penalty / 2 mean |grad T(y)|^2, itself with a gradient."""
        if not (self.gradient_penalty and torch.is_grad_enabled()):
            return 0.0
        y = y.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.log_odds(y).sum(), y, create_graph=True)
        return self.gradient_penalty / 2 * slope.square().sum(-1).mean()


def _critic(latent: int, hidden: int, layers: int, activation: Activation) -> nn.Sequential:
    """(B, D) -> (B, 1); nothing at all for codes of no dimensions, which it leaves (B, 0)."""
    if latent == 0:
        return nn.Sequential()
    sizes = [latent, *[hidden] * layers]
    inner = [nn.Sequential(nn.Linear(a, b), activated(activation)) for a, b in pairwise(sizes)]
    return nn.Sequential(*inner, nn.Linear(hidden, 1))
