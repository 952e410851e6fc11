"""Named queries over facts, positions and quarantine, on rows put in by hand, with answers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fleetmeter_sql import BadParameterError

pytestmark = pytest.mark.clickhouse

Usage = Callable[..., None]
Insert = Callable[[str, list[dict[str, Any]]], None]
Ask = Callable[..., list[dict[str, Any]]]
SPAN = {"from": "2026-11-20", "to": "2026-11-21"}


def marker(partition: int, watermark: str, **columns: Any) -> dict[str, Any]:
    tail = {"next_offset": 5}
    counts = {
        "commits": 1,
        "records": 5,
        "events_in": 5,
        "accepted": 4,
        "duplicates": 1,
        "next_offset": 5,
        "tail": tail,
    }
    where = {"row_kind": "marker", "topic": "t", "partition": partition, "table_partition": 202611}
    return {**where, **counts, "watermark": watermark, "committed_at": "2026-11-20 10:00:00.5", **columns}


def test_seats(insert: Insert, ask: Ask) -> None:
    seat = {"account_id": "acme", "event_type": "device_report", "kind": "seat", "source": "app", "seat_kind": "user"}
    period = {"period_start": "2026-11-20 00:00:00", "period_end": "2026-11-21 00:00:00"}
    insert(
        "usage_facts",
        [
            {**seat, **period, "event_id": "1", "user": "ann", "installation": "laptop"},
            {**seat, **period, "event_id": "2", "user": "ann", "installation": "phone"},
            {**seat, **period, "event_id": "3", "user": "bob", "installation": "tablet"},
            {**seat, **period, "event_id": "4", "seat_kind": "device", "installation": "kiosk"},
            # Touching the span is not overlapping it.
            {**seat, "event_id": "5", "user": "c", "period_start": "2026-11-19", "period_end": "2026-11-20 00:00:00"},
            {**seat, "event_id": "6", "user": "d", "period_start": "2026-11-21 00:00:00", "period_end": "2026-11-22"},
            # Reaching into it is.
            {**seat, "event_id": "7", "user": "e", "period_start": "2026-11-01", "period_end": "2026-11-20 00:00:01"},
            {**seat, **period, "event_id": "8", "kind": "deploy", "user": "f", "installation": "g"},
            {**seat, **period, "event_id": "9", "account_id": "globex", "user": "ann"},
        ],
    )
    insert("usage_facts", [{**seat, **period, "event_id": "4", "seat_kind": "device", "installation": "kiosk"}])
    assert ask("seats", **SPAN) == [
        {"account_id": "acme", "user_seats": 3, "device_seats": 1},
        {"account_id": "globex", "user_seats": 1, "device_seats": 0},
    ]


def test_deployments(insert: Insert, ask: Ask) -> None:
    def fact(number: int, kind: str, installation: str, time: str, **columns: Any) -> dict[str, Any]:
        common = {"account_id": "acme", "event_type": "device_report", "source": "app", "model": "phi-4"}
        return {**common, "event_id": str(number), "kind": kind, "installation": installation, "time": time, **columns}

    insert(
        "usage_facts",
        [
            fact(1, "download", "a", "2026-11-20 01:00:00", model_version="1"),
            fact(2, "download", "a", "2026-11-20 02:00:00", model_version="1"),  # repeated
            fact(3, "deploy", "a", "2026-11-20 03:00:00", model_version="1"),
            fact(4, "download", "a", "2026-11-20 04:00:00", model_version="2"),
            fact(5, "upgrade", "a", "2026-11-20 05:00:00", model_version="2"),
            fact(6, "deploy", "b", "2026-10-01 00:00:00"),  # long before the span, and still there
            fact(7, "deploy", "c", "2026-11-19 00:00:00"),
            fact(8, "remove", "c", "2026-11-20 06:00:00"),
            fact(9, "deploy", "d", "2026-11-20 06:00:00"),
            fact(10, "remove", "d", "2026-11-21 00:00:00"),  # after the span: still there at its end
            fact(11, "deploy", "e", "2026-11-01 00:00:00"),
            fact(12, "remove", "e", "2026-11-02 00:00:00"),  # gone before the span
            fact(13, "deploy", "z", "2026-11-01 00:00:00", model="gone before"),
            fact(14, "remove", "z", "2026-11-02 00:00:00", model="gone before"),
            fact(15, "download", "f", "2026-11-20 00:00:00", account_id="globex"),
        ],
    )
    assert ask("deployments", **SPAN) == [
        {
            "account_id": "acme",
            "model": "phi-4",
            "downloads": 2,  # versions 1 and 2 on a
            "deployed": 3,  # a, b, d
            "upgraded_installations": 1,
            "removed": 1,  # c
        },
        {
            "account_id": "globex",
            "model": "phi-4",
            "downloads": 1,
            "deployed": 0,
            "upgraded_installations": 0,
            "removed": 0,
        },
    ]


def test_freshness(insert: Insert, ask: Ask) -> None:
    insert("ledger", [marker(0, "2026-11-20 09:59:30"), marker(1, "2026-11-20 09:00:00", records=6)])
    insert("watermarks", [{"topic": "t", "partition": 1, "next_offset": 5, "watermark": "2026-11-20 10:00:50"}])
    keys = ("partition", "next_offset", "events_counted", "duplicates", "books_ok", "since_commit_s", "behind_s")
    rows = ask("freshness", at="2026-11-20T10:01:00Z")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (0, 5, 4, 1, True, 60, 90),
        (1, 5, 4, 1, False, 60, 10),
    ]


def test_completeness(usage: Usage, insert: Insert, ask: Ask) -> None:
    usage(
        {"minute": "2026-11-20 09:59:00", "requests": 3},
        {"minute": "2026-11-20 10:00:00", "fallbacks": 2, "event_type": "fallback"},
        {"minute": "2026-11-20 07:59:00", "requests": 50},  # before the first row
        {"minute": "2026-11-20 12:00:00", "requests": 50},  # after the last row
    )
    insert("ledger", [marker(0, "2026-11-20 11:02:00"), marker(1, "2026-11-20 10:02:00")])
    insert("ledger", [marker(10, "2026-11-20 10:01:59.999999")])
    rows = ask("completeness", **{"from": "2026-11-20T08:30:00Z", "to": "2026-11-20T12:00:00Z"})
    found = [(row["bucket"].hour, row["events"], list(row["waits_for"]), row["complete"]) for row in rows]
    assert found == [
        (8, 0, [], True),
        (9, 3, ["t-10"], False),  # 10:00 + 120 s is one microsecond away
        (10, 2, ["t-1", "t-10"], False),
        (11, 0, ["t-0", "t-1", "t-10"], False),
    ]
    (row,) = ask("completeness", lateness_s=119, **{"from": "2026-11-20T09:00:00Z", "to": "2026-11-20T09:00:01Z"})
    assert (row["complete"], row["events"]) == (True, 3)
    minutes = ask("completeness", bucket_s=60, **{"from": "2026-11-20T09:58:00Z", "to": "2026-11-20T10:01:00Z"})
    assert [(row["bucket"].minute, row["events"], row["complete"]) for row in minutes] == [
        (58, 0, True),  # 09:59 + 120 s
        (59, 3, False),
        (0, 2, False),
    ]


def test_nothing_is_complete_before_anything_was_read(ask: Ask) -> None:
    rows = ask("completeness", **SPAN)
    assert len(rows) == 24
    assert not any(row["complete"] for row in rows)
    with pytest.raises(BadParameterError, match="nothing lies between"):
        ask("completeness", **{"from": "2026-11-21", "to": "2026-11-20"})


def test_quarantine_by_reason(insert: Insert, ask: Ask) -> None:
    def held(offset: int, reason: str, time: str, **columns: Any) -> dict[str, Any]:
        return {"topic": "t", "partition": 2, "offset": offset, "reason": reason, "append_time": time, **columns}

    insert(
        "quarantine",
        [
            held(1, "negative", "2026-11-20 01:00:00", field="input_tokens", sentence="old"),
            held(2, "negative", "2026-11-20 02:00:00", field="input_tokens", sentence="first of two"),
            held(2, "negative", "2026-11-20 02:00:00", field="input_tokens", sentence="newest", event_index=1),
            held(3, "negative", "2026-11-20 03:00:00", field="output_tokens", sentence="another field"),
            held(4, "too_old", "2026-11-20 04:00:00", topic="u"),
            held(5, "too_old", "2026-11-21 00:00:00"),
        ],
    )
    again = {"replayed_at": "2026-11-21 10:00:00", "version": 1795255200000, "field": "input_tokens", "sentence": "old"}
    insert("quarantine", [held(1, "negative", "2026-11-20 01:00:00", **again)])
    # A log that was closed at offset 7 and went on: what a worker had judged beyond it has been judged again since.
    spans = [(0, 0, 7), (1, 7, 20)]
    insert(
        "ledger",
        [
            marker(3, "2026-11-20 00:00:00", epoch=epoch, first_offset=first, next_offset=end)
            for epoch, first, end in spans
        ],
    )
    insert("quarantine", [held(7, "negative", "2026-11-20 03:00:00", partition=3, epoch=0, field="output_tokens")])
    rows = ask("quarantine_by_reason", **SPAN)
    assert [(row["reason"], row["field"], row["events"], row["replayed"]) for row in rows] == [
        ("negative", "input_tokens", 3, 1),
        ("negative", "output_tokens", 1, 0),
        ("too_old", "", 1, 0),
    ]
    assert (rows[0]["example"], rows[0]["example_at"]) == ("newest", "t-2 offset 2 event 1")
    first, last = (rows[0][key].replace(tzinfo=UTC) for key in ("first_arrival", "last_arrival"))
    assert (first, last) == (datetime(2026, 11, 20, 1, tzinfo=UTC), datetime(2026, 11, 20, 2, tzinfo=UTC))
    assert [row["reason"] for row in ask("quarantine_by_reason", topic="u", **SPAN)] == ["too_old"]
