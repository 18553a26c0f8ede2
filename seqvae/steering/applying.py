"""Attributes of items, moved through the space of codes: an item written again with more of it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..attributes import attributes_of
from ..codecs import MusicCodec
from ..errors import Refused
from ..explore import Decoding, Explorer
from ..explore.decoding import GREEDY
from ..midi import Song, Source, read
from ..midi.clips import Clip, join, split, ties
from ..music.album import clip_song
from ..music.beside import music_codec
from ..music.pieces import Piece, phrase
from ..shelf import is_shipped
from ..vectors import FILE, Vector, Vectors, load
from .learning import copied
from .picking import Picker


def vectors_of(explorer: Explorer) -> Vectors:
    """The vectors of a run's folder. Raises `Refused` as `vectors.load` does."""
    if "folder" not in explorer.facts:
        raise Refused("this model was not opened from a run's folder, where vectors are kept.")
    folder = Path(explorer.facts["folder"])
    if is_shipped(folder) and not (folder / FILE).is_file():
        raise Refused(f"{folder.name} comes without attribute vectors. {copied(folder.name)}")
    return load(folder, explorer.vae)


def named_vector(explorer: Explorer, name: str | None) -> Vector:
    """The run's vector of an attribute; without a name the only one there is."""
    known = vectors_of(explorer)
    if name is None and len(known.vectors) > 1:
        raise Refused(f"which attribute? --attribute one of {', '.join(known.vectors)}.")
    return known.named(next(iter(known.vectors)) if name is None else name)


class Moved(NamedTuple):
    """An item written again from its moved code.

    The attribute of the item `before`, of what the model has `written` of it unmoved, from which
    a strength counts, and `now`; all NaN for a label, which no function tells.
    """

    item: Any
    strength: float
    before: float
    written: float
    now: float
    said: list[str]


def apply(
    explorer: Explorer,
    item: Any,
    vector: Vector,
    strengths: Sequence[float],
    decoding: Decoding = GREEDY,
    *,
    picker: Picker | None = None,
) -> list[Moved]:
    """An item at each strength: encoded, moved along the vector, and decoded.

    `before` is the attribute of the item as the codec has it, `written` of what is written at
    strength 0, `now` at its own.

    Arguments:
        picker: takes of many ways to write it the one that does what was asked and little else;
            None: what is written from the moved code.
    """
    _check_strengths(strengths)
    whole = explorer.codec.decode(explorer.codec.encode(item).ids)
    z, decode = explorer.encode([item]), explorer.codec.decode
    [home] = explorer.write(z, decoding)
    start = [value(explorer, vector.name, each) for each in (whole, decode(home))]
    picker = picker or Picker(explorer, [])
    ids = (picker.write(z, vector.name, vector.shift, s, decoding) for s in strengths)
    return [
        _moved(explorer, vector, strength, start, decode(own))
        for strength, (own,) in zip(strengths, ids, strict=True)
    ]


def value(explorer: Explorer, name: str, item: Any) -> float:
    """An attribute of an item; NaN for a label."""
    known = attributes_of(explorer.codec).get(name)
    return np.nan if known is None else known.measure(item)


def _moved(
    explorer: Explorer, vector: Vector, strength: float, start: Sequence[float], item: Any
) -> Moved:
    """An item at a strength, `start` being the attribute before and as written unmoved."""
    before, written = start
    leaves = vector.leaves(before if np.isnan(written) else written, strength)
    now = value(explorer, vector.name, item)
    return Moved(item, strength, before, written, now, [leaves] if leaves else [])


def _check_strengths(strengths: Sequence[float]) -> None:
    if not strengths:
        raise Refused("no strength: name one or more, as in --strength 0.5 1 2.")
    for strength in strengths:
        if not np.isfinite(strength):
            raise Refused(f"strength {strength}: a number such as 1, or -0.5, is needed.")


class Played(NamedTuple):
    """A song's phrase at each strength, as songs of their own."""

    piece: Piece
    songs: list[Song]
    moved: list[Moved]


def apply_song(
    explorer: Explorer,
    source: Source,
    vector: Vector,
    strengths: Sequence[float],
    decoding: Decoding = GREEDY,
    *,
    bars: int = 4,
    bar: int | None = None,
    asked: str | None = None,
    picker: Picker | None = None,
) -> Played:
    """A song's phrase with every window's code moved, at each strength; played as it was.

    Arguments:
        picker: as for `apply`, of each window.
        bars, bar: of the phrase; its first in the song, from 1, None: the most repeated, fullest.
        asked: the track, as for the other verbs.
    """
    _check_strengths(strengths)
    codec = music_codec(explorer)
    found = phrase(read(source, channels=True), codec, bars, at=bar, asked=asked)
    clips = split(found.clip, codec.grid)
    z, feels = explorer.encode(clips), [codec.feel(clip) for clip in clips]
    both = ([codec.encode(clip).ids for clip in clips], explorer.write(z, decoding))
    wholes = (_joined(codec, found.clip, ids, feels) for ids in both)
    start = [value(explorer, vector.name, whole) for whole in wholes]
    played = {part: found.player(part) for part in found.parts}
    picker = picker or Picker(explorer, [])
    songs, moved = [], []
    for strength in strengths:
        ids = picker.write(z, vector.name, vector.shift, strength, decoding)
        clip = _joined(codec, found.clip, ids, feels)
        moved.append(_moved(explorer, vector, strength, start, clip))
        songs.append(clip_song(clip, played, name=found.name))
    return Played(found, songs, moved)


def _joined(
    codec: MusicCodec, clip: Clip, ids: Iterable[Iterable[int]], feels: Sequence[Any]
) -> Clip:
    """Windows of a phrase as one clip, at its tempo and of its length."""
    written = [codec.decode(each, feel) for each, feel in zip(ids, feels, strict=True)]
    again = join(written, ties(clip, codec.grid)).cut(0, clip.length)
    return replace(again, qpm=clip.qpm, metre=clip.metre)
