"""The JSON that the core hands out for accepted facts says what was sent, whatever the wire format."""

import json
from typing import Any

import pyarrow as pa
import pytest
from contract_vectors.arrow import stream
from contract_vectors.vector import APPEND_TIME, APPEND_TIME_US, envelope, of_type
from native_aggregator import NativeAggregator

ADJUSTMENT = {"meter": "output_tokens", "quantity": -5, "reason": 'a "good" reason\\ 🦙'}


def facts_of(record: bytes) -> list[tuple[int, int, Any]]:
    """Record, event and decoded JSON of each fact."""
    answer = NativeAggregator().core.ingest([b"[]", record], 0, APPEND_TIME_US)
    assert answer.rejected == 0
    return [(where, index, json.loads(text)) for where, index, text in answer.facts]


def test_an_object_is_handed_out_as_it_came() -> None:
    text = " " + of_type("adjustment", **ADJUSTMENT, colour="red") + "\n"
    assert facts_of(text.encode()) == [(1, 0, json.loads(text))]


def test_elements_and_lines_are_handed_out_by_their_place() -> None:
    facts = [of_type("adjustment", **ADJUSTMENT), of_type("outcome", name="n", quantity=1).replace("e-1", "e-2")]
    expected = [(1, index, json.loads(text)) for index, text in enumerate(facts)]
    assert facts_of(f"[{', '.join(facts)}]".encode()) == expected
    assert facts_of("\r\n".join(facts).encode()) == expected


@pytest.mark.parametrize("labels", ["", None, "{}", ' {"team": "a"} '])
def test_a_row_is_handed_out_as_an_event(labels: str | None) -> None:
    columns = {
        **dict.fromkeys(("model", "generation_mode"), ...),
        "name": ["ticket_resolved"],
        "quantity": pa.array([2**40], pa.uint64()),
        "value_minor": pa.array([None], pa.uint64()),
        "currency": [""],
        "labels": pa.array([labels], pa.string()),
        "colour": ["red"],
    }
    ((_, _, event),) = facts_of(stream(columns, type_name="fleetmeter.outcome.v1"))
    data = event.pop("data")
    assert event == {
        **envelope("r-0", type="fleetmeter.outcome.v1"),
        "time": APPEND_TIME.replace("Z", ".000000Z"),
    }
    assert {name: value for name, value in data.items() if value != ""} == {
        "name": "ticket_resolved",
        "quantity": 2**40,
        **({"labels": json.loads(labels)} if labels else {}),
    }
    assert data.get("labels") != "", "text where an object belongs could not be replayed"


def test_a_row_keeps_signed_quantities_and_times() -> None:
    columns = {
        **dict.fromkeys(("model", "generation_mode"), ...),
        **{name: [value] for name, value in ADJUSTMENT.items() if isinstance(value, str)},
        "quantity": pa.array([-5], pa.int64()),
        "effective_time": pa.array([-1], pa.timestamp("us", "UTC")),
    }
    ((_, _, event),) = facts_of(stream(columns, type_name="fleetmeter.adjustment.v1"))
    assert event["data"] == {**ADJUSTMENT, "effective_time": "1969-12-31T23:59:59.999999Z"}
