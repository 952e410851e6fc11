"""Sending refused events again, to a Kafka that does not take all of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from fleetmeter_jobs.cli import quarantine_resend
from fleetmeter_jobs.cli.quarantine_resend import Parcel, resend
from fleetmeter_jobs.cli.quarantine_rows import QuarantineRow
from fleetmeter_jobs.settings import Settings

PARTITIONS = 4


class Producer:
    """Knows the topic's partitions, as librdkafka does once it has asked; delivers the rest when flushed."""

    def __init__(self, _options: dict[str, Any]) -> None:
        self._waiting: list[Callable[[Any, Any], None]] = []

    def produce(self, _topic: str, _value: bytes, *, partition: int, on_delivery: Any, **_options: Any) -> None:
        if partition >= PARTITIONS:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        self._waiting.append(on_delivery)

    def poll(self, _timeout_s: float) -> None:
        pass

    def flush(self, _timeout_s: float) -> int:
        for offset, told in enumerate(self._waiting):
            told(None, SimpleNamespace(offset=lambda offset=offset: offset))
        self._waiting.clear()
        return 0


def parcel(partition: int) -> Parcel:
    row = QuarantineRow(
        "usage", partition, 0, 5, 0, datetime(2026, 11, 20, tzinfo=UTC), "negative", "", "", b"{}", 2, None
    )
    return Parcel(row, "urn:test", b"{}")


def test_an_event_whose_partition_is_gone_keeps_no_other_from_being_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The topic was made anew with fewer partitions. Those that were sent must be known, to be marked."""
    monkeypatch.setattr(quarantine_resend, "Producer", Producer)
    monkeypatch.setattr(quarantine_resend, "require_kafka", lambda _settings: None)
    parcels = [parcel(1), parcel(7), parcel(3)]
    assert resend(Settings.load(), parcels) == [parcels[0], parcels[2]]
    assert "7/5/0: Kafka does not take it: Local: Unknown partition" in capsys.readouterr().err
