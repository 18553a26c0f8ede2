"""What a study is: corpora, decoders, remedies with a knob each, seeds; read from one TOML.

    recipe = "text"                       what all of them extend, and settings for all of them
    set = ["latent=16", "training.epochs=8"]
    reference = "vae"                     the remedy whose cost the others' are held against

    [[corpus]]                            name, and how a text is prepared
    [[decoder]]                           name, set, grow: the size that makes it larger
    [[language_model]]                    name, set, knob, values; grow = true: as many weights
                                          as the reference
    [[remedy]]                            name, set, knob, values; stages, as in a recipe

With `extends` everything that is not said is another study's, and a remedy of the same name takes
its place; `only` and `without` name remedies. A block is a corpus and a decoder: what is compared
is compared inside of it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..recipe import Recipe, check_type, override, read, shipped, unknown
from .design import MEASURE, Entry, Kind, Study, Wanted, slug

EXAMPLES: dict[str, Any] = {
    "name": "snips",
    "about": "…",
    "recipe": "text",
    "extends": "snips.toml",
    "only": ["beta"],
    "without": ["beta"],
    "set": ["latent=16"],
    "reference": "vae",
    "sweep_seed": 0,
    "final_seeds": [1, 2, 3],
    "rates": [2.0, 4.0, 8.0],
    "measure": {},
    "test": {},
    "corpus": [],
    "decoder": [],
    "language_model": [],
    "remedy": [],
}
OPTIONAL = {"extends", "only", "without", "about", "set", "sweep_seed", "measure", "test"}
KEYS = {
    "corpus": ("name", "path", "codec", "vocab", "max_tokens", "column", "keep_duplicates"),
    "decoder": ("name", "set", "grow"),
    "language_model": ("name", "about", "set", "knob", "values", "grow"),
    "remedy": ("name", "about", "set", "knob", "values", "stage"),
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")


def read_study(path: Path) -> Study:
    """A study from its TOML, whole and checked.

    Raises `Refused` for a file that is missing or is no TOML, for unknown or missing keys, names
    that come twice, entries that do not all try the same number of values, and settings that no
    recipe has.
    """
    said = _parse(path)
    _check(said, path)
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
        sweep_seed=said.get("sweep_seed", 0),
        final_seeds=tuple(said["final_seeds"]),
        measure=_options("measure", said),
        test=_options("test", said),
    )
    _check_study(study)
    return study


def _parse(path: Path) -> dict[str, Any]:
    """What a TOML says, on top of the study that it extends."""
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"{path} is no study: {error}. See scripts/studies for some.") from error
    if "extends" in said:
        below = _parse(path.parent / str(said.pop("extends")))
        if "remedy" in said:
            own = {**_by_name(below, "remedy"), **_by_name(said, "remedy")}
            said["remedy"] = list(own.values())
        said = {**below, **said}
    return _picked(said)


def _picked(said: dict[str, Any]) -> dict[str, Any]:
    """Only those remedies that were asked for."""
    names = [str(each.get("name")) for each in said.get("remedy", [])]
    only, without = said.pop("only", names), said.pop("without", [])
    for name in (*only, *without):
        if name not in names:
            raise Refused(unknown(str(name), names, "the study", "remedy"))
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
    )


def _wanted(said: Mapping[str, Any]) -> Wanted:
    options = {key: value for key, value in said.items() if key not in ("name", "path")}
    return Wanted(said["name"], said.get("path"), options)


def _parent(name: str, path: Path) -> str:
    """A recipe that comes with the package, or a file that lies beside the study."""
    return name if name in shipped() else str(path.parent / name)


def _options(section: str, said: Mapping[str, Any]) -> dict[str, int]:
    given = said.get(section, {})
    for key in given:
        if key not in MEASURE:
            raise Refused(unknown(key, MEASURE, f"[{section}]", "key"))
    return {**MEASURE, **given}


def _check(said: Mapping[str, Any], path: Path) -> None:
    """Refuse keys that are unknown, missing or of the wrong type."""
    for key, value in said.items():
        if key not in EXAMPLES:
            raise Refused(unknown(key, EXAMPLES, str(path), "key"))
        if type(value) is not type(EXAMPLES[key]):
            check_type(key, value, EXAMPLES[key])
    missing = [key for key in EXAMPLES if key not in said and key not in OPTIONAL]
    if missing:
        raise Refused(f"{path} does not say: {', '.join(missing)}. See scripts/studies for some.")
    for section, keys in KEYS.items():
        for each in said[section]:
            _check_part(section, each, keys)
        _by_name(said, section)


def _check_part(section: str, said: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in said:
        if key not in keys:
            raise Refused(unknown(key, keys, f"[[{section}]]", "key"))
    needed = ("name", "knob", "values") if "knob" in keys else ("name",)
    for key in needed:
        if key not in said:
            raise Refused(f"a [[{section}]] does not say its {key}.")
    if not NAME.fullmatch(said["name"]):
        raise Refused(
            f"[[{section}]] name = {said['name']!r} names a folder: letters, digits and . + _ - "
            "do, a letter or digit first."
        )


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
        if len(entry.values) != len(first.values):
            raise Refused(
                f"{entry.name} tries {len(entry.values)} values and {first.name} "
                f"{len(first.values)}: what is tried more often finds more. Give all the same."
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
    if study.sweep_seed in study.final_seeds:
        raise Refused(
            f"seed {study.sweep_seed} chooses the winners, so it cannot judge them: take it out "
            "of final_seeds."
        )
    if list(study.rates) != sorted(set(study.rates)) or not study.rates or study.rates[0] <= 0:
        raise Refused(f"rates = {list(study.rates)}: name rising rates above 0, nats an item.")
    for _ in _recipes(study):  # every setting is one that a recipe has
        pass


def _recipes(study: Study) -> Iterator[Recipe]:
    for cell in study.sweep():
        try:
            yield study.recipe(cell)
        except Refused as error:
            raise Refused(f"{cell.entry}: {error}") from error
