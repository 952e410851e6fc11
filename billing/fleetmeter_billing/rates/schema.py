"""The JSON Schema of rate cards, for editors: it completes keys and names measures and dimensions as one writes."""

from __future__ import annotations

from typing import Any, Final

from fleetmeter_schemas.native_spec import ledger_measures
from pydantic.json_schema import GenerateJsonSchema

from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.meter import fact_dimensions, rollup_dimensions

_NAMED: Final = ("Meter", "Price", "Plan", "Experiment")
"""Definitions whose name is their key."""


def card_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a card's file. It checks shape; rules between parts are for `rates check`."""
    schema = RateCard.model_json_schema(mode="validation", ref_template="#/$defs/{model}")
    definitions = schema["$defs"]
    for name in _NAMED:
        definitions[name]["properties"].pop("name")
    meter = definitions["Meter"]["properties"]
    measures = {"enum": sorted(ledger_measures())}
    _text(meter["measure"]).update(measures)
    for field in ("plus", "minus"):
        meter[field]["items"] = measures
    dimensions = {
        *rollup_dimensions(),
        *(name for fact in ("seat", "outcome", "job") for name in fact_dimensions(fact)),
    }
    meter["group_by"]["items"] = {"enum": sorted(dimensions)}
    meter["where"]["propertyNames"] = {"enum": sorted(dimensions)}
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "fleetmeter rate card"}


def _text(field: dict[str, Any]) -> dict[str, Any]:
    """The text among the types that a field may have."""
    found: dict[str, Any] = next(one for one in field["anyOf"] if one["type"] == "string")
    return found
