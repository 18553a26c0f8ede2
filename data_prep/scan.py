"""Pass 1: every source is read once, counted and sampled; out come the plan and the codec."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from seqvae.codecs import SentencePieceCodec, TextCodec, WordCodec, load_codec
from seqvae.errors import Refused

from .lines import Hashes, Lines, faults_of, line_hashes
from .plan import TOO_LONG, Options, Origin, Plan, Tell
from .sources import option

SAMPLE_LINES = 1_000_000
SAMPLE_CHARACTERS = 40_000_000  # keeps the codec's training under 500 MB
EXACT_LINES = 100_000  # up to here the splits' sizes are exact, above within 1 % or so
DEFAULT_FRACTION = 0.05
DEFAULT_LINES = 5_000  # a split is never larger unless a fraction was asked for
MOST_LABELS = 10_000
LEARNT = ("bpe", "unigram", "char", "word")


def make_plan(origins: Sequence[Origin], options: Options, tell: Tell) -> tuple[Plan, TextCodec]:
    """Read the sources -> the plan, and the codec its blocks are to be encoded with.

    Raises `Refused` for sources that nobody can learn from; nothing is written.
    """
    reused = None if options.codec in LEARNT else _reused_codec(options)
    kind = type(reused) if reused else WordCodec if options.codec == "word" else SentencePieceCodec
    scan = Scan(options, kind, sampled=reused is None)
    sources = [_described(origin, scan.read(origin, tell)) for origin in origins]
    scan.check()
    given = {origin.split for origin in origins}
    no_files = given == {"train"}
    below = scan.thresholds(
        valid="valid" not in given,
        test=no_files or (options.test_fraction is not None and "test" not in given),
    )
    tell("codec", 0, None)
    codec = reused or _trained_codec(scan.train_sample(*below), options)
    labels = None if options.label is None else sorted(scan.labels, key=label_order)
    about = {"kind": codec.kind, "vocab": codec.vocab}
    return Plan(options, sources, *below, labels, about), codec


class Sample:
    """A uniform sample of a stream of unknown length, bounded in lines and characters.

    Each line enters with the current probability; when the sample is too large, half of it
    leaves and the probability is halved. Small streams are kept whole.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rate = 1.0
        self.kept: list[str] = []
        self.characters = 0

    def offer(self, text: str) -> None:
        if self.rate < 1 and self.random.random() >= self.rate:
            return
        self.kept.append(text)
        self.characters += len(text)
        if len(self.kept) > SAMPLE_LINES or self.characters > SAMPLE_CHARACTERS:
            self._halve()

    def offer_all(self, texts: Sequence[str]) -> None:
        """`offer` many; while all are kept, at once."""
        lines, characters = len(self.kept) + len(texts), self.characters + sum(map(len, texts))
        if self.rate == 1 and lines <= SAMPLE_LINES and characters <= SAMPLE_CHARACTERS:
            self.kept += texts
            self.characters = characters
            return
        for text in texts:
            self.offer(text)

    def _halve(self) -> None:
        self.rate /= 2
        self.kept = [text for text in self.kept if self.random.random() < 0.5]
        self.characters = sum(map(len, self.kept))


class Scan:
    """What one reading of all sources tells, with a sample of them if one is asked for."""

    def __init__(self, options: Options, codec: type[TextCodec], sampled: bool) -> None:
        self.options = options
        self.codec = codec
        self.sampled = sampled
        self.sample = Sample(options.seed)
        self.hashes: list[Hashes] = []  # of the train lines, the first EXACT_LINES of them
        self.hashed = 0
        self.held_out: set[int] = set()
        self.items = 0
        self.usable = 0  # of the train sources
        self.faults: Counter[str] = Counter()
        self.labels: set[str] = set()

    def read(self, origin: Origin, tell: Tell) -> int:
        """Take in one source; returns the number of its items."""
        before = self.items
        for lines in origin.source.lines():
            self._take(origin.split, lines)
            self.items += len(lines.texts)
            tell("scan", self.items, None)
        return self.items - before

    def _take(self, split: str, lines: Lines) -> None:
        faults = faults_of(lines, self.codec)
        usable = [place for place in range(len(lines.texts)) if place not in faults]
        labels = enumerate(lines.labels or ())
        self._take_labels(label for i, label in labels if label is not None and i not in faults)
        if split != "train":
            self.held_out.update(lines.hashes(self.options.seed).tolist())
            return
        short = self._short(lines.texts, usable)
        self.faults.update(faults.values())
        # Pass 2 will drop it; one line of a megabyte would have shaped the whole alphabet.
        self.faults[TOO_LONG] += len(usable) - len(short)
        self.usable += len(short)
        if self.hashed < EXACT_LINES:
            first = short[: EXACT_LINES - self.hashed]
            self.hashes.append(lines.hashes(self.options.seed)[first])
            self.hashed += len(first)
        if self.sampled:
            self.sample.offer_all([lines.texts[place] for place in short])

    def _short(self, texts: Sequence[str], places: list[int]) -> list[int]:
        """Places of what may be short: no token is less than a character, and EOS is one."""
        most = self.options.max_tokens
        if max(map(len, texts), default=0) < most:
            return places
        fewest = self.codec.fewest
        return [i for i in places if len(texts[i]) < most or fewest(texts[i]) <= most]

    def _take_labels(self, labels: Iterable[str]) -> None:
        self.labels.update(labels)
        if len(self.labels) > MOST_LABELS:
            raise Refused(
                f"column {self.options.label!r} holds more than {MOST_LABELS} different "
                "values: no label. Name another column, or none."
            )

    def check(self) -> None:
        """Refuse what nobody can learn from, with the counts."""
        counts = ", ".join(f"{reason} {n}" for reason, n in sorted(self.faults.items()) if n)
        if self.usable == 0:
            longer = f", or allow more: {option('max_tokens', 'N')}" * (TOO_LONG in self.faults)
            raise Refused(
                f"no usable line in the source ({counts or 'it is empty'}). "
                f"Give a file with one sentence a line{longer}."
            )
        if self.usable == self.hashed and len(np.unique(np.concatenate(self.hashes))) == 1:
            raise Refused(
                f"only one distinct line in the source ({self.usable} of it"
                f"{', ' + counts if counts else ''}): nothing to split or learn. Give more text."
            )

    def thresholds(self, valid: bool, test: bool) -> tuple[int, int]:
        """(valid_below, test_below) given which splits are to be cut off."""
        first = _share(self.options.valid_fraction, self.usable) if valid else 0.0
        second = _share(self.options.test_fraction, self.usable) if test else 0.0
        if self.usable > EXACT_LINES:
            return round(first * 2**64), round((first + second) * 2**64)
        return exact_thresholds(np.sort(np.concatenate(self.hashes)).tolist(), first, second)

    def train_sample(self, valid_below: int, test_below: int) -> list[str]:
        """The sampled lines that stay in train, in their order."""
        out = set() if self.options.keep_duplicates else self.held_out
        first = max(valid_below, test_below)
        kept = self.sample.kept
        keys = line_hashes(kept, self.options.seed).tolist()
        return [
            text for key, text in zip(keys, kept, strict=True) if key >= first and key not in out
        ]


def exact_thresholds(ordered: Sequence[int], first: float, second: float) -> tuple[int, int]:
    """Bounds that give the sorted hashes to valid, test and train in exact numbers.

    Equal hashes stay together, so a split may get fewer; but valid gets one if it gets any.

    >>> exact_thresholds([10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 0.2, 0.1)
    (12, 13)
    """
    count = max(1, int(first * len(ordered))) if first else 0
    valid_below = ordered[count] if count else 0
    if count and valid_below == ordered[0]:
        valid_below = next(key for key in ordered if key > valid_below)
    last = min(count + int(second * len(ordered)), len(ordered) - 1)
    return valid_below, max(valid_below, ordered[last])


def text_codec(folder: Path) -> TextCodec:
    """A saved codec of text. Raises `Refused` for one of anything else."""
    codec = load_codec(folder)
    if not isinstance(codec, TextCodec):
        raise Refused(f"{folder} holds a codec of kind {codec.kind!r}, which encodes no text.")
    return codec


def _share(fraction: float | None, lines: int) -> float:
    return min(DEFAULT_FRACTION, DEFAULT_LINES / lines) if fraction is None else fraction


def label_order(label: str) -> tuple[bool, int, str]:
    """Numbers by value, before words by alphabet."""
    number = label.isascii() and label.isdigit()
    return not number, int(label) if number else 0, label


def _described(origin: Origin, items: int) -> dict[str, Any]:
    sha256 = origin.source.sha256()
    return {"split": origin.split, **origin.source.stamp(), "sha256": sha256, "items": items}


def _reused_codec(options: Options) -> TextCodec:
    folder = Path(options.codec)
    if not folder.is_dir():
        close = get_close_matches(options.codec, LEARNT, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise Refused(
            f"codec = {options.codec!r} is neither one of {', '.join(LEARNT)} nor the folder of "
            f"a codec or corpus.{hint}"
        )
    if options.vocab is not None:
        raise Refused(f"vocab = {options.vocab}: a codec from a folder has its own. Leave it out.")
    return text_codec(folder / "codec" if (folder / "codec").is_dir() else folder)


def _trained_codec(sample: Sequence[str], options: Options) -> TextCodec:
    if not sample:
        raise Refused(
            "every line of the source also stands in valid or test: nothing to train on. "
            "Give another file, or keep them: seqvae prepare text … --keep-duplicates"
        )
    try:
        if options.codec == "word":
            return WordCodec.train(sample, vocab=options.vocab)
        model = next(name for name in SentencePieceCodec.MODELS if name == options.codec)
        return SentencePieceCodec.train(sample, model=model, vocab=options.vocab)
    except Refused as error:
        raise Refused(f"{error} To set it: {option('vocab', 'N')}.") from error
