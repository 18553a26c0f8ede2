"""Overlapped areas: densities whose overlap is known, and sets that are equal or far apart."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from seqvae.codecs.voices import WRITTEN
from seqvae.errors import Refused
from seqvae.measures.style import FEATURES, LENGTHS, NARROWEST, histograms, overlap, style
from seqvae.midi import TICKS, notes_of
from seqvae.midi.clips import DRUMS, Clip

Floats = NDArray[np.float64]


def tune(*pitches: int, beats: float = 1.0) -> Clip:
    """Pitches one after the other."""
    long = round(beats * TICKS)
    rows = [(i * long, (i + 1) * long, pitch, 80) for i, pitch in enumerate(pitches)]
    return Clip({"melody": notes_of(rows)}, 4 * TICKS)


def tunes(low: int, seed: int = 0, count: int = 100) -> list[Clip]:
    draw = np.random.default_rng(seed)
    return [tune(*(low + draw.choice([0, 2, 4, 5, 7], 6)).tolist()) for _ in range(count)]


def test_two_kernels_overlap_as_two_gaussians_do() -> None:
    """Equal data have distance 0, a sample a fixed one: N(0, h) and N(d, h), h the narrowest."""
    far = 3 * NARROWEST
    found = overlap(np.array([[far, 0.0]]), np.zeros((4, 2)))
    away = NormalDist().cdf(-far / (2 * NARROWEST))
    assert found.area == pytest.approx(2 * away, abs=1e-3)
    assert found.kl == pytest.approx(far**2 / (2 * NARROWEST**2), rel=1e-3)
    assert found.within == 0 and found.between == pytest.approx(far)


def test_the_area_is_that_of_kernels_as_scott_has_them_integrated_finely() -> None:
    draw = np.random.default_rng(0)
    samples, data = draw.random((7, 3)) + 0.3, draw.random((9, 3))
    within = [math.dist(a, b) for i, a in enumerate(data) for b in data[:i]]
    between = [math.dist(a, b) for a in samples for b in data]
    x = np.linspace(-2, 4, 12_001)

    def density(values: list[float]) -> Floats:
        width = np.std(values, ddof=1) * len(values) ** -0.2
        away = (x[:, None] - np.array(values)) / width
        return (np.exp(-(away**2) / 2) / (width * math.sqrt(2 * math.pi))).mean(1)

    p, q = density(within), density(between)
    found = overlap(samples, data)
    assert found.area == pytest.approx(np.minimum(p, q).sum() * 5e-4, abs=2e-3)
    there = p > 1e-12
    assert found.kl == pytest.approx(
        (p * np.log(p / q, where=there, out=0 * p)).sum() * 5e-4, abs=2e-3
    )


def test_equal_sets_overlap_and_disjoint_ones_do_not() -> None:
    same = style(tunes(60), tunes(60, seed=1), tunes(60, seed=2))
    for name in ("pitch_class", "interval", "duration", "inter_onset"):
        assert same[f"style_{name}_overlap"] > 0.85 < same[f"style_{name}_overlap_real"]
        assert same[f"style_{name}_kl"] < 0.1
    black = style(tunes(66), [tune(60, 60, 60)] * 4)
    assert black["style_pitch_class_overlap"] < 1e-6 and black["style_pitch_class_kl"] > 100
    assert not any(name.startswith("style_drum") for name in same)


def test_one_window_over_and_over_is_told_from_data() -> None:
    data = tunes(60, seed=1)
    varied, one = style(tunes(60), data), style([data[0]] * 100, data)
    assert one["style_interval_kl"] > 5 * varied["style_interval_kl"]


def test_what_has_nothing_is_left_out_and_counted() -> None:
    rest, single = Clip({"melody": notes_of([])}, 1920), tune(60)
    found = histograms([rest, single, tune(60, 62)])
    assert {name: len(rows) for name, rows in found.items()} == {
        **dict.fromkeys(("pitch_class", "duration"), 2),
        **dict.fromkeys(("interval", "inter_onset"), 1),
        "drum": 0,
    }
    assert style([rest], [rest, rest]) == {"style_samples": 1, "style_data": 2}
    assert style([], tunes(60)) == {"style_samples": 0, "style_data": 100}
    kept = style([rest, *tunes(60)], tunes(60, seed=1), at_most=10)
    assert kept["style_pitch_class_items"] == 9 and kept["style_pitch_class_items_data"] == 10
    with pytest.raises(Refused, match="1 samples and 1 items of data"):
        overlap(np.zeros((1, 2)), np.zeros((1, 2)))


@pytest.mark.parametrize("place", range(len(LENGTHS)))
def test_a_length_is_counted_where_it_is_named(place: int) -> None:
    [row] = histograms([tune(60, 60, beats=LENGTHS[place])])["duration"]
    assert row.argmax() == place and row.sum() == 1
    [row] = histograms([tune(60, 60, beats=LENGTHS[place])])["inter_onset"]
    assert row.argmax() == place


def test_histograms_are_of_every_part_and_moving_leaves_the_intervals() -> None:
    clip = tune(60, 64, 48)
    assert histograms([clip])["interval"].nonzero()[1].tolist() == [0, 16], "leaps are clipped"
    moved = histograms([clip.moved(5)])
    assert (moved["interval"] == histograms([clip])["interval"]).all()
    assert (moved["pitch_class"] == np.roll(histograms([clip])["pitch_class"], 5)).all()
    kick, snare = WRITTEN[:2]
    beat = Clip({DRUMS: notes_of([(0, 9, kick, 80), (480, 490, snare, 80)])}, 1920)
    found = histograms([beat])
    assert found["drum"].tolist() == [[0.5, 0.5, *[0] * 7]]
    assert [len(found[name]) for name in FEATURES] == [0, 0, 0, 1, 1]
