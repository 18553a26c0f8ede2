"""Files in a run's folder that belong to its weights: tensors, with a header that says so.

Safetensors with the header as their metadata: no pickled code. What was made of other weights is
never read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from . import __version__
from .corpus import Replacing
from .errors import Refused
from .vae import VAE

HEADER = "seqvae"

T = TypeVar("T")
Tensors = Mapping[str, Tensor]


class Keepsake(NamedTuple):
    """A sort of such files.

    `what` it is for, "density of its codes"; how it was `made`, "fitted to"; `again`, the command
    that makes it.
    """

    file: str
    format: int
    what: str
    made: str
    again: str

    def write(
        self, folder: Path, tensors: Tensors, vae: VAE, about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write tensors into a run's folder, whole or not at all; their header."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {
            "format": self.format,
            "version": __version__,
            **about,
            "weights": weights_sum(vae),
            "sha256": checksum(plain),
        }
        with Replacing(folder / self.file) as file:
            file.write(to_bytes(plain, {HEADER: json.dumps(header)}))
        return header

    def read(self, folder: Path, vae: VAE, make: Callable[[dict[str, Any], Tensors], T]) -> T:
        """What `make` makes of the header and the tensors of a run whose weights are the model's.

        Raises `Refused` where there is no file, for one of other weights, and for one that is
        damaged or of a later version.
        """
        path, cure = folder / self.file, self.again.format(run=folder)
        if not path.is_file():
            raise Refused(f"{folder} has no {self.what} ({self.file}). {cure}")
        try:
            header, tensors = _read(path)
            self._check(path, header, tensors, vae, cure)
            return make(header, tensors)
        except Refused:
            raise
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise Refused(f"{path} is damaged ({error!r:.80}). {cure}") from error

    def _check(
        self, path: Path, header: Mapping[str, Any], tensors: Tensors, vae: VAE, cure: str
    ) -> None:
        if header["format"] > self.format:
            raise Refused(
                f"{path} has format {header['format']}; this version reads up to {self.format}. "
                "Upgrade: pip install -U seqvae"
            )
        if header["weights"] != weights_sum(vae):
            raise Refused(
                f"{path} was {self.made} other weights than the run's, which was trained on "
                f"since: its codes are none of this model's. {cure}"
            )
        if header["sha256"] != checksum(tensors):
            raise Refused(f"{path} is not what was saved: damaged or edited. {cure}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})[HEADER])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def weights_sum(vae: VAE) -> str:
    """A checksum of a model's weights, rounded to half precision.

    So a run and its export, which holds them in half precision, have the same.
    """
    return checksum(
        {n: t.half() if t.is_floating_point() else t for n, t in vae.state_dict().items()}
    )


def checksum(tensors: Tensors) -> str:
    """SHA-256 of tensors with their names and shapes, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()
