"""What Kafka's log holds, read with another client library than the workers', and judged by what was meant."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from fleetmeter_jobs.reconcile import LogEnds
from fleetmeter_producers.simulator.planned import Broken, Planned, Record

from fleetmeter_chaos.cargo import Cargo

_LIMIT_S = 30.0


@dataclass
class Log:
    """One partition: its records in order (offset, record, append time in ms), and where it ends."""

    ends: LogEnds
    records: list[tuple[int, Record, int]] = field(default_factory=list)

    @property
    def good(self) -> Counter[int]:
        """How often each good event is in it, by number."""
        return Counter(item.number for _, one, _ in self.records for item in one.items if isinstance(item, Planned))

    @property
    def broken(self) -> Counter[int]:
        """How many events must be refused at each offset."""
        found = {offset: sum(isinstance(item, Broken) for item in one.items) for offset, one, _ in self.records}
        return Counter({offset: count for offset, count in found.items() if count})


class LogReader:
    """Reads whole topics, committed records only. One for many topics: connecting takes longer than reading."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer = self._connected()

    def forget(self) -> None:
        """A topic was made again: what a client knows of the old one (leader epochs) keeps it from the new one."""
        self._consumer.close()
        self._consumer = self._connected()

    def _connected(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "chaos-log-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "reconnect.backoff.max.ms": 200,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )

    def ends(self, topic: str, partitions: int) -> dict[tuple[str, int], LogEnds]:
        """First and next offset of every partition. Raises KafkaException while the broker is away."""
        return {
            (topic, number): LogEnds(
                *self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_LIMIT_S)
            )
            for number in range(partitions)
        }

    def read(self, topic: str, partitions: int, cargo: Cargo) -> dict[int, Log]:
        """Every partition's log. AssertionError for a record that nobody sent."""
        logs = {number: Log(ends) for (_, number), ends in self.ends(topic, partitions).items()}
        self._consumer.assign([TopicPartition(topic, number, log.ends.start) for number, log in logs.items()])
        reading, deadline = set(logs), time.monotonic() + _LIMIT_S
        while reading:
            assert time.monotonic() < deadline, f"partitions {reading} can't be read to their ends"
            for message in self._consumer.consume(500, 0.1):
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    reading.discard(message.partition())
                    continue
                value = message.value()
                assert value in cargo.by_value, f"{message.partition()}@{message.offset()} holds what nobody sent"
                log = logs[message.partition()]
                log.records.append((message.offset(), cargo.by_value[value], message.timestamp()[1]))
        self._consumer.unassign()
        return logs

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
