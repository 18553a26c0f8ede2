"""What a run writes down while it trains: metrics.jsonl always, TensorBoard when asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .corpus import Replacing
from .errors import Refused


class Log:
    """Appends lines of numbers to FOLDER/metrics.jsonl, and to TensorBoard where wanted.

    Opening it at a step drops lines after that step: a resumed run writes them again.
    """

    def __init__(self, folder: Path, *, step: int = 0, tensorboard: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [row for row in read_log(folder) if row["step"] <= step]
        with Replacing(self.path) as file:
            file.writelines(f"{json.dumps(row)}\n".encode() for row in kept)
        self.board = _board(folder, step) if tensorboard else None

    def write(self, kind: str, step: int, numbers: Mapping[str, Any]) -> None:
        """One line: {"kind": kind, "step": step, …}."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **numbers}) + "\n")
        if self.board is not None:
            for name, value in numbers.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(f"{kind}/{name}", value, step)
            self.board.flush()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics.jsonl; a line that a kill cut short is left out."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break  # only the last line can be half written
        if not (isinstance(row, dict) and isinstance(row.get("step"), int) and "kind" in row):
            break
        rows.append(row)
    return rows


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as missing:
        raise Refused(
            "TensorBoard is not installed: pip install 'seqvae[tensorboard]', or leave it off; "
            "metrics.jsonl and the curves are written anyway."
        ) from missing
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
