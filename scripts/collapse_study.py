"""Every remedy against posterior collapse on the same corpora, tuned alike, tested once.

    python scripts/collapse_study.py scripts/studies/snips.toml reports/snips --jobs 2 \\
        --corpus snips=data/snips

A study is one TOML: corpora, decoders, language models and remedies, each with a knob and as many
values of it as any other. The phases follow each other, and what is done is not done again:

    sweep    every value once, measured on validation
    choose   the winners, on validation: nearest to the frontier at their own rate
    final    the winners on fresh seeds; those that cost more also at equal compute
    test     each of these once on the test split, noted in its ledger
    table    study.md, study.json and the rate-distortion figure

Started again it goes on. Started on several machines that share OUT, each takes what is free.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from data_prep.text import prepare_text
from seqvae import Refused, __version__
from seqvae.claims import claim
from seqvae.corpus import Corpus, open_corpus, write_json
from seqvae.errors import Stopped
from seqvae.plots import frontiers, save
from seqvae.rows import nats
from seqvae.study import Study, read_study
from seqvae.study.choosing import choose
from seqvae.study.design import Cell, Wanted, sized
from seqvae.study.records import Records, chosen, finals
from seqvae.study.running import Bench, plain
from seqvae.study.tables import page

PHASES = ("sweep", "choose", "final", "test", "table")
WORK = {"sweep": "valid", "final": "valid", "test": "test"}  # the split each is measured on
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
    parser.add_argument("--retry", action="store_true", help="try again what has failed")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(arguments)


def with_decoders(study: Study, wanted: Sequence[str]) -> Study:
    """The study of these decoders, of all where none is named."""
    if unknown := sorted(set(wanted) - set(study.decoders)):
        raise Refused(f"--decoder {unknown[0]}: name one of {', '.join(study.decoders)}.")
    kept = {name: kind for name, kind in study.decoders.items() if name in wanted or not wanted}
    return replace(study, decoders=kept)


def open_corpora(study: Study, given: Sequence[str], out: Path) -> dict[str, Corpus]:
    """The corpora of a study, prepared inside of `out` where they are text."""
    named = dict(each.split("=", 1) for each in given if "=" in each)
    unknown = sorted(set(named) - set(study.corpora))
    if unknown or len(named) < len(given):
        raise Refused(
            f"--corpus {given}: write NAME=PATH, NAME one of {', '.join(study.corpora)}."
        )
    return {
        name: open_one(wanted, named.get(name, wanted.path), out / "corpora" / name)
        for name, wanted in study.corpora.items()
    }


def open_one(wanted: Wanted, path: str | None, prepared: Path) -> Corpus:
    """A prepared corpus, or one of a text or a folder of train, valid and test."""
    if path is None:
        raise Refused(f"the study is on {wanted.name}: say where it is, --corpus {wanted.name}=…")
    place = Path(path)
    if (place / "manifest.json").is_file():
        return open_corpus(place)
    prepared.parent.mkdir(parents=True, exist_ok=True)
    while not (prepared / "manifest.json").is_file():
        with claim(prepared.with_suffix(".lock")) as number:
            if number:
                files = splits(place)
                options: dict[str, Any] = {**wanted.options, **files}
                print(prepare_text([options.pop("train", place)], prepared, **options))
            else:
                time.sleep(1)
    return open_corpus(prepared)


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
    cells = study.sweep() if phase == "sweep" else finals(study, chosen(records.folder))
    first, every = map(int, given.shard.split("/"))
    wanted = [cell for cell in cells if not given.only or cell.entry in given.only]
    return wanted[first::every]


def work(
    phase: str, records: Records, corpora: Mapping[str, Corpus], given: argparse.Namespace
) -> None:
    """Do a phase, in this process or in several."""
    cells = cells_of(phase, records, given)
    if given.retry:
        records.forget_failures(cells)
    if given.jobs > 1 and records.left(cells, WORK[phase]):
        in_processes(phase, given)
        return
    torch.set_num_threads(1)
    Bench(records, corpora, device=given.device).work(cells, WORK[phase])


def in_processes(phase: str, given: argparse.Namespace) -> None:
    """The same command `jobs` times; one that is killed is followed by another."""
    words = [sys.executable, __file__, str(given.study), str(given.out), "--phase", phase]
    words += ["--shard", given.shard, "--device", given.device]
    words += [word for each in given.corpus for word in ("--corpus", each)]
    words += [word for each in given.only for word in ("--only", each)]
    words += [word for each in given.decoder for word in ("--decoder", each)]
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
    """The table, the numbers behind it, and the figure."""
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
    return [md, numbers, save(figure, records.folder / "rate_distortion.png")]


def main() -> None:
    given = parse()
    study = with_decoders(read_study(given.study), given.decoder)
    corpora = open_corpora(study, given.corpus, given.out)
    records = Records(study, sized(study, corpora), given.out)
    for phase in PHASES if given.phase == "all" else (given.phase,):
        if phase in WORK:
            work(phase, records, corpora, given)
        elif phase == "choose":
            choose(records)
        else:
            print("written:", *write_page(records, corpora))


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
    except Stopped as stop:
        print("stopped and saved: the same command goes on", file=sys.stderr)
        sys.exit(128 + stop.number)
