"""A run's folder: what is damaged is refused by name, what is hostile runs nothing."""

import ctypes
import errno
import hashlib
import json
import os
import re
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from tiny import in_child, prepared, recipe, train

import seqvae
from seqvae import runs
from seqvae.errors import Refused

ROOT = Path(__file__).parent.parent
FILES = (runs.WEIGHTS, runs.OPTIMIZER, runs.TRAINER)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checkpoints of steps 9 and 12."""
    folder = tmp_path_factory.mktemp("finished")
    train(recipe(), prepared(folder).folder, folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The run, to damage."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def place(run: Path) -> Path:
    """Its newest checkpoint."""
    return runs.newest(run / "checkpoints")


def renew_sums(place: Path) -> None:
    """As someone would who edits a checkpoint on purpose."""
    names = [path.name for path in place.iterdir() if path.name != runs.SUMS]
    sums = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in names}
    (place / runs.SUMS).write_text("".join(f"{s}  {n}\n" for n, s in sums.items()), "utf-8")


# --- what is saved ------------------------------------------------------------------------------


def test_a_checkpoint_reads_back_as_it_was_written(tmp_path: Path) -> None:
    weights = {"vae.a": torch.randn(3, 2), "vae.half": torch.randn(2).half()}
    saved = runs.Checkpoint(weights, {"step": 7, "best": 0.1}, {"state": {0: torch.ones(2)}})
    place = runs.save_checkpoint(tmp_path, "step-00000007", saved)
    found = runs.load_checkpoint(place)
    assert found.trainer == {"format": runs.FORMAT, "step": 7, "best": 0.1}
    assert found.optimizer is not None
    assert torch.equal(found.optimizer["state"][0], torch.ones(2))
    for name, tensor in weights.items():
        assert torch.equal(found.weights[name], tensor)
        assert found.weights[name].dtype == tensor.dtype


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_the_newest_are_kept_and_no_others(keep: int, tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 9):
        saved = runs.Checkpoint({"vae.x": torch.ones(1)}, {"step": step})
        runs.save_checkpoint(tmp_path, f"step-{step:08d}", saved, keep=keep)
    runs.save_checkpoint(tmp_path, "step-00000005", saved, keep=keep)
    steps = [int(path.name[-8:]) for path in runs.checkpoints(tmp_path)]
    assert steps == [1, 2, 3, 4, 5][-keep:], "later than the last one saved: another course"


def test_files_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        saved = runs.Checkpoint({"vae.x": torch.ones(1)}, {"step": 1}, {"state": {}})
        place = runs.save_checkpoint(tmp_path, "step-00000001", saved)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o644}


# --- damage -------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, edit, empty, Path.unlink])
@pytest.mark.parametrize("name", [*FILES, runs.SUMS])
def test_a_damaged_checkpoint_is_refused_by_the_name_of_its_file(
    name: str, damage: Callable[[Path], None], place: Path
) -> None:
    damage(place / name)
    # A damaged list of sums accuses a file that it lists, or itself.
    named = f"{place}.*" if name == runs.SUMS else re.escape(str(place / name))
    with pytest.raises(Refused, match=f"^{named} (is|does).*(Restore|Use)") as refused:
        runs.load_checkpoint(place)
    assert "\n" not in str(refused.value)


def test_the_newest_is_the_newest_whole_one_and_says_what_it_passed_over(place: Path) -> None:
    flip(place / runs.TRAINER)
    warned: list[str] = []
    found = runs.newest(place.parent, warn=warned.append)
    assert found.name == "step-00000009"
    assert len(warned) == 1
    assert str(place / runs.TRAINER) in warned[0]
    with pytest.warns(UserWarning, match="passed over"):
        runs.newest(place.parent)


def test_where_all_are_damaged_the_newest_is_named(place: Path) -> None:
    for each in runs.checkpoints(place.parent):
        cut(each / runs.WEIGHTS)
    with pytest.raises(Refused, match=re.escape(str(place / runs.WEIGHTS))):
        runs.newest(place.parent, warn=pytest.fail)


def test_a_half_copied_checkpoint_is_none(place: Path) -> None:
    half = place.with_name("step-00000013")
    half.mkdir()
    shutil.copy(place / runs.WEIGHTS, half)
    assert runs.newest(place.parent, warn=lambda line: None) == place


@pytest.mark.parametrize("listed", ["/dev/zero", "../../recipe.toml", "weights.safetensors/"])
def test_a_list_of_sums_leads_nowhere_else(listed: str, place: Path) -> None:
    with (place / runs.SUMS).open("a") as file:
        file.write(f"{'0' * 64}  {listed}\n")
    with pytest.raises(Refused, match=runs.SUMS):
        runs.load_checkpoint(place)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (runs.TRAINER, b"[]"),
        (runs.TRAINER, b"{"),
        (runs.TRAINER, b"[" * 100_000),
        (runs.TRAINER, b'{"format": 1, "step": "12"}'),
        (runs.TRAINER, b'{"format": 1, "step": -1}'),
        (runs.TRAINER, b'{"format": 2, "step": 12}'),
        (runs.WEIGHTS, b"not tensors"),
    ],
)
def test_nonsense_with_right_sums_is_refused_too(name: str, data: bytes, place: Path) -> None:
    (place / name).write_bytes(data)
    renew_sums(place)
    with pytest.raises(Refused, match=re.escape(str(place / name))):
        runs.load_checkpoint(place)


@pytest.mark.parametrize("change", [{"best": "low"}, {"decays": None}, {"sums": [1]}])
def test_a_resume_from_numbers_of_the_wrong_type_is_refused(
    change: dict[str, object], finished: Path, run: Path, place: Path
) -> None:
    trainer = json.loads((place / runs.TRAINER).read_bytes())
    (place / runs.TRAINER).write_text(json.dumps({**trainer, **change}), "utf-8")
    renew_sums(place)
    with pytest.raises(Refused, match=f"{next(iter(change))} = "):
        train(recipe(), finished.parent / "corpus", run, resume=True)


def test_weights_of_another_model_are_refused(run: Path) -> None:
    place = runs.newest(run / "best")
    weights = load_file(place / runs.WEIGHTS)
    weights["vae.decoder.embedding.weight"] = torch.zeros(3, 3)
    (place / runs.WEIGHTS).write_bytes(to_bytes(weights))
    renew_sums(place)
    with pytest.raises(Refused, match="do not fit the run's recipe"):
        runs.open_run(run)


@pytest.mark.parametrize("name", ["recipe.toml", "codec/codec.json", "codec/words.txt"])
def test_a_damaged_run_is_refused_by_the_name_of_its_file(name: str, run: Path) -> None:
    cut(run / name)
    (run / name).write_bytes((run / name).read_bytes() + b"\xff[[")
    with pytest.raises(Refused, match=re.escape(str(run / name))):
        seqvae.load(run)


def test_a_recipe_that_lost_a_section_is_refused(run: Path) -> None:
    text = (run / "recipe.toml").read_text("utf-8")
    (run / "recipe.toml").write_text(text.replace("[prior]\n", "[posterior.prior]\n"), "utf-8")
    with pytest.raises(Refused, match="prior"):
        seqvae.load(run)


# --- hostile files ------------------------------------------------------------------------------


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_a_checkpoint_that_carries_code_runs_nothing_and_is_refused(
    run: Path, place: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "the payload ran"
    torch.save({"state": Payload(marker)}, place / runs.OPTIMIZER)
    renew_sums(place)
    torch.load(place / runs.OPTIMIZER, weights_only=False)
    assert marker.exists(), "the payload is a real one"
    marker.unlink()
    with pytest.raises(Refused, match=r"optimizer.pt holds more than tensors.*nothing in it"):
        runs.load_checkpoint(place)
    shutil.rmtree(run / "best")  # so that these weights are opened
    assert seqvae.load(run).sample(1)
    assert not marker.exists()


UNPICKLES = re.compile(
    r"weights_only\s*=\s*False|\bpickle\b|allow_pickle(?!=False)|yaml\.load|\beval\(|\bexec\(|"
    r"torch\.load\((?!.*weights_only=True)|distributed\.checkpoint|\bmarshal\b|\bshelve\b|"
    r"\bos\.system\(|shell\s*=\s*True"
)
# `module.eval()` and its like are torch's evaluation mode, of no argument.
MODE = re.compile(r"\.eval\(\)")


def test_nothing_in_the_package_unpickles_or_evaluates_text() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("seqvae", "data_prep", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNPICKLES.search(MODE.sub("", line.partition("#")[0]))
    ]
    assert found == []
    assert UNPICKLES.search("torch.load(path)")
    assert UNPICKLES.search("x = eval(text)")


# --- a full disk --------------------------------------------------------------------------------


def save_within(folder: Path, limit: int) -> None:
    """Save where no file may be larger than `limit` bytes; leave with the error's number."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        save_big(folder)
    except OSError as error:
        os._exit(error.errno or 1)


def save_big(folder: Path) -> None:
    big = {"vae.x": torch.ones(50_000)}
    runs.save_checkpoint(folder, "step-00000002", runs.Checkpoint(big, {"step": 2}, {"x": big}))


def save_small(folder: Path) -> None:
    small = runs.Checkpoint({"vae.x": torch.ones(1)}, {"step": 1})
    runs.save_checkpoint(folder, "step-00000001", small)


@pytest.mark.parametrize("limit", [100, 100_000, 200_200])  # in the weights; behind them
def test_a_save_that_does_not_fit_leaves_the_last_and_no_part_of_itself(
    limit: int, tmp_path: Path
) -> None:
    save_small(tmp_path)
    assert in_child(save_within, tmp_path, limit) == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert runs.load_checkpoint(runs.newest(tmp_path)).trainer["step"] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    mount = getattr(libc, "mount", None)
    if mount is None or mount(b"tmpfs", bytes(disk), b"tmpfs", 0, b"size=128k") != 0:
        pytest.skip("only root may mount a small disk; a limit on files is tested instead")
    yield disk
    libc.umount2(bytes(disk), 2)


def test_a_full_disk_leaves_the_last_checkpoint_and_no_part_of_the_new(small_disk: Path) -> None:
    save_small(small_disk)
    with pytest.raises(OSError, match="No space left") as full:
        save_big(small_disk)
    assert full.value.errno == errno.ENOSPC
    assert [path.name for path in small_disk.iterdir()] == ["step-00000001"]
    assert runs.load_checkpoint(runs.newest(small_disk)).trainer["step"] == 1


# --- sharing ------------------------------------------------------------------------------------


def test_an_export_writes_the_same_and_is_under_half_the_size(run: Path, tmp_path: Path) -> None:
    runs.export(run, tmp_path / "small")
    texts = ["the old cat sees the dog", "the happy child finds the fish now"]
    whole, small = seqvae.load(run), seqvae.load(tmp_path / "small")
    assert small.reconstruct(texts) == whole.reconstruct(texts)
    torch.testing.assert_close(small.encode(texts), whole.encode(texts), rtol=2e-3, atol=2e-3)

    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert size(tmp_path / "small") < size(run) / 2
    assert not list((tmp_path / "small").rglob(runs.OPTIMIZER))
    with pytest.raises(Refused, match="exists already"):
        runs.export(run, tmp_path / "small")


def test_an_export_that_fails_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "save_checkpoint", full)
    with suppress(OSError):
        runs.export(run, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_a_run_of_format_1_opens_and_writes_what_it_did() -> None:
    model = seqvae.load(ROOT / "tests" / "fixtures" / "run-format-1")
    known = ["the red teacher sees the fish", "the happy dog likes the teacher in the garden"]
    assert model.reconstruct(known) == known
