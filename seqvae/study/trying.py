"""Every cell of a study built once, and let go: what cannot be is refused before any is run."""

from collections.abc import Mapping

from ..build import build, build_stepper, check_selection, complete
from ..codecs.codec import Extent
from ..errors import Refused
from ..recipe import Recipe, staged
from .design import Cell, Sizes, Study, digest

STEPS = 100  # of a run: enough for every share of it to be a step


def try_cells(study: Study, extents: Mapping[str, Extent]) -> None:
    """Build the model, the loss and the optimiser of every cell, each recipe once.

    `extents` are those of the items of every corpus, or any where they are not known yet. Of an
    entry that grows the first size that will be tried is built.

    Raises `Refused` for the first cell that cannot be, by its entry, knob and value.
    """
    tried: set[tuple[str, Extent]] = set()
    for cell in study.sweep():
        try:
            recipe, extent = study.recipe(cell, _size(study, cell)), extents[cell.corpus]
            if (digest(recipe), extent) not in tried:
                tried.add((digest(recipe), extent))
                _try_stages(recipe, extent)
        except (ValueError, RuntimeError) as error:  # what torch refuses too
            where = f"{study.told(cell)}, decoder {cell.decoder}, on {cell.corpus}"
            raise Refused(f"{where}: {error} Nothing was run: correct the study.") from error


def _size(study: Study, cell: Cell) -> int | None:
    return 2 * Sizes.STEP if study.entries[cell.entry].grow else None


def _try_stages(recipe: Recipe, extent: Extent) -> None:
    whole = complete(recipe)
    for number in range(max(len(whole.get("stage", [])), 1)):
        own = staged(whole, number)
        built = build(own, steps=STEPS, **extent._asdict())
        check_selection(own, built)
        build_stepper(own, built, steps=STEPS)
