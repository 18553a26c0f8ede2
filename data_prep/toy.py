"""Two corpora with no download: docstrings of installed Python, and a language of known entropy.

Both are written as files that `seqvae prepare text` takes like any other.
"""

from .docstrings import docstring_sentences as docstring_sentences
from .docstrings import prose_sentences as prose_sentences
from .docstrings import write_docstrings as write_docstrings
from .grammar import FACTORS as FACTORS
from .grammar import Grammar as Grammar
from .grammar import Kind as Kind
from .grammar import Rule as Rule
from .grammar import english as english
from .grammar import write_grammar as write_grammar
