"""What stands in `dedup_snapshots`: what a chunk, or a state of sequenced ids, was made of, and its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

import numpy as np
import pyarrow as pa
from fleetmeter_schemas.tables import DEDUP_IDS, DEDUP_SNAPSHOTS, Table

from fleetmeter_jobs.ledger.columns import arrow_type
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import SideRows

SLICE_BYTES: Final = 16 * 2**20
"""Content is cut into slices of so many bytes, so that no row is large for ClickHouse."""
_IDS_OF_ONE_INSERT: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(IntEnum):
    """As in the table."""

    CHUNK = 1
    SEQUENCED = 2
    FORGOTTEN = 3


@dataclass(frozen=True, slots=True)
class Content:
    """What is stored beside the numbers."""

    hours: bytes = b""
    filter: bytes = b""
    state: bytes = b""

    @property
    def digest(self) -> bytes:
        """Names this content; equal for equal content only."""
        made = hashlib.blake2b(digest_size=16)
        for part in (self.hours, self.filter, self.state):
            made.update(len(part).to_bytes(8, "little"))
            made.update(part)
        return made.digest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """One entry of `dedup_snapshots`, all slices of it."""

    partition: PartitionId
    kind: Kind
    first_offset: int
    next_offset: int
    digest: bytes
    """Of the content."""
    foreign_ids: int = 0
    identities_ever: int = 0
    append_day: int = 0
    forgotten_before: int = 0
    """Both days are counted from 1970-01-01 (UTC)."""
    filter_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.partition}, {self.kind.name.lower()} {self.first_offset}..{self.next_offset}"


@dataclass(frozen=True, slots=True)
class IdsSum:
    """Tells whether all ids of a chunk are there, and no others: how many distinct ones, and all of them XORed."""

    count: int
    xor: int

    @classmethod
    def of(cls, fingerprints: pa.FixedSizeBinaryArray) -> IdsSum:
        """Of fingerprints that are distinct."""
        words = pa.Array.from_buffers(
            pa.uint64(), 2 * len(fingerprints), [None, fingerprints.buffers()[1]], offset=2 * fingerprints.offset
        ).to_numpy()
        low, high = (int(np.bitwise_xor.reduce(words[half::2])) for half in (0, 1))
        return cls(len(fingerprints), low | high << 64)


def manifest_rows(manifest: Manifest, content: Content, written_at_ms: int) -> SideRows:
    """The rows of a manifest; its digest must be the content's."""
    if manifest.digest != content.digest:
        raise ValueError(f"{manifest}: the digest is not that of the content")
    filters, states = _slices(content.filter), _slices(content.state)
    count = max(len(filters), len(states))
    rows = [
        {
            "topic": manifest.partition.topic,
            "partition": manifest.partition.partition,
            "epoch": manifest.partition.epoch,
            "kind": manifest.kind,
            "first_offset": manifest.first_offset,
            "next_offset": manifest.next_offset,
            "digest": manifest.digest,
            "slice": number,
            "slices": count,
            "foreign_ids": manifest.foreign_ids,
            "identities_ever": manifest.identities_ever,
            "append_day": manifest.append_day,
            "forgotten_before": manifest.forgotten_before,
            "hours": b"" if number else content.hours,
            "filter": filters[number] if number < len(filters) else b"",
            "state": states[number] if number < len(states) else b"",
            "written_at": _EPOCH + timedelta(milliseconds=written_at_ms),
        }
        for number in range(count)
    ]
    return SideRows(DEDUP_SNAPSHOTS.name, _batch(DEDUP_SNAPSHOTS, {key: [row[key] for row in rows] for key in rows[0]}))


def id_rows(manifest: Manifest, fingerprints: pa.FixedSizeBinaryArray) -> list[SideRows]:
    """The ids of a chunk, some in each insert."""
    made = []
    for start in range(0, len(fingerprints), _IDS_OF_ONE_INSERT):
        some = fingerprints.slice(start, _IDS_OF_ONE_INSERT)
        same = {
            "topic": manifest.partition.topic,
            "partition": manifest.partition.partition,
            "epoch": manifest.partition.epoch,
            "chunk_first": manifest.first_offset,
            "chunk_next": manifest.next_offset,
            "append_day": manifest.append_day,
        }
        columns: dict[str, Any] = {name: _repeated(DEDUP_IDS, name, value, len(some)) for name, value in same.items()}
        made.append(SideRows(DEDUP_IDS.name, _batch(DEDUP_IDS, {**columns, "fingerprint": some})))
    return made


def _slices(content: bytes) -> list[bytes]:
    return [content[start : start + SLICE_BYTES] for start in range(0, len(content), SLICE_BYTES)] or [b""]


def _repeated(table: Table, name: str, value: object, count: int) -> pa.Array:
    kind = _types(table)[name]
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, kind.index_type), count), [value])
    return pa.repeat(pa.scalar(value, kind), count)


def _types(table: Table) -> dict[str, pa.DataType]:
    return {column.name: arrow_type(column.clickhouse_type) for column in table.columns}


def _batch(table: Table, columns: dict[str, Any]) -> pa.RecordBatch:
    arrays, fields = [], []
    for name, kind in _types(table).items():
        values = columns[name]
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, kind))
        fields.append(pa.field(name, kind, nullable=False))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
