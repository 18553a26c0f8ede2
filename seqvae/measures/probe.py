"""What can be read from codes by a straight line: labels of new items, found by a probe."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CARRIED = 0.9  # accuracy from which a factor counts as carried
LEAST = 1e-12  # probability that a probe gives any label it knows

Factors = Callable[[Any], Mapping[str, str]]  # an item -> each of its factors by name


class Read(NamedTuple):
    """How well a probe reads a factor from codes.

    `nats` is a lower bound on what codes tell of it, H(factor) less the probe's cross-entropy;
    `guess` the accuracy of the most frequent label.
    """

    accuracy: float
    guess: float
    nats: float


def probe(
    codes: NDArray[Any], labels: Sequence[str], new: NDArray[Any], truth: Sequence[str]
) -> Read:
    """A logistic regression fitted to codes (N, D) and labels, asked about new codes (M, D).

    A code without dimensions tells nothing.

    >>> codes = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> probe(codes, ["no", "no", "yes", "yes"], codes, ["no", "no", "yes", "yes"]).accuracy
    1.0
    """
    names, known, asked = _numbered(labels, truth)
    share = np.bincount(asked, minlength=len(names)) / len(asked)
    entropy = -float((share[share > 0] * np.log(share[share > 0])).sum())
    guess = float(share[np.bincount(known).argmax()])
    if codes.shape[1] == 0 or len(set(labels)) < 2:
        return Read(guess, guess, 0.0)
    told = _fitted(codes, known, new, len(names))
    cost = -float(np.log(np.maximum(told[np.arange(len(asked)), asked], LEAST)).mean())
    return Read(float((told.argmax(1) == asked).mean()), guess, max(entropy - cost, 0.0))


def _numbered(
    labels: Sequence[str], truth: Sequence[str]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    names = sorted({*labels, *truth})
    place = {name: number for number, name in enumerate(names)}
    known, asked = (np.array([place[name] for name in some]) for some in (labels, truth))
    return names, known, asked


def _fitted(
    codes: NDArray[Any], known: NDArray[np.int64], new: NDArray[Any], labels: int
) -> NDArray[np.float64]:
    """Probabilities (M, labels) of new codes; 0 for labels that no known code has."""
    # Imported where it is used: it takes a second, and most measuring needs no probe.
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(max_iter=2000).fit(codes, known)
    told = np.zeros((len(new), labels))
    told[:, classifier.classes_] = classifier.predict_proba(new)
    return told


def probe_all(
    codes: NDArray[Any],
    facts: Sequence[Mapping[str, str]],
    new: NDArray[Any],
    truth: Sequence[Mapping[str, str]],
) -> dict[str, Read]:
    """Every factor that all items have, by name."""
    return {
        name: probe(codes, [f[name] for f in facts], new, [f[name] for f in truth])
        for name in facts[0]
    }


def figures(found: Mapping[str, Read]) -> dict[str, Any]:
    """What probes found, as figures: how many factors are carried, and nats of them in all.

    Carried is what is read with an accuracy of .9 or more and at most half the errors of a guess.
    Nats of factors that depend on each other are counted with each.
    """
    carried = [read.accuracy >= max(CARRIED, (1 + read.guess) / 2) for read in found.values()]
    return {
        "factors": len(found),
        "factors_carried": sum(carried),
        "factor_nats": sum(read.nats for read in found.values()),
        **{f"probe_{name}": read.accuracy for name, read in found.items()},
        **{f"guess_{name}": read.guess for name, read in found.items()},
    }
