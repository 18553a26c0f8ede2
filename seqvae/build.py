"""Names and numbers -> objects: the only place where a recipe becomes networks and objectives."""

import inspect
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeGuard, Union, get_args, get_origin

import torch

from . import (
    decoders,
    encoders,
    likelihoods,
    noises,
    objectives,
    posteriors,
    priors,
    regularizers,
    schedules,
    training,
)
from .codecs.codec import Clock, Extent, Shape
from .distributions import has_density
from .errors import Refused
from .objectives.objective import Objective
from .posteriors.label import LabelPosterior
from .posteriors.posterior import Posterior
from .randomness import seeded
from .recipe import Recipe, check_number, label_names, unknown
from .regularizers.regularizer import Regularizer
from .schedules import FAR, WIDE, Schedule
from .tokens import EOS, SPECIAL
from .training.optimizers import Stepper
from .vae import VAE, Batch, Decoder, Encoder

NETWORKS = {
    "encoder": encoders,
    "posterior": posteriors,
    "prior": priors,
    "decoder": decoders,
    "optimizer": training,
}
# By `build`, not by a recipe.
GIVEN = (
    *("vocab", "latent", "length", "shape", "clock"),
    *("posterior", "encoder", "parameters", "steps"),
)
LIKELIHOOD = "decoder.likelihood"
SHARED = ("steps", "middle", "slope")  # of a schedule: may be said as a share of the run


class Built(NamedTuple):
    """A model and what trains it."""

    vae: VAE
    objective: Objective
    example: Batch  # of two items, as small as they may be


def build(
    recipe: Recipe,
    vocab: int,
    *,
    length: int | None = None,
    shape: Shape | None = None,
    clock: Clock | None = None,
    steps: int = 1,
) -> Built:
    """The model and objective of a recipe, for `vocab` token ids and a run of `steps` steps.

    `length` is that of every item in tokens, for what has one (`Codec.length`), `shape` that of a
    picture, `clock` what ids of events say of when.
    Weights are drawn from the recipe's seed. Everything is tried once on a tiny batch, so that
    two values that cannot go together are refused here and not after an hour.

    Raises `Refused` for unknown kinds and arguments, wrong types and impossible pairs.
    """
    latent = recipe["latent"]
    if latent < 0:
        raise Refused(f"latent = {latent}: a code has 0 dimensions (a language model) or more.")
    with seeded(recipe["seed"]):
        built = _built(recipe, latent, Extent(vocab, length, shape, clock), steps)
    _try(built, latent)
    return built


def _built(recipe: Recipe, latent: int, extent: Extent, steps: int) -> Built:
    posterior = construct(recipe, "posterior", posteriors, latent=latent)
    given = {"latent": latent, "steps": steps}
    given |= {name: value for name, value in extent._asdict().items() if value is not None}
    labels = label_names(recipe)
    encoder = _encoder(recipe, latent, posterior, given)
    vae = VAE(
        encoder,
        construct(recipe, "prior", priors, encoder=encoder, **given),
        _decoder(recipe, given | {"latent": latent + len(labels)}),
        _labeller(recipe, len(labels), given),
    )
    return Built(vae, _objective(recipe, given), _example(extent, len(labels)))


def build_stepper(recipe: Recipe, built: Built, *, steps: int = 1) -> Stepper:
    """The recipe's optimiser over all that learns: the model, and penalties with parameters.

    Penalties with a loss of their own have a group of weights each, behind that of all others.
    """
    apart = [p for p in built.objective.modules() if learns_apart(p)]
    own = {id(weight) for penalty in apart for weight in penalty.parameters()}
    together = [*built.vae.parameters(), *built.objective.parameters()]
    groups: list[dict[str, Any]] = [{"params": [w for w in together if id(w) not in own]}]
    groups += [{"params": list(p.parameters()), "pace": p.pace} for p in apart]
    return construct(recipe, "optimizer", training, parameters=groups, steps=steps)


def learns_apart(part: Any) -> TypeGuard[Regularizer]:
    """Whether it is a penalty with a loss of its own."""
    return isinstance(part, Regularizer) and part.learns_apart()


def complete(recipe: Recipe) -> Recipe:
    """The recipe with every argument written out that its classes would otherwise choose.

    So a run says all that it was made of, and a later default cannot change what it means.

    Raises `Refused` for unknown kinds.
    """
    whole = deepcopy(recipe)
    for section, package in NETWORKS.items():
        whole[section] = _filled(whole[section], package, section)
    if "label" in whole:
        whole["label"] = _filled(_label_section(whole), encoders, "label")
    for section in [part for part in ("encoder", "label") if "noise" in whole.get(part, {})]:
        noise = _section(f"{section}.noise", whole[section]["noise"])
        whole[section]["noise"] = _filled(noise, noises, f"{section}.noise")
    if _has_likelihood(whole["decoder"]):
        likelihood = _likelihood_section(whole["decoder"])
        whole["decoder"]["likelihood"] = _filled(likelihood, likelihoods, LIKELIHOOD)
    whole["objective"] = _filled_objective(whole["objective"])
    own = whole["optimizer"]["kind"]
    for stage in whole.get("stage", []):
        if "objective" in stage:
            stage["objective"] = _filled_objective(stage["objective"])
        # One of the same kind changes the recipe's, which is whole already.
        if stage.get("optimizer", {}).get("kind", own) != own:
            stage["optimizer"] = _filled(stage["optimizer"], training, "optimizer")
    return whole


def _filled_objective(section: Mapping[str, Any]) -> dict[str, Any]:
    whole = _filled(section, objectives, "objective")
    terms = whole.get("terms", {})
    for name, term in terms.items():
        terms[name] = _filled(_section(name, term), regularizers, f"objective.terms.{name}")
    return whole


def _filled(values: Mapping[str, Any], package: ModuleType, section: str) -> dict[str, Any]:
    maker = _export(package, values.get("kind", ""), section)
    defaults = {
        name: list(parameter.default)
        if isinstance(parameter.default, tuple)
        else parameter.default
        for name, parameter in _parameters(maker).items()
        if parameter.default not in (parameter.empty, None) and name not in GIVEN
    }
    return {**dict(values), **{n: v for n, v in defaults.items() if n not in values}}


def construct(
    sections: Mapping[str, Any], section: str, package: ModuleType, /, **given: Any
) -> Any:
    """An object of the class that `sections[section]` names by `kind`, with its other keys.

    The package's exports are the registry. `given` are arguments the recipe does not write;
    a class takes those it declares.
    """
    values = dict(sections[section])
    if "kind" not in values:
        names = ", ".join(_names(package))
        raise Refused(f"[{section}] does not say its kind; add kind = one of: {names}.")
    maker = _export(package, values.pop("kind"), section)
    parameters = _parameters(maker)
    arguments = {}
    for key, value in values.items():
        name = "lambda_" if key == "lambda" else key
        if name not in parameters or name in given:
            writable = [p for p in parameters if p not in given]
            raise Refused(unknown(key, writable, f"[{section}] {maker.__name__}", "argument"))
        hint, where = parameters[name].annotation, f"{section}.{key}"
        if _may_be_schedule(hint, value):
            arguments[name] = _schedule(where, value, given.get("steps", 1))
        else:
            arguments[name] = coerce(where, value, hint)
    arguments |= {name: value for name, value in given.items() if name in parameters}
    missing = _missing(maker, arguments)
    _check_items(section, maker, missing)
    if missing:
        needed = ", ".join(_as_written(name, package) for name in missing)
        raise Refused(f"[{section}] {maker.__name__} also needs: {needed}.")
    if not isinstance(maker, type):
        return partial(maker, **arguments)
    try:
        return maker(**arguments)
    except Refused:
        raise
    except (ValueError, RuntimeError) as error:  # of torch: a size or number it cannot take
        raise Refused(f"[{section}] {maker.__name__}: {str(error).splitlines()[0]}.") from error


def _missing(maker: Any, arguments: Mapping[str, Any]) -> list[str]:
    """The arguments that it cannot do without, and is not given."""
    return [
        name
        for name, parameter in _parameters(maker).items()
        if name not in arguments and parameter.default is parameter.empty
    ]


def _check_items(section: str, maker: Any, missing: Sequence[str]) -> None:
    """Refuse a network for items that lack what it is built for."""
    if "shape" in missing:
        raise Refused(
            f"[{section}] {maker.__name__} is for pictures, and these items are none. Name "
            "another kind."
        )
    if "clock" in missing:
        raise Refused(
            f"[{section}] {maker.__name__} is for events that say when they happen, as those of "
            "the codecs polyphony and multitrack, and these items are none. Name another kind."
        )
    if "length" in missing:
        raise Refused(
            f"[{section}] {maker.__name__} is for items of a fixed length, as windows of music "
            "and pictures are; sentences have none. Name another kind."
        )


def _as_written(name: str, package: ModuleType) -> str:
    """An argument as a recipe says it."""
    if name == "lambda_":
        return "lambda"
    by_share = package is schedules and name in SHARED
    return f"{name}, or share of the run" if by_share else name


def _parameters(maker: Any) -> dict[str, inspect.Parameter]:
    """The named parameters of a class or schedule, with annotations, but for a schedule's step."""
    named = inspect.signature(maker, eval_str=True).parameters
    gathering = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {n: p for n, p in named.items() if p.kind not in gathering and n != "step"}


def coerce(where: str, value: Any, hint: Any) -> Any:
    """The value as the annotation wants it; `Refused` where it cannot be.

    >>> coerce("decoder.hidden", 512, int)
    512
    >>> coerce("encoder.pool", "middle", Literal["last", "max"])
    Traceback (most recent call last):
    ...
    seqvae.errors.Refused: encoder.pool = 'middle' is not one of: last, max.
    """
    origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            raise Refused(f"{where} = {value!r} is not one of: {choices}.")
        return value
    if origin in (Union, UnionType):
        wanted = next(o for o in get_args(hint) if o not in (NoneType, Schedule))
        return coerce(where, value, wanted)
    if origin is tuple and isinstance(value, list):
        inner = get_args(hint)
        if Ellipsis not in inner and len(value) != len(inner):
            raise Refused(f"{where} = {value!r} should hold {len(inner)} values.")
        return tuple(coerce(where, item, inner[0]) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: coerce(f"{where}.{key}", v, get_args(hint)[1]) for key, v in value.items()}
    if hint in (int, float) and type(value) in (int, hint):
        check_number(where, value)
        return hint(value)
    if hint in (str, bool) and type(value) is hint:
        return value
    name = "list" if origin is tuple else getattr(hint, "__name__", str(hint))
    raise Refused(f"{where} = {value!r} is of type {type(value).__name__}; it should be {name}.")


def _encoder(
    recipe: Recipe, latent: int, posterior: Posterior, given: Mapping[str, Any]
) -> Encoder:
    if latent == 0:
        return encoders.EmptyEncoder()
    return _reader("encoder", recipe["encoder"], posterior, given)


def _labeller(recipe: Recipe, labels: int, given: Mapping[str, Any]) -> Encoder | None:
    if "label" not in recipe:
        return None
    section = {key: value for key, value in _label_section(recipe).items() if key != "names"}
    return _reader("label", section, LabelPosterior(labels), given)


def _label_section(recipe: Recipe) -> dict[str, Any]:
    """[label] with its kind: that of the recipe's encoder, and its arguments, if it says none."""
    section = recipe["label"]
    return dict(section) if "kind" in section else {**deepcopy(recipe["encoder"]), **section}


def _reader(
    part: str, section: Mapping[str, Any], posterior: Posterior, given: Mapping[str, Any]
) -> Encoder:
    """A network that reads items, and whatever corrupts what it reads in training."""
    own = {key: value for key, value in section.items() if key != "noise"}
    encoder: Encoder = construct({part: own}, part, encoders, posterior=posterior, **given)
    if "noise" not in section:
        return encoder
    where = f"{part}.noise"
    corrupt = construct({where: _section(where, section["noise"])}, where, noises, **given)
    return noises.Denoising(encoder, corrupt)


def _decoder(recipe: Recipe, given: Mapping[str, Any]) -> Decoder:
    section = dict(recipe["decoder"])
    if not _has_likelihood(section):
        return construct({"decoder": section}, "decoder", decoders, **given)
    maker = _export(decoders, section["kind"], "decoder")
    _check_items("decoder", maker, _missing(maker, given))  # sooner than levels of what has none
    made = {LIKELIHOOD: _likelihood_section(section)}
    likelihood = construct(made, LIKELIHOOD, likelihoods, **given)
    section.pop("likelihood", None)
    return construct({"decoder": section}, "decoder", decoders, likelihood=likelihood, **given)


def _has_likelihood(section: Mapping[str, Any]) -> bool:
    """Whether it is a decoder that is given a likelihood, which a recipe may name."""
    kind = section.get("kind")
    return kind in _names(decoders) and "likelihood" in _parameters(getattr(decoders, kind))


def _likelihood_section(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section of a decoder's likelihood, that of black and white where it says none."""
    return _section(LIKELIHOOD, section.get("likelihood", {"kind": "Bernoulli"}))


def _objective(recipe: Recipe, given: Mapping[str, Any]) -> Objective:
    section = dict(recipe["objective"])
    terms = section.pop("terms", None)
    if terms is None:
        return construct({"objective": section}, "objective", objectives, **given)
    kind = str(section.get("kind"))
    if "terms" not in _parameters(_export(objectives, kind, "objective")):
        raise Refused(f"[objective] {kind} has its own terms; name one that takes any, as Elbo.")
    named = {
        name: _term(f"objective.terms.{name}", term, given)
        for name, term in _section("objective.terms", terms).items()
    }
    try:
        return construct({"objective": section}, "objective", objectives, terms=named, **given)
    except KeyError as error:  # torch will not have every word as a module's name
        raise Refused(f"[objective.terms]: {error.args[0]}; name the term otherwise.") from error


def _term(where: str, term: Any, given: Mapping[str, Any]) -> tuple[Regularizer, Schedule]:
    section = _section(where, term)
    weight = section.pop("weight", 1.0)
    regularizer = construct({where: section}, where, regularizers, **given)
    return regularizer, _schedule(f"{where}.weight", weight, given["steps"])


def _may_be_schedule(hint: Any, value: Any) -> bool:
    """Whether an argument wants a schedule; one that may be a number too gets it as it is."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return Schedule in options and (float not in options or isinstance(value, Mapping))


def _schedule(where: str, weight: Any, steps: int) -> Schedule:
    if not isinstance(weight, Mapping):
        return partial(schedules.constant, value=coerce(where, weight, float))
    section = dict(weight)
    for name in ("steps", "cycles"):
        if type(section.get(name)) is int and section[name] < 1:
            raise Refused(f"{where}.{name} = {section[name]}: a schedule takes 1 or more.")
    if "share" in section:  # of the run, for recipes that do not know how long it will be
        section |= _shared(where, section, steps)
        del section["share"]
    return construct({where: section}, where, schedules)


def _shared(where: str, section: Mapping[str, Any], steps: int) -> dict[str, float]:
    """What a schedule takes so that it settles within the share of a run that it names."""
    share = coerce(f"{where}.share", section["share"], float)
    if not 0 < share <= 1:
        raise Refused(f"{where}.share = {share:g}: a share of the run lies above 0, at most at 1.")
    for name in SHARED:
        if name in section:
            raise Refused(
                f"{where} says {name} = {section[name]!r} and share = {share:g}, which both say "
                "how long it takes: leave one out."
            )
    within = max(round(share * steps), 1)
    if section.get("kind") == "sigmoid":
        return {"middle": within / 2, "slope": WIDE / within}
    return {"steps": within}


def _section(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused(f"{where} = {value!r}: this is a section; write [{where}] with keys below.")
    return dict(value)


def _example(extent: Extent, labels: int) -> Batch:
    """Two items: pictures, or sequences of a token and an end; both of the first label, if any."""
    vocab, length, shape, _ = extent
    tokens = (length or 2) if shape is None else math.prod(shape)
    x = torch.full((2, tokens), min(SPECIAL, vocab - 1))
    if shape is None and length is None:
        x[:, -1] = EOS
    label = torch.zeros(2, dtype=torch.long) if labels else None
    return Batch(x, torch.full((2,), tokens), label, torch.arange(2), FAR)


def _try(built: Built, latent: int) -> None:
    batch, vae = built.example, built.vae.eval()
    with torch.no_grad():
        for part, over in (("encoder", vae.encoder(batch)), ("prior", vae.prior())):
            if over.event_shape != (latent,):
                raise Refused(
                    f"the {part}'s codes have shape {tuple(over.event_shape)} and latent is "
                    f"{latent}: name another kind in [{part}], or change latent."
                )
        y = vae.label(batch)
        if y is not None and y.event_shape[0] == 0:
            raise Refused("[label] reads nothing of an item: name another kind of encoder there.")
        try:
            loss, _ = built.objective.eval()(vae, batch)
        except Refused as error:
            raise Refused(f"this recipe's parts do not go together: {error}") from error
    if not bool(loss.isfinite()):
        raise Refused(
            f"this recipe's parts do not go together: the loss of a first batch is {loss:g}. A "
            "KL is infinite where the prior gives a code of the posterior no density (a Gaussian "
            "posterior, a Uniform prior). Use another prior, or a penalty on samples such as MMD."
        )


def has_rate(built: Built) -> bool:
    """Whether posterior and prior have densities, so that the KL of a code is defined."""
    return has_density(built.vae.encoder(built.example)) and has_density(built.vae.prior())


def check_selection(recipe: Recipe, built: Built) -> None:
    """Raise `Refused` where weights should be chosen by a figure that the model does not have."""
    if recipe["training"]["select"] == "negative_elbo" and not has_rate(built):
        raise Refused(
            "training.select = 'negative_elbo': this posterior or prior has no density, so there "
            "is no ELBO to choose by. Choose by objective or by reconstruction."
        )


def _export(package: ModuleType, kind: str, section: str) -> Any:
    names = _names(package)
    if kind not in names:
        raise Refused(unknown(str(kind), names, f"[{section}]", "kind"))
    return getattr(package, kind)


def _names(package: ModuleType) -> list[str]:
    """What a recipe may name: the package's classes, or the functions of `schedules`."""
    wanted = inspect.isfunction if package is schedules else inspect.isclass
    # Fixed and Denoising take an object, which TOML cannot hold.
    hidden = {"settled", "Fixed", "Denoising"}
    return [n for n, v in vars(package).items() if wanted(v) and n[0] != "_" and n not in hidden]
