"""The ledger in ClickHouse: the commit protocol's operations as statements."""

# ruff: noqa: S608  (statements are put together from our own constants only; every value is bound by ClickHouse)

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

import pyarrow as pa
from fleetmeter_schemas.tables import (
    LEDGER,
    PARTITION_GROWTH,
    POSITION_CHANGES,
    QUARANTINE,
    TABLES,
    USAGE_ADJUSTMENTS,
    USAGE_ESTIMATES,
    USAGE_FACTS,
)

from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.columns import value_type
from fleetmeter_jobs.ledger.dedup.clickhouse_dedup import ClickHouseDedup
from fleetmeter_jobs.ledger.errors import DedupStateError
from fleetmeter_jobs.ledger.pinned import COMMIT_SETTINGS, READ_SETTINGS, SIDE_ROW_SETTINGS
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position, Tail
from fleetmeter_jobs.ledger.store import (
    Blob,
    Decision,
    GrowthStep,
    Guard,
    LedgerRows,
    NoHashKey,
    NoPosition,
    PositionIs,
    Reason,
    SideRows,
    Tally,
)

BLOB_PAGE_BYTES: Final = 16 * 2**20
"""How many bytes of blobs are asked for at once; a single larger blob still comes whole."""

_OF_LOG: Final = "topic = {topic:String} AND partition = {partition:UInt32}"
_OF_PARTITION: Final = f"{_OF_LOG} AND epoch = {{epoch:UInt32}}"
_SUMS: Final = ", ".join(f"sum({name})" for name in Counts.__dataclass_fields__)
_POSITION: Final = (
    "minIf(first_offset, row_kind = 'marker'), maxIf(next_offset, row_kind = 'marker'), "
    "maxIf(tail, row_kind = 'marker'), "
    f"{_SUMS}, sum(commits), toUnixTimestamp64Micro(max(watermark))"
)
"""What makes a Position out of marker rows, merged or not; `_read_position` takes the answer."""
NOT_LEFT_OUT: Final = (
    "NOT arrayExists(span -> offset >= span.1 AND offset < span.2, {left_out:Array(Tuple(UInt64, UInt64))})"
)
"""A worker may have written rows for offsets whose commit was never made, since an operator left them out."""
_FACT_TABLES: Final = (USAGE_FACTS.name, USAGE_ESTIMATES.name, USAGE_ADJUSTMENTS.name)
_STRUCTURE: Final = ", ".join(f"{column.name} {value_type(column.clickhouse_type)}" for column in LEDGER.columns)


class ClickHouseStore(ClickHouseDedup):
    """A `LedgerStore` over HTTP. Thread-safe. `ledger` names the table; the canary has one of its own."""

    @classmethod
    def connect(
        cls,
        url: str,
        user: str,
        password: str,
        database: str,
        *,
        insert_timeout_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """A store at an address. Opens no connection yet: the first statement does."""
        return cls(ClickHouseHttp(url, user, password, database, timeout_s=insert_timeout_s, tls=tls))

    def position(self, partition: PartitionId) -> Position | None:
        """See `LedgerStore.position`."""
        return dict(self.epochs(partition.topic, partition.partition)).get(partition)

    def epochs(self, topic: str, partition: int) -> list[tuple[PartitionId, Position]]:
        """See `LedgerStore.epochs`."""
        rows = self.http.rows(
            f"SELECT epoch, {_POSITION} FROM {self.ledger} WHERE row_kind = 'marker' AND {_OF_LOG} "
            "GROUP BY epoch ORDER BY epoch",
            parameters={"topic": topic, "partition": partition},
            settings=READ_SETTINGS,
        )
        newest = rows[-1][0] if rows else None
        return [
            (PartitionId(topic, partition, epoch), _read_position(members, None if epoch == newest else newest))
            for epoch, *members in rows
        ]

    def decisions(self, topic: str, partition: int) -> list[Decision]:
        """See `LedgerStore.decisions`."""
        return self._decisions(_OF_LOG, {"topic": topic, "partition": partition})

    def topic_decisions(self, topic: str) -> list[Decision]:
        """See `LedgerStore.topic_decisions`."""
        return self._decisions("topic = {topic:String}", {"topic": topic})

    def growth_steps(self, topic: str) -> list[GrowthStep]:
        """See `LedgerStore.growth_steps`."""
        rows = self.http.rows(
            "SELECT growth, step, nonce, topic_id, old_partitions, new_partitions, settle_s, ends, who, "
            f"toUnixTimestamp64Milli(at) FROM {PARTITION_GROWTH.name} FINAL WHERE topic = {{topic:String}}",
            parameters={"topic": topic},
            settings=READ_SETTINGS,
        )
        return [
            GrowthStep(growth, step, nonce, topic_id, old, new, settle_s, tuple(ends), who, at_ms)
            for growth, step, nonce, topic_id, old, new, settle_s, ends, who, at_ms in rows
        ]

    def _decisions(self, condition: str, parameters: dict[str, object]) -> list[Decision]:
        rows = self.http.rows(
            "SELECT partition, epoch, event_type, first_offset, next_offset, skipped_offsets, tail.nonce, topic "
            f"FROM {self.ledger} WHERE row_kind = 'marker' AND event_type != '' AND {condition} "
            "ORDER BY partition, epoch, first_offset, next_offset",
            parameters=parameters,
            settings=READ_SETTINGS,
        )
        return [Decision(PartitionId(topic, number, epoch), *members) for number, epoch, *members, topic in rows]

    def insert(self, rows: LedgerRows, guard: Guard, token: str) -> None:
        """See `LedgerStore.insert`."""
        condition, parameters = self._condition(guard)
        structure = _STRUCTURE.replace("'", "\\'")
        self.http.execute(
            f"INSERT INTO {self.ledger} ({', '.join(LEDGER.column_names)}) "
            f"SELECT * FROM input('{structure}') WHERE {condition} FORMAT Arrow",
            parameters=parameters,
            settings={**COMMIT_SETTINGS, "insert_deduplication_token": token},
            data=rows.body,
        )

    def hash_key(self) -> bytes | None:
        """See `LedgerStore.hash_key`."""
        keys = self.http.rows(
            f"SELECT DISTINCT hex(blob) FROM {self.ledger} WHERE row_kind = 'blob' AND topic = ''",
            settings=READ_SETTINGS,
        )
        if len(keys) > 1:
            raise DedupStateError(f"{self.ledger} has {len(keys)} hash keys; no state can be restored with certainty")
        return bytes.fromhex(keys[0][0]) if keys else None

    def blobs(self, partition: PartitionId, before: int, first: int = 0) -> Iterator[Blob]:
        """See `LedgerStore.blobs`. Holds about BLOB_PAGE_BYTES at a time."""
        parameters = {**_parameters(partition), "from": first, "before": before}
        sizes = self.http.rows(
            f"SELECT blob_offset, length(blob) FROM {self.ledger} "
            f"WHERE row_kind = 'blob' AND {_OF_PARTITION} "
            "AND blob_offset >= {from:UInt64} AND blob_offset < {before:UInt64} ORDER BY blob_offset",
            parameters=parameters,
            settings=READ_SETTINGS,
        )
        for begin, last in _pages(sizes):
            answer = self.http.execute(
                f"SELECT first_offset, next_offset, blob FROM {self.ledger} "
                f"WHERE row_kind = 'blob' AND {_OF_PARTITION} "
                "AND blob_offset BETWEEN {first:UInt64} AND {last:UInt64} ORDER BY blob_offset FORMAT ArrowStream",
                parameters={**parameters, "first": begin, "last": last},
                settings=READ_SETTINGS,
            )
            with pa.ipc.open_stream(answer) as reader:
                for batch in reader:
                    for first_offset, next_offset, data in zip(*batch.columns, strict=True):
                        yield Blob(first_offset.as_py(), next_offset.as_py(), data.as_py())

    def insert_side_rows(self, side_rows: SideRows) -> None:
        """See `LedgerStore.insert_side_rows`."""
        table, rows = TABLES[side_rows.table], side_rows.rows
        unknown = set(rows.schema.names) - set(table.column_names)
        if unknown:
            raise ValueError(f"{table.name} has no column {sorted(unknown)}")
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_batch(rows)
        self.http.execute(
            f"INSERT INTO {table.name} ({', '.join(f'`{name}`' for name in rows.schema.names)}) FORMAT Arrow",
            settings=SIDE_ROW_SETTINGS,
            data=sink.getvalue(),
        )

    def tallies(self) -> list[Tally]:
        """See `AuditStore.tallies`.

        Markers and usage rows come from one snapshot; side rows are written before their commit, so that those below
        the position are there.
        """
        rows = self.http.rows(
            "SELECT topic, partition, epoch, toString(sumIf(toUInt128(requests) + fallbacks, row_kind = 'usage')), "
            f"{_POSITION} FROM {self.ledger} WHERE topic != '' GROUP BY topic, partition, epoch "
            "ORDER BY topic, partition, epoch",
            settings=READ_SETTINGS,
        )
        newest = {(topic, number): epoch for topic, number, epoch, *_ in rows}
        tallies = []
        for topic, number, epoch, usage_events, *members in rows:
            successor = newest[topic, number] if newest[topic, number] != epoch else None
            partition, position = PartitionId(topic, number, epoch), _read_position(members, successor)
            # What is decided since the markers were read is not in their sums.
            decisions = tuple(
                one
                for one in self.decisions(topic, number)
                if one.partition == partition and one.next_offset <= position.next_offset
            )
            facts = sum(self._rows_before(table, partition, position, decisions) for table in _FACT_TABLES)
            quarantined = self._rows_before(QUARANTINE.name, partition, position, decisions)
            tallies.append(Tally(partition, position, int(usage_events), facts, quarantined, decisions))
        return tallies

    def partitions(self, topic: str) -> list[int]:
        """See `LedgerStore.partitions`."""
        rows = self.http.rows(
            f"SELECT DISTINCT partition FROM {self.ledger} WHERE row_kind = 'marker' AND topic = {{topic:String}} "
            "ORDER BY partition",
            parameters={"topic": topic},
            settings=READ_SETTINGS,
        )
        return [number for (number,) in rows]

    def reasons(self) -> dict[str, Reason]:
        """See `AuditStore.reasons`."""
        rows = self.http.rows(
            f"SELECT nonce, who, reason, toUnixTimestamp64Milli(decided_at) FROM {POSITION_CHANGES.name} FINAL",
            settings=READ_SETTINGS,
        )
        return {nonce: Reason(who, why, datetime.fromtimestamp(ms / 1000, UTC)) for nonce, who, why, ms in rows}

    def _rows_before(
        self, table: str, partition: PartitionId, position: Position, decisions: Sequence[Decision]
    ) -> int:
        ((number,),) = self.http.rows(
            f"SELECT uniqExact(offset, event_index) FROM {table} WHERE {_OF_PARTITION} AND offset < {{next:UInt64}} "
            f"AND {NOT_LEFT_OUT}",
            parameters={
                **_parameters(partition),
                "next": position.next_offset,
                "left_out": [(one.first_offset, one.next_offset) for one in decisions],
            },
            settings=READ_SETTINGS,
        )
        return int(number)

    def _condition(self, guard: Guard) -> tuple[str, dict[str, object]]:
        match guard:
            case PositionIs(partition, offset):
                # The newest epoch, and its position: tuples compare member by member. Epochs count from 1 here, so
                # that without any marker there is no position, not even 0.
                markers = f"FROM {self.ledger} WHERE row_kind = 'marker' AND {_OF_LOG}"
                return f"(SELECT max((epoch + 1, next_offset)) {markers}) = ({{epoch:UInt32}} + 1, {{lo:UInt64}})", {
                    **_parameters(partition),
                    "lo": offset,
                }
            case NoPosition(partition):
                markers = f"SELECT count() FROM {self.ledger} WHERE row_kind = 'marker' AND {_OF_PARTITION}"
                return f"({markers}) = 0", _parameters(partition)
            case NoHashKey():
                return f"(SELECT count() FROM {self.ledger} WHERE row_kind = 'blob' AND topic = '') = 0", {}


def _read_position(members: Sequence[Any], successor: int | None) -> Position:
    """The Position in an answer to _POSITION."""
    first_offset, next_offset, tail, *sums, commits, watermark_us = members
    tail_values = tail.values() if isinstance(tail, dict) else tail
    return Position(first_offset, next_offset, Tail(*tail_values), Counts(*sums), commits, watermark_us, successor)


def _parameters(partition: PartitionId) -> dict[str, object]:
    return {"topic": partition.topic, "partition": partition.partition, "epoch": partition.epoch}


def _pages(sizes: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """First and last blob offset of each page of about BLOB_PAGE_BYTES."""
    first, last, held = -1, -1, 0
    for offset, size in sizes:
        if first >= 0 and held + size > BLOB_PAGE_BYTES:
            yield first, last
            first, held = -1, 0
        if first < 0:
            first = offset
        last, held = offset, held + size
    if first >= 0:
        yield first, last
