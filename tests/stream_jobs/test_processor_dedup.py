"""One partition over weeks: what was counted long ago is not counted again, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fleetmeter_doubles.dedup_world import DedupWorld
from fleetmeter_doubles.memory_ledger import Fault
from fleetmeter_doubles.partition_world import DEADLINE_S, PARTITION, QUICK, TOPIC, PartitionWorld, eventually
from fleetmeter_doubles.toy_log import ToyLog
from fleetmeter_jobs.ledger.dedup.chunks import CutRule
from fleetmeter_jobs.ledger.dedup.expiry import expire
from fleetmeter_jobs.partition_status import DedupStatus, State
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.threads import Threads

DAY_MS = 86_400_000


def day_of(world: PartitionWorld, days: int, log: ToyLog | None = None) -> None:
    """Let days pass on the broker's clock."""
    (log or world.log).append_time_ms += days * DAY_MS


async def count_days(world: PartitionWorld, processor: Processor, days: int, a_day: int = 10) -> None:
    """New ids on each day, foreign and sequenced, each day committed before the next one begins."""
    for _ in range(days):
        base = world.log.end
        world.log.append([b"f%d" % (base + n) for n in range(a_day)] + [b"s%d" % (base + n) for n in range(3)])
        await eventually(lambda: world.committed() == world.log.end)
        day_of(world, 1)


def blobs(world: PartitionWorld) -> int:
    return len(list(world.store.blobs(PARTITION, 2**62)))


def dedup(processor: Processor) -> DedupStatus:
    return processor.status.dedup


async def sealed(world: PartitionWorld, processor: Processor) -> None:
    """Wait until all chunks that can be sealed are. The newest day is open."""
    await eventually(lambda: dedup(processor).unsealed_chunks == 0 and blobs(world) <= 2)


async def counted(world: PartitionWorld) -> None:
    await eventually(lambda: world.committed() == world.log.end)
    assert world.totals() == world.oracle()


async def test_a_resend_weeks_late_is_a_duplicate(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await count_days(world, processor, 21)
    await sealed(world, processor)
    assert dedup(processor).filtered_ids >= 190
    assert dedup(processor).foreign_ids <= 20
    assert dedup(processor).sequenced_events == 63
    old = [value for batch in world.log.batches for value in batch.values if value]
    world.log.append([*old, b"f-new", b"f-new", b"s-new"])
    await counted(world)
    assert world.totals().duplicates == 21 * 13 + 1
    assert processor.status.state is State.COUNTING


async def test_a_successor_knows_what_was_sealed(world: PartitionWorld) -> None:
    first = world.processor()
    first.start()
    await count_days(world, first, 9)
    await sealed(world, first)
    assert await first.stop(DEADLINE_S)
    second = world.processor()
    second.start()
    old = [value for batch in world.log.batches for value in batch.values if value]
    world.log.append([*old, b"f-new"])
    await counted(world)
    await count_days(world, second, 3)
    await sealed(world, second)
    assert await second.stop(DEADLINE_S)
    # The same state in memory goes on, as after a rebalance that gives the partition back.
    second.start()
    world.log.append(old[:5])
    await counted(world)
    await sealed(world, second)
    assert len(world.cores) == 2


async def test_counting_goes_on_while_old_ids_are_looked_up(world: PartitionWorld) -> None:
    processor = world.processor(Limits(flush_interval_s=0.02, flush_events=10**6, retry_wait_s=0.01))
    processor.start()
    await count_days(world, processor, 4)
    await sealed(world, processor)
    asked, answer = threading.Event(), threading.Event()

    def hang(operation: str, _label: str) -> None:
        if operation == "known_ids":
            asked.set()
            answer.wait(DEADLINE_S)

    assert await processor.stop(DEADLINE_S)
    patient = world.processor(Limits(flush_interval_s=3600, flush_events=10**6, retry_wait_s=0.01))
    patient.start()
    await eventually(lambda: patient.status.state is State.COUNTING)
    world.store.fault = hang
    try:
        world.log.append([b"f0", b"f1", b"f-new-0"])
        await eventually(asked.is_set)
        for number in range(20):
            world.log.append([b"f0", b"s-later-%d" % number])
        # f0 again is a duplicate at once; of the others none waits.
        await eventually(lambda: patient.status.pending_events >= 40)
        assert 2 <= world.cores[-1].held_events <= 3
    finally:
        answer.set()
        world.store.fault = lambda _operation, _label: None
    await eventually(lambda: world.cores[-1].held_events == 0)
    assert await patient.stop(DEADLINE_S)
    assert world.committed() == world.log.end
    assert world.totals() == world.oracle()


async def test_a_store_that_is_away_during_a_lookup_is_waited_for_and_said_so(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await count_days(world, processor, 4)
    await sealed(world, processor)
    before = world.committed()
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "known_ids" else None
    world.log.append([b"f0", b"f-new"])
    await eventually(lambda: processor.status.state is State.WAITING)
    assert processor.status.domain == "clickhouse"
    assert "known_ids" in str(processor.status.error)
    assert world.committed() == before
    world.store.fault = lambda _operation, _label: None
    await counted(world)
    await eventually(lambda: processor.status.state is State.COUNTING)


async def test_a_stop_gives_up_on_a_lookup_that_is_not_answered(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await count_days(world, processor, 4)
    await sealed(world, processor)
    before = world.committed()
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "known_ids" else None
    world.log.append([b"f0", b"f-new"])
    await eventually(lambda: processor.status.state is State.WAITING)
    assert not await processor.stop(0.1)
    assert world.committed() == before
    assert await processor.stop(DEADLINE_S), "what was left of it has come to its end"
    world.store.fault = lambda _operation, _label: None
    world.processor().start()
    await counted(world)


async def test_many_held_events_let_ingesting_wait(world: PartitionWorld) -> None:
    first = world.processor()
    first.start()
    await count_days(world, first, 12, a_day=40)
    await sealed(world, first)
    assert await first.stop(DEADLINE_S)
    processor = world.processor(Limits(flush_interval_s=3600, inbox_bytes=100, held_events=50, retry_wait_s=0.01))
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    answer = threading.Event()

    def hang(operation: str, _label: str) -> None:
        if operation == "known_ids":
            answer.wait(DEADLINE_S)

    world.store.fault = hang
    old = [value for batch in world.log.batches for value in batch.values if value and value.startswith(b"f")]
    for start in range(0, len(old), 10):
        world.log.append(list(old[start : start + 10]))
    try:
        await eventually(lambda: world.cores[-1].held_events >= 50 and world.log.held)
        assert world.cores[-1].held_events < 60
        assert processor.status.inbox_bytes >= 50
    finally:
        answer.set()
        world.store.fault = lambda _operation, _label: None
    await eventually(lambda: processor.status.inbox_bytes == 0 and not world.log.held)
    assert await processor.stop(DEADLINE_S)
    assert world.committed() == world.log.end
    assert world.totals() == world.oracle()


@pytest.mark.parametrize("operation", ["manifests", "side_rows", "ids_sum", "delete"])
async def test_a_seal_that_fails_is_said_and_tried_again_while_counting_goes_on(
    world: PartitionWorld, operation: str
) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.store.fault = lambda asked, label: (
        Fault.BEFORE if asked == operation and not label.startswith(("quarantine", "watermarks")) else None
    )
    await count_days(world, processor, 5)
    await eventually(lambda: dedup(processor).seal_error)
    assert processor.status.state is State.COUNTING
    assert dedup(processor).unsealed_chunks >= 1
    world.store.fault = lambda _operation, _label: None
    await sealed(world, processor)
    assert dedup(processor).seal_error is None
    await counted(world)


async def test_ids_that_cannot_leave_memory_let_the_partition_wait(world: PartitionWorld) -> None:
    processor = world.processor(
        Limits(flush_interval_s=0.02, exact_bytes=500, retry_wait_s=0.01, watermark_interval_s=0.02)
    )
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.store.fault = lambda asked, _label: Fault.BEFORE if asked == "manifests" else None
    await count_days(world, processor, 4)
    world.log.append([b"f-one-more"])
    await eventually(lambda: processor.status.state is State.WAITING)
    assert "manifests" in str(processor.status.error)
    assert dedup(processor).exact_bytes >= 500
    world.store.fault = lambda _operation, _label: None
    await counted(world)
    await eventually(lambda: processor.status.state is State.COUNTING)


async def test_filters_beyond_their_budget_are_looked_up_by_hour(world: PartitionWorld) -> None:
    limits = Limits(flush_interval_s=0.02, filter_bytes=30, retry_wait_s=0.01, watermark_interval_s=0.02)
    processor = world.processor(limits, dedup_filter_limit_bytes=30)
    processor.start()
    await count_days(world, processor, 8)
    await sealed(world, processor)
    assert dedup(processor).hourly_ids >= 30
    assert 0 < dedup(processor).filter_bytes <= 30
    same_time = b"f0@%d" % (24 * 8)
    world.log.append([same_time, b"f-new"])
    await counted(world)
    assert world.totals().duplicates == 1


async def test_what_is_too_old_is_forgotten_by_the_brokers_clock(world: PartitionWorld) -> None:
    processor = world.processor(horizon_days=5)
    processor.start()
    await count_days(world, processor, 12)
    await sealed(world, processor)
    # Twelve days are six chunks of two. Of the last one's day, six days (5, and one for certainty) and five minutes
    # before are kept: whatever was appended on day 6 or later, and day 5 as it shares a chunk with day 6.
    await eventually(lambda: dedup(processor).filtered_ids == 4 * 20)
    assert dedup(processor).sequenced_events == 7 * 3
    assert len(world.store.side_tables["dedup_ids"]) == 4 * 20
    assert world.cores[-1].floor_us > 0
    assert await processor.stop(DEADLINE_S)
    world.processor(horizon_days=5).start()
    await count_days(world, processor, 2)
    assert world.totals() == world.oracle()


async def test_a_clock_that_was_ahead_for_a_moment_lets_nothing_be_forgotten(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await count_days(world, processor, 4)
    await sealed(world, processor)
    day_of(world, 60)
    world.log.append([b"!ahead"])
    await eventually(lambda: world.committed() == world.log.end)
    day_of(world, -60)
    await count_days(world, processor, 4)
    await sealed(world, processor)
    assert world.cores[-1].floor_us < world.log.batches[0].append_time_ms * 1000
    old = [value for batch in world.log.batches for value in batch.values if value]
    world.log.append([*old, b"f-new"])
    await counted(world)


async def test_a_chunk_that_a_rival_with_a_shorter_horizon_forgot_is_not_taken_for_unknown(
    world: PartitionWorld,
) -> None:
    """As when workers are replaced one by one by some with a longer horizon: one of the old ones is not done yet."""
    processor = world.processor()
    processor.start()
    await count_days(world, processor, 8)
    await sealed(world, processor)
    before = world.totals()
    rival = DedupWorld(world.store, PARTITION, log_start=0)
    expire(world.store, PARTITION, 0, world.log.append_time_ms // DAY_MS - 3, rival.context())
    world.log.append([b"f0@%d" % (24 * 8), b"f-new"])
    await eventually(lambda: world.committed() == world.log.end)
    assert world.totals().accepted == before.accepted + 1
    assert world.totals().rejected == before.rejected + 1
    assert world.cores[-1].floor_us > 0


async def test_a_rival_that_sealed_elsewhere_lets_the_state_be_read_again(world: PartitionWorld) -> None:
    """As after a change of settings: two workers with other cuts, one of which does not know that it was replaced."""
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    here, rival_is_done = threading.current_thread(), threading.Event()

    def fail(asked: str, _label: str) -> Fault | None:
        kept_out = threading.current_thread() is not here and not rival_is_done.is_set()
        return Fault.BEFORE if asked == "manifests" and kept_out else None

    world.store.fault = fail
    await count_days(world, processor, 4)
    await eventually(lambda: dedup(processor).seal_error)
    # Ours are chunks of two days.
    rival = DedupWorld(world.store, PARTITION, CutRule(ids=10, blob_bytes=10**9), log_start=0)
    assert [kept.sealed.manifest.foreign_ids for kept in rival.seal_all()] == [10, 10, 10, 10]
    rival_is_done.set()
    world.log.append([b"f0", b"f-new"])
    await counted(world)
    await eventually(lambda: len(world.cores) > 1)
    await sealed(world, processor)


@pytest.fixture
async def elsewhere(world: PartitionWorld) -> AsyncIterator[PartitionWorld]:
    """Another worker's process, with threads and a view of the log of its own; the ledger is the same."""
    made = PartitionWorld(Threads(), ToyLog(TOPIC), world.store)
    yield made
    for processor in made.processors:
        await processor.stop(5)
    made.threads.close()


async def test_a_worker_that_is_replaced_while_it_seals_changes_nothing(
    world: PartitionWorld, elsewhere: PartitionWorld
) -> None:
    other_log = elsewhere.log
    processor = world.processor(QUICK)
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    stuck, go_on = threading.Event(), threading.Event()
    mine: list[Any] = []

    def hang(operation: str, _label: str) -> None:
        if operation == "ids_sum" and not mine:
            mine.append(threading.current_thread())
            stuck.set()
            go_on.wait(DEADLINE_S)

    world.store.fault = hang
    try:
        await count_days(world, processor, 3)
        await eventually(stuck.is_set)
        other_log.batches, other_log.append_time_ms = list(world.log.batches), world.log.append_time_ms
        successor = elsewhere.processor()
        successor.start()
        for _ in range(3):
            other_log.append([b"f0", b"g%d" % other_log.end])
            await eventually(lambda: world.committed() == other_log.end)
            day_of(world, 1, other_log)
        await sealed(world, successor)
    finally:
        go_on.set()
    await eventually(lambda: not mine[0].is_alive() or dedup(processor).seal_error is None)
    other_log.append([b"f0", b"f1", b"f-last"])
    await eventually(lambda: world.committed() == other_log.end)
    assert world.totals() == world.oracle(other_log)
