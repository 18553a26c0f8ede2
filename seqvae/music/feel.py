"""Feel: how music is played around its grid, measured, taken out, mixed and put back.

All of it are pure functions of clips. `Touch` says what somebody wants of it, `Playing` does that
along a way from one clip to another.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..codecs.voices import KIT, PLACE
from ..errors import Refused
from ..midi import Ints, Notes, joined, rounded
from ..midi.clips import DRUMS, Clip

Floats = NDArray[np.float64]

STRAIGHT = 50.0  # per cent of a beat at which its off-beat eighth lies; of triplets 66.7
OFF_BEAT = 0.40, 0.72  # of a beat: what lies between is an off-beat eighth, straight or swung
DOTTED = 0.80  # of a beat: up to here where nothing else is between beats, as in a hard shuffle
SIXTEENTHS = 0.15, 0.60  # of a beat: where sixteenths have notes, and a hard shuffle has none
NEARLY = 0.1  # for each off-beat eighth: so few notes there are nearly none
FEWEST = 4  # off-beat eighths that say how much they swing; fewer do where they lie as one
AS_ONE = 0.03  # of a beat
CHANCE = 4.6  # what N R^2 of N even phases exceeds once in a hundred
NOTES = 64  # fewer than so many say nothing
GRIDS = 4, 6  # steps a beat on which notes may lie, as sixteenths or as triplets


# --- swing ---------------------------------------------------------------------------------------


def swing(clip: Clip) -> float | None:
    """Where the off-beat eighths of a clip lie, in per cent of the beat: their median.

    50 is straight, 66.7 a triplet's last, and more than that nears the dotted eighth, which
    sixteenths have too: what lies beyond 72 % is an off-beat eighth only where (nearly) nothing
    lies where other sixteenths do. None where there are too few that are not at one place, or
    where a beat has three eighths.

    >>> from seqvae.midi import notes_of
    >>> eighths = [(i * 240 + 80 * (i % 2), i * 240 + 200, 60, 80) for i in range(16)]
    >>> round(swing(Clip({"melody": notes_of(eighths)}, 3840)))
    67
    """
    off = _off_beats(clip)
    told = len(off) >= FEWEST or (len(off) > 0 and np.ptp(off) < AS_ONE)
    return 100 * float(np.median(off)) if told else None


def _off_beats(clip: Clip) -> Floats:
    """Where the off-beat eighths lie in their beats, 0 to 1; none where a beat has three."""
    phase = np.zeros(0) if _compound(clip) else _onsets(clip) / clip.ticks_per_beat % 1
    late = phase[(phase > OFF_BEAT[0]) & (phase < DOTTED)]
    others = (phase > SIXTEENTHS[0]) & (phase < SIXTEENTHS[1])
    return late if others.sum() <= NEARLY * len(late) else late[late < OFF_BEAT[1]]


def _compound(clip: Clip) -> bool:
    """Whether a beat has three eighths, as in 6/8."""
    return clip.metre.denominator >= 8 and clip.metre.numerator % 3 == 0


def _onsets(clip: Clip) -> Ints:
    return joined(clip.parts.values()).start


def swung(clip: Clip, to: float, at: float = STRAIGHT) -> Clip:
    """The clip with what lies at `at` per cent of each beat moved to `to` per cent.

    Time between is stretched evenly, so what was in order stays in order; 66.7 makes eighths
    those of a triplet.

    Raises `Refused` for a swing outside 1 to 99, and for a metre whose beats have three eighths.
    """
    for percent in (to, at):
        check_swing(percent)
    if to == at:
        return clip
    _check_beats(clip)
    beat = clip.ticks_per_beat

    def warped(ticks: Ints) -> Ints:
        whole = np.floor(ticks / beat)
        phase = np.interp(ticks / beat - whole, [0, at / 100, 1], [0, to / 100, 1])
        return rounded((whole + phase) * beat)

    parts = {name: _moved(n, warped(n.start), warped(n.end)) for name, n in clip.parts.items()}
    return replace(clip, parts=parts)


def _check_beats(clip: Clip) -> None:
    if _compound(clip):
        raise Refused(
            f"swing in {clip.metre}: its beats have three eighths, so none of them is off the "
            "beat. Leave the swing as it is."
        )


def check_swing(percent: float) -> None:
    """Raise `Refused` for a swing that puts the off-beat on a beat."""
    if not 1 <= percent <= 99:
        raise Refused(
            f"swing = {percent:g}: it is where the off-beat eighth lies, in per cent of the beat, "
            "1 to 99. Give 50 for straight, 66.7 for triplets, 75 for dotted eighths."
        )


# --- onsets and velocities -----------------------------------------------------------------------


def quantised(clip: Clip, amount: float, steps: int = 4) -> Clip:
    """Every onset moved `amount` (0 to 1) of the way to the nearest of so many steps a beat.

    What is nearest to the clip's end is moved to its last step. Ends of notes move along.

    >>> from seqvae.midi import notes_of
    >>> late = Clip({"drums": notes_of([(10, 60, 36, 90), (131, 190, 38, 90)])}, 1920)
    >>> quantised(late, 1.0).part("drums").start.tolist()
    [0, 120]
    """
    _check_share("quantise", amount)
    if amount == 0:
        return clip

    def nearer(name: str, notes: Notes) -> Ints:
        ticks = clip.ticks_per_beat / steps
        target = _nearest(clip, notes, steps) * ticks
        return rounded(notes.start + amount * (target - notes.start))

    parts = {name: _started(clip, name, n, nearer(name, n)) for name, n in clip.parts.items()}
    return replace(clip, parts=parts)


def flat(clip: Clip) -> Clip:
    """Every part as loud throughout as its notes are in the mean."""

    def level(notes: Notes) -> Notes:
        mean = notes.velocity.mean() if len(notes) else 0.0
        return replace(notes, velocity=rounded(np.full(len(notes), mean)))

    return replace(clip, parts={name: level(notes) for name, notes in clip.parts.items()})


def free_time(clip: Clip) -> bool:
    """Whether onsets lie anywhere between the steps, as of who played without a click.

    By Rayleigh's test   (Mardia and Jupp, 2000, section 6.3.1): of N phases that are even, with a
    mean vector of length R, N R^2 is above 4.6 once in a hundred. It has to be below on the grid
    of sixteenths and on that of triplets, for triplets are even on the one and not on the other.
    Fewer than 64 onsets say nothing: a fill has flams and rolls.
    """
    onsets = np.unique(_onsets(clip))  # what is struck at once counts once
    if len(onsets) < NOTES:
        return False
    phases = (2j * np.pi * onsets * steps / clip.ticks_per_beat for steps in GRIDS)
    return max(len(onsets) * abs(np.exp(phase).mean()) ** 2 for phase in phases) < CHANCE


def check_time(clip: Clip, name: str) -> None:
    """Raise `Refused` for a clip in free time."""
    if free_time(clip):
        raise Refused(
            f"{name}: its notes lie anywhere between the steps of a beat, so there is no grid to "
            "swing, humanise or quantise by: it was played without a click, or its beats are not "
            "where the file says. Align it to a click first, or leave these options out."
        )


def _check_share(name: str, amount: float) -> None:
    if not 0 <= amount <= 1:
        raise Refused(f"{name} = {amount:g}: how far, from 0 (not at all) to 1 (all the way).")


def _nearest(clip: Clip, notes: Notes, steps: int) -> Ints:
    """The step of each note, at most the clip's last."""
    ticks = clip.ticks_per_beat / steps
    last = max(math.ceil(clip.length / ticks) - 1, 0)
    return np.clip(rounded(notes.start / ticks), 0, last).astype(np.int32)


def _started(clip: Clip, name: str, notes: Notes, start: Ints) -> Notes:
    """The notes with other starts. Drums are as long as before; of others the ends move along.

    A note that ended where another began still does.
    """
    if name == DRUMS or not len(notes):
        return _moved(notes, start, notes.end + start - notes.start)
    edges = {0: 0, clip.length: clip.length, **_earliest(notes.start, start)}
    before = sorted(edges)
    after = np.maximum.accumulate([edges[tick] for tick in before])
    end = rounded(np.interp(notes.end, before, after))
    return _moved(notes, start, np.where(notes.end > clip.length, notes.end, end))


def _earliest(before: Ints, after: Ints) -> dict[int, int]:
    """Each tick before, and the earliest that it became."""
    pairs = sorted(zip(before.tolist(), after.tolist(), strict=True), reverse=True)
    return dict(pairs)


def _moved(notes: Notes, start: Ints, end: Ints) -> Notes:
    return joined([replace(notes, start=start, end=np.maximum(end, start + 1))])  # in order


# --- in the mean ---------------------------------------------------------------------------------


class Average(NamedTuple):
    """How all notes of a clip are played: means, and standard deviations around them."""

    velocity: float
    velocity_spread: float
    late: float  # milliseconds behind the nearest step
    late_spread: float

    def __str__(self) -> str:
        return (
            f"velocity {self.velocity:.0f} (spread {self.velocity_spread:.0f}), timing "
            f"{round(self.late):+d} ms from the grid (spread {self.late_spread:.0f})"
        )


def average_of(clip: Clip, steps: int = 4) -> Average | None:
    """How a clip is played, with so many steps a beat; None where it has no note.

    >>> from seqvae.midi import notes_of
    >>> hits = notes_of([(5, 60, 36, 90), (485, 540, 38, 110)])
    >>> str(average_of(Clip({"drums": hits}, 1920, qpm=125.0)))
    'velocity 100 (spread 10), timing +5 ms from the grid (spread 0)'
    """
    notes = joined(clip.parts.values())
    if not len(notes):
        return None
    ticks = clip.ticks_per_beat / steps
    late = (notes.start - _nearest(clip, notes, steps) * ticks) * _ms(clip)
    loud = notes.velocity
    return Average(*(float(x) for x in (loud.mean(), loud.std(), late.mean(), late.std())))


# --- templates -----------------------------------------------------------------------------------


class Template(NamedTuple):
    """How a part is played by step of the bar: means over its bars; NaN of what it never strikes.

    C is nine for drums, one for others. A step that a drum never strikes has the mean of those
    that it does.
    """

    late: Floats  # (S, C), milliseconds behind the step
    velocity: Floats  # (S, C)
    late_spread: Floats  # (C,), the standard deviation around these means
    velocity_spread: Floats  # (C,)


def templates(clip: Clip, steps: int = 4) -> dict[str, Template]:
    """How each part of a clip is played, with so many steps a beat.

    >>> from seqvae.midi import notes_of
    >>> kicks = [(bar * 1920 + 12, bar * 1920 + 60, 36, 90 + 20 * bar) for bar in (0, 1)]
    >>> found = templates(Clip({"drums": notes_of(kicks)}, 3840, qpm=125.0))["drums"]
    >>> found.late[0, 0].round(6), found.velocity[0, 0]
    (np.float64(12.0), np.float64(100.0))
    """
    return {name: _template(clip, name, notes, steps) for name, notes in clip.parts.items()}


def _template(clip: Clip, name: str, notes: Notes, steps: int) -> Template:
    bar = max(round(steps * clip.metre.beats), 1)
    step, place = _nearest(clip, notes, steps), _places(name, notes)
    late = (notes.start - step * (clip.ticks_per_beat / steps)) * _ms(clip)
    shape = bar, len(KIT) if name == DRUMS else 1
    cell = step % bar, place
    lateness, velocity = (_means(shape, cell, x) for x in (late, notes.velocity.astype(float)))
    return Template(lateness[0], velocity[0], lateness[1], velocity[1])


def _ms(clip: Clip) -> float:
    """Milliseconds a tick."""
    return 6e4 / clip.qpm / clip.ticks_per_beat


def _places(name: str, notes: Notes) -> Ints:
    """The column of each note: which drum, or the only one."""
    return PLACE[notes.pitch] if name == DRUMS else np.zeros(len(notes), np.int32)


def _means(
    shape: tuple[int, int], cell: tuple[Ints, Ints], values: Floats
) -> tuple[Floats, Floats]:
    """The mean of every cell, or else of its column; and the spread of each column around it."""
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, cell, values)
    np.add.at(count, cell, 1)
    columns = count.sum(axis=0)
    of_column = np.where(columns > 0, total.sum(axis=0) / np.maximum(columns, 1), np.nan)
    means = np.where(count > 0, total / np.maximum(count, 1), of_column)
    square = np.zeros(shape[1])
    np.add.at(square, cell[1], (values - means[cell]) ** 2)
    free = columns - (count > 0).sum(axis=0)  # each mean that was fitted takes one away
    return means, np.sqrt(square / np.maximum(free, 1))


def mixed(a: Mapping[str, Template], b: Mapping[str, Template], mix: float) -> dict[str, Template]:
    """Templates between two: (1 - mix) a + mix b; where one says nothing, the other's."""
    found = {**a, **b}
    for name in a.keys() & b.keys():
        pairs = zip(a[name], b[name], strict=True)
        found[name] = Template(*(_between(one, other, mix) for one, other in pairs))
    return found


def _between(a: Floats, b: Floats, mix: float) -> Floats:
    both = (1 - mix) * a + mix * b
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, both))


def humanised(
    clip: Clip,
    played: Mapping[str, Template],
    amount: float,
    steps: int = 4,
    seed: int = 0,
) -> Clip:
    """Every note moved `amount` (0 to 1) of the way to how templates play its step of the bar.

    Around the mean it is early or late, soft or loud, by a normal draw of the template's spread,
    which is the same for one seed, step and drum whatever is struck there. A note keeps its step.
    """
    _check_share("humanise", amount)
    if amount == 0:
        return clip
    parts = dict(clip.parts)
    for number, name in enumerate(parts):
        if name in played:
            random = np.random.default_rng([seed % 2**63, number])
            parts[name] = _humanised(clip, name, played[name], amount, steps, random)
    return replace(clip, parts=parts)


def _humanised(
    clip: Clip,
    name: str,
    played: Template,
    amount: float,
    steps: int,
    random: np.random.Generator,
) -> Notes:
    notes, ticks = clip.part(name), clip.ticks_per_beat / steps
    bar, width = played.late.shape
    step, place = _nearest(clip, notes, steps), _places(name, notes)
    noise = random.standard_normal((math.ceil(clip.length / ticks) + 1, width, 2))[step, place]
    late = played.late[step % bar, place] + played.late_spread[place] * noise[:, 0]
    loud = played.velocity[step % bar, place] + played.velocity_spread[place] * noise[:, 1]
    start = notes.start + amount * (step * ticks + late / _ms(clip) - notes.start)
    start = np.where(np.isnan(start), notes.start, start)
    earliest = np.maximum(np.ceil((step - 0.5) * ticks), 0)
    start = np.clip(rounded(start), earliest, np.ceil((step + 0.5) * ticks) - 1)
    loud = notes.velocity + amount * (loud - notes.velocity)
    loud = np.where(np.isnan(loud), notes.velocity, loud)
    louder = replace(notes, velocity=np.clip(rounded(loud), 1, 127))
    return _started(clip, name, louder, start.astype(np.int32))


# --- what is wanted, and the way -----------------------------------------------------------------


@dataclass(frozen=True)
class Touch:
    """What to do with feel; by default nothing.

    Arguments:
        swing: where the off-beat eighth lies, in per cent of the beat; "keep": as it is.
        humanise: per cent of the way to the templates of what is morphed.
        quantise: per cent of the way to the grid.
        velocity: "keep", or "flat" for one a part.

    >>> Touch().idle, Touch(swing="66").to
    (True, 66.0)
    """

    swing: str = "keep"
    humanise: float = 0.0
    quantise: float = 0.0
    velocity: str = "keep"

    def __post_init__(self) -> None:
        for name in ("humanise", "quantise"):
            if not 0 <= getattr(self, name) <= 100:
                raise Refused(f"{name} = {getattr(self, name):g}: per cent, 0 to 100.")
        if self.velocity not in ("keep", "flat"):
            raise Refused(f"velocity = {self.velocity!r}: keep, or flat.")
        if self.to is not None:
            check_swing(self.to)

    @property
    def to(self) -> float | None:
        """The swing that is asked for; None: as it is."""
        if self.swing == "keep":
            return None
        try:
            return float(self.swing)
        except ValueError as error:
            raise Refused(
                f"swing = {self.swing!r}: keep, or a number: 50 straight, 66.7 triplets."
            ) from error

    @property
    def idle(self) -> bool:
        """Whether nothing is asked for."""
        return self == AS_IT_IS

    @property
    def timed(self) -> bool:
        """Whether anything is asked for that needs a grid."""
        return self.to is not None or self.humanise > 0 or self.quantise > 0

    @property
    def straightens(self) -> bool:
        """Whether swing is taken out before the model reads, and put back."""
        return self.to is not None or self.humanise > 0


AS_IT_IS = Touch()


class Playing:
    """How two clips are played, taken out of them and put back between them as a touch says.

    Arguments:
        touch: what is wanted.
        a, b: the clips at the ends.
        steps: a beat, of the grid.
        seed: of what humanising draws.

    Raises `Refused` for a swing in a metre whose beats have three eighths.
    """

    def __init__(self, touch: Touch, a: Clip, b: Clip, steps: int = 4, seed: int = 0) -> None:
        if touch.to is not None:
            _check_beats(a)
        self.touch, self.steps, self.seed = touch, steps, seed
        self.ends = a, b
        self.swings = swing(a), swing(b)
        self.read = self._straight(a, self.swings[0]), self._straight(b, self.swings[1])

    def _straight(self, clip: Clip, its: float | None) -> Clip:
        """With its swing taken out; one that cannot be told is left in."""
        if its is None or not self.touch.straightens:
            return clip
        return swung(clip, STRAIGHT, its)

    @cached_property
    def templates(self) -> tuple[dict[str, Template], dict[str, Template]]:
        """How the ends are played beside their swing."""
        a, b = (templates(clip, self.steps) for clip in self.read)
        return a, b

    def written(self, clip: Clip, mix: float) -> Clip:
        """What a model wrote at a mix of the ends, played."""
        clip = quantised(clip, self.touch.quantise / 100, self.steps)
        if self.touch.humanise:
            played = mixed(*self.templates, mix)
            clip = humanised(clip, played, self.touch.humanise / 100, self.steps, self.seed)
        return self._finished(clip, mix)

    def end(self, place: int) -> Clip:
        """An end, 0 or 1. It is as human as it is: what else is asked for is done to it."""
        if replace(self.touch, humanise=0.0).idle:
            return self.ends[place]
        clip = quantised(self.read[place], self.touch.quantise / 100, self.steps)
        return self._finished(clip, float(place))

    @property
    def told(self) -> list[str]:
        """What was done, for people."""
        return swings_told(dict(zip("AB", self.ends, strict=True)), self.touch) + self.done

    @property
    def told_of_one(self) -> list[str]:
        """What was done where both ends are one song, for people."""
        if not self.touch.straightens:
            return self.done
        if self.swings[0] is None:
            said = f"its swing {_untold(self.ends[0])} and is left as it is"
        else:
            to = self.swings[0] if self.touch.to is None else self.touch.to
            said = f"its swing is {self.swings[0]:.0f} %; written with {to:.3g}"
        return [said, *self.done]

    @property
    def done(self) -> list[str]:
        """What was done beside swing, for people."""
        said = [
            f"{done} by {amount:g} %"
            for done, amount in (
                ("quantised", self.touch.quantise),
                ("humanised", self.touch.humanise),
            )
            if amount
        ]
        flat = self.touch.velocity == "flat"
        return [*said, *["every part is as loud throughout as in the mean"] * flat]

    def _finished(self, clip: Clip, mix: float) -> Clip:
        """With its swing put back, and its velocities."""
        if self.touch.straightens:
            first, last = map(self._wanted, self.swings)
            clip = swung(clip, first + mix * (last - first))  # exact, where both are alike
        return flat(clip) if self.touch.velocity == "flat" else clip

    def _wanted(self, its: float | None) -> float:
        """The swing to put back into an end; one that cannot be told was not taken out."""
        if its is None:
            return STRAIGHT
        return its if self.touch.to is None else self.touch.to


def swings_told(ends: Mapping[str, Clip], touch: Touch) -> list[str]:
    """How much each end swings, by its letter, and what was made of it, for people.

    >>> swings_told({"A": Clip({}, 1920)}, Touch(swing="66"))
    ["swing: A's cannot be told (0 off-beat eighths) and is left as it is"]
    """
    if not touch.straightens:
        return []
    found = {letter: swing(clip) for letter, clip in ends.items()}
    own = [
        f"{letter}'s {_untold(ends[letter])} and is left as it is"
        if its is None
        else f"{letter}'s is {its:.0f} %"
        for letter, its in found.items()
    ]
    to = "as it lies between" if touch.to is None else f"{touch.to:g}"
    written = f"; written with {to}" * any(its is not None for its in found.values())
    return [f"swing: {', '.join(own)}{written}"]


def _untold(clip: Clip) -> str:
    """Why nobody can say how much a clip swings."""
    if _compound(clip):
        return f"cannot be told (in {clip.metre} no eighth is off the beat)"
    count = len(_off_beats(clip))
    return f"cannot be told ({count} off-beat eighth{'s' * (count != 1)})"
