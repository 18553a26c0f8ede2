"""Reconstruction plus any number of weighted penalties."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ..distributions import has_density, kl
from ..errors import Refused
from ..regularizers import KL, MMD, Adversarial
from ..regularizers.regularizer import Regularizer
from ..schedules import FAR, Schedule, constant, settled
from ..vae import VAE, Batch, Pass
from .objective import Objective, Report

Terms = Mapping[str, tuple[Regularizer, Schedule]]

Divergence = Literal["mmd", "adversarial"]


class Elbo(Objective):
    """loss = mean_x [ -log p(x|z) + sum_i weight_i(step) penalty_i ], z ~ q(z|x), nats a sentence.

    With the one term KL at weight 1 it is the negative ELBO   (Kingma and Welling, 2014).

    The report holds `loss`, `reconstruction`, every penalty under its own name with its weight,
    and `kl`, the true one, wherever it is defined: a floor or another penalty never hides it. What
    a penalty's own weights descend (a critic's loss) is descended too, and reported apart; in
    evaluation such a penalty is reported, and left out of the loss.

    Raises `Refused` for a negative weight.

    >>> from functools import partial
    >>> from seqvae.schedules import linear
    >>> objective = Elbo({"kl": (KL(), partial(linear, steps=1000))})
    >>> objective.settled(500), objective.settled(1000)
    (False, True)
    """

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self.penalties = nn.ModuleDict({name: penalty for name, (penalty, _) in terms.items()})
        self.schedules = {name: schedule for name, (_, schedule) in terms.items()}
        for name, schedule in self.schedules.items():
            _check_weight(name, schedule(0))
            _check_weight(name, schedule(FAR))

    def forward(self, vae: VAE, batch: Batch) -> tuple[Tensor, Report]:
        return self.score(vae(batch))

    def score(self, out: Pass) -> tuple[Tensor, Report]:
        """The loss and report of a pass that was made already."""
        loss = reconstruction = -out.log_px.mean()
        report = {"reconstruction": reconstruction.detach()}
        if has_density(out.q) and has_density(out.p):
            report["kl"] = kl(out.q, out.p, out.z).detach().mean()
        apart = []
        for name, penalty in self._named():
            weight = self.schedules[name](out.batch.step)
            value = penalty(out).mean()
            # A critic is another at every look, so what it says compares no two validations.
            if self.training or not penalty.learns_apart():
                loss = loss + weight * value
            report[f"penalty/{name}"] = value.detach()
            report[f"weight/{name}"] = loss.new_tensor(weight)
            own = penalty.own_loss(out)
            if own is not None:
                apart.append(own)
                report[f"own/{name}"] = own.detach()
        report = {"loss": loss.detach(), **report}
        return (torch.stack([loss, *apart]).sum() if apart else loss), report

    def settled(self, step: int) -> bool:
        arrived = all(settled(schedule, step) for schedule in self.schedules.values())
        return arrived and all(penalty.settled(step) for _, penalty in self._named())

    def unmet(self) -> dict[str, str]:
        said = {name: penalty.unmet() for name, penalty in self._named()}
        return {name: words for name, words in said.items() if words}

    def update(self, report: Mapping[str, Tensor]) -> None:
        for _, penalty in self._named():
            penalty.update(report)

    def _named(self) -> Iterator[tuple[str, Regularizer]]:
        """The penalties by name, as what they are."""
        for name, penalty in self.penalties.items():
            assert isinstance(penalty, Regularizer)
            yield name, penalty


class InfoVAE(Elbo):
    """-log p(x|z) + (1 - alpha) KL(q(z|x) || p) + (alpha + lambda - 1) divergence(q(z), p).

    Zhao et al. (2019), equation 6. alpha = 0, lambda = 1 is the ELBO. A weight of exactly 0
    leaves its term out, so that alpha = 1 takes posteriors without a density. The divergence is

    - "mmd": `MMD`. alpha = 1 is the MMD-VAE, which is also the Wasserstein autoencoder with a
      stochastic encoder;
    - "adversarial": `Adversarial`, whose mean estimates KL(q(z) || p) in nats. alpha = 1 is the
      adversarial autoencoder; lambda = 1 the negative ELBO less alpha times the mutual information
      of x and z, as far as the critic is right.

    For other kernels, buffers or critics: `Elbo` with the two terms and these weights.

    Arguments:
        latent: D, which a critic needs; a recipe gives it.
        alpha, lambda_: as above; a recipe writes the latter "lambda".
        divergence: "mmd" or "adversarial".

    Raises `Refused` where a weight would be negative.

    >>> halved, without = InfoVAE(alpha=0.5, lambda_=10.0), InfoVAE(alpha=1.0, lambda_=10.0)
    >>> {name: weight(0) for name, weight in halved.schedules.items()}
    {'kl': 0.5, 'mmd': 9.5}
    >>> {name: weight(0) for name, weight in without.schedules.items()}
    {'mmd': 10.0}
    """

    def __init__(
        self,
        latent: int | None = None,
        *,
        alpha: float,
        lambda_: float,
        divergence: Divergence = "mmd",
    ) -> None:
        # Rounded, so that alpha = 0.9, lambda = 0.1 leaves the MMD out and not 1e-17 of it in.
        weights = {"kl": round(1 - alpha, 12), divergence: round(alpha + lambda_ - 1, 12)}
        for name, weight in weights.items():
            if not weight >= 0:
                raise Refused(
                    f"InfoVAE(alpha={alpha:g}, lambda={lambda_:g}) gives {name} the weight "
                    f"{weight:g}; choose alpha <= 1 and alpha + lambda >= 1."
                )
        super().__init__(
            {
                name: (_divergence(name, latent), partial(constant, value=weight))
                for name, weight in weights.items()
                if weight
            }
        )


def _divergence(name: str, latent: int | None) -> Regularizer:
    if name != "adversarial":
        return KL() if name == "kl" else MMD()
    if latent is None:
        raise Refused("divergence = 'adversarial': how large is a code? Say latent=32 beside it.")
    return Adversarial(latent)


def _check_weight(name: str, weight: float) -> None:
    if not weight >= 0:
        raise Refused(
            f"the penalty {name!r} has weight {weight:g}; below 0 it would be a reward. "
            "Weights are 0 or more."
        )
