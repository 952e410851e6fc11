"""The recorded events in each wire format.

Records of JSON hold one event each, as recorded. The other formats gather events of one source, whose order they keep.
What a format can't hold (bytes that are no JSON, a text where Arrow has a number) is sent as it was recorded, alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

import pyarrow as pa
from fleetmeter_schemas import EVENT_TYPES, EventData
from fleetmeter_schemas.arrow import arrow_schema
from fleetmeter_schemas.fields import Kind, field_table
from fleetmeter_schemas.timestamps import parse_rfc3339

from fleetmeter_golden.recording import EVENT_LIMIT_BYTES, Sent

Format = Literal["json", "array", "ndjson", "arrow", "binary"]
FORMATS_OF_VALUES: Final[tuple[Format, ...]] = ("json", "array", "ndjson", "arrow")
"""All but CloudEvents' binary mode, which has most of an event in headers."""
EVENTS_A_RECORD: Final = 5
_ENVELOPE: Final = ("id", "source", "subject", "time")


def in_format(format_: Format, records: Iterable[Sent]) -> list[Sent]:
    """The recorded records in a wire format."""
    if format_ == "json":
        return list(records)
    if format_ == "binary":
        return [_in_headers(sent) for sent in records]
    group_of, join = _HOW[format_]
    return list(_gathered(records, group_of, join))


def _gathered(
    records: Iterable[Sent], group_of: Callable[[bytes], object], join: Callable[[list[bytes]], bytes]
) -> Iterator[Sent]:
    """Consecutive values of one key and group in one record; a value without a group is a record by itself."""
    waiting: dict[bytes, tuple[object, list[bytes]]] = {}
    for sent in records:
        group = None if sent.value is None else group_of(sent.value)
        if sent.key in waiting and (group is None or waiting[sent.key][0] != group):
            yield Sent(sent.key, join(waiting.pop(sent.key)[1]))
        if sent.value is None or group is None:
            yield sent
            continue
        _, values = waiting.setdefault(sent.key, (group, []))
        values.append(sent.value)
        if len(values) == EVENTS_A_RECORD:
            yield Sent(sent.key, join(waiting.pop(sent.key)[1]))
    for key, (_, values) in waiting.items():
        yield Sent(key, join(values))


def _in_headers(sent: Sent) -> Sent:
    """One event in CloudEvents' binary mode; as it was recorded if it would not be the same there."""
    event = None if sent.value is None else _decoded(sent.value)
    attributes = () if event is None else tuple((name, value) for name, value in event.items() if name != "data")
    if event is None or "data" not in event or not all(isinstance(value, str) for _, value in attributes):
        return sent
    try:
        data = json.dumps(event["data"], ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return sent
    headers = tuple((f"ce_{name}", value.encode("utf-8", "surrogatepass")) for name, value in attributes)
    too_long = len(data) + sum(len(name) + len(value) + 8 for name, value in headers) > EVENT_LIMIT_BYTES - 64
    return sent if too_long else Sent(sent.key, data, headers)


def _if_json(value: bytes) -> object:
    """A group for JSON objects that may stand in an array or on a line of their own."""
    return "json" if _decoded(value) is not None and len(value) <= EVENT_LIMIT_BYTES else None


def _decoded(value: bytes) -> dict[str, Any] | None:
    """The object in a value, unless it is none, or one whose keys repeat: decoding would hide that."""
    repeats = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        repeats |= len(dict(found)) < len(found)
        return dict(found)

    try:
        event = json.loads(value, object_pairs_hook=pairs)
    except ValueError:
        return None
    return event if isinstance(event, dict) and not repeats else None


def _arrow_type(value: bytes) -> object:
    """The event type, for events that Arrow's columns can hold."""
    event = _decoded(value)
    if event is None or len(value) > EVENT_LIMIT_BYTES or set(event) != {"specversion", "type", "data", *_ENVELOPE}:
        return None
    model = EVENT_TYPES.get(event["type"])
    if model is None:
        return None
    try:
        _stream(model, [event])
    except (ValueError, TypeError, OverflowError):  # pa.ArrowInvalid and pa.ArrowTypeError are among them
        return None
    return model.TYPE


def _as_arrow(values: list[bytes]) -> bytes:
    events = [event for value in values if (event := _decoded(value)) is not None]
    return _stream(EVENT_TYPES[events[0]["type"]], events)


def _stream(model: type[EventData], events: list[dict[str, Any]]) -> bytes:
    """Raises ValueError, TypeError or OverflowError for what the columns can't hold."""
    schema = arrow_schema(model)
    kinds = {spec.name: spec.kind for spec in field_table(model)}
    rows = [_row(event, kinds) for event in events]
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    batch = pa.record_batch(columns, schema=schema)
    batch.validate(full=True)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _row(event: dict[str, Any], kinds: dict[str, Kind]) -> dict[str, Any]:
    if unknown := set(event["data"]) - set(kinds):
        raise ValueError(f"no column for {sorted(unknown)}")
    row = {name: event[name] for name in _ENVELOPE} | {"time": parse_rfc3339(event["time"])}
    for name, value in event["data"].items():
        match kinds[name]:
            case Kind.TIME:
                row[name] = parse_rfc3339(value)
            case Kind.LABELS:
                row[name] = json.dumps(value, ensure_ascii=False)
            case Kind.UINT | Kind.INT if not isinstance(value, int):
                raise TypeError(f"{name} is no whole number: {value!r}")  # Arrow would round 1.0 without a word
            case _:
                row[name] = value
    return row


_HOW: Final[dict[str, tuple[Callable[[bytes], object], Callable[[list[bytes]], bytes]]]] = {
    "array": (_if_json, lambda values: b"[" + b",".join(values) + b"]"),
    "ndjson": (_if_json, b"\n".join),
    "arrow": (_arrow_type, _as_arrow),
}
