"""The JSON Schema of each event type, for producers in other languages."""

from __future__ import annotations

from typing import Any

from fleetmeter_schemas.envelope import ATTRIBUTE_LENGTHS, SPECVERSION
from fleetmeter_schemas.events import EventData
from fleetmeter_schemas.fields import NO_CONTROL

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CONTROL = r"[\x00-\x1f\x7f]"


def json_schema(model: type[EventData]) -> dict[str, Any]:
    """The schema (draft 2020-12) of a whole event of one type. What JSON Schema cannot say, the rules between
    fields, stands in `x-rules`, as the native core reads them."""
    data = _portable(model.model_json_schema(mode="validation"))
    del data["title"]
    for field in data["properties"].values():
        field.pop("title", None)
        field.pop("fleetmeter", None)
    named = {
        name: {"type": "string", "minLength": 1, "maxLength": most, "not": {"pattern": _CONTROL}}
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


def _portable(schema: Any) -> Any:
    """The schema with `NO_CONTROL` turned round, because `$` differs between the languages' regular expressions."""
    if isinstance(schema, list):
        return [_portable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    turned = {key: _portable(value) for key, value in schema.items()}
    if turned.get("pattern") == NO_CONTROL:
        del turned["pattern"]
        turned["not"] = {"pattern": _CONTROL}
    return turned
