"""The importance-weighted objective: its value, and two gradients that agree in the mean."""

from typing import Any

import pytest
import torch
from exact import ACROSS, ALONG, decoder_of, linear, vectors
from small import batch, make, same, vae
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, TransformedDistribution
from torch.distributions.transforms import AffineTransform

from seqvae.distributions import gaussian, kl
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Refused
from seqvae.metrics import evidence
from seqvae.objectives import IWAE, Elbo
from seqvae.posteriors import DeltaPosterior
from seqvae.priors import Fixed, Product
from seqvae.regularizers import KL
from seqvae.schedules import constant
from seqvae.vae import VAE, Batch, Encoder, Prior

MANY = 20_000


class Free(Encoder):
    """One learned Gaussian for all items."""

    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.tensor([0.4, -0.3], dtype=torch.float64))
        self.log_sigma = nn.Parameter(torch.tensor([-0.2, 0.1], dtype=torch.float64))

    def forward(self, batch: Batch) -> Distribution:
        size = (len(batch.x), 2)
        return gaussian(self.mu.expand(size), self.log_sigma.exp().expand(size))


class Learned(Prior):
    """N(mu, I) with a learned mean."""

    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self) -> Distribution:
        return gaussian(self.mu, torch.ones_like(self.mu))


def learning() -> VAE:
    """A linear-Gaussian in float64 of which encoder, prior and decoder all learn."""
    return VAE(Free(), Learned(), decoder_of(linear(ALONG)))


def copies(count: int = MANY) -> Batch:
    """One item so many times: as many independent draws of its gradient."""
    x = torch.tensor([[0.8, -1.1, 0.3]], dtype=torch.float64).expand(count, 3)
    return Batch(x, torch.ones(count, dtype=torch.long), None, torch.arange(count))


def slopes(objective: Any, model: VAE, count: int = MANY, groups: int = 20) -> dict[str, Tensor]:
    """Independent estimates (groups, *) of each weight's gradient."""
    found: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_parameters()}
    for _ in range(groups):
        model.zero_grad()
        objective(model, copies(count // groups))[0].backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None, name
            found[name].append(weight.grad.clone().flatten())
    return {name: torch.stack(each) for name, each in found.items()}


def agree(a: Tensor, b: Tensor, errors: float = 4.5) -> None:
    """Means of (groups, *) that are the same but for so many standard errors."""
    error = ((a.var(0) + b.var(0)) / len(a)).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < errors * error).all()


def test_it_is_the_bound_on_the_evidence_at_the_same_draws() -> None:
    model, items = linear(ALONG), vectors(linear(ALONG), 50)
    torch.manual_seed(1)
    loss, report = IWAE(samples=7)(model, items)
    torch.manual_seed(1)
    log_w = model.log_weights(items, 7)
    same(loss, -evidence(log_w).mean(), 1e-12)
    share = log_w.softmax(0)
    same(report["effective_samples"], (1 / share.square().sum(0)).mean().detach(), 1e-9)
    q = model.encoder(items)
    same(report["kl"], kl(q, model.prior(), q.rsample()).mean().detach(), 1e-12)


def test_of_many_samples_it_is_the_evidence() -> None:
    model, items = linear(ALONG), vectors(linear(ALONG), 20)
    truth = -decoder_of(model).evidence().log_prob(items.x).mean()
    gaps = [float(IWAE(samples=k)(model, items)[1]["loss"] - truth) for k in (1, MANY)]
    assert gaps[0] > 0.1 > 0.01 > abs(gaps[1])


@pytest.mark.parametrize("doubly", [False, True])
def test_of_one_sample_it_is_the_elbo_and_so_is_its_gradient_in_the_mean(doubly: bool) -> None:
    objective = IWAE(samples=1, doubly_reparameterized=doubly)
    model, elbo = learning(), Elbo({"kl": (KL(), constant)})
    ours, theirs = objective(model, copies())[1], elbo(model, copies())[1]
    for name in ("loss", "reconstruction", "kl"):
        same(ours[name], theirs[name], 0.06)
    found, expected = slopes(objective, model), slopes(elbo, model)
    for name in expected:
        agree(found[name], expected[name])


@pytest.mark.parametrize("samples", [2, 8])
def test_the_two_gradients_agree_in_the_mean_and_the_second_has_less_noise(samples: int) -> None:
    model = learning()
    plain = slopes(IWAE(samples=samples), model, groups=100)
    twice = IWAE(samples=samples, doubly_reparameterized=True)
    doubly = slopes(twice, model, groups=100)
    for name in plain:
        agree(plain[name], doubly[name])
        assert float(plain[name].mean(0).norm()) > 0.05, name  # or there is nothing to agree on
    noise = {
        way: sum(float(found[f"encoder.{n}"].var(0).sum()) for n in ("mu", "log_sigma"))
        for way, found in (("plain", plain), ("doubly", doubly))
    }
    assert noise["doubly"] < 0.9 * noise["plain"]


def test_at_the_true_posterior_the_encoders_gradient_has_no_noise_at_all() -> None:
    """All weights are the evidence, whatever z: log w is flat in z, though not in mu and sigma."""
    linear_, size = linear(ACROSS, shift=0.0, stretch=1.0), []
    for doubly in (True, False):
        encoder = Free()
        truth = linear_.encoder(copies(1))
        with torch.no_grad():
            encoder.mu.copy_(truth.mean[0])
            encoder.log_sigma.copy_(truth.stddev[0].log())
        model = VAE(encoder, linear_.prior, linear_.decoder)
        loss, _ = IWAE(samples=4, doubly_reparameterized=doubly)(model, copies(100))
        size.append(float(torch.autograd.grad(loss, encoder.mu)[0].abs().max()))
    assert size[0] < 1e-12 and size[1] > 1e-3


def test_the_loss_and_all_but_the_encoders_gradient_are_the_same_either_way() -> None:
    model, found = vae(), []
    for doubly in (False, True):
        torch.manual_seed(1)
        model.zero_grad()
        loss, report = IWAE(samples=4, doubly_reparameterized=doubly)(model, batch())
        loss.backward()
        assert report["loss"] == loss and not report["loss"].requires_grad
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((loss, {name: grad.clone() for name, grad in grads.items()}))
    (loss, plain), (other, doubly_) = found
    same(loss, other, 1e-7)
    for name in plain:
        is_same = torch.allclose(plain[name], doubly_[name], rtol=1e-4, atol=1e-6)
        assert is_same != name.startswith("encoder"), name


def test_a_posterior_of_any_density_will_do() -> None:
    class Moved(Encoder):
        def __init__(self) -> None:
            super().__init__()
            self.by = nn.Parameter(torch.zeros(3))

        def forward(self, batch: Batch) -> Distribution:
            flat = Normal(torch.zeros(len(batch.x), 3), 1.0)
            return TransformedDistribution(flat, AffineTransform(self.by, 0.5, event_dim=1))

    encoder = Moved()
    loss, _ = IWAE(samples=3, doubly_reparameterized=True)(vae(encoder=encoder), batch())
    (slope,) = torch.autograd.grad(loss, encoder.by)
    assert int(slope.count_nonzero()) == 3


@pytest.mark.parametrize("doubly", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_without_gradient_and_in_small_batches_it_is_the_same_number(
    doubly: bool, count: int
) -> None:
    model, items = vae().eval(), batch().part(0, count)
    objective = IWAE(samples=4, doubly_reparameterized=doubly)
    torch.manual_seed(1)
    with torch.no_grad():
        scored, _ = objective.eval()(model, items)
    torch.manual_seed(1)
    same(scored, objective.train()(model, items)[0].detach(), 1e-6)


def test_without_a_density_it_is_refused_with_the_cure() -> None:
    model = vae(encoder=make(LSTMEncoder, posterior=DeltaPosterior(3)))
    with pytest.raises(Refused, match=r"no density.*GaussianPosterior"):
        IWAE()(model, batch())

    class Sampler(Distribution):
        arg_constraints = {}  # noqa: RUF012

    model = vae(prior=Fixed(Sampler(event_shape=torch.Size([3]), validate_args=False)))
    with pytest.raises(Refused, match=r"no density.*StandardNormal"):
        IWAE()(model, batch())


def test_a_prior_with_borders_is_refused_though_some_sample_may_lie_within() -> None:
    prior = Product(3, family="Uniform", parameters={"low": -2.0, "high": 2.0})
    with pytest.raises(Refused, match="infinite"):
        IWAE(samples=50).eval()(vae(prior=prior), batch())


def test_no_samples_are_refused() -> None:
    with pytest.raises(Refused, match="samples = 0"):
        IWAE(samples=0)
