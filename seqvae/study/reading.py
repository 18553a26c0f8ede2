"""What a study is: corpora, decoders, remedies with a knob each, seeds; read from one TOML.

    recipe = "text"                       what all of them extend, and settings for all of them
    set = ["latent=16", "training.epochs=8"]
    reference = "vae"                     the remedy whose cost the others' are held against

    [[corpus]]                            name, and how a text is prepared
    [[decoder]]                           name, set, grow: the size that makes it larger
    [[language_model]]                    name, set, knob, values; grow = true: as many weights
                                          as the reference
    [[remedy]]                            name, set, knob, values; stages, as in a recipe

A knob of value "none" is not said; `names` are those of values that are long. With `extends`
everything that is not said is another study's, and a remedy of the same name takes its place;
`only` and `without` name remedies. A block is a corpus and a decoder: what is compared is compared
inside of it.
"""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..recipe import MOST, Recipe, override, read, shipped, unknown
from .design import MEASURE, Entry, Kind, Study, Wanted, slug, written

SET = ["latent=16"]
# Every key with an example of its type, and of that of its items.
EXAMPLES: dict[str, Any] = {
    "name": "snips",
    "about": "…",
    "recipe": "text",
    "extends": "snips.toml",
    "only": ["beta"],
    "without": ["beta"],
    "set": SET,
    "reference": "vae",
    "sweep_seed": 0,
    "final_seeds": [1, 2, 3],
    "rates": [2.0, 4.0, 8.0],
    "final_rate": 4.0,
    "measure": {},
    "test": {},
    "corpus": [{}],
    "decoder": [{}],
    "language_model": [{}],
    "remedy": [{}],
}
OPTIONAL = {"extends", "only", "without", "about", "set", "sweep_seed", "final_rate"}
OPTIONAL |= {"measure", "test"}
ENTRY = {
    "name": "beta",
    "about": "…",
    "set": SET,
    "knob": "objective.terms.kl.weight",
    "values": [0.1, 0.2, 0.4, 0.7],
    "names": ["low", "high"],
}
PARTS: dict[str, dict[str, Any]] = {
    "corpus": {
        "name": "snips",
        "path": "data/snips",
        "language": "english",
        "codec": "bpe",
        "vocab": 2000,
        "max_tokens": 256,
        "column": "text",
        "keep_duplicates": True,
    },
    "decoder": {"name": "lstm", "set": SET, "grow": "decoder.hidden"},
    "language_model": {**ENTRY, "grow": True},
    "remedy": {**ENTRY, "stage": [{}]},
}
NOUNS = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a string",
}
LEAST = {"sample_items": 1, "mixture_items": 1}  # of what is measured; of all else 0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")


def read_study(path: Path) -> Study:
    """A study from its TOML, whole and checked.

    Raises `Refused` for a file that is missing or is no TOML, for keys that are unknown, missing
    or of the wrong type, names that come twice, entries that do not all try the same number of
    values, and settings that no recipe has. Whether its cells can be built `try_cells` says.
    """
    said = _parse(path)
    _check_whole(said, path)
    entries = [_entry(each, True) for each in said["language_model"]]
    entries += [_entry(each, False) for each in said["remedy"]]
    _check_trials(entries)
    study = Study(
        name=said["name"],
        about=said.get("about", ""),
        base=override(read(_parent(said["recipe"], path)), said.get("set", [])),
        reference=said["reference"],
        corpora={name: _wanted(each) for name, each in _by_name(said, "corpus").items()},
        decoders={
            name: Kind(tuple(each.get("set", [])), each.get("grow", "decoder.hidden"))
            for name, each in _by_name(said, "decoder").items()
        },
        entries={entry.name: entry for entry in entries},
        rates=tuple(map(float, said["rates"])),
        final_rate=float(said.get("final_rate", _middle(said["rates"]))),
        sweep_seed=said.get("sweep_seed", 0),
        final_seeds=tuple(said["final_seeds"]),
        measure=_options("measure", said),
        test=_options("test", said),
    )
    _check_study(study)
    return study


def _middle(rates: Sequence[float]) -> float:
    return rates[len(rates) // 2] if rates else math.nan


def _parse(path: Path) -> dict[str, Any]:
    """What a TOML says, on top of the study that it extends."""
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"{path} is no study: {error}. See scripts/studies for some.") from error
    _check(said, path)
    if "extends" in said:
        below = _parse(path.parent / said.pop("extends"))
        if "remedy" in said and "remedy" in below:
            own = {**_by_name(below, "remedy"), **_by_name(said, "remedy")}
            said["remedy"] = list(own.values())
        said = {**below, **said}
    return _picked(said)


def _picked(said: dict[str, Any]) -> dict[str, Any]:
    """Only those remedies that were asked for."""
    names = [each["name"] for each in said.get("remedy", [])]
    only, without = said.pop("only", names), said.pop("without", [])
    for name in (*only, *without):
        if name not in names:
            raise Refused(unknown(name, names, "the study", "remedy"))
    kept = [n for n in names if n in only and n not in without]
    return {**said, "remedy": [each for each in said.get("remedy", []) if each["name"] in kept]}


def _entry(said: Mapping[str, Any], language_model: bool) -> Entry:
    return Entry(
        name=said["name"],
        settings=(*said.get("set", []), *(["latent=0"] if language_model else [])),
        knob=said["knob"],
        values=tuple(said["values"]),
        about=said.get("about", ""),
        language_model=language_model,
        grow=said.get("grow", False),
        stages=tuple(said.get("stage", ())),
        names=tuple(said.get("names", ())),
    )


def _wanted(said: Mapping[str, Any]) -> Wanted:
    own = ("name", "path", "language")
    options = {key: value for key, value in said.items() if key not in own}
    return Wanted(said["name"], said.get("path"), options, said.get("language"))


def _parent(name: str, path: Path) -> str:
    """A recipe that comes with the package, or a file that lies beside the study."""
    return name if name in shipped() else str(path.parent / name)


def _options(section: str, said: Mapping[str, Any]) -> dict[str, int]:
    given = said.get(section, {})
    for key, value in given.items():
        if key not in MEASURE:
            raise Refused(unknown(key, MEASURE, f"[{section}]", "key"))
        if type(value) is not int or value < LEAST.get(key, 0):
            least = f"a whole number, {LEAST.get(key, 0)} or more"
            raise Refused(f"[{section}] {key} = {value!r}: write {least}.")
    return {**MEASURE, **given}


def _check(said: Mapping[str, Any], path: Path) -> None:
    """Refuse keys that are unknown or of the wrong type."""
    for key, value in said.items():
        if key not in EXAMPLES:
            raise Refused(unknown(key, EXAMPLES, str(path), "key"))
        _check_type(key, value, EXAMPLES[key])
    for section, examples in PARTS.items():
        for each in said.get(section, []):
            _check_part(section, each, examples)


def _check_part(section: str, said: Mapping[str, Any], examples: Mapping[str, Any]) -> None:
    where = f"[[{section}]] {said.get('name', '')}".rstrip()
    for key, value in said.items():
        if key not in examples:
            raise Refused(unknown(key, examples, where, "key"))
        _check_type(key, value, examples[key], where)
    for key in ("name", "knob", "values"):
        if key in examples and key not in said:
            raise Refused(f"{where} does not say its {key}.")
    if not NAME.fullmatch(said["name"]):
        raise Refused(
            f"[[{section}]] name = {said['name']!r} names a folder: letters, digits and . + _ - "
            "do, a letter or digit first."
        )


def _check_type(key: str, value: Any, example: Any, where: str = "") -> None:
    if not _alike(value, [] if key == "values" else example):  # a knob may want anything
        raise Refused(f"{where} {key} = {value!r:.60}: write {_way(key, example)}.".lstrip())


def _way(key: str, example: Any) -> str:
    """How a key is written.

    >>> _way("set", ["latent=16"]), _way("remedy", [{}])
    ('a list, such as set = ["latent=16"]', '[[remedy]] with keys below, once for each')
    """
    if example == {}:
        return f"[{key}] with keys below"
    if example == [{}]:
        return f"[[{key}]] with keys below, once for each"
    return f"{NOUNS[type(example)]}, such as {key} = {written(example)}"


def _alike(value: Any, example: Any) -> bool:
    """Whether value and example are of one type, and so their items; an int may be a float."""
    if isinstance(value, list) and isinstance(example, list) and example:
        return all(_alike(item, example[0]) for item in value)
    return type(value) is type(example) or (type(value), type(example)) == (int, float)


def _check_whole(said: Mapping[str, Any], path: Path) -> None:
    """Refuse a study that lacks something, or says it twice."""
    missing = [key for key in EXAMPLES if key not in said and key not in OPTIONAL]
    if missing:
        raise Refused(f"{path} does not say: {', '.join(missing)}. See scripts/studies for some.")
    for section in PARTS:
        _by_name(said, section)


def _by_name(said: Mapping[str, Any], section: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for each in said[section]:
        if each["name"] in found:
            raise Refused(f"[[{section}]] {each['name']!r} comes twice: name each otherwise.")
        found[each["name"]] = each
    if not found:
        raise Refused(f"a study has a [[{section}]] or more.")
    return found


def _check_trials(entries: Sequence[Entry]) -> None:
    """Refuse a study in which one method is tried more often than another."""
    first = entries[0]
    for entry in entries:
        if not entry.values:
            raise Refused(f"{entry.name} tries no value: name some, values = [0.1, 0.2].")
        if len(entry.values) != len(first.values):
            raise Refused(
                f"{entry.name} tries {len(entry.values)} values and {first.name} "
                f"{len(first.values)}: what is tried more often finds more. Give all the same."
            )
        if entry.names and len(set(map(slug, entry.names))) != len(entry.values):
            raise Refused(
                f"{entry.name} names its {len(entry.values)} values {', '.join(entry.names)}: "
                "name each, and each otherwise."
            )
        if len({slug(value) for value in entry.values}) < len(entry.values):
            raise Refused(f"{entry.name} tries a value twice: {entry.values}.")
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"{name!r} is a remedy and a language model: name one otherwise.")


def _check_study(study: Study) -> None:
    """Refuse what would be found out after hours otherwise."""
    if study.reference not in [entry.name for entry in study.remedies]:
        names = [entry.name for entry in study.remedies]
        raise Refused(unknown(study.reference, names, "reference: the study", "remedy"))
    _check_seeds(study)
    rising = list(study.rates) == sorted(set(study.rates))
    if not rising or not study.rates or not all(0 < rate < math.inf for rate in study.rates):
        raise Refused(f"rates = {list(study.rates)}: name rising rates above 0, nats an item.")
    if study.final_rate not in study.rates:
        raise Refused(
            f"final_rate = {study.final_rate:g}: name one of rates = {list(study.rates)}."
        )
    for _ in _recipes(study):  # every setting is one that a recipe has
        pass


def _check_seeds(study: Study) -> None:
    finals = study.final_seeds
    if not finals or len(set(finals)) < len(finals):
        raise Refused(
            f"final_seeds = {list(finals)}: name one or more, each once, such as [1, 2, 3]."
        )
    for seed in (study.sweep_seed, *finals):
        if not 0 <= seed <= MOST:
            raise Refused(f"seed {seed}: a seed is a whole number from 0 to {MOST}.")
    if study.sweep_seed in finals:
        raise Refused(
            f"seed {study.sweep_seed} chooses the winners, so it cannot judge them: take it out "
            "of final_seeds."
        )


def _recipes(study: Study) -> Iterator[Recipe]:
    for cell in study.sweep():
        try:
            yield study.recipe(cell)
        except Refused as error:
            raise Refused(f"{study.told(cell)}: {error}") from error
