"""Recipes: an experiment as plain data, read from TOML, checked, and written back.

A recipe names what the package exports (`kind = "LSTMEncoder"`) and gives numbers; reading one
runs no code. What is not said is taken from the recipe it extends.
"""

import difflib
import math
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from .errors import Refused

Recipe = dict[str, Any]

DEFAULT = "text"  # what a recipe extends that names no other
SENTENCES = "text-transformer"  # the recipe of sentences where none is named

# Every section, and of those without a `kind` every key with an example of its type.
SECTIONS: dict[str, dict[str, Any] | None] = {
    "encoder": None,
    "posterior": None,
    "prior": None,
    "decoder": None,
    "objective": None,
    "optimizer": None,
    "data": {
        "source": "corpus.txt",
        "codec": "bpe",
        "vocab": 8000,
        "max_tokens": 256,
        "column": "text",
        "label": "label",
        "bars": 2,
        "steps": 4,
        "metre": "4/4",
        "low": 21,
        "high": 108,
        "track": "MELODY",
        "other_metres": "skip",
        "splits": "index.tsv",
        "channels": 1,
        "shrink": 2,
        "levels": 256,
        "binarize": "dynamic",
        "limit": 10_000,
    },
    "training": {
        "epochs": 1.0,
        "steps": 1,
        "batch": 64,
        "by": "sentences",
        "mixed": False,
        "accumulate": 1,
        "transpose": 5,
        "clip": 5.0,
        "lagging": 100,
        "precision": "auto",
        "workers": 0,
        "validate_every": 1000,
        "validate_on": 5000,
        "save_every": 1000,
        "keep": 2,
        "select": "objective",
    },
}
TOP = {
    "name": "text",
    "about": "…",
    "licence": "CC BY 4.0",
    "extends": "text",
    "latent": 32,
    "seed": 0,
}
OPTIONAL = ("label", "stage")  # sections that a recipe may do without, and most do
NETS = ("encoder", "prior", "decoder", "labeller")
# What a [[stage]] may say, with examples; its length is said in one of three ways.
STAGE: dict[str, Any] = {
    "name": "autoencoder",
    "epochs": 1.0,
    "steps": 1,
    "share": 0.5,
    "objective": {},
    "optimizer": {},
    "reset": ["decoder"],
    "freeze": ["encoder"],
    "lagging": 100,
}
UNNAMED = ("0", "1")  # labels, of a recipe that is tried before its corpus is known
LENGTHS = ("epochs", "steps", "share")
EVENTS = ("polyphony", "multitrack")  # codecs of MIDI whose windows have any number of tokens
MUSIC = ("melody", "drums", "groove", "trio", "chorale", *EVENTS)  # codecs that read MIDI
IMAGES = "pixels"  # the codec that reads pictures
# Of [data], what the preparation of each modality takes.
OF_TEXT = ("codec", "vocab", "max_tokens", "column", "label")
OF_MUSIC = (
    *("codec", "bars", "steps", "metre", "low", "high", "max_tokens"),
    *("track", "other_metres", "splits", "label"),
)
OF_IMAGES = ("channels", "shrink", "levels", "binarize", "limit")
CHOICES = {
    "data.codec": ("bpe", "unigram", "char", "word", *MUSIC, IMAGES),
    "data.binarize": ("none", "static", "dynamic"),
    "data.other_metres": ("skip", "beats", "stretch"),
    "training.by": ("sentences", "tokens"),
    "training.precision": ("auto", "bf16", "float32"),
    "training.select": ("objective", "negative_elbo", "reconstruction", "last"),
}
LEAST = {
    "latent": 0,
    "seed": 0,
    "data.vocab": 1,
    "data.max_tokens": 2,
    "data.bars": 1,
    "data.steps": 1,
    "data.channels": 1,
    "data.shrink": 1,
    "data.levels": 2,
    "data.limit": 1,
    "data.low": 0,
    "data.high": 0,
    "training.steps": 1,
    "training.batch": 1,
    "training.accumulate": 1,
    "training.lagging": 0,
    "training.transpose": 0,
    "training.workers": 0,
    "training.validate_every": 1,
    "training.validate_on": 1,
    "training.save_every": 1,
    "training.keep": 1,
    "stage.steps": 1,
    "stage.lagging": 0,
}
# What a run reads without asking whether it is there.
ALWAYS = {f"training.{key}" for key in SECTIONS["training"] or {}} - {
    "training.steps",
    "training.validate_every",
    "training.save_every",
}
CORRUPTING = ("word_dropout", "scheduled_sampling")  # of a decoder's inputs, in training
FAMILY = 6  # names that begin alike; more are not listed one by one
MOST = 2**63 - 1  # what a seed, and a number of anything, may be
LARGEST = 3.4e38  # of single precision


def shipped() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("seqvae") / "recipes"
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def read(name: str | Path) -> Recipe:
    """A recipe by the name of a shipped one or the path of a TOML file, whole and checked.

    Raises `Refused` for a file that is missing or is no TOML, and for every unknown key, name or
    type, with the nearest one that exists.
    """
    return _read(str(name), ())


def _read(name: str, below: tuple[str, ...]) -> Recipe:
    if name in below:
        circle = " -> ".join((*below, name))
        raise Refused(f"recipes extend each other in a circle: {circle}. Remove one `extends`.")
    recipe = _parse(name)
    check(recipe)
    if name == DEFAULT:  # the one that all others extend
        return recipe
    parent = recipe.pop("extends", DEFAULT)
    if parent.endswith(".toml"):  # a file is named from where the recipe lies
        parent = str(Path(name).parent / parent)
    merged = merge(_read(parent, (*below, name)), recipe)
    terms = recipe.get("objective", {}).get("terms")
    if isinstance(terms, Mapping):  # the terms of a loss are all that are named, and no others
        merged["objective"]["terms"] = {n: merged["objective"]["terms"][n] for n in terms}
    return merged


def read_whole(path: Path) -> Recipe:
    """The recipe of a run, as it was written: another version's defaults never enter its networks.

    Only what a run needs to train on, and did not know of, is taken from the default.
    """
    recipe = _parse(path)
    check(recipe)
    missing = [key for key in ("name", "latent", "seed", *SECTIONS) if key not in recipe]
    if missing:
        raise Refused(f"{path} was edited: it lacks {', '.join(missing)}. Restore it from a copy.")
    known = _read(DEFAULT, ())
    return {**recipe, **{key: merge(known[key], recipe[key]) for key in ("data", "training")}}


def merge(base: Recipe, over: Mapping[str, Any]) -> Recipe:
    """`over` on top of `base`; a section that names another `kind` starts afresh."""
    merged = deepcopy(base)
    for key, value in over.items():
        old = merged.get(key)
        # An empty section empties the old one: objective.terms={}.
        into = isinstance(old, dict) and isinstance(value, Mapping) and len(value) > 0
        merged[key] = _merge_section(old, value) if into else deepcopy(value)
    return merged


def _merge_section(old: Any, new: Any) -> Recipe:
    other_kind = "kind" in new and new["kind"] != old.get("kind")
    return deepcopy(dict(new)) if other_kind else merge(old, new)


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with settings such as "training.epochs=3" or "encoder.pool=max" applied.

    "optimizer.patience=none" takes a value away, "objective.terms={}" all of a section's.

    >>> override({"latent": 32, "training": {}}, ["latent=8", "training.epochs=3"])
    {'latent': 8, 'training': {'epochs': 3}}
    """
    for setting in settings:
        path, sign, text = setting.partition("=")
        if not sign or not path:
            raise Refused(f"--set {setting}: write it as section.key=value, e.g. latent=16.")
        keys = path.strip().split(".")
        if keys[0] == "stage" and setting.replace(" ", "") != "stage=none":
            raise Refused(
                f"--set {setting}: stages are a list, which is not changed from here but for "
                'stage=none. Write a recipe that extends this one (extends = "…") and name all '
                "of its stages."
            )
        if text.strip() == "none":
            recipe = _without(recipe, keys)
            continue
        change: Any = _value(text)
        for key in reversed(keys):
            change = {key: change}
        check(change)
        recipe = merge(recipe, change)
    return recipe


def _without(recipe: Recipe, keys: list[str]) -> Recipe:
    """The recipe less one value, so that its default holds; refused where there is none."""
    path = ".".join(keys)
    needed = len(keys) == 1 or keys[-1] == "kind" or path in ALWAYS
    if needed and path not in ("about", "licence", *OPTIONAL):
        raise Refused(f"--set {path}=none: a recipe cannot do without it; set it to a value.")
    less = deepcopy(recipe)
    section: Any = less
    for key in keys[:-1]:
        section = section.get(key) if isinstance(section, dict) else None
    if not isinstance(section, dict) or keys[-1] not in section:
        raise Refused(f"--set {path}=none: the recipe does not set it; leave it out.")
    del section[keys[-1]]
    return less


def check(recipe: Mapping[str, Any]) -> None:
    """Raise `Refused` for the first unknown section, key, choice or wrong type."""
    for key, value in recipe.items():
        if key in TOP:
            check_type(key, value, TOP[key])
        elif key == "stage":
            _check_stages(value)
        elif key not in (*SECTIONS, *OPTIONAL):
            raise Refused(unknown(key, [*TOP, *SECTIONS, *OPTIONAL], "a recipe", "key"))
        elif not isinstance(value, Mapping):
            raise Refused(f"{key} = {value!r}: this is a section; write [{key}] with keys below.")
        else:
            _check_section(key, value)


def label_names(recipe: Recipe) -> tuple[str, ...]:
    """The names of the labels that a recipe's label head tells; none where it has no head.

    Training fills them in from the corpus; until then two stand for them.

    Raises `Refused` for names that are none.
    """
    if "label" not in recipe:
        return ()
    names = recipe["label"].get("names", list(UNNAMED))
    strings = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not strings or not names or len(set(names)) < len(names):
        raise Refused(
            f"label.names = {names!r:.60}: leave it out; the names are those of the labels of the "
            "corpus, each another."
        )
    return tuple(names)


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML, to be printed, saved and read again."""
    return tomli_w.dumps(recipe)


def unknown(name: str, known: Iterable[str], where: str, what: str = "name") -> str:
    """One line: the name is not known, which one was probably meant, which there are.

    >>> unknown("latnet", ["latent", "seed"], "a recipe")
    'a recipe has no name \\'latnet\\'; did you mean "latent"? It has: latent, seed.'
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else "."
    return f"{where} has no {what} {name!r}{hint} It has: {listed(known) or 'none'}."


def listed(names: Iterable[str]) -> str:
    """Names in a row; those of a large family, as of recipes for pictures, by what they share.

    >>> listed(["demo", *(f"image-{number}" for number in range(9))])
    'demo, image-… (9)'
    """
    members = [(name, name.split("-")[0]) for name in names]
    sizes = Counter(family for _, family in members)
    short = [
        f"{family}-… ({sizes[family]})" if sizes[family] > FAMILY else name
        for name, family in members
    ]
    return ", ".join(dict.fromkeys(short))


def check_type(where: str, value: Any, example: Any) -> None:
    """Refuse a value of another type than the example (an int may be a float) or out of range."""
    wanted = type(example)
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        raise Refused(
            f"{where} = {value!r} is of type {type(value).__name__}; "
            f"write a value of type {wanted.__name__}, such as {example!r}."
        )
    if wanted is float and not 0 < value < math.inf:
        raise Refused(f"{where} = {value!r}: it must be above 0, such as {example!r}.")
    if wanted is int and value < LEAST[where]:
        raise Refused(f"{where} = {value!r}: it must be at least {LEAST[where]}.")
    if wanted is int and value > MOST:
        raise Refused(f"{where} = {value!r}: it must be at most {MOST}.")


def check_number(where: str, value: float) -> None:
    """Raise `Refused` for a number that is not finite, or that torch cannot count with."""
    if isinstance(value, float) and not abs(value) < LARGEST:
        raise Refused(f"{where} = {value!r}: it must be a number under {LARGEST:.1e}.")
    if isinstance(value, int) and abs(value) > MOST:
        raise Refused(f"{where} = {value!r:.40}: it must be at most {MOST}.")


def _check_section(section: str, values: Mapping[str, Any]) -> None:
    examples = SECTIONS.get(section)
    if examples is None:  # a `kind` with its own arguments: checked against them when built
        return
    for key, value in values.items():
        where = f"{section}.{key}"
        if key not in examples:
            raise Refused(unknown(key, examples, f"[{section}]", "key"))
        check_type(where, value, examples[key])
        if value not in CHOICES.get(where, (value,)):
            choices = ", ".join(CHOICES[where])
            raise Refused(f"{where} = {value!r} is not one of: {choices}.")


def _check_stages(stages: Any) -> None:
    if not (isinstance(stages, list) and all(isinstance(stage, Mapping) for stage in stages)):
        raise Refused(f"stage = {stages!r:.60}: write [[stage]] with keys below, once for each.")
    for number, stage in enumerate(stages, start=1):
        for key, value in stage.items():
            if key not in STAGE:
                raise Refused(unknown(key, STAGE, f"[[stage]] {number}", "key"))
            check_type(f"stage.{key}", value, STAGE[key])
        for key in ("reset", "freeze"):
            for name in stage.get(key, ()):
                if name not in NETS:
                    raise Refused(unknown(str(name), NETS, f"[[stage]] {number} {key}", "network"))
        _check_length(stage, number, last=number == len(stages))


def _check_length(stage: Mapping[str, Any], number: int, *, last: bool) -> None:
    said = [key for key in LENGTHS if key in stage]
    if last and said:
        raise Refused(
            f"[[stage]] {number}: the last stage goes on to the end of the run, whose length is "
            f"training.epochs or training.steps: leave {said[0]} out."
        )
    if not last and len(said) != 1:
        raise Refused(
            f"[[stage]] {number} says {' and '.join(said) or 'no length'}: every stage but the "
            "last says how long it is, in epochs, in steps, or as a share of the run."
        )
    if stage.get("share", 0.5) >= 1:
        raise Refused(f"[[stage]] {number}: share = {stage['share']}: a share lies below 1.")


def staged(recipe: Recipe, number: int) -> Recipe:
    """The recipe as it is in one of its stages, counted from 0: with its objective and optimiser.

    A recipe without such a stage is its own only stage.

    >>> staged({"optimizer": {"kind": "SGD"}, "stage": [{"optimizer": {"rate": 2.0}}]}, 0)
    {'optimizer': {'kind': 'SGD', 'rate': 2.0}}
    """
    stages = recipe.get("stage", [])
    whole = {key: value for key, value in recipe.items() if key != "stage"}
    if not 0 <= number < len(stages):
        return whole
    stage = stages[number]
    if "objective" in stage:  # the whole of it: another loss is not a change of the first
        whole["objective"] = deepcopy(stage["objective"])
    return merge(whole, {"optimizer": stage["optimizer"]} if "optimizer" in stage else {})


def _parse(name: str | Path) -> dict[str, Any]:
    if str(name) in shipped():
        text = (resources.files("seqvae") / "recipes" / f"{name}.toml").read_text("utf-8")
    else:
        text = _read_file(Path(name))
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{name} is no TOML: {error}. Compare with `--print-recipe`.") from error


def _read_file(path: Path) -> str:
    if not path.is_file():
        raise Refused(unknown(str(path), shipped(), "the package", "recipe or file"))
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 text, so it is no recipe: {error}.") from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text.lstrip().startswith(("{", "[")):
            hint = 'strings inside want quotes, as in {kind = "linear", share = 0.3}'
            raise Refused(f"{text} is no TOML ({error}): {hint}.") from error
        return text  # a bare word: encoder.pool=max
