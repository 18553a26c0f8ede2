"""One run, one folder: made, saved, found again, and opened on any machine.

A checkpoint is written beside its place, synced, and renamed into it; its sums are checked when
it is read. A kill or a full disk at any moment leaves the last good one.
"""

import hashlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from .build import Built, build
from .codecs import load_codec
from .codecs.codec import Codec
from .corpus import Replacing, file_sha256
from .density import FILE as DENSITY
from .density import load as load_density
from .errors import Refused
from .recipe import Recipe, check, read_whole, staged, to_toml
from .vectors import FILE as VECTORS
from .vectors import load as load_vectors

FORMAT = 1  # of a run folder; a reader refuses a higher one
WEIGHTS, OPTIMIZER, TRAINER, SUMS = (
    "weights.safetensors",
    "optimizer.pt",
    "trainer.json",
    "SHA256SUMS",
)

Warn = Callable[[str], None]


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
    place: Path  # the checkpoint that was read


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
        start = f"{part}."
        own = {n.removeprefix(start): t for n, t in weights.items() if n.startswith(start)}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise Refused(
                f"{where}: the weights do not fit the run's recipe, one of them was changed. "
                f"Restore the folder from a copy. ({reason})"
            ) from error


def save_checkpoint(folder: Path, name: str, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write `folder/name` whole or not at all, then remove all but the newest `keep` up to it.

    Later ones go too: they are damaged, or of a course that training has left.

    Raises `OSError` where the disk is full; what was there before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    place, beside = folder / name, folder / f".{name}.tmp-{os.getpid()}"
    try:
        beside.mkdir()
        _write_files(beside, checkpoint)
        if place.exists():  # its name comes free at once; removing it file by file takes longer
            place.rename(folder / f".{name}.old")
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync(folder)
    sweep(folder)
    forget_after(folder, name)
    prune(folder, keep=keep)
    return place


def forget_after(folder: Path, name: str) -> None:
    """Remove checkpoints of later steps: they are damaged, or of a course that was left."""
    for later in [path for path in checkpoints(folder) if path.name > name]:
        shutil.rmtree(later)


def prune(folder: Path, *, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    found = checkpoints(folder)
    for old in found[: max(len(found) - keep, 0)]:
        shutil.rmtree(old)


def checkpoint_name(step: int) -> str:
    """The folder of a step's checkpoint; names sort as steps do."""
    return f"step-{step:08d}"


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints under a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind, putting back what one had only moved aside."""
    for aside in folder.glob(".step-*.old"):
        place = folder / aside.name.removeprefix(".").removesuffix(".old")
        if place.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(place)
    for orphan in folder.glob(".step-*.tmp-*"):
        shutil.rmtree(orphan, ignore_errors=True)


def load_checkpoint(
    place: Path, *, device: str | torch.device = "cpu", optimizer: bool = True
) -> Checkpoint:
    """Read one checkpoint after checking its sums; nothing in it is ever run.

    Raises `Refused` naming the file that is damaged, edited, missing or not what it should be.
    """
    listed = _check_sums(place)
    trainer = _read_trainer(place / TRAINER)
    try:
        weights = load_file(place / WEIGHTS, device=str(device))
    except (SafetensorError, ValueError) as error:
        raise Refused(f"{place / WEIGHTS} holds no tensors: {error}. {_cure(place)}") from error
    wanted = optimizer and OPTIMIZER in listed  # a file that is not listed is not to be trusted
    return Checkpoint(
        weights, trainer, _load_optimizer(place / OPTIMIZER, device) if wanted else None
    )


def newest(folder: Path, *, warn: Warn | None = None) -> Path:
    """The newest checkpoint whose sums are right; `warn` is told of damaged ones passed over.

    Raises `Refused` where there is none.
    """
    damages = []
    for place in reversed(checkpoints(folder)):
        try:
            _check_sums(place)
        except Refused as damage:
            damages.append(damage)
        else:
            for passed in damages:
                (warn or _warn)(f"passed over: {passed} Using {place.name}.")
            return place
    if damages:
        raise damages[0]
    raise Refused(f"{folder} holds no checkpoint. Restore it from a copy, or train again.")


def is_run(folder: Path) -> bool:
    """Whether a folder was made by training."""
    return (folder / "recipe.toml").is_file() and (folder / "codec").is_dir()


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a run. Raises `Refused` for a folder that is no run."""
    check_run(folder)
    return read_whole(folder / "recipe.toml")


def check_run(folder: Path) -> None:
    """Raise `Refused` for a folder that is no run."""
    if not is_run(folder):
        what = "has no recipe.toml and codec/" if folder.is_dir() else "is no folder"
        raise Refused(
            f"{folder} is no run: it {what}. A run is a folder made by "
            "`seqvae train CORPUS --out FOLDER`."
        )


def open_run(
    folder: Path, *, device: str | torch.device = "cpu", warn: Warn | None = None
) -> Opened:
    """Open a run: its recipe, codec and the weights chosen on validation.

    Where nothing was chosen yet the last checkpoint is taken. `warn` is told of damaged
    checkpoints that were passed over (None: as a warning of Python's).

    Raises `Refused` for a folder that is no run, and for damaged files, by name.
    """
    return open_checkpoint(folder, chosen(folder, warn=warn), device=device)


def open_checkpoint(folder: Path, place: Path, *, device: str | torch.device = "cpu") -> Opened:
    """A run as it was at a checkpoint, one of `checkpoints(folder / "checkpoints")`.

    Raises `Refused` as `open_run` does.
    """
    # First of all: it says whether this version can read the rest.
    checkpoint = load_checkpoint(place, optimizer=False)
    recipe, codec = read_recipe(folder), load_codec(folder / "codec")
    starts = checkpoint.trainer.get("starts")
    stage = len(starts) - 1 if isinstance(starts, list) else 0
    built = build(staged(recipe, stage), **codec.extent._asdict())
    load_state(built, checkpoint.weights, place)
    built.vae.to(device).eval()
    built.objective.to(device).eval()
    return Opened(folder, recipe, codec, built, checkpoint.trainer, place)


def chosen(folder: Path, *, warn: Warn | None = None) -> Path:
    """The checkpoint that `open_run` opens. Raises `Refused` as it does."""
    check_run(folder)
    found = folder / "best"
    if not checkpoints(found):
        found = folder / "checkpoints"
    if not checkpoints(found):
        raise Refused(
            f"{folder} holds no weights yet: it ended before its first checkpoint. Go on with: "
            f"seqvae train --resume --out {folder}"
        )
    return newest(found, warn=warn)


def check_new(folder: Path) -> None:
    """Raise `Refused` where the folder is a run already, or cannot become one."""
    if is_run(folder):
        raise Refused(
            f"{folder} is a run already. Go on with: seqvae train --resume --out {folder}, or "
            "choose another --out."
        )
    file = next((path for path in (folder, *folder.parents) if path.is_file()), None)
    if file is not None:
        raise Refused(f"{file} is a file, so {folder} cannot be made. Choose another --out.")


def create(folder: Path, recipe: Recipe, codec: Codec) -> None:
    """Begin a run: its folder with codec and recipe, the recipe last, which makes it a run.

    Raises `Refused` where the folder is a run already.
    """
    check_new(folder)
    check(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    codec.save(folder / "codec")
    write_text(folder / "recipe.toml", to_toml(recipe))


def find_device(name: str) -> torch.device:
    """cpu, cuda, cuda:1 …, or auto: a GPU if there is one. Raises `Refused` where it is not.

    Of several processes that a launcher has started on a machine each has a GPU of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise Refused(f"device {name!r} cannot be used here ({reason}); try cpu.") from error
    return device


def export(folder: Path, out: Path, *, warn: Warn | None = None) -> None:
    """Copy a run without its optimiser and logs, in half precision: small, to share or to ship.

    Raises `Refused` where `out` exists.
    """
    if out.exists():
        raise Refused(f"{out} exists already; choose another folder.")
    opened = open_run(folder, warn=warn)
    weights = {n: t.half() if t.is_floating_point() else t for n, t in state(opened.built).items()}
    name = checkpoint_name(opened.trainer["step"])
    try:
        create(out, opened.recipe, opened.codec)
        save_checkpoint(out / "best", name, Checkpoint(weights, opened.trainer), keep=1)
        for extra in ("card.md", "report.json", *_fitting(opened, warn)):
            if (folder / extra).is_file():
                shutil.copyfile(folder / extra, out / extra)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)  # half an export would stand in the way of a whole
        raise


def _fitting(opened: Opened, warn: Warn | None) -> list[str]:
    """The files about the run's codes, but those of other weights; `warn` is told of these."""
    found = []
    for name, load in ((DENSITY, load_density), (VECTORS, load_vectors)):
        if not (opened.folder / name).is_file():
            continue
        try:
            load(opened.folder, opened.built.vae)
        except Refused as reason:
            (warn or _warn)(f"left behind: {reason}")
        else:
            found.append(name)
    return found


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with Replacing(path) as file:
        file.write(text.encode())


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    # Bytes first, then files of our own: the libraries' writers report a full disk each in its own
    # way, none as an OSError, and safetensors' file could be read by nobody else (mode 0600).
    weights = {n: t.detach().to("cpu").contiguous() for n, t in checkpoint.weights.items()}
    trainer = {"format": FORMAT, **checkpoint.trainer}
    files = {WEIGHTS: to_bytes(weights), TRAINER: (json.dumps(trainer, indent=1) + "\n").encode()}
    if checkpoint.optimizer is not None:
        packed = io.BytesIO()
        torch.save(checkpoint.optimizer, packed)
        files[OPTIMIZER] = packed.getvalue()
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    files[SUMS] = "".join(sums).encode()
    for name, data in files.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync(folder)


def _check_sums(place: Path) -> set[str]:
    """The names of a checkpoint's files, each of them being what was saved."""
    path = place / SUMS
    if not path.is_file():
        raise Refused(f"{place} is no whole checkpoint: {SUMS} is missing. {_cure(place)}")
    lines = path.read_text("utf-8", "replace").splitlines()
    sums = {name: wanted for wanted, _, name in (line.partition("  ") for line in lines)}
    # Only our own names are ever opened: a stranger's list could lead anywhere.
    if not {WEIGHTS, TRAINER} <= set(sums) <= {WEIGHTS, TRAINER, OPTIMIZER}:
        raise Refused(f"{path} does not list {WEIGHTS} and {TRAINER}. {_cure(place)}")
    for name, wanted in sums.items():
        file = place / name
        if not file.is_file():
            raise Refused(f"{file} is gone. {_cure(place)}")
        if file_sha256(file) != wanted:
            raise Refused(f"{file} is not what was saved: truncated or edited. {_cure(place)}")
    return set(sums)


def _cure(place: Path) -> str:
    return f"Restore it from a copy, or delete {place} to fall back on the one before."


def _read_trainer(path: Path) -> dict[str, Any]:
    try:
        trainer = json.loads(path.read_bytes())
        number, step = trainer["format"], trainer["step"]
        whole = type(number) is int and type(step) is int and step >= 0
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{path} is damaged ({error!r:.80}). {_cure(path.parent)}") from error
    if not whole:
        raise Refused(f"{path} is damaged (step {step!r:.20}). {_cure(path.parent)}")
    if number > FORMAT:
        raise Refused(
            f"{path} has format {number}; this version reads up to {FORMAT}. "
            "Upgrade: pip install -U seqvae"
        )
    return trainer


def _load_optimizer(path: Path, device: str | torch.device) -> dict[str, Any]:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # pickle raises what it likes; all of it means the same here
        raise Refused(
            f"{path} holds more than tensors and numbers, so it was not opened and nothing in it "
            "was run. Do not resume from a checkpoint you did not make; its weights can be used."
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)
