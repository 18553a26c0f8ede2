"""Conductors: of a code, a vector for each bar of a window."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class RecurrentConductor(nn.Module):
    """An LSTM over bars, which reads z and the bar's number, and nothing that is written.

    z sets its cell, W z, and hidden state, tanh(W z). The published one reads a constant in place
    of both (Roberts et al., 2018).

    Arguments: `units` C; `at_start`, `at_every_step`: where z is heard.
    """

    def __init__(
        self,
        latent: int,
        bars: int,
        units: int,
        *,
        layers: int = 1,
        dropout: float = 0.0,
        at_start: bool = True,
        at_every_step: bool = True,
    ) -> None:
        super().__init__()
        self.bars, self.layers, self.told = bars, layers, at_every_step
        self.first = nn.Linear(latent, layers * units, bias=False) if at_start else None
        read = bars + latent * at_every_step
        self.lstm = nn.LSTM(read, units, layers, batch_first=True, dropout=dropout * (layers > 1))

    def forward(self, z: Tensor) -> Tensor:
        """Codes (B, D) -> (B, bars, C)."""
        read = torch.eye(self.bars, dtype=z.dtype, device=z.device).expand(len(z), -1, -1)
        if self.told:
            read = torch.cat([read, z.unsqueeze(1).expand(-1, self.bars, -1)], dim=-1)
        if self.first is None:
            return self.lstm(read)[0]
        cell = self.first(z).view(len(z), self.layers, -1)
        return self.lstm(read, memory(cell.tanh(), cell))[0]


class PlanningConductor(nn.Module):
    """All bars at once, c_b = gelu(W_b z): no bar has to pass on what the next ones need.

    One layer and no more, so that the way from a bar to its part of the code is short. Without a
    code (D = 0) a one is read in its place.
    """

    def __init__(self, latent: int, bars: int, units: int) -> None:
        super().__init__()
        self.bars = bars
        self.layout = nn.Linear(latent or 1, bars * units)

    def forward(self, z: Tensor) -> Tensor:
        """Codes (B, D) -> (B, bars, C)."""
        read = z if z.shape[1] else z.new_ones(len(z), 1)
        return gelu(self.layout(read)).view(len(z), self.bars, -1)


def memory(hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """(N, layers, H) as nn.LSTM wants it: layers first, and contiguous."""
    return hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
