"""A study: many recipes on the same corpora, trained alike, chosen on validation, tested once."""

from .design import Cell as Cell
from .design import Entry as Entry
from .design import Study as Study
from .reading import read_study as read_study
