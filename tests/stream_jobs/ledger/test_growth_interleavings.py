"""A topic grows in any interleaving with producers, workers, rivals and crashes: each event is counted once.

And each rule of the protocol is needed: without it, some interleaving counts twice.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any

import pytest
from fleetmeter_doubles.growth_world import TOPIC, GrowthWorld
from fleetmeter_jobs import partition_ledger
from fleetmeter_jobs.growing import GrowthRefusedError
from fleetmeter_jobs.kafka_topic import KafkaTopic
from fleetmeter_jobs.ledger import growth_section
from fleetmeter_jobs.ledger.growth import Free, Growth, Section, Stage, Topology, read_topology, stage_of
from fleetmeter_jobs.registration import Admission, Registration
from hypothesis import given, settings
from hypothesis import strategies as st

# Computes for long in this process, where tracing adds a third; the tests of the parts show what is covered.
pytestmark = pytest.mark.no_cover

RUNS = 40
"""Far more than it takes to find what each missing rule lets through; how many it took is printed (-s)."""


class Unasked(Enum):
    """When somebody adds partitions with Kafka's own tools."""

    NEVER = "never"
    BEFORE = "before a growth, which is begun because of it"
    DURING = "during a growth, after which another makes up for it"


def run(seed: int, *, unasked: Unasked = Unasked.NEVER) -> None:
    """Two growths, one after the other."""
    random = Random(seed)
    world = GrowthWorld(random.randrange(1, 3), random)
    try:
        _some_steps(world, 15)
        for number in range(2):
            partitions = len(world.kafka.logs) + random.randrange(1, 3)
            if unasked is Unasked.BEFORE:
                while not world.store.partitions(TOPIC):
                    world.work()  # what came before anybody counted, nobody could tell
                world.kafka.add_partitions(partitions)
                _some_steps(world, 15, world.learn)
            added = random.randrange(1, 3) if unasked is Unasked.DURING and number == 0 else 0
            if not _grow_among_others(world, partitions, added):
                break  # nobody could tell that there are more partitions
            world.now_ms += 60_000
            _some_steps(world, 15)
        world.finish()
    finally:
        world.kill_command()
    world.check()


def _some_steps(world: GrowthWorld, steps: int, *more: Callable[[], None]) -> None:
    choices = [world.send, world.send, world.send_again, world.work, world.work, world.lose_worker, *more]
    for _ in range(steps):
        world.random.choice(choices)()


def _grow_among_others(world: GrowthWorld, partitions: int, added: int = 0) -> bool:
    """Until the growth is over; False if the command found nothing to do. Meanwhile somebody adds as many partitions
    more, unless it takes a short time."""
    others = [world.send, world.send_again, world.send_again, world.look, world.learn, world.seal, *[world.work] * 5]
    while not _over(world, partitions):
        roll = world.random.random()
        if added and roll > 0.97 and (last := read_topology(world.store, TOPIC).last) and last.all_fenced:
            world.kafka.add_partitions(max(len(world.kafka.logs), partitions) + added)
            added = 0
        elif roll < 0.3:
            if not _step(world, partitions):
                return False
        elif roll < 0.32:
            world.kill_command()
        else:
            world.random.choice(others)()
    world.kill_command()
    return True


def _step(world: GrowthWorld, partitions: int) -> bool:
    """One step of the command; False if there is nothing to do."""
    try:
        world.grow(partitions)
    except GrowthRefusedError as error:
        world.command = None
        if "nothing to do" in str(error):
            return False
        if "the ledger knows the partitions none" not in str(error):  # no worker has been here yet
            raise
    return True


def _over(world: GrowthWorld, partitions: int) -> bool:
    last = read_topology(world.store, TOPIC).last
    return last is not None and last.new_partitions == partitions and last.over


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), unasked=st.sampled_from(Unasked))
def test_each_event_is_counted_once(seed: int, unasked: Unasked) -> None:
    run(seed, unasked=unasked)


@pytest.mark.long
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), unasked=st.sampled_from(Unasked))
def test_each_event_is_counted_once_in_many_orders(seed: int, unasked: Unasked) -> None:
    run(seed, unasked=unasked)


def _inherit_nothing(*_args: Any) -> list[Any]:
    return []


def _all_sections_at_once(topology: Topology, partition: int) -> Stage:
    stage, last = stage_of(topology, partition), topology.last
    if last is not None and last.ends is not None and partition not in last.done:
        return Section(last, last.ends[partition])
    return stage


def _free_after_its_own_section(topology: Topology, partition: int) -> Stage:
    last = topology.last
    return Free() if last is not None and partition in last.done else stage_of(topology, partition)


def _count_while_producers_settle(topology: Topology, partition: int) -> Stage:
    last = topology.last
    return Free() if last is not None and last.ends is None else stage_of(topology, partition)


def _settled_at_once(_growth: Growth) -> int:
    return 0


def _admit_everything(registration: Registration, topic: KafkaTopic, _partition: int) -> Admission:
    return Admission.ALL if registration.store.partitions(topic.name) else Admission.REGISTER


@pytest.mark.long
@pytest.mark.parametrize(
    ("owner", "name", "broken", "unasked"),
    [
        (partition_ledger, "inherited_epochs", _inherit_nothing, Unasked.NEVER),
        (growth_section, "stage_of", _all_sections_at_once, Unasked.NEVER),
        (growth_section, "stage_of", _free_after_its_own_section, Unasked.NEVER),
        (growth_section, "stage_of", _count_while_producers_settle, Unasked.NEVER),
        (Growth, "settles_at_ms", property(_settled_at_once), Unasked.NEVER),
        (Registration, "admission", _admit_everything, Unasked.BEFORE),
    ],
    ids=[
        "inherit nothing",
        "all at once",
        "free too early",
        "count meanwhile",
        "do not wait",
        "partitions unasked",
    ],
)
def test_no_rule_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, broken: object, unasked: Unasked
) -> None:
    monkeypatch.setattr(owner, name, broken)
    wrong = next((seed for seed in range(RUNS) if _goes_wrong(seed, unasked=unasked)), None)
    assert wrong is not None, f"{RUNS} runs count rightly without it"
    print(f"\nrun {wrong + 1} goes wrong")


def _goes_wrong(seed: int, *, unasked: Unasked) -> bool:
    """Whether events are lost or counted twice, or the command finds out that they could be."""
    try:
        run(seed, unasked=unasked)
    except GrowthRefusedError:
        return True
    except AssertionError as error:
        if "were sent" not in str(error):
            raise
        return True
    return False
