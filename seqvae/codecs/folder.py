"""A codec on disk: a folder with `codec.json` and one data file whose checksum it carries."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Refused

FORMAT = 1


class Saved(NamedTuple):
    """What a codec's folder holds: its kind, its settings, and the bytes of its data file."""

    kind: str
    settings: Mapping[str, Any]
    data: bytes


def write_folder(folder: Path, saved: Saved, name: str) -> None:
    """Write `codec.json` and the data file `name`; equal contents give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "kind": saved.kind,
        "format": FORMAT,
        "file": name,
        "sha256": hashlib.sha256(saved.data).hexdigest(),
        "settings": dict(saved.settings),
    }
    (folder / name).write_bytes(saved.data)
    (folder / "codec.json").write_text(json.dumps(header, indent=1, sort_keys=True) + "\n")


def read_folder(folder: Path) -> Saved:
    """Read what `write_folder` wrote. Raises `Refused` if a file is missing, damaged or edited."""
    header = _read_header(Path(folder) / "codec.json")
    path = Path(folder) / Path(header["file"]).name  # a stranger's header names no other folder
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}. Copy the whole codec folder again.") from error
    if hashlib.sha256(data).hexdigest() != header["sha256"]:
        raise Refused(
            f"{path} is not the file codec.json was written with: damaged or edited. "
            "Copy the folder again, or train a new codec: ids would change their meaning."
        )
    return Saved(header["kind"], header["settings"], data)


def _read_header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise Refused(f"{path.parent} is no codec: it has no codec.json.")
    try:
        header = json.loads(path.read_bytes())
        texts = [header["kind"], header["file"], header["sha256"]]
        valid = all(isinstance(text, str) for text in texts) and isinstance(
            header["settings"], dict
        )
        number = header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} is damaged ({error!r}). Copy the codec folder again.") from error
    if not valid:
        raise Refused(f"{path} is damaged (a value of the wrong type). Copy the folder again.")
    if number != FORMAT:
        raise Refused(f"{path} has format {number!r}; this version reads {FORMAT}. Update seqvae.")
    return header
