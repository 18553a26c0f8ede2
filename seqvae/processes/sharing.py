"""A batch walked by several processes, each its share of the items."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .draws import Drawn
from .group import answered, count
from .messages import sum_up
from .shares import Share, pieces_of

_walked: list[Drawn] = []  # whose share is walked, while it is


@contextmanager
def sharing(size: int, part: int, parts: int, seed: int) -> Iterator[tuple[slice, float]]:
    """Within, this process walks the `part`-th of its `parts` of a batch: rows, and their weight.

    Random numbers are drawn for the whole batch, in the same way everywhere, and those of these
    rows kept (`Drawn`): however many processes there are, an item gets the same. `seed` is that of
    the step.
    """
    pieces = pieces_of(size, count() * parts)
    share = Share(size, tuple(pieces[part::parts]))
    start, stop = share.own
    weight = (stop - start) / size / pieces.count(share.own)
    with ExitStack() as within:
        if count() > 1:
            _walked.append(within.enter_context(Drawn(share, seed)))
            within.callback(_walked.pop)
        yield slice(start, stop), weight


def gathered(rows: Tensor) -> Tensor:
    """Rows (B, ...) of the items of this process -> those of the whole batch, in its order.

    Gradient flows back to each process's own rows from what every process makes of them, so that
    a penalty on all codes is the same in any number of processes. Under accumulation the whole is
    what the processes walk at once. What is drawn for all rows is drawn `alike`.
    """
    if count() == 1 or not _walked:
        return rows
    whole: Tensor = _Gather.apply(rows, _walked[-1].share)  # type: ignore[no-untyped-call]
    return whole


def kept(whole: Tensor) -> Tensor:
    """Of rows of the whole batch, as `gathered` gives them, those of this process's items."""
    return whole if count() == 1 or not _walked else _walked[-1].share.kept(whole)


@contextmanager
def alike() -> Iterator[None]:
    """Within, what is drawn is of the whole batch, not of items: the same in every process.

    So are draws of the prior beside codes that were `gathered`, of whatever kind and size.
    """
    if not _walked:
        yield
        return
    with _walked[-1].alike():
        yield


class _Gather(torch.autograd.Function):
    """The rows of every process; and where that is differentiated, `_Gathered`, its adjoint."""

    @staticmethod
    def forward(context: Any, rows: Tensor, share: Share) -> Tensor:
        context.share = share
        # Pieces of a batch differ by one row at most; what passes must not.
        padded = rows.new_zeros(max(share.sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in share.edges]
        with answered():
            dist.all_gather(found, padded)
        return torch.cat([each[:size] for each, size in zip(found, share.sizes, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Gathered.apply(gradients[0], context.share), None  # type: ignore[no-untyped-call]


class _Gathered(torch.autograd.Function):
    """Its own rows of the sum over processes: what all make of them. Again the adjoint of that is
    `_Gather`, so that second derivatives reach every process too."""

    @staticmethod
    def forward(context: Any, whole: Tensor, share: Share) -> Tensor:
        context.share = share
        total = whole.contiguous().clone()
        sum_up([total])
        return share.kept(total)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradients[0], context.share), None  # type: ignore[no-untyped-call]
