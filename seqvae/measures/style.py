"""Whether music is in the style of other music: overlapped areas of how far items lie apart."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..codecs.voices import KIT, PLACE
from ..errors import Refused
from ..midi import Notes, joined
from ..midi.clips import DRUMS, Clip
from .onsets import FINE, moves

Floats = NDArray[np.float64]

# The twelve lengths of Yang and Lerch, in beats: from a whole note to a dotted sixteenth, and the
# triplets of halves, quarters and eighths.
LENGTHS = (4, 3, 2, 3 / 2, 4 / 3, 1, 3 / 4, 2 / 3, 1 / 2, 3 / 8, 1 / 3, 1 / 4)
OCTAVE = 12
FEATURES = ("pitch_class", "interval", "duration", "inter_onset", "drum")
NARROWEST = 2e-3  # standard deviation of a kernel, at least: distances may be all the same
ROUNDED = 3  # decimals of a distance; a quarter of the narrowest kernel
REACH = 5  # kernels beyond the last distance, up to which densities are integrated
POINTS = 8  # a kernel's width, at which densities are added up
COMPARED = 200  # items of a set, at most: distances grow with their square


def style(
    samples: Sequence[Clip],
    data: Sequence[Clip],
    other: Sequence[Clip] | None = None,
    *,
    at_most: int = COMPARED,
) -> dict[str, Any]:
    """Overlapped area and KL of samples against data, feature by feature   (`overlap`).

    Of each of the `FEATURES` that both sets have: `style_pitch_class_overlap`, `_kl` (nats), and
    how many of each set have it, `_items` and `_items_data`, for a window without notes has no
    pitches. With `other` data (of other songs, or two windows of one are neighbours), the floor:
    `_overlap_real` and `_kl_real` are those of as many of them as there are samples.

    Arguments:
        at_most: of each set, evenly spread.

    >>> from seqvae.midi import notes_of
    >>> low = [Clip({"bass": notes_of([(0, 480, p, 80)])}, 1920) for p in (36, 48, 60)]
    >>> found = style(low, low)
    >>> round(found["style_pitch_class_overlap"], 3), found["style_pitch_class_items"]
    (1.0, 3)
    """
    sets = [_spread(each, at_most) for each in (samples, data)]
    count = min(map(len, sets))
    sets += [] if other is None else [_spread(other, count)]
    drawn, real, *more = (histograms(each) for each in sets)
    found: dict[str, Any] = {"style_samples": len(sets[0]), "style_data": len(sets[1])}
    for name in FEATURES:
        if len(drawn[name]) and len(real[name]) > 1:
            found |= _named(f"style_{name}", overlap(drawn[name], real[name]))
            found[f"style_{name}_items"] = len(drawn[name])
            found[f"style_{name}_items_data"] = len(real[name])
        for floor in more:
            if f"style_{name}_items" in found and len(floor[name]):
                found |= _named(f"style_{name}", overlap(floor[name], real[name]), "_real")
    return found


def _spread(clips: Sequence[Clip], count: int) -> list[Clip]:
    """At most so many of them, evenly spread."""
    places = np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int)
    return [clips[place] for place in places.tolist()]


def _named(name: str, found: "Overlap", end: str = "") -> dict[str, float]:
    return {f"{name}_overlap{end}": found.area, f"{name}_kl{end}": found.kl}


# --- histograms ----------------------------------------------------------------------------------


def histograms(clips: Iterable[Clip]) -> dict[str, Floats]:
    """The histograms of every feature, a row an item that has it, each of sum 1 (N, bins).

    - pitch_class: of all notes that have pitch, each counted once (12);
    - interval: from each onset's highest pitch to the next in the same part, an octave down to an
      octave up, what leaps farther among these (25);
    - duration: of notes that have pitch; inter_onset: from each onset to the next in the same
      part, drums among them. Each is the nearest by ratio of the twelve `LENGTHS` (12);
    - drum: which of the nine is struck (9).

    >>> from seqvae.midi import notes_of
    >>> tune = Clip({"melody": notes_of([(0, 480, 60, 80), (480, 960, 64, 80)])}, 1920)
    >>> {name: (rows.shape, rows.argmax(1).tolist()) for name, rows in histograms([tune]).items()}
    {'pitch_class': ((1, 12), [0]), 'interval': ((1, 25), [16]), 'duration': ((1, 12), [5]), \
'inter_onset': ((1, 12), [5]), 'drum': ((0, 9), [])}
    """
    found: dict[str, list[Floats]] = {name: [] for name in FEATURES}
    for clip in clips:
        for name, counts in _counts(clip):
            if total := counts.sum():
                found[name].append(counts / total)
    return {name: np.array(rows).reshape(len(rows), BINS[name]) for name, rows in found.items()}


BINS: Mapping[str, int] = {
    "pitch_class": OCTAVE,
    "interval": 2 * OCTAVE + 1,
    "duration": len(LENGTHS),
    "inter_onset": len(LENGTHS),
    "drum": len(KIT),
}


def _counts(clip: Clip) -> Iterator[tuple[str, Floats]]:
    pitched = [part for part in clip.parts if part != DRUMS]
    notes = joined(clip.part(part) for part in pitched)
    steps = [moves(clip, part) for part in clip.parts]
    leaps = [own[:, 0] for part, own in zip(clip.parts, steps, strict=True) if part in pitched]
    values = {
        "pitch_class": notes.pitch % OCTAVE,
        "interval": np.clip(_chained(leaps), -OCTAVE, OCTAVE) + OCTAVE,
        "duration": _length(_beats(clip, notes)),
        "inter_onset": _length(_chained([own[:, 1] for own in steps]) / FINE),
        "drum": PLACE[clip.part(DRUMS).pitch],
    }
    for name, each in values.items():
        yield name, np.bincount(each, minlength=BINS[name]).astype(np.float64)


def _chained(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _beats(clip: Clip, notes: Notes) -> Floats:
    return (notes.end - notes.start) / clip.ticks_per_beat


def _length(beats: Floats) -> NDArray[np.int64]:
    """Which of the twelve lengths is nearest, by ratio."""
    away = np.abs(np.log(np.maximum(beats, 1e-9))[:, None] - np.log(LENGTHS))
    return away.argmin(axis=1)


# --- overlapped areas ----------------------------------------------------------------------------


class Overlap(NamedTuple):
    """How the distances between two sets are distributed beside those within one of them."""

    area: float  # 0 to 1
    kl: float  # nats
    within: float  # mean distance of two items of the data
    between: float  # mean distance of a sample and an item of the data


def overlap(samples: Floats, data: Floats) -> Overlap:
    """Overlapped area and KL of distances within the data and between samples and data.

    Let p be the density of the Euclidean distances of every two items of the data (M, F) and q
    that of the distances of every sample (N, F) from every item of the data, each estimated by
    Gaussian kernels of width sigma n^(-1/5), sigma being the standard deviation of its n distances
    (Scott, 1992). Then

        area = integral min(p, q),    kl = integral p log(p / q) nats

    (Yang and Lerch, 2020, On the evaluation of generative models in music). Samples that lie among
    the data as the data lie among themselves have an area near 1 and a KL near 0; what lies
    elsewhere, or all at one place, has not. A kernel is 0.002 wide at least, and distances are
    rounded to 0.001: items may be all alike.

    Raises `Refused` for less than one sample or two items of data.

    >>> draw = np.random.default_rng(0)
    >>> data, same, others = draw.random((40, 3)), draw.random((40, 3)), 3 + draw.random((40, 3))
    >>> [round(overlap(each, data).area, 1) for each in (data, same, others)]
    [1.0, 1.0, 0.0]
    """
    if len(samples) < 1 or len(data) < 2:
        raise Refused(
            f"{len(samples)} samples and {len(data)} items of data: distances between and within "
            "take 1 sample and 2 items of data, or more."
        )
    within = _distances(data, data)[np.triu_indices(len(data), 1)]
    between = _distances(samples, data).ravel()
    p, q = _Density(within), _Density(between)
    reach = REACH * max(p.width, q.width)
    low, high = min(p.at[0], q.at[0]) - reach, max(p.at[-1], q.at[-1]) + reach
    step = min(p.width, q.width) / POINTS
    x = np.arange(low, high, step)
    log_p, log_q = p.log(x), q.log(x)
    area = np.exp(np.minimum(log_p, log_q)).sum() * step
    kl = (np.exp(log_p) * (log_p - log_q)).sum() * step
    means = float(within.mean()), float(between.mean())
    return Overlap(min(float(area), 1.0), max(float(kl), 0.0), *means)


def _distances(one: Floats, other: Floats) -> Floats:
    """Euclidean distances (N, M)."""
    return np.sqrt(np.square(one[:, None] - other).sum(-1))


class _Density:
    """Gaussian kernels on values (N,), as wide as Scott's rule has it."""

    def __init__(self, values: Floats) -> None:
        sigma = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        self.width = max(sigma * len(values) ** -0.2, NARROWEST)
        # Tens of thousands of distances are a thousand different ones.
        self.at, count = np.unique(values.round(ROUNDED), return_counts=True)
        self.log_share = np.log(count / len(values))

    def log(self, x: Floats) -> Floats:
        """log p at some points (X,): in logarithms, for far off a density is 0 to a float."""
        each = self.log_share - np.square((x[:, None] - self.at) / self.width) / 2
        top = each.max(axis=1)
        mixed = top + np.log(np.exp(each - top[:, None]).sum(axis=1))
        return mixed - math.log(self.width * math.sqrt(2 * math.pi))
