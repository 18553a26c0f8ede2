"""Pieces: what of a song a codec sees, chosen as a musician would, and said."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .clips import Clip
from .codecs.music import MusicCodec
from .errors import Refused
from .keys import KeyFound, estimate
from .midi import TICKS, Metre, Song, Track, joined
from .parts import Part, find_part
from .phrases import off_grid, phrase_at, phrases

MOSTLY = 0.2  # of the onsets: from so many off the grid, it is worth saying


@dataclass(frozen=True)
class Piece:
    """A stretch of a song as a codec's parts, and how it was chosen.

    `start` and `end` are ticks of the song, `bar` counts from 1. The clip has 480 ticks a beat.
    """

    song: Song
    parts: Mapping[str, Part]
    start: int
    end: int
    bar: int
    clip: Clip
    key: KeyFound
    said: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.song.name

    @property
    def others(self) -> list[Track]:
        """The tracks that no part is taken from, cut to the stretch, in ticks of the clip."""
        taken = {track for part in self.parts.values() for track in part.tracks}
        return [
            Track(
                track.notes.within(self.start, self.end).rescaled(self.song.ticks_per_beat, TICKS),
                track.name,
                track.program,
                track.drums,
                track.channel,
            )
            for place, track in enumerate(self.song.tracks)
            if place not in taken
        ]

    def player(self, part: str) -> Track:
        """The track that plays a part."""
        return self.song.tracks[self.parts[part].tracks[0]]


def find_parts(song: Song, codec: MusicCodec, asked: str | None = None) -> dict[str, Part]:
    """The codec's parts in a song; `asked` names the track, "bass=Slap*,drums=#3" of several.

    Raises `NoPart` where one is missing.
    """
    wanted = _asked(codec, asked)
    return {name: find_part(song, name, wanted.get(name)) for name in codec.parts}


def _asked(codec: MusicCodec, asked: str | None) -> dict[str, str]:
    if asked is None:
        return {}
    if len(codec.parts) == 1 and not asked.startswith(f"{codec.parts[0]}="):
        return {codec.parts[0]: asked}
    pairs = dict(pair.partition("=")[::2] for pair in asked.split(","))
    if not set(pairs) <= set(codec.parts) or not all(pairs.values()):
        parts = " or ".join(f"{part}=NAME" for part in codec.parts)
        raise Refused(f"track {asked!r}: write {parts}, several with commas.")
    return pairs


def phrase(
    song: Song,
    codec: MusicCodec,
    bars: int,
    *,
    at: int | None = None,
    asked: str | None = None,
) -> Piece:
    """The most repeated, fullest phrase of so many bars, or the one that begins `at` a bar.

    Raises `NoPart` for a song without the codec's parts, `Refused` for a bar it does not have.
    """
    parts = find_parts(song, codec, asked)
    notes = {name: part.notes for name, part in parts.items()}
    if at is None:
        found = phrases(song, notes, bars)[0]
        why = found.why
    else:
        found, why = phrase_at(song, at, bars), "as asked"
    said = [f"bars {found.start_bar} to {found.start_bar + found.bars - 1}: {why}"]
    return piece(song, codec, parts, found.start, found.end, found.start_bar, found.metre, said)


def piece(
    song: Song,
    codec: MusicCodec,
    parts: Mapping[str, Part],
    start: int,
    end: int,
    bar: int,
    metre: Metre,
    said: list[str],
) -> Piece:
    """The stretch of a song from `start` to `end`, in ticks."""
    cut = {name: part.notes.within(start, end) for name, part in parts.items()}
    about = {name: part.how for name, part in parts.items()}
    qpm = song.qpm_at(start)
    clip = Clip(cut, end - start, song.ticks_per_beat, metre, qpm, about).rescaled(TICKS)
    said = [*(f"{name}: {part.how}" for name, part in parts.items()), *said, *song.repairs]
    away = max(off_grid(song, part.notes, codec.grid.steps) for part in parts.values())
    if away > MOSTLY:
        said.append(
            f"{away:.0%} of its notes are off the grid of {codec.grid.steps} steps a beat, as a "
            "performance without a click is; they are moved to it"
        )
    return Piece(song, parts, start, end, bar, clip, song_key(song), said)


def song_key(song: Song) -> KeyFound:
    """The key of all that has pitch in a song."""
    pitched = joined(track.notes for track in song.tracks if not track.drums)
    return estimate(pitched, signatures=song.keys)


def whole(song: Song, codec: MusicCodec, asked: str | None = None) -> Piece:
    """All of a song, from its first bar line on."""
    parts = find_parts(song, codec, asked)
    bars = song.bars
    return piece(song, codec, parts, 0, int(bars.start[-1]), 1, bars.metre[0], [])
