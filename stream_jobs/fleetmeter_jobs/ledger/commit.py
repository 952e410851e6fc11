"""One flush of one partition becomes one insert: the commit, and why each step may be tried again.

1. The flush continues exactly where the last commit ended and accounts for every offset and event, or nothing is sent.
2. Side rows go first. Their natural keys make them harmless to repeat, and harmless to leave behind by a worker that
   loses: the winner decides about the same offsets and writes the same keys. A reader who wants only what is committed
   takes those below the position.
3. The insert is one record batch, into the table partition that the last commit named, so that rivals meet there.
4. and 5. It is a compare-and-swap (see `compare_and_swap` for the rule of attempts).
6. The position is read back. Our nonce at our end: committed. Anything else: another worker was faster, or an operator
   (see `decisions`), and what we hold in memory no longer follows from the ledger; it must be dropped.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from fleetmeter_jobs.ledger.arrow_batch import blob_row, encode_rows, marker_row
from fleetmeter_jobs.ledger.compare_and_swap import compare_and_swap
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.errors import BooksError, PositionWentBackError
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position, Tail, table_partition_of
from fleetmeter_jobs.ledger.retry import until_answered
from fleetmeter_jobs.ledger.store import LedgerRows, LedgerStore, PositionIs, SideRows

COUNT_MEASURES = ("requests", "fallbacks")
"""Usage columns that count events: one of them is 1 for each event that became usage."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One flush of one partition: offsets `previous.next_offset` up to `next_offset`."""

    partition: PartitionId
    previous: Position
    """The position that the flush continues, as it was committed or read."""
    next_offset: int
    counts: Counts
    watermark_us: int
    topic_id: str
    leader_epoch: int
    """Of the flush's last Kafka record batch, as is `crc`."""
    crc: int
    append_time_ms: int
    """The newest of the flush's; 0 if none is known."""
    usage: pa.RecordBatch | None = None
    """Rollup rows as the native core flushes them."""
    facts: int = 0
    """Accepted events that became rows of side tables and not of `usage`."""
    blob: bytes = b""
    """The identities that the flush adds."""
    side_rows: tuple[SideRows, ...] = ()
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def first_offset(self) -> int:
        """Where the flush starts."""
        return self.previous.next_offset

    @property
    def tail(self) -> Tail:
        """What the ledger shall remember of the flush's end."""
        before = self.previous.tail.table_partition
        return Tail(
            next_offset=self.next_offset,
            nonce=self.nonce,
            topic_id=self.topic_id,
            leader_epoch=self.leader_epoch,
            crc=self.crc,
            table_partition=table_partition_of(self.append_time_ms) if self.append_time_ms else before,
        )

    def token(self, attempt: int) -> str:
        """The name under which rivals for these offsets meet."""
        return f"{self.partition}@{self.first_offset}#{attempt}"


@dataclass(frozen=True, slots=True)
class Committed:
    """Every row of the flush is in the ledger, once. `position` is what the next flush continues."""

    position: Position
    inserts: int
    errors: int
    ghosts: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The position moved past the flush, and its end does not carry our nonce; or a newer log epoch was begun.

    Another worker committed these offsets, or continued after us, or an operator moved the position on: either way the
    offsets are decided on once, and what this worker holds in memory is void. Drop it and start again from the ledger.
    """

    position: Position
    nonce: str
    """The winner's."""


def commit(store: LedgerStore, flush: Commit, context: CommitContext) -> Committed | Lost:
    """Commit the flush, waiting for the store as long as it takes.

    Raises BooksError before anything is sent when the flush's own numbers contradict each other; CommitAbandonedError
    when told to stop; PositionWentBackError when the ledger lost a position it had; StoreRejectedError when ClickHouse
    refuses for good. After any but the first the outcome is unknown: read the position before going on.
    """
    check_books(flush)
    rows = encode_commit(flush, context.now_ms())
    label = f"{flush.partition}@{flush.first_offset}"
    context.observer.at("before_side_rows", label)
    for side_rows in flush.side_rows:
        if side_rows.rows.num_rows:
            until_answered(
                partial(store.insert_side_rows, side_rows),
                context.cancel,
                context.backoff,
                f"writing {side_rows.table} of {label}",
                partial(context.observer.failed, label),
            )
    swapped = compare_and_swap(
        store,
        rows,
        PositionIs(flush.partition, flush.first_offset),
        flush.token,
        partial(_read_position, store, flush),
        lambda position: position.next_offset == flush.first_offset and position.successor is None,
        context,
    )
    position = swapped.now
    if position.tail.nonce != flush.nonce:
        return Lost(position, position.tail.nonce)
    if position.next_offset != flush.next_offset:
        raise PositionWentBackError(
            f"{flush.partition}: the commit of {flush.first_offset}..{flush.next_offset} was read back with next "
            f"offset {position.next_offset}; run `fleetmeter reconcile` before any worker goes on"
        )
    context.observer.at("before_ack", swapped.token)
    return Committed(position, swapped.inserts, swapped.errors, swapped.ghosts)


def encode_commit(flush: Commit, committed_at_ms: int) -> LedgerRows:
    """All of the flush's ledger rows as one Arrow record batch."""
    table_partition = flush.previous.tail.table_partition
    marker = marker_row(
        flush.partition,
        table_partition,
        flush.first_offset,
        flush.tail,
        counts=flush.counts,
        commits=1,
        watermark_us=flush.watermark_us,
        committed_at_ms=committed_at_ms,
    )
    blobs = (
        [blob_row(flush.partition, table_partition, flush.first_offset, flush.next_offset, flush.blob)]
        if flush.blob
        else []
    )
    return encode_rows([*blobs, marker], flush.usage, partition=flush.partition, table_partition=table_partition)


def check_books(flush: Commit) -> None:
    """Raise BooksError unless every offset and every event of the flush is accounted for.

    A last line of defence: what is wrong here was miscounted before, and would be wrong on an invoice.
    """
    counts, where = flush.counts, f"{flush.partition} offsets {flush.first_offset} to {flush.next_offset}"
    if flush.next_offset <= flush.first_offset:
        raise BooksError(f"{where}: nothing to commit; an empty commit would spend the position's token")
    if flush.previous.tail.next_offset != flush.first_offset:
        raise BooksError(f"{where}: the position before ends at {flush.previous.tail.next_offset}")
    if counts.offsets != flush.next_offset - flush.first_offset:
        raise BooksError(
            f"{where}: {counts.records} records + {counts.control_offsets} control + {counts.aborted_offsets} aborted "
            f"offsets are not {flush.next_offset - flush.first_offset}; records of the log are missing or doubled"
        )
    if counts.events_in != counts.accepted + counts.duplicates + counts.rejected:
        raise BooksError(
            f"{where}: {counts.events_in} events in, but {counts.accepted} accepted + {counts.duplicates} duplicates "
            f"+ {counts.rejected} rejected"
        )
    counted = flush.facts + _usage_events(flush.usage)
    if counted != counts.accepted:
        raise BooksError(f"{where}: {counts.accepted} events accepted, but {counted} in usage rows and facts")
    if counts.accepted and not flush.blob:
        raise BooksError(f"{where}: {counts.accepted} events accepted without their identities; a resend would count")
    if counts.skipped_offsets:
        raise BooksError(f"{where}: {counts.skipped_offsets} offsets skipped; only an operator's decision skips any")
    if min(getattr(counts, name) for name in Counts.__dataclass_fields__) < 0:
        raise BooksError(f"{where}: a count is negative: {counts}")


def _usage_events(usage: pa.RecordBatch | None) -> int:
    if usage is None or not usage.num_rows:
        return 0
    return sum(int(pc.sum(usage.column(name)).as_py()) for name in COUNT_MEASURES)


def _read_position(store: LedgerStore, flush: Commit) -> Position:
    position = store.position(flush.partition)
    if position is None or position.next_offset < flush.first_offset:
        there = "no position" if position is None else f"next offset {position.next_offset}"
        raise PositionWentBackError(
            f"{flush.partition}: the ledger has {there}, but a commit had ended at {flush.first_offset}; was it "
            "restored from a backup, or were table partitions dropped? Run `fleetmeter reconcile`, then decide"
        )
    return position
