"""How long to wait before something that died is started again: quick at first, patient when it keeps dying."""

from __future__ import annotations

from typing import Final

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
STEADY_AFTER_S: Final = 60.0
"""What ran so long is taken for healthy: its next restart is quick again."""


class Backoff:
    """The waits of one thing. Times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._wait_s = FIRST_WAIT_S

    def next_wait_s(self, ran_s: float) -> float:
        """The wait after it ran for `ran_s` and died; doubles from call to call."""
        if ran_s >= STEADY_AFTER_S:
            self._wait_s = FIRST_WAIT_S
        wait_s = self._wait_s
        self._wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        return wait_s
