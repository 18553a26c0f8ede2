"""What is told of phrases that were brought together: how, and what to be wary of."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..codecs.music import MusicCodec
from ..midi import TICKS
from ..midi.keys import KeyFound, Move
from .likeness import ranges_of
from .pieces import Piece
from .taste import Taste

DOUBT = 0.5  # of a key: one less sure moves nothing into another
STRANGE = 1.5  # times what the model's own kind of music costs it


class End(NamedTuple):
    """A phrase at an end of a way: how it was brought to the others, what a model makes of it."""

    letter: str  # A, B, ...
    piece: Piece
    move: Move  # of its parts; its other tracks are moved in key only
    pace: float  # how many times its notes were lengthened
    cost: float | None  # -ELBO, nats a window; None: it has none
    lost: Mapping[str, int]  # what the codec changed in it
    f1: float | None  # onset and pitch F1 of what comes back of it, on the grid; None: silence

    @property
    def file(self) -> str:
        """The name of its file."""
        return Path(self.piece.name).name


def told(
    ends: Sequence[End],
    key: KeyFound | None,
    taste: Taste,
    codec: MusicCodec,
    usual: float | None,
    laid: Sequence[str] = (),
) -> list[str]:
    """What was decided of phrases, and what to be wary of, for people.

    `key` is the one that all were brought to, `usual` what the model's validation items cost it,
    `laid` what is told of how the phrases were laid side by side.
    """
    return [
        *pieces_told(ends),
        *laid,
        *keys_told(ends, key, taste, codec),
        tempos_told(ends),
        *metres_told(ends, taste, codec),
        *ends_told(ends, usual),
    ]


def pieces_told(ends: Sequence[End]) -> list[str]:
    """How each phrase was chosen."""
    return [f"{end.letter}, {end.file}: {line}" for end in ends for line in end.piece.said]


def ends_told(ends: Sequence[End], usual: float | None) -> list[str]:
    """What to be wary of: what costs much, is folded, is bent, or does not come back."""
    said = []
    for name, cost in ((end.letter, end.cost) for end in ends if end.cost is not None):
        if usual is not None and cost > STRANGE * usual:
            said.append(
                f"{name} is far from what this model knows: its bars cost "
                f"{cost / math.log(2):.0f} bits a window, usual are "
                f"{usual / math.log(2):.0f}. Expect the steps near it to be plainer"
            )
    for end in ends:
        if folded := end.lost.get("folded"):
            said.append(
                f"{end.letter}: {folded} of its notes are outside what the model can write, and "
                "it reads the nearest inside: for a pitch, the same in another octave"
            )
    bent = [end.letter for end in ends if end.piece.bent]
    said += [f"pitch bends are left out, which {' and '.join(bent)} has"] * bool(bent)
    return said + [
        f"{end.letter} comes back in part only: {end.f1:.0%} of its notes (F1)"
        for end in ends
        if end.f1 is not None and end.f1 < 0.9
    ]


def keys_told(
    ends: Sequence[End], key: KeyFound | None, taste: Taste, codec: MusicCodec
) -> list[str]:
    """The keys of phrases, and how they were moved into one, if they were."""
    known = {end.letter: end.piece.key for end in ends if end.piece.key.confidence}
    keys = [f"{x} is in {key.name} ({key.confidence:.0%} sure)" for x, key in known.items()]
    if not keys:
        return []
    told = [f"key: {', '.join(keys)}"]
    doubtful = [end.letter for end in ends if end.piece.key.confidence < DOUBT]
    if doubtful and taste.key != "keep":
        which = "that" if len(ends) == 2 else f"that of {' and '.join(doubtful)}"
        told.append(f"{which} is too weak evidence to move one into the other's")
    for name, move in ((end.letter, end.move) for end in ends):
        if move.key:
            told.append(f"{name} was moved by {move.key:+d} semitones")
        if move.octaves:
            octaves = f"{move.octaves:+d} octave{'s' * (abs(move.octaves) > 1)}"
            parts = " and ".join(ranges_of(codec)) or "notes"
            told.append(f"{octaves} for {name}'s {parts}, to be in the other's register")
    if taste.key == "glide" and (glide := -ends[-1].move.key):
        told.append(f"and all glides by {glide:+d} on the way, a semitone at a time")
    if all(end.move == Move() for end in ends):
        told.append("nothing was moved" if key is None else "they fit")
    return ["; ".join(told)]


def tempos_told(ends: Sequence[End]) -> str:
    """The tempos of phrases, and which are read in half or double time."""
    tempos = {end.letter: end.piece.clip.qpm * end.pace for end in ends}
    told = [
        f"tempo: {(' to ', ', ')[len(ends) > 2].join(f'{x:.0f}' for x in tempos.values())} bpm"
    ]
    for name, qpm, pace in ((e.letter, e.piece.clip.qpm, e.pace) for e in ends if e.pace != 1):
        told.append(
            f"{name}'s {qpm:.0f} bpm is read as {tempos[name]:.0f}, its notes {pace:.3g} times as "
            "long: it sounds as it did"
        )
    return "; ".join(told)


def metres_told(ends: Sequence[End], taste: Taste, codec: MusicCodec) -> list[str]:
    """Where the metres of phrases and the model differ, and where its windows are longer."""
    home, own = ends[0].piece.clip, codec.grid.metre
    how = "bar by bar, stretched" if taste.metre == "stretch" else "beat by beat"
    others = [(end.letter, end.piece.clip.metre) for end in ends[1:]]
    said = [
        f"metre: {home.metre}, A's; {name} is in {metre} and is read {how}"
        for name, metre in others
        if metre != home.metre
    ]
    if own != home.metre:
        said.append(f"metre: the model knows {own} and reads {home.metre} {how}")
    beats = home.length / TICKS
    beats *= own.beats / home.metre.beats if taste.metre == "stretch" else 1.0
    rest = -beats % (codec.grid.bars * own.beats)
    if rest > 1e-6:
        said.append(
            f"the model reads {codec.grid.bars} bars of {own} at a time: its last window is "
            f"filled with {rest:.3g} beats of rest, which are not written"
        )
    return said
