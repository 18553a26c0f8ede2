"""Drums as the field writes them: which of nine strike at every step."""

from typing import ClassVar

from ..midi.clips import Grid, metre_of
from .music import VoicedCodec
from .voices import Kit


class DrumsCodec(VoicedCodec):
    """All that is struck at a step as one of 512 classes   (Roberts et al., 2018, section 4.1).

    Arguments:
        steps: a quarter note, 4, 6, 12 or 24.
        metre, bars: of a window.

    >>> from seqvae.midi.clips import Clip
    >>> from seqvae.midi import notes_of
    >>> codec = DrumsCodec(bars=1)
    >>> beat = notes_of([(0, 60, 36, 90), (0, 60, 42, 70), (480, 540, 38, 80)])
    >>> clip = Clip({"drums": beat}, 1920)
    >>> codec.tokens(codec.encode(clip).ids)[:5]
    ['kick + closed hi-hat', '-', '-', '-', 'snare']
    """

    kind: ClassVar[str] = "drums"

    def __init__(self, *, steps: int = 4, metre: str = "4/4", bars: int = 2) -> None:
        super().__init__(Grid(steps, metre_of(metre), bars), [Kit()])
