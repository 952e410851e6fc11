"""A running partition notices that its log was written again before what it reads next, and nothing else stops it."""

from __future__ import annotations

import asyncio

import pytest
from fleetmeter_doubles.memory_ledger import Fault
from fleetmeter_doubles.partition_world import DEADLINE_S, PARTITION, TOPIC, PartitionWorld, eventually, fill
from fleetmeter_doubles.toy_log import ToyLog
from fleetmeter_jobs.counted_log import CountedLog
from fleetmeter_jobs.errors import KafkaUnavailableError, LogMismatchError
from fleetmeter_jobs.ledger.position import Position, Tail
from fleetmeter_jobs.partition_status import State
from fleetmeter_jobs.processor_seams import Limits

AT_START = Position(0, 0, Tail(0, "", "topic-a", leader_epoch=-1, crc=0, table_partition=202601))


async def test_what_comes_under_another_leader_has_to_follow_what_was_read() -> None:
    log = ToyLog(TOPIC)
    fill(log, batches=3)
    counted = CountedLog(log, TOPIC)
    await counted.begin(PARTITION, AT_START, "topic-a")
    await counted.go_on(log.batches)
    log.elect()
    fill(log, batches=1)
    await counted.go_on(log.batches[3:])
    log.elect(lacking=2)
    fill(log, batches=3)
    with pytest.raises(LogMismatchError, match=r"CRC .* before 16.* truncated and written again"):
        await counted.go_on(log.batches[4:])


async def test_an_answer_that_does_not_come_leaves_the_question() -> None:
    log = ToyLog(TOPIC)
    fill(log, batches=2)
    counted = CountedLog(log, TOPIC)
    await counted.begin(PARTITION, AT_START, "topic-a")
    await counted.go_on(log.batches)
    log.elect(lacking=1)
    fill(log, batches=2)
    log.away = True
    with pytest.raises(KafkaUnavailableError):
        await counted.go_on(log.batches[2:])
    log.away = False
    with pytest.raises(LogMismatchError):
        await counted.go_on(log.batches[2:])


async def test_an_unclean_election_stops_the_partition_after_what_was_read(world: PartitionWorld) -> None:
    processor = world.processor(Limits(flush_interval_s=3600))
    processor.start()
    fill(world.log)
    await eventually(lambda: processor.status.pending_events == 20)
    world.log.elect(lacking=2)
    fill(world.log, batches=3)
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "CRC" in str(processor.status.error)
    assert "new-epoch" in str(processor.status.error)
    assert world.committed() == 20


async def test_a_clean_election_stops_nothing(world: PartitionWorld, caplog: pytest.LogCaptureFixture) -> None:
    processor = world.processor()
    processor.start()
    fill(world.log)
    await eventually(lambda: world.committed() == 20)
    world.log.elect()
    fill(world.log)
    await eventually(lambda: world.committed() == 40)
    assert world.totals() == world.oracle()
    assert "stops" not in caplog.text


async def test_a_broker_that_is_away_after_an_election_is_waited_for(world: PartitionWorld) -> None:
    processor = world.processor()
    processor.start()
    fill(world.log)
    await eventually(lambda: world.committed() == 20)
    world.log.elect()
    world.log.away = True
    fill(world.log)
    await eventually(lambda: processor.status.state is State.WAITING)
    world.log.away = False
    await eventually(lambda: world.committed() == 40)
    assert world.totals() == world.oracle()


async def test_what_others_commit_during_a_start_does_not_look_like_another_log(
    world: PartitionWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """The log's end was asked for, then the position: meanwhile records came, and another worker counted them."""
    first = world.processor()
    first.start()
    await eventually(lambda: first.status.state is State.COUNTING)
    loop, counted_meanwhile = asyncio.get_running_loop(), False

    def count_meanwhile(operation: str, _label: str) -> Fault | None:
        nonlocal counted_meanwhile
        if operation == "position" and not counted_meanwhile:
            counted_meanwhile = True
            asyncio.run_coroutine_threadsafe(more(), loop).result(DEADLINE_S)
        return None

    async def more() -> None:
        fill(world.log)
        await eventually(lambda: world.committed() == 20)

    others_log = ToyLog(TOPIC)
    others_log.batches = world.log.batches
    second = world.processor(log=others_log)
    world.store.fault = count_meanwhile
    second.start()
    await eventually(lambda: second.status.state is State.COUNTING)
    assert second.status.next_offset == 20
    assert "stops" not in caplog.text
