"""Sources that keep sending, each to the partition that its key has now; what they send again may go elsewhere."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Self

from confluent_kafka import Consumer, Producer, TopicPartition
from fleetmeter_producers.kafka import ONE_AT_A_TIME

from fleetmeter_doubles.worker_processes import Pipeline

REFRESH_S = 2.0
"""How long the slower of two producers may not know of new partitions."""
_ULID = "01JZ8Q4Y6N3V5T7W9X1A2B{number:04d}"


class MovingLoad(threading.Thread):
    """Sends new events and, as often, old ones again: through either of two producers, which learn of partitions at
    different times. Every other source has sequenced ids. Used in a `with` block; what was sent stands in the pipeline.
    """

    def __init__(self, pipeline: Pipeline, sources: int = 16, events_per_s: int = 60) -> None:
        super().__init__(name="moving load", daemon=True)
        self.over = threading.Event()
        self._pipeline, self._sources, self._events_per_s = pipeline, sources, events_per_s
        self._error: Exception | None = None
        self._random = random.Random(7)
        self._events: defaultdict[int, list[bytes]] = defaultdict(list)
        self._producers = [_producer(pipeline, refresh_s) for refresh_s in (0.2, REFRESH_S)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join(60)
        assert not self.is_alive(), "the load did not end"
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        try:
            began, sent = time.monotonic(), 0
            while not self.over.wait(0.02):
                while sent < (time.monotonic() - began) * self._events_per_s:
                    self._send_new()
                    self._send_again()
                    sent += 2
            assert all(producer.flush(30) == 0 for producer in self._producers)
        except Exception as error:  # noqa: BLE001  (raised again by whoever waits for the thread)
            self._error = error

    def resend_all(self) -> int:
        """Everything once more, to where sources are now; returns how many."""
        for source, events in self._events.items():
            for event in events:
                self._producers[0].produce(self._pipeline.topic, event, key=f"source-{source}")
            self._producers[0].poll(0)
        assert self._producers[0].flush(30) == 0
        return sum(map(len, self._events.values()))

    def _send_new(self) -> None:
        source = self._random.randrange(self._sources)
        number = len(self._events[source])
        event_id = f"{_ULID.format(number=source)}-{number}" if source % 2 else f"e-{number}"
        account, tokens = f"account-{source}", len(self._pipeline.sent) % 1000
        event = {
            "specversion": "1.0",
            "type": "fleetmeter.generation.v1",
            "source": f"source-{source}",
            "id": event_id,
            "subject": account,
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "data": {"model": "mercury-coder-mini", "generation_mode": "diffusion", "input_tokens": tokens},
        }
        self._events[source].append(json.dumps(event).encode())
        self._pipeline.sent.append((account, event_id, tokens))
        self._send(source, self._events[source][-1])

    def _send_again(self) -> None:
        source = self._random.choice(sorted(self._events))
        self._send(source, self._random.choice(self._events[source][-200:]))

    def _send(self, source: int, event: bytes) -> None:
        producer = self._random.choice(self._producers)
        producer.produce(self._pipeline.topic, event, key=f"source-{source}")
        producer.poll(0)


def _producer(pipeline: Pipeline, refresh_s: float) -> Producer:
    return Producer(
        {
            "bootstrap.servers": pipeline.kafka.bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "enable.idempotence": True,
            **ONE_AT_A_TIME,
            "topic.metadata.refresh.interval.ms": int(refresh_s * 1000),
        }
    )


def copies_elsewhere(pipeline: Pipeline, partitions: int) -> int:
    """How many events lie in more than one partition of the topic."""
    consumer = Consumer(
        {"bootstrap.servers": pipeline.kafka.bootstrap, "group.id": "copies", "enable.auto.commit": False}
    )
    found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    try:
        for partition in range(partitions):
            start, end = consumer.get_watermark_offsets(TopicPartition(pipeline.topic, partition), timeout=10)
            consumer.assign([TopicPartition(pipeline.topic, partition, start)])
            while start < end:
                for message in consumer.consume(1000, timeout=10):
                    assert message.error() is None, message.error()
                    event = json.loads(message.value())
                    found[event["source"], event["id"]].add(partition)
                    start = message.offset() + 1
    finally:
        consumer.close()
    return sum(len(where) > 1 for where in found.values())
