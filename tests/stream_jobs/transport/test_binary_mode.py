"""CloudEvents in headers become one JSON object, and nothing that a producer puts there gets out of its place."""

from __future__ import annotations

import base64
import json

from fleetmeter_jobs.transport.binary_mode import is_binary_mode, to_structured
from hypothesis import given
from hypothesis import strategies as st


def test_what_counts_as_binary_mode() -> None:
    assert is_binary_mode([("ce_id", b"1")])
    assert is_binary_mode([("content-type", b"application/json"), ("ce_specversion", b"1.0")])
    assert not is_binary_mode([("traceparent", b"x")])
    assert not is_binary_mode([("Content-Type", b"application/cloudevents+json; charset=utf-8"), ("ce_id", b"1")])


def test_attributes_and_data() -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"a-1"), ("ce_source", "höhe".encode()), ("traceparent", b"00-x")]
    assert json.loads(to_structured(headers, b' {"model": "m", "n": 1} ')) == {
        "datacontenttype": "application/json",
        "specversion": "1.0",
        "id": "a-1",
        "source": "höhe",
        "data": {"model": "m", "n": 1},
    }


def test_the_data_keeps_its_own_bytes() -> None:
    data = b'{"n":1.50,"n":2}'
    assert to_structured([("ce_id", b"1")], data).endswith(b'"data":' + data + b"}")


def test_a_repeated_attribute_stands_there_twice() -> None:
    assert to_structured([("ce_id", b"1"), ("ce_id", b"2")], None).count(b'"id"') == 2


def test_a_null_header_is_null_and_no_value_is_no_data() -> None:
    assert json.loads(to_structured([("ce_id", None)], None)) == {"datacontenttype": "application/json", "id": None}


def test_bytes_that_are_no_utf8_stay_for_the_core_to_refuse() -> None:
    assert b'"id":"\xff"' in to_structured([("ce_id", b"\xff")], b"{}")


def test_data_cannot_add_attributes() -> None:
    sneaky = b'{},"subject":"somebody-else"'
    event = json.loads(to_structured([("ce_subject", b"me")], sneaky))
    assert event["subject"] == "me"
    assert "data" not in event
    assert base64.b64decode(event["data_base64"]) == sneaky


@given(st.text(max_size=20), st.binary(max_size=20))
def test_any_text_comes_back_and_any_data_leaves_valid_json(text: str, data: bytes) -> None:
    event = json.loads(to_structured([("ce_id", text.encode("utf-8", "surrogatepass"))], data)) if _utf8(text) else None
    assert event is None or event["id"] == text


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
