"""Who trains together: the processes that one launcher has started."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from uuid import uuid4

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from ..errors import Lost

PATIENCE = timedelta(seconds=60)  # with a process that does not answer
POLL = 0.02  # seconds between two looks at who is there


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def place() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    return place() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Within, the processes that one launcher has started know of each other.

    Addresses of a group that is no more must not be found by the next (one that is set up through
    them waits for the dead), so each group has a store of its own.

    Raises `Lost` where not all of them come.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with answered():
        store = PrefixStore(f"seqvae/{_named(_launcher(), rank, size)}", _launcher())
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=PATIENCE,
        )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _named(store: Store, rank: int, size: int) -> str:
    """A name of this group that every one of its processes knows and no other group has.

    Nothing that a launcher tells its processes is that: after a node has gone or come they may
    begin anew without the count of restarts having moved, or with another count on each node. And
    what processes that are gone have left in the store looks like what others leave now. So each
    says who it is, by a word that nobody else has, and the first answers that word, until all have
    said that they heard it.
    """
    own = uuid4().hex
    if rank > 0:
        store.set(f"seqvae/here/{rank}", own)
        store.wait([f"seqvae/name/{own}"], PATIENCE)
        name = store.get(f"seqvae/name/{own}").decode()
        store.set(f"seqvae/heard/{name}/{rank}", "")
        return name
    missing, end = list(range(1, size)), time.monotonic() + PATIENCE.total_seconds()
    while missing:
        for other in missing:
            _answer(store, other, own)
        time.sleep(POLL)
        missing = [other for other in missing if not store.check([f"seqvae/heard/{own}/{other}"])]
        if time.monotonic() > end:
            raise RuntimeError(f"no word of process {missing[0]} for {PATIENCE.seconds} s")
    return own


def _answer(store: Store, other: int, name: str) -> None:
    """Tell a process, if it or one that is gone was there, how the group is named."""
    if store.check([f"seqvae/here/{other}"]):
        store.set(f"seqvae/name/{store.get(f'seqvae/here/{other}').decode()}", name)


def launch() -> str | None:
    """What all attempts of one launcher share and no other launch has; None without a launcher.

    Where the launcher keeps what processes leave it is drawn once; else it is the name that
    somebody gave to the launch (`--rdzv-id`), if they did.
    """
    if _is_hosted():
        return _launcher().compare_set("seqvae/launch", "", uuid4().hex).decode()
    given = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if given == "none" else given


def _is_hosted() -> bool:
    """Whether the launcher keeps what processes leave, from one attempt to the next."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


@cache
def _launcher() -> Store:
    """Where the processes leave word: kept by the launcher, else by the first of a group."""
    environment = os.environ
    return TCPStore(
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        int(environment["WORLD_SIZE"]),
        is_master=environment["RANK"] == "0" and not _is_hosted(),
        timeout=PATIENCE,
    )


@contextmanager
def answered() -> Iterator[None]:
    """Within, what another process leaves unanswered is `Lost`."""
    try:
        yield
    except RuntimeError as error:
        first = str(error).split("\n")[0]
        raise Lost(
            f"another process of this training no longer answers ({first:.120}). See what it said "
            "last, and go on with --resume."
        ) from error
