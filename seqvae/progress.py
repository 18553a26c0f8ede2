"""What a person sees while something long runs: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

LINE_EVERY = 10.0  # seconds between plain lines where there is no terminal


class Progress:
    """A bar with rate and time left; sentences are printed above it.

    `say` takes a sentence, `count` (what, done, total), `train` (step, steps, numbers and, once
    known, how things are `standing`).
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.tasks: dict[str, tuple[TaskID, float, int]] = {}  # task, when and where it began
        self.spoken = time.monotonic()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, soft_wrap=True)

    def train(self, step: int, steps: int, numbers: Mapping[str, Any]) -> None:
        shown = [f"{n} {numbers[n]:.2f}" for n in ("reconstruction", "kl") if n in numbers]
        found = numbers.get("standing")
        self.count("step", step, steps, "  ".join([*shown, found] if found else shown))

    def count(self, what: str, done: int, total: int | None, numbers: str = "") -> None:
        now = time.monotonic()
        if what not in self.tasks:
            self.tasks[what] = (self.bar.add_task(what, numbers=""), now, done)
        task, began, first = self.tasks[what]
        rate = (done - first) / max(now - began, 1e-9)
        told = f"{numbers}  {rate:,.0f}/s" if rate >= 10 else f"{numbers}  {rate:.1f}/s"
        self.bar.update(task, completed=done, total=total, numbers=told)
        if not self.console.is_terminal and now - self.spoken >= LINE_EVERY:
            self.spoken = now
            left = f", {duration((total - done) / rate)} left" if total and rate > 0 else ""
            self.say(f"{what} {done:,}{f'/{total:,}' if total else ''}  {told}{left}")


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42), duration(130), duration(7300)
    ('42 s', '2 min 10 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short(value: object) -> str:
    """A value for a table: numbers to five figures.

    >>> short(3.14159265), short(7), short("LSTM")
    ('3.1416', '7', 'LSTM')
    """
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of text as lines with aligned columns.

    >>> print(table([("KL", "3.5", "nats"), ("active units", "8 of 32", "")]))
    KL            3.5      nats
    active units  8 of 32
    """
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in padded)
