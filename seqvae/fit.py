"""A recipe and a prepared corpus in, a trained run out; stopped and resumed at any step."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from . import __version__, runs
from .build import Built, build, build_stepper, check_selection, complete
from .card import card
from .corpus import Corpus, open_corpus
from .data import Items, batches, in_order, spread
from .errors import Diverged, Refused, Stopped
from .estimate import count_weights, estimate
from .evaluate import measure
from .explore import Explorer, show
from .log import Log, read_log
from .plan import Plan, make_plan
from .plots import curves, save
from .progress import duration
from .randomness import seeded
from .recipe import Recipe, to_toml
from .rows import nats
from .runs import Checkpoint, checkpoint_name, save_checkpoint
from .schedules import FAR
from .training import train
from .training.optimizers import Stepper

LOG_EVERY = 50  # steps between two lines of metrics.jsonl
SHOWN = 8  # items in a file of samples


@dataclass
class TrainerState:
    """Where a run stands: with the weights and the optimiser, all that a resume needs."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stalled: int = 0  # validations since the best one
    decays: int = 0
    finished: bool = False
    tokens: int = 0
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    # Of the steps since the last line of the log, so that a resumed run writes the same lines.
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0


Say = Callable[[str], None]
Tick = Callable[[int, int, Mapping[str, float]], None]


def fit(
    recipe: Recipe,
    corpus: Corpus,
    folder: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    tensorboard: bool = False,
    say: Say = print,
    tick: Tick | None = None,
) -> TrainerState:
    """Train the recipe's model on a corpus and leave a run in `folder`.

    `say` receives sentences, `tick` (step, steps, numbers) as it goes. With `resume` the newest
    whole checkpoint of the folder is taken up, bit for bit.

    Raises `Refused` for what cannot be trained, `Diverged` where the loss is not finite (the
    state before that step is saved), `Stopped` after a signal (likewise).
    """
    plan = make_plan(complete(recipe), corpus, folder, device)
    built = build(recipe, corpus.codec.vocab, length=corpus.codec.length, steps=plan.steps)
    check_selection(recipe, built)
    built.vae.to(plan.device)
    built.objective.to(plan.device)
    stepper = build_stepper(recipe, built, steps=plan.steps)
    trainer = _restore(plan, built, stepper, say) if resume else _begin(plan)
    stood_still = trainer.finished and _out_of_patience(trainer, stepper)
    if stood_still or trainer.step >= plan.steps:
        say(f"{folder} is finished: {trainer.step} steps. {_go_on(plan, trainer, stood_still)}")
        if not (folder / "card.md").is_file():  # killed between its last step and its card
            finish(plan, built, trainer, say)
        return trainer
    runs.write_text(folder / "recipe.toml", to_toml(plan.recipe))
    for caution in cautions(plan, built):
        say(caution)
    say(estimate(plan, built, trainer.step))
    log = Log(folder, step=trainer.step, tensorboard=tensorboard)
    _Fitting(plan, built, stepper, trainer, log, say, tick).run()
    finish(plan, built, trainer, say)
    return trainer


def cautions(plan: Plan, built: Built) -> list[str]:
    """What somebody should know of this recipe before it is trained."""
    parts = plan.recipe["training"]["accumulate"]
    terms = [
        name
        for name, penalty in getattr(built.objective, "penalties", {}).items()
        if getattr(penalty, "of_batch", False)
    ]
    if parts > 1 and terms:
        return [
            f"{', '.join(terms)}: a penalty on the batch as a whole, which sees each of its "
            f"{parts} parts alone: another penalty than on all of it at once"
        ]
    return []


class _Fitting:
    """The way from where a run stands to its last step: log, validate, choose, save, stop."""

    def __init__(
        self,
        plan: Plan,
        built: Built,
        stepper: Stepper,
        trainer: TrainerState,
        log: Log,
        say: Say,
        tick: Tick | None,
    ) -> None:
        self.plan, self.built, self.stepper, self.trainer = plan, built, stepper, trainer
        self.log, self.say, self.tick = log, say, tick
        self.valid = plan.corpus.split("valid")
        self.drawn = 0  # tokens of the batch that is being trained on
        self.began = time.monotonic()

    def run(self) -> None:
        plan, trainer = self.plan, self.trainer
        training = plan.recipe["training"]
        self.stepper.decays = trainer.decays
        with stop_requests() as asked:
            try:
                for step, report in train(
                    self.built.vae,
                    self.built.objective,
                    self.stepper,
                    self._batches(),
                    seed=plan.recipe["seed"],
                    clip=training["clip"],
                    accumulate=training["accumulate"],
                    bf16=plan.bf16,
                    device=plan.device,
                ):
                    trainer.step = step
                    trainer.tokens += self.drawn
                    self._count(report)
                    last = step >= plan.steps
                    if step % plan.validate_every == 0 or last:
                        last = self._validate() or last
                    if step % plan.save_every == 0 or last or asked:
                        trainer.finished = last
                        self.save()
                    if last:
                        return
                    if asked:
                        raise Stopped(step, asked[0], plan.folder)
            except (Diverged, Refused):  # a batch that a penalty cannot take is refused
                if _finite(self.built):  # else the checkpoint before is the last good state
                    self.save()
                raise

    def _batches(self) -> Iterator[Any]:
        items = self.plan.corpus.split("train")
        workers = self.plan.recipe["training"]["workers"]
        for batch in batches(
            items,
            self.plan.order,
            start=self.trainer.step,
            workers=workers,
            tables=self.plan.tables,
        ):
            self.drawn = int(batch.length.sum())
            yield batch

    def _count(self, report: Mapping[str, Any]) -> None:
        sums = self.trainer.sums
        for name, value in report.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        self.trainer.counted += 1
        if self.tick is not None:
            recent = {name: total / self.trainer.counted for name, total in sums.items()}
            self.tick(self.trainer.step, self.plan.steps, recent)
        if self.trainer.step % LOG_EVERY == 0:
            self._flush()

    def _flush(self) -> None:
        """One line of averages since the last one."""
        trainer = self.trainer
        if trainer.counted == 0:
            return
        self._clock()
        numbers = {name: total / trainer.counted for name, total in trainer.sums.items()}
        numbers |= {"tokens": trainer.tokens, "seconds": round(trainer.seconds, 3)}
        self.log.write("train", trainer.step, numbers)
        trainer.sums, trainer.counted = {}, 0

    def _clock(self) -> None:
        now = time.monotonic()
        self.trainer.seconds += now - self.began
        self.began = now

    def _validate(self) -> bool:
        """Measure, choose, decay; true when the run should end here."""
        figures = validate(self.plan, self.built, self.valid)
        step, trainer = self.trainer.step, self.trainer
        self.log.write("valid", step, figures)
        noun = self.plan.corpus.codec.noun
        drawn = curves(read_log(self.plan.folder), nats(noun))
        save(drawn, self.plan.folder / "figures" / "curves.png")
        self._write_samples()
        self.say(f"step {step}, validation: {describe(figures, noun)}")
        select = self.plan.recipe["training"]["select"]
        if select == "last" or not self.built.objective.settled(step):
            return False
        if figures[select] < (math.inf if trainer.best is None else trainer.best):
            trainer.best, trainer.best_step, trainer.stalled = figures[select], step, 0
            trainer.figures = figures
            self._save_best()
            return False
        trainer.stalled += 1
        patience = self.stepper.patience
        return patience is not None and trainer.stalled >= patience and self._decay_or_stop()

    def _write_samples(self) -> None:
        """What the model can do by now, for people to read."""
        plan = self.plan
        explorer = Explorer(self.built.vae, plan.corpus.codec, plan.recipe, {})
        rows = spread(len(self.valid), SHOWN)
        given = [plan.corpus.codec.decode(self.valid[int(row)].tolist()) for row in rows]
        path = plan.folder / "samples" / f"{checkpoint_name(self.trainer.step)}.txt"
        path.parent.mkdir(exist_ok=True)
        runs.write_text(path, show(explorer, given))

    def _decay_or_stop(self) -> bool:
        """Validation stands still: go back to the best and lower the rate, or end."""
        trainer, stepper = self.trainer, self.stepper
        if stepper.decays >= stepper.max_decays or trainer.best is None:
            self.say(f"validation has not improved for {trainer.stalled} times: done")
            return True
        trainer.stalled = 0
        stepper.decays = trainer.decays = trainer.decays + 1
        place = self.plan.folder / "best" / checkpoint_name(trainer.best_step)
        runs.load_state(self.built, runs.load_checkpoint(place).weights, place)
        self.say(f"validation stands still: back to {place.name}, rate × {stepper.decay:g}")
        return False

    def save(self) -> None:
        """A checkpoint from which the run goes on bit for bit.

        Raises `Diverged` instead where a weight is not finite: what was saved before stays.
        """
        if not _finite(self.built):
            raise Diverged(
                f"step {self.trainer.step}: its update left weights that are not finite, so they "
                "were not saved. Lower optimizer.rate and resume from the checkpoint before."
            )
        self._clock()
        name = checkpoint_name(self.trainer.step)
        checkpoint = Checkpoint(
            runs.state(self.built), self._saved(), self.stepper.optimizer.state_dict()
        )
        keep = self.plan.recipe["training"]["keep"]
        save_checkpoint(self.plan.folder / "checkpoints", name, checkpoint, keep=keep)
        # Only now does a checkpoint know of the newest best, so that no resume needs the older.
        runs.prune(self.plan.folder / "best", keep=1)

    def _save_best(self) -> None:
        name = checkpoint_name(self.trainer.step)
        checkpoint = Checkpoint(runs.state(self.built), self._saved())
        save_checkpoint(self.plan.folder / "best", name, checkpoint, keep=2)

    def _saved(self) -> dict[str, Any]:
        return {
            **asdict(self.trainer),
            "version": __version__,
            "torch": torch.__version__,
            "device": str(self.plan.device),
            "precision": "bfloat16" if self.plan.bf16 else "float32",
            "corpus": self.plan.corpus.checksum,
        }


def validate(plan: Plan, built: Built, items: Items) -> dict[str, Any]:
    """Figures on the validation split at full weight: evaluation moves no schedule."""
    limit = plan.recipe["training"]["validate_on"]
    measured = measure(built.vae, items, samples=0, limit=limit)
    total, count = 0.0, 0
    built.objective.eval()
    with torch.no_grad(), seeded(0):
        for batch in in_order(items, 64, limit):
            full = batch.to(plan.device)._replace(step=FAR)
            _, report = built.objective(built.vae, full)
            total += float(report["loss"]) * len(batch.x)
            count += len(batch.x)
    return {"objective": total / count, **measured.figures}


def describe(figures: Mapping[str, Any], noun: str = "sentence") -> str:
    """The figures of a validation as one line."""
    parts = [f"reconstruction {figures['reconstruction']:.2f}"]
    if "kl" in figures:
        parts.append(f"KL {figures['kl']:.2f}")
        parts.append(f"-ELBO {figures['negative_elbo']:.2f} {nats(noun)}")
    if "active_units" in figures:
        parts.append(f"{figures['active_units']} of {figures['latent']} units active")
    if "shuffle_delta_nll" in figures:
        parts.append(f"z-shuffle ΔNLL {figures['shuffle_delta_nll']:.1f}")
    if "verdict" in figures:
        parts.append(f"so far {figures['verdict']}")
    return ", ".join(parts)


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that receives the first SIGTERM or SIGINT; a second one ends the process at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are not its business
        yield asked
        return
    owner = os.getpid()

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a loader's process has inherited this; its parent decides
            return
        asked.append(number)
        for heard in before:
            signal.signal(heard, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def find_corpus(folder: Path) -> Corpus:
    """The corpus a run was trained on. Raises `Refused` where it is gone or has changed."""
    note = folder / "corpus.json"
    if not note.is_file():
        raise Refused(
            f"{folder} does not say which corpus it was trained on, as an export does not. To "
            "measure it, name one: --corpus FOLDER; to train, begin a new run."
        )
    try:
        said = json.loads(note.read_bytes())
        place, checksum = folder / said["path"], str(said["checksum"])  # or an absolute path
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{note} is damaged ({error!r:.80}); name a corpus.") from error
    corpus = open_corpus(place)
    if corpus.checksum != checksum:
        raise Refused(
            f"{corpus.folder} is not the corpus {folder} was trained on: its checksum is "
            f"{corpus.checksum[:12]}, not {checksum[:12]}. Prepare it as it was."
        )
    return corpus


def _go_on(plan: Plan, trainer: TrainerState, stood_still: bool) -> str:
    """How to train a finished run further."""
    training = plan.recipe["training"]
    if stood_still:
        patience = 2 * plan.recipe["optimizer"]["patience"]
        return f"Validation stood still; to go on: --set optimizer.patience={patience}"
    if "steps" in training:
        return f"To go on: --set training.steps={2 * trainer.step}"
    return f"To go on: --set training.epochs={2 * training['epochs']:g}"


def finish(plan: Plan, built: Built, trainer: TrainerState, say: Say) -> None:
    """What a finished run leaves beside its weights: the curves and a card."""
    runs.write_text(plan.folder / "card.md", card(plan, count_weights(built), asdict(trainer)))
    by_figure = plan.recipe["training"]["select"] != "last"
    if by_figure and not runs.checkpoints(plan.folder / "best"):
        say("no validation fell at full weight, so nothing was chosen: the last weights stand")
    say(f"done in {duration(trainer.seconds)}: {plan.folder}")


def _begin(plan: Plan) -> TrainerState:
    runs.check_new(plan.folder)
    where = plan.corpus.folder.resolve()
    own = plan.folder.resolve()
    path = where.relative_to(own) if where.is_relative_to(own) else where
    note = {"path": str(path), "checksum": plan.corpus.checksum}
    # Before the recipe, which makes the folder a run: a run always knows its corpus.
    runs.write_text(plan.folder / "corpus.json", json.dumps(note) + "\n")
    runs.create(plan.folder, plan.recipe, plan.corpus.codec)
    return TrainerState()


def _restore(plan: Plan, built: Built, stepper: Stepper, say: Say) -> TrainerState:
    runs.sweep(plan.folder / "checkpoints")
    if not runs.checkpoints(plan.folder / "checkpoints"):
        if not (plan.folder / "corpus.json").is_file():  # what `seqvae export` leaves out
            raise Refused(
                f"{plan.folder} holds weights only, as an export does: training cannot go on from "
                "them. Begin a new run: seqvae train CORPUS --out OTHER"
            )
        say("there is no checkpoint yet: beginning at the first step")
        return TrainerState()
    place = runs.newest(plan.folder / "checkpoints", warn=say)
    checkpoint = runs.load_checkpoint(place, device=plan.device)
    trainer = _trainer_state(checkpoint.trainer, place)
    if checkpoint.trainer.get("corpus") != plan.corpus.checksum:
        raise Refused(
            f"{plan.corpus.folder} is not the corpus that {plan.folder} began with; leave it out "
            "to use that one, or begin a new run."
        )
    _check_same(plan)
    runs.load_state(built, checkpoint.weights, place)
    _restore_optimizer(plan, stepper.optimizer, checkpoint.optimizer, place)
    runs.forget_after(plan.folder / "best", place.name)
    say(f"going on from step {trainer.step}")
    return trainer


def _check_same(plan: Plan) -> None:
    """Refuse a resume with other networks, or with a seed that would begin another course."""
    before = complete(runs.read_recipe(plan.folder))
    for key in ("latent", "seed", "encoder", "posterior", "prior", "decoder"):
        if plan.recipe[key] != before[key]:
            raise Refused(
                f"--set changed {key}, which {plan.folder} was begun with: {before[key]!r}. Leave "
                "it, or begin a new run with another --out."
            )


def _trainer_state(saved: Mapping[str, Any], place: Path) -> TrainerState:
    """The trainer's plain numbers, each of the type it should have."""
    trainer = TrainerState()
    for name, value in vars(trainer).items():
        found = saved.get(name, value)
        if not (isinstance(found, float | None) if name == "best" else type(found) is type(value)):
            raise Refused(f"{place}: {name} = {found!r:.40} in {runs.TRAINER} cannot be.")
        setattr(trainer, name, found)
    return trainer


def _restore_optimizer(
    plan: Plan, optimizer: torch.optim.Optimizer, saved: dict[str, Any] | None, place: Path
) -> None:
    """Take up the state of every weight; rates and decays are the recipe's, which may be new."""
    if saved is None:
        raise Refused(f"{place} holds no optimiser state, so training cannot resume from it.")
    kind, before = (
        recipe["optimizer"]["kind"] for recipe in (plan.recipe, runs.read_recipe(plan.folder))
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


def _out_of_patience(trainer: TrainerState, stepper: Stepper) -> bool:
    """Whether validation stood still for so long that the run ended by itself."""
    patience = stepper.patience
    still = patience is not None and trainer.stalled >= patience
    return still and trainer.decays >= stepper.max_decays


def _finite(built: Built) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in runs.state(built).values())
