"""One partition's life when something fails: the ledger, the broker, the log, the core."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from fleetmeter_doubles.memory_ledger import Fault
from fleetmeter_doubles.partition_world import DEADLINE_S, QUICK, TOPIC, PartitionWorld, eventually, fill
from fleetmeter_jobs.errors import DamagedBatchError
from fleetmeter_jobs.ledger.errors import StoreRejectedError
from fleetmeter_jobs.partition_status import State
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.record_batch import RecordBatch


async def test_a_ledger_that_is_away_is_waited_for_and_said_so(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "insert" else None
    fill(world.log)
    await eventually(lambda: processor.status.state is State.WAITING)
    assert processor.status.domain == "clickhouse"
    assert "no route" in str(processor.status.error)
    world.store.fault = lambda _operation, _label: None
    await eventually(lambda: processor.status.state is State.COUNTING and world.committed() == 20)
    assert world.totals() == world.oracle()
    assert processor.status.error is None


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.GHOST])
async def test_answers_that_get_lost_and_ghosts_don_t_change_the_count(world: PartitionWorld, fault: Fault) -> None:
    fill(world.log)
    faults = iter([None, fault, fault])
    world.store.fault = lambda operation, _label: next(faults, None) if operation == "insert" else None
    world.processor().start()
    await eventually(lambda: world.committed() == 20)
    assert world.totals() == world.oracle()


@pytest.mark.parametrize("operation", ["position", "hash_key", "blobs"])
async def test_a_start_waits_for_a_ledger_that_is_away(world: PartitionWorld, operation: str) -> None:
    fill(world.log)
    world.store.fault = lambda asked, _label: Fault.BEFORE if asked == operation else None
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.WAITING)
    assert processor.status.domain == "clickhouse"
    world.store.fault = lambda _operation, _label: None
    await eventually(lambda: world.committed() == 20)
    assert world.totals() == world.oracle()


async def test_a_start_waits_for_a_broker_that_is_away(world: PartitionWorld) -> None:
    fill(world.log)
    world.log.away = True
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.WAITING)
    assert processor.status.domain == "kafka"
    world.log.away = False
    await eventually(lambda: world.committed() == 20)


async def test_a_broker_that_goes_away_is_told_by_the_status(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.log.away = True
    assert (processor.status.state, processor.status.domain) == (State.WAITING, "kafka")
    world.log.away = False
    assert (processor.status.state, processor.status.error) == (State.COUNTING, None)


async def test_an_error_that_stays_stops_the_partition(world: PartitionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise StoreRejectedError("ledger has no column `new`", code=16)

    processor = world.processor(replace(QUICK, recheck_interval_s=3600))
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    monkeypatch.setattr(world.store, "insert", refuse)
    fill(world.log)
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "no column" in str(processor.status.error)
    assert world.committed() == 0
    assert await processor.stop(1)
    assert processor.status.state is State.STOPPED


async def test_trouble_is_looked_at_again_in_its_time_whatever_happened_before(
    world: PartitionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch that comes while a commit fails has nothing to say about when to begin again."""
    processor = world.processor(replace(QUICK, recheck_interval_s=3600))
    drop = processor._drop

    async def drop_and_be_woken() -> None:
        await drop()
        processor._wake.set()

    def refuse(*_args: Any) -> None:
        raise StoreRejectedError("ledger has no column `new`", code=16)

    monkeypatch.setattr(processor, "_drop", drop_and_be_woken)
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    monkeypatch.setattr(world.store, "insert", refuse)
    fill(world.log)
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert await processor.stop(DEADLINE_S)
    assert processor.status.state is State.STOPPED, "it began again at once"


async def test_stale_fetches_are_dropped_and_repeats_are_trimmed(world: PartitionWorld) -> None:
    fill(world.log)
    world.processor().start()
    await eventually(lambda: world.committed() == 20)
    world.log.repeat(2)
    world.log.append([b"more"])
    await eventually(lambda: world.committed() == 21)
    assert world.totals() == world.oracle()


async def test_a_gap_in_the_delivery_is_read_again(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    fill(world.log, batches=1)
    await eventually(lambda: world.committed() == 4)
    world.log.hold(TOPIC)
    fill(world.log, batches=2)
    world.log.held = False
    world.log.skip(8)
    await eventually(lambda: world.committed() == 12)
    assert world.log.positionings == [0, 4]
    assert world.totals() == world.oracle()


async def test_a_gap_in_the_log_stops_after_what_comes_before_it(world: PartitionWorld) -> None:
    fill(world.log, batches=1)
    world.log.batches.append(RecordBatch(4, 9, 0, 1, 1, [b"a", b"b"]))
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "4..9 has only 2 of 5" in str(processor.status.error)
    assert world.committed() == 4


async def test_a_log_that_cannot_be_read_on_stops_after_what_comes_before_it(world: PartitionWorld) -> None:
    fill(world.log)
    world.log.failure = DamagedBatchError("the record batch at offset 20 fails its CRC check")
    processor = world.processor(Limits(flush_interval_s=3600))
    processor.start()
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert world.committed() == 20
    assert "offset 20 fails" in str(processor.status.error)


async def test_another_log_is_not_counted(world: PartitionWorld) -> None:
    fill(world.log)
    first = world.processor()
    first.start()
    await eventually(lambda: world.committed() == 20)
    assert await first.stop(DEADLINE_S)
    world.log.topic_id = "topic-b"
    second = world.processor()
    second.start()
    await eventually(lambda: second.status.state is State.STOPPED)
    assert "id topic-a" in str(second.status.error)
    assert "id topic-b" in str(second.status.error)


async def test_a_log_that_is_replaced_while_it_is_read_is_not_counted_on(world: PartitionWorld) -> None:
    """A running consumer is not told: it goes on at the old position in the new log."""
    fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: world.committed() == 20)
    world.log.topic_id = "topic-b"
    world.log.append([b"of the new log"])
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "id topic-a" in str(processor.status.error)
    assert "id topic-b" in str(processor.status.error)
    assert world.committed() == 20


async def test_nothing_is_committed_while_nobody_can_say_whether_it_is_the_same_log(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.log.away = True
    fill(world.log)
    await eventually(lambda: world.log.asked_in_vain > 2)
    assert (processor.status.state, processor.status.domain) == (State.WAITING, "kafka")
    assert world.committed() == 0
    world.log.away = False
    await eventually(lambda: world.committed() == 20)
    assert world.totals() == world.oracle()
    assert len(world.cores) == 1  # it waited, and did not begin again


async def test_a_stop_does_not_wait_for_a_broker_that_is_away(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.log.away = True
    fill(world.log)
    await eventually(lambda: world.log.asked_in_vain > 2)
    assert not await processor.stop(0.1)
    world.log.away = False
    world.processor().start()
    await eventually(lambda: world.committed() == 20)
    assert world.totals() == world.oracle()


async def test_counting_goes_on_while_a_commit_is_under_way_and_memory_stays_bounded(world: PartitionWorld) -> None:
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


async def test_a_core_that_fails_stops_the_partition_and_commits_nothing_half_counted(
    world: PartitionWorld,
) -> None:
    fill(world.log)

    def fail(values: list[bytes]) -> None:
        if b"3-0" in values:
            raise RuntimeError("out of ideas")

    world.work = fail
    processor = world.processor(Limits(flush_interval_s=3600, recheck_interval_s=3600))
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
    world: PartitionWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(_values: object) -> None:
        raise ZeroDivisionError("somewhere deep")

    world.work = defect
    fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "a defect of fleetmeter" in caplog.text
    assert "somewhere deep" in caplog.text
    assert await processor.stop(1)


async def test_a_stop_gives_up_on_a_ledger_that_does_not_answer(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "insert" else None
    fill(world.log)
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


async def test_an_idle_partition_lets_its_watermark_go_on(world: PartitionWorld) -> None:
    fill(world.log)
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


async def test_a_watermark_that_cannot_be_written_is_tried_again_later(world: PartitionWorld) -> None:
    world.log.drained_ms = 1_780_000_000_000
    world.store.fault = lambda operation, _label: Fault.BEFORE if operation == "side_rows" else None
    processor = world.processor()
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)
    assert processor.status.watermark_us == 0
    world.store.fault = lambda _operation, _label: None
    await eventually(lambda: processor.status.watermark_us == 1_780_000_000_000_000)
