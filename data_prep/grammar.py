"""A probabilistic grammar whose entropy is known exactly, and an English-like language of it."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqvae.corpus import Replacing


class Rule(NamedTuple):
    """A nonterminal may become these symbols with this probability."""

    probability: float
    symbols: tuple[str, ...]


class Kind(NamedTuple):
    """A rule for whole sentences, with the factors that sentences of this kind have."""

    probability: float
    symbols: tuple[str, ...]
    factors: Mapping[str, str]


class Sampled(NamedTuple):
    """A sentence of the language and its factors."""

    sentence: str
    factors: Mapping[str, str]


class Parse(NamedTuple):
    """The derivations of a sentence that share their factors: how many, of what probability."""

    factors: Mapping[str, str]
    derivations: int
    probability: float


Ends = dict[int, tuple[int, float]]  # where a derivation ends -> how many do, their probability


class Grammar:
    """A probabilistic context-free language in which every sentence has one derivation.

    Then log p(x) is the log-probability of that derivation, and the entropy of a sentence is
    that of its derivation: H(A) = sum_r p_r (-log p_r + sum_{B in r} H(B)), a linear system
    (Grenander, 1976; Booth and Thompson, 1973). So a language model's NLL on it has an exact
    floor, and its factors are labels that are exactly right. All values in nats.

    Arguments:
        kinds: how a sentence may begin to be derived; probabilities sum to 1.
        rules: nonterminal -> its rules, likewise; other symbols are words. No left recursion.

    >>> coin = Grammar([Kind(1.0, ("S",), {})], {"S": [Rule(0.5, ("a", "S")), Rule(0.5, ("b",))]})
    >>> round(coin.entropy / math.log(2), 6), round(coin.log_prob("a a b") / math.log(2), 6)
    (2.0, -3.0)
    """

    def __init__(self, kinds: Sequence[Kind], rules: Mapping[str, Sequence[Rule]]) -> None:
        self.kinds = list(kinds)
        self.rules = dict(rules)
        _check_sum("the kinds", [kind.probability for kind in self.kinds])
        for name, choices in self.rules.items():
            _check_sum(name, [rule.probability for rule in choices])

    def sample(self, n: int, seed: int) -> list[Sampled]:
        """n sentences, independent; for a seed always the same, the first ones of a larger n."""
        rng = random.Random(seed)
        weights = list(accumulate(kind.probability for kind in self.kinds))
        kinds = (rng.choices(self.kinds, cum_weights=weights)[0] for _ in range(n))
        return [Sampled(" ".join(self._expand(kind.symbols, rng)), kind.factors) for kind in kinds]

    def parses(self, sentence: str) -> list[Parse]:
        """All derivations of a sentence, by kind; none outside the language."""
        words = sentence.split(" ")
        chart = _Chart(self.rules, words)
        found = []
        for kind in self.kinds:
            count, probability = chart.sequence(kind.symbols, 0).get(len(words), (0, 0.0))
            if count:
                found.append(Parse(kind.factors, count, kind.probability * probability))
        return found

    def log_prob(self, sentence: str) -> float:
        """log p(sentence); minus infinity outside the language.

        >>> english().log_prob("colourless green ideas sleep furiously .")
        -inf
        """
        probability = sum(parse.probability for parse in self.parses(sentence))
        return math.log(probability) if probability else -math.inf

    def factors(self, sentence: str) -> Mapping[str, str]:
        """The factors of a sentence; none of one outside the language, or with several readings.

        >>> english().factors("colourless green ideas sleep furiously .")
        {}
        """
        found = self.parses(sentence)
        return found[0].factors if len(found) == 1 else {}

    @cached_property
    def entropy(self) -> float:
        """E[-log p(sentence)], exactly."""
        inner = dict(zip(self.rules, self._symbol_entropies(), strict=True))
        return sum(
            _surprise(kind.probability)
            + kind.probability * sum(inner.get(symbol, 0.0) for symbol in kind.symbols)
            for kind in self.kinds
        )

    @cached_property
    def factor_entropy(self) -> float:
        """The part of the entropy that the labelled factors hold together."""
        totals: dict[tuple[tuple[str, str], ...], float] = {}
        for kind in self.kinds:
            key = tuple(sorted(kind.factors.items()))
            totals[key] = totals.get(key, 0.0) + kind.probability
        return sum(map(_surprise, totals.values()))

    def _symbol_entropies(self) -> list[float]:
        position = {name: i for i, name in enumerate(self.rules)}
        uses = np.zeros((len(position), len(position)))  # expected number of B in one step from A
        own = np.zeros(len(position))
        for name, choices in self.rules.items():
            for rule in choices:
                own[position[name]] += _surprise(rule.probability)
                for symbol in rule.symbols:
                    if symbol in position:
                        uses[position[name], position[symbol]] += rule.probability
        return np.linalg.solve(np.eye(len(position)) - uses, own).tolist()

    def _expand(self, symbols: Sequence[str], rng: random.Random) -> list[str]:
        words: list[str] = []
        for symbol in symbols:
            if symbol in self.rules:
                weights = [rule.probability for rule in self.rules[symbol]]
                [rule] = rng.choices(self.rules[symbol], weights)
                words += self._expand(rule.symbols, rng)
            else:
                words.append(symbol)
        return words


class _Chart:
    """Every derivation of every stretch of one sentence, each computed once."""

    def __init__(self, rules: Mapping[str, Sequence[Rule]], words: Sequence[str]) -> None:
        self.rules = rules
        self.words = words
        self.known: dict[tuple[str, int], Ends] = {}

    def sequence(self, symbols: Sequence[str], start: int) -> Ends:
        ends: Ends = {start: (1, 1.0)}
        for symbol in symbols:
            following: Ends = {}
            for middle, before in ends.items():
                for end, own in self.symbol(symbol, middle).items():
                    _add(following, end, before[0] * own[0], before[1] * own[1])
            ends = following
        return ends

    def symbol(self, symbol: str, start: int) -> Ends:
        if symbol not in self.rules:
            matches = start < len(self.words) and self.words[start] == symbol
            return {start + 1: (1, 1.0)} if matches else {}
        if (symbol, start) not in self.known:
            ends: Ends = {}
            for rule in self.rules[symbol]:
                for end, (count, probability) in self.sequence(rule.symbols, start).items():
                    _add(ends, end, count, rule.probability * probability)
            self.known[symbol, start] = ends
        return self.known[symbol, start]


def _check_sum(name: str, probabilities: Sequence[float]) -> None:
    if not math.isclose(sum(probabilities), 1.0):
        raise ValueError(f"the rules of {name} have probability {sum(probabilities)}, not 1")


def _add(ends: Ends, end: int, count: int, probability: float) -> None:
    old = ends.get(end, (0, 0.0))
    ends[end] = (old[0] + count, old[1] + probability)


def _surprise(probability: float) -> float:
    return -probability * math.log(probability) if probability else 0.0


# English, more or less ----------------------------------------------------------------------

FACTORS: dict[str, dict[str, float]] = {
    "tense": {"past": 0.5, "present": 0.3, "future": 0.2},
    "number": {"singular": 0.6, "plural": 0.4},
    "person": {"third": 0.7, "first": 0.3},
    "sentiment": {"neutral": 0.4, "positive": 0.35, "negative": 0.25},
    "polarity": {"affirmative": 0.75, "negative": 0.25},
    "mood": {"statement": 0.8, "question": 0.2},
    "topic": {"food": 0.3, "music": 0.25, "sport": 0.2, "travel": 0.15, "science": 0.1},
}

# people, what they do, what they do it to, where; no word stands under two topics
TOPICS = {
    "food": (
        "cook waiter baker guest",
        "taste order prepare serve heat",
        "soup cake salad omelette pudding",
        "kitchen restaurant bakery canteen",
    ),
    "music": (
        "singer drummer violinist composer",
        "record rehearse perform compose play",
        "song waltz symphony ballad overture",
        "studio theatre chapel ballroom",
    ),
    "sport": (
        "runner coach referee goalkeeper",
        "watch start follow pause abandon",
        "match race tournament relay marathon",
        "stadium gym arena park",
    ),
    "travel": (
        "tourist pilot sailor driver",
        "book finish photograph postpone shorten",
        "journey cruise flight crossing safari",
        "harbour airport station island",
    ),
    "science": (
        "chemist student professor engineer",
        "repeat explain publish design check",
        "experiment theory measurement simulation proof",
        "laboratory library university observatory",
    ),
}

DETERMINERS = {"singular": "the this that our", "plural": "the these those our"}
ADJECTIVES = {
    "person": "young old tall quiet busy",
    "thing": "new long small simple famous",
    "positive": "wonderful lovely brilliant perfect superb",
    "negative": "awful dreadful boring terrible hopeless",
}
TIMES = {
    "past": ("yesterday", "last week", "in the spring", "an hour ago"),
    "present": ("every day", "on sundays", "at night", "in winter"),
    "future": ("tomorrow", "next week", "before long", "in a year"),
}
COMMENTS = {
    "positive": ("and everyone cheered", "and people smiled", "to great applause", "luckily"),
    "negative": ("and everyone complained", "and people left", "to loud protest", "sadly"),
    "neutral": ("as usual", "it seems", "as planned", "for once"),
}
CITIES = "paris london vienna cairo lima"
AUXILIARIES = {"past": "did", "future": "will"}


def english() -> Grammar:
    """English-like sentences with seven labelled factors, about 17 nats, 6 of them factors.

    >>> sentence, factors = english().sample(1, seed=0)[0]
    >>> sentence, factors["tense"], factors["topic"]
    ('the coach will follow the lovely relay before long .', 'future', 'sport')
    """
    names = list(FACTORS)
    kinds = []
    for values in product(*FACTORS.values()):
        factors = dict(zip(names, values, strict=True))
        probability = math.prod(FACTORS[name][value] for name, value in factors.items())
        kinds.append(Kind(probability, _sentence(factors), factors))
    return Grammar(kinds, {**_shared_rules(), **_topic_rules()})


def write_grammar(path: Path, n: int, seed: int) -> None:
    """Write n sentences of `english` as JSON lines: `text`, and a column for each factor."""
    with Replacing(Path(path)) as file:
        for sentence, factors in english().sample(n, seed):
            file.write(json.dumps({"text": sentence, **factors}).encode() + b"\n")


def _sentence(factors: Mapping[str, str]) -> tuple[str, ...]:
    topic, number, first = factors["topic"], factors["number"], factors["person"] == "first"
    pronoun = "i" if number == "singular" else "we"
    subject = pronoun if first else f"<{number} {topic}>"
    rest = (f"<{factors['sentiment']} {topic}>", f"<place {topic}>", f"<time {factors['tense']}>")
    verb = _verb(factors)
    if factors["mood"] == "question":
        return verb[0], subject, *verb[1:], *rest, "?"
    return subject, *verb, *rest, f"<comment {factors['sentiment']}>", "."


def _verb(factors: Mapping[str, str]) -> tuple[str, ...]:
    """The verb with its auxiliary, which questions, negation and the future need."""
    tense, topic = factors["tense"], factors["topic"]
    singular = factors["person"] == "third" and factors["number"] == "singular"
    negation = ("not",) if factors["polarity"] == "negative" else ()
    if negation or factors["mood"] == "question" or tense == "future":
        auxiliary = AUXILIARIES.get(tense, "does" if singular else "do")
        return auxiliary, *negation, f"<base {topic}>"
    form = "past" if tense == "past" else "third" if singular else "base"
    return (f"<{form} {topic}>",)


def _shared_rules() -> dict[str, list[Rule]]:
    rules = {
        "<the singular>": _choices(DETERMINERS["singular"].split()),
        "<the plural>": _choices(DETERMINERS["plural"].split()),
        "<city>": _choices(CITIES.split()),
        "<from>": _maybe(0.15, "from", "<city>"),
        "<adjectives person>": _maybe(0.25, "<adjective person>", "<adjectives person>"),
        "<adjectives thing>": _maybe(0.25, "<adjective thing>", "<adjectives thing>"),
    }
    rules |= {f"<adjective {name}>": _choices(w.split()) for name, w in ADJECTIVES.items()}
    for tense, times in TIMES.items():
        rules[f"<time {tense}>"] = _maybe(0.3, f"<when {tense}>")
        rules[f"<when {tense}>"] = _choices(times)
    for sentiment, comments in COMMENTS.items():
        rules[f"<comment {sentiment}>"] = _maybe(0.3, f"<remark {sentiment}>")
        rules[f"<remark {sentiment}>"] = _choices(comments)
    return rules


def _topic_rules() -> dict[str, list[Rule]]:
    rules: dict[str, list[Rule]] = {}
    for topic, (people, verbs, things, places) in TOPICS.items():
        persons = {
            "singular": people.split(),
            "plural": [_with_s(name) for name in people.split()],
        }
        for number, nouns in persons.items():
            noun = f"<{number} noun {topic}>"
            phrase = (f"<the {number}>", "<adjectives person>", noun, "<from>")
            rules |= {f"<{number} {topic}>": [Rule(1.0, phrase)], noun: _choices(nouns)}
        rules |= {
            f"<base {topic}>": _choices(verbs.split()),
            f"<third {topic}>": _choices([_with_s(verb) for verb in verbs.split()]),
            f"<past {topic}>": _choices([_past(verb) for verb in verbs.split()]),
            f"<thing {topic}>": _choices(things.split()),
            f"<where {topic}>": _choices(places.split()),
            f"<place {topic}>": _maybe(0.4, "in", "the", f"<where {topic}>", f"<nearby {topic}>"),
            f"<nearby {topic}>": _maybe(
                0.15, "near", "the", f"<where {topic}>", f"<nearby {topic}>"
            ),
        }
        for sentiment in FACTORS["sentiment"]:
            opinion = () if sentiment == "neutral" else (f"<adjective {sentiment}>",)
            phrase = ("the", "<adjectives thing>", *opinion, f"<thing {topic}>")
            rules[f"<{sentiment} {topic}>"] = [Rule(1.0, phrase)]
    return rules


def _choices(phrases: Sequence[str]) -> list[Rule]:
    """Each phrase, the earlier the likelier: weights 1, 1/2, 1/3 … as words have (Zipf)."""
    total = sum(1 / rank for rank in range(1, len(phrases) + 1))
    return [Rule(1 / i / total, tuple(p.split())) for i, p in enumerate(phrases, 1)]


def _maybe(probability: float, *symbols: str) -> list[Rule]:
    return [Rule(probability, symbols), Rule(1 - probability, ())]


def _with_s(word: str) -> str:
    """Plural of a noun, third person of a verb."""
    return word + ("es" if word.endswith(("s", "sh", "ch", "x")) else "s")


def _past(verb: str) -> str:
    return verb + ("d" if verb.endswith("e") else "ed")
