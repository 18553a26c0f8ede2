"""Evaluate a run on a split of a corpus, and leave the figures with what they were measured on."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import __version__, runs, shelf
from .codecs.codec import Codec
from .corpus import Corpus, Split, open_corpus
from .errors import Refused
from .evaluate import Measured, Tell, measure
from .fit import find_corpus
from .metrics import ACTIVE
from .plots import bars_of_dimensions, save

DEAF = 0.1  # nats: a decoder that loses no more with another's code does not read it
NATS = "nats a sentence"
SHUFFLED = "nats: what another's code costs"  # as long as fits beside the others
ROWS = (  # figure, what it is called, its unit, its standard error
    ("reconstruction", "reconstruction (z ~ q)", NATS, None),
    ("kl", "KL", NATS, None),
    ("negative_elbo", "-ELBO (weight 1, no free bits)", NATS, None),
    ("iw_nll", "importance-weighted NLL", NATS, "iw_standard_error"),
    ("iw_elbo_same_items", "-ELBO of the same items", NATS, None),
    ("iw_effective_samples", "effective samples", "", None),
    ("perplexity_per_token", "perplexity a token", "", None),
    ("perplexity_per_word", "perplexity a word", "", None),
    ("active_units", "active units", "", None),
    ("shuffle_delta_nll", "z-shuffle ΔNLL", SHUFFLED, "shuffle_standard_error"),
)


@dataclass
class EvaluationReport:
    """The figures of a run on a split, and everything needed to measure them again."""

    measured: Measured
    about: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, str, str]]:
        """A table for people: name, figure with its standard error, unit."""
        figures = self.measured.figures
        drawn = [
            (
                f"{self.about['split']} split",
                f"{figures['items']:,} items",
                f"seed {self.about['seed']}",
            )
        ]
        for key, name, unit, error in ROWS:
            if key in figures:
                from_ = figures["perplexity_from"] if key.startswith("perplexity") else None
                drawn.append(
                    (name, self._cell(key, error), f"from the {from_}" if from_ else unit)
                )
        return drawn

    def _cell(self, key: str, error: str | None) -> str:
        figures = self.measured.figures
        if key == "active_units":
            return f"{figures[key]} of {figures['latent']}"
        if key == "iw_effective_samples":
            return f"{figures[key]:.1f} of {figures['iw_samples']}"
        value = figures[key]
        spread = figures.get(error, math.nan) if error else math.nan
        return f"{value:.3f}" if math.isnan(spread) else f"{value:.3f} ± {spread:.3f}"

    def figures(self) -> dict[str, Any]:
        """The figures as JSON has them: what is not finite is null."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.measured.figures.items()
        }

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data; undefined figures are null."""
        return {
            "about": self.about,
            "figures": self.figures(),
            "active_threshold": ACTIVE,
            "spectrum": self.measured.spectrum,
            "kl_per_dimension": self.measured.kl_per_dimension,
            "notes": self.notes,
        }


def evaluate_run(
    folder: Path,
    corpus: Path | None = None,
    *,
    out: Path | None = None,
    split: str = "valid",
    samples: int = 100,
    sample_items: int = 1000,
    seed: int = 0,
    device: str = "auto",
    progress: Tell | None = None,
    warn: runs.Warn | None = None,
) -> tuple[EvaluationReport, list[Path]]:
    """Measure the run's chosen weights; write report.json and figures into `out` or the run.

    A look at the test split is noted in the run's test_ledger.jsonl: it should stay a rare one.
    A run that came with the package is never written to: its report goes to reports/NAME.

    Raises `Refused` for what is no run, no corpus, or a corpus of another codec.
    """
    where = runs.find_device(device)
    opened = runs.open_run(folder, device=where, warn=warn)
    data = _corpus(folder, corpus)
    _check_codec(opened.codec, data)
    items = data.split(split)
    measured = measure(
        opened.built.vae,
        items,
        samples=samples,
        sample_items=sample_items,
        seed=seed,
        words=lambda row: count_words(opened.codec, items, row),
        progress=progress,
    )
    about = _about(opened, data, split=split, seed=seed, device=str(where))
    report = EvaluationReport(measured, about, [*measured.notes, reading(measured)])
    own = Path("reports") / folder.name if shelf.is_shipped(folder) else folder
    written = _write(report, out or own)
    if split == "test":
        written.append(_note_test(report, own))
    return report, written


def count_words(codec: Codec, items: Split, row: int) -> int:
    """Words, separated by white space, of an item."""
    return len(str(codec.decode(items[row].tolist())).split())


def reading(measured: Measured) -> str:
    """One sentence on whether the decoder reads its code, from what shuffling codes costs."""
    figures = measured.figures
    if "latent" not in figures:
        return "A language model: there is no code, and the ELBO is the exact log-likelihood."
    cost, error = figures.get("shuffle_delta_nll"), figures.get("shuffle_standard_error")
    if cost is None or error is None:
        return "Whether the decoder reads its code was not measured."
    if cost <= max(3 * error, DEAF):
        return (
            f"The decoder does not read its code: another sentence's code costs {cost:.2f} ± "
            f"{error:.2f} nats, next to nothing. Raise the floor of free bits, or word dropout."
        )
    return f"The decoder reads its code: with another sentence's it loses {cost:.1f} nats."


def _corpus(folder: Path, corpus: Path | None) -> Corpus:
    if corpus is not None:
        return open_corpus(corpus)
    if shelf.is_shipped(folder):
        raise Refused(
            f"{folder.name} comes with the package, its corpus does not. Name one: --corpus "
            f"FOLDER, prepared with the codec of the run (seqvae export {folder.name} COPY; "
            "seqvae prepare text FILE --codec COPY/codec --out FOLDER)."
        )
    return find_corpus(folder)


def _about(
    opened: runs.Opened, data: Corpus, *, split: str, seed: int, device: str
) -> dict[str, Any]:
    """What was measured, on what, and when."""
    return {
        "run": opened.folder.resolve().name,
        "recipe": opened.recipe["name"],
        "step": opened.trainer["step"],
        "split": split,
        "corpus": data.checksum,
        "seed": seed,
        "device": device,
        "version": __version__,
        "codes": "z sampled once from q for reconstruction; active units from posterior means",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _check_codec(codec: Codec, data: Corpus) -> None:
    ids = range(codec.vocab)  # all of them: the first hundreds are bytes in every subword codec
    same = data.codec.kind == codec.kind and data.codec.vocab == codec.vocab
    if not same or data.codec.tokens(ids) != codec.tokens(ids):
        raise Refused(
            f"{data.folder} was prepared with another codec than the run's, so its ids mean other "
            "tokens. Prepare it with --codec RUN/codec."
        )


def _write(report: EvaluationReport, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "report.json"]
    runs.write_text(written[0], json.dumps(report.as_json(), indent=1) + "\n")
    measured = report.measured
    if measured.spectrum:
        figure = bars_of_dimensions(
            measured.spectrum,
            title="Variance of posterior means",
            unit="variance",
            threshold=ACTIVE,
        )
        written.append(save(figure, folder / "figures" / "spectrum.png"))
    if measured.kl_per_dimension:
        figure = bars_of_dimensions(
            measured.kl_per_dimension, title="KL of every dimension", unit="nats a sentence"
        )
        written.append(save(figure, folder / "figures" / "kl.png"))
    return written


def _note_test(report: EvaluationReport, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "test_ledger.jsonl"
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**report.about, **report.figures()}) + "\n")
    return ledger
