"""Several processes that train one model: what is whose of a batch, and what passes between them.

    torchrun --nproc-per-node 2 -m seqvae train corpus.txt --out runs/mine

Every process knows the whole batch of a step and walks its own share of the items; gradients and
reports are summed. All of this is nothing in a process that is alone.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import count as counted
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.overrides import TorchFunctionMode

from .errors import Lost

PATIENCE = timedelta(seconds=60)  # with a process that does not answer
LONG = timedelta(days=30)  # as the first prepares a corpus, or validates


class Share(NamedTuple):
    """Which rows of a batch of `size` items are whose: first and last + 1 of each process."""

    size: int
    edges: tuple[tuple[int, int], ...]

    @property
    def own(self) -> tuple[int, int]:
        return self.edges[place()]

    @property
    def sizes(self) -> list[int]:
        return [stop - start for start, stop in self.edges]

    def kept(self, whole: Tensor) -> Tensor:
        """Of rows as they were gathered, process by process, this one's."""
        return torch.split(whole, self.sizes)[place()]


_shares: list[Share] = []  # the one that is walked, while it is
_told, _joined = counted(), counted()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def place() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    return place() == 0


def begins(folder: Path) -> None:
    """Leave word for later attempts of this launcher that this one begins the run of a folder."""
    if _is_hosted():
        _launcher().set(_begun(folder), "begun")


def is_again(folder: Path) -> bool:
    """Whether an attempt of this launcher before this one has begun the run of a folder.

    A run that was there before its first attempt is none of its own, and is not gone on with.
    """
    return int(_attempt()) > 0 and _is_hosted() and bool(_launcher().check([_begun(folder)]))


def _begun(folder: Path) -> str:
    return f"seqvae/begun/{folder.resolve()}"


@contextmanager
def joined() -> Iterator[None]:
    """Within, the processes that one launcher has started know of each other.

    Addresses of a group that is no more must not be found by the next (one that is set up through
    them waits for the dead), so each attempt has a store of its own, and each group of it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore(f"seqvae/{_attempt()}/{next(_joined)}", _launcher()),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=PATIENCE,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _attempt() -> str:
    """How often a launcher has started the processes anew after one of them was lost."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


def _is_hosted() -> bool:
    """Whether the launcher keeps what processes leave, from one attempt to the next."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


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


# --- what passes between them -------------------------------------------------------------------


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
    with _answered():
        store.wait([key], LONG)
        found = store.get(key)
    if not found:
        raise Lost(
            "the first process of this training has stopped. See what it said last, and go on "
            "with --resume."
        )
    return json.loads(found)


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
        with _answered():
            dist.all_reduce(flat)
        pieces = torch.split(flat, [each.numel() for each in group])
        for each, piece in zip(group, pieces, strict=True):
            each.copy_(piece.view_as(each))


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        first = str(error).split("\n")[0]
        raise Lost(
            f"another process of this training no longer answers ({first:.120}). See what it said "
            "last, and go on with --resume."
        ) from error


# --- what is whose of a batch -------------------------------------------------------------------


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
            _shares.append(share)
            within.callback(_shares.pop)
            within.enter_context(Drawn(share, seed))
        yield slice(start, stop), weight


def pieces_of(size: int, pieces: int) -> list[tuple[int, int]]:
    """A batch in so many pieces as equal as can be: where they begin and end.

    None is empty: of fewer items than pieces some are in several, and share their weight.

    >>> pieces_of(5, 2), pieces_of(1, 2)
    ([(0, 2), (2, 5)], [(0, 1), (0, 1)])
    """
    starts = [size * piece // pieces for piece in range(pieces)]
    ends = [size * (piece + 1) // pieces for piece in range(pieces)]
    return [(start, max(end, start + 1)) for start, end in zip(starts, ends, strict=True)]


def gathered(rows: Tensor) -> Tensor:
    """Rows (B, ...) of the items of this process -> those of the whole batch, in its order.

    Gradient flows back to each process's own rows from what every process makes of them, so that
    a penalty on all codes is the same in any number of processes. Under accumulation the whole is
    what the processes walk at once.
    """
    if count() == 1 or not _shares:
        return rows
    whole: Tensor = _Gather.apply(rows, _shares[-1])  # type: ignore[no-untyped-call]
    return whole


def kept(whole: Tensor) -> Tensor:
    """Of rows of the whole batch, as `gathered` gives them, those of this process's items."""
    return whole if count() == 1 or not _shares else _shares[-1].kept(whole)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, share: Share) -> Tensor:
        context.share = share
        # Pieces of a batch differ by one row at most; what passes must not.
        padded = rows.new_zeros(max(share.sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in share.edges]
        with _answered():
            dist.all_gather(found, padded)
        return torch.cat([each[:size] for each, size in zip(found, share.sizes, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        sum_up([total])
        return context.share.kept(total), None


class Drawn(TorchFunctionMode):
    """Within, what is drawn for the items of this process is cut out of a draw for all items.

    A draw has its items first, (B, ...), or behind samples of each, (K, B, ...) or (K B, ...).
    What has no such dimension, as draws of the prior for the whole batch, is the same in every
    process. A draw that is not one of torch's plain normal or uniform ones (network dropout, von
    Mises-Fisher) is each process's own. Where another count happens to be a multiple of the items'
    draws are as good as any, but not those of one process alone.
    """

    def __init__(self, share: Share, seed: int) -> None:
        super().__init__()
        self.share = share
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function not in DRAWS or kwargs.get("generator") is not None:
            return function(*args, **kwargs)
        return DRAWS[function](self, function, *args, **kwargs)

    def filled(self, like: Tensor, fill: Callable[..., Tensor], *args: Any) -> Tensor:
        """Like this tensor, filled as it would be in one process alone."""
        shape, generator = list(like.shape), self._generator(like.device)
        start, stop = self.share.own
        split = self._split(shape, stop - start)
        if split is None:
            return fill(like.new_empty(shape), *args, generator=generator)
        samples, *others = split
        drawn = fill(like.new_empty(samples, self.share.size, *others), *args, generator=generator)
        return drawn[:, start:stop].reshape(shape)

    def _split(self, shape: Sequence[int], own: int) -> tuple[int, ...] | None:
        """A shape as samples of each item, and what one of them is; None where it has no items."""
        if len(shape) > 2 and shape[1] == own:
            return shape[0], *shape[2:]
        if not shape or shape[0] == self.share.size or shape[0] % own:
            return None
        return shape[0] // own, *shape[1:]

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]


def _in_place(mode: Drawn, function: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return tensor.copy_(mode.filled(tensor, lambda *a, **k: function(*a, **kwargs, **k), *args))


def _uniform(mode: Drawn, function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty(*args, **kwargs), Tensor.uniform_)


def _standard(mode: Drawn, function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty(*args, **kwargs), Tensor.normal_)


def _uniform_like(mode: Drawn, function: Any, like: Tensor, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty_like(like, **kwargs), Tensor.uniform_)


def _standard_like(mode: Drawn, function: Any, like: Tensor, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty_like(like, **kwargs), Tensor.normal_)


def _normal(mode: Drawn, function: Any, mean: Tensor, std: Tensor) -> Tensor:
    return mean + std * mode.filled(mean + std, Tensor.normal_)


def _integers_like(mode: Drawn, function: Any, like: Tensor, *ends: int, **kwargs: Any) -> Tensor:
    low, high = ends if len(ends) == 2 else (0, *ends)
    return mode.filled(torch.empty_like(like, **kwargs), Tensor.random_, low, high)


DRAWS: dict[Any, Callable[..., Tensor]] = {
    torch.rand: _uniform,
    torch.randn: _standard,
    torch.rand_like: _uniform_like,
    torch.randn_like: _standard_like,
    torch.randint_like: _integers_like,
    torch.normal: _normal,
    Tensor.normal_: _in_place,
    Tensor.uniform_: _in_place,
    Tensor.exponential_: _in_place,
}
