"""The command as people meet it: every command works, and every wrong input is one clear line."""

import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from console import Command, Result
from tiny import NURSERY, in_child, prepared, sentences, settings, write_text

import seqvae as package
from seqvae import objectives, recipe, runs
from seqvae.__main__ import main
from seqvae.objectives import Elbo
from seqvae.objectives.objective import Report
from seqvae.progress import Progress
from seqvae.vae import Pass

A, B = "the old cat sees the dog", "the happy child finds the fish now"
NEAR = ["neighbours", "tatoeba", A]
SECONDS = 60  # in which any process of these tests must have ended


def shell(*arguments: object) -> Result:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "seqvae", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    return Result(done.returncode, done.stdout, done.stderr)


def sets(**other: Any) -> list[str]:
    return [word for setting in settings(**other) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, a prepared corpus, a run trained on it, and a corpus of another codec."""
    folder = tmp_path_factory.mktemp("home")
    prepared(folder)
    arguments = ["train", str(folder / "corpus"), "--out", str(folder / "run"), "--device", "cpu"]
    assert main([*arguments, *sets(training_steps=60, training_save_every=20)]) == 0
    text = write_text(folder / "more.txt", 150)
    assert main(["prepare", "text", str(text), "--out", str(folder / "other")]) == 0
    return folder


@pytest.fixture
def run(home: Path) -> Path:
    return home / "run"


# --- every command does what it says ------------------------------------------------------------


def test_train_takes_a_text_and_leaves_a_run(seqvae: Command, tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "my text.txt"), tmp_path / "run"
    made = seqvae("train", text, "--out", out, *sets(training_steps=4))
    assert made.status == 0
    assert re.search(r"train +180 +180 ", made.out), "the table of what was kept"
    assert "million weights; 4 steps" in made.err
    for name in ("recipe.toml", "card.md", "metrics.jsonl", "figures/curves.png", "best"):
        assert (out / name).exists()
    card = (out / "card.md").read_text("utf-8")
    assert "my text.txt" in card
    assert str(tmp_path) not in card, "a card is handed to others"
    assert seqvae("sample", out).status == 0


def test_resume_finds_the_corpus_and_goes_on(seqvae: Command, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begun = sets(training_steps=3, training_select="last")
    assert seqvae("train", home / "corpus", "--out", out, *begun).status == 0
    again = seqvae("train", "--resume", "--out", out, "--set", "training.steps=6")
    assert again.status == 0
    assert "going on from step 3" in again.err
    assert runs.newest(out / "checkpoints").name == "step-00000006"
    assert runs.read_recipe(out)["training"]["steps"] == 6


def test_a_printed_recipe_is_whole_and_prints_itself(seqvae: Command, tmp_path: Path) -> None:
    printed = seqvae("train", "--print-recipe", "--set", "latent=5")
    (tmp_path / "my.toml").write_text(printed.out, "utf-8")
    assert tomllib.loads(printed.out)["latent"] == 5
    assert seqvae("train", tmp_path / "my.toml", "--print-recipe").out == printed.out
    assert not Path("runs").exists() or not (Path("runs") / "text").exists()


def test_the_recipe_of_a_run_is_printed_and_nothing_is_trained(
    seqvae: Command, home: Path, run: Path
) -> None:
    before = tree(home)
    printed = seqvae("train", "--resume", "--out", run, "--print-recipe", "--set", "latent=7")
    assert printed.status == 0
    assert tomllib.loads(printed.out) == {**runs.read_recipe(run), "latent": 7}
    assert tree(home) == before


def test_a_seed_of_training_is_a_setting(seqvae: Command) -> None:
    short = seqvae("train", "--print-recipe", "--seed", 5).out
    assert tomllib.loads(short)["seed"] == 5
    assert short == seqvae("train", "--print-recipe", "--set", "seed=5").out


def test_a_rate_is_asked_for_in_nats(seqvae: Command) -> None:
    for name in ("text", "grammar"):  # whatever weight and penalty it has of its own
        printed = tomllib.loads(seqvae("train", name, "--print-recipe", "--nats", 12).out)
        penalty = printed["objective"]["terms"]["kl"]
        assert (penalty["kind"], penalty["nats"]) == ("TargetRate", 12.0)
        assert "weight" not in penalty
    loss = "objective.terms={rate = {kind = 'KL'}, mmd = {kind = 'MMD', weight = 2}}"
    printed = tomllib.loads(seqvae("train", "--print-recipe", "--nats", 9, "--set", loss).out)
    kinds = {name: term["kind"] for name, term in printed["objective"]["terms"].items()}
    assert kinds == {"mmd": "MMD", "kl": "TargetRate"}  # one penalty of the rate, and all others
    own = ("objective.kind=InfoVAE", "objective.alpha=0.5", "objective.lambda=2")
    refused = seqvae("train", "--nats", 9, *(w for each in own for w in ("--set", each)))
    assert refused.status == 2 and "objective.kind=Elbo" in refused.err
    assert "the objective InfoVAE has terms of its own" in refused.err
    for name in ("text-lm", "text-pretrained"):
        refused = seqvae("train", name, "--nats", 12)
        assert refused.status == 2 and "Name another recipe" in refused.err


@pytest.mark.parametrize("kind", ["SemiAmortized", "IWAE", "InfoVAE", "Elb", "elbo"])
def test_an_objective_that_takes_terms_and_has_none_is_given_the_rate(
    seqvae: Command, kind: str
) -> None:
    """One that has its own is refused, and one that is not there by whoever knows which are."""
    said = seqvae("train", "--print-recipe", "--nats", 12, "--set", f"objective.kind={kind}")
    if kind == "SemiAmortized":
        printed = tomllib.loads(said.out)["objective"]
        assert (printed["kind"], list(printed["terms"])) == (kind, ["kl"])
        penalty = printed["terms"]["kl"]
        assert (penalty["kind"], penalty["nats"]) == ("TargetRate", 12.0)
    else:
        own = hasattr(objectives, kind) and kind[0].isupper()
        why = f"the objective {kind} has terms of its own" if own else f"no kind '{kind}'"
        assert said.status == 2 and why in said.line


@pytest.mark.parametrize("nats", ["-3", "nan", "inf"])
def test_no_rate_below_nothing_is_asked_for(seqvae: Command, nats: str) -> None:
    for more in ((), ("--print-recipe",)):
        refused = seqvae("train", "--nats", nats, *more)
        assert refused.status == 2 and not refused.out
        assert f"--nats {nats}: a rate is 0 or more" in refused.line


def test_a_flag_has_no_opposite_in_the_help(seqvae: Command) -> None:
    for command in ("train", "encode", "sample", "prepare text"):
        assert "--no-" not in seqvae(*command.split(), "--help").out


def test_recipes_lists_each_with_what_it_is(seqvae: Command) -> None:
    lines = seqvae("recipes").lines
    assert [line.split()[0] for line in lines] == recipe.shipped()
    assert all(len(line.split()) > 3 for line in lines)


def test_evaluate_writes_what_was_measured_and_on_what(seqvae: Command, run: Path) -> None:
    done = seqvae("evaluate", run, "--samples", 5, "--device", "cpu")
    assert done.status == 0
    report = json.loads((run / "report.json").read_bytes())
    about, figures = report["about"], report["figures"]
    assert about["split"] == "valid"
    assert about["step"] == runs.open_run(run).trainer["step"]
    assert len(about["corpus"]) == 64
    assert {"seed", "version", "device", "codes", "time"} <= set(about)
    assert figures["iw_samples"] == 5
    assert figures["iw_bound"] <= figures["iw_negative_elbo"]
    assert f"{figures['reconstruction']:.3f}" in done.out
    assert not (run / "test_ledger.jsonl").exists()


def test_an_exact_evaluation_weighs_every_item_500_times(
    seqvae: Command, run: Path, tmp_path: Path
) -> None:
    few = ("--fitted", 2, "--written", 5, "--noise", "--out", tmp_path)
    done = seqvae("evaluate", run, "--exact", *few)
    assert done.status == 0 and "fed noise ΔNLL" in done.out
    figures = json.loads((tmp_path / "report.json").read_bytes())["figures"]
    assert figures["iw_samples"] == 500 and figures["iw_items"] == figures["items"]
    assert done.lines[-3].startswith("Verdict: ") and done.lines[-2].startswith("Thresholds: ")


def test_every_look_at_the_test_split_is_written_down(
    seqvae: Command, run: Path, tmp_path: Path
) -> None:
    for look in (1, 2):
        arguments = ("--split", "test", "--samples", 0, "--out", tmp_path / "report")
        assert seqvae("evaluate", run, *arguments).status == 0
        [ledger] = [*run.glob("*ledger*"), *(tmp_path / "report").glob("*ledger*")]
        assert len(ledger.read_text("utf-8").splitlines()) == look


def test_a_seed_decides_what_is_sampled(seqvae: Command, run: Path) -> None:
    def drawn(seed: int) -> list[str]:
        return seqvae("sample", run, "-n", 4, "--temperature", 1, "--seed", seed).lines

    assert len(drawn(1)) == 4
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("way", [[], ["--beam", "3"], ["--top-k", "3"], ["--top-p", "0.8"]])
def test_sample_writes_text_or_json(way: list[str], seqvae: Command, run: Path) -> None:
    lines = seqvae("sample", run, *way).lines
    assert [row["text"] for row in seqvae("sample", run, *way, "--json").rows] == lines


def test_sentences_may_be_arguments_or_lines_of_a_file_or_of_standard_input(
    seqvae: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = seqvae("reconstruct", run, A, B, "--json").rows
    assert [row["text"] for row in wanted] == [A, B]
    (tmp_path / "t.txt").write_bytes(f"\ufeff{A}\r\n\r\n{B}\r\n".encode())
    (tmp_path / "t.jsonl").write_text(f'{{"text": "{A}"}}\n{{"text": "{B}", "n": 1}}\n', "utf-8")
    for file in ("t.txt", "t.jsonl"):
        assert seqvae("reconstruct", run, "--file", tmp_path / file, "--json").rows == wanted
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{A}\n{B}\n".encode())))
    assert seqvae("reconstruct", run, "--file", "-", "--json").rows == wanted
    told = seqvae("reconstruct", run, A).lines
    assert told == [A, f"  -> {wanted[0]['reconstruction']}"]


@pytest.mark.parametrize("path", ["lerp", "slerp"])
def test_the_ends_of_an_interpolation_are_the_reconstructions(
    path: str, seqvae: Command, run: Path
) -> None:
    rows = seqvae("interpolate", run, A, B, "--steps", 5, "--path", path, "--json").rows
    ends = [row["reconstruction"] for row in seqvae("reconstruct", run, A, B, "--json").rows]
    assert [row["mix"] for row in rows] == [0, 0.25, 0.5, 0.75, 1]
    assert [rows[0]["text"], rows[-1]["text"]] == ends


def test_two_arguments_interpolate_with_the_run_that_ships(
    seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "run", tmp_path / "tatoeba")
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: tmp_path)
    assert seqvae("interpolate", A, B).lines == seqvae("interpolate", home / "run", A, B).lines
    assert seqvae("sample").lines == seqvae("sample", home / "run").lines


def test_a_sentence_that_was_forgotten_is_missed(
    seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    for run in ("tatoeba", "run"):
        done = seqvae("interpolate", run, A)
        assert done.status == 2
        assert f'so a sentence or file is missing: seqvae interpolate {run} "A" "B"' in done.line


def test_the_corpus_of_a_run_that_ships_must_be_named(
    seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "run", tmp_path / "shelf" / "tatoeba")
    (tmp_path / "shelf" / "tatoeba" / "corpus.json").unlink()
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: tmp_path / "shelf")
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path / "shelf")
    for command, cure in ((["evaluate", "tatoeba"], "--corpus"), (NEAR, "--among FILE")):
        done = seqvae(*command)
        assert done.status == 2
        assert "tatoeba comes with the package" in done.line and cure in done.line
        assert str(tmp_path) not in done.line
    assert len(seqvae(*NEAR, "--among", home / "text.txt").lines) == 5
    look = ("evaluate", "tatoeba", "--corpus", home / "corpus", "--samples", 0, "--split")
    for split in ("valid", "test"):
        assert seqvae(*look, split).status == 0
    assert Path("reports/tatoeba/report.json").is_file()
    assert Path("reports/tatoeba/test_ledger.jsonl").is_file()
    assert tree(tmp_path / "shelf") == before


def test_the_cure_for_the_corpus_of_a_run_that_ships_works(
    seqvae: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "FILE")
    said = re.search(r"\((.*)\)", seqvae("evaluate", "tatoeba").line)
    assert said is not None
    for command in said[1].split("; "):
        assert seqvae(*command.split()[1:]).status == 0
    assert seqvae("evaluate", "tatoeba", "--corpus", "FOLDER", "--samples", 0).status == 0


def test_decoding_what_was_encoded_is_reconstructing(
    seqvae: Command, run: Path, tmp_path: Path
) -> None:
    coded = seqvae("encode", run, A, B)
    assert [row["text"] for row in coded.rows] == [A, B]
    assert all(len(row["z"]) == len(row["sigma"]) == 2 for row in coded.rows)
    (tmp_path / "codes.jsonl").write_text(coded.out, "utf-8")
    again = [row["reconstruction"] for row in seqvae("reconstruct", run, A, B, "--json").rows]
    assert seqvae("decode", run, tmp_path / "codes.jsonl").lines == again
    one, other = (seqvae("encode", run, A, "--draw", "--seed", seed).out for seed in (1, 2))
    assert one != other
    assert one == seqvae("encode", run, A, "--draw", "--seed", 1).out


def test_sentences_are_read_as_they_come(run: Path) -> None:
    """A pipe need not end before the first answers are written."""
    command = [sys.executable, "-m", "seqvae", "reconstruct", str(run), "--file", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(f"{A}\n" * 300)
        child.stdin.flush()
        assert child.stdout.readline() == f"{A}\n"
        child.stdin.close()
        assert len(child.stdout.read().splitlines()) == 2 * 300 - 1


def test_codes_come_from_any_file_that_can_be_read(run: Path) -> None:
    command = [sys.executable, "-m", "seqvae", "decode", str(run), "/dev/stdin"]
    done = subprocess.run(
        command, input='{"z": [0, 1]}\n', capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_sentence_is_written_to_its_end(seqvae: Command, home: Path, tmp_path: Path) -> None:
    """As long as the recipe let sentences be, unless a length is given."""
    out = tmp_path / "run"
    brief = sets(training_steps=1, data_max_tokens=9)
    assert seqvae("train", home / "text.txt", "--out", out, *brief).status == 0
    wild = ("sample", out, "-n", 50, "--temperature", 50)
    assert max(len(line.split()) for line in seqvae(*wild).lines) == 9
    assert max(len(line.split()) for line in seqvae(*wild, "--length", 20).lines) > 9


def test_codes_of_whole_numbers_are_codes(seqvae: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "codes.jsonl").write_text('{"z": [0, 1]}\n', "utf-8")
    assert len(seqvae("decode", run, tmp_path / "codes.jsonl").lines) == 1


def test_a_sentence_is_its_own_nearest_neighbour(seqvae: Command, home: Path) -> None:
    found = seqvae(
        "neighbours", home / "run", A, "--among", home / "text.txt", "-n", 3, "--json"
    ).rows
    if A in sentences():
        assert found[0]["text"] == A
    first = sentences()[7]
    nearest = seqvae("neighbours", home / "run", first, "--among", home / "text.txt", "--json")
    assert nearest.rows[0] == {"distance": pytest.approx(0, abs=1e-5), "text": first}
    distances = [row["distance"] for row in found]
    assert distances == sorted(distances)
    own = seqvae("neighbours", home / "run", A, "-n", 2, "--json").rows
    assert len(own) == 2
    assert {row["text"] for row in own} <= set(sentences())


def test_info_says_what_a_run_is(seqvae: Command, run: Path) -> None:
    [facts] = seqvae("info", run, "--json").rows
    assert facts["latent"] == 2
    assert facts["encoder"] == "LSTMEncoder"
    assert facts["codec"] == "word"
    assert facts["weights"] > 100
    assert "LSTMEncoder" in seqvae("info", run).out


def test_an_export_opens_by_the_same_commands(seqvae: Command, run: Path, tmp_path: Path) -> None:
    assert "MiB" in seqvae("export", run, tmp_path / "small").out
    asked = ("reconstruct", A, B)
    assert (
        seqvae(asked[0], tmp_path / "small", *asked[1:]).lines
        == seqvae(asked[0], run, *asked[1:]).lines
    )


def test_prepare_keeps_or_counts_every_line(seqvae: Command, tmp_path: Path) -> None:
    good = [line.encode() for line in sentences(50)]
    bad = [b"", b"  ", b"a \0 b", b"caf\xe9", b"word " * 200_000]
    (tmp_path / "mess.txt").write_bytes(b"\n".join([*good, *bad]) + b"\n")
    done = seqvae("prepare", "text", tmp_path / "mess.txt", "--out", tmp_path / "corpus")
    train = done.lines[1].split()
    assert train[0] == "train"
    assert "NUL byte 1" in done.out
    assert "blank 2" in done.out
    assert "invalid UTF-8 1" in done.out
    assert train[4] == "5", "the line of a megabyte is dropped too, as too long"


def test_prepare_grammar_says_its_entropy(seqvae: Command, tmp_path: Path) -> None:
    done = seqvae("prepare", "grammar", tmp_path / "g.jsonl", "--count", 20)
    assert re.search(r"20 sentences .* entropy \d+\.\d+ nats", done.out)
    assert len((tmp_path / "g.jsonl").read_text("utf-8").splitlines()) == 20


def test_the_version_is_said(seqvae: Command) -> None:
    assert seqvae("--version").lines == [f"seqvae {package.__version__}"]


HEAVY = {"torch", "sympy", "numpy", "scipy", "datasets", "pyarrow", "sentencepiece", "symusic"}
HEAVY |= {"matplotlib", "pretty_midi", "gradio", "data_prep"}
LIGHT = f"""
import sys
import seqvae
assert "typer" not in sys.modules
from seqvae.__main__ import main
from seqvae.cli import COMMANDS
helps = [[command.__name__, "--help"] for command in COMMANDS]
helps += [["prepare", "--help"], ["prepare", "text", "--help"], ["attribute", "--help"]]
for words in [["--version"], ["recipes"], ["--help"], *helps]:
    assert main(words) == 0, words
    assert not {HEAVY!r} & set(sys.modules), words
"""


def test_help_and_import_load_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert "interpolate" in done.stdout


def test_a_run_loads_no_more_than_it_needs() -> None:
    """Going between songs moves codes by Adam: not by the class, which brings torch's compiler."""
    script = (
        "import sys; from seqvae import load; run = load(sys.argv[1])\n"
        "x = run.decode(run.draw(2)); run.settle(x, run.encode(x))\n"
        "assert not {'matplotlib', 'scipy', 'sympy', 'pretty_midi'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "melody"], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.stderr == "" and done.returncode == 0


# --- wrong input --------------------------------------------------------------------------------


@dataclass
class Wrong:
    """A command line that cannot be done: {tmp}, {home} and {run} stand for folders."""

    command: str
    says: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    status: int = 2


TRAIN = "train {tmp}/t.txt --out {tmp}/new"
RECIPE = "train {tmp}/r.toml {home}/corpus --out {tmp}/new"
SET = "train {home}/corpus --out {tmp}/new --set"
DECODE = "decode {run} {tmp}/z.jsonl"
CSV = {"t.csv": b"text,mood\nhello there,1\nhow are you,2\n"}


def text(data: bytes) -> dict[str, bytes]:
    return {"t.txt": data}


def toml(data: str) -> dict[str, bytes]:
    return {"r.toml": data.encode()}


def codes(data: str) -> dict[str, bytes]:
    return {"z.jsonl": data.encode()}


WRONG = {
    # texts nobody can learn from
    "an empty corpus": Wrong(TRAIN, "no usable line.*empty.*Give a file", text(b"")),
    "blank lines": Wrong(TRAIN, "no usable line.*blank 3", text(b"\n  \n\t\n")),
    "one line": Wrong(TRAIN, "only one distinct line.*Give more text", text(b"hello you\n")),
    "the same line": Wrong(TRAIN, "only one distinct line", text(b"hello you\n" * 9)),
    "NUL bytes": Wrong(TRAIN, "no usable line.*NUL byte 2", text(b"a\0b\nc\0d\n")),
    "invalid UTF-8": Wrong(TRAIN, "invalid UTF-8 2", text(b"caf\xe9\nna\xefve\n")),
    "UTF-16": Wrong(TRAIN, "UTF-16. Convert it: iconv", text("hello\nyou\n".encode("utf-16"))),
    "lines of a megabyte": Wrong(
        f"{TRAIN} --set data.codec=word",
        "too long 2.*allow more: --max-tokens",
        text(b"a " * 500_000 + b"\n" + b"b " * 999),
    ),
    "a vocabulary too large": Wrong(
        f"{TRAIN} --set data.vocab=30000",
        r"vocab = 30000: this corpus allows \d+ .*Set vocab = \d+",
        text(b"hello there\nhow are you\nfine and you\n"),
    ),
    "a missing file": Wrong("train {tmp}/txt --out {tmp}/new", "no such file: .*txt"),
    "a name as on a hub": Wrong("train owner/data --out {tmp}/new", "no such file: owner/data"),
    "a misspelt file": Wrong(
        "train {home}/texd.txt --out {tmp}/new", r"Did you mean .*home\d+/text.txt\?"
    ),
    "a misspelt column": Wrong(
        "prepare text {tmp}/t.csv --out {tmp}/new --column txet",
        "no column 'txet'.*Did you mean 'text'",
        CSV,
    ),
    "an unnamed column": Wrong(
        "prepare text {tmp}/t.csv --out {tmp}/new",
        "which column.*--column NAME",
        {"t.csv": CSV["t.csv"].replace(b"text", b"said")},
    ),
    "a missing label": Wrong(
        "prepare text {tmp}/t.csv --out {tmp}/new --label tone", "no column 'tone'", CSV
    ),
    "a folder without texts": Wrong("prepare text {tmp} --out {tmp}/new", "no file to read"),
    "a shard of nothing": Wrong(
        "prepare text {home}/text.txt --out {tmp}/new --shard 4/4", "--shard 4/4: write i/n"
    ),
    "a shard in letters": Wrong(
        "prepare text {home}/text.txt --out {tmp}/new --shard ²/4", "--shard ²/4: write i/n"
    ),
    "an unknown codec": Wrong("prepare text {home}/text.txt --out {tmp}/new --codec bpw", "bpw"),
    "no length allowed": Wrong(
        "prepare text {home}/text.txt --out {tmp}/new --max-tokens 0", "max.tokens = 0"
    ),
    "a folder in use": Wrong(
        "prepare text {home}/text.txt --out {tmp}", "in use.*--out", {"a.txt": b""}
    ),
    # recipes
    "an unknown key": Wrong(RECIPE, "no key 'latnet'; did you mean \"latent\"", toml("latnet=1")),
    "an unknown section": Wrong(RECIPE, 'did you mean "decoder"', toml("[decodr]\n")),
    "an unknown kind": Wrong(
        RECIPE, 'did you mean "LSTMEncoder"', toml('[encoder]\nkind = "LSTMEncodr"')
    ),
    "an unknown argument": Wrong(RECIPE, 'did you mean "hidden"', toml("[encoder]\nhiden = 3")),
    "a wrong type": Wrong(RECIPE, "latent = '3'.*type int", toml('latent = "3"')),
    "a wrong choice": Wrong(RECIPE, "not one of: last, max", toml('[encoder]\npool = "middle"')),
    "a size below 1": Wrong(RECIPE, "hidden", toml("[encoder]\nhidden = 0")),
    "a number out of range": Wrong(RECIPE, "keep = 0.*at least 1", toml("[training]\nkeep = 0")),
    "a key for a section": Wrong(RECIPE, r"write \[encoder\]", toml("encoder = 3")),
    "terms that are none": Wrong(
        RECIPE, r"objective.terms.kl = 3.*section", toml("[objective.terms]\nkl = 3")
    ),
    "no TOML": Wrong(RECIPE, "r.toml is no TOML.*--print-recipe", toml("latent = = 3")),
    "no text": Wrong(RECIPE, "r.toml is not UTF-8", {"r.toml": b"\xff\xfe"}),
    "a circle": Wrong(RECIPE, "circle.*Remove one", {"r.toml": b'extends = "{tmp}/r.toml"'}),
    "a missing recipe": Wrong("train {tmp}/r.toml", "no recipe or file .*r.toml"),
    "a mistyped recipe": Wrong(
        "train tetx", "'tetx' is no recipe and no file. Did you mean the recipe 'text'"
    ),
    "a mistyped recipe with a corpus": Wrong("train tatoba {home}/corpus", "recipe 'tatoeba'"),
    "a run for a corpus": Wrong(
        "train {run} --out {tmp}/new",
        r"is a run, not a corpus.*--resume --out .*/run; begin another.*train .*/corpus --out",
    ),
    "an unfinished corpus": Wrong(
        "train {tmp} --out {tmp}/new", "not prepared to its end.*prepare text", {"plan.json": b""}
    ),
    "two recipes": Wrong("train text demo", "at most one recipe"),
    "no corpus": Wrong("train --out {tmp}/new", "no corpus named: seqvae train corpus.txt"),
    "a setting without a sign": Wrong(f"{SET} latent", "section.key=value"),
    "an unknown setting": Wrong(f"{SET} trainin.epochs=3", 'did you mean "training"'),
    "a table without quotes": Wrong(
        f"{SET} objective.terms.kl.weight={{kind=linear,share=0.3}}",
        r'want quotes, as in \{kind = "linear"',
    ),
    "a table taken apart by the shell": Wrong(
        f"{SET} latent=3 objective.terms.kl.weight=share=0.3", "needs a --set before it.*quotes"
    ),
    "a setting of the wrong type": Wrong(f"{SET} training.epochs=many", "type str.*float"),
    "no number of epochs": Wrong(f"{SET} training.epochs=nan", "above 0"),
    "endless epochs": Wrong(f"{SET} training.epochs=inf", "above 0"),
    "a negative seed": Wrong(f"{SET} seed=-1", "seed = -1.*at least 0"),
    "no rate": Wrong(f"{SET} optimizer.rate=nan", "rate = nan: it must"),
    "a device that is none": Wrong("train {home}/corpus --device gpu", "'gpu'.*try cpu"),
    "a device without numbers": Wrong("sample {run} --device meta", "'meta'.*try cpu"),
    "a device not here": Wrong("sample {run} --device cuda:99", "'cuda:99'.*try cpu"),
    # folders
    "a run that exists": Wrong("train {home}/corpus --out {run}", "is a run already.*--resume"),
    "a file as a run": Wrong("train {home}/corpus --out {home}/text.txt", "is a file.*--out"),
    "a file above": Wrong("train {home}/corpus --out {home}/text.txt/run", "is a file.*--out"),
    "resume of nothing": Wrong("train --resume", "name it with --out"),
    "a run around the corner": Wrong(
        "train {home}/corpus --out {home}/x/y/../../run", "run is a run already.*--resume"
    ),
    "an export around the corner": Wrong(
        "export {run} {home}/x/y/../../corpus", "corpus exists already"
    ),
    "resume without its flag": Wrong("train --resume {run}", r"name it with --out .*/run,"),
    "resume of no run": Wrong("train --resume --out {tmp}", "is no run: it has no recipe.toml"),
    "resume with its text": Wrong(
        "train {tmp}/s.txt --resume --out {run}",
        "is no prepared corpus.*leave it out, seqvae train --resume --out",
        {"s.txt": b"one two\n"},
    ),
    "resume with an archive": Wrong(
        "train {tmp}/z.zip --resume --out {run}", "z.zip is no prepared.*leave it", {"z.zip": b""}
    ),
    "resume with what is made here": Wrong(
        "train docstrings --resume --out {run}", "docstrings is no prepared.*leave it out"
    ),
    "a value no recipe can miss": Wrong(
        "train {home}/corpus --out {tmp}/new --set training.clip=none", "cannot do without it"
    ),
    "resume with a recipe": Wrong("train text --resume --out {run}", "only with --set"),
    "resume with another corpus": Wrong(
        "train {home}/other --resume --out {run}", "do not fit|not the corpus"
    ),
    "no run": Wrong("sample {tmp}/nosuch", "no run at .*seqvae train"),
    "a folder that is no run": Wrong("info {tmp}", "is no run: it has no recipe.toml"),
    "a file that is no run": Wrong("info {home}/text.txt", "is no run: it is no folder"),
    "a corpus that is no run": Wrong("info {home}/corpus", "is no run"),
    "an export that exists": Wrong("export {run} {home}/corpus", "exists already; choose"),
    "a run that is no corpus": Wrong("evaluate {run} --corpus {run}", "no manifest.json.*prepare"),
    "a missing corpus": Wrong("evaluate {run} --corpus {tmp}/no", "does not exist. Make"),
    "a corpus of another codec": Wrong(
        "evaluate {run} --corpus {home}/other", "another codec.*--codec"
    ),
    "an unknown split": Wrong("evaluate {run} --split vlaid", "no split 'vlaid'.*valid"),
    # sentences and codes
    "no sentence": Wrong("reconstruct {run}", "give sentences"),
    "sentences twice": Wrong("reconstruct {run} a --file {home}/text.txt", "not both"),
    "a file that is not there": Wrong("reconstruct {run} --file {tmp}/no", "no file .*no'"),
    "a file without sentences": Wrong(
        "reconstruct {run} --file {tmp}/t.txt", "holds no sentence", text(b"\n\n")
    ),
    "a file that is no text": Wrong(
        "encode {run} --file {tmp}/t.txt", "line 2 is not UTF-8.*iconv", text(b"tea\ncaf\xe9\n")
    ),
    "a file without the field": Wrong(
        "encode {run} --file {tmp}/t.jsonl", "line 1 has no field 'text'", {"t.jsonl": b'{"a":1}'}
    ),
    "a sentence that is a number": Wrong(
        "encode {run} --file {tmp}/t.jsonl", "encodes str, not int", {"t.jsonl": b'{"text":1}'}
    ),
    "a blank sentence": Wrong("encode {run} __blank__", "refused.*blank"),
    "one end only": Wrong("interpolate {run}", "1 arguments: give two sentences"),
    "three ends": Wrong("interpolate {run} a b c", "4 arguments: give two sentences"),
    "a path of one step": Wrong("interpolate {run} a b --steps 1", "--steps.*2"),
    "an unknown path": Wrong("interpolate {run} a b --path slrep", 'did you mean "slerp"'),
    "a beam that draws": Wrong("sample {run} --beam 2 --top-k 3", "one or the other"),
    "a beam of none": Wrong("sample {run} --beam 0", "--beam.*1"),
    "no temperature": Wrong("sample {run} --temperature 0", "temperature = 0.*more than 0"),
    "more than all": Wrong("sample {run} --top-p 1.5", "top_p = 1.5.*at most at 1"),
    "no samples": Wrong("sample {run} -n 0", "-n.*1"),
    "codes of another size": Wrong(
        DECODE, r"\(1, 3\); this model takes \(N, 2\)", codes('{"z":[1,2,3]}')
    ),
    "codes of two sizes": Wrong(
        DECODE, "code 2: 1 numbers, not 2", codes('{"z":[1,2]}\n{"z":[1]}')
    ),
    "codes of words": Wrong(DECODE, "code 1: .*not a list of finite", codes('{"z":["a","b"]}')),
    "codes of no numbers": Wrong(DECODE, "not a list of finite numbers", codes('{"z":[NaN,1]}')),
    "codes too large": Wrong(DECODE, "not a list of finite numbers", codes('{"z":[1e400,1]}')),
    "codes that are none": Wrong(DECODE, "line 1 has no field 'z'", codes('{"text":"a"}')),
    "codes that are no JSON": Wrong(DECODE, "line 2 is no JSON", codes('{"z":[1,2]}\nz\n')),
    "codes nested too deep": Wrong(DECODE, "line 1 is no JSON", codes("[" * 100_000)),
    "no codes": Wrong(DECODE, "holds no codes; make", codes("\n")),
    "a folder for a file": Wrong("decode {run} {home}", "no file"),
    "neighbours among nothing": Wrong("neighbours {run} a --among {tmp}/no", "no file"),
    "neighbours in no corpus": Wrong("neighbours {run} a --among {tmp}", "no manifest.json"),
    # the command line itself
    "an unknown command": Wrong("evalute {run}", "evalute.*evaluate"),
    "an unknown option": Wrong("sample {run} --sede 3", "--sede.*--seed"),
    "an argument missing": Wrong("evaluate", "Missing argument.*--help"),
    "a seed that is none": Wrong("sample {run} --seed x", "--seed.*integer"),
    "a seed below zero": Wrong("sample {run} --seed -1", "--seed"),
}


def tree(*folders: Path) -> dict[Path, str]:
    """Every file under the folders, by what it holds."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path: sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_line_with_the_cure_and_changes_nothing(
    case: Wrong, seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"{tmp}": tmp_path, "{home}": home, "{run}": home / "run", "__blank__": " "}

    def filled(words: str) -> str:
        for name, place in places.items():
            words = words.replace(name, str(place))
        return words

    for name, data in case.files.items():
        (tmp_path / name).write_bytes(filled(data.decode("latin1")).encode("latin1"))
    monkeypatch.chdir(tmp_path)  # a run that is named nowhere would be made here
    before = tree(tmp_path, home)
    began = time.monotonic()
    done = seqvae(*map(filled, case.command.split()))
    assert time.monotonic() - began < 10, "nothing is looked up anywhere"
    assert done.status == case.status
    assert re.search(case.says, done.line), done.line
    assert len(done.line) < 600
    after = tree(tmp_path, home)
    assert {path: after.get(path) for path in before} == before
    made = {path.relative_to(tmp_path).parts[0] for path in after.keys() - before.keys()}
    assert made <= {"new"}
    assert not runs.is_run(tmp_path / "new")


@pytest.mark.parametrize(
    ("words", "says"),
    [(["sample", "--sede", "3"], "--seed"), (["info", "no/such/run"], "no run at 'no/such/run'")],
)
def test_a_process_of_its_own_ends_with_the_same_line_and_status(
    words: list[str], says: str
) -> None:
    done = shell(*words)
    assert done.status == 2
    assert done.out == ""
    assert says in done.line
    assert len(done.err.splitlines()) == 1


def test_a_refused_text_can_be_mended_and_trained_on_in_the_same_place(
    seqvae: Command, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_bytes(b"\n\n")
    command = ("train", tmp_path / "t.txt", "--out", tmp_path / "run", *sets(training_steps=1))
    assert seqvae(*command).status == 2
    write_text(tmp_path / "t.txt")
    assert seqvae(*command).status == 0


@pytest.mark.parametrize("name", [runs.WEIGHTS, runs.TRAINER])
def test_a_damaged_checkpoint_is_named(
    name: str, seqvae: Command, run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    path = runs.newest(copy / "best") / name
    path.write_bytes(path.read_bytes()[:-9])
    for command in (["sample", copy], ["info", copy], ["export", copy, tmp_path / "small"]):
        done = seqvae(*command)
        assert done.status == 2
        assert re.match(rf"{re.escape(str(path))} is not what was saved.*Restore", done.line)
    assert not (tmp_path / "small").exists()


def test_falling_back_is_said_and_works(seqvae: Command, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(copy / "best")
    path = runs.newest(copy / "checkpoints") / runs.WEIGHTS
    path.write_bytes(b"")
    done = seqvae("sample", copy)
    assert done.status == 0
    assert f"passed over: {path}" in done.line
    assert len(done.out.splitlines()) == 5


def test_a_bug_of_ours_is_not_hidden(seqvae: Command, run: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyError):
        patch.setattr("seqvae.explore.Decoding", lambda *options: dict[str, str]()["bug"])
        seqvae("sample", run)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"),
    ],
)
def test_running_out_of_memory_is_one_line(seqvae: Command, run: Path, error: Exception) -> None:
    def full(*options: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqvae.explore.Decoding", full)
        done = seqvae("sample", run)
    assert done.status == 1
    assert "out of memory. Try" in done.line


def test_nan_is_one_line_and_a_run_that_can_go_on(
    seqvae: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Elbo.score

    def poisoned(self: Elbo, out: Pass) -> tuple[torch.Tensor, Report]:
        loss, report = score(self, out)
        return (loss * torch.nan if out.batch.step == 4 else loss), report

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Elbo, "score", poisoned)
        done = seqvae("train", home / "corpus", "--out", out, *sets())
    assert done.status == 1
    assert re.match(r"step 4: loss .*rows \d+, .*resume", done.line)
    assert runs.newest(out / "checkpoints").name == "step-00000004"
    assert seqvae("train", "--resume", "--out", out).status == 0


# --- from outside -------------------------------------------------------------------------------


def run_main(arguments: list[str], errors: Path) -> None:
    """The command in a child, its standard error in a file."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0), write_through=True)
    torch.set_num_threads(1)
    status = main(arguments)
    sys.stderr.flush()
    os._exit(status)


def train_on_a_small_disk(arguments: list[str], errors: Path) -> None:
    """From step 4 on no file may be larger than 20 kB, which the optimiser's state is."""
    train = Progress.train

    def shrink(self: Progress, step: int, steps: int, numbers: Mapping[str, float]) -> None:
        if step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        train(self, step, steps, numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "train", shrink)
        run_main(arguments, errors)


def test_a_disk_that_fills_up_ends_in_one_line_and_loses_nothing(
    seqvae: Command, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = ["train", str(home / "corpus"), "--out", str(out), *sets(training_validate_every=12)]
    status = in_child(train_on_a_small_disk, command, tmp_path / "errors")
    done = Result(status, "", (tmp_path / "errors").read_text("utf-8"))
    assert done.status == 1
    assert re.match(r"File too large.*before is intact", done.line)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000003"]
    again = seqvae("train", "--resume", "--out", out)
    assert again.status == 0
    assert "going on from step 3" in again.err


def as_nobody(arguments: list[str], errors: Path) -> None:
    if os.geteuid() == 0:  # nothing is denied to root
        os.setegid(65534)
        os.seteuid(65534)
    run_main(arguments, errors)


@pytest.mark.skipif(
    os.geteuid() == 0 and not all(p.stat().st_mode & 0o001 for p in Path(__file__).parents),
    reason="run by root from a folder that nobody else may enter, so nobody could run it",
)
@pytest.mark.parametrize("command", ["train {corpus} --out {place}/run", "export {run} {place}/e"])
def test_a_place_that_may_not_be_written_to_is_named(command: str, home: Path) -> None:
    # pytest's own folders are closed to nobody.
    place = Path(tempfile.mkdtemp())
    try:
        for name in ("corpus", "run"):
            shutil.copytree(home / name, place / name)
        (place / "closed").mkdir()
        (place / "open").mkdir()
        place.chmod(0o755)
        (place / "closed").chmod(0o555)
        (place / "open").chmod(0o777)
        words = command.format(corpus=place / "corpus", run=place / "run", place=place / "closed")
        status = in_child(as_nobody, words.split(), place / "open" / "errors")
        done = Result(status, "", (place / "open" / "errors").read_text("utf-8"))
    finally:
        (place / "closed").chmod(0o755)
        shutil.rmtree(place)
    assert done.status == 1
    assert re.match(rf"Permission denied: {place}/closed.*Name a place", done.line)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_with_its_status_and_the_command_to_go_on(
    number: signal.Signals, status: int, home: Path, tmp_path: Path, seqvae: Command
) -> None:
    out = tmp_path / "run"
    words = ["train", home / "corpus", "--out", out, *sets(training_steps=10**6)]
    words += ["--set", "training.validate_every=1000000", "--set", "training.save_every=1000000"]
    child = NURSERY.Process(target=run_main, args=([*map(str, words)], tmp_path / "errors"))
    child.start()
    try:
        deadline = time.monotonic() + SECONDS
        log = out / "metrics.jsonl"  # its first line is written after 50 steps
        while not (log.exists() and log.read_bytes()) and time.monotonic() < deadline:
            child.join(0.01)
        assert child.pid is not None
        os.kill(child.pid, number)
        child.join(10)
    finally:
        child.kill()
    done = Result(child.exitcode or 0, "", (tmp_path / "errors").read_text("utf-8"))
    assert done.status == status
    said = re.fullmatch(r"stopped after step (\d+) and saved; go on with: seqvae (.*)", done.line)
    assert said is not None
    step = int(said[1])
    assert runs.newest(out / "checkpoints").name == f"step-{step:08d}"
    again = seqvae(*said[2].split(), "--set", f"training.steps={step + 2}")
    assert again.status == 0
    assert f"going on from step {step}" in again.err


@pytest.mark.parametrize("command", [("sample",), ("reconstruct", "tatoeba", "I am tired.")])
def test_a_folder_for_sentences_is_refused(
    seqvae: Command, tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = seqvae(*command, "--out", tmp_path / "new")
    assert done.status == 2 and "sentences are printed" in done.line
    assert not (tmp_path / "new").exists()
