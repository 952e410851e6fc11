"""The pydantic judgement of an event, against the hand-written vectors and case by case."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from contract_vectors import VECTORS
from contract_vectors.vector import Counted, Refusal, Vector, envelope
from fleetmeter_reference.json_text import Number, Object
from fleetmeter_reference.wire import events_of
from fleetmeter_schemas import Event, EventRejected, GenerationV1, Reason, parse_event
from fleetmeter_schemas.envelope import check_attribute
from fleetmeter_schemas.events import AdjustmentV1

# What needs the raw text or the broker's clock is not parse_event's to judge.
OTHERS = {
    "tombstone",
    "too_large",
    "not_json",
    "bad_utf8",
    "too_deep",
    "bad_arrow",
    "duplicate_key",
    "too_old",
    "in_future",
}


def plain(value: Any) -> Any:
    """A decoded value of the reference as `json.loads` would give it, with numbers of any length."""
    if isinstance(value, Number):
        return float(value.literal) if set(value.literal) & set(".eE") else whole(value.literal)
    if isinstance(value, Object):
        return {key: plain(item) for key, item in value.members}
    return [plain(item) for item in value] if isinstance(value, list) else value


def whole(literal: str) -> int:
    """int() takes 4300 digits; a longer number is cut to so many: as far beyond every cap."""
    return int(literal[:4000])


def single(vector: Vector) -> Any:
    """The one event of a vector, or None if its outcome is not for parse_event to find."""
    if len(vector.outcomes) != 1:
        return None
    (outcome,) = vector.outcomes
    if isinstance(outcome, Refusal) and outcome.code in OTHERS and not outcome.field.startswith("data.period"):
        return None
    if isinstance(outcome, Refusal) and outcome.code == "unknown_type" and vector.name.startswith("arrow"):
        return None
    (found,) = events_of(vector.record, vector.limits.record_limit_bytes, vector.limits.event_limit_bytes)
    return plain(found.event)


JUDGED = [(vector, event) for vector in VECTORS if (event := single(vector)) is not None]


@pytest.mark.parametrize(("vector", "event"), JUDGED, ids=[vector.name for vector, _ in JUDGED])
def test_answers_the_vectors(vector: Vector, event: Any) -> None:
    (outcome,) = vector.outcomes
    if isinstance(outcome, Refusal):
        with pytest.raises(EventRejected) as caught:
            parse_event(event)
        assert Refusal(caught.value.reason.code, caught.value.field) == outcome
        assert outcome.field.removeprefix("data.") in str(caught.value)
        return
    parsed = parse_event(event)
    assert isinstance(outcome, Counted)
    dimensions = {name: value for name, value in outcome.values.items() if name in type(parsed.data).model_fields}
    dimensions.pop("labels", None)
    assert {name: getattr(parsed.data, name) or type(value)() for name, value in dimensions.items()} == dimensions


def test_most_vectors_are_judged_here_too() -> None:
    assert len(JUDGED) > 300


def test_what_is_sent_reads_back_the_same() -> None:
    data = GenerationV1(
        model="llada-8b", generation_mode="diffusion", output_tokens=7, provider="", labels={"team": "a"}
    )
    event = Event("fleetmeter.generation.v1", "e-1", "/gpu", "acme", 1_772_366_400_000_001, data)
    wire = event.to_wire()
    assert list(wire) == ["specversion", "type", "id", "source", "subject", "time", "data"]
    assert wire["time"] == "2026-03-01T12:00:00.000001Z"
    assert wire["data"] == {
        "model": "llada-8b",
        "generation_mode": "diffusion",
        "output_tokens": 7,
        "labels": {"team": "a"},
    }
    read = parse_event(json.loads(json.dumps(wire)))
    assert read.to_wire() == wire
    assert (read.id, read.source, read.subject, read.time_us) == ("e-1", "/gpu", "acme", event.time_us)


def test_unknown_fields_are_named() -> None:
    data = {"model": "m", "generation_mode": "hybrid", "colour": "red"}
    event = parse_event({**envelope(), "data": data, "sampled": True, "traceparent": "00"})
    assert event.unknown_fields == ("sampled", "data.colour")


def test_aware_datetimes_are_taken_for_times() -> None:
    data = {"meter": "m", "quantity": -1, "reason": "r"}
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    adjustment = AdjustmentV1.model_validate({**data, "effective_time": when})
    assert adjustment.to_wire()["effective_time"] == "2026-03-01T12:00:00.000000Z"
    with pytest.raises(ValueError, match="time zone"):
        AdjustmentV1.model_validate({**data, "effective_time": when.replace(tzinfo=None)})


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"subject": None}, Reason.MISSING_FIELD, ["subject is missing"]),
        ({"subject": 7}, Reason.WRONG_TYPE, ["subject must be a string, not a number"]),
        ({"subject": True}, Reason.WRONG_TYPE, ["not a boolean"]),
        ({"subject": {}}, Reason.WRONG_TYPE, ["not an object"]),
        ({"subject": []}, Reason.WRONG_TYPE, ["not an array"]),
        ({"subject": "a" * 129}, Reason.BAD_VALUE, ["subject", "129 characters", "128"]),
        ({"subject": "a\nb"}, Reason.BAD_VALUE, ["subject", r"'a\nb'", "control character"]),
        ({"specversion": "0.3"}, Reason.BAD_VALUE, ["specversion", "'0.3'", "1.0"]),
        ({"type": "usage"}, Reason.UNKNOWN_TYPE, ["'usage'", "fleetmeter.generation.v1"]),
        ({"type": "x" * 500}, Reason.UNKNOWN_TYPE, ["xxx..."]),
        ({"time": "yesterday"}, Reason.BAD_TIME, ["time", "'yesterday'", "YYYY-MM-DD"]),
        ({"time": "2026-02-30T00:00:00Z"}, Reason.BAD_TIME, ["2026-02-30"]),
        ({"data": None}, Reason.MISSING_FIELD, ["data is missing"]),
        ({"data": "x"}, Reason.WRONG_TYPE, ["data must be a JSON object, not a string"]),
    ],
)
def test_sentences_of_the_envelope(changes: dict[str, Any], reason: Reason, words: list[str]) -> None:
    event = {**envelope(), "data": {"model": "m", "generation_mode": "hybrid"}, **changes}
    with pytest.raises(EventRejected) as caught:
        parse_event(event)
    assert caught.value.reason is reason
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("model", "", ["is required", "missing, null or empty"]),
        ("model", None, ["is required"]),
        ("model", 7, ["is a number", "valid string"]),
        ("model", "m" * 129, ["129 characters", "at most 128"]),
        ("provider", "a\tb", ["control character"]),
        ("generation_mode", "magic", ["'magic'", "'autoregressive'", "'hybrid'"]),
        ("generation_mode", "", ["is required"]),
        ("generation_mode", 1, ["is a number"]),
        ("output_tokens", 1.5, ["is 1.5", "whole numbers"]),
        ("output_tokens", 1000.0, ["is 1000.0", "without a point or an exponent"]),
        ("output_tokens", -1, ["is -1", "at least 0"]),
        ("output_tokens", 2**40 + 1, ["1099511627777", "the cap is 1099511627776"]),
        ("output_tokens", "5", ["is a string", "integer"]),
        ("output_tokens", True, ["is a boolean"]),
        ("quality_ppm", 1_000_001, ["1000001", "the cap is 1000000"]),
        ("labels", ["a"], ["labels must be an object"]),
        ("labels", {"a": 1}, ["values are all strings"]),
        ("labels", {f"k{i}": "v" for i in range(9)}, ["9 labels", "at most 8"]),
        ("labels", {"k": "v" * 129}, ["label 'k'", "1 to 128"]),
        ("labels", {"k": "a\nb"}, ["label 'k'", "control character"]),
        ("reasoning_tokens", 3, ["= 3 is more than output_tokens = 0"]),
    ],
)
def test_sentences_of_data_name_the_field(field: str, value: Any, words: list[str]) -> None:
    data = {"model": "m", "generation_mode": "diffusion", field: value}
    with pytest.raises(EventRejected) as caught:
        parse_event({**envelope(), "data": data})
    assert caught.value.field == f"data.{field}"
    assert all(word in str(caught.value) for word in [f"data.{field}", *words]), str(caught.value)


def test_a_signed_quantity_below_its_cap_is_an_overflow() -> None:
    data = {"meter": "m", "reason": "r", "quantity": -(2**40) - 1}
    with pytest.raises(EventRejected, match=r"data\.quantity.*the cap is -1099511627776") as caught:
        parse_event({**envelope(type="fleetmeter.adjustment.v1"), "data": data})
    assert caught.value.reason is Reason.OVERFLOW


def test_one_attribute_can_be_judged_by_itself() -> None:
    assert check_attribute("source", "/gpu") == "/gpu"
    with pytest.raises(EventRejected, match="source"):
        check_attribute("source", "")
