"""Sending refused events again: into the partition that they came from, where their duplicates would be found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException, Producer
from fleetmeter_producers.kafka import ONE_AT_A_TIME, failure_of
from fleetmeter_producers.settings import ClientSettings

from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.kafka import read_records, require_kafka
from fleetmeter_jobs.cli.output import notes, progress
from fleetmeter_jobs.cli.quarantine_mend import StillRefusedError
from fleetmeter_jobs.cli.quarantine_rows import QuarantineRow
from fleetmeter_jobs.settings import Settings

DELIVERY_TIMEOUT_S: Final = 60.0
_FLUSH_SLICE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Parcel:
    """A row, the source that becomes the record's key, and the bytes to send."""

    row: QuarantineRow
    source: str
    payload: bytes


def whole_payload(settings: Settings, row: QuarantineRow) -> bytes:
    """The event's own bytes; where the table has only their beginning, from Kafka, while retention keeps the record.

    Raises StillRefusedError if they can't be had.
    """
    if row.is_whole:
        return row.payload
    try:
        (message,) = read_records(settings, row.topic, row.partition, row.offset)
    except CommandError as error:
        raise StillRefusedError(f"quarantine holds only the beginning of the payload. {error}") from error
    value: bytes = message.value() or b""
    if len(value) != row.payload_bytes:
        raise StillRefusedError(
            "quarantine holds only the beginning of this event, and its record holds others too: "
            f"take it out of `fleetmeter events show {row.partition}/{row.offset}` and use --edit"
        )
    return value


def resend(settings: Settings, parcels: Sequence[Parcel]) -> list[Parcel]:
    """Sends with acks=all and idempotence; returns what Kafka acknowledged within DELIVERY_TIMEOUT_S. What it does not
    take (a partition that is no more, say) is told, and keeps no other from being sent. Raises as `require_kafka`."""
    if not parcels:
        return []
    require_kafka(settings)
    access = settings.kafka_access
    client = ClientSettings(delivery_timeout_s=DELIVERY_TIMEOUT_S, kafka=access.librdkafka_security())
    config = client.librdkafka(access.bootstrap)
    producer = Producer({**config, **ONE_AT_A_TIME, "message.max.bytes": settings.record_limit_bytes, "log_level": 2})
    acknowledged: list[Parcel] = []

    def remember(parcel: Parcel) -> Any:
        return lambda error, message: acknowledged.append(parcel) if failure_of(error, message) is None else None

    with progress() as display:
        task = display.add_task("Sending", total=len(parcels), detail="")
        for parcel in parcels:
            try:
                _produce(producer, parcel, remember(parcel))
            except KafkaException as error:
                notes.print(f"{parcel.row.coordinates}: Kafka does not take it: {error.args[0].str()}", style="red")
            display.update(task, completed=len(acknowledged))
        while producer.flush(_FLUSH_SLICE_S):  # delivery_timeout_s ends this in any case
            display.update(task, completed=len(acknowledged))
    return acknowledged


def _produce(producer: Any, parcel: Parcel, on_delivery: Any) -> None:
    while True:
        try:
            producer.produce(
                parcel.row.topic,
                parcel.payload,
                key=parcel.source.encode(),
                partition=parcel.row.partition,
                on_delivery=on_delivery,
            )
        except BufferError:
            producer.poll(_FLUSH_SLICE_S)
        else:
            producer.poll(0)
            return
