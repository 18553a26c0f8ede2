"""`seqvae prepare …`: raw files to a prepared corpus, and the corpora that are made here."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import Refused
from .corpora import SONGS, prepare_of_images, prepare_of_midi, prepare_of_text
from .options import Seed, check_free, plain

prepare = typer.Typer(help="Raw files to a prepared corpus, counted.", no_args_is_help=True)


@prepare.command("text")
def prepare_text(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files (.txt .csv .jsonl .parquet, .gz), folders, or hf://NAME."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    valid: Annotated[str | None, typer.Option(help="A file of validation sentences.")] = None,
    test: Annotated[str | None, typer.Option(help="A file of test sentences.")] = None,
    column: Annotated[str | None, typer.Option(help="The column that holds the text.")] = None,
    label: Annotated[str | None, typer.Option(help="The column that holds a label.")] = None,
    codec: Annotated[
        str, typer.Option(help="bpe, unigram, char, word, or a prepared codec's folder.")
    ] = "bpe",
    vocab: Annotated[int | None, typer.Option(help="Size of the vocabulary.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longer sentences are left out, counted.")] = 256,
    min_tokens: Annotated[int, typer.Option(help="Shorter ones likewise; the end counts.")] = 2,
    valid_fraction: Annotated[
        float | None, typer.Option(help="Share to validate on; 5 %, 5,000 at most, if left out.")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share to test on; likewise.")
    ] = None,
    seed: Seed = 0,
    shard: Annotated[str | None, typer.Option(help="Prepare part i of n only: 0/4.")] = None,
    keep_duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-duplicates", help="Keep training lines that also occur in --valid or --test."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse at the first unusable line.")
    ] = False,
) -> None:
    """Sentences to a prepared corpus: every line kept or counted with the reason."""
    prepare_of_text(
        sources,
        plain(out),
        valid=valid,
        test=test,
        column=column,
        label=label,
        codec=codec,
        vocab=vocab,
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        shard=_shard(shard),
        keep_duplicates=keep_duplicates,
        strict=strict,
    )


@prepare.command("midi")
def prepare_midi(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders, .zip archives (songs.zip/folder), MIDI files; chorales.json."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    codec: Annotated[
        str | None,
        typer.Option(
            help="melody (the usual), drums, groove, trio, chorale, polyphony, multitrack, or a "
            "codec's folder."
        ),
    ] = None,
    bars: Annotated[int | None, typer.Option(help="Of a window; 2 if left out.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="A beat: 4, 6, 12 or 24; 4 if left out.")
    ] = None,
    metre: Annotated[str | None, typer.Option(help="Of a window; 4/4 if left out.")] = None,
    low: Annotated[int | None, typer.Option(help="The lowest pitch; 21 if left out.")] = None,
    high: Annotated[int | None, typer.Option(help="The highest pitch; 108 if left out.")] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Longer windows of polyphony are left out, counted; else none."),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(help="melody=NAME, bass=#2 or bass=program:32-39; else the best by score."),
    ] = None,
    other_metres: Annotated[
        str, typer.Option(help="Bars in another metre: skip, beats (taken as beats) or stretch.")
    ] = "skip",
    splits: Annotated[
        str | None, typer.Option(help="A table (.csv, .tsv) of files and their split.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="A column of it; COLUMN:first for its first word.")
    ] = None,
    valid_fraction: Annotated[
        float | None, typer.Option(help="Share of the songs to validate on; 5 % if left out.")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share to test on; likewise.")
    ] = None,
    seed: Seed = 0,
    shard: Annotated[str | None, typer.Option(help="Prepare part i of n only: 0/4.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0: no other; else one a core.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a file is given up.")] = 10.0,
    memory: Annotated[int, typer.Option(help="Megabytes that a file may take.")] = 300,
    keep_duplicates: Annotated[
        bool,
        typer.Option("--keep-duplicates", help="Keep windows that occur in valid or test too."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse at the first unusable file.")
    ] = False,
) -> None:
    """MIDI files to a prepared corpus of windows: every one kept or counted with the reason."""
    prepare_of_midi(
        sources,
        plain(out),
        codec=codec,
        bars=bars,
        steps=steps,
        metre=metre,
        low=low,
        high=high,
        max_tokens=max_tokens,
        track=_named_tracks(track),
        other_metres=other_metres,
        splits=splits,
        label=label,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        shard=_shard(shard),
        workers=workers,
        timeout=timeout,
        memory=memory,
        keep_duplicates=keep_duplicates,
        strict=strict,
    )


@prepare.command("images")
def prepare_images(
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders of PNG or JPEG, idx files (.gz), .npz, or: digits."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    valid: Annotated[str | None, typer.Option(help="More pictures, to validate on.")] = None,
    test: Annotated[str | None, typer.Option(help="More pictures, to test on.")] = None,
    valid_fraction: Annotated[
        float | None,
        typer.Option(help="Share (from 1 on: number) to validate on; 5 % if left out."),
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share to test on; likewise.")
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--no-labels", help="Drop pictures without one; or take none."),
    ] = None,
    height: Annotated[
        int | None, typer.Option(help="Resize to it; as they are if left out.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="1 (grey) or 3 (colours); as the first if left out.")
    ] = None,
    shrink: Annotated[int, typer.Option(help="Average squares of this side: 2 halves.")] = 1,
    levels: Annotated[
        int | None, typer.Option(help="Shades of a pixel, 2 to 256; all if left out.")
    ] = None,
    binarize: Annotated[
        str, typer.Option(help="none, static (drawn once) or dynamic (drawn anew each time).")
    ] = "none",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many a split.")] = None,
    seed: Seed = 0,
    keep_duplicates: Annotated[
        bool,
        typer.Option("--keep-duplicates", help="Keep pictures that occur in valid or test too."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse at the first unusable picture.")
    ] = False,
) -> None:
    """Pictures to a prepared corpus: every one kept or counted with the reason."""
    prepare_of_images(
        sources,
        plain(out),
        valid=valid,
        test=test,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        labels=labels,
        height=height,
        width=width,
        channels=channels,
        shrink=shrink,
        levels=levels,
        binarize=binarize,
        limit=limit,
        seed=seed,
        keep_duplicates=keep_duplicates,
        strict=strict,
    )


def _named_tracks(given: list[str] | None) -> dict[str, str] | str | None:
    """--track melody=NAME --track bass=#2 by part; or --track NAME alone."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    for text in given:
        if "=" not in text:
            raise Refused(f"--track {text}: write part=track, such as melody={text}.")
    return {part: track for part, _, track in (text.partition("=") for text in given)}


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise Refused(f"--shard {text}: write i/n with i from 0 to n-1, such as 0/4.")
    return int(first), int(second)


@prepare.command("docstrings")
def prepare_docstrings(
    out: Annotated[Path, typer.Argument(help="The text file to write.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many sentences.")] = None,
    seed: Seed = 0,
) -> None:
    """A real corpus without a download: sentences from this Python's own documentation."""
    from data_prep.toy import write_docstrings

    check_free(out)
    print(f"{write_docstrings(out, limit, seed)} sentences in {out}")


@prepare.command("songs")
def prepare_songs(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many songs.")] = SONGS,
    seed: Seed = 0,
) -> None:
    """Composed songs as MIDI files, melody, chords, bass, drums; their traits in a table."""
    from data_prep.toy import write_songs

    check_free(out)
    print(f"{len(write_songs(out, count, seed))} songs in {out}, their traits in index.tsv")


@prepare.command("grammar")
def prepare_grammar(
    out: Annotated[Path, typer.Argument(help="The JSON lines file to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many sentences.")] = 20_000,
    seed: Seed = 0,
) -> None:
    """A synthetic language of exactly known entropy, with its factors as columns."""
    from data_prep.toy import english, write_grammar

    check_free(out)
    write_grammar(out, count, seed)
    grammar = english()
    print(
        f"{count} sentences in {out}; entropy {grammar.entropy:.4f} nats a sentence, "
        f"of which {grammar.factor_entropy:.4f} in the labelled factors"
    )
