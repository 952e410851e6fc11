"""The Faust consumer of this transport: one Faust message per partition and fetch, positions from whoever asks.

Faust's own consumer keeps books per record: lists of acknowledged offsets, interval trees of gaps, a seek to Kafka's
committed offsets after each rebalance. Here a message stands for thousands of records, its position comes from the
ledger, and Kafka's committed offset is only a courtesy to lag tools. So this class keeps Faust's services, flow control
and rebalance callbacks, and replaces the bookkeeping. What it relies on is pinned by
tests/stream_jobs/transport/test_upstream_faust.py.

A partition is *held* from its assignment until `start_at`, while `hold` is in force, and after an error. Held
partitions
are neither fetched nor delivered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar, cast

import aiokafka.abc
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.exceptions import ConsumerNotStarted
from faust.transport import consumer as base
from faust.types import TP, ConsumerMessage, Message
from mode import Service

from fleetmeter_jobs.errors import JobError, KafkaUnavailableError
from fleetmeter_jobs.record_batch import Fetch, RecordBatch
from fleetmeter_jobs.transport.assignor import StickyAssignor
from fleetmeter_jobs.transport.batch_header import BatchHeader
from fleetmeter_jobs.transport.lean_fetcher import LeanConsumer

_APPEND_TIME = 1
_CONNECT_WAIT_S = 1.0
_FETCH_WAIT_MS = 250
"""How long a broker may keep a fetch open. Also how long a partition that was just positioned may wait for its
first."""
_RETRY_WAIT_MS = 250
_HELD_POLL_S = 0.25
_WATCH_S = 0.5
_YEAR_MS = 366 * 86_400_000


class _RebalanceListener(aiokafka.abc.ConsumerRebalanceListener):  # type: ignore[misc]
    """Carries aiokafka's rebalance callbacks to Faust, and holds every partition while one is under way."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self._consumer.hold_all()
        self._consumer.app.on_rebalance_start()
        await self._consumer.on_partitions_revoked(base.ensure_TPset(revoked))

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._consumer.hold_all()
        generation = self._consumer.kafka.generation
        self._consumer.app.consumer_generation_id = generation
        await self._consumer.on_partitions_assigned(base.ensure_TPset(assigned), generation)


class Consumer(base.Consumer):  # type: ignore[misc]
    """Delivers `Fetch` values. Everything here runs in the app's event loop."""

    consumer_stopped_errors: ClassVar[tuple[type[BaseException], ...]] = (ConsumerStoppedError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kafka: LeanConsumer | None = None
        self._positioned: dict[TP, int] = {}
        """Partitions that have a position, with the number of that positioning."""
        self._positionings = 0
        self._held: set[TP] = set()
        self._to_commit: dict[TP, int] = {}

    @property
    def kafka(self) -> LeanConsumer:
        """The connected aiokafka consumer. Raises ConsumerNotStarted."""
        if self._kafka is None:
            raise ConsumerNotStarted("the consumer is not connected to Kafka yet")
        return self._kafka

    # Start and stop

    async def on_start(self) -> None:
        """Connects, as long as it takes: a broker that is away is not a reason to give up."""
        while not self.should_stop:
            consumer = self._new_kafka_consumer()
            try:
                await consumer.start()
            except KafkaError as error:
                await consumer.stop()
                self.log.warning("Kafka at %s does not answer, will be tried again: %s", self.transport.url, error)
                await self.sleep(_CONNECT_WAIT_S)
            else:
                self._kafka = consumer
                return

    def _new_kafka_consumer(self) -> LeanConsumer:
        conf = self.app.conf
        return LeanConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id or None,
            partition_assignment_strategy=(StickyAssignor(),),
            **self.app.kafka_access.aiokafka(),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            unpacked_limit_bytes=self.app.unpacked_limit_bytes,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            retry_backoff_ms=_RETRY_WAIT_MS,
            # A worker that waits for ClickHouse fetches nothing on purpose, for as long as it takes.
            max_poll_interval_ms=_YEAR_MS,
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
        )

    async def on_stop(self) -> None:
        """Tells Kafka how far the ledger is, and leaves the group."""
        if self._kafka is None:
            return
        await super().on_stop()
        await self._kafka.stop()

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch(self) -> None:
        """An error out of here crashes the app, and with it the worker: whoever runs it starts it again."""
        while not self.should_stop:
            self.kafka.check()
            await self.sleep(_WATCH_S)

    def close(self) -> None:
        """Nothing to do: `on_stop` closes."""

    async def subscribe(self, topics: Any) -> None:
        self.kafka.subscribe(topics=list(topics), listener=_RebalanceListener(self))

    # Positions: called by the partitions' processors

    def start_at(self, tp: TP, offset: int) -> int:
        """Deliver the partition from `offset` on. Returns the number that its fetches carry from now on.

        Raises KafkaUnavailableError if the partition is not assigned to this worker any more.
        """
        try:
            self.kafka.seek(_kafka_tp(tp), offset)
            self.kafka.resume(_kafka_tp(tp))
        except IllegalStateError as error:
            raise KafkaUnavailableError(f"{tp.topic}-{tp.partition} is not assigned to this worker any more") from error
        self._positionings += 1
        self._positioned[tp] = self._positionings
        self._read_offset[tp] = None  # Faust drops messages before the last one that it saw
        self._held.discard(tp)
        self.kafka.wake()
        return self._positionings

    def stop_at(self, tp: TP) -> None:
        """Deliver no more of the partition until the next `start_at`."""
        self._positioned.pop(tp, None)
        self._pause(tp)

    def hold(self, tp: TP) -> None:
        """Deliver nothing of the partition until `release`: its processor has enough to do."""
        self._held.add(tp)

    def release(self, tp: TP) -> None:
        """End of `hold`."""
        if tp in self._held:
            self._held.discard(tp)
            self.kafka.wake()

    def hold_all(self) -> None:
        """A rebalance starts or ends: whatever was positioned before has to be positioned again."""
        self._positioned.clear()
        self._held.clear()
        for tp in self.assignment():
            self._pause(tp)

    def _pause(self, tp: TP) -> None:
        try:
            self.kafka.pause(_kafka_tp(tp))
            # aiokafka fetches nothing from a broker while one of its partitions has no position. The place does not
            # matter: nothing is fetched from here before the next `start_at`.
            self.kafka.seek(_kafka_tp(tp), 0)
        except IllegalStateError:
            self.log.debug("%s-%s was given away already", tp.topic, tp.partition)

    async def log_bounds(self, tp: TP) -> tuple[int, int]:
        """(first offset, offset after the last readable one). Raises KafkaUnavailableError."""
        return await self.kafka.log_bounds(_kafka_tp(tp))

    async def log_starts(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset of each log, assigned to this worker or not. Raises KafkaUnavailableError."""
        return {number: (await self.kafka.log_bounds(TopicPartition(topic, number)))[0] for number in partitions}

    async def notice_partitions(self, topic: str, partitions: int) -> None:
        """Have the group share out the topic anew if it has more partitions than this member knew of."""
        if (self.topic_partitions(topic) or partitions) < partitions:
            await self.kafka.share_out_again()

    async def header_at(self, tp: TP, offset: int) -> BatchHeader | None:
        """Header of the record batch that holds `offset`, if the log has it. Raises KafkaUnavailableError."""
        return await self.kafka.header_at(_kafka_tp(tp), offset)

    def trouble(self, tp: TP) -> JobError | None:
        """Why the partition can't be fetched now, if so."""
        reason = self.kafka.trouble(_kafka_tp(tp))
        return KafkaUnavailableError(f"{tp.topic}-{tp.partition}: {reason}") if reason else None

    def drained_at_ms(self, tp: TP, position: int) -> int | None:
        """When the broker last said that the partition has nothing after `position`; None if it has."""
        return self.kafka.drained_at_ms(_kafka_tp(tp), position)

    def log_end(self, tp: TP) -> int | None:
        """Where the log ended at the last fetch; None before the first."""
        return self.kafka.log_end(_kafka_tp(tp))

    # Messages

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109  (Faust's signature)
        """One message per partition with something new."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        generation = self.app.consumer_generation_id
        wanted = {_kafka_tp(tp) for tp in self._positioned if tp not in self._held}
        if not wanted:
            await self.sleep(_HELD_POLL_S)
            return
        taken = await self.kafka.take(wanted, min(timeout, _HELD_POLL_S))
        for kafka_tp, found in taken.items():
            if self.should_stop or not self.flow_active or generation != self.app.consumer_generation_id:
                return  # a rebalance came in between: everything will be positioned and fetched again
            tp = TP(kafka_tp.topic, kafka_tp.partition)
            positioning = self._positioned.get(tp)
            if positioning is None:
                continue
            if isinstance(found, JobError):
                self.stop_at(tp)
                yield tp, self._to_message(tp, Fetch(tp.topic, tp.partition, [], positioning, failure=found))
            else:
                yield (
                    tp,
                    self._to_message(
                        tp, Fetch(tp.topic, tp.partition, found.batches, positioning, found.payload_bytes)
                    ),
                )

    def _to_message(self, tp: TP, record: Fetch) -> ConsumerMessage:
        last: RecordBatch | None = record.batches[-1] if record.batches else None
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.next_offset - 1 if last else self._read_offset[tp] or 0,
            last.append_time_ms / 1000 if last else 0.0,
            _APPEND_TIME,
            None,
            None,
            cast("bytes", record),  # Faust's types know bytes; the pass-through schema hands on whatever it is
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # Acknowledgement: advisory, after the ledger's commit

    def ack(self, message: Message) -> bool:
        """The ledger holds everything up to the message's end: tell Kafka with the next offset commit."""
        message.acked = True
        self._unacked_messages.discard(message)
        self._to_commit[message.tp] = max(self._to_commit.get(message.tp, 0), message.offset + 1)
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit what was acknowledged since the last time. A failure is logged and made good by a later commit."""
        assigned = self.assignment()
        offsets = {tp: offset for tp, offset in self._to_commit.items() if tp in assigned}
        self._to_commit.clear()
        return await self._commit(offsets) if offsets else False

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        try:
            await self.kafka.commit({_kafka_tp(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()})
        except (KafkaError, TimeoutError) as error:
            self.log.warning("Kafka's committed offsets lag behind the ledger's until the next commit: %s", error)
            return False
        self._committed_offset.update(offsets)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """A message stands for many offsets, so that every step is a gap to Faust; the ledger checks continuity."""

    async def perform_seek(self) -> None:
        """Faust would go to Kafka's committed offsets here; positions come from the ledger, with `start_at`."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return {}

    async def _seek(self, partition: TP, offset: int) -> None:
        self.start_at(partition, offset)

    async def _getmany(self, *_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError("getmany is replaced as a whole")

    # The rest of Faust's interface

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def assignment(self) -> set[TP]:
        return cast("set[TP]", base.ensure_TPset(self.kafka.assignment()))

    def highwater(self, tp: TP) -> int:
        return self.log_end(tp) or 0

    def topic_partitions(self, topic: str) -> int | None:
        partitions = self.kafka.partitions_for_topic(topic)
        return len(partitions) if partitions else None

    async def position(self, tp: TP) -> int | None:
        return cast("int | None", await self.kafka.position(_kafka_tp(tp)))

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        for tp, offset in partitions.items():
            self.start_at(tp, offset)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: (await self.log_bounds(tp))[0] for tp in partitions}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: (await self.log_bounds(tp))[1] for tp in partitions}

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        raise NotImplementedError("the jobs only read")

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("topics are made by an operator or `fleetmeter up`, never by a worker")


def _kafka_tp(tp: TP) -> TopicPartition:
    return TopicPartition(tp.topic, tp.partition)
