"""The loop: a step is a function of (seed, step), parts add up, nothing moves on a bad batch."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import pytest
import torch
from small import SENTENCES, batch, exports, make, same, vae
from torch import Tensor, nn

from seqvae import training
from seqvae.data import InMemory, Order, batches
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Diverged, Refused
from seqvae.objectives import Elbo
from seqvae.objectives.objective import Objective, Report
from seqvae.posteriors import BatchNormPosterior, DeltaPosterior
from seqvae.randomness import seed_step
from seqvae.regularizers import KL
from seqvae.schedules import constant, linear
from seqvae.training import SGD, AdamW, train
from seqvae.training.loop import backward
from seqvae.vae import VAE, Batch

ITEMS = InMemory(SENTENCES * 5)
ELBO = {"kl": (KL(), constant)}


def model(seed: int = 0, **decoder: Any) -> VAE:
    from seqvae.decoders import LSTMDecoder

    torch.manual_seed(seed)
    return vae(decoder=make(LSTMDecoder, **decoder))


def stream(start: int = 0) -> Iterator[Batch]:
    return batches(ITEMS, Order(ITEMS.lengths, 4), start=start)


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def run(steps: int, *, seed: int = 0, **options: Any) -> tuple[list[Tensor], list[Report]]:
    trained = model(word_dropout=0.3, dropout=0.2)
    stepper = AdamW(trained.parameters(), rate=0.01)
    loop = train(trained, Elbo(ELBO), stepper, stream(), seed=seed, **options)
    reports = [report for _, report in islice(loop, steps)]
    return weights(trained), reports


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    first, _ = run(5)
    torch.rand(17)
    again, _ = run(5)
    other, _ = run(5, seed=1)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


def test_a_run_taken_up_at_a_step_goes_on_as_if_never_stopped() -> None:
    whole, _ = run(6)
    trained = model(word_dropout=0.3, dropout=0.2)
    stepper = AdamW(trained.parameters(), rate=0.01)
    for start in (0, 3):
        torch.rand(5)  # what happens between the two, a validation say, must not matter
        trained.eval()
        for _ in islice(train(trained, Elbo(ELBO), stepper, stream(start)), 3):
            pass
    assert all(map(torch.equal, whole, weights(trained)))


def test_training_descends() -> None:
    trained = model()
    loop = train(trained, Elbo({}), AdamW(trained.parameters(), rate=0.02), stream())
    reports = [report for _, report in islice(loop, 60)]
    assert reports[-1]["loss"] < 0.5 * reports[0]["loss"]


def test_steps_are_counted_and_reported_with_norm_and_rate() -> None:
    trained = model()
    stepper = AdamW(trained.parameters(), rate=0.01, warm_up=9)
    loop = islice(train(trained, Elbo(ELBO), stepper, stream(4)), 3)
    steps = {step: report for step, report in loop}
    assert list(steps) == [5, 6, 7]
    assert [report["rate"].item() for report in steps.values()] == pytest.approx(
        [0.005, 0.006, 0.007]
    )
    assert all(report["gradient_norm"] > 0 for report in steps.values())


def test_schedules_of_a_stage_count_from_its_first_step() -> None:
    weights = {"kl": (KL(), partial(linear, steps=10))}
    trained = model()
    stepper = AdamW(trained.parameters(), rate=0.01, warm_up=9)
    loop = islice(train(trained, Elbo(weights), stepper, stream(4), first=4), 3)
    steps = dict(loop)
    assert list(steps) == [5, 6, 7]
    for number, report in enumerate(steps.values()):
        assert report["weight/kl"].item() == pytest.approx(number / 10)
        assert report["rate"].item() == pytest.approx(0.001 * (number + 1))


def test_the_first_step_of_a_stage_changes_nothing_that_is_drawn() -> None:
    found = []
    for first in (0, 4):
        trained = model(word_dropout=0.3, dropout=0.2)
        stepper = SGD(trained.parameters())
        _, report = next(train(trained, Elbo(ELBO), stepper, stream(4), first=first))
        found.append(report["loss"].item())
    assert found[0] == found[1]


@pytest.mark.parametrize("parts", [2, 3, 4, 9])
def test_a_batch_walked_in_parts_has_the_gradient_of_the_whole(parts: int) -> None:
    """Where nothing is drawn: a Delta posterior and no dropout. Seven items: uneven parts."""
    whole = vae(encoder=make(LSTMEncoder, posterior=DeltaPosterior(3)))
    items = batch([*SENTENCES, *SENTENCES[:3]])
    found = []
    for accumulate in (1, parts):
        whole.zero_grad()
        report = backward(whole, Elbo({}), items, accumulate=accumulate, bf16=False)
        found.append(([p.grad for p in whole.parameters()], report))
    (slopes, report), (slopes_of_parts, report_of_parts) = found
    for one, other in zip(slopes, slopes_of_parts, strict=True):
        assert one is not None and other is not None
        same(one, other)
    assert set(report) == set(report_of_parts)
    same(report["loss"], report_of_parts["loss"])


class Poisoned(Objective):
    """An ELBO whose loss, or only its gradient, is no number."""

    def __init__(self, bad: float, *, gradient_only: bool) -> None:
        super().__init__()
        self.elbo, self.bad, self.gradient_only = Elbo(ELBO), bad, gradient_only
        self.updates = 0

    def forward(self, vae: VAE, batch: Batch) -> tuple[Tensor, Report]:
        loss, report = self.elbo(vae, batch)
        loss = loss * self.bad
        return loss, report if self.gradient_only else report | {"loss": loss.detach()}

    def settled(self, step: int) -> bool:
        return True

    def update(self, report: Any) -> None:
        self.updates += 1


@pytest.mark.parametrize("gradient_only", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("kind", exports(training))
def test_what_is_not_finite_stops_before_anything_moved(
    kind: Any, bad: float, gradient_only: bool
) -> None:
    trained = model()
    stepper = make(kind, parameters=trained.parameters())
    before = weights(trained)
    objective = Poisoned(bad, gradient_only=gradient_only)
    stuck = batch(step=41)._replace(item=torch.tensor([17, 5, 99, 3]))
    with pytest.raises(Diverged, match=r"step 41.*rows 17, 5, 99, 3 of"):
        next(train(trained, objective, stepper, [stuck]))
    assert all(map(torch.equal, before, weights(trained)))
    assert not stepper.optimizer.state and objective.updates == 0


def test_gradients_are_clipped_to_the_norm_asked_for() -> None:
    trained = model()
    before = weights(trained)
    stepper = SGD(trained.parameters(), rate=1.0)
    _, report = next(train(trained, Elbo(ELBO), stepper, stream(), clip=0.1))
    assert report["gradient_norm"] > 0.1  # as it was before
    moved = [(a - b).square().sum() for a, b in zip(weights(trained), before, strict=True)]
    assert torch.stack(moved).sum().sqrt().item() == pytest.approx(0.1, rel=1e-3)


def test_a_network_that_is_frozen_stays_to_the_last_buffer() -> None:
    frozen = make(LSTMEncoder, posterior=BatchNormPosterior(3)).requires_grad_(False)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    trained = vae(encoder=frozen)
    stepper = AdamW([w for w in trained.parameters() if w.requires_grad])
    for _ in islice(train(trained, Elbo({}), stepper, stream()), 3):
        assert trained.decoder.training and not frozen.training
    for name, value in frozen.state_dict().items():  # running averages among them
        assert torch.equal(value, before[name])


def test_an_objective_is_told_of_every_step_once() -> None:
    trained, objective = model(), Poisoned(1.0, gradient_only=False)
    stepper = AdamW(trained.parameters())
    list(islice(train(trained, objective, stepper, stream(), accumulate=3), 4))
    assert objective.updates == 4


def test_adamw_rises_and_then_falls_along_half_a_cosine() -> None:
    parameter = [nn.Parameter(torch.zeros(1))]
    level = AdamW(parameter, rate=0.1, warm_up=4)
    assert [level.set_rate(step) for step in (0, 1, 3, 4, 999)] == pytest.approx(
        [0.02, 0.04, 0.08, 0.1, 0.1]
    )
    short = AdamW(parameter, 20, rate=0.1, warm_up=400, final=0.05)
    assert max(short.set_rate(step) for step in range(20)) == pytest.approx(0.1)
    with pytest.raises(Refused, match="how many steps"):
        AdamW(parameter, rate=0.1, final=0.5)
    fall = AdamW(parameter, 100, rate=0.1, final=0.2)
    assert [fall.set_rate(step) for step in (0, 50, 100, 500)] == pytest.approx(
        [0.1, 0.06, 0.02, 0.02]
    )
    assert fall.optimizer.param_groups[0]["lr"] == pytest.approx(0.02)


def test_sgd_falls_with_every_standstill_of_validation() -> None:
    stepper = SGD([nn.Parameter(torch.zeros(1))], rate=1.0, decay=0.5, patience=3, max_decays=4)
    assert [stepper.set_rate(step) for step in (0, 10**6)] == [1.0, 1.0]
    stepper.decays = 2
    assert stepper.set_rate(0) == 0.25 and stepper.optimizer.param_groups[0]["lr"] == 0.25
    assert (stepper.patience, stepper.max_decays) == (3, 4)


def test_sgd_is_the_rule_it_is_named_after() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    stepper = SGD([parameter], rate=0.5)
    stepper.set_rate(0)
    (3 * parameter).sum().backward()  # type: ignore[no-untyped-call]
    stepper.optimizer.step()
    assert parameter.item() == pytest.approx(1.0 - 0.5 * 3)


@pytest.mark.parametrize("kind", exports(training))
@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_that_teaches_nothing_is_refused(kind: Any, rate: float) -> None:
    with pytest.raises(Refused, match=r"optimizer\.rate"):
        make(kind, parameters=[nn.Parameter(torch.zeros(1))], rate=rate)


def test_a_rise_or_fall_out_of_range_is_refused() -> None:
    for wrong in ({"warm_up": -1}, {"final": -0.5}, {"final": 2.0}):
        with pytest.raises(Refused, match=next(iter(wrong))):
            make(AdamW, parameters=[nn.Parameter(torch.zeros(1))], **wrong)


def test_the_seed_of_a_step_is_its_own() -> None:
    drawn = set()
    for seed, step, process in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 10**9, 0)):
        seed_step(seed, step, process)
        drawn.add(torch.rand(1).item())
    assert len(drawn) == 5
    seed_step(0, 1)
    assert torch.rand(1).item() in drawn


def test_networks_may_run_in_bfloat16_with_densities_in_float32() -> None:
    kinds = []

    class Noting(KL):
        def forward(self, out: Any) -> Tensor:
            kinds.extend([out.z.dtype, out.log_px.dtype])
            return super().forward(out)

    trained = model()
    objective = Elbo({"kl": (Noting(), partial(constant, value=1.0))})
    stepper = AdamW(trained.parameters())
    _, report = next(train(trained, objective, stepper, stream(), bf16=True))
    assert set(kinds) == {torch.float32} and report["loss"].isfinite()
    assert {p.dtype for p in trained.parameters()} == {torch.float32}
