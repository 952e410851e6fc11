"""Times and events as bytes."""

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from fleetmeter_producers.wire import encode_event, format_time, micros_of
from fleetmeter_schemas import EventRejected, GenerationV1, Reason, parse_event, parse_rfc3339
from hypothesis import given
from hypothesis import strategies as st

offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), offsets)  # noqa: DTZ001
def test_a_time_survives_the_wire(naive: datetime, offset: timezone) -> None:
    moment = naive.replace(tzinfo=offset)
    micros = micros_of(moment)
    assert datetime.fromisoformat(format_time(micros)) == moment
    assert parse_rfc3339(format_time(micros)) == micros


def test_the_form_is_utc_with_six_digits() -> None:
    assert format_time(1_700_158_546_680_590) == "2023-11-16T18:15:46.680590Z"
    assert format_time(0) == "1970-01-01T00:00:00.000000Z"
    assert format_time(-1) == "1969-12-31T23:59:59.999999Z"


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(EventRejected, match="has no time zone") as refused:
        micros_of(datetime(2026, 1, 1))  # noqa: DTZ001
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_TIME, "time")


def test_the_bytes_are_those_of_the_contract_s_own_order() -> None:
    data = GenerationV1(
        labels={"team": "a", "app": "b"},
        output_tokens=128,
        input_tokens=0,
        user="u-1",
        generation_mode="diffusion",
        region="",
        model="llada-8b-instruct",
    )
    now = micros_of(datetime(2026, 11, 22, 13, 30, tzinfo=UTC))
    value = encode_event(data.TYPE, "id-1", "urn:s", "acct", now, data.to_wire())
    event = parse_event(orjson.loads(value))
    assert (event.id, event.source, event.subject, event.time_us) == ("id-1", "urn:s", "acct", now)
    assert event.data == data.model_copy(update={"region": None}), "empty text says the same as none"
    assert orjson.dumps(event.to_wire()) == value
    fragment = orjson.Fragment(orjson.dumps(data.to_wire()))
    assert encode_event(data.TYPE, "id-1", "urn:s", "acct", now, fragment) == value


def test_text_without_a_form_in_utf8_is_refused() -> None:
    with pytest.raises(EventRejected, match="can't be written as JSON"):
        encode_event(GenerationV1.TYPE, "id", "urn:s", "\ud800", 0, {})
