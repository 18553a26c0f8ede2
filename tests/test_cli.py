"""The command as people meet it: every command works, and every wrong input is one clear line."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tiny import NURSERY, prepared, sentences, settings, write_text

from seqvae import runs
from seqvae.__main__ import main
from seqvae.objectives import Elbo

A, B = "the old cat sees the dog", "the happy child finds the fish now"
SECONDS = 60  # in which any process of these tests must have ended


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that says what was wrong."""
        assert "Traceback" not in self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("seqvae: ")]
        assert self.err.endswith(f"{line}\n"), "it is the last line"
        return line.removeprefix("seqvae: ")

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Result]


@pytest.fixture
def seqvae(capfd: pytest.CaptureFixture[str]) -> Command:
    """`seqvae("sample", run)` runs the command in this process."""

    def command(*arguments: object) -> Result:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        return Result(status, *capfd.readouterr())

    return command


def shell(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "seqvae", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, **options)


def sets(**other: Any) -> list[str]:
    return [word for setting in settings(**other) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, a prepared corpus, and a run trained on it by the command."""
    folder = tmp_path_factory.mktemp("home")
    prepared(folder)
    prepared(folder, 150).folder.rename(folder / "other") if False else None
    arguments = ["train", folder / "corpus", "--out", folder / "run", "--device", "cpu"]
    assert main([str(a) for a in [*arguments, *sets()]]) == 0
    return folder


@pytest.fixture
def run(home: Path) -> Path:
    return home / "run"
