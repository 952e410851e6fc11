"""The event reference in Markdown, made from the declarations, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Iterator

from fleetmeter_schemas.events import EVENT_TYPES, EventData
from fleetmeter_schemas.fields import FieldSpec, Kind, field_table
from fleetmeter_schemas.reasons import Reason

HEADER = """# Events

<!-- Made from fleetmeter_schemas by `python -m fleetmeter_schemas`; a test fails when it is out of date. -->

Every event is a [CloudEvent](https://github.com/cloudevents/spec) 1.0 with `specversion`, `type`, `id`, `source`,
`subject` (the account that pays) and `time` (RFC 3339). `(source, id)` is its identity: the same pair is counted once.
Quantities are whole numbers. Empty text and null mean unknown, and absent is not zero: measures marked *sampled* have a
count of the events that reported them beside their sum.

The JSON Schemas (`fleetmeter schema show`) say less than workers ask: a quantity is written without a point or an
exponent (`1.0` is refused as `fraction`), and no minute has a second 60 (`bad_time`).
"""


def event_reference() -> str:
    """The whole reference page."""
    parts = [HEADER, *(_type_section(model) for model in EVENT_TYPES.values()), _reasons_section()]
    return "\n".join(parts)


def _type_section(model: type[EventData]) -> str:
    lines = [f"## `{model.TYPE}`", "", (model.__doc__ or "").strip(), ""]
    lines += ["| field | role | value | meaning |", "|---|---|---|---|"]
    lines += [_row(spec) for spec in field_table(model)]
    lines += [f"| *{band.name}* | derived | {', '.join(band.labels)} | {band.meaning} |" for band in model.BANDS]
    if model.RULES:
        lines += ["", "Rules between fields:", "", *(f"- {line}" for line in _rules(model))]
    return "\n".join([*lines, ""])


def _row(spec: FieldSpec) -> str:
    name = f"**{spec.name}**" if spec.required else spec.name
    return f"| {name} | {spec.role.value} | {_value(spec)} | {spec.meaning} |"


def _value(spec: FieldSpec) -> str:
    if spec.choices:
        return ", ".join(f"`{choice}`" for choice in spec.choices if choice)
    if spec.kind is Kind.STRING:
        return f"text, at most {spec.max_length} characters"
    if spec.kind is Kind.TIME:
        return "RFC 3339 time"
    if spec.kind is Kind.LABELS:
        return "object of text"
    low = f"-{_cap(spec)}" if spec.kind is Kind.INT else "0"
    return f"{low} to {_cap(spec)}{', sampled' if spec.samples else ''}"


def _cap(spec: FieldSpec) -> str:
    return "2^40" if spec.cap == 2**40 else str(spec.cap)


def _rules(model: type[EventData]) -> Iterator[str]:
    for rule in (rule.as_spec() for rule in model.RULES):
        match rule["rule"]:
            case "parts_within":
                yield f"{' + '.join(rule['parts'])} is at most {rule['whole']}"
            case "not_above":
                yield f"{rule['field']} is at most {rule['limit']}, where both are reported"
            case "required_when":
                yield f"{rule['field']} is required when {rule['on']} is {' or '.join(rule['values'])}"
            case "absent_when":
                yield f"{rule['field']} is left out when {rule['on']} is {' or '.join(rule['values'])}"
            case "near_event_time":
                days, seconds = rule["max_age_us"] // 86_400_000_000, rule["max_ahead_us"] // 1_000_000
                yield f"{rule['field']} is at most {days} days before and {seconds} s after `time`"


def _reasons_section() -> str:
    lines = [
        "## Why an event can be refused",
        "",
        "| number | code | what was wrong, and what to do |",
        "|---|---|---|",
    ]
    lines += [f"| {reason.number} | `{reason.code}` | {reason.sentence} |" for reason in Reason]
    return "\n".join([*lines, ""])
