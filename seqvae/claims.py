"""Who does what, among processes and machines that share a folder and nothing else.

A claim is a file that only one process can make. It says who, is touched as long as its owner
lives, and is taken over where its owner is seen to be dead or has not touched it for long.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BEAT = 20.0  # seconds between two touches
STALE = 300.0  # seconds after which an owner that does not touch its claim counts as dead


@contextmanager
def claim(path: Path, *, beat: float = BEAT, stale: float = STALE) -> Iterator[int]:
    """The how-manieth try this is, counted from 1, or 0 where somebody else is at it.

    A try that did not come to its end (killed, out of memory, a machine that went away) is counted
    by whoever takes it over, so that what kills its process does not do so for ever.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = _take(path, stale)
    if number == 0:
        yield 0
        return
    over = threading.Event()
    heart = threading.Thread(target=_touch, args=(path, over, beat), daemon=True)
    heart.start()
    try:
        yield number
    finally:
        over.set()
        heart.join()
        if _read(path).get("owner") == me():
            path.unlink(missing_ok=True)


def me() -> str:
    """Machine, its space of process ids, process and thread: two containers may share a name."""
    space = ""
    with suppress(OSError):  # no such thing outside Linux
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()} {space} {os.getpid()} {threading.get_ident()}"


def _take(path: Path, stale: float) -> int:
    if _make(path, 1):
        return 1
    before = _read(path)
    if not _is_dead(path, before, stale):
        return 0
    aside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.rename(aside)  # of several who see it dead only one succeeds
    except OSError:
        return 0
    if _read(aside) != before:  # somebody was faster, and this is the claim that they made
        with suppress(OSError):
            os.link(aside, path)
        aside.unlink()
        return 0
    aside.unlink()
    number = int(before.get("number", 1)) + 1
    return number if _make(path, number) else 0


def _make(path: Path, number: int) -> bool:
    """Write a claim, or find that there is one."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        json.dump({"owner": me(), "number": number, "since": time.time()}, file)
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_dead(path: Path, said: dict[str, Any], stale: float) -> bool:
    try:
        silent = _now(path) - path.stat().st_mtime
    except OSError:
        return False  # it is gone: the next look will tell
    if silent > stale:
        return True
    there, process = str(said.get("owner", "")).rsplit(" ", 2)[:2] if said else ("", "")
    here = me().rsplit(" ", 2)[0]
    return there == here and not _lives(int(process))


def _now(path: Path) -> float:
    """The time by the clock of the file system, which may be another machine's."""
    probe = path.with_name(f"{path.name}.now.{os.getpid()}.{threading.get_ident()}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _touch(path: Path, over: threading.Event, beat: float) -> None:
    while not over.wait(beat):
        with suppress(OSError):
            os.utime(path)
