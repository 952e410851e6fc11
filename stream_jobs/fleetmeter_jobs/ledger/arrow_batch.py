"""The rows of one commit as exactly one Arrow record batch: usage rows, the blob row, the marker row.

ClickHouse makes one part of one record batch and renames it into place, so that all of a commit appears, or nothing. A
second record batch could become a second part; an empty one would log a token without a commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fleetmeter_schemas.tables import LEDGER

from fleetmeter_jobs.ledger.columns import arrow_type
from fleetmeter_jobs.ledger.errors import BooksError
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Tail
from fleetmeter_jobs.ledger.store import LedgerRows

_MARKER, _BLOB, _USAGE = 1, 2, 3
_STAMPED: Final = (
    "row_kind",
    "topic",
    "partition",
    "epoch",
    "blob_offset",
    "table_partition",
    "commits",
    *Counts.__dataclass_fields__,
    "watermark",
    "committed_at",
    "tail",
    "blob",
)
"""Columns that the commit fills; the native core fills the others of a usage row."""
USAGE_COLUMNS: Final = tuple(name for name in LEDGER.column_names if name not in _STAMPED)
_PLAIN: Final = pa.ipc.IpcWriteOptions()
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="lz4")
_COMPRESS_FROM_BYTES: Final = 256 * 1024
"""Below, compressing each of the hundred columns costs more than it saves."""

ExtraRow = Mapping[str, Any]


def marker_row(
    partition: PartitionId,
    table_partition: int,
    first_offset: int,
    tail: Tail,
    *,
    counts: Counts | None = None,
    commits: int = 0,
    watermark_us: int = 0,
    committed_at_ms: int = 0,
    decision: str = "",
) -> ExtraRow:
    """The row that moves the position from `first_offset` to `tail.next_offset`.

    The one of an operator's `decision` (its kind) has a key of its own, so that it never merges with another row: what
    was decided stays to be read.
    """
    counts = counts or Counts()
    return {
        "row_kind": _MARKER,
        "event_type": decision,
        "blob_offset": first_offset if decision else 0,
        "topic": partition.topic,
        "partition": partition.partition,
        "epoch": partition.epoch,
        "table_partition": table_partition,
        "first_offset": first_offset,
        "next_offset": tail.next_offset,
        "commits": commits,
        **{name: getattr(counts, name) for name in Counts.__dataclass_fields__},
        "watermark": watermark_us,
        "committed_at": committed_at_ms,
        "tail": {name: getattr(tail, name) for name in Tail.__dataclass_fields__},
    }


def blob_row(
    partition: PartitionId, table_partition: int, first_offset: int, next_offset: int, blob: bytes
) -> ExtraRow:
    """The row with the identities that a commit adds."""
    return {
        "row_kind": _BLOB,
        "topic": partition.topic,
        "partition": partition.partition,
        "epoch": partition.epoch,
        "table_partition": table_partition,
        "blob_offset": first_offset,
        "first_offset": first_offset,
        "next_offset": next_offset,
        "blob": blob,
    }


def encode_rows(
    extra: Sequence[ExtraRow],
    usage: pa.RecordBatch | None = None,
    *,
    partition: PartitionId | None = None,
    table_partition: int = 0,
) -> LedgerRows:
    """All rows as one record batch in an Arrow file (lz4-compressed if large), columns exactly as in `ledger`.

    Usage rows (columns as the native core flushes them) get the partition and table partition of the commit. Raises
    BooksError when the core's columns are not the ledger's.
    """
    stamps: dict[str, Any] = {}
    if usage is not None and usage.num_rows:
        if partition is None:
            raise ValueError("usage rows need the partition that they stem from")
        _check_columns(usage)
        stamps = {
            "row_kind": _USAGE,
            "topic": partition.topic,
            "partition": partition.partition,
            "epoch": partition.epoch,
            "table_partition": table_partition,
        }
    else:
        usage = None
    columns = [_column(field, usage, stamps, extra) for field in ledger_schema()]
    batch = pa.RecordBatch.from_arrays(columns, schema=ledger_schema())
    return _encode(batch)


@cache
def ledger_schema() -> pa.Schema:
    """The Arrow schema of the ledger's columns, in their order."""
    fields = []
    for column in LEDGER.columns:
        kind = arrow_type(column.clickhouse_type)
        if column.name == "account_id":
            # A plain String in the table, but the core has it as a dictionary: sent as one, it stays small.
            kind = pa.dictionary(pa.int32(), pa.string())
        fields.append(pa.field(column.name, kind, nullable=False))
    return pa.schema(fields)


def _check_columns(usage: pa.RecordBatch) -> None:
    schema = ledger_schema()
    if set(usage.schema.names) != set(USAGE_COLUMNS) or len(usage.schema.names) != len(USAGE_COLUMNS):
        odd = sorted(set(usage.schema.names) ^ set(USAGE_COLUMNS))
        raise BooksError(f"the native core's usage columns are not the ledger's: {odd}; was it built from this spec?")
    for name in USAGE_COLUMNS:
        column = usage.column(name)
        if column.type != schema.field(name).type:
            raise BooksError(f"usage column {name} is {column.type}, the ledger's is {schema.field(name).type}")
        if column.null_count:
            raise BooksError(f"usage column {name} has {column.null_count} nulls; unknown is the empty string or 0")


def _column(
    field: pa.Field, usage: pa.RecordBatch | None, stamps: Mapping[str, Any], extra: Sequence[ExtraRow]
) -> pa.Array:
    name, kind = field.name, field.type
    values = [row.get(name, _default(kind)) for row in extra]
    if usage is None:
        return _dictionary(values) if pa.types.is_dictionary(kind) else pa.array(values, kind)
    if name in USAGE_COLUMNS:
        column = usage.column(name)
        if pa.types.is_dictionary(kind):
            return _extend_dictionary(column, values)
        return pa.concat_arrays([column, pa.array(values, kind)])
    stamp = stamps.get(name, _default(kind))
    if pa.types.is_dictionary(kind):
        first = pa.DictionaryArray.from_arrays(pa.array(np.zeros(usage.num_rows, np.int32)), [stamp])
        return _extend_dictionary(first, values)
    return pa.concat_arrays([pa.repeat(pa.scalar(stamp, kind), usage.num_rows), pa.array(values, kind)])


def _default(kind: pa.DataType) -> Any:
    if pa.types.is_dictionary(kind):
        return ""
    if pa.types.is_struct(kind):
        return {member.name: _default(member.type) for member in kind}
    return b"" if pa.types.is_binary(kind) else 0


def _dictionary(values: Sequence[str]) -> pa.DictionaryArray:
    words = list(dict.fromkeys(values))
    return pa.DictionaryArray.from_arrays(pa.array([words.index(value) for value in values], pa.int32()), words)


def _extend_dictionary(column: pa.DictionaryArray, values: Sequence[str]) -> pa.DictionaryArray:
    """The column with more values behind it, its dictionary kept and each word in it once."""
    words, places = column.dictionary, []
    new: list[str] = []
    for value in values:
        place = pc.index(words, pa.scalar(value, words.type)).as_py()
        if place < 0:
            if value not in new:
                new.append(value)
            place = len(words) + new.index(value)
        places.append(place)
    if new:
        words = pa.concat_arrays([words, pa.array(new, words.type)])
    return pa.DictionaryArray.from_arrays(pa.concat_arrays([column.indices, pa.array(places, pa.int32())]), words)


def _encode(batch: pa.RecordBatch) -> LedgerRows:
    batch.validate()
    sink = pa.BufferOutputStream()
    options = _COMPRESSED if batch.nbytes >= _COMPRESS_FROM_BYTES else _PLAIN
    with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    body = sink.getvalue()
    with pa.ipc.open_file(body) as reader:
        if reader.num_record_batches != 1 or batch.num_rows == 0:
            raise BooksError(
                f"a commit must be one record batch with rows, not {reader.num_record_batches} with {batch.num_rows}"
            )
    return LedgerRows(batch.num_rows, body)
