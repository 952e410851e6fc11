"""The command's steps, on a ledger in memory: what it refuses, that it can die anywhere, what it finds out."""

from __future__ import annotations

from random import Random
from zlib import crc32

import pytest
from fleetmeter_doubles.growth_world import SETTLE_S, SOURCES, TOPIC, GrowthWorld, Session
from fleetmeter_doubles.turns import Turn
from fleetmeter_jobs.errors import PartitionsAddedError
from fleetmeter_jobs.growing import GrowthRefusedError
from fleetmeter_jobs.ledger import growth_section
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.growth import (
    ROOM_S,
    Free,
    Section,
    Stage,
    Topology,
    Wait,
    makes_room,
    read_topology,
    stage_of,
)
from fleetmeter_jobs.ledger.growth_moves import Copy, Move, counted_copies, read_moves
from fleetmeter_jobs.registration import Admission, Registration


@pytest.fixture
def world() -> GrowthWorld:
    return drained_world()


def drained_world() -> GrowthWorld:
    """Two partitions, all of which was counted."""
    made = GrowthWorld(2, Random(1))
    for _ in range(20):
        made.send()
    made.finish()
    return made


def finish(command: Turn) -> None:
    while not command.done:
        command.step()


def stages(world: GrowthWorld) -> list[Stage]:
    topology = read_topology(world.store, TOPIC)
    return [stage_of(topology, number) for number in range(len(world.kafka.logs))]


def test_a_plan_changes_nothing(world: GrowthWorld) -> None:
    plan = world.grower().find(4, SETTLE_S)
    assert (plan.old_partitions, plan.new_partitions, plan.fenced, plan.over) == (2, 4, frozenset(), False)
    assert stages(world) == [Free(), Free()]
    assert read_topology(world.store, TOPIC) == Topology(frozenset({0, 1}), ())


@pytest.mark.parametrize(
    ("partitions", "why"), [(1, "can't take any away"), (2, "nothing to do")], ids=["fewer", "as many"]
)
def test_what_is_no_growth_is_refused(world: GrowthWorld, partitions: int, why: str) -> None:
    with pytest.raises(GrowthRefusedError, match=why):
        world.grower().find(partitions, SETTLE_S)


def test_a_topic_that_nobody_counts_may_be_altered_freely() -> None:
    with pytest.raises(GrowthRefusedError, match="Start a worker first"):
        GrowthWorld(2, Random(1)).grower().find(4, SETTLE_S)


def test_a_growth_that_is_under_way_is_gone_on_with_and_no_other_begun(world: GrowthWorld) -> None:
    begun = world.grower().grow(world.grower().find(4, SETTLE_S))
    with pytest.raises(GrowthRefusedError, match="growing to 4 partitions already"):
        world.grower().find(5, SETTLE_S)
    assert world.grower().find(4, 99) == begun
    world.finish()
    assert world.grower().find(5, SETTLE_S).name != begun.name


def test_partitions_take_turns_and_then_are_free(world: GrowthWorld) -> None:
    growth = world.grower().grow(world.grower().find(3, SETTLE_S))
    ends = growth.ends
    assert ends == (*(len(log) for log in world.kafka.logs),)
    first, *others = stages(world)
    assert first == Section(growth, ends[0])
    assert [type(one) for one in others] == [Wait, Wait]
    world.finish()
    assert stages(world) == [Free()] * 3
    for partition in range(3):
        assert world.store.epochs(TOPIC, partition)[-1][1].next_offset == ends[partition]


def test_a_growth_that_a_machine_whose_clock_is_behind_has_begun_is_the_last_one(world: GrowthWorld) -> None:
    world.grower().grow(world.grower().find(3, SETTLE_S))
    world.finish()
    world.now_ms -= 86_400_000
    growth = world.grower().grow(world.grower().find(5, SETTLE_S))
    assert (growth.new_partitions, growth.over) == (5, False)
    assert [type(one) for one in stages(world)] == [Section, Wait, Wait, Wait, Wait]


def test_the_command_may_die_anywhere_and_be_run_again() -> None:
    """Killed after so many steps, for every number of steps that it takes."""
    steps = 0
    while _killed_after(steps):
        steps += 1
    assert steps > 5


def _killed_after(steps: int) -> bool:
    """False if it needs no more steps than that."""
    world = drained_world()
    command = Turn(lambda: world.grower().grow(world.grower().find(4, SETTLE_S)))
    for _ in range(steps):
        command.step()
        if command.done:
            return False
    command.crash()
    world.grower().grow(world.grower().find(4, SETTLE_S))
    for _ in range(10):
        world.send()
        world.send_again()
    world.finish()
    world.check()
    topology = read_topology(world.store, TOPIC)
    assert topology.registered == frozenset(range(4))
    assert [one.over for one in topology.growths] == [True]
    return True


def test_the_time_to_settle_begins_when_the_partitions_are_there(world: GrowthWorld) -> None:
    before_ms = world.now_ms
    growth = world.grower().grow(world.grower().find(4, SETTLE_S))
    assert growth.grown_at_ms is not None
    assert growth.settled_at_ms is not None
    assert before_ms <= growth.grown_at_ms <= growth.settled_at_ms - SETTLE_S * 1000


def test_workers_that_commit_all_the_time_make_room_for_the_command(world: GrowthWorld) -> None:
    began_ms = world.now_ms
    command = Turn(lambda: world.grower().grow(world.grower().find(4, SETTLE_S)))
    for overtaken in range(8):
        assert command.step() != "before partitions"
        for number in range(2):  # before each of its inserts
            value = b"s-%d-%d" % (number, overtaken)
            world.kafka.append(number, value)
            world.sent.add(value)
        world.finish()
        world.now_ms += 1000
    topology = read_topology(world.store, TOPIC)
    assert [makes_room(topology, number, world.now_ms) for number in range(4)] == [True, True, False, False]
    (plan,) = topology.planned
    assert plan.planned_at_ms > began_ms, "workers that look late would not make room"
    assert not makes_room(read_topology(world.store, TOPIC), 0, world.now_ms + ROOM_S * 1000)
    assert not makes_room(read_topology(world.store, TOPIC), 3, world.now_ms)
    finish(command)
    world.finish()
    world.check()


def test_a_worker_that_does_not_know_of_growing_is_found_out(
    world: GrowthWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Turn(lambda: world.grower().grow(world.grower().find(4, SETTLE_S)))
    while command.step() != "after partitions":
        pass
    world.send()
    with monkeypatch.context() as old:
        old.setattr(growth_section, "stage_of", lambda *_: Free())
        world.finish()
    with pytest.raises(GrowthRefusedError, match=r"--force --at \d+ .* lets the other partitions know"):
        finish(command)


def test_partitions_are_registered_with_the_topic_and_others_refused() -> None:
    world = GrowthWorld(3, Random(1))
    registration = Registration(world.store, CommitContext())
    assert registration.admission(world.kafka.describe(), 0) is Admission.REGISTER
    registration.register(world.kafka.describe(), {0: 5, 1: 0, 2: 7})
    assert registration.admission(world.kafka.describe(), 0) is Admission.ALL
    assert [world.store.epochs(TOPIC, number)[-1][1].next_offset for number in range(3)] == [5, 0, 7]


def test_partitions_that_were_added_since_are_noticed_before_a_commit(world: GrowthWorld) -> None:
    before, behind = 1, 0
    source = next(one for one in SOURCES if crc32(one.encode()) % 2 == before and crc32(one.encode()) % 3 == behind)
    sessions = {number: Session(world, number) for number in (before, behind)}
    assert all(session.begin() for session in sessions.values())
    world.send_to(before, source)
    assert sessions[before].work(10)
    world.kafka.add_partitions(3)
    world.send_to(behind, source, again=True)
    assert not sessions[behind].work(10), "a copy was counted where nobody could know of the first"
    assert not sessions[behind].begin()
    world.grower().grow(world.grower().find(3, SETTLE_S))
    world.finish()
    world.check()


def test_partitions_that_others_add_during_a_growth_do_not_keep_it_from_its_end(world: GrowthWorld) -> None:
    command = Turn(lambda: world.grower().grow(world.grower().find(3, SETTLE_S)))
    while command.step() != "after partitions":
        pass
    command.crash()
    world.send()
    world.kafka.add_partitions(5)
    registration = Registration(world.store, CommitContext())
    assert registration.admission(world.kafka.describe(), 2) is Admission.SECTION
    with pytest.raises(PartitionsAddedError, match=r"--partitions 3 --yes`, and then .* --partitions 5 --yes`"):
        registration.admission(world.kafka.describe(), 4)
    with pytest.raises(GrowthRefusedError, match="finish that first, with --partitions 3, whatever"):
        world.grower().find(5, SETTLE_S)

    world.grower().grow(world.grower().find(3, SETTLE_S))
    sessions = [Session(world, number) for number in range(5)]
    for session in sessions[:3]:
        while session.begin() and session.work(1000):
            pass
    growth = read_topology(world.store, TOPIC).last
    assert growth is not None
    assert growth.over, "the growth has not ended"
    assert not any(session.begin() for session in sessions), "something is counted beyond the sections"
    with pytest.raises(PartitionsAddedError, match="until somebody runs `fleetmeter topic grow -s topic=usage --part"):
        registration.admission(world.kafka.describe(), 0)
    world.grower().grow(world.grower().find(5, SETTLE_S))
    world.finish()
    world.check()


def test_a_topic_that_has_lost_partitions_meanwhile_is_not_settled(world: GrowthWorld) -> None:
    command = Turn(lambda: world.grower().grow(world.grower().find(4, SETTLE_S)))
    while command.step() != "wait":
        pass
    del world.kafka.logs[2:]
    with pytest.raises(GrowthRefusedError, match="partitions 2, 3 of topic usage are gone"):
        finish(command)


def test_an_audit_finds_where_sources_moved(world: GrowthWorld) -> None:
    assert read_moves(world.store, TOPIC) == []
    fences = [len(log) for log in world.kafka.logs]
    growth = world.grower().grow(world.grower().find(3, SETTLE_S))
    assert growth.ends is not None
    starts = {0: fences[0], 1: fences[1], 2: 0}
    assert read_moves(world.store, TOPIC) == [Move(starts, dict(enumerate(growth.ends)))]


MOVE = Move({0: 10, 1: 20, 2: 0}, {0: 15, 1: 20, 2: 5})


@pytest.mark.parametrize(
    ("one", "other", "counted_once"),
    [
        ((0, 9), (1, 19), False),  # both before sources moved
        ((0, 9), (2, 0), True),
        ((0, 9), (1, 20), True),
        ((0, 10), (2, 4), True),  # both in sections
        ((0, 14), (2, 5), True),
        ((0, 15), (2, 5), False),  # both when all had moved
    ],
)
def test_which_copies_were_counted_once(one: Copy, other: Copy, counted_once: bool) -> None:
    assert MOVE.meet(one, other) == MOVE.meet(other, one) == counted_once
    assert len(counted_copies(dict([one, other]), [MOVE])) == (1 if counted_once else 2)
    assert len(counted_copies(dict([one, other]), [])) == 2
