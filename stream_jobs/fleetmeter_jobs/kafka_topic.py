"""What the topic is, and whether it can be counted exactly as it is configured.

Uses confluent-kafka's admin client: the topic's id needs a newer metadata request than aiokafka sends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from fleetmeter_jobs.errors import (
    KafkaUnavailableError,
    PartitionGrowingError,
    TopicMissingError,
    TopicRefusedError,
)
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.kafka_connection import ConnectionWatch

log = logging.getLogger(__name__)

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic as the brokers describe it."""

    name: str
    topic_id: str
    partitions: int
    cleanup_policy: str
    timestamp_type: str


def describe_topic(access: KafkaAccess, name: str) -> KafkaTopic:
    """Ask the brokers. Raises TopicMissingError, TopicRefusedError (not allowed), KafkaUnavailableError,
    KafkaAccessError. Blocks up to about 20 s."""
    watch = ConnectionWatch(access)
    admin = AdminClient({**watch.options, "client.id": "fleetmeter-describe"})
    with watch.explained(admin.poll, f"describe topic {name}"):
        try:
            asked = admin.describe_topics(TopicCollection([name]), request_timeout=_TIMEOUT_S)
            description: Any = watch.answer(asked[name], admin.poll)
            resource = ConfigResource(ResourceType.TOPIC, name)
            asked = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)
            config: dict[str, Any] = watch.answer(asked[resource], admin.poll)
        except KafkaException as error:
            _raise_for_topic(access.bootstrap, name, error)
            raise
    return KafkaTopic(
        name=name,
        topic_id=str(description.topic_id),
        partitions=len(description.partitions),
        cleanup_policy=config["cleanup.policy"].value,
        timestamp_type=config["message.timestamp.type"].value,
    )


class TopicNow(NamedTuple):
    """What tells whether a topic is still the one that was read."""

    topic_id: str
    partitions: int


class TopicIdentity:
    """What topic there is, over connections that stay open: a millisecond, so that it can be asked before every commit.

    Whatever keeps a connection from being made again, a changed password too, is waited for; `describe_topic` tells
    why. A client that gets no answer is exchanged: librdkafka may forget all brokers while a cluster starts again, and
    never connect any more (confluentinc/librdkafka#5301), and every commit would wait for it for ever.
    """

    def __init__(self, access: KafkaAccess, name: str, connect: Callable[[dict[str, Any]], Any] = AdminClient) -> None:
        self._bootstrap, self._name, self._connect = access.bootstrap, name, connect
        self._options = {**access.librdkafka(), "client.id": "fleetmeter-identity", "log_level": 2}
        self._exchanging = threading.Lock()
        self._admin = connect(self._options)

    def now(self) -> TopicNow:
        """Thread-safe. Raises TopicMissingError, TopicRefusedError (not allowed), KafkaUnavailableError."""
        admin = self._admin
        try:
            asked = admin.describe_topics(TopicCollection([self._name]), request_timeout=_TIMEOUT_S)
            found: Any = asked[self._name].result()
            return TopicNow(str(found.topic_id), len(found.partitions))
        except KafkaException as error:
            _raise_for_topic(self._bootstrap, self._name, error)
            if error.args[0].code() < 0:  # librdkafka's own; a broker's answer proves the connection
                self._exchange(admin)
            raise KafkaUnavailableError(
                f"Kafka at {self._bootstrap} does not describe topic {self._name}: {error.args[0].str()}"
            ) from error

    def _exchange(self, useless: Any) -> None:
        """Partitions ask at the same time and fail together: one of them makes the client for all."""
        with self._exchanging:
            if self._admin is useless:
                log.debug("a new connection asks for the id of topic %s", self._name)
                self._admin = self._connect(self._options)


def refuse_unfit(topic: KafkaTopic, bootstrap: str) -> None:
    """Raise TopicRefusedError, with the command that mends it, if records could vanish or carry a producer's clock."""
    fixes = []
    if topic.cleanup_policy != "delete":
        fixes.append(
            ("cleanup.policy", topic.cleanup_policy, "delete", "compaction removes events before they are counted")
        )
    if topic.timestamp_type != "LogAppendTime":
        why = "limits on late and future events need the broker's clock"
        fixes.append(("message.timestamp.type", topic.timestamp_type, "LogAppendTime", why))
    if fixes:
        reasons = "; ".join(f"{key}={value} ({why})" for key, value, _, why in fixes)
        changes = ",".join(f"{key}={wanted}" for key, _, wanted, _ in fixes)
        raise TopicRefusedError(
            f"topic {topic.name} has {reasons}. Change it with `kafka-configs.sh --bootstrap-server {bootstrap} "
            "--alter "
            f"--entity-type topics --entity-name {topic.name} --add-config {changes}`"
        )


def countable_topic(access: KafkaAccess, name: str) -> KafkaTopic:
    """A topic that may be counted; raises as `describe_topic` and `refuse_unfit`."""
    topic = describe_topic(access, name)
    refuse_unfit(topic, access.bootstrap)
    return topic


def countable_topic_id(access: KafkaAccess, name: str) -> str:
    """The id of a topic that may be counted; raises as `describe_topic` and `refuse_unfit`."""
    return countable_topic(access, name).topic_id


class SeenTopic:
    """The topic as one partition's worker saw it when it began to count, and whether it is the same now."""

    def __init__(self, describe: Callable[[], KafkaTopic], now: Callable[[], TopicNow]) -> None:
        self._describe, self._now = describe, now
        self._partitions = 0

    def topic_id(self) -> str:
        """Look at it, and remember what was seen. Raises as `countable_topic`."""
        topic = self._describe()
        self._partitions = topic.partitions
        return topic.topic_id

    def topic_id_now(self) -> str:
        """Before a commit. Raises PartitionGrowingError where partitions were added since: sources may have moved by
        then, and what was read have been counted in another partition; and as `TopicIdentity.now`."""
        now = self._now()
        if now.partitions > self._partitions:
            raise PartitionGrowingError(
                f"the topic had {self._partitions} partitions when counting began, and has {now.partitions} now; what "
                "was read since the last commit is read again when it is clear what may be counted"
            )
        return now.topic_id


def _raise_for_topic(bootstrap: str, name: str, error: KafkaException) -> None:
    """What the error says of the topic rather than of the connection."""
    cause = error.args[0]
    if cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise TopicMissingError(
            f"topic {name} does not exist on {bootstrap}. Create it with `kafka-topics.sh --bootstrap-server "
            f"{bootstrap} "
            "--create "
            f"--topic {name} --partitions 4 --config message.timestamp.type=LogAppendTime`, or let `fleetmeter up` "
            "do it"
        ) from error
    if cause.code() in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}:
        raise TopicRefusedError(
            f"Kafka at {bootstrap} does not allow this user to describe topic {name}: {cause.str()}"
        ) from error
