"""Assignments make and end processors; one partition's trouble is its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP
from fleetmeter_jobs.partition_status import PartitionStatus, State
from fleetmeter_jobs.partitions import Partitions
from fleetmeter_jobs.record_batch import Fetch


@dataclass
class Recorder:
    """A processor that writes down what it is told."""

    partition: int
    calls: list[Any] = field(default_factory=list)
    status: PartitionStatus = field(default_factory=lambda: PartitionStatus(State.COUNTING))
    confirms: bool = True
    stops_after_s: float = 0.0
    drained: int | None = None

    def start(self) -> None:
        self.calls.append("start")

    async def stop(self, limit_s: float) -> bool:
        self.calls.append(("stop", limit_s))
        await asyncio.sleep(self.stops_after_s)
        return self.confirms

    def offer(self, fetch: Fetch, _acknowledge: Any) -> None:
        self.calls.append(fetch)

    def drained_at_ms(self) -> int | None:
        return self.drained


def _tps(*numbers: int) -> set[TP]:
    return {TP("usage", number) for number in numbers}


async def _nothing() -> None: ...


def _partitions() -> tuple[Partitions, list[Recorder]]:
    made: list[Recorder] = []

    def make(partition: int) -> Any:
        made.append(Recorder(partition))
        return made[-1]

    return Partitions(make, revoke_limit_s=3.0), made


async def test_fetches_go_to_their_partition_only_while_it_is_assigned() -> None:
    partitions, made = _partitions()
    await partitions.on_assigned(_tps(1, 2))
    fetch = Fetch("usage", 2, [])
    partitions.offer(fetch, _nothing)
    partitions.offer(Fetch("usage", 7, []), _nothing)
    await partitions.on_revoked(_tps(1, 2))
    partitions.offer(fetch, _nothing)
    assert [processor.calls for processor in made] == [["start", ("stop", 3.0)], ["start", fetch, ("stop", 3.0)]]


async def test_a_partition_that_comes_back_keeps_its_processor_and_one_that_went_loses_it() -> None:
    partitions, made = _partitions()
    await partitions.on_assigned(_tps(1, 2))
    await partitions.on_revoked(_tps(1, 2))
    await partitions.on_assigned(_tps(2, 3))
    await partitions.on_revoked(_tps(2, 3))
    await partitions.on_assigned(_tps(1, 2))
    assert [processor.partition for processor in made] == [1, 2, 3, 1]
    assert made[1].calls.count("start") == 3


async def test_a_processor_that_did_not_end_in_time_is_not_used_again() -> None:
    partitions, made = _partitions()
    await partitions.on_assigned(_tps(1))
    made[0].confirms = False
    await partitions.on_revoked(_tps(1))
    await partitions.on_assigned(_tps(1))
    assert [processor.calls for processor in made] == [["start", ("stop", 3.0)], ["start"]]


async def test_a_stop_says_whether_all_was_confirmed_and_a_late_assignment_starts_nothing() -> None:
    partitions, made = _partitions()
    await partitions.on_assigned(_tps(1, 2))
    made[1].confirms = False
    assert not await partitions.stop(0.5)
    await partitions.on_assigned(_tps(1, 2))
    assert [processor.calls for processor in made] == [["start", ("stop", 0.5)]] * 2
    assert await partitions.stop(0.5)


async def test_a_rebalance_while_a_worker_stops_finds_the_partitions_gone() -> None:
    for first_s, second_s in ((0.0, 0.01), (0.01, 0.0)):
        partitions, made = _partitions()
        await partitions.on_assigned(_tps(1))
        made[0].confirms = False
        made[0].stops_after_s = first_s
        stopping = asyncio.create_task(partitions.stop(0.5))
        await asyncio.sleep(0)
        made[0].stops_after_s = second_s
        await partitions.on_revoked(_tps(1))
        assert not await stopping


async def test_a_stop_during_a_rebalance_waits_for_what_that_commits() -> None:
    partitions, made = _partitions()
    await partitions.on_assigned(_tps(1))
    made[0].confirms = False
    made[0].stops_after_s = 0.01
    revoking = asyncio.create_task(partitions.on_revoked(_tps(1)))
    await asyncio.sleep(0)
    assert not await partitions.stop(0.5)
    await revoking


async def test_ready_means_joined_and_all_counting() -> None:
    partitions, made = _partitions()
    assert not partitions.ready
    await partitions.on_assigned(_tps())
    assert partitions.ready
    await partitions.on_assigned(_tps(1, 2))
    assert partitions.ready
    made[1].status.failed(State.STOPPED, ValueError("x"))
    assert not partitions.ready
    assert partitions.statuses()[2].error == "x"
    await partitions.on_revoked(_tps(1, 2))
    assert not partitions.ready


async def test_drained_when_all_are_since_the_earliest() -> None:
    partitions, made = _partitions()
    assert partitions.drained_since_ms() is None
    await partitions.on_assigned(_tps(1, 2))
    made[0].drained = 500
    assert partitions.drained_since_ms() is None
    made[1].drained = 300
    assert partitions.drained_since_ms() == 300
