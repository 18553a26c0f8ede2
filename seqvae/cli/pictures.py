"""Pictures as the commands take and write them: files of any size in, PNGs and a page out."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from .options import warn
from .sentences import write_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..codecs.pixels import Pixels
    from ..corpus import Corpus
    from ..explore import Decoding, Explorer

    Seen = NDArray[np.floating[Any]]  # brightness in [0, 1], (N, H, W, C)

PAGE = "sheet.png"  # all that is written into a folder, on one page
COLUMNS = 10
HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # how PNG and JPEG files begin


@dataclass(frozen=True)
class Named:
    """A picture (H, W, C) that knows what it is called, and is its pixels for a codec."""

    name: str
    pixels: "Pixels"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "NDArray[Any]":
        return self.pixels if dtype is None else self.pixels.astype(dtype)


def is_picture(name: str) -> bool:
    """Whether somebody means a picture: by its ending, or by how the file begins."""
    from data_prep.pictures import ENDINGS

    if name.lower().endswith(ENDINGS):
        return True
    try:
        with Path(name).open("rb") as file:
            return file.read(8).startswith(HEADS)
    except (OSError, ValueError):
        return False


def knows_pictures(model: "Explorer") -> bool:
    from ..codecs import PixelCodec

    return isinstance(model.codec, PixelCodec)


# --- read ---------------------------------------------------------------------------------------


def given_pictures(model: "Explorer", given: list[str] | None, file: str | None) -> list[Named]:
    """The pictures of files, folders, idx and .npz files, as the run reads them.

    Those of another size or colour are made to fit, which is said. Raises `Refused` for what
    cannot be read.
    """
    if file is not None or not given:
        raise Refused("this run knows pictures: name PNG or JPEG files, such as a.png b.png.")
    for name in given:
        _check_there(model, name)
    return list(_fitting(model, _read(given)))


def one_picture(model: "Explorer", name: str) -> Named:
    """The picture of a file. Raises `Refused` where it holds several."""
    found = given_pictures(model, [name], None)
    if len(found) != 1:
        raise Refused(f"{name} holds {len(found)} pictures: name a PNG or JPEG file, of one.")
    return found[0]


def _check_there(model: "Explorer", name: str) -> None:
    from data_prep.pictures import DIGITS

    if name != DIGITS and not Path(name).exists():
        raise Refused(
            f"{name} is no file here; the run {model.recipe['name']!r} knows pictures: name PNG "
            "or JPEG files, folders of them, idx or .npz files."
        )


def _read(given: Iterable[str]) -> Iterator[Named]:
    from data_prep.pictures import find_sources

    for source in find_sources(list(given)):
        for picture in source.read(labelled=False):
            if picture.pixels is None:
                raise Refused(f"{picture.name}: {picture.fault}. Name PNG or JPEG files, 8 bits.")
            yield Named(picture.name, picture.pixels)


def _fitting(model: "Explorer", pictures: Iterable[Named]) -> Iterator[Named]:
    """The pictures in the shape of the codec's."""
    from data_prep.pictures import coloured, resized

    from ..codecs.pixels import sized

    shape = model.codec.shape
    assert shape is not None, "the codec is of pictures"
    height, width, channels = shape
    others: Counter[str] = Counter()
    for picture in pictures:
        pixels = picture.pixels
        if pixels.shape != shape:
            others[sized(pixels.shape)] += 1
            pixels = coloured(resized(pixels, height, width), channels)
        yield replace(picture, pixels=pixels)
    for size, number in others.items():
        one = number == 1
        said = "one picture is" if one else f"{number} pictures are"
        warn(f"{said} {size}; read as {sized(shape)}, as the run knows {'it' if one else 'them'}")


def corpus_pictures(model: "Explorer", corpus: "Corpus", split: str) -> Iterator[Named]:
    """The pictures of a prepared corpus, called by split, row and label.

    Raises `Refused` for a corpus of others than the run reads.
    """
    from ..codecs.pixels import sized

    if corpus.codec.shape != model.codec.shape:
        assert model.codec.shape is not None, "the codec is of pictures"
        size = f" of {sized(corpus.codec.shape)}" if corpus.codec.shape else ""
        raise Refused(
            f"{corpus.folder} holds {corpus.codec.noun}s{size}, and the run "
            f"{model.recipe['name']!r} knows pictures of {sized(model.codec.shape)}. Name a "
            "corpus of such, or the files of pictures."
        )
    return _rows_of(corpus, split)


def _rows_of(corpus: "Corpus", split: str) -> Iterator[Named]:
    items = corpus.split(split)
    for row in range(len(items)):
        label = items.label(row)
        said = f", {corpus.labels[label]}" if corpus.labels and label is not None else ""
        yield Named(f"{split} {row}{said}", corpus.codec.decode(items[row].tolist()))


def free(out: Path | None, usual: str) -> Path:
    """The folder to write into: `out`, or one called `usual` that is not there yet."""
    from ..music.album import free_folder

    return free_folder(out, usual)


# --- written ------------------------------------------------------------------------------------


def looked_at(model: "Explorer", z: Any, decoding: "Decoding") -> "Seen":
    """Codes -> pictures: the brightness that is expected of each pixel, or a draw if one is asked.

    What is written pixel by pixel is what the decoding writes.
    """
    if decoding.greedy:
        return model.means(z).double().numpy()
    return brightness(model.decode(z, decoding))


def sampled(
    model: "Explorer", number: int, decoding: "Decoding", source: str, label: str | None
) -> "Seen":
    """Pictures of codes that are drawn, as `Explorer.sample` draws them.

    Pixel by pixel they are drawn too where nothing else is asked: the likeliest of each would be
    the background.
    """
    from ..decoders.picture import PictureDecoder

    at_once = isinstance(model.vae.decoder, PictureDecoder)
    if decoding.greedy and not (at_once and model.latent):
        decoding = replace(decoding, temperature=1.0)
    z = model.draw(number, source=source, label=label, seed=decoding.seed)
    return looked_at(model, z, decoding)


def brightness(pictures: Sequence[Any]) -> "Seen":
    """Pictures of 0 to 255 -> (N, H, W, C) in [0, 1]."""
    import numpy as np

    return np.stack([np.asarray(picture) for picture in pictures]) / 255


def stems(pictures: Iterable[Named], ending: str = "") -> list[str]:
    """A file name for each, in letters that every disk takes; of a name that comes again, with a
    number.

    >>> stems([Named("a/x y.png", None), Named("b/x y.png", None), Named("d.npz/x:3", None)])
    ['x_y', 'x_y-2', 'x_3']
    """
    found: dict[str, None] = {}
    for picture in pictures:
        stem = re.sub(r"[^\w.-]+", "_", Path(picture.name).stem).strip("._-") or "picture"
        tries = (f"{stem}-{i}" if i > 1 else stem for i in count(1))
        found[next(name for name in tries if name not in found)] = None
    return [f"{stem}{ending}" for stem in found]


def write_pictures(
    pictures: "Seen",
    names: Iterable[str],
    folder: Path,
    as_json: bool,
    said: Iterable[Mapping[str, Any]] | None = None,
    form: str = "{file}",
    page: Sequence["Seen"] | None = None,
    key: str = "file",
) -> None:
    """Write each picture as a PNG of its own size into a free folder, and all on one page.

    What is `said` of each is added to what JSON says, where the file is called by the `key`. The
    page shows pictures enlarged, in the rows given, else in tens.
    """
    from ..sheets import save_sheet, sheet

    folder.mkdir(parents=True, exist_ok=True)
    for picture, name, more in zip(pictures, names, said or repeat({}), strict=False):
        path = _save(picture, folder / f"{name}.png")
        write_rows([{**more, key: str(path)}], as_json, form)
    if len(pictures) > 1 or page:
        path = save_sheet(sheet(page or tens(pictures)), folder / PAGE)
        write_rows([] if as_json else [{"page": str(path)}], False, "on one page: {page}")


def _save(picture: "Seen", path: Path) -> Path:
    import numpy as np
    from PIL import Image

    pixels = np.rint(255 * picture).astype(np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
    return path


def tens(*several: "Seen") -> list["Seen"]:
    """Rows of a page: ten pictures, and below them the same ten of each other.

    >>> import numpy as np
    >>> [len(row) for row in tens(np.zeros((12, 2, 2, 1)), np.ones((12, 2, 2, 1)))]
    [10, 10, 2, 2]
    """
    parts = [slice(at, at + COLUMNS) for at in range(0, len(several[0]), COLUMNS)]
    return [pictures[part] for part in parts for pictures in several]
