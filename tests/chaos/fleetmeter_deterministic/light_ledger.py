"""The ledger double without Arrow: rows travel as they are, which makes a commit some ten times as fast.

What Arrow does to rows is tested elsewhere, and a share of the schedules goes through it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest import mock

import pyarrow as pa
from fleetmeter_doubles import MemoryLedger, MemoryPart
from fleetmeter_jobs.ledger import first_commit
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import LedgerRows

# The package has a function of this name.
commit_module = importlib.import_module("fleetmeter_jobs.ledger.commit")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKER, _BLOB = 1, 2


@dataclass(frozen=True)
class Block:
    """What would be one record batch."""

    extra: tuple[Mapping[str, Any], ...]
    usage: pa.RecordBatch | None
    partition: PartitionId
    table_partition: int


@dataclass(frozen=True)
class LightBody:
    """What would be the bytes of an insert. In Arrow's file format one that was cut is an error; a stream that was cut
    between two record batches looks whole."""

    blocks: tuple[Block, ...]
    cut_is_seen: bool = True


def light_rows(
    extra: Sequence[Mapping[str, Any]],
    usage: pa.RecordBatch | None = None,
    *,
    partition: PartitionId | None = None,
    table_partition: int = 0,
) -> LedgerRows:
    """In place of `arrow_batch.encode_rows`."""
    (where,) = {row["table_partition"] for row in extra}
    (whose,) = {PartitionId(row["topic"], row["partition"], row["epoch"]) for row in extra}
    block = Block(tuple(extra), usage if usage is not None and usage.num_rows else None, whose, where)
    return LedgerRows(len(extra), cast("pa.Buffer", LightBody((block,))))


@contextmanager
def without_arrow() -> Iterator[None]:
    """Production code encodes its rows lightly meanwhile."""
    with (
        mock.patch.object(commit_module, "encode_rows", light_rows),
        mock.patch.object(first_commit, "encode_rows", light_rows),
    ):
        yield


class LightLedger(MemoryLedger):
    """A MemoryLedger that reads light bodies."""

    def _read(self, rows: LedgerRows, token: str, *, cut: bool) -> MemoryPart:
        body = cast("LightBody", rows.body)
        if not isinstance(body, LightBody):
            return super()._read(rows, token, cut=cut)
        blocks = body.blocks
        if cut:
            if body.cut_is_seen or len(blocks) == 1:
                raise StoreUnavailableError(f"{token}: the body ends too early")
            blocks = blocks[:1]
        extra = [row for block in blocks for row in block.extra]
        usage = [block.usage for block in blocks if block.usage is not None]
        return MemoryPart(
            token,
            blocks[0].partition,
            blocks[0].table_partition,
            [_as_read(row) for row in extra if row["row_kind"] == _MARKER],
            [dict(row) for row in extra if row["row_kind"] == _BLOB],
            cast("pa.Table", usage[0] if usage else _NO_USAGE),
        )


_NO_USAGE = pa.record_batch({"requests": pa.array([], pa.uint64()), "fallbacks": pa.array([], pa.uint64())})


def _as_read(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "watermark": _EPOCH + timedelta(microseconds=row["watermark"])}
