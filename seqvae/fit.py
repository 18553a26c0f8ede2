"""A recipe and a prepared corpus in, a trained run out; stopped and resumed at any step."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch

from . import __version__, runs
from .build import Built, build, build_stepper
from .corpus import Corpus, open_corpus
from .data import Items, Order, batches, collate, in_order
from .errors import Diverged, Refused, Stopped
from .evaluate import measure
from .log import Log, read_log
from .plots import curves, save
from .progress import duration
from .recipe import Recipe, to_toml
from .runs import Checkpoint, save_checkpoint
from .schedules import FAR
from .training import train
from .training.loop import backward, has_bf16
from .training.optimizers import Stepper

LOG_EVERY = 50  # steps between two lines of metrics.jsonl
VALIDATE_WITHIN = 5000  # steps, where an epoch is longer and the recipe says nothing
SAVE_WITHIN = 1000  # likewise


@dataclass
class Standing:
    """Where a run stands: with the weights and the optimiser, all that a resume needs."""

    step: int = 0
    best: float | None = None
    stalled: int = 0  # validations since the best one
    decays: int = 0
    finished: bool = False
    tokens: int = 0
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    # Of the steps since the last line of the log, so that a resumed run writes the same lines.
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0


class Plan(NamedTuple):
    """Everything fixed before the first step."""

    recipe: Recipe
    corpus: Corpus
    folder: Path
    order: Order
    steps: int
    validate_every: int
    save_every: int
    bf16: bool
    device: torch.device


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
) -> Standing:
    """Train the recipe's model on a corpus and leave a run in `folder`.

    `say` receives sentences, `tick` (step, steps, numbers) as it goes. With `resume` the newest
    whole checkpoint of the folder is taken up, bit for bit.

    Raises `Refused` for what cannot be trained, `Diverged` where the loss is not finite (the
    state before that step is saved), `Stopped` after a signal (likewise).
    """
    plan = make_plan(recipe, corpus, folder, device)
    built = build(recipe, corpus.codec.vocab, steps=plan.steps)
    built.vae.to(plan.device)
    built.objective.to(plan.device)
    stepper = build_stepper(recipe, built, steps=plan.steps)
    standing = _restore(plan, built, stepper, say) if resume else _begin(plan)
    if standing.finished and (standing.step >= plan.steps or _spent(standing, stepper)):
        say(
            f"{folder} is finished: {standing.step} steps. To go on, raise its limit: "
            f"--set training.epochs={2 * recipe['training']['epochs']:g}"
        )
        if not (folder / "card.md").is_file():  # killed between its last step and its card
            finish(plan, standing, say)
        return standing
    runs.write_text(folder / "recipe.toml", to_toml(recipe))
    say(estimate(plan, built, standing.step))
    log = Log(folder, step=standing.step, tensorboard=tensorboard)
    _Fitting(plan, built, stepper, standing, log, say, tick).run()
    finish(plan, standing, say)
    return standing


def make_plan(recipe: Recipe, corpus: Corpus, folder: Path, device: str) -> Plan:
    """How many steps, how often to look and to save, where and in which precision."""
    training = recipe["training"]
    lengths = corpus.split("train").lengths
    order = Order(lengths, training["batch"], by=training["by"], seed=recipe["seed"])
    epoch = order.steps_per_epoch()
    steps = training.get("steps") or max(round(training["epochs"] * epoch), 1)
    every = training.get("validate_every") or max(min(epoch, steps, VALIDATE_WITHIN), 1)
    precision = training["precision"]
    where = runs.find_device(device)
    return Plan(
        recipe=recipe,
        corpus=corpus,
        folder=folder,
        order=order,
        steps=steps,
        validate_every=every,
        save_every=training.get("save_every") or min(every, SAVE_WITHIN),
        bf16=precision == "bf16" or (precision == "auto" and has_bf16(where)),
        device=where,
    )


def estimate(plan: Plan, built: Built, start: int = 0) -> str:
    """One sentence on time and memory, from one trial step that changes nothing."""
    items = plan.corpus.split("train")
    _, rows = next(iter(plan.order.batches(start)))
    batch = collate(items, rows)._replace(step=FAR).to(plan.device)
    accumulate = plan.recipe["training"]["accumulate"]
    built.vae.eval()  # so that no statistics move; the work is the same
    # cuDNN's LSTM has no way back in eval mode, so there the trial only goes forward.
    forward_only = plan.device.type == "cuda"
    seconds = []
    for _ in range(5):  # the first ones also pay for setting up the kernels
        began = time.perf_counter()
        with torch.set_grad_enabled(not forward_only):
            if forward_only:
                built.objective(built.vae, batch)
            else:
                backward(built.vae, built.objective, batch, accumulate=accumulate, bf16=plan.bf16)
        seconds.append((time.perf_counter() - began) * (3 if forward_only else 1))
    for parameter in built.vae.parameters():
        parameter.grad = None
    each = min(seconds) / max(int(batch.length.sum()), 1)
    tokens = float(plan.order.lengths.mean()) * len(rows) * (plan.steps - start)
    weights = sum(p.numel() for p in built.vae.parameters())
    return (
        f"{weights / 1e6:.2f} million weights; {plan.steps - start} steps of about "
        f"{len(rows)} sentences; roughly {duration(each * tokens * 1.1)} and "
        f"{_memory(weights) / 2**20:.0f} MiB of memory "
        f"({'bfloat16' if plan.bf16 else 'float32'}, {plan.device})"
    )


class _Fitting:
    """The walk from a standing to the last step: log, validate, choose, save, leave when told."""

    def __init__(
        self,
        plan: Plan,
        built: Built,
        stepper: Stepper,
        standing: Standing,
        log: Log,
        say: Say,
        tick: Tick | None,
    ) -> None:
        self.plan, self.built, self.stepper, self.standing = plan, built, stepper, standing
        self.log, self.say, self.tick = log, say, tick
        self.valid = plan.corpus.split("valid")
        self.drawn = 0  # tokens of the batch that is being trained on
        self.began = time.monotonic()

    def run(self) -> None:
        plan, standing = self.plan, self.standing
        training = plan.recipe["training"]
        self.stepper.decays = standing.decays
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
                    standing.step = step
                    standing.tokens += self.drawn
                    self._count(report)
                    last = step == plan.steps
                    if step % plan.validate_every == 0 or last:
                        last = self._validate() or last
                    if step % plan.save_every == 0 or last or asked:
                        standing.finished = last
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
        for batch in batches(items, self.plan.order, start=self.standing.step, workers=workers):
            self.drawn = int(batch.length.sum())
            yield batch

    def _count(self, report: Mapping[str, Any]) -> None:
        sums = self.standing.sums
        for name, value in report.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        self.standing.counted += 1
        if self.tick is not None:
            recent = {name: total / self.standing.counted for name, total in sums.items()}
            self.tick(self.standing.step, self.plan.steps, recent)
        if self.standing.step % LOG_EVERY == 0:
            self._flush()

    def _flush(self) -> None:
        """One line of averages since the last one."""
        standing = self.standing
        if standing.counted == 0:
            return
        self._clock()
        numbers = {name: total / standing.counted for name, total in standing.sums.items()}
        numbers |= {"tokens": standing.tokens, "seconds": round(standing.seconds, 3)}
        self.log.write("train", standing.step, numbers)
        standing.sums, standing.counted = {}, 0

    def _clock(self) -> None:
        now = time.monotonic()
        self.standing.seconds += now - self.began
        self.began = now

    def _validate(self) -> bool:
        """Measure, choose, decay; true when the run should end here."""
        self._flush()
        figures = validate(self.plan, self.built, self.valid)
        step, standing = self.standing.step, self.standing
        self.log.write("valid", step, figures)
        save(curves(read_log(self.plan.folder)), self.plan.folder / "figures" / "curves.png")
        self.say(f"step {step}: {describe(figures)}")
        select = self.plan.recipe["training"]["select"]
        if select == "last" or not self.built.objective.settled(step):
            return False
        if standing.best is None or figures[select] < standing.best:
            standing.best, standing.stalled, standing.figures = figures[select], 0, figures
            self._save_best()
            return False
        standing.stalled += 1
        patience = self.stepper.patience
        return patience is not None and standing.stalled >= patience and self._give_in()

    def _give_in(self) -> bool:
        """Validation stands still: go back to the best and lower the rate, or end."""
        standing, stepper = self.standing, self.stepper
        if stepper.decays >= stepper.max_decays:
            self.say(f"validation has not improved for {standing.stalled} times: done")
            return True
        standing.stalled = 0
        stepper.decays = standing.decays = standing.decays + 1
        place = runs.newest(self.plan.folder / "best")
        runs.load_state(self.built, runs.load_checkpoint(place).weights, place)
        self.say(f"validation stands still: back to {place.name}, rate × {stepper.decay:g}")
        return False

    def save(self) -> None:
        """A checkpoint from which the run goes on bit for bit.

        Raises `Diverged` instead where a weight is not finite: what was saved before stays.
        """
        if not _finite(self.built):
            raise Diverged(
                f"step {self.standing.step}: its update left weights that are not finite, so they "
                "were not saved. Lower optimizer.rate and resume from the checkpoint before."
            )
        self._clock()
        name = f"step-{self.standing.step:08d}"
        checkpoint = Checkpoint(
            runs.state(self.built), self._trainer(), self.stepper.optimizer.state_dict()
        )
        keep = self.plan.recipe["training"]["keep"]
        save_checkpoint(self.plan.folder / "checkpoints", name, checkpoint, keep=keep)

    def _save_best(self) -> None:
        name = f"step-{self.standing.step:08d}"
        checkpoint = Checkpoint(runs.state(self.built), self._trainer())
        save_checkpoint(self.plan.folder / "best", name, checkpoint, keep=1)

    def _trainer(self) -> dict[str, Any]:
        return {
            **asdict(self.standing),
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
    torch.manual_seed(0)
    with torch.no_grad():
        for batch in in_order(items, 64, limit):
            full = batch.to(plan.device)._replace(step=FAR)
            loss, _ = built.objective(built.vae, full)
            total += float(loss) * len(batch.x)
            count += len(batch.x)
    return {"objective": total / count, **measured.figures}


def describe(figures: Mapping[str, Any]) -> str:
    """The figures of a validation as one line."""
    parts = [f"reconstruction {figures['reconstruction']:.2f}"]
    if "kl" in figures:
        parts.append(f"KL {figures['kl']:.2f}")
        parts.append(f"-ELBO {figures['negative_elbo']:.2f} nats a sentence")
    if "active_units" in figures:
        parts.append(f"{figures['active_units']} of {figures['latent']} units active")
    if "shuffle_delta_nll" in figures:
        parts.append(f"another's code costs {figures['shuffle_delta_nll']:.1f}")
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
        raise Refused(f"{folder} does not say which corpus it was trained on; name a corpus.")
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


def finish(plan: Plan, standing: Standing, say: Say) -> None:
    """What a finished run leaves beside its weights: the curves and a card."""
    runs.write_text(plan.folder / "card.md", card(plan, standing))
    by_figure = plan.recipe["training"]["select"] != "last"
    if by_figure and not runs.checkpoints(plan.folder / "best"):
        say("no validation fell at full weight, so nothing was chosen: the last weights stand")
    say(f"done in {duration(standing.seconds)}: {plan.folder}")


def card(plan: Plan, standing: Standing) -> str:
    """What a run is, for people it is handed to."""
    manifest = plan.corpus.manifest
    figures = "\n".join(
        f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
        for name, value in standing.figures.items()
    )
    about = plan.recipe.get("about", "A sequence VAE.")
    return (
        f"# {plan.recipe['name']}\n\n{about}\n\n"
        f"- made by: seqvae {__version__}, torch {torch.__version__}, on {plan.device}\n"
        f"- corpus: {', '.join(source_names(manifest))}; checksum `{plan.corpus.checksum}`\n"
        f"- seed: {plan.recipe['seed']}; steps: {standing.step}; "
        f"tokens seen: {standing.tokens}; time: {duration(standing.seconds)}\n"
        f"- command: `seqvae train recipe.toml CORPUS --out RUN` with the recipe below\n\n"
        "## Validation, at the chosen step (nats a sentence)\n\n"
        f"| figure | value |\n|---|---|\n{figures}\n\n"
        f"## Recipe\n\n```toml\n{to_toml(plan.recipe)}```\n"
    )


def source_names(manifest: Mapping[str, Any]) -> list[str]:
    """The file names a corpus was prepared from."""
    return [Path(str(source["name"])).name for source in manifest.get("sources", [])]


def _begin(plan: Plan) -> Standing:
    runs.check_new(plan.folder)
    where = plan.corpus.folder.resolve()
    own = plan.folder.resolve()
    path = where.relative_to(own) if where.is_relative_to(own) else where
    note = {"path": str(path), "checksum": plan.corpus.checksum}
    # Before the recipe, which makes the folder a run: a run always knows its corpus.
    runs.write_text(plan.folder / "corpus.json", json.dumps(note) + "\n")
    runs.create(plan.folder, plan.recipe, plan.corpus.codec)
    return Standing()


def _restore(plan: Plan, built: Built, stepper: Stepper, say: Say) -> Standing:
    runs.sweep(plan.folder / "checkpoints")
    if not runs.checkpoints(plan.folder / "checkpoints"):
        say("there is no checkpoint yet: beginning at the first step")
        return Standing()
    place = runs.newest(plan.folder / "checkpoints", warn=say)
    checkpoint = runs.load_checkpoint(place, device=plan.device)
    standing = _standing(checkpoint.trainer, place)
    if checkpoint.trainer.get("corpus") != plan.corpus.checksum:
        raise Refused(
            f"{plan.corpus.folder} is not the corpus that {plan.folder} began with; leave it out "
            "to use that one, or begin a new run."
        )
    runs.load_state(built, checkpoint.weights, place)
    _restore_optimizer(plan, stepper.optimizer, checkpoint.optimizer, place)
    say(f"going on from step {standing.step}")
    return standing


def _standing(trainer: Mapping[str, Any], place: Path) -> Standing:
    """The trainer's plain numbers, each of the type it should have."""
    standing = Standing()
    for name, value in vars(standing).items():
        found = trainer.get(name, value)
        if not (isinstance(found, float | None) if name == "best" else type(found) is type(value)):
            raise Refused(f"{place}: {name} = {found!r:.40} in {runs.TRAINER} cannot be.")
        setattr(standing, name, found)
    return standing


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


def _spent(standing: Standing, stepper: Stepper) -> bool:
    """Whether validation stood still for so long that the run ended by itself."""
    patience = stepper.patience
    still = patience is not None and standing.stalled >= patience
    return still and standing.decays >= stepper.max_decays


def _finite(built: Built) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in runs.state(built).values())


def _memory(weights: int) -> float:
    """Bytes: what the process holds after its trial step, plus two moments of every weight."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) + 8 * weights
