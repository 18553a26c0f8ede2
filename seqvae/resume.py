"""Where a run stands: what it is set up with, and how it is taken up from its checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from . import runs
from .build import Built, build, build_stepper, check_selection, complete, has_rate
from .errors import Refused
from .plan import Plan, Stage
from .recipe import staged
from .runs import Checkpoint
from .training.optimizers import Stepper


@dataclass
class TrainerState:
    """Where a run stands: with the weights and the optimiser, all that a resume needs."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stalled: int = 0  # validations since the best one
    decays: int = 0
    faults: int = 0  # validations in a row that found the code empty or unread
    finished: bool = False
    starts: list[int] = field(default_factory=lambda: [0])  # of the stages so far
    caught_up: bool = False  # in this stage, the encoder that lagged
    information: float | None = None  # at most so far in this stage: I(x; z), nats, while it lags
    encoder_steps: int = 0  # of the encoder alone
    tokens: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0  # of this process, all threads together
    figures: dict[str, Any] = field(default_factory=dict)
    # Of the steps since the last line of the log, so that a resumed run writes the same lines.
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0


class Standing(NamedTuple):
    """Where a run stands, and what it trains there."""

    trainer: TrainerState
    built: Built
    stepper: Stepper
    anew: bool = False  # whether weights are chosen by other figures than before


# --- what a stage begins with -------------------------------------------------------------------


def set_up(plan: Plan, number: int, start: int) -> tuple[Built, Stepper]:
    """What a stage, counted from 0, that begins at a step trains, and with what; all of it anew.

    Raises `Refused` for what cannot be trained.
    """
    stage, codec = plan.stages[number], plan.corpus.codec
    steps = max(stage.stop - start, 1)
    built = build(stage.recipe, steps=steps, **codec.extent._asdict())
    check_selection(stage.recipe, built)
    for name in stage.freeze:
        getattr(built.vae, name).requires_grad_(False)
    _check_learning(stage, built)
    built.vae.to(plan.device)
    built.objective.to(plan.device)
    return built, build_stepper(stage.recipe, built, steps=steps)


def _check_learning(stage: Stage, built: Built) -> None:
    if not any(weight.requires_grad for weight in built.vae.parameters()):
        raise Refused(
            f"freeze = {list(stage.freeze)} leaves nothing to learn in a stage: leave one out."
        )
    if not stage.lagging:
        return
    if not any(weight.requires_grad for weight in built.vae.encoder.parameters()):
        raise Refused(
            f"lagging = {stage.lagging}: steps of the encoder alone, which has no weights to "
            "move here. Set it to 0."
        )
    own = {id(weight) for weight in built.vae.encoder.parameters()}
    if not any(w.requires_grad for w in built.vae.parameters() if id(w) not in own):
        raise Refused(
            f"lagging = {stage.lagging}: the encoder runs ahead of a decoder that learns, and all "
            "but the encoder is frozen here. Set it to 0."
        )
    if not has_rate(built):
        raise Refused(
            f"lagging = {stage.lagging} lasts while mutual information climbs, which is unknown "
            "of a posterior or prior without a density. Set it to 0."
        )


# --- taking up ----------------------------------------------------------------------------------


def restore(plan: Plan, built: Built, stepper: Stepper, say: Callable[[str], None]) -> Standing:
    """Where the run of a plan stands; given is what its first stage trains, as it begins.

    With another loss than that of the checkpoint networks go on from where they are, and so do
    penalties of the same name and kind; others begin anew, and so does the choice of weights.

    Raises `Refused` for a folder that cannot be trained further, and for a plan with other
    networks, another corpus, seed, optimiser or stages.
    """
    runs.sweep(plan.folder / "checkpoints")
    if not runs.checkpoints(plan.folder / "checkpoints"):
        if not (plan.folder / "corpus.json").is_file():  # what `seqvae export` leaves out
            raise Refused(
                f"{plan.folder} holds weights only, as an export does: training cannot go on from "
                "them. Begin a new run: seqvae train CORPUS --out OTHER"
            )
        say("there is no checkpoint yet: beginning at the first step")
        return Standing(TrainerState(), built, stepper)
    place = runs.newest(plan.folder / "checkpoints", warn=say)
    checkpoint = runs.load_checkpoint(place, device=plan.device)
    trainer = _trainer_state(checkpoint.trainer, place)
    if checkpoint.trainer.get("corpus") != plan.corpus.checksum:
        raise Refused(
            f"{plan.corpus.folder} is not the corpus that {plan.folder} began with; leave it out "
            "to use that one, or begin a new run."
        )
    _check_same(plan)
    stage = _stage_of(trainer, plan, place)
    if stage:
        built, stepper = set_up(plan, stage, trainer.starts[-1])
    before, now = _judged_by(plan, stage, checkpoint.trainer, place), judged_by(plan, stage)
    if before["objective"] == now["objective"]:
        _load(plan, stage, checkpoint, built, stepper, place)
    else:
        was, its = _of_loss(plan, stage, before["objective"], trainer.starts[-1])
        _load(plan, stage, checkpoint, was, its, place)
        carry_over(was, its.optimizer, built, stepper.optimizer)
        # Standstills, faults and sums of another loss say nothing of this one.
        trainer.decays, trainer.faults, trainer.sums, trainer.counted = 0, 0, {}, 0
    if before != now:
        trainer.best, trainer.best_step, trainer.stalled = None, 0, 0
        trainer.figures, trainer.finished = {}, False
    runs.forget_after(plan.folder / "best", place.name)
    say(f"going on from step {trainer.step}")
    return Standing(trainer, built, stepper, before != now)


def _load(
    plan: Plan, stage: int, checkpoint: Checkpoint, built: Built, stepper: Stepper, place: Path
) -> None:
    runs.load_state(built, checkpoint.weights, place)
    _restore_optimizer(plan, stage, stepper.optimizer, checkpoint.optimizer, place)


def judged_by(plan: Plan, stage: int) -> dict[str, Any]:
    """What the figures are of that weights are chosen by: it is kept with them."""
    recipe = plan.stages[stage].recipe
    return {"select": recipe["training"]["select"], "objective": recipe["objective"]}


def _judged_by(plan: Plan, stage: int, saved: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """The same as a checkpoint has it; where it says nothing, as an older one, as its run does.

    The run's recipe alone would not do: a run that is killed before its first checkpoint with
    another loss has the new one in its recipe and the old one in its checkpoint.
    """
    was = staged(runs.read_recipe(plan.folder), stage)
    said = saved.get("judged_by", {})
    objective = said.get("objective", was["objective"]) if isinstance(said, dict) else None
    if not isinstance(objective, dict):
        raise Refused(f"{place}: judged_by = {said!r:.40} in {runs.TRAINER} cannot be.")
    whole = complete({**was, "objective": objective})
    select = said.get("select", was["training"]["select"])
    return {"select": select, "objective": whole["objective"]}


def _of_loss(
    plan: Plan, number: int, objective: Mapping[str, Any], start: int
) -> tuple[Built, Stepper]:
    """What a stage trained under another loss."""
    stages = list(plan.stages)
    recipe = {**stages[number].recipe, "objective": dict(objective)}
    stages[number] = stages[number]._replace(recipe=recipe)
    return set_up(plan._replace(stages=tuple(stages)), number, start)


def carry_over(
    before: Built, old: torch.optim.Optimizer, after: Built, new: torch.optim.Optimizer
) -> None:
    """All that is in both: networks, penalties alike, and what the optimiser holds of them."""
    was, now = (getattr(built.objective, "penalties", {}) for built in (before, after))
    both = [(was[name], now[name]) for name in now if name in was]
    alike = [(one, other) for one, other in both if _alike(one, other)]
    for source, target in [(before.vae, after.vae), *alike]:
        target.load_state_dict(source.state_dict())
        for weight, its in zip(source.parameters(), target.parameters(), strict=True):
            if weight in old.state:
                new.state[its] = old.state[weight]


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether what one penalty has become is another's to take up."""
    shapes = [{n: t.shape for n, t in each.state_dict().items()} for each in (one, other)]
    return type(one) is type(other) and shapes[0] == shapes[1]


def _stage_of(trainer: TrainerState, plan: Plan, place: Path) -> int:
    """The stage, from 0, that a checkpoint is of. Raises `Refused` where there is none such."""
    starts = trainer.starts
    rising = all(type(start) is int for start in starts) and starts == sorted(starts)
    if not (rising and starts[:1] == [0] and len(starts) <= len(plan.stages)):
        raise Refused(f"{place}: starts = {starts!r:.40} in {runs.TRAINER} cannot be.")
    return len(starts) - 1


def _check_same(plan: Plan) -> None:
    """Refuse a resume with other networks, or a seed or stages that begin another course."""
    before = complete(runs.read_recipe(plan.folder))
    parts = ("encoder", "posterior", "prior", "decoder", "label")
    for key in ("latent", "seed", *parts, "stage"):
        was = before.get(key, [])
        if plan.recipe.get(key, []) != was:
            raise Refused(
                f"--set changed {key}, which {plan.folder} was begun with: {was!r}. Leave "
                "it, or begin a new run with another --out."
            )


def _trainer_state(saved: Mapping[str, Any], place: Path) -> TrainerState:
    """The trainer's plain numbers, each of the type it should have."""
    trainer = TrainerState()
    for name, value in vars(trainer).items():
        found = saved.get(name, value)
        if not (
            isinstance(found, float | None)
            if name in ("best", "information")
            else type(found) is type(value)
        ):
            raise Refused(f"{place}: {name} = {found!r:.40} in {runs.TRAINER} cannot be.")
        setattr(trainer, name, found)
    return trainer


def _restore_optimizer(
    plan: Plan,
    stage: int,
    optimizer: torch.optim.Optimizer,
    saved: dict[str, Any] | None,
    place: Path,
) -> None:
    """Take up the state of every weight; rates and decays are the recipe's, which may be new."""
    if saved is None:
        raise Refused(f"{place} holds no optimiser state, so training cannot resume from it.")
    kind, before = (
        staged(recipe, stage)["optimizer"]["kind"]
        for recipe in (plan.recipe, runs.read_recipe(plan.folder))
    )
    own = optimizer.state_dict()
    try:
        optimizer.load_state_dict({**own, "state": saved["state"]})
        fits = kind == before and all(
            value.shape in (weight.shape, ())
            for weight, state in optimizer.state.items()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
        fits = False
    if not fits:
        raise Refused(
            f"{place / runs.OPTIMIZER} does not fit these weights or {kind} (the run began with "
            f"{before}). Resume with the recipe it had, or begin a new run."
        )
