"""The records of a time range, by the broker's append time, over all partitions of the topic."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from confluent_kafka import OFFSET_END, KafkaException, TopicPartition

from fleetmeter_jobs.audit.sources import Record
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.kafka import TIMEOUT_S, log_ends, reader
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.transport.binary_mode import is_binary_mode, to_structured

_BATCH: Final = 10_000

Span = Mapping[int, tuple[int, int]]
"""By partition, the first offset and the offset after the last."""


def span_of(settings: Settings, time_from: datetime, time_to: datetime) -> Span:
    """The offsets whose records were appended in the time range. Raises CommandError."""
    ends = {partition: found for (_, partition), found in log_ends(settings, [settings.topic]).items()}
    if not ends:
        raise CommandError(f"Kafka has no topic {settings.topic}.", Exit.KAFKA)
    with reader(settings) as consumer:

        def offsets_at(moment: datetime) -> dict[int, int]:
            asked = [TopicPartition(settings.topic, number, int(moment.timestamp() * 1000)) for number in ends]
            found = consumer.offsets_for_times(asked, timeout=TIMEOUT_S)
            if failed := next((one for one in found if one.error is not None), None):
                # What stands there as its offset is then the time that was asked for.
                raise KafkaException(failed.error)
            return {
                one.partition: ends[one.partition].end if one.offset in {OFFSET_END, -1} else one.offset
                for one in found
            }

        starts, nexts = offsets_at(time_from), offsets_at(time_to)
    return {number: (starts[number], max(starts[number], nexts[number])) for number in ends}


def read_span(settings: Settings, span: Span) -> Iterator[Record]:
    """Every committed record in the span, binary mode rewritten to structured. Raises CommandError if Kafka stops
    sending."""
    wanted = {number: bounds for number, bounds in span.items() if bounds[0] < bounds[1]}
    with reader(settings, isolation="read_committed") as consumer:
        consumer.assign([TopicPartition(settings.topic, number, start) for number, (start, _) in wanted.items()])
        deadline = time.monotonic() + TIMEOUT_S
        while wanted:
            messages = consumer.consume(_BATCH, timeout=0.5)
            if not messages and time.monotonic() > deadline:
                raise CommandError(f"Kafka sent no record within {TIMEOUT_S:.0f} s.", Exit.KAFKA)
            for message in messages:
                deadline = time.monotonic() + TIMEOUT_S
                number, error = message.partition(), message.error()
                if error is not None and error.name() != "_PARTITION_EOF":
                    raise KafkaException(error)
                if number in wanted and (error is not None or message.offset() >= wanted[number][1] - 1):
                    end = wanted.pop(number)[1]
                    consumer.incremental_unassign([TopicPartition(settings.topic, number)])
                    if error is not None or message.offset() >= end:
                        continue
                elif number not in wanted:
                    continue
                yield Record(number, message.offset(), _structured(message))


def _structured(message: Any) -> bytes | None:
    headers = message.headers() or []
    value: bytes | None = message.value()
    return to_structured(headers, value) if is_binary_mode(headers) else value
