"""Some tokens are read as the decoder would write them: in training, at a rate, nothing else."""

from functools import partial
from typing import Any

import pytest
import torch
from small import LATENT, VOCAB, batch, make, of_sequences, same, vae
from torch import Tensor

from seqvae import decoders, distributions
from seqvae.build import build, complete
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.distributions import draw_tokens, score_tokens
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Refused
from seqvae.posteriors.label import LabelPosterior
from seqvae.recipe import merge, read
from seqvae.schedules import linear
from seqvae.tokens import PAD, SPECIAL

KINDS = of_sequences(decoders)
kinds = pytest.mark.parametrize("kind", KINDS)


def decoder_of(kind: Any, share: Any = 1.0, **other: Any) -> Any:
    return make(kind, scheduled_sampling=share, **other).train()


def certain(decoder: SequenceDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scores so far apart that a draw is the likeliest word."""
    head = decoder.head
    monkeypatch.setattr(decoder, "head", lambda features: 1e6 * head(features))


def likeliest(decoder: SequenceDecoder, x: Tensor, z: Tensor) -> Tensor:
    words = decoder.head(decoder.features(x, z))[..., SPECIAL:].argmax(-1) + SPECIAL
    return words.masked_fill(x == PAD, PAD)


def scored(decoder: SequenceDecoder, told: Tensor, x: Tensor, z: Tensor) -> Tensor:
    """log p(x | told, z), (B,), with none of the code under test."""
    log_p = decoder.head(decoder.features(told, z)).float().log_softmax(-1)
    each = log_p.gather(-1, x.unsqueeze(-1)).squeeze(-1)
    return each.masked_fill(x == PAD, 0.0).sum(1)


@kinds
@pytest.mark.parametrize("latent", [LATENT, 0])
def test_at_probability_one_a_certain_decoder_reads_its_own_predictions(
    kind: Any, latent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, x, z = decoder_of(kind, latent=latent), batch().x, torch.randn(4, latent)
    certain(decoder, monkeypatch)
    predicted = likeliest(decoder, x, z)
    assert torch.equal(decoder.told(x, z), predicted) and not torch.equal(predicted, x)
    monkeypatch.undo()
    monkeypatch.setattr(decoder, "told", lambda *_: predicted)
    same(decoder(z).log_prob(x), scored(decoder, predicted, x, z))
    assert (decoder(z).log_prob(x) - scored(decoder, x, x, z)).abs().max() > 1e-5


@kinds
def test_each_of_several_codes_an_item_reads_its_own(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, x, z = decoder_of(kind), batch().x, 3 * torch.randn(3, 4, LATENT)
    certain(decoder, monkeypatch)
    alone = torch.stack([scored(decoder, likeliest(decoder, x, one), x, one) for one in z])
    torch.testing.assert_close(decoder(z).log_prob(x), alone, rtol=1e-4, atol=1e-4)


@kinds
def test_without_it_and_in_evaluation_nothing_changes_and_nothing_is_drawn(kind: Any) -> None:
    x, z = batch().x, torch.randn(4, LATENT)
    plain, sampling = make(kind), decoder_of(kind, partial(linear, steps=10))
    sampling.load_state_dict(plain.state_dict())
    before = torch.get_rng_state()
    for step, training in ((0, True), (0, False), (10, False)):
        told = sampling.train(training)(z, step).log_prob(x)
        assert torch.equal(told, plain.train(training)(z, step).log_prob(x))
    assert torch.equal(torch.get_rng_state(), before)
    sampling.train()(z, 10).log_prob(x)
    assert not torch.equal(torch.get_rng_state(), before)


@kinds
def test_tokens_are_replaced_at_the_rate_of_the_step_and_padding_never(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = decoder_of(kind, partial(linear, steps=100))
    written = torch.nn.functional.one_hot(torch.tensor(7), VOCAB).float() * 1e6
    monkeypatch.setattr(decoder, "head", lambda features: written.expand(len(features), -1))
    x = torch.full((200, 12), 5)
    x[:, 8:] = PAD
    for step, share in ((0, 0.0), (30, 0.3), (1000, 1.0)):
        told = decoder.told(x, torch.randn(200, LATENT), step)
        assert (told[:, 8:] == PAD).all() and torch.isin(told[:, :8], torch.tensor([5, 7])).all()
        spread = (share * (1 - share) / 1600) ** 0.5
        assert abs((told[:, :8] == 7).float().mean().item() - share) <= 4 * spread


@kinds
def test_what_is_drawn_has_seen_no_later_token(kind: Any) -> None:
    decoder, x, z = decoder_of(kind, 0.7), torch.randint(4, VOCAB, (4, 7)), torch.randn(4, LATENT)

    def told(x: Tensor) -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        tokens = decoder.told(x, z)
        torch.manual_seed(1)
        return tokens, decoder(z).token_log_prob(x)

    tokens, log_p = told(x)
    for place in range(1, 7):
        changed = x.clone()
        changed[:, place:] = 4 + (x[:, place:] - 3) % (VOCAB - 4)
        others, log_q = told(changed)
        assert torch.equal(others[:, :place], tokens[:, :place])
        same(log_q[:, :place], log_p[:, :place])


@kinds
@pytest.mark.parametrize("bf16", [False, True])
def test_gradients_are_those_of_the_second_pass(kind: Any, bf16: bool) -> None:
    decoder, x, z = decoder_of(kind, 0.7), batch().x, torch.randn(4, LATENT)

    def gradients(told: Tensor | None) -> list[Tensor]:
        decoder.zero_grad()
        code = z.clone().requires_grad_()
        torch.manual_seed(2)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            log_px = decoder(code).log_prob(x) if told is None else scored(decoder, told, x, code)
            log_px.sum().backward()
        return [code.grad, *(p.grad for p in decoder.parameters())]

    torch.manual_seed(2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        told = decoder.told(x, z)
    assert not told.requires_grad and not torch.equal(told, x)
    tolerance = 2e-2 if bf16 else 1e-5
    found = [gradient.clone() for gradient in gradients(None)]
    for mine, theirs in zip(found, gradients(told), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


class Table:
    """Scores that are the features themselves."""

    def __init__(self, vocab: int) -> None:
        self.vocab = vocab

    def features(self, x: Tensor, z: Tensor, step: int = 0) -> Tensor:
        return z

    def head(self, features: Tensor) -> Tensor:
        return features


def test_draws_follow_the_scores_less_the_special_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.tensor([9.0, 9.0, 9.0, 9.0, 0.0, 1.0, -1.0, -torch.inf])
    monkeypatch.setattr(distributions, "SCORES_IN_CACHE", 1000)  # in slices
    drawn = draw_tokens(Table(8), scores.expand(40_000, -1))
    share = drawn.bincount(minlength=8) / 40_000
    p = scores[SPECIAL:].softmax(-1)
    assert (share[:SPECIAL] == 0).all() and share[7] == 0
    assert ((share[SPECIAL:] - p).abs() <= 4 * (p * (1 - p) / 40_000).sqrt()).all()
    assert draw_tokens(Table(8), scores.expand(0, -1)).shape == (0,)


def test_draws_of_scores_that_are_no_numbers_are_tokens_all_the_same() -> None:
    """So that it is the loss that says at which step a run diverged."""
    drawn = draw_tokens(Table(6), torch.full((5, 6), torch.nan))
    assert ((drawn >= 0) & (drawn < 6)).all()
    assert score_tokens(Table(6), torch.full((5, 6), torch.nan), drawn).isnan().all()


@kinds
@pytest.mark.parametrize("wrong", [1.5, -0.1, partial(linear, steps=10, end=2.0)])
def test_a_share_outside_0_to_1_is_refused(kind: Any, wrong: Any) -> None:
    with pytest.raises(Refused, match="scheduled_sampling"):
        make(kind, scheduled_sampling=wrong)


def test_a_recipe_names_it_with_a_schedule_in_shares_of_the_run() -> None:
    sampled = {"kind": "linear", "share": 0.5, "end": 0.8}
    made = merge(read("text"), {"decoder": {"scheduled_sampling": sampled}})
    decoder: Any = build(made, VOCAB, steps=100).vae.decoder
    shares = [decoder.scheduled_sampling(step) for step in (0, 25, 50, 100)]
    assert shares == pytest.approx([0.0, 0.4, 0.8, 0.8])
    assert complete(read("text"))["decoder"]["scheduled_sampling"] == 0.0


def test_with_labels_the_first_pass_is_told_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    labelled: Any = vae(
        decoder=decoder_of(decoders.LSTMDecoder, latent=LATENT + 2),
        labeller=make(LSTMEncoder, posterior=LabelPosterior(2)),
    ).train()
    heard: list[tuple[int, ...]] = []
    features = labelled.decoder.features

    def noting(x: Tensor, z: Tensor, step: int) -> Tensor:
        heard.append(tuple(z.shape))
        return features(x, z, step)

    monkeypatch.setattr(labelled.decoder, "features", noting)
    labelled(batch())
    assert heard == [(4, LATENT + 2)] * 2
