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

Schedule = Callable[[int], float]

FAR = 10**12  # a step by which every schedule has settled


def constant(step: int, *, value: float = 1.0) -> float:
    """The same weight at every step."""
    return value


def linear(step: int, *, start: float = 0.0, end: float = 1.0, steps: int) -> float:
    """start + (end - start) * step / steps, then `end`   (Bowman et al., 2016, section 3.1)."""
    return start + (end - start) * _progress(step, steps)


def cosine(step: int, *, start: float = 0.0, end: float = 1.0, steps: int) -> float:
    """Half a cosine from start to end: slow at both ends."""
    return start + (end - start) * (1 - math.cos(math.pi * _progress(step, steps))) / 2


def sigmoid(step: int, *, end: float = 1.0, middle: int, slope: float = 0.0025) -> float:
    """end / (1 + exp(-slope (step - middle)))   (Bowman et al., 2016)."""
    return end / (1 + math.exp(-max(min(slope * (step - middle), 700.0), -700.0)))


def cyclical(
    step: int,
    *,
    start: float = 0.0,
    end: float = 1.0,
    steps: int,
    cycles: int = 4,
    ramp: float = 0.5,
) -> float:
    """`cycles` linear rises within `steps`, each over a share `ramp` of its cycle, then `end`.

    Fu et al. (2019), equation 6: tau = mod(step, steps/cycles) / (steps/cycles);
    weight = tau / ramp while tau <= ramp, then 1.
    """
    if step >= steps:
        return end
    tau = (step * cycles / steps) % 1.0
    return start + (end - start) * (tau / ramp if tau < ramp else 1.0)


def settled(schedule: Schedule, step: int) -> bool:
    """Whether the schedule has reached its full weight, for good.

    One that moves for a number of `steps` has settled after them, whatever it passes on the way;
    any other where its weight is within 1 % of its limit.
    """
    steps = getattr(schedule, "keywords", {}).get("steps")
    if steps is not None:
        return step >= steps
    limit = schedule(FAR)
    return abs(schedule(step) - limit) <= 0.01 * abs(limit)


def _progress(step: int, steps: int) -> float:
    return min(max(step / steps, 0.0), 1.0) if steps > 0 else 1.0
