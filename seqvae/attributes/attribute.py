"""What an attribute of an item is: a number that people have a word for."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Edit(NamedTuple):
    """What one would do by hand for more of an attribute: the trivial edit, without a model."""

    made: Callable[[Any, float], Any]  # an item and how much more -> the item with that
    called: Callable[[float], str]  # how much more -> what was done
    strength: float = 1.0  # the way it goes: 1 for more, -1 for less
    clean: bool = False  # whether it goes both ways, and moves nothing else


class Attribute(NamedTuple):
    """A name, a unit, and item -> its value; NaN where it is undefined, as in a silent clip.

    >>> Attribute("letters", "characters", len).measure("two")
    3
    """

    name: str
    unit: str
    measure: Callable[[Any], float]
    edit: Edit | None = None
