"""Sentences as token ids: sentencepiece (bpe, unigram, char) and a corpus's own words."""

import io
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import sentencepiece

from ..errors import Refused
from ..tokens import BOS, EOS, NAMES, PAD, SPECIAL, UNK
from .codec import Codec, Encoded
from .folder import Saved, read_folder, write_folder

Model = Literal["bpe", "unigram", "char"]

UNKNOWN = "\u2047"  # what a person reads where the codec has no token
DEFAULT_VOCAB = 8000  # shrinks in silence to what the corpus allows; a number asked for does not
FIXED_IDS = SPECIAL + 256  # the special ids and one id a byte come before any piece
COVERAGE = 0.9999  # characters rarer than the last 1 in 10,000 are spelt in bytes
LEAST_COVERAGE = 0.98  # the trainer takes no less
LONGEST_PIECE = 16  # characters, which is what the trainer allows
LONGEST_LINE = 16_000  # characters; the trainer drops longer lines without a word, so we split

# The trainer cuts the *names* of its special pieces out of every line, and `<unk>` is a common
# word of published corpora: U+FDD0, which Unicode reserves for such use, keeps them apart.
TRAINER: dict[str, Any] = {
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "add_dummy_prefix": False,
    "pad_id": PAD,
    "unk_id": UNK,
    "bos_id": BOS,
    "eos_id": EOS,
    "pad_piece": "\ufdd0pad",
    "unk_piece": "\ufdd0unk",
    "bos_piece": "\ufdd0bos",
    "eos_piece": "\ufdd0eos",
    "unk_surface": UNKNOWN,
    "num_threads": 1,  # unigram learns another vocabulary with another number of threads
    "hard_vocab_limit": False,
    "max_sentence_length": 4 * LONGEST_LINE + 4,
    "minloglevel": 2,
}


class TextCodec(Codec, ABC):
    """What text codecs share: which lines they refuse, and how any ids end and are cleaned."""

    noun: ClassVar[str] = "sentence"
    cures: ClassVar[Mapping[str, str]] = {
        "blank": "give at least one visible character.",
        "NUL byte": "remove it; text files hold none, so the file may be binary or UTF-16.",
        "lone surrogate": "half of a UTF-16 pair is no character: decode the text as UTF-16.",
        "U+2581": "sentencepiece writes spaces as this character; replace it, by '_' say.",
    }

    @classmethod
    def fault(cls, text: str) -> str | None:
        """Why `encode` refuses a text (a key of `cures`), or None.

        >>> WordCodec.fault("   ")
        'blank'
        """
        if not text or text.isspace():
            return "blank"
        if "\0" in text:
            return "NUL byte"
        if not text.isascii() and _has_surrogate(text):
            return "lone surrogate"
        return None

    def encode(self, item: Any) -> Encoded:
        if not isinstance(item, str):
            raise Refused(f"a text codec encodes str, not {type(item).__name__}: {item!r:.60}.")
        _refuse_fault(type(self), item)
        [ids] = self.encode_batch([item])
        return Encoded(ids, self.loss(item, ids))

    @classmethod
    @abstractmethod
    def fewest(cls, text: str) -> int:
        """The fewest tokens, EOS included, that any codec of this kind could make of a text."""

    @abstractmethod
    def encode_batch(self, lines: Sequence[str]) -> list[list[int]]:
        """What `encode` gives for many lines, fast; every line must have `fault(line)` None."""

    @abstractmethod
    def loss(self, text: str, ids: Sequence[int]) -> Mapping[str, int]:
        """What of the text its ids do not say, counted."""

    def visible(self, ids: Iterable[int]) -> list[int]:
        """Ids up to the first EOS, without PAD and BOS; ids outside the vocabulary become UNK."""
        kept = []
        for token in map(int, ids):
            if token == EOS:
                break
            if token not in (PAD, BOS):
                kept.append(token if 0 <= token < self.vocab else UNK)
        return kept


class SentencePieceCodec(TextCodec):
    """Text <-> subwords, exactly: bytes spell what the alphabet lacks, spaces are kept.

    Kudo and Richardson (2018); `bpe` Sennrich et al. (2016), `unigram` Kudo (2018), `char`. Ids
    0 to 3 are special, 4 to 259 the 256 bytes, then pieces. Equal lines give equal files.

    Arguments:
        proto: the bytes of a sentencepiece model, as `train` makes it.
        model: how it was trained, "bpe", "unigram" or "char".

    >>> codec = SentencePieceCodec.train(["low lower lowest", "new newer newest"])
    >>> codec.decode(codec.encode("lowest  newts ☺").ids)
    'lowest  newts ☺'
    """

    MODELS: ClassVar[tuple[Model, ...]] = ("bpe", "unigram", "char")
    kind: ClassVar[str] = "sentencepiece"
    reversible: ClassVar[bool] = True
    vocab: int

    def __init__(self, proto: bytes, *, model: Model = "bpe") -> None:
        self.proto = proto
        self.model = model
        self.processor = _open_model(proto)
        self.vocab = int(self.processor.get_piece_size())

    @classmethod
    def train(
        cls, lines: Iterable[str], *, model: Model = "bpe", vocab: int | None = None
    ) -> Self:
        """Learn the pieces of a corpus. Raises `Refused` if it is empty or allows no such vocab.

        Arguments:
            lines: sentences; blank ones are skipped, others that `encode` refuses are refused.
            vocab: number of ids, special ones included; None: 8,000 or what the corpus allows.
        """
        if model not in cls.MODELS:
            raise Refused(f"model = {model!r} is none of 'bpe', 'unigram', 'char'.")
        sample = list(_trainable(cls, lines))
        if vocab is not None and vocab < 1:
            raise Refused(f"vocab = {vocab}: leave it out for the usual size.")
        alphabet, coverage = _alphabet(sample, DEFAULT_VOCAB if vocab is None else None)
        _check_room(vocab or DEFAULT_VOCAB, alphabet)
        codec = cls(_train(sample, model, vocab, coverage), model=model)
        if vocab is not None and codec.vocab != vocab:
            raise Refused(
                f"vocab = {vocab}: this corpus allows {codec.vocab} at most with {model}. "
                f"Set vocab = {codec.vocab}, or leave it out, or give more text."
            )
        return codec

    @classmethod
    def fault(cls, text: str) -> str | None:
        return super().fault(text) or ("U+2581" if "\u2581" in text else None)

    @classmethod
    def fewest(cls, text: str) -> int:
        return -(-len(text) // LONGEST_PIECE) + 1

    def encode_batch(self, lines: Sequence[str]) -> list[list[int]]:
        return self.processor.encode(list(lines), add_eos=True, num_threads=1)

    def loss(self, text: str, ids: Sequence[int]) -> Mapping[str, int]:
        return {}  # nothing is ever lost: a law of the tests, so not paid for at each call

    def decode(self, ids: Iterable[int]) -> str:
        return self.processor.decode(self.visible(ids))

    def tokens(self, ids: Sequence[int]) -> list[str]:
        known = [int(token) if 0 <= token < self.vocab else UNK for token in ids]
        return [NAMES[i] if i < SPECIAL else self.processor.id_to_piece(i) for i in known]

    def save(self, folder: Path) -> None:
        saved = Saved(self.kind, {"model": self.model}, self.proto)
        write_folder(folder, saved, "sentencepiece.model")

    @classmethod
    def load(cls, folder: Path) -> Self:
        saved = read_folder(folder)
        model = saved.settings.get("model")  # older versions also wrote `nfkc`, always false
        if model not in cls.MODELS:
            raise Refused(f"{folder}/codec.json is damaged. Copy the codec folder again.")
        return cls(saved.data, model=model)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.proto, self.model)


class WordCodec(TextCodec):
    """Words <-> ids, looked up one by one: the published protocols of word-level corpora.

    A token is what stands between white space; nothing is merged, split, lower-cased or
    normalised, and a literal `<unk>` is a word like another, not UNK. Decoding joins by spaces.

    Arguments:
        words: the vocabulary without the special ids; the first has id 4.

    >>> codec = WordCodec.train(["the cat", "the dog"])
    >>> codec.words, codec.encode("the bird"), codec.decode([4, 1, 3])
    (['the', 'cat', 'dog'], Encoded(ids=[4, 1, 3], loss={'unknown': 1}), 'the ⁇')
    """

    kind: ClassVar[str] = "word"
    vocab: int

    def __init__(self, words: Iterable[str]) -> None:
        self.words = list(words)
        self.vocab = SPECIAL + len(self.words)
        self.ids = {word: i for i, word in enumerate(self.words, SPECIAL)}
        broken = next((word for word in self.words if word.split() != [word]), None)
        if broken is not None or len(self.ids) < len(self.words) or not self.words:
            raise Refused("a word list needs at least one word, each once and without spaces.")

    @classmethod
    def train(cls, lines: Iterable[str], *, vocab: int | None = None) -> Self:
        """Words by falling frequency, ties in alphabetical order. Raises `Refused`.

        Arguments:
            lines: sentences; blank ones are skipped, others that `encode` refuses are refused.
            vocab: how many words to keep, special ids not counted; None: all of them.
        """
        counts = Counter(word for line in _usable(cls, lines) for word in line.split())
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        if not ranked:
            raise Refused("no text to learn words from: every line is blank. Give another file.")
        if vocab is not None and not 1 <= vocab <= len(ranked):
            raise Refused(
                f"vocab = {vocab}: this corpus has {len(ranked)} different words. "
                f"Set vocab to 1 … {len(ranked)}, or leave it out to keep them all."
            )
        return cls(ranked[:vocab])

    @classmethod
    def fewest(cls, text: str) -> int:
        return len(text.split()) + 1

    def encode_batch(self, lines: Sequence[str]) -> list[list[int]]:
        get = self.ids.get
        return [[*(get(word, UNK) for word in line.split()), EOS] for line in lines]

    def loss(self, text: str, ids: Sequence[int]) -> Mapping[str, int]:
        unknown = ids.count(UNK)
        return {"unknown": unknown} if unknown else {}

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self._word(token, UNKNOWN) for token in self.visible(ids))

    def tokens(self, ids: Sequence[int]) -> list[str]:
        known = [int(token) if 0 <= token < self.vocab else UNK for token in ids]
        return [self._word(token, NAMES[token] if token < SPECIAL else "") for token in known]

    def _word(self, token: int, special: str) -> str:
        return self.words[token - SPECIAL] if token >= SPECIAL else special

    def save(self, folder: Path) -> None:
        data = "".join(f"{word}\n" for word in self.words).encode()
        write_folder(folder, Saved(self.kind, {}, data), "words.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        try:
            lines = read_folder(folder).data.decode().split("\n")
        except UnicodeDecodeError as error:
            raise Refused(f"{folder}/words.txt is not UTF-8 ({error}).") from error
        return cls(lines[:-1])


def _rebuild(proto: bytes, model: Model) -> SentencePieceCodec:
    return SentencePieceCodec(proto, model=model)


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _refuse_fault(codec: type[TextCodec], text: str) -> None:
    reason = codec.fault(text)
    if reason is not None:
        raise Refused(f"text refused ({reason}): {text!r:.60} — {codec.cures[reason]}")


def _usable(codec: type[TextCodec], lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line and not line.isspace():
            _refuse_fault(codec, line)
            yield line


def _trainable(codec: type[TextCodec], lines: Iterable[str]) -> Iterator[str]:
    for line in _usable(codec, lines):
        for start in range(0, len(line), LONGEST_LINE):
            yield line[start : start + LONGEST_LINE]


def _open_model(proto: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
        ids = [processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()]
    except (RuntimeError, TypeError) as error:
        raise Refused(f"no sentencepiece model: {error}. Copy the codec folder again.") from error
    if ids != [PAD, UNK, BOS, EOS]:
        raise Refused(
            f"pad, unk, bos, eos have ids {ids}, not [0, 1, 2, 3]: train it with seqvae."
        )
    return processor


def _count_characters(sample: Sequence[str]) -> np.ndarray:
    """How often each character occurs, most frequent first, zeros left out."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for start in range(0, len(sample), 1000):
        text = "".join(sample[start : start + 1000])
        characters, seen = np.unique(
            np.frombuffer(text.encode("utf-32-le"), np.uint32), return_counts=True
        )
        counts[characters] += seen
    return np.sort(counts[counts > 0])[::-1]


def _alphabet(sample: Sequence[str], vocab: int | None) -> tuple[int, float]:
    """How many characters get a piece of their own, and the trainer's coverage that gives it.

    With a vocab, they take no more than half of its free ids: thousands of rare characters
    (of a Chinese corpus, say) would leave no room for pieces, and bytes can spell them.
    """
    if not sample:
        raise Refused("no text to train a codec on: every line is blank. Give another file.")
    share = np.cumsum(_count_characters(sample), dtype=np.float64)
    share /= share[-1]
    wanted, fewest = (int(np.searchsorted(share, part)) + 1 for part in (COVERAGE, LEAST_COVERAGE))
    kept = wanted if vocab is None else max(fewest, min(wanted, (vocab - FIXED_IDS) // 2))
    if kept == len(share):
        return kept, 1.0
    # The trainer stops at the first character whose predecessors already cover this share.
    before = share[kept - 2] if kept > 1 else 0.0
    return kept, max(LEAST_COVERAGE, float(before + share[kept - 1]) / 2)


def _check_room(vocab: int, alphabet: int) -> None:
    if vocab < FIXED_IDS + alphabet:
        raise Refused(
            f"vocab = {vocab}: byte fallback takes 256 ids, special tokens {SPECIAL} and this "
            f"corpus's alphabet {alphabet}. Set vocab = {FIXED_IDS + alphabet} or more."
        )


def _train(sample: Sequence[str], model: Model, vocab: int | None, coverage: float) -> bytes:
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=written,
            model_type=model,
            vocab_size=vocab or DEFAULT_VOCAB,
            character_coverage=coverage,
            **TRAINER,
        )
    except RuntimeError as error:
        raise Refused(
            f"sentencepiece could not learn {vocab or DEFAULT_VOCAB} {model} ids from "
            f"{len(sample)} lines: {error}. Give more text or another vocab."
        ) from error
    return written.getvalue()
