"""Several runs on the same items: their figures side by side, and rate over distortion."""

import hashlib
import json
import math
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__, runs
from ..build import complete
from ..codecs import TextCodec, load_codec
from ..corpus import Corpus, file_sha256, find_corpus, open_corpus
from ..errors import Refused
from ..evaluate import Tell
from ..fit import Say
from ..frontier import Point
from ..plots import rate_distortion, save
from ..recipe import CORRUPTING, Recipe
from ..rows import nats, noun, rows, side_by_side
from ..shelf import find
from .report import check_codec, evaluate_run, report_folder, same_codec

PRECISE = {"precision": "float32"}  # unless a report says another
LONGEST = 60  # letters of the folder that a comparison names by itself
PARTS = {"about": dict, "figures": dict, "notes": list}  # of a report, as far as it is read here
WHY = {  # a report is not of what is asked for, in words
    "version": "its report is by another version of seqvae",
    "weights": "its report is of other weights",
    "corpus": "its report is on another corpus",
    "split": "its report is on another split",
    "seed": "its report has another seed",
    "options": "its report counts other numbers of samples and items, or in another precision",
    "baseline_weights": "its report has no repayment against {baseline}",
}
NO_LINE = (
    "No language model is among them, so the figure has no line to hold them against. Train one, "
    "the same decoder without a code, and name it too"
)

Report = Mapping[str, Any]  # as report.json has it


@dataclass(frozen=True)
class Comparison:
    """What was measured of several runs in the same way on the same items.

    Arguments:
        reports: of each run by its name, as report.json has them.
        language_model: the name of the run without a code that the others are held against.
        about: what all of them were measured on.
        notes: sentences on what cannot be read off the figures.
    """

    reports: Mapping[str, Report]
    language_model: str | None
    about: Mapping[str, Any]
    notes: Sequence[str]

    @property
    def figures(self) -> dict[str, Mapping[str, Any]]:
        """The figures of every run, by its name."""
        return {name: report["figures"] for name, report in self.reports.items()}

    @property
    def points(self) -> list[Point]:
        """Runs that have a rate, at z ~ q(z|x); an autoencoder has none."""
        # A code that is not used may round to a rate below 0, where the language model stands.
        return [
            Point(name, max(figures["kl"], 0.0), figures["reconstruction"])
            for name, figures in self.figures.items()
            if figures.get("kl") is not None and figures.get("reconstruction") is not None
        ]

    @property
    def line(self) -> float | None:
        """The NLL of the language model, nats an item."""
        name = self.language_model
        return None if name is None else self.figures[name].get("reconstruction")

    @property
    def unit(self) -> str:
        """That of what an item costs."""
        return nats(noun(next(iter(self.figures.values()))))

    def rows(self) -> list[tuple[str, ...]]:
        """A table for people: a figure, then its value of every run."""
        return side_by_side(self.figures)

    def heading(self) -> str:
        """On what they were measured."""
        figures = next(iter(self.figures.values()))
        return (
            f"{self.about['split']} split: {figures['items']:,} items, {figures['tokens']:,} "
            f"tokens, seed {self.about['seed']}; {self.unit} unless named otherwise"
        )

    def verdicts(self) -> list[str]:
        """A line on each run."""
        return [f"{name}: {_verdict(report)}" for name, report in self.reports.items()]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data; undefined figures are null."""
        kept = {n: {part: r[part] for part in PARTS} for n, r in self.reports.items()}
        return {
            "about": {**self.about, "language_model": self.language_model},
            "runs": kept,
            "points": [point._asdict() for point in self.points],
            "notes": [*self.notes],
        }


def compare(
    named: Sequence[str | Path],
    corpus: Path | None = None,
    *,
    out: Path | None = None,
    split: str = "valid",
    seed: int = 0,
    device: str = "auto",
    say: Say = print,
    progress: Tell | None = None,
    warn: runs.Warn | None = None,
    **options: Any,
) -> tuple[Comparison, list[Path]]:
    """Measure runs alike; write compare.json and a figure to `out`, or reports/compare-NAMES.

    A run whose report is of what is asked for is not measured again; one whose report is of
    something else is measured into the folder of the comparison, its own left as it is. `options`
    are those of `measure`, samples=100 say, for all runs. Without `corpus` it is the one they were
    trained on. A run of latent 0 is the baseline of all others, of several the one of the lowest
    NLL.

    Raises `Refused` for less than two runs, one named twice, runs whose codecs or corpora differ,
    and as `evaluate_run` does.
    """
    found = _open(named, warn)
    _check_codecs(found)
    data = _corpus(found, corpus)
    check_codec(load_codec(found[0].folder / "codec"), data.codec, data.folder)
    data.split(split)
    runs.find_device(device)
    folder = out or Path("reports") / title([run.name for run in found])
    folder.mkdir(parents=True, exist_ok=True)  # where that fails, before anything is measured
    asked = {
        "version": __version__,
        "corpus": data.checksum,
        "split": split,
        "seed": seed,
        "options": {**PRECISE, **options},
    }
    compared = _Measure(asked, data, folder, device, say, progress, warn).all(found)
    return compared, _write(compared, folder)


class _Run(NamedTuple):
    """A run that is compared."""

    name: str
    folder: Path
    recipe: Recipe
    weights: str  # the SHA-256 of those that were chosen


@dataclass(frozen=True)
class _Measure:
    """What is asked for of every run, and how to get it."""

    asked: Mapping[str, Any]
    corpus: Corpus
    folder: Path
    device: str
    say: Say
    progress: Tell | None = None
    warn: runs.Warn | None = None

    def all(self, found: Sequence[_Run]) -> Comparison:
        """Language models first: the others are held against the best of them."""
        models = [run for run in found if run.recipe["latent"] == 0]
        reports = {run.name: self.report(run) for run in models}
        line = min(models, key=lambda run: _nll(reports[run.name]), default=None)
        for run in found:
            if run not in models:
                reports[run.name] = self.report(run, line)
        ordered = {run.name: reports[run.name] for run in found}
        notes = [
            *_notes_on_line(found, models, line, self.corpus),
            *_notes_on_figures(ordered),
        ]
        about = {**self.asked, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        return Comparison(ordered, None if line is None else line.name, about, notes)

    def report(self, run: _Run, baseline: _Run | None = None) -> Report:
        """The one that is there where it is of what is asked for, else a new one."""
        own, here = report_folder(run.folder), self.folder / run.name
        for place in (own, here):
            kept = _read(place / "report.json")
            why = self.why_not(kept, run, baseline)
            if kept is not None and why is None:
                self.say(f"{run.name}: as measured before, {place / 'report.json'}")
                return kept
        before = _read(own / "report.json")
        self.say(f"{run.name}: being measured; {self.why_not(before, run, baseline)}")
        measured, _ = evaluate_run(
            run.folder,
            self.corpus.folder,
            baseline=None if baseline is None else baseline.folder,
            out=own if before is None else here,  # that of a night's evaluation is not replaced
            split=self.asked["split"],
            seed=self.asked["seed"],
            device=self.device,
            progress=_named(self.progress, run.name),
            warn=self.warn,
            **self.asked["options"],
        )
        return measured.as_json()

    def why_not(self, kept: Report | None, run: _Run, baseline: _Run | None) -> str | None:
        """Why a report is none of what is asked for, in words, or None where it is."""
        if kept is None:
            return "it has no report that can be read"
        wanted = {**self.asked, "weights": run.weights}
        if baseline is not None:
            wanted["baseline_weights"] = baseline.weights
        has = {**kept["about"], "options": _counted(kept["about"])}
        why = next(
            (WHY[key] for key in WHY if key in wanted and has.get(key) != wanted[key]), None
        )
        return why and why.format(baseline=baseline.name if baseline else "")


def title(names: Sequence[str]) -> str:
    """The folder of a comparison, named after its runs and never too long for a file system.

    >>> title(["vae", "seed1/run"])
    'compare-vae-seed1-run'
    """
    whole = "-".join(["compare", *(name.replace("/", "-") for name in names)])
    if len(whole) <= LONGEST:
        return whole
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return f"{whole[: LONGEST - 9]}-{digest}"


def shortest(folders: Sequence[Path]) -> list[str]:
    """Of each folder the shortest end of its path that no other has.

    >>> shortest([Path("/a/run"), Path("/b/run"), Path("/b/lm")])
    ['a/run', 'b/run', 'lm']
    """
    ends = [
        [Path(*folder.parts[-n:]).as_posix() for n in range(1, len(folder.parts) + 1)]
        for folder in folders
    ]
    taken = Counter(end for each in ends for end in each)
    return [next(end for end in each if taken[end] == 1) for each in ends]


# --- what is compared ---------------------------------------------------------------------------


def _open(named: Sequence[str | Path], warn: runs.Warn | None) -> list[_Run]:
    """The runs, each found, named and looked at, none opened."""
    if len(named) < 2:
        raise Refused(
            f"{len(named)} run named: name two or more, as in seqvae compare runs/a runs/b. "
            "One alone: seqvae evaluate RUN"
        )
    folders = [find(each) for each in named]
    whole = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, whole, strict=True):
        runs.check_run(folder)
        if whole.count(place) > 1:
            raise Refused(f"{folder} is named twice: name every run once.")
    return [
        _Run(
            name,
            folder,
            runs.read_recipe(folder),
            file_sha256(runs.chosen(folder, warn=warn) / runs.WEIGHTS),
        )
        for name, folder in zip(shortest(whole), folders, strict=True)
    ]


def _check_codecs(found: Sequence[_Run]) -> None:
    """Refuse runs whose ids mean different tokens."""
    first, *others = found
    a = load_codec(first.folder / "codec")
    for other in others:
        b = load_codec(other.folder / "codec")
        if not same_codec(a, b):
            train = "train both on one corpus, prepared with --codec"
            if isinstance(a, TextCodec) and isinstance(b, TextCodec):
                cure = f"Of the same text bits a byte do: seqvae evaluate each. Or {train}"
            else:
                cure = train.capitalize()
            raise Refused(
                f"{first.name} and {other.name} have different codecs ({a.kind} of {a.vocab:,} "
                f"ids, {b.kind} of {b.vocab:,}), so their nats do not compare. {cure} "
                f"{first.folder / 'codec'}."
            )


def _corpus(found: Sequence[_Run], named: Path | None) -> Corpus:
    """The corpus that is named, or the one that all runs which know theirs were trained on."""
    if named is not None:
        return open_corpus(named)
    # What was exported, or comes with the package, knows of none.
    knowing = [run for run in found if (run.folder / "corpus.json").is_file()]
    if not knowing:
        raise Refused(
            "none of these runs says which corpus it was trained on. Name one, prepared with "
            f"their codec (--codec {found[0].folder / 'codec'}): --corpus FOLDER"
        )
    first, *others = [(run.name, find_corpus(run.folder)) for run in knowing]
    for name, other in others:
        if other.checksum != first[1].checksum:
            raise Refused(
                f"{first[0]} and {name} were trained on different corpora, and nats compare only "
                f"on the same {first[1].codec.noun}s. Measure all on one: --corpus "
                f"{first[1].folder}"
            )
    return first[1]


# --- reports ------------------------------------------------------------------------------------


def _read(path: Path) -> Report | None:
    """A report, or None where there is none that this version can make a table of."""
    try:
        report = json.loads(path.read_bytes(), parse_constant=lambda name: None)
        whole = all(isinstance(report[part], kind) for part, kind in PARTS.items())
        rows(report["figures"])
        f"{report['figures']['items']:,}{report['figures']['tokens']:,}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return report if whole else None


def _counted(about: Mapping[str, Any]) -> Any:
    """How much was measured. Noise that was fed besides has changed no other figure."""
    options = about.get("options")
    if not isinstance(options, dict):
        return None
    return {**PRECISE, **{name: value for name, value in options.items() if name != "noise"}}


def _nll(report: Report) -> float:
    """Of a language model; one that is not finite comes last."""
    found = report["figures"].get("reconstruction")
    return math.inf if found is None else float(found)


def _verdict(report: Report) -> str:
    start = "Verdict: "
    figures = report["figures"]
    if "latent" not in figures:
        return f"a language model, {_nll(report):.2f} {nats(noun(figures))}."
    found = (note.removeprefix(start) for note in report["notes"] if note.startswith(start))
    return next(found, "no verdict: too little of it was measured.")


def _named(progress: Tell | None, name: str) -> Tell | None:
    """The same under a run's name: every run is encoded, say, on a bar of its own."""
    if progress is None:
        return None
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


# --- sentences ----------------------------------------------------------------------------------


def _notes_on_line(
    found: Sequence[_Run], models: Sequence[_Run], line: _Run | None, corpus: Corpus
) -> Iterator[str]:
    """On the language model, or on how to come by one."""
    if line is None:
        yield f"{NO_LINE}: {_train_model(found[0], corpus)}"
        return
    if len(models) > 1:
        yield (
            f"{_listed(run.name for run in models)} are language models: line and repayments are "
            f"those of {line.name}, whose NLL is the lowest."
        )
    for run in found:
        if run not in models and _network(run) != _network(line):
            yield (
                f"{run.name} has another decoder than {line.name}: what that makes is counted in "
                "its repayment too."
            )


def _train_model(run: _Run, corpus: Corpus) -> str:
    """The command that trains the decoder of a run without its code."""
    decoder = complete(run.recipe)["decoder"]
    # With corrupted inputs it would be worse, and seem to be repaid.
    changes = ["latent=0", *(f"decoder.{name}=0" for name in CORRUPTING if decoder.get(name))]
    words = ["seqvae", "train", str(run.folder / "recipe.toml"), str(corpus.folder)]
    words += [word for change in changes for word in ("--set", change)]
    return shlex.join([*words, "--out", f"runs/{run.folder.resolve().name}-lm"])


def _network(run: _Run) -> dict[str, Any]:
    """A decoder as it is after training, when nothing is dropped."""
    decoder = complete(run.recipe)["decoder"]
    passing = (*CORRUPTING, "dropout")
    return {key: value for key, value in decoder.items() if key not in passing}


def _notes_on_figures(reports: Mapping[str, Report]) -> Iterator[str]:
    """On rows whose figures are not all of one kind, and runs without a rate."""
    without = [n for n, report in reports.items() if report["figures"].get("kl") is None]
    if without:
        yield (
            f"In the table, not in the figure: {_listed(without)}, for want of a rate (the "
            "posterior or the prior has no density)."
        )
    bounds = _grouped({n: r["figures"].get("perplexity_from") for n, r in reports.items()})
    if len(bounds) > 1:
        text = any("bits_per_byte" in report["figures"] for report in reports.values())
        yield (
            f"Perplexities{' and bits a byte' if text else ''} are not of one bound: "
            f"{'; '.join(f'{_listed(names)}: {bound}' for bound, names in bounds.items())}."
        )
    against = _grouped({n: r["about"].get("baseline_weights") for n, r in reports.items()})
    if len(against) > 1:
        yield (
            "Their repayments are against different language models, so they do not compare: "
            f"{'; '.join(_listed(names) for names in against.values())}."
        )


def _grouped(values: Mapping[str, Any]) -> dict[Any, list[str]]:
    """Names by their value, those that have none left out."""
    found: dict[Any, list[str]] = {}
    for name, value in values.items():
        if value is not None:
            found.setdefault(value, []).append(name)
    return found


def _listed(names: Iterable[str]) -> str:
    """Names as a sentence has them.

    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _write(found: Comparison, folder: Path) -> list[Path]:
    written = [folder / "compare.json"]
    text = json.dumps(found.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    runs.write_text(written[0], text + "\n")
    if found.points:
        figure = rate_distortion(found.points, found.line, unit=found.unit)
        written.append(save(figure, folder / "figures" / "rate_distortion.png"))
    return written
