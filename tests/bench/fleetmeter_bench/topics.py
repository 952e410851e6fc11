"""Topics full of events, for consumers to be timed on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import Producer
from fleetmeter_jobs.cli.stack.topic import ensure_topic
from fleetmeter_jobs.settings import Settings

from fleetmeter_bench.workload import EVENTS_A_RECORD, Format, records

SEND_TIMEOUT_S: Final = 120.0
_STEP: Final = 100_000


def fill_topic(settings: Settings, format_: Format, events: int) -> int:
    """Create the settings' topic and send it `events` events of a wire format; returns how many records."""
    ensure_topic(settings)
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "message.max.bytes": settings.record_limit_bytes,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 512 * 1024,
            "acks": "all",
        }
    )
    failures: list[str] = []
    sent = 0
    step = max(_STEP, EVENTS_A_RECORD[format_])
    for start in range(0, events, step):
        now_us = time.time_ns() // 1000
        values = records(format_, min(step, events - start), "sequenced", now_us=now_us, start=start)
        sent += _send(producer, settings, values, sent, failures)
    left = producer.flush(SEND_TIMEOUT_S)
    if left or failures:
        raise RuntimeError(f"Kafka did not take {left + len(failures)} of {sent} records: {failures[:1]}")
    return sent


def _send(producer: Producer, settings: Settings, values: Iterable[bytes], first: int, failures: list[str]) -> int:
    count = 0
    for number, value in enumerate(values, first):
        count += 1
        while True:
            try:
                producer.produce(
                    settings.topic,
                    value,
                    partition=number % settings.topic_partitions,
                    on_delivery=lambda error, _message: failures.append(str(error)) if error else None,
                )
                break
            except BufferError:
                producer.poll(0.1)
        if count % 1_000 == 0:
            producer.poll(0)
    return count
