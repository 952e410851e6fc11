"""The JSON Schema of each event type, for producers in other languages."""

from __future__ import annotations

from typing import Any

from fleetmeter_schemas.envelope import ATTRIBUTE_LENGTHS, SPECVERSION
from fleetmeter_schemas.events import EventData
from fleetmeter_schemas.fields import NO_CONTROL

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(model: type[EventData]) -> dict[str, Any]:
    """The schema (draft 2020-12) of a whole event of one type. Rules between fields stand in words, as `x-rules`."""
    data = model.model_json_schema(mode="validation")
    for field in data["properties"].values():
        field.pop("title", None)
        field.pop("fleetmeter", None)
    named = {
        name: {"type": "string", "minLength": 1, "maxLength": most, "pattern": NO_CONTROL}
        for name, most in ATTRIBUTE_LENGTHS.items()
    }
    return {
        "$schema": DIALECT,
        "$id": f"urn:fleetmeter:{model.TYPE}",
        "title": model.TYPE,
        "description": data.pop("description"),
        "type": "object",
        "required": ["specversion", "type", "id", "source", "subject", "time", "data"],
        "properties": {
            "specversion": {"const": SPECVERSION},
            "type": {"const": model.TYPE},
            **named,
            "time": {"type": "string", "format": "date-time"},
            "data": {**data, "x-rules": [rule.as_spec() for rule in model.RULES]},
        },
    }
