"""step -> weight, as pure functions of the step: a resumed run needs no counter.

Every schedule settles: far enough on it equals its limit, which is what "full weight" means.
A recipe names the function and its keywords; `functools.partial` binds them.

>>> from functools import partial
>>> warm_up = partial(linear, steps=1000)
>>> [warm_up(step) for step in (0, 250, 1000, 5000)]
[0.0, 0.25, 1.0, 1.0]
"""

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[int], float]
Shape = Literal["linear", "sigmoid", "cosine"]

FAR = 10**12  # a step by which every schedule has settled
WIDE = 10.0  # slope times steps of a sigmoid over a share of a run: from 0.7 % to 99.3 %


def constant(step: int, *, value: float = 1.0) -> float:
    """The same weight at every step.

    >>> constant(0, value=0.4), constant(5000, value=0.4)
    (0.4, 0.4)
    """
    return value


def linear(step: int, *, start: float = 0.0, end: float = 1.0, steps: int) -> float:
    """start + (end - start) * step / steps, then `end`   (warm-up: Sønderby et al., 2016).

    >>> [linear(step, end=0.5, steps=1000) for step in (0, 500, 1000, 5000)]
    [0.0, 0.25, 0.5, 0.5]
    """
    return start + (end - start) * _progress(step, steps)


def cosine(step: int, *, start: float = 0.0, end: float = 1.0, steps: int) -> float:
    """start + (end - start) (1 - cos(pi step / steps)) / 2, then `end`: slow at both ends.

    >>> [round(cosine(step, steps=1000), 3) for step in (0, 250, 500, 750, 1000)]
    [0.0, 0.146, 0.5, 0.854, 1.0]
    """
    return start + (end - start) * _rise(_progress(step, steps), "cosine")


def sigmoid(step: int, *, end: float = 1.0, middle: float, slope: float = 0.0025) -> float:
    """end / (1 + exp(-slope (step - middle)))   (Bowman et al., 2016).

    A recipe may say it by a share of the run, N steps: then middle = N / 2 and slope = 10 / N, so
    that it goes from 0.7 % of `end` to 99.3 % within them.

    >>> [round(sigmoid(step, middle=500, slope=0.01), 4) for step in (0, 250, 500, 1000)]
    [0.0067, 0.0759, 0.5, 0.9933]
    """
    return end / (1 + math.exp(-max(min(slope * (step - middle), 700.0), -700.0)))


def cyclical(
    step: int,
    *,
    start: float = 0.0,
    end: float = 1.0,
    steps: int,
    cycles: int = 4,
    ramp: float = 0.5,
    zero: float = 0.0,
    shape: Shape = "linear",
) -> float:
    """`cycles` times within `steps`: a share `zero` at `start`, a share `ramp` rising, then `end`.

    Fu et al. (2019), equation 6: tau = mod(step, steps/cycles) / (steps/cycles);
    weight = f(tau / ramp) while tau <= ramp, then 1. Of the rises f they name, the authors ran the
    linear one; their figures draw the others, for t = tau / ramp:

    - shape="linear": t
    - shape="sigmoid": 1 / (1 + exp(6 - 12 t)), which begins 0.0025 above 0 and ends so far below 1
    - shape="cosine": (1 - cos(pi t)) / 2

    `cycles=1, zero=0.5, ramp=0.25` is the one cycle of Optimus (Li et al., 2020), `zero=0` and one
    cycle a plain warm-up.

    Raises `ValueError` for shares that together are more than a cycle.

    >>> [cyclical(step, steps=8, cycles=1, zero=0.5, ramp=0.25) for step in (0, 3, 4, 5, 6, 8)]
    [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if not (zero >= 0 and ramp >= 0 and zero + ramp <= 1):
        raise ValueError(
            f"zero = {zero} and ramp = {ramp} are shares of a cycle, 1 at most in all"
        )
    if step >= steps:
        return end
    tau = (step * cycles / steps) % 1.0 - zero
    if tau < 0:
        return start
    return start + (end - start) * (_rise(tau / ramp, shape) if tau < ramp else 1.0)


def settled(schedule: Schedule, step: int) -> bool:
    """Whether the schedule has reached its full weight, for good.

    One that moves for a number of `steps` has settled after them, whatever it passes on the way;
    any other where its weight is within 1 % of its limit.

    >>> from functools import partial
    >>> settled(partial(linear, steps=1000), 999), settled(partial(linear, steps=1000), 1000)
    (False, True)
    >>> settled(partial(sigmoid, middle=500, slope=0.01), 1000)
    True
    """
    steps = getattr(schedule, "keywords", {}).get("steps")
    if steps is not None:
        return step >= steps
    limit = schedule(FAR)
    return abs(schedule(step) - limit) <= 0.01 * abs(limit)


def _progress(step: int, steps: int) -> float:
    return min(max(step / steps, 0.0), 1.0) if steps > 0 else 1.0


def _rise(t: float, shape: Shape) -> float:
    """From 0 to 1 as t does."""
    if shape == "sigmoid":
        return 1 / (1 + math.exp(6 - 12 * t))
    return (1 - math.cos(math.pi * t)) / 2 if shape == "cosine" else t
