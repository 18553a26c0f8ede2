"""Does the decoder read its code, and where: reconstruction under another's code, or noise."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data import Items
from ..metrics import bootstrap, shuffle_within, standard_error
from ..randomness import seeded
from ..vae import VAE
from .codes import Codes, score_with

FIRST = 3  # tokens that count as the first words


class Heard(NamedTuple):
    """What each item loses with another code: nats (M,), per token in a row, places in Codes."""

    worse: Tensor
    by_token: Tensor | None
    places: Tensor


def shuffled(vae: VAE, items: Items, codes: Codes, *, size: int = 64, seed: int = 0) -> Heard:
    """How much worse each item is reconstructed from the code of another of equal length.

    NLL(x | z of another) - NLL(x | z), nats, over items that have a partner. About 0: the
    decoder does not read its code. Lengths are kept equal so that knowing the length is no help.
    """
    order = shuffle_within(codes.length, seed)
    places = (order != torch.arange(len(order))).nonzero().flatten()
    return _heard(vae, items, codes, places, codes.z[order[places]], size)


def fed_noise(vae: VAE, items: Items, codes: Codes, *, size: int = 64, seed: int = 0) -> Heard:
    """The same with codes drawn from the prior, which know nothing of any item."""
    with seeded(seed):
        z = codes.p.sample((len(codes.item),)).cpu()
    return _heard(vae, items, codes, torch.arange(len(codes.item)), z, size)


def _heard(vae: VAE, items: Items, codes: Codes, places: Tensor, z: Tensor, size: int) -> Heard:
    nll, tokens = score_with(vae, items, codes.item[places], z, size=size)
    worse = nll - codes.reconstruction[places]
    if tokens is None or codes.tokens is None:
        return Heard(worse, None, places)
    return Heard(worse, tokens - codes.tokens[_tokens_of(codes.length, places)], places)


def _tokens_of(length: Tensor, places: Tensor) -> Tensor:
    """Where the tokens of items at `places` stand, all tokens being in a row."""
    first = (length.cumsum(0) - length)[places]
    return first.repeat_interleave(length[places]) + positions(length[places])


def cost(heard: Heard, name: str) -> dict[str, Any]:
    """Mean, standard error and 95 % interval of what another code costs, as figures."""
    low, high = bootstrap(heard.worse)
    return {
        f"{name}_delta_nll": float(heard.worse.double().mean()),
        f"{name}_standard_error": standard_error(heard.worse),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_items": len(heard.worse),
    }


def positions(length: Tensor) -> Tensor:
    """The place of every token in its own item, items in a row.

    >>> positions(torch.tensor([2, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    return torch.arange(int(length.sum())) - (length.cumsum(0) - length).repeat_interleave(length)


def by_position(gain: Tensor, length: Tensor) -> tuple[list[float], list[int]]:
    """Tokens in a row and items' lengths -> mean of every position (T,), and how many it has.

    >>> by_position(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 1]))
    ([2.0, 2.0], [2, 1])
    """
    position = positions(length)
    count = position.bincount()
    total = torch.zeros(len(count), dtype=torch.float64).index_add_(0, position, gain.double())
    return (total / count).tolist(), count.tolist()


def where(
    gain: Tensor, length: Tensor, name: str = "gain", *, ends: bool = True
) -> dict[str, Any]:
    """Where in a sequence z helps: nats by position, and the share of three parts of it.

    Of two parts where no token `ends` it, as in windows of music.

    A code that holds the first words and the length only (Bosc and Vincent, 2020) gains at the
    first tokens and at the end token, and nothing between.
    """
    place = positions(length)
    end = (place == (length - 1).repeat_interleave(length)) & ends
    first = (place < FIRST) & ~end
    total = float(gain.double().sum())
    by_item = torch.zeros(len(length), dtype=torch.float64)
    by_item.index_add_(0, torch.arange(len(length)).repeat_interleave(length), gain.double())
    sure = float(by_item.mean()) > 2 * standard_error(by_item)
    means, counts = by_position(gain, length)
    found: dict[str, Any] = {f"{name}_by_position": means, f"{name}_position_items": counts}
    parts = {"first": first, **({"end": end} if ends else {}), "rest": ~(first | end)}
    for part, chosen in parts.items():
        found[f"{name}_tokens_{part}"] = float(chosen.double().mean())
        if sure:  # a loss has no shares, nor has noise
            found[f"{name}_share_{part}"] = float(gain[chosen].double().sum()) / total
    return found
