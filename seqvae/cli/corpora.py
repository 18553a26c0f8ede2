"""What a corpus is on the command line: prepared, made here, or files to prepare."""

import difflib
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from .music import MELODY, is_midi

if TYPE_CHECKING:
    from ..corpus import Corpus
    from ..recipe import Recipe

SMALL = 300  # ids, as good as any number to try a recipe with
EMBEDDED = ("docstrings", "composed", "digits")  # corpora that are made where they are used
SONGS = 300  # as many as the corpus "composed" has
DIGITS = "digits"  # an embedded corpus, and the recipe of pictures
CHORALES = "chorales"  # the recipe of four voices
SIDE = 28  # of a picture, as good as any number to try a recipe with
TABLE = """--set 'objective.terms.kl.weight={kind = "linear", share = 0.3}'"""


def sort_out(what: list[str]) -> tuple[str | None, str | None]:
    """Which argument is the recipe, and which the corpus."""
    from ..recipe import listed, shipped

    recipe = [w for w in what if w in shipped() or w.endswith(".toml")]
    if len(recipe) > 1 and DIGITS in recipe:  # beside a recipe it names the corpus
        recipe.remove(DIGITS)
    corpus = [w for w in what if w not in recipe]
    for word in corpus:
        _check_corpus(word)
    if len(recipe) > 1 or len(corpus) > 1:
        raise Refused(
            f"{' '.join(what)}: name at most one recipe ({listed(shipped())}, or a .toml file) "
            "and one corpus. Several texts make one by: seqvae prepare text FILES --out FOLDER; "
            "folders of MIDI or pictures likewise, by prepare midi and prepare images."
        )
    return next(iter(recipe), None), next(iter(corpus), None)


def _check_corpus(word: str) -> None:
    """Refuse a mistyped recipe, and a setting without its --set, for what they are."""
    from ..recipe import OPTIONAL, SECTIONS, TOP, listed, shipped

    if Path(word).exists() or ".zip/" in word or word in EMBEDDED:
        return
    key, sign, _ = word.partition("=")
    if sign and key.split(".")[0] in (*TOP, *SECTIONS, *OPTIONAL):
        raise Refused(
            f"{word}: each setting needs a --set before it, and quotes where the shell would take "
            f"it apart: {TABLE}"
        )
    near = difflib.get_close_matches(word, shipped(), n=1)
    if near and "/" not in word and not Path(word).suffix:
        raise Refused(
            f"{word!r} is no recipe and no file. Did you mean the recipe {near[0]!r}? "
            f"There are: {listed(shipped())}."
        )


def fitting_recipe(corpus: str | None) -> str:
    """The recipe for a corpus where none is named: for music, for pictures, else for sentences."""
    from ..recipe import SENTENCES

    if corpus is None:
        return SENTENCES
    if (Path(corpus) / "manifest.json").is_file():
        return _recipe_of_codec(Path(corpus) / "codec")
    if _holds_chorales(Path(corpus)):
        return CHORALES
    if corpus == "composed" or _holds_midi(Path(corpus)):
        return MELODY
    return DIGITS if corpus == DIGITS or _holds_pictures(Path(corpus)) else SENTENCES


def _recipe_of_codec(folder: Path) -> str:
    from ..codecs import ChoraleCodec, MusicCodec, PixelCodec, PolyphonyCodec, load_codec
    from ..recipe import SENTENCES

    codec = load_codec(folder)
    if isinstance(codec, PixelCodec):
        return DIGITS
    if isinstance(codec, ChoraleCodec):
        return CHORALES
    if isinstance(codec, PolyphonyCodec):
        return codec.kind  # recipes of the same names
    return MELODY if isinstance(codec, MusicCodec) else SENTENCES


def _holds_pictures(path: Path) -> bool:
    from data_prep.pictures import holds_pictures

    from ..runs import is_run

    return path.exists() and not is_run(path) and holds_pictures(path)


def _holds_chorales(path: Path) -> bool:
    from data_prep.chorales import holds_chorales

    return holds_chorales(path)


def _holds_midi(path: Path) -> bool:
    """Whether a corpus yet to prepare is music: a MIDI file, an archive, a folder of such."""
    from data_prep.songs import archive_of

    from ..midi import ENDINGS

    if path.is_dir():
        return any(file.suffix.lower() in ENDINGS for file in path.rglob("*"))
    return archive_of(path) is not None or is_midi(str(path))


def resumed_corpus(named: str | None, folder: Path) -> "Corpus":
    """The corpus to go on with: the run's own, unless one is named."""
    from ..corpus import find_corpus, open_corpus

    if named is not None and not Path(named).is_dir():
        raise Refused(
            f"{named} is no prepared corpus, and a run goes on with the one it began with: leave "
            f"it out, seqvae train --resume --out {folder}"
        )
    return find_corpus(folder) if named is None else open_corpus(Path(named))


def make_corpus(named: str | None, recipe: "Recipe", folder: Path, device: str) -> "Corpus":
    """The corpus to begin with; what cannot be done with it is said before it is prepared."""
    from .. import runs
    from ..build import build

    runs.check_new(folder)
    runs.find_device(device)
    build(recipe, **_any_extent(recipe))
    return _corpus(named, recipe, folder)


def _any_extent(recipe: "Recipe") -> dict[str, Any]:
    """Sizes of items to try a recipe with, as good as any of its modality."""
    from ..codecs import PixelCodec

    if _of_images(recipe):
        data = recipe["data"]
        side = -(-(8 if data.get("source") == DIGITS else SIDE) // data.get("shrink", 1))
        codec = PixelCodec(
            side,
            side,
            channels=data.get("channels", 1),
            levels=data.get("levels", 256),
            binarize=data.get("binarize", "none"),
        )
        return codec.extent._asdict()
    return _window(recipe["data"]) if _of_music(recipe) else {"vocab": SMALL}


def _window(data: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a window as the codec of a recipe's [data] cuts it."""
    from ..codecs import MusicCodec, kinds_of

    kinds: dict[str, Any] = kinds_of(MusicCodec)
    kind = kinds[data["codec"]]
    own = [name for name in signature(kind).parameters if data.get(name) is not None]
    return kind(**{name: data[name] for name in own}).extent._asdict()


def _corpus(named: str | None, recipe: "Recipe", folder: Path) -> "Corpus":
    """The prepared corpus of that name, or one made of that text inside the run."""
    from ..corpus import open_corpus
    from ..runs import is_run

    source = named or recipe["data"].get("source")
    if source is None:
        raise Refused(
            "no corpus named: seqvae train corpus.txt --out runs/NAME, or a folder of MIDI files. "
            "To try without one: seqvae train demo --out runs/demo"
        )
    place = Path(source)
    if any((place / name).is_file() for name in ("manifest.json", "plan.json")):
        return open_corpus(place)  # which refuses one that is not prepared to its end
    if is_run(place):
        raise _no_corpus(place)
    options = _preparation(recipe)
    if source in EMBEDDED and source != DIGITS and not place.exists():
        _check_embedded(source, recipe)
        source, own = _write_embedded(source, folder)
        options |= own
    prepared = folder / "corpus"
    if _of_images(recipe):
        prepare_of_images([source], prepared, **options)
    elif _of_music(recipe):
        _check_no_pictures(source, recipe["name"], "MIDI")
        prepare_of_midi([source], prepared, **options)
    else:
        _check_text(source, recipe["name"])
        prepare_of_text([source], prepared, **options)
    return open_corpus(prepared)


def _check_no_pictures(source: str, recipe: str, read: str) -> None:
    """Refuse pictures for what reads something else."""
    if source == DIGITS or _holds_pictures(Path(source)):
        raise Refused(
            f"{source} holds pictures, and the recipe {recipe!r} reads {read}. Name one for "
            f"pictures: seqvae train {DIGITS if source == DIGITS else f'{DIGITS} {source}'}"
        )


def _check_embedded(source: str, recipe: "Recipe") -> None:
    """Refuse a corpus that is made here for a recipe of something else, before it is made."""
    songs = source == "composed"
    if songs is _of_music(recipe) and not _of_images(recipe):
        return
    read = "pictures" if _of_images(recipe) else "MIDI" if _of_music(recipe) else "sentences"
    raise Refused(
        f"{source} holds {'MIDI files' if songs else 'sentences'}, and the recipe "
        f"{recipe['name']!r} reads {read}. Name one that fits: seqvae train "
        f"{fitting_recipe(source)} {source}"
    )


def _check_text(source: str, recipe: str) -> None:
    """Refuse files of MIDI or pictures for sentences; an archive is refused by its reader."""
    from data_prep.songs import archive_of

    _check_no_pictures(source, recipe, "sentences")
    if archive_of(Path(source)) is None and _holds_midi(Path(source)):
        raise Refused(
            f"{source} holds MIDI files, and the recipe {recipe!r} reads sentences. Name one for "
            f"music: seqvae train melody {source}"
        )
    if _holds_chorales(Path(source)):
        raise Refused(
            f"{source} holds chorales, and the recipe {recipe!r} reads sentences. Name one for "
            f"music: seqvae train {CHORALES} {source}"
        )


def _no_corpus(run: Path) -> Refused:
    from ..corpus import find_corpus

    try:
        anew = (
            f"; begin another on its corpus: seqvae train {find_corpus(run).folder} --out FOLDER"
        )
    except Refused:
        anew = ""
    return Refused(
        f"{run} is a run, not a corpus. Go on with it: seqvae train --resume --out {run}{anew}"
    )


def _write_embedded(name: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """Make an embedded corpus inside a run: where it is, and how it is to be prepared."""
    from data_prep.toy import write_docstrings, write_songs

    songs = name == "composed"
    path = folder / ("songs" if songs else "docstrings.txt")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if songs:
            write_songs(path, SONGS, seed=0)
        else:
            write_docstrings(path)
    return str(path), {"splits": str(path / "index.tsv")} if songs else {}


def _of_music(recipe: "Recipe") -> bool:
    """Whether a recipe's codec reads MIDI."""
    from ..recipe import MUSIC

    return recipe["data"].get("codec") in MUSIC


def _of_images(recipe: "Recipe") -> bool:
    """Whether a recipe's codec reads pictures."""
    from ..recipe import IMAGES

    return recipe["data"].get("codec") == IMAGES


def _preparation(recipe: "Recipe") -> dict[str, Any]:
    """Of a recipe's [data], what the preparation of its modality takes."""
    from ..recipe import OF_IMAGES, OF_MUSIC, OF_TEXT

    wanted = OF_MUSIC if _of_music(recipe) else OF_IMAGES if _of_images(recipe) else OF_TEXT
    return {key: value for key, value in recipe["data"].items() if key in wanted}


def prepare_of_text(sources: list[str], out: Path, **options: Any) -> None:
    from data_prep.text import prepare_text

    from ..progress import Progress

    with Progress() as progress:
        report = prepare_text(sources, out, progress=progress.count, **options)
    print(report)


def prepare_of_midi(sources: list[str], out: Path, **options: Any) -> None:
    from data_prep.midi import prepare_midi

    from ..progress import Progress

    with Progress() as progress:
        report = prepare_midi(sources, out, progress=progress.count, **options)
    print(report)


def prepare_of_images(sources: list[str], out: Path, **options: Any) -> None:
    from data_prep.images import prepare_images

    from ..progress import Progress

    with Progress() as progress:
        report = prepare_images(sources, out, progress=progress.count, **options)
    print(report)
