"""What the topic is, and whether it can be counted exactly as it is configured.

Uses confluent-kafka's admin client: the topic's id needs a newer metadata request than aiokafka sends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from fleetmeter_jobs.errors import KafkaUnavailableError, TopicMissingError, TopicRefusedError
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


class TopicIdentity:
    """The topic's id, over connections that stay open: a millisecond, so that it can be asked before every commit.

    Whatever keeps a connection from being made again, a changed password too, is waited for; `describe_topic` tells
    why. A client that gets no answer is exchanged: librdkafka may forget all brokers while a cluster starts again, and
    never connect any more (confluentinc/librdkafka#5301), and every commit would wait for it for ever.
    """

    def __init__(self, access: KafkaAccess, name: str, connect: Callable[[dict[str, Any]], Any] = AdminClient) -> None:
        self._bootstrap, self._name, self._connect = access.bootstrap, name, connect
        self._options = {**access.librdkafka(), "client.id": "fleetmeter-identity", "log_level": 2}
        self._exchanging = threading.Lock()
        self._admin = connect(self._options)

    def now(self) -> str:
        """Thread-safe. Raises TopicMissingError, TopicRefusedError (not allowed), KafkaUnavailableError."""
        admin = self._admin
        try:
            asked = admin.describe_topics(TopicCollection([self._name]), request_timeout=_TIMEOUT_S)
            return str(asked[self._name].result().topic_id)
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
