"""The field table that the native core is given at start-up: the declarations of `events`, as JSON."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from fleetmeter_schemas.envelope import ATTRIBUTE_LENGTHS, KNOWN_ATTRIBUTES
from fleetmeter_schemas.events import EVENT_TYPES, EventData
from fleetmeter_schemas.fields import FieldSpec, Role, field_table
from fleetmeter_schemas.reasons import Reason


@cache
def ledger_dimensions() -> tuple[str, ...]:
    """The dimensions of the rollups, over all types that roll up, bands last; the order of the ledger's columns."""
    names: dict[str, None] = {}
    for model in rollup_types():
        names.update(dict.fromkeys(f.name for f in field_table(model) if f.role is Role.DIMENSION))
    for model in rollup_types():
        names.update(dict.fromkeys(band.name for band in model.BANDS))
    return tuple(names)


@cache
def ledger_measures() -> tuple[str, ...]:
    """The measures of the rollups: event counts, then sums, each followed by its count of samples if it has one."""
    names: dict[str, None] = dict.fromkeys(m.COUNT_MEASURE for m in rollup_types() if m.COUNT_MEASURE)
    for model in rollup_types():
        for spec in field_table(model):
            if spec.role is Role.MEASURE:
                names[spec.name] = None
                if spec.samples:
                    names[spec.samples_name] = None
    return tuple(names)


def rollup_types() -> tuple[type[EventData], ...]:
    """The event types that become rollups; the others keep a row an event."""
    return tuple(model for model in EVENT_TYPES.values() if model.COUNT_MEASURE)


def fact_types() -> tuple[type[EventData], ...]:
    """The event types that keep a row an event."""
    return tuple(model for model in EVENT_TYPES.values() if not model.COUNT_MEASURE)


@cache
def native_spec() -> bytes:
    """The JSON table for `fleetmeter_native.Core`."""
    return orjson.dumps(
        {
            "version": 1,
            "envelope": ATTRIBUTE_LENGTHS,
            "known_attributes": KNOWN_ATTRIBUTES,
            "types": [_type_spec(model) for model in EVENT_TYPES.values()],
            "ledger": {"dimensions": ledger_dimensions(), "measures": ledger_measures()},
            "reasons": [{"code": reason.number, "name": reason.code} for reason in Reason],
        }
    )


def _type_spec(model: type[EventData]) -> dict[str, Any]:
    return {
        "name": model.TYPE,
        "short": model.SHORT,
        "route": "rollup" if model.COUNT_MEASURE else "fact",
        "count_measure": model.COUNT_MEASURE,
        "fields": [_field_spec(spec) for spec in field_table(model)],
        "rules": [rule.as_spec() for rule in model.RULES],
        "bands": [band.as_spec() for band in model.BANDS],
    }


def _field_spec(spec: FieldSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "role": spec.role.value,
        "kind": spec.kind.value,
        "required": spec.required,
        "max_length": spec.max_length,
        "choices": spec.choices,
        "cap": spec.cap,
        "samples": spec.samples,
    }
