"""ClickHouse column types as Arrow types, for building inserts."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import pyarrow as pa

_PLAIN: Final = {
    "String": pa.binary(),
    "FixedString(16)": pa.binary(16),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "Array(UInt64)": pa.list_(pa.uint64()),
    "Date": pa.uint16(),
    "DateTime('UTC')": pa.uint32(),
    "DateTime64(3, 'UTC')": pa.timestamp("ms", tz="UTC"),
    "DateTime64(6, 'UTC')": pa.timestamp("us", tz="UTC"),
    "LowCardinality(String)": pa.dictionary(pa.int32(), pa.string()),
}
_AGGREGATE: Final = re.compile(r"SimpleAggregateFunction\(\s*\w+\s*,\s*(?P<value>.+)\)", re.DOTALL)
_NULLABLE: Final = re.compile(r"Nullable\((?P<value>.+)\)", re.DOTALL)
_TUPLE: Final = re.compile(r"Tuple\((?P<members>.+)\)", re.DOTALL)


def value_type(clickhouse_type: str) -> str:
    """The type of the values of a column: `SimpleAggregateFunction(sum, UInt64)` holds `UInt64`."""
    match = _AGGREGATE.fullmatch(clickhouse_type)
    return match["value"].strip() if match else clickhouse_type


@cache
def arrow_type(clickhouse_type: str) -> pa.DataType:
    """The Arrow type to send for a column; raises ValueError for a type that nothing here writes."""
    inner = value_type(clickhouse_type)
    if match := _NULLABLE.fullmatch(inner):
        return arrow_type(match["value"])
    if inner.startswith("Enum8("):
        return pa.int8()
    if match := _TUPLE.fullmatch(inner):
        members = [member.strip().split(" ", 1) for member in match["members"].split(",")]
        return pa.struct([pa.field(name, arrow_type(kind), nullable=False) for name, kind in members])
    try:
        return _PLAIN[inner]
    except KeyError:
        raise ValueError(f"no Arrow type is known for the ClickHouse type {clickhouse_type!r}") from None
