"""Writing: greedy, drawn and searched, against all that a tiny model can write."""

import math
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from small import LATENT, batch, loud, make, of_sequences, reads_pictures, same
from torch import Tensor

from seqvae import decoders
from seqvae.codecs import DrumsCodec, TrioCodec, WordCodec
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.errors import Refused
from seqvae.generate import (
    NEVER,
    Form,
    beam,
    best,
    form_of,
    generate,
    greedy,
    nucleus,
    sampler,
)
from seqvae.tokens import BOS, EOS, PAD

V = 7  # 0-2 are never written; 3 ends; 4, 5, 6 are words
# What writes pictures has a test file of its own: no token ends one.
SENTENCES = [kind for kind in of_sequences(decoders) if not reads_pictures(kind)]
KINDS = pytest.mark.parametrize("kind", SENTENCES)
SPANS = np.array([[4, 6], [6, 7], [3, 5]])  # which ids may stand at a position, in turn
CUTS = pytest.mark.parametrize(
    "cut", [{}, {"temperature": 0.3}, {"top_k": 2}, {"top_p": 0.6}, {"temperature": 50.0}]
)


def decoder_of(kind: type, scale: float = 3.0) -> SequenceDecoder:
    decoder: SequenceDecoder = loud(make(kind, vocab=V).eval(), scale)
    return decoder


@cache
def writer(kind: type) -> SequenceDecoder:
    """A decoder that learned a little: its sentences have words, and end at different places."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 5, (60,), generator=draw).tolist()
    words = [torch.randint(4, V, (length,), generator=draw).tolist() for length in lengths]
    x, z = batch([[*ids, EOS] for ids in words]).x, torch.randn(60, LATENT, generator=draw)
    decoder: SequenceDecoder = make(kind, vocab=V, hidden=16, width=16)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        (-decoder(z).log_prob(x).mean()).backward()
        optimizer.step()
    return decoder.eval()


def every_sentence(length: int) -> list[list[int]]:
    """All readable sentences of at most so many tokens, the end counted."""
    return [[*words, EOS] for n in range(length) for words in product(range(4, V), repeat=n)]


def log_p(decoder: SequenceDecoder, z: Tensor, ids: list[int]) -> float:
    return decoder(z[None]).log_prob(torch.tensor([ids])).item()


@KINDS
def test_greedy_writes_the_likeliest_token_after_what_it_wrote(kind: type) -> None:
    decoder, z = decoder_of(kind), torch.randn(6, LATENT)
    written = generate(decoder, z, length=9)
    with torch.no_grad():
        scores = decoder.head(decoder.features(written, z))
    scores[..., list(NEVER)] = -math.inf
    likeliest = scores.argmax(-1)
    for row, ids in enumerate(written.tolist()):
        length = ids.index(EOS) + 1 if EOS in ids else len(ids)
        assert ids[:length] == likeliest[row, :length].tolist()
        assert set(ids[length:]) <= {PAD}


@KINDS
def test_what_stands_for_nothing_is_never_written(kind: type) -> None:
    decoder, z = decoder_of(kind, 0.1), torch.randn(40, LATENT)
    for ids in (
        generate(decoder, z, length=12, choose=sampler(seed=1)),
        generate(decoder, z, length=12),
        beam(decoder, z, length=12, width=3)[0],
    ):
        for row in ids.tolist():
            ended = row.index(EOS) + 1 if EOS in row else len(row)
            assert not set(row[:ended]) & set(NEVER) and set(row[ended:]) <= {PAD}


@KINDS
def test_without_an_end_exactly_so_many_tokens_are_written(kind: type) -> None:
    decoder, z = decoder_of(kind, 0.1), torch.randn(5, LATENT)
    ids = generate(decoder, z, length=30, choose=sampler(), end=None)
    assert ids.shape == (5, 30)
    assert (ids == EOS).any() and (ids != PAD).all()
    assert generate(decoder, z, length=0).shape == (5, 0)


def test_top_k_keeps_the_k_largest_whatever_their_ties() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    assert best(scores, 2).isfinite().tolist()[0] == [False, True, False, True]
    assert best(scores, 3).isfinite().sum(-1).tolist() == [3, 3]
    assert best(scores, None) is scores and best(scores, 9) is scores
    kept = best(scores, 1)
    assert torch.equal(kept[kept.isfinite()], torch.tensor([3.0, 0.0]))


@pytest.mark.parametrize(
    ("p", "kept"),
    [(0.1, 1), (0.5, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.96, 4), (1.0, 4), (None, 4)],
)
def test_a_nucleus_is_the_fewest_tokens_that_reach_p(p: float | None, kept: int) -> None:
    probabilities = torch.tensor([[0.15, 0.5, 0.05, 0.3]])
    finite = nucleus(probabilities.log(), p).isfinite()[0].tolist()
    by_size = [1, 3, 0, 2]  # largest first
    assert finite == [place in by_size[:kept] for place in range(4)]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, [0.25, 0.09, 0.0225, 0.0025]),
        ({"top_k": 2}, [0.5, 0.3, 0.0, 0.0]),
        ({"top_p": 0.9}, [0.5, 0.3, 0.15, 0.0]),
        ({"temperature": 1e-38}, [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_draws_follow_the_distribution_they_are_cut_to(
    cut: dict[str, float], expected: list[float]
) -> None:
    count = 20_000
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(count, 4) + 7.0
    drawn = sampler(**cut)(scores)  # type: ignore[arg-type]
    share = torch.bincount(drawn, minlength=4) / count
    wanted = torch.tensor(expected) / sum(expected)
    assert ((share - wanted).abs() <= 4 * (wanted * (1 - wanted) / count).sqrt()).all()


@KINDS
def test_sentences_are_drawn_as_often_as_the_model_says(kind: type) -> None:
    decoder, z = decoder_of(kind), torch.randn(1, LATENT)
    count, length = 20_000, 2
    drawn = generate(decoder, z.expand(count, -1), length=length, choose=sampler(seed=5))
    with torch.no_grad():
        first, state = decoder.step(torch.tensor([BOS]), decoder.start(z))
        first[:, list(NEVER)] = -math.inf
        for token in range(4, V):
            second, _ = decoder.step(torch.tensor([token]), state)
            second[:, list(NEVER)] = -math.inf
            joint = first.softmax(-1)[0, token] * second.softmax(-1)[0]
            share = torch.stack([((drawn == torch.tensor([token, n])).all(1)) for n in range(V)])
            error = 4 * (joint * (1 - joint) / count).sqrt() + 1e-9
            assert ((share.float().mean(1) - joint).abs() <= error).all()


@KINDS
def test_a_wide_beam_finds_the_likeliest_sentence_and_its_exact_probability(kind: type) -> None:
    decoder, sentences, lengths = writer(kind), every_sentence(4), set()
    for z in torch.randn(8, LATENT):
        truth = {tuple(ids): log_p(decoder, z, ids) for ids in sentences}
        found, score = beam(decoder, z[None], length=4, width=len(sentences))
        ids = tuple(token for token in found[0].tolist() if token != PAD)
        assert ids == max(truth, key=lambda sentence: truth[sentence])
        assert score.item() == pytest.approx(truth[ids], abs=1e-4)
        lengths.add(len(ids))
    assert len(lengths) > 1


@KINDS
def test_what_a_batch_writes_is_what_each_writes_alone_and_work_shrinks_as_rows_end(
    kind: type,
) -> None:
    decoder, z = writer(kind), torch.randn(40, LATENT)
    walked: list[int] = []

    def noting(scores: Tensor) -> Tensor:
        walked.append(len(scores))
        return greedy(scores)

    together = generate(decoder, z, length=8, choose=noting)
    ends = (together != PAD).sum(1)
    assert len(set(ends.tolist())) > 2  # they end at different places
    assert walked[-1] < 40 and sorted(walked, reverse=True) == walked
    for row in range(40):
        alone = generate(decoder, z[row : row + 1], length=8)
        assert alone[0].tolist() == together[row, : alone.shape[1]].tolist()
        assert (together[row, alone.shape[1] :] == PAD).all()


@KINDS
@pytest.mark.parametrize("width", [1, 2, 5])
def test_beams_of_a_batch_are_those_of_its_items_and_score_what_is_teacher_forced(
    kind: type, width: int
) -> None:
    decoder, z = writer(kind), torch.randn(12, LATENT)
    together, scores = beam(decoder, z, length=8, width=width)
    assert len(set((together != PAD).sum(1).tolist())) > 2  # they end at different places
    same(scores, decoder(z).log_prob(together).detach(), 1e-4)
    for row in range(12):
        alone, score = beam(decoder, z[row : row + 1], length=8, width=width)
        assert alone[0].tolist() == together[row, : alone.shape[1]].tolist()
        assert (together[row, alone.shape[1] :] == PAD).all()
        same(score[0], scores[row], 1e-4)


def plain_beam(decoder: SequenceDecoder, z: Tensor, length: int, width: int) -> list[int]:
    """The search as lists and loops: of the 2 * width likeliest children, `width` stay open."""
    open_, best_found = [(0.0, [BOS])], (-math.inf, [BOS])
    for place in range(length):
        grown = []
        for score, ids in open_:
            with torch.no_grad():
                x = torch.tensor([[*ids[1:], EOS]])
                log_ps = decoder.head(decoder.features(x, z[None])[0, -1]).log_softmax(-1)
            tokens = range(3, V) if place < length - 1 else [EOS]
            grown += [(score + log_ps[token].item(), [*ids, token]) for token in tokens]
        grown = sorted(grown, reverse=True)[: 2 * width]
        best_found = max([best_found, *(child for child in grown if child[1][-1] == EOS)])
        open_ = [child for child in grown if child[1][-1] != EOS][:width]
    return best_found[1][1:]


@KINDS
@pytest.mark.parametrize(("width", "length"), [(1, 3), (1, 6), (2, 6), (3, 2), (5, 6)])
def test_a_beam_keeps_so_many_sentences_open(kind: type, width: int, length: int) -> None:
    decoder, z = writer(kind), torch.randn(40, LATENT)
    found, _ = beam(decoder, z, length=length, width=width)
    for row in range(40):
        ids = [token for token in found[row].tolist() if token != PAD]
        assert ids == plain_beam(decoder, z[row], length, width)


@KINDS
def test_a_wider_beam_finds_what_greed_does_not(kind: type) -> None:
    decoder, z = writer(kind), torch.randn(40, LATENT)
    narrow, wide = (beam(decoder, z, length=8, width=width)[1] for width in (1, 50))
    assert (wide >= narrow - 1e-5).all() and (wide > narrow + 0.01).any()
    greedily = generate(decoder, z, length=8)
    ended = (greedily == EOS).any(1)
    scores = decoder(z[ended]).log_prob(greedily[ended]).detach()
    assert ended.sum() > 30 and (narrow[ended] >= scores - 1e-4).all()


@KINDS
def test_every_beam_ends_within_its_length(kind: type) -> None:
    for length in (1, 3, 8):
        ids, scores = beam(writer(kind), torch.randn(12, LATENT), length=length, width=2)
        assert ids.shape[1] <= length and (ids == EOS).sum(1).tolist() == [1] * 12
        assert scores.isfinite().all()


@KINDS
def test_a_seed_draws_the_same_again_and_another_something_else(kind: type) -> None:
    decoder, z = decoder_of(kind, 0.5), torch.randn(6, LATENT)
    one, again, other = (
        generate(decoder, z, length=20, choose=sampler(seed=seed), end=None) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_what_cannot_be_drawn_is_refused() -> None:
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(Refused, match="greedily"):
            sampler(temperature=temperature)
    for top_p in (0.0, 1.5, math.nan):
        with pytest.raises(Refused, match="share of probability"):
            sampler(top_p=top_p)
    with pytest.raises(Refused, match="at least 1"):
        sampler(top_k=0)
    with pytest.raises(Refused, match="width of 1"):
        beam(decoder_of(decoders.LSTMDecoder), torch.zeros(1, LATENT), length=3, width=0)


def test_greedy_takes_the_largest() -> None:
    assert greedy(torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])).tolist() == [1, 0]


# --- music: which ids may stand where, and how many ----------------------------------------------


def test_a_codec_says_what_may_be_written() -> None:
    assert form_of(WordCodec(["a"]), 30) == Form(30, EOS, None)
    trio, drums = TrioCodec(bars=1), DrumsCodec(metre="3/4", bars=1)
    assert form_of(trio, 30)[:2] == (48, None) and form_of(drums, 30)[:2] == (12, None)
    assert form_of(trio, 30).allowed is trio.allowed
    assert drums.allowed.tolist() == [[4, 516]]


def allowed_everywhere(ids: Tensor) -> bool:
    first, end = torch.as_tensor(SPANS)[torch.arange(ids.shape[1]) % len(SPANS)].T
    return bool(((first <= ids) & (ids < end)).all())


@KINDS
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_only_what_is_allowed_is_written_wherever_it_stands(kind: type, scale: float) -> None:
    decoder, z = decoder_of(kind, scale), torch.randn(30, LATENT)
    form: dict[str, Any] = {"length": 10, "end": None, "allowed": SPANS}
    chosen = [greedy, *(sampler(seed=2, together=both) for both in (False, True))]
    chosen += [sampler(top_k=1), sampler(top_p=0.5), sampler(temperature=9.0, top_k=3)]
    for choose in chosen:
        ids = generate(decoder, z, choose=choose, **form)
        assert ids.shape == (30, 10) and allowed_everywhere(ids)
    for width in (1, 4):
        ids, scores = beam(decoder, z, width=width, **form)
        assert ids.shape == (30, 10) and allowed_everywhere(ids) and scores.isfinite().all()


@KINDS
def test_greedy_takes_the_likeliest_of_those_allowed(kind: type) -> None:
    decoder, z = decoder_of(kind), torch.randn(20, LATENT)
    ids = generate(decoder, z, length=9, end=None, allowed=SPANS)
    with torch.no_grad():
        scores = decoder.head(decoder.features(ids, z))
    for place in range(9):
        first, end = SPANS[place % 3]
        assert (ids[:, place] == scores[:, place, first:end].argmax(-1) + int(first)).all()
    narrow, _ = beam(decoder, z, length=9, width=1, end=None, allowed=SPANS)
    assert torch.equal(narrow, ids)


@KINDS
@pytest.mark.parametrize("end", [None, EOS])
def test_rows_that_may_write_different_things_write_them_as_each_does_alone(
    kind: type, end: int | None
) -> None:
    decoder, z = decoder_of(kind), torch.randn(12, LATENT)
    own = np.stack([np.roll(SPANS, row, axis=0) for row in range(12)])
    form: dict[str, Any] = {"length": 8, "end": end}
    together = generate(decoder, z, **form, allowed=own)
    searched, scores = beam(decoder, z, width=3, **form, allowed=own)
    for row in range(12):
        one, spans = z[row : row + 1], own[row]
        alone = generate(decoder, one, **form, allowed=spans)[0].tolist()
        assert together[row].tolist()[: len(alone)] == alone and not any(
            together[row, len(alone) :]
        )
        [best_alone], [score] = beam(decoder, one, width=3, **form, allowed=spans)
        assert [i for i in searched[row].tolist() if i] == [i for i in best_alone.tolist() if i]
        same(scores[row], score, 1e-4)


@KINDS
@pytest.mark.parametrize("spans", [None, SPANS, np.array([[3, 7]]), np.array([[5, 6]])])
def test_a_wide_beam_without_an_end_finds_the_best_of_all_sequences(
    kind: type, spans: Any
) -> None:
    """Exactly so many tokens, whose probability is the model's own: nothing is made up for."""
    decoder, length = decoder_of(kind), 4
    found_spans = [[3, V]] if spans is None else spans.tolist()
    places = [range(*found_spans[place % len(found_spans)]) for place in range(length)]
    every = torch.tensor(list(product(*places)))
    z = torch.randn(6, LATENT)
    found, scores = beam(decoder, z, length=length, width=len(every), end=None, allowed=spans)
    assert found.shape == (6, length)
    for row in range(6):
        truth = decoder(z[row].expand(len(every), -1)).log_prob(every).detach()
        assert found[row].tolist() == every[truth.argmax()].tolist()
        same(scores[row], truth.max(), 1e-4)


@KINDS
@pytest.mark.parametrize("width", [1, 2, 7])
def test_beams_without_an_end_have_their_length_and_their_score(kind: type, width: int) -> None:
    decoder, z = decoder_of(kind), torch.randn(9, LATENT)
    for length in (1, 2, 11):
        ids, scores = beam(decoder, z, length=length, width=width, end=None, allowed=SPANS[:2])
        assert ids.shape == (9, length)
        same(scores, decoder(z).log_prob(ids).detach(), 1e-4)


@CUTS
def test_one_noise_draws_equal_rows_from_equal_scores(cut: dict[str, float]) -> None:
    scores = torch.randn(1, 50).expand(64, 50)
    together = sampler(together=True, seed=3, **cut)  # type: ignore[arg-type]
    drawn = torch.stack([together(scores) for _ in range(40)])
    assert (drawn == drawn[:, :1]).all()
    assert len(set(drawn[:, 0].tolist())) > 1  # but each time anew
    apart = sampler(seed=3, **cut)(scores)  # type: ignore[arg-type]
    assert len(set(apart.tolist())) > 1


@KINDS
def test_one_noise_writes_equal_codes_equally_and_near_codes_nearly(kind: type) -> None:
    decoder = decoder_of(kind, 1.0)
    z = torch.randn(1, LATENT) + 0.01 * torch.arange(2).repeat_interleave(8)[:, None]

    def written(together: bool, seed: int = 1) -> Tensor:
        choose = sampler(seed=seed, together=together)
        return generate(decoder, z, length=24, choose=choose, end=None, allowed=SPANS[:1])

    rows = written(True)
    assert (rows[:8] == rows[0]).all() and (rows[8:] == rows[8]).all()
    assert (rows[0] == rows[8]).float().mean() > 0.8
    assert torch.equal(rows, written(True)) and not torch.equal(rows, written(True, seed=2))
    apart = written(False)
    assert (apart[0] == apart[8]).float().mean() < 0.8 and not (apart[:8] == apart[0]).all()


@CUTS
def test_each_row_drawn_by_one_noise_is_drawn_as_if_alone(cut: dict[str, float]) -> None:
    """Frequencies within four standard errors of the distribution that is cut to."""
    count, scores = 6000, torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.1, 0.2, 0.6]]).log()
    together = sampler(together=True, seed=4, **cut)  # type: ignore[arg-type]
    drawn = torch.stack([together(scores) for _ in range(count)])
    kept = nucleus(best(scores / cut.get("temperature", 1.0), cut.get("top_k")), cut.get("top_p"))  # type: ignore[arg-type]
    for row, wanted in enumerate(kept.softmax(-1)):
        share = torch.bincount(drawn[:, row], minlength=4) / count
        error = 4 * (wanted * (1 - wanted) / count).sqrt()
        assert ((share - wanted).abs() <= error + 1e-9).all()
