"""A topic grows in any interleaving with producers, workers, rivals and crashes: each event is counted once.

And each rule of the protocol is needed: without it, some interleaving counts twice.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from fleetmeter_doubles.growth_world import TOPIC, GrowthWorld
from fleetmeter_jobs import partition_ledger
from fleetmeter_jobs.growing import GrowthRefusedError
from fleetmeter_jobs.ledger import growth_section
from fleetmeter_jobs.ledger.growth import Free, Growth, Section, Stage, Topology, read_topology, stage_of
from fleetmeter_jobs.registration import Registration
from hypothesis import given, settings
from hypothesis import strategies as st

# Computes for long in this process, where tracing adds a third; the tests of the parts show what is covered.
pytestmark = pytest.mark.no_cover

RUNS = 40
"""Far more than it takes to find what each missing rule lets through; how many it took is printed (-s)."""


def run(seed: int, *, unasked: bool = False) -> None:
    """Two growths, one after the other. `unasked`: somebody alters the topic, and runs the command later."""
    random = Random(seed)
    world = GrowthWorld(random.randrange(1, 3), random)
    try:
        _some_steps(world, 15)
        for _ in range(2):
            partitions = len(world.kafka.logs) + random.randrange(1, 3)
            if unasked:
                world.kafka.add_partitions(partitions)
                _some_steps(world, 15, world.learn)
            if not _grow_among_others(world, partitions):
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


def _grow_among_others(world: GrowthWorld, partitions: int) -> bool:
    """Until the growth is over; False if the command found nothing to do."""
    others = [world.send, world.send_again, world.send_again, world.look, world.learn, world.seal, *[world.work] * 5]
    while not _over(world, partitions):
        roll = world.random.random()
        if roll < 0.3:
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
@given(seed=st.integers(0, 2**32), unasked=st.booleans())
def test_each_event_is_counted_once(seed: int, unasked: bool) -> None:
    run(seed, unasked=unasked)


@pytest.mark.long
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), unasked=st.booleans())
def test_each_event_is_counted_once_in_many_orders(seed: int, unasked: bool) -> None:
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


def _known_whatever_there_is(*_args: Any) -> bool:
    return False


@pytest.mark.long
@pytest.mark.parametrize(
    ("owner", "name", "broken", "unasked"),
    [
        (partition_ledger, "inherited_epochs", _inherit_nothing, False),
        (growth_section, "stage_of", _all_sections_at_once, False),
        (growth_section, "stage_of", _free_after_its_own_section, False),
        (growth_section, "stage_of", _count_while_producers_settle, False),
        (Growth, "settles_at_ms", property(_settled_at_once), False),
        (Registration, "needed", _known_whatever_there_is, True),
    ],
    ids=["inherit nothing", "all at once", "free too early", "count meanwhile", "do not wait", "partitions unasked"],
)
def test_no_rule_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, broken: object, unasked: bool
) -> None:
    monkeypatch.setattr(owner, name, broken)
    wrong = next((seed for seed in range(RUNS) if _goes_wrong(seed, unasked=unasked)), None)
    assert wrong is not None, f"{RUNS} runs count rightly without it"
    print(f"\nrun {wrong + 1} goes wrong")


def _goes_wrong(seed: int, *, unasked: bool) -> bool:
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
