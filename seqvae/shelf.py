"""The runs that come with the package, and finding a run by its path or its name."""

import difflib
import json
from importlib import resources
from pathlib import Path

from .errors import Refused
from .runs import is_run

DEFAULT = "tatoeba"  # what commands open where no run is named


def find(run: str | Path) -> Path:
    """The folder of a run, or of one that comes with the package, by its name.

    A folder of that name that is no run does not hide the one that comes with the package.

    Raises `Refused`, with the nearest name, where there is none.
    """
    folder, name = Path(run), str(run)
    if name in shipped() and not is_run(folder):
        return shipped_folder() / name
    if not folder.exists():
        near = difflib.get_close_matches(name, shipped(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        if " " in name:  # a sentence, of somebody who forgot the run
            hint = f" Name the run before the sentence: {DEFAULT} {json.dumps(name)}."
        raise Refused(
            f"no run at {name!r}.{hint} A run is a folder made by `seqvae train CORPUS --out "
            f"FOLDER`; with the package come: {', '.join(shipped())}."
        )
    return folder


def shipped() -> list[str]:
    """Names of the runs that come with the package."""
    return sorted(path.name for path in shipped_folder().iterdir() if is_run(path))


def is_shipped(folder: Path) -> bool:
    """Whether a run's folder came with the package: it is never written to."""
    return folder.parent == shipped_folder()


def copied(name: str) -> str:
    """How a density is fitted for a run that comes with the package: on a copy of it."""
    return (
        f"Copy it and name a corpus: seqvae export {name} runs/{name}; "
        f"seqvae density runs/{name} --corpus FOLDER"
    )


def shipped_folder() -> Path:
    """Where the package keeps the runs that come with it."""
    return Path(str(resources.files("seqvae") / "shipped"))
