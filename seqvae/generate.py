"""What to do with next-token scores: the likeliest token, a draw, or a beam.

And with a distribution of all pixels of a picture: its mode, or a draw.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from .codecs.codec import Codec, Spans
from .decoders.picture import PictureDecoder
from .decoders.sequence import SequenceDecoder
from .distributions import SCORES_IN_CACHE
from .errors import Refused
from .randomness import seeded
from .tokens import BOS, EOS, PAD, UNK

Choose = Callable[[Tensor], Tensor]
Rule = Callable[[Tensor, Tensor], Tensor]  # scores (R W, V) of items (R,) -> what may be written

NEVER = (PAD, UNK, BOS)  # ids that stand for nothing one could read
FEW = 0.75  # of the rows still open: the others are worth leaving behind


class Form(NamedTuple):
    """What may be written: how many tokens, whether one ends it, and which may stand where."""

    length: int
    end: int | None = EOS
    allowed: Spans | None = None  # (first, last + 1) at each position, in turn (P, 2) or (B, P, 2)

    @property
    def rows(self) -> int | None:
        """Of how many sequences it is the form, each having its own; None: of all there are."""
        return None if self.allowed is None or self.allowed.ndim == 2 else len(self.allowed)

    def part(self, start: int, end: int) -> "Form":
        """That of some of the rows."""
        if self.allowed is None or self.rows is None:
            return self
        return self._replace(allowed=self.allowed[start:end])


class Lean(NamedTuple):
    """Sequences that are leant towards: at its place each token of theirs has so many nats more.

    At temperature 1 what is written then is drawn from p(x_t | x_<t, z) exp(sum_m nats_m
    [x_t = ids_mt]), up to a constant: the decoder still has a say in every token.
    """

    ids: Tensor  # (B, M, T) for M of them
    nats: Tensor  # (B, M)

    def add(self, scores: Tensor, rows: Tensor, place: int) -> Tensor:
        """Scores (R, V) in place, of these rows."""
        return scores.scatter_add_(1, self.ids[rows, :, place], self.nats[rows])

    def part(self, start: int, end: int) -> "Lean":
        """That of some of the rows."""
        return Lean(self.ids[start:end], self.nats[start:end])


def form_of(codec: Codec, longest: int) -> Form:
    """The form of what a codec reads: of a fixed length, or up to `longest` with an end token."""
    if codec.length is None:
        return Form(longest)
    return Form(codec.length, None, codec.allowed)


def greedy(scores: Tensor) -> Tensor:
    """Scores (B, V) -> the likeliest token of each, (B,)."""
    return scores.argmax(-1)


def sampler(
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    together: bool = False,
    device: torch.device | str = "cpu",
) -> Choose:
    """Draw a token from softmax(scores / temperature), cut to the likeliest.

    `top_k` keeps so many tokens (Fan et al., 2018); `top_p` the fewest whose probabilities reach
    it (nucleus: Holtzman et al., 2020). Both may be given; the temperature is applied first.

    `together` draws all rows by one noise, argmax(scores / temperature + Gumbel noise), so that
    they differ by their scores only   (Maddison et al., 2014).

    Raises `Refused` for a temperature, k or p outside its range.
    """
    if not temperature > 0:
        raise Refused(f"temperature = {temperature}: draw at more than 0, or decode greedily.")
    if top_k is not None and top_k < 1:
        raise Refused(f"top_k = {top_k}: keep at least 1 token.")
    if top_p is not None and not 0 < top_p <= 1:
        raise Refused(f"top_p = {top_p}: a share of probability lies above 0 and at most at 1.")
    random = torch.Generator(device).manual_seed(seed)

    def choose(scores: Tensor) -> Tensor:
        scores = scores - scores.amax(-1, keepdim=True)  # a low temperature overflows no float
        kept = nucleus(best(scores / temperature, top_k), top_p)
        if together:
            noise = torch.rand(kept.shape[-1], generator=random, device=kept.device)
            return (kept - (-noise.clamp_min(1e-20).log()).log()).argmax(-1)
        return torch.multinomial(kept.softmax(-1), 1, generator=random).squeeze(-1)

    return choose


def best(scores: Tensor, k: int | None) -> Tensor:
    """Scores (B, V) with all but the k largest of each row at -inf."""
    if k is None or k >= scores.shape[-1]:
        return scores
    kept = scores.topk(k)  # by place, not by value: scores may be equal
    return torch.full_like(scores, -torch.inf).scatter(-1, kept.indices, kept.values)


def nucleus(scores: Tensor, p: float | None) -> Tensor:
    """Scores (B, V) with all at -inf but the fewest likeliest whose probabilities reach p.

    >>> nucleus(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.7).exp().tolist()[0][2]
    0.0
    """
    if p is None or p == 1:
        return scores
    ordered, index = scores.sort(descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    cut = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, index, before >= p)
    return scores.masked_fill(cut, -torch.inf)


@torch.no_grad()
def generate(
    decoder: SequenceDecoder,
    z: Tensor,
    *,
    length: int,
    choose: Choose = greedy,
    end: int | None = EOS,
    allowed: Spans | None = None,
    lean: Lean | None = None,
) -> Tensor:
    """Codes z (B, D) -> tokens (B, <= length), padded after the end token.

    Rows that have ended are left behind as they grow many, so work shrinks with what is open.

    `end=None` writes exactly `length` tokens (windows of music have no end). At position t only
    ids from `allowed[t % P, 0]` up to, without, `allowed[t % P, 1]` are written, if it is given;
    as (B, P, 2) each row has its own. `lean` has as many places as may be written.
    """
    decoder.eval()
    state = decoder.start(z)
    token = z.new_full((len(z),), BOS, dtype=torch.long)
    rows = torch.arange(len(z), device=z.device)  # that are still written
    ended = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    written = []
    for place in range(length):
        scores, state = decoder.step(token, state)
        scores = _rule_out(scores.float().clone(), rows, place=place, allowed=allowed)
        scores = scores if lean is None else lean.add(scores, rows, place)
        token = choose(scores).masked_fill(ended, PAD)
        written.append(torch.full((len(z),), PAD, device=z.device).index_copy(0, rows, token))
        if end is not None:
            ended |= token == end
            left = (~ended).nonzero().squeeze(1)
            if len(left) == 0:
                break
            if len(left) <= FEW * len(rows):
                rows, token, state = rows[left], token[left], state.select(left)
                ended = ended[left]
    return torch.stack(written, dim=1) if written else z.new_zeros((len(z), 0), dtype=torch.long)


@torch.no_grad()
def beam(
    decoder: SequenceDecoder,
    z: Tensor,
    *,
    length: int,
    width: int = 5,
    end: int | None = EOS,
    allowed: Spans | None = None,
) -> tuple[Tensor, Tensor]:
    """Codes z (B, D) -> the likeliest sequences a beam of `width` finds, and their log p(x|z).

    All items and beams advance together; tokens are (B, <= length), log-probabilities (B,) nats.
    An item stops when no open beam can still overtake its best finished one, and is left behind as
    such grow many; with `end=None` each has exactly `length` tokens. `allowed` as for `generate`.

    Raises `Refused` for a width under 1.
    """
    if width < 1:
        raise Refused(f"beam = {width}: search with a width of 1 or more.")
    decoder.eval()
    items = torch.arange(len(z), device=z.device)  # that are still searched
    state = decoder.start(z)
    token = z.new_full((len(z),), BOS, dtype=torch.long)
    log_p = z.new_zeros((len(z), 1))  # of one open beam an item, which the first step branches
    tokens = z.new_zeros((len(z), 1, 0), dtype=torch.long)
    best_p = z.new_full((len(z),), -torch.inf)
    best_tokens = z.new_zeros((len(z), length), dtype=torch.long)
    for place in range(length):
        scores, state = decoder.step(token, state)
        beams, vocab, last = log_p.shape[1], scores.shape[1], place == length - 1
        # What does not end at the last place is no sentence of this length.
        only = end if last else None
        rows = torch.arange(len(items), device=z.device)
        # Each beam has one end token among its children: 2 * width children leave width open.
        may = partial(_rule_out, place=place, allowed=allowed, only=only)
        log_p, child = _children(scores, log_p, items, 2 * width, may)
        parent, token = child // vocab, child % vocab
        tokens = torch.cat([tokens[rows[:, None], parent], token.unsqueeze(-1)], dim=-1)
        ends = torch.full_like(token, last, dtype=torch.bool) if end is None else token == end
        finished = log_p.masked_fill(~ends, -torch.inf).max(-1)
        better = finished.values > best_p[items]
        best_p[items[better]] = finished.values[better]
        best_tokens[items[better], : place + 1] = tokens[rows, finished.indices][better]
        open_p = log_p.masked_fill(ends, -torch.inf)
        log_p, kept = open_p.topk(min(width, open_p.shape[1]), dim=-1)
        left = (log_p[:, 0] > best_p[items]).nonzero().squeeze(1)
        if len(left) == 0:
            break
        tokens, token = tokens[rows[:, None], kept], token.gather(1, kept)
        parents = parent.gather(1, kept) + rows[:, None] * beams
        if len(left) <= FEW * len(items):
            items, log_p, tokens, token = items[left], log_p[left], tokens[left], token[left]
            parents = parents[left]
        state, token = state.select(parents.flatten()), token.flatten()
    return best_tokens[:, : int((best_tokens != PAD).sum(1).max())], best_p


@torch.no_grad()
def at_once(decoder: PictureDecoder, z: Tensor, *, seed: int | None = None) -> Tensor:
    """Codes z (B, D) -> ids (B, T), all pixels together: the likeliest, or by `seed` a draw."""
    decoder.eval()
    px = decoder(z)
    if seed is None:
        return px.mode
    with seeded(seed):
        return px.sample()


def _children(
    scores: Tensor, log_p: Tensor, items: Tensor, count: int, may: Rule
) -> tuple[Tensor, Tensor]:
    """Of items' open beams (B, W) and next scores (B W, V) the likeliest `count` children an item.

    Their log p and where they stand among its W V (B, count), in slices that a cache holds.
    """
    beams = log_p.shape[1]
    each = max(SCORES_IN_CACHE // (beams * scores.shape[1]), 1)
    rows = (torch.split(scores, each * beams), torch.split(log_p, each), torch.split(items, each))
    parts = zip(*rows, strict=True)
    found = [_likeliest(part.float(), before, own, count, may) for part, before, own in parts]
    best_p, child = (torch.cat(column) for column in zip(*found, strict=True))
    return best_p, child


def _likeliest(
    scores: Tensor, log_p: Tensor, items: Tensor, count: int, may: Rule
) -> tuple[Tensor, Tensor]:
    # Normalised before anything is ruled out: log p(x|z) as it is.
    grown = scores + (log_p.flatten() - scores.logsumexp(-1)).unsqueeze(-1)
    every = may(grown, items).view(len(log_p), -1)
    best_p, child = every.topk(min(count, every.shape[1]), dim=-1)
    return best_p, child


def _rule_out(
    scores: Tensor, items: Tensor, *, place: int, allowed: Spans | None, only: int | None = None
) -> Tensor:
    """Scores (R W, V) of items (R,) in place: what may not stand here, or anywhere, is -inf."""
    scores[:, list(NEVER)] = -torch.inf
    if allowed is not None and allowed.ndim == 2:
        first, end = allowed[place % len(allowed)].tolist()
        scores[:, :first] = scores[:, end:] = -torch.inf
    elif allowed is not None:
        own = torch.as_tensor(allowed[items.cpu().numpy(), place % allowed.shape[1]])
        spans = own.to(scores.device).repeat_interleave(len(scores) // len(items), dim=0)
        ids = torch.arange(scores.shape[1], device=scores.device)
        scores.masked_fill_((ids < spans[:, :1]) | (ids >= spans[:, 1:]), -torch.inf)
    if only is not None:
        scores[:, :only] = scores[:, only + 1 :] = -torch.inf
    return scores
