"""Moments as people type them: `2026-03-01`, `2026-03-01T12:00:00Z`, `now`, `now-90m`, `now-2h`, `now-7d`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fleetmeter_schemas import parse_rfc3339
from fleetmeter_sql.parameters import Parameter

from fleetmeter_jobs.cli.exits import CommandError


def parse_moment(option: str, text: str, now: datetime) -> datetime:
    """An aware datetime in UTC, to the microsecond where one is spelt out.

    Raises BadParameterError (input) that names the option and the forms, which are those of the named queries.
    """
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=parse_rfc3339(text))
    except ValueError:
        seconds = Parameter(option, "DateTime('UTC')", None, "").read(text, now)
        return datetime.fromisoformat(seconds).replace(tzinfo=UTC)


def check_span(start: datetime | None, end: datetime | None) -> None:
    """Raises CommandError for a span that ends before it begins: nothing lies in it, which looks like no usage."""
    if start is not None and end is not None and end <= start:
        raise CommandError(f"--from ({start:%Y-%m-%d %H:%M:%S} UTC) must be before --to ({end:%Y-%m-%d %H:%M:%S} UTC).")
