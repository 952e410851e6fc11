"""One event's judgement, step by step in the order that the contract fixes: the first failure is the reason."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from fleetmeter_schemas.envelope import ATTRIBUTE_LENGTHS, KNOWN_ATTRIBUTES
from fleetmeter_schemas.events import EVENT_TYPES, EventData
from fleetmeter_schemas.fields import FieldSpec, Kind, field_table

from fleetmeter_reference.json_text import Number, Object
from fleetmeter_reference.labels import read_labels
from fleetmeter_reference.moments import BadTime, microseconds
from fleetmeter_reference.outcome import Read, Refused
from fleetmeter_reference.rule_table import check_rules

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def judge(event: Any, label_keys: Collection[str]) -> Read:
    """The event in a decoded JSON value; raises `Refused` with the contract's first reason."""
    if not isinstance(event, Object):
        raise Refused("not_an_object")
    for key in KNOWN_ATTRIBUTES:
        if key in event.repeated:
            raise Refused("duplicate_key", key)
    if _attribute(event, "specversion") != "1.0":
        raise Refused("bad_value", "specversion")
    model = EVENT_TYPES.get(_attribute(event, "type"))
    if model is None:
        raise Refused("unknown_type", "type")
    identity = {name: _name(event, name) for name in ("id", "source", "subject")}
    time_us = _time(event)
    data = event.last.get("data")
    if data is None:
        raise Refused("missing_field", "data")
    if not isinstance(data, Object):
        raise Refused("wrong_type", "data")
    values, ignored = _read_data(model, data, label_keys, time_us)
    unknown = sum(key not in KNOWN_ATTRIBUTES for key, _ in event.members) + ignored
    return Read(model, **identity, time_us=time_us, values=values, unknown=unknown)


def _read_data(
    model: type[EventData], data: Object, label_keys: Collection[str], time_us: int
) -> tuple[dict[str, Any], int]:
    table = field_table(model)
    for spec in table:
        if spec.name in data.repeated:
            raise Refused("duplicate_key", f"data.{spec.name}")
    values: dict[str, Any] = {}
    names = {spec.name for spec in table}
    ignored = sum(key not in names for key, _ in data.members)
    for spec in table:
        value = data.last.get(spec.name)
        if spec.kind is Kind.LABELS and value is not None:
            canonical, dropped = read_labels(value, f"data.{spec.name}", label_keys)
            ignored += dropped
            value = canonical
        elif value is not None:
            value = _read_value(spec, value)
        if value is None or value == "":
            if spec.required:
                raise Refused("missing_field", f"data.{spec.name}")
        else:
            values[spec.name] = value
    check_rules(model.RULES, values, time_us)
    return values, ignored


def _attribute(event: Object, name: str) -> str:
    value = event.last.get(name)
    if value is None:
        raise Refused("missing_field", name)
    if not isinstance(value, str):
        raise Refused("wrong_type", name)
    return value


def _time(event: Object) -> int:
    try:
        return microseconds(_attribute(event, "time"))
    except BadTime:
        raise Refused("bad_time", "time") from None


def _name(event: Object, name: str) -> str:
    value = _attribute(event, name)
    if value == "" or len(value) > ATTRIBUTE_LENGTHS[name] or has_control(value):
        raise Refused("bad_value", name)
    return value


def has_control(text: str) -> bool:
    """Whether a control character (U+0000 to U+001F, U+007F) is in the text."""
    return _CONTROL.search(text) is not None


def _read_value(spec: FieldSpec, value: Any) -> Any:
    path = f"data.{spec.name}"
    if spec.kind in (Kind.UINT, Kind.INT):
        return _read_number(spec, value, path)
    if not isinstance(value, str):
        raise Refused("wrong_type", path)
    if spec.kind is Kind.TIME:
        return _read_time(value, path)
    if value == "":
        return None
    if spec.choices is not None and value not in spec.choices:
        raise Refused("bad_value", path)
    if spec.max_length is not None and len(value) > spec.max_length:
        raise Refused("bad_value", path)
    if has_control(value):
        raise Refused("bad_value", path)
    return value


def _read_time(value: str, path: str) -> int | None:
    if value == "":
        return None
    try:
        return microseconds(value)
    except BadTime:
        raise Refused("bad_time", path) from None


def _read_number(spec: FieldSpec, value: Any, path: str) -> int:
    if not isinstance(value, Number):
        raise Refused("wrong_type", path)
    if any(ch in value.literal for ch in ".eE"):
        raise Refused("fraction", path)
    digits = value.literal.lstrip("-").lstrip("0") or "0"
    is_negative = value.literal.startswith("-") and digits != "0"
    if is_negative and spec.kind is Kind.UINT:
        raise Refused("negative", path)
    # Any number of digits is possible, more than int() takes; no cap has more than 30.
    magnitude = int(digits) if len(digits) <= 30 else None
    if magnitude is None or spec.cap is None or magnitude > spec.cap:
        raise Refused("overflow", path)
    return -magnitude if is_negative else magnitude
