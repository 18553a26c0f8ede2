"""Pieces: what of a song a codec sees, chosen as a musician would, and said."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np

from ..codecs.music import MusicCodec
from ..codecs.voices import KNOWN
from ..errors import Refused
from ..midi import TICKS, Ints, Metre, Notes, Song, Track, joined
from ..midi.clips import DRUMS, STEPS, Clip
from ..midi.keys import KeyFound, estimate
from ..midi.parts import PARTS, NoPart, Part, find_part
from ..midi.phrases import Phrase, off_grid, phrase_at, phrases, sections

MOSTLY = 0.2  # of the onsets: from so many off the grid, it is worth saying
AGREED, BESIDE = 0.6, 0.2  # how much notes lie off the grid by the same, and how far, in steps
SIXTEENTH = 0.25  # of a beat: what comes half of it early belongs to the bar that follows
# Controls that say how a track sounds, and stand alone: bank, modulation, volume, pan,
# expression, the pedals, reverb and chorus.
CONTROLS = (0, 32, 1, 7, 10, 11, 64, 66, 67, 91, 93)


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
    def played(self) -> Clip:
        """The codec's parts over the whole song, in its own ticks."""
        notes = {name: part.notes for name, part in self.parts.items()}
        return Clip(notes, int(self.song.bars.start[-1]), self.song.ticks_per_beat)

    @cached_property
    def others(self) -> list[Track]:
        """What no part is taken from, cut to the stretch, in ticks of the clip.

        Of a track that a part is taken from it is the rest: the chords below a melody.
        """
        return [track for place in range(len(self.song.tracks)) if (track := self._other(place))]

    def _other(self, place: int) -> Track | None:
        track = self.song.tracks[place]
        rest = rest_of(self.song, self.parts, place)
        name = DRUMS if track.drums else track.name
        heard = _heard(self.song, {name: rest}, self.start, self.end)
        cut = heard.rescaled(TICKS).part(name)
        return self._cut(track, cut) if len(cut) else None

    def player(self, part: str) -> Track:
        """The track that plays a part, with the part's notes, cut as the others are."""
        return self._cut(self.song.tracks[self.parts[part].tracks[0]], self.clip.part(part))

    def _cut(self, track: Track, notes: Notes) -> Track:
        """Notes of the clip, played by a track, with its controls over the stretch; no bends."""
        controls = _controls(track.controls, self.start, self.end)
        controls[:, 0] = controls[:, 0] * (TICKS / self.song.ticks_per_beat)
        return Track(notes, track.name, track.program, track.drums, track.channel, controls)

    @property
    def bent(self) -> bool:
        """Whether a track that is heard has pitch bends up to the end of the stretch."""
        taken = {place for part in self.parts.values() for place in part.tracks}
        heard = (
            track
            for place, track in enumerate(self.song.tracks)
            if place in taken or self._other(place) is not None
        )
        return any(track.bends[track.bends[:, 0] < self.end, 1].any() for track in heard)

    @property
    def resting(self) -> float:
        """The share of its bars in which no note of its parts sounds."""
        bars = max(round(self.clip.length / self.clip.bar), 1)
        edges = [round(self.clip.length * place / bars) for place in range(bars + 1)]
        step = self.clip.ticks_per_beat * SIXTEENTH
        return sum(not self.clip.heard(*edge, step).notes for edge in pairwise(edges)) / bars

    def of_length(self, beats: float) -> "Piece":
        """So many beats of it, with what follows in its song, or rests behind the song's end."""
        per_beat = self.song.ticks_per_beat
        end = self.start + round(beats * per_beat)
        rest = round((end - int(self.song.bars.start[-1])) / per_beat, 2)
        said = [f"its song ends early: {rest:g} beats of rest were added"] * (rest > 0)
        notes = {name: part.notes for name, part in self.parts.items()}
        cut = _heard(self.song, notes, self.start, end)
        clip = replace(self.clip, parts=cut.rescaled(TICKS).parts, length=round(beats * TICKS))
        return replace(self, end=end, clip=clip, said=[*self.said, *said])


def rest_of(song: Song, parts: Mapping[str, Part], place: int) -> Notes:
    """The notes of a track that belong to no part."""
    notes = song.tracks[place].notes
    taken = [part.notes.table.tolist() for part in parts.values() if place in part.tracks]
    if not taken:
        return notes
    gone = {tuple(row) for table in taken for row in table}
    return notes[np.array([tuple(row) not in gone for row in notes.table.tolist()], dtype=bool)]


def _heard(song: Song, notes: Mapping[str, Notes], start: int, end: int) -> Clip:
    """What sounds between two ticks, but for what comes a little early, or lasts a little long."""
    whole = Clip(notes, int(song.bars.start[-1]), song.ticks_per_beat)
    return whole.heard(start, end, song.ticks_per_beat * SIXTEENTH)


def _controls(controls: Ints, start: int, end: int) -> Ints:
    """Those between two ticks, counted from the first, with what stood there before."""
    controls = controls[np.isin(controls[:, 1], CONTROLS) & (controls[:, 0] < end)]
    before = controls[controls[:, 0] <= start][::-1]
    _, last = np.unique(before[:, 1], return_index=True)
    found = np.concatenate([before[np.sort(last)[::-1]], controls[controls[:, 0] > start]])
    found[:, 0] = np.maximum(found[:, 0] - start, 0)
    return found


def find_parts(song: Song, codec: MusicCodec, asked: str | None = None) -> dict[str, Part]:
    """The codec's parts in a song; `asked` names the track, "bass=Slap*,drums=#3" of several.

    Raises `NoPart` where one is missing, and says which there are.
    """
    check_notes(song)
    wanted = _asked(codec, asked)
    try:
        every = (codec.find(song, name, wanted.get(name)) for name in codec.parts)
        return {name: part for found in every for name, part in found.items()}
    except NoPart as error:
        cure = "" if asked else _instead(song, codec)
        file = song.name or "FILE"
        why = str(error).removesuffix(".")
        raise NoPart(f"{file}: {why}. {cure}See its tracks: seqvae tracks {file}") from error


def check_notes(song: Song) -> None:
    """Refuse a song without any."""
    if not any(len(track.notes) for track in song.tracks):
        raise NoPart(f"{song.called} holds no notes. Give a file with some.")


def parts_in(song: Song) -> list[str]:
    """Which of melody, bass and drums a song has."""
    found = []
    for name in PARTS:
        try:
            find_part(song, name)
        except NoPart:
            continue
        found.append(name)
    return found


def _instead(song: Song, codec: MusicCodec) -> str:
    """What another run could read of a song."""
    there = [name for name in parts_in(song) if name not in codec.parts]
    kit = "drums" in there and bool(KNOWN[find_part(song, "drums").notes.pitch].any())
    runs = [name for name in there if name == "melody" or (name == "drums" and kit)]
    if runs:
        return f"It has {' and '.join(there)}: a run such as {runs[0]} reads it. "
    return "It has drums, none of them of General MIDI. " * ("drums" in there)


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
    metre: Metre | None = None,
) -> Piece:
    """The most repeated, fullest phrase of so many bars, or the one that begins `at` a bar.

    Phrases in the metre asked for come first. Of a song in several metres it is said from which.

    Raises `NoPart` for a song without the codec's parts, `Refused` for a bar it does not have.
    """
    parts = find_parts(song, codec, asked)
    notes = {name: part.notes for name, part in parts.items()}
    found = phrases(song, notes, bars, metre)[0] if at is None else phrase_at(song, at, bars)
    chosen = _piece_of(song, codec, parts, found)
    return replace(chosen, said=[*chosen.said, *_metres_told(song, found)])


def from_bar(song: Song, codec: MusicCodec, at: int, asked: str | None = None) -> Piece:
    """All of a song from a bar on, whatever its metres.

    Raises `Refused` and `NoPart` as `phrase` does.
    """
    parts = find_parts(song, codec, asked)
    return _piece_of(song, codec, parts, phrase_at(song, at, len(song.bars) - at + 1))


def _metres_told(song: Song, found: Phrase) -> list[str]:
    """What to say of a phrase where its song is in several metres."""
    every = list(dict.fromkeys(map(str, song.bars.metre)))
    if len(every) < 2:
        return []
    first = found.start_bar - 1
    own = list(dict.fromkeys(map(str, song.bars.metre[first : first + found.bars])))
    if len(own) == 1:
        return [f"it is in {in_a_row(every)}: the phrase is taken from its {own[0]}"]
    return [
        f"it is in {in_a_row(every)}, and the phrase runs through {in_a_row(own)}: all of it is "
        f"counted in {own[0]}, so later bars are cut elsewhere than in the song. Another first "
        "bar may keep to one metre"
    ]


def in_a_row(words: Sequence[str]) -> str:
    """Words as people list them.

    >>> in_a_row(["4/4", "3/4", "7/8"]), in_a_row(["4/4"])
    ('4/4, 3/4 and 7/8', '4/4')
    """
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def in_order(
    song: Song,
    codec: MusicCodec,
    bars: int,
    *,
    at: int | None = None,
    asked: str | None = None,
) -> list[Piece]:
    """A song as phrases of so many bars, one after the other   (`phrases.sections`).

    Raises `Refused` as that does, and `NoPart` for a song without the codec's parts.
    """
    parts = find_parts(song, codec, asked)
    notes = {name: part.notes for name, part in parts.items()}
    found = sections(song, notes, bars, at=at)
    return [_piece_of(song, codec, parts, each) for each in found]


def _piece_of(song: Song, codec: MusicCodec, parts: Mapping[str, Part], found: Phrase) -> Piece:
    """A phrase, cut where its notes lie."""
    notes = {name: part.notes for name, part in parts.items()}
    last = found.start_bar + found.bars - 1
    which = f"bars {found.start_bar} to {last}" if found.bars > 1 else f"bar {last}"
    late = _lean(song, joined(notes.values()), codec.grid.steps)
    said = [f"{which}: {found.why}"]
    if late:
        beats, side = abs(late) / song.ticks_per_beat, "after" if late > 0 else "before"
        said.append(f"its notes lie {beats:.2f} beats {side} its bar lines: it begins there")
    start, end = found.start + late, found.end + late
    said += _tempo_told(song, start, end)
    return piece(song, codec, parts, start, end, found.start_bar, found.metre, said)


def _tempos(song: Song, start: int, end: int) -> list[tuple[float, int]]:
    """The tempos between two ticks, in order, and how many ticks each holds."""
    changes = {tempo.tick for tempo in song.tempos if start < tempo.tick < end}
    edges = pairwise([start, *sorted(changes), end])
    return [(song.qpm_at(tick), until - tick) for tick, until in edges]


def _tempo(song: Song, start: int, end: int) -> float:
    """The tempo that holds for most of the ticks between two; of two alike, the earlier."""
    held: Counter[float] = Counter()
    for qpm, ticks in _tempos(song, start, end):
        held[qpm] += ticks
    return max(held, key=held.__getitem__)


def _tempo_told(song: Song, start: int, end: int) -> list[str]:
    """What to say of a tempo that changes between two ticks, by so much that it shows."""
    least = song.ticks_per_beat * SIXTEENTH  # less is between a bar line and its notes
    tempos = [f"{qpm:.0f}" for qpm, ticks in _tempos(song, start, end) if ticks > least]
    if len(set(tempos)) < 2:
        return []
    last = tempos[-1] if tempos[-1] != tempos[0] else f"{tempos[-1]} by other tempos"
    chosen = _tempo(song, start, end)
    return [
        f"its tempo changes there, from {tempos[0]} to {last}: all of it is read at {chosen:.0f} "
        "bpm, which holds longest"
    ]


def _lean(song: Song, notes: Notes, steps: int) -> int:
    """By how many ticks notes lie beside the grid of a song's bars, all by about as much.

    0 where that is little, or where they lie anywhere: the mean of their phases says both.
    """
    step = song.ticks_per_beat / steps
    bars = song.bars.start
    since = notes.start - bars[np.searchsorted(bars, notes.start, side="right") - 1]
    mean = np.exp(2j * np.pi * since / step).mean()
    phase = float(np.angle(mean)) / (2 * np.pi)
    return round(phase * step) if abs(mean) > AGREED and abs(phase) > BESIDE else 0


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
    cut = _heard(song, {name: part.notes for name, part in parts.items()}, start, end)
    about = {name: part.how for name, part in parts.items()}
    clip = replace(cut, metre=metre, qpm=_tempo(song, start, end), about=about).rescaled(TICKS)
    said = [
        *(f"{name}: {part.how}" for name, part in parts.items()),
        *_shared(parts),
        *said,
        *_silent(clip),
        *song.repairs,
        *_astray(song, codec, parts, start),
    ]
    return Piece(song, parts, start, end, bar, clip, song_key(song), said)


def _shared(parts: Mapping[str, Part]) -> list[str]:
    """Parts that one track plays."""
    return [
        f"{one} and {other} are both taken from track {shared[0] + 1}"
        for one, other in combinations(parts, 2)
        if (shared := sorted({*parts[one].tracks} & {*parts[other].tracks}))
    ]


def _silent(clip: Clip) -> list[str]:
    resting = [name for name, notes in clip.parts.items() if not len(notes)]
    return [f"there {' and '.join(resting)} rests; another bar may have more"] * bool(resting)


def _astray(song: Song, codec: MusicCodec, parts: Mapping[str, Part], start: int) -> list[str]:
    """What to say of notes that are not where the codec counts."""
    steps, bars = codec.grid.steps, song.bars.start
    late = start - int(bars[np.argmin(np.abs(bars - start))])  # a phrase may lie beside its bar
    notes = {name: part.notes.moved(-late) for name, part in parts.items()}
    away, part = max((off_grid(song, own, steps), name) for name, own in notes.items())
    if away <= MOSTLY:
        return []
    finer = [n for n in STEPS if n > steps and off_grid(song, notes[part], n) <= MOSTLY / 2]
    why = "it was played without a click, or its beats are not where the file says"
    if finer:
        why = f"they fit {finer[0]} steps" + ", as triplets do" * (finer[0] in (6, 12))
    return [
        f"{away:.0%} of its notes ({part}) are off the grid of {steps} steps a beat: {why}. The "
        f"model hears them {codec.hears}"
    ]


def song_key(song: Song) -> KeyFound:
    """The key of all that has pitch in a song."""
    pitched = joined(track.notes for track in song.tracks if not track.drums)
    return estimate(pitched, signatures=song.keys)


def whole(song: Song, codec: MusicCodec, asked: str | None = None) -> Piece:
    """All of a song, from its first bar line on."""
    parts = find_parts(song, codec, asked)
    bars = song.bars
    return piece(song, codec, parts, 0, int(bars.start[-1]), 1, bars.metre[0], [])


def metre_told(song: Song, codec: MusicCodec) -> list[str]:
    """What to say of a song in other metres than the codec's, whose windows leave its bars."""
    own = codec.grid.metre
    others = [str(metre) for metre in dict.fromkeys(song.bars.metre) if metre != own]
    if not others:
        return []
    beats = codec.grid.bars * own.beats
    return [
        f"metre: {in_a_row(others)}; the model knows {own} and reads it beat by beat: a "
        f"window begins every {beats:g} beats, wherever a bar does"
    ]


def held(parts: Mapping[str, Notes], tick: int, step: float) -> list[str]:
    """The parts of which a note sounds over a tick, by more than half a step to either side.

    Drums are struck, and hold nothing.

    >>> from seqvae.midi import notes_of
    >>> long, short = (notes_of([(0, end, 60, 80)]) for end in (960, 480))
    >>> held({"bass": long, "lead": short}, 480, 120)
    ['bass']
    """
    over = tick - step / 2, tick + step / 2
    return [
        name
        for name, notes in parts.items()
        if name != DRUMS and bool(((notes.start < over[0]) & (notes.end >= over[1])).any())
    ]
