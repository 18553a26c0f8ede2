"""The encoder's posterior is refined for each item before the decoder learns at it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..distributions import kl
from ..errors import Refused, check_sizes
from ..infer import moved
from ..vae import VAE, Batch, Pass, beside
from .elbo import Elbo, Terms
from .objective import Objective, Report

LONGEST = 5.0  # norm that an item's gradient is clipped to, as in the paper's code


class SemiAmortized(Objective):
    """The loss of `Elbo` at a posterior refined from the encoder's (SA-VAE: Kim et al., 2018).

    With q_a = N(mu + sigma a, diag (sigma e^b)^2), (mu, sigma) the encoder's and lambda = (a, b)
    zero at first, `refinements` steps of gradient descent, each at one fresh z ~ q_lambda,

        lambda <- lambda - learning_rate * d/dlambda loss(q_lambda),
        loss = -log p(x|z) + sum_i weight_i(step) penalty_i,

    move each item's posterior by its own loss, its gradient clipped to the norm 5; only a penalty
    on the batch as a whole ties items together. The decoder, in the state it is trained in, then
    learns at the last q. In evaluation nothing is refined: the loss is that of the encoder's own
    posterior, and fitted posteriors are measured apart.

    How the encoder learns:

    - `end_to_end` (the paper): encoder, prior and decoder descend the loss at the last q *through*
      the steps that led there, with all second derivatives. The graph of every step is kept, so
      a training step costs about 1 + 2 refinements steps of `Elbo`, and memory grows alike.
    - Otherwise the steps are not differentiated: the decoder and prior descend the loss at the
      last q, held fixed, and the encoder KL(q_encoder || q_last), which makes it follow (a
      variant in the paper's code). About 1 + refinements / 3 steps of `Elbo`, in its memory.

    It differs from the paper's in this: second derivatives are exact where its code takes finite
    differences of gradients, and the gradients on the way back are not clipped; steps have no
    momentum; they move mu in widths of the encoder's posterior and sigma by factors, where the
    paper moves mu and log sigma^2 themselves, so that a rate well under 1 is stable near the
    best q whatever its widths; a gradient is one item's own, not a share of the batch's mean, and
    so is its clip; 5 steps stand for 20. A width that the encoder does not learn is not refined.
    The floor of a BoundedPosterior or a BatchNormPosterior is the encoder's alone: refined
    posteriors leave it.

    The report is that of `Elbo` at the last q, and in training also `gain`, the nats by which
    refining lowered the loss (of separate samples), and `moved`, KL(q_encoder || q_last).

    Arguments:
        terms: as for `Elbo`.
        refinements: gradient steps an item.
        learning_rate: of those steps.
        end_to_end: whether the encoder learns through them.

    Raises `Refused` for any posterior but a diagonal Gaussian.

    >>> from functools import partial
    >>> from seqvae.regularizers import KL
    >>> from seqvae.schedules import linear
    >>> objective = SemiAmortized({"kl": (KL(), partial(linear, steps=1000))}, refinements=3)
    >>> objective.settled(500), objective.settled(1000)
    (False, True)
    """

    def __init__(
        self,
        terms: Terms,
        *,
        refinements: int = 5,
        learning_rate: float = 0.2,
        end_to_end: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(refinements=refinements)
        if not 0 < learning_rate < 1:
            raise Refused(
                f"learning_rate = {learning_rate:g}: in widths of the posterior steps of 1 and "
                "more overshoot, and of 0 lead nowhere. Choose between, such as 0.2."
            )
        self.elbo = Elbo(terms)
        self.refinements = refinements
        self.learning_rate = learning_rate
        self.end_to_end = end_to_end

    @property
    def penalties(self) -> nn.ModuleDict:
        return self.elbo.penalties

    def forward(self, vae: VAE, batch: Batch) -> tuple[Tensor, Report]:
        q, p, y = vae.encoder(batch), vae.prior(), vae.label(batch)
        _check_gaussian(q)
        if not self.training or q.event_shape.numel() == 0:
            return self.elbo.score(_trip(vae, batch, q, p, y))
        with _twice_differentiable() if self.end_to_end else nullcontext():
            refined, before = self._refined(vae, batch, q, p, y)
        out = _trip(vae, batch, refined, p, y)
        loss, report = self.elbo.score(out)
        gap = kl(q, refined, out.z).mean()
        report |= {"gain": before - report["loss"], "moved": gap.detach()}
        return loss if self.end_to_end else loss + gap, report

    def _refined(
        self,
        vae: VAE,
        batch: Batch,
        q: Distribution,
        p: Distribution,
        y: Distribution | None = None,
    ) -> tuple[Distribution, Tensor]:
        """The last q, and the loss before the first step."""
        mu, sigma = q.mean, q.stddev
        free = sigma.requires_grad or not mu.requires_grad  # or it is the encoder that is frozen
        if not self.end_to_end:
            mu, sigma = mu.detach(), sigma.detach()
        shift = torch.zeros_like(mu, requires_grad=True)
        stretch = torch.zeros_like(mu, requires_grad=free)
        losses = []
        for _ in range(self.refinements):
            out = _trip(vae, batch, moved(mu, sigma, shift, stretch), p, y)
            loss, report = self.elbo.score(out)
            losses.append(report["loss"])
            shift, stretch = self._step(len(mu) * loss, shift, stretch)
        if not self.end_to_end:
            shift, stretch = shift.detach(), stretch.detach()
        return moved(mu, sigma, shift, stretch), losses[0]

    def _step(self, total: Tensor, shift: Tensor, stretch: Tensor) -> tuple[Tensor, Tensor]:
        free = [place for place in (shift, stretch) if place.requires_grad]
        slopes = torch.autograd.grad(total, free, create_graph=self.end_to_end)
        length = torch.cat(slopes, -1).norm(dim=-1, keepdim=True)
        rate = self.learning_rate / (length / LONGEST).clamp_min(1)
        after = [place - rate * slope for place, slope in zip(free, slopes, strict=True)]
        if not self.end_to_end:
            after = [place.detach().requires_grad_() for place in after]
        return after[0], after[1] if len(after) > 1 else stretch

    def settled(self, step: int) -> bool:
        return self.elbo.settled(step)

    def unmet(self) -> dict[str, str]:
        return self.elbo.unmet()

    def update(self, report: Mapping[str, Tensor]) -> None:
        self.elbo.update(report)


def _trip(
    vae: VAE, batch: Batch, q: Distribution, p: Distribution, y: Distribution | None
) -> Pass:
    """One trip through the decoder from another posterior than the encoder's own."""
    z = q.rsample()
    px = vae.decoder(beside(z, y), batch.step)
    return Pass(batch, q, p, z, px, px.log_prob(batch.x), y)


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Kernels whose gradients have gradients: the fast LSTM and attention of a GPU have none."""
    with torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield


def _check_gaussian(q: Distribution) -> None:
    if not (isinstance(q, Independent) and isinstance(q.base_dist, Normal)):
        raise Refused(
            f"semi-amortised inference refines the mean and widths of a diagonal Gaussian; this "
            f"posterior is a {type(q).__name__}. Use a GaussianPosterior, or the objective Elbo."
        )
