"""A recipe and a prepared corpus in, a trained run out; stopped and resumed at any step."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from uuid import uuid4

import torch

from . import __version__, runs
from .build import Built, complete
from .card import card
from .cautions import cautions, of_aggregate
from .corpus import Corpus
from .data import batches, drawn_anew, spread
from .errors import Diverged, Lost, Refused, Stopped
from .estimate import count_weights, estimate
from .explore import Explorer, show, show_pictures
from .log import Log, read_log
from .objectives.objective import Report
from .plan import Plan, Stage, make_plan
from .plots import curves, save
from .processes import anyone, in_turn, is_first, joined, launch, told
from .progress import duration
from .recipe import Recipe, to_toml
from .resume import TrainerState, judged_by, restore, set_up
from .rows import nats
from .runs import Checkpoint, checkpoint_name, save_checkpoint
from .sheets import save_sheet
from .training import train
from .training.lagging import has_caught_up
from .training.optimizers import Stepper
from .vae import Batch
from .verdict import OnCollapse
from .watch import Watch, describe

LOG_EVERY = 50  # steps between two lines of metrics.jsonl
SHOWN = 8  # items in a file of samples
BORN = uuid4().hex  # with its number, this process among all that ever were


Say = Callable[[str], None]
Tick = Callable[[int, int, Mapping[str, Any]], None]


def fit(
    recipe: Recipe,
    corpus: Corpus,
    folder: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    tensorboard: bool = False,
    baseline: Path | None = None,
    on_collapse: OnCollapse = OnCollapse.WARN,
    say: Say = print,
    tick: Tick | None = None,
) -> TrainerState:
    """Train the recipe's model on a corpus and leave a run in `folder`.

    Where a launcher has started several processes they train together, and the first of them
    writes and speaks; any number of them may go on with a run. Started anew by it, they resume.

    `say` receives sentences, `tick` (step, steps, numbers) as it goes. With `resume` the newest
    whole checkpoint of the folder is taken up, bit for bit. `baseline` and `on_collapse` are those
    of `Watch`, which looks on and changes nothing.

    Raises `Refused` for what cannot be trained, `Diverged` where the loss is not finite (the
    state before that step is saved), `Stopped` after a signal, `Collapsed` where the watch is to
    stop a run and `Lost` where another process does not answer (all likewise).
    """
    with joined():
        resume = told(lambda: resume or is_again(folder))
        if not is_first():
            say, tick = _say_nothing, None
        plan = make_plan(complete(recipe), corpus, folder, device)
        watched = _Watched(tensorboard, baseline, on_collapse)
        return _fit(plan, watched, resume, say, tick)


def is_again(folder: Path) -> bool:
    """Whether an attempt of this launcher before this one has begun the run of a folder.

    A run that was there before its first attempt is none of its own, and is not gone on with.
    Nor is one that this process has begun itself.
    """
    try:
        begun = json.loads((folder / "corpus.json").read_bytes())["begun"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return runs.is_run(folder) and begun["process"] != _me() and begun["launch"] == launch()


def _me() -> str:
    return f"{BORN}/{os.getpid()}"  # a child that was forked shares the first half


def _say_nothing(line: str) -> None:
    """What all processes but the first have to say."""


class _Watched(NamedTuple):
    """How somebody looks on."""

    tensorboard: bool
    baseline: Path | None
    on_collapse: OnCollapse


def _fit(plan: Plan, watched: _Watched, resume: bool, say: Say, tick: Tick | None) -> TrainerState:
    """Train, in one of the processes that do so together."""
    folder = plan.folder
    for number in reversed(range(len(plan.stages))):  # each is tried now, the first one stays
        built, stepper = set_up(plan, number, plan.stages[number - 1].stop if number else 0)
        plan.order.mixed |= of_aggregate(built)
    priced = watched.baseline if is_first() else None  # only the first validates
    watch = Watch(plan, baseline=priced, on_collapse=watched.on_collapse)
    if resume:
        with in_turn():
            trainer, built, stepper, anew = restore(plan, built, stepper, say)
    else:
        told(lambda: _begin(plan))
        trainer, anew = TrainerState(), False
    stood_still = trainer.finished and _out_of_patience(trainer, stepper)
    if stood_still or trainer.step >= plan.steps:
        say(f"{folder} is finished: {trainer.step} steps. {_go_on(plan, trainer, stood_still)}")
        if is_first() and not (folder / "card.md").is_file():  # killed between last step and card
            finish(plan, built, trainer, say)
        return trainer
    log = None
    if is_first():
        runs.write_text(folder / "recipe.toml", to_toml(plan.recipe))
        log = Log(folder, step=trainer.step, tensorboard=watched.tensorboard)
    watch.faults = trainer.faults
    fitting = _Fitting(plan, built, stepper, trainer, watch, log, say, tick)
    if anew:
        say("another loss or figure to choose by: the best weights so far are let go")
        fitting.save()
    for caution in cautions(plan, built, len(trainer.starts) - 1):
        say(caution)
    say(estimate(plan, built, trainer.step))
    fitting.run()
    if is_first():
        finish(plan, fitting.built, trainer, say)
    watch.check(trainer.step)
    return trainer


def information_of(figures: Mapping[str, Any]) -> float:
    """Mutual information, nats: its lower bound, or near what that can tell at most its upper."""
    low = figures.get("mutual_information_low", 0.0)
    near = low > figures.get("mutual_information_cap", math.inf) - 1
    return float(figures["mutual_information_high"] if near else low)


class _Fitting:
    """The way from where a run stands to its last step: log, validate, choose, save, stop."""

    def __init__(
        self,
        plan: Plan,
        built: Built,
        stepper: Stepper,
        trainer: TrainerState,
        watch: Watch,
        log: Log | None,
        say: Say,
        tick: Tick | None,
    ) -> None:
        self.plan, self.built, self.stepper, self.trainer = plan, built, stepper, trainer
        self.watch, self.log, self.say, self.tick = watch, log, say, tick
        self.valid = plan.corpus.split("valid")
        self.drawn = 0  # tokens of the batch that is being trained on
        self.began, self.worked = time.monotonic(), time.process_time()

    @property
    def stage(self) -> Stage:
        return self.plan.stages[len(self.trainer.starts) - 1]

    @property
    def lags(self) -> bool:
        """Whether the encoder takes steps of its own."""
        return self.stage.lagging > 0 and not self.trainer.caught_up

    def run(self) -> None:
        self.stepper.decays = self.trainer.decays
        self.began, self.worked = time.monotonic(), time.process_time()
        with stop_requests() as asked:
            try:
                while not self._train_stage(asked):
                    self._next_stage()
            except (Diverged, Lost, Refused):  # a batch that a penalty cannot take is refused
                # Else the checkpoint before is the last good state: it knows no half a step.
                if _finite(self.built) and not self.lags:
                    self.save()
                raise

    def _train_stage(self, asked: list[int]) -> bool:
        """To the end of the stage, or of the run: true."""
        plan, trainer, stage = self.plan, self.trainer, self.stage
        training = plan.recipe["training"]
        final = stage is plan.stages[-1]
        if trainer.step >= stage.stop and not final:  # taken up where it ended
            return False
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
            first=trainer.starts[-1],
            ahead=self._ahead if stage.lagging else None,
        ):
            trainer.step = step
            trainer.tokens += self.drawn
            self._count(report)
            ends = step >= stage.stop
            last = ends and final
            stops = anyone(bool(asked))
            if step % plan.validate_every == 0 or ends:
                last = self._validate() or last
            if ends and not final:
                self._flush()
            if step % plan.save_every == 0 or ends or last or stops or self.watch.end:
                trainer.finished = last
                self.save()
            if last:
                return True
            self.watch.check(step)
            if stops:
                raise Stopped(step, next(iter(asked), signal.SIGTERM), plan.folder)
            if ends:
                return False
        raise AssertionError("batches never end")

    def _next_stage(self) -> None:
        """Go on with the weights that the stage has left, but for those to be drawn anew."""
        trainer, before = self.trainer, self.built.vae
        number = len(trainer.starts)
        self.built, self.stepper = set_up(self.plan, number, trainer.step)
        trainer.starts.append(trainer.step)
        for name, network in before.named_children():
            if name not in self.stage.reset:
                left = network.state_dict()
                getattr(self.built.vae, name).load_state_dict(left)
        trainer.caught_up, trainer.information = False, None
        self.watch.faults = trainer.faults = 0
        for caution in cautions(self.plan, self.built, number):
            self.say(caution)

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

    def _ahead(self, step: int) -> Iterator[Batch]:
        """Batches for the encoder alone, while it lags."""
        plan, most = self.plan, self.stage.lagging if self.lags else 0
        items = plan.corpus.split("train")
        return islice(drawn_anew(items, plan.order, step, most, tables=plan.tables), most)

    def _count(self, report: Report) -> None:
        sums = self.trainer.sums
        self.trainer.encoder_steps += int(report.pop("encoder_steps", 0))
        for name, value in report.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        self.trainer.counted += 1
        if self.tick is not None:
            recent = {name: total / self.trainer.counted for name, total in sums.items()}
            self.tick(self.trainer.step, self.plan.steps, recent | self.watch.standing)
        if self.trainer.step % LOG_EVERY == 0:
            self._flush()

    def _flush(self) -> None:
        """One line of averages since the last one."""
        trainer = self.trainer
        if trainer.counted == 0:
            return
        self._clock()
        numbers = {name: total / trainer.counted for name, total in trainer.sums.items()}
        if trainer.encoder_steps:
            numbers["encoder_steps"] = trainer.encoder_steps
        numbers |= {"tokens": trainer.tokens, "seconds": round(trainer.seconds, 3)}
        self._write("train", numbers)
        trainer.sums, trainer.counted = {}, 0

    def _write(self, kind: str, numbers: Mapping[str, Any]) -> None:
        """A line of the log, which says the stage, from 1, where there are several."""
        of = {"stage": len(self.trainer.starts)} if len(self.plan.stages) > 1 else {}
        if self.log is not None:
            self.log.write(kind, self.trainer.step, {**of, **numbers})

    def _clock(self) -> None:
        now, worked = time.monotonic(), time.process_time()
        self.trainer.seconds += now - self.began
        self.trainer.processor_seconds += worked - self.worked
        self.began, self.worked = now, worked

    def _validate(self) -> bool:
        """Measure, choose, decay; true when the run should end here."""
        step, trainer = self.trainer.step, self.trainer
        since = step - trainer.starts[-1]  # as schedules count
        figures, each, self.watch.unmet, self.watch.standing = told(lambda: self._look(since))
        noun = self.plan.corpus.codec.noun
        line = describe(figures, each, noun, unmet=self.watch.unmet)
        self.say(f"step {step}, validation: {line}")
        final = self.stage is self.plan.stages[-1]  # stages before it only lead there
        warning = self.watch.heed(figures, step) if final else None
        trainer.faults = self.watch.faults
        if warning is not None:
            self.say(f"step {step}: {warning}")
        self._follow(information_of(figures))
        return final and self._choose(figures, since)

    def _look(self, since: int) -> tuple[dict[str, Any], list[float], list[str], dict[str, str]]:
        """Figures of the validation split, written and drawn; and how the watch finds them."""
        found = self.watch.look(self.built, self.valid, since)
        figures, each = found.figures, found.vectors.get("kl_per_dimension", [])
        self._write("valid", figures | {"kl_per_dimension": each})
        drawn = curves(read_log(self.plan.folder), nats(self.plan.corpus.codec.noun))
        save(drawn, self.plan.folder / "figures" / "curves.png")
        self._write_samples()
        return figures, each, self.watch.unmet, self.watch.standing

    def _follow(self, information: float) -> None:
        """Whether the encoder still lags: as long as mutual information climbs."""
        trainer = self.trainer
        if self.lags and has_caught_up(information, trainer.information):
            trainer.caught_up = True
            self.say(
                f"step {trainer.step}: I(x; z) climbs no longer, so the encoder has caught up, "
                f"with {trainer.encoder_steps} steps of its own"
            )
        elif self.lags:
            trainer.information = information

    def _choose(self, figures: Mapping[str, Any], since: int) -> bool:
        """Keep what is best, decay the rate; true when the run should end here."""
        step, trainer = self.trainer.step, self.trainer
        select = self.plan.recipe["training"]["select"]
        objective = self.built.objective
        # Of a language model, whose code costs nothing at any weight, figures compare at once.
        moving = self.plan.recipe["latent"] > 0 and not objective.settled(since)
        if select == "last" or moving or objective.unmet():
            return False
        if figures[select] < (math.inf if trainer.best is None else trainer.best):
            trainer.best, trainer.best_step, trainer.stalled = figures[select], step, 0
            trainer.figures = dict(figures)
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
        if plan.corpus.codec.shape is None:
            runs.write_text(path, show(explorer, given))
        else:
            save_sheet(show_pictures(explorer, given), path.with_suffix(".png"))

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
        if not is_first():
            return
        self._clock()
        name = checkpoint_name(self.trainer.step)
        checkpoint = Checkpoint(
            runs.state(self.built), self._saved(), self.stepper.optimizer.state_dict()
        )
        keep = self.plan.recipe["training"]["keep"]
        save_checkpoint(self.plan.folder / "checkpoints", name, checkpoint, keep=keep)
        # Only now does a checkpoint know of the newest best, so that no resume needs the older.
        chosen = self.trainer.best is not None
        runs.prune(self.plan.folder / "best", keep=1 if chosen else 0)

    def _save_best(self) -> None:
        if not is_first():
            return
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
            "judged_by": judged_by(self.plan, len(self.trainer.starts) - 1),
        }


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
    if not runs.checkpoints(plan.folder / "best"):
        for line in _unchosen(plan, built):
            say(line)
    say(f"done in {duration(trainer.seconds)}: {plan.folder}")


def _unchosen(plan: Plan, built: Built) -> Iterator[str]:
    """Why the last weights stand, where nobody has asked for them."""
    unmet = built.objective.unmet()
    for name, words in unmet.items():
        yield (
            f"{name}: {words}. It has not landed, so nothing was chosen: the last weights stand. "
            "To try: more steps; a rate nearer to this one (the term's nats); a decoder that "
            "hears its code better (decoder.skip=true) or needs it more (decoder.word_dropout)."
        )
    if not unmet and plan.recipe["training"]["select"] != "last":
        yield (
            "no validation fell where weights and rates were what was asked for, so nothing was "
            "chosen: the last weights stand"
        )


def _begin(plan: Plan) -> None:
    runs.check_new(plan.folder)
    where = plan.corpus.folder.resolve()
    own = plan.folder.resolve()
    path = where.relative_to(own) if where.is_relative_to(own) else where
    note: dict[str, Any] = {"path": str(path), "checksum": plan.corpus.checksum}
    if (by := launch()) is not None:
        note |= {"begun": {"launch": by, "process": _me()}}
    # Before the recipe, which makes the folder a run: a run always knows its corpus.
    runs.write_text(plan.folder / "corpus.json", json.dumps(note) + "\n")
    runs.create(plan.folder, plan.recipe, plan.corpus.codec)


def _out_of_patience(trainer: TrainerState, stepper: Stepper) -> bool:
    """Whether validation stood still for so long that the run ended by itself."""
    patience = stepper.patience
    still = patience is not None and trainer.stalled >= patience
    return still and trainer.decays >= stepper.max_decays


def _finite(built: Built) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in runs.state(built).values())
