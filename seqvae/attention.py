"""The Transformer block that encoder and decoder share, and the positions it is given."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import Refused


def sinusoid(positions: Tensor, width: int) -> Tensor:
    """Positions (T,) -> (T, width) of sines and cosines   (Vaswani et al., 2017, section 3.5).

    No table, hence no longest sequence.
    """
    rates = torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width)
    angles = positions.unsqueeze(-1) * rates.exp()
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x)   (pre-norm: Xiong et al., 2020).

    x is (B, T, H). With `past` (B, 2, heads, C, H/heads), keys and values of the `known` tokens
    before, x is the next one, (B, 1, H): its own are written behind them, in place.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads or width % 2:
            raise Refused(
                f"width {width} does not divide into {heads} heads of equal size (and sines and "
                "cosines); choose a multiple of 2 and of heads."
            )
        self.heads = heads
        self.drop_rate = dropout
        self.before_attention = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.before_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        known: int = 0,
        only: Tensor | None = None,
    ) -> Tensor:
        """`mask` (B, T) is true where a token may be attended to; each row has one at least.

        `only` (B,): the place in each row whose vector alone is wanted, (B, 1, H). It attends to
        all that the mask allows, so `causal` adds nothing: it is the last of them.
        """
        allowed = None if mask is None else mask[:, None, None, :]
        query, key, value = self._split(self.project(self.before_attention(x)))
        if only is not None:
            row = torch.arange(len(x), device=x.device)
            x, query = x[row, only].unsqueeze(1), query[row, :, only].unsqueeze(2)
        elif allowed is not None and causal:
            allowed = allowed & allowed.new_ones(x.shape[1], x.shape[1]).tril()
        if past is not None:
            past[:, 0, :, known], past[:, 1, :, known] = key.squeeze(2), value.squeeze(2)
            key, value = past[..., : known + 1, :].unbind(1)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=allowed,
            dropout_p=self.drop_rate if self.training else 0.0,
            is_causal=causal and allowed is None and only is None,
        )
        x = x + self.dropout(self.merge(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.mlp(self.before_mlp(x)))

    def _split(self, projected: Tensor) -> tuple[Tensor, ...]:
        batch, time, _ = projected.shape
        return projected.view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
