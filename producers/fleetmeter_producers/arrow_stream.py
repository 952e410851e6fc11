"""Events of one type as an Arrow IPC stream. Needs pyarrow, which the base install does not bring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.fields import Kind, field_table
from fleetmeter_schemas.timestamps import parse_rfc3339


def arrow_stream(type_name: str, events: Iterable[Mapping[str, Any]]) -> bytes:
    """CloudEvents of one type, each as its JSON object reads, in one record batch.

    Raises pyarrow's errors, or `KeyError`, for events that the contract does not allow.
    """
    import pyarrow as pa  # noqa: PLC0415  (not part of the base install)
    from fleetmeter_schemas.arrow import arrow_schema  # noqa: PLC0415  (needs pyarrow)

    model = EVENT_TYPES[type_name]
    schema = arrow_schema(model)
    kinds = {spec.name: spec.kind for spec in field_table(model)}
    rows = [_row(event, kinds) for event in events]
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    value: bytes = sink.getvalue().to_pybytes()
    return value


def _row(event: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": event["id"],
        "source": event["source"],
        "subject": event["subject"],
        "time": parse_rfc3339(event["time"]),
    }
    for name, value in event["data"].items():
        if kinds[name] is Kind.TIME:
            row[name] = parse_rfc3339(value)
        elif kinds[name] is Kind.LABELS:
            row[name] = orjson.dumps(value).decode()
        else:
            row[name] = value
    return row
