"""A song as tokens: its parts on the grid once, and where windows are cut from them."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqvae.codecs import MusicCodec, PolyphonyCodec, VoicedCodec
from seqvae.codecs.polyphony import DRUMMER
from seqvae.codecs.voices import FIRST_PITCH, Lane
from seqvae.errors import Refused
from seqvae.midi import LIMITS, Bars, Notes, Song, read
from seqvae.midi.clips import Clip, Grid, starts
from seqvae.midi.parts import NoPart, Part

from .chorales import chorale
from .songs import File

Ids = NDArray[np.int64]
Keys = NDArray[np.uint64]

MOST_STEPS = 1_000_000  # of one song: 17 hours of sixteenths
EMPTY = "empty"
OTHER_METRE = "other metre"
UNREAD = "unreadable"
TOO_LONG = "too long"
TOO_DENSE = "too many tokens"


class Wish(NamedTuple):
    """What is cut from every song."""

    codec: MusicCodec
    track: Mapping[str, str]  # part -> the track asked for
    other: str  # what becomes of bars in another metre
    longest: int | None = None  # tokens of a window, where it may have any number


@dataclass(frozen=True)
class Record:
    """What became of one file: its tokens over all its steps, and its windows.

    Of events `tokens` are those of its windows, one after the other, and `opening` is 1 where one
    begins.

    `about` is plain data, for tables and manifests; `fault` the reason why there is no window,
    and `detail` that reason in full.
    """

    file: str
    sha256: str | None = None
    fault: str | None = None
    detail: str = ""
    windows: int = 0  # that it has, kept or dropped
    dropped: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    song: str = ""  # the same for the same song in another key or tempo
    tokens: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    opening: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    starts: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    bars: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    keys: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))

    def ids(self, codec: MusicCodec, kept: NDArray[np.bool_]) -> list[Ids]:
        """The ids of the windows to keep, in order."""
        if not isinstance(codec, VoicedCodec):
            begins = np.flatnonzero(self.opening)
            own = np.split(self.tokens.astype(np.int64).ravel(), begins[1:])
            return [ids for ids, wanted in zip(own, kept, strict=True) if wanted]
        pairs = zip(self.tokens.astype(np.int64), self.opening.astype(np.int64), strict=True)
        lanes = [Lane(tokens, opening, Counter()) for tokens, opening in pairs]
        return list(codec.windows(lanes, self.starts[kept].astype(np.int64)))


def record(file: File, wish: Wish) -> Record:
    """Read one file and cut it; what cannot be used says so."""
    try:
        data = file.read(LIMITS.bytes)
    except Refused as error:
        return Record(file.name, None, UNREAD, _reason(file, error))
    made = Record(file.name, hashlib.sha256(data).hexdigest())
    try:
        if file.published is None:
            song = read(data, name=file.name)
        else:
            song = chorale(data, file.name, wish.codec.grid.metre)
        bars = song.bars
    except Refused as error:
        return replace(made, fault=UNREAD, detail=_reason(file, error))
    return _cut(made, song, bars, wish)


def _reason(file: File, error: Refused) -> str:
    return str(error).removeprefix(f"{file.name}: ")


def _cut(made: Record, song: Song, bars: Bars, wish: Wish) -> Record:
    grid = wish.codec.grid
    windows = max(len(bars) - grid.bars + 1, 1)
    about = _about(song, bars)
    made = replace(made, windows=windows, about=about)
    parts: dict[str, Notes] = {}
    how: dict[str, str] = {}
    for part in wish.codec.parts:
        try:
            found = wish.codec.find(song, part, wish.track.get(part))
        except NoPart as error:
            fault = f"no {part}"
            return replace(made, fault=fault, detail=str(error), dropped={fault: windows})
        parts |= {name: own.notes for name, own in found.items()}
        how[part] = _how(part, found)
    steps = bar_steps(bars, grid, song.ticks_per_beat, wish.other)
    if steps[-1] > MOST_STEPS:
        detail = f"{steps[-1]:,} steps; at most {MOST_STEPS:,} are cut"
        return replace(made, fault=TOO_LONG, detail=detail, dropped={TOO_LONG: windows})
    places, padded = _places(song, bars, wish)
    if not len(places):
        detail = f"{about['metre']}, not {grid.metre}"
        return replace(made, fault=OTHER_METRE, detail=detail, dropped={OTHER_METRE: windows})
    about |= {
        "parts": how,
        "notes": sum(map(len, parts.values())),
        "converted": _converted(song, bars, wish, places),
    }
    windows = windows if wish.other == "skip" else len(places)
    made = replace(made, about=about, windows=windows)
    cut = _cut_up(wish, _clip(song, bars, parts, steps, grid), int(steps[-1]), steps[places])
    return _windows(made, cut, steps[places], places, padded)


def _how(part: str, found: Mapping[str, Part]) -> str:
    """How a part was chosen, or all that were found by its name."""
    if found.keys() == {part}:
        return found[part].how
    return "; ".join(f"{name}, {own.how}" for name, own in found.items())


def _about(song: Song, bars: Bars) -> dict[str, Any]:
    metres = Counter(bars.metre)
    about: dict[str, Any] = {
        "metre": ", ".join(str(metre) for metre, _ in metres.most_common(3)),
        "qpm": round(song.qpm_at(0), 2),
    }
    if song.repairs:
        about["repairs"] = list(song.repairs)
    return about


def bar_steps(bars: Bars, grid: Grid, ticks_per_beat: int, other: str) -> Ids:
    """The step at which every bar begins, and the last ends (N + 1,).

    A bar that begins between two steps is moved to the nearest, its notes with it. With "stretch"
    all bars have as many steps as the grid's.
    """
    if other == "stretch":
        return np.arange(len(bars) + 1) * grid.bar
    return np.floor(bars.start * grid.steps / ticks_per_beat + 0.5).astype(np.int64)


def _clip(song: Song, bars: Bars, parts: Mapping[str, Notes], steps: Ids, grid: Grid) -> Clip:
    """The parts over the whole song, their bars where `steps` says."""
    tpb = song.ticks_per_beat
    targets = steps * (tpb / grid.steps)
    if not np.array_equal(targets, bars.start):
        parts = {name: _moved(notes, bars.start, targets) for name, notes in parts.items()}
    return Clip(parts, int(targets[-1]), tpb, grid.metre, song.qpm_at(0))


def _moved(notes: Notes, before: NDArray[Any], after: NDArray[Any]) -> Notes:
    """The notes with the ticks `before` at the ticks `after`, and those between them between."""
    start, end = (
        np.floor(np.interp(ticks, before, after) + 0.5).astype(np.int32)
        for ticks in (notes.start, notes.end)
    )
    return replace(notes, start=start, end=np.maximum(end, start + 1))


def _places(song: Song, bars: Bars, wish: Wish) -> tuple[Ids, bool]:
    """The bars at which windows begin, and whether the one of a short song is filled with rests.

    Windows lie within the song; one shorter than a window has one, with rests behind its end.
    """
    grid = wish.codec.grid
    if wish.other == "stretch":
        found = np.arange(len(bars))
        last = len(bars) - grid.bars
    else:
        at = list(starts(bars, grid, song.ticks_per_beat, wish.other))
        found = np.searchsorted(bars.start, at)
        window = grid.bars * grid.metre.beats * song.ticks_per_beat
        last = int(np.searchsorted(bars.start, bars.start[-1] - window + 1, "right")) - 1
    if last < 0:
        return found[:1], len(found) > 0
    return found[found <= last], False


def _converted(song: Song, bars: Bars, wish: Wish, places: Ids) -> int:
    """How many of the windows have bars in another metre than the grid's."""
    if wish.other == "skip":
        return 0
    own = list(starts(bars, wish.codec.grid, song.ticks_per_beat))
    return int((~np.isin(bars.start[places], own)).sum())


class Cut(NamedTuple):
    """A song cut into N windows: which of them are kept, and what became of its notes."""

    kept: NDArray[np.bool_]  # (N,)
    dropped: Mapping[str, int]
    lost: Counter[str]
    song: str
    tokens: Ids
    opening: Ids
    keys: Keys  # of those that are kept


def _cut_up(wish: Wish, clip: Clip, steps: int, at: Ids) -> Cut:
    """A clip of a whole song, in windows that begin at these steps (N,)."""
    if isinstance(wish.codec, PolyphonyCodec):
        return _events(wish.codec, clip, steps, at, wish.longest)
    assert isinstance(wish.codec, VoicedCodec), "music is of voices or of events"
    return _voiced(wish.codec, wish.codec.lanes(clip, steps), at)


def _voiced(codec: VoicedCodec, lanes: list[Lane], at: Ids) -> Cut:
    ids = codec.windows(lanes, at)
    struck = _struck(codec, ids)
    lost = sum((lane.lost for lane in lanes), Counter[str]())
    tokens, opening = (np.stack(each) for each in zip(*(lane[:2] for lane in lanes), strict=True))
    keys = hashed(normal(codec, ids[struck]))
    dropped = {EMPTY: int((~struck).sum())}
    return Cut(struck, dropped, lost, _song_key(codec, lanes), tokens, opening, keys)


def _events(codec: PolyphonyCodec, clip: Clip, steps: int, at: Ids, longest: int | None) -> Cut:
    """Windows of events: what sounds in each is put on the grid as `encode` does it.

    What is lost is counted over the song, where each note is one.
    """
    step = clip.ticks_per_beat / codec.grid.steps
    edges = zip((at * step).tolist(), ((at + codec.grid.length) * step).tolist(), strict=True)
    whole = min(clip.length, 1 << 30)
    clips = (clip.heard(round(a), round(min(b, whole)), step) for a, b in edges)
    rows = [np.array(codec.encode(each).ids) for each in clips]
    lengths = np.array([len(row) for row in rows])
    dense = lengths > longest if longest else np.zeros(len(rows), bool)
    kept = (lengths > 1) & ~dense
    own = [row for row, wanted in zip(rows, kept, strict=True) if wanted]
    opening = np.zeros(sum(map(len, own)), np.int64)
    opening[np.cumsum([0, *map(len, own[:-1])])[: len(own)]] = 1
    players, lost = codec.placed(clip, steps)
    dropped = {EMPTY: int((lengths <= 1).sum()), TOO_DENSE: int(dense.sum())}
    tokens = np.concatenate([np.zeros(0, np.int64), *own])
    keys = hashed(_keyless(codec, own))
    song = _key_of_notes(players)
    return Cut(kept, dropped, lost, song, tokens[None], opening[None], keys)


def _keyless(codec: PolyphonyCodec, rows: Sequence[Ids]) -> Ids:
    """Windows of events in no key, behind the end filled with 0 (N, T): `normal`, of events."""
    first, end = codec.pitches
    found = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for place, row in enumerate(rows):
        pitched = (row >= first) & (row < end)
        lowest = row[pitched].min(initial=end)
        found[place, : len(row)] = np.where(pitched, row - lowest + first, row)
    return found


def _key_of_notes(players: Mapping[int, Notes]) -> str:
    """`_song_key`, of notes in steps: the same in another key, half time or after other rests."""
    starts = [notes.start for notes in players.values() if len(notes)]
    if not starts:
        return ""
    every = np.unique(np.concatenate(starts))
    unit = int(np.gcd.reduce(np.diff(every))) if len(every) > 1 else 1
    pitches = [notes.pitch for program, notes in players.items() if program != DRUMMER]
    lowest = min((int(pitch.min()) for pitch in pitches if len(pitch)), default=0)
    digest = hashlib.blake2b(digest_size=8)
    for program, notes in sorted(players.items()):
        begun = notes.pitch - (0 if program == DRUMMER else lowest)
        digest.update(f"{program}|".encode())
        digest.update(((notes.start - every[0]) // unit).astype("<i8").tobytes() + b"|")
        digest.update(begun.astype("<i8").tobytes() + b"|")
    return digest.hexdigest()


def _windows(made: Record, cut: Cut, at: Ids, places: Ids, padded: bool) -> Record:
    dropped = {**cut.dropped, OTHER_METRE: made.windows - len(at)}
    about = {**made.about, "padded": int(padded and cut.kept.any())}
    return replace(
        made,
        dropped={reason: count for reason, count in dropped.items() if count},
        about=about,
        lost={name: count for name, count in cut.lost.items() if count},
        song=cut.song,
        tokens=cut.tokens.astype(np.int16),
        opening=cut.opening.astype(np.int16),
        starts=at[cut.kept].astype(np.int32),
        bars=(places[cut.kept] + 1).astype(np.int32),
        keys=cut.keys,
    )


def _columns(codec: VoicedCodec, ids: Ids) -> Ids:
    """Ids (N, length) as each voice's own tokens (N, T, C)."""
    return ids.reshape(-1, codec.grid.length, len(codec.voices)) - np.array(codec.firsts)


def _onset(codec: VoicedCodec) -> Ids:
    """The first token of each voice that strikes something (C,)."""
    return np.array([1 if voice.drums else FIRST_PITCH for voice in codec.voices])


def _struck(codec: VoicedCodec, ids: Ids) -> NDArray[np.bool_]:
    """Which windows have a note in any voice."""
    onsets = _columns(codec, ids) >= _onset(codec)
    return np.asarray(onsets.any(axis=(1, 2)))


def normal(codec: VoicedCodec, ids: Ids) -> Ids:
    """Ids (N, length) of music in no key: pitches count from the lowest of the window's own."""
    tokens = _columns(codec, ids)
    pitched = np.array([not voice.drums for voice in codec.voices])
    notes = pitched & (tokens >= FIRST_PITCH)
    lowest = np.where(notes, tokens, np.iinfo(np.int64).max).min(axis=(1, 2), keepdims=True)
    return np.where(notes, tokens - lowest + FIRST_PITCH, tokens).reshape(ids.shape)


def hashed(rows: Ids) -> Keys:
    """64 bits of every row (N, T) of whole numbers."""
    return (rows.astype(np.uint64) * _weights(rows.shape[1])).sum(axis=1, dtype=np.uint64)


@cache
def _weights(length: int) -> Keys:
    """Odd factors, so that rows that differ at one place never have one hash."""
    return np.random.default_rng(0).integers(1, 1 << 63, length, dtype=np.uint64) * 2 + 1


def _song_key(codec: VoicedCodec, lanes: list[Lane]) -> str:
    """The same for a song in another key, in half or double time, or after other rests."""
    digest = hashlib.blake2b(digest_size=8)
    onsets = [
        np.flatnonzero(lane.tokens >= first)
        for lane, first in zip(lanes, _onset(codec), strict=True)
    ]
    every = np.unique(np.concatenate(onsets))
    if not len(every):
        return ""
    unit = int(np.gcd.reduce(np.diff(every))) if len(every) > 1 else 1
    pitches = [
        lane.tokens[at]
        for voice, lane, at in zip(codec.voices, lanes, onsets, strict=True)
        if not voice.drums
    ]
    lowest = min((int(pitch.min()) for pitch in pitches if len(pitch)), default=0)
    for voice, lane, at in zip(codec.voices, lanes, onsets, strict=True):
        begun = lane.tokens[at] - (0 if voice.drums else lowest)
        digest.update(((at - every[0]) // unit).astype("<i8").tobytes() + b"|")
        digest.update(begun.astype("<i8").tobytes() + b"|")
    return digest.hexdigest()
