"""From a recipe to a model: every name works with every other, or is refused with the cure."""

import math
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

import pytest
import safetensors.torch as safetensors
import torch
from small import ARGUMENTS, PICTURES, batch, exports, reads_pictures

from seqvae import decoders, encoders, objectives, posteriors, priors, regularizers, runs, training
from seqvae.build import Built, build, build_stepper, coerce, complete, learns_apart
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.errors import Refused
from seqvae.generate import generate
from seqvae.recipe import Recipe, merge, read, shipped
from seqvae.schedules import FAR
from seqvae.training import train
from seqvae.vae import Batch

VOCAB, LENGTH = 9, 8
NAMES = (
    *("embed", "hidden", "width", "heads", "layers", "bars", "conductor", "over"),
    *("voices", "inner"),
)
SIZES = {name: ARGUMENTS[name] for name in NAMES}
SHAPES: dict[str, dict[str, Any]] = {
    "LSTMEncoder": {"embed": 8, "hidden": 8},
    "TransformerEncoder": {"width": 8, "heads": 2, "layers": 1},
    "LSTMDecoder": {"embed": 8, "hidden": 8},
    "TransformerDecoder": {"width": 8, "heads": 2, "layers": 1},
    "BarwiseEncoder": {"embed": 8, "hidden": 8, "share": 4, "bars": 2},
    "HierarchicalEncoder": {"embed": 8, "hidden": 8, "over": 8, "bars": 2},
    "HierarchicalDecoder": {"embed": 8, "hidden": 8, "conductor": 8, "bars": 2},
    "VoicedDecoder": {"embed": 8, "hidden": 8, "voices": 2, "inner": 8},
    "DenseEncoder": {"hidden": [8]},
    "DenseDecoder": {"hidden": [8]},
    "ConvEncoder": {"channels": [4, 4], "hidden": 8},
    "DeconvDecoder": {"channels": [4, 4], "hidden": 8},
    "PixelCNNDecoder": {"channels": 4, "layers": 2, "hidden": 8},
}
LAPLACE = {"family": "Laplace", "parameters": {"loc": 0.0, "scale": 1.0}}
UNIFORM = {"family": "Uniform", "parameters": {"low": -1.0, "high": 1.0}}
STUDENT = {"family": "StudentT", "parameters": {"df": 5.0}}
# More than one way to write a kind, where it has several; every other kind is written bare.
WAYS: dict[str, list[dict[str, Any]]] = {
    "LSTMEncoder": [{}, {"noise": {"kind": "Words", "blank": 0.3, "shuffle": 1}}],
    "LSTMDecoder": [{}, {"context": 2, "skip": True}],
    "TransformerDecoder": [{}, {"context": 2, "skip": True}],
    "DenseDecoder": [{"likelihood": {"kind": "Gaussian", "sigma": 0.5}}],
    "DeconvDecoder": [{"likelihood": {"kind": "Categorical"}}],
    "GaussianPosterior": [{}, {"sigma": 0.5}],
    "Product": [LAPLACE, UNIFORM, STUDENT],
    "FreeBits": [{"nats": 0.1, "per": p} for p in ("dimension", "sentence", "batch_dimension")],
    "Capacity": [{"nats": {"kind": "linear", "end": 2.0, "share": 0.5}}],
    "RateConstraint": [{"nats": 2.0}],
    "TargetRate": [{"nats": 2.0}],
    "IWAE": [{}, {"samples": 3, "doubly_reparameterized": True}],
    "SemiAmortized": [
        {"terms": {"it": {"kind": "KL"}}, "end_to_end": through} for through in (True, False)
    ],
    "InfoVAE": [
        {"alpha": 0.5, "lambda": 2.0},
        {"alpha": 1.0, "lambda": 2.0},
        {"alpha": 0.5, "lambda": 2.0, "divergence": "adversarial"},
    ],
    "MMD": [{}, {"kernel": "rbf", "buffer": 8}],
    "Adversarial": [{}, {"form": "non_saturating", "gradient_penalty": 1.0}],
}
OF_THE_KL = [*(kind.__name__ for kind in exports(regularizers) if kind.of_rate), "IWAE"]
UNNAMED = {"EmptyEncoder", "Fixed", "Elbo"}  # built by latent = 0, from Python, from its terms


def ways(package: Any) -> list[dict[str, Any]]:
    names = [kind.__name__ for kind in exports(package) if kind.__name__ not in UNNAMED]
    return [
        {"kind": name, **SHAPES.get(name, {}), **way}
        for name in names
        for way in WAYS.get(name, [{}])
    ]


SECTIONS: dict[str, list[dict[str, Any]]] = {
    "encoder": ways(encoders),
    "posterior": ways(posteriors),
    "prior": ways(priors),
    "decoder": ways(decoders),
    "objective": [
        *({"kind": "Elbo", "terms": {"it": way}} for way in ways(regularizers)),
        *ways(objectives),
        {"kind": "Elbo", "terms": {}},
    ],
}


def recipe(**sections: Any) -> Recipe:
    """A small VAE of LSTMs, but for the sections given."""
    base = {
        "encoder": {"kind": "LSTMEncoder", **SHAPES["LSTMEncoder"]},
        "posterior": {"kind": "GaussianPosterior"},
        "prior": {"kind": "StandardNormal"},
        "decoder": {"kind": "LSTMDecoder", **SHAPES["LSTMDecoder"]},
        "objective": {"kind": "Elbo", "terms": {"kl": {"kind": "KL"}}},
        "optimizer": {"kind": "AdamW"},
    }
    return {"name": "small", "latent": 4, "seed": 0, **base, **sections}


Way = tuple[str, int]  # a section, and which of its ways


def made_of(ways: Iterable[Way]) -> Recipe:
    """The recipe of some ways, all other sections plain."""
    made = recipe(**{name: SECTIONS[name][place] for name, place in ways})
    return {**made, "label": {}} if penalty_of(made)["kind"] == "CrossEntropy" else made


def covering() -> Iterator[Recipe]:
    """Every two ways of two sections together: once at least where they can be, and train.

    Beside two ways the other sections take those, of all that let it be, which bring the most
    pairs that were not together yet. Two that can stand nowhere together come once, to be refused.
    """
    every = [[(name, place) for place in range(len(some))] for name, some in SECTIONS.items()]
    left = dict.fromkeys(pair for a, b in combinations(every, 2) for pair in product(a, b))
    while left:
        pair = next(iter(left))
        rest = [some for some in every if some[0][0] not in (pair[0][0], pair[1][0])]
        able = [some for some in product(*rest) if cannot_be(made_of([*pair, *some])) is None]
        best = max(able, key=lambda some: len(left.keys() & pairs([*pair, *some])), default=())
        for each in pairs([*pair, *best]):
            left.pop(each, None)
        yield made_of([*pair, *best])


def pairs(ways: Iterable[Way]) -> set[tuple[Way, Way]]:
    order = list(SECTIONS)
    return set(combinations(sorted(ways, key=lambda way: order.index(way[0])), 2))


def penalty_of(made: Recipe) -> dict[str, Any]:
    objective = made["objective"]
    return next(iter(objective.get("terms", {"": objective}).values()), {"kind": "none"})


def no_prior(made: Recipe) -> str | None:
    """Why the prior cannot stand beside these networks, whatever is trained."""
    encoder, posterior, prior = (made[part]["kind"] for part in ("encoder", "posterior", "prior"))
    # To vectors in place of tokens:
    blind = ("NoiseEncoder", "DenseEncoder", "ConvEncoder", "TimedEncoder")
    if prior == "VampPrior" and encoder in blind:
        return "GaussianMixture"
    if prior == "VampPrior" and posterior == "BatchNormPosterior":
        return "normalise them among themselves"
    # The KL of a SwissRoll is undefined, and so it is not asked for on the way.
    fits = ("UniformSphere", "VampPrior", "SwissRoll")
    if posterior == "VonMisesFisherPosterior" and prior not in fits:
        return "unit sphere|diagonal Gaussian"  # the latter is asked for first, where it is
    return None


def no_product(made: Recipe) -> bool:
    """Whether the prior (with it a posterior on the sphere) is none over dimensions."""
    return made["prior"]["kind"] in ("GaussianMixture", "Ring", "UniformSphere", "VampPrior")


def is_gaussian(made: Recipe) -> bool:
    return made["posterior"]["kind"] not in ("DeltaPosterior", "VonMisesFisherPosterior")


def cannot_be(made: Recipe) -> str | None:
    """Why a combination has no meaning, by the definitions of its parts."""
    if no_prior(made) is not None:
        return no_prior(made)
    if made["objective"]["kind"] == "SemiAmortized" and not is_gaussian(made):
        return "diagonal Gaussian"
    penalty, family = penalty_of(made), made["prior"].get("family")
    if penalty["kind"] not in OF_THE_KL and penalty.get("alpha", 1.0) == 1.0:
        return None  # only a divergence needs densities
    if made["posterior"]["kind"] == "DeltaPosterior":
        return "no density"
    if made["prior"]["kind"] == "SwissRoll":
        return "only be sampled"
    if no_product(made) and penalty.get("per", "sentence") != "sentence":
        return "Independent"
    on_sphere = made["posterior"]["kind"] == "VonMisesFisherPosterior"
    if family == "Uniform" or (made["prior"]["kind"] == "UniformSphere" and not on_sphere):
        return "infinite"
    if family == "StudentT" and penalty.get("per", "sentence") != "sentence":
        return "closed-form"
    return None


def is_of_pictures(made: Recipe) -> bool:
    encoder = getattr(encoders, made["encoder"]["kind"])
    decoder = getattr(decoders, made["decoder"]["kind"])
    read = reads_pictures(decoder) or (made["latent"] > 0 and reads_pictures(encoder))
    return read or penalty_of(made)["kind"] == "AttributeOrder"


def built_of(made: Recipe, vocab: int = VOCAB, steps: int = 1) -> Built:
    """Built for pictures where a network or the penalty is for them; ids always say when."""
    shape = ARGUMENTS["shape"] if is_of_pictures(made) else None
    clock = ARGUMENTS["clock"]
    return build(made, vocab, length=LENGTH, shape=shape, clock=clock, steps=steps)


def items(made: Recipe) -> Batch:
    found = batch(PICTURES) if is_of_pictures(made) else batch()
    return found._replace(label=torch.tensor([0, 1, 1, 0])) if "label" in made else found


def one_step(built: Built, made: Recipe) -> dict[str, float]:
    stepper = build_stepper(made, built, steps=10)
    _, report = next(train(built.vae, built.objective, stepper, [items(made)]))
    assert all(parameter.isfinite().all() for parameter in built.vae.parameters())
    return {name: value.item() for name, value in report.items()}


def test_every_pair_of_parts_trains_or_is_refused_with_the_reason() -> None:
    trained: set[tuple[str, ...]] = set()
    for made in covering():
        why = cannot_be(made)
        if why is None:
            built = built_of(made)
            report = one_step(built, made)
            assert torch.tensor(report["loss"]).isfinite(), made
            decoder, z = built.vae.decoder, built.vae.prior().sample((2,))
            z = built.vae.condition(z, items(made).part(0, 2))
            if isinstance(decoder, SequenceDecoder):
                assert generate(decoder, z, length=3).any()
            else:
                assert decoder(z).sample().any()
            trained |= set(combinations(kinds_of(made), 3))
        else:
            with pytest.raises(Refused, match=why):
                built_of(made)
    assert len(trained) > 1000, "triples of an encoder, posterior, prior, decoder and penalty"


def kinds_of(made: Recipe) -> list[str]:
    """Of what kind its parts are, the penalty for the objective that holds it."""
    parts = ("encoder", "posterior", "prior", "decoder", "objective")
    return [*(made[part]["kind"] for part in parts), penalty_of(made)["kind"]]


def test_every_third_combination_is_saved_and_read_back_to_the_same_loss() -> None:
    read_back = 0
    for made in list(covering())[::3]:
        if cannot_be(made) is not None:
            continue
        built = built_of(made)
        one_step(built, made)
        # safetensors refuses a tensor that stands in two places, as a shared encoder would.
        saved = safetensors.load(safetensors.save(runs.state(built)))
        again = built_of({**made, "seed": 1})
        runs.load_state(again, saved, Path("nowhere"))
        assert loss_of(built, made) == loss_of(again, made), made
        read_back += 1
    assert read_back > 60


def loss_of(built: Built, made: Recipe) -> float:
    """In evaluation, with the same draws."""
    built.vae.eval()
    built.objective.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        return built.objective(built.vae, items(made))[1]["loss"].item()


def shrunk(name: str) -> Recipe:
    """A shipped recipe at small sizes, all else as it is."""
    made = read(name)
    for section in ("encoder", "decoder"):
        sizes = {
            key: [size] if isinstance(made[section][key], list) else size
            for key, size in SIZES.items()
            if key in made[section]
        }
        made = merge(made, {section: sizes}) if sizes else made
    return merge(made, {"latent": min(made["latent"], 3)})


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_builds_and_takes_a_step(name: str) -> None:
    made = shrunk(name)
    built = built_of(made, 6 if is_of_pictures(made) else VOCAB, steps=100)
    assert one_step(built, made)["loss"] > 0
    assert built.objective.settled(FAR)


@pytest.mark.parametrize("name", shipped())
def test_no_shipped_recipe_chooses_weights_by_a_figure_that_leaves_its_critic_out(
    name: str,
) -> None:
    made = shrunk(name)
    built = built_of(made, 6 if is_of_pictures(made) else VOCAB, steps=100)
    if any(map(learns_apart, built.objective.modules())):
        assert made["training"]["select"] == "last"


@pytest.mark.parametrize("name", ["image-labels", "image-wizard", "image-50", "image-iwae"])
def test_what_was_published_without_decay_or_an_early_end_has_neither(name: str) -> None:
    made = complete(read(name))
    optimizer, training = made["optimizer"], made["training"]
    assert optimizer["weight_decay"] == 0
    seen = optimizer["patience"] * training["validate_every"] * training["batch"]
    assert training["select"] == "last" or seen >= 57_000 * training["epochs"]


@pytest.mark.parametrize("name", ["image-labels", "image-wizard"])
def test_what_was_published_without_clipping_clips_nothing(name: str) -> None:
    assert read(name)["training"]["clip"] > 1e5


@pytest.mark.parametrize("decoder", SECTIONS["decoder"], ids=lambda way: way["kind"])
def test_without_latent_dimensions_it_is_a_language_model(decoder: dict[str, Any]) -> None:
    made = recipe(latent=0, decoder=decoder)
    built = built_of(made)
    assert list(built.vae.encoder.parameters()) == []
    report = one_step(built, made)
    assert report["kl"] == 0.0 and report["loss"] == report["reconstruction"]
    log_px = built.vae.eval()(items(made)).log_px
    assert torch.equal(log_px, built.vae.log_weights(items(made), 1)[0])


@pytest.mark.parametrize("kind", ["TargetRate", "RateConstraint"])
def test_a_rate_asked_of_a_language_model_costs_it_nothing(kind: str) -> None:
    asked = {"kind": "Elbo", "terms": {"kl": {"kind": kind, "nats": 50.0}}}
    built = build(recipe(latent=0, objective=asked), VOCAB)
    for mode in (True, False):
        _, report = built.objective.train(mode)(built.vae, batch())
        assert report["loss"] == report["reconstruction"]
    assert built.objective.settled(0) and not built.objective.unmet()


def test_weights_are_a_function_of_the_seed() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        torch.rand(3)
        return list(build(recipe(seed=seed), VOCAB).vae.parameters())

    assert all(map(torch.equal, weights(0), weights(0)))
    assert not all(map(torch.equal, weights(0), weights(1)))


@pytest.mark.parametrize("kind", exports(training))
def test_the_optimiser_holds_all_that_learns(kind: Any) -> None:
    made = recipe(optimizer={"kind": kind.__name__})
    built = build(made, VOCAB)
    built.objective.critic = torch.nn.Linear(2, 2)  # as a penalty may bring one
    held = build_stepper(made, built).optimizer.param_groups[0]["params"]
    own = [*built.vae.parameters(), *built.objective.parameters()]
    assert {id(parameter) for parameter in held} == {id(parameter) for parameter in own}


def elbo(**term: Any) -> dict[str, Any]:
    return {"objective": {"kind": "Elbo", "terms": {"kl": term}}}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"encoder": {"kind": "LSTMEncode"}}, r'\[encoder\].*did you mean "LSTMEncoder"'),
        ({"encoder": {"hidden": 8}}, "does not say its kind"),
        ({"encoder": {"kind": "LSTMEncoder", "hiden": 8}}, 'did you mean "hidden"'),
        ({"encoder": {"kind": "LSTMEncoder", "vocab": 8}}, "has no argument 'vocab'"),
        ({"encoder": {"kind": "LSTMEncoder", "hidden": "8"}}, "encoder.hidden = '8' is of type"),
        ({"encoder": {"kind": "LSTMEncoder", "hidden": True}}, "of type bool; it should be int"),
        ({"encoder": {"kind": "LSTMEncoder", "hidden": 10**20}}, "it must be at most"),
        ({"posterior": {"kind": "GaussianPosterior", "sigma": math.nan}}, "sigma = nan: it must"),
        ({"posterior": {"kind": "GaussianPosterior", "sigma": math.inf}}, "sigma = inf: it must"),
        ({"posterior": {"kind": "BatchNormPosterior", "momentum": 0.0}}, "that never move"),
        (elbo(kind="KL", weight=math.inf), "weight = inf: it"),
        (elbo(kind="TargetRate", nats=1e39), "nats = 1e\\+39"),
        (elbo(kind="MMD", scales=[math.nan]), "scales = nan: it"),
        ({"encoder": {"kind": "LSTMEncoder", "pool": "middle"}}, "not one of: last, max, mean"),
        ({"encoder": {"kind": "LSTMEncoder", "layers": 0}}, "layers = 0"),
        ({"encoder": {"kind": "EmptyEncoder"}}, r"another kind in \[encoder\]"),
        ({"decoder": {"kind": "TransformerDecoder", "width": 9}}, "width 9"),
        ({"posterior": {"kind": "GaussianPosterior", "sigma": 0}}, "DeltaPosterior"),
        ({"prior": {"kind": "Product", "family": "Laplace"}}, "also needs: parameters"),
        ({"prior": {"kind": "Fixed"}}, "has no kind 'Fixed'"),
        ({"objective": {"kind": "Elbo", "alpha": 0.5}}, "no argument 'alpha'"),
        ({"objective": {"kind": "Elbo"}}, "also needs: terms"),
        ({"objective": {"kind": "InfoVAE", "alpha": 2, "lambda": 1}}, "choose alpha"),
        ({"objective": {"kind": "InfoVAE", "alpha": 0.5, "lamda": 1}}, "'lamda'"),
        ({"objective": {"kind": "InfoVAE", "alpha": 0.5}}, r"also needs: lambda\.$"),
        ({"objective": {"kind": "InfoVAE", "terms": {}}}, "has its own terms"),
        ({"objective": {"kind": "Elbo", "terms": 3}}, r"write \[objective\.terms\]"),
        ({"objective": {"kind": "Elbo", "terms": {"kl": 3}}}, r"\[objective\.terms\.kl\]"),
        ({"objective": {"kind": "Elbo", "terms": {"a.b": {"kind": "KL"}}}}, "name the term"),
        ({"latent": -1}, "latent = -1"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_cure(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        build(recipe(**sections), VOCAB)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": -1.0}, r"optimizer\.rate"),
        ({"betas": [0.9]}, "should hold 2 values"),
        ({"betas": [0.9, 2.0]}, "beta"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"steps": 3}, "no argument 'steps'"),
    ],
)
def test_an_optimiser_that_cannot_be_built_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    made = recipe(optimizer={"kind": "AdamW", **arguments})
    with pytest.raises(Refused, match=message):
        build_stepper(made, build(recipe(), VOCAB))


def weight(value: Any, steps: int = 200) -> list[float]:
    term = {"kind": "KL", "weight": value}
    built = build(recipe(objective={"kind": "Elbo", "terms": {"kl": term}}), VOCAB, steps=steps)
    assert isinstance(built.objective, objectives.Elbo)
    return [built.objective.schedules["kl"](step) for step in (0, 50, 100, FAR)]


@pytest.mark.parametrize(
    ("value", "weights"),
    [
        (2, [2.0] * 4),
        (0.5, [0.5] * 4),
        ({"kind": "constant", "value": 0.1}, [0.1] * 4),
        ({"kind": "linear", "steps": 100}, [0.0, 0.5, 1.0, 1.0]),
        ({"kind": "linear", "share": 0.25}, [0.0, 1.0, 1.0, 1.0]),
        (
            {"kind": "sigmoid", "share": 0.25},
            [1 / (1 + math.exp(5)), 1 / (1 + math.exp(-5)), 1, 1],
        ),
        ({"kind": "cyclical", "share": 1.0, "cycles": 2}, [0.0, 1.0, 0.0, 1.0]),
        ({"kind": "cosine", "steps": 100, "end": 4}, [0.0, 2.0, 4.0, 4.0]),
    ],
)
def test_a_weight_is_a_number_or_a_schedule_in_steps_or_shares_of_the_run(
    value: Any, weights: list[float]
) -> None:
    assert weight(value) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("high", "of type str"),
        (True, "of type bool"),
        (-1.0, "0 or more"),
        ({"kind": "linea", "steps": 1}, 'did you mean "linear"'),
        ({"kind": "settled"}, "no kind 'settled'"),
        ({"kind": "linear"}, "also needs: steps, or share of the run"),
        ({"kind": "sigmoid"}, "also needs: middle, or share of the run"),
        ({"kind": "linear", "share": 0.0}, r"share = 0: .* above 0, at most at 1"),
        ({"kind": "linear", "share": 1.5}, r"share = 1\.5: .* above 0, at most at 1"),
        ({"kind": "linear", "share": -0.5}, r"share = -0\.5"),
        ({"kind": "linear", "share": 0.5, "steps": 10}, "steps = 10 and share = 0.5.*leave one"),
        ({"kind": "sigmoid", "share": 0.5, "middle": 9}, "middle = 9 and share = 0.5"),
        ({"kind": "linear", "steps": 0}, r"weight\.steps = 0: .*1 or more"),
        ({"kind": "cyclical", "share": 1.0, "cycles": 0}, r"weight\.cycles = 0"),
        ({"kind": "cyclical", "share": 1.0, "cycles": -2}, r"weight\.cycles = -2"),
        ({"kind": "linear", "steps": 1, "step": 1}, "no argument 'step'"),
        ({"kind": "linear", "share": "half"}, "of type str"),
        ({"kind": "constant", "share": 0.5}, "no argument 'steps'"),
    ],
)
def test_a_weight_that_cannot_be_is_refused(value: Any, message: str) -> None:
    with pytest.raises(Refused, match=message):
        weight(value)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        ("max", Literal["max", "min"], "max"),
        (2, float | None, 2.0),
        ([1, 2.0], tuple[float, ...], (1.0, 2.0)),
        ({"loc": 1}, dict[str, float], {"loc": 1.0}),
    ],
)
def test_a_value_becomes_what_the_annotation_wants(value: Any, hint: Any, expected: Any) -> None:
    found = coerce("here", value, hint)
    assert found == expected and type(found) is type(expected)


def test_sections_cover_every_pair() -> None:
    """The covering set covers: any two ways of any two sections meet somewhere."""
    seen = list(covering())
    for (one, its), (other, theirs) in combinations(SECTIONS.items(), 2):
        met = [(made[one], made[other]) for made in seen]
        assert all((a, b) in met for a, b in product(its, theirs))


@pytest.mark.parametrize("section", ["encoder", "decoder"])
def test_what_is_for_windows_of_a_fixed_length_is_refused_for_sentences(section: str) -> None:
    kind = {"encoder": "WindowEncoder", "decoder": "WindowDecoder"}[section]
    with pytest.raises(Refused, match=f"{kind} is for items of a fixed length"):
        build(recipe(**{section: {"kind": kind}}), VOCAB)
