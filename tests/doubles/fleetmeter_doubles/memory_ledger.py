"""A ledger in memory that behaves as ClickHouse's MergeTree does in all that commits rely on, and fails on demand.

What it copies, each observed on the real engine (the contract suite runs on both):
- an insert is two steps: its guard is evaluated when the statement starts; later, under one lock, its token is logged
  and its part appears;
- tokens are logged per table partition, and the table remembers only the newest `window` of them;
- an insert whose token is known, or whose guard did not hold, is "done" and adds nothing;
- the token is logged before the part appears, so that a crash or a full disk between them leaves a ghost;
- a client that gives up does not stop an insert: it may land any time later, until the server stops it;
- a body of one record batch in Arrow's file format that is cut anywhere is refused whole.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
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

from fleetmeter_doubles.memory_dedup import MemoryDedup


class Fault(Enum):
    """What goes wrong with one call; the caller gets StoreUnavailableError from each."""

    BEFORE = auto()
    """The server never saw it."""
    ANSWER_LOST = auto()
    """It took effect; the answer got lost."""
    GHOST = auto()
    """The token was logged, the part never appeared."""
    LATE = auto()
    """The server has begun and the client gives up; it lands when `land_late` is called, or never (`crash`)."""
    CUT = auto()
    """The connection broke within the body, and the server took what it had for the whole."""


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """The rows of one insert, by kind, under the token that it came with."""

    token: str
    partition: PartitionId
    table_partition: int
    markers: list[dict[str, Any]]
    blobs: list[dict[str, Any]]
    usage: pa.Table


@dataclass(frozen=True, slots=True)
class Inflight:
    """An insert whose guard was evaluated and which has not landed yet."""

    part: MemoryPart
    guard_held: bool
    begun_at: int
    """How many tokens had been logged ever when it began, or before its own was."""


class MemoryLedger(MemoryDedup):
    """A LedgerStore, DedupStore, AuditStore and ScratchStore. Thread-safe.

    `fault(operation, label)` is asked before each call (operation: insert, position, hash_key, blobs, side_rows),
    between the two steps of an insert `between_steps` is called, without the lock, and `landed` for each new part.
    """

    def __init__(self, window: int = 100_000) -> None:
        self.parts: list[MemoryPart] = []
        self.side_tables: dict[str, list[dict[str, Any]]] = {}
        self.late: list[Inflight] = []
        self.ghosts: list[str] = []
        self.fault: Callable[[str, str], Fault | None] = lambda _operation, _label: None
        self.between_steps: Callable[[Inflight], None] = lambda _inflight: None
        self.landed: Callable[[MemoryPart], None] = lambda _part: None
        self._positions: dict[PartitionId, Position] = {}
        self._newest: dict[tuple[str, int], int] = {}
        self._window = window
        self._log: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._logged_ever = 0
        self._lock = threading.RLock()

    # LedgerStore

    def position(self, partition: PartitionId) -> Position | None:
        self._fail_read("position", str(partition))
        with self._lock:
            return self._position(partition)

    def epochs(self, topic: str, partition: int) -> list[tuple[PartitionId, Position]]:
        self._fail_read("position", f"{topic}-{partition}")
        with self._lock:
            found = sorted(one for one in self._positions if (one.topic, one.partition) == (topic, partition))
            positions = [(one, self._position(one)) for one in found]
            return [(one, position) for one, position in positions if position is not None]

    def decisions(self, topic: str, partition: int) -> list[Decision]:
        return [one for one in self.topic_decisions(topic) if one.partition.partition == partition]

    def topic_decisions(self, topic: str) -> list[Decision]:
        self._fail_read("position", topic)
        with self._lock:
            markers = (row for part in self.parts for row in part.markers)
            rows = [row for row in markers if row["topic"] == topic and row["event_type"]]
        found = [
            Decision(
                _of(row),
                row["event_type"],
                row["first_offset"],
                row["next_offset"],
                row["skipped_offsets"],
                _tail(row["tail"]).nonce,
            )
            for row in rows
        ]
        return sorted(found, key=lambda one: (one.partition, one.first_offset, one.next_offset))

    def growth_steps(self, topic: str) -> list[GrowthStep]:
        self._fail_read("position", topic)
        with self._lock:
            rows = {
                (row["growth"], row["step"], row["nonce"]): row
                for row in self.side_tables.get("partition_growth", [])
                if row["topic"] == topic
            }
        return [_growth_step(row) for row in rows.values()]

    def insert(self, rows: LedgerRows, guard: Guard, token: str) -> None:
        fault = self.fault("insert", token)
        if fault is Fault.BEFORE:
            raise StoreUnavailableError(f"no route to the store for {token}")
        inflight = self._begin(rows, guard, token, cut=fault is Fault.CUT)
        if fault is Fault.LATE:
            self.late.append(inflight)
            raise StoreUnavailableError(f"no answer for {token}")
        self.between_steps(inflight)
        self._land(inflight, ghost=fault is Fault.GHOST)
        if fault is not None:
            raise StoreUnavailableError(f"the answer for {token} got lost")

    def hash_key(self) -> bytes | None:
        self._fail_read("hash_key", "")
        with self._lock:
            keys = {row["blob"] for row in self._blobs() if row["topic"] == ""}
            if len(keys) > 1:
                raise AssertionError("two hash keys were made")
            return next(iter(keys), None)

    def blobs(self, partition: PartitionId, before: int, first: int = 0) -> Iterator[Blob]:
        self._fail_read("blobs", str(partition))
        with self._lock:
            rows = [row for row in self._blobs() if _of(row) == partition and first <= row["blob_offset"] < before]
        for row in sorted(rows, key=lambda row: row["blob_offset"]):
            yield Blob(row["first_offset"], row["next_offset"], row["blob"])

    def insert_side_rows(self, side_rows: SideRows) -> None:
        fault = self.fault("side_rows", side_rows.table)
        if fault in {Fault.BEFORE, Fault.CUT}:
            raise StoreUnavailableError(f"no route to the store for {side_rows.table}")
        with self._lock:
            self.side_tables.setdefault(side_rows.table, []).extend(side_rows.rows.to_pylist())
        if fault is not None:
            raise StoreUnavailableError(f"the answer for {side_rows.table} got lost")

    # AuditStore

    def tallies(self) -> list[Tally]:
        with self._lock:
            return [self._tally(partition) for partition in sorted(self._positions)]

    def partitions(self, topic: str) -> list[int]:
        with self._lock:
            return sorted({one.partition for one in self._positions if one.topic == topic})

    def reasons(self) -> dict[str, Reason]:
        rows = self.side_tables.get("position_changes", [])
        return {
            row["nonce"].decode(): Reason(row["who"].decode(), row["reason"].decode(), row["decided_at"])
            for row in rows
        }

    # ScratchStore

    def parts_made(self) -> int:
        return len(self.parts)

    def usage_events(self) -> int:
        return sum(_sum(part.usage, "requests") for part in self.parts)

    def window(self) -> int:
        return self._window

    # What befalls a server

    def land_late(self, index: int) -> None:
        """An insert that its client gave up on comes to its end."""
        self._land(self.late.pop(index), ghost=False)

    def crash(self) -> None:
        """kill -9 and restart: what was under way is gone, what was renamed is there."""
        self.late.clear()

    def lose(self, parts: int) -> None:
        """It was restored from a backup that lacks the newest parts."""
        kept = self.parts[: len(self.parts) - parts]
        self.parts.clear()
        self._positions.clear()
        self._newest.clear()
        for part in kept:
            self._add(part)

    def _begin(self, rows: LedgerRows, guard: Guard, token: str, *, cut: bool = False) -> Inflight:
        part = self._read(rows, token, cut=cut)
        with self._lock:
            known_since = self._log.get((part.table_partition, token), self._logged_ever)
            return Inflight(part, self._holds(guard), known_since)

    def _read(self, rows: LedgerRows, token: str, *, cut: bool) -> MemoryPart:
        body = rows.body.slice(0, rows.body.size - 1) if cut else rows.body
        try:
            with pa.ipc.open_file(body) as reader:
                if reader.num_record_batches != 1:
                    raise AssertionError(f"{token}: {reader.num_record_batches} record batches could become two parts")
                table = reader.read_all()
        except pa.ArrowInvalid as error:
            raise StoreUnavailableError(f"{token}: {error}") from error
        if table.num_rows != rows.row_count or not table.num_rows:
            raise AssertionError(f"{token}: {table.num_rows} rows arrived, {rows.row_count} were announced")
        return _part(token, table)

    def _land(self, inflight: Inflight, *, ghost: bool) -> None:
        with self._lock:
            if self._logged_ever - inflight.begun_at > self._window:
                # The window is to be so large that it outlasts a commit with all its retries, each of which ends
                # after max_execution_time: while a copy of an insert runs, the token of an earlier copy stays known.
                raise StoreUnavailableError(f"{inflight.part.token}: TIMEOUT_EXCEEDED")
            if not inflight.guard_held:
                return
            key = (inflight.part.table_partition, inflight.part.token)
            if key in self._log:
                return
            self._log[key] = self._logged_ever
            self._logged_ever += 1
            if len(self._log) > self._window:
                self._log.popitem(last=False)
            if ghost:
                self.ghosts.append(inflight.part.token)
            else:
                self._add(inflight.part)

    def _add(self, part: MemoryPart) -> None:
        self.parts.append(part)
        for row in part.markers:
            partition, position = _of(row), _position(row)
            log = partition.topic, partition.partition
            self._newest[log] = max(self._newest.get(log, 0), partition.epoch)
            before = self._positions.get(partition)
            self._positions[partition] = _merge(before, position) if before else position
        self.landed(part)

    def _holds(self, guard: Guard) -> bool:
        match guard:
            case PositionIs(partition, offset):
                position = self._position(partition)
                return position is not None and position.next_offset == offset and position.successor is None
            case NoPosition(partition):
                return partition not in self._positions
            case NoHashKey():
                return not any(row["topic"] == "" for row in self._blobs())

    def _position(self, partition: PartitionId) -> Position | None:
        position = self._positions.get(partition)
        newest = self._newest.get((partition.topic, partition.partition))
        return position if position is None or newest == partition.epoch else replace(position, successor=newest)

    def _tally(self, partition: PartitionId) -> Tally:
        position = self._position(partition)
        assert position is not None
        usage = [part.usage for part in self.parts if part.partition == partition]
        events = sum(_sum(rows, "requests") + _sum(rows, "fallbacks") for rows in usage)
        fact_tables = ("usage_facts", "usage_estimates", "usage_adjustments")
        decisions = tuple(
            one for one in self.decisions(partition.topic, partition.partition) if one.partition == partition
        )
        left_out = {offset for one in decisions for offset in range(one.first_offset, one.next_offset)}
        facts = sum(self._rows_before(table, partition, position.next_offset, left_out) for table in fact_tables)
        quarantined = self._rows_before("quarantine", partition, position.next_offset, left_out)
        return Tally(partition, position, events, facts, quarantined, decisions)

    def _rows_before(self, table: str, partition: PartitionId, offset: int, left_out: set[int]) -> int:
        rows = [row for row in self.side_tables.get(table, []) if _of(row) == partition and row["offset"] < offset]
        return len({(row["offset"], row["event_index"]) for row in rows if row["offset"] not in left_out})

    def _markers_of(self, topic: str, partition: int) -> Iterator[dict[str, Any]]:
        markers = (row for part in self.parts for row in part.markers)
        return (row for row in markers if (row["topic"], row["partition"]) == (topic, partition))

    def _blobs(self) -> Iterator[dict[str, Any]]:
        return (row for part in self.parts for row in part.blobs)

    def _fail_read(self, operation: str, label: str) -> None:
        if self.fault(operation, label) is not None:
            raise StoreUnavailableError(f"{operation} {label}: no answer")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKER, _BLOB, _USAGE = 1, 2, 3
_WHERE = ("topic", "partition", "epoch", "first_offset", "next_offset")


def _part(token: str, rows: pa.Table) -> MemoryPart:
    kinds = {kind: rows.filter(pc.equal(rows["row_kind"], kind)) for kind in (_MARKER, _BLOB, _USAGE)}
    (table_partition,) = pc.unique(rows["table_partition"]).to_pylist()
    markers = kinds[_MARKER].select(
        [*_WHERE, "event_type", "tail", "commits", "watermark", *Counts.__dataclass_fields__]
    )
    blobs = kinds[_BLOB].select([*_WHERE, "blob_offset", "blob"])
    whose = _of(rows.slice(0, 1).select(["topic", "partition", "epoch"]).to_pylist()[0])
    return MemoryPart(token, whose, table_partition, markers.to_pylist(), blobs.to_pylist(), kinds[_USAGE])


def _position(row: dict[str, Any]) -> Position:
    """What one marker row says."""
    return Position(
        first_offset=row["first_offset"],
        next_offset=row["next_offset"],
        tail=_tail(row["tail"]),
        totals=Counts(*(row[name] for name in Counts.__dataclass_fields__)),
        commits=row["commits"],
        watermark_us=(row["watermark"] - _EPOCH) // timedelta(microseconds=1),
    )


def _merge(one: Position, other: Position) -> Position:
    """What two marker rows say together, as the ledger's aggregate functions have it."""
    totals = {name: getattr(one.totals, name) + getattr(other.totals, name) for name in Counts.__dataclass_fields__}
    return Position(
        first_offset=min(one.first_offset, other.first_offset),
        next_offset=max(one.next_offset, other.next_offset),
        tail=max(one.tail, other.tail, key=astuple),
        totals=Counts(**totals),
        commits=one.commits + other.commits,
        watermark_us=max(one.watermark_us, other.watermark_us),
    )


def _growth_step(row: dict[str, Any]) -> GrowthStep:
    values: dict[str, Any] = {
        name: value.decode() if isinstance(value, bytes) else value for name, value in row.items() if name != "topic"
    }
    values["at_ms"] = (values.pop("at") - _EPOCH) // timedelta(milliseconds=1)
    values["ends"] = tuple(values["ends"])
    return GrowthStep(**values)


def _tail(row: dict[str, Any]) -> Tail:
    # ClickHouse's String is bytes in Arrow.
    values: dict[str, Any] = {
        name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()
    }
    return Tail(**values)


def _sum(rows: pa.Table, name: str) -> int:
    return int(pc.sum(rows[name]).as_py() or 0)


def _of(row: dict[str, Any]) -> PartitionId:
    return PartitionId(row["topic"], row["partition"], row["epoch"])
