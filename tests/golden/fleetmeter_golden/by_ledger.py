"""The export of a run: the queries that people use, on the views that people see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from fleetmeter_jobs.usage import DIMENSIONS, usage

from fleetmeter_golden.canonical import Export, canonical, payload_value, time_text

_QUARANTINE: Final = "SELECT reason, field, payload, payload_bytes FROM quarantine FINAL"
_FACTS: Final = " UNION ALL ".join(
    f"SELECT source, event_id, account_id, event_type, toUnixTimestamp64Micro(time) FROM {table} FINAL"
    for table in ("usage_facts", "usage_estimates", "usage_adjustments")
)
_SUBJECTS: Final = (
    "SELECT account_id, toUInt32(day), subject_kind, subject, toUnixTimestamp64Micro(min(first_seen)), "
    "toUnixTimestamp64Micro(max(last_seen)) FROM usage_subjects GROUP BY account_id, day, subject_kind, subject"
)
_COUNTS: Final = ("events_in", "accepted", "duplicates", "rejected", "unknown_fields", "overflowed_labels")
_POSITIONS: Final = (
    f"SELECT {', '.join(f'sum({name})' for name in _COUNTS)}, toUnixTimestamp64Micro(max(watermark)), "
    "min(offsets_ok AND events_ok) FROM ingest_positions"
)
_HOURS: Final = (
    "SELECT DISTINCT toUInt32(toStartOfHour(minute)) AS hour, "
    "(SELECT min(topic_watermark) FROM usage_completeness) >= toDateTime(hour, 'UTC') + INTERVAL 1 HOUR "
    "FROM usage_minutes"
)


def exported(client: Client, days: int) -> Export:
    """Everything in a database that holds one run, whose input was moved by so many days."""
    return canonical(
        {
            "rollups": _rollups(client, days),
            "quarantine": _quarantine(client, days),
            "facts": _facts(client, days),
            "subjects": _subjects(client, days),
            "completeness": _completeness(client, days),
        }
    )


def _rollups(client: Client, days: int) -> Iterator[dict[str, Any]]:
    for row in usage(client, ("minute", *DIMENSIONS)):
        minute: datetime = row.pop("minute")
        row["minute"] = time_text(int(minute.timestamp()) * 1_000_000, days)
        yield {name: value for name, value in row.items() if value not in ("", 0)}


def _quarantine(client: Client, days: int) -> Iterator[dict[str, Any]]:
    for reason, field, payload, payload_bytes in client.query(
        _QUARANTINE, column_formats={"payload": "bytes"}
    ).result_rows:
        assert len(payload) == payload_bytes, "the run's settings keep whole payloads"
        yield {"reason": reason, "field": field, "event": payload_value(payload, days)}


def _facts(client: Client, days: int) -> Iterator[dict[str, Any]]:
    for source, event_id, account, event_type, time_us in client.query(_FACTS).result_rows:
        yield {
            "source": source,
            "event_id": event_id,
            "account_id": account,
            "event_type": event_type,
            "time": time_text(time_us, days),
        }


def _subjects(client: Client, days: int) -> Iterator[dict[str, Any]]:
    for account, day, kind, subject, first_us, last_us in client.query(_SUBJECTS).result_rows:
        yield {
            "account_id": account,
            "day": time_text(day * 86_400_000_000, days),
            "subject_kind": kind,
            "subject": subject,
            "first_seen": time_text(first_us, days),
            "last_seen": time_text(last_us, days),
        }


def _completeness(client: Client, days: int) -> Iterator[dict[str, Any]]:
    ((*counts, watermark_us, books_ok),) = client.query(_POSITIONS).result_rows
    assert books_ok, "offsets or events of a partition are not all accounted for"
    yield dict(zip(_COUNTS, counts, strict=True)) | {"watermark": time_text(watermark_us, days)}
    for hour, complete in client.query(_HOURS).result_rows:
        yield {"hour": time_text(hour * 1_000_000, days), "complete": bool(complete)}
