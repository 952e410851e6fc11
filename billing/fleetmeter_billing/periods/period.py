"""Billing periods: their names, and the moments at which they begin and end for an account.

A period is a range of local days, [first, after). A calendar period is a month, `2026-11`. An anniversary period begins
on the account's day of the month (on the last day of shorter months) and has that day for its name, `2026-11-15`.
Moments come from the account's time zone: a day begins at its local midnight, or, where a clock jumps over midnight, at
the jump. So periods of an account have no gaps and don't overlap, and are 23 to 25 hours a day.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from fleetmeter_billing.errors import PeriodError

PeriodKind = Literal["calendar", "anniversary"]

_FIRST_YEAR, _LAST_YEAR = 1971, 2105
"""What a ClickHouse DateTime can hold, with a year to spare."""


@dataclass(frozen=True, slots=True)
class PeriodRule:
    """How an account's periods are cut: by calendar months, or on a day of the month."""

    kind: PeriodKind = "calendar"
    anchor_day: int = 1

    def named(self, name: str) -> Period | None:
        """The account's period of that name; None if it has none: another kind, or another day of the month.

        Raises PeriodError for a name that no account can have.
        """
        first = first_day_of(name)
        if (len(name) == 7) != (self.kind == "calendar"):
            return None
        period = self.containing(first)
        return period if period.first == first else None

    def containing(self, day: date) -> Period:
        """The account's period that `day` lies in."""
        year, month = day.year, day.month
        first = self._begin(year, month)
        if day < first:
            year, month = _months_later(year, month, -1)
            first = self._begin(year, month)
        after = self._begin(*_months_later(year, month, 1))
        return Period(f"{first:%Y-%m}" if self.kind == "calendar" else first.isoformat(), first, after)

    def _begin(self, year: int, month: int) -> date:
        return date(year, month, min(self.anchor_day, calendar.monthrange(year, month)[1]))


@dataclass(frozen=True, slots=True)
class Period:
    """Local days from `first` up to, and without, `after`."""

    name: str
    first: date
    after: date

    @property
    def days(self) -> int:
        """How many local days it has."""
        return (self.after - self.first).days

    def starts(self, zone: ZoneInfo) -> datetime:
        """Its first moment, in UTC."""
        return day_begins(self.first, zone)

    def ends(self, zone: ZoneInfo) -> datetime:
        """The first moment after it, in UTC."""
        return day_begins(self.after, zone)


def day_begins(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a local day, in UTC.

    A midnight that a clock jumps over is taken with the offset before the jump, which gives the moment of the jump; of
    a midnight that comes twice the first counts.
    """
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def first_day_of(name: str) -> date:
    """The first local day of the period of that name. Raises PeriodError if none can be called so."""
    try:
        day = date.fromisoformat(f"{name}-01" if len(name) == 7 else name)
    except ValueError:
        day = date.min
    # A period has one name: `2026-W48-1` and `20261123` are days, too, and would be closed beside `2026-11-23`.
    if day.isoformat()[: len(name)] != name or not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise PeriodError(
            f"{name!r} is no billing period: write a month, such as 2026-11, or the day on which the periods of "
            "anniversary accounts begin, such as 2026-11-15"
        )
    return day


def _months_later(year: int, month: int, months: int) -> tuple[int, int]:
    index = year * 12 + month - 1 + months
    return index // 12, index % 12 + 1
