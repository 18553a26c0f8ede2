"""The model against one whose evidence is known exactly: a linear-Gaussian."""

import pytest
import torch
from small import batch, same, vae
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, kl_divergence

from seqvae.distributions import gaussian
from seqvae.metrics import effective_samples, evidence
from seqvae.priors import StandardNormal
from seqvae.schedules import FAR
from seqvae.vae import VAE, Batch, Decoder, Encoder

NOISE = 0.5
W = torch.tensor([[1.0, 0.2], [-0.5, 1.5], [0.3, 0.3]])  # x = W z + b + noise
B = torch.tensor([0.1, -0.2, 0.3])
X = torch.tensor([[0.0, 1.0, 0.5], [2.0, -1.0, 0.0], [-1.0, 0.5, 1.5]])
ITEMS = Batch(X, torch.full((3,), 3), None, torch.arange(3))


class LinearDecoder(Decoder):
    def forward(self, z: Tensor, step: int = FAR) -> Distribution:
        mu = z @ W.T + B
        return gaussian(mu, torch.full_like(mu, NOISE))


class LinearEncoder(Encoder):
    """The true posterior, moved by `shift` of its widths and `wider` times as wide."""

    def __init__(self, shift: float = 0.0, wider: float = 1.0) -> None:
        super().__init__()
        self.shift, self.wider = shift, wider

    def forward(self, batch: Batch) -> Distribution:
        covariance = torch.linalg.inv(torch.eye(2) + W.T @ W / NOISE**2)
        mu = (batch.x - B) @ W @ covariance / NOISE**2
        moved = mu + self.shift * covariance.diagonal().sqrt()
        return MultivariateNormal(moved, self.wider**2 * covariance)


def linear(shift: float = 0.0, wider: float = 1.0) -> VAE:
    return VAE(LinearEncoder(shift, wider), StandardNormal(2), LinearDecoder())


TRUTH: Distribution = MultivariateNormal(B, W @ W.T + NOISE**2 * torch.eye(3))
EXACT = TRUTH.log_prob(X)


def test_with_the_true_posterior_every_single_weight_is_the_evidence() -> None:
    log_w = linear().log_weights(ITEMS, 50)
    same(log_w, EXACT.expand(50, 3))
    same(effective_samples(log_w), torch.full((3,), 50.0), 1e-3)


def test_the_elbo_is_the_evidence_less_the_kl_to_the_true_posterior() -> None:
    model, count = linear(0.3, 1.3), 20_000
    log_w = model.log_weights(ITEMS, count)
    gap = kl_divergence(model.encoder(ITEMS), linear().encoder(ITEMS))
    assert (gap > 0.1).all()  # or there would be nothing to see
    error = log_w.std(0) / count**0.5
    assert ((log_w.mean(0) - (EXACT - gap)).abs() < 4 * error).all()


def test_the_importance_weighted_bound_rises_to_the_evidence() -> None:
    model = linear(0.3, 1.3)
    gaps = []
    for samples, repeats in ((1, 20_000), (10, 2_000), (2_000, 10)):
        log_w = model.log_weights(ITEMS, samples * repeats).view(repeats, samples, 3)
        bounds = torch.stack([evidence(part) for part in log_w])
        gaps.append((EXACT - bounds.mean(0)).max().item())
    assert gaps[0] > 3 * gaps[1] > 9 * abs(gaps[2])
    assert abs(gaps[2]) < 0.005


def test_a_pass_is_one_sample_scored_by_its_own_distributions() -> None:
    model = vae().eval()
    out = model(batch())
    assert out.z.shape == out.q.mean.shape == (4, 3)
    same(out.log_px, model.decoder(out.z).log_prob(batch().x))
    same(out.px.log_prob(batch().x), out.log_px)
    torch.manual_seed(1)
    again = model(batch()).z
    torch.manual_seed(1)
    assert torch.equal(model(batch()).z, again) and not torch.equal(again, out.z)


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 0, 2])])
def test_a_part_of_a_batch_is_the_batch_of_those_items(labels: Tensor | None) -> None:
    whole = batch(step=7)._replace(label=labels)
    part = whole.part(1, 3)
    assert part.x.tolist() == [[7, 3, 0, 0], [4, 4, 5, 3]]
    assert part.length.tolist() == [2, 4] and part.item.tolist() == [1, 2] and part.step == 7
    kept = None if part.label is None else part.label.tolist()
    assert kept == (None if labels is None else [1, 0])
    assert whole.to("cpu").part(0, 4).x.equal(whole.x)
