"""Phrases brought beside each other: to one length and tempo, one key and register."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..codecs.music import MusicCodec
from ..errors import Refused
from ..explore import Explorer
from ..midi import TICKS, Song, Source, read
from ..midi.clips import DRUMS, Clip
from ..midi.keys import KeyFound, Move, nearest_octaves, smallest_move
from .likeness import Range
from .pieces import Piece, check_notes, phrase
from .taste import Taste
from .told import DOUBT

FOLD = math.sqrt(2)  # tempos farther apart are read as half or double
SLOWEST = 10.0  # quarter notes a minute that a tempo is folded to
CROWDED = 0.1  # of the onsets: what half time may push onto steps that are taken
BEATS = 1024  # of a phrase, at most: 64 bars of 16


def music_codec(explorer: Explorer) -> MusicCodec:
    """The codec of a run that knows music. Raises `Refused` for one that does not."""
    if not isinstance(explorer.codec, MusicCodec):
        raise Refused(
            f"the run {explorer.recipe['name']!r} reads sentences, not MIDI. Name one that was "
            "trained on music, such as melody."
        )
    return explorer.codec


def usual_cost(explorer: Explorer) -> float | None:
    """-ELBO of the validation items, nats a window, where it was measured."""
    cost: float | None = explorer.facts.get("figures", {}).get("negative_elbo")
    return cost


def song_of(source: Source) -> Song:
    """A song to be morphed. Raises `MidiError` for what cannot be read, `Refused` for silence."""
    song = read(source, channels=True)
    check_notes(song)
    return song


def first(song: Song, codec: MusicCodec, taste: Taste) -> Piece:
    """A's phrase, by whose bars all others are as long. Raises `Refused` for one too long."""
    piece = phrase(song, codec, taste.bars, at=taste.from_a, asked=taste.track_a)
    beats = taste.bars * piece.clip.metre.beats
    if beats > BEATS:
        raise Refused(
            f"{taste.bars} bars of {piece.clip.metre} in {song.name} are {beats:,.0f} beats; "
            f"a phrase has {BEATS:,} at most. Ask for fewer bars."
        )
    return piece.of_length(beats)


def beside(song: Song, codec: MusicCodec, taste: Taste, a: Piece) -> tuple[Piece, float]:
    """B's phrase, as long as A's when its notes are made `pace` times as long, and that."""
    found = phrase(
        song, codec, taste.bars, at=taste.from_b, asked=taste.track_b, metre=a.clip.metre
    )
    plain = 1.0
    if taste.metre == "stretch" and found.clip.metre.beats != a.clip.metre.beats:
        plain = a.clip.metre.beats / found.clip.metre.beats
    pace = folded(plain, found.clip.qpm, a.clip.qpm)
    fitted = _fitted(found, codec, taste, a, pace)
    if pace < plain and crowding(fitted.clip, pace / plain, codec.grid.steps) > CROWDED:
        bpm = found.clip.qpm * plain
        fitted, pace = _fitted(found, codec, taste, a, plain), plain
        told = f"{bpm:.0f} bpm is not read as half of it: its notes are too fast for the grid"
        fitted.said.append(told)
    return fitted, pace


def folded(pace: float, qpm: float, to: float) -> float:
    """The pace times a power of two that brings a tempo nearest to another."""
    while qpm * pace > to * FOLD and qpm * pace > 2 * SLOWEST and pace > 1 / 8:
        pace /= 2
    while qpm * pace < to / FOLD and pace < 8:
        pace *= 2
    return pace


def _fitted(found: Piece, codec: MusicCodec, taste: Taste, a: Piece, pace: float) -> Piece:
    """B's phrase that lasts as long as A's at a pace; as many bars as that takes are chosen."""
    beats = a.clip.length / TICKS / pace
    bars = max(round(beats / found.clip.metre.beats), 1)
    if bars != taste.bars and taste.from_b is None:
        asked, metre = taste.track_b, found.clip.metre
        found = phrase(found.song, codec, bars, asked=asked, metre=metre)
    return found.of_length(beats)


def crowding(clip: Clip, factor: float, steps: int) -> float:
    """The share of onsets that share a step with others once notes are so many times as long."""

    def occupied(times: float) -> int:
        step = clip.ticks_per_beat / steps
        places = (np.floor(n.start * times / step + 0.5) for n in clip.parts.values())
        return sum(len(np.unique(place)) for place in places)

    return 1 - occupied(factor) / max(occupied(1.0), 1)


def paced(clip: Clip, pace: float, a: Piece) -> Clip:
    """B's clip in A's beats: longer notes at as much faster a tempo, so it sounds as it did."""
    paced = clip if pace == 1 else clip.stretched(pace)
    return replace(paced, qpm=clip.qpm * pace, length=a.clip.length, metre=a.clip.metre)


def keys_of(
    taste: Taste, a: Piece, b: Piece, ranges: Mapping[str, Range]
) -> tuple[tuple[Move, Move], KeyFound | None]:
    """How to move A and B, and the key they then share, if they are moved into one."""
    if taste.key == "keep" or not (_pitches(a) and _pitches(b)):
        return (Move(), Move()), None
    home, away = (b, a) if taste.key == "b" else (a, b)
    sure = min(home.key.confidence, away.key.confidence) >= DOUBT
    key = smallest_move(home.key, away.key) if sure else 0
    move = Move(key, _octaves(key, home.clip, away.clip, ranges))
    moved = (move, Move()) if taste.key == "b" else (Move(), move)
    return moved, home.key if sure and taste.key != "glide" else None


def glided(taste: Taste, move: Move, mix: float) -> int:
    """By how many semitones all is moved at a mix, where B was moved into A's key and glides back.

    >>> [glided(Taste(key="glide"), Move(key=-3), mix) for mix in (0, 0.3, 0.6, 1)]
    [0, 1, 2, 3]
    """
    return math.floor(-move.key * mix + 0.5) if taste.key == "glide" else 0


def _pitches(piece: Piece) -> bool:
    """Whether anything in a piece has pitch."""
    heard = any(len(notes) for name, notes in piece.clip.parts.items() if name != DRUMS)
    return heard or any(not track.drums for track in piece.others)


def _octaves(key: int, home: Clip, away: Clip, ranges: Mapping[str, Range]) -> int:
    """The octaves that bring a clip nearest to another's register, and stay in the ranges."""
    medians = _medians(away)
    if not (medians and _medians(home)):
        return 0
    up = _register(home) - _register(away) - key
    rooms = (
        (ranges[part].low - median - key, ranges[part].high - median - key)
        for part, median in medians.items()
        if part in ranges
    )
    return nearest_octaves(up, rooms)


def _medians(clip: Clip) -> dict[str, float]:
    """The median pitch of every part that has pitch and notes."""
    pitched = {name: n.pitch for name, n in clip.parts.items() if name != DRUMS and len(n)}
    return {name: float(np.median(pitch)) for name, pitch in pitched.items()}


def _register(clip: Clip) -> float:
    """The median pitch of all that has one."""
    pitched = [notes.pitch for name, notes in clip.parts.items() if name != DRUMS]
    return float(np.median(np.concatenate(pitched)))
