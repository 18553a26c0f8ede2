"""A rectified flow: straight lines from noise to codes, learnt by regression."""

import copy
import math
from typing import Self

import torch
from torch import Generator, Tensor, nn

from ..errors import check_sizes
from ..randomness import seeded
from .density import Density, Tell, apart, check_codes, radius_of, scaled

BATCH = 512
RATE = 2e-3  # of Adam at the start; a cosine brings it to 0
LOOK_EVERY = 100  # steps between two looks at held-out codes
LOOKS = 16  # noises and times that each held-out code is met with


class RectifiedFlow(Density):
    """dz_t / dt = v(z_t, t) from z_0 ~ N(0, I) to z_1 ~ q̂, v a perceptron with SiLU.

    v minimises E |(z_1 - z_0) - v(z_t, t)|^2 with z_t = t z_1 + (1 - t) z_0, z_1 a code, z_0 noise
    drawn apart from it, t uniform (Liu et al., 2023, equation 1; Lipman et al., 2023, where it is
    the path with sigma_min = 0). One flow, which is not straightened again ("reflow"). The weights
    kept are those of the least loss on codes held out of the fit, always met with the same noises.
    Codes are drawn by Heun's method. What v reads and gives is scaled to width 1.

    Arguments:
        latent: D.
        width: of the perceptron.
        layers: hidden ones.
        steps: of Heun's method, each with two looks at v.

    >>> codes = torch.randn(100, 2) + 3
    >>> RectifiedFlow.fit(codes, training_steps=20, width=8).sample(5).shape
    torch.Size([5, 2])
    """

    kind = "flow"
    mean: Tensor
    spread: Tensor

    def __init__(self, latent: int, *, width: int = 256, layers: int = 3, steps: int = 32) -> None:
        super().__init__(latent)
        check_sizes(latent=latent, width=width, layers=layers, steps=steps)
        self.width, self.layers, self.steps = width, layers, steps
        hidden = [width] * layers
        linear = map(nn.Linear, [latent + 1, *hidden], [*hidden, latent])
        first, *rest = linear
        self.velocity = nn.Sequential(first, *(m for layer in rest for m in (nn.SiLU(), layer)))
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("spread", torch.ones(latent))

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        *,
        width: int = 256,
        layers: int = 3,
        steps: int = 32,
        training_steps: int = 3000,
        seed: int = 0,
        tell: Tell | None = None,
    ) -> Self:
        check_sizes(training_steps=training_steps)
        z, mean, spread = scaled(check_codes(codes))
        with seeded(seed):
            flow = cls(z.shape[1], width=width, layers=layers, steps=steps)
            flow._train(*apart(z), training_steps, tell)
        flow.mean.copy_(mean)
        flow.spread.copy_(spread)
        flow.radius.copy_(radius_of(codes))
        return flow.requires_grad_(False)

    def draw(self, count: int, generator: Generator | None) -> Tensor:
        z = torch.randn(count, self.latent, generator=generator)
        dt = 1 / self.steps
        for step in range(self.steps):
            v = self(z, torch.tensor(step * dt))
            ahead = self(z + dt * v, torch.tensor((step + 1) * dt))
            z = z + dt * (v + ahead) / 2
        return self.mean + self.spread * z

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """v(z, t): (N, D) from places z (N, D) at times t (N, 1), or at one time."""
        return self.velocity(torch.cat([z, t.expand(len(z), 1)], dim=1))

    def _train(self, some: Tensor, held_out: Tensor, steps: int, tell: Tell | None) -> None:
        asked = held_out.repeat(LOOKS, 1)
        z_0, t = torch.randn_like(asked), torch.rand(len(asked), 1)
        best, least = copy.deepcopy(self.state_dict()), math.inf
        optimizer = torch.optim.Adam(self.velocity.parameters(), RATE)
        pace = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(1, steps + 1):
            z_1 = some[torch.randint(len(some), (BATCH,))]
            loss = self._loss(z_1, torch.randn_like(z_1), torch.rand(BATCH, 1))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            pace.step()
            if step % LOOK_EVERY == 0 or step == steps:
                with torch.no_grad():
                    now = float(self._loss(asked, z_0, t))
                if now < least:
                    best, least = copy.deepcopy(self.state_dict()), now
                if tell is not None:
                    tell("steps of the flow", step, steps)
        self.load_state_dict(best)

    def _loss(self, z_1: Tensor, z_0: Tensor, t: Tensor) -> Tensor:
        z_t = t * z_1 + (1 - t) * z_0
        return (z_1 - z_0 - self(z_t, t)).square().sum(1).mean()

    @property
    def sizes(self) -> dict[str, int]:
        names = ("latent", "width", "layers", "steps")
        return {name: getattr(self, name) for name in names}

    @property
    def about(self) -> str:
        return f"rectified flow, {self.layers} layers of {self.width}"
