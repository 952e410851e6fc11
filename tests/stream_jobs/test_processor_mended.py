"""A partition that stopped goes on by itself once somebody has mended the cause; one that counts looks again when its
log may have been replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleetmeter_doubles.partition_world import DEADLINE_S, PARTITION, QUICK, PartitionWorld, eventually, fill
from fleetmeter_doubles.toy_log import ToyLog
from fleetmeter_jobs.errors import TopicRefusedError
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.decisions import Batch, Decided, LogNow, decide, plan_new_epoch
from fleetmeter_jobs.ledger.errors import PositionWentBackError
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.partition_status import State

NEXT = PartitionId(PARTITION.topic, PARTITION.partition, 1)


async def recreate(world: PartitionWorld, refilled: int) -> None:
    """The topic is made again under the same name, with `refilled` batches of which the first five were counted."""
    world.log.batches.clear()
    world.log.topic_id = "topic-b"
    fill(world.log, batches=refilled)


def begin(world: PartitionWorld, position: Position) -> None:
    change = plan_new_epoch(PARTITION, position, LogNow(world.log.topic_id, world.log.start, world.log.end))
    assert isinstance(decide(world.store, change, Batch(), "ana", "recreated", CommitContext()), Decided)


async def test_a_replaced_log_stops_it_and_a_new_epoch_sets_it_going(world: PartitionWorld) -> None:
    fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: world.committed() == 20)
    await recreate(world, refilled=8)
    processor.look_again("the topic was made again", unless="topic-b")
    await eventually(lambda: processor.status.state is State.STOPPED)
    assert "id topic-a" in str(processor.status.error)
    position = world.store.position(PARTITION)
    assert position is not None
    begin(world, position)
    await eventually(lambda: dict(world.store.epochs("usage", 0))[NEXT].next_offset == 32)
    assert processor.partition == NEXT
    assert processor.status.state is State.COUNTING
    counted = dict(world.store.epochs("usage", 0))[NEXT].totals
    # Of 8 batches of 3 values each, 5 were counted in the old log.
    assert (counted.accepted, counted.duplicates) == (9, 23)
    assert world.committed() == 20


async def test_an_epoch_that_is_begun_under_a_running_worker_wins_or_loses_as_a_whole(world: PartitionWorld) -> None:
    fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: world.committed() == 20)
    position = world.store.position(PARTITION)
    assert position is not None
    begin(world, position)
    world.log.append([b"after"])
    await eventually(lambda: dict(world.store.epochs("usage", 0))[NEXT].next_offset == 21)
    totals = [at.totals for _, at in world.store.epochs("usage", 0)]
    assert [one.accepted for one in totals] == [15, 1]
    assert [one.duplicates for one in totals] == [5, 20]


async def test_looking_again_changes_nothing_where_nothing_changed(world: PartitionWorld) -> None:
    fill(world.log)
    processor = world.processor()
    processor.start()
    await eventually(lambda: world.committed() == 20)
    processor.look_again("who knows", unless="topic-a")
    processor.look_again("who knows")
    await eventually(lambda: len(world.log.positionings) == 2)
    world.log.append([b"more"])
    await eventually(lambda: world.committed() == 21)
    assert world.totals() == world.oracle()
    assert world.log.positionings == [0, 20]


async def test_what_stopped_it_keeps_being_said_until_it_is_mended(
    world: PartitionWorld, caplog: pytest.LogCaptureFixture
) -> None:
    fill(world.log)
    looks = 0

    class Compacted(ToyLog):
        @property
        def topic_id(self) -> str:
            nonlocal looks
            looks += 1
            if looks < 5:
                raise TopicRefusedError("cleanup.policy=compact")
            return "topic-a"

        @topic_id.setter
        def topic_id(self, _value: str) -> None:
            """Fixed."""

        def topic_id_now(self) -> str:
            return "topic-a"

    log = Compacted(world.log.tp)
    fill(log)
    processor = world.processor(log=log)
    processor.start()
    seen = set()

    def counted() -> bool:
        seen.add((processor.status.state, processor.status.error))
        return world.committed() == 20

    await eventually(counted)
    assert (State.STOPPED, "cleanup.policy=compact") in seen
    assert {state for state, error in seen if error is None} <= {State.STARTING, State.COUNTING}
    assert caplog.text.count("cleanup.policy=compact") == 1
    assert looks == 5


async def test_what_is_admitted_for_a_section_alone_counts_nothing_without_one(world: PartitionWorld) -> None:
    fill(world.log)
    beyond = False

    async def admit(_partition: int) -> bool:
        return beyond

    processor = world.processor(admit=admit)
    processor.start()
    await eventually(lambda: processor.status.state is State.WAITING)
    assert "may not go on by itself" in str(processor.status.error)
    assert world.committed() == 0
    beyond = True
    await eventually(lambda: world.committed() == 20)


async def test_a_ledger_that_went_back_is_not_looked_at_again(
    world: PartitionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = world.processor(replace(QUICK, flush_interval_s=3600, flush_events=20))
    processor.start()
    await eventually(lambda: processor.status.state is State.COUNTING)

    def went_back(*_args: object) -> None:
        raise PositionWentBackError("the ledger has no position")

    monkeypatch.setattr(world.store, "position", went_back)
    fill(world.log)
    await eventually(lambda: processor.status.state is State.STOPPED)
    monkeypatch.undo()
    assert await processor.stop(DEADLINE_S)
    assert processor.status.state is State.STOPPED
    assert world.committed() == 20, "the commit itself was made"
