"""What is to happen later in a schedule."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Timeline:
    """Calls by the moment at which they are due. `later` may be called from any thread, the rest from one."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it so many seconds from now."""
        with self._lock:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), call))

    def run_due(self) -> None:
        """Everything whose time has come."""
        self._run_until(time.monotonic())

    def run_all(self) -> None:
        """Everything that is left, at once; what it brings about included."""
        self._run_until(float("inf"))

    def next_in_s(self) -> float:
        """How long until something is due; infinite if nothing is."""
        with self._lock:
            return max(self._due[0][0] - time.monotonic(), 0.0) if self._due else float("inf")

    def _run_until(self, moment: float) -> None:
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > moment:
                    return
                call = heapq.heappop(self._due)[2]
            call()
