"""What is done with a trained run, but for the way between two codes: sample to export."""

import json
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Refused
from .given import check_no_folder, check_sentences, given_items
from .music import (
    Humanise,
    Quantise,
    Swing,
    Velocity,
    check_files,
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
from .pictures import (
    brightness,
    corpus_pictures,
    free,
    given_pictures,
    knows_pictures,
    looked_at,
    one_picture,
    sampled,
    stems,
    tens,
    write_pictures,
)
from .sentences import given_sentences, read_codes, read_sentences, write_rows

if TYPE_CHECKING:
    from ..corpus import Corpus
    from ..explore import Decoding, Explorer
    from ..music.feel import Touch
    from .pictures import Named


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
    """Write sentences, MIDI files or pictures of codes drawn from the prior, or a density."""
    model = load(run, device)
    usual, names = f"{_named(run, model)}-samples", _numbered("sample", n)
    if knows_pictures(model):
        pictures = sampled(model, n, decoding, source, label)
    else:
        written = model.sample(n, decoding, source=source, label=label)
    if source != "prior":
        warn(f"codes are drawn from the {source}: {model.density().about}")
    if knows_pictures(model):
        write_pictures(pictures, names, free(out, usual), as_json, repeat({"from": source}, n))
    elif knows_music(model):
        from ..music.studio import songs

        named = zip(names, songs(written), strict=True)
        write_songs(named, out, usual, as_json, {"from": source})
    else:
        check_no_folder(out)
        write_rows(({"text": text, "from": source} for text in written), as_json)


def _named(run: str | None, model: "Explorer") -> str:
    """What somebody called a run: the last part of the name they typed, else the recipe's."""
    return Path(run).resolve().name if run else str(model.recipe["name"])


def _numbered(word: str, count: int) -> list[str]:
    """Names of so many files."""
    return [f"{word}-{i:03d}" for i in range(1, count + 1)]


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
    swing: Swing = "keep",
    humanise: Humanise = 0.0,
    quantise: Quantise = 0.0,
    velocity: Velocity = "keep",
    *,
    decoding: "Decoding",
) -> None:
    """Encode sentences, MIDI files or pictures, and write them again from their codes."""
    from ..music.feel import Touch

    model, touch = load(run, device), Touch(swing, humanise, quantise, velocity)
    if not (knows_music(model) or touch.idle):
        raise Refused(
            "--swing, --humanise, --quantise and --velocity are of MIDI files, and the run "
            f"{model.recipe['name']!r} knows none. Leave them out."
        )
    if knows_music(model):
        files = midi_files(texts, file)
        _reconstruct_songs(model, files, label, out, track, as_json, decoding, touch)
    elif knows_pictures(model):
        _reconstruct_pictures(
            model, given_pictures(model, texts, file), label, out, as_json, decoding
        )
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
    touch: "Touch",
) -> None:
    from ..midi import write
    from ..music.studio import reconstruct as reconstruct_song

    check_files(model, files)
    paths = [(out or Path()) / f"{Path(name).stem}_again.mid" for name in files]
    for path in paths:
        check_free(path)
    if len(set(paths)) < len(paths):
        raise Refused("two of the files have one name, and so would what is written of them.")
    form = "{file}: {f1:.1%} of its notes come back (onset and pitch F1), written: {written}"
    for name, path in zip(files, paths, strict=True):
        again = reconstruct_song(model, name, decoding, track, label, touch)
        for line in () if as_json else again.piece.said:
            print(f"{name}: {line}")
        row = {"file": name, "f1": again.f1, "said": again.piece.said}
        write_rows([{**row, "written": str(write(again.song, path))}], as_json, form)


def _reconstruct_pictures(
    model: "Explorer",
    given: list["Named"],
    label: str | None,
    out: Path | None,
    as_json: bool,
    decoding: "Decoding",
) -> None:
    folder = free(out, f"{model.recipe['name']}-again")
    z = model.encode(given)
    again = looked_at(model, z if label is None else model.labelled(z, label), decoding)
    before = brightness(given)
    errors = ((again - before) ** 2).mean(axis=(1, 2, 3)).tolist()
    said = (
        {"file": picture.name, "pixel_error": error}
        for picture, error in zip(given, errors, strict=True)
    )
    form = "{file}: squared error a pixel {pixel_error:.4f}, written: {written}"
    names = stems(given, "_again")
    page = tens(before, again)
    write_pictures(again, names, folder, as_json, said, form, page, "written")


def label(
    run: Run,
    texts: Texts = None,
    file: FromFile = None,
    track: OfTrack = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Say which label sentences, MIDI windows or pictures have, if the run has a label head."""
    model = load(run, device)
    if knows_music(model):
        from ..music.studio import label as label_song

        files = midi_files(texts, file)
        check_files(model, files)
        rows = (row for name in files for row in label_song(model, name, track))
        write_rows(rows, as_json, "{probability:7.1%}  {label}  {file}, bar {bar}")
        return
    given = given_items(model, texts, file)
    told = zip(given.names, model.label(given.items), strict=True)
    rows = ({given.word: name, **found.row()} for name, found in told)
    write_rows(rows, as_json, f"{{probability:7.1%}}  {{label}}  {{{given.word}}}")


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
    """Write codes as JSON lines: text or file, z, sigma; of MIDI a line a window."""
    found = load(run, device)
    if knows_music(found):
        from ..midi import read
        from ..music.pieces import metre_told
        from ..music.studio import encode as encode_song

        files = midi_files(texts, file)
        check_files(found, files)
        for name in files:
            for told in metre_told(read(name), found.codec):
                warn(f"{name}: {told}")
            write_rows(encode_song(found, name, track, sample=draw, seed=seed), True)
        return
    given = given_items(found, texts, file)
    codes, stddev = found.encode(given.items, sample=draw, seed=seed), found.stddev(given.items)
    for name, z, sigma in zip(given.names, codes.tolist(), stddev.tolist(), strict=True):
        print(json.dumps({given.word: name, "z": z, "sigma": sigma}, ensure_ascii=False))


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
    """Write the sentences, MIDI files or pictures of codes."""
    import torch

    codes = torch.tensor(read_codes(file), dtype=torch.float32)
    model = load(run, device)
    usual, names = f"{model.recipe['name']}-codes", _numbered("code", len(codes))
    if knows_pictures(model):
        pictures = looked_at(model, codes, decoding)
        write_pictures(pictures, names, free(out, usual), as_json)
    elif knows_music(model):
        from ..music.studio import songs

        named = zip(names, songs(model.decode(codes, decoding)), strict=True)
        write_songs(named, out, usual, as_json)
    else:
        check_no_folder(out)
        write_rows(({"text": text} for text in model.decode(codes, decoding)), as_json)


def neighbours(
    run: Run,
    text: Annotated[str, typer.Argument(help="A sentence, MIDI file or picture to start from.")],
    among: Annotated[
        str | None,
        typer.Option(help="A prepared folder, text file or pictures; else the run's corpus."),
    ] = None,
    out: Out = None,
    track: OfTrack = None,
    bar: Annotated[
        int | None, typer.Option(min=1, help="Of MIDI: the bar to start from; else the best.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a prepared corpus.")] = "valid",
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Find the sentences, windows of songs or pictures whose codes lie nearest."""
    model = load(run, device)
    if knows_pictures(model):
        _near_pictures(model, run, text, among, split, n, out, as_json)
        return
    check_no_folder(out, model.codec.noun)
    if knows_music(model):
        from ..music.studio import neighbours as near_windows

        check_files(model, [text])
        found = near_windows(model, text, _corpus(run, among), split, n, track, bar)
    else:
        check_sentences(model, [text])
        found = model.neighbours(text, _candidates(run, among, split), n)
    rows = ({"distance": distance, "text": near} for near, distance in found)
    write_rows(rows, as_json, "{distance:7.3f}  {text}")


def _near_pictures(
    model: "Explorer",
    run: str,
    name: str,
    among: str | None,
    split: str,
    n: int,
    out: Path | None,
    as_json: bool,
) -> None:
    home, folder = one_picture(model, name), free(out, f"{model.recipe['name']}-near")
    near = model.neighbours(home, _other_pictures(model, run, among, split), n)
    found = brightness([picture for picture, _ in near])
    said = ({"distance": distance, "text": picture.name} for picture, distance in near)
    form = "{distance:7.3f}  {text}  {file}"
    page = [brightness([home]), *tens(found)]
    write_pictures(found, _numbered("near", len(near)), folder, as_json, said, form, page)


def _other_pictures(
    model: "Explorer", run: str, among: str | None, split: str
) -> Iterable["Named"]:
    """Pictures to look among: of a prepared corpus, or in files."""
    if among is None or (Path(among) / "manifest.json").is_file():
        return corpus_pictures(model, _corpus(run, among), split)
    return given_pictures(model, [among], None)


def _candidates(run: str, among: str | None, split: str) -> Iterable[str]:
    from ..corpus import find_corpus, open_corpus
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


def _corpus(run: str, among: str | None) -> "Corpus":
    from ..corpus import find_corpus, open_corpus
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
