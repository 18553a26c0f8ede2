"""The runs of a frontier: a language model and one VAE a floor of free bits, on one corpus."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__, runs
from ..build import build, complete
from ..corpus import Corpus
from ..data import Items, in_order
from ..errors import Refused, Stopped
from ..evaluate import Tell, encode_all
from ..fit import Say, fit
from ..frontier import BASELINE, Frontier
from ..log import read_log
from ..plots import rate_distortion, save
from ..recipe import CORRUPTING, SECTIONS, Recipe, override
from ..rows import nats

FLOORS = (1.0, 2.0, 4.0, 8.0, 16.0)  # nats an item
EPOCHS = 3.0  # of each run, unless said otherwise: enough to see where repayment ends
EACH = 0.5  # nats a dimension, where the recipe does not say: a nat spread thin repays less


def write(found: Frontier, folder: Path) -> list[Path]:
    """Write frontier.json and its figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = folder / "frontier.json"
    runs.write_text(numbers, json.dumps(found.as_json(), indent=1) + "\n")
    title = f"Rate and distortion: {found.about['recipe']['name']}"
    figure = rate_distortion(found.points, found.language_model, title, found.unit)
    return [numbers, save(figure, folder / "figures" / "frontier.png")]


def frontier(
    recipe: Recipe,
    corpus: Corpus,
    folder: Path,
    *,
    floors: Sequence[float] = FLOORS,
    latent: int | None = None,
    epochs: float | None = None,
    device: str = "cpu",
    limit: int = 2000,
    say: Say = print,
    tick: Tell | None = None,
) -> Frontier:
    """Train a language model and one VAE a floor, and measure all on the validation split.

    They are the runs folder/lm, folder/floor-2, … Those that are there are not trained again,
    and a stopped one goes on. Up to `limit` items, evenly spread, are measured, at z drawn
    once from q(z|x).

    Arguments:
        floors: of free bits, nats an item, above 0.
        latent: dimensions of every code; None: as many as the floor needs.
        epochs: of each run; None: the recipe's, `EPOCHS` at most.
        tick: receives (run, step, steps) as it goes.

    Raises `Refused` for a recipe that has no code or no KL, a corpus without a validation split,
    and a run in `folder` that was begun with another recipe or corpus.
    """
    check_floors(floors)
    named = {f"floor-{floor:g}": floor for floor in sorted(set(floors))}
    unit = nats(corpus.codec.noun)
    planned = _planned(_shortened(recipe, epochs), named, latent, unit)
    items = corpus.split("valid")
    where = str(runs.find_device(device))
    for name, variant in planned.items():
        build(variant, **corpus.codec.extent._asdict())
        _check_begun(folder / name, variant, corpus)
    say(f"{len(planned)} runs in {folder}: {', '.join(planned)}")
    for name, variant in planned.items():
        _train(variant, corpus, folder / name, where, say, tick)
    values = {name: _values(folder / name, items, limit, where) for name in planned}
    about = {
        **_about(recipe, planned[BASELINE], corpus, where, len(values[BASELINE])),
        "latent": {name: variant["latent"] for name, variant in planned.items()},
        "last_gain": _last_gain(folder / BASELINE),
    }
    return Frontier(values, named, about)


def check_floors(floors: Sequence[float]) -> None:
    """Raise `Refused` where there is no floor, or one that is no number of nats."""
    if not floors:
        raise Refused("no floors: name some nats a sentence to leave free, such as 1,2,4,8,16.")
    for floor in floors:
        if not 0 < floor < math.inf:
            raise Refused(
                f"a floor of {floor:g} nats: floors are numbers above 0, such as 1,2,4,8,16. "
                "The model without a code is always there."
            )


def settings_at(recipe: Recipe, floor: float, latent: int | None = None) -> list[str]:
    """What `--set` makes of a recipe its model at a floor of so many nats an item.

    With `latent` dimensions, or as many as leave each the nats that the recipe gives it: on
    Tatoeba one nat repaid 0.59 over 16 dimensions and 0.93 over 4. As in `frontier`, no word is
    dropped: without some of its words the language model would be worse, and a code seem to repay
    more.
    """
    floored = _has_floor(recipe["objective"])
    each = recipe["objective"]["terms"]["kl"].get("nats", EACH) if floored else EACH
    size = latent or max(round(floor / each), 1)
    nats = f"{floor / size:.6g}"
    term = f'{{kind = "FreeBits", nats = {nats}, per = "batch_dimension"}}'
    changes = [f"latent={size}"]
    if floored:
        changes += [f"objective.terms.kl.nats={nats}"]
    else:
        changes += ["objective.kind=Elbo", "objective.terms={}", f"objective.terms.kl={term}"]
    decoder = complete(recipe)["decoder"]
    return [*changes, *(f"decoder.{name}=0" for name in CORRUPTING if decoder.get(name))]


def _has_floor(objective: Mapping[str, Any]) -> bool:
    """Whether its loss is the ELBO with a floor already, of which only the height is to be set."""
    terms = objective.get("terms", {})
    floor = terms.get("kl", {})
    wanted = {"kind": "FreeBits", "per": "batch_dimension"}
    alone = objective["kind"] == "Elbo" and set(terms) == {"kl"}
    return alone and {key: floor[key] for key in floor if key != "nats"} == wanted


def _shortened(recipe: Recipe, epochs: float | None) -> Recipe:
    training = recipe["training"]
    if epochs is None and "steps" in training:
        return recipe
    wanted = min(training["epochs"], EPOCHS) if epochs is None else epochs
    whole = ["training.steps=none"] if "steps" in training else []
    return override(recipe, [*whole, f"training.epochs={wanted}"])


def _planned(
    recipe: Recipe, floors: Mapping[str, float], latent: int | None, unit: str
) -> dict[str, Recipe]:
    """The recipe of every run, by its name, the language model's first."""
    if recipe["latent"] == 0:
        raise Refused(
            f"the recipe {recipe['name']!r} has latent = 0, so no code to give nats to. Name one "
            "that has a code (--recipe text), or set one: --set latent=32."
        )
    found = {n: override(recipe, settings_at(recipe, f, latent)) for n, f in floors.items()}
    first = next(iter(found.values()))
    plain = {"kind": "Elbo", "terms": {"kl": {"kind": "KL"}}}
    training = {**first["training"], "select": "negative_elbo"}
    lm = {**first, "latent": 0, "objective": plain, "training": training}
    return {
        name: {**run, "name": f"{recipe['name']}-{name}", "about": _describe(name, floors, unit)}
        for name, run in {BASELINE: lm, **found}.items()
    }


def _describe(name: str, floors: Mapping[str, float], unit: str) -> str:
    if name == BASELINE:
        return "The language model of a rate-distortion frontier: its decoder without a code."
    return f"Of a rate-distortion frontier: {floors[name]:g} {unit} are free."


def _check_begun(folder: Path, recipe: Recipe, corpus: Corpus) -> None:
    """Refuse a run that is there and was begun otherwise: its point would be of another curve."""
    if not runs.is_run(folder):
        return
    if _checksum(folder) != corpus.checksum:
        raise Refused(
            f"{folder} was trained on another corpus than {corpus.folder}. Choose another --out."
        )
    now, before = dict(_said(complete(recipe))), dict(_said(runs.read_recipe(folder)))
    for key in sorted({*now, *before}):
        if now.get(key) != before.get(key):
            raise Refused(
                f"{folder} was trained with {key} = {before.get(key)!r}, not {now.get(key)!r}. "
                "Choose another --out, or the settings it has."
            )


def _checksum(folder: Path) -> str | None:
    """Of the corpus that a run says it was trained on."""
    try:
        return str(json.loads((folder / "corpus.json").read_bytes())["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _said(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """What decides the numbers of a run, by dotted name; of its data the checksum speaks."""
    for key in ("latent", "seed", *(section for section in SECTIONS if section != "data")):
        yield from _flat(key, recipe[key])
    head = recipe.get("label", {})  # its names are the corpus's, which a run fills in
    yield from _flat("label", {key: said for key, said in head.items() if key != "names"})


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(f"{name}.{key}", inner)


def _train(
    recipe: Recipe, corpus: Corpus, folder: Path, device: str, say: Say, tick: Tell | None
) -> None:
    if (folder / "card.md").is_file():  # the last that a run writes
        say(f"{folder} is trained already")
        return

    def told(step: int, steps: int, numbers: Mapping[str, float]) -> None:
        if tick is not None:
            tick(f"{folder.name}, step", step, steps)

    say(f"{folder.name}: {recipe['about']}")
    try:
        fit(
            recipe,
            corpus,
            folder,
            device=device,
            resume=runs.is_run(folder),
            say=say,
            tick=told,
        )
    except Stopped as stopped:
        # Its own sentence would finish this run only.
        stopped.args = (f"stopped in {folder} and saved; the same command goes on from there",)
        raise


def _values(folder: Path, items: Items, limit: int, device: str) -> Tensor:
    """Rate and distortion of every item (N, 2), in the order of the split."""
    vae = runs.open_run(folder, device=device).built.vae
    codes = encode_all(vae, in_order(items, 64, limit), seed=0)
    if codes.rate is None:
        raise Refused(f"{folder}: its posterior or prior has no density, so its code no rate.")
    return torch.stack([codes.rate, codes.reconstruction], 1).double()[codes.item.argsort()]


def _last_gain(folder: Path) -> float | None:
    """What the last validation of a run gained on the one before, in -ELBO, nats an item."""
    found = [row["negative_elbo"] for row in read_log(folder) if row["kind"] == "valid"]
    return found[-2] - found[-1] if len(found) > 1 else None


def _about(
    recipe: Recipe, baseline: Recipe, corpus: Corpus, device: str, items: int
) -> dict[str, Any]:
    """What the frontier was measured on, and with what."""
    training, noun = baseline["training"], corpus.codec.noun
    length = {key: training[key] for key in ("steps", "epochs") if key in training}
    return {
        "version": __version__,
        "torch": torch.__version__,
        "recipe": recipe,
        "trained_for": length if "steps" not in length else {"steps": length["steps"]},
        "corpus": corpus.checksum,
        "noun": noun,
        "split": "valid",
        "items": items,
        "seed": recipe["seed"],
        "device": device,
        "intervals": f"95 %, {noun}s drawn again, the same of every run; one training each",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
