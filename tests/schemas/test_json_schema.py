"""The JSON Schemas, by an independent validator: they accept what the contract accepts, and refuse what they can."""

import json

import pytest
from contract_vectors import VECTORS
from contract_vectors.vector import Counted, Refusal, Vector
from fleetmeter_schemas import EVENT_TYPES, EventData
from fleetmeter_schemas.json_schema import json_schema
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

MODELS = list(EVENT_TYPES.values())
VALIDATORS = {model.TYPE: Draft202012Validator(json_schema(model)) for model in MODELS}
# What JSON Schema cannot say: rules between fields, formats of text, and that 1.0 is not a whole number.
BEYOND = {"part_exceeds_whole", "not_allowed", "bad_time", "too_old", "in_future", "duplicate_key", "fraction"}


def one_event(vector: Vector) -> bool:
    return len(vector.outcomes) == 1 and (vector.record or b"").lstrip().startswith(b"{")


ACCEPTED = [v for v in VECTORS if one_event(v) and isinstance(v.outcomes[0], Counted)]
REFUSED = [
    (v, v.outcomes[0])
    for v in VECTORS
    if one_event(v) and isinstance(v.outcomes[0], Refusal) and v.outcomes[0].field.startswith("data.")
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.SHORT)
def test_is_a_schema(model: type[EventData]) -> None:
    Draft202012Validator.check_schema(json_schema(model))


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector.name)
def test_accepts_what_is_counted(vector: Vector) -> None:
    event = json.loads(vector.record or b"")
    VALIDATORS[event["type"]].validate(event)


def test_refuses_what_a_schema_can_know() -> None:
    missed = []
    for vector, outcome in REFUSED:
        event = json.loads(vector.record or b"", parse_int=lambda digits: int(digits[:100]))
        conditional = outcome.code == "missing_field" and event["type"] != "fleetmeter.generation.v1"
        if outcome.code not in BEYOND and not conditional and VALIDATORS[event["type"]].is_valid(event):
            missed.append(vector.name)
    assert len(REFUSED) > 80
    assert missed == []


def test_the_field_at_fault_is_where_the_validator_points() -> None:
    event = json.loads(ACCEPTED[0].record or b"")
    event["data"]["output_tokens"] = -1
    (error,) = VALIDATORS[event["type"]].iter_errors(event)
    assert list(error.absolute_path) == ["data", "output_tokens"]


def test_nothing_internal_shows() -> None:
    for model in MODELS:
        schema = json_schema(model)
        assert schema["properties"]["data"]["x-rules"] == [rule.as_spec() for rule in model.RULES]
        assert all("fleetmeter" not in field for field in schema["properties"]["data"]["properties"].values())
