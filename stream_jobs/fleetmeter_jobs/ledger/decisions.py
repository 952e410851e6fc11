"""What an operator decides about a position, entered into the ledger by the same compare-and-swap as every commit.

A decision takes the place of the next commit: it has that commit's token and guard, in that commit's table partition.
So of a decision and a running worker's commit (or of two decisions) exactly one is made; the other finds the position
moved, and nothing of it remains. The worker that lost starts again from the ledger and goes on from what was decided.

A *new epoch* closes the log that was counted so far and begins another one for the same Kafka partition: the topic was
recreated, or truncated. Nothing is ever committed to the closed one again, because the guard of every commit asks for
the newest epoch. The new epoch knows every identity that was counted in the ones before it (see `restore`), so that
beginning it is safe even where the logs overlap: what was counted before is found to be a duplicate.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from fleetmeter_jobs.ledger.arrow_batch import encode_rows, marker_row
from fleetmeter_jobs.ledger.compare_and_swap import compare_and_swap
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.errors import PositionWentBackError
from fleetmeter_jobs.ledger.position import PartitionId, Position, Tail, table_partition_of
from fleetmeter_jobs.ledger.retry import until_answered
from fleetmeter_jobs.ledger.store import Decision, LedgerRows, LedgerStore, PositionIs

NEW_EPOCH: Final = "new_epoch"


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision stands."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A commit or another decision came first; nothing was changed. `position` is what is there now."""

    position: Position


def begin_epoch(
    store: LedgerStore,
    old: PartitionId,
    position: Position,
    log_start: int,
    topic_id: str,
    append_time_ms: int,
    context: CommitContext,
    *,
    nonce: str | None = None,
) -> Decided | Overtaken:
    """Close the log epoch `old` at `position`, as it was read, and begin the next one at `log_start`.

    `append_time_ms` (of the log's first record, or now) only chooses the month into which the first flush goes. Waits
    for the store and raises as `commit` does.
    """
    new = replace(old, epoch=old.epoch + 1)
    tail = Tail(
        next_offset=log_start,
        nonce=nonce or secrets.token_hex(16),
        topic_id=topic_id,
        leader_epoch=-1,
        crc=0,
        table_partition=table_partition_of(append_time_ms),
    )
    table_partition = position.tail.table_partition
    marker = marker_row(new, table_partition, log_start, tail, committed_at_ms=context.now_ms(), decision=NEW_EPOCH)
    return _decide(store, old, position, tail.nonce, encode_rows([marker]), context)


def _decide(
    store: LedgerStore,
    old: PartitionId,
    position: Position,
    nonce: str,
    rows: LedgerRows,
    context: CommitContext,
) -> Decided | Overtaken:
    here = position.next_offset
    swapped = compare_and_swap(
        store,
        rows,
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
    return Decided(made[nonce]) if nonce in made else Overtaken(swapped.now)


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
