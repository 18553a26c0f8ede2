"""What passes between processes: plain data from one to all, and sums."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import count as counted
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import Lost
from .group import answered, count, is_first, place

LONG = timedelta(days=30)  # as the first prepares a corpus, or validates

_told = counted()


def told(make: Callable[[], Any]) -> Any:
    """What the first process makes, however long that takes: plain data, which all others get.

    Raises `Lost` in the others where it makes nothing.
    """
    if count() == 1:
        return make()
    store, key = dist.distributed_c10d._get_default_store(), f"told/{next(_told)}"
    if is_first():
        left = ""
        try:
            made = make()
            left = json.dumps(made)
        finally:
            store.set(key, left)
        return made
    with answered():
        store.wait([key], LONG)
        found = store.get(key)
    if not found:
        raise Lost(
            "the first process of this training has stopped. See what it said last, and go on "
            "with --resume."
        )
    return json.loads(found)


def collected(made: Any) -> list[Any]:
    """What each process has made, plain data, in the order of their places: the same in all.

    However long they take.
    """
    if count() == 1:
        return [made]
    store, key = dist.distributed_c10d._get_default_store(), f"collected/{next(_told)}"
    keys = [f"{key}/{each}" for each in range(count())]
    store.set(keys[place()], json.dumps(made))
    with answered():
        store.wait(keys, LONG)
        return [json.loads(store.get(each)) for each in keys]


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process goes through the body, then all others do, and then all go on."""
    if not is_first():
        told(lambda: None)
    try:
        yield
    finally:
        if is_first():
            told(lambda: None)
    anyone(False)  # nobody changes what another still reads


def anyone(asked: bool) -> bool:
    """Whether any of them was asked."""
    if count() == 1:
        return asked
    flag = torch.tensor(float(asked))
    sum_up([flag])
    return bool(flag)


def sum_up(tensors: Sequence[Tensor]) -> None:
    """Put in place of each tensor its sum over all processes, in one message for each type.

    Raises `Lost` where a process does not answer.
    """
    if count() == 1:
        return
    kinds = dict.fromkeys((each.dtype, each.device) for each in tensors)  # alike everywhere
    for kind in kinds:
        group = [each.detach() for each in tensors if (each.dtype, each.device) == kind]
        flat = torch.cat([each.reshape(-1) for each in group])
        with answered():
            dist.all_reduce(flat)
        pieces = torch.split(flat, [each.numel() for each in group])
        for each, piece in zip(group, pieces, strict=True):
            each.copy_(piece.view_as(each))
