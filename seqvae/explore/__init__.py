"""An opened model and its verbs: `m = seqvae.load("runs/x")`."""

from .explorer import Explorer as Explorer
from .explorer import find as find
from .explorer import load as load
from .explorer import shipped as shipped
from .explorer import shipped_folder as shipped_folder
from .how import GREEDY as GREEDY
from .how import How as How
