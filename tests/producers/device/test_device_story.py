"""Any story of a device: use, sleep, reboots, clocks that are set, networks that fail, apps that start anew.

Whatever happens, each query is reported once, in reports that the contract takes, in periods that do not overlap.
"""

import itertools
import tempfile
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers.device import DeviceReporter
from fleetmeter_schemas.timestamps import parse_rfc3339
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .conftest import DAY_US, MODEL, START_US, TRAITS, FakeClock, at


class Failing(KeepingEmitter):
    """Takes some events, or takes one and loses the answer."""

    left = 0
    takes_the_last = False

    def emit(self, *args: Any, **options: Any) -> str:
        if self.left == 0:
            if self.takes_the_last:
                super().emit(*args, **options)
            raise OSError("no network")
        self.left -= 1
        return super().emit(*args, **options)


class DeviceStory(RuleBasedStateMachine):
    """`true_us` is the receiver's time; the device's clock may be anywhere."""

    @initialize(sees_sleep=st.booleans())
    def begin(self, sees_sleep: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock(sees_sleep=sees_sleep)
        self.true_us, self.counted = START_US, 0
        self.came = Failing()
        self.reporter = self.opened()
        self.reporter.allow()

    def opened(self) -> DeviceReporter:
        return DeviceReporter(self.folder.name, "acct", traits=TRAITS, models=[MODEL], clock=self.clock)

    @rule(queries=st.integers(1, 5))
    def count(self, queries: int) -> None:
        assert self.reporter.count(MODEL.name, queries=queries)
        self.counted += queries

    @rule()
    def start(self) -> None:
        assert self.reporter.seat_seen()

    @rule(us=st.integers(1, 9 * DAY_US))
    def use(self, us: int) -> None:
        self.clock.go(us)
        self.true_us += us

    @rule(us=st.integers(1, 9 * DAY_US))
    def sleep(self, us: int) -> None:
        self.clock.wall_us += us
        self.clock.elapsed_us += us if self.clock.sees_sleep else 0
        self.true_us += us

    @rule(us=st.integers(-400 * DAY_US, 400 * DAY_US))
    def set_the_clock(self, us: int) -> None:
        self.clock.set(us)

    @rule(off_us=st.integers(0, 5 * DAY_US), step_us=st.integers(-400 * DAY_US, 400 * DAY_US) | st.just(0))
    def reboot(self, off_us: int, step_us: int) -> None:
        self.true_us += off_us
        self.clock.reboot(off_us + step_us)
        self.reporter = self.opened()

    @rule()
    def start_anew(self) -> None:
        self.reporter.close()
        self.reporter = self.opened()

    @rule(takes=st.integers(0, 3), takes_the_last=st.booleans())
    def report_in_vain(self, takes: int, takes_the_last: bool) -> None:
        self.came.left, self.came.takes_the_last = takes, takes_the_last
        try:
            self.reporter.report(self.came, received=at(self.true_us))
        except OSError:
            return

    @rule()
    def report(self) -> None:
        self.came.left = 10**6
        self.reporter.report(self.came, received=at(self.true_us))

    def teardown(self) -> None:
        if not hasattr(self, "reporter"):
            return
        self.report()
        self.reporter.close()
        events: dict[str, dict[str, Any]] = {}
        for event in self.came.events:  # each was judged by parse_event
            data = event.data.to_wire()
            assert events.setdefault(event.id, data) == data, "an id for two reports"
        estimates = [data for data in events.values() if data["kind"] == "estimate"]
        assert sum(data["queries"] for data in estimates) == self.counted
        for kind in ("estimate", "seat"):
            spans = sorted(
                (parse_rfc3339(data["period_start"]), parse_rfc3339(data["period_end"]))
                for data in events.values()
                if data["kind"] == kind
            )
            for (_, before), (after, _) in itertools.pairwise(spans):
                assert before <= after, f"two {kind} periods overlap"
            assert all(end <= self.true_us for _, end in spans)
        self.folder.cleanup()


DeviceStory.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestDeviceStory = DeviceStory.TestCase


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
