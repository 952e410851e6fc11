"""What an operator decides about a position, entered into the ledger by the same compare-and-swap as every commit.

A decision takes the place of the next commit: it has that commit's token and guard, in that commit's table partition.
So of a decision and a running worker's commit (or of two decisions) exactly one is made; the other finds the position
moved, and nothing of it remains. The worker that lost starts again from the ledger and goes on from what was decided.

A *skip* moves the position forward. The offsets left out are accounted for as skipped, in the marker itself, so that
the audit can tell them from a loss for ever.

A *new epoch* closes the log that was counted so far and begins another one for the same Kafka partition: the topic was
recreated, or truncated. Nothing is ever committed to the closed one again, because the guard of every commit asks for
the newest epoch. The new epoch knows every identity that was counted in the ones before it (see `restore`), so that
beginning it is safe even where the logs overlap: what was counted before is found to be a duplicate.

A step of a *growth* closes an epoch where the position is, and goes on in the same log (see `growth`).

Who decided and why goes to `position_changes` first, under the decision's nonce. A row there without its marker in the
ledger is a decision that did not take effect; a decision in the ledger always has its row.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import pyarrow as pa
from fleetmeter_schemas.tables import POSITION_CHANGES

from fleetmeter_jobs.ledger.arrow_batch import encode_rows, marker_row
from fleetmeter_jobs.ledger.columns import arrow_type
from fleetmeter_jobs.ledger.compare_and_swap import compare_and_swap
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.errors import DecisionError, PositionWentBackError
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position, Tail, table_partition_of
from fleetmeter_jobs.ledger.retry import until_answered
from fleetmeter_jobs.ledger.store import Decision, LedgerStore, PositionIs, SideRows

SKIP: Final = "skip"
NEW_EPOCH: Final = "new_epoch"
GROWTH_STEPS: Final = ("grow", "grow_settled", "grow_done")
"""Steps of adding partitions (see `growth`): each begins a new epoch of the same log where the position is."""


@dataclass(frozen=True, slots=True)
class LogNow:
    """Kafka's log as the decision finds it."""

    topic_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What identifies the record batch before the new position; the defaults where the log has none there."""

    leader_epoch: int = -1
    crc: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that makes sense, not made yet."""

    kind: str
    partition: PartitionId
    position: Position
    """As it was read; the decision stands only if it is still there."""
    log: LogNow
    to: PartitionId
    first_offset: int
    """Where the decision's marker begins: at the position, or at the start of the new epoch's log."""
    next_offset: int
    """Where counting goes on."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def skipped_offsets(self) -> int:
        """Offsets that will not be counted, by this decision."""
        return self.next_offset - self.first_offset


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision stands."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A commit or another decision came first; nothing was changed. `position` is what is there now."""

    position: Position


def plan_skip(partition: PartitionId, position: Position, log: LogNow, to_offset: int) -> Change:
    """Leave out the offsets from the position to `to_offset`.

    Raises DecisionError where that can't be meant: backwards, beyond the log, or in another topic than was counted.
    """
    here = position.next_offset
    if position.tail.topic_id != log.topic_id:
        raise DecisionError(
            f"{partition}: the ledger counted the topic with id {position.tail.topic_id}, Kafka has one with id "
            f"{log.topic_id}: offsets of one mean nothing in the other. Begin a new epoch instead"
        )
    if to_offset <= here:
        raise DecisionError(
            f"{partition}: a position moves forward only, and {to_offset} is not beyond {here}. To read a part of the "
            "log again, begin a new epoch: what was counted before is not counted again"
        )
    if not log.start <= to_offset <= log.end:
        raise DecisionError(f"{partition}: {to_offset} is not in the log, which goes from {log.start} to {log.end}")
    return Change(SKIP, partition, position, log, partition, here, to_offset)


def plan_new_epoch(partition: PartitionId, position: Position, log: LogNow, at: int | None = None) -> Change:
    """Begin the next log epoch at the log's start; with `at`, leave out what lies before that offset.

    Raises DecisionError where `at` is not in the log.
    """
    at = log.start if at is None else at
    if not log.start <= at <= log.end:
        raise DecisionError(f"{partition}: {at} is not in the log, which goes from {log.start} to {log.end}")
    to = replace(partition, epoch=partition.epoch + 1)
    return Change(NEW_EPOCH, partition, position, log, to, log.start, at)


def plan_growth_step(kind: str, partition: PartitionId, position: Position, nonce: str) -> Change:
    """Close the epoch at the position, and go on in the next one from there."""
    log = LogNow(position.tail.topic_id, position.first_offset, position.next_offset)
    to = replace(partition, epoch=partition.epoch + 1)
    return Change(kind, partition, position, log, to, position.next_offset, position.next_offset, nonce)


def decide(
    store: LedgerStore, change: Change, batch: Batch, who: str, reason: str, context: CommitContext
) -> Decided | Overtaken:
    """Make the decision. `batch` is the one before `change.next_offset`, so that the check of the log finds it there.

    Waits for the store and raises as `commit` does.
    """
    old, here, now_ms = change.partition, change.position.next_offset, context.now_ms()
    tail = Tail(
        next_offset=change.next_offset,
        nonce=change.nonce,
        topic_id=change.log.topic_id,
        leader_epoch=batch.leader_epoch,
        crc=batch.crc,
        table_partition=table_partition_of(now_ms),
    )
    marker = marker_row(
        change.to,
        change.position.tail.table_partition,
        change.first_offset,
        tail,
        counts=Counts(skipped_offsets=change.skipped_offsets),
        # Another log has yet to show how far it has come; the same log has come as far as it had.
        watermark_us=0 if change.kind == NEW_EPOCH else change.position.watermark_us,
        committed_at_ms=now_ms,
        decision=change.kind,
    )
    until_answered(
        partial(store.insert_side_rows, _change_row(change, who, reason, now_ms)),
        context.cancel,
        context.backoff,
        f"writing down the decision about {old}",
        partial(context.observer.failed, str(old)),
    )
    swapped = compare_and_swap(
        store,
        encode_rows([marker]),
        PositionIs(old, here),
        lambda attempt: f"{old}@{here}#{attempt}",
        _reader(store, old, here),
        lambda now: now.next_offset == here and now.successor is None,
        context,
    )
    made = until_answered(
        lambda: {one.nonce: one for one in store.decisions(old.topic, old.partition)},
        context.cancel,
        context.backoff,
        f"reading the decisions about {old}",
        partial(context.observer.failed, swapped.token),
    )
    # The position tells no more than that somebody moved it, and a worker may have gone on from there already.
    return Decided(made[change.nonce]) if change.nonce in made else Overtaken(swapped.now)


def _change_row(change: Change, who: str, reason: str, now_ms: int) -> SideRows:
    row = {
        "nonce": change.nonce,
        "topic": change.partition.topic,
        "partition": change.partition.partition,
        "epoch": change.partition.epoch,
        "kind": change.kind,
        "from_offset": change.position.next_offset,
        "to_epoch": change.to.epoch,
        "to_offset": change.next_offset,
        "skipped_offsets": change.skipped_offsets,
        "log_start": change.log.start,
        "log_end": change.log.end,
        "from_topic_id": change.position.tail.topic_id,
        "to_topic_id": change.log.topic_id,
        "who": who,
        "reason": reason,
        "decided_at": datetime.fromtimestamp(now_ms / 1000, UTC),
    }
    columns = {
        column.name: pa.array([row[column.name]], arrow_type(column.clickhouse_type))
        for column in POSITION_CHANGES.columns
    }
    return SideRows(POSITION_CHANGES.name, pa.record_batch(columns))


def _reader(store: LedgerStore, partition: PartitionId, here: int) -> Callable[[], Position]:
    def read() -> Position:
        now = store.position(partition)
        if now is None or now.next_offset < here:
            raise PositionWentBackError(
                f"{partition}: the ledger no longer has the position {here} that was read a moment ago; was it "
                "restored from a backup, or were table partitions dropped? Run `fleetmeter reconcile`, then decide"
            )
        return now

    return read
