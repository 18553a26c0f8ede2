"""The form of a song: its windows as a sequence of codes (K, D), and which of them come again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..codecs.music import MusicCodec
from ..corpus import write_json
from ..errors import Refused
from ..explore import Explorer
from ..midi import Notes, Song, Source, read
from ..midi.clips import Clip, split
from ..midi.phrases import ALIKE, LONGEST, SAME, first_full, likeness
from ..plots import BLUE, INK, charts
from ..plots import save as save_figure
from .beside import music_codec
from .pieces import Piece, find_parts, from_bar, metre_told

Bools = NDArray[np.bool_]

MOST = 512  # windows of a song that are compared
# The distance up to which windows are one phrase; 1 is that of a draw of the posterior from its
# mean. Chosen on POP909's 50 validation songs and the run that ships, by the mean kappa with the
# notes: .68 at 1, .70 at 1.25, .68 at 1.5, .40 at 2; on its 50 test songs .61, .69, .67, .43.
NEAR = 1.25
NOTES = (ALIKE + SAME) / 2  # likeness of notes from which two phrases are one rather than two
SILENT = "-"  # in the place of a letter


class Stretch(NamedTuple):
    """A window of a song: its first bar from 1, when it begins and ends, its letter.

    `likeness` is that to the first of its letter, 1 for that one itself; None where it is silent.
    """

    bar: int
    start: float  # seconds
    end: float
    letter: str
    likeness: float | None


class Agreement(NamedTuple):
    """How far codes and notes agree on which pairs of windows are the same; shares, 0 to 1."""

    pairs: int
    agreed: float
    chance: float  # what two that know nothing of each other, each as ready to say so, agree on
    by_code: float  # called the same
    by_note: float

    @property
    def kappa(self) -> float | None:
        """(agreed - chance) / (1 - chance): 0 by chance, 1 of equals; None where chance is 1.

        (Cohen, 1960.)
        """
        return (self.agreed - self.chance) / (1 - self.chance) if self.chance < 1 else None


@dataclass(frozen=True)
class Form:
    """A song as a sequence of codes, window by window, and what comes again in it."""

    name: str
    bars: int  # of a window
    each: str  # how long a window is, for people: "2 bars", or beats where metres differ
    stretches: list[Stretch]
    codes: Tensor  # (K, D), posterior means
    widths: Tensor  # (K, D), standard deviations
    distances: Tensor  # (K, K), in widths
    agreement: Agreement | None  # with the notes' own repeats; None where there are no pairs
    said: list[str] = field(default_factory=list)

    @property
    def letters(self) -> str:
        """The form in a line: A B A C."""
        return " ".join(each.letter for each in self.stretches)


def distances(mean: Tensor, stddev: Tensor) -> Tensor:
    """How far codes lie apart, in units of their posteriors' width: (K, D), (K, D) -> (K, K).

        r_ij = sqrt(1/D sum_d (m_id - m_jd)^2 / ((s_id^2 + s_jd^2) / 2))

    of Gaussians N(m_i, diag s_i^2): the Mahalanobis distance by the mean variance, over sqrt(D).
    It is the first term of the Bhattacharyya distance, 8/D of it, without that for unequal widths
    (Kailath, 1967). A draw z ~ N(m_i, s_i^2) lies at r = 1 from its own mean, in the root mean
    square: two windows with r < 1 lie nearer to each other than a draw of one lies to its mean.
    That is a yardstick, not a test: in many dimensions draws of the two still lie apart, the
    overlap of their densities being exp(-D r^2 / 8). Dimensions that the posterior leaves at the
    prior, whose means are alike, add to D and not to the sum: a code of few dimensions that are
    in use has smaller distances.

    >>> distances(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.ones(2, 2))[0].tolist()
    [0.0, 1.4142135381698608]
    """
    variance = stddev.square()
    rows = [
        ((own - mean).square() * 2 / (wide + variance)).mean(-1).sqrt()
        for own, wide in zip(mean, variance, strict=True)
    ]
    return torch.stack(rows) if rows else torch.zeros(0, 0)


def letters(apart: Tensor, sounds: Sequence[bool], near: float = NEAR) -> list[int | None]:
    """Distances (K, K) -> for each window the place of the first of its kind; None of silence.

    In order: a window is of the nearest first that lies within `near`, or is itself a first.

    >>> apart = torch.tensor([[0.0, 2.0, 0.5], [2.0, 0.0, 2.0], [0.5, 2.0, 0.0]])
    >>> letters(apart, [True, True, True])
    [0, 1, 0]
    """
    found: list[int | None] = []
    for place, heard in enumerate(sounds):
        firsts = sorted({first for first in found if first is not None})
        near_by = [first for first in firsts if float(apart[place, first]) <= near]
        nearest = min(near_by, key=lambda first: float(apart[place, first]), default=place)
        found.append(nearest if heard else None)
    return found


def agreement(by_code: Bools, by_note: Bools) -> Agreement | None:
    """How far two tellings of which pairs are the same agree (K, K); None without a pair.

    With p and q the shares that they call the same, chance is p q + (1 - p) (1 - q).

    >>> same = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    >>> found = agreement(same, same)
    >>> found.pairs, found.agreed, round(found.chance, 3), found.kappa
    (3, 1.0, 0.556, 1.0)
    """
    above = np.triu_indices(len(by_code), 1)
    a, b = by_code[above], by_note[above]
    if not len(a):
        return None
    p, q = float(a.mean()), float(b.mean())
    return Agreement(len(a), float((a == b).mean()), p * q + (1 - p) * (1 - q), p, q)


def form(
    explorer: Explorer, source: Source, asked: str | None = None, *, near: float = NEAR
) -> Form:
    """A whole song as codes, a window after the other from its first full bar on, and its repeats.

    Two windows are the same phrase where their posteriors lie nearer than `near` widths
    (`distances`); letters are given in order (`letters`). A phrase in another key has another
    code, and so a letter of its own. Beside it stands what the notes say (`phrases.likeness`).

    Arguments:
        source: a MIDI file's path, its bytes, or a PrettyMIDI.
        asked: the track, or tracks by part; None: by their look.
        near: in widths; larger calls more the same.

    Raises `MidiError` or `NoPart` for a file that cannot be read or lacks what the run knows,
    `Refused` for a run of sentences, or one whose codes have no width.
    """
    if not near > 0:
        raise Refused(f"near = {near}: a distance in widths is above 0; 1 is a draw's own.")
    codec, song = music_codec(explorer), read(source)
    notes = {name: part.notes for name, part in find_parts(song, codec, asked).items()}
    first = first_full(song, notes)
    found = from_bar(song, codec, first, asked)
    clips = split(found.clip, codec.grid)
    said = [line.replace(": asked for", "") for line in found.said] + metre_told(song, codec)
    said += [f"its first {MOST} windows are looked at, of {len(clips)}"] * (len(clips) > MOST)
    clips = clips[:MOST]
    z, widths = _codes(explorer, clips)
    apart = distances(z, widths)
    kinds = letters(apart, [clip.notes > 0 for clip in clips], near)
    ticks = _ticks(found, codec, len(clips))
    late_by = found.start - int(song.bars.start[found.bar - 1])  # notes may lie beside their bars
    bars = [tick - late_by for tick in ticks]
    told, late = _agreement(song, codec, notes, bars, kinds)
    said += late
    if told is None:
        said.append("not compared with its notes: no two whole windows that sound begin at bars")
    firsts = [_bar(song, tick) + 1 for tick in bars]
    stretches = _stretches(song, ticks, firsts, kinds, apart)
    each = _each(song, codec)
    return Form(found.name, codec.grid.bars, each, stretches, z, widths, apart, told, said)


def _each(song: Song, codec: MusicCodec) -> str:
    """How long a window is: in bars where all are the codec's, else in beats."""
    bars, own = codec.grid.bars, codec.grid.metre
    if set(song.bars.metre) == {own}:
        return f"{bars} bar{'s' * (bars != 1)}"
    return f"{bars * own.beats:g} beats"


def _codes(explorer: Explorer, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Means and widths of the clips' posteriors, (K, D) each; labels are left out."""
    z, widths = explorer.encode(clips)[:, : explorer.latent], explorer.stddev(clips)
    if not bool((widths > 0).all()):
        raise Refused(
            f"the codes of {explorer.recipe['name']!r} are points: without a width nobody can "
            "tell what is near. Train one with a width: --set posterior.kind=GaussianPosterior"
        )
    return z, widths


def _ticks(found: Piece, codec: MusicCodec, windows: int) -> list[int]:
    """Where windows begin, and the last ends, in ticks of the song (K + 1)."""
    each = codec.grid.length / codec.grid.steps * found.song.ticks_per_beat
    return [min(round(found.start + place * each), found.end) for place in range(windows + 1)]


def _bar(song: Song, tick: int) -> int:
    """The bar, from 0, in which a tick lies; one that begins a tick later has been rounded."""
    return int(np.searchsorted(song.bars.start[:-1], tick + 1, side="right")) - 1


def _stretches(
    song: Song,
    ticks: Sequence[int],
    bars: Sequence[int],
    kinds: Sequence[int | None],
    apart: Tensor,
) -> list[Stretch]:
    names = dict(zip(sorted({k for k in kinds if k is not None}), _names(), strict=False))
    found = []
    for place, kind in enumerate(kinds):
        start, end = (song.seconds_at(max(tick, 0)) for tick in ticks[place : place + 2])
        letter = SILENT if kind is None else names[kind]
        like = None if kind is None else 1 / (1 + float(apart[place, kind]) ** 2)
        found.append(Stretch(bars[place], start, end, letter, like))
    return found


def _names() -> Iterator[str]:
    """A, B, …, Z, AA, AB, …"""
    return ("".join(letters) for n in count(1) for letters in product(ascii_uppercase, repeat=n))


def _agreement(
    song: Song,
    codec: MusicCodec,
    notes: Mapping[str, Notes],
    ticks: Sequence[int],
    kinds: Sequence[int | None],
) -> tuple[Agreement | None, list[str]]:
    """How far the letters agree with the notes, over windows that sound and are whole bars.

    And what is to be said of those that are not compared, for the song is too long.
    """
    alike = likeness(song, notes, codec.grid.bars)
    beside = {place: _first(song, codec, tick) for place, tick in enumerate(ticks[:-1])}
    heard = {place: bar for place, bar in beside.items() if kinds[place] is not None}
    firsts = {place: bar for place, bar in heard.items() if bar is not None and bar < len(alike)}
    late = [bar for bar in heard.values() if bar is not None and bar >= len(alike)]
    kind, at = np.array([kinds[place] for place in firsts]), list(firsts.values())
    said = _late(late, len(alike) + codec.grid.bars - 1)
    if not at:
        return None, said
    return agreement(kind[:, None] == kind, alike[np.ix_(at, at)] >= NOTES), said


def _late(bars: Sequence[int], last: int) -> list[str]:
    """What is said of windows, by their first bar, that sound behind the last bar looked at."""
    if not bars or last < LONGEST:
        return []
    many = f"{len(bars)} window{'s' * (len(bars) > 1)} from bar {min(bars) + 1} on"
    return [f"not compared with the notes, of which bars up to {last} are looked at: {many}"]


def _first(song: Song, codec: MusicCodec, tick: int) -> int | None:
    """The bar, from 0, with which a window begins, if it does and all its bars are the codec's."""
    starts, bar = song.bars.start, _bar(song, tick)
    behind = bar + codec.grid.bars
    window = codec.grid.length / codec.grid.steps * song.ticks_per_beat
    if behind >= len(starts) or abs(starts[behind] - starts[bar] - window) > 1:
        return None
    return bar if abs(starts[bar] - tick) <= 1 else None


# --- written -------------------------------------------------------------------------------------


def report(found: Form) -> dict[str, Any]:
    """A form as plain data: its letters, every window, the codes, and what the notes say."""
    told = found.agreement
    return {
        "file": found.name,
        "form": found.letters,
        "bars_a_window": found.bars,
        "window": found.each,
        "windows": [each._asdict() for each in found.stretches],
        "agreement_with_notes": None if told is None else {**told._asdict(), "kappa": told.kappa},
        "codes": found.codes.tolist(),
        "widths": found.widths.tolist(),
        "said": found.said,
    }


def save(found: Form, folder: Path) -> list[Path]:
    """Write `form.png` and `form.json` into a folder, made if absent."""
    path = save_figure(picture(found), folder / "form.png")
    write_json(folder / "form.json", report(found))
    return [path, folder / "form.json"]


def picture(found: Form) -> Figure:
    """The self-similarity of a song's windows, 1 / (1 + r^2), with their letters on both sides."""
    size = min(max(len(found.stretches) * 0.16, 4.0), 16.0)
    figure, (axis,) = charts(1, 1, (size + 0.8, size))
    like = 1 / (1 + found.distances.square())
    axis.grid(visible=False)
    image = axis.imshow(like.numpy(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    every = range(0, len(found.stretches), max(len(found.stretches) // 96, 1))
    names = [found.stretches[place].letter for place in every]
    axis.set_xticks(every, names, fontsize=7, color=INK)
    axis.set_yticks(
        every,
        [f"{found.stretches[p].bar}  {found.stretches[p].letter}" for p in every],
        fontsize=7,
        color=INK,
    )
    axis.set_title(f"{Path(found.name).name}: {found.each} a window", loc="left", color=BLUE)
    figure.colorbar(image, ax=axis, shrink=0.7, label="likeness: 1/2 is a draw's own distance")
    return figure
