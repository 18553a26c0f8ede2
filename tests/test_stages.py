"""Stages: parts of a run with losses and optimisers of their own, one after the other."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import in_child, metrics, prepared, recipe, train, train_and_die, weights_sum

from seqvae import runs
from seqvae.build import Built, build, complete
from seqvae.corpus import Corpus
from seqvae.errors import Refused, Stopped
from seqvae.objectives import Elbo
from seqvae.plan import make_plan, plan_stages
from seqvae.recipe import Recipe, read, staged
from seqvae.training import train as run

PLAIN = {"kind": "Elbo", "terms": {}}
RISING = {"kind": "KL", "weight": {"kind": "linear", "share": 1.0}}
STAGES: list[dict[str, Any]] = [
    {"name": "autoencoder", "steps": 5, "objective": PLAIN, "optimizer": {"rate": 0.02}},
    {"share": 0.25, "freeze": ["encoder"], "optimizer": {"kind": "SGD", "rate": 0.1}},
    {"reset": ["decoder"], "objective": {"kind": "Elbo", "terms": {"kl": RISING}}},
]
BOUNDARIES = (5, 8)


def in_stages(stages: list[dict[str, Any]] = STAGES, **other: Any) -> Recipe:
    """Twelve steps in stages: to step 5, to step 8 and to the end."""
    return {**recipe(training_select="last", **other), "stage": stages}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("corpus")).folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(in_stages(training_keep=9), corpus, folder)
    return folder


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return runs.load_checkpoint(run / "checkpoints" / runs.checkpoint_name(step)).weights


def same_run(folder: Path, whole: Path) -> None:
    assert weights_sum(folder) == weights_sum(whole)
    assert metrics(folder) == metrics(whole)


# --- as if never stopped ------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [((5, True), (8, False)), ((8, True), (10, False))])
def test_a_run_killed_at_any_step_ends_as_if_it_had_not_been(
    kills: tuple[tuple[int, bool], ...], corpus: Path, whole: Path, tmp_path: Path
) -> None:
    for step, saving in kills:
        code = in_child(train_and_die, in_stages(), corpus, tmp_path / "run", step, saving)
        assert code == -signal.SIGKILL
    train(in_stages(), corpus, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("step", BOUNDARIES)
def test_a_run_taken_up_from_the_checkpoint_of_a_boundary_goes_on_exactly(
    step: int, corpus: Path, whole: Path, tmp_path: Path
) -> None:
    def stop(now: int, steps: int, numbers: Mapping[str, float]) -> None:
        if now == step:
            signal.raise_signal(signal.SIGTERM)

    said: list[str] = []
    with pytest.raises(Stopped):
        train(in_stages(), corpus, tmp_path / "run", tick=stop)
    assert runs.newest(tmp_path / "run" / "checkpoints").name == runs.checkpoint_name(step)
    runs.open_run(tmp_path / "run")
    train(in_stages(), corpus, tmp_path / "run", resume=True, say=said.append)
    assert f"going on from step {step}" in said
    same_run(tmp_path / "run", whole)


# --- what a stage changes -----------------------------------------------------------------------


class Seen:
    """What stands at the begin of every stage, before its first step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[dict[str, torch.Tensor]] = []
        self.moments: list[int] = []

        def noting(vae: Any, objective: Any, stepper: Any, *rest: Any, **named: Any) -> Any:
            self.begun.append({n: t.clone() for n, t in vae.state_dict().items()})
            self.moments.append(len(stepper.optimizer.state))
            return run(vae, objective, stepper, *rest, **named)

        monkeypatch.setattr("seqvae.fit.train", noting)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def test_a_network_that_is_reset_is_drawn_from_seed_and_stage_and_all_else_is_kept(
    seen: Seen, corpus: Path, tmp_path: Path
) -> None:
    experiment = in_stages(training_keep=9)
    train(experiment, corpus, tmp_path / "run")
    last, before = seen.begun[2], weights(tmp_path / "run", 8)
    plan = make_plan(complete(experiment), Corpus(corpus), tmp_path / "run", "cpu")
    fresh = build(plan.stages[2].recipe, plan.corpus.codec.vocab).vae.state_dict()
    decoder = [name for name in last if name.startswith("decoder.")]
    assert decoder and all(torch.equal(last[name], fresh[name]) for name in decoder)
    for name in last.keys() - set(decoder):
        assert torch.equal(last[name], before[f"vae.{name}"])
    table = "decoder.embedding.weight"
    assert not torch.equal(last[table], before[f"vae.{table}"])
    assert not torch.equal(last[table], seen.begun[0][table]), "the seed of the first stage"
    assert seen.moments == [0, 0, 0], "an optimiser begins anew"


def test_a_network_that_is_frozen_stays_and_the_others_learn(whole: Path) -> None:
    before, after = weights(whole, 5), weights(whole, 8)
    kept = [name for name in before if name.startswith("vae.encoder.")]
    assert kept and all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(*(w["vae.decoder.embedding.weight"] for w in (before, after)))
    last = weights(whole, 12)
    assert not any(torch.equal(after[name], last[name]) for name in kept), "learns again"


def test_schedules_and_rates_count_from_the_first_step_of_their_stage(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[tuple[int, float]] = []
    score = Elbo.score

    def noting(self: Elbo, out: Any) -> Any:
        found = score(self, out)
        if torch.is_grad_enabled() and out.z.requires_grad and "kl" in self.schedules:
            met.append((out.batch.step, float(found[1]["weight/kl"])))
        return found

    monkeypatch.setattr(Elbo, "score", noting)
    monkeypatch.setattr("seqvae.fit.estimate", lambda *_: "")
    experiment = in_stages([STAGES[0], STAGES[2]], optimizer_warm_up=1)
    train(experiment, corpus, tmp_path / "run")
    # Seven steps from 0 to the weight 1, which the eighth would have.
    assert [step for step, _ in met] == list(range(7))
    assert [weight for _, weight in met] == pytest.approx([step / 7 for step in range(7)])


def test_the_log_says_the_stage_and_no_line_is_of_two(whole: Path) -> None:
    rows = metrics(whole)
    assert {(row["kind"], row["step"], row["stage"]) for row in rows} == {
        ("train", 4, 1),
        ("train", 5, 1),
        ("train", 8, 2),
        ("train", 12, 3),
        *(("valid", step, stage) for step, stage in ((5, 1), (6, 2), (8, 2), (12, 3))),
    }
    assert [row["penalty/kl"] > 0 for row in rows if "penalty/kl" in row] == [True] * 2


def test_a_run_without_stages_does_not_speak_of_them(corpus: Path, tmp_path: Path) -> None:
    said: list[str] = []
    train(recipe(), corpus, tmp_path / "run", say=said.append)
    assert not any("stage" in row for row in metrics(tmp_path / "run"))
    assert not any("stage" in sentence.replace(str(tmp_path), "") for sentence in said)
    assert "stage" not in (tmp_path / "run" / "recipe.toml").read_text("utf-8")
    assert "stage" not in (tmp_path / "run" / "card.md").read_text("utf-8").split("## Recipe")[0]


def test_weights_are_chosen_in_the_last_stage_alone(corpus: Path, tmp_path: Path) -> None:
    chosen = in_stages([STAGES[0], {"reset": ["decoder"]}], training_validate_every=1)
    chosen["training"]["select"] = "objective"
    train(chosen, corpus, tmp_path / "run")
    place = runs.newest(tmp_path / "run" / "best")
    assert runs.load_checkpoint(place).trainer["best_step"] > 5
    assert runs.open_run(tmp_path / "run").trainer["starts"] == [0, 5]


def test_a_run_says_its_stages(corpus: Path, tmp_path: Path) -> None:
    said: list[str] = []
    train(in_stages(), corpus, tmp_path / "run", say=said.append)
    card = (tmp_path / "run" / "card.md").read_text("utf-8")
    for number, words in enumerate(
        (" (autoencoder), to step 5", ", to step 8: encoder stays", ", to step 12: decoder drawn"),
        start=1,
    ):
        line = f"stage {number} of 3{words}"
        assert sum(sentence.startswith(line) for sentence in said) == 1
        assert f"\n- {line}" in card
    assert any("12 steps in 3 stages" in sentence for sentence in said)


def test_a_run_opens_in_every_stage_with_the_objective_of_that_stage(
    whole: Path, tmp_path: Path
) -> None:
    opened = runs.open_run(whole)
    assert isinstance(opened.built.objective, Elbo)
    assert list(opened.built.objective.penalties) == ["kl"]
    assert opened.recipe["stage"] == complete(in_stages())["stage"]


def test_a_longer_run_lengthens_the_last_stage_and_keeps_where_others_began(
    corpus: Path, tmp_path: Path
) -> None:
    stages: list[dict[str, Any]] = [{"share": 0.5, "objective": PLAIN}, {"reset": ["decoder"]}]
    for steps in (6, 12):
        made = in_stages(stages, training_steps=steps, optimizer_final=1.0)
        train(made, corpus, tmp_path / "run", resume=steps > 6)
    place = runs.newest(tmp_path / "run" / "checkpoints")
    trainer = runs.load_checkpoint(place).trainer
    assert (trainer["step"], trainer["starts"]) == (12, [0, 3])


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"objective": {"kind": "Elbow", "terms": {}}}, 'did you mean "Elbo"'),
        ({"optimizer": {"rte": 3.0}}, 'did you mean "rate"'),
        ({"freeze": ["encoder", "decoder"]}, "leaves nothing to learn"),
        ({"freeze": ["encoder"], "lagging": 3}, r"lagging = 3.*no weights to move"),
    ],
)
def test_a_last_stage_that_cannot_be_is_refused_before_the_first(
    stage: dict[str, Any], message: str, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=message):
        train(in_stages([{"steps": 3}, stage]), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_stages_are_refused_at_a_resume(corpus: Path, tmp_path: Path) -> None:
    train(in_stages(), corpus, tmp_path / "run")
    before = (tmp_path / "run" / "recipe.toml").read_bytes()
    with pytest.raises(Refused, match=r"changed stage.*begin a new run"):
        train(in_stages([*STAGES[:2], {}]), corpus, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "recipe.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("stages", "stops"),
    [
        ([], [100]),
        ([{}], [100]),
        ([{"steps": 30}, {}], [30, 100]),
        ([{"epochs": 1.5}, {"share": 0.5}, {}], [15, 65, 100]),
        ([{"share": 0.001}, {}], [1, 100]),
    ],
)
def test_stages_end_where_they_say_and_the_last_with_the_run(
    stages: list[dict[str, Any]], stops: list[int]
) -> None:
    made = {**read("text"), "stage": stages}
    assert [stage.stop for stage in plan_stages(made, 100, 10)] == stops


@pytest.mark.parametrize(
    "stages", [[{"reset": ["decoder"]}], [{"steps": 9, "reset": ["prior"]}, {}]]
)
def test_a_first_stage_has_nothing_to_draw_again(stages: list[dict[str, Any]]) -> None:
    with pytest.raises(Refused, match=r"\[\[stage\]\] 1: reset = .*Leave it out"):
        plan_stages({**read("text"), "stage": stages}, 100, 10)


@pytest.mark.parametrize("stages", [[{"steps": 100}, {}], [{"epochs": 9.0}, {"share": 0.5}, {}]])
def test_stages_that_leave_no_step_are_refused(stages: list[dict[str, Any]]) -> None:
    with pytest.raises(Refused, match=r"stage.*train for longer"):
        plan_stages({**read("text"), "stage": stages}, 100, 10)


def test_a_stage_is_the_recipe_but_for_its_own_sections() -> None:
    base = read("text")
    stages = [{"optimizer": {"rate": 0.5}}, {"objective": PLAIN, "optimizer": {"kind": "SGD"}}]
    made = {**base, "stage": stages}
    assert staged(made, 0) == {**base, "optimizer": {**base["optimizer"], "rate": 0.5}}
    assert staged(made, 1) == {**base, "objective": PLAIN, "optimizer": {"kind": "SGD"}}
    assert staged(base, 0) == base


def test_a_recipe_that_is_completed_says_all_of_its_stages() -> None:
    stages = [
        {"steps": 3, "optimizer": {"kind": "SGD"}},
        {
            "objective": {"kind": "Elbo", "terms": {"it": {"kind": "MMD"}}},
            "optimizer": {"rate": 1},
        },
    ]
    made = complete({**read("text"), "stage": stages})
    assert made["stage"][0]["optimizer"]["decay"] == 0.5
    assert made["stage"][1]["objective"]["terms"]["it"]["sigma"] == 1.0
    assert made["stage"][1]["optimizer"] == {"rate": 1}, "a change of the recipe's own"
    assert complete(made) == made


def test_the_shipped_recipe_is_the_published_course() -> None:
    made = read("text-pretrained")
    first, second = plan_stages(made, 1000, 100)
    assert (first.stop, first.reset, second.reset) == (300, (), ("decoder",))
    plain = objective(first.recipe, 300)
    annealed = objective(second.recipe, 700)
    assert not plain.penalties
    assert [annealed.schedules["kl"](step) for step in (0, 175, 350, 700)] == [0, 0.5, 1, 1]


def objective(made: Recipe, steps: int) -> Elbo:
    built: Built = build({**made, "latent": 2}, 9, steps=steps)
    assert isinstance(built.objective, Elbo)
    return built.objective
