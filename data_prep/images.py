"""Pictures in files -> a prepared corpus: read, split, perhaps binarised, written, counted.

Every source is read twice: first to find their shape, their labels and who goes where, then to be
written. The corpus takes its name when it is whole.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqvae import __version__
from seqvae.binarized import drawn
from seqvae.codecs import PixelCodec
from seqvae.codecs.pixels import Binarize, Pixels, sized
from seqvae.corpus import SPLITS, Block, Packed, Replacing, write_block, write_manifest
from seqvae.errors import Refused, check_sizes
from seqvae.tokens import SPECIAL

from .blocks import DUPLICATE, RIVALS
from .pictures import (
    DIGIT_LEVELS,
    DIGITS,
    Picture,
    Source,
    as_split,
    coloured,
    find_sources,
    resized,
)
from .plan import Tell
from .scan import DEFAULT_FRACTION, DEFAULT_LINES, exact_thresholds, label_order

BLOCK = 10_000  # pictures in a file
OVER = "over the limit"
UNLABELLED = "no label"
DIGIT_SHARES = (0.1, 0.2)  # of the embedded digits, in valid and in test

Fate = tuple[str, str | None]  # the split of a picture, and why it is dropped


@dataclass(frozen=True)
class Options:
    """Everything that decides the bytes of a corpus, besides its sources."""

    valid_fraction: float | None
    test_fraction: float | None
    labels: bool | None
    height: int | None
    width: int | None
    channels: int | None
    shrink: int
    levels: int | None
    binarize: Binarize
    limit: int | None
    keep_duplicates: bool
    seed: int


@dataclass(frozen=True)
class Prepared:
    """What a call of `prepare_images` did, as the manifest says it."""

    folder: Path
    codec: PixelCodec
    labels: Sequence[str] | None
    report: Mapping[str, Any]

    def table(self) -> list[tuple[str, ...]]:
        """A header and one row a split: pictures read = kept + dropped."""
        header = ("split", "pictures", "kept", "dropped", "reasons")
        return [header, *(_table_row(name, row) for name, row in self.report["splits"].items())]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        lines += [sentence for number, sentence in self._remarks() if number]
        return "\n".join([*lines, f"{self.folder}: {self._about()}, finished"])

    def _remarks(self) -> Iterator[tuple[int, str]]:
        resized, changed = self.report["resized"], self.report["pixels changed"]
        yield resized, f"resized: {resized} pictures"
        yield changed, f"of fewer levels than they were: {changed} pixels changed"
        unmet = self.report.get("labels unmet", [])  # which an older corpus does not say
        yield len(unmet), f"labels of no picture in train: {len(unmet)} ({', '.join(unmet):.60})"

    def _about(self) -> str:
        codec = self.codec
        drawing = f"{codec.levels} levels"
        if codec.binarize != "none":
            drawing = f"binarised, {codec.binarize}"
        count = 0 if self.labels is None else len(self.labels)
        labels = {0: "no labels", 1: "1 label"}.get(count, f"{count} labels")
        return f"{codec.vocab} ids, {sized(codec.shape)}, {drawing}, {labels}"


def _table_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    dropped = sum(row["dropped"].values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in row["dropped"].items())
    return name, str(row["kept"] + dropped), str(row["kept"]), str(dropped), reasons


def prepare_images(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    valid_fraction: float | None = None,
    test_fraction: float | None = None,
    labels: bool | None = None,
    height: int | None = None,
    width: int | None = None,
    channels: int | None = None,
    shrink: int = 1,
    levels: int | None = None,
    binarize: Binarize = "none",
    limit: int | None = None,
    keep_duplicates: bool = False,
    seed: int = 0,
    strict: bool = False,
    progress: Tell | None = None,
) -> Prepared:
    """Write a prepared corpus of pictures; a finished one of the same is left as it is.

    Arguments:
        sources: idx files (also .gz, their labels beside them), .npz (x and y, or x_train,
            y_train, x_test …), PNG and JPEG, folders of any of them, or "digits", which are
            embedded. Subfolders are labels, or splits if all are called so, as idx files may be
            (t10k-…).
        out: the corpus's folder.
        valid, test: further sources that are these splits. Pictures of train that also stand in
            them, and those of valid that stand in test, are dropped unless `keep_duplicates`.
        valid_fraction, test_fraction: what of the rest is cut off for them, by hash and seed, so
            that equal pictures share a split: a share, or from 1 on a number of pictures. None:
            5 %, 5,000 at most, and nothing where there is such a split already.
        labels: whether there must be any; None: where all pictures have one.
        height, width: others are resized, counted; None: as they are, and all alike.
        channels: 1 (grey) or 3 (colours; grey ones are written as such); None: as the first is.
        shrink: the side of the squares whose average becomes a pixel.
        levels: shades of a pixel, at most 256; None: all, of the embedded digits their 17.
        binarize: "none", "static" (every pixel is drawn once, white with probability v / 255) or
            "dynamic" (drawn anew whenever it is read).
        limit: pictures of each split given, at most, chosen by hash; others are dropped.
        seed: of the splits, of the limit and of the drawing.
        strict: the first picture that cannot be used is `Refused`.
        progress: called with stage, pictures done, pictures in all if known.

    Raises `Refused` for input that cannot be used, `OSError` when the disk is full.

    >>> import tempfile
    >>> made = prepare_images(["digits"], Path(tempfile.mkdtemp()) / "digits", limit=100)
    >>> made.codec.shape, made.codec.vocab, made.labels[:3]
    ((8, 8, 1), 21, ['0', '1', '2'])
    """
    options = Options(
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
        keep_duplicates=keep_duplicates,
        seed=seed,
    )
    _check_options(options)
    found = find_sources(sources)
    for split, given in (("valid", valid), ("test", test)):
        if given is not None:
            found += [as_split(source, split) for source in find_sources([given])]
    out, described = Path(out), [_described(source) for source in found]
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        return _finished(out, described, options)
    plan = _Plan(found, options, strict, progress or _silent)
    return _Writing(plan, out).write(described)


def _silent(stage: str, done: int, total: int | None) -> None:
    """For whoever did not ask to be told."""


def _described(source: Source) -> dict[str, Any]:
    return {"split": source.split or "train", **source.described()}


def _check_options(options: Options) -> None:
    check_sizes(shrink=options.shrink, limit=options.limit or 1)
    if (options.height is None) != (options.width is None):
        raise Refused("height and width: give both, or neither (as the pictures are).")
    # The codec says what is wrong with them.
    side = {"height": options.height or 1, "width": options.width or 1}
    PixelCodec(
        **side,
        channels=options.channels or 1,
        levels=256 if options.levels is None else options.levels,
        binarize=options.binarize,
        seed=options.seed,
    )
    if options.binarize != "none" and options.levels not in (None, 2):
        raise Refused(
            f"levels = {options.levels} and binarize = {options.binarize!r}: binarised pixels "
            "have 2. Leave one out."
        )
    shares = [options.valid_fraction or 0.0, options.test_fraction or 0.0]
    if not min(shares) >= 0 or sum(share for share in shares if share < 1) >= 1:
        raise Refused(f"valid and test fractions {shares} leave nothing to train on.")


class _Seen(NamedTuple):
    """A picture as pass 1 saw it."""

    name: str
    origin: str  # the split it was given for
    key: int  # 64 bits of its pixels, as they will be
    label: str | None
    fault: str | None


class _Plan:
    """Pass 1: the shape of the pictures, their labels, and the split of each, or why it has none.

    `fates` are, for every picture in order, its split and its fault.
    """

    def __init__(
        self, sources: Sequence[Source], options: Options, strict: bool, tell: Tell
    ) -> None:
        self.sources, self.options, self.strict, self.tell = sources, options, strict, tell
        self.shape: tuple[int, ...] | None = None  # before shrinking
        self.first = ""  # the picture whose shape it is
        self.resized = 0
        self.seen = [self._look(picture, source) for picture, source in self._pictures("look")]
        self.resized = 0  # counted again in pass 2
        if self.shape is None:
            raise Refused(self._nothing_read())
        self.labels: list[str] | None = self._labels()
        self.fates: list[Fate] = self._fates()
        if not any(split == "train" and fault is None for split, fault in self.fates):
            raise Refused(
                f"no picture is left in train of {len(self.seen)}: {self._reasons()}. Give more, "
                "or cut off fewer: --valid-fraction, --test-fraction"
            )

    def _pictures(self, stage: str) -> Iterator[tuple[Picture, Source]]:
        done = 0
        for source in self.sources:
            for picture in source.read(labelled=self.options.labels is not False):
                yield picture, source
                done += 1
                if done % 1000 == 0:
                    self.tell(stage, done, None)

    def _look(self, picture: Picture, source: Source) -> _Seen:
        fault = picture.fault
        if fault is not None and self.strict:
            raise Refused(
                f"{picture.name}: {fault}. Mend it, or drop such pictures: leave out --strict."
            )
        key = 0 if picture.pixels is None else self._key(self.fitted(picture))
        return _Seen(picture.name, source.split or "train", key, picture.label, fault)

    def _key(self, pixels: Pixels) -> int:
        seed = b"%d" % self.options.seed
        digest = hashlib.blake2b(pixels.tobytes(), digest_size=8, key=seed).digest()
        return int.from_bytes(digest, "big")

    def fitted(self, picture: Picture) -> Pixels:
        """The picture in the shape of all, (H, W, C). Raises `Refused` where it has another."""
        assert picture.pixels is not None
        pixels = self._sized(self._coloured(picture.pixels, picture.name))
        if self.shape is None:
            self.shape, self.first = pixels.shape, picture.name
            self._check_shrink()
        if pixels.shape != self.shape:
            raise Refused(
                f"{picture.name} is {sized(pixels.shape)}, {self.first} is {sized(self.shape)}: "
                "all are to be alike. "
                + (
                    "Take all as colours: --channels 3. Or as grey, if none has any: --channels 1"
                    if pixels.shape[:2] == self.shape[:2]
                    else "Resize all: seqvae prepare images … --height {} --width {}".format(
                        *self.shape[:2]
                    )
                )
            )
        return _shrunk(pixels, self.options.shrink)

    def _coloured(self, pixels: Pixels, name: str) -> Pixels:
        wanted, there = self.options.channels, pixels.shape[2]
        if wanted == 3:
            return coloured(pixels, 3)
        if wanted == 1 and there == 3:
            grey = pixels[..., :1]
            if not (pixels == grey).all():
                raise Refused(
                    f"{name} is in colour, and channels = 1 was asked for. Make it grey first, or "
                    "take colours: --channels 3"
                )
            return grey
        return pixels

    def _sized(self, pixels: Pixels) -> Pixels:
        height, width = self.options.height, self.options.width
        if height is None or width is None or pixels.shape[:2] == (height, width):
            return pixels
        self.resized += 1
        return resized(pixels, height, width)

    def _check_shrink(self) -> None:
        shrink, (height, width, _) = self.options.shrink, self.shape or (1, 1, 1)
        if height % shrink or width % shrink:
            raise Refused(
                f"shrink = {shrink}: {height} x {width} pixels cannot be cut into squares of that "
                "side. Name a divisor of both, or resize: --height N --width N"
            )

    def _nothing_read(self) -> str:
        if not self.seen:
            return "there is no picture in these sources. Give some."
        names = ", ".join(f"{seen.name} ({seen.fault})" for seen in self.seen[:3])
        return (
            f"none of {len(self.seen)} pictures can be used: {names}. Give PNG or JPEG of 8 bits, "
            "idx or .npz files."
        )

    def _labels(self) -> list[str] | None:
        """The labels in order, if there are any and they are wanted."""
        usable = [seen for seen in self.seen if seen.fault is None]
        without = [seen for seen in usable if seen.label is None]
        wanted = self.options.labels
        if wanted is False or (wanted is None and len(without) == len(usable)):
            return None
        if len(without) == len(usable):
            raise Refused(
                f"labels were asked for, and none of {len(usable)} pictures has one. Sort them "
                "into a folder for each label, or leave them out: --no-labels"
            )
        if wanted is None and without:
            raise Refused(
                f"{len(without)} of {len(usable)} pictures have no label, {without[0].name} the "
                "first. Drop these: --labels. Or take none: --no-labels"
            )
        return sorted({s.label for s in usable if s.label is not None}, key=label_order)

    def _fates(self) -> list[Fate]:
        """The split of every picture, and why it is dropped."""
        over = self._over()
        usable = [s for s in self.seen if self._fault(s, over) is None]
        pool = sorted(seen.key for seen in usable if seen.origin == "train")
        shares = self._shares(len(pool))
        if shares[0] and len(set(pool)) == 1:
            raise Refused(
                f"{len(pool)} pictures to train on, and all are alike: none is left to "
                "validate on. Give more, or others for that: --valid"
            )
        below = exact_thresholds(pool, *shares) if pool and any(shares) else (0, 0)
        taken: dict[str, set[int]] = {split: set() for split in SPLITS}
        for seen in usable:
            taken[seen.origin].add(seen.key)
        return [self._fate(seen, self._fault(seen, over), below, taken) for seen in self.seen]

    def _fault(self, seen: _Seen, over: Mapping[str, int]) -> str | None:
        if seen.fault is None and self.labels is not None and seen.label is None:
            return UNLABELLED
        # Keys that decide the split are kept apart from those that decide the limit.
        return OVER if seen.fault is None and _mixed(seen.key) >= over[seen.origin] else seen.fault

    def _over(self) -> dict[str, int]:
        """For each given split the bound of what is within the limit."""
        bounds = {}
        for split in SPLITS:
            keys = sorted(
                _mixed(s.key) for s in self.seen if s.origin == split and s.fault is None
            )
            limit = self.options.limit
            bounds[split] = 2**64 if limit is None or len(keys) <= limit else keys[limit]
        return bounds

    def _shares(self, count: int) -> tuple[float, float]:
        """Shares of the pool of train that go to valid and to test."""
        given = {source.split for source in self.sources}
        usual = [min(DEFAULT_FRACTION, DEFAULT_LINES / max(count, 1))] * 2
        if [source.name for source in self.sources] == [DIGITS]:
            usual = list(DIGIT_SHARES)
        asked = (self.options.valid_fraction, self.options.test_fraction)
        first, second = (
            _share(share, count) if share is not None else (0.0 if split in given else own)
            for split, share, own in zip(("valid", "test"), asked, usual, strict=True)
        )
        if first + second >= 1:
            raise Refused(
                f"{count} pictures less {asked[0] or 0:g} for valid and {asked[1] or 0:g} for "
                "test leave none to train on. Cut off fewer."
            )
        return first, second

    def _fate(
        self,
        seen: _Seen,
        fault: str | None,
        below: tuple[int, int],
        taken: Mapping[str, set[int]],
    ) -> Fate:
        split = seen.origin
        rivals = [] if self.options.keep_duplicates else RIVALS.get(split, ())
        if fault is None and any(seen.key in taken[rival] for rival in rivals):
            fault = DUPLICATE[split]
        elif fault is None and split == "train":
            split = "valid" if seen.key < below[0] else "test" if seen.key < below[1] else split
        return split, fault

    def _reasons(self) -> str:
        counts = Counter(fault or f"in {split}" for split, fault in self.fates)
        return ", ".join(f"{reason} {count}" for reason, count in counts.most_common())

    def unmet(self) -> list[str]:
        """The labels that no picture in train has, and no head will have learned."""
        kept = zip(self.seen, self.fates, strict=True)
        met = {seen.label for seen, fate in kept if fate == ("train", None)}
        return [label for label in self.labels or () if label not in met]

    @property
    def codec(self) -> PixelCodec:
        assert self.shape is not None
        options, (height, width, channels) = self.options, self.shape
        side = options.shrink
        levels = options.levels
        if levels is None:
            digits = all(source.name == DIGITS for source in self.sources) and side == 1
            levels = DIGIT_LEVELS if digits and options.height in (None, 8) else 256
        return PixelCodec(
            height // side, width // side, channels, levels, options.binarize, options.seed
        )

    def kept(self) -> Iterator[tuple[str, Pixels, str | None]]:
        """Pass 2: split, pixels and label of every picture that is kept, in order."""
        self.resized = 0
        for (picture, _), seen, (split, fault) in zip(
            self._pictures("write"), self.seen, self.fates, strict=True
        ):
            if fault is None and picture.pixels is not None:
                pixels = self.fitted(picture)
                if self._key(pixels) != seen.key:
                    raise Refused(f"{picture.name} was changed while it was read. Start anew.")
                yield split, pixels, picture.label


def _share(asked: float, count: int) -> float:
    """A share, or a number of pictures as a share of so many.

    >>> [int(_share(asked, 7) * 7) for asked in (0.5, 1, 5)]
    [3, 1, 5]
    """
    return asked if asked < 1 else (asked + 0.5) / max(count, 1)


def _mixed(key: int) -> int:
    """Another hash of the same picture."""
    return key * 0x9E3779B97F4A7C15 % 2**64


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    """Averages over squares of that side, to the nearest, halves to the even."""
    if side == 1:
        return pixels
    height, width, channels = pixels.shape
    squares = pixels.reshape(height // side, side, width // side, side, channels)
    return np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)


class _Writing:
    """Pass 2: the corpus in a folder beside, which takes its name when it is whole."""

    def __init__(self, plan: _Plan, out: Path) -> None:
        self.plan, self.out = plan, out
        self.codec, self.options = plan.codec, plan.options
        self.beside = out.with_name(f".{out.name}.{os.getpid()}.part")
        self.blocks: dict[str, list[Block]] = {split: [] for split in SPLITS}
        self.rows = dict.fromkeys(SPLITS, 0)
        self.changed = 0
        names = plan.labels
        self.label_ids = None if names is None else {name: i for i, name in enumerate(names)}

    def write(self, described: Sequence[Mapping[str, Any]]) -> Prepared:
        shutil.rmtree(self.beside, ignore_errors=True)
        try:
            self._write_pictures()
            self.codec.save(self.beside / "codec")
            self._write_drops()
            self._write_end(described)
            self.beside.rename(self.out)
        finally:
            shutil.rmtree(self.beside, ignore_errors=True)
        return _read(self.out)

    def _write_pictures(self) -> None:
        waiting: dict[str, list[tuple[Pixels, str | None]]] = {split: [] for split in SPLITS}
        for split, pixels, label in self.plan.kept():
            waiting[split].append((pixels, label))
            if len(waiting[split]) == BLOCK:
                self._write_block(split, waiting.pop(split))
                waiting[split] = []
        for split, pairs in waiting.items():
            if pairs:
                self._write_block(split, pairs)

    def _write_block(self, split: str, pairs: Sequence[tuple[Pixels, str | None]]) -> None:
        ids = np.concatenate(
            [self._ids(pixels, split, self.rows[split] + i) for i, (pixels, _) in enumerate(pairs)]
        )
        self.rows[split] += len(pairs)
        labels = None
        if self.label_ids is not None:
            labels = np.array([self.label_ids[label or ""] for _, label in pairs], np.int32)
        lengths = np.full(len(pairs), self.codec.length, np.int32)
        path = self.beside / split / f"{len(self.blocks[split]):05d}.arrow"
        self.blocks[split].append(write_block(path, [Packed(ids, lengths, labels)]))

    def _ids(self, pixels: Pixels, split: str, row: int) -> NDArray[Any]:
        """What stands on the disk: ids, or of what is drawn anew each time the intensities."""
        if self.codec.binarize == "dynamic":
            return pixels.ravel()
        if self.codec.binarize == "static":
            ids = drawn(pixels.ravel(), [self.options.seed, SPLITS.index(split), row])
            return ids.astype(np.uint8)
        levels = self.codec.level(pixels)
        self.changed += int((self.codec.pixel(levels) != pixels).sum())
        return (levels.ravel() + SPECIAL).astype(np.min_scalar_type(self.codec.vocab - 1))

    def _write_drops(self) -> None:
        """`dropped.tsv`: every picture that is not in the corpus, and why."""
        with Replacing(self.beside / "dropped.tsv") as file:
            file.write(b"picture\tsplit\treason\n")
            for seen, (split, fault) in zip(self.plan.seen, self.plan.fates, strict=True):
                if fault is not None:
                    row = "\t".join(" ".join(cell.split()) for cell in (seen.name, split, fault))
                    file.write(f"{row}\n".encode())

    def _write_end(self, described: Sequence[Mapping[str, Any]]) -> None:
        dropped: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for split, fault in self.plan.fates:
            if fault is not None:
                dropped[split][fault] += 1
        splits = {
            split: {"kept": self.rows[split], "dropped": dict(sorted(dropped[split].items()))}
            for split in SPLITS
            if self.rows[split] or dropped[split]
        }
        about = {
            "modality": "image",
            "version": __version__,
            "options": asdict(self.options),
            "sources": list(described),
            "binarize": self.options.binarize,
            "dropped": {split: row["dropped"] for split, row in splits.items()},
            "report": {
                "splits": splits,
                "resized": self.plan.resized,
                "pixels changed": self.changed,
                "labels unmet": self.plan.unmet(),
            },
        }
        header = json.loads((self.beside / "codec" / "codec.json").read_bytes())
        codec = {"kind": self.codec.kind, "vocab": self.codec.vocab, "sha256": header["sha256"]}
        codec["settings"] = self.codec.settings()
        blocks = {split: found for split, found in self.blocks.items() if found}
        write_manifest(self.beside, blocks, codec, self.plan.labels, about)


def _finished(out: Path, described: Sequence[Mapping[str, Any]], options: Options) -> Prepared:
    """What stands in a folder already. Raises `Refused` unless it is the same corpus."""
    in_use = Refused(f"{out} is in use, by something else. Choose another folder: --out NEW")
    try:
        manifest = json.loads((out / "manifest.json").read_bytes())
        same = manifest["options"] == asdict(options) and manifest["sources"] == list(described)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise in_use from error
    if not same:
        raise in_use
    return _read(out)


def _read(out: Path) -> Prepared:
    """The report of a finished corpus."""
    manifest = json.loads((out / "manifest.json").read_bytes())
    return Prepared(out, PixelCodec.load(out / "codec"), manifest["labels"], manifest["report"])
