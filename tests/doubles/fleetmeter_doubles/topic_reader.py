"""What a topic holds, to the last record that was acknowledged."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, TopicPartition

_LIMIT_S = 60.0


def read_topic(bootstrap: str, topic: str, partitions: int) -> list[list[Any]]:
    """The confluent_kafka Messages of each partition, from its first offset to the end that it had at the call."""
    # Kafka's errors must not be taken for the end, and a partition whose leader moves not be read from there on.
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "topic-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    found: list[list[Any]] = []
    try:
        for number in range(partitions):
            start, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_LIMIT_S)
            messages: list[Any] = []
            consumer.assign([TopicPartition(topic, number, start)])
            while (not messages and start < end) or (messages and messages[-1].offset() < end - 1):
                message = consumer.poll(_LIMIT_S)
                assert message is not None, f"{topic}/{number} has {end - start} records; {len(messages)} could be read"
                assert message.error() is None, message.error()
                messages.append(message)
            found.append(messages)
    finally:
        consumer.close()
    return found
