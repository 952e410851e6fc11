"""What people may write for a parameter, and what ClickHouse is sent."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from fleetmeter_sql import BadParameterError, Parameter

NOW = datetime(2026, 11, 22, 13, 45, 30, 999_999, tzinfo=UTC)
CEST = timezone(timedelta(hours=2))


def read(kind: str, value: object) -> str:
    return Parameter("p", kind, None, "what it is").read(value, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("String", "", ""),
        ("String", "it's {x} \\ \t", "it's {x} \\ \t"),
        ("String", 7, "7"),
        ("UInt32", "0", "0"),
        ("UInt32", 4294967295, "4294967295"),
        ("UInt32", "007", "7"),
        ("Date", "2024-02-29", "2024-02-29"),
        ("Date", date(2026, 1, 2), "2026-01-02"),
        ("Date", datetime(2026, 1, 2, 1, tzinfo=CEST), "2026-01-01"),
        ("Date", "now", "2026-11-22"),
        ("Date", "now-22d", "2026-10-31"),
        ("DateTime('UTC')", "2026-11-30T12:00:00Z", "2026-11-30 12:00:00"),
        ("DateTime('UTC')", "2026-11-30T01:30:00.75+02:00", "2026-11-29 23:30:00"),
        ("DateTime('UTC')", "2026-11-30", "2026-11-30 00:00:00"),
        ("DateTime('UTC')", date(2026, 11, 30), "2026-11-30 00:00:00"),
        ("DateTime('UTC')", datetime(2026, 11, 30, 1, tzinfo=CEST), "2026-11-29 23:00:00"),
        ("DateTime('UTC')", "now", "2026-11-22 13:45:30"),
        ("DateTime('UTC')", "now-90s", "2026-11-22 13:44:00"),
        ("DateTime('UTC')", "now-46m", "2026-11-22 12:59:30"),
        ("DateTime('UTC')", "now+11h", "2026-11-23 00:45:30"),
        ("DateTime('UTC')", "now-7d", "2026-11-15 13:45:30"),
        ("DateTime('UTC')", "1970-01-01", "1970-01-01 00:00:00"),
        ("DateTime('UTC')", "2106-02-07T06:28:15Z", "2106-02-07 06:28:15"),
    ],
)
def test_values(kind: str, value: object, expected: str) -> None:
    assert read(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("UInt32", "-1", "is not a whole number from 0 to 4294967295"),
        ("UInt32", "4294967296", "is not a whole number"),
        ("UInt32", "1.5", "is not a whole number"),
        ("UInt32", "", "is not a whole number"),
        ("UInt32", True, "is not a whole number"),
        ("UInt32", "٣٣٣٣٣٣٣٣٣٣", "is not a whole number"),
        ("Date", "yesterday", "write 2026-11-30, now or now-30d"),
        ("Date", "2026-02-30", "day is out of range"),
        ("Date", "1969-12-31", "is outside 1970-01-01"),
        ("DateTime('UTC')", "yesterday", "write 2026-11-30T12:00:00Z, 2026-11-30 or now-24h"),
        ("DateTime('UTC')", "2026-11-30T12:00:00", "write 2026-11-30T12:00:00Z"),
        ("DateTime('UTC')", "2026-11-31", "day is out of range"),
        ("DateTime('UTC')", "0001-01-01T00:00:00+12:00", "'0001-01-01T00:00:00"),
        ("DateTime('UTC')", "2106-02-07T06:28:16Z", "is outside 1970 to 2106"),
        ("DateTime('UTC')", "now-30000d", "is outside 1970 to 2106"),
        ("DateTime('UTC')", "now-999999d", "is too far away"),
        ("DateTime('UTC')", "now-5w", "is not a time"),
        ("DateTime('UTC')", datetime(2026, 11, 30), "has no time zone"),  # noqa: DTZ001 - the point
    ],
)
def test_what_can_not_be_read_is_refused_by_name(kind: str, value: object, message: str) -> None:
    with pytest.raises(BadParameterError, match="parameter p: ") as caught:
        read(kind, value)
    assert message in str(caught.value)
    assert (caught.value.domain, caught.value.retryable) == ("input", False)


def test_a_clock_without_a_zone_is_refused() -> None:
    with pytest.raises(BadParameterError, match="has no time zone"):
        Parameter("p", "Date", None, "x").read("now", datetime(2026, 11, 30))  # noqa: DTZ001 - the point
