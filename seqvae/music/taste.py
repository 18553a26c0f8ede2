"""How to morph: what a musician says of it, and what is chosen where nothing is said."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import Refused
from ..explore import Decoding
from ..latent import PATHS
from ..recipe import unknown
from .feel import AS_IT_IS, Touch

LONGEST = 256  # steps of a way
TOGETHER = Decoding(together=True)


@dataclass(frozen=True)
class Taste:
    """How to morph; what a musician would choose if left alone.

    Arguments:
        bars: of the phrase, in A's metre.
        from_a, from_b: the bar (from 1) where the phrase begins; None: the most repeated, fullest.
        track_a, track_b: which track, by name, "#2" or "program:0-31"; None: by its look.
        steps: phrases in all, both ends included.
        key: "a" or "b" moves the other's notes by the smallest interval, and its parts by octaves
            into one register; "keep" moves none. "glide" reads both in A's, and moves all
            from there to B's as the mix grows, a semitone at a time.
        metre: where B's, or the model's, is not A's: "beats" counts beats on, "stretch" bars.
        kind: of the path, "lerp" or "slerp".
        way: "even" takes, of what the decoder writes near the path, what makes the smallest steps;
            "straight" takes what it writes on the path, at equal distances. A grid is straight,
            and a journey goes bar by bar.
        refine: move the ends' codes until the decoder gives the ends back.
        band: the tracks the model does not know, in the full render: "crossfade", "a" or "b".
        decoding: greedy, or draws with one noise for all steps.
        touch: what to do with swing, timing and velocity; by default nothing.
    """

    bars: int = 4
    from_a: int | None = None
    from_b: int | None = None
    track_a: str | None = None
    track_b: str | None = None
    steps: int = 9
    key: Literal["a", "b", "keep", "glide"] = "a"
    metre: Literal["beats", "stretch"] = "beats"
    kind: str = "lerp"
    way: Literal["even", "straight"] = "even"
    refine: bool = True
    band: Literal["crossfade", "a", "b"] = "crossfade"
    decoding: Decoding = TOGETHER
    touch: Touch = AS_IT_IS

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= LONGEST:
            raise Refused(f"steps = {self.steps}: a path has its 2 ends, and {LONGEST} at most.")
        if self.bars < 1:
            raise Refused(f"bars = {self.bars}: a phrase has 1 bar or more.")
        choices: dict[str, Sequence[str]] = {
            "key": ("a", "b", "keep", "glide"),
            "metre": ("beats", "stretch"),
            "band": ("crossfade", "a", "b"),
            "kind": list(PATHS),
            "way": ("even", "straight"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise Refused(unknown(getattr(self, name), known, name, "choice"))
