"""Corrupted words: what may change, by how much and how often, and what never does."""

import math
from typing import Any

import pytest
import torch
from small import ARGUMENTS, batch, make, pad, same, vae
from torch import Tensor

from seqvae.build import build, build_stepper
from seqvae.encoders import LSTMEncoder
from seqvae.errors import Refused
from seqvae.noises import Denoising, Words
from seqvae.tokens import EOS, PAD, SPECIAL, UNK
from seqvae.training import train
from seqvae.vae import Batch

VOCAB = 50
ALL: dict[str, Any] = {"drop": 0.3, "blank": 0.2, "substitute": 0.2, "shuffle": 3}
KINDS: list[dict[str, Any]] = [{name: value} for name, value in ALL.items()] + [ALL]


def sentences(count: int = 200, most: int = 12) -> Batch:
    """Items of 0 to `most` words, EOS behind them."""
    lengths = torch.randint(0, most + 1, (count,)).tolist()
    return batch([[*torch.randint(SPECIAL, VOCAB, (n,)).tolist(), EOS] for n in lengths], step=3)


def long(words: int = 100, count: int = 100) -> Batch:
    """Items whose words are all different where they may be: 4, 5, 6, …"""
    return batch([[*range(SPECIAL, SPECIAL + words), EOS] for _ in range(count)])


def words_of(noisy: Batch, row: int) -> list[int]:
    return noisy.x[row, : noisy.length[row] - 1].tolist()


def check_share(count: int, of: int, share: float) -> None:
    assert abs(count - share * of) < 4.5 * math.sqrt(share * (1 - share) * of)


@pytest.mark.parametrize("kind", KINDS)
def test_a_noisy_item_ends_where_it_says_and_only_ids_and_length_are_new(kind: Any) -> None:
    clean = sentences()
    before = clean.x.clone(), clean.length.clone()
    noisy = Words(VOCAB, **kind)(clean)
    place = torch.arange(noisy.x.shape[1])
    assert torch.equal(noisy.x != PAD, place < noisy.length.unsqueeze(1))
    assert (noisy.x.gather(1, noisy.length.unsqueeze(1) - 1) == EOS).all()
    assert ((noisy.x == EOS).sum(1) == 1).all()
    assert noisy.x.shape == (len(clean.x), int(noisy.length.max()))
    assert noisy.x.dtype == clean.x.dtype and noisy.length.dtype == clean.length.dtype
    assert noisy.item is clean.item and noisy.label is clean.label and noisy.step == clean.step
    assert torch.equal(clean.x, before[0]) and torch.equal(clean.length, before[1])
    assert not torch.equal(noisy.x, clean.x)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_matter(kind: Any) -> None:
    noisy = Words(VOCAB, **kind)(pad(sentences()))
    assert (noisy.length >= 1).all() and (noisy.x[:, -1] != EOS).any()
    assert torch.equal((noisy.x != PAD).sum(1), noisy.length)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_shuffled_words_are_the_same_and_near_where_they_were(most: int) -> None:
    noisy = Words(1000, shuffle=most)(long())
    words = noisy.x[:, :-1]
    same(words.sort(1).values, long().x[:, :-1])
    moved = (words - SPECIAL - torch.arange(words.shape[1])).abs()
    assert int(moved.max()) == most  # reached, and not passed


def test_one_word_in_four_moves_where_neighbours_may_change_places() -> None:
    """i + 2 u > i + 1 + 2 v has probability 1/8, and all but the outermost have two neighbours."""
    words = Words(1000, shuffle=1)(long(count=400)).x[:, :-1]
    moved = words != SPECIAL + torch.arange(words.shape[1])
    assert float(moved.float().mean()) == pytest.approx((98 / 4 + 2 / 8) / 100, abs=0.01)


def test_without_words_to_swap_a_shuffle_changes_nothing() -> None:
    one = batch([[EOS], [7, EOS]])
    assert torch.equal(Words(VOCAB, shuffle=5)(one).x, one.x)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_of_words_that_are_lost_blanked_or_replaced(share: float) -> None:
    clean = long()
    count = int((clean.length - 1).sum())
    lost = Words(1000, drop=share)(clean)
    check_share(count - int((lost.length - 1).sum()), count, share)
    blank = Words(1000, blank=share)(clean)
    check_share(int((blank.x == UNK).sum()), count, share)
    other = Words(1000, substitute=share)(clean)
    check_share(int((other.x != clean.x).sum()), count, share * (1 - 1 / (1000 - SPECIAL)))


def test_blank_and_replaced_words_are_shares_of_the_same_and_never_both() -> None:
    clean = long()
    noisy = Words(1000, blank=0.4, substitute=0.6)(clean)
    count = int((clean.length - 1).sum())
    check_share(int((noisy.x == UNK).sum()), count, 0.4)
    check_share(int((noisy.x == clean.x).sum() - len(clean.x)), count, 0.6 / 996)  # EOS aside


def test_lost_words_leave_the_others_in_order() -> None:
    noisy = Words(1000, drop=0.5)(long())
    for row in range(len(noisy.x)):
        words = words_of(noisy, row)
        assert words == sorted(set(words))


@pytest.mark.parametrize("share", [0.9, 1.0])
def test_one_word_is_always_left_and_any_may_be(share: float) -> None:
    clean = batch([[4, 5, 6, EOS]] * 400 + [[EOS]])
    noisy = Words(VOCAB, drop=share)(clean)
    assert noisy.length[-1] == 1 and (noisy.length[:-1] >= 2).all()
    firsts = noisy.x[:-1, 0].bincount()[4:].tolist()
    assert min(firsts) > 60
    if share == 1.0:
        assert (noisy.length[:-1] == 2).all() and noisy.x.shape[1] == 2


def test_any_word_may_stand_for_another_but_none_of_the_special_ids() -> None:
    noisy = Words(8, substitute=1.0)(batch([[4] * 200 + [EOS]]))
    assert set(noisy.x[0, :-1].tolist()) == {4, 5, 6, 7}


def test_nothing_happens_where_all_shares_are_zero_and_no_number_is_drawn() -> None:
    state = torch.get_rng_state()
    clean = sentences()
    after = torch.get_rng_state()
    assert not torch.equal(state, after)
    assert torch.equal(Words(VOCAB)(clean).x, clean.x)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_a_function_of_the_seed(kind: Any) -> None:
    clean, draws = sentences(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(Words(VOCAB, **kind)(clean).x.tolist())
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("way", ["blank", "substitute", "shuffle"])
def test_windows_without_an_end_keep_their_length(way: str) -> None:
    window = batch([[4, 5, 6, 7, 8, 9]] * 50)
    noisy = Words(VOCAB, length=6, **{way: ALL[way]})(window)
    assert noisy.x.shape == window.x.shape and torch.equal(noisy.length, window.length)
    assert not torch.equal(noisy.x, window.x)


def test_windows_cannot_lose_tokens_and_say_so_before_and_in_training() -> None:
    with pytest.raises(Refused, match="Use blank"):
        Words(VOCAB, length=6, drop=0.1)
    with pytest.raises(Refused, match="Use blank"):
        Words(VOCAB, drop=0.1)(batch([[4, 5, 6]]))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"drop": 1.1}, "drop = 1.1"),
        ({"blank": -0.1}, "blank = -0.1"),
        ({"substitute": float("nan")}, "substitute = nan"),
        ({"blank": 0.6, "substitute": 0.6}, "at most 1"),
        ({"shuffle": -1}, "shuffle = -1"),
        ({"vocab": SPECIAL, "substitute": 0.1}, "no words"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        Words(**{"vocab": VOCAB, **wrong})


# --- in a model ----------------------------------------------------------------------------------


def test_only_the_encoder_reads_noise_and_only_in_training() -> None:
    clean = make(LSTMEncoder)
    model = vae(encoder=Denoising(clean, Words(ARGUMENTS["vocab"], blank=1.0)))

    def both() -> tuple[Tensor, Tensor]:
        return model(batch()).q.mean, clean(batch()).mean

    noisy, expected = both()
    assert not torch.allclose(noisy, expected)
    out = model(batch())
    same(out.log_px, model.decoder(out.z).log_prob(batch().x))  # x itself is what is scored
    model.eval()
    same(*both(), 1e-7)


LSTM: dict[str, Any] = {"embed": 8, "hidden": 8}
TRANSFORMER: dict[str, Any] = {"width": 8, "heads": 2, "layers": 1}
TERMS: dict[str, Any] = {"kl": {"kind": "KL"}, "bag": {"kind": "BagOfWords", "hidden": 8}}


def recipe(family: str, objective: dict[str, Any], **noise: Any) -> dict[str, Any]:
    sizes = LSTM if family == "LSTM" else TRANSFORMER
    return {
        "name": "noisy",
        "latent": 3,
        "seed": 0,
        "encoder": {"kind": f"{family}Encoder", **sizes, "noise": {"kind": "Words", **noise}},
        "posterior": {"kind": "GaussianPosterior"},
        "prior": {"kind": "StandardNormal"},
        "decoder": {"kind": f"{family}Decoder", **sizes},
        "objective": objective,
        "optimizer": {"kind": "AdamW"},
    }


@pytest.mark.parametrize("family", ["LSTM", "Transformer"])
@pytest.mark.parametrize(
    "objective",
    [
        {"kind": "Elbo", "terms": TERMS},
        {"kind": "SemiAmortized", "terms": TERMS, "refinements": 2},
        {"kind": "SemiAmortized", "terms": TERMS, "refinements": 2, "end_to_end": False},
        {"kind": "IWAE", "samples": 3},
        {"kind": "IWAE", "samples": 3, "doubly_reparameterized": True},
    ],
    ids=lambda way: "-".join(map(str, [way["kind"], *list(way.values())[2:]])),
)
def test_a_recipe_with_noise_takes_a_step_in_bfloat16(family: str, objective: Any) -> None:
    made = recipe(family, objective, **ALL)
    built = build(made, ARGUMENTS["vocab"], steps=10)
    stepper = build_stepper(made, built, steps=10)
    before = [weight.clone() for weight in built.vae.parameters()]
    _, report = next(train(built.vae, built.objective, stepper, [batch(step=1)], bf16=True))
    assert report["loss"].isfinite() and report["loss"].dtype == torch.float32
    for weight, was in zip(built.vae.parameters(), before, strict=True):
        assert weight.isfinite().all() and not torch.equal(weight, was)


def test_a_recipe_of_windows_that_would_lose_tokens_is_refused() -> None:
    made = recipe("LSTM", {"kind": "Elbo", "terms": TERMS}, drop=0.3)
    build(made, ARGUMENTS["vocab"])
    with pytest.raises(Refused, match="Use blank"):
        build(made, ARGUMENTS["vocab"], length=8)
