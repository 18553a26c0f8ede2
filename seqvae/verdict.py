"""One word on a model, from its figures and thresholds that are printed with it."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

LEAST_INFORMATION = 0.5  # nats that a code must hold about its item
DEAF = 0.1  # nats that another item's code must cost
LEAST_HEARD = 0.05  # of the information that a code is known to hold, that it must cost
ERRORS = 3  # standard errors by which a cost must lie below that to be none
FAR = 10.0  # nats between aggregate posterior and prior
FAR_EACH = 2.0  # the same, a dimension
USED = 0.8  # repayment from which a code counts as used
DECIDING = (
    *("reconstruction", "kl", "mutual_information_high", "shuffle_delta_nll"),
    *("shuffle_standard_error", "aggregate_kl_low", "moment_kl", "repayment"),
)
THRESHOLDS = (
    f"collapsed: mutual information under {LEAST_INFORMATION:g} nats; ignored: another's code "
    f"costs under {DEAF:g} nats, or under {LEAST_HEARD:.0%} of the information held, by {ERRORS} "
    f"standard errors; exploded: KL(q(z), p) at least {FAR:g} nats, or {FAR_EACH:g} a dimension; "
    f"partly used: repayment under {USED:g} (without a language model: what another's code costs, "
    "over the rate); healthy: none of these"
)


class OnCollapse(StrEnum):
    """What to do with a run whose code stays empty or unread."""

    WARN = "warn"
    STOP = "stop"


class Verdict(NamedTuple):
    """collapsed, ignored, exploded, partly used or healthy; a sentence on why, one on the cure.

    Or undecided, where the items are too few to tell.
    """

    name: str
    reason: str
    cure: str = ""

    @property
    def sentence(self) -> str:
        """The reason, and what to do about it."""
        return f"{self.reason} {self.cure}".rstrip()


def verdict(figures: Mapping[str, Any]) -> Verdict | None:
    """What a model's figures amount to, the gravest fault first; None where it has no code.

    >>> verdict({"latent": 2, "mutual_information_high": 0.01, "active_units": 0}).name
    'collapsed'
    """
    if "latent" not in figures:
        return None
    for judge in (_undefined, _collapsed, _ignored, _exploded, _unheard, _partly_used):
        found = judge(figures)
        if found is not None:
            return found
    if "baseline_nll" in figures:
        return Verdict("healthy", f"The code is used: {_use(figures)}.")
    seen = "as far as is seen without a language model"
    beside = "What its rate costs shows beside one: --baseline RUN, of a run with latent=0."
    return Verdict("healthy", f"The code is used, {seen}: {_use(figures)}.", beside)


def _noun(figures: Mapping[str, Any]) -> str:
    """What an item is called."""
    return str(figures.get("noun", "sentence"))


def _dropped(figures: Mapping[str, Any]) -> str:
    """What may be kept from the decoder, so that it needs its code."""
    known = {"sentence": "words", "image": "pixels, where it reads any,"}
    return known.get(_noun(figures), "tokens")


def _undefined(figures: Mapping[str, Any]) -> Verdict | None:
    """Where a figure is no number, which is below every border and above it."""
    names = (name for name in DECIDING if math.isnan(figures.get(name) or 0.0))
    name = next(names, None)
    if name is None:
        return None
    reason = f"The figure {name} is not a number: the model has diverged."
    return Verdict("undecided", reason, "Lower optimizer.rate, or training.clip.")


def _collapsed(figures: Mapping[str, Any]) -> Verdict | None:
    held = figures.get("mutual_information_high", figures.get("kl"))
    if held is None:  # no KL, so nothing of it can be changed
        if figures["active_units"]:
            return None
        cure = "Weigh the penalties on codes less, or train longer."
        return Verdict("collapsed", "No unit of the code moves with the data.", cure)
    if held >= LEAST_INFORMATION:
        return None
    return Verdict(
        "collapsed",
        # An estimate of next to nothing may lie below it.
        f"The code holds at most {max(held, 0.0):.2f} nats about its {_noun(figures)}.",
        "Ask for a rate, as --nats 4 does, or let the weight of the KL rise more slowly.",
    )


def _ignored(figures: Mapping[str, Any]) -> Verdict | None:
    cost, error = _cost(figures)
    if cost is None or cost + ERRORS * error >= _least(figures):
        return None
    return Verdict(
        "ignored",
        f"The decoder is deaf to its code: another {_noun(figures)}'s code costs {cost:.2f} ± "
        f"{error:.2f} nats, though {figures['active_units']} of {figures['latent']} units are "
        "active.",
        f"Drop {_dropped(figures)} from the decoder's input, or make it weaker.",
    )


def _unheard(figures: Mapping[str, Any]) -> Verdict | None:
    """Where too few items were measured to tell whether the decoder reads its code."""
    cost, error = _cost(figures)
    if cost is not None and cost - ERRORS * error > 0:
        return None
    said = "no two items had the same length" if cost is None else f"{cost:.2f} ± {error:.2f} nats"
    return Verdict(
        "undecided",
        f"The items are too few to tell whether the code is read ({said}): measure more of them.",
    )


def _cost(figures: Mapping[str, Any]) -> tuple[float | None, float]:
    """What another's code costs, with its standard error."""
    cost, error = figures.get("shuffle_delta_nll"), figures.get("shuffle_standard_error")
    return (None, math.inf) if cost is None or error is None else (cost, error)


def _least(figures: Mapping[str, Any]) -> float:
    """What another's code must cost: more where the code is known to hold more."""
    held = min(figures.get("mutual_information_low", 0.0), figures.get("kl", math.inf))
    return max(DEAF, LEAST_HEARD * held)


def _exploded(figures: Mapping[str, Any]) -> Verdict | None:
    distance = figures.get("aggregate_kl_low", figures.get("moment_kl"))
    if distance is None or distance < min(FAR, FAR_EACH * figures["latent"]):
        return None
    return Verdict(
        "exploded",
        f"The codes lie far from the prior, {distance:.1f} nats or more in all, so what is drawn "
        "from the prior is hardly one of them.",
        "Raise the weight of the KL, or add a penalty on the aggregate such as MMD.",
    )


def _partly_used(figures: Mapping[str, Any]) -> Verdict | None:
    share = used(figures)
    if share is None and _gains_nothing(figures):
        return Verdict(
            "partly used",
            "The decoder reads its code, and yet writes no better than the language model without "
            "one.",
        )
    if share is None or share >= USED:
        return None
    return Verdict(
        "partly used",
        f"The code is used in part: {_use(figures)}.",
        "A lower rate would cost less.",
    )


def used(figures: Mapping[str, Any]) -> float | None:
    """The share of the rate that is seen to be used: repayment, or what another's code costs."""
    if figures.get("repayment") is not None:
        return float(figures["repayment"])
    if figures.get("kl") and figures.get("shuffle_delta_nll") is not None:
        return float(figures["shuffle_delta_nll"] / figures["kl"])
    return None


def _gains_nothing(figures: Mapping[str, Any]) -> bool:
    return bool(figures.get("baseline_nll", math.inf) <= figures.get("reconstruction", 0.0))


def _use(figures: Mapping[str, Any]) -> str:
    if figures.get("repayment") is not None:
        return (
            f"of its {figures['kl']:.1f} nats {figures['repayment']:.0%} come back as "
            "reconstruction"
        )
    cost = f"another {_noun(figures)}'s code costs {figures['shuffle_delta_nll']:.1f} nats"
    return cost if figures.get("kl") is None else f"{cost}, its own holds {figures['kl']:.1f}"
