"""A path from one piece of music to another, step by step: how even, how dense, how likely."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..codecs import MusicCodec
from ..data import InMemory
from ..errors import Refused, check_sizes
from ..midi.clips import Clip, join, split
from ..vae import VAE
from .codes import score_with
from .onsets import FINE, distance, struck

TYPICAL = (0.05, 0.95)  # the quantiles of real data between which a step is typical


class Band(NamedTuple):
    """From where to where real data lie, both ends included.

    >>> 1.5 in band([1.0, 2.0]), 2.0 in Band(1.0, 2.0), 0.9 in Band(1.0, 2.0)
    (True, True, False)
    """

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high


def band(values: Sequence[float | None], between: tuple[float, float] = TYPICAL) -> Band:
    """The quantiles of values, 5 % and 95 % of them; those that are undefined are left out.

    Raises `Refused` where there are none.
    """
    known = [value for value in values if value is not None]
    if not known:
        raise Refused("a band of no values: give real phrases that have notes.")
    low, high = np.quantile(known, between).tolist()
    return Band(low, high)


# --- how likely ----------------------------------------------------------------------------------


@torch.no_grad()
def nats_a_note(
    language_model: VAE, codec: MusicCodec, clips: Sequence[Clip], *, size: int = 64
) -> list[float | None]:
    """What each clip costs a model without a code, nats a note; None of clips without notes.

    -log p of its windows, one after the other, over the notes that they begin with or strike: a
    note that is held into a window is struck there again, as the model is told it. Rests at the
    end of the last window are paid for. What costs little is what is usual, a repeated note least
    of all; so compare with a `band` of real music, on both sides.

    Arguments:
        language_model: of latent 0 and this codec; its likelihood is exact.
        size: windows a batch.

    Raises `Refused` for a model with a code.
    """
    if language_model.prior().event_shape[-1] != 0:
        raise Refused("a language model has latent = 0: only then is its likelihood exact.")
    windows = [[codec.encode(each).ids for each in split(clip, codec.grid)] for clip in clips]
    ids = [each for own in windows for each in own]
    place = np.repeat(np.arange(len(clips)), [len(own) for own in windows])
    z = torch.zeros(len(ids), 0)
    nll, _ = score_with(language_model, InMemory(ids), torch.arange(len(ids)), z, size=size)
    cost = np.bincount(place, nll.double().numpy(), len(clips))
    notes = np.bincount(place, [_notes(codec, each) for each in ids], len(clips))
    pairs = zip(cost.tolist(), notes.tolist(), strict=True)
    return [nats / count if count else None for nats, count in pairs]


def _notes(codec: MusicCodec, ids: ArrayLike) -> int:
    """How many notes a window strikes."""
    return codec.decode(np.asarray(ids).tolist()).notes


# --- how even ------------------------------------------------------------------------------------


def way(
    clips: Sequence[Clip],
    nats: Sequence[float | None] | None = None,
    typical: Band | None = None,
    *,
    steps: int = FINE,
) -> dict[str, Any]:
    """What is measured of a path, the steps from A to B, both ends among them.

    Distances are those of `onsets.distance`, 0 to 1. `whole` is that of the ends, `length` that of
    all steps together, `largest_step` that of the largest. `largest_share` is the largest step
    over the whole, at best 1 / (n - 1) of n steps, which is `even_share`; `detour` is length over
    whole. Both are None where the ends are alike. `onward` is the share of steps that lie no
    nearer to A, and no farther from B, than the step before.

    Of the steps between the ends, `typical` is the share whose nats a note lie in the band of real
    data, `dull` the share that cost less, and `all_typical` whether all are typical; a step
    without notes is neither. `dense` is the share that have as many onsets a beat as one end, the
    other, or something between, and `density_off` how far the farthest lies outside of that, over
    the mean of the ends. All are None where nothing lies between.

    `steps` has these of every step: distances to A, B and the step before, onsets a beat, nats.

    Arguments:
        clips: two or more, as long as each other.
        nats: a note, of every step   (`nats_a_note`).
        typical: where those of real data lie   (`band`).
        steps: a beat, on which onsets are compared.

    Raises `Refused` for fewer than two steps, nats of another number of them, or a band without
    nats.

    >>> from seqvae.midi import notes_of
    >>> def tune(up: int) -> Clip:
    ...     rows = [(1920 * i, 1920 * i + 480, 60 + up * i, 80) for i in range(4)]
    ...     return Clip({"melody": notes_of(rows)}, 7680)
    >>> a, b = tune(0), tune(2)
    >>> found = way(splices(a, b, 5))
    >>> found["whole"], found["largest_share"], found["even_share"], found["dense"]
    (0.375, 0.3333333333333333, 0.25, 1.0)
    """
    _check(clips, nats, typical)
    each = [distance(one, other, steps) for one, other in pairwise(clips)]
    from_a = [distance(clips[0], clip, steps) for clip in clips]
    to_b = [distance(clip, clips[-1], steps) for clip in clips]
    dense = [density(clip, steps) for clip in clips]
    costs = [None] * len(clips) if nats is None else list(nats)
    whole = from_a[-1]
    towards = zip(pairwise(from_a), pairwise(to_b), strict=True)
    onward = [a <= after_a and b >= after_b for (a, after_a), (b, after_b) in towards]
    return {
        "whole": whole,
        "length": sum(each),
        "largest_step": max(each),
        "largest_share": max(each) / whole if whole else None,
        "even_share": 1 / (len(clips) - 1),
        "detour": sum(each) / whole if whole else None,
        "onward": sum(onward) / len(onward),
        **_likely(costs[1:-1], typical),
        **_density(dense),
        "steps": [
            {"from_a": a, "to_b": b, "step": step, "onsets_a_beat": onsets, "nats_a_note": cost}
            for a, b, step, onsets, cost in zip(
                from_a, to_b, [0.0, *each], dense, costs, strict=True
            )
        ],
    }


def _check(
    clips: Sequence[Clip], nats: Sequence[float | None] | None, typical: Band | None
) -> None:
    if len(clips) < 2:
        raise Refused(f"a path of {len(clips)} steps: it has at least its 2 ends.")
    if nats is not None and len(nats) != len(clips):
        raise Refused(f"nats of {len(nats)} steps, of a path of {len(clips)}: give one a step.")
    if typical is not None and nats is None:
        raise Refused("a band says what is typical of nats a note: give those of every step.")


def _likely(nats: Sequence[float | None], typical: Band | None) -> dict[str, Any]:
    if typical is None or not nats:
        return {"typical": None, "dull": None, "all_typical": None}
    inside = [cost in typical for cost in nats]
    dull = [cost is not None and cost < typical.low for cost in nats]
    return {
        "typical": sum(inside) / len(inside),
        "dull": sum(dull) / len(dull),
        "all_typical": all(inside),
    }


def density(clip: Clip, steps: int = FINE) -> float:
    """Onsets a beat, of all parts together: what begins at once in a part is one."""
    return len(struck(clip, steps)) * clip.ticks_per_beat / max(clip.length, 1)


def _density(dense: Sequence[float]) -> dict[str, Any]:
    low, high = sorted((dense[0], dense[-1]))
    off = [max(low - each, each - high, 0.0) for each in dense[1:-1]]
    if not off:
        return {"dense": None, "density_off": None}
    mean = (low + high) / 2
    return {
        "dense": sum(each == 0 for each in off) / len(off),
        "density_off": max(off) / mean if mean else None,
    }


# --- what a path is held against -----------------------------------------------------------------


def splices(a: Clip, b: Clip, steps: int) -> list[Clip]:
    """The path that needs no model: the first bars of A, then B's, ever earlier.

    Step i of n has the last i / (n - 1) of B's bars, rounded, halves up. What is held over the cut
    ends, or begins, there. With fewer bars than steps some steps are alike.

    Raises `Refused` for fewer than two steps, or clips of other lengths or metres.
    """
    check_sizes(steps=steps - 1)
    b = b.rescaled(a.ticks_per_beat)
    if (a.length, a.metre) != (b.length, b.metre):
        raise Refused(
            f"a splice of {a.length} ticks of {a.metre} and {b.length} of {b.metre}: the bars of "
            "both must fall together. Cut or stretch one."
        )
    count = max(round(a.length / a.bar), 1)
    of_b = [int(count * i / (steps - 1) + 0.5) for i in range(steps)]
    return [_spliced(a, b, round(a.length * (count - bars) / count)) for bars in of_b]


def _spliced(a: Clip, b: Clip, tick: int) -> Clip:
    """A up to a tick, then B."""
    if tick in (0, a.length):
        return a if tick else b
    return join([a.cut(0, tick), b.cut(tick, b.length)])
