"""How much a token may send: a bucket of events that fills with time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Allowance:
    """Holds at most `burst_s` seconds' worth of `events_per_s`, and begins full.

    A request is let in unless the bucket is overdrawn, and pays when its events have been counted: a batch may
    overdraw it, and then the token waits until the debt is paid. So batches of any size pass, and the rate holds.
    """

    def __init__(self, events_per_s: float, burst_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = events_per_s
        self._most = events_per_s * burst_s
        self._clock = clock
        self._left = self._most
        self._at = clock()

    def wait_s(self) -> float:
        """Seconds until a request is let in; 0 if one is now."""
        self._fill()
        return max(0.0, -self._left / self._rate)

    def pay(self, events: int) -> None:
        """Take what a request had; one without events costs as much as one."""
        self._fill()
        self._left -= max(1, events)

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
