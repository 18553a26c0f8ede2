"""Corpora with no download: docstrings of installed Python, a language of known entropy, songs.

All are written as files that `seqvae prepare` takes like any other.
"""

from .composer import Composed as Composed
from .composer import compose as compose
from .composer import write_songs as write_songs
from .docstrings import docstring_sentences as docstring_sentences
from .docstrings import prose_sentences as prose_sentences
from .docstrings import write_docstrings as write_docstrings
from .grammar import FACTORS as FACTORS
from .grammar import Grammar as Grammar
from .grammar import Kind as Kind
from .grammar import Rule as Rule
from .grammar import english as english
from .grammar import write_grammar as write_grammar
