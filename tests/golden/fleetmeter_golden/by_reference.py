"""The export that an input must give, by the reference: plain Python that shares no code with what it checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fleetmeter_reference.aggregator import DAY_US, Flush, Ingested, Limits, Reference
from fleetmeter_reference.json_text import Number, Object
from fleetmeter_reference.wire import events_of
from fleetmeter_schemas.native_spec import ledger_dimensions

from fleetmeter_golden.canonical import Export, canonical, payload_value, time_text
from fleetmeter_golden.recording import END, EVENT_LIMIT_BYTES, Sent

LIMITS = Limits(event_limit_bytes=EVENT_LIMIT_BYTES)


def expected(records: list[Sent]) -> Export:
    """What records that are appended right after the recorded day must give."""
    reference = Reference(LIMITS)
    append_time_us = int(END.timestamp()) * 1_000_000
    values = [sent.value for sent in records]
    answer = reference.ingest(values, 0, append_time_us)
    flush = reference.flush()
    return canonical(
        {
            "rollups": _rollups(flush),
            "quarantine": _quarantine(answer, values),
            "facts": _facts(answer),
            "subjects": _subjects(flush),
            "completeness": _completeness(flush),
        }
    )


def _rollups(flush: Flush) -> Iterator[dict[str, Any]]:
    for (event_type, account, minute, *dimensions), group in flush.usage.items():
        row: dict[str, Any] = {
            "event_type": event_type,
            "account_id": account,
            "minute": time_text(minute * 1_000_000, 0),
        }
        row |= dict(zip(ledger_dimensions(), dimensions, strict=True)) | group.sums
        yield {name: value for name, value in row.items() if value not in ("", 0)}


def _quarantine(answer: Ingested, values: list[bytes | None]) -> Iterator[dict[str, Any]]:
    for refused in answer.rejections:
        payload = refused.payload or _arrow_row(values[refused.record], refused.event)
        yield {"reason": refused.code, "field": refused.field, "event": payload_value(payload, 0)}


def _arrow_row(value: bytes | None, index: int) -> bytes:
    """An Arrow row as a structured CloudEvent, which is what quarantine keeps of it; empty if there is none."""
    rows = [one.event for one in events_of(value, LIMITS.record_limit_bytes, EVENT_LIMIT_BYTES) if one.index == index]
    return b"" if rows == [None] else json.dumps(_plain(rows[0])).encode()


def _plain(value: Any) -> Any:
    """A decoded event in Python's own types, without what is null."""
    match value:
        case Object():
            return {name: _plain(member) for name, member in value.members if member is not None}
        case Number():
            return int(value.literal)
        case _:
            return value


def _facts(answer: Ingested) -> Iterator[dict[str, Any]]:
    for fact in answer.facts:
        read = fact.read
        yield {
            "source": read.source,
            "event_id": read.id,
            "account_id": read.subject,
            "event_type": read.model.SHORT,
            "time": time_text(read.time_us, 0),
        }


def _subjects(flush: Flush) -> Iterator[dict[str, Any]]:
    for (account, day, kind, subject), (first, last) in flush.subjects.items():
        yield {
            "account_id": account,
            "day": time_text(day * DAY_US, 0),
            "subject_kind": kind,
            "subject": subject,
            "first_seen": time_text(first, 0),
            "last_seen": time_text(last, 0),
        }


def _completeness(flush: Flush) -> Iterator[dict[str, Any]]:
    counters = flush.counters
    yield {
        "events_in": counters.events_in,
        "accepted": counters.accepted,
        "duplicates": counters.duplicates,
        "rejected": counters.rejected,
        "unknown_fields": counters.unknown_fields,
        "overflowed_labels": counters.overflowed_labels,
        "watermark": time_text(counters.max_event_time_us, 0),
    }
    for hour in {minute // 3600 * 3600 for _, _, minute, *_ in flush.usage}:
        # Nothing is left to come once all of the input is counted, so that no hour waits for anything.
        yield {"hour": time_text(hour * 1_000_000, 0), "complete": True}
