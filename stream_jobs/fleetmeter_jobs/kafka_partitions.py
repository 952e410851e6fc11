"""Kafka's side of adding partitions (see `growing`), with confluent-kafka's admin client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, OffsetSpec

from fleetmeter_jobs.errors import TopicRefusedError
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.kafka_connection import ConnectionWatch
from fleetmeter_jobs.kafka_topic import KafkaTopic, countable_topic

_TIMEOUT_S = 15.0
_REFUSALS = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}


@dataclass(frozen=True, slots=True)
class TopicPartitions:
    """One topic's partitions. All calls block, each up to about 20 s, and raise KafkaUnavailableError, KafkaAccessError
    and TopicRefusedError."""

    access: KafkaAccess
    topic: str

    def describe(self) -> KafkaTopic:
        """The topic now, if it may be counted. Raises TopicMissingError too."""
        return countable_topic(self.access, self.topic)

    def add_partitions(self, total: int) -> None:
        """Make partitions until there are `total`; returns when the brokers have them. After KafkaUnavailableError they
        may have them all the same."""
        watch = ConnectionWatch(self.access)
        admin = self._admin(watch)
        with watch.explained(admin.poll, f"make {total} partitions of topic {self.topic}"):
            made = admin.create_partitions(
                [NewPartitions(self.topic, total)], request_timeout=_TIMEOUT_S, operation_timeout=_TIMEOUT_S
            )
            try:
                watch.answer(made[self.topic], admin.poll)
            except KafkaException as error:
                if error.args[0].code() in _REFUSALS:
                    raise TopicRefusedError(
                        f"Kafka at {self.access.bootstrap} does not allow this user to add partitions to topic "
                        f"{self.topic}: {error.args[0].str()}. It needs the right to alter the topic"
                    ) from error
                raise

    def log_bounds(self) -> Mapping[int, tuple[int, int]]:
        """By partition, the log's first offset and the one after its last record, be that part of an open transaction
        or not."""
        places = [TopicPartition(self.topic, number) for number in range(self.describe().partitions)]
        starts, ends = (self._offsets(places, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        return {number: (starts[number], ends[number]) for number in starts}

    def _offsets(self, places: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        watch = ConnectionWatch(self.access)
        admin = self._admin(watch)
        with watch.explained(admin.poll, f"say where the logs of topic {self.topic} begin and end"):
            asked = admin.list_offsets(
                dict.fromkeys(places, spec), isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S
            )
            found: dict[int, Any] = {place.partition: watch.answer(one, admin.poll) for place, one in asked.items()}
        return {number: int(one.offset) for number, one in found.items()}

    def _admin(self, watch: ConnectionWatch) -> AdminClient:
        return AdminClient({**watch.options, "client.id": "fleetmeter-grow"})
