"""What was measured of a study, in one small file: others draw its page again, or go on from it.

Weights are not in it, so what is not measured yet is trained again. Of cells of the sweep the
figures are, of the winners those of every item too, and the ledgers of the test split.
"""

from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from ..corpus import Replacing
from ..errors import Refused
from .records import CHOICES, LEDGER, Records, chosen, finals

SWEPT = ("cell.json", "valid.json")
WON = (*SWEPT, "valid.npz", "test.json", "test.npz", LEDGER)


def pack(records: Records, path: Path) -> Path:
    """Write what was measured of the sweep, and of winners if any, to a zip archive at `path`.

    The same figures make the same bytes.
    """
    begun = (records.folder / CHOICES).is_file()
    winners = finals(records.study, chosen(records.folder)) if begun else []
    found = [
        file
        for cells, names in ((records.study.sweep(), SWEPT), (winners, WON))
        for cell in cells
        for file in (
            *(records.place(cell) / name for name in names),
            records.beside(cell, "failed.json"),
        )
        if file.is_file()
    ]
    with Replacing(path) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for each in sorted(found):
            # A ZipInfo by itself is of 1980: times of files would make other bytes each time.
            name = ZipInfo(each.relative_to(records.folder).as_posix())
            archive.writestr(name, each.read_bytes(), ZIP_DEFLATED)
    return path


def unpack(path: Path, folder: Path) -> int:
    """Put what `pack` wrote into a study's folder; how many files were new there.

    Raises `Refused` where the archive is none, and where a file of the folder says otherwise:
    nothing is overwritten.
    """
    try:
        with ZipFile(path) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
    except (OSError, BadZipFile) as error:
        raise Refused(f"{path}: {error}. Name the figures.zip of a study.") from error
    for name in held:
        if Path(name).parts[:1] != ("cells",) or ".." in Path(name).parts:
            raise Refused(f"{path} holds {name}: it is no figures.zip of a study.")
    new = {name: data for name, data in held.items() if not (folder / name).exists()}
    for name in held.keys() - new:
        if (folder / name).read_bytes() != held[name]:
            raise Refused(
                f"{folder / name} is not what {path} has: go on in another folder, or leave "
                "--figures out."
            )
    for name, data in new.items():
        with Replacing(folder / name) as file:
            file.write(data)
    return len(new)
