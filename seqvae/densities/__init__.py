"""Densities fitted on codes after training; the export list is the list of kinds."""

from .density import Density as Density
from .flow import RectifiedFlow as RectifiedFlow
from .mixture import Mixture as Mixture


def kinds() -> dict[str, type[Density]]:
    """The exported densities by their kind.

    >>> sorted(kinds())
    ['flow', 'mixture']
    """
    exported = [value for value in globals().values() if isinstance(value, type)]
    return {d.kind: d for d in exported if issubclass(d, Density) and hasattr(d, "kind")}
