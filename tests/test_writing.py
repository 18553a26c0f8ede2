"""Reconstructions and samples of decoders whose output is known beforehand."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from small import LATENT, VOCAB, loud, make, vae
from torch import Tensor, nn
from torch.distributions import Distribution

from seqvae.codecs import Codec, Encoded, SentencePieceCodec, WordCodec
from seqvae.data import InMemory, spread
from seqvae.decoders import LSTMDecoder
from seqvae.decoders.sequence import State
from seqvae.distributions import Delta
from seqvae.encoders import EmptyEncoder, LSTMEncoder
from seqvae.errors import Refused
from seqvae.measures import writing
from seqvae.measures.writing import Written, distinct, nearest, neural_nll, reconstruction, samples
from seqvae.ngram import NGram
from seqvae.priors import StandardNormal
from seqvae.schedules import FAR
from seqvae.tokens import EOS, PAD, UNK
from seqvae.vae import VAE, Batch, Decoder, Encoder, Prior

LONGEST = 8
CODEC = WordCodec(["a", "b", "c", "d", "e"])  # ids 4 to 8
SENTENCE = [4, 5, 6, 7, EOS]


def corpus(count: int, seed: int = 0, shortest: int = 4) -> InMemory:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(shortest, LONGEST, count)
    return InMemory([[*draw.integers(4, VOCAB, int(n)).tolist(), EOS] for n in lengths])


ITEMS, TRAIN = corpus(40), corpus(200, seed=1)
ALL = spread(len(ITEMS))


def as_code(ids: Iterable[Sequence[int]]) -> Tensor:
    """The ids themselves as a code, behind zeros."""
    rows = [[*map(float, each), *[PAD] * (LONGEST - len(each))] for each in ids]
    return torch.tensor(rows)


class Recorder(Encoder):
    """The code of a sentence is the sentence."""

    def forward(self, batch: Batch) -> Distribution:
        return Delta(as_code(batch.x.tolist()))


class Player(Decoder):
    """Writes the sentence that its code is, for certain; not by `features`, which nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, step: int = FAR) -> Distribution:
        raise NotImplementedError

    def start(self, z: Tensor) -> State:
        return State(z=z, place=torch.zeros(len(z), dtype=torch.long))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        z, place = state["z"], state["place"]
        now = z[:, int(place[0])].long()
        return nn.functional.one_hot(now, VOCAB) * 1e4, State(z=z, place=place + 1)


class Deaf(Player):
    """Writes one sentence whatever the code."""

    def start(self, z: Tensor) -> State:
        return super().start(as_code([SENTENCE]).expand(len(z), -1))


class These(Prior):
    """Draws these sentences in turn, as codes."""

    def __init__(self, ids: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.ids = ids

    def forward(self) -> Distribution:
        codes = as_code(self.ids)

        class Turns(Delta):
            def rsample(self, sample_shape: Any = ()) -> Tensor:
                (count,) = sample_shape
                return codes[torch.arange(count) % len(codes)]

        return Turns(codes)


class Notes(Codec):
    """Items that are no text."""

    kind = "notes"
    vocab = VOCAB

    def encode(self, item: Any) -> Encoded:
        return Encoded(list(item), {})

    def decode(self, ids: Iterable[int]) -> Any:
        return tuple(ids)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return list(map(str, ids))

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls()


def player(*ids: Sequence[int], decoder: Decoder | None = None) -> VAE:
    return VAE(Recorder(), These(ids or [SENTENCE]), decoder or Player())


def language_model() -> VAE:
    return VAE(EmptyEncoder(), StandardNormal(0), loud(make(LSTMDecoder, latent=0)))


def figures(model: VAE, *, held_out: InMemory = ITEMS, **options: Any) -> dict[str, Any]:
    return samples(model, CODEC, held_out, options.pop("train", TRAIN), **options).figures


def test_a_model_that_keeps_everything_gives_everything_back() -> None:
    found = reconstruction(player(), CODEC, ITEMS, ALL, size=7)
    assert (found["exact_match"], found["token_accuracy"]) == (1.0, 1.0)
    assert found["bleu"] == pytest.approx(100.0)


def test_a_deaf_decoder_gives_back_one_sentence() -> None:
    rows = [SENTENCE, [4, 8, 6, EOS], [8, 8, 6, 7, EOS], [4, EOS]]
    found = reconstruction(player(decoder=Deaf()), CODEC, InMemory(rows), spread(4))
    assert found["exact_match"] == 1 / 4
    assert found["token_accuracy"] == (5 + 2 + 3 + 1) / 20
    assert 0 < found["bleu"] < 100


def test_a_random_network_gives_back_little() -> None:
    found = reconstruction(vae(decoder=loud(make(LSTMDecoder))), CODEC, ITEMS, ALL)
    assert found["exact_match"] < 0.1 and found["token_accuracy"] < 0.5 and found["bleu"] < 50


def test_what_is_looked_up_is_the_training_item_of_the_nearest_code() -> None:
    found = nearest(player(), CODEC, ITEMS, ALL, ITEMS, size=7)  # itself is among them
    assert found["nearest_token_accuracy"] == 1.0 and found["nearest_among"] == len(ITEMS)
    assert found["nearest_bleu"] == pytest.approx(100.0)
    # A code is the ids themselves, padded with 0: next to 4 8 6 EOS lies what differs by one.
    train = InMemory([[8, 4, 4, EOS], [4, 8, 7, EOS], [4, 4, 8, EOS]])
    found = nearest(player(), CODEC, InMemory([[4, 8, 6, EOS]]), spread(1), train)
    assert found["nearest_token_accuracy"] == 3 / 4


def test_reconstructions_say_how_they_were_made() -> None:
    found = reconstruction(player(), CODEC, ITEMS, ALL[:9])
    longest = ITEMS.lengths[:9].max()
    assert found["reconstruction_items"] == 9
    assert found["reconstruction_decoding"].startswith(
        f"greedy from the posterior mean, at most {longest} tokens, on 9 items"
    )


def test_words_are_tokens_already_and_other_text_is_cut_as_published_scores_are() -> None:
    assert "tok:none|" in reconstruction(player(), CODEC, ITEMS, ALL)["bleu_signature"]
    pieces = SentencePieceCodec.train(["low lower lowest", "new newer newest"])
    found = reconstruction(player(), pieces, ITEMS, ALL)
    assert "case:mixed" in found["bleu_signature"] and "tok:13a|" in found["bleu_signature"]


def test_what_is_no_text_has_no_bleu() -> None:
    found = reconstruction(player(), Notes(), ITEMS, ALL)
    assert found["exact_match"] == 1.0 and not {"bleu", "bleu_signature"} & set(found)
    assert figures(player()) == samples(player(), Notes(), ITEMS, TRAIN).figures


def test_an_unknown_token_never_comes_back() -> None:
    rows = InMemory([[4, UNK, 5, 6, EOS], SENTENCE])
    assert reconstruction(player(), CODEC, rows, spread(2))["exact_match"] == 0.5


def test_no_items_to_reconstruct_are_refused() -> None:
    with pytest.raises(Refused, match="at least one row"):
        reconstruction(player(), CODEC, ITEMS, ALL[:0])


def test_a_model_that_writes_one_sentence_is_found_out() -> None:
    found = figures(player())
    assert found["samples"] == len(ITEMS) and found["samples_ended"] == 1.0
    # Four words, three pairs and two triples, each in all forty samples.
    assert [found[f"distinct_{n}"] for n in (1, 2, 3)] == [1 / len(ITEMS)] * 3
    assert found["samples_reverse_nll"] > found["samples_reverse_nll_real"] + 1
    assert found["copied"] == 0.0


def test_a_model_that_writes_the_held_out_items_has_the_figures_of_its_anchors() -> None:
    found = figures(player(*(ITEMS[row].tolist() for row in ALL)))
    assert found["samples_nll"] == found["samples_nll_held_out"]
    assert found["copied"] == found["copied_real"]
    for n in (1, 2, 3):
        assert found[f"distinct_{n}"] == found[f"distinct_{n}_real"]


def test_a_model_that_writes_training_items_copies_and_is_no_worse_in_reverse() -> None:
    rows = spread(len(TRAIN), len(ITEMS))
    found = figures(player(*(TRAIN[int(row)].tolist() for row in rows)))
    assert found["copied"] == 1.0 and found["copied_real"] < 0.1
    assert found["samples_reverse_nll"] == found["samples_reverse_nll_real"]
    assert found["samples_nll"] < found["samples_nll_held_out"]


def test_the_share_of_copies_is_that_of_items_of_the_training_set() -> None:
    train = InMemory([SENTENCE, *(TRAIN[row].tolist() for row in range(60))])
    found = figures(player(SENTENCE, [8, 8, 8, 8, EOS]), train=train, count=10)
    assert found["copied"] == 0.5 and found["copied_among"] == 61
    assert figures(player(), held_out=train, train=train)["copied_real"] == 1.0


def test_copies_are_looked_for_among_so_many_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SEARCHED", 3)
    rows = [TRAIN[row].tolist() for row in range(50)]
    last, second = [*rows[:-1], SENTENCE], [rows[0], SENTENCE, *rows[2:]]
    for train, copied in ((last, 1.0), (second, 0.0)):
        found = figures(player(), train=InMemory(train))
        assert (found["copied"], found["copied_among"]) == (copied, 3)


def test_forward_figures_are_those_of_the_n_gram_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "COUNTED", 50)
    lessons = [TRAIN[int(row)].tolist() for row in spread(len(TRAIN), 50)]
    real = [ITEMS[int(row)].tolist() for row in spread(len(ITEMS), 10)]
    found = figures(player(), count=10)
    model = NGram(lessons, CODEC.vocab)
    assert found["samples_nll"] == pytest.approx(model.nll([SENTENCE]))
    assert found["samples_nll_held_out"] == pytest.approx(model.nll(real))
    reverse = NGram([SENTENCE] * 10, CODEC.vocab)
    assert found["samples_reverse_nll"] == pytest.approx(reverse.nll(real))
    assert "from 50 training items" in found["samples_ngram"]


def test_what_finds_no_end_is_cut_and_counted() -> None:
    found, ids = samples(player([4] * LONGEST, SENTENCE), CODEC, ITEMS, TRAIN)
    assert found["samples_ended"] == 0.5
    assert ids[:2] == [[4] * LONGEST, SENTENCE] and len(ids) == found["samples"]
    assert f"at most {LONGEST} an item" in found["samples_decoding"]
    short = InMemory([[4, EOS]] * 4)
    for held_out, train in ((short, ITEMS), (ITEMS, short)):
        written = samples(player([4] * LONGEST), CODEC, held_out, train).ids
        assert {len(ids) for ids in written} == {LONGEST}


def test_items_without_an_end_are_written_to_their_length() -> None:
    windows = InMemory([[4, 5, 6, 7], [5, 6, 7, 8]] * 10)
    found, ids = samples(vae(), Notes(), windows, windows)
    assert {len(each) for each in ids} == {4} and "samples_ended" not in found
    # What a model without an end writes may hold the id of one.
    again = reconstruction(vae(), Notes(), windows, spread(20))
    assert "bleu" not in again and 0 <= again["token_accuracy"] <= 1


def test_there_are_no_more_samples_than_real_items_beside_them() -> None:
    assert figures(player(), count=30)["samples"] == 30
    assert figures(player(), held_out=corpus(7))["samples"] == 7
    assert figures(player(), train=corpus(5))["samples"] == 5
    with pytest.raises(Refused, match="count = 0"):
        figures(player(), count=0)


def test_samples_depend_on_the_seed_alone_and_leave_the_generator_as_it_was() -> None:
    model = vae(decoder=loud(make(LSTMDecoder)))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    first, again, other = (
        samples(model, CODEC, ITEMS, TRAIN, seed=seed, size=16) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again and first.ids != other.ids
    fixed = {"samples_nll_held_out", "samples_reverse_nll_real", "copied_real", "distinct_2_real"}
    assert all(first.figures[name] == other.figures[name] for name in fixed)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert "seed 1;" in first.figures["samples_decoding"]


def test_nothing_is_corrupted_while_writing() -> None:
    encoder = loud(make(LSTMEncoder, dropout=0.9))
    model = vae(encoder=encoder, decoder=loud(make(LSTMDecoder, dropout=0.9, word_dropout=1.0)))
    clean = vae(encoder=loud(make(LSTMEncoder)), decoder=loud(make(LSTMDecoder)))
    clean.load_state_dict(model.state_dict())
    model.train()
    assert samples(model, CODEC, ITEMS, TRAIN) == samples(clean, CODEC, ITEMS, TRAIN)
    model.train()
    ours, theirs = (reconstruction(m, CODEC, ITEMS, ALL) for m in (model, clean))
    assert ours == theirs


def test_a_language_model_writes_without_a_code() -> None:
    model = language_model()
    written: Written = samples(model, CODEC, ITEMS, TRAIN)
    assert len({tuple(ids) for ids in written.ids}) > 5
    # With no code to draw, the seed is that of the tokens.
    assert samples(model, CODEC, ITEMS, TRAIN, seed=1).ids != written.ids
    assert not {PAD, UNK} & {token for ids in written.ids for token in ids}


def test_the_language_models_figures_are_there_if_it_is() -> None:
    model = language_model()
    names = {"samples_model_nll", "samples_model_nll_held_out"}
    assert not names & set(figures(player()))
    found = figures(player(), language_model=model)
    x = torch.tensor([SENTENCE])
    exact = -model.eval().decoder(torch.zeros(1, 0)).log_prob(x).item() / len(SENTENCE)
    assert found["samples_model_nll"] == pytest.approx(exact, rel=1e-5)
    total = sum(
        -model.decoder(torch.zeros(1, 0)).log_prob(torch.tensor([ITEMS[row].tolist()])).item()
        for row in range(len(ITEMS))
    )
    expected = total / int(ITEMS.lengths.sum())
    assert found["samples_model_nll_held_out"] == pytest.approx(expected, rel=1e-5)


def test_a_language_model_is_not_charged_for_unknown_tokens() -> None:
    model = language_model().eval()
    each = -model.decoder(torch.zeros(1, 0)).token_log_prob(torch.tensor([[4, UNK, 5, EOS]]))[0]
    expected = float(each[[0, 2, 3]].detach().mean())
    assert neural_nll(model, [[4, UNK, 5, EOS]]) == pytest.approx(expected, rel=1e-5)


def test_only_a_model_without_a_code_is_a_language_model() -> None:
    with pytest.raises(Refused, match="latent = 0"):
        figures(player(), language_model=vae(prior=StandardNormal(LATENT)))


def test_unknown_tokens_of_real_items_are_told() -> None:
    held_out = InMemory([[4, UNK, 5, EOS], SENTENCE])
    assert figures(player(), held_out=held_out)["samples_unknown_held_out"] == 1 / 9


@pytest.mark.parametrize(
    ("ids", "n", "share"),
    [
        ([[4, 5, EOS], [4, 5, EOS]], 1, 2 / 4),
        ([[4, 5, EOS], [4, 5, EOS]], 2, 1 / 2),
        ([[4, 5, EOS], [4, 5, EOS]], 3, 0.0),  # there are none
        ([[4, UNK, 5, 6, EOS]], 2, 1.0),  # only 5, 6 is known
        ([[4, 4, 4], [4, EOS]], 1, 1 / 4),
    ],
)
def test_distinct_n_counts_different_n_grams(ids: list[list[int]], n: int, share: float) -> None:
    assert distinct(ids, n) == share
