import json
import sys
from pathlib import Path

import pytest

from seqvae.errors import Refused
from seqvae.log import Log, read_log


def test_a_log_opened_at_a_step_forgets_what_came_after_it(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for step in (50, 100, 150):
        log.write("train", step, {"loss": 1.0 / step})
    Log(tmp_path, step=100).write("valid", 100, {"loss": 0.5})
    assert [(row["kind"], row["step"]) for row in read_log(tmp_path)] == [
        ("train", 50),
        ("train", 100),
        ("valid", 100),
    ]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    Log(tmp_path).write("train", 50, {"loss": 1.0})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"kind": "train", "st')
    assert read_log(tmp_path) == [{"kind": "train", "step": 50, "loss": 1.0}]
    Log(tmp_path, step=50)
    assert json.loads(path.read_text())["step"] == 50


def test_tensorboard_that_is_not_installed_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(Refused, match=r"pip install 'seqvae\[tensorboard\]'"):
        Log(tmp_path, tensorboard=True)


def test_tensorboard_receives_every_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[tuple[str, float, int]] = []

    class Board:
        def add_scalar(self, name: str, value: float, step: int) -> None:
            received.append((name, value, step))

        def flush(self) -> None:
            received.append(("flushed", 0.0, 0))

    monkeypatch.setattr("seqvae.log._board", lambda folder, step: Board())
    Log(tmp_path, tensorboard=True).write("valid", 7, {"kl": 3.5, "name": "x"})
    assert received == [("valid/kl", 3.5, 7), ("flushed", 0.0, 0)]
