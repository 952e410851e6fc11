"""The topic that usage events come in by: created as exact counting needs it, or checked if it exists."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from fleetmeter_jobs.errors import KafkaUnavailableError
from fleetmeter_jobs.kafka_connection import ConnectionWatch
from fleetmeter_jobs.kafka_topic import countable_topic_id
from fleetmeter_jobs.settings import Settings

RETENTION_DAYS: Final = 7
"""How long raw events stay readable by coordinates; the counts need them only until they are committed."""
ABOVE_RECORD_LIMIT_BYTES: Final = 1024 * 1024
"""A record above the limit has to come in, so that it can be seen in quarantine."""
REQUEST_TIMEOUT_S: Final = 30.0
LEADER_TIMEOUT_S: Final = 30.0


def ensure_topic(settings: Settings, *, retention_days: int = RETENTION_DAYS) -> bool:
    """The topic exists, can be counted exactly, and answers; True if this created it.

    Raises TopicRefusedError if it exists with another clock or is compacted, KafkaUnavailableError,
    KafkaAccessError.
    """
    watch = ConnectionWatch(settings.kafka_access)
    admin = AdminClient(watch.options)
    with watch.explained(admin.poll, f"serve topic {settings.topic}"):
        created = _create(admin, watch, settings, retention_days)
        _wait_for_leaders(admin, settings)
    countable_topic_id(settings.kafka_access, settings.topic)
    return created


def _create(admin: AdminClient, watch: ConnectionWatch, settings: Settings, retention_days: int) -> bool:
    topic = NewTopic(
        settings.topic,
        num_partitions=settings.topic_partitions,
        config={
            # Event times are the producers' claims; retention and the time limits go by the broker's own clock.
            "message.timestamp.type": "LogAppendTime",
            # A compacted log has holes, and a hole can't be told from a loss.
            "cleanup.policy": "delete",
            "retention.ms": str(retention_days * 86_400_000),
            "max.message.bytes": str(settings.record_limit_bytes + ABOVE_RECORD_LIMIT_BYTES),
        },
    )
    future = admin.create_topics([topic], request_timeout=REQUEST_TIMEOUT_S)[settings.topic]
    try:
        watch.answer(future, admin.poll)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    return True


def _wait_for_leaders(admin: AdminClient, settings: Settings) -> None:
    """A broker acknowledges a topic before it can serve it."""
    deadline = time.monotonic() + LEADER_TIMEOUT_S
    while True:
        topic = admin.list_topics(settings.topic, timeout=REQUEST_TIMEOUT_S).topics[settings.topic]
        if topic.error is None and topic.partitions and all(p.leader >= 0 for p in topic.partitions.values()):
            return
        if time.monotonic() > deadline:
            raise KafkaUnavailableError(
                f"Topic {settings.topic} has partitions without a leader after {LEADER_TIMEOUT_S:.0f} s: "
                f"look into the broker's log."
            )
        time.sleep(0.05)
