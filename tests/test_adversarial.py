"""The critic of codes: its gradients, its freezing, and what its log-ratios estimate."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import LATENT, VOCAB, batch, make, same, vae
from torch import Tensor, nn
from torch.distributions import kl_divergence

from seqvae.build import build, build_stepper
from seqvae.distributions import gaussian
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Refused
from seqvae.objectives import Elbo
from seqvae.posteriors import DeltaPosterior
from seqvae.priors import Fixed
from seqvae.recipe import Recipe
from seqvae.regularizers import Adversarial
from seqvae.schedules import constant
from seqvae.training import train
from seqvae.training.loop import backward
from seqvae.vae import VAE, Pass

FORMS = ["log_ratio", "non_saturating"]


def critic(**arguments: Any) -> Adversarial:
    return Adversarial(LATENT, hidden=8, **arguments)


def gradients(module: nn.Module) -> list[Tensor | None]:
    return [weight.grad for weight in module.parameters()]


def trip(z: Tensor) -> Pass:
    """A pass of codes z before a standard normal prior."""
    p = gaussian(torch.zeros(z.shape[-1]), torch.ones(z.shape[-1]))
    return Pass(batch(), p, p, z, p, torch.zeros(len(z)))


@pytest.mark.parametrize("form", FORMS)
def test_the_encoders_term_leaves_the_critic_untouched(form: Any) -> None:
    model, penalty = vae(), critic(form=form)
    value = penalty(model(batch()))
    assert value.shape == (4,)
    value.mean().backward()
    assert all(grad is None for grad in gradients(penalty))
    for name, weight in model.encoder.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("gradient_penalty", [0.0, 1.0])
def test_the_critics_loss_leaves_the_encoder_untouched(gradient_penalty: float) -> None:
    model, penalty = vae(), critic(gradient_penalty=gradient_penalty)
    torch.autograd.backward(penalty.own_loss(model(batch())))
    assert all(grad is None for grad in gradients(model))
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients(penalty))


def two_optimisers(
    model: VAE, penalty: Adversarial, weight: float, rate: float
) -> tuple[VAE, nn.Module]:
    """One step of each side from the same weights, by the book: two losses, two ways back."""
    model, judge = copy.deepcopy(model), copy.deepcopy(penalty.critic)
    sides = [torch.optim.SGD(side.parameters(), lr=rate) for side in (model, judge)]
    torch.manual_seed(5)
    out = model(batch())
    z, y = out.z, out.p.sample((4,))
    loss = -out.log_px.mean() + weight * judge(z).squeeze(-1).mean()
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    answers, truth = (
        judge(torch.cat([z.detach(), y])).squeeze(-1),
        torch.tensor([1.0] * 4 + [0.0] * 4),
    )
    torch.autograd.backward(F.binary_cross_entropy_with_logits(answers, truth))
    for parameter, slope in zip(model.parameters(), slopes, strict=True):
        parameter.grad = slope
    for side in sides:
        side.step()
    return model, judge


def test_one_way_back_takes_the_step_of_two_optimisers_on_both_sides() -> None:
    model, penalty = vae(), critic()
    theirs, judge = two_optimisers(model, penalty, weight=3.0, rate=0.5)
    objective = Elbo({"it": (penalty, lambda step: 3.0)})
    torch.manual_seed(5)
    objective(model, batch())[0].backward()
    together = [*model.parameters(), *penalty.parameters()]
    torch.optim.SGD(together, lr=0.5).step()
    for ours, expected in zip(together, [*theirs.parameters(), *judge.parameters()], strict=True):
        same(ours, expected, 1e-6)


def test_accumulation_changes_neither_side() -> None:
    """Each item is judged alone: with a prior that draws one point, whatever the parts."""
    one = Fixed(gaussian(torch.ones(LATENT), torch.full((LATENT,), 1e-9)))
    model = vae(encoder=make(LSTMEncoder, posterior=DeltaPosterior(LATENT)), prior=one)
    penalty = critic()
    objective, found = Elbo({"it": (penalty, constant)}), []
    for parts in (1, 2):
        nn.ModuleList([model, penalty]).zero_grad()
        backward(model, objective, batch(), accumulate=parts, bf16=False)
        found.append([*gradients(model), *gradients(penalty)])
    for whole, in_parts in zip(*found, strict=True):
        assert whole is not None and in_parts is not None
        same(whole, in_parts, 1e-5)


def trained(penalty: Adversarial, q: Any, steps: int = 300, size: int = 256) -> Adversarial:
    optimizer = torch.optim.Adam(penalty.parameters())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        optimizer.zero_grad()
        torch.autograd.backward(penalty.own_loss(trip(q.sample((size,)))))
        optimizer.step()
    return penalty


def test_the_mean_log_ratio_estimates_the_kl_of_the_aggregate() -> None:
    q = gaussian(torch.full((4,), 0.5), torch.full((4,), 0.7))
    penalty = trained(Adversarial(4, hidden=64), q)
    out = trip(q.sample((10000,)))
    expected = kl_divergence(q, out.p).item()  # 0.91 nats
    assert penalty(out).mean().item() == pytest.approx(expected, rel=0.15)
    ratio = q.log_prob(out.z) - out.p.log_prob(out.z)
    assert torch.corrcoef(torch.stack([penalty(out).detach(), ratio]))[0, 1] > 0.95


def test_what_the_critic_learned_pulls_codes_towards_the_prior() -> None:
    q = gaussian(torch.full((2,), 1.0), torch.full((2,), 0.5))
    learned = trained(Adversarial(2, hidden=32), q, steps=100)
    for form in ("log_ratio", "non_saturating"):
        learned.form = form
        z = q.sample((500,)).requires_grad_()
        (slope,) = torch.autograd.grad(learned(trip(z)).mean(), z)
        assert (slope.sum(0) > 0).all(), form  # descending moves the mean of 1 towards 0


def test_a_critic_that_can_tell_nothing_loses_ln_2_and_claims_nothing() -> None:
    penalty = critic()
    for weight in penalty.parameters():
        nn.init.zeros_(weight)
    out = trip(torch.randn(6, LATENT))
    assert penalty.own_loss(out).item() == pytest.approx(math.log(2))
    same(penalty(out), torch.zeros(6))


def test_the_forms_are_the_log_ratio_and_its_softplus() -> None:
    penalty, out = critic(), trip(torch.randn(6, LATENT))
    ratio = penalty(out)
    penalty.form = "non_saturating"
    same(penalty(out), -torch.sigmoid(-ratio).log())  # -log D


def test_the_gradient_penalty_is_half_the_squared_slope_at_draws_of_the_prior() -> None:
    """A critic T(y) = a . y has slope a everywhere."""
    plain, steep = critic(), critic(gradient_penalty=0.5)
    a = torch.tensor([[1.0, -2.0, 3.0]])
    for penalty in (plain, steep):
        penalty.critic = nn.Sequential(nn.Linear(3, 1, bias=False))
        penalty.critic[0].weight = nn.Parameter(a.clone())
    losses = []
    for penalty in (plain, steep):
        torch.manual_seed(0)
        losses.append(penalty.own_loss(trip(torch.ones(4, 3))))
    same(losses[1] - losses[0], torch.tensor(0.5 / 2 * 14))
    before, after = (torch.autograd.grad(*pair)[0] for pair in sides(losses, (plain, steep)))
    same(after - before, 0.5 * a)  # d/da of 0.25 |a|^2
    with torch.no_grad():
        torch.manual_seed(0)
        same(steep.own_loss(trip(torch.ones(4, 3))), losses[0])  # left out


def test_a_critic_as_published_begins_small_and_bends_where_relu_does() -> None:
    """N(0, 0.01^2) and biases 0: a network of ReLU is then linear along every ray from 0."""
    published = Adversarial(64, hidden=256, activation="relu", init="normal")
    weights = [w for w in published.critic.parameters() if w.dim() > 1]
    assert [w.std().item() for w in weights] == pytest.approx([0.01] * 3, rel=0.15)
    assert all(not b.any() for b in published.critic.parameters() if b.dim() == 1)
    z = torch.randn(5, 64)
    same(published.log_odds(3 * z), 3 * published.log_odds(z), 1e-5)
    smooth = Adversarial(64, hidden=256, init="normal")
    assert not torch.allclose(smooth.log_odds(30 * z), 30 * smooth.log_odds(z), rtol=1e-3, atol=0)


def sides(losses: list[Tensor], penalties: tuple[Adversarial, ...]) -> list[tuple[Any, Any]]:
    return [(a, list(b.parameters())) for a, b in zip(losses, penalties, strict=True)]


def test_both_sides_run_in_float32_where_networks_run_in_bfloat16() -> None:
    penalty, out = critic(gradient_penalty=1.0), trip(torch.randn(6, LATENT))

    def both() -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        return penalty(out), penalty.own_loss(out)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = both()
    for low, high in zip(reduced, both(), strict=True):
        assert low.dtype == torch.float32 and torch.equal(low, high)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 0}, "hidden = 0"),
        ({"layers": 0}, "layers = 0"),
        ({"activation": "sine"}, "activation = 'sine'"),
        ({"init": "zero"}, "init = 'zero'"),
        ({"gradient_penalty": -1.0}, "gradient_penalty = -1.0"),
        ({"gradient_penalty": math.nan}, "gradient_penalty = nan"),
        ({"pace": 0.0}, "pace = 0.0"),
        ({"pace": math.inf}, "pace = inf"),
    ],
)
def test_a_critic_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        Adversarial(LATENT, **arguments)


def recipe(posterior: str, latent: int = LATENT, **term: Any) -> Recipe:
    """A small autoencoder of sentences with one penalty on the aggregate of its codes."""
    return {
        "name": "small",
        "latent": latent,
        "seed": 0,
        "encoder": {"kind": "LSTMEncoder", "embed": 8, "hidden": 8},
        "posterior": {"kind": posterior},
        "prior": {"kind": "StandardNormal"},
        "decoder": {"kind": "LSTMDecoder", "embed": 8, "hidden": 8},
        "objective": {"kind": "Elbo", "terms": {"it": {"weight": 10.0, **term}}},
        "optimizer": {"kind": "AdamW", "rate": 0.01},
    }


ADVERSARIAL: dict[str, Any] = {"kind": "Adversarial", "hidden": 16, "pace": 3.0}


@pytest.mark.parametrize(
    ("posterior", "term"),
    [
        ("DeltaPosterior", {"kind": "MMD", "buffer": 16}),
        ("DeltaPosterior", {"kind": "SlicedWasserstein"}),
        ("DeltaPosterior", ADVERSARIAL),
        ("GaussianPosterior", {**ADVERSARIAL, "form": "non_saturating", "gradient_penalty": 0.1}),
    ],
)
def test_wasserstein_and_adversarial_autoencoders_learn_sentences(
    posterior: str, term: dict[str, Any]
) -> None:
    built = build(recipe(posterior, **term), VOCAB)
    stepper = build_stepper(recipe(posterior, **term), built)
    steps = (batch(step=step) for step in range(60))
    reports = [report for _, report in train(built.vae, built.objective, stepper, steps)]
    first, last = (report["reconstruction"].item() for report in (reports[0], reports[-1]))
    assert last < 0.8 * first
    assert all(value.isfinite() for report in reports for value in report.values())


def test_a_critic_has_a_group_of_its_own_at_its_pace() -> None:
    made = recipe("DeltaPosterior", **ADVERSARIAL)
    built = build(made, VOCAB)
    stepper = build_stepper(made, built)
    stepper.set_rate(0)
    networks, own = stepper.optimizer.param_groups
    assert own["lr"] == pytest.approx(3 * networks["lr"])
    assert {id(w) for w in own["params"]} == {id(w) for w in built.objective.parameters()}


def test_without_a_code_there_is_no_critic_and_nothing_to_pay() -> None:
    made = recipe("GaussianPosterior", latent=0, **ADVERSARIAL)
    built = build(made, VOCAB)
    assert list(built.objective.parameters()) == []
    stepper = build_stepper(made, built)
    _, report = next(train(built.vae, built.objective, stepper, [batch()]))
    assert report["loss"] == report["reconstruction"] and report["penalty/it"] == 0
    assert report["own/it"].item() == pytest.approx(math.log(2))
