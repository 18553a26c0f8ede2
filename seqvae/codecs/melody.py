"""A melody as the field writes it: hold, note-off, or a pitch at every step."""

from typing import Any, ClassVar

from ..midi.clips import Grid, metre_of
from .music import VoicedCodec
from .voices import HIGH, LOW, Line


class MelodyCodec(VoicedCodec):
    """One note at a time   (Roberts et al., 2018, section 4.1).

    Arguments:
        steps: a quarter note, 4, 6, 12 or 24.
        metre, bars: of a window.
        low, high: pitches; others are folded in by octaves.

    >>> from seqvae.midi.clips import Clip
    >>> from seqvae.midi import notes_of
    >>> codec = MelodyCodec(bars=1)
    >>> clip = Clip({"melody": notes_of([(0, 480, 60, 80), (960, 1920, 64, 80)])}, 1920)
    >>> " ".join(codec.tokens(codec.encode(clip).ids))
    '60 - - - off - - - 64 - - - - - - -'
    """

    kind: ClassVar[str] = "melody"

    def __init__(
        self,
        *,
        steps: int = 4,
        metre: str = "4/4",
        bars: int = 2,
        low: int = LOW,
        high: int = HIGH,
    ) -> None:
        super().__init__(Grid(steps, metre_of(metre), bars), [Line("melody", low, high)])
        self.low, self.high = low, high

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "low": self.low, "high": self.high}
