"""Penalties: finite, felt by the encoder, and equal to what their formulas say by hand."""

import math
from typing import Any

import pytest
import torch
from small import batch, exports, make, same, vae
from torch import Tensor
from torch.distributions import Distribution

from seqvae import regularizers
from seqvae.distributions import Delta, gaussian, kl_per_dimension
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Refused
from seqvae.posteriors import GaussianPosterior
from seqvae.regularizers import KL, MMD, FreeBits
from seqvae.regularizers.mmd import SCALES, mmd
from seqvae.vae import Pass

PRIOR = gaussian(torch.zeros(2), torch.ones(2))
# KL of dimension d is mu_d^2 / 2 where sigma = 1: 2, 0.125 | 0.5, 0.02 nats
MU = torch.tensor([[2.0, 0.5], [1.0, 0.2]])
KINDS = exports(regularizers)


def trip(q: Distribution, z: Tensor | None = None, p: Distribution = PRIOR) -> Pass:
    """A pass of which only q, p and z are asked for."""
    z = q.rsample() if z is None else z
    return Pass(batch(), q, p, z, p, torch.zeros(len(z)))


def at(mu: Tensor) -> Pass:
    return trip(gaussian(mu, torch.ones_like(mu)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [GaussianPosterior(3), GaussianPosterior(3, sigma=0.5)])
def test_a_penalty_is_finite_and_felt_by_every_weight_of_the_encoder(kind: Any, head: Any) -> None:
    model = vae(encoder=make(LSTMEncoder, posterior=head))
    penalty = make(kind, nats=0.0)
    value = penalty(model(batch()))
    assert value.shape in ((), (4,)) and value.isfinite().all()
    value.mean().backward()
    for name, parameter in model.encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    penalty.update({})


def test_kl_is_the_closed_form_summed_over_dimensions() -> None:
    same(KL()(at(MU)), torch.tensor([2.125, 0.52]))


@pytest.mark.parametrize(
    ("per", "expected"),
    [
        ("dimension", [2.0 + 0.3, 0.5 + 0.3]),  # 0.125 and 0.02 are raised to 0.3
        ("sentence", [2.125, 0.52]),  # both are above 0.3
        ("batch_dimension", 1.25 + 0.3),  # means over sentences: 1.25 and 0.0725
    ],
)
def test_free_bits_are_the_three_published_readings(per: Any, expected: Any) -> None:
    same(FreeBits(nats=0.3, per=per)(at(MU)), torch.tensor(expected))


def test_free_bits_a_sentence_are_a_floor_under_the_total() -> None:
    same(FreeBits(nats=1.0, per="sentence")(at(MU)), torch.tensor([2.125, 1.0]))


@pytest.mark.parametrize(
    ("per", "floor", "felt"),
    [
        ("dimension", 0.3, [[True, False], [True, False]]),
        ("sentence", 1.0, [[True, True], [False, False]]),
        ("batch_dimension", 0.3, [[True, False], [True, False]]),
        ("batch_dimension", 2.0, [[False, False], [False, False]]),
        ("dimension", 0.0, [[True, True], [True, True]]),
    ],
)
def test_under_the_floor_there_is_no_gradient(per: Any, floor: float, felt: Any) -> None:
    mu = MU.clone().requires_grad_()
    (slope,) = torch.autograd.grad(FreeBits(nats=floor, per=per)(at(mu)).sum(), mu)
    assert (slope != 0).tolist() == felt


@pytest.mark.parametrize("per", ["dimension", "sentence"])
def test_without_a_floor_free_bits_are_the_kl(per: Any) -> None:
    same(FreeBits(nats=0.0, per=per)(at(MU)), KL()(at(MU)))


def test_a_negative_floor_is_refused() -> None:
    for nats in (-0.1, math.nan):
        with pytest.raises(Refused, match="0 or more"):
            FreeBits(nats=nats)


@pytest.mark.parametrize("penalty", [KL(), FreeBits(nats=0.5), FreeBits(nats=1.0, per="sentence")])
def test_a_rate_of_a_code_without_density_is_refused_with_the_cure(penalty: Any) -> None:
    with pytest.raises(Refused, match="MMD"):
        penalty(trip(Delta(MU)))
    assert MMD()(trip(Delta(MU))).isfinite()


def naive_mmd(z: Tensor, y: Tensor, sigma: float = 1.0) -> float:
    """Gretton et al. (2012), equation 3, as two loops over pairs."""

    def k(a: Tensor, b: Tensor) -> float:
        square = float((a.double() - b.double()).square().sum())
        widths = [2 * len(a) * scale * sigma**2 for scale in SCALES]
        return sum(width / (width + square) for width in widths)

    n = range(len(z))
    pairs = [(i, j) for i in n for j in n if i != j]
    within = sum(k(z[i], z[j]) + k(y[i], y[j]) for i, j in pairs) / len(pairs)
    return within - 2 * sum(k(a, b) for a in z for b in y) / len(z) ** 2


@pytest.mark.parametrize("sigma", [1.0, 0.3])
def test_mmd_is_the_double_loop_over_pairs(sigma: float) -> None:
    z, y = torch.randn(7, 3) + 1, torch.randn(7, 3)
    assert mmd(z, y, sigma).item() == pytest.approx(naive_mmd(z, y, sigma), abs=1e-5)


def test_the_kernel_is_the_inverse_multiquadric() -> None:
    """Two codes at 0 and two draws at distance 5, one scale of C = 2 * 2 * 1: 1 + 1 - 2 * 4/29."""
    z, y = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    assert mmd(z, y, scales=(1.0,)).item() == pytest.approx(2 - 2 * 4 / 29)


def test_mmd_of_equal_distributions_is_zero_on_average() -> None:
    draws = torch.stack([mmd(torch.randn(10, 3), torch.randn(10, 3)) for _ in range(2000)])
    assert abs(draws.mean().item()) < 4 * draws.std().item() / math.sqrt(2000)
    assert (draws < 0).any()  # as an unbiased estimate of zero must be


def test_mmd_sees_a_moved_cloud_and_the_more_the_further() -> None:
    z, y = torch.randn(200, 3), torch.randn(200, 3)
    values = [mmd(z + move, y).item() for move in (0.0, 0.3, 0.6, 1.2, 5.0, 50.0)]
    assert values == sorted(values)
    assert values[1] > 10 * abs(values[0])
    far = (z + 10.0).requires_grad_()
    (slope,) = torch.autograd.grad(mmd(far, y), far)
    assert (slope.sum(0) > 1e-3).all()  # descending still pulls the cloud home from far out


def test_mmd_keeps_its_precision_where_networks_run_in_bfloat16() -> None:
    z, y = torch.randn(50, 3), torch.randn(50, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mmd(z, y), mmd(z, y)) and mmd(z, y).dtype == torch.float32
        reduced = mmd(z, y)
    same(reduced, mmd(z, y), 1e-7)


def test_mmd_of_a_single_code_or_of_no_width_is_refused() -> None:
    with pytest.raises(Refused, match="at least 2"):
        mmd(torch.zeros(1, 2), torch.zeros(1, 2))
    for wrong in ({"sigma": 0.0}, {"scales": ()}, {"scales": (1.0, -1.0)}):
        with pytest.raises(Refused, match="positive widths"):
            make(MMD, **wrong)


def test_a_code_of_no_dimensions_is_free() -> None:
    nothing = gaussian(torch.zeros(2, 0), torch.zeros(2, 0))
    empty = trip(nothing, p=gaussian(torch.zeros(0), torch.zeros(0)))
    for kind in KINDS:
        assert make(kind, nats=0.0)(empty).sum().item() == pytest.approx(0.0, abs=1e-6), kind


def test_every_reading_agrees_with_the_rates_it_is_made_of() -> None:
    out = at(MU)
    rates = kl_per_dimension(out.q, out.p)
    same(KL()(out), rates.sum(-1))
    same(FreeBits(nats=0.3)(out), rates.clamp_min(0.3).sum(-1))
