"""The parameters of named queries: what a person may write, checked here, bound by ClickHouse to `{name:Type}`.

A default is written in the query's file exactly as a person would write the value, and read by the same code.

- `String`: any text.
- `UInt32`: a whole number from 0.
- `Date`: `2026-11-30`, or `now`, `now-30d`.
- `DateTime('UTC')`: `2026-11-30T12:00:00Z` (any offset), `2026-11-30` for its midnight, or `now`, `now-90m`, `now-7d`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from fleetmeter_schemas import parse_rfc3339

from fleetmeter_sql.errors import BadParameterError

ParameterValue = str | int | date | datetime

_RELATIVE = re.compile(r"now(?:(?P<sign>[+-])(?P<amount>[0-9]{1,6})(?P<unit>[smhd]))?")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST_SECOND: Final = 2**32 - 1
"""The last moment that a ClickHouse DateTime can hold, in seconds since the epoch: in February 2106."""
_LAST_DAY: Final = date(2149, 6, 6)
"""The last day that a ClickHouse Date can hold."""


def _string(value: ParameterValue, _now: datetime) -> str:
    return str(value)


def _uint32(value: ParameterValue, _now: datetime) -> str:
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}", str(value)) or int(str(value)) > 2**32 - 1:
        raise ValueError("is not a whole number from 0 to 4294967295")
    return str(int(str(value)))


def _date(value: ParameterValue, now: datetime) -> str:
    if isinstance(value, datetime):
        day = _aware(value).date()
    elif isinstance(value, date):
        day = value
    elif _DATE.fullmatch(str(value)):
        day = date.fromisoformat(str(value))
    else:
        relative = _relative(str(value), now)
        if relative is None:
            raise ValueError("is not a date: write 2026-11-30, now or now-30d")
        day = relative.date()
    if not date(1970, 1, 1) <= day <= _LAST_DAY:
        raise ValueError(f"is outside 1970-01-01 to {_LAST_DAY}")
    return day.isoformat()


def _datetime(value: ParameterValue, now: datetime) -> str:
    if isinstance(value, datetime):
        moment = _aware(value)
    elif isinstance(value, date):
        moment = datetime.combine(value, time(), UTC)
    elif _DATE.fullmatch(str(value)):
        moment = datetime.combine(date.fromisoformat(str(value)), time(), UTC)
    else:
        moment = _relative(str(value), now) or _rfc3339(str(value))
    if not 0 <= moment.timestamp() <= _LAST_SECOND:
        raise ValueError("is outside 1970 to 2106")
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _rfc3339(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(parse_rfc3339(text) // 1_000_000, UTC)
    except ValueError as error:
        raise ValueError(f"is not a time ({error}): write 2026-11-30T12:00:00Z, 2026-11-30 or now-24h") from error


def _relative(text: str, now: datetime) -> datetime | None:
    match = _RELATIVE.fullmatch(text)
    if match is None:
        return None
    if match["sign"] is None:
        return _aware(now)
    try:
        distance = timedelta(**{_UNITS[match["unit"]]: int(match["amount"])})
        return _aware(now) - distance if match["sign"] == "-" else _aware(now) + distance
    except OverflowError as error:
        raise ValueError("is too far away") from error


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("has no time zone; use datetime.now(UTC) or attach one")
    return moment.astimezone(UTC)


_READERS: Final[dict[str, Callable[[ParameterValue, datetime], str]]] = {
    "String": _string,
    "UInt32": _uint32,
    "Date": _date,
    "DateTime('UTC')": _datetime,
}
PARAMETER_TYPES: Final = tuple(_READERS)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a named query."""

    name: str
    type: str
    """The ClickHouse type: one of PARAMETER_TYPES."""
    default: str | None
    """What holds if nothing is given, as a person would write it; None if it must be given."""
    meaning: str

    def read(self, value: ParameterValue, now: datetime) -> str:
        """The text that ClickHouse is sent for `value`, relative times reckoned from `now` (aware).

        Raises BadParameterError, which names the parameter, the value and what may be written.
        """
        try:
            return _READERS[self.type](value, now)
        except ValueError as error:
            raise BadParameterError(f"parameter {self.name}: {str(value)!r} {error}") from error
