"""The simulation itself: a seed always tells the same story, and shrinking keeps what matters."""

from __future__ import annotations

import pytest
from fleetmeter_deterministic import steps, world
from fleetmeter_deterministic.campaign import Summary, as_python, drawn, least, play, run, seeds
from fleetmeter_deterministic.drawing import FLAVOURS, draw
from fleetmeter_deterministic.mutations import MUTATIONS
from fleetmeter_deterministic.shrinking import shrink
from fleetmeter_deterministic.steps import Kill, Pass, Recreate, Run, Send
from fleetmeter_deterministic.world import Schedule, Setup
from fleetmeter_doubles import Fault


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_seed_tells_the_same_story_each_time(flavour: str) -> None:
    for seed in seeds(f"again-{flavour}", 5):
        assert play(draw(seed, flavour)) == play(draw(seed, flavour))


def test_a_campaign_in_several_processes_sees_what_one_sees() -> None:
    together, alone = Summary(), Summary()
    for some in run("both", 30, jobs=2):
        together.add(some)
    for some in run("both", 30):
        alone.add(some)
    assert together == alone
    assert together.schedules == 30


def test_a_campaign_goes_on_where_it_ended() -> None:
    whole, parts = Summary(), Summary()
    for some in run("parts", 20):
        whole.add(some)
    for first, many in ((0, 8), (8, 12)):
        for some in run("parts", many, first=first):
            parts.add(some)
    assert parts == whole


def test_shrinking_keeps_only_what_fails() -> None:
    schedule = Schedule(Setup(workers=4, partitions=3), (Send(1, 3), Kill(2), Pass(9.0), Run((0, 1)), Kill(1)))
    smaller = shrink(schedule, lambda one: any(isinstance(step, Kill) for step in one.steps))
    assert (smaller.setup.workers, smaller.setup.partitions) == (1, 1)
    assert len(smaller.steps) == 1
    assert isinstance(smaller.steps[0], Kill)


def test_a_schedule_is_printed_as_python_that_means_the_same() -> None:
    names = {**vars(steps), **vars(world), "Fault": Fault}
    for seed in seeds("printed", 20):
        schedule = drawn(seed)
        assert eval(as_python(schedule), names) == schedule  # noqa: S307  (of what it printed itself)


def test_a_failure_is_told_by_its_least_story() -> None:
    mutation = MUTATIONS["check-of-topic"]
    with mutation.patch():
        failing = next(seed for seed in seeds("told", 500) if play(drawn(seed, mutation)).broken is not None)
        failure = least(failing, mutation)
    assert "Recreate(" in failure.schedule
    assert failure.schedule.count("\n") < 12
    assert "no log that ever was" in failure.broken
    assert Recreate(1) not in drawn(failing).steps or len(drawn(failing).steps) > 2
