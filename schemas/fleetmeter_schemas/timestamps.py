"""RFC 3339 times as whole microseconds since 1970-01-01T00:00:00Z; never floats, never the local zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_rfc3339(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time with an offset; finer digits are cut off.

    Raises `ValueError` for anything else: no offset, a space for the T, a date that does not exist, a leap second.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not of the form YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("the time of day does not exist")
    days = date(year, month, day).toordinal() - _EPOCH_DAY
    micros = ((days * 24 + hour) * 60 + minute) * 60 + second
    micros = micros * 1_000_000 + int((match[7] or "").ljust(6, "0")[:6])
    if match[8]:
        offset_hours, offset_minutes = int(match[9]), int(match[10])
        if offset_hours > 23 or offset_minutes > 59:
            raise ValueError("the offset does not exist")
        offset = (offset_hours * 60 + offset_minutes) * 60_000_000
        micros += offset if match[8] == "-" else -offset
    return micros


def format_rfc3339(micros: int) -> str:
    """The RFC 3339 time, in UTC with six digits, of microseconds since the epoch."""
    return to_rfc3339(_EPOCH + timedelta(microseconds=micros))


def to_rfc3339(value: datetime) -> str:
    """The RFC 3339 time of an aware datetime; raises `ValueError` for a naive one, whose instant nobody can know."""
    if value.tzinfo is None:
        raise ValueError("the datetime has no time zone; use datetime.now(UTC) or attach one")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
