"""A topic that is made, or made again, after its workers have joined their group."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from fleetmeter_local import RunningKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


async def test_a_topic_that_comes_late_is_shared_out_soon(
    kafka: RunningKafka, topic_name: str, fleet: Any, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Deleted and made again, it is missing for a moment, in which the group may share out nothing. Nobody tells a
    member when it is back: it has to look, and not only every five minutes."""
    toy = fleet(topic_name, recheck_interval_s=0.5)
    await toy.start_worker()
    await eventually(lambda: f"no topic {topic_name} yet" in caplog.text)
    topic = NewTopic(topic_name, 1, 1, config={"message.timestamp.type": "LogAppendTime"})
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([topic])[topic_name].result(30)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(3):
        producer.produce(topic_name, b"%d" % number)
    producer.flush(30)
    await eventually(lambda: toy.committed() == 3)
