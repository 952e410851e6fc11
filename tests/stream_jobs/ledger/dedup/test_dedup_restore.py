"""Dedup state comes back whole, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleetmeter_doubles import MemoryLedger
from fleetmeter_doubles.dedup_world import DAY, DedupWorld
from fleetmeter_doubles.memory_ledger import Fault
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import TOY_NATIVE
from fleetmeter_jobs.ledger import ClickHouseStore, PartitionId
from fleetmeter_jobs.ledger import clickhouse_store as clickhouse_store_module
from fleetmeter_jobs.ledger.decisions import Batch, Decided, LogNow, decide, plan_new_epoch
from fleetmeter_jobs.ledger.errors import (
    CommitAbandonedError,
    DedupMovedError,
    DedupStateError,
    StoreUnavailableError,
)
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings


def test_the_core_knows_what_every_blob_names(world: DedupWorld) -> None:
    world.fill([DAY], commits=3)
    restored = world.restore()
    assert (restored.blobs, restored.identities) == (3, 18)
    assert restored.blob_bytes > 0
    world.assert_remembered(restored, DAY)


@pytest.mark.clickhouse
@pytest.mark.parametrize("page_bytes", [1, 100, 100_000])
def test_blobs_come_in_pages(
    clickhouse_store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    world = DedupWorld(clickhouse_store)
    world.fill([DAY], commits=3)
    monkeypatch.setattr(clickhouse_store_module, "BLOB_PAGE_BYTES", page_bytes)
    assert world.restore().blobs == 3


def test_only_commits_up_to_the_position_are_restored(toy_world: DedupWorld) -> None:
    """A rival may commit while we read."""
    position = toy_world.commit([b"f1", b"s1"], DAY)
    toy_world.commit([b"f2"], DAY)
    restored = toy_world.restore(position=position)
    assert restored.identities == 2
    assert toy_world.asked(restored, [b"f1", b"s1", b"f2"], DAY) == (1, 2, 0)


def test_older_log_epochs_are_remembered_and_their_ends_sealed(world: DedupWorld) -> None:
    world.fill([DAY])
    world.commit([b"f-old", b"s-old"], DAY + 1)  # not enough for a chunk
    old = world.partition
    change = plan_new_epoch(old, world.position, LogNow("topic-2", 40, 40))
    assert isinstance(decide(world.store, change, Batch(), "ana", "recreated", world.context()), Decided)
    new = replace(world, partition=PartitionId(old.topic, old.partition, 1), log_start=40)
    new.commit([b"f-new", b"s-new"], DAY + 1)
    restored = new.restore()
    assert [exact.chunk.partition for exact in restored.book.closed] == [old, old]
    assert restored.book.log_starts == {old: 7, new.partition: 40}
    assert restored.cutter.open.partition == new.partition
    new.assert_remembered(restored, DAY + 1)
    for exact in restored.book.closed:
        world.keep(exact.chunk)
    again = new.restore()
    assert again.book.closed == []
    assert (again.identities, again.blobs) == (22, 1)
    new.assert_remembered(again, DAY + 30)


def test_a_missing_blob_is_an_error(toy_world: DedupWorld, memory: MemoryLedger) -> None:
    toy_world.fill([DAY])
    memory.parts[2] = replace(memory.parts[2], blobs=[])
    with pytest.raises(DedupStateError, match="hold 12 identities, but 18 events were accepted"):
        toy_world.restore()


def test_a_blob_that_goes_missing_after_a_snapshot_is_an_error(toy_world: DedupWorld, memory: MemoryLedger) -> None:
    toy_world.fill([DAY])
    toy_world.seal_all()
    toy_world.fill([DAY + 1])
    memory.parts[-1].blobs.clear()
    with pytest.raises(DedupStateError, match="hold 30 identities, but 36 events were accepted"):
        toy_world.restore()


def test_a_damaged_blob_is_an_error(toy_world: DedupWorld, memory: MemoryLedger) -> None:
    toy_world.fill([DAY])
    blob = memory.parts[2].blobs[0]
    blob["blob"] += b"x"
    with pytest.raises(DedupStateError, match="blob of offsets 14 to 21 is damaged: invalid literal"):
        toy_world.restore()


def test_blobs_that_overlap_are_an_error(toy_world: DedupWorld, memory: MemoryLedger) -> None:
    toy_world.fill([DAY])
    memory.parts[2].blobs[0]["next_offset"] += 1
    with pytest.raises(DedupStateError, match="offsets 21 to 28 overlaps"):
        toy_world.restore()


@pytest.mark.parametrize("table", ["filter", "state", "hours"])
def test_a_damaged_snapshot_is_an_error(toy_world: DedupWorld, memory: MemoryLedger, table: str) -> None:
    toy_world.fill([DAY])
    toy_world.seal_all()
    for row in memory.side_tables["dedup_snapshots"]:
        row[table] = row[table][:-1]
    with pytest.raises(DedupStateError, match="damaged"):
        toy_world.restore()


@pytest.mark.clickhouse
def test_a_snapshot_that_was_tampered_with_in_clickhouse_is_an_error(clickhouse_store: ClickHouseStore) -> None:
    world = DedupWorld(clickhouse_store)
    world.fill([DAY])
    world.seal_all()
    clickhouse_store.http.execute(
        "ALTER TABLE dedup_snapshots UPDATE filter = concat(filter, 'x') WHERE kind = 'chunk'",
        settings={"mutations_sync": 2},
    )
    with pytest.raises(DedupStateError, match="is not what was written"):
        world.restore()


def test_a_snapshot_in_slices_needs_all_of_them(world: DedupWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetmeter_jobs.ledger.dedup.manifest.SLICE_BYTES", 5)
    world.fill([DAY])
    (kept,) = world.seal_all()
    assert len(kept.sealed.content.filter) > 5
    world.assert_remembered(world.restore(), DAY)
    if isinstance(world.store, ClickHouseStore):
        delete = "DELETE FROM dedup_snapshots WHERE kind = 'chunk' AND slice = 1"
        world.store.http.execute(delete, settings={"lightweight_deletes_sync": 2})
    else:
        rows = world.store.side_tables["dedup_snapshots"]  # type: ignore[attr-defined]
        rows[:] = [row for row in rows if (row["kind"], row["slice"]) != (1, 1)]
    # Without it the chunk does not count, and its blobs are gone: nothing is restored from a part of it.
    with pytest.raises(DedupStateError, match="hold 0 identities, but 18 events were accepted"):
        world.restore()


def test_blobs_that_vanish_under_a_restore_let_it_begin_again(toy_world: DedupWorld, memory: MemoryLedger) -> None:
    """A rival seals a chunk between our look at the chain and our reading of its blobs."""
    toy_world.fill([DAY, DAY + 1])
    chunk = toy_world.closed()[0]
    once = [True]

    def seal_meanwhile(operation: str, _label: str) -> None:
        if operation == "blobs" and once:
            once.clear()
            toy_world.keep(chunk)

    memory.fault = seal_meanwhile
    restored = toy_world.restore()
    assert [one.manifest.first_offset for one in restored.book.cold] == [chunk.first_offset]
    toy_world.assert_remembered(restored, DAY + 1)


def test_a_snapshot_that_is_replaced_under_a_restore_lets_it_begin_again(
    toy_world: DedupWorld, memory: MemoryLedger
) -> None:
    toy_world.fill([DAY])
    toy_world.seal_all()
    toy_world.fill([DAY + 1])
    (chunk,) = toy_world.closed()
    once = [True]

    def seal_meanwhile(operation: str, label: str) -> None:
        if operation == "content" and "sequenced" in label and once:
            once.clear()
            toy_world.keep(chunk)

    memory.fault = seal_meanwhile
    restored = toy_world.restore()
    assert len(restored.book.cold) == 2
    toy_world.assert_remembered(restored, DAY + 1)


def test_a_rival_that_is_ahead_is_no_reason_to_read_on_for_ever(toy_world: DedupWorld) -> None:
    toy_world.fill([DAY])
    behind = toy_world.position
    toy_world.fill([DAY + 1])
    toy_world.seal_all()
    with pytest.raises(DedupMovedError, match="sealed up to 49, but counted from 28"):
        toy_world.restore(position=behind)


@pytest.mark.parametrize("operation", ["manifests", "content", "blobs", "position"])
def test_a_store_that_is_away_says_so(toy_world: DedupWorld, memory: MemoryLedger, operation: str) -> None:
    toy_world.fill([DAY])
    toy_world.seal_all()
    position: Any = toy_world.position
    memory.fault = lambda asked, _label: Fault.BEFORE if asked == operation else None
    with pytest.raises(StoreUnavailableError):
        toy_world.restore(position=position)


def test_a_core_that_loses_an_id_is_found_out(toy_world: DedupWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_world.fill([DAY])
    monkeypatch.setattr("fleetmeter_doubles.toy_core.is_sequenced", lambda value: value == b"never")
    with pytest.raises(DedupStateError, match="hold 6 sequenced and 12 foreign ids"):
        toy_world.restore()


@pytest.mark.parametrize("sealed", [False, True], ids=["blobs", "chunks"])
def test_a_partition_that_was_given_away_is_not_read_to_its_end(toy_world: DedupWorld, sealed: bool) -> None:
    """A large state takes minutes; with each rebalance meanwhile one more of them would be in memory."""
    toy_world.fill([DAY, DAY + 1, DAY + 2], commits=3)
    if sealed:
        toy_world.seal_all()

    class _Core(ToyCore):
        def restore(self, blob: bytes) -> None:
            self.taken()
            super().restore(blob)

        def set_chunk(self, chunk: int, **content: Any) -> None:
            self.taken()
            super().set_chunk(chunk, **content)

        def taken(self) -> None:
            taken.append(self)
            ledger.abandon()

    taken: list[ToyCore] = []
    ledger = PartitionLedger(
        toy_world.store,
        toy_world.partition.topic,
        toy_world.partition.partition,
        Settings(),
        lambda: "topic-id",
        core=lambda _settings, _key: _Core(),
        native=lambda: TOY_NATIVE,
    )
    position = ledger.open(toy_world.log_start, "topic-id")
    with pytest.raises(CommitAbandonedError):
        ledger.restore(position)
    assert len(taken) == 1
