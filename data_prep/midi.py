"""MIDI files -> a prepared corpus of windows: found, read safely, cut, split by song, counted.

Every file is read once, by processes that may die of it, and put on the grid (`windows`); blocks
of files are finished one after the other (`songblocks`), by any number of processes or machines.
When all are, the songs are given to splits and the corpus is written (`gather`).
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seqvae.codecs import MusicCodec, PolyphonyCodec, kinds_of, load_codec
from seqvae.corpus import file_sha256
from seqvae.errors import Refused, check_sizes
from seqvae.midi import Song
from seqvae.midi.clips import OTHER_METRES
from seqvae.midi.parts import CHOIR, PARTS, NoPart

from .gather import NOWHERE, Gathering, discard, n_files
from .plan import Tell, turn
from .songblocks import (
    FEW,
    SongOptions,
    SongPlan,
    block_path,
    check_song_plan,
    finished_song_blocks,
    song_plan,
    write_song_blocks,
    write_song_plan,
)
from .songs import find_files, published, read_splits, shown
from .sources import option
from .windows import Wish
from .workers import Bounds

KINDS: dict[str, Any] = kinds_of(MusicCodec)
RECIPES = {"feel": "groove", "chorales": "chorale", "melody-16": "melody"}  # and their codecs
DEFAULTS: dict[str, Any] = {"bars": 2, "steps": 4, "metre": "4/4"}
MB = 1_000_000


@dataclass(frozen=True)
class Prepared:
    """What a call of `prepare_midi` did; `report` holds all counts once it is finished."""

    folder: Path
    vocab: int
    length: int | None  # of every window; None: each has its own
    done: int
    blocks: int
    report: Mapping[str, Any]

    @property
    def finished(self) -> bool:
        """Whether the manifest is written; if not, other shards still have blocks to do."""
        return bool(self.report)

    @property
    def splits(self) -> Mapping[str, Any]:
        """For each split: files, used, windows, kept, dropped by reason."""
        return self.report.get("splits", {})

    def table(self) -> list[tuple[str, ...]]:
        """A header and one row a split: windows = kept + dropped."""
        header = ("split", "files", "used", "windows", "kept", "dropped", "reasons")
        return [header, *(_table_row(name, row) for name, row in self.splits.items())]

    def __str__(self) -> str:
        if not self.finished:
            return f"{self.folder}: {self.done} of {self.blocks} blocks finished"
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        size = f"{self.length} a window" if self.length else "any number a window"
        end = f"{self.folder}: {self.vocab} ids, {size}, finished"
        return "\n".join([*lines, *self.remarks(), end])

    def remarks(self) -> list[str]:
        """What the table does not say, a sentence each."""
        report, counts = self.report, self.report["counts"]
        kept = sum(row["kept"] for row in report["splits"].values())
        said = [_lost(report["lost"], counts.get("notes", 0))]
        said += [
            f"{part}: " + ", ".join(f"{how} {n}" for how, n in ways.items())
            for part, ways in report["chosen"].items()
        ]
        said += [
            sentence.format(
                n=counts[name],
                files=n_files(counts[name]),
                share=counts[name] / max(kept, 1),
            )
            for name, sentence in REMARKS.items()
            if counts.get(name)
        ]
        if report["worst"]:
            said.append("dropped most of: " + "; ".join(map(_worst, report["worst"])))
        if report["quarantined"]:
            said.append(f"could not be read (quarantine.tsv): {n_files(report['quarantined'])}")
        return said


REMARKS = {
    "padded": "shorter than a window, filled with rests: {files}",
    "converted": "in another metre, put on the grid: {n} windows",
    "repeats": "the same as an earlier window of their song, kept: {n} ({share:.0%})",
    "mended": "mended while read (songs.tsv says how): {files}",
}


def _table_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    dropped = sum(row["dropped"].values())
    numbers = (row[key] for key in ("files", "used", "windows", "kept"))
    return name, *map(str, numbers), str(dropped), _reasons(row)


def _reasons(row: Mapping[str, Any]) -> str:
    """Windows dropped by reason, and of how many files; of what cannot be read, files alone."""
    return ", ".join(
        f"{reason}{f' {count}' if count else ''} ({n_files(row['files dropped from'][reason])})"
        for reason, count in row["dropped"].items()
    )


def _lost(lost: Mapping[str, int], notes: int) -> str:
    """What the grid made of the notes: the codec's loss report."""
    moved, ms = lost.get("off the grid", 0), lost.get("ms off the grid", 0)
    said = [f"off the grid {moved / max(notes, 1):.1%}"]
    if moved:
        said[0] += f" (by {ms / moved:.0f} ms on average)"
    said += [
        f"{name} {count / max(notes, 1):.1%}"
        for name, count in lost.items()
        if "off the grid" not in name and name != "velocity in all"
    ]
    if softer := lost.get("softer or louder", 0):
        said.append(f"by {lost['velocity in all'] / softer:.1f} of 127 on average")
    return f"{notes} notes: {', '.join(said)}"


def _worst(row: Sequence[Any]) -> str:
    file, count, reasons = row
    return f"{file} {count} ({', '.join(reasons)})"


def prepare_midi(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    codec: str | Path | None = None,
    bars: int | None = None,
    steps: int | None = None,
    metre: str | None = None,
    low: int | None = None,
    high: int | None = None,
    max_tokens: int | None = None,
    track: Mapping[str, str] | str | None = None,
    other_metres: str = "skip",
    splits: str | Path | None = None,
    label: str | None = None,
    valid_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    workers: int | None = None,
    timeout: float = 10.0,
    memory: int = 300,
    keep_duplicates: bool = False,
    strict: bool = False,
    block: int = FEW,
    progress: Tell | None = None,
) -> Prepared:
    """Write a prepared corpus of windows of songs, or the part of it that is still missing.

    Windows begin at every bar; those without a note are dropped, those that repeat are kept.

    Arguments:
        sources: folders (with all that is in them), .zip archives (songs.zip/folder for a part
            of one), single files: .mid, .midi, .kar, .rmi; chorales in JSON (`chorales`).
        out: the corpus's folder; an unfinished one is carried on.
        codec: "melody", "drums", "groove", "trio", "chorale", "polyphony", "multitrack", or the
            folder of a codec or corpus to reuse; None: "chorale" of chorales in JSON, else
            "melody".
        bars, steps, metre: of a window; None: 2 bars of 4/4, 4 steps a beat.
        low, high: pitches of what is no drum; None: 21 to 108, of a choir 31 to 86.
        max_tokens: windows of more are left out, counted, where a window may have any number;
            None: none are.
        track: the track that plays a part, by part: a name ("Lead*"), a number ("#2") or programs
            ("program:0-31"); None: the one that scores best. A text is for a codec of one part.
        other_metres: bars in another metre than the window's: "skip", "beats" (as many beats
            from every bar line on) or "stretch" (their bars scaled to the window's).
        splits: a table (.csv, .tsv) that names each file's split; a file it does not name is
            dropped. None: by the hash of the song, the same in any key and tempo; of chorales in
            JSON as their file says.
        label: a column of that table; "style:first" takes the first word of each value.
        valid_fraction, test_fraction: shares of the songs; None: 5 %.
        shard: (i, n): do only every n-th block, from the i-th; whoever is last finishes.
        workers: processes; 0: none but this, without limits; None: as many as there are cores.
        timeout, memory: seconds and megabytes a file may take before it is given up.
        keep_duplicates: keep windows of train that stand in valid or test (in any key), and
            those of valid that stand in test.
        strict: the first file that cannot be used is `Refused`.
        progress: called with stage, files done, files in all.

    Raises `Refused` for input that cannot be used, `OSError` when the disk is full.
    """
    _check_options(shard, other_metres, timeout, valid_fraction, test_fraction)
    check_sizes(block=block, memory=memory, workers=workers or 1, max_tokens=max_tokens or 1)
    asked = {"bars": bars, "steps": steps, "metre": metre, "low": low, "high": high}
    files = find_files(sources)
    told = None if splits is not None else published(files)
    usual = "chorale" if all(file.published for file in files) else "melody"
    settings = {name: value for name, value in asked.items() if value is not None}
    encoder = _codec(codec or usual, settings)
    if splits is None and label is not None:
        raise Refused(
            f"label = {label!r}: labels stand in a table of the files: {option('splits', 'TABLE')}"
        )
    if (told or splits) is not None and (valid_fraction, test_fraction) != (None, None):
        by = splits or f"the file {files[0].path}"
        raise Refused(f"{by} says what is valid and test: leave the fractions out.")
    placed = told if splits is None else read_splits(Path(splits), files, sources, label)
    options = SongOptions(
        codec=encoder.kind,
        settings=encoder.settings(),
        sources=[shown(source) for source in sources],
        track=_tracks(track, encoder),
        other_metres=other_metres,
        splits=None if splits is None else shown(splits),
        splits_sha256=_table_checksum(splits),
        label=label,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        keep_duplicates=keep_duplicates,
        block=block,
        max_tokens=max_tokens,
    )
    plan = song_plan(options, files)
    out, tell = Path(out), progress or _silent
    _begin(out, plan, encoder)
    if not (out / "manifest.json").is_file():
        wish = Wish(encoder, options.track, other_metres, max_tokens)
        bounds = Bounds(timeout, memory * MB)
        count = _cores() if workers is None else workers
        write_song_blocks(out, plan, files, wish, shard or (0, 1), count, bounds, strict, tell)
    return _finish(out, plan, encoder, placed, tell)


def _cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _silent(stage: str, done: int, total: int | None) -> None:
    """For whoever did not ask to be told."""


def _check_options(
    shard: tuple[int, int] | None,
    other_metres: str,
    timeout: float,
    valid_fraction: float | None,
    test_fraction: float | None,
) -> None:
    if other_metres not in OTHER_METRES:
        raise Refused(f"other metres {other_metres!r}: one of {', '.join(OTHER_METRES)}.")
    if not timeout > 0:
        raise Refused(f"timeout = {timeout}: a file needs some time. Set it above 0.")
    shares = [valid_fraction or 0.0, test_fraction or 0.0]
    if min(shares) < 0 or sum(shares) >= 1:
        raise Refused(f"valid and test fractions {shares} leave nothing to train on.")
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise Refused(f"shard {shard[0]}/{shard[1]}: of n shards, i runs from 0 to n - 1.")


def _codec(named: str | Path, settings: Mapping[str, Any]) -> MusicCodec:
    if str(named) in KINDS:
        kind = KINDS[str(named)]
        try:
            return kind(**{**DEFAULTS, **settings})
        except TypeError as error:
            raise Refused(f"codec {named!r} has no range: leave out low and high.") from error
    folder = Path(named)
    if not folder.is_dir():
        close = get_close_matches(str(named), KINDS, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        if str(named) in RECIPES:
            hint = f" {named} is a recipe; its codec is {RECIPES[str(named)]}."
        raise Refused(
            f"codec = {str(named)!r} is neither one of {', '.join(KINDS)} nor the folder of a "
            f"codec or corpus.{hint}"
        )
    if settings:
        said = ", ".join(f"{name} = {value}" for name, value in settings.items())
        raise Refused(f"{said}: a codec from a folder has its own. Leave it out.")
    found = load_codec(folder / "codec" if (folder / "codec").is_dir() else folder)
    if not isinstance(found, MusicCodec):
        raise Refused(f"{folder} holds a codec of kind {found.kind!r}, which encodes no music.")
    return found


def _tracks(track: Mapping[str, str] | str | None, codec: MusicCodec) -> dict[str, str]:
    """Part -> the track asked for. Raises `Refused` for what asks for none."""
    if isinstance(track, str):
        if len(codec.parts) > 1:
            parts = ", ".join(codec.parts)
            raise Refused(f"track {track!r}: of which part? Write part=track, for {parts}.")
        track = {codec.parts[0]: track}
    for part, asked in (track or {}).items():
        if part not in codec.parts:
            raise Refused(
                f"track {part}={asked}: codec {codec.kind!r} has no part {part!r}; it has "
                f"{', '.join(codec.parts)}."
            )
        with suppress(NoPart):  # what can be asked of a song with no track can be asked of any
            codec.find(Song([]), part, asked)
    return dict(sorted((track or {}).items()))


def _table_checksum(splits: str | Path | None) -> str | None:
    """Of a table on the disk; one inside an archive changes with the archive."""
    return None if splits is None or not Path(splits).is_file() else file_sha256(Path(splits))


def _begin(out: Path, plan: SongPlan, codec: MusicCodec) -> None:
    """A new folder, or an unfinished one that fits."""
    if not (out / "plan.json").is_file():
        with turn(out):
            if not (out / "plan.json").is_file():
                _begin_anew(out, plan, codec)
    check_song_plan(out, plan)


def _begin_anew(out: Path, plan: SongPlan, codec: MusicCodec) -> None:
    visible = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if out.exists() and (not out.is_dir() or {n for n in visible if n[0] != "."} - {"codec"}):
        raise Refused(f"{out} is in use, by something else. Choose another folder: --out NEW")
    beside = out / f".codec.{os.getpid()}.part"
    codec.save(beside)
    shutil.rmtree(out / "codec", ignore_errors=True)  # of a run that was killed before its plan
    beside.rename(out / "codec")
    write_song_plan(out, plan)


def _finish(
    out: Path, plan: SongPlan, codec: MusicCodec, placed: Mapping[str, Any] | None, tell: Tell
) -> Prepared:
    """If all blocks are finished, the corpus of them."""
    manifest = out / "manifest.json"
    done = finished_song_blocks(out, plan)
    if not manifest.is_file() and done == plan.blocks:
        try:
            _gather(Gathering(out, plan, codec, placed), tell)
        except Refused:
            if not manifest.is_file():  # else another shard has finished, and cleared up
                raise
    if not manifest.is_file():
        return Prepared(out, codec.vocab, codec.length, done, plan.blocks, {})
    for number in range(plan.blocks):  # all that they hold is in the corpus now
        block_path(out, number).unlink(missing_ok=True)
    report = json.loads(manifest.read_bytes())["report"]
    return Prepared(out, codec.vocab, codec.length, plan.blocks, plan.blocks, report)


def _gather(gathering: Gathering, tell: Tell) -> None:
    blocks = gathering.write(tell)
    _check_kept(gathering)
    libraries = ["symusic", "numpy", *["miditok"] * isinstance(gathering.codec, PolyphonyCodec)]
    gathering.write_lists()
    gathering.write_end(blocks, {name: version(name) for name in libraries})


TRACK = (
    "name its track as seqvae tracks FILE shows it, --track {part}=NAME (when training at once, "
    "on one part: --set data.track=NAME)"
)
CURES = {
    **{f"no {part}": TRACK.format(part=part) for part in (*PARTS, *CHOIR, "piano", "band")},
    "too many tokens": f"take them too, {option('max_tokens', 'N')}",
    "other metre": f"take it too, {option('other_metres', 'beats')}; or give --metre",
    "duplicate of valid/test": "keep them, seqvae prepare midi FILES --keep-duplicates --out DIR",
    "not in the table of splits": "name the files in it as they are named here",
    "unreadable": "export them again from their program",
}


def _check_kept(gathering: Gathering) -> None:
    """Refuse a corpus that nobody can learn from, with the reasons, an example and the cure."""
    rows = gathering.tally.report()["splits"]
    if rows.get("train", {"kept": 0})["kept"]:
        return
    said = "; ".join(f"{name}: {_reasons(row)}" for name, row in rows.items() if row["dropped"])
    drops = [drop for drop in gathering.tally.drops if drop.split in ("train", NOWHERE)]
    counts: Counter[str] = Counter()
    for drop in drops:
        counts[drop.reason] += drop.windows
    worst = max(counts, key=lambda reason: counts[reason], default="")
    details = ((d.file, d.detail.rstrip(".")) for d in drops if d.reason == worst and d.detail)
    one = next((f" {file}: {detail}." for file, detail in details), "")
    discard(gathering.out)
    raise Refused(
        f"nothing is left in train. Windows dropped: {said or 'none'}.{one} What would help: "
        f"{CURES.get(worst, 'give other files')}. Deleted what was begun in {gathering.out}."
    )
