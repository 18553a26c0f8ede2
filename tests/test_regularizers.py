"""Penalties: finite, felt by the encoder, and equal to what their formulas say by hand."""

import math
from functools import partial
from itertools import permutations
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
from seqvae.regularizers import (
    KL,
    MMD,
    AttributeOrder,
    CrossEntropy,
    FreeBits,
    SlicedWasserstein,
)
from seqvae.regularizers.mmd import SCALES, mmd
from seqvae.regularizers.sliced_wasserstein import directions, sliced_wasserstein
from seqvae.vae import Pass

PRIOR = gaussian(torch.zeros(2), torch.ones(2))
# KL of dimension d is mu_d^2 / 2 where sigma = 1: 2, 0.125 | 0.5, 0.02 nats
MU = torch.tensor([[2.0, 0.5], [1.0, 0.2]])
# Of codes alone; the others have tests of their own.
KINDS = [k for k in exports(regularizers) if k not in (AttributeOrder, CrossEntropy)]


def trip(
    q: Distribution, z: Tensor | None = None, p: Distribution = PRIOR, *, step: int = 0
) -> Pass:
    """A pass of which only q, p, z and the step are asked for."""
    z = q.rsample() if z is None else z
    return Pass(batch(step=step), q, p, z, p, torch.zeros(len(z)))


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


def naive_mmd(z: Tensor, y: Tensor, sigma: float = 1.0, kernel: str = "imq") -> float:
    """Gretton et al. (2012), equation 3, as two loops over pairs."""

    def k(a: Tensor, b: Tensor) -> float:
        square = float((a.double() - b.double()).square().sum())
        widths = [2 * len(a) * scale * sigma**2 for scale in SCALES]
        if kernel == "rbf":
            return sum(math.exp(-square / width) for width in widths)
        return sum(width / (width + square) for width in widths)

    n = range(len(z))
    pairs = [(i, j) for i in n for j in n if i != j]
    within = sum(k(z[i], z[j]) + k(y[i], y[j]) for i, j in pairs) / len(pairs)
    return within - 2 * sum(k(a, b) for a in z for b in y) / len(z) ** 2


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("sigma", [1.0, 0.3])
def test_mmd_is_the_double_loop_over_pairs(sigma: float, kernel: Any) -> None:
    z, y = torch.randn(7, 3) + 1, torch.randn(7, 3)
    expected = naive_mmd(z, y, sigma, kernel)
    assert mmd(z, y, sigma, kernel=kernel).item() == pytest.approx(expected, abs=1e-5)


def test_the_kernel_is_the_inverse_multiquadric() -> None:
    """Two codes at 0 and two draws at distance 5, one scale of C = 2 * 2 * 1: 1 + 1 - 2 * 4/29."""
    z, y = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    assert mmd(z, y, scales=(1.0,)).item() == pytest.approx(2 - 2 * 4 / 29)


def test_the_radial_kernel_is_the_gaussian_of_the_same_width() -> None:
    """As above: 1 + 1 - 2 exp(-25 / 4)."""
    z, y = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    value = mmd(z, y, scales=(1.0,), kernel="rbf").item()
    assert value == pytest.approx(2 - 2 * math.exp(-25 / 4))


@pytest.mark.parametrize("penalty", [MMD(), MMD(kernel="rbf"), SlicedWasserstein()], ids=repr)
def test_an_all_zero_code_of_128_dimensions_is_seen(penalty: Any) -> None:
    p = gaussian(torch.zeros(128), torch.ones(128))
    null = torch.stack([penalty(trip(p, torch.randn(64, 128), p)) for _ in range(50)])
    seen = penalty(trip(p, torch.zeros(64, 128), p))
    assert seen > null.mean() + 10 * null.std()


def after(past: Tensor, z: Tensor, p: Distribution, kernel: Any = "imq") -> Tensor:
    """The MMD of codes z with the codes of an earlier step in its buffer."""
    penalty = MMD(past.shape[1], buffer=len(past), kernel=kernel)
    penalty(trip(p, past, p))
    penalty.update({})
    return penalty(trip(p, z, p, step=1))


def test_a_dead_dimension_of_32_is_seen_better_with_a_buffer() -> None:
    """By how many of its standard deviations under the prior the MMD rises: 0.1, then 0.3."""
    p = gaussian(torch.zeros(32), torch.ones(32))
    dead = torch.ones(32).index_fill(0, torch.tensor([5]), 0.0)

    def value(past: int, seed: int, width: Tensor) -> Tensor:
        torch.manual_seed(seed)
        return after(width * torch.randn(past, 32), width * torch.randn(32, 32), p)

    def power(past: int) -> float:
        null, found = (
            torch.stack([value(past, seed, width) for seed in range(40)])
            for width in (torch.ones(32), dead)
        )
        return float((found - null).mean() / null.std())

    assert power(224) > 0.25 > 2 * power(1)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_with_a_buffer_the_mmd_is_that_of_all_codes_and_the_gradient_of_the_new_ones(
    kernel: Any,
) -> None:
    """A pooled estimate moves by n of its N codes: its gradient is n / N of that of MMD^2."""
    past, z = torch.randn(6, 2) + 1, (torch.randn(3, 2) + 1).requires_grad_()
    torch.manual_seed(3)
    value = after(past, z, PRIOR, kernel)
    (slope,) = torch.autograd.grad(value, z)
    torch.manual_seed(3)
    PRIOR.sample((6,))  # those of the step before
    pooled = mmd(torch.cat([past, z]), PRIOR.sample((9,)), kernel=kernel)
    assert value.item() == pytest.approx(pooled.item(), abs=1e-6)
    (partly,) = torch.autograd.grad(pooled, z)
    same(slope, 3 * partly)


def test_a_buffer_of_the_same_codes_leaves_the_gradient_as_large() -> None:
    """With q at rest the mean gradient of a moved cloud does not depend on the buffer."""

    def pull(past: int, repeats: int = 200) -> Tensor:
        slopes: list[Tensor] = []
        for _ in range(repeats):
            move = torch.zeros(2, requires_grad=True)
            value = after(torch.randn(past, 2) + 1, torch.randn(8, 2) + 1 + move, PRIOR)
            slopes += torch.autograd.grad(value, move)
        return torch.stack(slopes).mean(0)

    same(pull(24), pull(1), 0.08)


def test_the_buffer_holds_the_newest_codes_of_whole_steps() -> None:
    penalty = MMD(2, buffer=5)

    def step(number: int, *values: float) -> None:
        for value in values:  # micro-batches, of items of their own
            out = trip(PRIOR, torch.full((2, 2), value), step=number)
            items = out.batch._replace(item=out.batch.item + int(10 * value))
            penalty(out._replace(batch=items))

    def held() -> list[float]:
        return penalty.past[5 - int(penalty.filled) :, 0].tolist()

    step(0, 1.0, 2.0)
    assert held() == []  # only an update changes it
    penalty.update({})
    assert held() == [1, 1, 2, 2]
    step(1, 3.0)
    penalty.update({})
    assert held() == [1, 2, 2, 3, 3]
    penalty.update({})
    penalty.eval()
    step(2, 4.0)
    penalty.update({})
    assert held() == [1, 2, 2, 3, 3]  # evaluation leaves no trace
    penalty.train()
    step(10**12, 5.0)  # of a trial that no update followed
    step(3, 6.0, 7.0, 8.0)
    penalty.update({})
    assert held() == [6, 7, 7, 8, 8]


def test_of_several_passes_over_the_same_items_the_buffer_holds_the_last() -> None:
    penalty = MMD(2, buffer=5)
    for value in (1.0, 2.0, 3.0):  # as where posteriors are refined
        penalty(trip(PRIOR, torch.full((2, 2), value)))
    penalty.update({})
    assert penalty.past[5 - int(penalty.filled) :, 0].tolist() == [3, 3]


def test_a_buffer_resumes_to_the_same_bits() -> None:
    whole, resumed = MMD(2, buffer=5), MMD(2, buffer=5)
    whole(at(MU))
    whole.update({})
    resumed.load_state_dict(whole.state_dict())
    z = torch.randn(4, 2)
    for step in (1, 2):
        values = []
        for penalty in (whole, resumed):
            torch.manual_seed(step)
            values.append(penalty(trip(PRIOR, z, step=step)))
            penalty.update({})
        assert torch.equal(*values)
    assert torch.equal(whole.past, resumed.past)


def test_with_a_buffer_a_batch_of_one_counts_and_without_it_is_free() -> None:
    one = torch.ones(1, 2, requires_grad=True)
    assert MMD()(trip(PRIOR, one)) == 0 == SlicedWasserstein()(trip(PRIOR, one))
    (slope,) = torch.autograd.grad(after(torch.ones(9, 2), one, PRIOR), one)
    assert (slope > 0).all()


def test_a_buffer_of_codes_of_unknown_size_or_of_less_than_none_is_refused() -> None:
    with pytest.raises(Refused, match="latent=32"):
        MMD(buffer=64)
    with pytest.raises(Refused, match="buffer = -1"):
        MMD(2, buffer=-1)


def test_sliced_wasserstein_on_a_line_is_the_cheapest_pairing() -> None:
    z, y = torch.randn(5, 1), torch.randn(5, 1) + 1
    cheapest = min((z - y[list(order)]).square().mean() for order in permutations(range(5)))
    same(sliced_wasserstein(z, y, torch.ones(1, 1)), cheapest)


def test_sliced_wasserstein_is_the_mean_of_its_directions() -> None:
    z, y, theta = torch.randn(6, 3), torch.randn(6, 3), directions(4, torch.zeros(1, 3))
    lines = [sliced_wasserstein(z @ t[:, None], y @ t[:, None], torch.ones(1, 1)) for t in theta.T]
    same(sliced_wasserstein(z, y, theta), torch.stack(lines).mean())


def test_directions_are_uniform_unit_vectors() -> None:
    theta = directions(20000, torch.zeros(1, 3))
    same(theta.norm(dim=0), torch.ones(20000))
    same(theta.mean(1), torch.zeros(3), 0.02)
    same(theta @ theta.T / 20000, torch.eye(3) / 3, 0.02)


def test_sliced_wasserstein_of_gaussians_is_their_squared_distance_per_dimension() -> None:
    """W_2^2 along theta of N(m, s^2 I) and N(0, I): (theta . m)^2 + (s - 1)^2, mean |m|^2 / D."""
    move, width = torch.tensor([1.0, -2.0, 0.5, 0.0]), 0.5
    p = gaussian(torch.zeros(4), torch.ones(4))
    z = move + width * torch.randn(2000, 4)
    value = SlicedWasserstein(projections=1000)(trip(p, z, p))
    assert value.item() == pytest.approx(5.25 / 4 + 0.25, rel=0.08)


def test_sliced_wasserstein_of_equal_distributions_falls_as_1_over_the_batch() -> None:
    def bias(size: int) -> float:
        values = [SlicedWasserstein()(trip(PRIOR, torch.randn(size, 2))) for _ in range(50)]
        return float(torch.stack(values).mean())

    assert 0 < bias(320) < bias(32) / 4


def test_no_direction_is_refused() -> None:
    with pytest.raises(Refused, match="projections = 0"):
        SlicedWasserstein(projections=0)


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


def test_distances_keep_their_precision_where_networks_run_in_bfloat16() -> None:
    z, y, theta = torch.randn(50, 3), torch.randn(50, 3), directions(9, torch.zeros(1, 3))
    for distance in (mmd, partial(mmd, kernel="rbf"), partial(sliced_wasserstein, theta=theta)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            reduced = distance(z, y)
        assert reduced.dtype == torch.float32
        same(reduced, distance(z, y), 1e-7)


def test_mmd_of_a_single_code_or_of_no_width_is_refused() -> None:
    with pytest.raises(Refused, match="at least 2"):
        mmd(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(Refused, match="as many draws as codes: 5, 4"):
        mmd(torch.zeros(4, 2), torch.zeros(5, 2))
    for wrong in ({"sigma": 0.0}, {"scales": ()}, {"scales": (1.0, -1.0)}):
        with pytest.raises(Refused, match="positive widths"):
            make(MMD, **wrong)


def test_a_code_of_no_dimensions_is_free() -> None:
    nothing = gaussian(torch.zeros(2, 0), torch.zeros(2, 0))
    empty = trip(nothing, p=gaussian(torch.zeros(0), torch.zeros(0)))
    for kind in KINDS:
        free = make(kind, nats=0.0, latent=0)(empty)
        assert free.sum().item() == pytest.approx(0.0, abs=1e-6), kind


def test_every_reading_agrees_with_the_rates_it_is_made_of() -> None:
    out = at(MU)
    rates = kl_per_dimension(out.q, out.p)
    same(KL()(out), rates.sum(-1))
    same(FreeBits(nats=0.3)(out), rates.clamp_min(0.3).sum(-1))
