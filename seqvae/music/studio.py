"""What people do with MIDI files and a model that knows music: windows in, songs out."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..codecs.music import MusicCodec
from ..corpus import Corpus
from ..errors import Refused
from ..explore import Decoding, Explorer
from ..midi import TICKS, Song, Source, joined, read
from ..midi.clips import Clip, join, split, ties
from .album import clip_song
from .beside import music_codec
from .drummer import DRAWN, ROUNDS, groove_codec, perform
from .feel import AS_IT_IS, Average, Playing, Touch, average_of, check_time
from .likeness import agreement, ranges_of
from .pieces import SIXTEENTH, Piece, metre_told, parts_in, phrase, rest_of, whole


class Window(NamedTuple):
    """A window of a song: its file, the bar it begins in (from 1), its music."""

    file: str
    bar: int
    clip: Clip


class Again(NamedTuple):
    """A song with its part as the decoder writes it, and how much of the part came back (F1)."""

    piece: Piece
    song: Song
    f1: float


class Played(NamedTuple):
    """A song whose drums are played anew, how many of its hits are there (F1), and their feel."""

    piece: Piece
    song: Song
    f1: float
    feels: dict[str, Average | None]  # before, after, and like the other song if one was named


def fitting(*sources: Source) -> str:
    """Which of the runs that ship can read some files: drums where all have nothing else."""
    every = [parts_in(read(source)) for source in sources]
    return "drums" if all(parts == ["drums"] for parts in every) else "melody"


def windows(explorer: Explorer, source: Source, asked: str | None = None) -> list[Window]:
    """A song as the model reads it, one window after the other, the silent ones left out.

    Raises `MidiError` or `NoPart` for a file that cannot be read or lacks what the run knows.
    """
    codec = music_codec(explorer)
    found = whole(read(source), codec, asked)
    length = codec.grid.length * TICKS // codec.grid.steps
    bars = found.song.bars.start * (TICKS / found.song.ticks_per_beat)
    clips = enumerate(split(found.clip, codec.grid))
    return [
        Window(found.name, int((bars <= place * length + 1).sum()), clip)
        for place, clip in clips
        if clip.notes
    ]


def encode(
    explorer: Explorer, source: Source, asked: str | None = None, **draw: Any
) -> Iterator[dict[str, Any]]:
    """Rows of plain data, one a window: file, bar, z, sigma."""
    found = windows(explorer, source, asked)
    clips = [window.clip for window in found]
    codes, widths = explorer.encode(clips, **draw), explorer.stddev(clips)
    for window, z, sigma in zip(found, codes.tolist(), widths.tolist(), strict=True):
        yield {"file": window.file, "bar": window.bar, "z": z, "sigma": sigma}


def label(
    explorer: Explorer, source: Source, asked: str | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of plain data, one a window: file, bar, label, probability, probabilities."""
    found = windows(explorer, source, asked)
    told = explorer.label([window.clip for window in found])
    for window, its in zip(found, told, strict=True):
        yield {"file": window.file, "bar": window.bar, **its.row()}


def reconstruct(
    explorer: Explorer,
    source: Source,
    decoding: Decoding,
    asked: str | None = None,
    label: str | None = None,
    touch: Touch = AS_IT_IS,
) -> Again:
    """A song whose part is what the decoder makes of its codes; everything else as it was.

    With a label head, of its codes and the `label`. It is played as it was, but for the `touch`.
    """
    codec = music_codec(explorer)
    found = whole(read(source, channels=True), codec, asked)
    if touch.timed:
        check_time(found.clip, found.name)
    playing = Playing(touch, found.clip, found.clip, codec.grid.steps, decoding.seed)
    read_so, _ = playing.read
    clips = split(read_so, codec.grid)
    z = explorer.encode(clips)
    z = z if label is None else explorer.labelled(z, label)
    ids = explorer.write(z, decoding)
    feels = [codec.feel(clip) for clip in clips]
    written = [codec.decode(each, feel) for each, feel in zip(ids, feels, strict=True)]
    again = join(written, ties(read_so, codec.grid)).cut(0, found.clip.length)
    again = replace(again, metre=found.clip.metre, qpm=found.clip.qpm)
    grid = codec.grid._replace(bars=1)
    f1 = agreement(read_so, again, grid, ranges_of(codec))
    again = playing.written(again, 0.0)
    said = [*found.said, *metre_told(found.song, codec), *playing.told_of_one]
    found = replace(found, said=said)
    return Again(found, _put_back(found, again.rescaled(found.song.ticks_per_beat)), f1)


def humanise(
    explorer: Explorer,
    source: Source,
    like: Source | None = None,
    decoding: Decoding = DRAWN,
    *,
    asked: str | None = None,
    rounds: int = ROUNDS,
) -> Played:
    """A song whose drums strike as they did, played anew by a model that knows grooves.

    With the feel of the drums of another song, `like`, window by window from its first that
    strikes, or with one the model draws (`drummer.perform`). Everything else is as it was, but
    that a file which breaks off in its last bar ends with that bar.

    Raises `Refused` for a run without the codec `groove`, and for drums in free time.
    """
    codec = groove_codec(explorer)
    found = whole(read(source, channels=True), codec, asked)
    check_time(found.clip, found.name)
    other = None if like is None else _other(codec, like)
    donor = None if other is None else [c for c in split(other, codec.grid) if c.notes]
    played = perform(explorer, split(found.clip, codec.grid), donor, decoding, rounds=rounds)
    again = replace(join(played).cut(0, found.clip.length), qpm=found.clip.qpm)
    f1 = agreement(found.clip, again, codec.grid._replace(bars=1))
    heard = {"before": found.clip, "after": again, **({} if other is None else {"like": other})}
    feels = {when: average_of(clip, codec.grid.steps) for when, clip in heard.items()}
    song = _put_back(found, again.rescaled(found.song.ticks_per_beat))
    return Played(found, _to_the_bar(song, found.song), f1, feels)


def _other(codec: MusicCodec, like: Source) -> Clip:
    """The performance of another song."""
    found = whole(read(like), codec)
    check_time(found.clip, found.name)
    return found.clip


def _to_the_bar(song: Song, before: Song) -> Song:
    """The song up to the end of the last bar that it had before, so that a loop closes.

    What only rings on a little beyond a bar line begins no bar.
    """
    begins, ends = before.bars.start[-2:].tolist()
    more = before.end - begins > before.ticks_per_beat * SIXTEENTH
    return replace(song, length=ends) if more else song


def _put_back(found: Piece, again: Clip) -> Song:
    """The song with the notes of its parts replaced; a part of several tracks is on its first."""
    song = found.song
    notes = [rest_of(song, found.parts, place) for place in range(len(song.tracks))]
    for name, part in found.parts.items():
        notes[part.tracks[0]] = joined([notes[part.tracks[0]], again.part(name)])
    tracks = [replace(track, notes=own) for track, own in zip(song.tracks, notes, strict=True)]
    return replace(song, tracks=tracks)


def songs(clips: Iterable[Clip]) -> Iterator[Song]:
    """Clips as songs, played by the first program, on channel 10 where they are drums."""
    return (clip_song(clip, {}) for clip in clips)


def corpus_windows(corpus: Corpus, split_name: str) -> Iterator[Clip]:
    """The windows of a prepared corpus, each with its file and bar in `about`."""
    items = corpus.split(split_name)
    about = _provenance(corpus.folder / "songs.tsv", split_name)
    for row in range(len(items)):
        clip = corpus.codec.decode(items[row].tolist())
        yield replace(clip, about=about.get(row, {}))


def _provenance(path: Path, split_name: str) -> dict[int, dict[str, str]]:
    """Row -> its file and bar, as `seqvae prepare midi` noted them; nothing where it did not."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        songs = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == split_name]
    return {
        int(song["row"]) + place: {"file": Path(song["file"]).name, "bar": str(bar)}
        for song in songs
        for place, bar in enumerate(_numbers(song["bars"]))
    }


def _numbers(spans: str) -> Iterator[int]:
    """Numbers from "4-6,9".

    >>> list(_numbers("4-6,9"))
    [4, 5, 6, 9]
    """
    for span in filter(None, spans.split(",")):
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)


def described(codec: MusicCodec, clip: Clip) -> str:
    """A clip on one line: where it is from, and its tokens."""
    where = f"{clip.about['file']} bar {clip.about['bar']}: " if "file" in clip.about else ""
    return where + codec.show(clip)


def neighbours(
    explorer: Explorer,
    source: Source,
    corpus: Corpus,
    split_name: str,
    count: int,
    asked: str | None = None,
    bar: int | None = None,
) -> list[tuple[str, float]]:
    """The windows of a corpus whose codes lie nearest to a song's phrase, and how far."""
    codec = music_codec(explorer)
    if not isinstance(corpus.codec, MusicCodec):
        raise Refused(
            f"{corpus.folder} is a corpus of sentences. Name one of music: seqvae prepare midi"
        )
    found = phrase(read(source), codec, codec.grid.bars, at=bar, asked=asked)
    home = split(found.clip, codec.grid)[0]
    near = explorer.neighbours(home, corpus_windows(corpus, split_name), count)
    return [(described(codec, clip), distance) for clip, distance in near]
