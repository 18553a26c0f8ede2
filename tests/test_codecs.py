"""Laws of the text codecs: exact round trips, total decoding, same bytes, clear refusals."""

import gzip
import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seqvae.codecs import Codec, SentencePieceCodec, TextCodec, WordCodec, load_codec
from seqvae.codecs.text import Model
from seqvae.errors import Refused
from seqvae.tokens import BOS, EOS, PAD, SPECIAL, UNK

PTB = Path(__file__).parents[2] / "shared" / "data" / "text" / "ptb"

LINES = [
    "the cat sat on the mat .",
    "the dog sat on the log <unk> .",
    "a cat and a dog  and a <unk> !",
    "le café est très bon",
    "Straße, naïve, 東京 and 🙂",
] * 20
MODELS = SentencePieceCodec.MODELS
NASTY = [
    "a",
    " leading and trailing ",
    "two  spaces\tand a tab",
    "a new\nline and a return\r",
    "<unk> <s> </s> <pad> <0x41> <unk><unk>",
    "é e\u0301 ﬁ ① ｆｕｌｌ",
    "🙂👩‍👩‍👧 \U0010ffff \ufdd0pad",
    "\u00a0nbsp\u200bzero\ufeffbom\x01\x7f",
    "日本語テキスト العربية हिन्दी",
    "x" * 5000,
]

CODECS: dict[str, TextCodec] = {
    **{model: SentencePieceCodec.train(LINES, model=model) for model in MODELS},
    "word": WordCodec.train(LINES),
}


@pytest.fixture(params=list(CODECS))
def codec(request: pytest.FixtureRequest) -> TextCodec:
    return CODECS[request.param]


def usable(codec: TextCodec, text: str) -> bool:
    return codec.fault(text) is None


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", NASTY)
def test_subwords_say_nasty_texts_exactly(model: str, text: str) -> None:
    codec = CODECS[model]
    assert codec.decode(codec.encode(text).ids) == text
    assert codec.encode(text).loss == {}


@pytest.mark.parametrize("model", MODELS)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_subwords_say_every_accepted_text_exactly(model: str, text: str) -> None:
    codec = CODECS[model]
    assume(usable(codec, text))
    ids, loss = codec.encode(text)
    assert codec.decode(ids) == text and loss == {}
    assert ids[-1] == EOS and all(SPECIAL <= token < codec.vocab for token in ids[:-1])


@given(text=st.text(min_size=1, max_size=40))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_words_come_back_up_to_spaces_and_the_unknown(text: str) -> None:
    codec = CODECS["word"]
    assume(usable(codec, text))
    ids, loss = codec.encode(text)
    words = text.split()
    known = [word if word in LINES[0].split() else None for word in words]
    assert len(ids) == len(words) + 1 and ids[-1] == EOS
    assert loss.get("unknown", 0) == ids.count(UNK)
    decoded = codec.decode(ids).split(" ")
    assert all(a == b for a, b in zip(decoded, known, strict=True) if b is not None)


@given(ids=st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 300), max_size=30))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_decoding_takes_any_ids(ids: list[int]) -> None:
    for codec in CODECS.values():
        decoded = codec.decode(ids)
        assert isinstance(decoded, str) and decoded.encode().decode() == decoded
        assert len(codec.tokens(ids)) == len(ids)


def test_decoding_skips_padding_and_stops_at_the_end(codec: TextCodec) -> None:
    ids = codec.encode("the cat sat").ids
    assert codec.decode([BOS, PAD, *ids, *codec.encode("dog").ids]) == "the cat sat"
    assert codec.decode([]) == codec.decode([EOS, 5]) == ""


def test_bytes_that_are_no_text_decode_to_the_replacement_character() -> None:
    codec = CODECS["bpe"]
    assert codec.decode([SPECIAL + 0xFF, SPECIAL + ord("a")]) == "\ufffda"
    assert codec.decode([UNK]) == codec.decode([10**9]) == codec.decode([-1]) == "\u2047"


def test_batches_encode_as_single_texts_do(codec: TextCodec) -> None:
    assert codec.encode_batch(LINES[:5]) == [codec.encode(line).ids for line in LINES[:5]]
    assert codec.encode_batch([]) == []


@pytest.mark.parametrize("text", ["", "  ", "\n\t", "\u3000"])
def test_blank_text_is_refused(codec: TextCodec, text: str) -> None:
    with pytest.raises(Refused, match="blank"):
        codec.encode(text)


@pytest.mark.parametrize(
    ("text", "reason"), [("a\0b", "NUL byte"), ("a\ud800b", "lone surrogate")]
)
def test_text_that_is_no_text_is_refused(codec: TextCodec, text: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        codec.encode(text)


def test_the_space_sign_of_sentencepiece_is_refused_by_it_alone() -> None:
    with pytest.raises(Refused, match=r"U\+2581.*replace it"):
        CODECS["bpe"].encode("a\u2581b")
    assert WordCodec.fault("a\u2581b") is None


@pytest.mark.parametrize("item", [None, 3, b"bytes", ["a"]])
def test_only_text_is_encoded(codec: TextCodec, item: object) -> None:
    with pytest.raises(Refused, match="encodes str"):
        codec.encode(item)


def test_a_literal_unk_is_an_ordinary_word_and_costs_no_bytes() -> None:
    word = CODECS["word"]
    assert word.encode("<unk>").ids[0] >= SPECIAL and word.encode("<unk>").loss == {}
    assert word.decode(word.encode("<unk> zebra <unk>").ids) == "<unk> \u2047 <unk>"
    assert max(len(p) for p in CODECS["bpe"].tokens(CODECS["bpe"].encode(" <unk>").ids)) >= 4


def test_words_are_ranked_by_frequency_then_alphabet() -> None:
    codec = WordCodec.train(["b b a", "c a d"])
    assert codec.words == ["a", "b", "c", "d"] and codec.vocab == 8
    assert WordCodec.train(["b b a", "c a d"], vocab=2).encode("a b c").ids == [4, 5, UNK, EOS]


def test_first_ids_are_literal() -> None:
    assert WordCodec.train(["to be or not to be"]).encode("not to be").ids == [6, 5, 4, 3]
    assert CODECS["bpe"].encode("\x07").ids == [SPECIAL + 7, EOS]


def test_tokens_name_the_special_ids(codec: TextCodec) -> None:
    assert codec.tokens([0, 1, 2, 3, codec.vocab, -1]) == [
        *("<pad>", "<unk>", "<s>", "</s>"),
        *("<unk>", "<unk>"),
    ]


@pytest.mark.parametrize("model", MODELS)
def test_training_twice_gives_the_same_bytes(model: Model, tmp_path: Path) -> None:
    for name in ("a", "b"):
        SentencePieceCodec.train(iter(LINES), model=model, vocab=None).save(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_saving_loading_and_pickling_keep_a_codec(codec: TextCodec, tmp_path: Path) -> None:
    codec.save(tmp_path / "codec")
    for other in (load_codec(tmp_path / "codec"), pickle.loads(pickle.dumps(codec))):
        assert type(other) is type(codec) and other.vocab == codec.vocab
        assert other.encode(LINES[2]).ids == codec.encode(LINES[2]).ids
        other.save(tmp_path / "again")
        for path in (tmp_path / "codec").iterdir():
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_vocab_asked_for_is_given_exactly_or_refused_with_the_largest() -> None:
    largest = CODECS["bpe"].vocab
    assert SentencePieceCodec.train(LINES, vocab=largest).vocab == largest
    assert SentencePieceCodec.train(LINES, vocab=largest - 3).vocab == largest - 3
    with pytest.raises(Refused, match=f"Set vocab = {largest}"):
        SentencePieceCodec.train(LINES, vocab=8000)
    with pytest.raises(Refused, match="12 different words"):
        WordCodec.train(["a b c d e f g h i j k l"], vocab=13)
    with pytest.raises(Refused, match="Set vocab to 1"):
        WordCodec.train(["a b"], vocab=0)


@pytest.mark.parametrize("model", MODELS)
def test_the_smallest_vocab_named_by_the_refusal_is_taken(model: Model) -> None:
    with pytest.raises(Refused, match="byte fallback takes 256 ids") as refusal:
        SentencePieceCodec.train(LINES, model=model, vocab=200)
    smallest = int(str(refusal.value).rsplit("vocab = ", 1)[1].split()[0])
    assert SentencePieceCodec.train(LINES, model=model, vocab=smallest).vocab == smallest


def test_nothing_to_learn_from_is_refused() -> None:
    for lines in ([], ["", "  "]):
        with pytest.raises(Refused, match="every line is blank"):
            SentencePieceCodec.train(lines)
        with pytest.raises(Refused, match="every line is blank"):
            WordCodec.train(lines)
    with pytest.raises(Refused, match="NUL"):
        SentencePieceCodec.train(["a\0b"])
    with pytest.raises(Refused, match="none of 'bpe'"):
        SentencePieceCodec.train(LINES, model="bep")  # type: ignore[arg-type]


def test_a_long_line_is_learnt_from_whole() -> None:
    """The trainer itself drops lines of more than 4,192 bytes without a word."""
    codec = SentencePieceCodec.train(["zq " * 300_000], model="char")
    assert codec.vocab == SPECIAL + 256 + 3


def test_many_rare_characters_leave_room_for_pieces() -> None:
    rng = random.Random(0)
    weights = [1 / rank**1.2 for rank in range(1, 20_001)]
    rare = "".join(map(chr, rng.choices(range(0x4E00, 0x4E00 + 20_000), weights, k=200_000)))
    lines = [rare[i : i + 20] for i in range(0, len(rare), 20)]
    assert len(set(rare)) > 8000
    codec = SentencePieceCodec.train(lines)
    assert codec.vocab == 8000 and codec.decode(codec.encode(lines[77]).ids) == lines[77]


def test_what_other_versions_set_does_not_keep_a_codec_shut(tmp_path: Path) -> None:
    CODECS["bpe"].save(tmp_path)
    path = tmp_path / "codec.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps({**header, "settings": {"model": "bpe", "nfkc": False}}))
    assert load_codec(tmp_path).encode(LINES[0]) == CODECS["bpe"].encode(LINES[0])
    path.write_text(json.dumps({**header, "settings": {"model": "bep"}}))
    with pytest.raises(Refused, match=r"codec\.json is damaged"):
        load_codec(tmp_path)


def saved(folder: Path) -> Path:
    WordCodec(["a", "b"]).save(folder)
    return folder


def edited(folder: Path, **values: object) -> Path:
    path = saved(folder) / "codec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def test_damaged_codecs_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no codec\.json"):
        load_codec(tmp_path)
    with pytest.raises(Refused, match="unknown codec kind 'mp3'"):
        load_codec(edited(tmp_path / "kind", kind="mp3"))
    with pytest.raises(Refused, match="format 99"):
        load_codec(edited(tmp_path / "format", format=99))
    with pytest.raises(Refused, match="wrong type"):
        load_codec(edited(tmp_path / "type", kind=["word"]))
    (saved(tmp_path / "list") / "codec.json").write_text("[]")
    with pytest.raises(Refused, match="damaged"):
        load_codec(tmp_path / "list")
    (saved(tmp_path / "words") / "words.txt").write_text("a\nc\n")
    with pytest.raises(Refused, match=r"words\.txt.*damaged or edited"):
        load_codec(tmp_path / "words")
    (saved(tmp_path / "missing") / "words.txt").unlink()
    with pytest.raises(Refused, match=r"words\.txt: No such file"):
        load_codec(tmp_path / "missing")


def test_a_header_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"here.passwd: No such file"):
        load_codec(edited(tmp_path / "here", file="../../etc/passwd"))


@pytest.mark.parametrize("proto", [b"", b"no model", b"\x0a\x04\x0a\x02hi"])
def test_bytes_that_are_no_model_are_refused(proto: bytes) -> None:
    with pytest.raises(Refused, match=r"no sentencepiece model|pad, unk, bos, eos"):
        SentencePieceCodec(proto)


def test_word_lists_that_cannot_be_read_back_are_refused() -> None:
    for words in (["a", "a"], ["a b"], [""], []):
        with pytest.raises(Refused, match="each once and without spaces"):
            WordCodec(words)


@pytest.mark.skipif(not PTB.is_dir(), reason="the shared corpora are not here: no ptb folder")
def test_published_ptb_protocol_comes_out_exactly() -> None:
    """10,000 words with EOS (9,999 and EOS); 21.917 tokens a test sentence with EOS."""
    train, test = (
        gzip.decompress((PTB / f"{name}.txt.gz").read_bytes()).decode().splitlines()
        for name in ("train", "test")
    )
    codec: Codec = WordCodec.train(train)
    encoded = [codec.encode(line) for line in test]
    assert codec.vocab - SPECIAL + 1 == 10_000
    assert len(test) == 3761
    assert sum(len(ids) for ids, _ in encoded) / len(test) == pytest.approx(21.917, abs=5e-4)
    assert all(loss == {} for _, loss in encoded)
