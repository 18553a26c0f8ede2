"""The watchdog sees what evaluation sees, says it in time, and changes nothing by looking."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tiny import hush, metrics, prepared, recipe, sentences, settings, train, weights_sum

from data_prep.text import prepare_text
from seqvae import fit as fitting
from seqvae import runs
from seqvae.__main__ import main
from seqvae.build import build, complete
from seqvae.cautions import cautions
from seqvae.corpus import Corpus
from seqvae.decoders import LSTMDecoder
from seqvae.errors import Collapsed, Refused
from seqvae.plan import make_plan
from seqvae.recipe import Recipe, override, read, shipped
from seqvae.reports.report import evaluate_run
from seqvae.resume import set_up
from seqvae.schedules import FAR
from seqvae.verdict import OnCollapse, Verdict
from seqvae.watch import IN_A_ROW, Watch, advice, describe, standing

HEALTHY: Mapping[str, Any] = {
    "latent": 4,
    "active_units": 4,
    "kl": 8.0,
    "mutual_information_high": 6.0,
    "shuffle_delta_nll": 9.0,
    "shuffle_standard_error": 0.5,
    "verdict": "healthy",
}
COLLAPSED = {**HEALTHY, "mutual_information_high": 0.1, "verdict": "collapsed"}
IGNORED = {**HEALTHY, "shuffle_delta_nll": 0.0, "shuffle_standard_error": 0.0} | {
    "verdict": "ignored"
}
# A KL so dear that nothing is left in the code.
DEAR = {"kind": "KL", "weight": 20.0}
FLOOR = {"kind": "FreeBits", "nats": 0.5, "per": "batch_dimension"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and a language model, a model with a code and another corpus's model on it."""
    folder = tmp_path_factory.mktemp("home")
    corpus = prepared(folder).folder
    train(recipe(latent=0), corpus, folder / "lm")
    train(with_term(FLOOR, training_select="last"), corpus, folder / "vae")
    text = folder / "other.txt"
    text.write_text("".join(f"{line} again\n" for line in sentences(60)), "utf-8")
    other = prepare_text([text], folder / "other", codec="word").folder
    train(recipe(latent=0, training_steps=1), other, folder / "stranger")
    return folder


def validations(folder: Path) -> list[dict[str, Any]]:
    return [row for row in metrics(folder) if row["kind"] == "valid"]


def with_term(term: Mapping[str, Any], **other: Any) -> Recipe:
    experiment = recipe(**{"decoder_word_dropout": 0.3, **other})
    experiment["objective"]["terms"] = {"kl": dict(term)}
    return experiment


def settings_in(sentence: str) -> list[str]:
    """The settings that a sentence names, as a shell would read them."""
    found = re.findall(r"--set ('[^']*'|\S+)", sentence)
    return [shlex.split(word.rstrip(".;"))[0] for word in found]


# --- in training ---------------------------------------------------------------------------------


def test_a_deaf_decoder_behind_codes_that_differ_is_called_ignored(
    home: Path, tmp_path: Path
) -> None:
    """Its units are all active and hold nats by construction; only the shuffle tells."""
    spread = {"kind": "BatchNormPosterior", "gamma": 2.0, "momentum": 1.0}
    experiment = with_term({"kind": "KL"}, training_steps=18) | {"posterior": spread}
    read, said = LSTMDecoder.features, list[str]()

    def deaf(self: LSTMDecoder, x: Any, z: Any, step: int = FAR) -> Any:
        return read(self, x, 0 * z, step)

    with patch.object(LSTMDecoder, "features", deaf):
        train(experiment, home / "corpus", tmp_path / "run", say=said.append)
    rows = validations(tmp_path / "run")
    assert [row["verdict"] for row in rows] == ["ignored"] * 3
    assert all(row["active_units"] == 2 and row["mutual_information_low"] > 0.5 for row in rows)
    warnings = [line for line in said if "ignored. " in line]
    assert len(warnings) == 1 and warnings[0].startswith("step 12: "), "once, after the second"
    assert "deaf" in warnings[0] and "decoder.skip=true" in settings_in(warnings[0])


def test_a_collapsed_run_stops_with_its_own_status_and_takes_the_advice(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twenty times the price of the KL empties the code; saved, and resumed as it says."""
    out = tmp_path / "run"
    words = ["train", str(home / "corpus"), "--out", str(out), "--device", "cpu"]
    changed = settings(
        optimizer_rate=0.05,
        training_steps=30,
        training_validate_every=5,
        training_save_every=25,
    )
    for setting in (*changed, "objective.terms.kl={kind = 'KL', weight = 20}"):
        words += ["--set", setting]
    with patch.multiple(fitting, curves=hush, save=hush):
        assert main([*words, "--on-collapse", "stop"]) == 3
    line = capfd.readouterr().err.splitlines()[-1]
    rows = validations(out)
    assert [row.get("verdict") for row in rows[-IN_A_ROW:]] == ["collapsed"] * IN_A_ROW
    step = rows[-1]["step"]
    assert line.startswith(f"seqvae: stopped after step {step} and saved in {out}: collapsed. ")
    assert step < 30 and step % 25, "not where it would have been saved anyway"
    checkpoint = runs.load_checkpoint(runs.newest(out / "checkpoints"))
    assert (checkpoint.trainer["step"], checkpoint.trainer["finished"]) == (step, False)
    assert runs.open_run(out).trainer["step"] <= step
    [cheaper, *_] = settings_in(line)
    assert cheaper == "objective.terms.kl.weight=1"
    with patch.multiple(fitting, curves=hush, save=hush):
        assert main(["train", "--resume", "--out", str(out), "--set", cheaper]) == 0
    assert f"going on from step {step}" in capfd.readouterr().err
    assert validations(out)[-1]["step"] == 30


def test_a_run_that_ends_collapsed_is_whole_before_it_says_so(home: Path, tmp_path: Path) -> None:
    experiment = with_term(
        DEAR, optimizer_rate=0.05, training_steps=15, training_validate_every=15
    )
    with pytest.raises(Collapsed, match=r"after step 15 .*collapsed\. The code holds at most 0\."):
        train(experiment, home / "corpus", tmp_path / "run", on_collapse=OnCollapse.STOP)
    assert (tmp_path / "run" / "card.md").is_file()
    said: list[str] = []
    train(experiment, home / "corpus", tmp_path / "run", resume=True, say=said.append)
    assert "is finished: 15 steps" in said[-1]


def test_there_is_no_verdict_while_a_schedule_moves(home: Path, tmp_path: Path) -> None:
    """Up to step 12 of 18; an empty code stops nothing before."""
    term = {"kind": "KL", "weight": {"kind": "linear", "start": 20.0, "end": 30.0, "steps": 12}}
    said: list[str] = []
    seen: dict[int, str] = {}

    def tick(step: int, steps: int, numbers: Mapping[str, Any]) -> None:
        seen[step] = numbers.get("standing", "")

    experiment = with_term(term, training_steps=18, training_validate_every=3)
    train(experiment, home / "corpus", tmp_path / "run", say=said.append, tick=tick)
    rows = validations(tmp_path / "run")
    assert [row["step"] for row in rows if "verdict" in row] == [12, 15, 18]
    lines = {int(line.split()[1][:-1]): line for line in said if "validation: " in line}
    for step, line in lines.items():
        assert line.endswith("no verdict while schedules move") == (step < 12)
        assert ("collapsed" in line) <= (step >= 12)
    assert seen[3] == "" and seen[4].startswith("annealing ΔNLL ")
    assert seen[13].split()[0] == rows[3]["verdict"]


UNSETTLED = "does not settle within these 12 steps: no verdict, and no weights chosen but the last"


@pytest.mark.parametrize(
    ("weight", "settles"),
    [
        ({"kind": "sigmoid", "share": 1.0}, True),
        ({"kind": "sigmoid", "middle": 6}, False),
    ],
)
def test_a_schedule_that_outlasts_the_run_is_told_before_it_costs_verdict_and_choice(
    weight: dict[str, Any], settles: bool, home: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    term = {"kind": "KL", "weight": weight}
    train(with_term(term), home / "corpus", tmp_path / "run", say=said.append)
    warned = [number for number, line in enumerate(said) if UNSETTLED in line]
    assert len(warned) == (not settles)
    assert all("the weight of kl" in said[n] and "share = 0.3" in said[n] for n in warned)
    assert all("validation" not in line for line in said[: sum(warned)]), "before the first step"
    assert ("verdict" in validations(tmp_path / "run")[-1]) == settles
    assert bool(runs.checkpoints(tmp_path / "run" / "best")) == settles


@pytest.mark.parametrize("kind", ["Elbo", "SemiAmortized"])
def test_each_thing_that_outlasts_the_last_stage_is_named(home: Path, kind: str) -> None:
    slow = {"kind": "linear", "end": 2.0, "steps": 40}
    terms = {
        "kl": {"kind": "KL", "weight": slow},
        "rate": {"kind": "Capacity", "nats": slow},
        "mmd": {"kind": "MMD"},
    }
    made = {**recipe(training_steps=50), "objective": {"kind": kind, "terms": terms}}
    whole = complete(made)
    staged = [{"steps": 20}, {}]
    assert told_of(home, whole) == []
    assert told_of(home, {**whole, "stage": staged}, 0) == [], "a stage that only leads there"
    assert told_of(home, {**whole, "stage": staged}, 1) == [
        "the weight of kl does not settle within these 30 steps",
        "what moves inside of rate does not settle within these 30 steps",
    ]
    assert told_of(home, {**whole, "latent": 0, "stage": staged}, 1) == [], "a language model"


def told_of(home: Path, experiment: Recipe, number: int = 0) -> list[str]:
    """What is said, before a stage begins, to move for longer than it lasts."""
    plan = make_plan(experiment, Corpus(home / "corpus"), home, "cpu")
    built, _ = set_up(plan, number, plan.stages[number - 1].stop if number else 0)
    said = cautions(plan, built, number)
    return [line.split(":")[0] for line in said if "does not settle" in line]


@pytest.mark.parametrize("kind", ["TargetRate", "RateConstraint"])
def test_an_empty_code_is_seen_though_the_rate_it_should_have_never_lands(
    kind: str, home: Path, tmp_path: Path
) -> None:
    """No schedule moves: it is said that the code is empty, and what was asked of it."""
    bounds = {"beta_max": 50.0, "beta": 50.0, "beta_min": 50.0}
    held = {"multiplier": 1e-6, "least": 1e-6, "most": 1e-6}
    term = {"kind": kind, "nats": 100.0, **(bounds if kind == "TargetRate" else held)}
    said: list[str] = []
    changed = {"training_steps": 40, "training_validate_every": 5, "training_save_every": 40}
    # What is not punished as hard as it may be is punished as the plain KL would be.
    experiment = with_term(term, optimizer_rate=0.05, latent=1, **changed)
    experiment["objective"]["terms"] |= {} if kind == "TargetRate" else {"dear": dict(DEAR)}
    with pytest.raises(Collapsed, match=r"kl: rate \d+\.\d of the 100 nats asked for\. To try"):
        train(experiment, home / "corpus", tmp_path / "run", on_collapse="stop", say=said.append)
    lines = [line for line in said if "validation: " in line]
    assert re.search(r", kl: rate \d+\.\d of the 100 nats asked for, collapsed$", lines[-1])
    assert not any("no verdict" in line for line in lines)
    assert not (tmp_path / "run" / "best").exists(), "and it is not chosen"


def test_the_loss_that_is_advised_chooses_its_own_weights(home: Path, tmp_path: Path) -> None:
    """A floor costs more than an empty code did, and the empty code is not kept for it."""
    experiment = with_term(DEAR, optimizer_rate=0.05, training_steps=40, training_validate_every=5)
    with pytest.raises(Collapsed) as stopped:
        train(experiment, home / "corpus", tmp_path / "run", on_collapse=OnCollapse.STOP)
    assert "objective.terms.kl.weight=1" in settings_in(str(stopped.value))
    empty = runs.load_checkpoint(runs.newest(tmp_path / "run" / "checkpoints")).trainer
    assert empty["best_step"] > 0
    floor = {"kind": "FreeBits", "nats": 30.0, "per": "sentence"}
    after = {**experiment, "objective": {"kind": "Elbo", "terms": {"kl": floor}}}
    train(after, home / "corpus", tmp_path / "run", resume=True)
    chosen = runs.open_run(tmp_path / "run").trainer
    assert chosen["best_step"] > empty["step"] and chosen["best"] > empty["best"]


# --- beside a language model ---------------------------------------------------------------------


def test_what_is_logged_is_what_evaluation_finds(home: Path, tmp_path: Path) -> None:
    """And no weight is another because somebody looked."""
    said: list[str] = []
    experiment = with_term(FLOOR, training_select="last")
    train(experiment, home / "corpus", tmp_path / "run", baseline=home / "lm", say=said.append)
    row = validations(tmp_path / "run")[-1]
    report, _ = evaluate_run(
        tmp_path / "run", baseline=home / "lm", device="cpu", samples=0, written=0
    )
    found = report.measured.figures
    both = sorted(set(row) & set(found) - {"verdict", "noun", "perplexity_from"})
    assert {
        *("repayment", "repayment_low", "repayment_high", "baseline_nll", "effective_dimension"),
        *("mutual_information_low", "mutual_information_high", "aggregate_kl_low"),
        *("aggregate_kl_high", "shuffle_delta_nll", "shuffle_standard_error"),
    } <= set(both)
    for name in both:
        assert row[name] == pytest.approx(found[name], abs=1e-6), name
    assert row["verdict"] == found["verdict"]
    assert row["kl_per_dimension"] == pytest.approx(report.measured.vectors["kl_per_dimension"])
    assert sum(row["kl_per_dimension"]) == pytest.approx(row["kl"], abs=1e-5)
    assert any("step 12, validation: " in s and f"η {row['repayment']:.2f} [" in s for s in said)
    assert weights_sum(tmp_path / "run") == weights_sum(home / "vae")
    assert [
        {name: figure for name, figure in after.items() if name in before}
        for before, after in zip(metrics(home / "vae"), metrics(tmp_path / "run"), strict=True)
    ] == metrics(home / "vae"), "and whatever was logged without it is logged with it"


def test_a_run_that_is_taken_up_is_watched_as_if_never_stopped(home: Path, tmp_path: Path) -> None:
    """It fails between two validations that find it collapsed, and stops where it would have."""

    def fail(step: int, steps: int, numbers: Mapping[str, Any]) -> None:
        if step == 7 and "one" not in str(folder):
            raise KeyboardInterrupt

    watched: dict[str, Any] = {"baseline": home / "lm", "on_collapse": OnCollapse.STOP}
    experiment = with_term(DEAR, optimizer_rate=0.1, training_validate_every=6, training_steps=24)
    for folder in (tmp_path / "one", tmp_path / "two"):
        for expected in (Collapsed,) if folder.name == "one" else (KeyboardInterrupt, Collapsed):
            again = folder.exists()
            corpus = home / "corpus"
            with pytest.raises(expected):
                train(
                    experiment,
                    corpus,
                    folder,
                    resume=again,
                    tick=None if again else fail,
                    **watched,
                )
    assert metrics(tmp_path / "one") == metrics(tmp_path / "two")
    assert weights_sum(tmp_path / "one") == weights_sum(tmp_path / "two")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("stranger", r"baseline .*stranger was trained on another corpus.*--set latent=0"),
        ("vae", r"code of its own.*latent = 0"),
    ],
)
def test_a_wrong_baseline_is_refused_before_a_run_is_made(
    name: str, why: str, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=why):
        train(recipe(), home / "corpus", tmp_path / "run", baseline=home / name)
    assert not (tmp_path / "run").exists()


def test_a_mistyped_baseline_or_action_is_one_line(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for option, wrong, why in (
        ("--baseline", "nosuch", "no run at 'nosuch'"),
        ("--baseline", str(home / "corpus"), "is no run"),
        ("--on-collapse", "halt", "'halt' is not one of 'warn', 'stop'"),
    ):
        words = ["train", str(home / "corpus"), "--out", str(tmp_path / "run"), option, wrong]
        assert main(words) == 2
        assert why in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


# --- what is said, and when ----------------------------------------------------------------------


def watch(home: Path, **options: Any) -> Watch:
    plan = make_plan(complete(recipe(training_steps=50)), Corpus(home / "corpus"), home, "cpu")
    return Watch(plan, **options)


def test_a_fault_is_told_when_two_in_a_row_have_it_and_again_when_it_is_another(
    home: Path,
) -> None:
    found = (HEALTHY, COLLAPSED, HEALTHY, COLLAPSED, COLLAPSED, COLLAPSED, IGNORED, IGNORED)
    dog = watch(home)
    told = [dog.heed(figures, 10) for figures in found]
    assert [(line or "").split(".")[0] for line in told] == [
        *("", "", "", "", "collapsed", "", "ignored", "")
    ]
    dog.check(10)  # to warn ends nothing


def test_the_last_validation_has_no_other_to_wait_for(home: Path) -> None:
    assert watch(home).heed(COLLAPSED, 49) is None
    assert watch(home).heed(COLLAPSED, 50) is not None
    assert watch(home).heed(HEALTHY, 50) is None
    without = {name: figure for name, figure in COLLAPSED.items() if name != "verdict"}
    assert watch(home).heed(without, 50) is None


def test_a_run_that_is_stopped_has_as_much_time_again_when_resumed(home: Path) -> None:
    dog = watch(home, on_collapse=OnCollapse.STOP)
    assert dog.heed(COLLAPSED, 10) is None and dog.faults == 1
    dog.check(10)
    assert dog.heed(COLLAPSED, 20) is None and dog.faults == 0
    with pytest.raises(Collapsed, match=r"step 20 .*at most 0\.10 nats about its sentence\. To"):
        dog.check(20)


def test_what_an_item_is_called_is_the_codecs_to_say(home: Path) -> None:
    dog = watch(home)
    with patch.object(type(dog.plan.corpus.codec), "noun", "window"):
        line = dog.heed(COLLAPSED, 50)
    assert line is not None and "0.10 nats about its window." in line


def test_information_estimated_below_nothing_is_nothing(home: Path) -> None:
    line = watch(home).heed({**COLLAPSED, "mutual_information_high": -0.014}, 50)
    assert line is not None and "at most 0.00 nats" in line


def test_a_validation_is_one_line_of_all_that_was_found() -> None:
    figures = {
        **HEALTHY,
        "reconstruction": 20.0,
        "negative_elbo": 28.0,
        "effective_dimension": 3.5,
        "mutual_information_low": 5.0,
        "repayment": 0.87,
        "repayment_low": 0.85,
        "repayment_high": 0.89,
    }
    assert describe(figures, [1.0, 2.0, 2.0, 3.0]) == (
        "reconstruction 20.00, KL 8.00 (1.00 to 3.00 a dimension), -ELBO 28.00 nats a sentence, "
        "4 of 4 units active, effective dimension 3.5, I(x; z) 5.00 to 6.00, "
        "z-shuffle ΔNLL 9.00 ± 0.50, η 0.87 [0.85, 0.89], healthy"
    )
    unmet = ["kl: rate 8.0 of the 12 nats asked for"]
    assert describe(figures, [], unmet=unmet).endswith(f", {unmet[0]}, healthy")
    language_model = {"reconstruction": 20.0, "kl": 0.0, "negative_elbo": 20.0}
    assert describe(language_model, [], "window").endswith("-ELBO 20.00 nats a window")
    assert standing(language_model) == ""
    assert standing({"latent": 2}) == "annealing"


# --- what is advised -----------------------------------------------------------------------------

TERMS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "KL"}, 'kl={kind = "TargetRate", nats = 4}'),
    ({"kind": "KL", "weight": 4.0}, "kl.weight=1"),
    ({"kind": "FreeBits", "nats": 0.25}, "kl.nats=0.5"),
    ({"kind": "FreeBits", "nats": 0.0}, "kl.nats=0.5"),
]


@pytest.mark.parametrize(("term", "cure"), TERMS)
def test_what_is_advised_of_a_loss_resumes_the_run_and_costs_the_code_less(
    term: dict[str, Any], cure: str
) -> None:
    before = complete(with_term(term))
    line = advice(before, Verdict("collapsed", "", "As in general."))
    now, *anew = settings_in(line)
    assert f"--resume with --set {shlex.quote(now)}" in line and now == f"objective.terms.{cure}"
    after = complete(override(before, [now]))
    assert {key: part for key, part in after.items() if key != "objective"} == {
        key: part for key, part in before.items() if key != "objective"
    }, "a run is not resumed with other networks"
    build(after, 30, steps=10)
    for setting in anew:
        build(complete(override(before, [setting])), 30, steps=10)
    assert "decoder.skip=true" in anew and not any("word_dropout" in one for one in anew)
    assert any("share" in setting for setting in anew) == (term == {"kind": "KL"})


SPHERE = {"posterior": {"kind": "VonMisesFisherPosterior"}, "prior": {"kind": "UniformSphere"}}
PRIORS: list[dict[str, Any]] = [
    {"kind": "StandardNormal"},
    {"kind": "Product", "family": "StudentT", "parameters": {"df": 5.0}},
    {"kind": "Product", "family": "Laplace", "parameters": {"loc": 0.0, "scale": 1.0}},
    {"kind": "GaussianMixture"},
    {"kind": "VampPrior"},
]


@pytest.mark.parametrize("posterior", ["Gaussian", "Bounded", "BatchNorm"])
@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.get("family", prior["kind"]))
def test_a_rate_is_advised_that_posterior_and_prior_have(
    prior: dict[str, Any], posterior: str
) -> None:
    if (prior["kind"], posterior) == ("VampPrior", "BatchNorm"):
        return  # which cannot be
    whole = {**with_term({"kind": "KL"}), "prior": prior}
    before = complete({**whole, "posterior": {"kind": f"{posterior}Posterior"}})
    now, *anew = settings_in(advice(before, Verdict("collapsed", "")))
    assert "TargetRate" in now
    for setting in (now, *anew):
        build(complete(override(before, [setting])), 30, steps=10)


def test_on_a_sphere_more_is_had_by_its_concentration_alone() -> None:
    before = complete({**with_term({"kind": "KL"}), **SPHERE})
    line = advice(before, Verdict("collapsed", ""))
    assert "--resume" not in line
    settings = settings_in(line)
    assert "posterior.kappa=26" in settings and not any("objective" in s for s in settings)
    build(complete(override(before, ["posterior.kappa=26"])), 30, steps=10)
    assert "kappa" not in advice(before, Verdict("ignored", ""))


@pytest.mark.parametrize("kind", ["TargetRate", "RateConstraint", "Capacity"])
def test_who_does_not_keep_a_rate_is_not_asked_for_twice_as_much(kind: str) -> None:
    found = [
        settings_in(
            advice(complete(with_term({"kind": kind, "nats": n})), Verdict("collapsed", ""))
        )
        for n in (0.5, 100.0)
    ]
    assert "objective.terms.kl.nats=4" in found[0]
    assert not any("nats" in setting for setting in found[1]) and found[1]


def test_what_cannot_be_advised_of_a_recipe_is_said_in_general() -> None:
    cure = Verdict("collapsed", "", "As in general.")
    bare = complete(with_term({"kind": "KL"}))
    bare["objective"] = {"kind": "Elbo", "terms": {}}
    bare["decoder"] |= {"word_dropout": 0.9, "skip": True}
    assert advice(bare, cure) == "As in general."
    bare["objective"] = {"kind": "InfoVAE", "alpha": 0.5, "lambda": 10.0}
    assert settings_in(advice(bare, cure)) == ["objective.alpha=0.75"]
    bare["objective"]["alpha"] = 1.0
    assert advice(bare, cure) == "As in general."
    staged = complete(with_term({"kind": "KL"})) | {"stage": [{"share": 0.5}, {}]}
    assert settings_in(advice(staged, cure)) == ["decoder.skip=true"]
    staged["decoder"]["skip"] = True
    assert settings_in(advice(staged, cure)) == ["decoder.word_dropout=0.6"]


@pytest.mark.parametrize("fault", ["collapsed", "ignored"])
def test_every_recipe_that_ships_has_its_advice(fault: str) -> None:
    for name in shipped():
        whole = complete(read(name))
        changes = settings_in(advice(whole, Verdict(fault, "")))
        # A decoder that writes all at once has nothing but its code to go by.
        assert changes or "likelihood" in whole["decoder"], name
        for change in changes:
            assert complete(override(whole, [change])) != whole


@pytest.mark.parametrize("latent", [0, 2])
def test_weights_of_a_language_model_are_chosen_while_a_schedule_moves(
    latent: int, home: Path, tmp_path: Path
) -> None:
    moving = {"kind": "KL", "weight": {"kind": "linear", "steps": 10**6}}
    train(with_term(moving, latent=latent), home / "corpus", tmp_path / "run")
    assert bool(runs.checkpoints(tmp_path / "run" / "best")) == (latent == 0)
