"""Reading Kafka for the commands: how long each partition's log is, and single records by their coordinates."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.errors import KafkaUnavailableError, TopicRefusedError
from fleetmeter_jobs.kafka_connection import REFUSAL_S, ConnectionWatch
from fleetmeter_jobs.reconcile import LogEnds
from fleetmeter_jobs.settings import Settings

TIMEOUT_S: Final = 15.0


@contextmanager
def reader(settings: Settings, *, isolation: str = "read_uncommitted") -> Iterator[Consumer]:
    """A consumer that belongs to no group and commits nothing, connected.

    As it is, it also shows records of aborted transactions; with `read_committed`, only what is counted. Kafka's
    errors, then and inside, become a CommandError, or a KafkaAccessError if it does not let us in.
    """
    watch = ConnectionWatch(settings.kafka_access)
    consumer = Consumer(
        {
            **watch.options,
            "group.id": f"{settings.consumer_group}-reader",  # demanded by the library; nothing is committed under it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
        }
    )
    try:
        with watch.explained(consumer.poll, "answer as it should"):
            _await_answer(consumer, settings.topic, watch)
            yield consumer
    except KafkaUnavailableError as error:
        raise CommandError(
            f"{error}. Start one with `fleetmeter up`, or set FLEETMETER_KAFKA_BOOTSTRAP.", Exit.KAFKA
        ) from error
    finally:
        consumer.close()


def require_kafka(settings: Settings) -> None:
    """Raises CommandError or KafkaAccessError if Kafka does not answer or lets us in: for who is about to send, since a
    producer tries for minutes and then knows no reason."""
    with reader(settings):
        pass


def require_topic(settings: Settings) -> None:
    """As `require_kafka`; also raises CommandError if the topic is not there."""
    with reader(settings) as consumer:
        found = consumer.list_topics(settings.topic, timeout=TIMEOUT_S).topics[settings.topic]
        if found.error is not None:
            raise CommandError(f"Kafka has no topic {settings.topic}: {found.error.str()}.", Exit.KAFKA)


def largest_message_bytes(settings: Settings) -> int | None:
    """What the topic takes at once (its max.message.bytes); None if we may not ask. Raises as `require_topic`."""
    watch = ConnectionWatch(settings.kafka_access)
    admin = AdminClient(dict(watch.options))
    resource = ConfigResource(ResourceType.TOPIC, settings.topic)
    with watch.explained(admin.poll, "answer as it should"):
        try:
            answer: Any = watch.answer(
                admin.describe_configs([resource], request_timeout=TIMEOUT_S)[resource], admin.poll
            )
        except KafkaException as error:
            if "AUTHORIZATION_FAILED" in error.args[0].name():
                return None
            raise
    return int(answer["max.message.bytes"].value)


def _await_answer(consumer: Consumer, topic: str, watch: ConnectionWatch) -> None:
    """Returns at the first answer. A refusal is seen after REFUSAL_S: the library would try until TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            consumer.list_topics(topic, timeout=REFUSAL_S)
        except KafkaException:
            consumer.poll(0)
            if time.monotonic() > deadline or watch.refusal() is not None:
                raise
        else:
            return


def log_ends(settings: Settings, topics: Iterable[str]) -> dict[tuple[str, int], LogEnds]:
    """Start and end of every partition of the topics that exist. Raises CommandError if Kafka does not answer,
    TopicRefusedError if it does not say whether one exists."""
    ends = {}
    with reader(settings) as consumer:
        for topic in sorted(set(topics)):
            # By name: a list of all topics leaves those out, without a word, that this user may not describe.
            found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
            if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise TopicRefusedError(
                    f"Kafka at {settings.kafka_bootstrap} does not describe topic {topic}: {found.error.str()}"
                )
            for partition in sorted(found.partitions):
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_S)
                ends[topic, partition] = LogEnds(low, high)
    return ends


def read_records(settings: Settings, topic: str, partition: int, offset: int, count: int = 1) -> Sequence[Any]:
    """Up to `count` records from `offset` on, as confluent_kafka Messages; fewer where the log ends.

    Raises CommandError if the offset is not in the log any more, or not yet.
    """
    with reader(settings) as consumer:
        where = TopicPartition(topic, partition, offset)
        found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
        if found.error is not None or partition not in found.partitions:
            raise CommandError(f"Kafka has no partition {partition} of topic {topic}.")
        low, high = consumer.get_watermark_offsets(where, timeout=TIMEOUT_S)
        if not low <= offset < high:
            raise CommandError(
                f"{topic}/{partition} holds offsets {low} to {high - 1}, not {offset}: "
                + ("retention has taken it." if offset < low else "it has not been written yet.")
                if high > low
                else f"{topic}/{partition} holds no records."
            )
        consumer.assign([where])
        return _poll(consumer, min(count, high - offset))


def _poll(consumer: Consumer, count: int) -> list[Any]:
    messages: list[Any] = []
    deadline = time.monotonic() + TIMEOUT_S
    while len(messages) < count:
        message = consumer.poll(0.5)
        if message is None:
            if time.monotonic() > deadline:
                raise CommandError(f"Kafka sent no record within {TIMEOUT_S:.0f} s.", Exit.KAFKA)
            continue
        error = message.error()
        if error is None:
            messages.append(message)
        elif error.name() == "_PARTITION_EOF":
            break  # the rest are transaction markers, which are no records
        else:
            raise KafkaException(error)
    return messages
