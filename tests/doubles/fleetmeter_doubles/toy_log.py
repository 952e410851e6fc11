"""A Kafka partition in memory, for a processor: it delivers fetches from where it was positioned, unless held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from faust.types import TP
from fleetmeter_jobs.continuity import continue_from
from fleetmeter_jobs.errors import JobError, KafkaUnavailableError
from fleetmeter_jobs.record_batch import Fetch, RecordBatch

Offer = Callable[[Fetch, Callable[[], Awaitable[Any]]], None]


@dataclass(frozen=True)
class ToyHeader:
    next_offset: int
    leader_epoch: int
    crc: int


class ToyLog:
    """`transport.consumer.Consumer`, as far as one processor sees it. `deliver_to` says where fetches go."""

    def __init__(self, tp: TP, start: int = 0, *, append_time_ms: int = 1_780_000_000_000) -> None:
        self.tp = tp
        self.start = start
        self.batches: list[RecordBatch] = []
        self.topic_id = "topic-a"
        self.leader_epoch = 1
        self.away = False
        self.failure: JobError | None = None
        """Delivered once everything before it was."""
        self.asked_in_vain = 0
        """How often somebody wanted to know the topic's id while the broker was away."""
        self.acknowledged = start
        self.held = False
        self.positionings: list[int] = []
        self.drained_ms: int | None = None
        self.append_time_ms = append_time_ms
        """The broker's clock at offset 0; a test may let time pass."""
        self._next: int | None = None
        self._offer: Offer = lambda _fetch, _acknowledge: None

    @property
    def end(self) -> int:
        return self.batches[-1].next_offset if self.batches else self.start

    def append(self, values: Sequence[bytes | None], *, control: int = 0, aborted: int = 0) -> None:
        """Add one record batch, and deliver it if somebody reads."""
        base = self.end
        span = len(values) + control + aborted
        time_ms = self.append_time_ms + base
        crc = base * 31 + 7 * self.leader_epoch
        following = base + span
        header = base, following, time_ms, self.leader_epoch, crc
        self.batches.append(RecordBatch(*header, list(values), control=control, aborted=aborted))
        self._deliver()

    def elect(self, *, lacking: int = 0) -> None:
        """Another broker leads; it lacks the last batches, if the election was unclean."""
        self.leader_epoch += 1
        del self.batches[len(self.batches) - lacking :]

    def deliver_to(self, offer: Offer) -> None:
        self._offer = offer

    def repeat(self, offset: int) -> None:
        """Deliver everything from `offset` on once more, as after a seek that nobody asked for."""
        self._next = offset
        self._deliver()

    def skip(self, offset: int) -> None:
        """Go on at `offset` without delivering what lies before."""
        self._next = offset
        self._deliver()

    # What a processor calls

    def topic_id_now(self) -> str:
        if self.away:
            self.asked_in_vain += 1
            raise KafkaUnavailableError("the toy broker is away")
        return self.topic_id

    def start_at(self, tp: TP, offset: int) -> int:
        assert tp == self.tp
        self.positionings.append(offset)
        self._next, self.held = offset, False
        asyncio.get_running_loop().call_soon(self._deliver)
        return len(self.positionings)

    def stop_at(self, tp: TP) -> None:
        assert tp == self.tp
        self._next = None

    def hold(self, tp: TP) -> None:
        assert tp == self.tp
        self.held = True

    def release(self, tp: TP) -> None:
        assert tp == self.tp
        self.held = False
        asyncio.get_running_loop().call_soon(self._deliver)

    def drained_at_ms(self, tp: TP, position: int) -> int | None:
        assert tp == self.tp
        return self.drained_ms if position >= self.end else None

    def log_end(self, tp: TP) -> int | None:
        assert tp == self.tp
        return self.end

    def trouble(self, tp: TP) -> JobError | None:
        assert tp == self.tp
        return KafkaUnavailableError("the toy broker is away") if self.away else None

    async def log_bounds(self, tp: TP) -> tuple[int, int]:
        assert tp == self.tp
        if self.away:
            raise KafkaUnavailableError("the toy broker is away")
        return self.start, self.end

    async def header_at(self, tp: TP, offset: int) -> ToyHeader | None:
        assert tp == self.tp
        for batch in self.batches:
            if batch.base_offset <= offset < batch.next_offset:
                return ToyHeader(batch.next_offset, batch.leader_epoch, batch.crc)
        return None

    def _deliver(self) -> None:
        """One fetch per batch, each acknowledged on its own."""
        while self._next is not None and not self.held and self._next < self.end:
            later = [batch for batch in self.batches if batch.next_offset > self._next]
            batch = later[0]
            if not batch.missing:
                (batch,) = continue_from(max(self._next, batch.base_offset), [batch])
            self._next = batch.next_offset
            self._offer(self._fetch([batch]), self._acknowledgement(batch.next_offset))
        if self._next is not None and self.failure is not None:
            self._next = None
            self._offer(replace(self._fetch([]), failure=self.failure), self._acknowledgement(0))

    def _fetch(self, batches: list[RecordBatch]) -> Fetch:
        payload = sum(len(value) for batch in batches for value in batch.values if value is not None)
        return Fetch(self.tp.topic, self.tp.partition, batches, len(self.positionings), payload)

    def _acknowledgement(self, offset: int) -> Callable[[], Awaitable[Any]]:
        async def acknowledge() -> None:
            self.acknowledged = max(self.acknowledged, offset)

        return acknowledge
