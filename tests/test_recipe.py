"""Recipes: read, merged, changed by --set, and refused with the nearest thing that exists."""

from pathlib import Path
from typing import Any

import pytest

from seqvae.codecs import MusicCodec, kinds_of
from seqvae.errors import Refused
from seqvae.recipe import (
    CHOICES,
    DEFAULT,
    MUSIC,
    SECTIONS,
    SENTENCES,
    check,
    merge,
    override,
    read,
    shipped,
    to_toml,
)


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_is_whole_and_survives_being_written(name: str, tmp_path: Path) -> None:
    recipe = read(name)
    assert recipe["name"] == name and recipe["about"]
    assert {"latent", "seed", *SECTIONS} <= set(recipe)
    check(recipe)
    assert read(written(tmp_path, to_toml(recipe))) == recipe


def test_what_is_not_said_is_taken_from_the_recipe_it_extends(tmp_path: Path) -> None:
    mine = read(written(tmp_path, "latent = 7\n[decoder]\nword_dropout = 0.5\n"))
    whole = read(DEFAULT)
    assert mine == whole | {"latent": 7, "decoder": whole["decoder"] | {"word_dropout": 0.5}}
    other = read(written(tmp_path, 'extends = "text-lm"\n'))
    assert other["latent"] == read("text-lm")["latent"] == 0 and "extends" not in other


LANGUAGE_MODELS = [name for name in shipped() if name.endswith("-lm")]
DROPPED = ("dropout", "word_dropout")  # what a language model and a VAE may each have their own of


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_language_model_is_its_own_decoder_without_a_code(name: str) -> None:
    mine = read(name)
    of = next(n for n in (name.removesuffix("-lm"), name.replace("-lm", "-vae")) if n in shipped())
    decoders = [
        {key: value for key, value in recipe["decoder"].items() if key not in DROPPED}
        for recipe in (mine, read(of))
    ]
    assert mine["latent"] == 0 and mine["training"]["select"] == "negative_elbo"
    assert decoders[0] == decoders[1]


def test_the_recipe_of_sentences_has_a_language_model_to_be_held_against() -> None:
    assert f"{SENTENCES}-lm" in LANGUAGE_MODELS and len(LANGUAGE_MODELS) > 10


def test_the_terms_of_a_recipe_are_all_that_it_names(tmp_path: Path) -> None:
    mmd = read(written(tmp_path, '[objective.terms.mmd]\nkind = "MMD"\nweight = 10.0\n'))
    assert mmd["objective"]["terms"] == {"mmd": {"kind": "MMD", "weight": 10.0}}
    floor = read(written(tmp_path, "[objective.terms.kl]\nnats = 0.1\n"))
    assert floor["objective"]["terms"]["kl"] == read(DEFAULT)["objective"]["terms"]["kl"] | {
        "nats": 0.1
    }


def test_a_recipe_that_is_extended_is_looked_for_beside_the_one_that_extends_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "base.toml").write_text("latent = 5\n", "utf-8")
    assert read(written(tmp_path, 'extends = "base.toml"\n'))["latent"] == 5


def test_a_recipe_of_any_name_is_whole(tmp_path: Path) -> None:
    assert read(written(tmp_path, f'name = "{DEFAULT}"\n')) == read(DEFAULT)


def test_a_circle_of_recipes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, 'extends = "b.toml"\n', "a.toml")
    written(tmp_path, 'extends = "a.toml"\n', "b.toml")
    with pytest.raises(Refused, match="circle"):
        read("a.toml")


def test_a_section_of_another_kind_starts_afresh() -> None:
    base = {"latent": 8, "encoder": {"kind": "LSTMEncoder", "embed": 4, "pool": "max"}}
    same = merge(base, {"encoder": {"embed": 5}})
    assert same["encoder"] == {"kind": "LSTMEncoder", "embed": 5, "pool": "max"}
    named = merge(base, {"encoder": {"kind": "LSTMEncoder", "embed": 5}})
    assert named == same
    other = merge(base, {"encoder": {"kind": "TransformerEncoder", "width": 6}})
    assert other == {"latent": 8, "encoder": {"kind": "TransformerEncoder", "width": 6}}
    term = {"objective": {"kind": "Elbo", "terms": {"kl": {"kind": "FreeBits", "nats": 1.0}}}}
    plain = merge(term, {"objective": {"terms": {"kl": {"kind": "KL"}}}})
    assert plain["objective"] == {"kind": "Elbo", "terms": {"kl": {"kind": "KL"}}}
    assert base["encoder"] == {"kind": "LSTMEncoder", "embed": 4, "pool": "max"}  # untouched


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("latent=8", ("latent",), 8),
        ("training.epochs=3", ("training", "epochs"), 3),
        ("training.epochs=0.5", ("training", "epochs"), 0.5),
        ("encoder.pool=mean", ("encoder", "pool"), "mean"),
        ('encoder.pool="mean"', ("encoder", "pool"), "mean"),
        ("decoder.tied=false", ("decoder", "tied"), False),
        ("optimizer.betas=[0.5, 0.9]", ("optimizer", "betas"), [0.5, 0.9]),
        ("objective.terms.kl.nats=1.5", ("objective", "terms", "kl", "nats"), 1.5),
        ("data.source=a=b.txt", ("data", "source"), "a=b.txt"),
        ("name=x y", ("name",), "x y"),
    ],
)
def test_a_setting_changes_one_value_and_nothing_else(
    setting: str, where: tuple[str, ...], value: Any
) -> None:
    before = read(DEFAULT)
    after = override(before, [setting])
    assert differences(before, after) == {where: value}
    assert before == read(DEFAULT)


def differences(before: Any, after: Any, where: tuple[str, ...] = ()) -> dict[Any, Any]:
    """What is new in `after`, by its path."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        same = before == after and type(before) is type(after)
        return {} if same else {where: after}
    assert set(before) <= set(after)
    found: dict[Any, Any] = {}
    for key in after:
        found |= differences(before.get(key), after[key], (*where, key))
    return found


def test_a_setting_of_none_takes_a_value_away_and_braces_empty_a_section() -> None:
    given = {"optimizer": {"kind": "AdamW", "patience": 4}, "objective": {"terms": {"kl": {}}}}
    assert override(given, ["optimizer.patience=none", "objective.terms={}"]) == {
        "optimizer": {"kind": "AdamW"},
        "objective": {"terms": {}},
    }
    with pytest.raises(Refused, match="does not set it"):
        override(given, ["optimizer.rate=none"])
    for needed in ("latent", "name", "training.clip", "training.epochs", "optimizer.kind"):
        with pytest.raises(Refused, match="cannot do without it"):
            override(read(DEFAULT), [f"{needed}=none"])


def test_stages_are_replaced_as_a_whole_and_taken_away_but_not_set(tmp_path: Path) -> None:
    staged = read("text-pretrained")
    assert len(staged["stage"]) == 2
    mine = written(tmp_path, 'extends = "text-pretrained"\n[[stage]]\nfreeze = ["encoder"]\n')
    assert read(mine)["stage"] == [{"freeze": ["encoder"]}]
    assert "stage" not in override(staged, ["stage=none"])
    for setting in ("stage.steps=3", "stage=[]", "stage.name=none"):
        with pytest.raises(Refused, match=r"stages are a list.*extends"):
            override(staged, [setting])


def test_settings_are_applied_in_their_order() -> None:
    settings = ["encoder.kind=TransformerEncoder", "encoder.width=32", "encoder.width=64"]
    assert override(read(DEFAULT), settings)["encoder"] == {
        "kind": "TransformerEncoder",
        "width": 64,
    }


@pytest.mark.parametrize("setting", ["latent", "=3", "", "latent 3"])
def test_a_setting_that_sets_nothing_is_refused(setting: str) -> None:
    with pytest.raises(Refused, match=r"section\.key=value"):
        override(read(DEFAULT), [setting])


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"latnet": 3}, 'did you mean "latent"'),
        ({"decodr": {}}, 'did you mean "decoder"'),
        ({"training": {"epoch": 3}}, 'did you mean "epochs"'),
        ({"data": {"sauce": "x"}}, 'did you mean "source"'),
        ({"training": 3}, r"write \[training\]"),
        ({"latent": "many"}, "latent = 'many' is of type str"),
        ({"latent": 2.5}, "of type float; write a value of type int"),
        ({"latent": True}, "of type bool"),
        ({"training": {"epochs": "3"}}, "of type str; write a value of type float"),
        ({"training": {"by": "words"}}, "not one of: sentences, tokens"),
        ({"data": {"codec": "bpee"}}, "not one of: bpe"),
        ({"latent": -1}, "latent = -1"),
        ({"seed": -1}, "seed = -1"),
        ({"training": {"batch": 0}}, r"training\.batch = 0"),
        ({"training": {"accumulate": 0}}, r"training\.accumulate = 0"),
        ({"training": {"clip": 0.0}}, r"training\.clip = 0"),
        ({"training": {"clip": float("nan")}}, r"training\.clip = nan"),
        ({"training": {"epochs": float("inf")}}, r"training\.epochs = inf"),
        ({"training": {"lagging": -1}}, r"training\.lagging = -1"),
        ({"stage": 3}, r"write \[\[stage\]\]"),
        ({"stage": {"steps": 3}}, r"write \[\[stage\]\]"),
        ({"stage": [{"epoch": 1.0}, {}]}, r'stage\]\] 1 .*did you mean "epochs"'),
        ({"stage": [{"posterior": {}}]}, "no key 'posterior'"),
        ({"stage": [{"steps": 0}, {}]}, r"stage\.steps = 0"),
        ({"stage": [{"share": 1.0}, {}]}, "a share lies below 1"),
        ({"stage": [{}, {}]}, "stage.* 1 says no length"),
        ({"stage": [{"steps": 1, "share": 0.5}, {}]}, "says steps and share"),
        ({"stage": [{"steps": 3}]}, "goes on to the end of the run.*leave steps out"),
        ({"stage": [{"reset": "decoder"}]}, "of type str; write a value of type list"),
        ({"stage": [{"reset": ["decodr"]}]}, 'did you mean "decoder"'),
        ({"stage": [{"freeze": [1]}]}, "no network '1'"),
    ],
)
def test_an_unknown_key_a_wrong_type_or_choice_or_range_is_refused_with_the_cure(
    recipe: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        check(recipe)


@pytest.mark.parametrize("where", CHOICES)
def test_every_choice_is_allowed(where: str) -> None:
    section, key = where.split(".")
    for choice in CHOICES[where]:
        check({section: {key: choice}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"latent = = 3", "is no TOML"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b'extends = "txet"', 'did you mean "text"'),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(Refused, match=message):
        read(path)


def test_a_missing_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Refused, match='did you mean "text-lm"'):
        read("text_lm")


def test_recipes_know_every_codec_of_music_that_is_exported() -> None:
    # mypy takes no abstract class for a type; here it only sorts.
    assert set(MUSIC) == set(kinds_of(MusicCodec))  # type: ignore[type-abstract]
