"""Moments as people type them: `2026-03-01`, `2026-03-01T12:00:00Z`, `now`, `now-90m`, `now-2h`, `now-7d`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from fleetmeter_schemas import parse_rfc3339

from fleetmeter_jobs.cli.exits import CommandError

_RELATIVE: Final = re.compile(r"now(?:-([0-9]{1,6})([smhd]))?")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_moment(option: str, text: str, now: datetime) -> datetime:
    """An aware datetime in UTC. Raises CommandError that names the option and the forms."""
    if relative := _RELATIVE.fullmatch(text):
        amount, unit = relative.groups()
        return now - timedelta(**{_UNITS[unit]: int(amount)}) if amount else now
    try:
        if len(text) == len("2026-03-01"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=parse_rfc3339(text))
    except ValueError as error:
        raise CommandError(
            f"{option} {text!r} is not a time. Write 2026-03-01, 2026-03-01T12:00:00Z, now, or now-2h (s, m, h, d)."
        ) from error
