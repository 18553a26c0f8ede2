"""A run that was stopped in any way goes on as if nothing had happened, to the last bit."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from small import batch
from tiny import (
    NURSERY,
    die,
    in_child,
    metrics,
    prepared,
    recipe,
    train,
    train_and_die,
    weights_sum,
)

from seqvae import runs
from seqvae.build import Built, build, build_stepper
from seqvae.corpus import Corpus
from seqvae.data import Order
from seqvae.errors import Diverged, Refused, Stopped
from seqvae.fit import stop_requests
from seqvae.objectives import Elbo
from seqvae.objectives.objective import Report
from seqvae.recipe import Recipe, override
from seqvae.regularizers import MMD, TargetRate
from seqvae.resume import carry_over
from seqvae.training import train as run
from seqvae.training.optimizers import Stepper
from seqvae.vae import Pass


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("corpus")).folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Mapping[str, Path]:
    """One uninterrupted run of each network, without loader workers."""
    folder = tmp_path_factory.mktemp("whole")
    for network in ("LSTM", "Transformer"):
        train(recipe(network), corpus, folder / network)
    return {network: folder / network for network in ("LSTM", "Transformer")}


def same_run(folder: Path, whole: Path) -> None:
    assert weights_sum(folder) == weights_sum(whole)
    assert weights_sum(folder, "best") == weights_sum(whole, "best")
    assert metrics(folder) == metrics(whole)
    assert not list(folder.rglob(".*")), "orphans of killed writers"


@pytest.mark.parametrize(
    ("network", "workers"),
    [("LSTM", (0, 0)), ("LSTM", (2, 2)), ("Transformer", (0, 0)), ("Transformer", (2, 0))],
)
def test_a_run_killed_at_three_steps_ends_as_if_it_had_not_been(
    network: str, workers: tuple[int, int], corpus: Path, whole: Mapping[str, Path], tmp_path: Path
) -> None:
    draw = random.Random(f"{network} {workers}")
    first, last = draw.randint(1, 5), draw.randint(10, 11)
    kills = [(first, False), (draw.choice([6, 9]), True), (last, False)]
    for place, (step, saving) in enumerate(kills):
        experiment = recipe(network, training_workers=workers[place % 2])
        code = in_child(train_and_die, experiment, corpus, tmp_path / "run", step, saving)
        assert code == -signal.SIGKILL
    train(recipe(network, training_workers=workers[1]), corpus, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole[network])


def test_a_run_killed_before_its_first_checkpoint_begins_again(
    corpus: Path, whole: Mapping[str, Path], tmp_path: Path
) -> None:
    code = in_child(train_and_die, recipe(), corpus, tmp_path / "run", 2, False)
    assert code == -signal.SIGKILL
    with pytest.raises(Refused, match=r"no weights yet.*--resume"):
        runs.open_run(tmp_path / "run")
    train(recipe(), corpus, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole["LSTM"])


def test_the_tokens_of_the_log_are_those_trained_on(
    corpus: Path, whole: Mapping[str, Path]
) -> None:
    lengths = Corpus(corpus).split("train").lengths
    batches = Order(lengths, 16, seed=recipe()["seed"]).batches()
    seen = sum(int(lengths[rows].sum()) for _, rows in islice(batches, 12))
    assert [row["tokens"] for row in metrics(whole["LSTM"]) if row["kind"] == "train"][-1] == seen


def test_other_seeds_give_other_weights(
    corpus: Path, whole: Mapping[str, Path], tmp_path: Path
) -> None:
    train(recipe(seed=1), corpus, tmp_path / "run")
    assert weights_sum(tmp_path / "run") != weights_sum(whole["LSTM"])


def test_a_finished_run_says_so_and_stays_as_it_is(
    corpus: Path, whole: Mapping[str, Path], tmp_path: Path
) -> None:
    said: list[str] = []
    before = {path: path.read_bytes() for path in whole["LSTM"].rglob("*") if path.is_file()}
    train(recipe(), corpus, whole["LSTM"], resume=True, say=said.append)
    assert "is finished: 12 steps" in said[-1]
    assert before == {path: path.read_bytes() for path in before}


def test_a_finished_run_goes_on_where_its_limit_is_raised(corpus: Path, tmp_path: Path) -> None:
    for folder, limits in {"two": (6, 12), "one": (12,)}.items():
        for limit in limits:
            options = {"training_steps": limit, "training_select": "last", "optimizer_final": 1.0}
            experiment = with_loss(FLOOR, **options)  # without a share of the run
            train(experiment, corpus, tmp_path / folder, resume=(tmp_path / folder).exists())
    assert weights_sum(tmp_path / "two") == weights_sum(tmp_path / "one")


# --- killed while saving ------------------------------------------------------------------------


def checkpoint_of(step: int) -> runs.Checkpoint:
    """A megabyte that says in every number which step it is of."""
    tensor = torch.full((2**18,), float(step))
    return runs.Checkpoint({"vae.x": tensor}, {"step": step}, {"state": {0: tensor[:1000]}})


def save_for_ever(folder: Path, first: int, saved: "Saved") -> None:
    for step in range(first, first + 10**6):
        runs.save_checkpoint(folder, f"step-{step:08d}", checkpoint_of(step))
        saved.value = step


class Saved:
    """A number that two processes see."""

    value: int


def is_whole(folder: Path) -> int:
    """The step of the newest checkpoint, which must be the very one that was saved."""
    place = runs.newest(folder, warn=pytest.fail)
    found = runs.load_checkpoint(place)
    step = int(found.trainer["step"])
    assert found.optimizer is not None
    assert place.name == f"step-{step:08d}"
    assert torch.equal(found.weights["vae.x"], checkpoint_of(step).weights["vae.x"])
    assert torch.equal(found.optimizer["state"][0], torch.full((1000,), float(step)))
    return step


def test_25_kills_while_saving_lose_nothing_but_the_last_interval(tmp_path: Path) -> None:
    draw = random.Random(0)
    saved = NURSERY.Value("q", 0)
    for _ in range(25):
        begun = saved.value
        child = NURSERY.Process(target=save_for_ever, args=(tmp_path, begun + 1, saved))
        child.start()
        while saved.value == begun and child.is_alive():
            child.join(0.001)
        child.join(draw.uniform(0, 0.02))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert is_whole(tmp_path) >= saved.value
    runs.sweep(tmp_path)
    assert all(re.fullmatch(r"step-\d{8}", path.name) for path in tmp_path.iterdir())


def save_and_die(folder: Path, point: int) -> None:
    """Replace a checkpoint by an equal one, and be killed at one point on the way."""
    left = [point]

    def count(name: str, owner: object) -> None:
        call = getattr(owner, name)

        def counted(*arguments: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                die()
            return call(*arguments, **named)

        setattr(owner, name, counted)

    count("fsync", os)
    count("rename", Path)
    count("rmtree", shutil)
    runs.save_checkpoint(folder, "step-00000001", checkpoint_of(1), keep=1)


def test_a_kill_at_any_point_of_replacing_the_only_checkpoint_leaves_it(tmp_path: Path) -> None:
    codes = []
    for point in range(1, 20):
        folder = tmp_path / str(point)
        runs.save_checkpoint(folder, "step-00000001", checkpoint_of(1), keep=1)
        codes.append(in_child(save_and_die, folder, point))
        runs.sweep(folder)
        assert is_whole(folder) == 1
        assert [path.name for path in folder.iterdir()] == ["step-00000001"]
        if codes[-1] == 0:
            break
    assert codes[-1] == 0
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 8


# --- asked to stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_saves_at_the_next_step_and_the_run_resumes_exactly(
    number: signal.Signals,
    workers: int,
    corpus: Path,
    whole: Mapping[str, Path],
    tmp_path: Path,
) -> None:
    def tick(step: int, steps: int, numbers: Mapping[str, float]) -> None:
        if step == 5:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    experiment = recipe(training_workers=workers)
    with pytest.raises(Stopped, match=r"after step 5 and saved.*--resume --out") as stopped:
        train(experiment, corpus, tmp_path / "run", tick=tick)
    assert stopped.value.number == number
    assert signal.getsignal(number) is before
    assert runs.newest(tmp_path / "run" / "checkpoints").name == "step-00000005"
    train(experiment, corpus, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole["LSTM"])


def stop_twice(first: signal.Signals, second: signal.Signals) -> None:
    with stop_requests() as asked:
        signal.raise_signal(first)
        assert asked == [first]
        signal.raise_signal(second)
    os._exit(7)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_of_either_kind_leaves_at_once(second: signal.Signals) -> None:
    assert in_child(stop_twice, signal.SIGTERM, second) == -second


# --- numbers that are none ----------------------------------------------------------------------


def poison(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The loss of one training step is not a number."""
    score = Elbo.score

    def poisoned(self: Elbo, out: Pass) -> tuple[torch.Tensor, Report]:
        loss, report = score(self, out)
        return (loss * float("nan") if out.batch.step == step else loss), report

    monkeypatch.setattr(Elbo, "score", poisoned)


def test_nan_stops_before_the_optimiser_and_the_run_resumes_exactly(
    corpus: Path, whole: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        poison(patched, 7)
        with pytest.raises(Diverged, match=r"step 7: .* rows (\d+, ){7}\d+"):
            train(recipe(), corpus, tmp_path / "run")
    place = runs.newest(tmp_path / "run" / "checkpoints")
    assert place.name == "step-00000007"
    weights = runs.load_checkpoint(place).weights
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    train(recipe(), corpus, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole["LSTM"])


def test_weights_that_are_not_finite_are_never_saved(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="step"):
        train(recipe(optimizer_rate=3e38, training_save_every=1), corpus, tmp_path / "run")
    for place in runs.checkpoints(tmp_path / "run" / "checkpoints"):
        weights = runs.load_checkpoint(place).weights
        assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


# --- what cannot be resumed ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after step 7: it has the checkpoints of steps 3 and 6."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    in_child(train_and_die, recipe(), corpus, folder, 7, False)
    return folder


@pytest.fixture
def stopped(killed: Path, tmp_path: Path) -> Path:
    """The killed run, to change."""
    return shutil.copytree(killed, tmp_path / "run")


def test_resume_falls_back_from_a_damaged_checkpoint_loudly(
    stopped: Path, corpus: Path, whole: Mapping[str, Path]
) -> None:
    damaged = stopped / "checkpoints" / "step-00000006" / runs.WEIGHTS
    damaged.write_bytes(damaged.read_bytes()[:-1])
    said: list[str] = []
    train(recipe(), corpus, stopped, resume=True, say=said.append)
    assert f"passed over: {damaged}" in said[0]
    assert "going on from step 3" in said[1]
    same_run(stopped, whole["LSTM"])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"optimizer_kind": "SGD"}, r"optimizer.pt does not fit.*SGD.*began with AdamW"),
        ({"encoder_hidden": 9}, r"--set changed encoder.*begin a new run"),
        ({"latent": 3}, r"--set changed latent.*begin a new run"),
        ({"seed": 3}, r"--set changed seed.*begin a new run"),
    ],
)
def test_a_recipe_that_does_not_fit_the_checkpoint_is_refused_and_not_kept(
    other: dict[str, Any], words: str, stopped: Path, corpus: Path
) -> None:
    before = (stopped / "recipe.toml").read_bytes()
    changed = recipe(**other)
    for key in ("rate", "warm_up") if "optimizer_kind" in other else ():
        changed["optimizer"].pop(key, None)
    with pytest.raises(Refused, match=words):
        train(changed, corpus, stopped, resume=True)
    assert (stopped / "recipe.toml").read_bytes() == before


def test_a_changed_rate_or_decay_holds_from_the_resume_on(stopped: Path, corpus: Path) -> None:
    frozen = recipe(optimizer_rate=1e-30, optimizer_weight_decay=0.5, training_select="last")
    before = weights_sum(stopped)
    train(frozen, corpus, stopped, resume=True)
    assert weights_sum(stopped) == before
    assert runs.read_recipe(stopped)["optimizer"]["weight_decay"] == 0.5


def test_another_corpus_is_refused(stopped: Path, tmp_path: Path) -> None:
    other = prepared(tmp_path, 150)
    with pytest.raises(Refused, match="not the corpus that"):
        train(recipe(), other.folder, stopped, resume=True)


def test_a_kill_while_saving_leaves_a_part_that_is_swept(corpus: Path, tmp_path: Path) -> None:
    place = tmp_path / "run" / "checkpoints"
    in_child(train_and_die, recipe(), corpus, tmp_path / "run", 9, True)
    left = [path.name for path in place.iterdir() if path.name.startswith(".")]
    assert len(left) == 1
    assert left[0].startswith(".step-00000009.tmp-")
    runs.sweep(place)
    assert [path.name for path in runs.checkpoints(place)] == ["step-00000003", "step-00000006"]
    assert len(list(place.iterdir())) == 2


def test_a_run_resumed_with_a_lower_limit_ends_at_once(
    corpus: Path, whole: Mapping[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(whole["LSTM"], tmp_path / "run")
    said: list[str] = []
    shorter = recipe(training_steps=5)
    train(shorter, corpus, tmp_path / "run", resume=True, say=said.append)
    assert said[-1].endswith("To go on: --set training.steps=24")
    assert weights_sum(tmp_path / "run") == weights_sum(whole["LSTM"])


def test_a_run_that_falls_back_to_its_best_falls_back_to_the_same_after_a_kill(
    corpus: Path, tmp_path: Path
) -> None:
    # So steep that validation never improves: each look after the first goes back to the best.
    often = recipe(training_validate_every=1, training_save_every=4, training_clip=1e6)
    steep = override(often, ['optimizer={kind="SGD", rate=30.0, patience=1, max_decays=20}'])
    train(steep, corpus, tmp_path / "whole")
    assert runs.load_checkpoint(runs.newest(tmp_path / "whole/checkpoints")).trainer["decays"] > 0
    for step in (3, 7, 11):
        code = in_child(train_and_die, steep, corpus, tmp_path / "run", step, False)
        assert code == -signal.SIGKILL
    train(steep, corpus, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", tmp_path / "whole")


def test_weights_cannot_be_chosen_by_a_figure_that_the_model_does_not_have(
    corpus: Path, tmp_path: Path
) -> None:
    by_elbo = recipe(posterior_kind="DeltaPosterior", training_select="negative_elbo")
    autoencoder = override(by_elbo, ["objective.terms={}"])
    with pytest.raises(Refused, match=r"no ELBO to choose by"):
        train(autoencoder, corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_says_all_that_it_was_made_of(whole: Mapping[str, Path]) -> None:
    written = runs.read_recipe(whole["LSTM"])
    assert written["encoder"]["bidirectional"] is True and written["encoder"]["layers"] == 1
    assert written["decoder"]["at_every_step"] is True
    assert written["optimizer"]["betas"] == [0.9, 0.999]


def test_what_accumulation_changes_of_a_penalty_is_said(corpus: Path, tmp_path: Path) -> None:
    said: list[str] = []
    parts = with_loss(FLOOR, training_accumulate=2, training_steps=1)
    train(parts, corpus, tmp_path / "run", say=said.append)
    assert any(line.startswith("kl: a penalty on the batch as a whole") for line in said)


def test_an_export_cannot_be_resumed_and_keeps_its_weights(
    corpus: Path, whole: Mapping[str, Path], tmp_path: Path
) -> None:
    runs.export(whole["LSTM"], tmp_path / "small")
    before = weights_sum(tmp_path / "small", "best")
    with pytest.raises(Refused, match=r"holds weights only.*Begin a new run"):
        train(recipe(), corpus, tmp_path / "small", resume=True)
    assert weights_sum(tmp_path / "small", "best") == before


# --- another loss -------------------------------------------------------------------------------

KL, HELD = {"kind": "KL"}, {"kind": "TargetRate", "nats": 3.0}
CRITIC, PAST = {"kind": "Adversarial", "hidden": 8}, {"kind": "MMD", "buffer": 32}
LOSSES: list[dict[str, Any]] = [
    {"kind": "Elbo", "terms": {"kl": HELD}},
    {"kind": "Elbo", "terms": {"kl": KL, "critic": CRITIC, "past": PAST}},
    {"kind": "InfoVAE", "alpha": 0.5, "lambda": 2.0, "divergence": "adversarial"},
    {"kind": "IWAE"},
    {"kind": "Elbo", "terms": {"kl": {"kind": "RateConstraint", "nats": 1.0}, "past": KL}},
]

FLOOR = {
    "kind": "Elbo",
    "terms": {"kl": {"kind": "FreeBits", "nats": 0.5, "per": "batch_dimension"}},
}


def with_loss(objective: dict[str, Any], **other: Any) -> Recipe:
    return {**recipe(**other), "objective": objective}


def weighing(weight: float, **other: Any) -> Recipe:
    return with_loss({"kind": "Elbo", "terms": {"kl": {**KL, "weight": weight}}}, **other)


def trainer_of(run: Path) -> dict[str, Any]:
    return runs.load_checkpoint(runs.newest(run / "checkpoints")).trainer


def names(folder: Path) -> list[str]:
    return [place.name for place in runs.checkpoints(folder)]


def test_any_loss_goes_on_from_where_another_is(corpus: Path, tmp_path: Path) -> None:
    """Through losses with and without critics, buffers and controllers, and back."""
    folder = tmp_path / "run"
    for turn, loss in enumerate([*LOSSES, LOSSES[1], LOSSES[0]], start=1):
        changed = with_loss(loss, training_steps=2 * turn, training_validate_every=2)
        train(changed, corpus, folder, resume=turn > 1)
        assert trainer_of(folder)["step"] == 2 * turn
        runs.open_run(folder)


def test_losses_with_a_state_resume_to_the_same_bits(corpus: Path, tmp_path: Path) -> None:
    terms = {"kl": HELD, "critic": CRITIC, "past": PAST}
    made = with_loss({"kind": "Elbo", "terms": terms})
    train(made, corpus, tmp_path / "whole")
    code = in_child(train_and_die, made, corpus, tmp_path / "run", 5, False)
    assert code == -signal.SIGKILL
    train(made, corpus, tmp_path / "run", resume=True)
    assert weights_sum(tmp_path / "run") == weights_sum(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def stepped(made: Recipe, steps: int) -> tuple[Built, Stepper]:
    built = build({**made, "latent": 2}, 9)
    stepper = build_stepper(made, built)
    for _ in run(built.vae, built.objective, stepper, [batch(step=n) for n in range(steps)]):
        pass
    return built, stepper


def test_what_two_losses_share_is_carried_over_and_all_else_begins() -> None:
    terms: dict[str, Any] = {"kl": HELD, "same": CRITIC, "other": CRITIC, "past": PAST}
    was, old = stepped(with_loss({"kind": "Elbo", "terms": terms}), 3)
    terms = {"new": HELD, "past": {**PAST, "buffer": 16}, "other": KL, "kl": {**HELD, "nats": 9.0}}
    now, new = stepped(with_loss({"kind": "Elbo", "terms": {**terms, "same": CRITIC}}), 0)
    carry_over(was, old.optimizer, now, new.optimizer)
    before, after = was.objective.penalties, now.objective.penalties
    assert isinstance(before, torch.nn.ModuleDict) and isinstance(after, torch.nn.ModuleDict)
    pairs = [(was.vae, now.vae), (before["same"], after["same"])]
    for one, its in pairs:
        for weight, now_its in zip(one.parameters(), its.parameters(), strict=True):
            assert torch.equal(weight, now_its) and weight is not now_its
            held, given = old.optimizer.state[weight], new.optimizer.state[now_its]
            assert held and all(torch.equal(held[name], given[name]) for name in held)
    gone = len(list(before["other"].parameters()))
    assert len(new.optimizer.state) == len(old.optimizer.state) - gone
    held_before, held_after, new_one = before["kl"], after["kl"], after["new"]
    assert isinstance(held_before, TargetRate) and isinstance(held_after, TargetRate)
    assert isinstance(new_one, TargetRate) and new_one.beta.item() == pytest.approx(0.01)
    assert held_before.beta.item() == held_after.beta.item() != new_one.beta.item()
    past, fresh = before["past"], after["past"]
    assert isinstance(past, MMD) and isinstance(fresh, MMD)
    assert fresh.filled.item() == 0 < past.filled.item()
    next(run(now.vae, now.objective, new, [batch(step=3)]))


def test_another_loss_chooses_among_its_own_weights_alone(corpus: Path, tmp_path: Path) -> None:
    """However low the loss of before: of fifty times the weight none is as low."""
    cheap, dear = weighing(0.0, training_steps=6), weighing(50.0, training_validate_every=3)
    train(cheap, corpus, tmp_path / "run")
    before = trainer_of(tmp_path / "run")
    said: list[str] = []
    seen: list[tuple[float | None, list[str]]] = []

    def tick(step: int, steps: int, numbers: Mapping[str, float]) -> None:
        if step == 7:
            seen.append((trainer_of(tmp_path / "run")["best"], names(tmp_path / "run" / "best")))

    train(dear, corpus, tmp_path / "run", resume=True, say=said.append, tick=tick)
    after = trainer_of(tmp_path / "run")
    assert before["best_step"] == 6 < after["best_step"]
    assert before["best"] < after["best"]
    assert seen == [(None, [])], "nothing is chosen before its first validation"
    assert names(tmp_path / "run" / "best") == [runs.checkpoint_name(after["best_step"])]
    assert sum("best weights so far are let go" in line for line in said) == 1
    assert runs.open_run(tmp_path / "run").trainer["best"] == after["best"]


def test_a_run_that_stood_still_moves_under_another_loss(corpus: Path, tmp_path: Path) -> None:
    still = override(
        weighing(0.0, training_validate_every=1, training_clip=1e6),
        ['optimizer={kind="SGD", rate=30.0, patience=1, max_decays=1}'],
    )
    train(still, corpus, tmp_path / "run")
    before = trainer_of(tmp_path / "run")
    assert before["finished"] and before["step"] < 12 and before["decays"] == 1
    said: list[str] = []
    train(still, corpus, tmp_path / "run", resume=True, say=said.append)
    assert "is finished" in said[-1]
    moving = {**still, "objective": weighing(9.0)["objective"]}
    train(moving, corpus, tmp_path / "run", resume=True, say=said.append)
    assert trainer_of(tmp_path / "run")["best_step"] > before["step"]


class Killed(Exception):
    """As a kill would end it there."""


@pytest.mark.parametrize("point", ["fit.save_checkpoint", "runs.prune"])
def test_a_kill_while_another_loss_is_taken_up_changes_nothing(
    point: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recipe is written, then a checkpoint that knows of it, then the best is let go."""

    def kill(*arguments: Any, **named: Any) -> None:
        if named["keep"] == 0 or "fit" in point:
            raise Killed

    for folder in ("whole", "run"):
        train(weighing(0.0, training_steps=6), corpus, tmp_path / folder)
    changed = weighing(50.0, training_validate_every=3)
    train(changed, corpus, tmp_path / "whole", resume=True)
    with monkeypatch.context() as patched:
        patched.setattr(f"seqvae.{point}", kill)
        with pytest.raises(Killed):
            train(changed, corpus, tmp_path / "run", resume=True)
    assert names(tmp_path / "run" / "best") == [runs.checkpoint_name(6)]
    train(changed, corpus, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", tmp_path / "whole")
    assert names(tmp_path / "run" / "best") == names(tmp_path / "whole" / "best")


def test_weights_chosen_by_another_figure_are_let_go(
    whole: Mapping[str, Path], corpus: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole["LSTM"], tmp_path / "run")
    train(recipe(training_select="last", training_steps=13), corpus, folder, resume=True)
    assert names(folder / "best") == [] and runs.open_run(folder).trainer["step"] == 13


def rewrite(place: Path, **numbers: Any) -> None:
    """Other numbers in a checkpoint, with the sum that they have; None takes one away."""
    path = place / runs.TRAINER
    was = path.read_bytes()
    found = {**json.loads(was), **numbers}
    path.write_text(json.dumps({k: v for k, v in found.items() if v is not None}), "utf-8")
    sums = (place / runs.SUMS).read_text("utf-8")
    old, new = (hashlib.sha256(data).hexdigest() for data in (was, path.read_bytes()))
    (place / runs.SUMS).write_text(sums.replace(old, new), "utf-8")


def test_a_checkpoint_that_does_not_say_its_loss_has_that_of_its_run(
    stopped: Path, corpus: Path, whole: Mapping[str, Path], tmp_path: Path
) -> None:
    place = runs.newest(stopped / "checkpoints")
    rewrite(place, judged_by=None)
    other = shutil.copytree(stopped, tmp_path / "other")
    train(recipe(), corpus, stopped, resume=True)
    same_run(stopped, whole["LSTM"])
    said: list[str] = []
    train(with_loss(LOSSES[0]), corpus, other, resume=True, say=said.append)
    assert any("let go" in line for line in said)


@pytest.mark.parametrize("said", [3, {"objective": "KL"}, {"objective": {"kind": "Elbow"}}])
def test_a_loss_that_cannot_be_is_refused(said: Any, stopped: Path, corpus: Path) -> None:
    rewrite(runs.newest(stopped / "checkpoints"), judged_by=said)
    with pytest.raises(Refused, match=r"judged_by = |Elbow"):
        train(recipe(), corpus, stopped, resume=True)


# --- what is said before, and at the end ---------------------------------------------------------


def test_what_a_batch_of_one_makes_of_a_penalty_or_posterior_is_said(
    corpus: Path, tmp_path: Path
) -> None:
    for made, named in (
        (with_loss(FLOOR), "kl: made for many"),
        (with_loss(FLOOR, posterior_kind="BatchNormPosterior"), "kl, BatchNormPosterior: made"),
        (with_loss({"kind": "Elbo", "terms": {"a": {"kind": "MMD"}, "kl": KL}}), "a: made for"),
        (with_loss({"kind": "Elbo", "terms": {"kl": KL}}), None),
    ):
        for size, by, alone in (
            (1, "sentences", True),
            (2, "sentences", False),
            (9, "tokens", True),
        ):
            said: list[str] = []
            few = {"batch": size, "by": by, "steps": 1, "validate_on": 2}
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            one = {**made, "training": {**made["training"], **few}}
            train(one, corpus, folder, say=said.append)
            lines = [line for line in said if "every batch holds one" in line]
            assert [line.startswith(named or "") for line in lines] == [True] * (
                alone and bool(named)
            )


@pytest.mark.parametrize("kind", ["TargetRate", "RateConstraint"])
@pytest.mark.parametrize("select", ["objective", "last"])
def test_a_run_whose_rate_never_lands_says_so_at_its_end(
    select: str, kind: str, corpus: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    asked = {"kind": "Elbo", "terms": {"kl": {"kind": kind, "nats": 100.0}}}
    train(with_loss(asked, training_select=select), corpus, tmp_path / "run", say=said.append)
    [line] = [line for line in said if "last weights stand" in line]
    assert re.match(r"kl: rate \d+\.\d of the 100 nats asked for\. It has not landed", line)
    assert "nats" in line and "To try: more steps" in line
    assert names(tmp_path / "run" / "best") == []


def test_a_language_model_is_chosen_whatever_rate_is_asked_of_it(
    corpus: Path, tmp_path: Path
) -> None:
    train(with_loss(LOSSES[0], latent=0), corpus, tmp_path / "run")
    train(with_loss({"kind": "Elbo", "terms": {"kl": KL}}, latent=0), corpus, tmp_path / "plain")
    found = [
        [row["objective"] for row in metrics(tmp_path / name) if row["kind"] == "valid"]
        for name in ("run", "plain")
    ]
    assert found[0] == found[1] and names(tmp_path / "run" / "best")
