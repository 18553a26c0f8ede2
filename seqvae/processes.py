"""Several processes that train one model: what is whose of a batch, and what passes between them.

    torchrun --nproc-per-node 2 -m seqvae train corpus.txt --out runs/mine

Every process knows the whole batch of a step and walks its own share of the items; gradients and
reports are summed. All of this is nothing in a process that is alone.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cache
from itertools import count as counted
from typing import Any, NamedTuple
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.overrides import TorchFunctionMode

from .errors import Lost

PATIENCE = timedelta(seconds=60)  # with a process that does not answer
LONG = timedelta(days=30)  # as the first prepares a corpus, or validates
POLL = 0.02  # seconds between two looks at who is there


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


_walked: "list[Drawn]" = []  # whose share is walked, while it is
_told = counted()


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
    with _answered():
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


def collected(made: Any) -> list[Any]:
    """What each process has made, plain data, in the order of their places: the same in all.

    However long they take.
    """
    if count() == 1:
        return [made]
    store, key = dist.distributed_c10d._get_default_store(), f"collected/{next(_told)}"
    keys = [f"{key}/{each}" for each in range(count())]
    store.set(keys[place()], json.dumps(made))
    with _answered():
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
            _walked.append(within.enter_context(Drawn(share, seed)))
            within.callback(_walked.pop)
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

    A draw has its items first, (B, ...) or (K B, ...) with samples of each, or behind samples,
    (K, B, ...) of three dimensions or more. What is drawn for the whole batch says so (`alike`).
    A draw of no such shape, or that is not one of torch's plain normal or uniform ones (network
    dropout, von Mises-Fisher), is each process's own: as good, but not that of one process alone.
    """

    def __init__(self, share: Share, seed: int) -> None:
        super().__init__()
        self.share = share
        self.seed = seed
        self.is_alike = False
        self.generators: dict[torch.device, torch.Generator] = {}

    @contextmanager
    def alike(self) -> Iterator[None]:
        """Within, torch draws for itself, from where the draws for all items stand."""
        pairs = [(self._generator(each.device), each) for each in _own_generators()]
        before = [own.get_state() for _, own in pairs]
        for shared, own in pairs:
            own.set_state(shared.get_state())
        self.is_alike = True
        try:
            yield
        finally:
            self.is_alike = False
            for (shared, own), state in zip(pairs, before, strict=True):
                shared.set_state(own.get_state())
                own.set_state(state)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = kwargs.get("generator") is not None
        if function not in DRAWS or given or self.is_alike:
            return function(*args, **kwargs)
        return DRAWS[function](self, function, *args, **kwargs)

    def filled(self, like: Tensor, fill: Callable[..., Tensor], *args: Any) -> Tensor:
        """Like this tensor, filled as it would be in one process alone."""
        shape, (start, stop) = list(like.shape), self.share.own
        split = _split(shape, stop - start)
        if split is None:
            return fill(like.new_empty(shape), *args)
        samples, *others = split
        whole, generator = (samples, self.share.size, *others), self._generator(like.device)
        drawn = fill(like.new_empty(whole), *args, generator=generator)
        return drawn[:, start:stop].reshape(shape)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]


def _split(shape: Sequence[int], own: int) -> tuple[int, ...] | None:
    """A shape as samples of each item, and what one of them is; None where it has no items."""
    if len(shape) > 2 and shape[1] == own:
        return shape[0], *shape[2:]
    if not shape or shape[0] % own:
        return None
    return shape[0] // own, *shape[1:]


def _own_generators() -> list[torch.Generator]:
    """Those from which torch draws for itself: the processor's, and that of the GPU in use."""
    found = [torch.default_generator]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found.append(torch.cuda.default_generators[torch.cuda.current_device()])
    return found


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
