"""Laws of the measures: where a code helps, what it holds, what it costs in units of people."""

import math
from importlib import import_module
from typing import Any

import pytest
import torch
from exact import bits, codes, grid, strings
from hypothesis import given, settings
from hypothesis import strategies as st
from small import same
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.transforms import AffineTransform

from seqvae.codecs import Codec, SentencePieceCodec, WordCodec
from seqvae.data import InMemory, in_order
from seqvae.distributions import densities_under, gaussian
from seqvae.errors import Refused
from seqvae.evaluate import encode_all
from seqvae.measures.aggregate import moments, part_of, prior_moments, units
from seqvae.measures.bounds import Weighed, carry_over, tightest
from seqvae.measures.listening import by_position, cost, fed_noise, shuffled, where
from seqvae.measures.pricing import Bound, prices
from seqvae.measures.retrieval import retrieval
from seqvae.metrics import effective_dimension, standard_error
from seqvae.priors import Product

# --- where a code is heard -----------------------------------------------------------------------


def test_a_hand_made_gain_is_told_by_position_and_by_part() -> None:
    """Lengths 5, 1, 2: the end token of each is no first word, however early."""
    length = torch.tensor([5, 1, 2])
    gain = torch.tensor([8.0, 4.0, 2.0, 1.0, 3.0, 5.0, 6.0, 1.0])
    means, counts = by_position(gain, length)
    assert counts == [3, 2, 1, 1, 1]
    assert means == pytest.approx([19 / 3, 2.5, 2.0, 1.0, 3.0])
    found = where(gain, length)
    assert found["gain_share_first"] == pytest.approx((8 + 4 + 2 + 6) / 30)
    assert found["gain_share_end"] == pytest.approx((3 + 5 + 1) / 30)
    assert found["gain_share_rest"] == pytest.approx(1 / 30)
    tokens = [found[f"gain_tokens_{part}"] for part in ("first", "end", "rest")]
    assert tokens == pytest.approx([4 / 8, 3 / 8, 1 / 8])


@given(
    length=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    seed=st.integers(0, 99),
    lift=st.floats(-1, 2),
)
@settings(deadline=None, derandomize=True)
def test_shares_of_a_sequence_add_up(length: list[int], seed: int, lift: float) -> None:
    lengths = torch.tensor(length)
    random = torch.Generator().manual_seed(seed)
    gain = torch.randn(int(lengths.sum()), generator=random) + lift
    found = where(gain, lengths, "saved")
    parts = ("first", "end", "rest")
    assert sum(found[f"saved_tokens_{part}"] for part in parts) == pytest.approx(1.0)
    if "saved_share_first" in found:
        assert float(gain.double().sum()) > 0
        assert sum(found[f"saved_share_{part}"] for part in parts) == pytest.approx(1.0, abs=1e-4)
    by, items = found["saved_by_position"], found["saved_position_items"]
    assert sum(items) == len(gain) and items[0] == len(length)
    total = sum(mean * count for mean, count in zip(by, items, strict=True))
    assert total == pytest.approx(float(gain.double().sum()), abs=1e-4)


def test_a_loss_has_no_shares_and_neither_has_noise() -> None:
    three = torch.tensor([2, 2, 2])
    for gain, sure in (
        ([1.0, 0.5, 1.0, 0.4, 0.8, 0.6], True),
        ([-1.0, 0.5, -1.0, 0.4, -0.8, 0.6], False),
        ([5.0, 0.5, -4.0, 0.4, 0.8, 0.6], False),
    ):
        assert ("gain_share_first" in where(torch.tensor(gain), three)) == sure


def test_a_gain_stands_where_the_decoder_reads_its_code() -> None:
    """It reads the bits at places 1 and 6 of 8 alone."""
    model = bits(0.8, 0.5, [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0])
    items = strings()
    heard = shuffled(model, items, encode_all(model, in_order(items, 64)))
    assert heard.by_token is not None
    found = where(heard.by_token, torch.full((256,), 9))
    by = torch.tensor(found["gain_by_position"])
    assert by[[1, 6]].min() > 0.5
    same(by[[0, 2, 3, 4, 5, 7, 8]], torch.zeros(7), 1e-6)
    assert found["gain_share_first"] == pytest.approx(float(by[1] / by.sum()), abs=1e-4)
    assert found["gain_share_end"] == pytest.approx(0.0, abs=1e-6)


def test_noise_costs_a_deaf_decoder_nothing_and_a_reading_one_something() -> None:
    items = strings()
    for volume, low, high in ((0.0, -1e-6, 1e-6), (3.0, 3.0, 20.0)):
        model = bits(0.8, 0.5, volume)
        found = encode_all(model, in_order(items, 64))
        for heard, name in (
            (fed_noise(model, items, found), "noise"),
            (shuffled(model, items, found), "shuffle"),
        ):
            assert len(heard.places) == heard.worse.numel() == 256
            assert heard.by_token is not None
            same(heard.by_token.view(256, 9).sum(1), heard.worse, 1e-4)
            figures = cost(heard, name)
            assert low < figures[f"{name}_low"] <= figures[f"{name}_delta_nll"] <= high
            assert figures[f"{name}_delta_nll"] <= figures[f"{name}_high"] + 1e-12


# --- a bound of all items from that of some ------------------------------------------------------


def test_what_is_known_of_all_items_needs_no_estimate() -> None:
    item = torch.randperm(500)
    elbo, gap = 60 + 20 * torch.randn(500).double(), 3 + 0.5 * torch.randn(500).double()
    turned = torch.randperm(500)
    nll, error = carry_over((elbo - gap)[turned], item[turned], elbo, item)
    assert float(nll.mean()) == pytest.approx(float((elbo - gap).mean()), rel=1e-12)
    assert error == 0.0


def test_the_bound_of_some_items_speaks_for_all_without_bias_and_surer_than_their_mean() -> None:
    """Sentences differ by 20 nats, gaps by 0.5: 50 of 500 items, 600 times."""
    item = torch.randperm(500)
    elbo = 60 + 20 * torch.randn(500).double()
    gap = 3 + 0.02 * (elbo - 60) + 0.3 * torch.randn(500).double()
    exact, found, plain, errors = float((elbo - gap).mean()), [], [], []
    for _ in range(600):
        some = torch.randperm(500)[:50]
        each = (elbo - gap)[some]
        nll, error = carry_over(each, item[some], elbo, item)
        assert len(nll) == 500
        found.append(float(nll.mean()))
        plain.append(float(each.mean()))
        errors.append(error)
    means = torch.tensor(found).double()
    assert abs(float(means.mean()) - exact) < 3.5 * standard_error(means)
    assert float(means.std()) == pytest.approx(sum(errors) / len(errors), rel=0.12)
    assert 20 * float(means.std()) < float(torch.tensor(plain).std())


def weighed(
    nll: Tensor, elbo: Tensor, effective: float = 50.0, item: Tensor | None = None
) -> Weighed:
    """Items weighed with 100 samples each, of which so many count."""
    rows = torch.arange(len(nll)) if item is None else item
    return Weighed(rows, elbo, nll, torch.full_like(nll, effective), [100], nll.unsqueeze(0))


def test_the_tightest_bound_that_can_be_trusted_is_taken() -> None:
    """The fitted posteriors have items 0, 2, 4 …; lower by 1 nat with an error of about 0.05."""
    nll = 60 + 20 * torch.randn(100).double()
    some = torch.arange(0, 100, 2)
    own, equal = weighed(nll, nll + 2), weighed(nll[some], nll[some] + 1, item=some)
    lower = weighed(nll[some] - 1 + 0.3 * torch.randn(50), nll[some], item=some)
    loose, hopeless = weighed(nll, nll + 2, 4.0), weighed(lower.nll, lower.elbo, 4.0, some)

    def taken(*two: Weighed | None) -> tuple[str, int]:
        found = tightest(*two)
        assert found is not None
        name, values, item = found
        assert len(values) == len(item)
        return name, len(item)

    assert taken(own, None) == ("importance-weighted NLL", 100)
    assert taken(own, equal) == ("importance-weighted NLL", 100), "more items, the same bound"
    assert taken(own, lower) == ("importance-weighted NLL, posteriors fitted,", 50)
    assert taken(loose, equal) == ("importance-weighted NLL, posteriors fitted,", 50)
    assert taken(loose, hopeless) == ("-ELBO, posteriors fitted,", 50), "always a bound"
    assert taken(own, hopeless) == ("importance-weighted NLL", 100), "at -ELBO + 0 it is lower"
    assert tightest(loose, None) is None


def test_few_samples_are_no_estimate_however_many_of_them_count() -> None:
    nll = torch.zeros(3)
    assert not Weighed(torch.arange(3), nll, nll, nll + 4.9, [5], nll.unsqueeze(0)).converged
    assert Weighed(torch.arange(3), nll, nll, nll + 5, [5], nll.unsqueeze(0)).converged
    assert not Weighed(torch.arange(3), nll, nll, nll + 24, [500], nll.unsqueeze(0)).converged


# --- densities of every code under every posterior -----------------------------------------------


@pytest.mark.parametrize(
    ("scale", "sigma"), [(1.0, 1.0), (1.0, 1e-3), (100.0, 0.1), (100.0, 1e-3), (10.0, 1e-4)]
)
def test_densities_of_pairs_are_those_one_by_one(scale: float, sigma: float) -> None:
    """Also of narrow posteriors with far means, where squares multiplied out might cancel."""
    mu = scale * torch.randn(40, 8)
    widths = sigma * (0.5 + torch.rand(40, 8))
    z = mu + widths * torch.randn(40, 8)
    q = [gaussian(mu[:15], widths[:15]), gaussian(mu[15:], widths[15:])]
    exact = gaussian(mu.double(), widths.double()).log_prob(z.double().unsqueeze(1))
    found = densities_under(q)(z)
    same(found / exact.abs().clamp_min(1.0), exact / exact.abs().clamp_min(1.0), 1e-6)
    own, least = found.diagonal(), exact.diagonal()
    assert float((own - least).abs().max()) < 1e-3


def test_densities_of_pairs_of_other_families_are_those_one_by_one() -> None:
    mu, scale, z = torch.randn(5, 3), torch.rand(5, 3) + 0.1, torch.randn(4, 3)
    mixture = MixtureSameFamily(
        Categorical(torch.ones(5, 2)),
        Independent(Normal(torch.stack([mu, -mu], 1), torch.stack([scale, scale], 1)), 1),
    )
    families: tuple[Distribution, ...] = (Independent(Laplace(mu, scale), 1), mixture)
    for q in families:
        found = densities_under([q, q])(z)
        assert found.shape == (4, 10)
        for i in range(4):
            same(found[i, :5], q.log_prob(z[i].expand(5, 3)))
            same(found[i, 5:], found[i, :5])


# --- a part of the codes -------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "kept"), [(None, 256), (256, 256), (128, 128), (100, 96)])
def test_a_part_of_the_codes_is_whole_batches_with_all_that_is_known_of_them(
    limit: int | None, kept: int
) -> None:
    model, items = bits(0.5, 0.8, 1.0), strings()
    whole = encode_all(model, in_order(items, 16))
    part = part_of(whole, limit)
    assert len(part.item) == kept
    assert (part.tokens is None) == (part is not whole)
    place = {row: i for i, row in enumerate(whole.item.tolist())}
    rows = [place[row] for row in part.item.tolist()]
    assert rows == sorted(set(rows))
    for name in ("length", "mu", "z", "reconstruction", "rate", "rates"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[rows]), name
    assert torch.equal(torch.cat([q.mean for q in part.q]), part.mu)


# --- retrieval -----------------------------------------------------------------------------------


def test_codes_that_name_their_label_are_always_found() -> None:
    label = torch.arange(40).repeat(3)
    found = retrieval(torch.eye(40)[label] + 0.01 * torch.randn(120, 40), label)
    assert found["retrieval_at_1"] == found["retrieval_at_10"] == found["retrieval_rank"] == 1.0
    assert (found["retrieval_items"], found["retrieval_alone"]) == (120, 0)
    assert found["retrieval_chance_at_1"] == pytest.approx(2 / 119)


def test_retrieval_does_not_depend_on_place_or_scale_or_on_what_fits_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mu, label = torch.randn(60, 4).double(), torch.arange(20).repeat(3)
    found = retrieval(mu, label)
    assert 0.0 < found["retrieval_at_1"] < found["retrieval_at_10"] < 1.0
    assert retrieval(0.1 * mu + 50.0, label) == found
    # By its path: the function of the same name hides the module.
    monkeypatch.setattr(import_module("seqvae.measures.retrieval"), "AT_ONCE", 7 * 60)
    assert retrieval(mu, label) == found


def test_random_codes_are_found_at_the_rate_of_chance() -> None:
    """600 items, labels of 2 to 8: of independent queries 4 standard errors, and a half more."""
    label = torch.cat([torch.full((2 + i % 7,), i) for i in range(120)])
    found = retrieval(torch.randn(len(label), 16), label)
    for places in (1, 10):
        chance, share = found[f"retrieval_chance_at_{places}"], found[f"retrieval_at_{places}"]
        assert abs(share - chance) < 6 * (chance * (1 - chance) / len(label)) ** 0.5
    at_1 = sum((2 + i % 7) * (1 + i % 7) for i in range(120)) / len(label) / (len(label) - 1)
    assert found["retrieval_chance_at_1"] == pytest.approx(at_1)


def test_chance_is_what_a_random_order_gives() -> None:
    """With 3 of 12 others alike, ten places miss none only where nine others leave no room."""
    label = torch.tensor([0] * 4 + list(range(1, 10)))
    found = retrieval(torch.randn(13, 4), label)
    assert found["retrieval_chance_at_1"] == pytest.approx(3 / 12)
    assert found["retrieval_chance_at_10"] == 1.0
    label = torch.tensor([0, 0, *range(1, 30)])
    found = retrieval(torch.randn(31, 4), label)
    assert found["retrieval_chance_at_10"] == pytest.approx(10 / 30)


def test_codes_that_do_not_differ_are_no_find() -> None:
    label = torch.tensor([0, 0, 1, 1])
    found = retrieval(torch.ones(4, 3), label)
    assert found["retrieval_at_1"] == 0.0 and found["retrieval_rank"] == 3.0
    pairs = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert retrieval(pairs[[0, 2, 1, 3]], torch.tensor([0, 1, 0, 1]))["retrieval_at_1"] == 0.0


def test_items_alone_in_their_label_are_counted_and_still_stand_in_the_way() -> None:
    mu = torch.tensor([[1.0, 0.0], [0.5, 1.0], [1.0, 0.2], [-2.0, 0.0], [-2.0, 1.0]])
    found = retrieval(mu, torch.tensor([0, 0, 7, 8, 9]))
    assert (found["retrieval_items"], found["retrieval_alone"]) == (2, 3)
    assert found["retrieval_at_1"] == 0.0 and found["retrieval_at_10"] == 1.0
    assert retrieval(mu, torch.arange(5)) == {}


# --- what the codes hold -------------------------------------------------------------------------


def test_units_are_counted_against_the_width_of_the_prior() -> None:
    """The same model in other units of the code has the same figures."""
    mu = torch.randn(500, 6) * torch.tensor([1.0, 0.5, 0.3, 0.12, 0.05, 0.0])
    scale = torch.tensor([10.0, 0.1, 3.0, 0.5, 7.0, 2.0])
    plain = units(codes(mu, 0.5))
    scaled = units(codes(mu * scale, 0.5 * scale, gaussian(torch.zeros(6), scale)))
    assert (plain["latent"], plain["active_units"]) == (6, 4)
    assert (plain["active_units_at_5_percent"], plain["active_units_at_20_percent"]) == (3, 2)
    for name, figure in plain.items():
        assert scaled[name] == pytest.approx(figure, rel=1e-4), name


def test_the_effective_dimension_is_that_of_the_space_the_codes_fill() -> None:
    axes = torch.eye(5)
    assert effective_dimension(torch.cat([axes, -axes])) == pytest.approx(5.0)
    line = torch.randn(100, 1) * torch.randn(1, 5)
    assert effective_dimension(line) == pytest.approx(1.0, abs=1e-5)
    plane = torch.randn(100, 2) @ torch.randn(2, 5)
    assert 1.0 < effective_dimension(plane) <= 2.0 + 1e-5
    assert effective_dimension(torch.ones(10, 5)) == 0.0 == effective_dimension(torch.ones(1, 5))


def test_the_effective_dimension_does_not_depend_on_axes_or_place() -> None:
    mu = torch.randn(200, 6).double() * torch.tensor([3.0, 1.0, 1.0, 0.3, 0.1, 0.01]).double()
    turn, _ = torch.linalg.qr(torch.randn(6, 6).double())
    there = effective_dimension(mu)
    assert 1.0 < there < 6.0
    assert effective_dimension(mu @ turn + 100.0) == pytest.approx(there, rel=1e-9)
    assert effective_dimension(7.0 * mu) == pytest.approx(there, rel=1e-9)


def test_moments_are_those_of_gaussians_of_the_same_mean_and_width() -> None:
    p = gaussian(torch.tensor([1.0, 0.0, -3.0]), torch.tensor([2.0, 1.0, 0.5]))
    made = codes(torch.randn(300, 3) + torch.tensor([1.0, 5.0, 0.0]), 0.7, p)
    found = moments(made)
    fitted = Normal(made.z.double().mean(0), made.z.double().std(0))
    each = kl_divergence(fitted, Normal(p.mean.double(), p.stddev.double()))
    assert found["moment_kl"] == pytest.approx(float(each.sum()), rel=1e-6)
    assert found["worst_dimension"] == int(each.argmax()) == 2
    assert found["worst_mean"] == pytest.approx(float(fitted.mean[2] + 3.0) / 0.5)
    assert found["worst_sd"] == found["aggregate_sd"][2]


def test_moments_alone_never_put_an_aggregate_too_far_from_the_prior() -> None:
    """Two clumps, four of them, and one: KL(q(z) || p) by a sum on a grid; 20,000 codes."""
    p = gaussian(torch.zeros(1), torch.ones(1))
    z, volume = grid(0.01, 12.0, 1)
    for means, slack in (([-2.0, 2.0], 0.5), ([-3.0, -1.0, 1.0, 3.0], 0.01), ([1.5], 0.0)):
        centre = torch.tensor(means).double()
        clumps: Distribution = Normal(centre, 0.4)
        log_q = clumps.log_prob(z).exp().mean(1).log()
        distance = float((log_q.exp() * (log_q - p.log_prob(z))).sum() * volume)
        mu = centre.float()[torch.randint(len(means), (20_000,))].unsqueeze(1)
        found = moments(codes(mu, 0.4))["moment_kl"]
        assert found < distance - slack + 0.03, means
        if len(means) == 1:
            assert found == pytest.approx(distance, abs=0.03)


@pytest.mark.parametrize(
    ("p", "mean", "variance"),
    [
        (
            Independent(
                TransformedDistribution(
                    Normal(torch.zeros(2), torch.ones(2)), AffineTransform(3.0, 2.0)
                ),
                1,
            ),
            3.0,
            4.0,
        ),
        (gaussian(torch.full((2,), -1.0), torch.full((2,), 0.5)), -1.0, 0.25),
        (Product(2, family="Uniform", parameters={"low": 0.0, "high": 6.0})(), 3.0, 3.0),
    ],
)
def test_moments_of_a_prior_come_from_samples_where_they_have_no_closed_form(
    p: Distribution, mean: float, variance: float
) -> None:
    before = torch.random.get_rng_state()
    found = prior_moments(p)
    assert torch.equal(before, torch.random.get_rng_state())
    same(found.mean, torch.full((2,), mean).double(), 0.05)
    same(found.variance, torch.full((2,), variance).double(), 0.05)
    assert torch.equal(found.variance, prior_moments(p).variance)


def test_moments_of_a_prior_that_has_none_are_still_numbers() -> None:
    found = prior_moments(Product(2, family="Cauchy", parameters={"loc": 0.0, "scale": 1.0})())
    assert bool(found.mean.isfinite().all()) and bool((found.variance > 1.0).all())


# --- prices --------------------------------------------------------------------------------------

LINES = ["the cat sat", "ein Käse 東京 🙂", "a", "two  spaces here"]


def bound(nats: list[float]) -> Bound:
    return Bound("a bound", torch.tensor(nats), torch.arange(len(nats)))


def encoded(codec: Codec, lines: list[str]) -> InMemory:
    return InMemory([codec.encode(line).ids for line in lines])


@pytest.mark.parametrize("model", ["bpe", "char"])
def test_prices_a_word_and_a_byte_do_not_depend_on_the_tokens(model: Any) -> None:
    """Words 3, 4, 1, 3 and an end each; bytes 11, 21, 1, 16 and an end of line each."""
    codec = SentencePieceCodec.train(LINES * 5, model=model)
    items = encoded(codec, LINES)
    assert [codec.decode(items[row].tolist()) for row in range(4)] == LINES
    assert [len(line.encode()) for line in LINES] == [11, 21, 1, 16]
    found = prices(bound([10.0, 20.0, 3.0, 12.0]), items, codec)
    assert found["perplexity_per_word"] == pytest.approx(math.exp(45 / 15))
    assert found["bits_per_byte"] == pytest.approx(45 / math.log(2) / 53)
    assert found["perplexity_per_token"] == pytest.approx(math.exp(45 / items.lengths.sum()))
    assert found["perplexity_from"] == "a bound"


def test_only_the_items_of_the_bound_are_priced() -> None:
    codec = SentencePieceCodec.train(LINES * 5, model="char")
    items = encoded(codec, LINES)
    found = prices(Bound("a bound", torch.tensor([7.0]), torch.tensor([2])), items, codec)
    assert found["perplexity_per_token"] == pytest.approx(math.exp(7 / len(items[2])))
    assert found["perplexity_per_word"] == pytest.approx(math.exp(7 / 2))
    assert found["bits_per_byte"] == pytest.approx(7 / math.log(2) / 2)


def test_a_codec_of_words_spells_no_bytes_and_says_so() -> None:
    codec = WordCodec.train(["the cat sat", "the dog"])
    found = prices(bound([6.0, 4.0]), encoded(codec, ["the cat sat", "the bird"]), codec)
    assert found["perplexity_per_word"] == found["perplexity_per_token"]
    assert found["perplexity_per_word"] == pytest.approx(math.exp(10 / 7))
    assert found["bits_per_byte"] is None
    assert "does not spell" in found["why_no_bits_per_byte"]


def test_text_in_which_words_were_replaced_has_no_bytes_and_says_so() -> None:
    codec = SentencePieceCodec.train(LINES * 5, model="char")
    for line in ("the <unk> sat", "THE <UNK>"):
        found = prices(bound([6.0, 4.0]), encoded(codec, ["the cat", line]), codec)
        assert found["bits_per_byte"] is None
        assert "<unk>" in found["why_no_bits_per_byte"]
        assert math.isfinite(found["perplexity_per_word"])
    found = prices(bound([1.0]), InMemory([[1, 3]]), codec)
    assert found["bits_per_byte"] is None and "lacks" in found["why_no_bits_per_byte"]


def test_without_a_codec_there_are_tokens_alone() -> None:
    found = prices(bound([6.0]), InMemory([[4, 5, 3]]))
    assert set(found) == {"perplexity_from", "perplexity_per_token"}
    assert found["perplexity_per_token"] == pytest.approx(math.exp(2.0))


def test_a_walk_over_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="no items"):
        encode_all(bits(0.5, 0.5, 1.0), [])
