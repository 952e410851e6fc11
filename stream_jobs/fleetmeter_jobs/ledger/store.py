"""What the commit protocol needs of a store, so that a deterministic double can stand in for ClickHouse.

Every method is synchronous, may be called from any thread, and raises `StoreUnavailableError` where trying again may
help (then whether a statement took effect is unknown) or another `LedgerError` where it can't.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from fleetmeter_jobs.ledger.position import PartitionId, Position


@dataclass(frozen=True, slots=True)
class PositionIs:
    """Guard of a commit: the partition's committed position is still `offset`, and no newer log epoch was begun."""

    partition: PartitionId
    offset: int


@dataclass(frozen=True, slots=True)
class NoPosition:
    """Guard of a partition's first marker: it has none yet."""

    partition: PartitionId


@dataclass(frozen=True, slots=True)
class NoHashKey:
    """Guard of the ledger's hash key: there is none yet."""


Guard = PositionIs | NoPosition | NoHashKey


@dataclass(frozen=True, slots=True)
class LedgerRows:
    """Rows of one insert, encoded once and sent again as they are: an Arrow file of exactly one record batch.

    The file format and not the stream: its footer stands at the end, so that a body cut anywhere is an error.
    """

    row_count: int
    body: pa.Buffer


@dataclass(frozen=True, slots=True)
class Blob:
    """The identities that one commit added, and the offsets of that commit."""

    first_offset: int
    next_offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """An operator's decision, as the ledger holds it; `position_changes` says who and why, under the same nonce."""

    partition: PartitionId
    kind: str
    """See `decisions`."""
    first_offset: int
    next_offset: int
    skipped_offsets: int
    nonce: str


@dataclass(frozen=True, slots=True)
class GrowthStep:
    """A row about partitions that were added to a topic (see `growth`)."""

    growth: str
    step: str
    nonce: str
    topic_id: str
    old_partitions: int
    new_partitions: int
    settle_s: int
    ends: tuple[int, ...]
    who: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Who made a decision, when (UTC), and why, in their words."""

    who: str
    reason: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class SideRows:
    """Rows for one table beside the ledger, whose natural key makes writing them again harmless."""

    table: str
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Tally:
    """One partition's markers, and the rows that must agree with them, counted apart from what the markers say."""

    partition: PartitionId
    position: Position
    usage_events: int
    """Sum of requests and fallbacks over the usage rows."""
    facts: int
    """Rows of facts, estimates and adjustments from before the position."""
    quarantined: int
    """Rows of quarantine from before the position."""
    decisions: tuple[Decision, ...] = ()
    """What operators have decided about this log epoch; the skipped offsets in the markers must all be theirs."""


class LedgerStore(Protocol):
    """ClickHouse, as far as commits go."""

    def position(self, partition: PartitionId) -> Position | None:
        """The committed position, from one snapshot; None before the partition's first marker."""
        ...

    def epochs(self, topic: str, partition: int) -> list[tuple[PartitionId, Position]]:
        """Every log epoch that the Kafka partition was counted in, oldest first, from one snapshot. Commits go to the
        last one only."""
        ...

    def decisions(self, topic: str, partition: int) -> list[Decision]:
        """Every decision that took effect on the Kafka partition, in order."""
        ...

    def topic_decisions(self, topic: str) -> list[Decision]:
        """Every decision that took effect on any partition of the topic."""
        ...

    def growth_steps(self, topic: str) -> list[GrowthStep]:
        """Every row about partitions that were added to the topic; whether a step took effect, the decisions say."""
        ...

    def partitions(self, topic: str) -> list[int]:
        """The Kafka partitions of a topic that the ledger knows."""
        ...

    def insert(self, rows: LedgerRows, guard: Guard, token: str) -> None:
        """Add the rows in one atomic step, if the guard holds when the statement starts and nothing with the token was
        logged in the same table partition before. Returning means that the store said "done": it does not tell whether
        the rows were added, dropped for their token, or kept out by the guard. Reading back tells."""
        ...

    def hash_key(self) -> bytes | None:
        """The ledger's dedup hash key, None before it was made."""
        ...

    def blobs(self, partition: PartitionId, before: int, first: int = 0) -> Iterator[Blob]:
        """The committed blobs whose commits began at offset `first` or later, and before offset `before`, in offset
        order, a few at a time. What is deleted meanwhile may be left out."""
        ...

    def insert_side_rows(self, side_rows: SideRows) -> None:
        """Write rows to a side table; again after an error is harmless."""
        ...


class AuditStore(Protocol):
    """ClickHouse, as far as the audit goes."""

    def tallies(self) -> list[Tally]:
        """A tally of every partition in the ledger, in order. Safe beside running workers."""
        ...

    def reasons(self) -> dict[str, Reason]:
        """Who decided and why, by the decision's nonce; also of decisions that never took effect."""
        ...
