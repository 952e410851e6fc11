"""The hooks into aiokafka's internals: a Fetcher that yields record batches, and a consumer that uses it.

What is relied on (and pinned by tests/stream_jobs/transport/test_upstream_aiokafka.py): `Fetcher._proc_fetch_request`
and
`_update_fetch_positions` are the two places where a response becomes records and a position is chosen;
`Fetcher._records` holds a
`FetchResult` or `FetchError` per partition; `FetchResult` needs an iterator with `next_fetch_offset`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import aiokafka.errors as kafka_errors
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, Fetcher, FetchResult
from aiokafka.protocol.fetch import FetchRequest

from fleetmeter_jobs.errors import JobError, KafkaUnavailableError, TopicRefusedError
from fleetmeter_jobs.record_batch import RecordBatch
from fleetmeter_jobs.transport.batch_header import BatchHeader, split_batches
from fleetmeter_jobs.transport.lean_records import UNPACKED_LIMIT_BYTES, LeanRecords

log = logging.getLogger(__name__)

TAKE_RECORDS = 20_000
TAKE_BYTES = 8 * 1024 * 1024
"""One `take` ends with the record batch that passes either: the size of the pieces in which a worker does its work."""

_HEADER_ONLY_BYTES = 1  # a broker always sends the first batch whole, however small the limit


@dataclass(frozen=True, slots=True)
class Piece:
    """Record batches of one partition, in offset order, and the bytes of their values."""

    batches: list[RecordBatch]
    payload_bytes: int


class LeanFetcher(Fetcher):  # type: ignore[misc]  # aiokafka has no types
    """Fetches record batches, and never chooses a position: a partition without one is not fetched until somebody
    seeks."""

    def __init__(self, *args: Any, unpacked_limit_bytes: int = UNPACKED_LIMIT_BYTES, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unpacked_limit_bytes = unpacked_limit_bytes
        self.troubles: dict[TopicPartition, str] = {}
        """Partitions whose last fetch got no answer, with the reason."""

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: FetchRequest) -> bool:
        # Of the moments between question and answer the first: a process that was frozen meanwhile reads an old answer.
        asked_ms = int(1000 * time.time())
        try:
            response = await self._client.send(node_id, request)
        except kafka_errors.KafkaError as error:
            log.warning("fetching from broker %s failed, will be tried again: %s", node_id, error)
            self.troubles |= dict.fromkeys(_partitions(request), f"broker {node_id} does not answer: {error}")
            # The broker may be gone for good, and the leaders with it.
            self._client.force_metadata_update()
            await asyncio.sleep(self._retry_backoff)
            return False
        except asyncio.CancelledError:
            return False  # closing, or the assignment changed: aiokafka awaits this task and wants no exception
        if not assignment.active:
            return False
        asked_for = _partitions(request)
        new_data = False
        for topic, partitions in response.topics:
            for partition, error_code, highwater, *part in partitions:
                tp = TopicPartition(topic, partition)
                self.troubles.pop(tp, None)
                state = assignment.state_value(tp)
                if not state.has_valid_position or state.position != asked_for[tp]:
                    continue  # a seek came in between
                if error_code:
                    new_data |= self._on_partition_error(tp, asked_for[tp], kafka_errors.for_code(error_code))
                    continue
                state.highwater, state.lso, state.timestamp = highwater, part[0], asked_ms
                aborted = part[2] if response.API_VERSION >= 11 else part[-2]
                new_data |= self._on_partition_data(tp, part[-1], aborted, asked_for[tp], assignment)
        return new_data

    def _on_partition_data(self, tp: TopicPartition, raw: bytes, aborted: Any, offset: int, assignment: Any) -> bool:
        if not raw:
            return False
        self._records[tp] = FetchResult(
            tp,
            partition_records=LeanRecords(raw, aborted, offset, self._unpacked_limit_bytes),
            assignment=assignment,
            backoff=self._prefetch_backoff,
        )
        return True

    def _on_partition_error(self, tp: TopicPartition, offset: int, error: type[kafka_errors.KafkaError]) -> bool:
        if error is kafka_errors.OffsetOutOfRangeError:
            self._set_error(tp, kafka_errors.OffsetOutOfRangeError({tp: offset}))
            return True
        if error is kafka_errors.TopicAuthorizationFailedError:
            self._set_error(tp, error(tp.topic))
            return True
        if issubclass(error, kafka_errors.BrokerResponseError) and error.invalid_metadata:
            self._client.force_metadata_update()
        log.warning("fetching %s-%s failed, will be tried again: %s", tp.topic, tp.partition, error.__name__)
        self.troubles[tp] = f"the broker answers {error.__name__}"
        return False

    async def _update_fetch_positions(self, assignment: Any, node_id: int, tps: Any) -> bool:  # noqa: ARG002
        """Upstream falls back to Kafka's committed offset or the reset policy here; positions come from the ledger
        alone."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(self._retry_backoff)
        return False

    def take(self, wanted: Collection[TopicPartition]) -> dict[TopicPartition, Piece | JobError]:
        """What was fetched for the wanted partitions and not taken yet, in pieces; or, for a partition that can't go
        on, why."""
        taken: dict[TopicPartition, Piece | JobError] = {}
        for tp in [tp for tp in self._records if tp in wanted]:
            fetched = self._records[tp]
            try:
                if isinstance(fetched, FetchResult):
                    piece = _take_piece(fetched)
                    if piece.batches:
                        taken[tp] = piece
                    if fetched.has_more():
                        continue
                else:
                    fetched.check_raise()
            except kafka_errors.OffsetOutOfRangeError as error:
                # May pass (a new leader that lags); if not, the check of the log at the next start says what it is.
                taken[tp] = KafkaUnavailableError(
                    f"{tp.topic}-{tp.partition}: Kafka says that offset {error.args[0][tp]} is not in the log"
                )
            except kafka_errors.TopicAuthorizationFailedError:
                taken[tp] = TopicRefusedError(
                    f"{tp.topic}-{tp.partition}: Kafka does not allow this user to read the topic"
                )
            except JobError as error:
                taken[tp] = type(error)(f"{tp.topic}-{tp.partition}: {error}")
            del self._records[tp]
            self._notify(self._wait_consume_future)
        return taken

    async def wait(self, timeout_s: float) -> None:
        """Until something new was fetched, `wake` was called, or the time is up. Raises what ends the whole
        consumer."""
        waiter = self._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=timeout_s)
        if done:
            waiter.result()
        else:
            waiter.cancel()

    def wake(self) -> None:
        """Ends `wait`: a partition may be taken from again."""
        for waiter in list(self._fetch_waiters):
            self._notify(waiter)


class LeanConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """An aiokafka consumer around the LeanFetcher, with the few questions about a log that a safe start needs."""

    _fetcher: LeanFetcher

    def __init__(self, *, unpacked_limit_bytes: int = UNPACKED_LIMIT_BYTES, **options: Any) -> None:
        super().__init__(**options)
        self._unpacked_limit_bytes = unpacked_limit_bytes

    async def start(self) -> None:
        await super().start()
        # `start` makes the stock fetcher itself. Nothing is subscribed yet, so that it can be exchanged without a
        # trace.
        stock: Fetcher = self._fetcher
        await stock.close()
        self._fetcher = LeanFetcher(
            self._client,
            self._subscription,
            fetch_min_bytes=self._fetch_min_bytes,
            fetch_max_bytes=self._fetch_max_bytes,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            max_partition_fetch_bytes=self._max_partition_fetch_bytes,
            check_crcs=self._check_crcs,
            fetcher_timeout=self._consumer_timeout,
            retry_backoff_ms=self._retry_backoff_ms,
            auto_offset_reset="none",
            isolation_level=self._isolation_level,
            unpacked_limit_bytes=self._unpacked_limit_bytes,
        )

    async def stop(self) -> None:
        """Leaves the group, so that others get the partitions at once.

        aiokafka lets a member with an instance id go without a word: its place stays empty until the session times
        out. That is for those who are killed, and come back; who stops says so.
        """
        if self._coordinator is not None:
            self._coordinator._group_instance_id = None  # noqa: SLF001
        await super().stop()

    async def share_out_again(self) -> None:
        """Learn what partitions there are, and ask the group for a rebalance.

        Usually the member that the group has elected sees new partitions by itself; one that came back under its
        instance id does not look.
        """
        await self._client.force_metadata_update()
        self._coordinator.request_rejoin()

    @property
    def generation(self) -> int:
        """Generation of the consumer group that the present assignment belongs to."""
        return int(self._coordinator.generation)

    def check(self) -> None:
        """Raise KafkaError if the group or the fetching has broken down for good. Nothing else would tell: aiokafka
        does its work in background tasks, and a dead one looks like a topic without news."""
        if self._closed:
            return
        tasks = {
            "fetches": self._fetcher.error_future,
            "keeps up the group's membership": self._coordinator._coordination_task,  # noqa: SLF001
            "keeps the cluster's metadata": self._client._sync_task,  # noqa: SLF001
        }
        for what, task in tasks.items():
            if task.done():
                cause = None if task.cancelled() else task.exception()
                if isinstance(cause, kafka_errors.KafkaError):
                    raise cause
                # None of them ends by itself, whatever the broker does; without one the rest would wait for ever.
                raise kafka_errors.KafkaError(f"aiokafka's task that {what} has ended: {cause!r}") from cause
        # Last: of a task that was cancelled it would raise CancelledError, and silence whoever asks.
        self._coordinator.check_errors()

    async def take(
        self, wanted: Collection[TopicPartition], timeout_s: float
    ) -> dict[TopicPartition, Piece | JobError]:
        """Waits for something fetched for one of the wanted partitions. Empty when the time is up."""
        if self._closed or self._fetcher._closed:  # noqa: SLF001
            raise kafka_errors.ConsumerStoppedError
        with self._subscription.fetch_context():
            taken = self._fetcher.take(wanted)
            if not taken:
                await self._fetcher.wait(timeout_s)
                taken = self._fetcher.take(wanted)
        return taken

    def trouble(self, tp: TopicPartition) -> str | None:
        """Why the partition can't be fetched now, if so; it is tried again all the time."""
        return self._fetcher.troubles.get(tp) if self._fetcher else None

    def wake(self) -> None:
        """Ends a `take` that waits, so that it is called again with other partitions."""
        self._fetcher.wake()

    def drained_at_ms(self, tp: TopicPartition, position: int) -> int | None:
        """When (this machine's clock, epoch ms) the broker last said that its log ends at `position`; None if there is
        more."""
        state = self._state(tp)
        if state is None or state.highwater is None or state.highwater > position:
            return None
        return int(state.timestamp)

    def log_end(self, tp: TopicPartition) -> int | None:
        """Where the log ended at the last fetch; None before the first."""
        state = self._state(tp)
        return None if state is None else state.highwater

    def _state(self, tp: TopicPartition) -> Any:
        assignment = self._subscription.subscription and self._subscription.subscription.assignment
        return assignment.state_value(tp) if assignment else None

    async def log_bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """(first offset, offset after the last one that read_committed may see). Raises KafkaUnavailableError."""
        try:
            start = await self.beginning_offsets([tp])
            end = await self.end_offsets([tp])
        except kafka_errors.KafkaError as error:
            raise KafkaUnavailableError(f"{tp.topic}-{tp.partition}: can't read the log's bounds: {error}") from error
        return int(start[tp]), int(end[tp])

    async def header_at(self, tp: TopicPartition, offset: int) -> BatchHeader | None:
        """Header of the record batch that holds `offset`; None if the log has none there. Raises
        KafkaUnavailableError."""
        leader = self._client.cluster.leader_for_partition(tp)
        if leader is None or leader == -1:
            await self._client.force_metadata_update()
            raise KafkaUnavailableError(f"{tp.topic}-{tp.partition} has no leader now")
        request = FetchRequest(
            0, 0, _HEADER_ONLY_BYTES, READ_UNCOMMITTED, [(tp.topic, [(tp.partition, offset, _HEADER_ONLY_BYTES)])]
        )
        try:
            response = await self._client.send(leader, request)
        except kafka_errors.KafkaError as error:
            raise KafkaUnavailableError(f"{tp.topic}-{tp.partition}: can't read offset {offset}: {error}") from error
        _, error_code, *part = response.topics[0][1][0]
        answer = kafka_errors.for_code(error_code)
        if answer is kafka_errors.OffsetOutOfRangeError:
            return None
        if answer is not kafka_errors.NoError:
            self._client.force_metadata_update()
            raise KafkaUnavailableError(f"{tp.topic}-{tp.partition}: can't read offset {offset}: {answer.__name__}")
        return next((header for header, _ in split_batches(part[-1]) if header.next_offset > offset), None)


def _partitions(request: FetchRequest) -> dict[TopicPartition, int]:
    """What a request asks for: partitions and their offsets."""
    return {TopicPartition(topic, one[0]): one[1] for topic, partitions in request.topics for one in partitions}


def _take_piece(fetched: FetchResult) -> Piece:
    batches: list[RecordBatch] = []
    records = payload = 0
    while records < TAKE_RECORDS and payload < TAKE_BYTES:
        try:
            batch = fetched.getone()
        except JobError:
            if not batches:
                raise
            break  # what comes before the bad batch is good; LeanRecords raises again when asked next
        if batch is None:
            break
        batches.append(batch)
        records += len(batch.values)
        payload += batch.payload_bytes
    return Piece(batches, payload)
