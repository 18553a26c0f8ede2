"""Tours and squares: ways among several songs through the space of codes.

A tour walks from song to song; a square has a song at each of its four corners, and every mix of
them between. Both are phrases in the order in which they are heard, each with its weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from string import ascii_uppercase as LETTERS
from typing import NamedTuple

import torch

from ..errors import Refused
from ..explore import Explorer
from ..latent import grid, path
from ..midi import Source
from ..midi.clips import Clip, Grid
from ..midi.keys import KeyFound, Move
from .beside import beside, first, keys_of, music_codec, paced, song_of, usual_cost
from .even import between
from .feel import Playing, check_time, swings_told
from .likeness import compared, ranges_of
from .pieces import Piece
from .taste import LONGEST, Taste
from .told import End, told
from .walk import Walk, Written

CORNERS = 4


class Place(NamedTuple):
    """Where a phrase lies among the songs, and in the square if it is of one."""

    weights: tuple[float, ...]  # how much of each song is in it; they add up to 1
    leg: tuple[int, int] = (0, 0)  # of a tour: the songs it lies between
    row: int = 0
    column: int = 0

    @property
    def end(self) -> int | None:
        """The song whose own phrase it is; None: it lies between."""
        return self.weights.index(1.0) if 1.0 in self.weights else None

    @property
    def mix(self) -> float:
        """Of a tour: how far along its leg it lies."""
        return self.weights[self.leg[1]]


class Stop(NamedTuple):
    """One phrase: where it lies, its music, and what the model writes there."""

    place: Place
    clip: Clip
    again: Clip  # at a song's own place the clip is the song's phrase
    alike: tuple[float | None, ...]  # onset and pitch F1 with every song's phrase; None: silence


@dataclass(frozen=True)
class Tour:
    """Phrases among several songs, in the order in which they are heard."""

    ends: list[End]
    key: KeyFound | None  # the one that all were brought to; None: each is in its own
    stops: list[Stop]
    taste: Taste
    usual: float | None  # what the model's validation items cost it, nats a window
    side: int | None = None  # of a square; None: a tour
    said: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Stop]:
        """The stops as they lie: of a square row by row, not as they are heard."""
        if self.side is None:
            return self.stops
        return sorted(self.stops, key=lambda stop: (stop.place.row, stop.place.column))


def legs(count: int, steps: int, *, loop: bool = False) -> list[Place]:
    """The places of a tour through so many songs, `steps` on each leg, its ends included.

    >>> [place.weights for place in legs(2, 2, loop=True)]
    [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    """
    stations = [*range(count), *([0] if loop else [])]
    songs = torch.eye(count, dtype=torch.float64)
    places: list[Place] = []
    for a, b in pairwise(stations):
        weights = path(songs[a], songs[b], steps).tolist()
        places += [Place(tuple(each), (a, b)) for each in weights[bool(places) :]]
    return places


def snake(side: int) -> list[Place]:
    """The places of a square of four songs, heard row by row, every second one from the right.

    So neighbours in time are neighbours in the square.

    >>> [(place.row, place.column) for place in snake(2)]
    [(0, 0), (0, 1), (1, 1), (1, 0)]
    """
    weights = grid(torch.eye(CORNERS, dtype=torch.float64), side).tolist()
    return [
        Place(tuple(weights[row][column]), row=row, column=column)
        for row in range(side)
        for column in (range(side) if row % 2 == 0 else reversed(range(side)))
    ]


def tour(
    explorer: Explorer,
    sources: Sequence[Source],
    taste: Taste | None = None,
    *,
    loop: bool = False,
) -> Tour:
    """From song to song, `taste.steps` on each leg; by `loop` back to the first.

    All are read in the first one's bars, brought into its key, and glide from tempo to tempo. What
    the taste says of A and B holds for the first two files; the others choose by themselves.

    Raises `Refused` for fewer than two files or too many phrases, and as `morph` does.
    """
    taste = taste or Taste(steps=5)
    _check_count(sources)
    places = legs(len(sources), taste.steps, loop=loop)
    _check_length(len(places), f"{len(sources)} files, {taste.steps} steps on each leg")
    party = _Party(explorer, sources, taste)
    ids: Written = []
    for a, b in dict.fromkeys(place.leg for place in places):
        ids += between(party.walk, a, b)[bool(ids) :]
    return party.tour(places, ids)


def square(explorer: Explorer, sources: Sequence[Source], taste: Taste | None = None) -> Tour:
    """Four songs at the corners, A B above and C D below, and `taste.steps` a side between them.

    Raises `Refused` for other than four files or too many phrases, for humanising, which mixes
    how two are played, and as `morph` does.
    """
    taste = replace(taste or Taste(steps=5), way="straight")
    if len(sources) != CORNERS:
        raise Refused(
            f"{len(sources)} files: a grid has one at each of its 4 corners, A B above and C D "
            "below. Give four; without --grid any number is a tour from the first to the last."
        )
    side = taste.steps
    _check_length(side * side, f"a grid of {side} times {side}")
    if taste.touch.humanise:
        raise Refused(
            "--humanise mixes how two files are played, and a grid has four. Leave it out, or "
            "humanise what is written: seqvae reconstruct"
        )
    places = snake(side)
    party = _Party(explorer, sources, taste)
    z = explorer.grid(party.walk.codes, side, kind=taste.kind)
    z = torch.stack([z[place.row, place.column] for place in places])
    return party.tour(places, party.walk.ids(z), side)


def _check_count(sources: Sequence[Source]) -> None:
    if not 2 <= len(sources) <= len(LETTERS):
        raise Refused(
            f"{len(sources)} files: a tour goes through 2 to {len(LETTERS)}. Give so many, or "
            "make several tours."
        )


def _check_length(count: int, what: str) -> None:
    if count > LONGEST:
        raise Refused(f"{what} are {count} phrases; {LONGEST} at most. Ask for fewer: --steps 3")


class _Party:
    """Several songs' phrases, brought to one length, key and register, and read by a model."""

    def __init__(self, explorer: Explorer, sources: Sequence[Source], taste: Taste) -> None:
        self.explorer, self.taste = explorer, taste
        self.codec = music_codec(explorer)
        self.ranges = ranges_of(self.codec)
        if taste.key == "glide":
            raise Refused(
                "--key glide goes from one key to one other, and these are several files. Give "
                "--key a or b, into whose key all are moved, or keep."
            )
        self.pieces, self.paces = self._gathered(sources)
        self.moved, self.key = self._keys()
        self.clips = [
            paced(piece.clip, pace, self.pieces[0]).moved(move.semitones)
            for piece, pace, move in zip(self.pieces, self.paces, self.moved, strict=True)
        ]
        read = [self._playing(number, number).read[0] for number in range(len(self.clips))]
        self.walk = Walk(explorer, self.codec, taste, read)

    def _gathered(self, sources: Sequence[Source]) -> tuple[list[Piece], list[float]]:
        """The phrases, as long as the first, and how many times their notes were lengthened."""
        songs = [song_of(source) for source in sources]
        pieces, paces = [first(songs[0], self.codec, self.taste)], [1.0]
        for number, song in enumerate(songs[1:], 1):
            others = replace(self.taste, from_b=None, track_b=None)
            piece, pace = beside(
                song, self.codec, self.taste if number == 1 else others, pieces[0]
            )
            pieces.append(piece)
            paces.append(pace)
        for piece in pieces if self.taste.touch.timed else ():
            check_time(piece.played, piece.name)
        return pieces, paces

    def _keys(self) -> tuple[list[Move], KeyFound | None]:
        """How each is moved, and the key that they share, but for those unsure of their own."""
        home = self.pieces[self.taste.key == "b"]
        into = replace(self.taste, key="a" if self.taste.key == "b" else self.taste.key)
        found = [keys_of(into, home, piece, self.ranges) for piece in self.pieces]
        moved = [
            Move() if piece is home else pair[1]
            for piece, (pair, _) in zip(self.pieces, found, strict=True)
        ]
        keys = [
            key for piece, (_, key) in zip(self.pieces, found, strict=True) if piece is not home
        ]
        return moved, next((key for key in keys if key is not None), None)

    def _playing(self, a: int, b: int) -> Playing:
        """How two of them are played."""
        seed = self.taste.decoding.seed
        return Playing(self.taste.touch, self.clips[a], self.clips[b], self.codec.grid.steps, seed)

    def tour(self, places: Sequence[Place], ids: Written, side: int | None = None) -> Tour:
        """What is written at places -> what is heard there."""
        again = self.walk.phrases(ids, [place.weights for place in places])
        stops = [self._stop(place, clip) for place, clip in zip(places, again, strict=True)]
        ends = self._ends(places, again)
        usual = usual_cost(self.explorer)
        said = told(ends, self.key, self.taste, self.codec, usual) + self._feel_told()
        return Tour(ends, self.key, stops, self.taste, usual, side, said)

    def _stop(self, place: Place, again: Clip) -> Stop:
        """What is heard at a place, played as is wanted."""
        playing = self._playing(*place.leg)
        own = again if place.end is None else self.walk.ends[place.end]
        alike = tuple(self._alike(end, own) for end in self.walk.ends)
        written = playing.written(again, place.mix)
        if place.end is None:
            return Stop(place, written, written, alike)
        return Stop(place, self._playing(place.end, place.end).end(0), written, alike)

    def _ends(self, places: Sequence[Place], again: Sequence[Clip]) -> list[End]:
        """The songs, and how well the phrase of each comes back."""
        back = {place.end: clip for place, clip in zip(places, again, strict=True)}
        count = len(self.pieces)
        costs: Sequence[float | None] = self.walk.costs() or [None] * count
        alike = [self._alike(self.walk.ends[n], back[n]) for n in range(count)]
        rows = (self.pieces, self.moved, self.paces, costs, self.walk.lost(), alike)
        return [End(LETTERS[n], *row) for n, row in enumerate(zip(*rows, strict=True))]

    def _alike(self, one: Clip, other: Clip) -> float | None:
        steps = Grid(self.codec.grid.steps, one.metre, self.taste.bars)
        return compared(one, other, steps, self.ranges)

    def _feel_told(self) -> list[str]:
        """What was done with feel, for people."""
        ends = dict(zip(LETTERS, self.clips, strict=False))
        return swings_told(ends, self.taste.touch) + self._playing(0, 1).done
