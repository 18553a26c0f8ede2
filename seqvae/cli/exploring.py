"""What is done with a trained run, but for the way between two codes: sample to export."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Refused
from .music import (
    check_files,
    check_no_folder,
    check_sentences,
    knows_music,
    midi_files,
    write_songs,
)
from .options import (
    AsJson,
    Device,
    FromFile,
    OfLabel,
    OfTrack,
    Out,
    Run,
    Seed,
    Texts,
    check_free,
    load,
    plain,
    warn,
    writes,
)
from .sentences import given_sentences, read_codes, read_sentences, write_rows

if TYPE_CHECKING:
    from ..corpus import Corpus
    from ..explore import Decoding, Explorer


@writes
def sample(
    run: Annotated[
        str | None, typer.Argument(help="A run; the one that comes with seqvae if left out.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    source: Annotated[
        str,
        typer.Option("--from", help="prior, or density: the one that `seqvae density` fitted."),
    ] = "prior",
    label: OfLabel = None,
    out: Out = None,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Write sentences, or MIDI files, from codes drawn from the prior, or from a density."""
    model = load(run, device)
    written = model.sample(n, decoding, source=source, label=label)
    if source != "prior":
        warn(f"codes are drawn from the {source}: {model.density().about}")
    if knows_music(model):
        from ..studio import songs

        named = ((f"sample-{i:03d}", song) for i, song in enumerate(songs(written), 1))
        usual = f"{model.recipe['name']}-samples"
        write_songs(named, out, usual, as_json, {"from": source})
    else:
        check_no_folder(out)
        write_rows(({"text": text, "from": source} for text in written), as_json)


@writes
def reconstruct(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    label: OfLabel = None,
    out: Out = None,
    track: OfTrack = None,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Encode sentences, or MIDI files, and write them again from their codes."""
    model = load(run, device)
    if knows_music(model):
        _reconstruct_songs(model, midi_files(texts, file), label, out, track, as_json, decoding)
    else:
        check_no_folder(out)
        check_sentences(model, texts)
        written = model.reconstructions(given_sentences(texts, file), decoding, label=label)
        rows = ({"text": text, "reconstruction": again} for text, again in written)
        write_rows(rows, as_json, "{text}\n  -> {reconstruction}")


def _reconstruct_songs(
    model: "Explorer",
    files: list[str],
    label: str | None,
    out: Path | None,
    track: str | None,
    as_json: bool,
    decoding: "Decoding",
) -> None:
    from ..midi import write
    from ..studio import reconstruct as reconstruct_song

    check_files(model, files)
    paths = [(out or Path()) / f"{Path(name).stem}_again.mid" for name in files]
    for path in paths:
        check_free(path)
    if len(set(paths)) < len(paths):
        raise Refused("two of the files have one name, and so would what is written of them.")
    form = "{file}: {f1:.1%} of its notes come back (onset and pitch F1), written: {written}"
    for name, path in zip(files, paths, strict=True):
        again = reconstruct_song(model, name, decoding, track, label)
        for line in () if as_json else again.piece.said:
            print(f"{name}: {line}")
        row = {"file": name, "f1": again.f1, "said": again.piece.said}
        write_rows([{**row, "written": str(write(again.song, path))}], as_json, form)


def label(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    track: OfTrack = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Say which label sentences, or windows of MIDI files, have, if the run has a label head."""
    model = load(run, device)
    if knows_music(model):
        from ..studio import label as label_song

        files = midi_files(texts, file)
        check_files(model, files)
        rows = (row for name in files for row in label_song(model, name, track))
        write_rows(rows, as_json, "{probability:7.1%}  {label}  {file}, bar {bar}")
        return
    check_sentences(model, texts)
    given = list(given_sentences(texts, file))
    told = zip(given, model.label(given), strict=True)
    rows = ({"text": text, **found.row()} for text, found in told)
    write_rows(rows, as_json, "{probability:7.1%}  {label}  {text}")


def encode(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw from the posterior, not its mean.")
    ] = False,
    track: OfTrack = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write the codes of sentences as JSON lines, text, z, sigma; of MIDI a line a window."""
    found = load(run, device)
    if knows_music(found):
        from ..midi import read
        from ..studio import encode as encode_song
        from ..studio import metre_told

        files = midi_files(texts, file)
        check_files(found, files)
        for name in files:
            for told in metre_told(read(name), found.codec):
                warn(f"{name}: {told}")
            write_rows(encode_song(found, name, track, sample=draw, seed=seed), True)
        return
    check_sentences(found, texts)
    given = list(given_sentences(texts, file))
    codes, stddev = found.encode(given, sample=draw, seed=seed), found.stddev(given)
    for text, z, sigma in zip(given, codes.tolist(), stddev.tolist(), strict=True):
        print(json.dumps({"text": text, "z": z, "sigma": sigma}, ensure_ascii=False))


@writes
def decode(
    run: Run,
    file: Annotated[str, typer.Argument(help="JSON lines with `z`, as encode writes; -: stdin.")],
    out: Out = None,
    as_json: AsJson = False,
    device: Device = "auto",
    *,
    decoding: "Decoding",
) -> None:
    """Write the sentences, or MIDI files, of codes."""
    import torch

    codes = torch.tensor(read_codes(file), dtype=torch.float32)
    model = load(run, device)
    written = model.decode(codes, decoding)
    if knows_music(model):
        from ..studio import songs

        named = ((f"code-{i:03d}", song) for i, song in enumerate(songs(written), 1))
        write_songs(named, out, f"{model.recipe['name']}-codes", as_json)
    else:
        check_no_folder(out)
        write_rows(({"text": text} for text in written), as_json)


def neighbours(
    run: Run,
    text: Annotated[str, typer.Argument(help="The sentence, or MIDI file, to start from.")],
    among: Annotated[
        str | None, typer.Option(help="A prepared folder or text file; else the run's corpus.")
    ] = None,
    track: OfTrack = None,
    bar: Annotated[
        int | None, typer.Option(min=1, help="Of MIDI: the bar to start from; else the best.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a prepared corpus.")] = "valid",
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Find the sentences, or windows of songs, whose codes lie nearest."""
    model = load(run, device)
    if knows_music(model):
        from ..studio import neighbours as near_windows

        check_files(model, [text])
        found = near_windows(model, text, _music_corpus(run, among), split, n, track, bar)
    else:
        check_sentences(model, [text])
        found = model.neighbours(text, _candidates(run, among, split), n)
    rows = ({"distance": distance, "text": near} for near, distance in found)
    write_rows(rows, as_json, "{distance:7.3f}  {text}")


def _candidates(run: str, among: str | None, split: str) -> Iterable[str]:
    from ..corpus import open_corpus
    from ..fit import find_corpus
    from ..shelf import find, is_shipped

    folder = find(run)
    if among is None and is_shipped(folder):
        raise Refused(
            f"{folder.name} comes with the package, its corpus does not. Name sentences to look "
            "among: --among FILE, one a line."
        )
    if among is None:
        return find_corpus(folder).sentences(split)
    if Path(among).is_dir():
        return open_corpus(Path(among)).sentences(split)
    return read_sentences(among)


def _music_corpus(run: str, among: str | None) -> "Corpus":
    from ..corpus import open_corpus
    from ..fit import find_corpus
    from ..shelf import find, is_shipped

    folder = find(run)
    if among is None and is_shipped(folder):
        raise Refused(
            f"{folder.name} comes with the package, its corpus does not. Name one to look in: "
            "seqvae prepare midi FOLDER --out prepared, then --among prepared"
        )
    return find_corpus(folder) if among is None else open_corpus(Path(among))


def info(run: Run, as_json: AsJson = False) -> None:
    """Say what a run is."""
    from ..progress import short, table

    facts = load(run, "cpu").info()
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(table((name, short(value)) for name, value in facts.items()))


def export(run: Run, out: Annotated[Path, typer.Argument(help="The folder to make.")]) -> None:
    """Copy a run without its optimiser and logs, in half precision, to share it."""
    from ..runs import export as export_run
    from ..shelf import find

    export_run(find(run), plain(out), warn=warn)
    print(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 2**20:.1f} MiB")
