"""Fit a posterior to each item with the networks frozen: what the encoder should have said."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim.adam import adam

from .codecs.codec import Spans
from .distributions import gaussian, has_density, kl
from .errors import Refused
from .schedules import cosine
from .tokens import PAD, SPECIAL
from .vae import VAE, Batch, beside

NARROW = 0.1  # the width to start from where a posterior has none, as an autoencoder's
FAR = 1.0  # widths that codes may travel in a round, in the mean, for it to be the last
ROUNDS = 20  # at most


def infer(
    vae: VAE,
    batch: Batch,
    q: Distribution,
    *,
    steps: int = 50,
    pairs: int = 2,
    learning_rate: float = 0.15,
) -> Distribution:
    """A diagonal Gaussian for each item, started at q, that maximises its own ELBO.

    argmax over mu, sigma of E_q [log p(x|z)] - KL(q || p), the decoder frozen: stochastic
    variational inference (Hoffman et al., 2013; for VAEs Kim et al., 2018). What the ELBO gains
    by it is the amortisation gap, what is left to the evidence the gap of the family (Cremer et
    al., 2018). Items do not influence each other's gradients. Where dimensions do not pull on one
    another it ends within a hundredth of a nat a dimension of the best; else a little above.

    Arguments:
        steps: of Adam in a round, its rate falling along half a cosine. Where codes have
            travelled far, as from a posterior that is much too narrow, another round follows.
        pairs: of antithetic samples z a step, mu + sigma e and mu - sigma e.
        learning_rate: of Adam; mu moves in units of the width its round began with, sigma by
            factors.

    Raises `Refused` for a prior without a density: it defines no ELBO.
    """
    if not has_density(vae.prior()):
        raise Refused("a prior that can only be sampled defines no ELBO to fit a posterior by.")
    sigma = q.variance.detach().sqrt()
    fitted = gaussian(q.mean.detach(), torch.where(sigma > 0, sigma, NARROW))
    with _frozen(vae), torch.enable_grad():
        y = vae.label(batch)
        for _ in range(ROUNDS):
            before = fitted
            loss = partial(_loss, vae, batch, y=y, pairs=pairs)
            fitted = _round(before, loss, steps, learning_rate)
            travelled = (fitted.mean - before.mean) / before.stddev
            if float(travelled.square().mean().sqrt()) < FAR:
                break
    return fitted


def _round(
    q: Distribution, loss: Callable[[Distribution], Tensor], steps: int, learning_rate: float
) -> Distribution:
    mu, sigma = q.mean, q.stddev
    shift = torch.zeros_like(mu, requires_grad=True)
    stretch = torch.zeros_like(mu, requires_grad=True)
    optimizer = torch.optim.Adam([shift, stretch])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * cosine(step, start=1.0, end=0.02, steps=steps)
        value = loss(moved(mu, sigma, shift, stretch))
        shift.grad, stretch.grad = torch.autograd.grad(value, (shift, stretch))
        optimizer.step()
    return moved(mu, sigma, shift.detach(), stretch.detach())


def moved(mu: Tensor, sigma: Tensor, shift: Tensor, stretch: Tensor) -> Distribution:
    """N(mu, diag sigma^2), its mean moved by so many widths, its widths by e^stretch."""
    return gaussian(mu + sigma * shift, sigma * stretch.exp())


def _loss(vae: VAE, batch: Batch, q: Distribution, y: Distribution | None, pairs: int) -> Tensor:
    away = q.rsample((pairs,)) - q.mean
    z = torch.cat([q.mean + away, q.mean - away])
    log_px = vae.decoder(beside(z, y)).log_prob(batch.x).mean(0)
    return kl(q, vae.prior(), z[0]).sum() - log_px.sum()


@contextmanager
def _frozen(vae: nn.Module) -> Iterator[None]:
    """The networks without gradients of their own and without dropout, as they were afterwards."""
    learning = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    training = vae.training
    vae.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        # cuDNN's LSTM has no way back in eval mode; torch's own has.
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        vae.train(training)
        for parameter in learning:
            parameter.requires_grad_(True)


def settle(
    vae: VAE,
    batch: Batch,
    z: Tensor,
    *,
    allowed: Spans | None = None,
    steps: int = 120,
    learning_rate: float = 0.1,
    margin: float = 0.3,
    pull: float = 0.01,
) -> Tensor:
    """Codes z (B, D) moved until the decoder, read greedily, writes their items from them.

    argmin_z sum_t max(0, margin + max_{v != x_t} s_t(v) - s_t(x_t)) + pull / 2 |z - z_0|^2, s the
    scores given x_<t, the decoder frozen: only what is wrong, or nearly, moves a code, and so it
    stays nearer to where it began than by likelihood. An item is at its goal when each of its
    tokens is likelier than any other that may stand there, after those before it, for then greedy
    decoding writes it exactly; it stops there. Of one that never gets there, the code with the
    fewest wrong tokens is returned. Sequences only. With a label head codes have the label's
    probabilities behind them, (B, D + K), which stay as they are.

    Arguments:
        allowed: ids (first, last + 1) that may be written at each position, in turn (P, 2), as
            for `generate`: no others compete, nor do the four special ones; None: all do.
        steps: of Adam, at most.
        margin: of scores, by which a token is to win.
        pull: back to where the code began, which lies where the decoder was trained.
    """
    decoder: Any = vae.decoder
    may = None if allowed is None else _may(allowed, batch.x.shape[1], decoder.vocab).to(z.device)
    latent = vae.prior().event_shape[0]
    z, y = z[:, :latent], z[:, latent:]
    best, fewest = z.detach().clone(), z.new_full((len(z),), torch.inf)
    with _frozen(vae), torch.enable_grad():
        moved = best.clone().requires_grad_(True)
        move = _adam(moved, learning_rate)
        for _ in range(steps + 1):
            # Not cat with nothing, after which gradients add up in another order.
            read = torch.cat([moved, y], dim=1) if y.shape[1] else moved
            features = decoder.features(batch.x, read)
            lead = _lead(decoder.head(features), batch.x, may)
            wrong = (lead <= 0).sum(1)  # of two alike, greedy decoding may write the other
            closer = wrong < fewest
            best[closer], fewest = moved.detach()[closer], torch.minimum(fewest, wrong)
            if not bool(fewest.any()):
                break
            cost = (margin - lead).clamp_min(0).sum(1) + pull / 2 * (moved - z).square().sum(1)
            move(*torch.autograd.grad(cost[fewest > 0].sum(), [moved]))
    return torch.cat([best, y], dim=1)


def _adam(moved: Tensor, learning_rate: float) -> Callable[[Tensor], None]:
    """Steps of Adam as functions of a gradient; what `torch.optim.Adam` does, bit for bit.

    The class imports torch's compiler as it is made, over a second of a command that begins.
    """
    mean, square, step = torch.zeros_like(moved), torch.zeros_like(moved), torch.tensor(0.0)

    @torch.no_grad()
    def move(gradient: Tensor) -> None:
        adam(
            *([moved], [gradient], [mean], [square], [], [step]),
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    return move


def _may(allowed: Spans, length: int, vocab: int) -> Tensor:
    """Which ids may stand at each position (T, V)."""
    spans = torch.as_tensor(allowed)[torch.arange(length) % len(allowed)]
    ids = torch.arange(vocab)
    return (ids >= spans[:, :1].clamp_min(SPECIAL)) & (ids < spans[:, 1:])


def _lead(scores: Tensor, x: Tensor, may: Tensor | None) -> Tensor:
    """By how much each token's score lies above the best other's (B, T); infinite for padding.

    The others are those that may stand there, by a mask (T, V).
    """
    token = x.unsqueeze(-1)
    true = scores.gather(-1, token).squeeze(-1)
    scores = scores if may is None else scores.masked_fill(~may, -torch.inf)
    other = scores.scatter(-1, token, -torch.inf).amax(-1)
    return (true - other).masked_fill(x == PAD, torch.inf)
