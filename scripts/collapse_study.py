"""Every remedy against posterior collapse on the same corpora, tuned alike, tested once.

    python scripts/collapse_study.py scripts/studies/snips.toml reports/snips --jobs 2 \\
        --corpus snips=data/snips

A study is one TOML: corpora, decoders, language models and remedies, each with a knob and as many
values of it as any other. The phases follow each other, and what is done is not done again:

    sweep    every value once, measured on validation
    choose   of each remedy the value that holds about `final_rate` nats, on validation
    final    these on fresh seeds; those that cost more also at equal compute
    test     each of these once on the test split, noted in its ledger
    table    study.md, study.json, the rate-distortion figure, and figures.zip: all that was
             measured, from which --figures goes on elsewhere

Before that every cell is built once, so that what cannot be is refused at once. Started again it
goes on. Started on several machines that share OUT, each takes what is free. The status is 1 where
cells failed: all that there is was written nevertheless.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from data_prep.grammar import english
from data_prep.plan import unchanged
from data_prep.sources import Request, find_sources
from data_prep.text import prepare_text
from seqvae import Refused, __version__
from seqvae.claims import claim
from seqvae.codecs.codec import Extent
from seqvae.corpus import SPLITS, Corpus, open_corpus, write_json
from seqvae.errors import Stopped
from seqvae.measures.probe import Factors
from seqvae.plots import frontiers, save
from seqvae.recipe import unknown
from seqvae.rows import nats
from seqvae.runs import find_device
from seqvae.study import Study, read_study
from seqvae.study.choosing import choose
from seqvae.study.design import Cell, Wanted, sized
from seqvae.study.packing import pack, unpack
from seqvae.study.records import Records, chosen, finals
from seqvae.study.running import Bench, plain
from seqvae.study.tables import page
from seqvae.study.trying import try_cells

PHASES = ("sweep", "choose", "final", "test", "table")
WORK = {"sweep": "valid", "final": "valid", "test": "test"}  # the split each is measured on
LANGUAGES = {"english": english}  # whose sentences tell their factors
AGAIN = 20  # workers that may die before something other than a cell is taken to be the cause


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="a TOML, such as scripts/studies/snips.toml")
    parser.add_argument("out", type=Path, help="a folder: everything of the study lies there")
    parser.add_argument("--phase", choices=("all", *PHASES), default="all")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each on one thread")
    parser.add_argument("--shard", default="0/1", help="i/n: only every n-th cell, from the i-th")
    parser.add_argument("--only", action="append", default=[], help="only these entries")
    parser.add_argument("--decoder", action="append", default=[], help="only these decoders")
    parser.add_argument(
        "--at", action="append", default=[], help="of a sweep: only these values of the knob"
    )
    parser.add_argument("--seed", type=int, help="of a sweep: once more, by a seed of the study")
    parser.add_argument(
        "--figures", type=Path, help="go on from what others measured: the figures.zip of a study"
    )
    parser.add_argument("--retry", action="store_true", help="try again what has failed")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …, or auto")
    # One of several, started by a process that has checked everything and will tell the failures.
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def shard_of(text: str) -> tuple[int, int]:
    """i and n of "i/n"."""
    first, _, every = text.partition("/")
    if not (first.isdecimal() and every.isdecimal() and int(first) < int(every)):
        raise Refused(f"--shard {text}: write i/n with i from 0 to n-1, such as 0/4.")
    return int(first), int(every)


def check_given(given: argparse.Namespace, study: Study) -> None:
    """Refuse options that would do nothing, or fail in every cell."""
    shard_of(given.shard)
    find_device(given.device)
    if given.jobs < 1:
        raise Refused(f"--jobs {given.jobs}: it takes one process or more.")
    for name in given.only:
        if name not in study.entries:
            raise Refused(unknown(name, study.entries, "--only: the study", "entry"))
    values = [entry.called(at) for entry in study.entries.values() for at in range(trials(study))]
    for value in given.at:
        if value not in values:
            raise Refused(unknown(value, values, "--at: the study", "value"))
    if given.seed is not None and given.seed not in study.seeds:
        raise Refused(unknown(str(given.seed), map(str, study.seeds), "--seed: the study", "seed"))
    if given.phase != "sweep" and (given.at or given.seed is not None):
        raise Refused("--at and --seed are of a sweep alone: add --phase sweep.")


def trials(study: Study) -> int:
    """How many values every entry tries."""
    return len(next(iter(study.entries.values())).values)


def find_corpora(study: Study, given: Sequence[str]) -> dict[str, Path]:
    """Where the corpora of a study are, prepared or not."""
    named = dict(each.split("=", 1) for each in given if "=" in each)
    if set(named) - set(study.corpora) or len(named) < len(given):
        names = ", ".join(study.corpora)
        raise Refused(f"--corpus {given}: write NAME=PATH, NAME one of {names}, each once.")
    places = {name: named.get(name, wanted.path) for name, wanted in study.corpora.items()}
    for name, path in places.items():
        if path is None:
            raise Refused(f"the study is on {name}: say where it is, --corpus {name}=…")
    return {name: Path(path) for name, path in places.items() if path is not None}


def is_prepared(place: Path) -> bool:
    return (place / "manifest.json").is_file()


def extent_of(place: Path) -> Extent:
    """That of a prepared corpus; of a text any: what a recipe cannot be does not depend on it."""
    return open_corpus(place).codec.extent if is_prepared(place) else Extent(vocab=8)


def known_factors(study: Study) -> dict[str, Factors]:
    """What tells the factors of an item, for each corpus that is of a known language."""
    named = {name: one.language for name, one in study.corpora.items() if one.language}
    for name, language in named.items():
        if language not in LANGUAGES:
            raise Refused(unknown(language, LANGUAGES, f"[[corpus]] {name}", "language"))
    return {name: cache(LANGUAGES[language]().factors) for name, language in named.items()}


def open_corpora(study: Study, places: Mapping[str, Path], out: Path) -> dict[str, Corpus]:
    """The corpora of a study, prepared inside of `out` where they are text, with every split."""
    corpora = {
        name: open_one(study.corpora[name], place, out / "corpora" / name)
        for name, place in places.items()
    }
    for corpus in corpora.values():
        for split in SPLITS:
            corpus.split(split)  # refused now, where one is missing
    return corpora


def open_one(wanted: Wanted, place: Path, prepared: Path) -> Corpus:
    """A prepared corpus, or one of a text or a folder of train, valid and test."""
    if is_prepared(place):
        return open_corpus(place)
    files = {"train": place, **splits(place)}
    prepared.parent.mkdir(parents=True, exist_ok=True)
    while not is_prepared(prepared):
        with claim(prepared.with_suffix(".lock")) as number:
            if number:
                options: dict[str, Any] = {**wanted.options, **files}
                print(prepare_text([options.pop("train")], prepared, **options))
            else:
                time.sleep(1)
    corpus = open_corpus(prepared)
    check_prepared(corpus, wanted, files)
    return corpus


def check_prepared(corpus: Corpus, wanted: Wanted, files: Mapping[str, Path]) -> None:
    """Refuse a corpus that was prepared from other text than is given now, or otherwise."""
    where = f"--corpus {wanted.name}={corpus.folder}"
    cure = f"Go on in another folder, or name what was prepared: {where}"
    options = corpus.manifest["options"]
    usual = {name: each.default for name, each in signature(prepare_text).parameters.items()}
    for key, value in options.items():
        asked = wanted.options.get(key, usual[key])
        if value != asked:
            raise Refused(
                f"{corpus.folder} was prepared with {key} = {value!r}, and the study says "
                f"{asked!r}. {cure}"
            )
    before = corpus.manifest["sources"]
    if not same_text(files, before, Request(options["column"], options["label"])):
        names = ", ".join(source["name"] for source in before)
        now = ", ".join(map(str, files.values()))
        raise Refused(
            f"{corpus.folder} was prepared from {names}, and these are not what {now} holds now. "
            f"{cure}"
        )


def same_text(
    files: Mapping[str, Path], before: Sequence[dict[str, Any]], request: Request
) -> bool:
    """Whether files by split hold what was read before, wherever they lie."""
    found = [(split, each) for split in files for each in find_sources([files[split]], request)]
    return [split for split, _ in found] == [source["split"] for source in before] and all(
        unchanged(each, source) for (_, each), source in zip(found, before, strict=True)
    )


def splits(place: Path) -> dict[str, Path]:
    """The files of a folder that are a split each: train.txt, valid.txt.gz, …"""
    files = sorted(place.glob("*")) if place.is_dir() else []
    names = ("train", "valid", "test")
    return {
        name: next(f for f in files if f.name.split(".")[0] == name and ".labels." not in f.name)
        for name in names
        if any(f.name.split(".")[0] == name for f in files)
    }


def cells_of(phase: str, records: Records, given: argparse.Namespace) -> list[Cell]:
    """What there is to do in a phase, as far as it was asked for."""
    study = records.study
    cells = study.sweep(given.seed) if phase == "sweep" else finals(study, chosen(records.folder))
    first, every = shard_of(given.shard)
    wanted = [
        cell
        for cell in cells
        if (not given.only or cell.entry in given.only)
        and (not given.at or study.entries[cell.entry].called(cell.place) in given.at)
    ]
    return wanted[first::every]


def work(
    phase: str, records: Records, corpora: Mapping[str, Corpus], given: argparse.Namespace
) -> bool:
    """Do a phase, in this process or in several; whether every cell of it could be."""
    cells = cells_of(phase, records, given)
    if given.retry:
        records.forget_failures(cells)
    if given.jobs > 1 and records.left(cells, WORK[phase]):
        in_processes(phase, given)
    else:
        torch.set_num_threads(1)
        known = known_factors(records.study)
        Bench(records, corpora, known, given.device).work(cells, WORK[phase])
    return given.worker or not tell_failures(phase, records, cells)


def tell_failures(phase: str, records: Records, cells: Sequence[Cell]) -> int:
    """Say which cells could not be, and why; how many."""
    found = {cell: failure for cell in cells if (failure := records.failure(cell)) is not None}
    if found:
        print(f"{phase}: {len(found)} of {len(cells)} cells failed:", file=sys.stderr)
    for cell, failure in found.items():
        reason = " ".join(failure["reason"].split())
        where = records.study.place(cell).relative_to("cells")
        print(f"  {where}: {failure['kind']}: {reason:.300}", file=sys.stderr)
    if found:
        print("once the cause is mended: --retry", file=sys.stderr)
    return len(found)


def in_processes(phase: str, given: argparse.Namespace) -> None:
    """The same command `jobs` times; one that is killed is followed by another."""
    words = [sys.executable, __file__, str(given.study), str(given.out), "--phase", phase]
    words += ["--worker", "--shard", given.shard, "--device", given.device]
    words += [word for each in given.corpus for word in ("--corpus", each)]
    words += [word for each in given.only for word in ("--only", each)]
    words += [word for each in given.decoder for word in ("--decoder", each)]
    words += [word for each in given.at for word in ("--at", each)]
    words += [] if given.seed is None else ["--seed", str(given.seed)]
    own = {**os.environ, "OMP_NUM_THREADS": "1"}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    workers = [subprocess.Popen(words, env=own) for _ in range(given.jobs)]
    died = 0
    try:
        while workers:
            time.sleep(0.2)
            for worker in [each for each in workers if each.poll() is not None]:
                workers.remove(worker)
                if worker.returncode in (0, -signal.SIGTERM, -signal.SIGINT):
                    continue
                died += 1
                if worker.returncode > 0 or died > AGAIN:
                    raise Refused(f"a worker ended with status {worker.returncode}: see above.")
                workers.append(subprocess.Popen(words, env=own))
    finally:
        for worker in workers:
            worker.terminate()  # it saves, and is gone on with
        for worker in workers:
            worker.wait()


def write_page(records: Records, corpora: Mapping[str, Corpus]) -> list[Path]:
    """The table, the numbers behind it, the figure, and all that they were made from."""
    choices = chosen(records.folder)
    text, data = page(records, choices)
    command = shlex.join(["python", *sys.argv])
    about = {
        "version": __version__,
        "torch": torch.__version__,
        "command": command,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sweep_seed": records.study.sweep_seed,
        "final_seeds": list(records.study.final_seeds),
        "corpora": {name: corpus.checksum for name, corpus in corpora.items()},
    }
    md, numbers = records.folder / "study.md", records.folder / "study.json"
    md.write_text(f"{text}\n    {command}\n\nseqvae {__version__}\n", "utf-8")
    write_json(numbers, plain({"about": about, **data}))
    drawn = {
        name: {one["entry"]: [tuple(at) for at in one["points"]] for one in block["remedies"]}
        for name, block in choices.items()
    }
    noun = next(iter(corpora.values())).codec.noun
    figure = frontiers(drawn, {name: block["nll"] for name, block in choices.items()}, nats(noun))
    drawing = save(figure, records.folder / "rate_distortion.png")
    return [md, numbers, drawing, pack(records, records.folder / "figures.zip")]


def main() -> bool:
    """Whether every cell could be."""
    given = parse()
    study = read_study(given.study).with_decoders(given.decoder)
    check_given(given, study)
    known_factors(study)  # refused now, where a language is unknown
    places = find_corpora(study, given.corpus)
    if not given.worker:
        try_cells(study, {name: extent_of(place) for name, place in places.items()})
    corpora = open_corpora(study, places, given.out)
    records = Records(study, sized(study, corpora), given.out)
    if given.figures:
        print(f"{given.figures}: {unpack(given.figures, given.out)} files new in {given.out}")
    records.check_corpora({name: corpus.checksum for name, corpus in corpora.items()})
    whole = True
    for phase in PHASES if given.phase == "all" else (given.phase,):
        if phase in WORK:
            whole &= work(phase, records, corpora, given)
        elif phase == "choose":
            choose(records)
        else:
            print("written:", *write_page(records, corpora))
    return whole


if __name__ == "__main__":
    try:
        if not main():
            sys.exit(1)
    except Refused as refusal:
        sys.exit(str(refusal))
    except Stopped as stop:
        print("stopped and saved: the same command goes on", file=sys.stderr)
        sys.exit(128 + stop.number)
