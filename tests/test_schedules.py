"""Schedules at their start, middle and end, and what is true of all of them."""

import inspect
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, get_args

import pytest
from small import make

from seqvae import regularizers, schedules
from seqvae.build import SHARED, construct
from seqvae.errors import Refused
from seqvae.regularizers import Capacity
from seqvae.schedules import (
    FAR,
    Shape,
    constant,
    cosine,
    cyclical,
    linear,
    settled,
    sigmoid,
)

EXPORTED = [
    f
    for name, f in vars(schedules).items()
    if inspect.isfunction(f) and name[0] != "_" and f is not settled
]


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (partial(constant), {0: 1.0, 5: 1.0, FAR: 1.0}),
        (partial(constant, value=0.25), {0: 0.25, FAR: 0.25}),
        (partial(linear, steps=100), {0: 0.0, 25: 0.25, 50: 0.5, 100: 1.0, 101: 1.0}),
        (partial(linear, start=2.0, end=0.5, steps=10), {0: 2.0, 4: 1.4, 10: 0.5, FAR: 0.5}),
        (partial(linear, steps=0), {0: 1.0, 1: 1.0}),
        (partial(cosine, steps=100), {0: 0.0, 25: 0.1464466, 50: 0.5, 75: 0.8535534, 100: 1.0}),
        (partial(cosine, start=1.0, end=0.1, steps=10), {0: 1.0, 5: 0.55, 10: 0.1, 99: 0.1}),
        (partial(sigmoid, middle=2500), {0: 0.0019267, 2500: 0.5, 5000: 0.9980733, FAR: 1.0}),
        (partial(sigmoid, middle=0, end=0.3, slope=1.0), {0: 0.15, 1: 0.2193176, FAR: 0.3}),
        (
            partial(cyclical, steps=100),  # 4 cycles: up for 12.5 steps, level for 12.5
            {0: 0.0, 5: 0.4, 12: 0.96, 13: 1.0, 24: 1.0, 25: 0.0, 30: 0.4, 99: 1.0, 100: 1.0},
        ),
        (
            partial(cyclical, steps=30, cycles=3, ramp=1.0, end=0.5),  # saw teeth
            {0: 0.0, 5: 0.25, 9: 0.45, 10: 0.0, 20: 0.0, 29: 0.45, 30: 0.5},
        ),
        (partial(cyclical, steps=8, cycles=2, ramp=0.0), {0: 1.0, 1: 1.0, 4: 1.0, 8: 1.0}),
    ],
)
def test_weights_at_start_middle_and_end(
    schedule: Callable[[int], float], values: dict[int, float]
) -> None:
    assert {step: schedule(step) for step in values} == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "rise"),
    [
        ("linear", [0.0, 0.25, 0.5, 0.75]),
        ("sigmoid", [0.0024726, 0.0474259, 0.5, 0.9525741]),  # 1 / (1 + exp(-(12 t - 6)))
        ("cosine", [0.0, 0.1464466, 0.5, 0.8535534]),  # (1 - cos(pi t)) / 2
    ],
)
def test_a_cycle_rises_in_three_shapes(shape: Any, rise: list[float]) -> None:
    two = partial(cyclical, steps=16, cycles=2, shape=shape)  # up for 4 steps, level for 4
    assert [two(step) for step in range(16)] == pytest.approx([*rise, 1, 1, 1, 1] * 2, abs=1e-6)
    between = partial(two, start=0.2, end=0.6)
    assert [between(step) for step in range(4)] == pytest.approx([0.2 + 0.4 * w for w in rise])
    assert two(16) == 1.0 and between(16) == 0.6


def test_one_cycle_of_optimus_is_nothing_then_a_rise_then_full_weight() -> None:
    optimus = partial(cyclical, steps=100, cycles=1, zero=0.5, ramp=0.25)
    weights = {0: 0.0, 49: 0.0, 50: 0.0, 55: 0.2, 74: 0.96, 75: 1.0, 99: 1.0, 100: 1.0, FAR: 1.0}
    assert {step: optimus(step) for step in weights} == pytest.approx(weights)
    assert not settled(optimus, 99) and settled(optimus, 100)
    twice = partial(cyclical, steps=20, cycles=2, zero=0.2, ramp=0.4, start=0.1)
    assert [twice(step) for step in range(10)] == pytest.approx(
        [0.1, 0.1, 0.1, 0.325, 0.55, 0.775, 1.0, 1.0, 1.0, 1.0]
    )


@pytest.mark.parametrize("shares", [{"zero": 0.6}, {"zero": -0.1}, {"ramp": 1.1}, {"ramp": -0.5}])
def test_shares_of_a_cycle_that_cannot_be_are_refused(shares: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="shares of a cycle"):
        cyclical(0, steps=100, **shares)


def test_cyclical_is_the_published_shape() -> None:
    """Fu et al. (2019), equation 6, with M = 4 and R = 0.5: twenty steps of five, written out."""
    assert [cyclical(step, steps=20) for step in range(20)] == pytest.approx(
        [0.0, 0.4, 0.8, 1.0, 1.0] * 4
    )


@pytest.mark.parametrize("function", EXPORTED)
def test_every_schedule_is_a_pure_function_that_settles(function: Callable[..., float]) -> None:
    def schedule(step: int) -> float:
        return float(make(partial(function, step)))

    steps = [0, 1, 10, 49, 50, 51, 99, 100, 101, 10**6, FAR]
    forwards = [schedule(step) for step in steps]
    backwards = [schedule(step) for step in reversed(steps)]
    assert forwards == backwards[::-1]
    assert all(0 <= weight <= 1 for weight in forwards)
    assert settled(schedule, FAR) and schedule(10**9) == schedule(FAR)


def test_a_schedule_of_steps_has_settled_after_them_any_other_near_its_limit() -> None:
    warm_up = partial(linear, steps=1000)
    assert [settled(warm_up, step) for step in (0, 985, 999, 1000)] == [False, False, False, True]
    cycles = partial(cyclical, steps=1000)
    assert cycles(200) == 1 and not settled(cycles, 200) and settled(cycles, 1000)
    rise = partial(sigmoid, middle=0, slope=1.0)
    assert [settled(rise, step) for step in (0, 4, 5)] == [False, False, True]
    fall = partial(linear, start=1.0, end=0.0, steps=10)
    assert not settled(fall, 9) and settled(fall, 10)
    assert settled(partial(constant, value=0.0), 0)
    assert not settled(partial(sigmoid, middle=100), 100)


def by_share(section: dict[str, Any], steps: int) -> Capacity:
    """What follows a schedule of a recipe in a run of so many steps."""
    made = {"rate": {"kind": "Capacity", "nats": section}}
    return construct(made, "rate", regularizers, steps=steps)


def sections() -> list[dict[str, Any]]:
    """Every kind of schedule that takes a share of the run, in each of its shapes."""
    found: list[dict[str, Any]] = []
    for function in EXPORTED:
        parameters = inspect.signature(function).parameters
        if not set(SHARED) & set(parameters):
            continue
        shapes = [{"shape": s} for s in get_args(Shape)] if "shape" in parameters else [{}]
        found += [{"kind": function.__name__, **shape} for shape in shapes]
    return found


@pytest.mark.parametrize("section", sections(), ids=lambda section: " ".join(section.values()))
def test_whatever_takes_a_share_of_a_run_begins_low_and_has_settled_within_it(
    section: dict[str, Any],
) -> None:
    for share, steps in product((0.001, 0.3, 0.97, 1.0), (1, 2, 7, 300, 2040, 10**6)):
        within = max(round(share * steps), 1)
        for end in (1.0, 0.75, 12.0):
            rate = by_share({**section, "share": share, "end": end}, steps)
            assert rate.capacity(0) < 0.01 * end
            assert rate.settled(within), f"{section} by {share} of {steps}"
            assert rate.capacity(within) == pytest.approx(end, rel=0.01)
            assert not rate.settled(within // 2) or within == 1, "and uses most of it"


def test_a_sigmoid_by_share_is_half_way_in_the_middle_of_it() -> None:
    rate = by_share({"kind": "sigmoid", "share": 0.3}, 2000)
    weights = {0: 0.0066929, 150: 0.0758582, 300: 0.5, 450: 0.9241418, 600: 0.9933071}
    assert {step: rate.capacity(step) for step in weights} == pytest.approx(weights, abs=1e-6)
    assert not rate.settled(570) and rate.settled(580)


def test_a_sigmoid_by_share_has_no_slope_of_its_own() -> None:
    with pytest.raises(Refused, match=r"slope = 0\.01 and share = 0\.3, which both say"):
        by_share({"kind": "sigmoid", "share": 0.3, "slope": 0.01}, 2000)
