"""Verdicts: of models whose fault is known, at the printed borders, and of forty trained ones."""

import re
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
from exact import bits, bits_language_model, strings
from small import VOCAB, loud, make
from torch import manual_seed

from seqvae import verdict as module
from seqvae.data import InMemory, Order, batches
from seqvae.decoders import LSTMDecoder
from seqvae.encoders import LSTMEncoder
from seqvae.evaluate import measure
from seqvae.objectives import Elbo
from seqvae.posteriors import GaussianPosterior
from seqvae.priors import StandardNormal
from seqvae.regularizers import KL
from seqvae.schedules import constant
from seqvae.tokens import EOS
from seqvae.training import AdamW, train
from seqvae.vae import VAE
from seqvae.verdict import THRESHOLDS, used, verdict

# --- models whose fault is known -----------------------------------------------------------------

MODELS = {
    "collapsed": bits(mean=0.0, sigma=1.0, volume=3.0),
    "exploded": bits(mean=10.0, sigma=0.01, volume=1.0),
    "ignored": bits(mean=0.8, sigma=0.6, volume=0.0),
    "partly used": bits(mean=0.8, sigma=0.6, volume=0.7),
    "healthy": bits(mean=0.8, sigma=0.6, volume=4.0),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("with_language_model", [True, False])
def test_a_model_with_a_known_fault_is_told_so(name: str, with_language_model: bool) -> None:
    """The strings of 8 bits: a code that holds none, is far away, unread, half heard, or heard."""
    baseline = bits_language_model() if with_language_model else None
    measured = measure(MODELS[name], strings(copies=2), samples=0, baseline=baseline)
    assert measured.figures["verdict"] == name
    said, thresholds = measured.notes[-2:]
    assert said.startswith(f"Verdict: {name}. ")
    assert thresholds == f"Thresholds: {THRESHOLDS}."


def test_only_a_language_model_tells_that_half_of_a_code_is_not_read() -> None:
    """Four bits of eight are read, and well: another's code costs more than all eight are worth.

    What a wrong code costs counts twice: what its own says of a string, and the wrong string.
    """
    model = bits(mean=0.8, sigma=0.6, volume=[4.0] * 4 + [0.0] * 4)
    with_it = measure(model, strings(copies=2), samples=0, baseline=bits_language_model())
    without = measure(model, strings(copies=2), samples=0)
    assert with_it.figures["repayment"] == pytest.approx(0.45, abs=0.05)
    assert with_it.figures["verdict"] == "partly used"
    assert without.figures["verdict"] == "healthy"
    assert "as far as is seen without a language model" in without.notes[-2]
    assert "What its rate costs shows beside one: --baseline RUN" in without.notes[-2]
    assert "as far as" not in with_it.notes[-2]


def test_a_model_without_a_code_is_not_judged() -> None:
    measured = measure(bits_language_model(), strings(), samples=0)
    assert "verdict" not in measured.figures
    assert verdict({}) is None


# --- borders -------------------------------------------------------------------------------------

HEALTHY: dict[str, Any] = {
    "latent": 4,
    "active_units": 4,
    "kl": 8.0,
    "mutual_information_low": 5.0,
    "mutual_information_high": 6.0,
    "shuffle_delta_nll": 9.0,
    "shuffle_standard_error": 0.5,
    "aggregate_kl_low": 1.0,
    "repayment": 0.9,
}


def judged(**other: Any) -> str:
    found = verdict({name: f for name, f in {**HEALTHY, **other}.items() if f is not None})
    assert found is not None and found.sentence.endswith(".")
    return found.name


def test_every_number_that_decides_is_printed() -> None:
    """And no other."""
    numbers = [value for value in vars(module).values() if type(value) in (int, float)]
    printed = re.findall(r"\d+(?:\.\d+)?%?", THRESHOLDS)
    told = [float(text[:-1]) / 100 if text[-1] == "%" else float(text) for text in printed]
    assert sorted(told) == sorted(numbers)
    assert len(numbers) == 7


@pytest.mark.parametrize(
    ("figures", "below", "at"),
    [
        ("mutual_information_high=0.5", "collapsed", "healthy"),
        ("mutual_information_high=None kl=0.5", "collapsed", "healthy"),
        ("shuffle_delta_nll=0.1 shuffle_standard_error=0.0 kl=1.0", "ignored", "healthy"),
        ("shuffle_delta_nll=0.25 shuffle_standard_error=0.0", "ignored", "healthy"),
        ("shuffle_delta_nll=9.0 shuffle_standard_error=3.0", "undecided", "undecided"),
        ("aggregate_kl_low=8.0", "healthy", "exploded"),
        ("aggregate_kl_low=10.0 latent=32", "healthy", "exploded"),
        ("aggregate_kl_low=None moment_kl=8.0", "healthy", "exploded"),
        ("repayment=0.8", "partly used", "healthy"),
        ("shuffle_delta_nll=6.4 repayment=None", "partly used", "healthy"),
    ],
)
def test_every_border_decides_as_printed(figures: str, below: str, at: str) -> None:
    """The last of the named figures with a border stands at it, or a millionth below."""
    given = {
        name: None if text == "None" else float(text)
        for name, text in (pair.split("=") for pair in figures.split())
    }
    moving = "kl" if figures.endswith("None kl=0.5") else next(n for n in given if given[n])
    assert judged(**given) == at
    value = given[moving]
    assert value is not None
    assert judged(**{**given, moving: value * (1 - 1e-6)}) == below


def test_a_cost_is_none_or_some_only_by_three_standard_errors() -> None:
    """In between, the items are too few to tell: that is no deafness."""
    assert judged(shuffle_delta_nll=9.0, shuffle_standard_error=2.999) == "healthy"
    assert judged(shuffle_delta_nll=0.01, shuffle_standard_error=0.079) == "ignored"
    assert judged(shuffle_delta_nll=0.01, shuffle_standard_error=0.081) == "undecided"


def test_a_code_at_a_high_rate_that_is_read_is_not_called_deaf() -> None:
    """What it is known to hold counts, not the nats that narrow posteriors cost."""
    narrow = {"latent": 64, "kl": 2000.0, "mutual_information_high": 2000.0}
    narrow |= {"shuffle_delta_nll": 60.0, "repayment": 0.01}
    assert judged(**narrow) == "partly used"
    assert judged(**narrow, aggregate_kl_low=100.0) == "exploded"


def test_the_gravest_fault_is_named_first() -> None:
    faults = {
        "mutual_information_high": 0.1,
        "shuffle_delta_nll": -2.0,
        "aggregate_kl_low": 40.0,
        "repayment": 0.0,
    }
    for name in ("collapsed", "ignored", "exploded", "partly used", "healthy"):
        assert judged(**faults) == name
        faults.pop(next(iter(faults), ""), None)


def test_an_autoencoder_is_judged_by_what_it_has() -> None:
    """No KL, no information: active units, the shuffle, and the moments of its codes."""
    figures = {"kl": None, "mutual_information_high": None, "aggregate_kl_low": None}
    figures |= {"repayment": None, "moment_kl": None}
    assert judged(**figures) == "healthy"
    assert judged(**{**figures, "active_units": 0}) == "collapsed"
    assert judged(**{**figures, "shuffle_delta_nll": -2.0}) == "ignored"
    assert judged(**{**figures, "moment_kl": 8.5}) == "exploded"
    for reconstruction, name in ((29.0, "healthy"), (30.0, "partly used"), (31.0, "partly used")):
        given = {**figures, "baseline_nll": 30.0, "reconstruction": reconstruction}
        assert judged(**given) == name


def test_without_a_shuffle_there_is_no_praise() -> None:
    figures = {**HEALTHY, "shuffle_delta_nll": None, "shuffle_standard_error": None}
    assert judged(**figures) == "undecided"


@pytest.mark.parametrize("name", module.DECIDING)
def test_a_figure_that_is_no_number_decides_nothing(name: str) -> None:
    """Not a number is below no border, and would else be called healthy or collapsed."""
    assert judged(**{name: float("nan")}) == "undecided"


def test_a_verdict_says_why_and_then_what_to_do() -> None:
    found = verdict({"latent": 2, "mutual_information_high": 0.1})
    assert found is not None
    assert found.reason == "The code holds at most 0.10 nats about its sentence."
    assert found.cure.startswith("Ask for a rate")
    assert found.sentence == f"{found.reason} {found.cure}"


def test_a_cure_names_what_the_model_has() -> None:
    deaf = {**HEALTHY, "shuffle_delta_nll": -2.0}
    dropped = {
        None: "Drop words from",
        "window": "Drop tokens from",
        "image": "where it reads any",
    }
    for noun, said in dropped.items():
        found = verdict(deaf if noun is None else {**deaf, "noun": noun})
        assert found is not None and said in found.cure
    plain = verdict({"latent": 2, "active_units": 0})
    assert plain is not None and not re.search("KL|rate", plain.cure)


def test_what_is_used_is_repayment_first_and_the_shuffle_else() -> None:
    assert used(HEALTHY) == 0.9
    assert used({"kl": 8.0, "shuffle_delta_nll": 4.0}) == 0.5
    assert used({"kl": 0.0, "shuffle_delta_nll": 4.0}) is None


def test_a_verdict_speaks_of_items_as_their_codec_does() -> None:
    for changed, words in (
        ({"repayment": None}, "another {}'s code costs 9.0 nats"),
        ({"mutual_information_high": 0.1}, "at most 0.10 nats about its {}."),
        ({"shuffle_delta_nll": -2.0}, "another {}'s code costs -2.00 ± 0.50 nats"),
    ):
        figures = {name: f for name, f in {**HEALTHY, **changed}.items() if f is not None}
        for noun, given in (("sentence", {}), ("window", {"noun": "window"})):
            found = verdict(figures | given)
            assert found is not None and words.format(noun) in found.sentence
            assert "words" not in found.sentence or noun == "sentence"


# --- forty runs ----------------------------------------------------------------------------------


def sentences(seed: int) -> InMemory:
    """48 items, six of each of 8 sentences of 3 words."""
    kinds = np.random.default_rng(seed).integers(4, VOCAB, (8, 3)).tolist()
    return InMemory([[*kinds[row % 8], EOS] for row in range(48)])


def verdicts(seed: int, weight: float, steps: int) -> tuple[str, str]:
    """On a model before and after training with a KL of this weight."""
    manual_seed(seed)
    items = sentences(seed)
    encoder = make(LSTMEncoder, posterior=GaussianPosterior(4), hidden=16, bidirectional=False)
    decoder = make(LSTMDecoder, latent=4, hidden=16)
    # Codes that differ from the first step on are found in fewer steps.
    model = VAE(loud(encoder, 5.0), StandardNormal(4), loud(decoder, 2.0))
    objective = Elbo({"kl": (KL(), partial(constant, value=weight))})
    stepper = AdamW(model.parameters(), rate=0.03)
    stream = batches(items, Order(items.lengths, 24, seed=seed))
    found = [measure(model, items, samples=0).figures["verdict"]]
    for _ in islice(train(model, objective, stepper, stream, seed=seed), steps):
        pass
    found.append(measure(model, items, samples=0).figures["verdict"])
    return found[0], found[1]


@pytest.mark.parametrize(
    ("weight", "steps", "name"), [(0.4, 100, "healthy"), (5.0, 40, "collapsed")]
)
def test_the_verdict_on_twenty_trained_models_is_right(
    weight: float, steps: int, name: str
) -> None:
    """A KL far too dear leaves nothing in the code; at less than half its price it is in use.

    Over 40 seeds the nearest to a border held 1.1 nats (under 0.5 is collapsed), its shuffle cost
    1.6 times its rate (under 0.8 is partly used), and it lay 0.2 nats a dimension from the prior
    (0.5 is exploded); of the collapsed none held 0.01.
    """
    found = [verdicts(seed, weight, steps) for seed in range(20)]
    assert [after for _, after in found] == [name] * 20
    assert "healthy" not in {before for before, _ in found}
