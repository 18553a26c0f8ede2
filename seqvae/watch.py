"""The watchdog: whether a model that trains puts its code to use, and what to try where not.

At every validation it measures what `seqvae evaluate` measures, less the bound on log p(x) and
what is written. A verdict is given once all schedules stand at full weight: before, an empty or
an unread code is no fault. A rate that was asked for and has not landed is said beside it.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import runs
from .build import Built
from .data import Items, Rows, in_batches, spread
from .errors import Collapsed, Refused
from .evaluate import Measured, measure, without_code
from .measures import Codes
from .plan import Plan
from .randomness import seeded
from .recipe import Recipe
from .rows import nats
from .schedules import FAR
from .verdict import OnCollapse, Verdict, verdict

FAULTS = ("collapsed", "ignored")
IN_A_ROW = 2  # validations that find a fault: at one alone a model may not have learned yet
MIXTURE = 2000  # items whose codes are held against each other: the cost grows with their square
# What is advised:
FLOOR = 0.5  # nats a dimension
RATE = 4.0  # nats in all, which cost next to nothing (docs/results/remedies.md)
ASKED = ("TargetRate", "RateConstraint", "Capacity")  # whose nats are a rate, and no floor
LEAST_DROPPED, MOST_DROPPED = 0.3, 0.8  # of the words that the decoder reads


class Watch:
    """Validates a run as it trains, and speaks up where its code stays empty or unread.

    A fault is one that two validations in a row have found, or the last of the run. It is told
    once, with its figures and settings to try, and again only where it becomes another.

    Arguments:
        baseline: the run of a language model trained on the same corpus, against which the
            repayment is measured; what it makes of the validation items is measured once, here.
        on_collapse: to say it, or to end the run by `check`, which says it too.

    `faults` counts the validations in a row that have found one, and is kept with a run.

    Raises `Refused` for a baseline of another corpus, or with a code of its own.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        baseline: Path | None = None,
        on_collapse: OnCollapse = OnCollapse.WARN,
    ) -> None:
        self.plan, self.stops, self.faults = plan, on_collapse == OnCollapse.STOP, 0
        self.baseline = None if baseline is None else _price(baseline, plan)
        self.told = ""  # the fault that was spoken of
        self.end = ""  # what to say of the end of the run
        self.unmet: list[str] = []  # what penalties were asked for and have not reached
        self.standing: dict[str, str] = {}  # how things stand, in a word or two, once known

    def look(self, built: Built, items: Items, step: int) -> Measured:
        """Validate after `step` steps of a stage; no verdict before every schedule has settled."""
        found = validate(self.plan, built, items, self.baseline)
        if not built.objective.settled(step):
            found.figures.pop("verdict", None)
        self.unmet = [f"{name}: {words}" for name, words in built.objective.unmet().items()]
        self.standing = {"standing": standing(found.figures)}
        return found

    def heed(self, figures: Mapping[str, Any], step: int) -> str | None:
        """What is to be said of a fault that these figures show after `step` steps, if any."""
        noun = self.plan.corpus.codec.noun
        found = verdict({**figures, "noun": noun}) if "verdict" in figures else None
        if found is None or found.name not in FAULTS:
            self.faults, self.told = 0, ""
            return None
        self.faults += 1
        certain = self.faults >= IN_A_ROW or step >= self.plan.steps
        if not certain or found.name == self.told:
            return None
        self.told = found.name
        reasons = " ".join([found.reason, *(f"{words}." for words in self.unmet)])
        said = f"{found.name}. {reasons} {advice(self.plan.recipe, found)}"
        if self.stops:
            self.end, self.faults = said, 0  # a run that is resumed has as much time again
            return None
        return said

    def check(self, step: int) -> None:
        """Raise `Collapsed` where a fault was found that ends the run."""
        if self.end:
            raise Collapsed(step, self.plan.folder, self.end)


def validate(plan: Plan, built: Built, items: Items, baseline: Codes | None = None) -> Measured:
    """Figures on the validation split at full weight: evaluation moves no schedule.

    `objective` stands beside what `measure` measures: the loss that is trained on.
    """
    limit = plan.recipe["training"]["validate_on"]
    measured = measure(
        built.vae, items, samples=0, limit=limit, mixture_items=MIXTURE, baseline=baseline
    )
    total, count = 0.0, 0
    built.objective.eval()
    with torch.no_grad(), seeded(0):
        for batch in in_batches(items, _mixed(len(items), limit), 64):
            full = batch.to(plan.device)._replace(step=FAR)
            _, report = built.objective(built.vae, full)
            total += float(report["loss"]) * len(batch.x)
            count += len(batch.x)
    measured.figures = {"objective": total / count, **measured.figures}
    return measured


def _mixed(count: int, limit: int | None) -> Rows:
    """The rows to validate on, in an order of no kind, always the same.

    In the order of length each batch would be of one, and what a penalty says of a batch as a
    whole would be said of its length.
    """
    return np.random.default_rng(0).permutation(spread(count, limit))


def _price(baseline: Path, plan: Plan) -> Codes:
    """What the items of every validation cost a language model: a constant."""
    opened = runs.open_run(baseline, device=plan.device)
    cure = (
        "Name a language model that was trained on it: "
        f"seqvae train RECIPE {plan.corpus.folder} --set latent=0 --out FOLDER"
    )
    if opened.trainer.get("corpus") != plan.corpus.checksum:
        raise Refused(
            f"the baseline {baseline} was trained on another corpus than {plan.corpus.folder}, so "
            f"its likelihood says nothing of this model's. {cure}"
        )
    limit = plan.recipe["training"]["validate_on"]
    return without_code(opened.built.vae, plan.corpus.split("valid"), limit=limit)


# --- what is said -------------------------------------------------------------------------------


def describe(
    figures: Mapping[str, Any],
    each: list[float],
    noun: str = "sentence",
    *,
    unmet: Sequence[str] = (),
) -> str:
    """The figures of a validation as one line; `each` is the KL of every dimension.

    `unmet` is what penalties were asked for and have not reached.

    >>> describe({"reconstruction": 20.0, "kl": 3.0, "negative_elbo": 23.0}, [1.0, 2.0])
    'reconstruction 20.00, KL 3.00 (1.00 to 2.00 a dimension), -ELBO 23.00 nats a sentence'
    """
    parts = [*_parts(figures, each, noun), *unmet]
    if "latent" in figures:
        parts.append(str(figures.get("verdict", "no verdict while schedules move")))
    return ", ".join(parts)


def _parts(figures: Mapping[str, Any], each: list[float], noun: str) -> Iterator[str]:
    yield f"reconstruction {figures['reconstruction']:.2f}"
    if "kl" in figures:
        width = f" ({min(each):.2f} to {max(each):.2f} a dimension)" if each else ""
        yield f"KL {figures['kl']:.2f}{width}"
        yield f"-ELBO {figures['negative_elbo']:.2f} {nats(noun)}"
    if "active_units" in figures:
        yield f"{figures['active_units']} of {figures['latent']} units active"
        yield f"effective dimension {figures['effective_dimension']:.1f}"
    if "mutual_information_low" in figures:
        low, high = figures["mutual_information_low"], figures["mutual_information_high"]
        yield f"I(x; z) {low:.2f} to {high:.2f}"
    if "shuffle_delta_nll" in figures:
        error = figures["shuffle_standard_error"]
        yield f"z-shuffle ΔNLL {figures['shuffle_delta_nll']:.2f} ± {error:.2f}"
    if "label_accuracy" in figures:
        yield f"{figures['label_accuracy']:.1%} of labels right"
    if "repayment" in figures:
        low, high = figures["repayment_low"], figures["repayment_high"]
        yield f"η {figures['repayment']:.2f} [{low:.2f}, {high:.2f}]"


def standing(figures: Mapping[str, Any]) -> str:
    """The verdict, or that a schedule still moves, and how far the code is read: for the bar.

    >>> standing({"latent": 8, "verdict": "healthy", "repayment": 0.873})
    'healthy η 0.87'
    >>> standing({"latent": 8, "shuffle_delta_nll": 4.21})
    'annealing ΔNLL 4.2'
    """
    if "latent" not in figures:
        return ""
    said = str(figures.get("verdict", "annealing"))
    if "repayment" in figures:
        return f"{said} η {figures['repayment']:.2f}"
    if "shuffle_delta_nll" in figures:
        return f"{said} ΔNLL {figures['shuffle_delta_nll']:.1f}"
    return said


# --- what to try --------------------------------------------------------------------------------


def advice(recipe: Recipe, found: Verdict) -> str:
    """What to try against a fault, as settings of this recipe.

    A run may be resumed with another loss; another decoder or an annealing from the first step
    on is another run.
    """
    # The losses of stages are lists in a recipe, which no setting reaches.
    of_loss = found.name == "collapsed" and not recipe.get("stage")
    now = list(_losses(recipe)) if of_loss else []
    anew = [*_decoders(recipe, found.name), *_posteriors(recipe, found.name)]
    anew += _annealed(recipe) if of_loss else []
    ways = [f"--resume with {' or '.join(map(_set, now))}"] if now else []
    ways += [f"a new run with {' or '.join(map(_set, anew))}"] if anew else []
    return f"To try: {'; or '.join(ways)}." if ways else found.cure


def _set(setting: str) -> str:
    return f"--set {shlex.quote(setting)}"


def _losses(recipe: Recipe) -> Iterator[str]:
    """Settings of the objective under which a code costs less."""
    objective = recipe["objective"]
    if _on_sphere(recipe):
        return
    alpha = objective.get("alpha")
    if alpha is not None and alpha < 1:
        yield f"objective.alpha={(1 + alpha) / 2:g}"
    for name, term in objective.get("terms", {}).items():
        where = f"objective.terms.{name}"
        if term["kind"] in ASKED:
            # Who does not keep the rate that is asked for will not keep a higher one.
            if _number(term["nats"]) and term["nats"] < RATE:
                yield f"{where}.nats={RATE:g}"
        elif _number(term.get("nats")):
            yield f"{where}.nats={2 * term['nats'] or FLOOR:g}"
        elif term["kind"] == "KL" and _number(term.get("weight")) and term["weight"] > 1:
            yield f"{where}.weight=1"
        elif term["kind"] == "KL":
            yield f'{where}={{kind = "TargetRate", nats = {RATE:g}}}'


def _annealed(recipe: Recipe) -> Iterator[str]:
    """Where the weight of a KL never moves: to begin without it."""
    if _on_sphere(recipe):
        return
    for name, term in recipe["objective"].get("terms", {}).items():
        if term["kind"] == "KL" and "weight" not in term:
            yield f'objective.terms.{name}.weight={{kind = "linear", share = 0.3}}'


def _posteriors(recipe: Recipe, fault: str) -> Iterator[str]:
    """Settings under which a posterior holds more that no loss can take from it."""
    if fault == "collapsed" and _on_sphere(recipe):
        yield f"posterior.kappa={2 * recipe['posterior']['kappa']:g}"


def _on_sphere(recipe: Recipe) -> bool:
    """Whether the KL is a constant, which no loss moves."""
    return bool(recipe["posterior"]["kind"] == "VonMisesFisherPosterior")


def _decoders(recipe: Recipe, fault: str) -> Iterator[str]:
    """Settings under which a decoder hears its code better, or needs it more, which is dearer."""
    decoder = recipe["decoder"]
    if decoder.get("skip") is False:
        yield "decoder.skip=true"
        if fault == "collapsed":
            return
    dropped = decoder.get("word_dropout")
    if _number(dropped) and dropped < MOST_DROPPED:
        more = min(max(2 * dropped, LEAST_DROPPED), MOST_DROPPED)
        yield f"decoder.word_dropout={more:g}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float)
