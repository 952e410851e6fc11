"""Rows of an Arrow IPC stream as the CloudEvents that they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.fields import FieldSpec, Kind, field_table

from fleetmeter_reference import json_text
from fleetmeter_reference.json_text import NotJson, Number, Object
from fleetmeter_reference.outcome import Refused

_ENVELOPE = ("id", "source", "subject", "time")
_DAY_US = 86_400_000_000
_FIRST_US, _END_US = -719_162 * _DAY_US, 2_932_897 * _DAY_US  # years 0001 to 9999


def events_of(value: bytes) -> list[Object]:
    """One decoded event a row; raises `Refused` where the stream as a whole is not one of events."""
    try:
        source = pa.BufferReader(value)
        with pa.ipc.open_stream(source) as reader:
            schema, batches = reader.schema, list(reader)
            behind = value[source.tell() :]
        for batch in batches:
            batch.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, ValueError) as error:
        raise Refused("bad_arrow") from error
    if behind.strip(b"\0"):
        raise Refused("bad_arrow")
    type_name = (schema.metadata or {}).get(b"fleetmeter.type")
    if type_name is None:
        raise Refused("bad_arrow", "fleetmeter.type")
    model = EVENT_TYPES.get(type_name.decode("utf-8", "replace"))
    if model is None:
        raise Refused("unknown_type", "type")
    table = {spec.name: spec for spec in field_table(model)}
    _check_columns(schema, table)
    return [
        _event(model.TYPE, dict(zip(schema.names, row, strict=True)), table)
        for batch in batches
        for row in zip(*(_cells(column) for column in batch.columns), strict=True)
    ]


def _check_columns(schema: pa.Schema, table: dict[str, FieldSpec]) -> None:
    """Refuse a stream for its first column that is missing, doubled or of another type; the envelope comes first."""
    wanted = [(name, name, Kind.TIME if name == "time" else Kind.STRING, True) for name in _ENVELOPE]
    wanted += [(spec.name, f"data.{spec.name}", spec.kind, spec.required) for spec in table.values()]
    for name, path, kind, required in wanted:
        found = [field for field in schema if field.name == name]
        if len(found) > 1 or (required and not found):
            raise Refused("bad_arrow", path)
        if found and not _is_of_kind(found[0].type, kind):
            raise Refused("bad_arrow", path)


def _is_of_kind(type_: pa.DataType, kind: Kind) -> bool:
    if kind in (Kind.UINT, Kind.INT):
        return bool(pa.types.is_integer(type_))
    if kind is Kind.TIME:
        return bool(type_ == pa.timestamp("us", tz="UTC"))
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _cells(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        return list(column.cast(pa.int64()).to_pylist())
    return list(column.to_pylist())


def _event(type_name: str, row: dict[str, Any], table: dict[str, FieldSpec]) -> Object:
    members: list[tuple[str, Any]] = [("specversion", "1.0"), ("type", type_name)]
    members += [(name, row[name]) for name in ("id", "source", "subject")]
    members.append(("time", _rfc3339(row["time"])))
    data = []
    for name, cell in row.items():
        if name in table:
            data.append((name, _json_value(table[name].kind, cell)))
        elif name not in _ENVELOPE:
            data.append((name, None))  # only its name counts
    return Object([*members, ("data", Object(data))])


def _json_value(kind: Kind, cell: Any) -> Any:
    if cell is None:
        return None
    if kind in (Kind.UINT, Kind.INT):
        return Number(str(cell))
    if kind is Kind.TIME:
        return _rfc3339(cell)
    if kind is Kind.LABELS:
        return _labels(cell)
    return cell


def _labels(text: str) -> Any:
    """The labels object in a cell; a text that holds none stands for itself, and is then of the wrong type."""
    if text == "":
        return None
    try:
        json_text.check(text)
    except NotJson:
        return text
    value = json_text.decode(text) if json_text.depth(text) <= json_text.DEEPEST else text
    return value if isinstance(value, Object) else text


def _rfc3339(micros: int | None) -> str | None:
    """The text of an instant; one outside the years that RFC 3339 can write is no time."""
    if micros is None:
        return None
    if not _FIRST_US <= micros < _END_US:
        return f"{micros} us"
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return instant.isoformat(timespec="microseconds")
