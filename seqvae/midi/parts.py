"""Parts: which track of a song is its melody, its bass, its drums, its voices, and why.

A name decides, then the program, then how the track plays.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import Refused
from .notes import Notes, joined
from .song import Song, Track

PARTS = ("melody", "bass", "drums")
CHOIR = ("soprano", "alto", "tenor", "bass")  # four voices, the highest first
SHOWN = 12  # tracks that a refusal lists
PROGRAM = "program:"  # before a number: tracks of that program

# What people call the tracks. Names of synthesizer patches ("Square Lead", "Voice Oohs") say how
# a track sounds and not what it plays; "Backing Vocals" follow a melody.
MELODY = re.compile(
    r"(?<![a-z])(melod|vocal|vox|voice|voz|sing(er|ing)?(?![a-z])|sung|gesang|chant(?!er)|canto|"
    r"cantus|piano *right|right *hand|rh(?![a-z])|treble|lead(?!ing|er|s\b)|solo|tune(?!d)|"
    r"soprano|theme)|旋律|主唱|メロ|ボーカル|歌"
)
PATCH = re.compile(
    r"(square|saw\w*|bass|call?iope|chiff\w*|charang|fifths?|voice|synth|brass|poly) *lead|"
    r"lead *\d|(synth|space|choir) *vo|voice *ooh|solo *vox"
)
BACKING = re.compile(
    r"(?<![a-z])(back|bgv|harmon|counter|echo|delay|second|2nd|double|chorus|left|lh(?![a-z]))"
)
VOICES = {
    "soprano": re.compile(r"sopran|cantus|discant|descant|treble|^s\W*$"),
    "alto": re.compile(r"(?<![a-z])(contr)?alt(o|us)?(?![a-z])|^a\W*$"),
    "tenor": re.compile(r"(?<![a-z])tenore?(?![a-z])|^t\W*$"),
}
PLAYED = re.compile(r"sax|flute|clarinet|recorder|horn|trombone|viol|drum|guitar|banjo")
BASS = re.compile(r"bass(?!o|.?drum|.?clar|.?trom|.?flu|.?lead|.?sax)|basu|バス|ベース|贝斯")
DRUMS = re.compile(r"drum|perc|(?<![a-z])kit(?![a-z])|schlagzeug|batter|bater|ドラム|鼓")
PITCHED = re.compile(r"(steel|taiko|melodic|synth) *drum")

BASSES, PERCUSSION = range(32, 40), range(112, 128)  # of General MIDI; the last are effects too
PADS = (*range(48, 56), *range(88, 104))  # ensembles, pads and soundscapes: seldom the tune
MIDDLE_C = 60
FEWEST = 2  # notes for a name to count: a track of fewer is a title or a sketch


class NoPart(Refused):
    """A song without the part that was asked for; the message says which tracks there are."""


class Part(NamedTuple):
    """The notes of a part, the places of their tracks in `song.tracks` (from 0), how chosen."""

    notes: Notes
    tracks: list[int]
    how: str


class Score(NamedTuple):
    """How well a track (its place, from 0) would do as a part, 0 to 1, and why."""

    track: int
    score: float
    why: str


def find_part(song: Song, part: str, asked: str | None = None) -> Part:
    """The notes of "melody", "bass" or "drums", or of a choir's voice, from the track that has it.

    `asked` names it instead: a name ("Lead*", case ignored), a number from 1 ("#2"), or programs
    as MIDI counts them, from 0 ("program:0-31"). Of several such tracks the best is taken, and
    all of them for drums. Where a track plays chords, a melody is its top line and a bass its
    lowest. "soprano", "alto" and "tenor" are the tracks that are named so; where none is, nor a
    bass, and just four tracks are pitched, the highest three of them by mean pitch. Raises
    `NoPart` where there is none.
    """
    _check(part)
    if asked is not None:
        return _of(song, part, *_asked(song, part, asked))
    if part == "drums":
        return _of(song, part, *_drums(song))
    if (voice := _voice(song, part)) is not None:
        return _of(song, part, *voice)
    best = [] if part in VOICES else _ranked(song, part, _candidates(song, part))
    if not best or not best[0].score:
        raise NoPart(_missing(song, part))
    return _of(song, part, [best[0].track], best[0].why)


def scores(song: Song, part: str) -> list[Score]:
    """Every track that has notes, the best for the part first: the first is what is chosen."""
    _check(part)
    return _ranked(song, part, _sounding(song))


def _check(part: str) -> None:
    known = dict.fromkeys((*PARTS, *CHOIR))
    if part not in known:
        raise Refused(f"part {part!r}: choose one of {', '.join(known)}.")


def _of(song: Song, part: str, tracks: Sequence[int], why: str) -> Part:
    """The part that some tracks play."""
    notes = song.tracks[tracks[0]].notes
    notes = notes if len(tracks) == 1 else joined(song.tracks[i].notes for i in tracks)
    how = f"{_listed(song, tracks)}: {why}"
    if part == "drums" or not _chordal(notes):
        return Part(notes, list(tracks), how)
    line = outline(notes, song.ticks_per_beat, lowest=part == "bass")
    side = "lowest" if part == "bass" else "top"
    how += f"; its {side} line, {len(line):,} of {len(notes):,} notes"
    return Part(line, list(tracks), how)


def _listed(song: Song, tracks: Sequence[int]) -> str:
    """Tracks for people: `track 1 "MELODY"`, `tracks 2, 3`."""
    if len(tracks) > 1:
        return f"tracks {', '.join(str(i + 1) for i in tracks)}"
    [i] = tracks
    label = _name(song.tracks[i])
    return f"track {i + 1}" + f' "{label}"' * bool(label)


def _name(track: Track) -> str:
    return track.name.strip(" \t\r\n\0")


def _words(track: Track) -> str:
    """A name in small letters, words apart: "GuitarLead" is "guitar lead"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", _name(track)).lower()


def _sounding(song: Song) -> list[int]:
    return [i for i, track in enumerate(song.tracks) if len(track.notes)]


def _missing(song: Song, part: str) -> str:
    tracks = f"its {len(song.tracks)} track{'s' * (len(song.tracks) != 1)}"
    reason = {
        "melody": f"none of {tracks} has notes that are no drums",
        "bass": f"none of {tracks} is named so, has a bass program or is low and of one voice",
        "drums": f"none of {tracks} is on channel 10",
    }.get(part, f"none of {tracks} is named so, and they are not just four, one for each voice")
    return f"no {part}: {reason}{_inventory(song)}"


def _inventory(song: Song) -> str:
    names = [_name(track) or f"#{i + 1}" for i, track in enumerate(song.tracks)]
    more = [f"{len(names) - SHOWN} more"] * (len(names) > SHOWN)
    return f" ({', '.join(names[:SHOWN] + more)})" if names else ""


# --- all together -------------------------------------------------------------------------------


def find_pitched(song: Song, asked: str | None = None) -> Part:
    """All that has pitch as one part, chords whole; or of all tracks those that are `asked` for.

    Raises `NoPart` where there is none.
    """
    chosen, how = _all(song) if asked is None else _all_asked(song, asked)
    pitched = [i for i in chosen if not _is_drums(song.tracks[i])]
    if not pitched:
        raise NoPart(f"no notes with pitch in any of its {len(song.tracks)}{_inventory(song)}")
    return _together(song, pitched, how)


def find_players(song: Song, asked: str | None = None) -> dict[str, Part]:
    """All tracks by who plays them: "program:33" all that bass guitar plays, and "drums".

    Or of all tracks those that are `asked` for. Raises `NoPart` where there is none.
    """
    chosen, how = _all(song) if asked is None else _all_asked(song, asked)
    if not chosen:
        raise NoPart(f"no notes in any of its {len(song.tracks)}{_inventory(song)}")
    found: dict[str, list[int]] = {}
    for i in chosen:
        track = song.tracks[i]
        name = "drums" if _is_drums(track) else f"{PROGRAM}{track.program}"
        found.setdefault(name, []).append(i)
    return {name: _together(song, tracks, how) for name, tracks in found.items()}


def _all(song: Song) -> tuple[list[int], str]:
    return _sounding(song), "all that plays"


def _together(song: Song, tracks: Sequence[int], how: str) -> Part:
    """Some tracks as one part, every note of them."""
    notes = joined(song.tracks[i].notes for i in tracks)
    return Part(notes, list(tracks), f"{_listed(song, tracks)}: {how}")


def program_of(part: str) -> int:
    """The program, from 0, that plays a part of this name where nobody else is named.

    >>> program_of("program:40"), program_of("bass"), program_of("melody")
    (40, 33, 0)
    """
    number = part.removeprefix(PROGRAM)
    if number != part and number.isdecimal() and int(number) < 128:
        return int(number)
    return BASSES[1] if part == "bass" else 0


# --- asked for ----------------------------------------------------------------------------------


def _asked(song: Song, part: str, asked: str) -> tuple[list[int], str]:
    """The tracks that answer a request, and how: one of them, where it is not for drums."""
    chosen, how = _all_asked(song, asked)
    if part == "drums" or len(chosen) == 1:
        return chosen, how
    best = _ranked(song, part, chosen)[0]
    return [best.track], f"{how}, the best of {len(chosen)} ({best.why})"


def _all_asked(song: Song, asked: str) -> tuple[list[int], str]:
    kind, _, value = asked.partition(":")
    if re.fullmatch(r"#\d+", asked):
        return _with_notes(song, asked, [int(asked[1:]) - 1]), "asked for by its number"
    if kind == "program":
        chosen, how = _by_program(song, value), f"asked for by program {value.strip()}"
    else:
        pattern = re.escape(asked.strip().lower()).replace(r"\*", ".*")
        chosen = [
            i
            for i, track in enumerate(song.tracks)
            if pattern and re.fullmatch(pattern, _name(track).lower(), re.DOTALL)
        ]
        how = "asked for by name"
    return _with_notes(song, asked, chosen), how


def _by_program(song: Song, value: str) -> list[int]:
    found = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", value)
    if not found:
        raise Refused(f"track program:{value}: write it as program:33 or program:0-31.")
    low, high = int(found[1]), int(found[2] or found[1])
    return [i for i, t in enumerate(song.tracks) if not t.drums and low <= t.program <= high]


def _with_notes(song: Song, asked: str, chosen: Iterable[int]) -> list[int]:
    found = [i for i in chosen if 0 <= i < len(song.tracks) and len(song.tracks[i].notes)]
    if not found:
        count = len(song.tracks)
        raise NoPart(f"no track {asked!r} with notes among its {count}{_inventory(song)}")
    return found


# --- chosen -------------------------------------------------------------------------------------


def _voice(song: Song, part: str) -> tuple[list[int], str] | None:
    """The track that sings one of a choir's upper voices, by name or as one of four."""
    if part not in VOICES:
        return None
    pitched = [i for i in _sounding(song) if not _is_drums(song.tracks[i])]
    named = {i: voice for i in pitched for voice in VOICES if _sings(song.tracks[i], voice)}
    if part in named.values():
        return [next(i for i, voice in named.items() if voice == part)], "by name"
    basses = [i for i in pitched if _named(song.tracks[i], "bass")]
    if named or basses or len(pitched) != len(CHOIR):
        return None
    ranked = sorted(pitched, key=lambda i: (-float(song.tracks[i].notes.pitch.mean()), i))
    return [ranked[CHOIR.index(part)]], "by its height among four voices"


def _sings(track: Track, voice: str) -> bool:
    """Whether a name is that of a choir's voice, and not of an instrument in its register."""
    name = _words(track)
    return bool(VOICES[voice].search(name)) and not PLAYED.search(name)


def _drums(song: Song) -> tuple[list[int], str]:
    """All tracks on channel 10, or those named drums if there is none."""
    sounding = _sounding(song)
    if chosen := [i for i in sounding if song.tracks[i].drums]:
        return chosen, "on channel 10"
    if chosen := [i for i in sounding if _is_drums(song.tracks[i])]:
        return chosen, "by name, though not on channel 10"
    raise NoPart(_missing(song, "drums"))


def _is_drums(track: Track) -> bool:
    name = _words(track)
    return track.drums or bool(DRUMS.search(name) and not PITCHED.search(name))


def _candidates(song: Song, part: str) -> list[int]:
    """The tracks among which the scores decide: those named so, or all."""
    sounding = _sounding(song)
    return [i for i in sounding if _named(song.tracks[i], part)] or sounding


def _named(track: Track, part: str) -> bool:
    """Whether a track's name says that it plays the part."""
    name, notes = _words(track), track.notes
    if not name or len(notes) < FEWEST or _is_drums(track):
        return False
    if part == "bass":
        return bool(BASS.search(name)) and float(notes.pitch.mean()) < MIDDLE_C
    return bool(MELODY.search(name) and not PATCH.search(name) and not BACKING.search(name))


def _ranked(song: Song, part: str, tracks: Sequence[int]) -> list[Score]:
    """The scores of some tracks, best first; of equal ones the first in the file."""
    if part == "drums":
        return _ranked_drums(song, tracks)
    score = _melody if part == "melody" else _bass
    found = [score(song, i) for i in tracks]
    return sorted(found, key=lambda one: (-one.score, one.track))


def _ranked_drums(song: Song, tracks: Sequence[int]) -> list[Score]:
    found = []
    for i in tracks:
        track = song.tracks[i]
        score = 1.0 if track.drums else 0.5 if _is_drums(track) else 0.0
        why = {1.0: "on channel 10", 0.5: "by name, though not on channel 10", 0.0: "pitched"}
        found.append(Score(i, score, why[score]))
    return sorted(found, key=lambda one: (-one.score, one.track))


class Look(NamedTuple):
    """How a track plays; shares lie between 0 and 1."""

    alone: float  # share of onsets at which one note begins
    present: float  # share of the song's bars in which a note begins
    pitch: float  # mean
    pitches: int  # different ones
    steps: float  # share of moves by one to four semitones
    still: float  # share of moves that repeat a pitch
    rate: float  # onsets a beat, in the bars where it plays
    velocity: float  # mean


def look(song: Song, track: Track) -> Look:
    """How a track plays, of its highest notes where several begin together."""
    notes, bar = track.notes, 4 * song.ticks_per_beat
    last = np.append(notes.start[1:] != notes.start[:-1], True)
    start, top = notes.start[last], notes.pitch[last]
    bars = int(np.count_nonzero(np.diff(start // bar))) + 1
    moves = np.abs(np.diff(top))
    several = max(len(moves), 1)
    return Look(
        alone=len(start) / len(notes),
        present=min(bars * bar / max(song.end, bar), 1.0),
        pitch=float(top.mean()),
        pitches=int(np.count_nonzero(np.bincount(top))),
        steps=int(np.count_nonzero((moves > 0) & (moves <= 4))) / several,
        still=int(np.count_nonzero(moves == 0)) / several,
        rate=len(start) / (4 * bars),
        velocity=float(notes.velocity.mean()),
    )


def _melody(song: Song, place: int) -> Score:
    """How well a track would do as the melody.

    A weighted mean of: one voice, a singable register, much of the song, several pitches, moves
    by steps, a moderate rate, loudness; less for pads, and little for basses and percussion. The
    weights were chosen on POP909 with its names hidden and on Nottingham.
    """
    track = song.tracks[place]
    if track.drums:
        return Score(place, 0.0, "on channel 10")
    seen = look(song, track)
    parts = (
        (3.0, seen.alone**2),
        (3.0, _hill(seen.pitch, 42, 66, 75, 98)),
        (2.0, min(seen.present / 0.6, 1.0)),
        (1.5, _hill(seen.pitches, 1, 7, 14, 50)),
        (1.5, min(seen.steps / 0.5, 1.0)),
        (1.0, _hill(seen.still, -0.2, 0.1, 0.4, 0.9)),
        (1.5, _hill(seen.rate, 0.1, 0.6, 2.5, 4.5)),
        (2.0, seen.velocity / 127),
    )
    score = sum(w * x for w, x in parts) / sum(w for w, _ in parts)
    score *= _programs(track) * (0.7 + 0.3 * min(seen.present / 0.3, 1.0))
    score *= 0.6 + 0.4 * _hill(seen.pitch, 36, 52, 128, 129)  # what is so low is the bass
    why = (
        f"one voice at {seen.alone:.0%} of its onsets, in {seen.present:.0%} of the bars, "
        f"{_pitches(seen)}, {seen.rate:.1f} onsets a beat"
    )
    return _final(track, place, "melody", score, why)


def _pitches(seen: Look) -> str:
    if seen.pitches == 1:
        return f"a single pitch, {seen.pitch:.0f}"
    return f"{seen.pitches} pitches around {seen.pitch:.0f}"


def _programs(track: Track) -> float:
    """How a program and a name speak against a melody."""
    if _is_drums(track) or track.program in PERCUSSION:
        return 0.3
    if track.program in BASSES or BASS.search(_words(track)):
        return 0.5
    return 0.85 if track.program in PADS or BACKING.search(_words(track)) else 1.0


def _bass(song: Song, place: int) -> Score:
    """How well a track would do as the bass: low, of one voice, in much of the song.

    Where neither name nor program says so, it is one of several tracks, below middle C.
    """
    track = song.tracks[place]
    if _is_drums(track):
        return Score(place, 0.0, "drums")
    seen = look(song, track)
    score = (_hill(seen.pitch, 20, 28, 40, 64) * 2 + seen.alone + min(seen.present / 0.6, 1)) / 4
    why = (
        f"around {seen.pitch:.0f}, one voice at {seen.alone:.0%} of its onsets, "
        f"in {seen.present:.0%} of the bars"
    )
    if not _named(track, "bass") and track.program not in BASSES:
        pitched = sum(not t.drums and len(t.notes) > 0 for t in song.tracks)
        if seen.pitch >= MIDDLE_C or seen.alone < 0.7 or pitched < 2:
            return Score(place, 0.0, f"no bass: {why}")
    return _final(track, place, "bass", score, why)


def _final(track: Track, place: int, part: str, score: float, why: str) -> Score:
    """A name lifts a score above all others, a bass program above those without."""
    if _named(track, part):
        return Score(place, 0.9 + 0.1 * score, f"by name; {why}")
    if part == "bass" and track.program in BASSES:
        return Score(place, 0.8 + 0.1 * score, f"program {track.program}; {why}")
    return Score(place, 0.8 * score, why)


def _hill(value: float, foot: float, first: float, last: float, end: float) -> float:
    """0 up to the foot, 1 from first to last, 0 from the end on, straight between.

    >>> [_hill(x, 0, 2, 4, 8) for x in (-1, 1, 3, 6, 9)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    rise = (value - foot) / (first - foot)
    fall = (end - value) / (end - last)
    return max(min(rise, fall, 1.0), 0.0)


# --- lines --------------------------------------------------------------------------------------


def _chordal(notes: Notes) -> bool:
    """Whether a tenth of the notes sound together with others for most of their length."""
    length = notes.end - notes.start
    shorter = np.minimum(length[1:], length[:-1])
    together = (notes.end[:-1] - notes.start[1:]) * 2 > shorter
    return int(np.count_nonzero(together)) * 10 > len(notes)


def outline(notes: Notes, ticks_per_beat: int, *, lowest: bool = False) -> Notes:
    """The top line of notes (or the lowest): the highest of those that begin together.

    Of the others a note is left out if a higher one sounds for half of the shorter's length, or
    if one more than an octave higher sounded within the last beat: the other hand's.
    "Together" is within an eighth of a beat, for hands are not machines.
    """
    near = ticks_per_beat // 8
    pitches = (-notes.pitch if lowest else notes.pitch).tolist()
    starts, ends = notes.start.tolist(), notes.end.tolist()
    kept: list[int] = []
    for i in np.lexsort((-np.array(pitches), notes.start)).tolist():
        while kept and pitches[kept[-1]] <= pitches[i] and starts[i] - starts[kept[-1]] < near:
            kept.pop()
        if not kept or not _hidden(i, kept[-1], pitches, starts, ends, ticks_per_beat):
            kept.append(i)
    return notes[np.array(sorted(kept), dtype=np.intp)]


def _hidden(
    i: int, top: int, pitches: list[int], starts: list[int], ends: list[int], beat: int
) -> bool:
    """Whether note i is below the line whose last note is `top`."""
    above = pitches[top] - pitches[i]
    if above <= 0:
        return False
    if starts[i] - starts[top] < beat // 8 or (above > 12 and starts[i] - ends[top] < beat):
        return True
    shared = min(ends[i], ends[top]) - starts[i]
    return 2 * shared > min(ends[i] - starts[i], ends[top] - starts[top])
