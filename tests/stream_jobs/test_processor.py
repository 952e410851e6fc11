"""One partition's life, on a log, a core and a ledger in memory; the commit protocol is the real one.

The oracle is the log itself: distinct good values are accepted, repeated ones are duplicates, `!` marks rejected ones.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from faust.types import TP
from fleetmeter_doubles.memory_ledger import Fault, MemoryLedger
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_log import ToyLog
from fleetmeter_jobs.errors import DamagedBatchError
from fleetmeter_jobs.ledger.errors import StoreRejectedError
from fleetmeter_jobs.ledger.position import Counts, PartitionId
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.partition_status import State
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.record_batch import RecordBatch
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads

PARTITION = PartitionId("usage", 0, 0)
TOPIC = TP("usage", 0)
QUICK = Limits(flush_interval_s=0.02, watermark_interval_s=0.02, retry_wait_s=0.01, retry_wait_limit_s=0.02)
DEADLINE_S = 20.0


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds; fails the test after the deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, "the condition never came to hold"
        await asyncio.sleep(0.002)


@dataclass
class World:
    """A log, a ledger, and the processors that a test starts on them."""

    threads: Threads
    log: ToyLog = field(default_factory=lambda: ToyLog(TOPIC))
    store: MemoryLedger = field(default_factory=MemoryLedger)
    cores: list[ToyCore] = field(default_factory=list)
    processors: list[Processor] = field(default_factory=list)
    work: Callable[[Any], None] = lambda _values: None

    def processor(self, limits: Limits = QUICK, log: ToyLog | None = None) -> Processor:
        def new_core(_settings: Settings, _key: bytes) -> ToyCore:
            self.cores.append(ToyCore())
            self.cores[-1].work = lambda values: self.work(values)  # noqa: PLW0108  (the test may change it)
            return self.cores[-1]

        log = log or self.log
        settings = Settings(retry_wait_s=0.01, retry_wait_limit_s=0.02)
        ledger = PartitionLedger(self.store, PARTITION, settings, lambda: log.topic_id, core=new_core)
        processor = Processor(ledger, log, limits, self.threads)
        log.deliver_to(processor.offer)
        self.processors.append(processor)
        return processor

    def committed(self) -> int:
        position = self.store.position(PARTITION)
        return position.next_offset if position else -1

    def totals(self) -> Counts:
        position = self.store.position(PARTITION)
        assert position is not None
        return position.totals

    def oracle(self, log: ToyLog | None = None) -> Counts:
        """What the log says must have been counted."""
        batches = (log or self.log).batches
        values = [value for batch in batches for value in batch.values]
        bad = sum(value is None or value.startswith(b"!") for value in values)
        good = [value for value in values if value is not None and not value.startswith(b"!")]
        return Counts(
            records=len(values),
            control_offsets=sum(batch.control for batch in batches),
            aborted_offsets=sum(batch.aborted for batch in batches),
            events_in=len(values),
            accepted=len(set(good)),
            duplicates=len(good) - len(set(good)),
            rejected=bad,
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(Threads())
    yield world
    for processor in world.processors:
        await processor.stop(5)
    world.threads.close()


def _fill(log: ToyLog, batches: int = 5, size: int = 4) -> None:
    for number in range(batches):
        log.append([b"%d-%d" % (number, i % 3) for i in range(size)])


async def test_every_offset_is_counted_once_and_then_acknowledged(world: World) -> None:
    _fill(world.log)
    world.log.append([b"!bad", None, b"0-0"])
    world.log.append([], aborted=3)
    world.log.append([], control=1)
    processor = world.processor()
    processor.start()
    await eventually(lambda: world.committed() == world.log.end)
    assert world.totals() == world.oracle()
    await eventually(lambda: world.log.acknowledged == world.log.end)
    assert processor.status.state is State.COUNTING
    assert processor.status.next_offset == world.log.end
    rejected = [(row["offset"], row["payload"]) for row in world.store.side_tables["quarantine"]]
    assert rejected == [(20, b"!bad"), (21, b"")]


async def test_many_flushes_give_the_same_as_one(world: World) -> None:
    processor = world.processor(Limits(flush_interval_s=60, flush_events=3))
    processor.start()
    for _ in range(20):
        _fill(world.log, batches=1)
        await asyncio.sleep(0)
    await eventually(lambda: world.committed() > world.log.end - 3)
    assert await processor.stop(DEADLINE_S)
    assert world.totals() == world.oracle()
    assert len(world.store.parts) > 5


async def test_a_stop_commits_what_is_pending_and_the_next_worker_goes_on_there(world: World) -> None:
    _fill(world.log)
    first = world.processor(Limits(flush_interval_s=3600))
    first.start()
    await eventually(lambda: first.status.pending_events == 20)
    assert world.committed() == 0
    assert await first.stop(DEADLINE_S)
    assert world.committed() == 20
    assert first.status.state is State.RELEASED
    _fill(world.log)  # the same values again: duplicates, if the identities were restored
    second = world.processor()
    second.start()
    await eventually(lambda: world.committed() == 40)
    assert world.log.positionings[-1] == 20
    assert world.totals() == world.oracle()
    assert world.totals().accepted == 15


async def test_state_is_used_again_when_nobody_committed_meanwhile(world: World) -> None:
    _fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: world.committed() == 20)
    assert await processor.stop(DEADLINE_S)
    _fill(world.log)
    processor.start()
    await eventually(lambda: world.committed() == 40)
    assert world.totals() == world.oracle()
    assert len(world.cores) == 1


async def test_state_is_dropped_when_another_worker_committed_meanwhile(world: World) -> None:
    _fill(world.log)
    first = world.processor()
    first.start()
    await eventually(lambda: world.committed() == 20)
    assert await first.stop(DEADLINE_S)
    world.log.append([b"new"])
    second = world.processor()
    second.start()
    await eventually(lambda: world.committed() == 21)
    assert await second.stop(DEADLINE_S)
    world.log.append([b"new", b"newer"])
    world.log.deliver_to(first.offer)
    first.start()
    await eventually(lambda: world.committed() == 23)
    assert world.totals() == world.oracle()


async def test_the_loser_of_a_race_starts_again_from_the_ledger(world: World) -> None:
    """Two workers on one partition, as after a rebalance that one of them has not noticed."""
    other_log = ToyLog(TOPIC)
    for log in (world.log, other_log):
        _fill(log, batches=30)
    one, two = world.processor(), world.processor(log=other_log)
    world.log.deliver_to(one.offer)
    one.start()
    two.start()
    await eventually(lambda: world.committed() == world.log.end)
    for log in (world.log, other_log):
        log.append([b"last", b"0-0"])
    await eventually(lambda: world.committed() == world.log.end)
    assert world.totals() == world.oracle()
    assert world.store.usage_events() == world.oracle().accepted


async def test_a_ledger_that_is_away_is_waited_for_and_said_so(world: World) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "insert" else None
    _fill(world.log)
    await eventually(lambda: processor.status.state is State.WAITING)
    assert processor.status.domain == "clickhouse"
    assert "no route" in str(processor.status.error)
    world.store.fault = lambda _operation, _label: None
    await eventually(lambda: processor.status.state is State.COUNTING and world.committed() == 20)
    assert world.totals() == world.oracle()
    assert processor.status.error is None


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.GHOST])
async def test_answers_that_get_lost_and_ghosts_don_t_change_the_count(world: World, fault: Fault) -> None:
    _fill(world.log)
    faults = iter([None, fault, fault])
    world.store.fault = lambda operation, _label: next(faults, None) if operation == "insert" else None
    world.processor().start()
    await eventually(lambda: world.committed() == 20)
    assert world.totals() == world.oracle()


@pytest.mark.parametrize("operation", ["position", "hash_key", "blobs"])
async def test_a_start_waits_for_a_ledger_that_is_away(world: World, operation: str) -> None:
    _fill(world.log)
    world.store.fault = lambda asked, _label: Fault.BEFORE if asked == operation else None
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.WAITING)
    assert processor.status.domain == "clickhouse"
    world.store.fault = lambda _operation, _label: None
    await eventually(lambda: world.committed() == 20)
    assert world.totals() == world.oracle()


async def test_a_start_waits_for_a_broker_that_is_away(world: World) -> None:
    _fill(world.log)
    world.log.away = True
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.WAITING)
    assert processor.status.domain == "kafka"
    world.log.away = False
    await eventually(lambda: world.committed() == 20)


async def test_a_broker_that_goes_away_is_told_by_the_status(world: World) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.log.away = True
    assert (processor.status.state, processor.status.domain) == (State.WAITING, "kafka")
    world.log.away = False
    assert (processor.status.state, processor.status.error) == (State.COUNTING, None)


async def test_an_error_that_stays_stops_the_partition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise StoreRejectedError("ledger has no column `new`", code=16)

    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    monkeypatch.setattr(world.store, "insert", refuse)
    _fill(world.log)
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "no column" in str(processor.status.error)
    assert world.committed() == 0
    assert await processor.stop(1)
    assert processor.status.state is State.STOPPED


async def test_stale_fetches_are_dropped_and_repeats_are_trimmed(world: World) -> None:
    _fill(world.log)
    world.processor().start()
    await eventually(lambda: world.committed() == 20)
    world.log.repeat(2)
    world.log.append([b"more"])
    await eventually(lambda: world.committed() == 21)
    assert world.totals() == world.oracle()


async def test_a_gap_in_the_delivery_is_read_again(world: World) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    _fill(world.log, batches=1)
    await eventually(lambda: world.committed() == 4)
    world.log.hold(TOPIC)
    _fill(world.log, batches=2)
    world.log.held = False
    world.log.skip(8)
    await eventually(lambda: world.committed() == 12)
    assert world.log.positionings == [0, 4]
    assert world.totals() == world.oracle()


async def test_a_gap_in_the_log_stops_after_what_comes_before_it(world: World) -> None:
    _fill(world.log, batches=1)
    world.log.batches.append(RecordBatch(4, 9, 0, 1, 1, [b"a", b"b"]))
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "4..9 has only 2 of 5" in str(processor.status.error)
    assert world.committed() == 4


async def test_a_log_that_cannot_be_read_on_stops_after_what_comes_before_it(world: World) -> None:
    _fill(world.log)
    world.log.failure = DamagedBatchError("the record batch at offset 20 fails its CRC check")
    processor = world.processor(Limits(flush_interval_s=3600))
    processor.start()
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert world.committed() == 20
    assert "offset 20 fails" in str(processor.status.error)


async def test_another_log_is_not_counted(world: World) -> None:
    _fill(world.log)
    first = world.processor()
    first.start()
    await eventually(lambda: world.committed() == 20)
    assert await first.stop(DEADLINE_S)
    world.log.topic_id = "topic-b"
    second = world.processor()
    second.start()
    await eventually(lambda: second.status.state is State.STOPPED)
    assert "topic id topic-a" in str(second.status.error)
    assert "topic id topic-b" in str(second.status.error)


async def test_counting_goes_on_while_a_commit_is_under_way_and_memory_stays_bounded(world: World) -> None:
    """One flush in flight, one full behind it, an inbox: then nothing more is taken."""
    limits = Limits(flush_interval_s=3600, flush_events=8, inbox_bytes=40)
    processor = world.processor(limits)
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    in_flight, go_on = threading.Event(), threading.Event()

    def hang(_inflight: object) -> None:
        in_flight.set()
        go_on.wait(DEADLINE_S)

    world.store.between_steps = hang
    try:
        for number in range(50):
            world.log.append([b"%03d" % number] * 4)
        # 8 events in flight, 8 pending, and an inbox between half of its limit and one fetch (12 bytes) above it.
        await eventually(in_flight.is_set)
        await eventually(lambda: processor.status.pending_events == 8 and world.log.held)
        assert 20 <= processor.status.inbox_bytes < 52
        assert world.committed() == 0
    finally:
        go_on.set()
    await eventually(lambda: world.committed() == 200)
    assert not world.log.held
    assert world.totals() == world.oracle()


async def test_a_core_that_fails_stops_the_partition_and_nothing_half_counted_is_committed(world: World) -> None:
    _fill(world.log)

    def fail(values: list[bytes]) -> None:
        if b"3-0" in values:
            raise RuntimeError("out of ideas")

    world.work = fail
    processor = world.processor(Limits(flush_interval_s=3600))
    processor.start()
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert processor.status.domain == "internal"
    assert "offsets 12..16: RuntimeError: out of ideas" in str(processor.status.error)
    assert world.committed() == 0
    world.work = lambda _values: None
    again = world.processor()
    again.start()
    await eventually(lambda: world.committed() == 20)
    assert world.totals() == world.oracle()


async def test_a_defect_stops_the_partition_with_its_traceback_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(_values: object) -> None:
        raise ZeroDivisionError("somewhere deep")

    world.work = defect
    _fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "a defect of fleetmeter" in caplog.text
    assert "somewhere deep" in caplog.text
    assert await processor.stop(1)


async def test_a_stop_gives_up_on_a_ledger_that_does_not_answer(world: World) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "insert" else None
    _fill(world.log)
    await eventually(lambda: processor.status.state is State.WAITING)
    assert not await processor.stop(0.1)
    world.store.fault = lambda _operation, _label: None
    successor = world.processor()
    successor.start()
    await eventually(lambda: world.committed() == 20)
    assert await processor.stop(DEADLINE_S)  # what was left of it has come to its end, and left the log alone
    world.log.append([b"still read"])
    await eventually(lambda: world.committed() == 21)
    assert world.totals() == world.oracle()


async def test_an_idle_partition_lets_its_watermark_go_on(world: World) -> None:
    _fill(world.log)
    processor = world.processor()
    processor.start()
    last_append_us = world.log.batches[-1].append_time_ms * 1000
    await eventually(lambda: processor.status.next_offset == 20)
    assert processor.status.watermark_us == last_append_us - 1_000_000
    world.log.drained_ms = world.log.batches[-1].append_time_ms + 5000
    await eventually(lambda: processor.status.watermark_us == last_append_us + 5_000_000)
    (row,) = world.store.side_tables["watermarks"]
    assert (row["partition"], row["next_offset"]) == (0, 20)
    assert processor.drained_at_ms() == world.log.drained_ms


async def test_a_watermark_that_cannot_be_written_is_tried_again_later(world: World) -> None:
    world.log.drained_ms = 1_780_000_000_000
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "side_rows" else None
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    assert processor.status.watermark_us == 0
    world.store.fault = lambda _operation, _label: None
    await eventually(lambda: processor.status.watermark_us == 1_780_000_000_000_000)
