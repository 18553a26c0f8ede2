"""One run, one folder: made, saved, found again, and opened on any machine.

A checkpoint is written beside its place, synced, and renamed into it; its sums are checked when
it is read. A kill or a full disk at any moment leaves the last good one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .build import Built, build
from .codecs import load_codec
from .codecs.codec import Codec
from .errors import Refused
from .recipe import Recipe, check, read, to_toml

FORMAT = 1  # of a run folder; a reader refuses a higher one
WEIGHTS, OPTIMIZER, TRAINER, SUMS = (
    "weights.safetensors",
    "optimizer.pt",
    "trainer.json",
    "SHA256SUMS",
)


class Checkpoint(NamedTuple):
    """What a checkpoint holds: tensors by name, the trainer's plain numbers, the optimiser."""

    weights: dict[str, Tensor]
    trainer: dict[str, Any]
    optimizer: dict[str, Any] | None = None


class Opened(NamedTuple):
    """A run read from its folder, ready to encode and to decode."""

    folder: Path
    recipe: Recipe
    codec: Codec
    built: Built
    trainer: dict[str, Any]


def state(built: Built) -> dict[str, Tensor]:
    """All tensors of the model and of its objective, under "vae." and "objective."."""
    parts: dict[str, nn.Module] = {"vae": built.vae, "objective": built.objective}
    return {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def load_state(built: Built, weights: Mapping[str, Tensor], where: Path) -> None:
    """Put tensors back where `state` took them. Raises `Refused` where they do not fit."""
    for part, module in (("vae", built.vae), ("objective", built.objective)):
        own = {n.removeprefix(f"{part}."): t for n, t in weights.items() if n.startswith(part)}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise Refused(
                f"{where}: the weights do not fit the run's recipe, one of them was changed. "
                f"Restore the folder from a copy. ({reason})"
            ) from error


def save_checkpoint(folder: Path, name: str, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write `folder/name` whole or not at all, then remove all but the newest `keep`.

    Raises `OSError` where the disk is full; what was there before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    place, beside = folder / name, folder / f".{name}.tmp-{os.getpid()}"
    try:
        beside.mkdir()
        _write_files(beside, checkpoint)
        if place.exists():
            shutil.rmtree(place)
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync(folder)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return place


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints under a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for orphan in folder.glob(".step-*.tmp-*"):
        shutil.rmtree(orphan, ignore_errors=True)


def load_checkpoint(place: Path, *, device: str | torch.device = "cpu") -> Checkpoint:
    """Read one checkpoint after checking its sums; nothing in it is ever run.

    Raises `Refused` naming the file that is damaged, edited, missing or not what it should be.
    """
    _check_sums(place)
    try:
        weights = load_file(place / WEIGHTS, device=str(device))
        trainer = json.loads((place / TRAINER).read_text("utf-8"))
    except (SafetensorError, ValueError) as error:
        raise Refused(f"{place} is damaged: {error}. Use an older checkpoint.") from error
    return Checkpoint(weights, trainer, _load_optimizer(place / OPTIMIZER, device))


def newest(folder: Path, *, warn: Any = print) -> Path:
    """The newest checkpoint whose sums are right; damaged ones are named and passed over.

    Raises `Refused` where there is none.
    """
    found = checkpoints(folder)
    for place in reversed(found):
        try:
            _check_sums(place)
        except Refused as damage:
            warn(f"passed over: {damage}")
        else:
            return place
    seen = f"all {len(found)} are damaged" if found else "there is none"
    raise Refused(f"no checkpoint under {folder}: {seen}. Train again, or restore a copy.")


def is_run(folder: Path) -> bool:
    """Whether a folder was made by training."""
    return (folder / "recipe.toml").is_file() and (folder / "codec").is_dir()


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a run. Raises `Refused` for a folder that is no run."""
    if not is_run(folder):
        what = "has no recipe.toml and codec/" if folder.is_dir() else "does not exist"
        raise Refused(
            f"{folder} is no run: it {what}. A run is a folder made by "
            "`seqvae train CORPUS --out FOLDER`."
        )
    return read(folder / "recipe.toml")


def open_run(folder: Path, *, device: str | torch.device = "cpu", which: str = "best") -> Opened:
    """Open a run: its recipe, codec and the weights chosen on validation (or the "last").

    Where nothing was chosen yet the last checkpoint is taken.

    Raises `Refused` for a folder that is no run, and for damaged files, by name.
    """
    recipe = read_recipe(folder)
    codec = load_codec(folder / "codec")
    chosen = folder / "best"
    if which == "last" or not checkpoints(chosen):
        chosen = folder / "checkpoints"
    place = newest(chosen, warn=_warn)
    checkpoint = load_checkpoint(place, device="cpu")
    if checkpoint.trainer.get("format", 0) > FORMAT:
        raise Refused(f"{place} was written by a later seqvae; upgrade: pip install -U seqvae.")
    built = build(recipe, codec.vocab)
    load_state(built, checkpoint.weights, place)
    built.vae.to(device).eval()
    built.objective.to(device).eval()
    return Opened(folder, recipe, codec, built, checkpoint.trainer)


def check_new(folder: Path) -> None:
    """Raise `Refused` where the folder is a run already."""
    if is_run(folder):
        raise Refused(
            f"{folder} is a run already. Go on with: seqvae train --resume --out {folder}, or "
            "choose another --out."
        )


def create(folder: Path, recipe: Recipe, codec: Codec) -> None:
    """Begin a run: its folder with recipe and codec.

    Raises `Refused` where the folder holds something already.
    """
    check_new(folder)
    folder.mkdir(parents=True, exist_ok=True)
    codec.save(folder / "codec")
    check(recipe)
    write_text(folder / "recipe.toml", to_toml(recipe))


def find_device(name: str) -> torch.device:
    """cpu, cuda, cuda:1 …, or auto: a GPU if there is one. Raises `Refused` where it is not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise Refused(f"device {name!r} cannot be used here ({reason}); try cpu.") from error
    return device


def export(folder: Path, out: Path) -> None:
    """Copy a run without its optimiser and logs, in half precision: small, to share or to ship.

    Raises `Refused` where `out` exists.
    """
    if out.exists():
        raise Refused(f"{out} exists already; choose another folder.")
    opened = open_run(folder)
    create(out, opened.recipe, opened.codec)
    weights = {n: t.half() if t.is_floating_point() else t for n, t in state(opened.built).items()}
    name = f"step-{opened.trainer['step']:08d}"
    save_checkpoint(out / "best", name, Checkpoint(weights, opened.trainer), keep=1)
    for extra in ("card.md", "report.json"):
        if (folder / extra).is_file():
            shutil.copyfile(folder / extra, out / extra)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    weights = {n: t.detach().to("cpu").contiguous() for n, t in checkpoint.weights.items()}
    save_file(weights, folder / WEIGHTS)
    if checkpoint.optimizer is not None:
        torch.save(checkpoint.optimizer, folder / OPTIMIZER)
    trainer = {"format": FORMAT, **checkpoint.trainer}
    (folder / TRAINER).write_text(json.dumps(trainer, indent=1) + "\n", "utf-8")
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / SUMS).write_text(sums, "utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, which lab mates could not read
        _sync(path)
    _sync(folder)


def _check_sums(place: Path) -> None:
    listed = place / SUMS
    if not listed.is_file():
        raise Refused(f"{place} is no whole checkpoint: {SUMS} is missing. Use an older one.")
    entries = [line.split("  ", 1) for line in listed.read_text("utf-8", "replace").splitlines()]
    if not {WEIGHTS, TRAINER} <= {entry[-1] for entry in entries}:
        raise Refused(f"{listed} does not list {WEIGHTS} and {TRAINER}. Use an older checkpoint.")
    for wanted, name in entries:
        path = place / name
        if not path.is_file() or sha256(path) != wanted:
            what = "is not what was saved (truncated or edited)" if path.is_file() else "is gone"
            raise Refused(f"{path} {what}. Use an older checkpoint, or restore a copy.")


def _load_optimizer(path: Path, device: str | torch.device) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # pickle raises what it likes; all of it means the same here
        raise Refused(
            f"{path} holds more than tensors and numbers, so it was not opened: nothing in it was "
            "run. Delete it to use the weights alone; training cannot resume from it."
        ) from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _warn(message: str) -> None:
    import warnings

    warnings.warn(message, stacklevel=3)
