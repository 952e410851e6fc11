"""Weeks of a partition on the real core and a real ClickHouse: old ids are known, and nobody waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import get_args

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.real_partition import DAY_MS, RealPartition, dedup, eventually
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_jobs.ledger import ClickHouseHttp, ClickHouseStore, PartitionId
from fleetmeter_jobs.ledger.context import CommitObserver, HookPoint
from fleetmeter_jobs.partition_status import State
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.threads import Threads
from fleetmeter_local import RunningClickHouse
from fleetmeter_native import blob_stats

pytestmark = [pytest.mark.clickhouse, pytest.mark.long]


class PatientStore(ClickHouseStore):
    """Lookups are answered when the test says so."""

    def __init__(self, http: ClickHouseHttp) -> None:
        super().__init__(http)
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def known_ids(self, partition: PartitionId, first_offset: int, next_offset: int, fingerprints: bytes) -> bytes:
        self.asked.set()
        assert self.may_answer.wait(60)
        return super().known_ids(partition, first_offset, next_offset, fingerprints)


@pytest.fixture
def store(clickhouse: RunningClickHouse, database: str, clickhouse_client: Client) -> PatientStore:
    """A migrated database of this test's own."""
    copy_schema(clickhouse_client, database)
    return PatientStore(ClickHouseHttp(clickhouse.url, clickhouse.user, clickhouse.password, database))


@pytest.fixture
async def real(store: PatientStore) -> AsyncIterator[RealPartition]:
    """One partition; its processors are stopped afterwards."""
    made = RealPartition(store, Threads())
    yield made
    store.may_answer.set()
    for processor in made.processors:
        await processor.stop(10)
    made.threads.close()


def totals(real: RealPartition) -> tuple[int, int, int]:
    counts = real.position.totals
    return counts.accepted, counts.duplicates, counts.rejected


async def test_a_resend_three_weeks_late_is_a_duplicate_with_its_own_time_and_with_another(
    real: RealPartition, store: PatientStore
) -> None:
    processor = real.processor()
    foreign = await real.days(23)
    await real.sealed(processor)
    assert dedup(processor).filtered_ids >= 21 * 40
    assert (real.one("SELECT uniqExact(fingerprint) FROM dedup_ids"), dedup(processor).sequenced_events) == (
        dedup(processor).filtered_ids,
        23 * 20,
    )
    old = [event_id for event_id, _ in foreign[:40]]
    age = (real.log.append_time_ms + real.log.end - foreign[0][1]) / DAY_MS
    assert age > 21
    real.append(old, days_ago=age)
    real.append(old, days_ago=3)
    real.append([*old, "new-1", "new-1"])
    await real.counted()
    assert totals(real) == (23 * 60 + 1, 3 * 40 + 1, 0)
    # What a successor finds is the same; the second resend asks again.
    assert await processor.stop(10)
    store.asked.clear()
    successor = real.processor()
    real.append([*old, "new-1", "new-2"])
    await real.counted()
    assert store.asked.is_set()
    assert totals(real) == (23 * 60 + 2, 4 * 40 + 2, 0)
    assert dedup(successor).sequenced_events == 23 * 20
    await real.sealed(successor)
    assert await successor.stop(10)
    folded = real.one("SELECT argMax(identities_ever, next_offset) FROM dedup_snapshots FINAL WHERE kind = 'sequenced'")
    later = [blob_stats(blob.data) for blob in store.blobs(PartitionId("usage", 0, 0), 2**62)]
    assert later
    assert folded + sum(one["sequenced_events"] + one["foreign_ids"] for one in later) == totals(real)[0]


async def test_a_partition_goes_on_while_old_ids_are_looked_up(real: RealPartition, store: PatientStore) -> None:
    first = real.processor()
    foreign = await real.days(4)
    await real.sealed(first)
    assert await first.stop(10)
    processor = real.processor(Limits(flush_interval_s=3600, flush_events=10**6, retry_wait_s=0.02))
    await eventually(lambda: processor.status.state is State.COUNTING)
    before = real.next_offset
    store.asked.clear()
    store.may_answer.clear()
    real.append([foreign[0][0], "new-0"])
    await eventually(store.asked.is_set)
    for number in range(1, 6):
        real.append([f"new-{number}"])
    await eventually(lambda: processor.status.pending_events == 6)
    assert dedup(processor).held_events == 1
    stopping = asyncio.create_task(processor.stop(60))
    await asyncio.sleep(0)
    assert real.next_offset == before, "a flush waits for what it holds"
    store.may_answer.set()
    assert await stopping
    assert real.next_offset == real.log.end
    assert totals(real) == (4 * 60 + 6, 1, 0)


async def test_ids_by_the_hour_are_found_with_their_own_time(real: RealPartition) -> None:
    processor = real.processor(
        Limits(flush_interval_s=0.02, filter_bytes=0, retry_wait_s=0.02), dedup_filter_limit_bytes=0
    )
    foreign = await real.days(6)
    await real.sealed(processor)
    assert (dedup(processor).filtered_ids, dedup(processor).hourly_ids) == (0, 6 * 40)
    age = (real.log.append_time_ms + real.log.end - foreign[0][1]) / DAY_MS + 0.001
    real.append([event_id for event_id, _ in foreign[:40]], days_ago=age)
    await real.counted()
    assert totals(real) == (6 * 60, 40, 0)


async def test_what_expires_is_gone_and_a_raised_horizon_does_not_bring_it_back(real: RealPartition) -> None:
    processor = real.processor(horizon_days=5)
    foreign = await real.days(12)
    # Chunks of two days. The last day minus six days and five minutes is in day 5: chunks that end before are gone.
    await real.sealed(processor)
    await eventually(lambda: dedup(processor).filtered_ids == 4 * 80)
    assert real.one("SELECT count() FROM dedup_ids") == 4 * 80
    assert real.one("SELECT count() FROM dedup_snapshots FINAL WHERE kind = 'chunk'") == 4
    assert await processor.stop(10)
    raised = real.processor(horizon_days=400)
    for day in (0, 1, 8, 11):
        event_id, appended_ms = foreign[day * 40]
        real.append([event_id], days_ago=(real.log.append_time_ms + real.log.end - appended_ms) / DAY_MS + 0.001)
    await real.counted()
    assert totals(real) == (12 * 60, 2, 2)
    assert real.store.http.rows("SELECT DISTINCT reason FROM quarantine") == [["too_old"]]
    assert raised.status.state is State.COUNTING


class Struck(BaseException):
    """The worker's process has died."""


class Striker(CommitObserver):
    """Dies at a named point, once."""

    def __init__(self, point: str) -> None:
        self.point: str | None = point

    def at(self, point: HookPoint, label: str) -> None:
        if point == self.point:
            self.point = None
            raise Struck


@pytest.mark.parametrize(
    "point",
    [one for one in get_args(HookPoint) if "ids" in one or "manif" in one or "blob" in one],
)
async def test_a_worker_that_dies_while_it_seals_leaves_everything_to_its_successor(
    real: RealPartition, point: str
) -> None:
    real.observer = Striker(point)
    processor = real.processor()
    foreign = await real.days(2)  # a chunk
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert real.blobs() == (0 if point == "after_blobs_deleted" else 2), "blobs go last"
    successor = real.processor()
    real.append([event_id for event_id, _ in foreign])
    await real.counted()
    assert totals(real) == (2 * 60, 2 * 40, 0)
    # What it left undone is done with the next chunk.
    foreign += await real.days(3)
    await real.sealed(successor)
    real.append([event_id for event_id, _ in foreign])
    await real.counted()
    assert totals(real) == (5 * 60, 2 * 40 + 5 * 40, 0)
