"""Probes: what is linear in a code is read, what is not is not, and nats are a lower bound."""

import math

import numpy as np
import pytest

from seqvae.measures.probe import figures, probe, probe_all

LABELS = ["past", "present", "future"]


def drawn(count: int, gap: float, seed: int) -> tuple[np.ndarray, list[str]]:
    """Codes (N, 4) whose labels lie `gap` apart, in noise of unit variance."""
    random = np.random.default_rng(seed)
    which = random.integers(3, size=count)
    return random.normal(size=(count, 4)) + gap * np.eye(4)[which], [LABELS[i] for i in which]


def test_a_probe_finds_what_is_linear_and_is_at_chance_on_noise() -> None:
    sure = probe(*drawn(900, 8.0, 0), *drawn(900, 8.0, 1))
    blind = probe(*drawn(900, 0.0, 0), *drawn(900, 0.0, 1))
    assert sure.accuracy > 0.99 and math.log(3) - 0.05 < sure.nats <= math.log(3) + 0.01
    assert abs(blind.accuracy - blind.guess) < 0.06 and blind.nats < 0.01


def test_nats_stay_below_what_two_gaussians_tell() -> None:
    # Classes at ±g in one dimension: the information is that of a sign seen through noise.
    gap, grid = 1.5, np.linspace(-12, 12, 20001)
    density = np.exp(-((grid - gap) ** 2) / 2) / math.sqrt(2 * math.pi)
    exact = math.log(2) - float(np.trapezoid(density * np.log1p(np.exp(-2 * gap * grid)), grid))
    random = np.random.default_rng(0)
    signs = random.choice([-1, 1], size=20_000)
    codes = (gap * signs + random.normal(size=20_000))[:, None]
    names = ["low" if sign < 0 else "high" for sign in signs]
    found = probe(codes[:10_000], names[:10_000], codes[10_000:], names[10_000:])
    assert found.nats == pytest.approx(exact, abs=0.01)


def test_without_dimensions_or_a_second_label_only_guessing_is_left() -> None:
    codes, labels = drawn(60, 8.0, 0)
    often = max(map(labels.count, LABELS)) / 60
    assert probe(codes[:, :0], labels, codes[:, :0], labels) == (often, often, 0.0)
    assert probe(codes, ["past"] * 60, codes, labels).nats == 0.0


def test_a_label_that_was_never_seen_is_missed_and_costs() -> None:
    codes, labels = drawn(60, 8.0, 0)
    known = [place for place, label in enumerate(labels) if label != "future"]
    found = probe(codes[known], [labels[i] for i in known], codes, labels)
    assert found.accuracy == pytest.approx(1 - labels.count("future") / 60)
    assert found.nats == 0.0


def test_carried_factors_are_counted_beside_guessing() -> None:
    codes, labels = drawn(600, 8.0, 0)
    random = np.random.default_rng(3)
    rare = ["rare" if one else "usual" for one in random.random(600) < 0.04]
    facts = [{"tense": a, "mood": b} for a, b in zip(labels, rare, strict=True)]
    found = figures(probe_all(codes[:300], facts[:300], codes[300:], facts[300:]))
    assert found["probe_mood"] > 0.9 and found["probe_tense"] > 0.99
    assert (found["factors"], found["factors_carried"]) == (2, 1), "one is as good as a guess"
