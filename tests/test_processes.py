"""Two processes train what one trains: the same losses, gradients and draws."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tiny import NURSERY, metrics, prepared, recipe, settings, train, weights_sum
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from seqvae import runs
from seqvae.__main__ import main
from seqvae.build import build
from seqvae.corpus import Corpus, find_corpus
from seqvae.data import Order, collate
from seqvae.errors import Diverged, Lost, Refused, Stopped
from seqvae.fit import is_again
from seqvae.processes import (
    Drawn,
    Share,
    alike,
    anyone,
    count,
    gathered,
    in_turn,
    is_first,
    joined,
    kept,
    launch,
    pieces_of,
    sharing,
    told,
)
from seqvae.recipe import override
from seqvae.reports.report import evaluate_run
from seqvae.training.loop import backward
from seqvae.vae import VAE

SECONDS = 120
LONGER: dict[str, Any] = {"training_steps": 60, "training_save_every": 1}
# Network dropout is each process's own.
PLAIN: dict[str, Any] = {"encoder_dropout": 0.0, "decoder_dropout": 0.0}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def run_one(place: int, of: int, port: int, target: Callable[..., None], given: Any) -> None:
    torch.set_num_threads(1)
    named = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": of, "RANK": place}
    os.environ.update({key: str(value) for key, value in named.items()})
    target(*given)


def together(
    target: Callable[..., None], *given: Any, processes: int = 2, port: int | None = None
) -> list[int]:
    """The exit codes of so many processes that know of each other."""
    meet = free_port() if port is None else port
    children = [
        NURSERY.Process(target=run_one, args=(place, processes, meet, target, given))
        for place in range(processes)
    ]
    for child in children:
        child.start()
    end = time.monotonic() + SECONDS
    for child in children:
        child.join(max(end - time.monotonic(), 0.1))
    for child in children:
        child.kill()
        child.join()
    return [child.exitcode or 0 for child in children]


# --- alone --------------------------------------------------------------------------------------


def test_alone_nothing_is_passed() -> None:
    rows = torch.randn(3, 2)
    assert count() == 1 and is_first() and not anyone(False) and anyone(True)
    assert gathered(rows) is rows and kept(rows) is rows and told(lambda: 5) == 5
    with joined(), sharing(10, 1, 3, seed=0) as (part, weight), alike():
        assert part == slice(3, 6) and weight == 0.3


@pytest.mark.parametrize("size", [1, 2, 5, 8, 64, 67])
@pytest.mark.parametrize("pieces", [1, 2, 3, 8])
def test_pieces_hold_every_item_and_none_is_empty(size: int, pieces: int) -> None:
    found = pieces_of(size, pieces)
    assert len(found) == pieces and all(stop > start for start, stop in found)
    assert {row for edges in found for row in range(*edges)} == set(range(size))
    weight = [
        sum((b - a) / size / found.count((a, b)) / (b - a) for a, b in found if a <= row < b)
        for row in range(size)
    ]
    assert weight == pytest.approx([1 / size] * size), "each item counts once"
    if size >= pieces:
        assert max(b - a for a, b in found) - min(b - a for a, b in found) <= 1


DRAWERS: dict[str, Callable[[int], Tensor]] = {
    "rand": lambda n: torch.rand(n, 7),
    "rand of a shape": lambda n: torch.rand((n, 7), device="cpu"),
    "randn": lambda n: torch.randn(n, 7),
    "rand_like": lambda n: torch.rand_like(torch.zeros(n, 7)),
    "randn_like": lambda n: torch.randn_like(torch.zeros(n, 7)),
    "randint_like": lambda n: torch.randint_like(torch.zeros(n, 7), 4, 50),
    "exponential": lambda n: torch.zeros(n, 7).exponential_(),
    "rsample": lambda n: torch.distributions.Normal(torch.zeros(n, 7), 2.0).rsample(),
    "normal": lambda n: torch.normal(torch.ones(n, 7), 2 * torch.ones(n, 7)),
    "samples side by side": lambda n: torch.rand(2 * n, 7),
    "samples of each": lambda n: torch.distributions.Normal(torch.zeros(n, 7), 1.0).rsample((3,)),
}


@pytest.mark.parametrize("name", DRAWERS)
def test_what_an_item_is_given_is_what_it_is_given_alone(name: str) -> None:
    """Items 4, 5 and 6 of eleven."""
    draw = DRAWERS[name]
    torch.manual_seed(5)
    whole = [draw(11), draw(11)]
    share = Share(11, ((4, 7),))  # of the one process that this is
    with Drawn(share, seed=5):
        part = [draw(3), draw(3)]
    for a, b in zip(whole, part, strict=True):
        rows = a.view(-1, 11, 7)[:, 4:7]
        assert torch.equal(rows, b.view(rows.shape))


@pytest.mark.parametrize("size", [6, 7])
def test_samples_of_few_items_are_not_taken_for_one_of_many(size: int) -> None:
    """Two samples of items 4, 5 and 6 are six rows, be there six items in all or seven."""
    torch.manual_seed(5)
    whole = torch.rand(2 * size, 7)
    with Drawn(Share(size, ((3, 6),)), seed=5):
        part = torch.rand(2 * 3, 7)
    assert torch.equal(whole.view(2, size, 7)[:, 3:6], part.view(2, 3, 7))


@pytest.mark.parametrize("rows", [11, 12, 3])
def test_what_is_drawn_alike_is_what_one_process_draws(rows: int) -> None:
    """Of any size and kind; and what is drawn for items behind it goes on from there."""
    torch.manual_seed(5)
    kinds = torch.ones(4)
    alone = [torch.randn(rows, 7), torch.multinomial(kinds, 9, True), torch.rand(11, 7)]
    torch.manual_seed(8)
    mine = torch.rand(4)
    torch.manual_seed(8)
    with Drawn(Share(11, ((4, 7),)), seed=5) as drawn:
        with drawn.alike():
            both = [torch.randn(rows, 7), torch.multinomial(kinds, 9, True)]
        both.append(torch.rand(3, 7))
    for a, b in zip([*alone[:2], alone[2][4:7]], both, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(torch.rand(4), mine), "a process's own numbers stay where they were"


def test_a_generator_that_somebody_holds_is_left_to_them() -> None:
    first = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    with Drawn(Share(11, ((4, 7),)), seed=5):
        again = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first, again)


# --- two ----------------------------------------------------------------------------------------

TERM = "objective.terms.kl="
TERM_KL = "kl = {kind = 'KL', weight = 0.5}"
SEMI = "objective={{kind = 'SemiAmortized', refinements = 2, end_to_end = {}, terms = {{ {} }} }}"
CASES = {
    "plain": [TERM + '{kind = "KL", weight = 0.5}'],
    "free bits of a batch": [],
    "capacity": [TERM + '{kind = "Capacity", nats = 3.0}'],
    "mmd": ['objective.terms.other={kind = "MMD", weight = 10.0}'],
    "mmd, buffer": ['objective.terms.other={kind = "MMD", weight = 10.0, buffer = 32}'],
    "sliced": ['objective.terms.other={kind = "SlicedWasserstein", weight = 3.0}'],
    "adversarial": ['objective.terms.other={kind = "Adversarial", weight = 1.0, hidden = 8}'],
    "batch normal": ['posterior.kind="BatchNormPosterior"'],
    "mixture": [
        TERM + '{kind = "KL", weight = 0.5}',
        'objective.terms.other={kind = "MMD", weight = 10.0}',
        'prior={kind = "GaussianMixture", components = 10}',
    ],
    "iwae": ['objective={kind = "IWAE", samples = 3}'],
    "iwae, doubly": ['objective={kind = "IWAE", samples = 3, doubly_reparameterized = true}'],
    "target rate": [TERM + '{kind = "TargetRate", nats = 3.0}'],
    "refined": [SEMI.format("true", TERM_KL)],
    "refined, mmd": [SEMI.format("true", TERM_KL + ", other = {kind = 'MMD', weight = 10.0}")],
    "refined, mmd, buffer": [
        SEMI.format("true", TERM_KL + ", other = {kind = 'MMD', weight = 10.0, buffer = 32}")
    ],
    "refined, sliced": [
        SEMI.format("true", TERM_KL + ", other = {kind = 'SlicedWasserstein', weight = 3.0}")
    ],
    "refined, free bits": [
        SEMI.format("true", "kl = {kind = 'FreeBits', nats = 0.5, per = 'batch_dimension'}")
    ],
    "refined, fixed steps": [
        SEMI.format("false", TERM_KL + ", other = {kind = 'MMD', weight = 10.0}")
    ],
    "iwae, two samples": ['objective={kind = "IWAE", samples = 2}'],
    "noise": ['encoder.noise={kind = "Words", drop = 0.2, blank = 0.2}'],
}


EVEN = {"mixture", "iwae, two samples"}


def cases() -> dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """By case the gradients and report of one step on 21 sentences, or on 20.

    Two samples of half of 20 are 20 rows, which are not those of the batch.
    """
    found = {}
    with joined():
        corpus = Corpus(Path(os.environ["CORPUS"]))
        items = corpus.split("train")
        whole = collate(items, next(Order(items.lengths, 21, mixed=True).epoch(0)))
        for name, changes in CASES.items():
            batch = whole.part(0, 20) if name in EVEN else whole
            built = model(corpus, changes)
            report: dict[str, Any] = {}
            for step in range(3):  # so that a buffer has something in it
                for weight in [*built.vae.parameters(), *built.objective.parameters()]:
                    weight.grad = None
                torch.manual_seed(step)
                report = backward(
                    built.vae,
                    built.objective,
                    batch._replace(step=step),
                    accumulate=1,
                    bf16=False,
                    seed=step,
                )
                built.objective.update(report)
            named = [*built.vae.named_parameters(), *built.objective.named_parameters()]
            if "buffer" in name:
                assert built.objective.penalties["other"].filled > 0
            gradients = {n: w.grad for n, w in named if w.grad is not None}
            found[name] = (gradients, {n: v.detach() for n, v in report.items()})
    return found


def model(corpus: Corpus, changes: list[str]) -> Any:
    own = override(recipe(**PLAIN), changes)
    built = build(own, steps=10, **corpus.codec.extent._asdict())
    torch.manual_seed(0)
    for weight in [*built.vae.parameters(), *built.objective.parameters()]:
        torch.nn.init.normal_(weight, std=0.3)
    built.vae.train()
    built.objective.train()
    return built


def write_cases(corpus: Path, out: Path) -> None:
    os.environ["CORPUS"] = str(corpus)
    found = cases()
    if os.environ["RANK"] == "0":
        torch.save(found, out)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepared(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def one_and_two(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cases in one process, and in two."""
    folder = tmp_path_factory.mktemp("cases")
    for number in (1, 2):
        codes = together(write_cases, corpus.folder, folder / str(number), processes=number)
        assert codes == [0] * number
    return [torch.load(folder / str(number), weights_only=True) for number in (1, 2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_find_the_gradients_of_one(one_and_two: list[Any], name: str) -> None:
    (gradients, report), (others, its) = (each[name] for each in one_and_two)
    assert gradients.keys() == others.keys() and report.keys() == its.keys()
    for key, value in report.items():
        torch.testing.assert_close(its[key], value, rtol=1e-5, atol=1e-5, msg=key)
    size = max(gradient.abs().max().item() for gradient in gradients.values())
    for key, gradient in gradients.items():
        apart = (others[key] - gradient).abs().max().item()
        assert apart < 1e-5 * max(size, 1), key


def go_on(corpus: Path, folder: Path, stop: int, **other: Any) -> None:
    """To a step, at which the first process is asked to stop, or to the end."""

    def tick(step: int, *_: Any) -> None:
        if step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    own = recipe(**PLAIN, **other)
    try:
        train(own, corpus, folder, resume=runs.is_run(folder), tick=tick)
    except Stopped as error:
        raise SystemExit(5) from error


def newest(folder: Path) -> runs.Checkpoint:
    return runs.load_checkpoint(runs.newest(folder / "checkpoints"))


def test_a_run_moves_from_two_processes_to_one_and_back(corpus: Corpus, tmp_path: Path) -> None:
    one, moved = tmp_path / "one", tmp_path / "moved"
    assert together(go_on, corpus.folder, one, 99, processes=1) == [0]
    for processes, stop, code in ((2, 5, 5), (1, 9, 5), (2, 99, 0)):
        codes = together(go_on, corpus.folder, moved, stop, processes=processes)
        assert codes == [code] * processes, "a signal to one stops all, at the same step"
        assert newest(moved).trainer["step"] == min(stop, 12)
    for name, weight in newest(one).weights.items():
        torch.testing.assert_close(newest(moved).weights[name], weight, rtol=1e-3, atol=1e-4)
    losses = [
        [line["loss"] for line in metrics(folder) if line["kind"] == "train"]
        for folder in (one, moved)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def evaluated(run: Path, corpus: Path, out: Path) -> None:
    """Some have more batches than others."""
    with patch("seqvae.measures.bounds.TOGETHER", 3):
        options: dict[str, Any] = {"sample_items": 9, "fitted_items": 4, "written": 0}
        _, files = evaluate_run(run, corpus, out=out, samples=4, precision="bf16", **options)
    assert bool(files) == (os.environ["RANK"] == "0")


def test_two_processes_measure_what_one_measures(corpus: Corpus, tmp_path: Path) -> None:
    train(recipe(training_steps=1), corpus.folder, tmp_path / "run")
    for of in (1, 2):
        given = tmp_path / "run", corpus.folder, tmp_path / str(of)
        assert together(evaluated, *given, processes=of) == [0] * of
    one, two = (json.loads((tmp_path / of / "report.json").read_bytes()) for of in ("1", "2"))
    assert (one["figures"]["iw_items"], one["figures"]["fitted_items"]) == (9, 4)
    assert one["figures"] == two["figures"] and one["notes"] == two["notes"]


def one_is_spoilt(corpus: Path, folder: Path) -> None:
    """Step 6 is not finite, in the second process alone."""
    with joined():
        if not is_first():
            spoil_step(7)
        try:
            train(recipe(), corpus, folder)
        except Diverged as error:
            assert str(error).startswith("step 6:")
            raise SystemExit(3) from error


def spoil_step(number: int) -> None:
    """The so-and-so-manyth pass through the objective gives a loss that is not finite."""
    from seqvae.objectives import Elbo

    forward, calls = Elbo.forward, [0]

    def spoilt(self: Elbo, vae: VAE, batch: Any) -> Any:
        loss, report = forward(self, vae, batch)
        calls[0] += self.training
        return (loss * float("nan") if calls[0] == number and self.training else loss), report

    setattr(Elbo, "forward", spoilt)  # noqa: B010


def test_a_loss_that_is_not_finite_in_one_stops_all_before_the_step(
    corpus: Corpus, tmp_path: Path
) -> None:
    assert together(one_is_spoilt, corpus.folder, tmp_path / "run") == [3, 3]
    checkpoint = runs.load_checkpoint(runs.newest(tmp_path / "run" / "checkpoints"))
    assert checkpoint.trainer["step"] == 6, "the last whole step is kept"


def the_first_makes_nothing(way: str) -> None:
    """What the first process refuses, the others do not wait for."""

    def refuse() -> None:
        raise Refused("this and that: do something else.")

    try:
        with joined():
            if way == "told":
                told(refuse)
            with in_turn():
                if is_first():
                    refuse()
    except (Refused, Lost) as error:
        raise SystemExit(2 if isinstance(error, Refused) else 3) from error


@pytest.mark.parametrize("way", ["told", "in turn"])
def test_nobody_waits_for_what_the_first_process_refuses(way: str) -> None:
    assert together(the_first_makes_nothing, way) == [2, 3]


# --- round after round --------------------------------------------------------------------------


def meet_and_die(word: str) -> None:
    """Be one of a group, whatever was counted on this node, and leave without a word."""
    os.environ["TORCHELASTIC_RESTART_COUNT"] = os.environ["RANK"]
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    with joined():
        fine = told(lambda: word) == word and anyone(not is_first())
        os._exit(7 if fine else 1)


def test_processes_meet_in_no_group_but_their_own() -> None:
    """Rounds of one launcher, whose store has what the dead have left, and which counts none."""
    kept_by_agent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for word in ("first", "second"):
        assert together(meet_and_die, word, port=kept_by_agent.port) == [7, 7]


def begin(corpus: Path, folder: Path, name: str, stop: int) -> None:
    """Train without having asked to go on, in a launch that somebody has given a name."""
    os.environ["TORCHELASTIC_RUN_ID"] = name

    def tick(step: int, *_: Any) -> None:
        if step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(recipe(**PLAIN), corpus, folder, tick=tick)
    except (Refused, Lost, Stopped) as error:
        raise SystemExit({Refused: 2, Lost: 3, Stopped: 5}[type(error)]) from error


def test_a_launch_goes_on_with_what_it_has_begun_itself(corpus: Corpus, tmp_path: Path) -> None:
    """So also where a node has come anew and no restart was counted."""
    given = corpus.folder, tmp_path / "run"
    assert together(begin, *given, "mine", 5) == [5, 5]
    assert together(begin, *given, "another", 9) == [2, 3], "the run was there before"
    assert together(begin, *given, "none", 9) == [2, 3], "a launch without a name"
    assert together(begin, *given, "mine", 99) == [0, 0]
    assert newest(tmp_path / "run").trainer["step"] == 12


def test_a_run_that_no_launcher_began_says_nothing_of_one(tmp_path: Path) -> None:
    assert launch() is None
    train(recipe(training_steps=1), prepared(tmp_path).folder, tmp_path / "run")
    note = json.loads((tmp_path / "run" / "corpus.json").read_bytes())
    assert note.keys() == {"path", "checksum"} and not is_again(tmp_path / "run")


@pytest.mark.parametrize("command", ["sample", "interpolate", "prepare"])
def test_what_is_not_done_together_is_not_done_twice(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([command, "--help"]) == 0, "no launcher has given it a rank"
    monkeypatch.setenv("RANK", "0")
    assert main([command]) == 2
    assert "2 processes" in (said := capsys.readouterr().err) and "without torchrun" in said
    assert ("--shard" in said) == (command == "prepare")


# --- by a launcher ------------------------------------------------------------------------------

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
QUIET: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def torchrun(*of: str, restarts: int = 0) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("--max-restarts", str(restarts), *of),
    ]


def launched(folder: Path, corpus: Path, restarts: int = 2) -> list[str]:
    """The command of somebody who trains in two processes."""
    changes = [word for setting in settings(**PLAIN, **LONGER) for word in ("--set", setting)]
    named = "-m", "seqvae", "train", "text", str(corpus), "--out", str(folder)
    return torchrun(*named, "--device", "cpu", *changes, restarts=restarts)


def test_one_launch_may_train_several_models(tmp_path: Path) -> None:
    """The addresses of a group that is no more are not found by the next."""
    script = tmp_path / "several.py"
    script.write_text(
        "from seqvae.processes import anyone, joined, told\n"
        "for number in range(3):\n"
        "    with joined():\n"
        "        assert told(lambda: number) == number and anyone(True)\n",
        "utf-8",
    )
    done = subprocess.run(torchrun(str(script)), env=ENVIRONMENT, timeout=SECONDS, **QUIET)
    assert done.returncode == 0


def test_a_launcher_that_starts_anew_goes_on_with_no_run_but_its_own(
    corpus: Corpus, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(recipe(**PLAIN), corpus.folder, run)
    before = newest(run).trainer["step"], (run / "recipe.toml").read_text("utf-8")
    command = launched(run, corpus.folder, restarts=1)
    done = subprocess.run(command, env=ENVIRONMENT, timeout=SECONDS, **QUIET)
    assert done.returncode != 0, "the folder is a run already"
    after = newest(run).trainer["step"], (run / "recipe.toml").read_text("utf-8")
    assert after == before


def children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text("utf-8")
    return [int(child) for child in listed.split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")
def test_a_process_that_is_killed_is_replaced_and_the_run_is_what_it_would_have_been(
    corpus: Corpus, tmp_path: Path
) -> None:
    run, other = tmp_path / "run", tmp_path / "undisturbed"
    command = launched(run, corpus.folder.parent / "text.txt")
    with subprocess.Popen(command, env=ENVIRONMENT, **QUIET) as launcher:
        while not runs.is_run(run) or len(runs.checkpoints(run / "checkpoints")) < 2:
            time.sleep(0.02)
            assert launcher.poll() is None
        os.kill(children(launcher.pid)[-1], signal.SIGKILL)
        assert launcher.wait(timeout=SECONDS) == 0
    own = find_corpus(run).folder
    assert together(partial(go_on, **LONGER), own, other, 0) == [0, 0]
    assert newest(run).trainer["step"] == LONGER["training_steps"]
    assert weights_sum(run) == weights_sum(other)
