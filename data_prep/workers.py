"""The same work on many things, in child processes limited in time and memory.

Whatever a task does to its process, the others go on: a crash, a hang or a hunger for memory
costs that task alone, which comes back as `Lost`.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NamedTuple, TypeVar

from seqvae.errors import Refused

Task = TypeVar("Task")
Result = TypeVar("Result")

CHUNK = 16  # tasks handed over at once
AHEAD = 64  # chunks begun at most before the oldest is done, so that results take little memory
READY = 60.0  # seconds that a process may take to start
STARTED = "started"


class Lost(NamedTuple):
    """A task without a result, and why."""

    reason: str


class Bounds(NamedTuple):
    """What one task may take: seconds by the clock, bytes beyond what a process begins with."""

    seconds: float = 10.0
    memory: int = 300_000_000


def done(work: Callable[[Task], Result], task: Task, memory: int) -> Result | Lost:
    """The result of a task in this process, whatever it raises."""
    try:
        return work(task)
    except MemoryError:
        return Lost(f"needs over {memory / 1e6:,.0f} MB")
    except Exception as error:  # of any library below: one file must not end the others
        return Lost(f"{type(error).__name__}: {error}")


def results(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    bounds: Bounds,
) -> Iterator[Result | Lost]:
    """The result of every task, in order; by 0 workers in this process, without bounds.

    `work` and the tasks are pickled where processes are spawned (macOS, Windows).
    """
    if workers == 0:
        return (done(work, task, bounds.memory) for task in tasks)
    return _Crew(work, tasks, min(workers, len(tasks)), bounds).results()


@dataclass
class _Worker:
    process: BaseProcess
    link: Connection
    tasks: deque[int] = field(default_factory=deque)  # handed over and not back
    since: float = field(default_factory=time.monotonic)  # when the first of them began
    ready: bool = False


class _Crew(Generic[Task, Result]):
    """Processes and what each of them is at."""

    def __init__(
        self,
        work: Callable[[Task], Result],
        tasks: Sequence[Task],
        workers: int,
        bounds: Bounds,
    ) -> None:
        self.work, self.tasks, self.bounds = work, tasks, bounds
        self.found: dict[int, Result | Lost] = {}  # results that wait for their turn
        self.next = 0
        self.given = 0  # results handed out
        # Forked processes begin at once; elsewhere forking is unsafe.
        method = "fork" if sys.platform.startswith("linux") else "spawn"
        self.context: Any = multiprocessing.get_context(method)
        self.forks = method == "fork"
        self.crew: list[_Worker] = []
        self.wanted = workers

    def results(self) -> Iterator[Result | Lost]:
        try:
            for _ in range(self.wanted):
                self.crew.append(self._hired())
            while self.given < len(self.tasks):
                self._hand_over()
                self._listen()
                while self.given in self.found:
                    self.given += 1
                    yield self.found.pop(self.given - 1)
        finally:
            for worker in self.crew:
                _end(worker)

    def _hired(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        # A forked process holds a copy of every open pipe; it closes those that are not its own,
        # so that it sees the end of this one.
        others = [worker.link for worker in self.crew] + [ours] if self.forks else []
        process = self.context.Process(
            target=_serve, args=(theirs, others, self.work, self.bounds.memory), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand_over(self) -> None:
        """Tasks for whoever has none."""
        for worker in self.crew:
            begun = self.next - self.given
            if worker.ready and not worker.tasks and begun < AHEAD * CHUNK:
                first, self.next = self.next, min(self.next + CHUNK, len(self.tasks))
                self._send(worker, range(first, self.next))

    def _send(self, worker: _Worker, numbers: Sequence[int]) -> None:
        if numbers:
            worker.tasks.extend(numbers)
            worker.since = time.monotonic()
            with suppress(OSError):  # it has died: whoever listens will find out
                worker.link.send([self.tasks[number] for number in numbers])

    def _listen(self) -> None:
        """Wait for the next message, or until somebody's time is over."""
        busy = [worker for worker in self.crew if worker.tasks or not worker.ready]
        until = min(worker.since + self._seconds(worker) for worker in busy)
        heard = wait([worker.link for worker in busy], max(until - time.monotonic(), 0))
        for worker in busy:
            if worker.link in heard:
                self._receive(worker)
            elif time.monotonic() >= worker.since + self._seconds(worker):
                self._replace(worker, f"took over {self.bounds.seconds:g} s")

    def _seconds(self, worker: _Worker) -> float:
        return self.bounds.seconds if worker.ready else READY

    def _receive(self, worker: _Worker) -> None:
        try:
            message = worker.link.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._replace(worker, f"crashed its reader ({_signal(worker.process.exitcode)})")
            return
        worker.since = time.monotonic()
        if not worker.ready:
            worker.ready = True
        else:
            self.found[worker.tasks.popleft()] = message

    def _replace(self, worker: _Worker, reason: str) -> None:
        """Another process in place of a lost one, for the tasks behind the one that lost it."""
        _end(worker)
        if not worker.ready:
            raise Refused(f"a worker process {reason} before it began. Work without: --workers 0")
        self.found[worker.tasks.popleft()] = Lost(reason)
        place = self.crew.index(worker)
        del self.crew[place]
        fresh = self._hired()
        self.crew.insert(place, fresh)
        self._send(fresh, list(worker.tasks))


def _end(worker: _Worker) -> None:
    worker.link.close()
    worker.process.kill()
    worker.process.join()


def _signal(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


# --- in the child -------------------------------------------------------------------------------


def _serve(
    link: Connection, others: Sequence[Connection], work: Callable[[Any], Any], memory: int
) -> None:
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    _limit(memory)
    with suppress(EOFError, OSError):  # the parent has gone
        link.send(STARTED)
        while True:
            for task in link.recv():
                link.send(done(work, task, memory))
    os._exit(0)


def _limit(memory: int) -> None:
    """Let this process grow by so many bytes, where the system counts what it has (Linux)."""
    with suppress(ImportError, OSError, ValueError):
        import resource
        from pathlib import Path

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        bound = pages * resource.getpagesize() + memory
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            bound = min(bound, hard)
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
