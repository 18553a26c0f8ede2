"""What an attribute of an item is: a number that people have a word for."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Attribute(NamedTuple):
    """A name, a unit, and item -> its value; NaN where it is undefined, as in a silent clip.

    >>> Attribute("letters", "characters", len).measure("two")
    3
    """

    name: str
    unit: str
    measure: Callable[[Any], float]
