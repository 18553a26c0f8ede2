"""Evaluate a run on a split of a corpus, and leave the figures with what they were measured on."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from .. import __version__, runs, shelf
from ..codecs import Codec, MusicCodec
from ..corpus import Corpus, file_sha256, find_corpus, open_corpus
from ..errors import Refused
from ..evaluate import Measured, Tell, measure
from ..measures.pictures import seen
from ..metrics import ACTIVE
from ..plots import bars_of_dimensions, convergence, positions, save
from ..processes import is_first, joined
from ..recipe import Recipe, label_names
from ..rows import nats, noun, rows
from ..sheets import contact_sheet, save_sheet

SHOWN = 20  # samples kept in the report, for people to read
DRAWN = 100  # of pictures, for people to look at


@dataclass
class EvaluationReport:
    """The figures of a run on a split, and everything needed to measure them again."""

    measured: Measured
    about: dict[str, Any]
    samples: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """Sentences on what is undefined and why, and at the end the verdict."""
        return self.measured.notes

    def rows(self) -> list[tuple[str, str, str]]:
        """A table for people: name, figure, remark."""
        figures = self.measured.figures
        what = f"{figures['items']:,} items"
        about = f"{figures['tokens']:,} tokens, seed {self.about['seed']}"
        return [(f"{self.about['split']} split", what, about), *rows(figures)]

    def figures(self) -> dict[str, Any]:
        """The figures as JSON has them: what is not finite is null."""
        return {name: _finite(value) for name, value in self.measured.figures.items()}

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data; undefined figures are null."""
        return {
            "about": self.about,
            "figures": self.figures(),
            **{name: list(map(_finite, values)) for name, values in self.measured.vectors.items()},
            "notes": self.notes,
            "samples": self.samples,
        }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@joined()
def evaluate_run(
    folder: Path,
    corpus: Path | None = None,
    *,
    baseline: Path | None = None,
    out: Path | None = None,
    split: str = "valid",
    seed: int = 0,
    device: str = "auto",
    progress: Tell | None = None,
    warn: runs.Warn | None = None,
    **options: Any,
) -> tuple[EvaluationReport, list[Path]]:
    """Measure the run's chosen weights; write report.json and figures into `out` or the run.

    `baseline` is the run of a language model: the same decoder without a code. `options` are
    those of `measure`, samples=100 say. A look at the test split is noted in the run's
    test_ledger.jsonl: it should stay a rare one. A run that came with the package is never
    written to: its report goes to reports/NAME.

    Processes that one launcher has started share the items that are weighed; the first does all
    else, and only it writes.

    Raises `Refused` for what is no run, no corpus, or a corpus or baseline of another codec.
    """
    if not is_first():
        progress = warn = None
    where = runs.find_device(device)
    opened = runs.open_run(folder, device=where, warn=warn)
    data = _corpus(folder, corpus, opened.codec)
    check_codec(opened.codec, data.codec, data.folder)
    check_labels(opened.recipe, data)
    other = None if baseline is None else _baseline(baseline, opened, where, warn)
    own = report_folder(folder)
    (out or own).mkdir(parents=True, exist_ok=True)  # where that fails, before it is measured
    # Said before anything is measured: of a run that still trains, other weights may stand later.
    about = _about(opened, data, other, split=split, seed=seed, device=str(where))
    measured = measure(
        opened.built.vae,
        data.split(split),
        seed=seed,
        codec=opened.codec,
        train=data.split("train") if data.has("train") else None,
        baseline=None if other is None else other.built.vae,
        progress=progress,
        **options,
    )
    about |= {"options": options, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    report = EvaluationReport(measured, about, _readable(opened.codec, measured.samples))
    if not is_first():
        return report, []
    written = _write(report, opened.codec, out or own)
    if split == "test":
        written.append(_note_test(report, own))
    return report, written


def report_folder(folder: Path) -> Path:
    """Where a run's report stands unless it was wanted elsewhere."""
    return Path("reports") / folder.name if shelf.is_shipped(folder) else folder


def _baseline(
    folder: Path, opened: runs.Opened, device: torch.device, warn: runs.Warn | None
) -> runs.Opened:
    """The language model beside a run."""
    other = runs.open_run(folder, device=device, warn=warn)
    check_codec(opened.codec, other.codec, folder)
    return other


def _readable(codec: Codec, ids: list[list[int]]) -> list[str]:
    return [codec.show(codec.decode(each)) for each in ids[:SHOWN]]


def _corpus(folder: Path, corpus: Path | None, codec: Codec) -> Corpus:
    if corpus is not None:
        return open_corpus(corpus)
    if shelf.is_shipped(folder):
        source = "midi FOLDER" if isinstance(codec, MusicCodec) else "text FILE"
        source = source if codec.shape is None else "images FOLDER"
        raise Refused(
            f"{folder.name} comes with the package, its corpus does not. Name one: --corpus "
            f"FOLDER, prepared with the codec of the run (seqvae export {folder.name} COPY; "
            f"seqvae prepare {source} --codec COPY/codec --out FOLDER)."
        )
    return find_corpus(folder)


def _about(
    opened: runs.Opened,
    data: Corpus,
    baseline: runs.Opened | None,
    *,
    split: str,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """What was measured, and on what."""
    about: dict[str, Any] = {
        "run": opened.folder.resolve().name,
        "recipe": opened.recipe["name"],
        "step": opened.trainer["step"],
        "split": split,
        "corpus": data.checksum,
        "seed": seed,
        "device": device,
        "version": __version__,
        "codes": "z sampled once from q for reconstruction; active units from posterior means",
        "weights": file_sha256(opened.place / runs.WEIGHTS),
        "baseline": None,
        "baseline_weights": None,
    }
    if baseline is not None:
        about["baseline"] = baseline.folder.resolve().name
        about["baseline_weights"] = file_sha256(baseline.place / runs.WEIGHTS)
    return about


def same_codec(one: Codec, other: Codec) -> bool:
    """Whether equal ids are equal tokens."""
    ids = range(one.vocab)  # all of them: the first hundreds are bytes in every subword codec
    same = other.kind == one.kind and other.vocab == one.vocab
    return same and other.tokens(ids) == one.tokens(ids)


def check_codec(codec: Codec, other: Codec, folder: Path) -> None:
    """Raise `Refused` where what is in a folder was made with another codec than a run's."""
    if not same_codec(codec, other):
        raise Refused(
            f"{folder} was made with another codec than the run's, so its ids mean other tokens. "
            + (
                "Prepare its pictures as the run's: their size and colour, --levels, --binarize."
                if codec.shape
                else "Prepare its corpus with --codec RUN/codec."
            )
        )


def check_labels(recipe: Recipe, data: Corpus) -> None:
    """Raise `Refused` where a corpus has other labels than a run's label head tells."""
    names = label_names(recipe)
    if names and data.labels is not None and tuple(data.labels) != names:
        raise Refused(
            f"{data.folder} has the labels {', '.join(data.labels):.60}, and the run tells "
            f"{', '.join(names):.60}. Prepare a corpus with those, in this order, or without any."
        )


def _write(report: EvaluationReport, codec: Codec, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "report.json"]
    runs.write_text(written[0], json.dumps(report.as_json(), indent=1) + "\n")
    for name, figure in _drawn(report.measured):
        written.append(save(figure, folder / "figures" / f"{name}.png"))
    if codec.shape is not None and report.measured.samples:
        pixels = seen(report.measured.samples[:DRAWN], codec)
        written.append(save_sheet(contact_sheet(pixels), folder / "figures" / "samples.png"))
    return written


def _drawn(measured: Measured) -> Iterator[tuple[str, Figure]]:
    """What people would rather look at than read."""
    vectors, figures = measured.vectors, measured.figures
    unit = nats(noun(figures))
    if vectors.get("spectrum"):
        title = "Variance of posterior means"
        yield (
            "spectrum",
            bars_of_dimensions(
                vectors["spectrum"], title=title, unit="variance", threshold=ACTIVE
            ),
        )
    if vectors.get("kl_per_dimension"):
        each = vectors["kl_per_dimension"]
        yield "kl", bars_of_dimensions(each, title="KL of every dimension", unit=unit)
    gains = {"with another's code": "gain", "without a code": "saved"}
    found = {f"against the same decoder {n}": _seen(vectors, k) for n, k in gains.items()}
    found = {name: values for name, values in found.items() if values}
    if found:
        yield "positions", positions(found)
    # Of the same items where some were fitted, or the two lines could not be compared.
    own = figures.get("amortised_convergence", figures.get("iw_convergence"))
    curves = {
        "posteriors of the encoder": own,
        "posteriors fitted to each item": figures.get("fitted_convergence"),
    }
    if any(curves.values()):
        found_curves = {n: curve for n, curve in curves.items() if curve}
        yield "convergence", convergence(found_curves, unit)


def _seen(vectors: Mapping[str, list[Any]], name: str) -> list[float]:
    """Gains by position, up to where fewer than 1 item in 100 goes: the rest is noise."""
    means = vectors.get(f"{name}_by_position", [])
    counts = vectors.get(f"{name}_position_items", [])
    pairs = zip(means, counts, strict=True)
    return [mean for mean, count in pairs if count >= counts[0] / 100]


def _note_test(report: EvaluationReport, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "test_ledger.jsonl"
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**report.about, **report.figures()}) + "\n")
    return ledger
