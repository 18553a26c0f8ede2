"""Batches are a pure function of (seed, step): every row once an epoch, resumed anywhere."""

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqvae.codecs import MelodyCodec, WordCodec
from seqvae.data import By, InMemory, Order, batches, collate, in_order
from seqvae.errors import Refused
from seqvae.plan import transpositions
from seqvae.tokens import PAD
from seqvae.vae import Batch

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=400)
BYS: tuple[By, ...] = ("sentences", "tokens")
BY = st.sampled_from(BYS)


def order(lengths: list[int], size: int, by: By, seed: int = 0) -> Order:
    return Order(np.array(lengths, dtype=np.int32), size, by=by, seed=seed)


def lists(rows: Any) -> list[list[int]]:
    return [part.tolist() for part in rows]


def some_lengths(count: int) -> list[int]:
    return np.random.default_rng(0).integers(1, 30, count).tolist()


@given(lengths=LENGTHS, size=st.integers(1, 50), by=BY, epoch=st.integers(0, 3))
@settings(deadline=None, derandomize=True)
def test_an_epoch_holds_every_row_once(lengths: list[int], size: int, by: By, epoch: int) -> None:
    epochs = lists(order(lengths, size, by).epoch(epoch))
    assert sorted(row for rows in epochs for row in rows) == list(range(len(lengths)))
    assert all(rows for rows in epochs)
    assert epochs == lists(order(lengths, size, by).epoch(epoch))


@given(lengths=LENGTHS, size=st.integers(3, 50), epoch=st.integers(0, 3))
@settings(deadline=None, derandomize=True)
def test_batches_of_sentences_are_equal_and_as_many_as_needed(
    lengths: list[int], size: int, epoch: int
) -> None:
    sizes = [len(rows) for rows in order(lengths, size, "sentences").epoch(epoch)]
    assert len(sizes) == order(lengths, size, "sentences").steps_per_epoch()
    assert len(sizes) == -(-len(lengths) // size)
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1
    assert min(sizes) > 1 or len(lengths) == 1  # a penalty on pairs of codes can take them all


def test_no_epoch_leaves_a_batch_of_one_behind_its_pools() -> None:
    """64 batches a pool: one row more than a pool must not stand alone."""
    sizes = [len(rows) for rows in order([5] * 257, 4, "sentences").epoch(0)]
    assert len(sizes) == 65 and min(sizes) >= 3


@given(lengths=LENGTHS, size=st.integers(1, 120), epoch=st.integers(0, 3))
@settings(deadline=None, derandomize=True)
def test_batches_of_tokens_keep_their_bound(lengths: list[int], size: int, epoch: int) -> None:
    for rows in order(lengths, size, "tokens").epoch(epoch):
        padded = len(rows) * max(lengths[row] for row in rows)
        assert padded <= size or len(rows) == 1  # a sentence longer than the bound comes alone


@pytest.mark.parametrize("by", BYS)
def test_mixed_batches_are_samples_of_all_lengths(by: By) -> None:
    lengths = some_lengths(4000)
    size = 50 if by == "sentences" else 1500
    spread = {}
    for mixed in (False, True):
        cut = Order(np.array(lengths, dtype=np.int32), size, by=by, mixed=mixed)
        epoch = list(cut.epoch(0))
        assert sorted(row for rows in epoch for row in rows.tolist()) == list(range(4000))
        if by == "tokens":
            assert all(len(r) * max(lengths[i] for i in r) <= size for r in epoch)
        spread[mixed] = np.mean([np.std([lengths[row] for row in rows]) for rows in epoch])
    assert spread[True] > 0.9 * np.std(lengths) > 5 * spread[False]


def test_hardly_anything_is_padding() -> None:
    lengths = some_lengths(4000)
    for by, size in zip(BYS, (32, 500), strict=True):
        padded = sum(
            len(r) * max(lengths[i] for i in r) for r in order(lengths, size, by).epoch(0)
        )
        assert padded < 1.05 * sum(lengths)


@pytest.mark.parametrize(("by", "size"), [("sentences", 16), ("tokens", 200)])
def test_epochs_and_seeds_differ_in_order_and_company(by: By, size: int) -> None:
    lengths = some_lengths(3000)
    first, second = (lists(order(lengths, size, by).epoch(epoch)) for epoch in (0, 1))
    other = lists(order(lengths, size, by, seed=1).epoch(0))
    assert first != second and first != other
    company = [{frozenset(rows) for rows in epoch} for epoch in (first, second)]
    assert len(company[0] & company[1]) < len(first) / 50


@pytest.mark.parametrize("by", ["sentences", "tokens"])
def test_batches_do_not_come_in_the_order_of_their_length(by: By) -> None:
    longest = [max(lengths) for lengths in pools_of_one(by)]
    falls = sum(a > b for a, b in pairwise(longest))
    assert 0.3 < falls / len(longest) < 0.7


def pools_of_one(by: By) -> list[list[int]]:
    """The lengths of an epoch that is one pool, sorted as a whole before it is cut."""
    lengths = some_lengths(400)
    return [[lengths[row] for row in rows] for rows in order(lengths, 30, by).epoch(0)]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=60),
    size=st.integers(1, 40),
    by=BY,
    start=st.integers(0, 150),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_starting_at_a_step_is_skipping_to_it(
    lengths: list[int], size: int, by: By, start: int
) -> None:
    whole = islice(order(lengths, size, by).batches(), start, start + 20)
    late = islice(order(lengths, size, by).batches(start), 20)
    for (step, rows), (late_step, late_rows) in zip(whole, late, strict=True):
        assert step == late_step and rows.tolist() == late_rows.tolist()


def test_steps_are_counted_over_epochs() -> None:
    steps = [step for step, _ in islice(order([3] * 10, 4, "sentences").batches(2), 9)]
    assert steps == list(range(2, 11))


def sentences(count: int) -> InMemory:
    draw = np.random.default_rng(1)
    return InMemory([draw.integers(4, 9, n).tolist() for n in some_lengths(count)], range(count))


# On one core torch warns of two workers, and Python 3.12 of any fork beside a thread.
@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:This process")
@pytest.mark.parametrize("by", ["sentences", "tokens"])
def test_any_number_of_workers_gives_the_same_batches(by: By) -> None:
    items = sentences(50)
    seen = []
    torch.manual_seed(3)
    state = torch.get_rng_state()
    for workers in (0, 2):
        stream = batches(items, Order(items.lengths, 8, by=by), start=5, workers=workers)
        seen.append([next(stream) for _ in range(12)])
        assert torch.equal(torch.get_rng_state(), state)  # the run's own randomness is untouched
    for ours, theirs in zip(*seen, strict=True):
        assert ours.step == theirs.step
        for mine, other in zip(ours[:4], theirs[:4], strict=True):
            assert torch.equal(mine, other)


def test_a_batch_is_its_rows_padded_behind_the_end() -> None:
    items = InMemory([[5, 3], [6, 7, 8, 3], [3]], labels=[1, 0, 2])
    batch = collate(items, [2, 1, 0], step=4)
    assert batch.x.tolist() == [[3, PAD, PAD, PAD], [6, 7, 8, 3], [5, 3, PAD, PAD]]
    assert batch.x.dtype == torch.int64
    assert batch.length.tolist() == [1, 4, 2] and batch.item.tolist() == [2, 1, 0]
    assert batch.label is not None and batch.label.tolist() == [2, 0, 1] and batch.step == 4
    assert collate(InMemory([[3]]), [0]).label is None


@given(lengths=LENGTHS, size=st.integers(1, 50), limit=st.none() | st.integers(1, 500))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_evaluation_walks_every_item_once_in_even_batches(
    lengths: list[int], size: int, limit: int | None
) -> None:
    items = InMemory([[3] * length for length in lengths])
    walked = list(in_order(items, size, limit))
    count = min(len(lengths), limit or len(lengths))
    assert sorted(torch.cat([batch.item for batch in walked]).tolist()) == list(range(count))
    sizes = [len(batch.x) for batch in walked]
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1
    seen = torch.cat([batch.length for batch in walked])
    assert torch.equal(seen, seen.sort().values)


def test_nothing_to_walk_is_nothing_and_nothing_to_train_on_is_refused() -> None:
    empty: NDArray[np.int32] = np.array([], dtype=np.int32)
    assert list(in_order(InMemory([]), 4)) == []
    with pytest.raises(Refused, match="no items"):
        Order(empty, 4)
    with pytest.raises(Refused, match=r"training\.batch"):
        order([3], 0, "sentences")


# --- rewritten by tables -------------------------------------------------------------------------


def tunes() -> InMemory:
    """Items of one length and of tokens that tell the tables apart."""
    draw = np.random.default_rng(2)
    return InMemory(draw.integers(4, 9, (40, 6)).tolist(), range(40))


def shifts(count: int = 5) -> torch.Tensor:
    """Tables (K, V): the k-th adds k, round the five tokens 4 to 8; the others stay."""
    tokens = torch.arange(4, 9)
    moved = [(tokens - 4 + k) % 5 + 4 for k in range(count)]
    return torch.stack([torch.cat([torch.arange(4), each]) for each in moved])


def rewritten(
    seed: int = 0, start: int = 0, workers: int = 0, count: int = 12, items: Any = None
) -> list[Batch]:
    items = items or tunes()
    stream = batches(
        items, Order(items.lengths, 8, seed=seed), start=start, workers=workers, tables=shifts()
    )
    return list(islice(stream, count))


def drawn_tables(batch: Batch) -> list[int]:
    """Which table each item was rewritten by; fails if it was not by exactly one."""
    plain, found = collate(tunes(), batch.item.tolist()).x, []
    for before, after in zip(plain, batch.x, strict=True):
        [table] = [k for k, each in enumerate(shifts()) if torch.equal(each[before], after)]
        found.append(table)
    return found


def test_each_item_is_rewritten_by_one_table_drawn_anew_each_time() -> None:
    found = [drawn_tables(batch) for batch in rewritten(count=100)]
    counts = np.bincount(np.concatenate(found), minlength=5)
    assert counts.sum() == 800 and abs(counts - 160).max() < 4 * np.sqrt(800 * 0.2 * 0.8)
    assert any(len(set(tables)) > 1 for tables in found)
    epochs = [
        {
            row: table
            for batch in part
            for row, table in zip(batch.item.tolist(), drawn_tables(batch), strict=True)
        }
        for part in (rewritten(count=5), rewritten(start=5, count=5))
    ]
    assert epochs[0].keys() == epochs[1].keys() and epochs[0] != epochs[1]


def test_rewriting_is_a_function_of_seed_and_step() -> None:
    whole, late, other = rewritten(), rewritten(start=7, count=5), rewritten(seed=1)
    assert all(map(same_batch, whole[7:], late)) and all(map(same_batch, whole, rewritten()))
    assert [drawn_tables(batch) for batch in whole] != [drawn_tables(batch) for batch in other]


def same_batch(one: Batch, other: Batch) -> bool:
    return one.step == other.step and all(map(torch.equal, tensors(one), tensors(other)))


def tensors(batch: Batch) -> list[Any]:
    """x, length, label, item."""
    return list(batch[:4])


@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:This process")
def test_any_number_of_workers_rewrites_the_same() -> None:
    assert all(map(same_batch, rewritten(start=3, workers=2), rewritten(start=3)))


def test_rewriting_changes_tokens_and_nothing_else() -> None:
    items = sentences(50)
    order = Order(items.lengths, 8)
    plain = list(islice(batches(items, order), 14))
    for before, after in zip(plain, rewritten(items=items, count=14), strict=True):
        assert ((before.x == PAD) == (after.x == PAD)).all() and before.step == after.step
        assert all(map(torch.equal, tensors(before)[1:], tensors(after)[1:]))
        assert after.x.dtype == torch.int64 and not torch.equal(before.x, after.x)
    one = batches(items, order, tables=shifts(1))
    assert all(map(same_batch, plain, islice(one, 14)))


def test_transpositions_are_the_tables_of_a_codec_from_low_to_high() -> None:
    codec = MelodyCodec()
    tables = transpositions(codec, 5)
    assert tables is not None and tables.shape == (11, codec.vocab)
    assert all(tables[5 + k].tolist() == codec.transposed(k).tolist() for k in range(-5, 6))
    assert tables[5].tolist() == list(range(codec.vocab))
    assert transpositions(codec, 0) is None
    with pytest.raises(Refused, match=r"training\.transpose = 2.*no pitch; set it to 0"):
        transpositions(WordCodec(["a"]), 2)
