"""The estimators of evidence and information, on models for which both are known exactly.

An error named in a test is that of the mean over its draws; what is claimed is never nearer.
"""

import math
from itertools import product

import pytest
import torch
from exact import (
    ACROSS,
    ALONG,
    SHIFT,
    STRETCH,
    bits,
    bits_language_model,
    codes,
    decoder_of,
    full,
    grid,
    in_parts,
    information_of,
    linear,
    strings,
    vectors,
)
from small import loud, make, same
from torch import Tensor
from torch.distributions import Distribution, Normal, kl_divergence

from seqvae.data import InMemory, collate, in_order
from seqvae.decoders import LSTMDecoder
from seqvae.distributions import gaussian
from seqvae.encoders import EmptyEncoder, LSTMEncoder
from seqvae.evaluate import encode_all, measure
from seqvae.measures.aggregate import information, mixtures
from seqvae.measures.bounds import figures, gaps, weigh
from seqvae.metrics import standard_error
from seqvae.posteriors import GaussianPosterior
from seqvae.priors import StandardNormal
from seqvae.schedules import FAR
from seqvae.tokens import BOS, EOS, PAD, UNK
from seqvae.vae import VAE, Batch, Encoder

# --- evidence: a linear decoder, with a posterior that is shifted and widened --------------------


def moment(order: int, dimensions: int = 2) -> float:
    """E_q[(w / p(x))^n] = prod_d int p^n q^(1-n), with p = N(0, 1) and q as `Amiss` makes it."""
    z, volume = grid(0.01, 20.0, 1)
    log_p, log_q = normal(0.0, 1.0).log_prob(z), normal(SHIFT, STRETCH).log_prob(z)
    return float((order * log_p + (1 - order) * log_q).exp().sum() * volume) ** dimensions


def normal(mean: float, sigma: float) -> Distribution:
    """In float64."""
    return Normal(*torch.tensor([mean, sigma], dtype=torch.float64))


SECOND = (STRETCH**2 / (2 * STRETCH**2 - 1) ** 0.5) ** 2 * math.exp(
    2 * SHIFT**2 / (2 * STRETCH**2 - 1)
)
KL_OF_AMISS = 2 * ((STRETCH**2 + SHIFT**2 - 1) / 2 - math.log(STRETCH))


def test_the_second_moment_of_the_weights_has_a_closed_form() -> None:
    assert moment(1) == pytest.approx(1.0, abs=1e-12)
    assert moment(2) == pytest.approx(SECOND, rel=1e-12)


@pytest.mark.parametrize("weight", [ACROSS, ALONG])
def test_with_the_true_posterior_every_weight_is_the_evidence(weight: list[list[float]]) -> None:
    """So a test of the evidence needs a posterior that is amiss."""
    model = linear(weight)
    batch, decoder = vectors(model, 20), decoder_of(model)
    log_p = decoder.evidence().log_prob(batch.x)
    with torch.no_grad():
        perfect = model.log_weights(batch, 50, decoder.posterior(batch.x))
        amiss = model.log_weights(batch, 50)
    assert float((perfect - log_p).abs().max()) < 1e-9
    assert float(amiss.std(0).min()) > 0.3


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
def test_the_bound_of_many_samples_is_the_evidence(precision: torch.dtype) -> None:
    """400 items, 10,000 samples each: bias 1.5e-5 nats, standard error 2.7e-4, claimed 1e-3."""
    model = linear(ACROSS)
    batch = vectors(model, 400)
    exact = -decoder_of(model).evidence().log_prob(batch.x)
    model, same_items = model.to(precision), batch._replace(x=batch.x.to(precision))
    found = weigh(model, in_parts(same_items, 50), 10_000, at_once=100_000)
    error = ((SECOND - 1) / 10_000 / 400) ** 0.5
    assert error < 3e-4
    assert abs(float((found.nll - exact).mean())) < 1e-3
    assert standard_error(found.nll - exact) == pytest.approx(error, rel=0.15)
    assert float((found.elbo - exact).mean()) == pytest.approx(KL_OF_AMISS, abs=2e-3)


def test_the_bias_of_the_bound_falls_as_the_variance_over_two_k() -> None:
    """E log 1/k sum w - log p(x) = -Var / 2k + (mu_3 / 3 - 3 Var^2 / 4) / k^2 + O(1/k^3).

    w in units of p(x)   (Domke and Sheldon, 2018, theorem 3; Nowozin, 2018, proposition 1). The
    mean weight minus 1, whose expectation is 0, is taken off as a control variate, which leaves
    k times the bias with a standard error of about Var sqrt(k / 2S), of S samples in all: for 8
    million under 4e-4 nats.
    """
    model = linear(ACROSS)
    batch = vectors(model, 400)
    log_p = decoder_of(model).evidence().log_prob(batch.x)
    found = weigh(model, in_parts(batch, 50), 20_000, seed=1, at_once=100_000)
    noise = (-found.nll - log_p).exp() - 1
    variance = SECOND - 1
    third = moment(3) - 3 * SECOND + 2
    biases = {}
    for count, bound in zip(found.counts, found.curve, strict=True):
        if count in (10, 20):
            each = count * (-bound - log_p - noise)
            assert standard_error(each) < 4e-4
            biases[count] = float(each.mean())
    for count, bias in biases.items():
        predicted = -variance / 2 + (third / 3 - 3 * variance**2 / 4) / count
        assert bias == pytest.approx(predicted, abs=1e-3), count
        assert bias / count == pytest.approx(-variance / 2 / count, abs=1e-3), count


def test_effective_samples_are_k_over_the_second_moment_of_the_weights() -> None:
    """100 items, 20,000 samples each: the standard error of the share is under 3e-4."""
    model = linear(ACROSS)
    found = weigh(model, [vectors(model, 100)], 20_000, at_once=400_000)
    share = found.effective / 20_000
    assert standard_error(share) < 3e-4
    assert found.share == pytest.approx(1 / SECOND, abs=1e-3)
    assert figures(found, "iw")["iw_effective_samples"] == pytest.approx(20_000 / SECOND, rel=2e-3)


@pytest.mark.parametrize("weight", [ACROSS, ALONG])
def test_what_the_elbo_misses_is_the_gap_of_the_encoder_and_that_of_the_family(
    weight: list[list[float]],
) -> None:
    """-ELBO + log p(x) = KL(q || p(z|x)); of it the best diagonal Gaussian misses its own KL.

    200 items, 1000 samples each: standard errors of 2e-3. A fit of 60 steps ends 0.015 nats a
    dimension above its optimum, as its last samples leave it.
    """
    model = linear(weight)
    batch, decoder = vectors(model, 200), decoder_of(model)
    truth = decoder.posterior(batch.x)
    best = linear(weight, shift=0.0, stretch=1.0).encoder(batch)
    missed = float(kl_divergence(full(best), truth).mean())
    assert missed == pytest.approx(0.0, abs=1e-9) if weight is ACROSS else missed > 0.1
    whole = float(kl_divergence(full(model.encoder(batch)), truth).mean())
    own = weigh(model, [batch], 1000, at_once=100_000)
    fitted = weigh(model, [batch], 1000, fitted=True, at_once=100_000)
    found = gaps(fitted, own)
    exact = -float(decoder.evidence().log_prob(batch.x).mean())
    assert found["amortised_negative_elbo"] == pytest.approx(exact + whole, abs=0.01)
    assert missed - 0.01 < found["family_gap"] < missed + 0.06
    assert whole - missed - 0.06 < found["amortisation_gap"] < whole - missed + 0.01
    assert float(fitted.nll.mean()) == pytest.approx(exact, abs=5e-3)


def test_items_that_are_no_tokens_are_walked_alike() -> None:
    """Their KL is that of two Gaussians, their reconstruction that of the codes that were kept."""
    model = linear(ALONG)
    batch = vectors(model, 30)
    found = encode_all(model, in_parts(batch, 10))
    q = model.encoder(batch)
    assert found.tokens is None and found.rate is not None
    torch.testing.assert_close(found.rate, kl_divergence(q, prior().expand((30,))))
    nll = -model.decoder(found.z).log_prob(batch.x).detach()
    torch.testing.assert_close(found.reconstruction, nll)
    torch.testing.assert_close(found.mu, q.mean)


# --- evidence: every sequence of a small language ------------------------------------------------

SMALL = 6  # ids: the four special ones and two words
WORDS = [UNK, BOS, 4, 5]  # whatever may be written before the end


def sequences(words: list[int], longest: int) -> list[list[int]]:
    """All that end after at most so many words."""
    lengths = range(longest + 1)
    return [[*s, EOS] for length in lengths for s in product(words, repeat=length)]


def small_vae(latent: int = 1, sigma: float | None = None) -> VAE:
    """Random LSTMs; padding, which has probability one without being scored, is never written."""
    decoder: LSTMDecoder = loud(make(LSTMDecoder, vocab=SMALL, latent=latent), 2.0)
    assert decoder.output is not None
    with torch.no_grad():
        decoder.output.bias[PAD] = -1e9
    posterior = GaussianPosterior(latent, sigma=sigma)
    encoder = make(LSTMEncoder, vocab=SMALL, posterior=posterior)
    return VAE(loud(encoder, 8.0) if sigma else encoder, StandardNormal(latent), decoder).eval()


def evidence_of_all(model: VAE, ids: list[list[int]], step: float = 0.1) -> Tensor:
    """log p(x) = log int p(x|z) p(z) dz of each, by a sum over z from -8 to 8."""
    z, volume = grid(step, 8.0, 1)
    x = collate(InMemory(ids), range(len(ids))).x
    with torch.no_grad():
        log_px = model.decoder(z.float().unsqueeze(1).expand(-1, len(ids), -1)).log_prob(x)
    log_p = normal(0.0, 1.0).log_prob(z) + math.log(volume)
    return (log_px.double() + log_p).logsumexp(0)


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    """85 sequences of at most 3 words, and 256 beginnings of 4 that have not ended by then."""
    model = small_vae()
    ended = evidence_of_all(model, sequences(WORDS, 3)).exp().sum()
    going_on = evidence_of_all(model, [list(s) for s in product(WORDS, repeat=4)]).exp().sum()
    assert 0.05 < float(going_on) < 0.95
    assert float(ended + going_on) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("fitted", [False, True])
def test_the_importance_weighted_nll_of_tokens_is_the_integral_over_codes(fitted: bool) -> None:
    """15 sequences, 20,000 samples each; a fitted posterior gives the same evidence.

    The standard error of the mean is under 1.5e-3 nats, of each it follows from its weights.
    """
    model, ids = small_vae(), sequences([4, 5], 3)
    exact = -evidence_of_all(model, ids)
    assert float((exact + evidence_of_all(model, ids, 0.05)).abs().max()) < 1e-6  # a fine grid
    found = weigh(model, in_order(InMemory(ids), 5), 20_000, fitted=fitted, at_once=50_000)
    wrong = found.nll - exact[found.item]
    error = (1 / found.effective - 1 / 20_000) ** 0.5
    assert float((wrong / error).abs().max()) < 4
    assert float(error.norm()) / len(ids) < 1.5e-3
    assert abs(float(wrong.mean())) < 4e-3
    assert float((found.elbo - exact[found.item]).mean()) > 4e-3


# --- information ---------------------------------------------------------------------------------


def population() -> tuple[Distribution, Tensor]:
    """The posteriors of 15 sequences, sigma 0.4 in two dimensions, and how often each occurs.

    Sequences are those of the language of a decoder, with the probabilities that it gives them.
    """
    ids = sequences([4, 5], 3)
    share = evidence_of_all(small_vae(), ids).softmax(0)
    encoder = small_vae(latent=2, sigma=0.4).encoder
    with torch.no_grad():
        q = encoder(collate(InMemory(ids), range(len(ids))))
    return gaussian(q.mean.double(), q.stddev.double()), share


def prior(latent: int = 2) -> Distribution:
    return StandardNormal(latent).double()()


def drawn(q: Distribution, share: Tensor, count: int, draws: int) -> dict[str, Tensor]:
    """Figures of `draws` samples of `count` items each, drawn with replacement."""
    found = []
    for _ in range(draws):
        rows = share.multinomial(count, replacement=True)
        found.append(information(codes(q.mean[rows], q.stddev[rows], prior())))
    return {name: torch.tensor([each[name] for each in found]) for name in found[0]}


def test_the_sums_on_a_grid_add_up_to_the_rate() -> None:
    q, share = population()
    known = information_of(q, share, prior())
    rate = float((share * kl_divergence(q, prior().expand((len(share),)))).sum())
    assert sum(known) == pytest.approx(rate, abs=1e-6)
    assert 0.5 < known[0] < 2.0 and known[1] > 0.1


def test_on_average_the_bounds_hold_the_information_of_the_population_between_them() -> None:
    """Items are drawn with replacement from 15 sequences of known probabilities, 25 at a time.

    What is bounded is I(x; z) of that population. Those other than an item are as good as drawn
    anew: leaving the item out bounds I from above, leaving it in from below, in expectation
    (Poole et al., 2019). By 25 items I and KL(q(z) || p) are bracketed beyond 3 standard errors.
    """
    q, share = population()
    known, distance = information_of(q, share, prior())
    found = drawn(q, share, count=25, draws=600)
    for name, truth, side in (
        ("mutual_information_low", known, -1),
        ("mutual_information_high", known, 1),
        ("aggregate_kl_low", distance, -1),
        ("aggregate_kl_high", distance, 1),
    ):
        beyond = side * (float(found[name].mean()) - truth)
        assert 3 * standard_error(found[name]) < beyond < 0.5, name


def test_of_many_items_both_bounds_are_near_the_information_of_the_population() -> None:
    """1500 items, 12 times: standard errors under 0.02 nats, bias under 0.01."""
    q, share = population()
    known, distance = information_of(q, share, prior())
    found = drawn(q, share, count=1500, draws=12)
    assert all(standard_error(figure) < 0.02 for figure in found.values())
    for side in ("low", "high"):
        assert float(found[f"mutual_information_{side}"].mean()) == pytest.approx(known, abs=0.06)
        assert float(found[f"aggregate_kl_{side}"].mean()) == pytest.approx(distance, abs=0.06)


@pytest.mark.parametrize(("z_at_once", "q_at_once"), [(1, 1), (2, 4), (5, 1), (256, 1024)])
def test_mixtures_with_and_without_an_item_are_what_they_are_one_by_one(
    z_at_once: int, q_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of any size, over batches of any size."""
    monkeypatch.setattr("seqvae.measures.aggregate.CODES", z_at_once)
    monkeypatch.setattr("seqvae.measures.aggregate.ITEMS", q_at_once)
    made = codes(torch.randn(7, 2), 0.5, size=3)
    density = gaussian(made.mu, torch.full((7, 2), 0.5)).log_prob(made.z.unsqueeze(1)).exp()
    found = mixtures(made)
    same(found.own.float(), density.diagonal().log())
    same(found.everyone.float(), density.mean(1).log())
    same(found.others.float(), ((density.sum(1) - density.diagonal()) / 6).log(), 1e-4)


def test_over_the_items_themselves_the_lower_bound_is_their_information() -> None:
    """Own component included, it is unbiased for I of the set, every item equally likely."""
    q, share = population()
    known, _ = information_of(q, torch.full_like(share, 1 / len(share)), prior())
    low = torch.tensor(
        [
            information(codes(q.mean, q.stddev, prior()))["mutual_information_low"]
            for _ in range(1500)
        ]
    )
    error = standard_error(low)
    assert error < 0.005
    assert abs(float(low.mean()) - known) < 3.5 * error


def test_the_lower_bound_reaches_log_n_and_never_passes_it() -> None:
    """64 codes, twenty widths apart: each names its item, so I of the set is log 64."""
    side = torch.arange(8.0)
    mu = torch.cartesian_prod(side, side) - 3.5
    for sigma in (0.05, 1e-3):
        found = information(codes(mu, sigma))
        assert found["mutual_information_cap"] == math.log(64)
        assert math.log(64) - 1e-6 < found["mutual_information_low"] <= math.log(64)
        assert found["mutual_information_high"] > math.log(64)
    many = [information(codes(mu, 0.3))["mutual_information_low"] for _ in range(50)]
    assert max(many) <= math.log(64)


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 1.0), (0.6, 0.9), (3.0, 0.1), (30.0, 1e-3)])
def test_information_and_distance_add_up_to_the_rate(mean: float, sigma: float) -> None:
    """R = I(x; z) + KL(q(z) || p): what bounds the one bounds the other."""
    made = codes(mean * torch.randn(300, 3), sigma)
    found = information(made)
    assert made.rate is not None
    rate = float(made.rate.double().mean())
    low, high = found["mutual_information_low"], found["mutual_information_high"]
    assert 0 <= low <= high <= rate + 1e-9
    assert low + found["aggregate_kl_high"] == pytest.approx(rate)
    assert high + found["aggregate_kl_low"] == pytest.approx(rate)


def test_moments_bound_the_distance_without_bias() -> None:
    """Of Gaussian codes the moments say all: 64 items, 2000 times; standard errors under 0.02.

    z ~ N(0.5, 3^2 + 0.5^2) in each of two dimensions, so KL(q(z) || p) is known.
    """
    variance = 3.0**2 + 0.5**2
    exact = 2 * (variance + 0.5**2 - 1 - math.log(variance)) / 2
    low = []
    for _ in range(2000):
        found = information(codes(0.5 + 3.0 * torch.randn(64, 2), 0.5))
        low.append(found["aggregate_kl_low"])
    figure = torch.tensor(low)
    assert standard_error(figure) < 0.03
    assert abs(float(figure.mean()) - exact) < 3.5 * standard_error(figure)


# --- strings of bits: every figure is a sum over bits --------------------------------------------


def bit(mean: float, sigma: float, volume: float) -> dict[str, float]:
    """What a bit costs and holds, by sums over z."""
    q = gaussian(torch.tensor([[mean], [-mean]]).double(), torch.tensor([[sigma]] * 2).double())
    known, distance = information_of(q, torch.tensor([0.5, 0.5]).double(), prior(1))
    z, cell = grid(sigma / 20, abs(mean) + 8.0, 1)
    own, other = (normal(side * mean, sigma).log_prob(z).exp() * cell for side in (1, -1))
    nll = -torch.nn.functional.logsigmoid(volume * z)
    noise = normal(0.0, 1.0).log_prob(z).exp() * cell
    heard = float((own * nll).sum())
    return {
        "information": known,
        "distance": distance,
        "reconstruction": heard,
        "another": float(((own + other) / 2 * nll).sum()) - heard,
        "noise": float((noise * nll).sum()) - heard,
    }


def test_every_figure_of_a_model_of_bits_is_what_a_bit_gives_eight_times() -> None:
    """All 256 strings, six times: figures are means of 1536 items, within 4 standard errors.

    Another's code is that of a string drawn from the rest, which differs in half of its bits.
    """
    mean, sigma, volume = 0.8, 0.6, 3.0
    items, model = strings(copies=6), bits(mean, sigma, volume)
    one = bit(mean, sigma, volume)
    measured = measure(
        model, items, samples=0, baseline=bits_language_model(), noise=True, size=512
    )
    found = measured.figures
    rate = one["information"] + one["distance"]
    assert found["kl"] == pytest.approx(8 * rate, rel=1e-5)
    assert measured.vectors["kl_per_dimension"] == pytest.approx([rate] * 8, rel=1e-5)
    assert found["active_units"] == 8
    assert found["effective_dimension"] == pytest.approx(8.0, abs=1e-5)
    assert found["baseline_nll"] == pytest.approx(8 * math.log(2), rel=1e-6)
    assert found["reconstruction"] == pytest.approx(8 * one["reconstruction"], abs=0.15)
    share = (math.log(2) - one["reconstruction"]) / rate
    assert found["repayment"] == pytest.approx(share, abs=0.03)
    assert found["repayment_low"] < share < found["repayment_high"]
    for name, key in (("shuffle", "another"), ("noise", "noise")):
        error = found[f"{name}_standard_error"]
        assert abs(found[f"{name}_delta_nll"] - 8 * one[key]) < 4 * error < 1.5
    assert found["mutual_information_low"] < 8 * one["information"] + 0.05
    assert found["mutual_information_high"] > 8 * one["information"] - 0.05
    gain = measured.vectors["gain_by_position"]
    assert gain[:8] == pytest.approx([one["another"]] * 8, rel=0.25) and gain[8] == 0.0


# --- a batch-normalised encoder on a decoder that ignores it -------------------------------------


class Table(Encoder):
    """q(z | x) = N(mu_i, sigma^2) by the number i of the item."""

    def __init__(self, mu: Tensor, sigma: float) -> None:
        super().__init__()
        self.mu, self.sigma = mu, sigma

    def forward(self, batch: Batch) -> Distribution:
        mu = self.mu[batch.item]
        return gaussian(mu, torch.full_like(mu, self.sigma))


class DeafDecoder(LSTMDecoder):
    """Writes what it writes whatever the code."""

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        return super().features(x, torch.zeros_like(z), step)


def without_code(decoder: LSTMDecoder) -> VAE:
    """The same decoder as a language model."""
    plain: LSTMDecoder = make(LSTMDecoder, latent=0)
    kept = decoder.state_dict()
    embed = plain.embedding.embedding_dim
    kept = {name: kept[name] for name in plain.state_dict()}
    kept["lstm.weight_ih_l0"] = kept["lstm.weight_ih_l0"][:, :embed]
    plain.load_state_dict(kept)
    return VAE(EmptyEncoder(), StandardNormal(0), plain)


def test_active_units_and_information_of_an_encoder_say_nothing_of_its_decoder() -> None:
    """Means of BN-VAE, gamma = 0.6 in 32 dimensions, and sigma 0.93: all of them are known.

    R = 16 (gamma^2 + sigma^2 - 1 - 2 log sigma) = 5.93 nats, I = 16 log(1 + gamma^2 / sigma^2)
    = 5.57, KL(q(z) || p) = 0.36. The decoder reads none of it: 32 of 32 units are active, and
    nothing is repaid   (Zhu et al., 2020).
    """
    gamma, sigma, count = 0.6, 0.93, 3000
    draw = torch.Generator().manual_seed(1)
    mu = torch.randn(count, 32, generator=draw)
    mu = gamma * (mu - mu.mean(0)) / mu.std(0, unbiased=False)  # what batch normalisation does
    lengths = torch.randint(2, 6, (count,), generator=draw).tolist()
    words = [torch.randint(4, 9, (length,), generator=draw).tolist() for length in lengths]
    decoder = loud(make(DeafDecoder, latent=32))
    model = VAE(Table(mu, sigma), StandardNormal(32), decoder)
    measured = measure(
        model,
        InMemory([[*ids, EOS] for ids in words]),
        samples=0,
        baseline=without_code(decoder),
        noise=True,
    )
    found = measured.figures
    rate = 16 * (gamma**2 + sigma**2 - 1 - 2 * math.log(sigma))
    known = 16 * math.log(1 + gamma**2 / sigma**2)
    assert found["active_units"] == found["latent"] == 32
    assert found["active_units_at_20_percent"] == 32
    assert found["kl"] == pytest.approx(rate, rel=1e-4)
    assert found["mutual_information_cap"] > known + 2
    assert known - 0.45 < found["mutual_information_low"] < known + 0.05
    assert known - 0.1 < found["mutual_information_high"] < known + 0.2
    assert found["aggregate_kl_low"] - 0.1 < rate - known < found["aggregate_kl_high"] + 0.1
    assert abs(found["repayment"]) < 1e-5
    assert found["repayment_low"] - 1e-6 < 0 < found["repayment_high"] + 1e-6
    assert found["repayment_high"] - found["repayment_low"] < 1e-5
    assert abs(found["shuffle_delta_nll"]) < 1e-5 and abs(found["noise_delta_nll"]) < 1e-5
    assert found["verdict"] == "ignored"
