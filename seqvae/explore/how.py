"""How a code is written out: greedily, by drawing, or by beam search."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..decoders.sequence import SequenceDecoder
from ..errors import Refused
from ..generate import Choose, beam, generate, greedy, sampler

AT_ONCE = 256  # items encoded or written together


@dataclass(frozen=True)
class How:
    """Greedy unless a beam, or a way of drawing, is named.

    Arguments:
        beam: width of a beam search for the likeliest sequence.
        temperature, top_k, top_p: draw, from a flatter or sharper and cut distribution.
        length: the most tokens to write.
        seed: of the draws.

    >>> How(top_p=0.9).drawn, How().drawn
    (True, False)
    """

    beam: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    length: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.beam is not None and self.drawn:
            raise Refused("a beam searches and a temperature draws: give one or the other.")
        if self.length < 1:
            raise Refused(f"length = {self.length}: write at least 1 token.")

    @property
    def drawn(self) -> bool:
        return not (self.temperature is None and self.top_k is None and self.top_p is None)

    def write(self, decoder: SequenceDecoder, z: Tensor) -> list[list[int]]:
        """Codes (N, D) -> tokens, at most `length` an item.

        A long list is written in parts; one stream of draws runs through all of them.
        """
        choose = self._choose(z.device)
        parts = [self._part(decoder, part, choose) for part in torch.split(z, AT_ONCE)]
        return [ids for tokens in parts for ids in tokens.tolist()]

    def _part(self, decoder: SequenceDecoder, z: Tensor, choose: Choose) -> Tensor:
        if self.beam is not None:
            return beam(decoder, z, length=self.length, width=self.beam)[0]
        return generate(decoder, z, length=self.length, choose=choose)

    def _choose(self, device: torch.device) -> Choose:
        if not self.drawn:
            return greedy
        return sampler(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            seed=self.seed,
            device=device,
        )


GREEDY = How()
