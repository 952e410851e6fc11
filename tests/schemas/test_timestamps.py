"""RFC 3339 times against Python's datetime, which shares no code with the parser."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from fleetmeter_reference.moments import BadTime, microseconds
from fleetmeter_schemas.timestamps import format_rfc3339, parse_rfc3339, to_rfc3339
from hypothesis import given
from hypothesis import strategies as st

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
AWARE = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis attaches the zone
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=OFFSETS,
)


@given(AWARE, st.sampled_from("Tt"))
def test_parses_what_datetime_writes(moment: datetime, letter: str) -> None:
    text = moment.isoformat(sep=letter)
    assert parse_rfc3339(text) == (moment - EPOCH) // MICROSECOND


@given(AWARE)
def test_writes_what_datetime_reads(moment: datetime) -> None:
    micros = (moment - EPOCH) // MICROSECOND
    assert datetime.fromisoformat(format_rfc3339(micros)) == moment
    assert datetime.fromisoformat(to_rfc3339(moment)) == moment


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-03-01t12:00:00z", 1_772_366_400_000_000),
        ("2026-03-01T12:00:00.1Z", 1_772_366_400_100_000),
        ("2026-03-01T12:00:00.123456789Z", 1_772_366_400_123_456),
        ("2026-03-01T13:30:00+01:30", 1_772_366_400_000_000),
        ("2024-02-29T00:00:00-00:00", 1_709_164_800_000_000),
    ],
)
def test_known_instants(text: str, micros: int) -> None:
    assert parse_rfc3339(text) == micros


LOOKALIKES = st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
    r"(\.[0-9]{0,10})?([Zz]|[+-][0-2][0-9]:?[0-6][0-9])?",
    fullmatch=True,
)


@given(LOOKALIKES)
def test_refuses_what_the_hand_written_reference_refuses(text: str) -> None:
    try:
        expected = microseconds(text)
    except BadTime:
        with pytest.raises(ValueError, match=r"\w"):
            parse_rfc3339(text)
    else:
        assert parse_rfc3339(text) == expected


def test_a_naive_datetime_has_no_instant() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_rfc3339(datetime(2026, 3, 1))  # noqa: DTZ001 - that is the point


def test_writing_is_in_utc_with_six_digits() -> None:
    assert format_rfc3339(1) == "1970-01-01T00:00:00.000001Z"
    assert to_rfc3339(datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))) == "2026-03-01T12:00:00.000000Z"
