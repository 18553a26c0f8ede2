"""The density of a run's codes: one file in its folder, which belongs to the run's weights."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from . import __version__
from .corpus import Replacing
from .densities import Density, kinds
from .errors import Refused
from .vae import VAE

FILE = "density.safetensors"  # tensors, and the header as their metadata: no pickled code
FORMAT = 1
HEADER = "seqvae"


class Kept(NamedTuple):
    """A density, and where it comes from: the header of its file."""

    density: Density
    header: dict[str, Any]

    @property
    def about(self) -> str:
        """What it is and was fitted on, for a reader."""
        header = self.header
        return (
            f"{self.density.about}, fitted on {header['codes']:,} codes of {header['split']}, "
            f"seed {header['seed']}"
        )


def weights_sum(vae: VAE) -> str:
    """A checksum of a model's weights, rounded to half precision.

    So a run and its export, which holds them in half precision, have the same.
    """
    return checksum(
        {n: t.half() if t.is_floating_point() else t for n, t in vae.state_dict().items()}
    )


def save(folder: Path, density: Density, vae: VAE, *, codes: int, split: str, seed: int) -> Kept:
    """Write the density into the run's folder, whole or not at all.

    `codes` is how many it was fitted on, of the split, by the seed.
    """
    tensors = {n: t.detach().cpu().contiguous() for n, t in density.state_dict().items()}
    header = {
        "format": FORMAT,
        "version": __version__,
        "kind": density.kind,
        "sizes": density.sizes,
        "codes": codes,
        "split": split,
        "seed": seed,
        "weights": weights_sum(vae),
        "sha256": checksum(tensors),
    }
    with Replacing(folder / FILE) as file:
        file.write(to_bytes(tensors, {HEADER: json.dumps(header)}))
    return Kept(density, header)


def load(folder: Path, vae: VAE) -> Kept:
    """Read the density of a run whose weights are the model's.

    Raises `Refused` where there is none, for one that was fitted to other weights, and for a file
    that is damaged or of a later version.
    """
    path, cure = folder / FILE, f"Fit one: seqvae density {folder}"
    if not path.is_file():
        raise Refused(f"{folder} has no density of its codes ({FILE}). {cure}")
    try:
        header, tensors = read_tensors(path)
        if header["format"] > FORMAT:
            raise Refused(
                f"{path} has format {header['format']}; this version reads up to {FORMAT}. "
                "Upgrade: pip install -U seqvae"
            )
        if header["kind"] not in kinds():
            raise Refused(
                f"{path} holds a density of the kind {header['kind']!r}, which this version does "
                f"not know. Upgrade: pip install -U seqvae. {cure}"
            )
        if header["weights"] != weights_sum(vae):
            raise Refused(
                f"{path} was fitted to other weights than the run's, which was trained on since: "
                f"its codes are none of this model's. {cure}"
            )
        if header["sha256"] != checksum(tensors):
            raise Refused(f"{path} is not what was saved: damaged or edited. {cure}")
        return Kept(_filled(header, tensors), header)
    except Refused:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise Refused(f"{path} is damaged ({error!r:.80}). {cure}") from error


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header of a safetensors file of ours, and its tensors."""
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})[HEADER])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _filled(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Density:
    # Nothing is allocated, or drawn, for tensors that the file has.
    with torch.device("meta"):
        density = kinds()[header["kind"]](**header["sizes"])
    density.load_state_dict(tensors, assign=True)
    return density.requires_grad_(False).eval()


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names and shapes, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()
