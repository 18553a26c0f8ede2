"""Melody, bass and drums together, interleaved within every step."""

from typing import Any, ClassVar

from ..midi.clips import Grid, metre_of
from .music import VoicedCodec
from .voices import HIGH, LOW, Kit, Line


class TrioCodec(VoicedCodec):
    """Three tokens a step, each from a range of ids of its own: melody, bass, drums.

    The three voices of Roberts et al. (2018), as one sequence: what a voice plays may depend on
    all that any has played before.

    Arguments:
        steps: a quarter note, 4, 6, 12 or 24.
        metre, bars: of a window.
        low, high: pitches of melody and bass; others are folded in by octaves.

    >>> codec = TrioCodec(bars=16)
    >>> codec.vocab, codec.length
    (696, 768)
    """

    kind: ClassVar[str] = "trio"

    def __init__(
        self,
        *,
        steps: int = 4,
        metre: str = "4/4",
        bars: int = 2,
        low: int = LOW,
        high: int = HIGH,
    ) -> None:
        lines = [Line("melody", low, high), Line("bass", low, high)]
        super().__init__(Grid(steps, metre_of(metre), bars), [*lines, Kit()])
        self.low, self.high = low, high

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "low": self.low, "high": self.high}
