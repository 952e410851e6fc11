"""Dedup state comes back whole, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleetmeter_doubles import APPEND_TIME_MS, MemoryLedger, SampleLog, TurnCancel, identities_in
from fleetmeter_jobs.ledger import (
    Backoff,
    ClickHouseStore,
    CommitContext,
    PartitionId,
    Position,
    commit,
    ensure_position,
)
from fleetmeter_jobs.ledger import clickhouse_store as clickhouse_store_module
from fleetmeter_jobs.ledger.errors import DedupStateError
from fleetmeter_jobs.ledger.restore import restore

PARTITION = PartitionId("fleetmeter.usage", 0)
LOG = SampleLog(PARTITION, 0, 60, seed=5)


class SampleCore:
    """A core whose identities are offsets, as SampleLog writes them."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []

    def restore(self, blob: bytes) -> None:
        if len(blob) % 8:
            raise ValueError("the checksum does not match")
        self.blobs.append(blob)

    def stats(self) -> dict[str, int]:
        identities = identities_in(self.blobs)
        return {"sequenced_events": len(identities) - 1, "foreign_ids": 1, "memory_bytes": 0}


def filled(store: MemoryLedger | ClickHouseStore) -> Position:
    context = CommitContext(cancel=TurnCancel(), backoff=Backoff(random=lambda: 0.0), now_ms=lambda: 0)
    position = ensure_position(store, PARTITION, 0, "topic-id", APPEND_TIME_MS, context)
    for end in (20, 40, 60):
        position = commit(store, LOG.flush(position, end, f"n{end}"), context).position
    return position


def test_the_core_gets_every_blob_in_order(store: MemoryLedger | ClickHouseStore) -> None:
    position, core = filled(store), SampleCore()
    restored = restore(store, core, PARTITION, position)
    assert (restored.blobs, restored.identities) == (3, LOG.accepted(60))
    assert restored.blob_bytes == 8 * LOG.accepted(60)
    assert [identities_in([blob]) for blob in core.blobs] == [
        LOG.identities(20),
        LOG.identities(40)[LOG.accepted(20) :],
        LOG.identities(60)[LOG.accepted(40) :],
    ]


@pytest.mark.clickhouse
@pytest.mark.parametrize("page_bytes", [1, 8 * 30, 8 * 10_000])
def test_blobs_come_in_pages(
    clickhouse_store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    position = filled(clickhouse_store)
    monkeypatch.setattr(clickhouse_store_module, "BLOB_PAGE_BYTES", page_bytes)
    assert restore(clickhouse_store, SampleCore(), PARTITION, position).blobs == 3


def test_only_commits_up_to_the_position_are_restored() -> None:
    """A rival may commit while we read."""
    store = MemoryLedger()
    context = CommitContext(cancel=TurnCancel(), now_ms=lambda: 0)
    position = ensure_position(store, PARTITION, 0, "topic-id", APPEND_TIME_MS, context)
    position = commit(store, LOG.flush(position, 20, "a"), context).position
    commit(store, LOG.flush(position, 60, "b"), context)
    assert restore(store, SampleCore(), PARTITION, position).identities == LOG.accepted(20)


def test_a_missing_blob_is_an_error() -> None:
    store = MemoryLedger()
    position = filled(store)
    store.parts[2] = replace(store.parts[2], blobs=[])
    with pytest.raises(DedupStateError, match=f"but {LOG.accepted(60)} events were accepted"):
        restore(store, SampleCore(), PARTITION, position)


def test_a_damaged_blob_is_an_error() -> None:
    store = MemoryLedger()
    position = filled(store)
    store.parts[2].blobs[0]["blob"] += b"x"
    with pytest.raises(DedupStateError, match="blob of offsets 20 to 40 is damaged: the checksum"):
        restore(store, SampleCore(), PARTITION, position)


def test_blobs_that_overlap_are_an_error() -> None:
    store = MemoryLedger()
    position = filled(store)
    store.parts[2].blobs[0]["next_offset"] = 41
    with pytest.raises(DedupStateError, match="offsets 40 to 60 overlaps"):
        restore(store, SampleCore(), PARTITION, position)
