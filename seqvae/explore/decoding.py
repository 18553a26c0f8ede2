"""How a code is written out: greedily, by drawing, or by beam search."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..decoders.picture import PictureDecoder
from ..decoders.sequence import SequenceDecoder
from ..errors import Refused
from ..generate import Choose, Form, Lean, at_once, beam, generate, greedy, sampler
from ..randomness import seed_of

AT_ONCE = 256  # items encoded or written together
LONGEST = 256  # tokens, where neither recipe nor caller says: what `seqvae prepare` keeps


@dataclass(frozen=True)
class Decoding:
    """Greedy unless a beam, or a way of drawing, is named.

    Arguments:
        beam: width of a beam search for the likeliest sequence.
        temperature, top_k, top_p: draw, from a flatter or sharper and cut distribution.
        length: the most tokens to write; None: as many as the model was trained on.
        seed: of the draws.
        together: one noise for all codes, which then differ by the code and not by dice.

    >>> Decoding(top_p=0.9).drawn, Decoding().drawn
    (True, False)
    """

    beam: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    length: int | None = None
    seed: int = 0
    together: bool = False

    def __post_init__(self) -> None:
        if self.beam is not None and self.drawn:
            raise Refused("a beam searches and a temperature draws: give one or the other.")
        if self.length is not None and self.length < 1:
            raise Refused(f"length = {self.length}: write at least 1 token.")

    @property
    def greedy(self) -> bool:
        """Whether always the likeliest token is written."""
        return self.beam is None and not self.drawn

    @property
    def drawn(self) -> bool:
        return not (self.temperature is None and self.top_k is None and self.top_p is None)

    def write(
        self,
        decoder: SequenceDecoder | PictureDecoder,
        parts: Iterable[Tensor],
        form: Form,
        lean: Lean | None = None,
    ) -> Iterator[list[list[int]]]:
        """Codes, a part (N, D) at a time -> the tokens of each part, at most `length` an item.

        One stream of draws runs through all parts, or with `together` through each. What has no
        end token keeps its own length. Of pixels that are written all at once each is the
        likeliest, or drawn by its own probabilities at temperature 1. `form` and `lean` are those
        of all parts.

        Raises `Refused` for another way of writing such pixels, and for a beam that leans.
        """
        if lean is not None and (self.beam is not None or isinstance(decoder, PictureDecoder)):
            raise Refused("neither a beam nor pixels that are written all at once lean.")
        if isinstance(decoder, PictureDecoder):
            yield from self._pictures(decoder, parts)
            return
        if self.length is not None and form.end is not None:
            form = form._replace(length=self.length)
        choose: Choose | None = None
        row = 0
        for z in parts:
            choose = self._choose(z.device) if choose is None or self.together else choose
            own = None if lean is None else lean.part(row, row + len(z))
            yield self._part(decoder, z, form.part(row, row + len(z)), choose, own).tolist()
            row += len(z)

    def _pictures(
        self, decoder: PictureDecoder, parts: Iterable[Tensor]
    ) -> Iterator[list[list[int]]]:
        name = type(decoder).__name__
        if self.beam is not None:
            raise Refused(
                f"beam = {self.beam}: a beam searches from token to token, and {name} writes all "
                "pixels at once. Leave it out: each pixel then is the likeliest."
            )
        if self.drawn and (self.temperature, self.top_k, self.top_p) != (1.0, None, None):
            raise Refused(
                f"{name} writes all pixels at once, each drawn by its own probabilities: no other "
                "temperature than 1, no top_k and no top_p. Give temperature = 1, or nothing for "
                "the likeliest."
            )
        for number, z in enumerate(parts):
            if self.drawn and self.together:
                yield [ids for one in torch.split(z, 1) for ids in self._drawn(decoder, one, 0)]
            else:
                yield self._drawn(decoder, z, number)

    def _drawn(self, decoder: PictureDecoder, z: Tensor, number: int) -> list[list[int]]:
        seed = seed_of(self.seed, number) if self.drawn else None
        ids: list[list[int]] = at_once(decoder, z, seed=seed).tolist()
        return ids

    def _part(
        self, decoder: SequenceDecoder, z: Tensor, form: Form, choose: Choose, lean: Lean | None
    ) -> Tensor:
        if self.beam is not None:
            return beam(decoder, z, width=self.beam, **form._asdict())[0]
        return generate(decoder, z, choose=choose, lean=lean, **form._asdict())

    def _choose(self, device: torch.device) -> Choose:
        if not self.drawn:
            return greedy
        return sampler(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            seed=self.seed,
            together=self.together,
            device=device,
        )


GREEDY = Decoding()
