"""Periods: months and anniversaries in any time zone, without gaps or overlaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fleetmeter_billing.errors import PeriodError
from fleetmeter_billing.periods.period import PeriodRule, day_begins, first_day_of
from hypothesis import given
from hypothesis import strategies as st

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",  # +05:30
    "Asia/Kathmandu",  # +05:45
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "America/St_Johns",  # -03:30
    "Pacific/Apia",  # skipped 2011-12-30
    "Africa/Cairo",  # clocks change at midnight
    "America/Havana",
    "Asia/Beirut",
)


def test_a_month_begins_and_ends_at_local_midnight() -> None:
    month = PeriodRule().named("2026-11")
    assert month is not None
    assert (month.name, month.first, month.after, month.days) == ("2026-11", date(2026, 11, 1), date(2026, 12, 1), 30)
    assert month.starts(ZoneInfo("Asia/Kolkata")) == datetime(2026, 10, 31, 18, 30, tzinfo=UTC)
    assert month.ends(ZoneInfo("America/St_Johns")) == datetime(2026, 12, 1, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "hours"),
    [("2026-03", 31 * 24 - 1), ("2026-10", 31 * 24 + 1), ("2026-11", 30 * 24)],
)
def test_a_month_with_a_change_of_clocks_is_an_hour_shorter_or_longer(period: str, hours: int) -> None:
    month, zone = PeriodRule().named(period), ZoneInfo("Europe/Berlin")
    assert month is not None
    assert month.ends(zone) - month.starts(zone) == timedelta(hours=hours)


def test_half_an_hour_of_daylight_saving() -> None:
    month, zone = PeriodRule().named("2026-04"), ZoneInfo("Australia/Lord_Howe")
    assert month is not None
    assert month.ends(zone) - month.starts(zone) == timedelta(days=30, minutes=30)


def test_a_day_whose_midnight_is_jumped_over_begins_at_the_jump() -> None:
    # Cairo, 2026-04-24: 00:00 becomes 01:00 at 2026-04-23T22:00Z.
    assert day_begins(date(2026, 4, 24), ZoneInfo("Africa/Cairo")) == datetime(2026, 4, 23, 22, tzinfo=UTC)
    assert day_begins(date(2026, 4, 25), ZoneInfo("Africa/Cairo")) == datetime(2026, 4, 24, 21, tzinfo=UTC)


def test_an_anniversary_on_the_31st_begins_on_the_last_day_of_shorter_months() -> None:
    rule = PeriodRule("anniversary", 31)
    day, names = date(2027, 12, 31), []
    for _ in range(5):
        period = rule.containing(day)
        names.append(f"{period.first}..{period.after}")
        day = period.after
    assert names == [
        "2027-12-31..2028-01-31",
        "2028-01-31..2028-02-29",
        "2028-02-29..2028-03-31",
        "2028-03-31..2028-04-30",
        "2028-04-30..2028-05-31",
    ]


def test_periods_are_named_by_their_first_day() -> None:
    assert PeriodRule("anniversary", 31).named("2026-02-28") == PeriodRule("anniversary", 31).containing(
        date(2026, 3, 30)
    )
    assert PeriodRule("anniversary", 28).named("2026-02-28") is not None
    assert PeriodRule("anniversary", 31).named("2026-03-28") is None
    assert PeriodRule("anniversary", 15).named("2026-11") is None
    assert PeriodRule().named("2026-11-01") is None


@pytest.mark.parametrize(
    "name",
    [
        *("", "2026", "2026-13", "2026-1", "2026-02-30", "26-11", "2026-11-1", "1899-11", "x" * 10),
        # Days by another name, for which a close would be a second one of the same period.
        *("2026-W48-1", "2026W481", "20261123", "2026-1\N{FULLWIDTH DIGIT ONE}"),
    ],
)
def test_what_is_no_period_is_refused(name: str) -> None:
    with pytest.raises(PeriodError, match="is no billing period"):
        first_day_of(name)


@given(st.integers(1, 31), st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.sampled_from(ZONES))
def test_periods_of_an_account_follow_one_another(anchor: int, day: date, zone_name: str) -> None:
    for rule in (PeriodRule(), PeriodRule("anniversary", anchor)):
        period, zone = rule.containing(day), ZoneInfo(zone_name)
        assert period.first <= day < period.after
        assert rule.named(period.name) == period
        following = rule.containing(period.after)
        assert following.first == period.after
        assert rule.containing(period.first - timedelta(days=1)).after == period.first
        assert period.starts(zone) < period.ends(zone) == following.starts(zone)
        assert 27 <= period.days <= 31
        assert period.starts(zone).second == 0
