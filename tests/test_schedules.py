"""Schedules at their start, middle and end, and what is true of all of them."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from small import make

from seqvae import schedules
from seqvae.schedules import FAR, constant, cosine, cyclical, linear, settled, sigmoid

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
