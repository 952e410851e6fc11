"""The wire formats: events of one source gathered into records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.fields import Kind, field_table
from fleetmeter_schemas.timestamps import parse_rfc3339

from fleetmeter_producers.simulator.malformed import Fit
from fleetmeter_producers.simulator.planned import Broken, Planned, Record
from fleetmeter_producers.simulator.servers import Identity


class Emission(NamedTuple):
    """One event on its way: who sends it, what it is, its JSON, and where that may stand."""

    identity: Identity
    item: Planned | Broken
    value: bytes | None
    fit: Fit


class Batches:
    """Gathers emissions into records. The order within a source (for Arrow: a source and type) is kept."""

    def __init__(self, batch_events: int) -> None:
        self._batch_events = batch_events
        self._waiting: dict[tuple[str, str], list[Emission]] = {}

    def add(self, emission: Emission) -> Record | None:
        """The record that this emission completes, if any."""
        identity, item, value, fit = emission
        wire_format = identity.wire_format
        if wire_format == "json" or fit is Fit.ALONE:
            return Record(identity.key, value, (item,))
        kind = ""
        if wire_format == "arrow":
            if isinstance(item, Broken):
                return Record(identity.key, value, (item,))
            kind = item.body.type_name
        elif wire_format == "array" and fit is not Fit.ELEMENT:
            return Record(identity.key, value, (item,))
        waiting = self._waiting.setdefault((identity.source, kind), [])
        waiting.append(emission)
        if len(waiting) < self._batch_events:
            return None
        del self._waiting[identity.source, kind]
        return _record(waiting)

    def rest(self) -> Iterator[Record]:
        """The records that were not full."""
        for waiting in self._waiting.values():
            yield _record(waiting)
        self._waiting.clear()


def _record(emissions: list[Emission]) -> Record:
    identity = emissions[0].identity
    items = tuple(emission.item for emission in emissions)
    if identity.wire_format == "arrow":
        value = _arrow([item for item in items if isinstance(item, Planned)])
    else:
        values = [emission.value for emission in emissions if emission.value is not None]
        value = b"\n".join(values) if identity.wire_format == "ndjson" else b"[" + b",".join(values) + b"]"
    return Record(identity.key, value, items)


def _arrow(events: list[Planned]) -> bytes:
    """An Arrow IPC stream of events of one type."""
    import pyarrow as pa  # noqa: PLC0415  (not part of the base install; needed for this format only)
    from fleetmeter_schemas.arrow import arrow_schema  # noqa: PLC0415  (needs pyarrow)

    model = EVENT_TYPES[events[0].body.type_name]
    schema = arrow_schema(model)
    kinds = {spec.name: spec.kind for spec in field_table(model)}
    rows = [_row(event, kinds) for event in events]
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    value: bytes = sink.getvalue().to_pybytes()
    return value


def _row(event: Planned, kinds: dict[str, Kind]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": event.event_id,
        "source": event.source,
        "subject": event.account,
        "time": event.time_us,
    }
    for name, value in {**event.body.data, **event.subjects.fields, **event.details}.items():
        if kinds[name] is Kind.TIME:
            row[name] = parse_rfc3339(value)
        elif kinds[name] is Kind.LABELS:
            row[name] = orjson.dumps(value).decode()
        else:
            row[name] = value
    return row
