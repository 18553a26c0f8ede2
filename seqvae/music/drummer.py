"""A drummer: hits that are given, played with a feel of the model's or of another performance."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from ..codecs.groove import GrooveCodec
from ..errors import Refused, check_sizes
from ..explore import Decoding, Explorer
from ..midi.clips import Clip
from ..randomness import seed_of

ROUNDS = 8
DRAWN = Decoding(temperature=1.0)


def perform(
    explorer: Explorer,
    clips: Sequence[Clip],
    like: Sequence[Clip] | None = None,
    decoding: Decoding = DRAWN,
    *,
    rounds: int = ROUNDS,
) -> list[Clip]:
    """The same hits at the same steps, played as a model of grooves plays them.

    Which drum strikes where is fixed by what may be written at each position; the decoder chooses
    among velocities and timings. It does so from the codes of `like`, one performance's windows
    in turn: that is one drummer's feel on another's pattern. Without it the feel is what is
    missing of the clips, and is drawn by `rounds` of z ~ q(z|x), feel ~ p(x | z, hits), a Markov
    chain whose limit is p(feel | hits)   (Rezende et al., 2014, appendix F). The last round is
    written as `decoding` says.

    Arguments:
        explorer: a run with the codec `groove`.
        clips: windows whose hits are kept; how they are played is not looked at.
        like: windows of another performance.
        decoding: a draw, or greedy for the likeliest velocity and timing of each hit.
        rounds: of the chain, 1 or more.

    Raises `Refused` for another codec, for no window in `like`, and for a language model with
    `like`, for it has no code of it.
    """
    codec = groove_codec(explorer)
    check_sizes(rounds=rounds)
    stiff = [codec.stiff(codec.encode(clip).ids) for clip in clips]
    if like is not None and not like:
        raise Refused("like: it has no window with a note, so there is no feel to take from it.")
    if like is not None:
        codes = explorer.encode(like)
        z = torch.stack(list(islice(cycle(codes), len(stiff)))) if stiff else codes[:0]
        written = _written(explorer, codec, z, stiff, decoding)
    else:
        written = _chain(explorer, codec, stiff, decoding, rounds)
    return [codec.decode(ids) for ids in written]


def groove_codec(explorer: Explorer) -> GrooveCodec:
    """The codec of a run that knows how drums are played. Raises `Refused` for another."""
    if not isinstance(explorer.codec, GrooveCodec):
        raise Refused(
            "this run knows no velocities and timings of drums, whatever its name: its "
            f"codec is {explorer.codec.kind}. Train one that does: seqvae train feel FOLDER"
        )
    return explorer.codec


def _chain(
    explorer: Explorer,
    codec: GrooveCodec,
    ids: list[list[int]],
    decoding: Decoding,
    rounds: int,
) -> list[list[int]]:
    """Ids whose hits stay and whose feel is drawn anew in every round from the last one's code."""
    for number in range(rounds):
        last = number == rounds - 1
        seed = seed_of(decoding.seed, number)
        how = replace(decoding if last else DRAWN, seed=seed)
        ids = _written(explorer, codec, _codes(explorer, codec, ids, seed), ids, how)
    return ids


def _codes(explorer: Explorer, codec: GrooveCodec, ids: list[list[int]], seed: int) -> Tensor:
    """A draw from the posterior of each window (N, D); of a language model nothing (N, 0)."""
    if explorer.latent == 0:
        return torch.zeros(len(ids), explorer.width)
    return explorer.encode([codec.decode(each) for each in ids], sample=True, seed=seed)


def _written(
    explorer: Explorer,
    codec: GrooveCodec,
    z: Tensor,
    hits: Sequence[Sequence[int]],
    decoding: Decoding,
) -> list[list[int]]:
    """What is written of each code where the hits of each window may be, and nothing else."""
    if not hits:
        return []
    allowed = np.stack([codec.same_hits(ids) for ids in hits])
    return explorer.write(z, decoding, explorer.form._replace(allowed=allowed))
