"""Reports of devices whose clock is wrong."""

from collections.abc import Callable

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers.device import DeviceReporter
from fleetmeter_schemas.timestamps import parse_rfc3339

from .conftest import DAY_US, MODEL, START_US, FakeClock, at, report

Make = Callable[..., DeviceReporter]


@pytest.mark.parametrize("wrong_us", [-3650 * DAY_US, 200 * DAY_US])
def test_a_clock_that_is_wrong_is_put_right_by_the_receiver(
    make_reporter: Make, kept: KeepingEmitter, clock: FakeClock, wrong_us: int
) -> None:
    clock.set(wrong_us)
    reporter = make_reporter()
    reporter.count(MODEL.name)
    clock.go(DAY_US)
    reporter.report(kept, received=at(START_US + DAY_US))
    assert (kept.last["period_start"], kept.last["period_end"]) == (
        "2026-03-10T12:00:00.000000Z",
        "2026-03-11T12:00:00.000000Z",
    )
    assert kept.events[0].time_us == START_US + DAY_US


@pytest.mark.parametrize("step_us", [-400 * DAY_US, 400 * DAY_US])
def test_a_clock_that_is_set_meanwhile(
    make_reporter: Make, kept: KeepingEmitter, clock: FakeClock, step_us: int
) -> None:
    """Counted under a wrong clock, which is then put right: the period is where and as long as it was."""
    clock.set(-step_us)
    reporter = make_reporter()
    reporter.count(MODEL.name)
    clock.go(2 * DAY_US)
    clock.set(step_us)
    reporter.count(MODEL.name)
    clock.go(DAY_US)
    came = report(reporter, kept, clock)
    assert sum(data["queries"] for data in came) == 2
    begin = min(parse_rfc3339(data["period_start"]) for data in came)
    end = max(parse_rfc3339(data["period_end"]) for data in came)
    assert (begin, end) == (START_US, START_US + 3 * DAY_US)


def test_a_battery_that_was_empty(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    """The clock comes back in 1970; what was counted before lies before what is counted after."""
    reporter = make_reporter()
    reporter.count(MODEL.name)
    clock.go(DAY_US)
    reporter.count(MODEL.name)
    clock.reboot(off_us=-START_US)
    reporter.count(MODEL.name)
    clock.go(DAY_US)
    now = START_US + 9 * DAY_US
    reporter.report(kept, received=at(now))
    came = [event.data.to_wire() for event in kept.events]
    assert sum(data["queries"] for data in came) == 3
    length = max(parse_rfc3339(data["period_end"]) for data in came) - min(
        parse_rfc3339(data["period_start"]) for data in came
    )
    assert 2 * DAY_US <= length <= 9 * DAY_US
    assert max(parse_rfc3339(data["period_end"]) for data in came) == now
