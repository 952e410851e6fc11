"""A device's clocks, and what can be said of a period when they are wrong.

The wall clock may be set, forwards or backwards, and be wrong for months. The elapsed clock never jumps, but begins
anew with each boot. Together with the time at which a report is received they bound a period:

- A step of the wall clock within a boot is the difference between what the two clocks say went by. Earlier stamps are
  moved with it, so that all stamps of a period are by the clock as it is now.
- Across boots only a step backwards shows: time did not go back, so earlier stamps are moved to just before now.
- A period lasts at least as long as the elapsed clock counted in it, and ends when it is received, at the latest.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final, NamedTuple, Protocol

STEP_US: Final = 2_000_000
"""Smaller differences between the clocks are drift."""
OLDEST_PERIOD_US: Final = 399 * 86_400_000_000
"""The contract takes periods up to 400 days before the report."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Reading(NamedTuple):
    """Both clocks at one moment, in microseconds; readings of the elapsed one compare only within one `boot`."""

    wall_us: int
    elapsed_us: int
    boot: str


class Clock(Protocol):
    """Reads a device's clocks. `sees_sleep`: whether the elapsed one goes on while the device sleeps."""

    @property
    def sees_sleep(self) -> bool:
        """Whether the elapsed clock goes on while the device sleeps."""
        ...

    def read(self) -> Reading:
        """Now."""
        ...


class DeviceClock:
    """The clocks of this machine. A boot is named by a hash; where the system has no name for it, by this process."""

    def __init__(self) -> None:
        self._boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
        try:
            name = _BOOT_ID.read_bytes()
        except OSError:
            name = os.urandom(16)
        self._boot = hashlib.sha256(name).hexdigest()[:16]

    @property
    def sees_sleep(self) -> bool:
        """Whether the elapsed clock goes on while the device sleeps: on Linux and Android."""
        return self._boottime is not None

    def read(self) -> Reading:
        """Now."""
        elapsed = time.monotonic_ns() if self._boottime is None else time.clock_gettime_ns(self._boottime)
        return Reading(time.time_ns() // 1000, elapsed // 1000, self._boot)


def step_between(before: Reading, now: Reading, *, sees_sleep: bool) -> int:
    """By how many microseconds the wall clock was set between two readings, as far as can be told; 0 if not."""
    wall = now.wall_us - before.wall_us
    if now.boot != before.boot or now.elapsed_us < before.elapsed_us:
        return min(0, wall)
    step = wall - (now.elapsed_us - before.elapsed_us)
    if step > 0 and not sees_sleep:
        return 0  # the device may have slept
    return step if abs(step) > STEP_US else 0


def elapsed_between(before: Reading, now: Reading) -> int:
    """Microseconds that certainly went by between two readings."""
    if now.boot != before.boot:
        return 0
    return max(0, now.elapsed_us - before.elapsed_us)


def bounded(
    begin_us: int, end_us: int, *, elapsed_us: int, latest_us: int, oldest_us: int, reported_us: int
) -> tuple[int, int] | None:
    """(Begin, end) of a period that can't end after `latest_us`, nor begin before `reported_us`, up to which earlier
    ones were reported; None if all of it was before `oldest_us`."""
    end = min(end_us, latest_us)
    if end <= oldest_us:
        return None
    begin = max(min(begin_us, end - elapsed_us), oldest_us, reported_us)
    return min(begin, end), end
