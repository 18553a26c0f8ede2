"""Several processes that train one model: what is whose of a batch, and what passes between them.

    torchrun --nproc-per-node 2 -m seqvae train corpus.txt --out runs/mine

Every process knows the whole batch of a step and walks its own share of the items; gradients and
reports are summed. All of this is nothing in a process that is alone.
"""

from .draws import Drawn
from .group import count, is_first, joined, launch, place
from .messages import anyone, collected, in_turn, sum_up, told
from .shares import Share, pieces_of
from .sharing import alike, gathered, kept, sharing

__all__ = [
    "Drawn",
    "Share",
    "alike",
    "anyone",
    "collected",
    "count",
    "gathered",
    "in_turn",
    "is_first",
    "joined",
    "kept",
    "launch",
    "pieces_of",
    "place",
    "sharing",
    "sum_up",
    "told",
]
