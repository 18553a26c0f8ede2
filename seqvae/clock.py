"""When the events of a sequence happen, for networks that look it up."""

import torch
from torch import Tensor, nn

from .codecs.codec import BAR, NOTHING, Clock


class Timekeeper(nn.Module):
    """Ids of events -> the step of its window at which each happens, by all up to it.

    An event that says a step of its bar leads there, one that begins a bar to the bar's first, and
    any other happens where the last of these has led. All before the first bar is at step 0, and
    all behind the last step at that.

    >>> from seqvae.codecs.codec import BAR, NOTHING, Clock
    >>> bar, half, note = 4, 5, 6  # in bars of two steps
    >>> keeper = Timekeeper(Clock(2, 2, (NOTHING,) * 4 + (BAR, 1, NOTHING)))
    >>> keeper(torch.tensor([[bar, note, half, note, bar, note, half, note]])).tolist()
    [[0, 0, 1, 1, 2, 2, 3, 3]]
    """

    says: Tensor

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.bar = clock.steps
        self.steps = clock.steps * clock.bars
        self.register_buffer("says", torch.tensor(clock.says), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Ids (B, T) -> steps (B, T)."""
        said = self.says[x]
        bars = (said == BAR).cumsum(1) - 1
        place = torch.arange(x.shape[1], device=x.device).expand(x.shape)
        last = place.masked_fill(said == NOTHING, 0).cummax(1).values
        return self.within(bars * self.bar + said.clamp(min=0).gather(1, last))

    def before(self, x: Tensor) -> Tensor:
        """The time of items (B,) of which nothing was read, for `after`."""
        return torch.full_like(x, -self.bar)

    def after(self, tokens: Tensor, time: Tensor) -> Tensor:
        """The time of items (B,) once each has read a token (B,); `within` makes a step of it."""
        said, bars = self.says[tokens], time.div(self.bar, rounding_mode="floor")
        led = (bars + (said == BAR)) * self.bar + said.clamp(min=0)
        return torch.where(said == NOTHING, time, led)

    def within(self, time: Tensor) -> Tensor:
        return time.clamp(0, self.steps - 1)
