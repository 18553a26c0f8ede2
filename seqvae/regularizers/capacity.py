"""A capacity for the code that grows as training goes on."""

import math
from functools import partial
from typing import Literal

from torch import Tensor

from ..distributions import kl
from ..errors import Refused
from ..processes import gathered
from ..schedules import FAR, Schedule, constant, settled
from ..vae import Pass
from .regularizer import Regularizer

Per = Literal["batch", "sentence"]


class Capacity(Regularizer):
    """strength |KL - C(step)|: the rate follows a capacity C, from both sides.

    Burgess et al. (2018), equation 8, who raise C linearly. A rate above C is pressed down
    and one below it is lifted, each with a gradient of `strength`, so that the rate sits at C
    wherever a nat more would repay fewer than `strength` nats of reconstruction.

    - per="batch": |mean_x KL(x) - C|, one number; long sentences may hold more than short ones.
    - per="sentence": |KL(x) - C| (B,), the equation as it stands: every sentence at C.

    Validation is at the last capacity, whatever the step, and the model may be chosen once it is
    reached.

    Arguments:
        nats: C, a number or a schedule of nats.
        strength: gamma; 1000 in the paper, for images. From 1 on it holds the rate of a text,
            which repays less than a nat for each. More of it lifts the rate before the decoder
            has a use for it: of short questions, at 12 nats either way, 10 cost 4 nats more of
            reconstruction than 1.

    Raises `Refused` for a negative capacity, and a strength that is not positive.

    >>> from seqvae.schedules import linear
    >>> penalty = Capacity(nats=partial(linear, end=25.0, steps=1000))
    >>> penalty.capacity(500), penalty.settled(500), penalty.settled(1000)
    (12.5, False, True)
    """

    of_rate = True

    def __init__(
        self, *, nats: float | Schedule, strength: float = 1.0, per: Per = "batch"
    ) -> None:
        super().__init__()
        self.capacity = nats if callable(nats) else partial(constant, value=nats)
        for step in (0, FAR):
            if not 0 <= self.capacity(step) < math.inf:
                raise Refused(
                    f"nats = {self.capacity(step)} at step {step}: a capacity for the KL is a "
                    "number of nats; set it to 0 or more."
                )
        if not 0 < strength < math.inf:
            raise Refused(f"strength = {strength}: what holds the rate is above 0; try 1.")
        self.strength = strength
        self.per = per
        self.of_batch = self.of_aggregate = per == "batch"

    def forward(self, out: Pass) -> Tensor:
        rates = kl(out.q, out.p, out.z)
        if self.per == "batch":
            rates = gathered(rates).mean()
        return self.strength * (rates - self.capacity(out.batch.step)).abs()

    def settled(self, step: int) -> bool:
        return settled(self.capacity, step)
