"""A language model of counted n-grams: cheap, and the same for every model that is measured."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from .errors import Refused, check_sizes
from .tokens import BOS, UNK

Gram = tuple[int, ...]

DISCOUNT = 0.75


class NGram:
    """Interpolated Kneser-Ney over token ids   (Kneser and Ney, 1995; Chen and Goodman, 1999).

    With c the counts, h a context, h' the same without its first token, and D = 0.75,

        p(w | h) = (max(c(h w) - D, 0) + D N(h) p(w | h')) / sum_v c(h v),

    where N(h) is how many tokens were seen behind h. Below the highest order c(h w) counts the
    different tokens before h w, not its occurrences. Under the lowest order every id of the
    vocabulary is equally likely, so that no sequence is impossible. D is not estimated from the
    n-grams seen once and twice: samples that repeat one sentence have neither.

    BOS fills the context of the first tokens and is never scored; EOS is a token like another.

    Arguments:
        sequences: ids, with their EOS.
        vocab: V, the number of token ids.
        order: n, the longest n-gram counted.

    >>> model = NGram([[4, 5, 3], [4, 6, 3]], vocab=7)
    >>> round(sum(model.probability(token, (2, 4)) for token in range(7)), 9)
    1.0
    """

    def __init__(self, sequences: Iterable[Sequence[int]], vocab: int, order: int = 3) -> None:
        check_sizes(vocab=vocab, order=order)
        self.vocab, self.order = vocab, order
        self.counts: dict[Gram, int] = {}  # c, of n-grams of every order
        self.contexts: dict[Gram, tuple[int, int]] = {}  # h -> sum_v c(h v), N(h)
        grams = self._highest(sequences)
        while grams:
            self._keep(grams)
            grams = _lower(grams)

    def _highest(self, sequences: Iterable[Sequence[int]]) -> Counter[Gram]:
        stream: list[int] = []
        for ids in sequences:
            stream += self._padded(ids)
        shifted = (stream[start:] for start in range(self.order))
        # One that ends with BOS straddles two sequences.
        return Counter(gram for gram in zip(*shifted, strict=False) if gram[-1] != BOS)

    def _keep(self, grams: Counter[Gram]) -> None:
        self.counts |= grams
        for gram, count in grams.items():
            total, kinds = self.contexts.get(gram[:-1], (0, 0))
            self.contexts[gram[:-1]] = (total + count, kinds + 1)

    def _padded(self, ids: Sequence[int]) -> list[int]:
        if len(ids) and not 0 <= min(ids) <= max(ids) < self.vocab:
            raise Refused(
                f"ids {min(ids)} to {max(ids)} in a vocabulary of {self.vocab}: take the vocab of "
                "the codec that made them."
            )
        return [BOS] * (self.order - 1) + list(ids)

    def probability(self, token: int, context: Gram) -> float:
        """p(token | context), of a context of order - 1 tokens."""
        p = 1 / self.vocab
        for length in range(self.order):
            known = context[len(context) - length :]
            if known not in self.contexts:  # nor is any longer one
                break
            total, kinds = self.contexts[known]
            seen = self.counts.get((*known, token), 0)
            p = (max(seen - DISCOUNT, 0) + DISCOUNT * kinds * p) / total
        return p

    def token_log_prob(self, ids: Sequence[int]) -> list[float]:
        """log p(x_t | x_<t) of every token, nats."""
        padded = self._padded(ids)
        contexts = (tuple(padded[at : at + self.order - 1]) for at in range(len(ids)))
        pairs = zip(ids, contexts, strict=True)
        return [math.log(self.probability(token, context)) for token, context in pairs]

    def log_prob(self, ids: Sequence[int]) -> float:
        """log p(x) of one sequence, nats."""
        return sum(self.token_log_prob(ids))

    def nll(self, sequences: Iterable[Sequence[int]]) -> float:
        """Nats a token over all sequences; EOS counts, UNK is read but not counted.

        What stands where the codec has no token is no event of the language, and a model that
        writes none must not be compared with one that does.
        """
        scored = ((ids, self.token_log_prob(ids)) for ids in sequences)
        found = [p for ids, each in scored for x, p in zip(ids, each, strict=True) if x != UNK]
        if not found:
            raise Refused("no tokens to score: give at least one sequence of known tokens.")
        return -sum(found) / len(found)


def _lower(grams: Counter[Gram]) -> Counter[Gram]:
    """Counts of one order less: how many different tokens were seen before each n-gram."""
    lower: Counter[Gram] = Counter()
    if len(next(iter(grams))) == 1:
        return lower
    for gram, count in grams.items():
        # Nothing but BOS can stand before BOS: what begins a sequence is counted as often as seen.
        lower[gram[1:]] += count if gram[1] == BOS else 1
    return lower
