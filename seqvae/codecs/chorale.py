"""Four voices together, as a choir sings: soprano, alto, tenor and bass, interleaved by step."""

from typing import Any, ClassVar

from ..midi.clips import Grid, metre_of
from ..midi.parts import CHOIR
from .music import VoicedCodec
from .voices import Line

# The voices of Bach's chorales lie in 36 to 81; five semitones more on either side are for
# transposition, so that no octave is folded.
LOWEST, HIGHEST = 31, 86


class ChoraleCodec(VoicedCodec):
    """Four tokens a step, each from a range of ids of its own: soprano, alto, tenor, bass.

    Every voice is a line: it holds, ends, or begins a note. A voice may depend on all that any
    has sung before, and on the higher ones at its own step   (the order of BachBot, Liang et al.,
    2017; with a symbol for what is held, as in DeepBach, Hadjeres et al., 2017).

    Arguments:
        steps: a quarter note, 4, 6, 12 or 24.
        metre, bars: of a window.
        low, high: pitches of all four voices; others are folded in by octaves.

    >>> codec = ChoraleCodec()
    >>> codec.vocab, codec.length
    (236, 128)
    """

    kind: ClassVar[str] = "chorale"

    def __init__(
        self,
        *,
        steps: int = 4,
        metre: str = "4/4",
        bars: int = 2,
        low: int = LOWEST,
        high: int = HIGHEST,
    ) -> None:
        lines = [Line(part, low, high) for part in CHOIR]
        super().__init__(Grid(steps, metre_of(metre), bars), lines)
        self.low, self.high = low, high

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "low": self.low, "high": self.high}
