"""The density of a run's codes: one file in its folder, which belongs to the run's weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .densities import Density, kinds
from .errors import Refused
from .keepsakes import Keepsake
from .vae import VAE

FILE = "density.safetensors"
KEEPSAKE = Keepsake(FILE, 1, "density of its codes", "fitted to", "Fit one: seqvae density {run}")


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


def save(folder: Path, density: Density, vae: VAE, *, codes: int, split: str, seed: int) -> Kept:
    """Write the density into the run's folder, whole or not at all.

    `codes` is how many it was fitted on, of the split, by the seed.
    """
    of = {"kind": density.kind, "sizes": density.sizes}
    about = {**of, "codes": codes, "split": split, "seed": seed}
    return Kept(density, KEEPSAKE.write(folder, density.state_dict(), vae, about))


def load(folder: Path, vae: VAE) -> Kept:
    """Read the density of a run whose weights are the model's.

    Raises `Refused` where there is none, for one that was fitted to other weights, and for a file
    that is damaged or of a later version.
    """
    return KEEPSAKE.read(folder, vae, _kept)


def _kept(header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Kept:
    if header["kind"] not in kinds():
        raise Refused(
            f"{FILE} holds a density of the kind {header['kind']!r}, which this version does not "
            "know. Upgrade: pip install -U seqvae. Or fit another: seqvae density RUN"
        )
    return Kept(_filled(header, tensors), header)


def _filled(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Density:
    # Nothing is allocated, or drawn, for tensors that the file has.
    with torch.device("meta"):
        density = kinds()[header["kind"]](**header["sizes"])
    density.load_state_dict(tensors, assign=True)
    return density.requires_grad_(False).eval()
