"""How much music of many notes at once comes back: its notes, their lengths and velocities."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..codecs import PolyphonyCodec
from ..data import Rows
from ..metrics import bits
from ..midi.clips import DRUMS, Clip
from .codes import Back, Codes
from .music import Counted

Key = tuple[int, str, int, int]  # window, part, step, pitch


class Note(NamedTuple):
    """How long a note lasts, in steps, and how loud it is."""

    length: float
    velocity: int


def events(codec: PolyphonyCodec, codes: Codes, back: Back) -> dict[str, Any]:
    """Figures of the notes of items that came back greedily from the means of their posteriors.

    Those of `compared`, with the rate of these items in bits, and `note_floor`: the same F1 of
    each item against one of another song, which is what music of one kind has in common.
    """
    place = {row: at for at, row in enumerate(codes.item.tolist())}
    at = [place[row] for row in back.rows.tolist()]
    rate = None if codes.rate is None else bits(float(codes.rate[at].double().mean()))
    truth, told = ([codec.decode(ids) for ids in each] for each in (back.originals, back.written))
    other = compared(truth, [truth[i] for i in far(back.rows)], codec.grid.steps)
    return {
        "accuracy_items": len(at),
        "accuracy_tokens": sum(map(len, back.originals)),
        "accuracy_bits": rate,
        "accuracy_at": "at an undefined rate" if rate is None else f"at {rate:.1f} bits a window",
        **compared(truth, told, codec.grid.steps),
        "note_floor": other["note_f1"],
    }


def far(rows: Rows) -> list[int]:
    """For each of N items, by their rows in a split, the place of the one half of them away.

    A song's windows lie in a row, as they were prepared: so the other is of another song, unless
    one has more than half of all. Each is the other of one.

    >>> far(np.array([4, 0, 2, 6]))
    [1, 0, 3, 2]
    """
    order = np.argsort(rows, kind="stable")
    other = np.empty_like(order)
    other[order] = np.roll(order, -(len(order) // 2))
    return other.tolist()


def compared(truth: Sequence[Clip], told: Sequence[Clip], steps: int) -> dict[str, Any]:
    """F1, precision and recall of the notes of N clips as they were told, counted over all.

    The three of the field's evaluator of polyphony   (that of PianoTree VAE, Wang et al., 2020):

    - note: a note is right where one of equal onset step and pitch is told in its part;
    - duration: and of equal end step, of parts whose notes have a length, which drums' have not;
    - overlap: of the notes that are right, the steps that both last, of all that either lasts: as
      precision of those told, as recall of those true, F1 = 2 both / (true + told).

    `velocity_error` is the mean absolute difference of the velocities of notes that are right,
    beside that of who always plays their median. `players` has the first two of each part.

    >>> from seqvae.midi import notes_of
    >>> chord = Clip({"piano": notes_of([(0, 480, 60, 80), (0, 960, 64, 80)])}, 1920)
    >>> short = Clip({"piano": notes_of([(0, 480, 60, 80), (0, 480, 64, 80)])}, 1920)
    >>> found = compared([chord], [short], 4)
    >>> found["note_f1"], found["duration_f1"], found["overlap_recall"]
    (1.0, 0.5, 0.6666666666666666)
    """
    true, found = _notes(truth, steps), _notes(told, steps)
    parts = sorted({part for _, part, _, _ in (*true, *found)})
    long = [part for part in parts if part != DRUMS]
    return {
        **_f1s(true, found, parts),
        **_overlap(true, found),
        **_velocity([(true[key], found[key]) for key in true.keys() & found.keys()]),
        "duration_parts": ", ".join(long) or "no part",
        "players": [{"player": part, **_f1s(true, found, [part])} for part in parts],
    }


def _notes(clips: Iterable[Clip], steps: int) -> dict[Key, Note]:
    """The notes of clips by where they begin; of those that are one, the last."""
    found: dict[Key, Note] = {}
    for window, clip in enumerate(clips):
        for part, notes in clip.parts.items():
            step = np.floor(notes.start * steps / clip.ticks_per_beat + 0.5).astype(int)
            length = (notes.end - notes.start) * steps / clip.ticks_per_beat
            rows = (step, notes.pitch, length, notes.velocity)
            for at, pitch, long, loud in zip(*(row.tolist() for row in rows), strict=True):
                found[window, part, at, pitch] = Note(long, loud)
    return found


def _f1s(true: dict[Key, Note], found: dict[Key, Note], parts: Sequence[str]) -> dict[str, Any]:
    """Onset and pitch, and with end, of some parts."""
    struck = [{key for key in notes if key[1] in parts} for notes in (true, found)]
    lasting = [
        {(*key, notes[key].length) for key in keys if key[1] != DRUMS}
        for keys, notes in zip(struck, (true, found), strict=True)
    ]
    return _named("note", _counted(*struck)) | _named("duration", _counted(*lasting))


def _counted(true: set[Any], found: set[Any]) -> Counted:
    return Counted(len(true), len(found), len(true & found))


def _named(name: str, counted: Counted) -> dict[str, Any]:
    return {f"{name}_{key}": value for key, value in counted.figures().items()}


def _overlap(true: dict[Key, Note], found: dict[Key, Note]) -> dict[str, Any]:
    keys = [key for key in true.keys() & found.keys() if key[1] != DRUMS]
    lengths = np.array([(true[key].length, found[key].length) for key in keys]).reshape(-1, 2)
    both, (one, other) = lengths.min(axis=1).sum(), lengths.sum(axis=0)
    shares = {"f1": (2 * both, one + other), "precision": (both, other), "recall": (both, one)}
    return {f"overlap_{name}": float(a / b) if b else None for name, (a, b) in shares.items()}


def _velocity(pairs: Sequence[tuple[Note, Note]]) -> dict[str, Any]:
    found: dict[str, Any] = {"feel_strokes": len(pairs)}
    if not pairs:
        return {**found, "velocity_error": None, "plain_velocity_error": None}
    true, told = np.array([(one.velocity, other.velocity) for one, other in pairs]).T
    off, plain = (float(np.abs(true - said).mean()) for said in (told, np.median(true)))
    return {**found, "velocity_error": off, "plain_velocity_error": plain}
