"""Several processes that train one model: what is whose of a batch, and what passes between them.

    torchrun --nproc-per-node 2 -m seqvae train corpus.txt --out runs/mine

Every process knows the whole batch of a step and walks its own share of the items; gradients and
reports are summed. All of this is nothing in a process that is alone.
"""

from .draws import Drawn as Drawn
from .group import count as count
from .group import is_first as is_first
from .group import joined as joined
from .group import launch as launch
from .group import place as place
from .messages import anyone as anyone
from .messages import collected as collected
from .messages import in_turn as in_turn
from .messages import sum_up as sum_up
from .messages import told as told
from .shares import Share as Share
from .shares import pieces_of as pieces_of
from .sharing import alike as alike
from .sharing import gathered as gathered
from .sharing import kept as kept
from .sharing import sharing as sharing
