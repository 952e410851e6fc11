"""A device with clocks that the test sets, and a reporter on it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers.device import DeviceReporter, DeviceTraits, LocalModel, Reading

DAY_US = 86_400_000_000
START_US = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()) * 1_000_000
TRAITS = DeviceTraits("laptop-16gb", memory_bandwidth_mbps=100_000)
# 100 * 10^9 bytes/s over 2 * 10^9 bytes: 50 tokens/s.
MODEL = LocalModel("small-3b", "q4_k_m", pass_bytes=2_000_000_000)


@dataclass
class FakeClock:
    """Goes when it is told to; can be set wrong, sleep and reboot."""

    wall_us: int = START_US
    elapsed_us: int = 5_000_000
    boot: str = "boot-1"
    sees_sleep: bool = True

    def read(self) -> Reading:
        return Reading(self.wall_us, self.elapsed_us, self.boot)

    def go(self, us: int) -> None:
        self.wall_us += us
        self.elapsed_us += us

    def set(self, step_us: int) -> None:
        """Somebody sets the wall clock."""
        self.wall_us += step_us

    def reboot(self, off_us: int) -> None:
        self.wall_us += off_us
        self.elapsed_us = 1_000_000
        self.boot += "+"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kept() -> KeepingEmitter:
    return KeepingEmitter()


@pytest.fixture
def make_reporter(tmp_path: Path, clock: FakeClock) -> Callable[..., DeviceReporter]:
    """Makes reporters in one folder; `allowed` unless the test says otherwise."""

    def make(account: str = "acct", *, allowed: bool = True, **options: Any) -> DeviceReporter:
        given = {"traits": TRAITS, "models": [MODEL], "clock": clock, **options}
        reporter = DeviceReporter(tmp_path / "counts", account, **given)
        if allowed:
            reporter.allow()
        return reporter

    return make


def report(reporter: DeviceReporter, kept: KeepingEmitter, clock: FakeClock) -> list[dict[str, Any]]:
    """Reports with the device's clock taken for right, and gives the data of what came."""
    before = len(kept.events)
    reporter.report(kept, received=at(clock.wall_us))
    return [event.data.to_wire() for event in kept.events[before:]]


def at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
