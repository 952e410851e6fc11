"""The partitions that this worker has: made on assignment, finished on revocation, fed by the agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from faust.types import TP

from fleetmeter_jobs.partition_status import PartitionStatus, State
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.record_batch import Fetch

log = logging.getLogger(__name__)


class Partitions:
    """Processors by Kafka partition. All methods are called in the event loop; none raises for what a partition does.

    A rebalance revokes everything and assigns anew, so a processor is kept while its partition is away: if the next
    assignment brings it back and nobody committed in between, its dedup state need not be read again.
    """

    def __init__(self, new_processor: Callable[[int], Processor], revoke_limit_s: float) -> None:
        self._new_processor = new_processor
        self._revoke_limit_s = revoke_limit_s
        self._processors: dict[TP, Processor] = {}
        self._assigned: set[TP] = set()
        self._ended = False
        self.joined = False
        """Whether the consumer group has given this worker an assignment (maybe an empty one) that holds."""

    async def on_assigned(self, assigned: Iterable[TP]) -> None:
        """Start counting these partitions, and no others."""
        if self._ended:
            return
        self._assigned = set(assigned)
        for tp in self._processors.keys() - self._assigned:
            del self._processors[tp]
        for tp in sorted(self._assigned):
            processor = self._processors.get(tp)
            if processor is None:
                processor = self._processors[tp] = self._new_processor(tp.partition)
            processor.start()
        self.joined = True
        log.info("assigned partitions %s", sorted(tp.partition for tp in self._assigned) or "none")

    async def on_revoked(self, revoked: Iterable[TP]) -> None:
        """Commit what was ingested of these, within the limit; the next assignment waits for it."""
        self.joined = False
        await self._stop(set(revoked), self._revoke_limit_s)

    async def stop(self, limit_s: float) -> bool:
        """Commit what was ingested of all, and start no more. False if a commit is not confirmed in time, those of a
        rebalance that is under way included."""
        self._ended = True
        return await self._stop(self._assigned | self._processors.keys(), limit_s)

    async def _stop(self, tps: set[TP], limit_s: float) -> bool:
        self._assigned -= tps
        going = {tp: processor for tp, processor in self._processors.items() if tp in tps}
        outcomes = await asyncio.gather(*(processor.stop(limit_s) for processor in going.values()))
        for tp, in_time in zip(going, outcomes, strict=True):
            # Its commit may still be on the way: a new one reads the ledger. A rebalance may have come to that before.
            if not in_time and self._processors.get(tp) is going[tp]:
                del self._processors[tp]
        return all(outcomes)

    def offer(self, fetch: Fetch, acknowledge: Callable[[], Awaitable[Any]]) -> None:
        """Hand a fetch to its partition. Never waits: one partition's trouble must not stop the others."""
        tp = TP(fetch.topic, fetch.partition)
        if tp in self._assigned:
            self._processors[tp].offer(fetch, acknowledge)

    def look_again(
        self, why: str, *, unless: str | None = None, where: Callable[[int], bool] = lambda _partition: True
    ) -> None:
        """Let every partition `where` that holds begin again, but those that count the topic of the id `unless`."""
        for tp in self._assigned:
            if where(tp.partition):
                self._processors[tp].look_again(why, unless=unless)

    def statuses(self) -> dict[int, PartitionStatus]:
        """By Kafka partition, of those assigned."""
        return {tp.partition: self._processors[tp].status for tp in sorted(self._assigned)}

    @property
    def ready(self) -> bool:
        """Whether all assigned partitions are being counted."""
        return self.joined and all(status.state is State.COUNTING for status in self.statuses().values())

    def drained_since_ms(self) -> int | None:
        """The moment (this machine's clock) from which on all assigned partitions are known to have nothing left to
        count; None if one has, or is not counting."""
        if not self.joined:
            return None
        moments = [self._processors[tp].drained_at_ms() for tp in self._assigned]
        known = [moment for moment in moments if moment is not None]
        return min(known, default=0) if len(known) == len(moments) else None
