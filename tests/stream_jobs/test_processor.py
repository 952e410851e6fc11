"""One partition's life: counted, acknowledged, stopped, taken over."""

from __future__ import annotations

import asyncio

from fleetmeter_doubles.partition_world import DEADLINE_S, TOPIC, PartitionWorld, eventually, fill
from fleetmeter_doubles.toy_log import ToyLog
from fleetmeter_jobs.partition_status import State
from fleetmeter_jobs.processor_seams import Limits


async def test_every_offset_is_counted_once_and_then_acknowledged(world: PartitionWorld) -> None:
    fill(world.log)
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


async def test_many_flushes_give_the_same_as_one(world: PartitionWorld) -> None:
    processor = world.processor(Limits(flush_interval_s=60, flush_events=3))
    processor.start()
    for _ in range(20):
        fill(world.log, batches=1)
        await asyncio.sleep(0)
    await eventually(lambda: world.committed() > world.log.end - 3)
    assert await processor.stop(DEADLINE_S)
    assert world.totals() == world.oracle()
    assert len(world.store.parts) > 5


async def test_a_stop_commits_what_is_pending_and_the_next_worker_goes_on_there(world: PartitionWorld) -> None:
    fill(world.log)
    first = world.processor(Limits(flush_interval_s=3600))
    first.start()
    await eventually(lambda: first.status.pending_events == 20)
    assert world.committed() == 0
    assert await first.stop(DEADLINE_S)
    assert world.committed() == 20
    assert first.status.state is State.RELEASED
    fill(world.log)  # the same values again: duplicates, if the identities were restored
    second = world.processor()
    second.start()
    await eventually(lambda: world.committed() == 40)
    assert world.log.positionings[-1] == 20
    assert world.totals() == world.oracle()
    assert world.totals().accepted == 15


async def test_state_is_used_again_when_nobody_committed_meanwhile(world: PartitionWorld) -> None:
    fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: world.committed() == 20)
    assert await processor.stop(DEADLINE_S)
    fill(world.log)
    processor.start()
    await eventually(lambda: world.committed() == 40)
    assert world.totals() == world.oracle()
    assert len(world.cores) == 1


async def test_state_is_dropped_when_another_worker_committed_meanwhile(world: PartitionWorld) -> None:
    fill(world.log)
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


async def test_the_loser_of_a_race_starts_again_from_the_ledger(world: PartitionWorld) -> None:
    """Two workers on one partition, as after a rebalance that one of them has not noticed."""
    other_log = ToyLog(TOPIC)
    for log in (world.log, other_log):
        fill(log, batches=30)
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
