"""One process's view of Kafka, as its processors see it: `transport.consumer.Consumer` on a topic in memory.

A fetch reads the log when it is made and is handed on when the process runs next; so a process that stood still hands
on what the log was then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from faust.types import TP
from fleetmeter_jobs.errors import JobError, KafkaUnavailableError
from fleetmeter_jobs.record_batch import Fetch, RecordBatch

from fleetmeter_deterministic.kafka import Header, SimTopic
from fleetmeter_deterministic.virtual_time import Clock, VirtualLoop

Offer = Callable[[Fetch, Callable[[], Awaitable[Any]]], None]
Pause = Callable[[str, str], Awaitable[None]]


class SimConsumer:
    """`processor_seams.Log` for all partitions of one process."""

    def __init__(self, topic: SimTopic, loop: VirtualLoop, clock: Clock, *, batches_a_fetch: int) -> None:
        self.assigned: set[TP] = set()
        self.acknowledged: dict[TP, int] = {}
        self.offer: Offer = lambda _fetch, _acknowledge: None
        self._topic, self._loop, self._clock = topic, loop, clock
        self._batches_a_fetch = batches_a_fetch
        self._next: dict[TP, int] = {}
        self._held: set[TP] = set()
        self._positionings = 0
        self._positioned: dict[TP, int] = {}
        self._seen: dict[TP, tuple[int, int]] = {}
        """Log end and wall clock of the last fetch."""

    # What a rebalance does

    def assign(self, tps: set[TP]) -> None:
        """Own these; each waits for its processor to position it."""
        self.assigned = tps
        self._next.clear()
        self._held.clear()
        self._positioned.clear()

    # What a broker does

    def news(self, tp: TP) -> None:
        """There may be something new to fetch."""
        if tp in self._next:
            self._loop.call_soon(self._fetch, tp)

    def jump(self, tp: TP, batches: int) -> None:
        """Deliver something again (negative), or leave something out, as no consumer should."""
        if tp not in self._next:
            return
        ends = [0, *(batch.next_offset for batch in self._topic.logs[tp].history.batches)]
        here = sum(end <= self._next[tp] for end in ends) - 1
        self._next[tp] = ends[max(0, min(here + batches, len(ends) - 1))]
        self.news(tp)

    # What a processor calls

    def start_at(self, tp: TP, offset: int) -> int:
        if tp not in self.assigned:
            raise KafkaUnavailableError(f"{tp.topic}-{tp.partition} is not assigned to this worker any more")
        self._positionings += 1
        self._positioned[tp] = self._positionings
        self._next[tp] = offset
        self._held.discard(tp)
        self.news(tp)
        return self._positionings

    def stop_at(self, tp: TP) -> None:
        self._next.pop(tp, None)
        self._positioned.pop(tp, None)

    def hold(self, tp: TP) -> None:
        self._held.add(tp)

    def release(self, tp: TP) -> None:
        self._held.discard(tp)
        self.news(tp)

    def drained_at_ms(self, tp: TP, position: int) -> int | None:
        end, at_ms = self._seen.get(tp, (position + 1, 0))
        return at_ms if end <= position else None

    def log_end(self, tp: TP) -> int | None:
        return self._seen[tp][0] if tp in self._seen else None

    def trouble(self, tp: TP) -> JobError | None:
        return self._away(tp) if self._topic.away else None

    async def log_bounds(self, tp: TP) -> tuple[int, int]:
        await self._round_trip(tp)
        log = self._topic.logs[tp]
        return log.start, log.end

    async def header_at(self, tp: TP, offset: int) -> Header | None:
        await self._round_trip(tp)
        return self._topic.logs[tp].header_at(offset)

    async def _round_trip(self, tp: TP) -> None:
        if self._topic.away:
            raise self._away(tp)
        answered = self._loop.create_future()
        self._loop.call_soon(answered.set_result, None)
        await answered

    def _away(self, tp: TP) -> KafkaUnavailableError:
        return KafkaUnavailableError(f"{tp.topic}-{tp.partition}: the broker does not answer")

    # Fetching

    def _fetch(self, tp: TP) -> None:
        if tp not in self._next or tp in self._held or self._topic.away:
            return
        log, here, positioning = self._topic.logs[tp], self._next[tp], self._positioned[tp]
        if not log.start <= here <= log.end:
            self._next.pop(tp)
            failure = KafkaUnavailableError(
                f"{tp.topic}-{tp.partition}: Kafka says that offset {here} is not in the log"
            )
            self._loop.call_soon(self._hand_over, tp, [], positioning, failure)
            return
        self._seen[tp] = log.end, self._clock.wall_ms()
        found = [batch for batch in log.history.batches if batch.next_offset > here][: self._batches_a_fetch]
        if found:
            self._next[tp] = found[-1].next_offset
            self._loop.call_soon(self._hand_over, tp, found, positioning, None)
            self.news(tp)

    def _hand_over(self, tp: TP, batches: list[RecordBatch], positioning: int, failure: JobError | None) -> None:
        if self._positioned.get(tp) != positioning:
            return
        payload = sum(len(value) for batch in batches for value in batch.values if value is not None)

        async def acknowledge() -> None:
            if batches:
                self.acknowledged[tp] = max(self.acknowledged.get(tp, 0), batches[-1].next_offset)

        self.offer(Fetch(tp.topic, tp.partition, batches, positioning, payload, failure), acknowledge)
