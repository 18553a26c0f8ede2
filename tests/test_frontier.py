"""What each further nat of code repays: known answers, and the command that measures it."""

import json
import math
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tiny import hush, prepared, recipe, settings, weights_sum, write_text

from data_prep.text import prepare_text
from seqvae import fit as fitting
from seqvae import recipe as recipes
from seqvae import runs
from seqvae.__main__ import main
from seqvae.build import build
from seqvae.corpus import Corpus
from seqvae.errors import Refused
from seqvae.frontier import (
    APART,
    Frontier,
    Point,
    distinct,
    free_rate,
    interval,
    last_free,
    marginals,
)
from seqvae.objectives import Elbo
from seqvae.plots import rate_distortion
from seqvae.recipe import Recipe
from seqvae.regularizers import FreeBits
from seqvae.reports.rating import frontier, settings_at, write

ABOUT = {"recipe": {"name": "text"}}


def points(*pairs: tuple[float, float]) -> list[Point]:
    """A language model of 10 nats, and what follows it."""
    return [Point(str(place), *pair) for place, pair in enumerate([(0.0, 10.0), *pairs])]


# --- known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "steps", "free"),
    [
        ([(1, 9), (4, 6), (8, 2)], [1, 1, 1], 8),  # repays all of it
        ([(1, 9.9), (4, 9.6), (8, 9.6)], [0.1, 0.1, 0], 0),  # never does
        ([(2, 8.2), (4, 6.3), (8, 5.3), (9, 4.3)], [0.9, 0.95, 0.25, 1], 4),  # breaks inside
        ([(2, 10.5), (4, 6)], [-0.25, 2.25], 0),  # does harm at first
        ([(2, 8), (4, 9)], [1, -0.5], 2),  # a point that another dominates
        ([(2, 7.5)], [1.25], 2),  # better than the language model
        ([], [], 0),
    ],
)
def test_every_step_repays_what_it_repays_and_the_free_rate_is_where_that_first_falls_short(
    pairs: list[tuple[float, float]], steps: list[float], free: float
) -> None:
    assert marginals(points(*pairs)) == pytest.approx(steps)
    assert free_rate(points(*pairs)) == free


def test_the_order_in_which_points_are_given_is_of_no_account() -> None:
    given = points((2, 8.2), (4, 6.3), (8, 5.3))
    assert distinct(given[::-1]) == given
    assert last_free([given[2], given[0], given[3], given[1]]) == given[2]


def test_less_may_be_asked_of_a_nat() -> None:
    assert free_rate(points((2, 8.4), (4, 7.2)), least=0.5) == 4
    assert free_rate(points((2, 8.4), (4, 7.2)), least=0.7) == 2


def test_of_points_that_coincide_the_lower_negative_elbo_stays() -> None:
    lm, a, b, c = points((2, 8.2), (2.1, 8.0), (2.3, 9))
    assert distinct([lm, a, b, c]) == [lm, b]
    assert distinct([lm, a, c]) == [lm, a, c], "0.3 nats apart"
    assert distinct([lm, a, a]) == [lm, a]


def test_a_chain_of_near_points_leaves_none_nearer_than_that() -> None:
    chain = points(*((1 + 0.1 * i, 9 - 0.1 * i) for i in range(12)))
    kept = [point.rate for point in distinct(chain)]
    assert len(kept) > 2
    assert all(b - a >= APART for a, b in pairwise(kept))


def test_the_model_without_a_code_stays_though_a_collapsed_one_be_better() -> None:
    lm, collapsed, used = points((0.2, 9.1), (2, 8))
    assert distinct([collapsed, used, lm]) == [lm, used]
    assert marginals(distinct([collapsed, used, lm])) == [1.0]


def values(rate: float, distortion: float, noise: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Rate and distortion of 400 sentences of exactly these means, of very unequal length."""
    random = torch.Generator().manual_seed(seed)
    own = torch.randn(400, 2, generator=random)
    own = noise * (own - own.mean(0))
    length = torch.linspace(-5, 5, 400)[:, None] * torch.tensor([0.0, 1.0])
    return torch.tensor([rate, distortion]) + own + length


def test_sentences_that_differ_by_length_only_leave_no_doubt() -> None:
    """Paired: what is long is long for both models."""
    assert interval(values(2, 8), values(4, 7)) == pytest.approx((0.5, 0.5), abs=1e-5)


def test_an_interval_holds_the_marginal_and_narrows_as_the_noise_does() -> None:
    def of(noise: float) -> tuple[float, float]:
        return interval(values(2, 8), values(4, 7, noise, seed=1))

    for noise in (0.5, 2.0):
        low, high = of(noise)
        assert low < 0.5 < high
        # The delta method: (D' - D) / (R' - R), noise on both, 400 sentences.
        error = noise * math.sqrt(1 + 0.5**2) / 2 / math.sqrt(400)
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_an_interval_reaches_its_level() -> None:
    """Of 100 sets of sentences, about 95 intervals hold the truth."""
    held = 0
    for seed in range(100):
        random = torch.Generator().manual_seed(seed)
        before, after = torch.randn(2, 80, 2, generator=random)
        low, high = interval(
            before + torch.tensor([0.0, 10]), after + torch.tensor([5.0, 7]), seed=seed
        )
        held += low <= 0.6 <= high
    assert 88 <= held <= 100


# --- a frontier ---------------------------------------------------------------------------------


def found(**models: torch.Tensor) -> Frontier:
    named = {name.replace("_", "-"): value for name, value in models.items()}
    floors = {name: float(name.split("-")[1]) for name in named if name != "lm"}
    return Frontier(named, floors, ABOUT)


def test_a_frontier_says_what_is_free() -> None:
    it = found(floor_4=values(4, 6.2), lm=values(0, 10), floor_8=values(8, 5.2))
    assert it.free.name == "floor-4"
    assert [row[0] for row in it.rows()] == ["run", "lm", "floor-4", "floor-8"]
    assert it.rows()[2] == ("floor-4", "4.00", "6.20", "10.20", "0.95", "0.95 [0.95, 0.95]")
    assert it.rows()[1][4:] == ("—", "—")
    assert it.reading().startswith("Up to about 4.0 nats a sentence a code costs next to nothing")
    assert it.notes() == []


def test_what_was_not_found_is_said() -> None:
    lm = values(0, 10)
    assert (
        "is free here: each nat of floor-2 repays 0.50"
        in found(lm=lm, floor_2=values(2, 9)).reading()
    )
    assert "No run came to use its code" in found(lm=lm, floor_2=values(0.1, 10)).reading()
    assert "try higher --floors" in found(lm=lm, floor_2=values(2, 8)).reading()
    deaf, unsure, twin = (
        found(lm=lm, floor_2=values(2, 9.98, 1.0)),
        found(lm=lm, floor_2=values(2, 8.1, 1.0)),
        found(lm=lm, floor_2=values(2, 8), floor_3=values(2.1, 8.5)),
    )
    assert deaf.notes() == ["floor-2: no further nat is seen to come back."]
    assert unsure.notes() == ["floor-2: other sentences might put its step beyond 0.9."]
    assert twin.notes() == ["floor-3 lies within 0.25 nats of another: no step leads to it."]
    assert twin.rows()[-1][-1] == "—"
    short = Frontier({"lm": lm}, {}, {**ABOUT, "last_gain": 0.5})
    assert "lm still gained 0.50 nats" in short.notes()[0]


def test_a_frontier_speaks_of_items_as_their_codec_does() -> None:
    named = {"lm": values(0, 10), "floor-2": values(2, 8.1, 1.0)}
    it = Frontier(named, {"floor-2": 2.0}, {**ABOUT, "noun": "window"})
    assert it.notes() == ["floor-2: other windows might put its step beyond 0.9."]
    assert it.unit == "nats a window"
    free = Frontier({**named, "floor-2": values(2, 8)}, {"floor-2": 2.0}, {"noun": "window"})
    assert free.reading().startswith("Up to about 2.0 nats a window a code costs next to nothing")


def test_a_rate_that_rounds_below_zero_does_not_take_the_place_of_the_language_model() -> None:
    it = found(lm=values(0, 10), floor_1=values(-1e-6, 9), floor_4=values(4, 6))
    assert it.points[0].name == "lm"
    assert it.steps["floor-4"].marginal == pytest.approx(1)


def test_what_is_written_is_what_was_found(tmp_path: Path) -> None:
    it = found(lm=values(0, 10), floor_4=values(4, 6.2), floor_5=values(4.1, 6.6))
    numbers, figure = write(it, tmp_path / "new")
    assert json.loads(numbers.read_bytes()) == it.as_json()
    assert it.as_json()["free_rate"] == pytest.approx(4)
    assert it.as_json()["free_floor"] == 4
    assert [point["marginal"] is None for point in it.as_json()["points"]] == [True, False, True]
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_one_sentence_has_no_interval() -> None:
    it = found(lm=values(0, 10)[:1], floor_4=values(4, 6.2)[:1])
    assert it.as_json()["points"][1]["interval"] is None
    assert "NaN" not in json.dumps(it.as_json())


# --- the figure ---------------------------------------------------------------------------------


def test_a_figure_draws_named_points_and_what_they_are_worth() -> None:
    (axes,) = rate_distortion([("b", 4, 7), ("lm", 0, 10), ("a", 2, 8)], 10, "t").axes
    drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
    assert drawn[1:] == [[[0, 10], [4, 6]], [[0, 10], [2, 8], [4, 7]]]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [10, 10]
    assert [text.get_text() for text in axes.texts] == ["lm", "a", "b"]
    assert axes.get_title(loc="left") == "t"
    assert all("nats a sentence" in label for label in (axes.get_xlabel(), axes.get_ylabel()))


def test_points_may_be_drawn_without_a_language_model() -> None:
    (axes,) = rate_distortion([("a", 2, 8), ("b", 4, 7)]).axes
    assert len(axes.lines) == 1
    assert axes.get_legend() is None


# --- the recipes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "count"),
    [
        (None, 2),  # the floor and the words
        ({"kind": "Elbo", "terms": {"kl": {"kind": "KL"}}}, 4),
        ({"kind": "InfoVAE", "alpha": 0.5, "lambda": 10.0}, 4),
        (
            {
                "kind": "Elbo",
                "terms": {
                    "kl": {"kind": "FreeBits", "nats": 1.0, "per": "batch_dimension"},
                    "mmd": {"kind": "MMD"},
                },
            },
            4,
        ),
    ],
)
def test_the_settings_that_are_named_make_the_model_of_that_floor(
    objective: Recipe | None, count: int
) -> None:
    given = recipe()
    if objective is not None:
        given["objective"] = objective
    changes = settings_at(given, 4.0, 2)
    assert len(changes) == count + 1
    at_floor = recipes.override(given, changes)
    assert at_floor["decoder"]["word_dropout"] == 0
    made = build(at_floor, 40).objective
    assert isinstance(made, Elbo)
    [floor] = made.penalties.values()
    assert isinstance(floor, FreeBits)
    assert (floor.nats, floor.per) == (2.0, "batch_dimension")
    assert made.schedules["kl"](0) == 1


@pytest.mark.parametrize(("floor", "latent", "nats"), [(16, 32, 0.5), (1, 2, 0.5), (0.1, 1, 0.1)])
def test_a_code_has_as_many_dimensions_as_its_floor_needs(
    floor: float, latent: int, nats: float
) -> None:
    at_floor = recipes.override(recipe(), settings_at(recipe(), floor))
    assert at_floor["latent"] == latent
    assert at_floor["objective"]["terms"]["kl"]["nats"] == pytest.approx(nats)


# --- the runs -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_curves() -> Any:
    """Pictures of training cost more than training."""
    with patch.multiple(fitting, curves=hush, save=lambda figure, path: path):
        yield


def measured(
    corpus: Corpus,
    folder: Path,
    *,
    floors: tuple[float, ...] = (1.0, 4.0),
    say: Callable[[str], None] = hush,
    tick: Callable[[str, int, int], None] | None = None,
    **other: Any,
) -> Frontier:
    return frontier(recipe(**other), corpus, folder, floors=floors, say=say, tick=tick)


def test_a_stopped_frontier_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    corpus = prepared(tmp_path)
    said: list[str] = []

    def stop(run: str, step: int, steps: int) -> None:
        if run.startswith("floor-4") and step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(corpus, tmp_path / "a", tick=stop)
    again = measured(corpus, tmp_path / "a", say=said.append)
    whole = measured(corpus, tmp_path / "b")
    assert sum("is trained already" in line for line in said) == 2
    assert "going on from step 3" in said
    for run in ("lm", "floor-1", "floor-4"):
        assert weights_sum(tmp_path / "a" / run) == weights_sum(tmp_path / "b" / run)
    assert again.points == whole.points
    more = measured(corpus, tmp_path / "a", floors=(1.0, 2.0, 4.0))
    assert [p for p in more.points if p.name != "floor-2"] == whole.points, "one may be added"
    assert runs.read_recipe(tmp_path / "a" / "lm")["latent"] == 0


def test_runs_of_another_recipe_or_corpus_are_not_mixed_in(tmp_path: Path) -> None:
    corpus = prepared(tmp_path)
    measured(corpus, tmp_path / "a", floors=(1.0,), training_steps=2)
    (tmp_path / "other").mkdir()
    other = prepared(tmp_path / "other", 150)
    before = weights_sum(tmp_path / "a" / "lm")
    with pytest.raises(Refused, match=r"lm was trained on another corpus.*--out"):
        measured(other, tmp_path / "a", training_steps=2)
    with pytest.raises(Refused, match=r"lm was trained with decoder.hidden = 8, not 9.*--out"):
        measured(corpus, tmp_path / "a", training_steps=2, decoder_hidden=9)
    with pytest.raises(Refused, match=r"seed = 0, not 1"):
        measured(corpus, tmp_path / "a", training_steps=2, seed=1)
    (tmp_path / "a" / "lm" / "corpus.json").unlink()
    with pytest.raises(Refused, match="another corpus"):
        measured(corpus, tmp_path / "a", training_steps=2)
    assert weights_sum(tmp_path / "a" / "lm") == before


def test_epochs_are_the_recipes_but_few_and_said_ones_go_before_steps(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, 60)
    given = recipe()
    frontier(given, corpus, tmp_path / "a", floors=(1.0,), epochs=0.5, say=hush)
    training = runs.read_recipe(tmp_path / "a" / "floor-1")["training"]
    assert training["epochs"] == 0.5 and "steps" not in training
    del given["training"]["steps"]
    frontier(given, corpus, tmp_path / "b", floors=(1.0,), say=hush)
    assert runs.read_recipe(tmp_path / "b" / "lm")["training"]["epochs"] == 3
    assert given["training"]["epochs"] == 10


# --- the command --------------------------------------------------------------------------------


def sets(**other: Any) -> list[str]:
    return [word for setting in settings(**other) for word in ("--set", setting)]


def contents(folder: Path) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_leaves_numbers_and_a_figure_and_trains_nothing_twice(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text, out = write_text(tmp_path / "my text.txt"), tmp_path / "rate"
    command = ["rate", str(text), "--out", str(out), "--floors", "4,1", "--device", "cpu"]
    assert main([*command, *sets(training_steps=6)]) == 0
    first = capfd.readouterr()
    report = json.loads((out / "frontier.json").read_bytes())
    assert report["points"][0]["run"] == "lm"
    assert {point["run"] for point in report["points"]} == {"lm", "floor-1", "floor-4"}
    assert {"version", "recipe", "corpus", "seed", "device", "items"} <= set(report["about"])
    assert report["about"]["items"] == len(Corpus(out / "corpus").split("valid"))
    lm = runs.open_run(out / "lm").trainer["figures"]
    assert report["points"][0]["distortion"] == pytest.approx(lm["negative_elbo"], rel=1e-5)
    assert (out / "figures" / "frontier.png").is_file()
    assert "marginal repayment" in first.out
    assert report["notes"][0] in first.out
    before = contents(out)
    assert main([*command, *sets(training_steps=6)]) == 0
    again = capfd.readouterr()
    assert again.err.count("is trained already") == 3
    assert "million weights" in first.err and "million weights" not in again.err
    ours = {out / "frontier.json"}  # which says when
    assert {p: b for p, b in contents(out).items() if p not in ours} == {
        p: b for p, b in before.items() if p not in ours
    }


def test_the_command_that_is_named_at_the_end_trains_at_the_free_rate(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = prepared(tmp_path).folder
    free = found(lm=values(0, 10), floor_4=values(4, 6.2), floor_8=values(8, 5.2))
    monkeypatch.setattr("seqvae.reports.rating.frontier", lambda *_, **__: free)
    options = ["--out", str(tmp_path / "rate"), "--seed", "3", *sets(latent=8, training_steps=2)]
    assert main(["rate", str(corpus), *options]) == 0
    told = re.search(r"To train at it: seqvae (.*)", capfd.readouterr().out)
    assert told is not None
    assert "--set objective.terms.kl.nats=0.5 --set decoder.word_dropout=0" in told[1]
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(told[1]), "--out", str(tmp_path / "run")]) == 0
    trained = runs.read_recipe(tmp_path / "run")
    assert (trained["seed"], trained["latent"], trained["training"]["steps"]) == (3, 8, 2)
    assert trained["objective"]["terms"]["kl"]["nats"] == 0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--floors one,2", "--floors one,2: write numbers with commas, as in 1,2,4,8,16"),
        ("--floors 1,-2", "a floor of -2 nats: floors are numbers above 0"),
        ("--floors 0", "a floor of 0 nats"),
        ("--floors nan", "a floor of nan nats"),
        ("--floors 1e400", "a floor of inf nats"),
        ("--floors ,", "no floors: name some"),
        ("--epochs 0", "training.epochs = 0.0: it must be above 0"),
        ("--set latent=0", "latent = 0, so no code.*--set latent=32"),
        ("--recipe nosuch", "nosuch"),
        ("--set posterior.kind=DeltaPosterior", "no density"),
    ],
)
def test_wrong_input_is_one_line_and_trains_nothing(
    options: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    corpus = prepared(tmp_path, 60).folder
    command = ["rate", str(corpus), "--out", str(tmp_path / "rate"), *sets()]
    assert main([*command, *options.split(" ", 1)]) == 2
    sys.stdout.flush()
    [line] = capfd.readouterr().err.splitlines()
    assert re.search(says, line), line
    assert not (tmp_path / "rate").exists()


def test_a_corpus_that_cannot_be_validated_on_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = write_text(tmp_path / "t.txt", 60)
    prepare_text([text], tmp_path / "corpus", codec="word", valid_fraction=0.0)
    for corpus, says in (("corpus", "no split 'valid'.*--valid"), ("nosuch", "no such file")):
        assert main(["rate", str(tmp_path / corpus), "--out", str(tmp_path / "r"), *sets()]) == 2
        [line] = capfd.readouterr().err.splitlines()
        assert re.search(says, line), line
    assert not runs.is_run(tmp_path / "r" / "lm")
