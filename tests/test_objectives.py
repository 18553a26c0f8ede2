"""Objectives: what they weigh, what they report, what they refuse."""

from functools import partial
from typing import Any, Literal

import pytest
import torch
from small import LATENT, batch, exports, make, same, vae
from torch import Tensor

from seqvae import objectives
from seqvae.distributions import kl
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Refused
from seqvae.objectives import Elbo, InfoVAE
from seqvae.objectives.objective import Objective, Report
from seqvae.posteriors import DeltaPosterior
from seqvae.regularizers import KL, MMD, Adversarial, FreeBits
from seqvae.schedules import constant, linear
from seqvae.vae import VAE

BETA = partial(constant, value=0.3)


def scored(
    objective: Objective, model: VAE, step: int = 0
) -> tuple[Tensor, Report, dict[str, Tensor]]:
    """Loss, report and gradients of one batch, at a fixed draw of z."""
    torch.manual_seed(1)
    model.zero_grad()
    loss, report = objective(model, batch(step=step))
    loss.backward()
    slopes = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), report, slopes


@pytest.mark.parametrize("kind", exports(objectives))
def test_an_objective_is_a_number_with_gradient_and_reports_it(kind: Any) -> None:
    objective = make(kind, terms={"kl": (KL(), constant), "mmd": (MMD(), constant)})
    model = vae()
    loss, report, slopes = scored(objective, model)
    assert loss.shape == () and report["loss"] == loss
    assert {"loss", "reconstruction", "kl"} <= set(report)
    assert not any(value.requires_grad for value in report.values())
    assert set(slopes) == {name for name, _ in model.named_parameters()}
    assert objective.settled(0)


def test_elbo_is_reconstruction_plus_weight_times_penalty() -> None:
    objective = Elbo({"rate": (KL(), BETA), "floor": (FreeBits(nats=9.0), constant)})
    model = vae()
    loss, report, _ = scored(objective, model)
    torch.manual_seed(1)
    out = model(batch())
    reconstruction, rate = -out.log_px.mean(), kl(out.q, out.p, out.z).mean()
    same(report["reconstruction"], reconstruction.detach())
    same(report["penalty/rate"], rate.detach())
    same(report["penalty/floor"], torch.tensor(27.0))
    same(report["kl"], rate.detach())  # the true one, whatever the floor
    same(report["weight/rate"], torch.tensor(0.3))
    same(loss, (reconstruction + 0.3 * rate + 27.0).detach())


def test_the_weight_is_that_of_the_batchs_step() -> None:
    objective = Elbo({"kl": (KL(), partial(linear, steps=10))})
    model = vae()
    for step, weight in ((0, 0.0), (5, 0.5), (10, 1.0), (0, 0.0)):
        loss, report, _ = scored(objective, model, step)
        assert report["weight/kl"] == weight
        same(loss, report["reconstruction"] + weight * report["kl"])
        assert objective.settled(step) == (step == 10)


def test_without_terms_it_is_a_plain_autoencoder() -> None:
    model = vae(encoder=make(LSTMEncoder, posterior=DeltaPosterior(3)))
    loss, report, _ = scored(Elbo({}), model)
    assert loss == report["reconstruction"] and "kl" not in report


DIVERGENCES: tuple[Literal["mmd", "adversarial"], ...] = ("mmd", "adversarial")


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_infovae_of_0_and_1_is_the_elbo(divergence: Any) -> None:
    model = vae()
    objective = InfoVAE(LATENT, alpha=0.0, lambda_=1.0, divergence=divergence)
    assert list(objective.parameters()) == []
    loss, _, slopes = scored(objective, model)
    theirs, _, expected = scored(Elbo({"kl": (KL(), constant)}), model)
    same(loss, theirs, 1e-6)
    for name in expected:
        same(slopes[name], expected[name], 1e-6)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(
    ("alpha", "lambda_", "weights"),
    [
        (0.0, 1.0, {"kl": 1.0}),
        (0.0, 3.0, {"kl": 1.0, "divergence": 2.0}),
        (0.25, 2.0, {"kl": 0.75, "divergence": 1.25}),
        (1.0, 10.0, {"divergence": 10.0}),
        (0.9, 0.1, {"kl": 0.1}),
        (-1.0, 5.0, {"kl": 2.0, "divergence": 3.0}),
    ],
)
def test_infovae_weighs_kl_by_1_less_alpha_and_divergence_by_alpha_plus_lambda_less_1(
    alpha: float, lambda_: float, weights: dict[str, float], divergence: Any
) -> None:
    objective = InfoVAE(LATENT, alpha=alpha, lambda_=lambda_, divergence=divergence)
    _, report, _ = scored(objective, vae())
    names = {divergence: "divergence"}
    found = {n.removeprefix("weight/"): v.item() for n, v in report.items() if "weight/" in n}
    assert {names.get(n, n): value for n, value in found.items()} == pytest.approx(weights)


def test_infovae_descends_its_critics_loss_beside_its_own() -> None:
    objective = InfoVAE(LATENT, alpha=0.5, lambda_=2.0, divergence="adversarial")
    descended, report, _ = scored(objective, vae())
    same(descended, report["loss"] + report["own/adversarial"])
    weighed = 0.5 * report["penalty/kl"] + 1.5 * report["penalty/adversarial"]
    same(report["loss"], report["reconstruction"] + weighed)
    assert all(weight.grad is not None for weight in objective.parameters())


def test_infovae_with_a_critic_of_codes_of_unknown_size_is_refused() -> None:
    with pytest.raises(Refused, match="latent=32"):
        InfoVAE(alpha=0.5, lambda_=2.0, divergence="adversarial")


def test_no_rounding_of_its_weights_makes_infovae_refuse_or_keep_a_term() -> None:
    for hundredth in range(101):
        alpha = hundredth / 100
        assert set(InfoVAE(alpha=alpha, lambda_=1 - alpha).schedules) <= {"kl"}


def test_infovae_without_kl_takes_a_code_without_density() -> None:
    model = vae(encoder=make(LSTMEncoder, posterior=DeltaPosterior(3)))
    loss, report, slopes = scored(InfoVAE(alpha=1.0, lambda_=10.0), model)
    same(loss, report["reconstruction"] + 10 * report["penalty/mmd"])
    assert all(slope.isfinite().all() for slope in slopes.values())
    with pytest.raises(Refused, match="GaussianPosterior"):
        scored(InfoVAE(alpha=0.5, lambda_=10.0), model)


@pytest.mark.parametrize(("alpha", "lambda_"), [(1.5, 1.0), (0.2, 0.5), (float("nan"), 1.0)])
def test_infovae_with_a_negative_weight_is_refused(alpha: float, lambda_: float) -> None:
    with pytest.raises(Refused, match="choose alpha <= 1 and alpha \\+ lambda >= 1"):
        InfoVAE(alpha=alpha, lambda_=lambda_)


@pytest.mark.parametrize(
    "schedule",
    [
        partial(constant, value=-0.1),
        partial(linear, start=1.0, end=-1.0, steps=9),
        partial(linear, start=-1.0, steps=9),
        partial(constant, value=float("nan")),
    ],
)
def test_a_weight_that_would_reward_is_refused(schedule: Any) -> None:
    with pytest.raises(Refused, match="0 or more"):
        Elbo({"kl": (KL(), schedule)})


def test_an_update_reaches_every_penalty() -> None:
    heard: list[Any] = []

    class Listening(KL):
        def update(self, report: Any) -> None:
            heard.append(report)

    objective = Elbo({"a": (Listening(), constant), "b": (Listening(), constant)})
    objective.update({"kl": torch.tensor(1.0)})
    assert len(heard) == 2


def test_what_a_critic_says_is_reported_and_no_figure_to_choose_by() -> None:
    objective = Elbo({"critic": (Adversarial(LATENT, hidden=8), partial(constant, value=5.0))})
    model = vae()
    for training, counted in ((True, 1.0), (False, 0.0)):
        objective.train(training)
        _, report = objective(model, batch())
        expected = report["reconstruction"] + counted * 5 * report["penalty/critic"]
        same(report["loss"], expected)
