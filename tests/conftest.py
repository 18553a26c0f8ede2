"""One thread and one seed for every test, and the console in this process."""

import sys

import pytest
import torch
from console import Command, Result
from hypothesis import settings

from seqvae.__main__ import main

torch.set_num_threads(1)
# How long an example takes says what else the machine does; its draws are the same each time.
settings.register_profile("seqvae", deadline=None, derandomize=True)
settings.load_profile("seqvae")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def seqvae(capfd: pytest.CaptureFixture[str]) -> Command:
    """`seqvae("sample", run)` runs the command in this process."""

    def command(*arguments: object) -> Result:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        sys.stdout.flush()
        return Result(status, *capfd.readouterr())

    return command
