"""One cell after another: train it, measure it, write it down, whatever becomes of it."""

import json
import math
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import __version__, runs
from ..claims import claim
from ..corpus import Corpus
from ..data import Items, in_batches, in_order, spread
from ..errors import Diverged, Refused, Stopped
from ..estimate import count_weights
from ..evaluate import encode_all, measure
from ..fit import Say, fit
from ..measures import bounds
from ..measures.probe import Factors, probe_all
from ..measures.probe import figures as probed
from ..progress import duration
from ..vae import VAE
from .design import Cell
from .records import EACH, LEDGER, Records

TRIES = 3  # after so many that did not come to their end a cell is given up
WAIT = 5.0  # seconds between two looks at what others are doing


class Killed(RuntimeError):
    """What is written down of a cell whose every try was killed."""


@dataclass
class Bench:
    """Where cells are trained and measured.

    Arguments:
        corpora: by the names that the study gives them.
        factors: what is known of the items of a corpus, for probes of codes.
        say: hears a line a cell; what each cell says of itself goes to its own log.
    """

    records: Records
    corpora: Mapping[str, Corpus]
    factors: Mapping[str, Factors] = field(default_factory=dict)
    device: str = "cpu"
    say: Say = print
    claim: Callable[..., Any] = claim

    def work(self, cells: Sequence[Cell], split: str) -> None:
        """Do all cells that nobody else is doing, until all are done, whoever did them."""
        began, mine = time.monotonic(), 0
        while left := self.records.left(cells, split):
            before = mine
            for cell in left:
                mine += self._take(cell, split)
                if mine > before:
                    self._tell(cells, split, (time.monotonic() - began) / mine)
                    before = mine
            if self.records.left(cells, split) == left:
                time.sleep(WAIT)

    def _take(self, cell: Cell, split: str) -> bool:
        """Do a cell unless it is done or somebody is at it; whether it was done here."""
        with self.claim(self.records.beside(cell, "lock")) as number:
            if number == 0 or self.records.done(cell, split):
                return False
            if number > TRIES:
                why = f"it was killed {TRIES} times, perhaps for memory: see its log"
                self.records.fail(cell, Killed(why))
            else:
                self.do(cell, split)
            return True

    def _tell(self, cells: Sequence[Cell], split: str, seconds: float) -> None:
        left = len(self.records.left(cells, split))
        about = f", about {duration(left * seconds)} left for this process alone" if left else ""
        self.say(f"{len(cells) - left} of {len(cells)} done{about}")

    def do(self, cell: Cell, split: str) -> None:
        """Train a cell as far as it is not, and measure it; a failure is written down."""
        name = str(self.records.study.place(cell).relative_to("cells"))
        try:
            self.train(cell)
            figures = self.look(cell, split)
            self.say(f"{name}: {_short(figures)}")
        except (Stopped, OSError):  # of the machine, not of the cell: others may go on with it
            raise
        except Exception as error:
            self.records.fail(cell, error)
            self.say(f"{name}: {type(error).__name__}: {error!s:.200}")
            if not isinstance(error, Refused | Diverged):
                self._log(cell)(traceback.format_exc())

    def train(self, cell: Cell) -> None:
        """The run of a cell, begun, gone on with, or found finished."""
        self.records.note(cell)
        folder = self.records.place(cell)
        fit(
            self.records.sizes.recipe(cell),
            self.corpora[cell.corpus],
            folder,
            device=self.device,
            resume=runs.is_run(folder),
            say=self._log(cell),
        )

    def _log(self, cell: Cell) -> Say:
        path = self.records.beside(cell, "log")

        def say(sentence: str) -> None:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{sentence}\n")

        return say

    def look(self, cell: Cell, split: str) -> dict[str, Any]:
        """Measure a trained cell; a look at the test split is noted before it is taken."""
        study, folder = self.records.study, self.records.place(cell)
        opened = runs.open_run(folder, device=runs.find_device(self.device), warn=self._log(cell))
        if split == "test":
            note_test(folder, {**cell._asdict(), "step": opened.trainer["step"]})
        options = study.test if split == "test" else study.measure
        corpus = self.corpora[cell.corpus]
        vae, items = opened.built.vae, corpus.split(split)
        figures, each = figures_of(vae, items, options)
        if cell.corpus in self.factors and options["probe_items"] and figures.get("latent"):
            factors, most = self.factors[cell.corpus], options["probe_items"]
            figures |= factors_of(vae, corpus, items, factors, most)
        figures |= cost(folder, opened.trainer) | {
            "weights": count_weights(opened.built),
            "options": dict(options),
            "version": __version__,
            "torch": torch.__version__,
            "host": socket.gethostname(),
            "threads": torch.get_num_threads(),
            "corpus": corpus.checksum,
        }
        self.records.keep(cell, split, plain(figures), each)
        return figures


def figures_of(
    vae: VAE, items: Items, options: Mapping[str, int], seed: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `measure` finds, and the figures of every item, from which intervals are made.

    An item's D is at one z ~ q(z|x), its importance-weighted NLL at `samples` of them, on
    `sample_items` items; a language model's NLL is exact.
    """
    found = measure(
        vae, items, samples=0, written=0, mixture_items=options["mixture_items"], seed=seed
    )
    codes = encode_all(vae, in_order(items, 64), seed=seed)  # the same draws as above
    each: dict[str, Any] = dict.fromkeys(EACH)
    each |= {"item": codes.item, "reconstruction": codes.reconstruction, "rate": codes.rate}
    figures = {**found.figures, "notes": found.notes}
    if codes.latent == 0:
        return figures, {**each, "iw_item": codes.item, "iw_nll": codes.reconstruction}
    if codes.rate is None or not options["samples"]:
        return figures, each
    rows = codes.item.sort().values.numpy()
    some = rows[spread(len(rows), options["sample_items"])]
    own = bounds.weigh(vae, in_batches(items, some, 64), options["samples"], seed=seed)
    figures |= bounds.figures(own, "iw")
    if options["fitted_items"]:
        few = some[spread(len(some), options["fitted_items"])]
        batches = in_batches(items, few, 64)
        fitted = bounds.weigh(vae, batches, options["samples"], seed=seed, fitted=True)
        figures |= bounds.figures(fitted, "fitted") | bounds.gaps(fitted, own)
    return figures, {**each, "iw_item": own.item, "iw_nll": own.nll}


def factors_of(
    vae: VAE, corpus: Corpus, items: Items, factors: Factors, most: int
) -> dict[str, Any]:
    """How many factors of items a probe reads from their codes, fitted to training items' codes.

    From means, and from one draw of each posterior, `…_drawn`: a mean tells of its item however
    wide its posterior is, a draw no more than the rate. At most so many items on each side, evenly
    spread; those whose factors are unknown are left out, and counted.
    """
    means: list[Any] = []
    drawn: list[Any] = []
    unknown = 0
    for some in (corpus.split("train"), items):
        codes = encode_all(vae, in_order(some, 64, most))
        decoded = (corpus.codec.decode(some[row].tolist()) for row in codes.item.tolist())
        facts = [factors(each) for each in decoded]
        known = [place for place, fact in enumerate(facts) if fact]
        told = [facts[place] for place in known]
        means += [codes.mu[known].numpy(), told]
        drawn += [codes.z[known].numpy(), told]
        unknown += len(facts) - len(known)
    found, less = probed(probe_all(*means)), probed(probe_all(*drawn))
    own = {f"{key}_drawn": less[key] for key in ("factors_carried", "factor_nats")}
    return {**found, **own, "factor_unknown": unknown}


def cost(folder: Path, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """What a run took in all, whichever of its weights were chosen.

    On a CPU seconds are the processor's, so that nobody pays for what else a machine did.
    """
    newest = runs.newest(folder / "checkpoints") / runs.TRAINER
    last = json.loads(newest.read_bytes())
    return {
        "chosen_step": trainer["step"],
        "updates": last["step"],
        "encoder_steps": last.get("encoder_steps", 0),
        "seconds": last["processor_seconds" if last["device"] == "cpu" else "seconds"],
    }


def note_test(folder: Path, about: Mapping[str, Any]) -> None:
    """A line in the ledger of a run, on the disk before anything is measured."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with (folder / LEDGER).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"split": "test", "time": when, **about}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def plain(value: Any) -> Any:
    """As JSON has it: what is not finite is null.

    >>> plain({"a": float("nan"), "b": (1.5, float("inf"))})
    {'a': None, 'b': [1.5, None]}
    """
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(figures: Mapping[str, Any]) -> str:
    """The figures of a cell in a few words."""
    names = {"reconstruction": "D", "kl": "R", "negative_elbo": "-ELBO", "iw_bound": "IW-NLL"}
    told = [f"{said} {figures[key]:.2f}" for key, said in names.items() if key in figures]
    return f"{', '.join(told)}; {duration(figures['seconds'])}"
