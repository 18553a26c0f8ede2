"""How much music comes back, over the bits of its code, beside the floor and Fano's bound.

    python scripts/music_curve.py runs/a runs/b --baseline runs/lm --split test --out reports/pop

Measures runs of one corpus on the same windows, each against the language model if one is named,
and leaves a table in Markdown, of several voices a second one by voice, a figure, results.json
with what it was made with, and the report of every run.

Fano's bound is that of the language model's NLL, which lies above the entropy: a better model's
lies further left. It binds what is told from a code drawn from q, as in MusicVAE's protocol; the
mean of q, from which the free-running figures are, may tell more, and the true history does.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from seqvae import Refused, __version__, runs
from seqvae.codecs import MusicCodec
from seqvae.corpus import Corpus, find_corpus, open_corpus, write_json
from seqvae.measures.music import WAYS
from seqvae.metrics import bits, fano_accuracy
from seqvae.plots import accuracies, save
from seqvae.reports.compare import shortest
from seqvae.reports.report import evaluate_run
from seqvae.shelf import find

Figures = Mapping[str, Any]
Column = tuple[str, Callable[[Figures], str]]

QUICK = {"samples": 0, "fitted_items": 0, "mixture_items": 1000}  # no evidence: a minute or two
DRAWN = {
    "teacher-forced": "teacher_forced_accuracy",
    "free-running": "free_running_accuracy",
    "free-running, non-hold": "free_running_non_hold",
    "MusicVAE's protocol": "musicvae_accuracy",
    "onset and pitch, F1": "note_f1",
    "and end step, F1": "duration_f1",
    "steps sounding, F1": "overlap_f1",
}
NOTES = {  # of whole notes, by the key of each figure
    "note_f1": "onset + pitch F1",
    "duration_f1": "with end step",
    "overlap_f1": "steps sounding F1",
    "note_floor": "F1 of another song",
}
POINTS = 60  # of the bound, as it is drawn


class Bound:
    """The best accuracy that a code of some bits allows, by the NLL of a language model.

    It is of windows with a token for every step: of events, which have no places, there is none,
    and none without a language model.
    """

    def __init__(self, codec: MusicCodec, nll_bits: float | None) -> None:
        self.nll_bits = nll_bits
        self.classes = [voice.size for voice in codec.voices] * codec.grid.length
        self.binds = nll_bits is not None and bool(self.classes)

    def at(self, rate_bits: float) -> float:
        assert self.nll_bits is not None
        return fano_accuracy(rate_bits, self.nll_bits, self.classes)

    def line(self, farthest: float) -> list[tuple[float, float]]:
        if not self.binds:
            return []
        rates = [farthest * step / POINTS for step in range(POINTS + 1)]
        return [(rate, self.at(rate)) for rate in rates]


def measured(
    folders: Mapping[str, Path], lm: str | None, corpus: Corpus, **asked: Any
) -> dict[str, Any]:
    """The report of every run by its name, the language model's among them."""
    out = asked.pop("out")
    found = {}
    for name, folder in folders.items():
        print(f"measuring {name}", file=sys.stderr)
        against = None if lm is None or name == lm else folders[lm]
        report, _ = evaluate_run(
            folder, corpus.folder, baseline=against, out=out / name.replace("/", "-"), **asked
        )
        found[name] = {**report.as_json(), "recipe": runs.read_recipe(folder)}
    return found


def columns(first: Figures, bound: Bound) -> list[Column]:
    """What is told of each run, of all that was measured of the first."""
    found: list[Column] = [
        ("R, bits", lambda run: number(run.get("accuracy_bits"))),
        ("D, bits", lambda run: number(bits(run["reconstruction"]))),
        ("-ELBO", lambda run: number(run.get("negative_elbo_bits"))),
    ]
    if bound.nll_bits is not None:
        found += [
            ("R / LM", lambda run: number(over(run.get("accuracy_bits"), bound.nll_bits), 2)),
            ("repayment", lambda run: number(run.get("repayment"), 2)),
        ]
    if "accuracy_floor" in first:
        named = {"teacher_forced": "teacher-forced", "musicvae": "MusicVAE's"}
        found += [
            (f"{named.get(way, way.replace('_', '-'))} (non-hold)", partial(accuracy, way))
            for way in WAYS
        ]
    found += told_of_notes(first)
    if bound.binds:
        found.append(("best by Fano", lambda run: best(run, bound)))
    return found


def accuracy(way: str, run: Figures) -> str:
    return f"{share(run, f'{way}_accuracy')} ({share(run, f'{way}_non_hold')})"


def best(run: Figures, bound: Bound) -> str:
    rate = run.get("accuracy_bits")
    return "—" if rate is None else f"{bound.at(rate):.1%}"


def told_of_notes(first: Figures) -> list[Column]:
    """F1s, and of what is played with feel its errors beside those of who plays without."""
    found: list[Column] = [
        (said, partial(share, name=name)) for name, said in NOTES.items() if name in first
    ]
    if "velocity_error" in first:
        found.append(("velocity error (without feel)", partial(felt, "velocity_error", digits=1)))
    if "timing_error_steps" in first:
        found.append(
            ("timing error, steps (without feel)", partial(felt, "timing_error_steps", digits=3))
        )
    return found


def felt(name: str, run: Figures, *, digits: int) -> str:
    return f"{number(run.get(name), digits)} ({number(run.get(f'plain_{name}'), digits)})"


def over(value: float | None, whole: float | None) -> float | None:
    return None if value is None or whole is None else value / whole


def number(value: float | None, digits: int = 1) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def share(figures: Figures, name: str) -> str:
    return "—" if figures.get(name) is None else f"{figures[name]:.1%}"


def table(found: Mapping[str, Figures], told: Sequence[Column]) -> str:
    """The runs by rising rate in Markdown; those without a rate come last."""
    ordered = sorted(found, key=lambda name: found[name].get("accuracy_bits") or 0.0)
    ordered.sort(key=lambda name: found[name].get("accuracy_bits") is None)
    rows = [[name, *(cell(found[name]) for _, cell in told)] for name in ordered]
    return markdown(["run", *(head for head, _ in told)], rows)


def by_voice(reports: Mapping[str, Any]) -> str:
    """What each of several voices costs and how much of it comes back; of one voice nothing."""
    rows = [
        [
            name,
            voice["voice"],
            number(voice["bits"]),
            share(voice, "accuracy_floor"),
            accuracy("free_running", voice),
            share(voice, "note_f1"),
            *played(report, voice["voice"]),
        ]
        for name, report in reports.items()
        for voice in report.get("voices", ())
    ]
    if len(rows) <= len(reports):
        return ""
    head = ["run", "voice", "D, bits", "floor", "free-running (non-hold)", "onset + pitch F1"]
    head += ["velocity error", "timing error, steps"][: len(rows[0]) - len(head)]
    return "\n\n" + markdown(head, rows)


def played(report: Mapping[str, Any], voice: str) -> list[str]:
    """How far off the feel of one drum is, where there is feel."""
    own = [each for each in report.get("feel", ()) if each["drum"] == voice]
    return [
        cell
        for each in own
        for cell in (number(each["velocity_error"]), number(each["timing_error_steps"], 3))
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def below(figures: Figures, bound: Bound, about: Mapping[str, Any]) -> str:
    """What stands under the table."""
    said = (
        f"\n{about['split']} split, {figures['accuracy_items']:,} windows, "
        f"{figures['accuracy_tokens']:,} tokens, seed {about['seed']}, seqvae {__version__}."
    )
    if bound.nll_bits is not None:
        said += f" Language model: {bound.nll_bits:.1f} bits a window."
    if "accuracy_floor" not in figures:
        return f"{said} Notes are those written greedily from the mean of q."
    ways = "; ".join(f"{name.replace('_', '-')}: {switches}" for name, switches in WAYS.items())
    said += (
        f" Floor of every accuracy: {figures['accuracy_floor']:.1%}, always "
        f"{figures['accuracy_floor_token']}; something happens at "
        f"{figures['non_hold_share']:.1%} of the tokens. {ways}."
    )
    bounded = " Fano's bound is that of the language model's NLL and binds codes that are drawn."
    return said + bounded * bound.binds


def draw(found: Mapping[str, Figures], bound: Bound, title: str) -> Any:
    """Accuracies and F1 over rate, of the runs that have one."""
    points = [
        (figures["accuracy_bits"], {said: figures.get(key) for said, key in DRAWN.items()})
        for figures in found.values()
        if figures.get("accuracy_bits") is not None
    ]
    floor = next(iter(found.values())).get("accuracy_floor")
    farthest = max([bound.nll_bits or 0.0, *(rate for rate, _ in points)])
    return accuracies(points, floor=floor, best=bound.line(farthest), title=title)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs of one corpus of music")
    parser.add_argument("--baseline", help="a run of latent 0: the language model")
    parser.add_argument("--corpus", type=Path, help="a prepared corpus; else the first run's own")
    parser.add_argument("--split", default="valid", help="of the corpus")
    parser.add_argument("--out", type=Path, default=Path("reports/music-curve"), help="a folder")
    parser.add_argument("--items", type=int, default=2000, help="windows, evenly spread; 0: all")
    parser.add_argument("--samples", type=int, default=0, help="of the importance-weighted NLL")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    return parser.parse_args(arguments)


def written(
    reports: Mapping[str, Any], lm: str | None, corpus: Corpus, given: argparse.Namespace
) -> list[Path]:
    """Print the table; leave it with all that it was made with, and the figure."""
    assert isinstance(corpus.codec, MusicCodec)
    found = {name: report["figures"] for name, report in reports.items()}
    bound = Bound(corpus.codec, None if lm is None else bits(found[lm]["reconstruction"]))
    first = next(iter(found))
    whole = table(found, columns(found[first], bound))
    text = f"{whole}{by_voice(reports)}\n{below(found[first], bound, reports[first]['about'])}"
    print(text)
    results = {
        "about": {
            "version": __version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "command": shlex.join(["python", *sys.argv]),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "corpus": corpus.checksum,
            "language_model": lm,
            "nll_bits": bound.nll_bits,
        },
        "runs": reports,
        "fano": bound.line(bound.nll_bits or 0.0),
        "table": text,
    }
    write_json(given.out / "results.json", results)
    title = f"{corpus.codec.kind.capitalize()}: accuracy and rate"
    figure = draw(found, bound, title)
    return [given.out / "results.json", save(figure, given.out / "figures" / "accuracy_rate.png")]


def main() -> None:
    given = parse()
    named = [find(each).resolve() for each in filter(None, (given.baseline, *given.runs))]
    paths = list(dict.fromkeys(named))
    folders = dict(zip(shortest(paths), paths, strict=True))
    lm = next(iter(folders)) if given.baseline else None
    corpus = open_corpus(given.corpus) if given.corpus else find_corpus(paths[-1])
    if not isinstance(corpus.codec, MusicCodec):
        raise Refused(
            f"{corpus.folder} is a corpus of {corpus.codec.noun}s, not of music. Several of its "
            "runs side by side: seqvae compare RUN RUN"
        )
    items = given.items or len(corpus.split(given.split))
    reports = measured(
        folders,
        lm,
        corpus,
        out=given.out,
        split=given.split,
        seed=given.seed,
        device=given.device,
        **{**QUICK, "samples": given.samples, "limit": items, "written": items},
    )
    print("\nwritten:", *written(reports, lm, corpus, given))


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
