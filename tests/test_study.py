"""Studies: what is read, who does what, what is compared, chosen and told; every cell builds."""

import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from tiny import hush, prepared, write_text

from data_prep.grammar import FACTORS, write_grammar
from data_prep.images import prepare_images
from seqvae import claims, runs
from seqvae import fit as fitting
from seqvae.build import build
from seqvae.claims import claim
from seqvae.codecs.codec import Extent
from seqvae.corpus import Corpus, open_corpus
from seqvae.errors import Refused
from seqvae.estimate import count_weights
from seqvae.frontier import Point
from seqvae.matched import at_rate, best, hull, ranked, regret, stand
from seqvae.metrics import bootstrap, hierarchical_bootstrap
from seqvae.plan import plan_stages
from seqvae.recipe import merge
from seqvae.study import Cell, Study, read_study, running, tables, trying
from seqvae.study.choosing import choose
from seqvae.study.design import Sizes, shortened, sized
from seqvae.study.packing import pack, unpack
from seqvae.study.records import Records, chosen, finals
from seqvae.study.running import Bench
from seqvae.study.trying import try_cells

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "scripts" / "studies").glob("*.toml"))
SCRIPT = ROOT / "scripts" / "collapse_study.py"
WORDS = Extent(8)
TINY = """
name = "tiny"
recipe = "text"
reference = "vae"
final_seeds = [1, 2]
rates = [0.5, 1.0]
set = ["latent=2", "encoder.embed=8", "encoder.hidden=8", "decoder.embed=8", "decoder.hidden=8",
       "decoder.word_dropout=0.0", "optimizer.patience=none", "optimizer.warm_up=0",
       "optimizer.rate=0.01", "training.batch=16", "training.steps=6", "training.save_every=3",
       "training.precision=float32", "objective.terms.kl.kind=KL"]
[measure]
samples = 3
sample_items = 10
[[corpus]]
name = "cats"
codec = "word"
[[decoder]]
name = "lstm"
[[language_model]]
name = "lm"
knob = "optimizer.rate"
values = [0.01, 0.02]
[[language_model]]
name = "lm-same"
knob = "optimizer.rate"
values = [0.01, 0.02]
grow = true
[[remedy]]
name = "vae"
knob = "objective.terms.kl.weight"
values = [0.1, 1.0]
[[remedy]]
name = "delta"
set = ["posterior.kind=BoundedPosterior", "posterior.nats=3.0"]
knob = "optimizer.rate"
values = [0.01, 1e38]
"""
GROWN = """
[[remedy]]
name = "fixed"
knob = "posterior.sigma"
values = [0.5, 0.7]
"""
WIDE = """
[[decoder]]
name = "wide"
set = ["decoder.hidden=12"]
"""
FAILS = Path("cats/lstm/delta/1e+38/seed0")  # it diverges, which only running it tells


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepared(tmp_path_factory.mktemp("cats"))


def tiny(folder: Path, text: str = TINY) -> Study:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.toml").write_text(text, "utf-8")
    return read_study(folder / "tiny.toml")


def records(folder: Path, corpus: Corpus, text: str = TINY) -> Records:
    study = tiny(folder, text)
    return Records(study, sized(study, {"cats": corpus}), folder / "out")


def bench(made: Records, corpus: Corpus, said: list[str] | None = None) -> Bench:
    torch.set_num_threads(1)
    return Bench(made, {"cats": corpus}, say=hush if said is None else said.append)


# --- at matched rates ----------------------------------------------------------------------------


def test_a_hull_lies_under_every_point_and_falls_ever_more_slowly() -> None:
    draw = random.Random(0)
    for _ in range(200):
        points = [
            Point("p", draw.randrange(9), draw.randrange(20)) for _ in range(draw.randint(1, 8))
        ]
        line = hull(points)
        assert line[0][0] == min(p.rate for p in points)
        assert line[-1][0] == max(p.rate for p in points)
        for point in points:
            assert regret(point, line) >= -1e-9
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(line)]
        assert all(a <= b + 1e-9 for a, b in pairwise([*slopes, 0.0]))
        own = {(p.rate, p.distortion) for p in points}
        assert all(vertex in own for vertex in line[:-1])


def test_nothing_is_extrapolated() -> None:
    line = hull([Point("a", 2, 8), Point("b", 4, 6)])
    assert [at_rate(line, rate) for rate in (1.9, 2, 3, 4, 4.1)] == [None, 8, 7, 6, None]
    assert regret(Point("c", 9, 7), line) == 1, "beyond the end it is held against the end"
    assert at_rate([], 1) is None


def test_remedies_rank_by_what_they_need_at_one_rate_and_who_does_not_reach_it_is_last() -> None:
    good = [Point("0", 1, 9), Point("1", 4, 7)]
    bad = [Point("0", 1, 9.5), Point("1", 4, 8)]
    short = [Point("0", 0.5, 9.5), Point("1", 2, 8.2)]  # the best of all where it has models
    frontier = hull([Point("lm", 0, 10), *good, *bad, *short])
    named = {"bad": bad, "short": short, "good": good}
    standings = [stand(name, points, frontier, [1, 2, 4]) for name, points in named.items()]
    found = ranked(standings, 2)
    assert [standing.name for standing in found] == ["good", "bad", "short"]
    assert [standing.name for standing in ranked(standings, 1)] == ["short", "good", "bad"]
    assert found[1].excess[2] == pytest.approx(1) and found[2].missed == 1


def test_the_winning_value_is_no_collapsed_one_and_none_that_others_beat_at_its_rate() -> None:
    frontier = [(0.0, 10.0), (4.0, 7.0), (8.0, 6.0)]
    collapsed, beaten, near = Point("0", 0.01, 9.9), Point("1", 4, 8), Point("2", 5.6, 7)
    assert best([collapsed, beaten, near], frontier, 4, 1) == near
    assert best([collapsed, Point("3", 0.3, 9.9)], frontier, 4, 1).name == "3"


def test_the_longest_code_does_not_win_for_being_the_end_of_the_frontier() -> None:
    short, matched, long = Point("0", 2, 56), Point("1", 4.2, 55.9), Point("2", 40, 50.9)
    frontier = hull([Point("lm", 0, 57), short, long])
    assert regret(long, frontier) == 0 < regret(matched, frontier)
    assert best([short, matched, long], frontier, 4, 1) == matched
    assert best([short, long], frontier, 4, 1) == short, "the nearest in proportion"
    assert best([Point("3", 1.5, 57), long], frontier, 8, 1) == long


# --- the bootstrap over seeds and items ----------------------------------------------------------


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def test_both_seeds_and_items_are_drawn_again() -> None:
    """Of a_s + b_i the mean varies by var(a) / S + var(b) / N; drawn seeds have (S-1)/S of it."""
    torch.manual_seed(0)
    seeds, items = torch.randn(5, 1), torch.randn(1, 400)
    for a, b in ((0.0, 1.0), (1.0, 0.0), (0.3, 4.0)):
        known = (a * seeds).var(correction=0) / 5 + (b * items).var(correction=0) / 400
        found = hierarchical_bootstrap(a * seeds + b * items)
        assert width(found) == pytest.approx(2 * 1.96 * known.sqrt().item(), rel=0.12)


def test_items_are_the_same_for_all_seeds_and_of_one_seed_it_is_the_usual_bootstrap() -> None:
    torch.manual_seed(1)
    items = torch.randn(200, 2)
    of_one, usual = hierarchical_bootstrap(items[None, :, 0]), bootstrap(items[:, 0])
    assert of_one == pytest.approx(usual, abs=0.01)
    many = hierarchical_bootstrap(items[None, :, 0].expand(9, -1))
    assert width(many) == pytest.approx(width(usual), rel=0.1), "no surer by measuring again"
    ratio = hierarchical_bootstrap(
        torch.stack([items[:, 0], 2 * items[:, 0]], -1)[None], lambda m: m[:, 1] / m[:, 0]
    )
    assert ratio == pytest.approx((2, 2)), "columns stay together"
    assert all(value != value for value in hierarchical_bootstrap(torch.ones(3, 1)))


# --- what is read --------------------------------------------------------------------------------


def test_a_study_says_all_its_cells(tmp_path: Path, corpus: Corpus) -> None:
    made = records(tmp_path, corpus)
    study = made.study
    assert len(study.sweep()) == 4 * 2
    assert [entry.name for entry in study.language_models] == ["lm", "lm-same"]
    cell = Cell("cats", "lstm", "delta", 0, 0)
    assert study.place(cell) == Path("cells/cats/lstm/delta/0.01/seed0")
    recipe = made.sizes.recipe(cell)
    assert recipe["posterior"] == {"kind": "BoundedPosterior", "nats": 3.0}
    assert made.sizes.recipe(cell._replace(entry="lm"))["latent"] == 0


def test_a_language_model_grows_until_it_has_as_many_weights(
    tmp_path: Path, corpus: Corpus
) -> None:
    made = records(tmp_path, corpus)
    cell = Cell("cats", "lstm", "lm-same", 1, 0)
    wanted = made.sizes.weights(cell._replace(entry="vae"))
    size = made.sizes.size(cell)
    assert size is not None and made.sizes.recipe(cell)["decoder"]["hidden"] == size
    gap = {n: abs(made.sizes.weights(cell, n) - wanted) for n in (size - 8, size, size + 8)}
    assert min(gap, key=lambda n: gap[n]) == size
    assert made.sizes.size(cell._replace(entry="lm")) is None


def test_equal_compute_is_a_share_of_the_updates_and_of_every_stage() -> None:
    recipe = {"training": {"epochs": 8.0}, "stage": [{"steps": 100}, {"share": 0.5}, {}]}
    short = shortened(recipe, 0.25)
    assert short["training"] == {"epochs": 2.0}
    assert short["stage"] == [{"steps": 25}, {"share": 0.5}, {}]
    assert shortened({"training": {"steps": 3, "epochs": 1.0}}, 0.1)["training"]["steps"] == 1


def test_a_study_that_extends_another_changes_what_it_names(tmp_path: Path) -> None:
    tiny(tmp_path)
    words = 'extends = "tiny.toml"\nfinal_seeds = [7]\n[[remedy]]\nname = "delta"\n'
    words += 'knob = "posterior.sigma"\nvalues = [0.1, 0.2]\n'
    (tmp_path / "own.toml").write_text(words, "utf-8")
    study = read_study(tmp_path / "own.toml")
    assert study.final_seeds == (7,) and list(study.entries) == ["lm", "lm-same", "vae", "delta"]
    assert study.entries["delta"].knob == "posterior.sigma"
    (tmp_path / "own.toml").write_text('extends = "tiny.toml"\nonly = ["vae"]\n', "utf-8")
    assert [entry.name for entry in read_study(tmp_path / "own.toml").remedies] == ["vae"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("values = [0.01, 1e38]", "values = [3.0]", "tries 1 values and lm 2"),
        ("values = [0.01, 1e38]", "values = [3.0, 3.0]", "tries a value twice"),
        ("values = [0.01, 1e38]", "values = 0.5", r"delta values = 0.5: write a list, such as"),
        ("values = [0.01, 1e38]", 'values = [1, 2]\nnames = ["a"]', "name each"),
        ("values = [0.01, 1e38]", 'values = [1, 2]\nnames = ["a", "a"]', "each otherwise"),
        ("[0.01, 0.02]", "[]", "lm tries no value"),
        ('set = ["posterior.kind=', 'set = "posterior.kind=BoundedPosterior" #', "write a list"),
        ('set = ["posterior.kind=', 'set = [3] # ["', r"delta set = \[3\]: write a list"),
        ("[measure]", "[[measure]]", r"write \[measure\] with keys below"),
        ("[[decoder]]", "[decoder]", r"write \[\[decoder\]\] with keys below, once for each"),
        ("final_seeds = [1, 2]", "final_seeds = []", "name one or more, each once"),
        ("final_seeds = [1, 2]", "final_seeds = [1, 1]", "name one or more, each once"),
        ("final_seeds = [1, 2]", 'final_seeds = ["a"]', "write a list, such as final_seeds = "),
        ("final_seeds = [1, 2]", "final_seeds = [-1]", "seed -1: a seed is a whole number"),
        ("rates = [0.5, 1.0]", 'rates = ["a"]', "write a list, such as rates = "),
        ("rates = [0.5, 1.0]", "rates = [0.5, inf]", "rising rates"),
        ("samples = 3", "samples = -5", r"\[measure\] samples = -5: write a whole number, 0 or"),
        ("sample_items = 10", "sample_items = 0", "sample_items = 0: write a whole number, 1 or"),
        ("samples = 3", "samples = 0.5", "samples = 0.5: write a whole number"),
        ("final_seeds = [1, 2]", "final_seeds = [0, 1]", "seed 0 chooses the winners"),
        ("rates = [0.5, 1.0]", "rates = [1.0, 0.5]", "rising rates"),
        ("rates = [0.5, 1.0]", "rates = []", "rising rates"),
        ("rates = [0.5, 1.0]", "rates = [0.5, 1.0]\nfinal_rate = 2.0", "name one of rates"),
        ("samples = 3", "sample = 3", 'did you mean "samples"'),
        ('name = "delta"', 'name = "vae"', "comes twice"),
        ('name = "delta"', 'name = "lm"', "a remedy and a language model"),
        ('name = "delta"', 'name = "../delta"', "names a folder"),
        ('reference = "vae"', 'reference = "vea"', 'did you mean "vae"'),
        ('knob = "optimizer.rate"', 'knob = "optimzer.rate"', 'did you mean "optimizer"'),
        ('knob = "optimizer.rate"', "", "lm does not say its knob"),
        ('name = "tiny"', 'nme = "tiny"', 'did you mean "name"'),
        ('name = "tiny"', "name = 3", "name = 3: write a string, such as"),
        ("rates = [0.5, 1.0]", "", "does not say: rates"),
        ('name = "tiny"', "name = ", "is no study"),
        ('name = "tiny"', 'name = "tiny"\nwithout = ["bta"]', "has no remedy 'bta'"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_it_costs_hours(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in TINY
    with pytest.raises(Refused, match=says):
        tiny(tmp_path, TINY.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kl.weight", "kl.wight", "^vae, objective.terms.kl.wight = 0.1, decoder lstm, on cats: "),
        (
            "posterior.nats=3.0",
            "posterior.nats=-1.0",
            "^delta, optimizer.rate = 0.01, .*nats = -1",
        ),
        ("1e38", "-1.0", "^delta, optimizer.rate = -1.0, .*rate"),
        (
            'name = "delta"',
            'name = "delta"\nstage = [{share = 0.5}, {objective = {kind = "Elb"}}]',
            'did you mean "Elbo"',
        ),
        ("kl.weight", "kl.weight.steps", "^vae, objective.terms.kl.weight.steps = 0.1, "),
        (
            "grow = true",
            'grow = true\nset = ["decoder.kind=TransformerDecoder"]',
            "^lm-same, optimizer.rate = 0.01, .*hidden",
        ),
    ],
)
def test_a_cell_that_cannot_be_built_is_refused_by_its_entry_knob_and_value(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in TINY
    study = tiny(tmp_path, TINY.replace(old, new, 1))
    with pytest.raises(Refused, match=says):
        try_cells(study, {"cats": WORDS})


def test_cells_are_tried_with_the_length_of_their_corpus_and_each_recipe_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def count(*arguments: Any, **named: Any) -> Any:
        built.append(named["length"])
        return build(*arguments, **named)

    monkeypatch.setattr(trying, "build", count)
    text = f'{TINY}[[corpus]]\nname = "dogs"\n'
    try_cells(tiny(tmp_path, text), {"cats": WORDS, "dogs": WORDS})
    assert built == 8 * [None], "what is the same on two corpora is built once"
    del built[:]
    try_cells(tiny(tmp_path, text), {"cats": WORDS, "dogs": Extent(8, length=32)})
    assert built == 8 * [None] + 8 * [32]


# --- what is shipped -----------------------------------------------------------------------------

SIZES = ("embed", "hidden", "width")


def shrunk(made: dict[str, Any]) -> dict[str, Any]:
    for section in ("encoder", "decoder"):
        own = made[section]
        sizes = {k: [8] if isinstance(own[k], list) else 8 for k in SIZES if k in own}
        made = merge(made, {section: sizes}) if sizes else made  # an empty table empties it
    return made


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_cells_of_every_shipped_study_build(path: Path) -> None:
    study = read_study(path)
    length = 32 if path.stem.startswith("melody") else None
    shape = (14, 14, 1) if path.stem.startswith("pixels") else None
    some = (0, 3) if path.stem in ("snips", "melody") else (0,)  # the others differ in sizes
    for cell in [cell for cell in study.sweep() if cell.place in some]:
        size = 8 if study.entries[cell.entry].grow else None
        made = shrunk(study.recipe(cell, size))
        vocab = 30 if shape is None else 6
        built = build(made, vocab, length=196 if shape else length, shape=shape, steps=100)
        assert count_weights(built) > 0
        plan_stages(made, 100, 10)


def test_the_study_of_snips_holds_every_kind_that_is_a_remedy() -> None:
    from seqvae import objectives, posteriors, priors, regularizers

    study = read_study(ROOT / "scripts" / "studies" / "snips.toml")
    said = json.dumps([study.recipe(cell, 8) for cell in study.sweep()])
    kinds = [n for part in (objectives, posteriors, priors, regularizers) for n in vars(part)]
    aside = {"DeltaPosterior", "Fixed", "Product", "Ring", "SwissRoll"}  # no rate; or no remedy
    aside |= {"AttributeOrder", "CrossEntropy"}  # of pictures, of labels
    missing = [n for n in kinds if n[0].isupper() and n not in aside and f'"{n}"' not in said]
    assert not missing


# --- who does what -------------------------------------------------------------------------------


def left_by_the_dead(path: Path, number: int = 1) -> None:
    """A claim whose owner is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    machine = claims.me().rsplit(" ", 2)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"owner": f"{machine} {process.pid} 1", "number": number}))


def test_a_claim_is_one_processs_until_it_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with claim(path) as first, claim(path) as second:
        assert (first, second) == (1, 0)
    with claim(path) as again:
        assert again == 1
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_claim_of_the_dead_is_taken_over_and_its_tries_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    for number in (1, 2):
        left_by_the_dead(path, number)
        with claim(path) as mine:
            assert mine == number + 1
    assert not list(tmp_path.iterdir())


def test_a_claim_of_another_machine_counts_as_long_as_it_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text(json.dumps({"owner": "elsewhere  1 1", "number": 1}), "utf-8")
    with claim(path, stale=60) as mine:
        assert mine == 0
    long_ago = path.stat().st_mtime - 100
    os.utime(path, (long_ago, long_ago))
    with claim(path, stale=60, beat=0.01) as mine:
        assert mine == 2
        os.utime(path, (long_ago, long_ago))
        for _ in range(500):
            if path.stat().st_mtime > long_ago + 50:
                break
            time.sleep(0.01)
        assert path.stat().st_mtime > long_ago + 50, "it is touched while it is held"


@pytest.fixture(autouse=True, scope="module")
def without_pictures() -> Iterator[None]:
    """Curves of every cell, which cost more than its training."""
    with patch.multiple(fitting, curves=hush, save=hush):
        yield


def run(*arguments: object) -> None:
    with patch.object(sys, "argv", [str(SCRIPT), *map(str, arguments)]):
        runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.fixture(scope="module")
def swept(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose study, tiny.toml, was swept by the script into its folder out."""
    folder = tmp_path_factory.mktemp("swept")
    tiny(folder)
    words = (folder / "tiny.toml", folder / "out", "--corpus", f"cats={corpus.folder}")
    with pytest.raises(SystemExit) as end:
        run(*words, "--phase", "sweep")
    assert end.value.code == 1, "a cell failed"
    return folder


def test_workers_share_a_sweep_and_no_cell_is_done_twice(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = records(tmp_path, corpus)
    cells = made.study.sweep()
    did: list[Cell] = []

    def do(cell: Cell, split: str) -> None:
        did.append(cell)
        time.sleep(0.01)
        made.keep(cell, split, {}, {})

    monkeypatch.setattr(running, "WAIT", 0.01)
    workers = []
    for _ in range(4):
        work = bench(made, corpus)
        monkeypatch.setattr(work, "do", do)
        workers.append(threading.Thread(target=work.work, args=(cells, "valid")))
    for cell in cells:
        made.place(cell).mkdir(parents=True)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert sorted(did) == sorted(cells) and made.left(cells, "valid") == []
    assert not list(made.folder.rglob("*.lock*"))


def test_a_cell_that_fails_is_written_down_by_name_and_reason(swept: Path, corpus: Corpus) -> None:
    made = records(swept, corpus)
    cell = Cell("cats", "lstm", "delta", 1, 0)
    failure = made.failure(cell)
    assert failure is not None and failure["kind"] == "Diverged"
    assert "loss nan" in failure["reason"] and failure["entry"] == "delta"
    assert made.figures(cell, "valid") is None
    assert sum(made.failure(cell) is not None for cell in made.study.sweep()) == 1


def test_figures_of_a_cell_are_those_of_its_items(swept: Path, corpus: Corpus) -> None:
    made = records(swept, corpus)
    cell = Cell("cats", "lstm", "vae", 0, 0)
    figures, each = made.figures(cell, "valid"), made.each(cell, "valid")
    assert figures is not None
    assert figures["reconstruction"] == pytest.approx(each["reconstruction"].mean().item())
    assert figures["kl"] == pytest.approx(each["rate"].mean().item(), rel=1e-5)
    assert figures["iw_bound"] == pytest.approx(each["iw_nll"].mean().item())
    assert len(each["iw_item"]) == min(10, len(each["item"]))
    assert figures["updates"] == 6 and figures["seconds"] > 0 and "verdict" in figures
    assert {"weights", "encoder_steps", "mutual_information_low", "effective_dimension"} <= set(
        figures
    )


def test_another_recipe_under_the_same_name_is_refused(swept: Path, corpus: Corpus) -> None:
    made = records(swept, corpus)
    other = replace(made.study, base=merge(made.study.base, {"latent": 3}))
    changed = replace(made, study=other, sizes=Sizes(other, made.sizes.extents))
    with pytest.raises(Refused, match="made with another recipe"):
        changed.figures(Cell("cats", "lstm", "vae", 0, 0), "valid")


def die_at(step: int) -> Callable[..., None]:
    """Leaves a run as a kill does: nothing after it is saved."""

    def tick(now: int, *anything: object) -> None:
        if now == step:
            raise KeyboardInterrupt

    return tick


def test_what_others_measured_is_gone_on_from_and_overwrites_nothing(
    swept: Path, corpus: Corpus, tmp_path: Path
) -> None:
    made = records(swept, corpus)
    packed = pack(made, tmp_path / "figures.zip")
    there = replace(made, folder=tmp_path / "there")
    assert unpack(packed, there.folder) > 8 and unpack(packed, there.folder) == 0
    assert there.left(there.study.sweep(), "valid") == []
    cell = Cell("cats", "lstm", "vae", 0, 0)
    assert there.figures(cell, "valid") == made.figures(cell, "valid") is not None
    (there.place(cell) / "valid.json").write_text("{}", "utf-8")
    with pytest.raises(Refused, match=r"valid\.json is not what .*figures\.zip has"):
        unpack(packed, there.folder)
    assert (there.place(cell) / "valid.json").read_text("utf-8") == "{}"
    for held in ("study.md", "/cells/a", "cells/../a"):
        with ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr(held, "1")
        with pytest.raises(Refused, match=r"no figures\.zip of a study"):
            unpack(tmp_path / "other.zip", tmp_path / "other")
    with pytest.raises(Refused, match=r"Name the figures\.zip"):
        unpack(tmp_path / "nothing.zip", there.folder)
    (tmp_path / "text.zip").write_text("no archive", "utf-8")
    with pytest.raises(Refused, match=r"text\.zip: .*Name the figures\.zip"):
        unpack(tmp_path / "text.zip", there.folder)


def test_a_share_with_which_runs_were_begun_stands(
    swept: Path, corpus: Corpus, tmp_path: Path
) -> None:
    made = replace(records(swept, corpus), folder=tmp_path / "there")
    unpack(pack(records(swept, corpus), tmp_path / "figures.zip"), made.folder)
    begun = Cell("cats", "lstm", "delta", 0, 2, share=0.37)
    made.note(begun)
    vae = made.place(Cell("cats", "lstm", "vae", 0, 0)).parent.parent
    for path in vae.glob("*/seed0/valid.json"):  # the reference takes ten times as long by now
        slower = json.loads(path.read_bytes())
        path.write_text(json.dumps({**slower, "seconds": 10 * slower["seconds"]}), "utf-8")
    choices = choose(made)
    delta = next(one for one in choices["cats/lstm"]["remedies"] if one["entry"] == "delta")
    assert delta["share"] == 0.37
    assert begun in finals(made.study, choices)


def test_a_cell_that_was_killed_goes_on_where_it_was(tmp_path: Path, corpus: Corpus) -> None:
    made = records(tmp_path, corpus)
    cell = Cell("cats", "lstm", "vae", 0, 0)
    made.note(cell)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(made.sizes.recipe(cell), corpus, made.place(cell), tick=die_at(5), say=hush)
    assert runs.is_run(made.place(cell)) and not made.done(cell, "valid")
    left_by_the_dead(made.beside(cell, "lock"))
    bench(made, corpus).work([cell], "valid")
    assert "going on from step 3" in made.beside(cell, "log").read_text("utf-8")
    assert made.figures(cell, "valid") is not None and made.failure(cell) is None


def test_a_cell_that_kills_every_process_is_given_up(tmp_path: Path, corpus: Corpus) -> None:
    made = records(tmp_path, corpus)
    cell = Cell("cats", "lstm", "vae", 0, 0)
    left_by_the_dead(made.beside(cell, "lock"), running.TRIES)
    bench(made, corpus).work([cell], "valid")
    failure = made.failure(cell)
    assert failure is not None and failure["kind"] == "Killed"
    made.forget_failures([cell])
    assert made.left([cell], "valid") == [cell]


def test_a_bug_in_one_cell_stops_no_other_and_a_full_disk_stops_all(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = records(tmp_path, corpus)
    first, second = Cell("cats", "lstm", "vae", 0, 0), Cell("cats", "lstm", "vae", 1, 0)
    said: list[str] = []
    work = bench(made, corpus, said)

    def broken(cell: Cell) -> None:
        raise ZeroDivisionError("no such thing") if cell == first else OSError("disk full")

    monkeypatch.setattr(work, "train", broken)
    with pytest.raises(OSError, match="disk full"):
        work.work([first, second], "valid")
    failure = made.failure(first)
    assert failure is not None and failure["kind"] == "ZeroDivisionError"
    assert "Traceback" in made.beside(first, "log").read_text("utf-8")
    assert made.left([first, second], "valid") == [second]
    assert "1 of 2 done" in said[-1] and "left for this process" in said[-1]
    assert not made.beside(second, "lock").exists(), "another process may take it"


# --- what is chosen and told ---------------------------------------------------------------------


def test_winners_are_chosen_on_validation_and_stand_once_tested(
    swept: Path, corpus: Corpus, tmp_path: Path
) -> None:
    made = replace(records(swept, corpus))
    block = choose(made)["cats/lstm"]
    nlls = {model["entry"]: model["nll"] for model in block["language_models"]}
    assert block["line"] == "lm", "what they repay is held against the same decoder"
    assert block["nll"] == nlls["lm"] and block["final_rate"] == 1
    assert {one["entry"] for one in block["remedies"]} == {"vae", "delta"}
    delta = next(one for one in block["remedies"] if one["entry"] == "delta")
    assert delta["place"] == 0 and delta["rate"] >= 3 - 1e-3
    assert delta["cost"] > 0 and delta["share"] <= 1
    half = {**block, "remedies": [{**delta, "share": 0.5}], "without_rate": ["vae"]}
    cells = finals(made.study, {"cats/lstm": half})
    assert [(c.entry, c.seed, c.share) for c in cells][-4:] == [
        ("delta", 1, 1.0),
        ("delta", 2, 1.0),
        ("delta", 1, 0.5),
        ("delta", 2, 0.5),
    ]
    assert made.study.place(cells[-1]).name == "seed2-equal-compute"
    with pytest.raises(Refused, match="cells of the sweep are not done"):
        choose(replace(made, folder=tmp_path))


def test_what_a_sweep_began_one_command_carries_to_the_table(
    swept: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    out = swept / "out"
    words = (swept / "tiny.toml", out, "--corpus", f"cats={corpus.folder}")
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == 1, "a cell failed, and everything is written nevertheless"
    told = capsys.readouterr().err
    assert "sweep: 1 of 8 cells failed:" in told and f"{FAILS}: Diverged: " in told
    assert "final:" not in told and "--retry" in told
    page = (out / "study.md").read_text("utf-8")
    numbers = json.loads((out / "study.json").read_bytes())
    assert "test split, equal updates" in page and "collapse_study.py" in page
    assert f"`{FAILS}`: Diverged: " in page
    assert (out / "rate_distortion.png").stat().st_size > 1000
    block = numbers["blocks"]["cats/lstm"]
    assert set(block["finals"]) >= {"lm", "lm-same", "vae", "delta"}
    same, other = (one["nll"] for one in block["language_models"])
    assert f"Against `lm-same`, {other:.2f}, each costs {same - other:+.2f}" in page
    assert "| eta | eta, lm-same |" in page
    delta = block["finals"]["delta"]
    assert set(delta["seeds"]) == {"1", "2"}
    for value, low, high in (delta["repayment"], delta["iw_nll_less_lm"]):
        assert low <= value <= high
    line, rate = block["finals"][block["line"]]["mean"], delta["mean"]["kl"]
    gained = line["reconstruction"] - delta["mean"]["reconstruction"]
    assert delta["repayment"][0] == pytest.approx(gained / rate, rel=1e-4)
    assert delta["negative_elbo_less_lm"][0] == pytest.approx(rate - gained, rel=1e-4)
    assert numbers["about"]["version"] and numbers["about"]["corpora"]["cats"]
    looks = list((out / "cells").rglob("test_ledger.jsonl"))
    assert {path.parent.name.split("-")[0] for path in looks} == {"seed1", "seed2"}
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run(*words)  # once more: nothing is done again, nothing looked at twice
    assert capsys.readouterr().out.startswith("written:")
    assert all(len(path.read_text("utf-8").splitlines()) == 1 for path in looks)
    made = records(swept, corpus)
    elsewhere = swept / "elsewhere"
    figures = ("--figures", out / "figures.zip")
    with pytest.raises(SystemExit):
        run(words[0], elsewhere, *words[2:], *figures)  # all was measured, so nothing is trained
    assert not list(elsewhere.rglob("*.safetensors")) and not list(elsewhere.rglob("*.log"))
    told = (elsewhere / "study.md").read_text("utf-8").split("    python")[0]
    assert told == page.split("    python")[0] and FAILS.name in told
    assert (elsewhere / "figures.zip").read_bytes() == figures[1].read_bytes()
    vae = next(one for one in chosen(out)["cats/lstm"]["remedies"] if one["entry"] == "vae")
    won = Cell("cats", "lstm", "vae", vae["place"], 0)
    other = won._replace(place=1 - vae["place"])
    # Another value would win now, and the one that was tested stands; the page says so.
    best = made.figures(won, "valid") or {}
    best = {**best, "reconstruction": 0.0, "kl": 1.0}
    (made.place(other) / "valid.json").write_text(json.dumps(best), "utf-8")
    again = next(one for one in choose(made)["cats/lstm"]["remedies"] if one["entry"] == "vae")
    assert again["place"] == vae["place"] and again["earlier"]
    assert "tested before others joined" in tables.page(made, chosen(out))[0]
    (made.place(won) / "valid.json").unlink()
    made.fail(won, Refused("gone"))
    with pytest.raises(Refused, match="the test split has seen its winner"):
        choose(made)


def test_a_study_that_was_tested_grows_and_its_winners_stand(
    corpus: Corpus, tmp_path: Path
) -> None:
    tiny(tmp_path / "a")
    words = (tmp_path / "a/tiny.toml", tmp_path / "a/out", "--corpus", f"cats={corpus.folder}")
    with pytest.raises(SystemExit):
        run(*words)
    before = chosen(words[1])["cats/lstm"]
    more = TINY + GROWN
    words[0].write_text(more, "utf-8")
    with pytest.raises(Refused, match=r"another study's \(fixed\)"):
        finals(read_study(words[0]), {"cats/lstm": before})
    with pytest.raises(SystemExit):
        run(*words)
    after = chosen(words[1])
    places = {one["entry"]: one["place"] for one in after["cats/lstm"]["remedies"]}
    assert places.items() > {one["entry"]: one["place"] for one in before["remedies"]}.items()
    blocks = json.loads((words[1] / "study.json").read_bytes())["blocks"]
    assert "fixed" in blocks["cats/lstm"]["finals"]
    assert blocks["cats/lstm"]["split"] == "test"
    looks = (words[1] / "cells").rglob("test_ledger.jsonl")
    assert all(len(path.read_text("utf-8").splitlines()) == 1 for path in looks)
    with pytest.raises(Refused, match="no winners of cats/wide were chosen"):
        finals(tiny(tmp_path / "b", more + WIDE), after)


def test_what_codes_know_of_a_known_language_stands_in_figures_and_page(tmp_path: Path) -> None:
    files = {split: tmp_path / f"{split}.jsonl" for split in ("train", "valid", "test")}
    for seed, file in enumerate(files.values()):
        write_grammar(file, 120, seed)
    own = '[[corpus]]\nname = "cats"\nlanguage = "english"\ncolumn = "text"'
    text = TINY.replace('[[corpus]]\nname = "cats"', own)
    study = tiny(tmp_path, text.replace("[measure]", "[measure]\nprobe_items = 100"))
    corpora = opened(study, [f"cats={tmp_path}"], tmp_path / "out")
    made = Records(study, sized(study, corpora), tmp_path / "out")
    torch.set_num_threads(1)
    factors = runpy.run_path(str(SCRIPT))["known_factors"](study)
    work = Bench(made, corpora, factors, say=hush)
    cells = [Cell("cats", "lstm", entry, 0, 0) for entry in ("vae", "lm")]
    work.work(cells, "valid")
    vae, lm = (made.figures(cell, "valid") for cell in cells)
    assert vae is not None and lm is not None and "factors" not in lm, "it has no code"
    assert vae["factors"] == len(FACTORS)
    assert 0 < vae["factor_unknown"] < 60, "words that training has not seen"
    assert 0 <= vae["factors_carried"] <= 7 and 0.3 < vae["probe_mood"] <= 1
    assert 0 <= vae["factor_nats_drawn"] <= vae["factor_nats"] + 0.2, "noise tells nothing"
    page = "\n".join(tables._factors({"vae": vae, "lm": lm}, "valid"))
    assert "of 7" in page and "| lm" not in page and f"{vae['probe_topic']:.3f}" in page


POWER = (
    TINY[: TINY.index("[[language_model]]")]
    + """
[[language_model]]
name = "lm"
knob = "decoder.context"
values = [0, "none"]
names = ["blind", "all"]
[[remedy]]
name = "vae"
knob = "decoder.context"
values = [0, "none"]
names = ["blind", "all"]
"""
)


def test_the_dial_tells_every_value_beside_a_language_model_that_sees_as_much(
    tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    made = records(tmp_path, corpus, POWER)
    bench(made, corpus).work(made.study.sweep(), "valid")
    again = made.study.final_seeds[0]
    once_more = [cell for cell in made.study.sweep(again) if cell.place == 1]
    bench(made, corpus).work(once_more, "valid")
    assert "context" not in made.study.recipe(made.study.sweep()[-1])["decoder"], "it sees all"
    told, page = dial_of(made)
    for place, row in enumerate(told):
        seeds = [made.study.sweep_seed] + [again] * place
        pairs = []
        for seed in seeds:
            line = made.figures(Cell("cats", "lstm", "lm", place, seed), "valid")
            vae = made.figures(Cell("cats", "lstm", "vae", place, seed), "valid")
            assert line is not None and vae is not None
            pairs.append((line["reconstruction"], vae["reconstruction"], vae["kl"]))
        nlls, distortions, rates = np.array(pairs).T
        assert row["seeds"] == len(seeds)
        assert row["language_model"] == pytest.approx(nlls.mean())
        assert row["kl"] == pytest.approx(rates.mean())
        assert row["spread"]["kl"] == pytest.approx((rates.max() - rates.min()) / 2)
        if row["repayment"] is not None:
            assert row["repayment"] == pytest.approx(((nlls - distortions) / rates).mean(), 1e-4)
    assert made.place(made.study.sweep()[0]).parent.name == "blind"
    assert page.count("| vae | blind |") == 2 == page.count("| vae | all |")
    assert "moment KL" in page and "pixels back" not in page, "words are no pixels"
    assert (made.folder / "power-cats-lstm.png").stat().st_size > 1000


def dial_of(made: Records) -> tuple[list[dict[str, Any]], str]:
    """The rows and the page of the dial of a study with one block."""
    script = str(ROOT / "scripts" / "decoder_power.py")
    study = made.folder.parent / "tiny.toml"
    with patch.object(sys, "argv", [script, str(study), str(made.folder)]):
        runpy.run_path(script, run_name="__main__")
    [told] = json.loads((made.folder / "power.json").read_bytes())["rows"].values()
    return told, (made.folder / "power.md").read_text("utf-8")


def test_the_lower_bound_of_what_a_code_says_stands_as_such_where_it_is_at_its_cap() -> None:
    held = runpy.run_path(str(ROOT / "scripts" / "decoder_power.py"))["held"]
    bounds = ("mutual_information_low", "mutual_information_high", "mutual_information_cap")
    one = {"seeds": 3, "spread": dict.fromkeys(bounds, 0.25)}
    assert held(one | dict(zip(bounds, (5.0, 5.5, 7.33), strict=True))) == (
        "5.00 ± 0.25 to 5.50 ± 0.25"
    )
    assert held(one | dict(zip(bounds, (7.33, 20.0, 7.33), strict=True))) == (
        "≥ 7.33 ± 0.25, ≤ 20.00 ± 0.25"
    )
    assert held(one | dict.fromkeys(bounds)) == "—"


DIGITS = """
name = "tiny"
recipe = "image-vae"
reference = "vae"
final_seeds = [1, 2]
rates = [0.5, 1.0]
set = ["latent=2", "encoder.hidden=[8]", "optimizer.patience=none", "training.batch=16",
       "training.steps=4", "training.precision=float32", "objective.terms.kl.kind=KL"]
[[corpus]]
name = "digits"
[[decoder]]
name = "pixels"
"""
SEEN = """
[[{kind}]]
name = "{name}"
knob = "decoder"
names = ["nothing", "all"]
values = [{{ kind = "DenseDecoder", hidden = [8], likelihood = {{ kind = "Bernoulli" }} }},
          {{ kind = "PixelCNNDecoder", channels = 4, layers = 1 }}]
"""


def test_the_dial_of_pictures_looks_once_at_what_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_images(["digits"], tmp_path / "digits", binarize="dynamic", limit=120)
    corpus = open_corpus(tmp_path / "digits")
    entries = [
        SEEN.format(kind="language_model", name="lm"),
        SEEN.format(kind="remedy", name="vae"),
    ]
    study = tiny(tmp_path, DIGITS + "".join(entries))
    made = Records(study, sized(study, {"digits": corpus}), tmp_path / "out")
    torch.set_num_threads(1)
    Bench(made, {"digits": corpus}, say=hush).work(study.sweep(), "valid")

    corpus.folder.rename(tmp_path / "elsewhere")
    told, page = dial_of(made)
    assert all(row["sharpness_data"] is None for row in told) and "pixels back" not in page
    assert "not looked at" in capsys.readouterr().err, "nothing is dropped in silence"

    (tmp_path / "elsewhere").rename(corpus.folder)
    told, page = dial_of(made)
    valid = corpus.split("valid")
    x = np.stack([corpus.codec.decode(valid[row].tolist()) for row in range(len(valid))]) / 255
    steps = [*np.diff(x, axis=1).ravel() ** 2, *np.diff(x, axis=2).ravel() ** 2]
    most = np.maximum(x.mean(0), 1 - x.mean(0)).mean()
    for row in told:
        assert row["sharpness_data"] == pytest.approx(np.mean(steps))
        assert row["token_accuracy_same"] == pytest.approx(most), "black, or white"
        assert 0 < row["token_accuracy"] <= 1 and row["sharpness_samples"] >= 0
    nothing, everything = told
    assert nothing["sharpness_reconstructions"] < row["sharpness_data"], "grey, as after 4 steps"
    assert everything["pixel_error"] == pytest.approx(1 - everything["token_accuracy"])
    assert "pixels back" in page and f"{np.mean(steps):.4f} in the data" in page

    shutil.rmtree(corpus.folder)
    assert dial_of(made)[0] == told, "it was kept"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--phase", "sweep", "--at", "nothing"], "value 'nothing'.*blind, all"),
        (["--phase", "sweep", "--seed", "77"], "seed '77'"),
        (["--seed", "0"], "add --phase sweep"),
    ],
)
def test_a_sweep_once_more_is_of_seeds_and_values_that_the_study_has(
    tmp_path: Path, words: list[str], reason: str
) -> None:
    study = tiny(tmp_path, POWER)
    script = runpy.run_path(str(SCRIPT))
    given = script["parse"]([str(tmp_path / "tiny.toml"), str(tmp_path / "out"), *words])
    with pytest.raises(Refused, match=reason):
        script["check_given"](given, study)


def test_a_dial_before_its_sweep_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path, POWER)
    script = str(ROOT / "scripts" / "decoder_power.py")
    words = [script, str(tmp_path / "tiny.toml"), str(tmp_path)]
    with patch.object(sys, "argv", words), pytest.raises(SystemExit, match="run the sweep"):
        runpy.run_path(script, run_name="__main__")


def test_a_dial_of_several_knobs_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path)
    script = str(ROOT / "scripts" / "decoder_power.py")
    words = [script, str(tmp_path / "tiny.toml"), str(tmp_path)]
    with patch.object(sys, "argv", words), pytest.raises(SystemExit, match="one knob"):
        runpy.run_path(script, run_name="__main__")


def split_text(folder: Path, **parts: tuple[int, int]) -> Path:
    """A folder with a file of each split, from the one line to the other."""
    folder.mkdir()
    lines = write_text(folder.with_suffix(".all")).read_text("utf-8").splitlines()
    for name, (start, stop) in parts.items():
        (folder / f"{name}.txt").write_text("\n".join(lines[start:stop]), "utf-8")
    return folder


SPLIT = {"train": (0, 120), "valid": (120, 160), "test": (160, 200)}


def opened(study: Study, given: list[str], out: Path) -> dict[str, Corpus]:
    script = runpy.run_path(str(SCRIPT))
    return script["open_corpora"](study, script["find_corpora"](study, given), out)


def test_a_text_is_prepared_once_and_a_corpus_that_nobody_named_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = tiny(tmp_path), tmp_path / "out"
    data = split_text(tmp_path / "data", **SPLIT)
    (data / "train.labels.tsv").write_text("a\n", "utf-8")
    found = opened(study, [f"cats={data}"], out)["cats"]
    assert [len(found.split(n)) for n in ("train", "valid", "test")] == [120, 40, 40]
    assert "finished" in capsys.readouterr().out
    assert opened(study, [f"cats={data}"], out)["cats"].checksum == found.checksum
    assert capsys.readouterr().out == "", "not prepared again"
    with pytest.raises(Refused, match="write NAME=PATH, NAME one of cats"):
        opened(study, ["dogs=x"], out)
    with pytest.raises(Refused, match="say where it is"):
        opened(study, [], out)


def test_a_text_other_than_what_was_prepared_is_refused_and_a_copy_is_not(tmp_path: Path) -> None:
    study, out = tiny(tmp_path), tmp_path / "out"
    data = split_text(tmp_path / "data", **SPLIT)
    found = opened(study, [f"cats={data}"], out)["cats"]
    copy = Path(shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copyfile))
    assert opened(study, [f"cats={copy}"], out)["cats"].checksum == found.checksum
    other = split_text(tmp_path / "other", train=(0, 121), valid=(121, 160), test=(160, 200))
    with pytest.raises(Refused, match=r"was prepared from .*/data/train.txt.*, and these are not"):
        opened(study, [f"cats={other}"], out)
    (copy / "test.txt").unlink()
    with pytest.raises(Refused, match=f"--corpus cats={out}/corpora/cats"):
        opened(study, [f"cats={copy}"], out)
    assert opened(study, [f"cats={out}/corpora/cats"], out)["cats"].checksum == found.checksum
    for old, new in (('codec = "word"', 'codec = "char"'), ('"word"', '"word"\nvocab = 5')):
        changed = tiny(tmp_path, TINY.replace(old, new, 1))
        with pytest.raises(Refused, match=r"was prepared with .*, and the study says"):
            opened(changed, [f"cats={data}"], out)


def test_a_corpus_without_a_test_split_is_refused_before_the_sweep(tmp_path: Path) -> None:
    study = tiny(tmp_path)
    data = split_text(tmp_path / "data", train=(0, 120), valid=(120, 160))
    with pytest.raises(Refused, match="has no split 'test'"):
        opened(study, [f"cats={data}"], tmp_path / "out")


def test_cells_of_another_corpus_are_refused(tmp_path: Path, corpus: Corpus) -> None:
    made = records(tmp_path, corpus)
    begun, measured = Cell("cats", "lstm", "vae", 0, 0), Cell("cats", "lstm", "vae", 1, 0)
    made.check_corpora({"cats": "new"})
    made.note(begun)
    note = made.place(begun) / "corpus.json"
    note.write_text(json.dumps({"path": "x", "checksum": corpus.checksum}), "utf-8")
    made.keep(measured, "valid", {"corpus": corpus.checksum}, {})
    made.check_corpora({"cats": corpus.checksum, "dogs": "other"})
    with pytest.raises(Refused, match=r"/0.1/seed0 was made with another corpus cats than is"):
        made.check_corpora({"cats": "new"})
    note.unlink()
    with pytest.raises(Refused, match=r"/1.0/seed0 was made with another corpus cats than is"):
        made.check_corpora({"cats": "new"})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--shard", "x"), "--shard x: write i/n"),
        (("--shard", "1/0"), "--shard 1/0: write i/n"),
        (("--shard", "3/2"), "--shard 3/2: write i/n"),
        (("--only", "vea"), 'did you mean "vae"'),
        (("--device", "foo"), "device 'foo' cannot be used here"),
        (("--jobs", "0"), "one process or more"),
        (("--decoder", "gru"), "name one of lstm"),
        (("--corpus", "cats=x"), "no such file: x"),
    ],
)
def test_an_option_that_cannot_be_meant_is_one_line_and_status_1(
    tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    tiny(tmp_path)
    place = () if "--corpus" in words else ("--corpus", f"cats={tmp_path}")
    with pytest.raises(SystemExit) as end:
        run(tmp_path / "tiny.toml", tmp_path / "out", *place, *words)
    assert isinstance(end.value.code, str) and says in end.value.code
    assert "\n" not in end.value.code and not (tmp_path / "out" / "cells").exists()


class AtOnce:
    """A worker that is done when it is started, in this process."""

    started: ClassVar[list[str]] = []

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        self.started.append(" ".join(words))
        try:
            run(*words[2:])
            self.returncode = 0
        except SystemExit as end:
            self.returncode = int(bool(end.code))

    def poll(self) -> int:
        return self.returncode


def test_a_failed_cell_ends_no_worker_and_is_told_once(
    tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(tmp_path)
    words = (tmp_path / "tiny.toml", tmp_path / "out", "--corpus", f"cats={corpus.folder}")
    before = signal.getsignal(signal.SIGTERM)
    with patch("subprocess.Popen", AtOnce), pytest.raises(SystemExit) as end:
        run(*words, "--phase", "sweep", "--only", "delta", "--jobs", 2)
    signal.signal(signal.SIGTERM, before)
    told = capsys.readouterr().err
    assert end.value.code == 1 and told.count("cells failed") == 1 and f"{FAILS}:" in told
    assert len(AtOnce.started) == 2 and all("--worker" in words for words in AtOnce.started)


def test_verdicts_are_against_the_language_model_of_the_same_seed(
    tmp_path: Path, corpus: Corpus
) -> None:
    """Of seeds 1 and 2 one language model could not be: the other is not held against both."""
    made = records(tmp_path, corpus)
    used = {"latent": 2, "active_units": 2, "mutual_information_high": 4.0, "kl": 4.0}
    used |= {"shuffle_delta_nll": 3.0, "shuffle_standard_error": 0.1}
    for entry, seed, nll in (("vae", 1, 24.0), ("vae", 2, 20.0), ("lm", 2, 24.0)):
        figures = {"reconstruction": nll, **(used if entry == "vae" else {})}
        each = {"item": torch.arange(8), "reconstruction": torch.full((8,), nll)}
        rate = {"rate": torch.full((8,), 4.0)} if entry == "vae" else {}
        made.keep(Cell("cats", "lstm", entry, 0, seed), "test", figures, {**each, **rate})
    vae, line = (
        [Cell("cats", "lstm", entry, 0, seed) for seed in (1, 2)] for entry in ("vae", "lm")
    )
    seeds = tables.Seeds(made, vae, line, "test")
    assert len(seeds.figures) == 2 and seeds.verdicts() == "healthy 1"
    assert (seeds.repaid() or [0])[0] == pytest.approx(1.0)
