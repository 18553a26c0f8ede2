"""Batches of a prepared corpus, as a pure function of the step.

The order of samples is a function of (seed, epoch), a batch a slice of that order by step. So
the only state of the data is the integer `step`: a resumed run reads on where it stopped, with
any number of loader workers.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from .binarized import Binarized
from .errors import Refused
from .tokens import PAD
from .vae import Batch

Rows = NDArray[np.int64]
By = Literal["sentences", "tokens"]

BATCHES_A_POOL = 64  # sentences of so many batches are sorted by length together


class Items(Protocol):
    """What a batch is made of: token ids by row, and how many each row has."""

    @property
    def lengths(self) -> NDArray[np.int32]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> NDArray[np.int32]: ...

    def label(self, row: int) -> int | None: ...


def collate(items: Items, rows: Sequence[int] | Rows, step: int = 0) -> Batch:
    """Rows of a corpus -> a batch, padded behind the end to the longest of them."""
    taken = [items[int(row)] for row in rows]
    length = torch.tensor([len(ids) for ids in taken])
    x = torch.full((len(taken), int(length.max())), PAD)
    for row, ids in enumerate(taken):
        x[row, : len(ids)] = torch.as_tensor(ids.astype(np.int64))
    return Batch(x, length, _labels(items, rows), torch.as_tensor(np.asarray(rows)), step)


def _labels(items: Items, rows: Sequence[int] | Rows) -> Tensor | None:
    labels = [items.label(int(row)) for row in rows]
    if any(label is None for label in labels):
        return None
    return torch.tensor(labels)


class Order:
    """Which rows make which batch: (seed, epoch) -> the batches of that epoch.

    Rows are shuffled, cut into pools of 64 batches, sorted by length inside a pool, cut into
    batches, and the batches of a pool are shuffled: hardly any padding, and who meets whom in a
    batch changes every epoch. No row is ever left out. By tokens, a batch of long sentences holds
    fewer of them, and as a step descends the mean of its batch, each of those weighs more.

    Arguments:
        lengths: tokens of every row (N,).
        size: sentences a batch, or with by="tokens" padded tokens a batch.
        seed: of the shuffle.
        mixed: no sorting, so that a batch is a sample of all rows, at the cost of padding.
    """

    def __init__(
        self,
        lengths: NDArray[np.int32],
        size: int,
        *,
        by: By = "sentences",
        seed: int = 0,
        mixed: bool = False,
    ) -> None:
        if size < 1:
            raise Refused(f"a batch of {size} {by}: set training.batch to 1 or more.")
        if len(lengths) == 0:
            raise Refused("this split of the corpus has no items: there is nothing to train on.")
        self.lengths, self.size, self.by, self.seed = lengths, size, by, seed
        self.mixed = mixed

    @property
    def alone(self) -> bool:
        """Whether no two items ever meet in a batch."""
        shortest = 1 if self.by == "sentences" else int(self.lengths.min())
        return self.size < 2 * shortest or len(self.lengths) == 1

    def epoch(self, epoch: int) -> Iterator[Rows]:
        """All batches of an epoch, each an array of rows."""
        random = np.random.default_rng([self.seed, epoch])
        # 32-bit rows: a shuffled order of 40 million sentences is 160 MB, not 320.
        order = random.permutation(np.arange(len(self.lengths), dtype=np.int32))
        cut = self._by_sentences if self.by == "sentences" else self._by_tokens
        for pool in cut(order):
            for place in random.permutation(len(pool)):
                yield pool[place]

    def steps_per_epoch(self) -> int:
        """Batches in an epoch; by tokens it varies a little between epochs, this is epoch 0's."""
        if self.by == "sentences":
            return -(-len(self.lengths) // self.size)
        return sum(1 for _ in self.epoch(0))

    def batches(self, start: int = 0) -> Iterator[tuple[int, Rows]]:
        """(step, rows) for step = start, start + 1, … without end."""
        step = epoch = 0
        if self.by == "sentences":  # every epoch has as many steps: skip to the right one
            epoch = start // self.steps_per_epoch()
            step = epoch * self.steps_per_epoch()
        while True:
            for rows in self.epoch(epoch):
                if step >= start:
                    yield step, rows
                step += 1
            epoch += 1

    def _by_sentences(self, order: NDArray[np.int32]) -> Iterator[list[Rows]]:
        # Batches of equal size, give or take one row: a remainder of one sentence would be a
        # batch that a penalty on pairs of codes cannot take.
        count = self.steps_per_epoch()
        edges = np.arange(count + 1) * len(order) // count
        for first in range(0, count, BATCHES_A_POOL):
            cuts = edges[first : first + BATCHES_A_POOL + 1]
            yield np.split(self._sorted(order[cuts[0] : cuts[-1]]), cuts[1:-1] - cuts[0])

    def _by_tokens(self, order: NDArray[np.int32]) -> Iterator[list[Rows]]:
        size = max(BATCHES_A_POOL * self.size // max(int(self.lengths[:10_000].mean()), 1), 1)
        for start in range(0, len(order), size):
            rows = self._sorted(order[start : start + size])
            cuts, first, longest = [], 0, 0
            for row, length in enumerate(self.lengths[rows].tolist()):
                longest = max(longest, length)
                if row > first and (row + 1 - first) * longest > self.size:
                    cuts.append(row)
                    first, longest = row, length
            yield np.split(rows, cuts)

    def _sorted(self, rows: NDArray[np.int32]) -> Rows:
        if self.mixed:
            return rows.astype(np.int64)
        return rows[np.argsort(self.lengths[rows], kind="stable")].astype(np.int64)


class _Loaded:
    """The `DataLoader`'s view of a corpus: one index is a whole batch, (step, rows)."""

    def __init__(self, items: Items, tables: Tensor | None, seed: int) -> None:
        self.items, self.tables, self.seed = items, tables, seed

    def __getitem__(self, batch: tuple[int, Rows]) -> Batch:
        step, rows = batch
        found = collate(self._items(step), rows, step)
        if self.tables is None:
            return found
        drawn = np.random.default_rng([self.seed, step, len(self.tables)])
        table = torch.as_tensor(drawn.integers(len(self.tables), size=(len(rows), 1)))
        return found._replace(x=self.tables[table, found.x])

    def _items(self, step: int) -> Items:
        """The items as they are at a step: those that are drawn are drawn anew."""
        items = self.items
        return items.redrawn(step, self.seed) if isinstance(items, Binarized) else items


def batches(
    items: Items,
    order: Order,
    *,
    start: int = 0,
    workers: int = 0,
    tables: Tensor | None = None,
) -> Iterator[Batch]:
    """Training batches from step `start` on, without end, made by `workers` processes.

    Any number of workers gives the same batches in the same order. With `tables` (K, V), id -> id,
    each item is rewritten by one of them, drawn anew each time: a tune in another key.
    """
    loader: DataLoader[Batch] = DataLoader(
        _Loaded(items, tables, order.seed),  # type: ignore[arg-type]
        batch_size=None,
        sampler=order.batches(start),
        num_workers=workers,
        # Its own generator, or each loader would draw from the global one and change the run.
        generator=torch.Generator(),
    )
    return iter(loader)


def drawn_anew(
    items: Items, order: Order, step: int, count: int, *, tables: Tensor | None = None
) -> Iterator[Batch]:
    """About `count` batches besides those of the order, as large, and a function of (seed, step).

    Rows are drawn with replacement, for a pool of batches at a time, and cut as those of an epoch
    are; all belong to `step`.
    """
    random = np.random.default_rng([order.seed, step, 0, 1])  # not those of an epoch or a key
    size = order.size
    if order.by == "tokens":
        size = max(size // max(int(order.lengths[:10_000].mean()), 1), 1)
    for first in range(0, count, BATCHES_A_POOL):
        rows = random.integers(len(order.lengths), size=min(BATCHES_A_POOL, count - first) * size)
        lengths = order.lengths[rows]
        cut = Order(lengths, order.size, by=order.by, seed=order.seed, mixed=order.mixed)
        loaded = _Loaded(items, tables, int(random.integers(2**63)))
        for number, places in enumerate(cut.epoch(step + first)):
            yield loaded[number, rows[places]]._replace(step=step)


def in_order(items: Items, size: int, limit: int | None = None) -> Iterator[Batch]:
    """Every item once (or `limit` of them, evenly spread), for evaluation, longest last.

    Batches are of equal size, at most `size`, so that none is left with a single item.
    """
    return in_batches(items, spread(len(items), limit), size)


def spread(count: int, limit: int | None = None) -> Rows:
    """At most `limit` of the rows 0 to count - 1, evenly spread: a file's order is no sample.

    >>> spread(10, 4).tolist(), spread(3).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    wanted = count if limit is None else min(limit, count)
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)


def in_batches(items: Items, rows: Rows, size: int) -> Iterator[Batch]:
    """These rows, sorted by length, in batches of equal size, at most `size`."""
    rows = rows[np.argsort(items.lengths[rows], kind="stable")]
    for part in np.array_split(rows, -(-len(rows) // size)) if len(rows) else ():
        yield collate(items, part)


class InMemory:
    """Items held in memory: lists of token ids, for a handful of sentences."""

    def __init__(self, ids: Sequence[Sequence[int]], labels: Sequence[int] | None = None) -> None:
        self.ids = [np.asarray(row, dtype=np.int32) for row in ids]
        self.labels = labels
        self.lengths = np.array([len(row) for row in ids], dtype=np.int32)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.ids[row]

    def label(self, row: int) -> int | None:
        return None if self.labels is None else self.labels[row]
