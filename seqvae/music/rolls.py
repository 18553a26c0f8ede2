"""Piano rolls: clips -> a figure, as musicians read them. Nothing is shown, nothing is written.

Time runs to the right in quarter notes, pitch upwards; below lie the drums, a lane each. A figure
has one panel a clip, and all its panels have the same axes, so that places can be compared.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from ..codecs.voices import KIT, PLACE
from ..errors import Refused
from ..midi import Metre
from ..midi.clips import Clip
from ..plots import BLUE, GREY, INK, RED

Floats = NDArray[np.floating[Any]]

DRUMS = "drums"  # the part that is drawn on lanes
PART_COLORS = {"melody": BLUE, "bass": "#2f855a", DRUMS: "#4a5568"}
OTHER_COLORS = (RED, "#6b46c1", "#97266d", "#975a16")
MIX = LinearSegmentedColormap.from_list("mix", [BLUE, "#84439a", RED])
BELOW = LinearSegmentedColormap.from_list("below", ["#2f855a", "#7b8a2e", "#c28a00"])  # C to D
STATIONS = (BLUE, RED, "#2f855a", "#6b46c1", "#b7791f", "#97266d", "#2c7a7b", "#4a5568")
SHADES = {"bass": 0.4, DRUMS: 0.2}  # how much ink the steps of a morph add to tell their parts
DARK_ROW, BEAT_LINE, OCTAVE_LINE, BAR_LINE = "#f4f5f7", "#e3e6ea", "#d3d7dd", "#aab0b8"

BLACK_KEYS = (1, 3, 6, 8, 10)  # of an octave from C
OCTAVE = range(60, 73)  # what an empty roll shows
LANE, GAP = 0.105, 0.06  # inches: a drum's lane, and what is between drums and pitches
STRIPED = 0.033  # inches that a semitone has at least for the rows of black keys to be drawn
KEY = "Filled: new in this step. Pale: as in the step before. The darker, the louder."
HIT = 0.17  # of a quarter note: how long a drum is drawn, for it has no length
NEAR = 0.125  # of a quarter note: a note that begins so near another of its pitch is the same
COLUMN = 13  # panels in a column, at most
SQUARE, NARROW, WIDE = 14.0, 1.5, 4.0  # inches of a square's panels: in a row, and of each
ROW = 16  # bars of a journey in a row
STRIP, BELOW_ROW = 0.2, 0.45  # inches: how high the mix is drawn below a row, and its room
EDGE, TITLE, LINE = 0.22, 0.24, 0.17  # inches: margins, what is above a panel, a line of text


class Frame(NamedTuple):
    """What all panels of a figure show: quarter notes, pitches, and drums from the lowest lane."""

    beats: float
    bar: float  # quarter notes in a bar, for the numbers below
    pitches: range
    lanes: tuple[int, ...]
    quarter: float  # inches of a quarter note
    semitone: float = 0.1  # inches
    drum: float = LANE  # inches of a lane
    below: float = 0.0  # inches between a panel and what is under it

    def within(self, inches: float, least: float, most: float) -> "Frame":
        """The same with semitones between two sizes, that they fill so many inches if they can."""
        return self._replace(semitone=min(max(inches / max(len(self.pitches), 1), least), most))

    @property
    def width(self) -> float:
        """Inches."""
        return self.beats * self.quarter

    @property
    def height(self) -> float:
        """Inches."""
        return (self.top - self.bottom) * self.semitone

    @property
    def lane_height(self) -> float:
        """Semitones."""
        return self.drum / self.semitone

    @property
    def drums(self) -> float:
        """How high all lanes are, in semitones."""
        gap = GAP / self.semitone if self.pitches and self.lanes else 0.0
        return self.lane_height * len(self.lanes) + gap

    @property
    def bottom(self) -> float:
        return self.pitches.start - 0.5 - self.drums

    @property
    def top(self) -> float:
        return self.bottom + self.drums + len(self.pitches)

    def lane(self, places: NDArray[np.integer]) -> Floats:
        """The middle of the lane of each drum."""
        return self.bottom + (np.searchsorted(self.lanes, places) + 0.5) * self.lane_height


def roll(clip: Clip, title: str = "") -> Figure:
    """One clip: notes by part, the louder the darker, over its bars."""
    frame = _frame([clip]).within(2.6, 0.05, 0.11)._replace(drum=1.6 * LANE)
    figure, [panel] = _page(frame, 1, "", "")
    _lines(panel, clip, frame)
    colors = {part: color for part, color in _part_colors(clip.parts).items() if clip.part(part)}
    for part, color in reversed(colors.items()):
        _draw(panel, part, clip, color, frame)
    _caption(panel, title, INK, _said(clip, metre=True), frame)
    if not clip.notes:
        _silent(panel)
    if len(colors) > 1:
        for part, color in colors.items():
            panel.scatter([], [], color=color, marker="s", s=14, label=part)
        panel.legend(
            frameon=False,
            fontsize=7,
            ncols=len(colors),
            loc="upper right",
            bbox_to_anchor=(1, 0),
            bbox_transform=panel.transAxes,
            borderaxespad=1.6,
            handletextpad=0.2,
        )
    return figure


def contact_sheet(
    steps: Sequence[Clip],
    titles: Sequence[str],
    *,
    mixes: Sequence[float] | None = None,
    colors: Sequence[str] | None = None,
    heading: str = "",
    notes: str = "",
) -> Figure:
    """All steps of a morph at once, one above the other, from A (blue) down to B (red).

    A note that the step before has too, of the same pitch and beginning, is only outlined: what
    is filled is new. Long rows of steps stand in several columns, and are read by rows.

    Arguments:
        steps: one panel each; the originals may stand first and last.
        titles: one each.
        mixes: how much of B each has, 0 to 1; evenly spaced if not given.
        colors: of each, where it is not from A to B.
        heading, notes: above and below all of them.
    """
    if not steps:
        raise Refused("a contact sheet of no steps: give one clip or more.")
    shares = np.linspace(0, 1, len(steps)).tolist() if mixes is None else list(mixes)
    inks = [to_hex(MIX(float(share))) for share in shares] if colors is None else colors
    frame = _frame(steps).within(1.0, 0.017, 0.055)
    key = f"{KEY}\n" if len(steps) > 1 else ""
    figure, panels = _page(frame, len(steps), heading, key + notes)
    befores = [None, *steps]
    for panel, clip, title, share, color, before in zip(
        panels, steps, titles, shares, inks, befores[:-1], strict=True
    ):
        _step(panel, clip, before, color, frame)
        _caption(panel, title, color, _said(clip, None if mixes is None else share), frame)
    return figure


def square_sheet(
    clips: Sequence[Clip], titles: Sequence[str], *, heading: str = "", notes: str = ""
) -> Figure:
    """A square of clips between four corners, row by row, all on one scale of time and pitch.

    From A (top left, blue) to B (red), and from those down to C (green) and D (yellow).
    """
    side = math.isqrt(len(clips))
    if not clips or side * side != len(clips):
        raise Refused(f"a square of {len(clips)} clips: give 4, 9, 16, 25 or so many more.")
    frame = _frame(clips)
    wide = min(max(SQUARE / side, NARROW), WIDE)
    frame = frame._replace(quarter=wide / frame.beats).within(1.0, 0.017, 0.055)
    figure, panels = _page(frame, len(clips), heading, notes, side)
    for place, (panel, clip, title) in enumerate(zip(panels, clips, titles, strict=True)):
        row, column = divmod(place, side)
        color = square_color(row / max(side - 1, 1), column / max(side - 1, 1))
        _step(panel, clip, None, color, frame)
        _caption(panel, title, color, f"{clip.qpm:.0f} bpm", frame)
    return figure


def square_color(down: float, right: float) -> str:
    """The colour of a place between four corners, 0 to 1 downwards and to the right.

    >>> square_color(0, 0) == to_hex(MIX(0.0)), square_color(1, 1)
    (True, '#c28a00')
    """
    above, below = (np.array(mix(float(right))[:3]) for mix in (MIX, BELOW))
    return to_hex(tuple(((1 - down) * above + down * below).tolist()))


def leg_color(start: int, end: int, mix: float) -> str:
    """The colour of a place on the way from one station to another; A to B is as in a morph.

    >>> leg_color(0, 1, 0.5) == to_hex(MIX(0.5)), leg_color(1, 2, 1.0)
    (True, '#2f855a')
    """
    a, b = (to_hex(STATIONS[number % len(STATIONS)]) for number in (start, end))
    if {a, b} == {to_hex(BLUE), to_hex(RED)}:
        return to_hex(MIX(mix if a == to_hex(BLUE) else 1 - mix))
    return to_hex(tuple(((1 - mix) * np.array(to_rgb(a)) + mix * np.array(to_rgb(b))).tolist()))


def journey_sheet(
    clip: Clip,
    mixes: Sequence[float],
    *,
    labels: Sequence[str] | None = None,
    marks: Mapping[int, str] | None = None,
    heading: str = "",
    notes: str = "",
) -> Figure:
    """A long piece in rows of 16 bars, from blue to red by how much of B is in each bar.

    Below each row that share is drawn, 0 to 1.

    Arguments:
        clip: all of it.
        mixes: a share of B for each of its bars.
        labels: what is true of each bar, such as its key: said of the first and last of a row.
        marks: what is written below the bars that begin something.
        heading, notes: above and below all of it.

    Raises `Refused` for other than a share a bar.
    """
    if not mixes or len(mixes) != round(clip.length / clip.bar):
        bars = round(clip.length / clip.bar)
        raise Refused(f"{len(mixes)} shares for {bars} bars: give one for each.")
    firsts = range(0, len(mixes), ROW)
    rows = [
        clip.cut(*(round(min(i, len(mixes)) * clip.bar) for i in (n, n + ROW))) for n in firsts
    ]
    frame = _frame([clip, *rows[:1]])
    width = frame.width
    frame = frame._replace(beats=rows[0].length / clip.ticks_per_beat)
    frame = frame._replace(quarter=width / frame.beats).within(1.3, 0.017, 0.055)
    figure, panels = _page(frame._replace(below=BELOW_ROW), len(rows), heading, notes, side=1)
    for first, row, panel in zip(firsts, rows, panels, strict=True):
        last = min(first + ROW, len(mixes))
        _lines(panel, row, frame)
        for part in reversed(list(row.parts)):
            _colored(panel, part, row, mixes[first:last], frame)
        said = [] if labels is None else [labels[first], labels[last - 1]]
        told = "  to  ".join(dict.fromkeys(said))
        color = to_hex(MIX(float(mixes[first])))
        _caption(panel, f"bars {first + 1} to {last}", color, told, frame)
        _shares(panel, mixes[first:last], first, marks or {}, frame)
        panel.tick_params(labelbottom=False)
    return figure


def _colored(panel: Axes, part: str, row: Clip, mixes: Sequence[float], frame: Frame) -> None:
    """A part of some bars, each bar in the colour of its mix."""
    place = np.minimum(row.part(part).start // row.bar, len(mixes) - 1)
    for bar, mix in enumerate(mixes):
        own = replace(row, parts={part: row.part(part)[place == bar]})
        _draw(panel, part, own, _inked(to_hex(MIX(float(mix))), SHADES.get(part, 0.0)), frame)


def _shares(
    panel: Axes, mixes: Sequence[float], first: int, marks: Mapping[int, str], frame: Frame
) -> None:
    """How much of B is in each bar, below its row."""
    high, gap = STRIP / frame.height, 0.05 / frame.height
    strip = panel.inset_axes((0, -(high + gap), 1, high))
    strip.spines[["top", "right", "left", "bottom"]].set_visible(False)
    strip.set_facecolor(DARK_ROW)
    places = [bar * frame.bar for bar in range(len(mixes))]
    colors = [to_hex(MIX(float(mix))) for mix in mixes]
    strip.bar(places, mixes, width=frame.bar, align="edge", color=colors, alpha=0.45)
    strip.set_xlim(0, frame.beats)
    strip.set_ylim(0, 1)
    strip.set_yticks([])
    strip.set_xticks(places, [str(first + bar + 1) for bar in range(len(mixes))])
    strip.tick_params(length=0, labelsize=7, labelcolor="#666666", pad=2)
    for bar, text in marks.items():
        if first <= bar < first + len(mixes):
            strip.text(
                places[bar - first], 0.5, " " + _plain(text), va="center", size=6.5, color=INK
            )


def kept_notes(clip: Clip, before: Clip, part: str) -> NDArray[np.bool_]:
    """Which notes of a part the clip before has too: of the same pitch or drum, as early.

    A thirty-second note apart counts as the same time.
    """
    notes, others = clip.part(part), before.part(part)
    apart = np.abs(
        notes.start[:, None] / clip.ticks_per_beat - others.start / before.ticks_per_beat
    )
    own, other = (PLACE[x.pitch] if part == DRUMS else x.pitch for x in (notes, others))
    same: NDArray[np.bool_] = (apart <= NEAR) & (own[:, None] == other)
    return np.asarray(same.any(axis=1))


def _step(panel: Axes, clip: Clip, before: Clip | None, color: str, frame: Frame) -> None:
    """One step of a morph, in its colour, what it shares with the one before only outlined."""
    _lines(panel, clip, frame)
    panel.spines["left"].set(visible=True, color=color, linewidth=3, position=("outward", 2))
    for part in reversed(list(clip.parts)):  # the melody, which stands first, is drawn on top
        _draw(panel, part, clip, _inked(color, SHADES.get(part, 0.0)), frame, before)
    if not clip.notes:
        _silent(panel)


# --- what is seen -------------------------------------------------------------------------------


def _frame(clips: Sequence[Clip]) -> Frame:
    """The axes in which all clips fit: an octave at least, and only drums that are struck."""
    beats = max([*(clip.length / clip.ticks_per_beat for clip in clips), 1.0])
    width = min(max(4.5 + math.sqrt(beats), 6), 13) / (1 if _columns(len(clips)) == 1 else 1.4)
    kits = [clip.parts[DRUMS] for clip in clips if DRUMS in clip.parts]
    struck = sorted({int(place) for notes in kits for place in PLACE[notes.pitch]})
    lanes = tuple(struck or range(len(KIT))) if kits else ()
    pitches = {
        int(pitch)
        for clip in clips
        for part, notes in clip.parts.items()
        if part != DRUMS
        for pitch in notes.pitch
    }
    shown = _range(pitches) if pitches else range(0) if kits else OCTAVE
    return Frame(beats, clips[0].metre.beats, shown, lanes, width / beats)


def _range(pitches: set[int]) -> range:
    """The pitches and one on either side; an octave at least, so that it has a C."""
    low, high = min(pitches) - 1, max(pitches) + 1
    low -= max(len(OCTAVE) - (high - low + 1), 0) // 2
    return range(low, max(high, low + len(OCTAVE) - 1) + 1)


def _part_colors(parts: Iterable[str]) -> dict[str, str]:
    """A colour for each part."""
    named = list(parts)
    others = [part for part in named if part not in PART_COLORS]
    spare = {part: OTHER_COLORS[i % len(OTHER_COLORS)] for i, part in enumerate(others)}
    return {part: PART_COLORS.get(part) or spare[part] for part in named}


def _inked(color: str, share: float) -> str:
    """A colour with some ink in it."""
    mixed = (1 - share) * np.array(to_rgb(color)) + share * np.array(to_rgb(INK))
    return to_hex(tuple(mixed.tolist()))


def _said(clip: Clip, mix: float | None = None, *, metre: bool = False) -> str:
    """The slim label of a panel: how much of B, key, tempo."""
    parts = [
        "" if mix is None else f"{math.floor(100 * mix + 0.5)} % B",
        clip.about.get("key", ""),
        str(clip.metre) if metre else "",
        f"{clip.qpm:.0f} bpm",
    ]
    return " · ".join(part for part in parts if part)


# --- one panel ----------------------------------------------------------------------------------


def _lines(panel: Axes, clip: Clip, frame: Frame) -> None:
    """Rows of the black keys and of every second drum, lines of bars and beats."""
    striped = frame.pitches if frame.semitone >= STRIPED else ()
    dark = [float(pitch) for pitch in striped if pitch % 12 in BLACK_KEYS]
    lanes = frame.lane(np.array(frame.lanes, dtype=int))[::2].tolist()
    for middles, height in ((dark, 1.0), (lanes, frame.lane_height)):
        rows = _boxes(np.zeros(len(middles)), frame.beats, np.array(middles), height, 0, 0)
        panel.add_collection(
            PathCollection(rows, facecolors=DARK_ROW, linewidths=0, zorder=0.5, gid="rows")
        )
    octaves = [pitch - 0.5 for pitch in frame.pitches if pitch % 12 == 0]
    panel.hlines(octaves, 0, frame.beats, color=OCTAVE_LINE, linewidth=0.8, zorder=0.8)
    end = min(clip.length / clip.ticks_per_beat, frame.beats)
    for every, color, width in (
        (_beat(clip.metre), BEAT_LINE, 0.5),
        (clip.metre.beats, BAR_LINE, 0.8),
    ):
        places = np.arange(0, end + 1e-6, every)
        segments = [[(x, frame.bottom), (x, frame.top)] for x in places.tolist()]
        panel.add_collection(LineCollection(segments, colors=color, linewidths=width, zorder=1))


def _beat(metre: Metre) -> float:
    """Quarter notes of a beat as it is felt: 6/8 has two, 3/4 three."""
    compound = metre.denominator >= 8 and metre.numerator % 3 == 0
    return 4 / metre.denominator * (3 if compound else 1)


def _draw(
    panel: Axes, part: str, clip: Clip, color: str, frame: Frame, before: Clip | None = None
) -> None:
    """The notes of a part, each once; `before` says which of them are not new."""
    notes = clip.part(part)
    start, end = notes.start / clip.ticks_per_beat, notes.end / clip.ticks_per_beat
    drums = part == DRUMS
    middle = frame.lane(PLACE[notes.pitch]) if drums else notes.pitch.astype(np.float64)
    x_point, y_point = 1 / frame.quarter / 72, 1 / frame.semitone / 72
    length = np.full(len(notes), HIT) if drums else end - start
    length = np.maximum(length - 0.8 * x_point, 1.6 * x_point)  # a repeated note begins anew
    height = 0.72 * frame.lane_height if drums else max(0.9, 2.6 * y_point)
    boxes = _boxes(start, length, middle, height, 1.3 * x_point, 1.3 * y_point)
    kept = np.zeros(len(notes), dtype=bool)
    if before is not None:
        kept = kept_notes(clip, before, part)
    loud = 0.35 + 0.65 * notes.velocity / 127
    ink = np.tile(np.array([*to_rgb(color), 1.0]), (len(notes), 1))
    fill, edge = ink.copy(), ink.copy()
    fill[:, 3] = np.where(kept, 0.3 * loud, loud)
    edge[:, 3] = np.where(kept, 0.8, 1) * loud
    panel.add_collection(
        PathCollection(boxes, facecolors=fill, edgecolors=edge, linewidths=0.7, zorder=2, gid=part)
    )


def _boxes(
    left: Floats, width: Floats | float, middle: Floats, height: float, rx: float, ry: float
) -> list[Outline]:
    """Boxes with round corners, in the units of the axes."""
    width = np.broadcast_to(width, left.shape)
    ry = min(ry, height / 2)
    side = np.array([0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0])  # left or right, bottom or top
    level = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    x_in = np.array([1, -1, 0, 0, 0, 0, -1, 1, 0, 0, 0, 0, 1])  # radii from the corner
    y_in = np.array([0, 0, 0, 1, -1, 0, 0, 0, 0, -1, 1, 0, 0])
    radius = np.minimum(rx, width / 2)[:, None]
    x = left[:, None] + side * width[:, None] + x_in * radius
    y = middle[:, None] - height / 2 + level * height + y_in * ry
    corner = [Outline.CURVE3, Outline.CURVE3, Outline.LINETO]
    codes = np.array([Outline.MOVETO, Outline.LINETO, *corner * 3, *corner[:2]], Outline.code_type)
    return [Outline(vertices, codes) for vertices in np.stack([x, y], axis=2)]


def _caption(panel: Axes, title: str, color: str, label: str, frame: Frame) -> None:
    """The title of a panel on the left, its label on the right."""
    room = int(12 * frame.width) - len(label)
    above: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "bottom",
        "parse_math": False,
    }
    panel.annotate(
        _plain(title, room), (0, 1), (0, 3), color=color, weight="bold", size=8, **above
    )
    panel.annotate(_plain(label), (1, 1), (0, 3), color=GREY, size=7.5, ha="right", **above)


def _silent(panel: Axes) -> None:
    panel.text(
        0.5,
        0.5,
        "no notes",
        transform=panel.transAxes,
        ha="center",
        va="center",
        color=GREY,
        size=8,
        style="italic",
    )


# --- the page -----------------------------------------------------------------------------------


def _page(
    frame: Frame, count: int, heading: str, notes: str, side: int | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, by rows, with text above and below.

    In a square only the first panel of a row has the names of pitches and drums.
    """
    width, height, columns = frame.width, frame.height, side or _columns(count)
    left = 0.95 if frame.lanes else 0.5
    size, lead = (left + width + EDGE, 0.0) if side is None else (width + EDGE, left)
    above = _wrapped(heading, lead + columns * size, 8.5)
    below = _wrapped(notes, lead + columns * size, 13)
    rows = -(-count // columns)
    header = EDGE / 2 + 0.26 * len(above)
    footer = 0.4 + LINE * len(below)
    each = height + TITLE + frame.below
    total = header + rows * each + footer
    figure = Figure(figsize=(lead + columns * size, total))
    FigureCanvasAgg(figure)  # a canvas of its own: no global state of pyplot, safe in threads
    panels: list[Axes] = []
    for place in range(count):
        row, column = divmod(place, columns)
        bottom = total - header - (row + 1) * each + frame.below
        box = (left + column * size, bottom, width, height)
        shared = panels[0] if panels else None
        panels.append(_panel(figure, box, shared, frame))
        panels[-1].tick_params(labelbottom=place + columns >= count)
        panels[-1].tick_params(labelleft=side is None or column == 0)
    _axes(panels[0], frame)
    _text(figure, EDGE / 2, total - EDGE / 2, above, color=INK, size=12, weight="bold")
    _text(figure, EDGE / 2, LINE * len(below) + 0.06, below, color="#666666", size=7.5)
    return figure, panels


def _columns(count: int) -> int:
    return -(-count // COLUMN)


def _panel(
    figure: Figure, box: tuple[float, float, float, float], shared: Axes | None, frame: Frame
) -> Axes:
    """Axes at a place in inches."""
    width, height = figure.get_size_inches()
    inside = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    panel = figure.add_axes(inside, sharex=shared, sharey=shared)
    panel.spines[["top", "right", "left", "bottom"]].set_visible(False)
    panel.tick_params(length=0, labelsize=7, labelcolor="#666666", pad=3)
    panel.set_xlim(0, frame.beats)
    panel.set_ylim(frame.bottom, frame.top)
    return panel


def _axes(panel: Axes, frame: Frame) -> None:
    """The names of the octaves and drums; of all panels, for they share their axes."""
    octaves = [pitch for pitch in frame.pitches if pitch % 12 == 0]
    lanes = frame.lane(np.array(frame.lanes, dtype=int)).tolist()
    names = list(KIT)
    panel.set_yticks(
        [*octaves, *lanes],
        [*(f"C{pitch // 12 - 1}" for pitch in octaves), *(names[i] for i in frame.lanes)],
    )
    bars = math.ceil(frame.beats / frame.bar - 1e-6)
    numbers = range(0, bars, math.ceil(bars / 24))
    panel.set_xticks([i * frame.bar for i in numbers], [str(i + 1) for i in numbers])


def _text(figure: Figure, x: float, y: float, lines: Sequence[str], **style: Any) -> None:
    """Lines of text whose top left corner is at a place in inches."""
    width, height = figure.get_size_inches()
    said = "\n".join(lines)
    figure.text(x / width, y / height, said, va="top", parse_math=False, **style)


def _wrapped(text: str, inches: float, letters: float) -> list[str]:
    """Lines of so many letters an inch."""
    wide = max(int(inches * letters), 20)
    return [line for own in text.splitlines() for line in textwrap.wrap(_plain(own), wide)]


def _plain(text: str, letters: int = 1000) -> str:
    """One line of what the font can write; "?" for the rest, which would be warned of."""
    said = "".join(c if ord(c) in _letters() else "?" for c in " ".join(text.split()))
    return said if len(said) <= letters else said[: max(letters - 1, 8)] + "…"


@cache
def _letters() -> frozenset[int]:
    """What the font of the figures can write."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
