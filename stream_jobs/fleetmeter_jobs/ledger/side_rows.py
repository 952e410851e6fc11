"""Rows for the tables beside the ledger. Each has a natural key (Kafka coordinates, or what it is about), so that a
flush that is tried again, or made again by another worker, writes the same rows once more and changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from fleetmeter_schemas.decoding import decode_json
from fleetmeter_schemas.events import EVENT_TYPES, EventData
from fleetmeter_schemas.explain import explain
from fleetmeter_schemas.fields import Kind, field_table
from fleetmeter_schemas.reasons import Reason
from fleetmeter_schemas.tables import (
    QUARANTINE,
    TABLES,
    USAGE_ADJUSTMENTS,
    USAGE_ESTIMATES,
    USAGE_FACTS,
    USAGE_SUBJECTS,
    WATERMARKS,
    Table,
)
from fleetmeter_schemas.timestamps import parse_rfc3339

from fleetmeter_jobs.ledger.columns import arrow_type
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import SideRows

# What ClickHouse's DateTime64 holds: 1900-01-01 to 2299-12-31 (beyond it, values wrap without a word).
_EARLIEST_US: Final = -2_208_988_800_000_000
_LATEST_US: Final = 10_413_791_999_999_999


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record or event that was not counted."""

    offset: int
    event_index: int
    append_time_ms: int
    code: int
    """The reason's number."""
    field: str
    payload: bytes
    """The event's own bytes, whole."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One accepted event that keeps a row of its own."""

    offset: int
    event_index: int
    event_json: bytes
    """Structured CloudEvents JSON, already judged valid by the native core."""


def quarantine_rows(
    partition: PartitionId, rejections: Iterable[Rejection], *, payload_limit_bytes: int
) -> tuple[SideRows, ...]:
    """A quarantine row for each rejection, with the sentence that explains it; payloads are cut at the limit."""
    rows = [
        {
            **_coordinates(partition, rejection.offset, rejection.event_index),
            "append_time": rejection.append_time_ms,
            "reason": Reason.of_number(rejection.code).code,
            "field": rejection.field,
            "sentence": explain(rejection.code, rejection.field, rejection.payload),
            "payload": rejection.payload[:payload_limit_bytes],
            "payload_bytes": len(rejection.payload),
            "replayed_at": None,
            "version": 0,
        }
        for rejection in rejections
    ]
    return _side_rows(QUARANTINE, rows)


def fact_rows(partition: PartitionId, facts: Iterable[Fact], *, label_keys: Collection[str]) -> tuple[SideRows, ...]:
    """Rows of facts, estimates and adjustments. Of labels only those with an allowed key are kept."""
    rows: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for fact in facts:
        event = decode_json(fact.event_json)
        model = EVENT_TYPES[event["type"]]
        rows[fact_table(model, event["data"]).name].append(
            {
                "account_id": event["subject"],
                "event_type": model.SHORT,
                "source": event["source"],
                "event_id": event["id"],
                "time": parse_rfc3339(event["time"]),
                **_data_values(model, event["data"], label_keys),
                **_coordinates(partition, fact.offset, fact.event_index),
            }
        )
    return tuple(side_rows for name, some in rows.items() for side_rows in _side_rows(TABLES[name], some))


def fact_table(model: type[EventData], data: Mapping[str, Any]) -> Table:
    """Where an event that does not roll up has its row."""
    if model.SHORT == "adjustment":
        return USAGE_ADJUSTMENTS
    if model.SHORT == "device_report" and data["kind"] == "estimate":
        return USAGE_ESTIMATES
    return USAGE_FACTS


def subject_rows(subjects: pa.RecordBatch) -> tuple[SideRows, ...]:
    """The distinct subjects of a flush, as the native core gives them."""
    if not subjects.num_rows:
        return ()
    moments = pa.timestamp("us", tz="UTC")
    columns = {
        "account_id": subjects.column("account_id"),
        "day": pc.cast(subjects.column("day"), pa.uint16()),
        "subject_kind": subjects.column("subject_kind"),
        "subject": subjects.column("subject"),
        "first_seen": subjects.column("first_seen_us").cast(pa.int64()).cast(moments),
        "last_seen": subjects.column("last_seen_us").cast(pa.int64()).cast(moments),
    }
    return (SideRows(USAGE_SUBJECTS.name, pa.record_batch(columns)),)


def watermark_rows(partition: PartitionId, watermark_us: int, next_offset: int) -> tuple[SideRows, ...]:
    """Time up to which an idle partition, at `next_offset`, is known to hold nothing more."""
    row = {
        "topic": partition.topic,
        "partition": partition.partition,
        "epoch": partition.epoch,
        "watermark": watermark_us,
        "next_offset": next_offset,
    }
    return _side_rows(WATERMARKS, [row])


def _coordinates(partition: PartitionId, offset: int, event_index: int) -> dict[str, Any]:
    return {
        "topic": partition.topic,
        "partition": partition.partition,
        "epoch": partition.epoch,
        "offset": offset,
        "event_index": event_index,
    }


def _data_values(model: type[EventData], data: Mapping[str, Any], label_keys: Collection[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for spec in field_table(model):
        value = data.get(spec.name)
        if value is None or value == "":
            continue
        if spec.kind is Kind.TIME:
            value = min(max(parse_rfc3339(value), _EARLIEST_US), _LATEST_US)
        elif spec.kind is Kind.LABELS:
            value = _canonical_labels(value, label_keys)
        values[spec.name] = value
    return values


def _canonical_labels(labels: Mapping[str, str], label_keys: Collection[str]) -> str:
    kept = sorted((key for key in labels if key in label_keys), key=str.encode)
    return orjson.dumps({key: labels[key] for key in kept}).decode() if kept else ""


def _side_rows(table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[SideRows, ...]:
    if not rows:
        return ()
    arrays, fields = [], []
    for column in table.columns:
        kind = arrow_type(column.clickhouse_type)
        nullable = column.clickhouse_type.startswith("Nullable(")
        missing = None if nullable else "" if pa.types.is_dictionary(kind) or pa.types.is_binary(kind) else 0
        arrays.append(pa.array([row.get(column.name, missing) for row in rows], kind))
        fields.append(pa.field(column.name, kind, nullable=nullable))
    return (SideRows(table.name, pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))),)
