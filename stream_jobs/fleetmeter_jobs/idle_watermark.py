"""The watermark of a partition in which nothing happens: without it, one quiet partition would keep every minute open.

No event can be missing before the moment at which the broker said that there is nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from fleetmeter_jobs.errors import JobError
from fleetmeter_jobs.processor_seams import Ledger
from fleetmeter_jobs.threads import Threads

log = logging.getLogger(__name__)


class IdleWatermark:
    """Advances it every `interval_s`, as long as it is asked to."""

    def __init__(self, ledger: Ledger, threads: Threads, interval_s: float, clock: Callable[[], float]) -> None:
        self._ledger, self._threads, self._interval_s, self._clock = ledger, threads, interval_s, clock
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to `advance`."""
        return self._clock() >= self._due

    async def advance(self, watermark_us: int, next_offset: int, drained_at_ms: int | None) -> int:
        """The log has nothing beyond `next_offset`, as known since `drained_at_ms` (None: it has, or nobody knows).

        Returns the watermark, the one given if nothing came of it: it is tried once, and again when it is due.
        """
        self._due = self._clock() + self._interval_s
        if drained_at_ms is None or drained_at_ms * 1000 <= watermark_us:
            return watermark_us
        try:
            await self._threads.store(self._ledger.advance_watermark, drained_at_ms * 1000, next_offset)
        except JobError as error:
            if not error.retryable:
                raise
            log.warning("%s: the idle watermark waits: %s", self._ledger.partition, error)
            return watermark_us
        return drained_at_ms * 1000
