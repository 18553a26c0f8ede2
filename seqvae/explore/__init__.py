"""An opened model and its verbs: `m = seqvae.load("runs/x")`."""

from .decoding import GREEDY as GREEDY
from .decoding import Decoding as Decoding
from .explorer import Explorer as Explorer
from .explorer import Label as Label
from .explorer import load as load
from .explorer import show as show
from .explorer import show_pictures as show_pictures
