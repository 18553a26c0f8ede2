"""The laws of every sequence decoder: causal, blind to padding, a distribution, two ways alike."""

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import LATENT, VOCAB, batch, loud, make, of_sequences, pad, same

from seqvae import decoders, distributions
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.errors import Refused
from seqvae.tokens import BOS, EOS, PAD, UNK

KINDS = of_sequences(decoders)
TOLD_HOW = [kind for kind in KINDS if "at_start" in kind.__init__.__kwdefaults__]
WAYS = [(True, True), (True, False), (False, True)]
CASES = [
    pytest.param(
        {"kind": kind, "layers": layers, "at_start": start, "at_every_step": every, "tied": tied}
        | {"latent": latent},
        id=f"{kind.__name__}-{layers}-{'s' * start}{'e' * every}-{'tied' * tied}-D{latent}",
    )
    for kind, layers, (start, every), tied, latent in product(
        KINDS, (1, 2), WAYS, (False, True), (LATENT, 0)
    )
    if latent or (start and every)
    if kind in TOLD_HOW or (start and every and not tied)
]
CASES += [
    pytest.param(
        {"kind": kind, "direct": True, "latent": latent}, id=f"{kind.__name__}-direct-D{latent}"
    )
    for kind, latent in product(KINDS, (LATENT, 0))
    if "direct" in kind.__init__.__kwdefaults__
]
laws = pytest.mark.parametrize("case", CASES)


def decoder_of(case: dict[str, Any], **other: Any) -> SequenceDecoder:
    arguments = case | {"embed": 6} | other  # not the hidden size, so that tying has to narrow
    return loud(make(arguments.pop("kind"), **arguments).eval(), 2.0)


def codes(case: dict[str, Any], count: int) -> torch.Tensor:
    return torch.randn(count, case["latent"])


@laws
def test_likelihood_is_causal_and_ignores_padding(case: dict[str, Any]) -> None:
    decoder, x = decoder_of(case), batch().x
    z = codes(case, len(x))
    scores = decoder(z).token_log_prob(x)
    for place in range(1, x.shape[1]):
        changed = x.clone()
        changed[:, place:] = torch.randint(4, VOCAB, changed[:, place:].shape)
        same(
            decoder(z).token_log_prob(changed)[:, :place] * (x[:, :place] != PAD),
            scores[:, :place],
        )
    padded = decoder(z).token_log_prob(pad(batch()).x)
    same(padded[:, : x.shape[1]], scores, 1e-6)
    assert (padded[:, x.shape[1] :] == 0).all()
    for row in range(len(x)):  # nor does it matter who stands beside
        alone = x[row : row + 1, : batch().length[row]]
        same(decoder(z[row : row + 1]).log_prob(alone), scores[row : row + 1].sum(1))


@laws
def test_scores_depend_on_every_earlier_token_and_on_their_order(case: dict[str, Any]) -> None:
    decoder = decoder_of(case, bars=1)  # a conducted bar forgets those before it
    x = torch.tensor([[4, 5, 6, 7, 3], [8, 5, 6, 7, 3], [5, 4, 6, 7, 3]])
    last = decoder(codes(case, 1).expand(3, -1)).token_log_prob(x)[:, -1]
    assert (last[1:] - last[0]).abs().min() > 1e-4


@laws
def test_next_token_probabilities_sum_to_one(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sentences of up to 3 tokens, and the mass that has not ended by then."""
    decoder = decoder_of(case, vocab=6)
    head, pad_column = decoder.head, torch.tensor([PAD])
    # PAD has probability one without being scored: in this sum it must not be written.
    monkeypatch.setattr(decoder, "head", lambda f: head(f).index_fill(-1, pad_column, -torch.inf))
    x = torch.tensor(list(product(range(1, 6), repeat=3)))
    each = decoder(codes(case, 1).expand(len(x), -1)).token_log_prob(x).exp()
    total = 0.0
    for length in (1, 2, 3):
        ends = x[:, length - 1].eq(EOS) & ~x[:, : length - 1].eq(EOS).any(1)
        repeats = 5 ** (3 - length)  # a sentence is listed once with every suffix
        total += each[ends, :length].prod(1).sum().item() / repeats
    total += each[~x.eq(EOS).any(1)].prod(1).sum().item()
    assert total == pytest.approx(1.0, abs=1e-5)


@laws
def test_step_by_step_it_scores_what_it_scores_teacher_forced(case: dict[str, Any]) -> None:
    decoder, x = decoder_of(case), batch().x
    z = codes(case, len(x))
    order = torch.tensor([2, 0, 3, 3, 1])  # beams are reordered, doubled and dropped
    with torch.no_grad():
        forced = decoder.head(decoder.features(x, z))
        state, read = decoder.start(z), torch.full((len(x),), BOS)
        for place in range(x.shape[1]):
            scores, state = decoder.step(read, state)
            same(scores, forced[:, place])
            read = x[:, place]
            if place == 2:
                state, read, x, forced = state.select(order), read[order], x[order], forced[order]


@laws
def test_a_state_may_be_gone_on_from_twice(case: dict[str, Any]) -> None:
    """What one way writes, and however long, the other does not see."""
    decoder, z = decoder_of(case), codes(case, 2)
    x = torch.randint(4, VOCAB, (2, 40))
    x[1, :20] = x[0, :20]  # alike so far
    with torch.no_grad():
        z = z[:1].expand(2, -1)
        forced = decoder.head(decoder.features(x, z))
        state, read = decoder.start(z[:1]), torch.tensor([BOS])
        for place in range(20):
            _, state = decoder.step(read, state)
            read = x[0, place : place + 1]
        for way in (0, 1, 0):
            after, token = state, read
            for place in range(20, 40):
                scores, after = decoder.step(token, after)
                same(scores[0], forced[way, place], 1e-4)
                token = x[way, place : place + 1]


@laws
def test_the_code_reaches_every_position_unless_it_has_no_dimensions(case: dict[str, Any]) -> None:
    decoder, x = decoder_of(case), torch.randint(4, VOCAB, (1, 7))
    z = codes(case, 1).requires_grad_()
    for score in decoder(z).token_log_prob(x)[0]:
        (slope,) = torch.autograd.grad(score, z, retain_graph=True, materialize_grads=True)
        assert slope.shape == (1, case["latent"])
        assert (slope != 0).all()


@pytest.mark.parametrize("kind", TOLD_HOW)
def test_a_code_with_no_way_in_is_refused(kind: Any) -> None:
    with pytest.raises(Refused, match="latent = 0 for a language model"):
        make(kind, at_start=False, at_every_step=False)
    make(kind, at_start=False, at_every_step=False, latent=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong", [{"layers": 0}, {"word_dropout": 1.5}, {"dropout": -0.1}, {"hidden": 0}, {"heads": 0}]
)
def test_sizes_and_shares_out_of_range_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    names = set(kind.__init__.__kwdefaults__)
    if names >= set(wrong):
        with pytest.raises(Refused, match=next(iter(wrong))):
            make(kind, **wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_word_dropout_acts_in_training_only_at_its_rate_and_never_on_the_first(kind: Any) -> None:
    decoder = make(kind, word_dropout=0.3)
    x = torch.randint(4, VOCAB, (400, 50))
    read = torch.cat([torch.full((400, 1), BOS), x[:, :-1]], dim=1)
    corrupted = decoder.train().inputs(x)
    lost = corrupted != read
    assert (corrupted[lost] == UNK).all()
    assert not lost[:, 0].any()
    spread = (0.3 * 0.7 / lost[:, 1:].numel()) ** 0.5
    assert abs(lost[:, 1:].float().mean().item() - 0.3) < 4 * spread
    assert torch.equal(decoder.eval().inputs(x), read)
    scores = decoder(torch.zeros(400, LATENT)).log_prob(x)
    assert torch.equal(decoder(torch.zeros(400, LATENT)).log_prob(x), scores)


def test_an_lstm_starts_from_its_code() -> None:
    """c_0 = W z and h_0 = tanh(c_0), of every layer   (Bowman et al., 2016)."""
    decoder, z = make(decoders.LSTMDecoder, layers=2), torch.randn(5, LATENT)
    state = decoder.start(z)
    same(state["cell"].flatten(1), z @ decoder.first.weight.T)
    same(state["hidden"], state["cell"].tanh())


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_of_lost_words_may_be_all(kind: Any) -> None:
    read = make(kind, word_dropout=1.0).train().inputs(batch().x)
    assert (read[:, 0] == BOS).all() and (read[:, 1:] == UNK).all()


@laws
def test_several_codes_an_item_score_as_one_by_one(case: dict[str, Any]) -> None:
    decoder, x = decoder_of(case), batch().x
    z = torch.randn(3, len(x), case["latent"])
    together = decoder(z).log_prob(x)
    assert together.shape == (3, len(x))
    same(together, torch.stack([decoder(one).log_prob(x) for one in z]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [False, True])
def test_scores_made_in_slices_give_the_same_likelihood_and_gradients(
    kind: Any, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, x = make(kind, tied=tied, embed=6), batch().x
    z = torch.randn(len(x), LATENT)

    def gradients() -> list[torch.Tensor]:
        decoder.zero_grad()
        log_px = decoder(z).log_prob(x)
        log_px.sum().backward()
        return [log_px.detach(), *(p.grad.clone() for p in decoder.parameters())]

    whole = gradients()
    slices: list[int] = []
    head = decoder.head

    def noting(features: torch.Tensor) -> torch.Tensor:
        slices.append(len(features))
        return head(features)

    monkeypatch.setattr(decoder, "head", noting)
    monkeypatch.setattr(distributions, "SCORES_AT_ONCE", 2 * VOCAB)
    monkeypatch.setattr(distributions, "ROWS_ROUNDED_TO", 1)
    for a, b in zip(gradients(), whole, strict=True):
        same(a, b)
    assert max(slices) <= 2
    slices.clear()
    monkeypatch.setattr(distributions, "SCORES_IN_CACHE", VOCAB)
    with torch.no_grad():
        same(decoder(z).log_prob(x), whole[0])
    assert sum(slices) == batch().length.sum() and max(slices) == 1, "each is scored once"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(deadline=None, derandomize=True, max_examples=15)
def test_any_tokens_have_a_finite_likelihood_of_at_most_one(
    kind: Any, data: st.DataObject
) -> None:
    ids = data.draw(
        st.lists(st.lists(st.integers(1, VOCAB - 1), min_size=1), min_size=1, max_size=4)
    )
    x = batch(ids)
    log_px = make(kind).eval()(torch.randn(len(ids), LATENT)).log_prob(x.x)
    assert log_px.isfinite().all() and (log_px < 0).all()


SEEING: list[Any] = [decoders.LSTMDecoder, decoders.TransformerDecoder]
CONTEXTS = [
    pytest.param(
        {"kind": kind, "layers": layers, "context": context, "latent": latent, "skip": skip},
        id=f"{kind.__name__}-{layers}-{context}-{'skip' * skip}-D{latent}",
    )
    for kind, layers, context, (latent, skip) in product(
        SEEING, (1, 2), (0, 1, 2, 4, 20), ((LATENT, False), (LATENT, True), (0, False))
    )
]
contexts = pytest.mark.parametrize("case", CONTEXTS)


@contexts
def test_a_position_sees_the_last_tokens_of_its_context_and_no_others(
    case: dict[str, Any],
) -> None:
    decoder, x = decoder_of(case), torch.randint(4, VOCAB, (6, 9))
    z = codes(case, len(x))
    scores = decoder.head(decoder.features(x, z))
    for place in range(x.shape[1]):
        changed = x.clone()
        changed[:, place] = 4 + (x[:, place] - 3) % (VOCAB - 4)
        moved = (decoder.head(decoder.features(changed, z)) - scores).abs().amax((0, 2))
        felt = range(place + 1, min(place + case["context"], x.shape[1] - 1) + 1)
        expected = torch.tensor([t in felt for t in range(x.shape[1])])
        assert torch.equal(moved > 1e-6, expected)


@contexts
def test_limited_context_steps_as_it_scores(case: dict[str, Any]) -> None:
    decoder, x = decoder_of(case), batch().x
    z = codes(case, len(x))
    forced = decoder.head(decoder.features(x, z))
    state, token = decoder.start(z), torch.full((len(x),), BOS)
    order = torch.tensor([2, 0, 3, 1])
    for place in range(x.shape[1]):
        scores, state = decoder.step(token, state)
        real = x[:, place] != PAD
        same(scores[real], forced[:, place][real], 1e-4)
        token = x[:, place]
        state, token, x, forced = state.select(order), token[order], x[order], forced[order]
    padded = decoder(z).token_log_prob(pad(batch()).x)
    same(padded[:, : x.shape[1]], decoder(z).token_log_prob(batch().x), 1e-5)


@pytest.mark.parametrize("kind", SEEING)
def test_a_context_longer_than_the_sentence_is_none(kind: Any) -> None:
    x, z = batch().x, torch.randn(4, LATENT)
    whole, limited = (decoder_of({"kind": kind, "context": c, "layers": 2}) for c in (None, 20))
    limited.load_state_dict(whole.state_dict())
    real = x != PAD
    same(limited.features(x, z)[real], whole.features(x, z)[real], 1e-5)


@pytest.mark.parametrize("kind", SEEING)
def test_without_context_a_position_still_knows_its_place_and_its_code(kind: Any) -> None:
    decoder = decoder_of({"kind": kind, "context": 0, "layers": 1})
    x = torch.full((2, 5), 5)
    scores = decoder.head(decoder.features(x, torch.randn(2, LATENT)))
    assert (scores[:, 1:] - scores[:, :-1]).abs().amax(-1).min() > 1e-4
    assert (scores[0] - scores[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_skip_adds_a_linear_function_of_the_code_to_the_features(kind: Any) -> None:
    decoder: Any = decoder_of({"kind": kind, "skip": True, "layers": 1})
    x, z = batch().x, torch.randn(4, LATENT)
    with_skip = decoder.features(x, z)
    added = decoder.skip(z).unsqueeze(1).expand_as(with_skip)
    decoder.skip = None
    same(with_skip - decoder.features(x, z), added, 1e-4)


def test_a_negative_context_and_a_code_without_a_way_in_are_refused() -> None:
    with pytest.raises(Refused, match="0 of the tokens"):
        make(decoders.LSTMDecoder, context=-1)
    with pytest.raises(Refused, match="never reaches"):
        make(decoders.LSTMDecoder, at_start=False, at_every_step=False)
    make(decoders.LSTMDecoder, at_start=False, at_every_step=False, skip=True)


@pytest.mark.parametrize("kind", KINDS)
def test_word_dropout_may_change_with_the_step(kind: Any) -> None:
    decoder = make(kind, word_dropout=lambda step: min(step / 100, 1.0)).train()
    x = torch.full((50, 9), 5)
    for step, share in ((0, 0.0), (50, 0.5), (1000, 1.0)):
        lost = (decoder.inputs(x, step)[:, 1:] == UNK).float().mean().item()
        assert lost == pytest.approx(share, abs=0.1)
    with pytest.raises(Refused, match="word_dropout"):
        make(kind, word_dropout=lambda step: step / 100)
