"""The performance: parts become tracks, straight or human; their song, and what is true of it."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from seqvae.midi import TICKS, Key, Marker, Metre, MetreChange, Song, Tempo, Track, notes_of

from .plan import Bar, Dice, Note, Plan, heard_at

Attributes = Mapping[str, str | float]
STEP = TICKS // 4  # ticks of a sixteenth
MOST_MS = 15.0  # how far a human note may lie from its place

PROGRAMS = {
    "melody": (0, 4, 11, 21, 24, 26, 40, 56, 65, 68, 71, 73, 80),
    "chords": (0, 1, 4, 16, 24, 25, 27, 48, 89),
    "bass": (32, 33, 34, 35, 38),
    "drums": (0,),
}
LEANS = {"melody": 0.0, "chords": 1.0, "bass": 3.0, "drums": -1.0}  # milliseconds behind the beat


def track_of(name: str, part: Sequence[Note], plan: Plan, bars: int, seed: int) -> Track:
    """A part played on its instrument."""
    dice = Dice(f"{seed} {name} played")
    program = dice.pick(PROGRAMS[name])
    rows = [_in_ticks(note, name == "drums") for note in part]
    if plan.feel == "human":
        rows = [_humane(row, LEANS[name], plan.tempo, dice) for row in rows]
        rows = _parted(sorted(rows), bars * plan.grid.bar * STEP)
    return Track(notes_of(rows), name, program, name == "drums")


Row = tuple[int, int, int, int]  # start, end, pitch, velocity, in ticks


def _in_ticks(note: Note, drums: bool) -> Row:
    start = note.step * STEP
    return start, start + (STEP // 2 if drums else note.length * STEP), note.pitch, note.velocity


def _humane(row: Row, lean: float, tempo: int, dice: Dice) -> Row:
    """A little early or late, a little softer or louder."""
    start, end, pitch, velocity = row
    off = lean + 12 * (dice.random() + dice.random() - 1)
    ticks = int(max(-MOST_MS, min(MOST_MS, off)) * tempo * TICKS / 60_000)
    louder = velocity + dice.between(-7, 7)
    return max(start + ticks, 0), end + ticks, pitch, max(1, min(louder, 127))


def _parted(rows: Sequence[Row], end: int) -> list[Row]:
    """Rows by time, none of which sounds into the next place or past the end."""
    starts = [row[0] for row in rows]
    found = []
    for start, stop, pitch, velocity in rows:
        later = bisect_right(starts, start + STEP // 2)
        limit = starts[later] if later < len(starts) else end
        found.append((start, min(stop, limit, end), pitch, velocity))
    return found


def song_of(plan: Plan, bars: Sequence[Bar], tracks: Sequence[Track]) -> Song:
    """The tracks under the metre, key and tempo of the plan, their sections marked."""
    bar = plan.grid.bar * STEP
    minor = plan.mode == "minor"
    names = {"A": "verse", "B": "chorus"}
    return Song(
        tracks=tracks,
        tempos=[Tempo(0, float(plan.tempo))],
        metres=[MetreChange(0, Metre(*plan.metre))],
        keys=[Key(0, _sharps(plan.tonic, minor), minor)],
        markers=[
            Marker(number * bar, names[each.section])
            for number, each in enumerate(bars)
            if each.section and each.place == 0
        ],
        length=len(bars) * bar,
    )


def _sharps(tonic: int, minor: bool) -> int:
    """The key signature, as `KEYS` spells it: from six flats to five sharps."""
    return ((tonic + 3 * minor) * 7 + 6) % 12 - 6


def attributes_of(plan: Plan, bars: Sequence[Bar], melody: Sequence[Note]) -> Attributes:
    """What the plan says, and what the melody came to."""
    grid = plan.grid
    count = sum(bool(bar.section) for bar in bars)
    over = [heard_at(note.step, note.step + note.length, grid) > note.step for note in melody]
    return {
        "key": plan.key,
        "mode": plan.mode,
        "metre": str(Metre(*plan.metre)),
        "tempo": float(plan.tempo),
        "progression": plan.progression,
        "chorus": plan.chorus,
        "form": plan.form,
        "density": plan.density,
        "syncopation": plan.syncopation,
        "groove": plan.groove,
        "bass": plan.bass,
        "feel": plan.feel,
        "pickup": "yes" if plan.pickup else "no",
        "notes_per_beat": round(len(melody) / count / grid.bar * 4, 3),
        "syncopations_per_bar": round(sum(over) / count, 3),
    }
