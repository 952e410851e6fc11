"""The Arrow schemas of the events, for producers that send volume: one IPC stream holds events of one type.

Needs pyarrow, which the base install leaves out: `pip install 'fleetmeter[jobs]'`.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from fleetmeter_schemas.events import EventData
from fleetmeter_schemas.fields import FieldSpec, Kind, field_table

TYPE_KEY: Final = b"fleetmeter.type"
"""Schema metadata key that names the event type."""

_TIME = pa.timestamp("us", tz="UTC")
_ARROW_TYPES: Final = {
    Kind.STRING: pa.string(),
    Kind.LABELS: pa.string(),
    Kind.UINT: pa.uint64(),
    Kind.INT: pa.int64(),
    Kind.TIME: _TIME,
}


def arrow_schema(model: type[EventData]) -> pa.Schema:
    """The schema of a stream of one event type: the envelope's columns, then the data's fields; null means absent."""
    envelope = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("time", _TIME, nullable=False),
    ]
    return pa.schema([*envelope, *map(_field, field_table(model))], metadata={TYPE_KEY: model.TYPE.encode()})


def _field(spec: FieldSpec) -> pa.Field:
    return pa.field(spec.name, _ARROW_TYPES[spec.kind], nullable=not spec.required)
