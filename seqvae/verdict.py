"""One word on a model, from its figures and thresholds that are printed with it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

LEAST_INFORMATION = 0.5  # nats that a code must hold about its item
LEAST_HEARD = 0.05  # of the rate, that another item's code must cost
DEAF = 0.1  # nats that it must cost at least
FAR = 0.5  # nats a dimension between aggregate posterior and prior
USED = 0.8  # repayment from which a code counts as used
THRESHOLDS = (
    f"collapsed: mutual information under {LEAST_INFORMATION:g} nats; ignored: another's code "
    f"costs under {DEAF:g} nats, under {LEAST_HEARD:.0%} of the rate, or nothing beyond 3 "
    f"standard errors; exploded: KL(q(z), p) at least {FAR:g} nats a dimension; partly used: "
    f"repayment under {USED:g} (without a language model: what another's code costs, over the "
    "rate); healthy: none of these"
)


class Verdict(NamedTuple):
    """collapsed, ignored, exploded, partly used or healthy; and a sentence that says why."""

    name: str
    sentence: str


def verdict(figures: Mapping[str, Any]) -> Verdict | None:
    """What a model's figures amount to; None where it has no code, or too little was measured.

    >>> verdict({"latent": 2, "mutual_information_high": 0.01, "active_units": 0}).name
    'collapsed'
    """
    if "latent" not in figures:
        return None
    for judge in (_collapsed, _ignored, _exploded, _partly_used):
        found = judge(figures)
        if found is not None:
            return found
    if "shuffle_delta_nll" not in figures:
        return None
    return Verdict("healthy", f"The code is used: {_use(figures)}.")


def _collapsed(figures: Mapping[str, Any]) -> Verdict | None:
    held = figures.get("mutual_information_high", figures.get("kl"))
    cure = "Raise the floor of free bits, anneal the KL, or drop words from the decoder's input."
    if held is None:
        if figures["active_units"]:
            return None
        return Verdict("collapsed", f"No unit of the code moves with the data. {cure}")
    if held >= LEAST_INFORMATION:
        return None
    return Verdict(
        "collapsed", f"The code holds at most {held:.2f} nats about its sentence. {cure}"
    )


def _ignored(figures: Mapping[str, Any]) -> Verdict | None:
    cost, error = figures.get("shuffle_delta_nll"), figures.get("shuffle_standard_error")
    if cost is None or error is None:
        return None
    if cost > 3 * error and cost >= max(DEAF, LEAST_HEARD * figures.get("kl", 0.0)):
        return None
    return Verdict(
        "ignored",
        f"The decoder is deaf to its code: another sentence's code costs {cost:.2f} ± {error:.2f} "
        f"nats, though {figures['active_units']} of {figures['latent']} units are active. Drop "
        "words from the decoder's input, or make it weaker.",
    )


def _exploded(figures: Mapping[str, Any]) -> Verdict | None:
    distance = figures.get("aggregate_kl_low", figures.get("moment_kl"))
    if distance is None or distance / figures["latent"] < FAR:
        return None
    return Verdict(
        "exploded",
        f"The codes lie far from the prior, {distance / figures['latent']:.2f} nats a dimension "
        "or more, so what is drawn from the prior is none of them. Raise the weight of the KL, or "
        "add a penalty on the aggregate such as MMD.",
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
        "partly used", f"The code is used in part: {_use(figures)}. A lower rate would cost less."
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
    cost = f"another sentence's code costs {figures['shuffle_delta_nll']:.1f} nats"
    return cost if figures.get("kl") is None else f"{cost}, its own holds {figures['kl']:.1f}"
