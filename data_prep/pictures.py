"""Where pictures come from: idx files, folders of PNG and JPEG, .npz, and the embedded digits.

Every reader yields a `Picture` for every one it meets, also for those nobody can use: what is
dropped can only be counted if it arrives.
"""

import gzip
import hashlib
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from seqvae.codecs.pixels import Pixels, intensities
from seqvae.corpus import file_sha256
from seqvae.errors import Refused

from .songs import SPLIT_NAMES, shown

DIGITS = "digits"  # the embedded corpus: scikit-learn's digits, 8 x 8 pixels of 17 levels
DIGIT_LEVELS = 17
ENDINGS = (".png", ".jpg", ".jpeg")
IDX = re.compile(r"idx(\d)?(-u?byte)?(\.gz)?$", re.IGNORECASE)
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
ABOUT = ("README", "LICENSE", "LICENCE")  # files beside the pictures that are about them
# The split in the name of an idx file, or of an array in an .npz.
PREFIXES = {"t10k": "test", **SPLIT_NAMES}
DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, ValueError, KeyError)
NO_PICTURE = "no picture"
CORRUPT = "cannot be read"

Labels = Sequence[str] | None


class Picture(NamedTuple):
    """A picture (H, W, C) and what it is called, its label, or why it is unusable."""

    name: str
    pixels: Pixels | None
    label: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Source:
    """Some pictures that can be read again and again, and the split that they say they are."""

    name: str
    split: str | None
    files: tuple[Path, ...]  # what they are read from; none of what is embedded
    read: Callable[..., Iterator[Picture]]  # with labels, or without: read(labelled=False)

    def described(self) -> dict[str, Any]:
        """Its name, its files and their checksum, for the manifest."""
        sums = [file_sha256(path) for path in self.files]
        whole = sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()
        return {"name": self.name, "files": len(sums), "sha256": whole if sums else None}


def find_sources(paths: Sequence[str | Path]) -> list[Source]:
    """The pictures of idx files, .npz files, single pictures and folders of any of them.

    An idx file of images is read with the labels beside it; a folder's subfolders are labels, or
    splits by their names (train, valid, test), with labels in them. Raises `Refused` for what
    does not exist and for a source without pictures.
    """
    if not paths:
        raise Refused(
            "no source was given. Name a folder, an idx or .npz file, or the embedded digits: "
            f"seqvae prepare images {DIGITS} --out DIR"
        )
    return [source for path in paths for source in _found(Path(path))]


def holds_pictures(path: Path) -> bool:
    """Whether a path is one of pictures, as far as names tell: half of a folder's files are."""
    inside = [path] if path.is_file() else _meant(path)
    return 0 < len(inside) <= 2 * sum(_is_picture(file) or _is_array(file) for file in inside)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npz" or IDX.search(path.name) is not None


def _found(path: Path) -> list[Source]:
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _of_file(path)
    if str(path) == DIGITS:
        return [Source(DIGITS, None, (), read_digits)]
    raise Refused(f"no such file or folder: {shown(path)}. Check the name.")


def _of_file(path: Path) -> list[Source]:
    if path.suffix.lower() == ".npz":
        return _of_npz(path)
    if IDX.search(path.name):
        return [_of_idx(path)]
    return [Source(shown(path), None, (path,), partial(read_files, [path], path.parent, True))]


def _of_folder(folder: Path) -> list[Source]:
    files = _meant(folder)
    arrays = [path for path in files if _is_array(path)]
    pictures = [path for path in files if path not in set(arrays)]
    if not any(map(_is_picture, pictures)):
        if not arrays:
            raise Refused(
                f"{shown(folder)} holds no pictures ({' '.join(ENDINGS)}, idx, .npz). Name the "
                "folder that has some."
            )
        pictures = []
    found = [source for path in _images_of(arrays) for source in _of_file(path)]
    return [*found, *_of_pictures(folder, pictures)]


def _meant(folder: Path) -> list[Path]:
    """The files of a folder, less what is hidden and what is about the others."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [
        path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.name.startswith(ABOUT)
    ]


def _images_of(arrays: Sequence[Path]) -> list[Path]:
    """Files of arrays less the labels of others, and less a packed copy of one that is there."""
    every = set(arrays)
    return [
        path
        for path in arrays
        if not ("labels" in path.name and _swapped(path, "labels", "images", ("1", "3")) & every)
        and not (path.suffix == ".gz" and path.with_suffix("") in every)
    ]


def _swapped(path: Path, old: str, new: str, dimensions: tuple[str, str]) -> set[Path]:
    """Where the labels of an idx file of images may be, or its images: packed, and not."""
    name = path.name.replace(old, new).replace(f"idx{dimensions[0]}", f"idx{dimensions[1]}")
    plain = path.with_name(name.removesuffix(".gz"))
    return {plain, plain.with_name(f"{plain.name}.gz")}


def _of_pictures(folder: Path, files: Sequence[Path]) -> list[Source]:
    """A folder's pictures; where all its subfolders are called as splits are, a source each."""
    tops = {path: path.relative_to(folder).parts[0] for path in files}
    if not files:
        return []
    if not all(top.casefold() in SPLIT_NAMES for top in tops.values()):
        read = partial(read_files, list(files), folder)
        return [Source(shown(folder), None, tuple(files), read)]
    sources = []
    for top in sorted(set(tops.values())):
        own = [path for path in files if tops[path] == top]
        read = partial(read_files, own, folder / top)
        split = SPLIT_NAMES[top.casefold()]
        sources.append(Source(shown(folder / top), split, tuple(own), read))
    return sources


def read_files(
    files: Sequence[Path], root: Path, alone: bool = False, *, labelled: bool = True
) -> Iterator[Picture]:
    """Pictures in files; the first folder below the root is the label."""
    for path in files:
        below = path.relative_to(root).parts
        label = below[0] if labelled and len(below) > 1 else None
        if not _is_picture(path) and not alone:
            yield Picture(shown(path), None, label, NO_PICTURE)
        else:
            yield read_picture(path)._replace(label=label)


def read_picture(path: Path) -> Picture:
    """A PNG or JPEG as it is: grey, or in colours; what is neither has a fault."""
    name = shown(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                mode = _mode(image)
                if mode is None:
                    return Picture(name, None, None, _why_no_mode(image))
                pixels = np.asarray(image.convert(mode), np.uint8)
    except UnidentifiedImageError:
        return Picture(name, None, None, NO_PICTURE)
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error):
        return Picture(name, None, None, CORRUPT)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return Picture(name, None, None, "too large")
    return Picture(name, pixels.reshape(*pixels.shape[:2], -1))


def _mode(image: Image.Image) -> str | None:
    """Grey or colour, or None where either would change the picture."""
    if image.mode in ("1", "L", "RGB"):
        return "RGB" if image.mode == "RGB" else "L"
    if image.mode not in ("P", "LA", "RGBA"):
        return None
    whole = image.convert("RGBA")
    if whole.getchannel("A").getextrema() != (255, 255):  # not opaque all over
        return None
    red, green, blue = (whole.getchannel(place).tobytes() for place in range(3))
    return "L" if red == green == blue else "RGB"


def _why_no_mode(image: Image.Image) -> str:
    if image.mode in ("P", "LA", "RGBA"):
        return "transparent in places"
    return f"of mode {image.mode}, not 8 bits a colour"


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """A picture (H, W, C) in another size, each pixel an average of the nearest.

    >>> resized(np.array([[[0], [200]]], np.uint8), 1, 1).tolist()
    [[[100]]]
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    smooth = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(smooth, np.uint8).reshape(height, width, -1)


def coloured(pixels: Pixels, channels: int) -> Pixels:
    """A picture (H, W, C) in 3 channels, a grey one three times over, or in 1, as bright.

    >>> coloured(np.array([[[255, 0, 0]]], np.uint8), 1).tolist()
    [[[76]]]
    """
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).convert("L"), np.uint8)[..., None]


# --- arrays -------------------------------------------------------------------------------------


def read_digits(*, labelled: bool = True) -> Iterator[Picture]:
    """scikit-learn's 8 x 8 digits, their 17 levels spread over 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / (DIGIT_LEVELS - 1))).astype(np.uint8)
    names = [str(label) for label in digits.target] if labelled else None
    yield from _numbered(DIGITS, pixels[..., None], names)


def _numbered(name: str, pixels: Pixels, labels: Labels) -> Iterator[Picture]:
    for row, picture in enumerate(pixels):
        label = None if labels is None else labels[row]
        yield Picture(f"{name}:{row + 1}", picture, label)


def _of_idx(path: Path) -> Source:
    beside = [p for p in sorted(_swapped(path, "images", "labels", ("3", "1"))) if p.is_file()]
    labels = beside[0] if beside and beside[0] != path else None
    files = (path,) if labels is None else (path, labels)
    return Source(shown(path), _split_in(path.name), files, partial(_read_idx_pair, path, labels))


def _split_in(name: str) -> str | None:
    """The split that a name says: t10k-images is test.

    >>> _split_in("t10k-images-idx3-ubyte.gz"), _split_in("x_train"), _split_in("x")
    ('test', 'train', None)
    """
    words = re.split(r"[^a-z0-9]+", name.casefold())
    return next((PREFIXES[word] for word in words if word in PREFIXES), None)


def _read_idx_pair(path: Path, labels: Path | None, *, labelled: bool = True) -> Iterator[Picture]:
    pixels = _pixels(shown(path), read_idx(path))
    names = None
    if labelled and labels is not None:
        names = _labels(shown(labels), read_idx(labels), len(pixels))
    return _numbered(shown(path), pixels, names)


def read_idx(path: Path) -> NDArray[Any]:
    """The array of an idx file, also of a .gz. Raises `Refused` where it is damaged."""
    name = shown(path)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise Refused(f"{name} is damaged ({error}). Fetch it again.") from error
    except OSError as error:
        raise Refused(f"{name}: {error.strerror or error}.") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in IDX_TYPES or raw[3] == 0:
        raise Refused(f"{name} is no idx file: it begins with {raw[:4].hex(' ')}. Fetch it again.")
    kind, first = np.dtype(IDX_TYPES[raw[2]]), 4 + 4 * raw[3]
    sizes = np.frombuffer(raw[4:first][: (len(raw) - 4) // 4 * 4], ">u4").astype(int).tolist()
    promised = first + math.prod(sizes) * kind.itemsize
    if len(sizes) < raw[3] or len(raw) != promised:
        raise Refused(
            f"{name} is damaged: it has {len(raw):,} bytes, and by its header "
            f"{promised:,}. Fetch it again."
        )
    return np.frombuffer(raw, kind, offset=first).reshape(sizes)


def _of_npz(path: Path) -> list[Source]:
    """x and y, or x_train, y_train, x_test …: a source for every array of pictures."""
    keys = _npz_keys(path)
    pictures = [key for key in keys if not _is_labels(key)]
    if not pictures:
        raise Refused(
            f"{shown(path)} has no array of pictures; it has {', '.join(keys) or 'nothing'}. Name "
            "them x and y, or x_train, y_train, x_test, y_test."
        )
    return [
        Source(
            f"{shown(path)}/{key}",
            _split_in(key),
            (path,),
            partial(_read_npz_pair, path, key, _labels_key(key, keys)),
        )
        for key in pictures
    ]


def _is_labels(key: str) -> bool:
    words = re.split(r"[^a-z]+", key.casefold())
    return any(word in ("y", "label", "labels", "target", "targets") for word in words)


def _labels_key(key: str, keys: Sequence[str]) -> str | None:
    """The array of labels that goes with one of pictures: y_train with x_train."""
    split = _split_in(key)
    return next((k for k in keys if _is_labels(k) and _split_in(k) == split), None)


def _npz_keys(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:  # numpy leaves a damaged one open
            return list(np.load(file, allow_pickle=False).files)
    except (*DAMAGED, OSError, AttributeError) as error:
        raise Refused(f"{shown(path)} is no .npz, or damaged ({error}). Make it again.") from error


def _read_npz_pair(
    path: Path, key: str, labels: str | None, *, labelled: bool = True
) -> Iterator[Picture]:
    name = f"{shown(path)}/{key}"
    pixels = _pixels(name, _npz_array(path, key))
    names = None
    if labelled and labels is not None:
        names = _labels(f"{shown(path)}/{labels}", _npz_array(path, labels), len(pixels))
    return _numbered(name, pixels, names)


def _npz_array(path: Path, key: str) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            return np.load(file, allow_pickle=False)[key]
    except (*DAMAGED, OSError) as error:
        raise Refused(
            f"{shown(path)}: its array {key!r} cannot be read ({error}). Make it again, of plain "
            "numbers."
        ) from error


def _pixels(name: str, array: NDArray[Any]) -> Pixels:
    """An array of pictures as intensities (N, H, W, C)."""
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = np.moveaxis(array, 1, 3)  # channels first, as networks take them
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise Refused(
            f"{name} has shape {array.shape}, but pictures are (N, H, W), or (N, H, W, 3) in "
            "colours. Reshape it."
        )
    if not array.size:
        raise Refused(f"{name} is empty: shape {array.shape}. Give some pictures.")
    pixels = intensities(array, name)
    if array.dtype.kind in "ui" and pixels.max() == 1:
        raise Refused(
            f"{name}: its pixels are 0 and 1, which as integers of 255 are nearly black. Give "
            "floats, or bool."
        )
    return pixels


def _labels(name: str, array: NDArray[Any], count: int) -> Sequence[str]:
    """Labels as strings. Raises `Refused` unless there is one for every picture."""
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim != 1 or flat.dtype.kind not in "buiUS" or len(flat) != count:
        raise Refused(
            f"{name}: labels of shape {array.shape} and type {array.dtype} for {count} pictures. "
            "Give one whole number or word for each, or leave them out: --no-labels"
        )
    words = flat.astype(str) if flat.dtype.kind != "b" else flat.astype(int).astype(str)
    return list(map(str, words.tolist()))


def as_split(source: Source, split: str) -> Source:
    """The source given for a split, whatever it calls itself."""
    return replace(source, split=split)
