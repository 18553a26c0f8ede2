"""What will not do what it seems to: to be known of a recipe before it is trained."""

from .build import Built
from .objectives import Elbo
from .plan import Plan, describe_stage
from .posteriors import BatchNormPosterior
from .regularizers import CrossEntropy
from .schedules import settled


def of_aggregate(built: Built) -> bool:
    """Whether a penalty takes a batch for a sample of all codes."""
    return any(getattr(part, "of_aggregate", False) for part in built.objective.modules())


def cautions(plan: Plan, built: Built, number: int = 0) -> list[str]:
    """What somebody should know of a recipe, or of one of its stages, before it is trained."""
    found = [describe_stage(plan.stages, number)] if len(plan.stages) > 1 else []
    most = plan.stages[number].lagging
    if most:
        found += [
            f"lagging: while I(x; z) climbs from validation to validation, up to {most} steps of "
            "the encoder alone come before each: as much longer it may take"
        ]
    if built.vae.labeller is not None and not _taught(built):
        found += [
            "label: no term of the loss knows the labels, so what the head tells will be of its "
            "own making; for theirs: "
            "--set objective.terms.label='{kind = \"CrossEntropy\", weight = 10.0}'"
        ]
    parts, terms = plan.recipe["training"]["accumulate"], _of_batch(built)
    normal = any(isinstance(part, BatchNormPosterior) for part in built.vae.encoder.modules())
    together = [*terms, *(["BatchNormPosterior"] if normal else [])]
    if together and plan.order.alone:
        found += [
            f"{', '.join(together)}: made for many items at once, and every batch holds one, so "
            "that it has no effect or another: raise training.batch, to 64 say"
        ]
    if parts > 1 and terms:
        found += [
            f"{', '.join(terms)}: a penalty on the batch as a whole, which sees each of its "
            f"{parts} parts alone: another penalty than on all of it at once"
        ]
    return found + _unsettled(plan, built, number)


def _unsettled(plan: Plan, built: Built, number: int) -> list[str]:
    """What is to be known of a last stage whose weights still move at its end."""
    if number < len(plan.stages) - 1 or plan.recipe["latent"] == 0:  # nothing is judged there
        return []
    steps = plan.stages[number].stop - (plan.stages[number - 1].stop if number else 0)
    return [
        f"{what} does not settle within these {steps} steps: no verdict, and no weights chosen "
        "but the last. Train for longer, or give it a share of the run in place of steps: "
        '{kind = "linear", share = 0.3}'
        for what in _moving(built, steps)
    ]


def _moving(built: Built, steps: int) -> list[str]:
    """What of a loss has not settled after so many steps."""
    losses = [part for part in built.objective.modules() if isinstance(part, Elbo)]
    weights = [pair for loss in losses for pair in loss.schedules.items()]
    penalties = getattr(built.objective, "penalties", {}).items()
    return [
        *(f"the weight of {name}" for name, its in weights if not settled(its, steps)),
        *(f"what moves inside of {name}" for name, its in penalties if not its.settled(steps)),
    ]


def _taught(built: Built) -> bool:
    """Whether a penalty teaches the label head."""
    return any(isinstance(part, CrossEntropy) for part in built.objective.modules())


def _of_batch(built: Built) -> list[str]:
    """Names of the penalties that look at all items of a batch together."""
    penalties = getattr(built.objective, "penalties", {})
    return [name for name, one in penalties.items() if getattr(one, "of_batch", False)]
