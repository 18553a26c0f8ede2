"""What a command of the console leaves behind."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Result(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that says what was wrong, which is the last."""
        assert "Traceback" not in self.err
        found = [line for line in self.err.splitlines() if line.startswith("seqvae: ")]
        assert self.err.splitlines()[-1:] == found
        return found[0].removeprefix("seqvae: ")

    @property
    def rows(self) -> list[dict[str, Any]]:
        assert self.status == 0, self.err
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def lines(self) -> list[str]:
        assert self.status == 0, self.err
        return self.out.splitlines()


Command = Callable[..., Result]
